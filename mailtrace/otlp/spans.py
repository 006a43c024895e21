"""Mails to spans: pure, and final. What a span says once, it says in every run.

    smtp receive   SERVER    a message enters a queue from a client: from its first line to acceptance
    mail submit    PRODUCER  the same, where it was born on the host (pickup, local forward, bounce)
      queue wait     INTERNAL  from acceptance, or from a deferral, to the next attempt
        before_qmgr, in_qmgr   INTERNAL  the parts of it that Postfix logs
      smtp deliver   CLIENT    an SMTP or LMTP transaction, one span for all its recipients
      mail deliver   INTERNAL  a delivery on the host itself: to a mailbox, a program, a local forward, an error
        conn_setup, transmission   INTERNAL  the parts of it that Postfix logs
        smtp receive   …         the next host's reception, within the hand-off that made it
      mail expire    INTERNAL  the queue gives up
      mail hold, mail release, mail requeue, mail remove   INTERNAL  what was done to it while it was in the queue

A hop is told by its reception, which is over when its first lines are logged: a mail that is deferred for five days is
visible at once, and nothing that was sent ever grows. A hop whose client is outside the fleet, or that was born of
pickup or a bounce, is a root; a bounce has a link to the hop that it reports on, and equal candidates for a parent are
links. A permanent refusal at the door is a trace of one span.

What a span says comes from its own host's lines. These parts depend on what else was assembled with them:

- the parent, where the reply names no ID: the attempt is then called after the hop that it led to, unless it was sent
  before (`sent`); and where a `likely` parent is found
- the trace of a hop without a Message-ID of its own, and the ID of a queue ID's second life in one trace
- links to other mails
- times that learnt clocks correct, and years and zones that nothing proves
- when in its second a reception began that its own log tells no closer, and by how much a clock that is known to be
  wrong was wrong at that moment: the hand-off tells (moments.py)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from mailtrace.model import Certainty, ClockNote, Hop, Link, LinkKind, Mail, QueueAction, Recipient, Remade
from mailtrace.otlp.attempts import SLACK, Attempt, Book, Here, attempts_of
from mailtrace.otlp.attributes import teller
from mailtrace.otlp.identity import (
    BEFORE_QMGR,
    CONN_SETUP,
    EXPIRY,
    IN_QMGR,
    TRANSMISSION,
    WAIT,
    handoff_id,
    hop_id,
    nameless_trace_id,
    part_id,
    parts_of,
    refused_trace_id,
    second,
    trace_id,
)
from mailtrace.otlp.moments import LEAST, WHOLE, attempted, corrected, in_seconds, inside, moved, ns, received
from mailtrace.otlp.record import CLIENT, INTERNAL, PRODUCER, SERVER, Event, Span, SpanLink

PATIENCE = 3600.0
"""Seconds to wait for the rest of a reception whose end no line tells."""

_AT_ONCE = ("discarded", "quarantined")
"""What may become of a message before anything is tried."""
_ACTIONS = {
    "held": "mail hold",
    "frozen": "mail hold",
    "released": "mail release",
    "unfrozen": "mail release",
    "requeued": "mail requeue",
}
"""What is done to a message in its queue and leaves it there."""
_NO_ACTIONS = ("skipped", "expired", "force-expired")
_ENDS = frozenset(f"email.{outcome}" for outcome in _AT_ONCE)


Awaits = Callable[[Hop, "Hop | None"], bool]
"""Whether another host's line may still come that tells what led to a hop: where nothing is known to have (None), or
where this other hop is only likely to have."""


def never(_hop: Hop, _before: Hop | None) -> bool:
    """Nothing more is expected: what leads to a hop is there or will never be."""
    return False


def spans_of(
    mails: Sequence[Mail],
    clocks: Iterable[ClockNote] = (),
    *,
    addresses: str = "full",
    sent: Mapping[bytes, bytes] | None = None,
    awaits: Awaits = never,
) -> Iterator[Span]:
    """The spans of some mails, a mail at a time; each span has another ID.

    `clocks` tells how stamps were understood (`Assembly.clocks`), `addresses` how much of an address is shown
    (`attributes.ADDRESSES`).

    For who sends a mail piece by piece: `sent` has the `keys` of spans that are sent already, each with the ID of its
    span. They are left out, and a line that came too late for its span gets one of its own below it. Without `sent`
    (None) spans have no `covers`. `awaits` tells of a hop that nothing leads to, or only what is likely, whether the
    sender's line may still come; its parent is then the hand-off that such a line will tell of.
    """
    return _Tracer(mails, clocks, addresses, sent, awaits).spans()


class _Place(NamedTuple):
    """Where a hop stands: its trace and the ID of its reception."""

    trace: bytes
    span: bytes


class _Tracer:
    def __init__(
        self,
        mails: Sequence[Mail],
        clocks: Iterable[ClockNote],
        addresses: str,
        sent: Mapping[bytes, bytes] | None,
        awaits: Awaits,
    ) -> None:
        self.mails = mails
        self.skew: dict[str, float] = {}
        for note in clocks:
            if note.skew_seconds:
                self.skew[note.host] = note.skew_seconds
        self.teller = teller(addresses)
        self.book = Book(sent or {}, follow=sent is not None)
        self.awaits = awaits
        self.known = ("", b"")  # the Message-ID asked for last, and its trace
        self.elsewhere = self._elsewhere()

    def spans(self) -> Iterator[Span]:
        sent = self.book.sent
        for mail in self.mails:
            spans: list[Span] = []
            if mail.hops:
                self._mail(mail, spans)
            else:
                self._refused(mail, spans)
            if sent:
                spans = [span for span in spans if span.span_id not in sent]
            yield from spans

    # ------------------------------------------------------------------ where everything stands

    def _elsewhere(self) -> dict[str, _Place]:
        """The places of hops that other mails' links name."""
        wanted: set[str] = set()
        mails = list(self.mails.linked()) if isinstance(self.mails, Remade) else self.mails
        for mail in mails:
            for link in mail.links:
                if link.kind is LinkKind.BOUNCED or link.certainty is Certainty.AMBIGUOUS:
                    wanted.add(link.from_)
        found: dict[str, _Place] = {}
        for mail in mails if wanted else ():
            if any(hop.id in wanted for hop in mail.hops):
                found.update((hop.id, self._place(mail, hop)) for hop in mail.hops if hop.id in wanted)
        return found

    def _place(self, mail: Mail, hop: Hop) -> _Place:
        trace = self._trace(mail, hop)
        return _new(_Place, (trace, hop_id(trace, hop.host, hop.queue_id)))

    def _trace(self, mail: Mail, hop: Hop) -> bytes:
        message_id = hop.message_id or mail.message_id
        if message_id:
            if message_id != self.known[0]:
                self.known = (message_id, trace_id(message_id))
            return self.known[1]
        first = mail.hops[0]
        return nameless_trace_id(first.host, first.queue_id, first.raw_first)

    def _settled_place(self, mail: Mail, hop: Hop) -> _Place:
        """The same, with an ID that no other hop of these mails has."""
        place = self._place(mail, hop)
        if self.book.used.setdefault(place.span, hop.id) == hop.id:
            return place
        again = second(hop.raw_first)
        span = hop_id(place.trace, hop.host, hop.queue_id, again)
        if self.book.used.setdefault(span, hop.id) != hop.id:
            span = hop_id(place.trace, hop.host, hop.queue_id, f"{again}\0{hop.id}")
        return _Place(place.trace, span)

    # ------------------------------------------------------------------ a mail

    def _mail(self, mail: Mail, out: list[Span]) -> None:
        places = {hop.id: self._settled_place(mail, hop) for hop in mail.hops}
        ways: dict[str, list[tuple[Link, Hop]]] = {}
        led: dict[str, Link] = {}
        others: dict[str, list[Link]] = {}
        hops = {hop.id: hop for hop in mail.hops} if mail.links else {}
        shifts: dict[str, float] = {}
        if mail.links:
            for link in mail.links:
                if link.to not in hops:
                    continue
                if link.certainty is Certainty.AMBIGUOUS or link.from_ not in hops or link.kind is LinkKind.BOUNCED:
                    others.setdefault(link.to, []).append(link)
                elif link.to not in led and link.to != link.from_:
                    led[link.to] = link
                    ways.setdefault(link.from_, []).append((link, hops[link.to]))
        parents: dict[str, Attempt] = {}
        turned = mail.refused
        for read in mail.hops:
            place, told = places[read.id], len(out)
            way = led.get(read.id)
            handed = parents.get(read.id) if way is not None and way.kind is LinkKind.RELAYED else None
            by = 0.0
            if read.host in self.skew:
                same = way is not None and hops[way.from_].host == read.host
                by = shifts.get(way.from_, 0.0) if same and way else self._wrong_by(read, handed, ways.get(read.id, ()))
                shifts[read.id] = by
            hop = moved(read, by)
            skew = self.skew.get(hop.host, 0.0) - by
            start, accepted = received(hop, skew, (handed.start, handed.end) if handed is not None else None)
            here = _new(Here, (hop, place.trace, place.span, accepted, skew))
            attempts = attempts_of(here, ways.get(hop.id, ()), parents, self.book) if hop.deliveries else []
            events = self._events(hop, mail, turned, (start, accepted))
            turned = []
            origin = hops[way.from_] if way is not None else None
            parent, far, links = self._parent(hop, origin, way, places, parents, others.get(hop.id, ()))
            if far and handed is None and in_seconds(hop, accepted, skew):
                accepted += WHOLE  # when in its second it was the hand-off would tell
            out.append(self._reception(hop, mail, place, (start, accepted), way, (parent, far), links, events))
            if attempts:
                self._journey(here, attempts, out)
            if hop.actions:
                self._actions(here, mail, out)
            if by:  # a span is settled when its log has moved on, and that goes on reading as it did
                out[told:] = [span._replace(settles=span.settles - by) for span in out[told:]]

    def _events(
        self, hop: Hop, mail: Mail, turned: Sequence[Recipient], when: tuple[float, float]
    ) -> tuple[Event, ...]:
        """What became of recipients and of the message as it was received; `turned` are recipients refused then."""
        events: tuple[Event, ...] = ()
        if turned:
            events = tuple(Event("email.rejected", ns(when[0]), self.teller.end(row)) for row in turned)
        if hop.held:
            events += (Event("email.held", ns(when[1])),)
        if not hop.deliveries and not any(map(_removes, hop.actions)):
            ends = [row for row in _ending(mail, hop) if row.outcome in _AT_ONCE]
            events += tuple(Event(f"email.{row.outcome}", ns(when[1]), self.teller.end(row)) for row in ends)
        return events

    def _wrong_by(self, hop: Hop, handed: Attempt | None, ways: Sequence[tuple[Link, Hop]]) -> float:
        """The seconds by which a hop's times, on a clock that is known to be wrong, have to be moved still.

        What it came by tells, else what it led to at once: the other host's clock is right, or was put right.
        """
        start, end = received(hop, self.skew[hop.host], None)
        if handed is not None:
            return inside(end if hop.mta == "exim" else start, end, (handed.start, handed.end))
        for link, child in ways:
            if link.kind is LinkKind.RELAYED and child.host not in self.skew:
                for delivery in hop.deliveries:
                    if delivery.reply_id == child.queue_id and delivery.time < end + SLACK:
                        begun, over = received(child, 0.0, None)
                        tried = attempted(hop, delivery, child.queue_id, end, self.skew[hop.host])
                        return -inside(begun, over + LEAST / 1e9, tried)
        return 0.0

    def _parent(
        self,
        hop: Hop,
        origin: Hop | None,
        link: Link | None,
        places: Mapping[str, _Place],
        parents: Mapping[str, Attempt],
        others: Sequence[Link],
    ) -> tuple[bytes, bool, tuple[SpanLink, ...]]:
        """The parent of a hop's reception, whether it is another host's, and links to what is no parent."""
        place = places[hop.id]
        links: list[SpanLink] = []
        for other in others:
            there = self.elsewhere.get(other.from_)
            if there is not None:
                links.append(SpanLink(there.trace, there.span, (("link.relation", _relation(other)),)))
        unsure = not others and (link is None or link.certainty is Certainty.LIKELY)
        if unsure and (hop.client.name or hop.client.ip) and self.awaits(hop, origin):
            return handoff_id(place.trace, hop.queue_id), True, tuple(links)
        if link is None:
            return b"", False, tuple(links)
        before = places[link.from_]
        led = parents.get(hop.id)
        span = before.span if led is None else led.id
        if before.trace != place.trace:
            links.append(SpanLink(before.trace, span, (("link.relation", link.kind.value),)))
            return b"", False, tuple(links)
        return span, link.kind is LinkKind.RELAYED, tuple(links)

    def _reception(
        self,
        hop: Hop,
        mail: Mail,
        place: _Place,
        when: tuple[float, float],
        link: Link | None,
        parent: tuple[bytes, bool],
        links: tuple[SpanLink, ...],
        events: tuple[Event, ...],
    ) -> Span:
        start = ns(when[0])
        end = max(ns(when[1]), start + LEAST)
        relayed = link is not None and link.kind in (LinkKind.RELAYED, LinkKind.REINJECTED)
        came = bool(hop.client.name or hop.client.ip) or (relayed and not hop.local)
        likely = "likely" if link is not None and link.certainty is Certainty.LIKELY else ""
        raw = corrected(hop.raw_first, hop.first)
        settles = _settles(hop)
        if events and any(event.name in _ENDS for event in events):
            settles = hop.last + SLACK
        if hop.tls:
            events = (Event("email.tls", start), *events)
        name, kind = ("smtp receive", SERVER) if came else ("mail submit", PRODUCER)
        told, common = self.teller.reception(hop, hop.message_id or mail.message_id, raw, likely)
        if hop.taken is not None:
            events = (*events, _new(Event, ("email.queued", end, ())))
        return _new(
            Span,
            (place.trace, place.span, parent[0], hop.host, name, kind, start, end, told, common, events, links, "",
             parent[1], settles, ()),
        )  # fmt: skip

    # ------------------------------------------------------------------ what a hop did with its message

    def _journey(self, here: Here, attempts: Sequence[Attempt], out: list[Span]) -> None:
        """The spans below a reception: waits, attempts, their stages, and the end of patience."""
        if len(attempts) == 1:
            _wait(here, here.span, here.accepted, attempts[0], out)
            if attempts[0].new:
                self._attempt(here, attempts[0], 1, out)
        else:
            self._tries(here, attempts, out)
        if here.hop.expired is not None:
            out.append(self._expiry(here, here.hop.expired))

    def _tries(self, here: Here, attempts: Sequence[Attempt], out: list[Span]) -> None:
        """The same, for several attempts: each deferral is followed by a wait for the next."""
        first = min(attempts, key=lambda attempt: attempt.start)
        _wait(here, here.span, here.accepted, first, out)
        pending: dict[str, Attempt] = {}
        tried: dict[str, int] = {}
        for attempt in attempts:
            for delivery in attempt.deliveries:
                tried[delivery.recipient] = tried.get(delivery.recipient, 0) + 1
                before = pending.pop(delivery.recipient, None)
                if before is not None and before.deliveries:
                    _wait(here, before.id, before.end, attempt, out)
                    pending = {r: other for r, other in pending.items() if other is not before}
            if attempt.deliveries[0].status == "deferred":
                pending.update((delivery.recipient, attempt) for delivery in attempt.deliveries)
            if attempt.new:
                number = max(tried[delivery.recipient] for delivery in attempt.deliveries)
                self._attempt(here, attempt, number, out)

    def _attempt(self, here: Here, attempt: Attempt, number: int, out: list[Span]) -> None:
        hop, trace = here.hop, here.trace
        span, first = attempt.id, attempt.deliveries[0]
        raw = corrected(first.raw_time, first.time)
        told, common, error = self.teller.attempt(hop, attempt.deliveries, number, raw)
        start = ns(attempt.start)
        end = max(ns(attempt.end), start + LEAST)
        far = not first.local and bool(first.relay.ip or "smtp" in first.transport or "lmtp" in first.transport)
        events: tuple[Event, ...] = (Event("email.tls", start),) if first.tls else ()
        if first.status != "sent":
            events = (*events, Event(f"email.{first.status}", end))
        settles = attempt.deliveries[-1].time + SLACK
        name, kind = ("smtp deliver", CLIENT) if far else ("mail deliver", INTERNAL)
        out.append(
            _new(
                Span,
                (trace, span, attempt.parent, hop.host, name, kind, start, end, told, common, events, (), error, False,
                 settles, attempt.covers),
            )
        )  # fmt: skip
        delays = first.delays
        if delays is not None and (delays[2] or delays[3]):
            ids = parts_of(trace, span)
            ready = min(start + ns(delays[2]), end)
            if delays[2] and ready - start >= LEAST:
                out.append(_inner(trace, ids[CONN_SETUP], span, hop.host, "conn_setup", start, ready, settles))
            if delays[3] and end - ready >= LEAST:
                out.append(_inner(trace, ids[TRANSMISSION], span, hop.host, "transmission", ready, end, settles))

    def _expiry(self, here: Here, expired: float) -> Span:
        hop = here.hop
        last = {delivery.recipient: delivery for delivery in hop.deliveries}
        left = [delivery for delivery in last.values() if delivery.status == "deferred"]
        told = self.teller.expiry(hop, left)
        return Span(
            here.trace,
            parts_of(here.trace, here.span)[EXPIRY],
            here.span,
            hop.host,
            "mail expire",
            INTERNAL,
            ns(expired),
            ns(expired) + LEAST,
            told,
            error="expired, returned to sender",
            settles=expired + SLACK,
        )

    def _actions(self, here: Here, mail: Mail, out: list[Span]) -> None:
        """What was done to a message in its queue: each its own span, however long after its reception it was."""
        hop = here.hop
        for action in hop.actions:
            if action.what in _NO_ACTIONS:
                continue
            told = self.teller.action(hop, action.what, _ending(mail, hop) if _removes(action) else ())
            span = part_id(here.trace, f"{action.what}\0{action.raw_time}", here.span)
            start, name, settles = ns(action.time), _ACTIONS.get(action.what, "mail remove"), action.time + SLACK
            out.append(
                Span(here.trace, span, here.span, hop.host, name, INTERNAL, start, start + LEAST, told, settles=settles)
            )

    def _refused(self, mail: Mail, out: list[Span]) -> None:
        """A permanent refusal at the door; a temporary one is repeated, and then part of a mail."""
        rows = [row for row in mail.recipients if row.reason.startswith("5")]
        if not rows:
            return
        trace = refused_trace_id(mail.id)
        host = mail.id.partition(":")[0]
        told, error = self.teller.refusal(mail.sender, [row.recipient for row in rows], rows[0].reason)
        start = ns(mail.first)
        end = max(ns(mail.last), start + LEAST)
        span = hop_id(trace, host, "")
        settles = mail.last + SLACK
        out.append(Span(trace, span, b"", host, "smtp receive", SERVER, start, end, told, error=error, settles=settles))


_new = tuple.__new__  # a span is made for every step of a day's mails: NamedTuple's own way takes twice as long


def _inner(
    trace: bytes, span: bytes, parent: bytes, host: str, name: str, start: int, end: int, settles: float
) -> Span:
    """A span that only tells of time."""
    return _new(Span, (trace, span, parent, host, name, INTERNAL, start, end, (), (), (), (), "", False, settles, ()))


def _settles(hop: Hop) -> float:
    if hop.taken is not None:
        return max(hop.taken, hop.first) + SLACK
    return hop.last + SLACK if hop.deliveries or hop.removed or hop.held else hop.first + PATIENCE


def _ending(mail: Mail, hop: Hop) -> list[Recipient]:
    """The copies whose way ended at a hop."""
    return [row for row in mail.recipients if row.path and row.path[-1].hop == hop.id]


def _removes(action: QueueAction) -> bool:
    return action.what not in _ACTIONS and action.what not in _NO_ACTIONS


def _wait(here: Here, after: bytes, since: float, attempt: Attempt, out: list[Span]) -> None:
    start = ns(since)
    end = max(ns(attempt.start), start + LEAST)
    trace, host, ids = here.trace, here.hop.host, parts_of(here.trace, after)
    span = ids[WAIT]
    settles = attempt.deliveries[-1].time + SLACK
    out.append(_inner(trace, span, here.span, host, "queue wait", start, end, settles))
    delays = attempt.deliveries[0].delays
    if delays is not None and (delays[0] or delays[1]):
        active = max(start, end - ns(delays[1]))
        if delays[0] and active - start >= LEAST:
            out.append(_inner(trace, ids[BEFORE_QMGR], span, host, "before_qmgr", start, active, settles))
        if delays[1] and end - active >= LEAST:
            out.append(_inner(trace, ids[IN_QMGR], span, host, "in_qmgr", active, end, settles))


def _relation(link: Link) -> str:
    if link.certainty is Certainty.AMBIGUOUS:
        return "candidate"
    return "bounce_of" if link.kind is LinkKind.BOUNCED else link.kind.value
