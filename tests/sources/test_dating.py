"""A log's clock is learnt from samples of it, and places the log among others."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from mailtrace.model import LogQuery
from mailtrace.parsers import make_parser
from mailtrace.sources.catalog import Log
from mailtrace.sources.dating import Dating
from mailtrace.sources.window import first_stamp

# mx2's clock is UTC's; its long queue ID says so, with the year.
BSD = (
    b"Nov 23 01:04:16 mx2 postfix/smtpd[107]: 4jXnlN6NDWzRbDW: client=client.lab.test[10.77.0.250]\n"
    b"Nov 23 01:04:16 mx2 postfix/qmgr[106]: 4jXnlN6NDWzRbDW: removed\n"
)
TRUE = datetime(2026, 11, 23, 1, 4, 16, tzinfo=timezone.utc).timestamp()
NOW = TRUE + 400 * 86400


def log(text: bytes) -> Log:
    made = Log(Path("mail.log"), "mail.log", ["mx2"], make_parser())
    made.head, made.first = text, first_stamp(text, made.parser)
    return made


def test_a_sample_proves_year_and_zone() -> None:
    read = log(BSD)
    dating = Dating(lambda _host: "Asia/Kolkata", NOW)
    dating.learn(read, NOW, lambda: [(0, BSD)])
    assert read.clock is not None
    assert read.first is not None
    assert read.clock.utc(read.first) == (TRUE, TRUE)


def test_only_what_has_a_clock_is_kept_of_a_sample() -> None:
    read = log(BSD)
    Dating(lambda _host: "", NOW).learn(read, NOW, lambda: [(0, BSD)])
    assert [type(entry.event).__name__ for entry in read.sample] == ["Accepted"]


def test_a_later_log_has_the_greater_positions() -> None:
    early, late = log(BSD), log(BSD.replace(b"01:04:16", b"01:09:16"))
    dating = Dating(lambda _host: "UTC", NOW)
    for read in (early, late):
        dating.learn(read, NOW, lambda read=read: [(0, read.head)])  # type: ignore[misc]
    assert late.base > early.base


def test_a_year_that_nothing_proves_is_near_the_window() -> None:
    dating = Dating(lambda _host: "", NOW)
    assert dating.near(log(BSD), LogQuery(end=TRUE)) < NOW
    assert dating.near(log(BSD), LogQuery()) <= NOW
