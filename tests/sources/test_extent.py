"""How far a query reaches into a log."""

from __future__ import annotations

from mailtrace.model import LogQuery
from mailtrace.parsers import make_parser
from mailtrace.sources.extent import counted, wider, windowed

LINES = (
    b"2026-11-23T01:04:15.563623+00:00 ext1 postfix/smtpd[108]: 899322FCB3C: client=client.lab.test[10.77.0.250]\n"
    b"2026-11-23T01:04:15.564360+00:00 ext1 postfix/cleanup[112]: 899322FCB3C: message-id=<a@b>\n"
)


def test_a_query_with_one_open_end_has_a_window() -> None:
    assert windowed(LogQuery(start=1.0))
    assert windowed(LogQuery(end=1.0))
    assert not windowed(LogQuery())


def test_a_window_is_widened_on_both_sides_and_an_open_end_stays_open() -> None:
    start, end = wider(LogQuery(start=1000.0, end=2000.0), late=600.0)
    assert start is not None
    assert end is not None
    assert start < 400.0
    assert end > 2600.0
    assert wider(LogQuery(start=1000.0))[1] is None


def test_entries_are_counted_by_host_as_they_pass() -> None:
    counts: dict[str, int] = {}
    entries = list(counted(make_parser().parse(LINES, 0, lambda name: name), counts))
    assert (len(entries), counts) == (2, {"ext1": 2})
