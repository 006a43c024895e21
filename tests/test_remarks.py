"""What is told beside the mails. How it looks is each exporter's test."""

from __future__ import annotations

from hypothesis import given
from kit import T0, any_report, report

from mailtrace.model import ClockNote, Coverage, Expectation, Warning_
from mailtrace.remarks import Remark, proof_of, remarks
from mailtrace.report import Report
from mailtrace.wording import BAD, GOOD, OPEN, Clock

UTC = Clock("UTC")


def test_what_failed_is_told_before_what_is_only_good_to_know() -> None:
    made = report(
        start=T0,
        end=T0 + 60,
        coverage=[
            Coverage("mx1", "files", first=T0, last=T0 + 9, lines=7, unparsed=2),
            Coverage("mx2", "files", problem="no such file", missing=True),
            Coverage("mx3", "files", problem="no such file", missing=True),
        ],
        clocks=[ClockNote("mx1", 3600.0, "ids", 90.0, "ids")],
        warnings=[Warning_("w", "mind this", "mx1")],
        expectations=[Expectation("delivered: all", False, "1 bounced"), Expectation("found", True)],
    )
    assert list(remarks(made, UTC)) == [
        Remark("Expected", "delivered: all; seen: 1 bounced", BAD, "✗"),
        Remark("Expected", "found", GOOD, "✓"),
        Remark("Asked for", "mail from 2026-11-23 01:04:22 until 2026-11-23 01:05:22 UTC"),
        Remark("Looked at", "1 log of 1 host, 7 lines, 2026-11-23 01:04:22 to 01:04:31"),
        Remark("Looked at", "2 lines of a mail program in a form not known here", "dim"),
        Remark("Looked at", "✗ mx2, mx3: no such file", BAD),
        Remark("Clocks", "mx1 is 1 min 30 s fast; times here are corrected", OPEN),
        Remark("Clocks", "mx1: stamps in UTC+1, proved by ids", "dim"),
        Remark("Warning", "mx1: mind this", OPEN),
    ]


def test_a_zone_that_nothing_proves_is_told_louder_than_one_that_is_configured() -> None:
    made = report(clocks=[ClockNote("a", 0.0, "", 0.0, "machine"), ClockNote("b", 0.0, "", 0.0, "config")])
    assert [item.tone for item in remarks(made, UTC) if item.name == "Clocks"] == [OPEN, "dim"]
    assert proof_of("machine") == "this machine's zone, for want of proof"


@given(any_report())
def test_remarks_of_any_report_are_plain_text(made: Report) -> None:
    assert all(item.text.isprintable() for item in remarks(made, UTC))
