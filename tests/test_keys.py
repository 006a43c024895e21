"""The keys of the schemas: all of them, by their path."""

from __future__ import annotations

from typing import Any

import pytest

from mailtrace.keys import DOCUMENTS, Key, keys
from mailtrace.load.tree import from_yaml


def by_path(document: str) -> dict[str, Key]:
    return {key.path: key for key in keys(document)}


def test_a_key_is_found_in_mappings_lists_and_under_any_name() -> None:
    job, config = by_path("job"), by_path("config")
    assert job["find.since"].title == "Since"
    assert job["export.timeline.width"].type == "whole number"
    assert config["ssh_config.hosts.NAME.log_files"].text
    assert by_path("report")["mails.hops.deliveries.delays.in_qmgr"].type == "number"
    assert "warning.code" in by_path("event")


def test_defaults_and_choices_are_the_schemas() -> None:
    job = by_path("job")
    assert job["walk.max_hops"].default == "30"
    assert job["kind"].choices == ("trace", "graph", "tracing")
    assert job["find.sender"].default is None


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_path_is_there_twice(document: str) -> None:
    paths = [key.path for key in keys(document)]
    assert len(paths) == len(set(paths))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_an_example_can_be_pasted_into_a_file(document: str) -> None:
    for key in keys(document):
        for example in key.examples:
            tree, problems, _ = from_yaml(f"{key.name}: {example}\n".encode(), "x")
            found: Any = tree.plain() if tree else None
            assert not problems, (key.path, example)
            assert key.name in found
