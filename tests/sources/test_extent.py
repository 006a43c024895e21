"""How far a query reaches into a log."""

from __future__ import annotations

from pathlib import Path

from mailtrace.clocks import Clocks
from mailtrace.model import LogQuery, Stamp, Zone
from mailtrace.parsers import make_parser
from mailtrace.sources.catalog import Log
from mailtrace.sources.extent import behind, reaches, wider, windowed
from mailtrace.sources.window import SLACK, LogClock


def log(first: float, last: float | None, *, ended: bool = True) -> Log:
    made = Log(Path("/log"), "/log", ["mx1"], make_parser())
    made.clock = LogClock(Clocks(lambda _host: "", near=0.0), "mx1", lambda _host: False)
    made.first = Stamp(first, Zone.UTC)
    made.last = None if last is None else Stamp(last, Zone.UTC)
    made.ended = ended
    return made


def test_a_window_is_widened_at_both_ends_that_it_has() -> None:
    assert wider(LogQuery(start=1000.0, end=2000.0)) == (1000 - SLACK, 2000 + SLACK)
    assert wider(LogQuery()) == (None, None)
    assert not windowed(LogQuery())
    assert windowed(LogQuery(end=0.0))


def test_a_log_reaches_into_a_window_that_it_overlaps() -> None:
    assert reaches(log(1000, 2000), [], LogQuery(start=1500, end=1600))
    assert not reaches(log(1000, 2000), [], LogQuery(start=2000 + SLACK + 1))
    assert not reaches(log(5000, 6000), [], LogQuery(end=5000 - SLACK - 1))


def test_a_log_whose_end_is_not_known_ends_where_the_next_begins() -> None:
    packed = log(1000, 1100, ended=False)
    assert reaches(packed, [(log(3000, 4000), None)], LogQuery(start=2500))
    assert not reaches(packed, [(log(2000, 4000), None)], LogQuery(start=2500))


def test_behind_a_window_is_after_its_end() -> None:
    made = log(0, 9000)
    assert behind(made, Stamp(5000, Zone.UTC), LogQuery(end=1000))
    assert not behind(made, Stamp(500, Zone.UTC), LogQuery(end=1000))
    assert not behind(made, None, LogQuery(end=1000))
