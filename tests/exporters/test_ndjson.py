"""The `ndjson` export: rows for programs."""

from __future__ import annotations

import io
import json

import jsonschema
import pytest
from hypothesis import given, settings
from kit import any_report, hop, mail, report, row

from mailtrace.exporters.ndjson import Ndjson
from mailtrace.load import schema
from mailtrace.report import Report

ROW = jsonschema.Draft202012Validator(schema("row"))


def exported(found: Report) -> list[dict[str, object]]:
    stream = io.StringIO()
    Ndjson().export(found, stream)
    stream.getvalue().encode()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_recipient_is_an_object_a_line_as_the_schema_has_it() -> None:
    here = hop("mx1", "A")
    found = exported(report(mail([here], [row("a@x", "delivered", here), row("b@x", "held", here)])))
    assert [each["outcome"] for each in found] == ["delivered", "held"]
    assert found[0]["path"] == [{"host": "mx1", "queue_id": "A"}]
    for each in found:
        ROW.validate(each)


@settings(max_examples=30, deadline=None)
@given(any_report())
def test_whatever_a_log_holds_is_as_the_schema_has_it(found: Report) -> None:
    for each in exported(found):
        ROW.validate(each)


@pytest.mark.parametrize("text", ["a\nb", "\u2028", "\x1b[2J", "\ud800"])
def test_no_text_ends_a_line_or_moves_a_cursor(text: str) -> None:
    stream = io.StringIO()
    Ndjson().export(report(mail([hop("mx1", "A")], [row(text, "held")])), stream)
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()
