"""When a span began and ended, as exactly as the log tells.

A reception begins with the message's queue ID, where that has a clock, else with its first line, and ends when the
queue has the message (Postfix: the header's line, or the queue manager's where a long body came between; Exim: `<=`).
An attempt ends with its line and took what Postfix' `delays=` call connection set-up and transmission, or Exim's
`DT=`, which are rounded: it begins half a unit of their last digit earlier. Where nothing tells, it took what lies
between it and what came before, a second at most.

Stamps without a fraction stand for a whole second. Within it queue IDs say more: they hold the microsecond at which the
message got them, and a reply's ID is the same clock, read on the sender's side. Where even so the second is in doubt
(the transaction may have crossed into it), the attempt is drawn over both. So the next hop's reception lies within
the hand-off that made it, but for filters that answer first and pass on later.

Two things a hand-off tells of the reception that it led to (`passed`). A clock that is known to be wrong is never
wrong by the same amount for long: by how much it was at that moment, the hand-off says. And Exim's ID tells the second
in which a reception began, the hand-off that it was not before its own beginning.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from mailtrace.ids import id_time, short_micros
from mailtrace.model import Delivery, Hop

LEAST = 1000
"""Nanoseconds that a span lasts at least: back ends take one without length for a mistake."""
_LATEST = float(1 << 33)  # seconds: the year 2242
LONGEST_RECEPTION = 3600.0
"""Seconds that a message may take to come in."""
UNTOLD = 1.0
"""Seconds that an attempt is taken to last at most, where nothing tells how long it did."""

WHOLE = 0.999999
"""Seconds of a second that a stamp without a fraction may leave out."""


def ns(seconds: float) -> int:
    """Nanoseconds of a time in seconds, whole microseconds: more digits a float does not have.

    What no clock tells is the earliest or the latest that OTLP can say.
    """
    if 0.0 <= seconds < _LATEST:
        return int(seconds * 1e6 + 0.5) * 1000
    return 0 if seconds < 0.0 else int(_LATEST) * 1_000_000_000


def corrected(raw: str, time: float) -> str:
    """A stamp as the line has it, where it does not say by itself what time it was; else ""."""
    if not raw[:1].isdecimal():  # BSD's, by far the most of those that don't
        return raw
    try:
        if raw.isdecimal():  # the journal's microseconds
            said = int(raw) / 1e6
        else:
            at = datetime.fromisoformat(raw.replace("Z", "+00:00"))
            if at.tzinfo is None:
                return raw
            said = at.timestamp()
    except (ValueError, OverflowError):
        return raw
    return raw if abs(said - time) > 0.001 else ""


def is_whole(time: float, skew: float) -> bool:
    """Whether a stamp has no fraction of a second; `skew` was taken off it."""
    if not skew:
        return time.is_integer()
    rest = (time + skew) % 1.0
    return rest < 0.001 or rest > 0.999  # a note's skew is rounded


def in_seconds(hop: Hop, time: float, skew: float) -> bool:
    """Whether one of a hop's stamps tells no more than the second: the one in a million that says 0 does tell."""
    return is_whole(time, skew) and is_whole(hop.first, skew) and is_whole(hop.last, skew)


def fraction(queue_id: str) -> float | None:
    """The fraction of the second at which a message got its queue ID, None where the ID doesn't tell."""
    micros = short_micros(queue_id)
    if micros is not None:
        return micros / 1e6
    clock = id_time(queue_id)  # Exim's are whole: what its last digits count depends on its configuration
    return clock % 1.0 if clock is not None and not clock.is_integer() else None


def begun(hop: Hop, skew: float = 0.0) -> float:
    """When a hop's reception began, in seconds. `skew` is how far its host's clock is ahead."""
    first = hop.first
    clock = id_time(hop.queue_id)
    if clock is not None and -1.0 < first - (clock - skew) < LONGEST_RECEPTION:
        return clock - skew
    micros = short_micros(hop.queue_id)
    return first + micros / 1e6 if micros and in_seconds(hop, first, skew) else first


def accepted(hop: Hop) -> float:
    """When the queue had the message, in seconds."""
    if hop.taken is not None:
        return hop.taken
    if hop.held:
        return hop.first
    starts = [d.time - sum(d.delays[1:]) if d.delays else d.time for d in hop.deliveries]
    return min(starts, default=hop.first)


def inside(start: float, end: float, within: tuple[float, float]) -> float:
    """The seconds by which what lasted from `start` to `end` has to be moved to lie `within`, its end at any rate."""
    if end > within[1]:
        return within[1] - end
    return min(within[0] - start, within[1] - end) if start < within[0] else 0.0


def moved(hop: Hop, by: float) -> Hop:
    """A hop with all its times moved by some seconds."""
    if not by:
        return hop
    return replace(
        hop,
        first=hop.first + by,
        last=hop.last + by,
        taken=None if hop.taken is None else hop.taken + by,
        expired=None if hop.expired is None else hop.expired + by,
        deliveries=[delivery._replace(time=delivery.time + by) for delivery in hop.deliveries],
        actions=[action._replace(time=action.time + by) for action in hop.actions],
    )


def received(hop: Hop, skew: float, handoff: tuple[float, float] | None) -> tuple[float, float]:
    """When a hop's reception began and ended; `handoff` tells when the attempt that led to it did, where one is known.

    Where its own host tells no more than the second in which it began, the hand-off tells the rest.
    """
    start = begun(hop, skew)
    end = max(accepted(hop), start)
    if handoff is not None and not handoff[0] <= start <= handoff[1]:
        second = hop.first if in_seconds(hop, hop.first, skew) else start if hop.mta == "exim" else None
        if second is not None and handoff[0] < second + 1.0 and handoff[1] >= second:
            start = max(handoff[0], second)
            end = max(start, min(end, handoff[1]))
    return start, end


def attempted(hop: Hop, delivery: Delivery, next_id: str, after: float, skew: float = 0.0) -> tuple[float, float]:
    """When an attempt of a hop began and ended, in seconds.

    `next_id` is the queue ID that it led to ("" if none), `after` the moment before which it cannot have begun.
    """
    end, delays = delivery.time, delivery.delays
    whole = in_seconds(hop, end, skew)
    setup = 0.0
    if delays is not None:
        setup, sending = _longest(delays[2]), _longest(delays[3])
    elif hop.mta == "exim" and delivery.delay is not None and not delivery.delay.is_integer():
        sending = _longest(delivery.delay)
    else:
        untold = UNTOLD + (delivery.delay or 0.0 if hop.mta == "exim" else 0.0)  # `DT=0s` is less than a second
        sending = min(max(end + (WHOLE if whole else 0.0) - after, 0.0), untold)
    start = end - setup - sending
    if whole:
        start, end = _within(start, end, setup, sending, next_id, after)
    return (max(start, after) if after < end else start), end


def _within(start: float, end: float, setup: float, sending: float, next_id: str, after: float) -> tuple[float, float]:
    """The same where the line tells the second alone."""
    latest = end + WHOLE
    within = fraction(next_id) if next_id else None
    if within is not None:
        if within + sending >= 1.0:  # it may have begun in the second before
            start, end = start - 1.0 + within, latest
        else:
            start, end = end + within - setup, end + within + sending
        if end > after:
            return start, end
    elif next_id:
        return start, latest
    if start < after < latest:  # in its own second, and not before the queue had the message
        return after, min(max(end, after + setup + sending), latest)
    return start, end


def _longest(rounded: float) -> float:
    """What a duration may have been before it was rounded: to two digits, to hundredths at most."""
    return rounded + (0.005 if rounded < 1.0 else 0.05 if rounded < 10.0 else 0.5)
