from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtrace import times

UTC = timezone.utc
NOW = datetime(2025, 7, 21, 12, 0, tzinfo=UTC).timestamp()


@pytest.fixture
def in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's zone is New York's."""
    before = os.environ.get("TZ")
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.setenv("TZ", before or "UTC")
    time.tzset()


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("10h", 36000),
        ("90s", 90),
        ("1d", 86400),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("1.5h", 5400),
        ("2 weeks", 14 * 86400),
        ("250ms", 0.25),
        ("0s", 0),
        (" 5 Minutes ", 300),
    ],
)
def test_a_duration_is_read_in_its_units(text: str, seconds: float) -> None:
    assert times.duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "h", "ten hours", "-1h", "1x", "1h foo", "1h,30m", "\u0661h", "1 0", "200y", "99999999d"],
)
def test_what_is_no_duration_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        times.duration(text)


def test_a_duration_without_a_unit_says_how_to_give_one() -> None:
    with pytest.raises(ValueError, match='write "90s"'):
        times.duration("90")


@pytest.mark.parametrize(
    "text, moment",
    [
        ("2025-07-21 10:00:00", "2025-07-21T10:00:00+00:00"),
        ("2025-07-21T10:00:00", "2025-07-21T10:00:00+00:00"),
        ("2025-07-21 10:00", "2025-07-21T10:00:00+00:00"),
        ("2025-07-21 9:05", "2025-07-21T09:05:00+00:00"),
        ("2025-07-21", "2025-07-21T00:00:00+00:00"),
        ("2025-07-21T10:00:00Z", "2025-07-21T10:00:00+00:00"),
        ("2025-07-21T10:00:00.250+02:00", "2025-07-21T08:00:00.250+00:00"),
        ("2025-07-21 10:00:00 +0530", "2025-07-21T04:30:00+00:00"),
        ("2025-07-21 10:00 Europe/Berlin", "2025-07-21T08:00:00+00:00"),
        ("20250721T100000Z", "2025-07-21T10:00:00+00:00"),
        ("10:00", "2025-07-21T10:00:00+00:00"),
        ("now", "2025-07-21T12:00:00+00:00"),
        ("2h ago", "2025-07-21T10:00:00+00:00"),
        ("1d 2h ago", "2025-07-20T10:00:00+00:00"),
        ("today", "2025-07-21T00:00:00+00:00"),
        ("Yesterday", "2025-07-20T00:00:00+00:00"),
        ("yesterday 10:30", "2025-07-20T10:30:00+00:00"),
        ("@1753092000", "2025-07-21T10:00:00+00:00"),
    ],
)
def test_a_moment_is_read_in_the_zone_given(text: str, moment: str) -> None:
    assert times.moment(text, NOW, UTC) == datetime.fromisoformat(moment.replace(".250", ".250000")).timestamp()


def test_a_zone_of_its_own_leads_over_the_one_given() -> None:
    assert times.moment("2025-07-21T10:00:00Z", NOW, timezone(timedelta(hours=9))) == NOW - 7200


def test_today_is_the_day_of_the_zone() -> None:
    auckland = times.zone("Pacific/Auckland")
    # At noon in UTC it is already the 22nd there.
    assert times.moment("today", NOW, auckland) == datetime(2025, 7, 21, 12, tzinfo=UTC).timestamp()


@pytest.mark.usefixtures("in_new_york")
def test_no_zone_is_the_machines_with_its_daylight_saving() -> None:
    assert times.moment("2025-07-21 10:00", NOW) == datetime(2025, 7, 21, 14, tzinfo=UTC).timestamp()
    assert times.moment("2025-01-21 10:00", NOW) == datetime(2025, 1, 21, 15, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "tomorrow", "2025-13-01", "2025-02-30", "2025-07-21 25:00", "2025-07-21 10:61", "10", "2h", "ago"),
        *("Jul 21 10:00:00", "2025-07-21-03", "2025-07-21 10:00:000", "2025-07-21 10:00 Mars/Base", "@", "@9x"),
    ],
)
def test_what_is_no_time_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a (time|duration)"):
        times.moment(text, NOW, UTC)


@pytest.mark.parametrize(
    "text, hours",
    [("UTC", 0), ("Z", 0), ("+02:00", 2), ("+0200", 2), ("-05", -5), ("UTC+1000", 10), ("Europe/Berlin", 2)],
)
def test_a_zone_has_a_name_or_an_offset(text: str, hours: int) -> None:
    assert datetime(2025, 7, 21, tzinfo=times.zone(text)).utcoffset() == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "local", "LOCAL"])
def test_the_local_zone_is_left_to_the_machine(text: str) -> None:
    assert times.zone(text) is None


@pytest.mark.parametrize(
    "text", ["Europe", "../../etc/passwd", "/etc/localtime", "leapseconds", "+25:00", "+02:99", "x" * 9999, "\0"]
)
def test_what_is_no_zone_is_said_to_be_none_and_no_file_is_opened(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time zone"):
        times.zone(text)


@given(st.text(max_size=40) | st.from_regex(r"\A[0-9@:TZ+. -]{0,30}(ago|now|today)?\Z"))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (times.duration, times.zone, lambda said: times.moment(said, NOW, UTC)):
        with suppress(ValueError):
            read(text)


def test_a_misspelt_zone_gets_its_near_match() -> None:
    for said in ("Europe/Berln", "europe/berlin"):
        with pytest.raises(ValueError, match=r'did you mean "Europe/Berlin"\?'):
            times.zone(said)
