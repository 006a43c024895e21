"""The `summary` export."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from kit import any_report, delivery, hop, mail, report, row

from mailtrace.exporters.summary import Table
from mailtrace.report import Report


def told(found: Report, width: int = 100) -> str:
    stream = io.StringIO()
    Table(time_zone="UTC", width=width).export(found, stream)
    return stream.getvalue()


def test_it_tells_how_many_came_out_how_why_not_where_time_went_and_what_waits() -> None:
    slow = hop("mx1", "A", delivery("a@x", "sent", "mx[192.0.2.1]:25", delays=(0, 0, 120.0, 1)))
    stuck = hop("mx2", "B")
    text = told(
        report(
            mail([slow], [row("a@x", "relayed", slow), row("c@x", "bounced", slow, reason="550 no such user")]),
            mail([stuck], [row("b@x", "deferred", stuck, reason="timeout")], sender="s@y"),
        )
    )
    assert text.startswith("2 mails, 3 recipients, 2026-11-23 01:04:22 to ")
    assert "  33.3 %  → relayed" in text
    assert "        1  bounced: 550 no such user" in text
    assert "99.2 %  mx1  connecting: 2 min on average, 2 min at most, 1 delivery" in text
    assert "Stuck: 1 recipient, the oldest first" in text
    assert "mx2 B  s@y → b@x  deferred: timeout" in text


def test_keys_that_were_not_found_are_named() -> None:
    text = told(report(keys={"a@x": ["m"], "b@x": [], "c@x": []}))
    assert "Keys       1 of 3 found; not found: b@x, c@x" in text
    many = told(report(keys={f"u{n}@x": [] for n in range(1000)}))
    assert "and 980 others" in many


def test_nothing_found_is_said() -> None:
    assert told(report()).startswith("No mail found.\n")


@settings(max_examples=30, deadline=None)
@given(any_report())
@pytest.mark.parametrize("width", [32, 80])
def test_no_text_of_a_log_reaches_the_terminal_as_it_is(width: int, found: Report) -> None:
    text = told(found, width)
    assert all(char == "\n" or char.isprintable() for char in text)
