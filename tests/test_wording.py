"""How durations, sizes, hosts and times are said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit import T0, row

from mailtrace.model import Coverage
from mailtrace.report import Report
from mailtrace.wording import (
    OUTCOMES,
    Clock,
    address,
    count,
    duration,
    no_mail,
    outcome,
    peer,
    size_of,
    some,
    tally,
    utc_offset,
)


@pytest.mark.parametrize(
    "seconds, words",
    [
        (0, "0 s"),
        (0.004, "0 s"),
        (0.05, "0.05 s"),
        (0.999, "1 s"),
        (2.34, "2.3 s"),
        (9.0, "9 s"),
        (9.97, "10 s"),
        (59.7, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (7810, "2 h 10 min"),
        (432000, "5 d"),
        (-1, "0 s"),
    ],
)
def test_durations_are_said_as_humans_do(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    "count, words",
    [(0, "0 bytes"), (605, "605 bytes"), (2134, "2.1 kB"), (999_999, "1000 kB"), (12_345_678, "12.3 MB")],
)
def test_sizes_are_said_as_humans_do(count: int, words: str) -> None:
    assert size_of(count) == words


def test_numbers_are_said_with_their_noun() -> None:
    assert [count(1, "mail"), count(2, "mail"), count(12_345, "branch", "branches")] == [
        "1 mail",
        "2 mails",
        "12,345 branches",
    ]


def test_many_names_are_counted() -> None:
    assert some(["a", "b", "c", "d", "a"]) == "a, b, c, d"
    assert some("abcde") == "a, b, c and 2 others"


def test_addresses_and_peers_are_said_as_logs_write_them() -> None:
    assert [address(None), address(""), address("a@b\x1b")] == ["unknown", "<>", "a@b\\x1b"]
    assert [peer("mx", "10.0.0.1"), peer("", "::1"), peer("mx", ""), peer("", "")] == [
        "mx [10.0.0.1]",
        "[::1]",
        "mx",
        "",
    ]


@pytest.mark.parametrize("seconds, words", [(0, "UTC"), (None, "UTC"), (3600, "UTC+1"), (-12600, "UTC-3:30")])
def test_offsets_are_said_as_humans_do(seconds: float | None, words: str) -> None:
    assert utc_offset(seconds) == words


def test_outcomes_are_counted_with_the_good_news_first() -> None:
    rows = [row("a", "bounced"), row("b", "delivered"), row("c", "strange"), row("d", "bounced"), row("e", "deferred")]
    assert tally(rows) == [("delivered", 1), ("deferred", 1), ("bounced", 2), ("strange", 1)]
    assert outcome("strange").mark == "?"
    assert all(len(shown.mark) == 1 for shown in OUTCOMES.values())


def test_times_are_told_in_the_reader_s_zone() -> None:
    clock = Clock("+02:00")
    assert (clock.day(T0), clock.minute(T0), clock.zone(T0)) == ("2026-11-23", "2026-11-23 03:04:22", "+02:00")
    assert Clock("Europe/Berlin").zone(T0) == "CET (+01:00)"


@given(st.floats())
def test_a_time_that_no_calendar_has_is_a_question_mark(time: float) -> None:
    clock = Clock("UTC")
    assert clock.minute(time) == "?" or clock.at(time)


def test_not_found_and_not_looked_are_different_words() -> None:
    missing = Coverage("mx1", "files", problem="/nope: no such file", missing=True)
    read = Coverage("mx2", "files", first=1.0, last=2.0)
    assert no_mail(Report("", "trace", coverage=[read])) == "No mail found."
    assert no_mail(Report("", "trace", partial=True)) == "Nothing was searched yet: no log was read."
    assert no_mail(Report("", "trace", coverage=[read], partial=True)) == "No mail found."
    assert no_mail(Report("", "trace", coverage=[missing])) == "Nothing was searched: no log could be read."
    assert no_mail(Report("", "trace", coverage=[missing, read])) == "No mail found in what could be read."
