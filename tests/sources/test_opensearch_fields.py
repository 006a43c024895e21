"""Roles are found among the fields that an index has, whatever their types."""

from __future__ import annotations

from typing import Any

import pytest

from mailtrace.config import OpenSearchMapping
from mailtrace.load.fleet import PRESETS
from mailtrace.sources.opensearch_fields import ROLES, asked_for, candidates, resolve

DEFAULT = OpenSearchMapping()


def caps(**types: str | tuple[str, ...]) -> dict[str, Any]:
    """A `_field_caps` answer; `__` stands for a dot, `at` for `@timestamp`."""
    return {
        name.replace("at_", "@timestamp").replace("__", "."): {
            kind: {"type": kind, "searchable": True, "aggregatable": kind not in ("text", "match_only_text")}
            for kind in ([kinds] if isinstance(kinds, str) else kinds)
        }
        for name, kinds in types.items()
    }


@pytest.mark.parametrize("preset", PRESETS)
def test_what_the_config_makes_of_a_preset_is_known_to_the_source(preset: str) -> None:
    mapping = OpenSearchMapping(**PRESETS[preset])
    found = candidates(preset, mapping)
    for role in ("timestamp", "hostname", "service", "message"):
        assert found[role] == ROLES[preset][role]


def test_a_field_that_the_config_names_stands_alone_and_leaves_the_other_roles() -> None:
    found = candidates("ecs", OpenSearchMapping(hostname="machine"))
    assert found["hostname"] == ("machine",)
    assert found["message"] == ROLES["ecs"]["message"]


def test_auto_tries_the_fields_of_every_shipper() -> None:
    found = resolve(candidates("auto", DEFAULT), caps(timestamp="date", source="keyword", full_log="text"))
    assert [field.name for field in found.message] == ["full_log"]
    assert [field.name for field in found.hostname] == ["source"]
    assert [field.name for field in found.timestamp] == ["timestamp"]


def test_an_object_is_no_field() -> None:
    found = resolve(candidates("logstash", OpenSearchMapping(hostname="host")), caps(host="object", message="text"))
    assert found.hostname == ()


def test_whole_values_of_text_are_those_of_its_keyword() -> None:
    names = candidates("ecs", DEFAULT)
    found = resolve(names, caps(host__name="text", host__name__keyword="keyword", message="text", at_="date"))
    assert found.hostname[0].exact == "host.name.keyword"
    assert "host.name.keyword" in asked_for(names)


def test_nanoseconds_are_asked_for_where_one_index_has_them() -> None:
    names = candidates("ecs", DEFAULT)
    assert resolve(names, caps(at_=("date", "date_nanos"))).timestamp[0].in_nanos
    assert not resolve(names, caps(at_="date")).timestamp[0].in_nanos


def test_a_time_that_is_text_is_a_problem_and_no_time() -> None:
    found = resolve(candidates("ecs", DEFAULT), caps(at_="text", message="text", host__name="keyword"))
    assert found.timestamp == ()
    assert "not a date" in found.problems[0]


def test_a_role_without_a_field_names_the_key_that_mends_it() -> None:
    found = resolve(candidates("ecs", DEFAULT), caps(at_="date"))
    assert any("no field message or event.original" in text and "mapping" in text for text in found.problems)
