"""The clock of a log, learnt from a sample."""

from __future__ import annotations

from pathlib import Path

from mailtrace.model import LogQuery, Stamp, Zone
from mailtrace.parsers import make_parser
from mailtrace.sources.catalog import Log
from mailtrace.sources.dating import Dating
from mailtrace.sources.window import first_stamp

LINE = (
    b"Nov 23 04:07:57 mx1 postfix/cleanup[7]: 75E9498A442: "
    b"message-id=<20261123070757.75E9498A442@core-out.quay.example>\n"
)
NOW = 1795500000.0


def log() -> Log:
    made = Log(Path("/log"), "/log", ["mx1"], make_parser())
    made.first = first_stamp(LINE, made.parser)
    return made


def test_a_year_and_a_zone_are_proved_by_the_ids_of_the_sample() -> None:
    made = log()
    Dating(lambda _host: "", NOW, "UTC").learn(made, NOW, lambda: [(0, LINE)])
    assert made.clock is not None
    assert made.clock.proved()
    assert made.first is not None
    assert made.clock.utc(made.first)[0] == 1795417677.0  # 2026-11-23T07:07:57Z: the host is three hours west


def test_a_sample_is_not_read_where_stamps_carry_their_offset() -> None:
    made = log()
    made.first = Stamp(NOW, Zone.UTC)

    def unwanted() -> list[tuple[int, bytes]]:
        raise AssertionError

    Dating(lambda _host: "", NOW).learn(made, NOW, unwanted)
    assert made.base > 0


def test_a_year_is_not_after_the_window() -> None:
    dating = Dating(lambda _host: "", NOW)
    assert dating.near(log(), LogQuery(end=1000.0)) < 1000.0 + 183 * 86400
    assert dating.near(log(), LogQuery()) == NOW
