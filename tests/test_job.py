from __future__ import annotations

import dataclasses

from mailtrace.config import Config, SshConfig
from mailtrace.job import Export, Find, Job, Walk
from mailtrace.load import load_job, schema
from mailtrace.secret import Secret
from mailtrace.times import duration

RULES = schema("job")
READ = {"time", "time_range", "since", "until", "time_zone"}
"""Keys of `find` that become the window and its zone."""
MEANT = {"start", "end", "zone", "keys", "letter"}
NOT_KEPT = {"version", "vars", "description", "extends"}
ADDED = {"bounds", "inventory", "now", "path", "warnings", "origins"}


def test_the_schema_and_the_job_have_the_same_sections() -> None:
    fields = {field.name for field in dataclasses.fields(Job)}
    assert fields - ADDED == set(RULES["properties"]) - NOT_KEPT


def test_the_schema_and_find_have_the_same_keys() -> None:
    fields = {field.name for field in dataclasses.fields(Find)}
    assert fields - MEANT == set(RULES["properties"]["find"]["properties"]) - READ


def test_the_schema_and_walk_have_the_same_keys_and_defaults() -> None:
    rules = RULES["properties"]["walk"]["properties"]
    assert {"max_hops": rules["max_hops"]["default"], "max_age": duration(rules["max_age"]["default"])} == (
        dataclasses.asdict(Walk())
    )


def test_every_parser_of_the_registry_is_in_the_schema() -> None:
    from mailtrace.parsers import FORMATS

    assert set(RULES["$defs"]["parse"]["properties"]) == set(FORMATS)


def test_a_jobs_secrets_are_its_configs_and_its_exporters() -> None:
    config = Config(ssh_config=SshConfig(password=Secret("one")))
    export = Export("otlp", options={"headers": {"a": Secret("two"), "b": Secret("")}})
    assert [secret.reveal() for secret in Job(config=config, export=(export,)).secrets] == ["one", "two"]


def test_a_loaded_job_is_returned_as_it_is() -> None:
    job = Job()
    assert load_job(job) is job
