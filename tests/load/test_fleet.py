from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mailtrace.config import OpenSearchMapping
from mailtrace.errors import RequestError
from mailtrace.load import load_config, schema
from mailtrace.load.fleet import PRESETS, local_path


def problems(config: dict[str, Any]) -> list[str]:
    with pytest.raises(RequestError) as caught:
        load_config(config)
    return [problem.text for problem in caught.value.problems]


@pytest.mark.parametrize(
    "config, message",
    [
        ({"ssh_config": {"hosts": {"a": {"time_zone": "Mars"}}}}, 'hosts.a.time_zone: "Mars" is not a time zone'),
        ({"ssh_config": {"host_config": {"log_parser": "Rfc5242Parser"}}}, 'did you mean "Rfc5424Parser"?'),
        ({"ssh_config": {"host_config": {"log_parser": "RFC5424"}}}, 'did you mean "rfc5424"?'),
        ({"ssh_config": {"host_config": {"time_format": "%Q"}}}, 'host_config.time_format: "%Q" is not a time format'),
        ({"ssh_config": {"host_config": {"time_format": "%Y %"}}}, "is not a time format"),
        ({"ssh_config": {"host_keys": "strcit"}}, 'did you mean "strict"?'),
        ({"ssh_config": {"hosts": {"mx[3:1]": {}}}}, "is empty"),
        ({"clusters": {"c": ["mx["]}}, "clusters.c[0]: mx[ is not a range"),
        ({"clusters": {"c": {"a": 1}}}, '"c" must be a list or text, not a mapping'),
        ({"hosts": {"a": {"addresses": ["mail.example.com"]}}}, "is not an IP address; names belong under aliases"),
        ({"hosts": {"a": {"outside": "yes"}}}, "must be true or false"),
        ({"opensearch_config": {"port": 70000}}, "at most 65535"),
        ({"opensearch_config": {"preset": "ecss"}}, 'did you mean "ecs"?'),
        ({"opensearch_config": {"time_zone": "x"}}, "is not a time zone"),
        ({"metod": "ssh"}, 'did you mean "method"?'),
        ({"method": "shh"}, 'did you mean "ssh"?'),
        ({"domain": "${name}"}, "there is no variable name in a config; write ${env:NAME}"),
    ],
)  # fmt: skip
def test_a_value_that_means_nothing_is_one_problem(config: dict[str, Any], message: str) -> None:
    said = problems(config)
    assert len(said) == 1
    assert message in said[0]


def test_a_preset_names_the_fields_and_a_mapping_overrides_single_ones() -> None:
    config = load_config({"opensearch_config": {"preset": "logstash", "mapping": {"hostname": "host"}}})
    assert config.opensearch_config.mapping == OpenSearchMapping(
        facility="facility_label", hostname="host", service="program"
    )


def test_every_preset_of_the_schema_is_known() -> None:
    allowed = schema("config")["properties"]["opensearch_config"]["properties"]["preset"]["enum"]
    assert set(allowed) - {"", "auto"} == set(PRESETS)
    for fields in PRESETS.values():
        OpenSearchMapping(**fields)


@pytest.mark.parametrize(
    "path, absolute",
    [
        ("x/mail.log*", "/base/x/mail.log*"),
        ("/x", "/x"),
        ("-", "-"),
        ("journal", "journal"),
        ("", ""),
        ("../x", "/base/../x"),
    ],
)
def test_local_paths_are_relative_to_their_document(path: str, absolute: str) -> None:
    assert local_path(path, Path("/base")) == absolute


def test_the_home_of_nobody_is_left_as_it_is() -> None:
    assert local_path("~nobody-has-this-name/x", Path("/base")) == "/base/~nobody-has-this-name/x"


def test_a_tilde_is_the_users_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert local_path("~/x", Path("/base")) == "/home/me/x"
    config = load_config({"ssh_config": {"private_key": "~/.ssh/key", "host_config": {"log_files": ["~/mail.log"]}}})
    assert config.ssh_config.private_key == "/home/me/.ssh/key"
    assert config.ssh_config.host_config.log_files == ("~/mail.log",)
