"""The `csv` export: rows that a spreadsheet takes for text."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from kit import any_report, hop, mail, report, row

from mailtrace.exporters.csv import Csv, cell
from mailtrace.report import Report
from mailtrace.rows import COLUMNS


def exported(found: Report, zone: str = "UTC") -> list[list[str]]:
    stream = io.StringIO(newline="")
    Csv(zone).export(found, stream)
    stream.getvalue().encode()
    return list(csv.reader(io.StringIO(stream.getvalue(), newline=""), strict=True))


def test_a_recipient_is_a_row_under_the_columns() -> None:
    here = hop("mx1", "A", subject='say "hi", all')
    found = exported(report(mail([here], [row("a@x", "delivered", here), row("b@x", "held", here)])))
    assert found[0] == list(COLUMNS)
    assert [line[COLUMNS.index("recipient")] for line in found[1:]] == ["a@x", "b@x"]
    assert found[1][COLUMNS.index("path")] == "mx1:A"
    assert found[1][COLUMNS.index("first")] == "2026-11-23T01:04:22.000Z"


def test_times_are_in_the_zone_asked_for() -> None:
    (_, line) = exported(report(mail([hop("mx1", "A")], [row("a@x", "held")])), "+02:00")
    assert line[COLUMNS.index("first")] == "2026-11-23T03:04:22.000+02:00"


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "\xa0=1", "\uff1d1", "=cmd|' /C calc'!A0", "\n=1"]
)
def test_no_text_is_a_formula(text: str) -> None:
    (_, line) = exported(report(mail([hop("mx1", "A")], [row(text, "held", reason=text)], sender=text)))
    for name in ("recipient", "sender", "reason"):
        assert line[COLUMNS.index(name)].startswith("'")


@pytest.mark.parametrize("value", [None, "", "a@x", 5, 0.25, "a-b", "1=1"])
def test_what_is_no_formula_stays_as_it_is(value: object) -> None:
    assert cell(value) == ("" if value is None else value)


@settings(max_examples=40, deadline=None)
@given(any_report())
def test_hostile_text_breaks_no_row(found: Report) -> None:
    lines = exported(found)
    assert {len(line) for line in lines} == {len(COLUMNS)}
    assert len(lines) == 1 + sum(len(each.recipients) for each in found.mails)
    assert not any(text[:1] in "=+-@\t\r" and not text.lstrip("-").replace(".", "").isdigit() for line in lines
                   for text in line if text)  # fmt: skip
