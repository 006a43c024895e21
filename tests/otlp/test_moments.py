"""When spans begin and end: what stamps, queue IDs and delays tell together."""

from __future__ import annotations

from typing import Any

import pytest
from kit import T0, delivery, hop

from mailtrace.otlp import moments
from mailtrace.otlp.moments import attempted, begun, inside, moved, ns, received

LONG = "4jXnld48w1zRZQc"
SHORT = "7A1205D0C1E"  # 500,000 microseconds


def attempt(next_id: str = "", after: float = 0.0, mta: str = "postfix", **more: Any) -> tuple[float, float]:
    """Seconds since T0 at which an attempt began and ended."""
    sent = delivery("bob@example.com", "sent", "mx2[192.0.2.2]:25", **more)
    start, end = attempted(hop("mx1", "4F1", mta=mta), sent, next_id, T0 + after)
    return round(start - T0, 6), round(end - T0, 6)


def test_nanoseconds_are_whole_microseconds() -> None:
    assert ns(1795395855.123456) == 1795395855123456000
    assert ns(0.0) == 0


@pytest.mark.parametrize("time", [-1.0, 1e12, 1e300, float("inf")])
def test_a_time_that_no_clock_tells_still_fits_into_64_bits(time: float) -> None:
    assert 0 <= ns(time) < 1 << 63


@pytest.mark.parametrize(
    "raw, told",
    [
        ("2023-11-14T22:13:20.250000+00:00", False),
        ("2023-11-14T23:13:20.250+01:00", False),
        ("2023-11-14T22:13:20.250Z", False),
        ("1700000000250000", False),
        ("2023-11-14T22:13:20.250000", True),
        ("2023-11-14T22:13:25.250000+00:00", True),
        ("Nov 14 22:13:20", True),
        ("9" * 400, True),
    ],
)
def test_a_stamp_is_told_where_it_does_not_say_the_time_by_itself(raw: str, told: bool) -> None:
    assert moments.corrected(raw, 1700000000.25) == (raw if told else "")


def test_an_attempt_took_what_connection_and_transmission_took_and_their_rounding() -> None:
    assert attempt(at=10.25, delays=(1.0, 2.0, 0.3, 0.4), delay=3.7) == (9.54, 10.25)
    assert attempt(at=10.25, delays=(1.0, 2.0, 3.0, 0.0), delay=6.0) == (7.195, 10.25)


def test_within_a_whole_second_the_reply_s_id_tells_the_moment() -> None:
    assert attempt(SHORT, at=10.0, delays=(0.0, 0.0, 0.2, 0.1), delay=0.3) == (10.295, 10.605)


def test_an_attempt_that_may_have_crossed_into_its_second_is_drawn_over_both() -> None:
    assert attempt(SHORT, at=10.0, delays=(0.0, 0.0, 0.0, 0.6), delay=0.6) == (8.89, 10.999999)


def test_an_id_without_a_clock_leaves_the_whole_second() -> None:
    assert attempt("1xVITf-00000K-1u", at=10.0, delays=(0.0, 0.0, 0.0, 0.1), delay=0.1) == (9.89, 10.999999)


def test_an_attempt_that_led_nowhere_ends_with_its_line() -> None:
    assert attempt(at=10.0, delays=(0.0, 0.0, 0.0, 0.1), delay=0.1) == (9.89, 10.0)


def test_an_attempt_does_not_begin_before_the_queue_has_the_message() -> None:
    assert attempt(at=10.25, after=9.6, delays=(0.0, 0.0, 0.3, 0.4), delay=0.7) == (9.6, 10.25)


def test_within_a_whole_second_an_attempt_follows_what_came_before() -> None:
    assert attempt(at=10.0, after=10.4, delays=(0.0, 0.0, 0.0, 0.1), delay=0.1) == (10.4, 10.51)
    assert attempt(SHORT, at=10.0, after=10.7, delays=(0.0, 0.0, 0.0, 0.1), delay=0.1) == (10.7, 10.81)
    assert attempt(at=10.0, after=10.4, mta="exim") == (10.4, 10.999999)
    assert attempt(at=10.0, after=10.0, mta="exim", delay=0.0) == (10.0, 10.999999)


def test_without_a_duration_an_attempt_took_a_second_at_most() -> None:
    assert attempt(at=10.5, after=10.2) == (10.2, 10.5)
    assert attempt(at=10.5, after=3.0) == (9.5, 10.5)


def test_exim_tells_the_duration_itself() -> None:
    assert attempt(at=10.5, mta="exim", delay=0.25) == (10.245, 10.5)


def test_a_duration_of_exim_s_without_a_fraction_is_less_than_a_second_more() -> None:
    assert attempt(at=10.5, mta="exim", delay=0.0, after=9.0) == (9.5, 10.5)


def test_the_one_stamp_in_a_million_that_has_no_microseconds_is_exact() -> None:
    assert begun(hop("mx1", "F41FE988796", at=5.0, until=5.009)) == T0 + 5.0
    assert begun(hop("mx1", "F41FE988796", at=5.0, until=6.0)) == T0 + 5.999934
    sent = delivery("bob@example.com", "sent", at=10.0)
    assert attempted(hop("mx1", "4F1", sent, at=9.25), sent, "", T0 + 9.0) == (T0 + 9.0, T0 + 10.0)


def test_a_skewed_clock_s_whole_seconds_are_known() -> None:
    sent = delivery("bob@example.com", "sent", at=-436.7, delays=(0.0, 0.0, 0.0, 0.1), delay=0.1)
    start, end = attempted(hop("mx1", "4F1", sent, at=-437.7), sent, SHORT, T0 - 500, skew=436.7)
    assert (round(start - T0 + 436.7, 6), round(end - T0 + 436.7, 6)) == (0.495, 0.605)


def test_a_reception_begins_when_its_long_id_was_given() -> None:
    from mailtrace.ids import id_time

    given = id_time(LONG)
    assert given is not None
    assert begun(hop("mx1", LONG, at=given - T0 + 0.004)) == pytest.approx(given)
    assert begun(hop("mx1", LONG, at=given - T0 + 86400)) == pytest.approx(given + 86400)


def test_a_short_id_tells_the_fraction_of_a_whole_second_only() -> None:
    assert begun(hop("mx1", SHORT, at=10.0)) - T0 == pytest.approx(10.5)
    assert begun(hop("mx1", SHORT, at=10.25)) - T0 == pytest.approx(10.25)


@pytest.mark.parametrize("queue_id", ["1xVITf-00000K-1u", "1tKPcC-000000001Ab-2x5z", "", "nonsense", "0000030"])
def test_what_has_no_fraction_tells_none(queue_id: str) -> None:
    assert not moments.fraction(queue_id)


@pytest.mark.parametrize(
    "start, end, by",
    [
        (3.0, 4.0, 0.0),
        (1.0, 1.5, 1.0),
        (7.0, 8.0, -3.0),
        (1.0, 4.5, 0.5),  # longer than what it lies in: its end at any rate
        (0.0, 9.0, -4.0),
    ],
)
def test_what_lies_outside_is_moved_inside(start: float, end: float, by: float) -> None:
    assert inside(start, end, (2.0, 5.0)) == by


def test_a_hop_is_moved_with_all_its_times() -> None:
    whole = hop("mx1", SHORT, delivery("bob@example.com", "sent", at=2.0))
    whole.taken, whole.expired = 1.5, 2.5
    found = moved(whole, 10.0)
    assert (found.first, found.last, found.taken, found.expired) == (
        whole.first + 10.0,
        whole.last + 10.0,
        11.5,
        12.5,
    )
    assert found.deliveries[0].time == whole.deliveries[0].time + 10.0
    assert moved(whole, 0.0) is whole


@pytest.mark.parametrize(
    "queue_id, mta, handoff, found",
    [
        (SHORT, "postfix", None, 0.5),
        (SHORT, "postfix", (0.3, 0.6), 0.5),
        (SHORT, "postfix", (0.7, 0.8), 0.7),  # a queue ID that contradicts it
        (SHORT, "postfix", (-0.2, 0.1), 0.0),
        (SHORT, "postfix", (1.7, 1.8), 0.5),  # another second: that is a matter of clocks
        ("1vFaC3-0000Es-1X", "exim", (0.7, 0.8), 0.7),
    ],
)
def test_a_hand_off_tells_when_in_its_second_a_reception_began(
    queue_id: str, mta: str, handoff: tuple[float, float] | None, found: float
) -> None:
    within = None if handoff is None else (T0 + handoff[0], T0 + handoff[1])
    start, end = received(hop("mx1", queue_id, mta=mta), 0.0, within)
    assert round(start - T0, 6) == found
    assert end >= start
