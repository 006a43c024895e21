"""The registry of exporters."""

from __future__ import annotations

import io
import json
from dataclasses import MISSING, fields
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest
from kit import report

from mailtrace.errors import ExportError
from mailtrace.exporters import EXPORTERS, GROUP, exporter, make

SCHEMA = Path(__file__).parents[2] / "schemas" / "job.schema.json"


def options(name: str) -> dict[str, Any]:
    """The schema's options of an export step, without where it goes."""

    def find(node: Any) -> dict[str, Any] | None:
        if isinstance(node, dict):
            step = node.get(name)
            if (
                isinstance(step, dict)
                and isinstance(step.get("properties"), dict)
                and {"to", "endpoint"} & {*step["properties"]}
            ):
                return {key: value for key, value in step["properties"].items() if key != "to"}
            node = list(node.values())
        found = (find(item) for item in node) if isinstance(node, list) else ()
        return next((item for item in found if item is not None), None)

    got = find(json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert got is not None, f"the schema knows no export {name}"
    return got


@pytest.mark.parametrize("name", EXPORTERS)
def test_an_exporter_s_options_are_the_schema_s(name: str) -> None:
    wanted = options(name)
    have = {item.name: item for item in fields(exporter(name))}  # type: ignore[arg-type]
    assert set(have) == set(wanted)
    for key, item in have.items():
        default = item.default if item.default_factory is MISSING else item.default_factory()
        assert default == wanted[key]["default"], key


@pytest.mark.parametrize("name", EXPORTERS)
def test_every_word_names_an_exporter(name: str) -> None:
    made = make(name)
    assert callable(made.export)
    assert isinstance(getattr(made, "binary"), bool)  # noqa: B009 - the protocol does not promise it


def test_an_unknown_word_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(ExportError, match=r"timelime.*timeline, json"):
        make("timelime")


class Postcard:
    """What another package could bring."""

    def __init__(self, greeting: str) -> None:
        self.greeting = greeting

    def export(self, report: object, stream: Any) -> None:
        stream.write(self.greeting)


def others(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    points = EntryPoints([EntryPoint("postcard", value, GROUP)])
    monkeypatch.setattr("importlib.metadata.entry_points", points.select)


def test_another_package_joins_by_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    others(monkeypatch, f"{__name__}:Postcard")
    monkeypatch.setattr(EntryPoint, "load", lambda _: Postcard)
    stream = io.StringIO()
    make("postcard", greeting="hello").export(report(), stream)
    assert stream.getvalue() == "hello"


def test_another_package_that_is_broken_is_an_export_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    others(monkeypatch, "no_such_package_at_all:Thing")
    with pytest.raises(ExportError, match="no_such_package_at_all"):
        make("postcard")
