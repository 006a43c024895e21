"""What each hop of a mail did when: bars and marks on the time axis.

A log whose stamps have no fraction tells each time to the second only. Drawn as they are, such stays would lie up to
a second beside their neighbours with finer stamps, and seem to overlap or to wait. They are drawn where they fit:
within their second, not before the message was handed to them and not after it was seen on the next host. Such a lane
is `soft`, and the page says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mailtrace.model import Delivery, Hop, LinkKind
from mailtrace.story import Story, early, sent, whole
from mailtrace.wording import greylisted

SECOND = 0.999
"""How much later than a whole second's stamp something may have been."""
STAGES = {
    "before": "before the queue",
    "queue": "in the queue",
    "connect": "connecting",
    "send": "transmission",
    "stay": "on this host",
    "wait": "waiting for a retry",
}
"""The kinds of bars, in words. `stay` is all of it where the log does not tell the stages."""

_FRACTION = re.compile(r":\d\d[.,]\d")


class Bar(NamedTuple):
    """A stage: its kind (a key of `STAGES`), from when to when."""

    kind: str
    start: float
    end: float


class Mark(NamedTuple):
    """Something that happened at a moment: a sign, its tone, the words."""

    time: float
    sign: str
    tone: str
    text: str


class Lane(NamedTuple):
    """One hop's work for some recipients. `soft`: its times are known to the second only."""

    bars: list[Bar]
    marks: list[Mark]
    soft: bool

    @property
    def times(self) -> list[float]:
        """Every moment that the axis needs."""
        return [time for bar in self.bars for time in (bar.start, bar.end)] + [mark.time for mark in self.marks]


class Lanes:
    """Where every hop of a mail lies in time."""

    def __init__(self, story: Story) -> None:
        """Of the story's mail."""
        self.story = story
        hops = story.mail.hops
        self._soft = {hop.id for hop in hops if _to_the_second(hop)}
        self._next: dict[str, list[tuple[float, Hop]]] = {hop.id: [] for hop in hops}  # seconds it took, next hop
        self._before: dict[str, list[Hop]] = {hop.id: [] for hop in hops}
        for link in story.mail.links:
            one, other = story.hops.get(link.from_), story.hops.get(link.to)
            if one is not None and other is not None and link.kind is not LinkKind.BOUNCED and one is not other:
                self._next[one.id].append((_delay(one, other), other))
                self._before[other.id].append(one)
        self._start = self._placed(hops)

    def start(self, hop: Hop) -> float:
        """When a hop's message came, where its lane begins."""
        return self._start[hop.id]

    def soft(self, hop: Hop) -> bool:
        """Whether the hop's log tells its times to the second only."""
        return hop.id in self._soft

    def lane(self, hop: Hop, attempts: Sequence[Delivery], after: Hop | None) -> Lane:
        """What the hop did in these attempts, the last of which led to the hop `after` or to an end."""
        bars: list[Bar] = []
        marks = [
            Mark(one.time, "▲", "open", "refused at first" + (", greylisted" if greylisted(one.reply) else ""))
            for one in attempts
            if early(one, hop)
        ]
        since, first = self._start[hop.id], True
        for one in (one for one in attempts if not early(one, hop)):
            end = max(since, self._end(hop, one, after))
            bars += _bars(since, end, one, first=first)
            marks += _marks(one, end, last=one is attempts[-1])
            since, first = end, False
        if after is None and hop.expired is not None and attempts and attempts[-1].status == "deferred":
            if hop.expired - since < 1:
                marks.pop()  # given up at once after the last attempt
            marks.append(Mark(max(since, hop.expired), "✗", "bad", "given up"))
            bars += [Bar("wait", since, hop.expired)] if hop.expired > since else []
        if not bars:  # no time passed that the log could tell, or nothing is known of what came after
            bars.append(Bar("stay", since, max(since, hop.last) if not attempts else since))
        return Lane(bars, marks, self.soft(hop))

    # ------------------------------------------------------------------ where a whole second lies

    def _placed(self, hops: Sequence[Hop]) -> dict[str, float]:
        spans = {hop.id: _span(hop) if hop.id in self._soft else (hop.first, hop.first) for hop in hops}
        low = {hop: span[0] for hop, span in spans.items()}
        high = {hop: span[1] for hop, span in spans.items()}
        wish: dict[str, float] = {}
        for hop in reversed(hops):
            if hop.id not in self._soft:
                wish[hop.id] = hop.first
                continue
            for seconds, other in self._next[hop.id]:
                high[hop.id] = max(low[hop.id], min(high[hop.id], high[other.id]))
                if other.id in wish:
                    wish[hop.id] = min(wish.get(hop.id, wish[other.id]), wish[other.id] - seconds)
        placed: dict[str, float] = {}
        for hop in hops:
            handed = [placed[one.id] + _delay(one, hop) for one in self._before[hop.id] if one.id in placed]
            wanted = wish.get(hop.id, max(handed, default=hop.first))
            came = [placed[one.id] for one in self._before[hop.id] if one.id in placed]
            placed[hop.id] = min(high[hop.id], max(low[hop.id], wanted, *came))
        return placed

    def _end(self, hop: Hop, one: Delivery, after: Hop | None) -> float:
        """When an attempt ended."""
        if hop.id not in self._soft:
            return one.time
        wanted = one.time
        if one.delay is not None:
            wanted = self._start[hop.id] + one.delay
        elif after is not None and one.status == "sent":
            wanted = self._start.get(after.id, one.time)
        return min(one.time + SECOND, max(one.time, wanted))


def _to_the_second(hop: Hop) -> bool:
    stamps = [one.raw_time for one in hop.deliveries if one.raw_time]
    if stamps:
        return not any(_FRACTION.search(stamp) for stamp in stamps)
    return whole(hop.first) and all(whole(one.time) for one in hop.deliveries)


def _span(hop: Hop) -> tuple[float, float]:
    """Between which moments a message came whose log tells seconds: as its stamp has it, and its delays."""
    low, high = hop.first, hop.first + SECOND
    for done in hop.deliveries:
        if done.delay is not None and abs(done.delay - (done.time - hop.first)) < 1:
            since, until = max(low, done.time - done.delay), min(high, done.time + SECOND - done.delay)
            if since <= until:
                low, high = since, until
    return low, high


def _delay(hop: Hop, after: Hop) -> float:
    """Seconds between a hop's first line and its handing on to the next hop, as far as the log tells."""
    passed = [one for one in hop.deliveries if one.reply_id == after.queue_id] or hop.deliveries
    done = sent(passed)
    if done is None:
        return 0.0
    apart = max(0.0, done.time - hop.first)
    # What the log calls the delay is finer than whole seconds, but it counts from the message's very first arrival.
    return done.delay if done.delay is not None and abs(done.delay - apart) < 1 else apart


def _bars(since: float, end: float, one: Delivery, *, first: bool) -> Iterable[Bar]:
    """The stages of one attempt, which ended at `end`; what lies before it began at `since`."""
    if one.delays is None:
        if end > since:
            yield Bar("stay" if first else "wait", since, end)
        return
    _, queue, connect, send = one.delays
    at = max(since, end - queue - connect - send)
    if at > since:
        yield Bar("before" if first else "wait", since, at)
    for kind, seconds in (("queue", queue), ("connect", connect), ("send", send)):
        until = min(end, at + seconds)
        if until > at:
            yield Bar(kind, at, until)
        at = max(at, until)


def _marks(one: Delivery, time: float, *, last: bool) -> Iterable[Mark]:
    if one.status == "deferred":
        yield Mark(time, "▲", "open", "greylisted" if greylisted(one.reply) else "deferred")
    elif last and one.status in ("bounced", "expired", "rejected"):
        yield Mark(time, "✗", "bad", one.status)
    elif last and one.status == "sent" and one.local:
        yield Mark(time, "✓", "good", "delivered")
    elif last and one.status != "sent":
        yield Mark(time, "▲", "open", one.status)
