"""Which deliveries of a hop were one attempt, what its span is called, and which hop it led to.

One transaction is one attempt: its recipients share the ID in the reply, or, without one, the moment, the relay and
the answer. What a delivery is known by is its own line, so that the same line is found again whatever else came since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mailtrace.model import Delivery, Hop, Link, LinkKind
from mailtrace.otlp.identity import attempt_id, handoff_id, part_id
from mailtrace.otlp.moments import attempted

TOGETHER = 1.0
"""Seconds within which the lines of one transaction are logged."""
SLACK = 5.0
"""Seconds by which a log must have moved on before what it told of a moment is taken to be all."""


@dataclass(slots=True)
class Book:
    """Which IDs are taken: by spans that were sent before, and by which hop of these mails.

    With `follow` every attempt tells the keys of its lines.
    """

    sent: Mapping[bytes, bytes] = field(default_factory=dict)
    follow: bool = False
    used: dict[bytes, str] = field(default_factory=dict)


class Here(NamedTuple):
    """A hop that is being told: its trace, the ID and the end of its reception, how far its host's clock is ahead."""

    hop: Hop
    trace: bytes
    span: bytes
    accepted: float
    skew: float


class Attempt(NamedTuple):
    """Deliveries that were one attempt, and the span they make; `new` is False where it was sent before."""

    id: bytes
    deliveries: list[Delivery]
    start: float
    end: float
    parent: bytes
    covers: tuple[bytes, ...]
    new: bool


_new = tuple.__new__  # NamedTuple's own way takes twice as long


def attempts_of(here: Here, ways: Sequence[tuple[Link, Hop]], parents: dict[str, Attempt], book: Book) -> list[Attempt]:
    """The attempts of a hop in order, and into `parents` which of them led to the next hops (by the hop's id)."""
    hop = here.hop
    leads = _leads(hop, ways) if ways else {}
    out: list[Attempt] = []
    spans: dict[str, Attempt] = {}
    seen: set[bytes] = set()
    transactions = _transactions(hop.deliveries, leads)
    for next_id, group in transactions:
        keys = [_key(here, delivery, seen) for delivery in group] if book.follow or not next_id or _gaps(group) else []
        at = len(out)
        _divided(here, next_id, group, keys, book, out)
        spans.setdefault(next_id, out[at])
    if len(out) > len(transactions):  # what came late may have come after other attempts
        out.sort(key=lambda attempt: attempt.deliveries[0].time)
    for link, child in ways:
        if link.kind is not LinkKind.REQUEUED:
            next_id = child.queue_id if child.queue_id in spans else _other(hop, link)
            if next_id in spans:
                parents[child.id] = spans[next_id]
    return out


def _divided(
    here: Here, next_id: str, group: list[Delivery], keys: list[bytes], book: Book, out: list[Attempt]
) -> None:
    """A transaction as one attempt; what came after it was sent is an attempt of its own below it.

    So is what came after it could have been sent: it is the same, whenever the lines are read.
    """
    handoff = handoff_id(here.trace, next_id) if next_id else b""
    parent = here.span
    old = False
    if book.sent:
        covered: dict[bytes, list[Delivery]] = {}
        fresh = []
        for delivery, key in zip(group, keys, strict=True):
            span = book.sent.get(key)
            if span is None:
                fresh.append((delivery, key))
            else:
                covered.setdefault(span, []).append(delivery)
        out += [_made(here, span, next_id, some, b"", (), new=False) for span, some in covered.items()]
        if not fresh:
            return
        group, keys = [delivery for delivery, _ in fresh], [key for _, key in fresh]
        old = bool(covered) or handoff in book.sent
        if old and next_id:
            parent = next(iter(covered), handoff)
    at = 0
    for end in [*_gaps(group), len(group)]:
        some, known = group[at:end], keys[at:end]
        if handoff and not old and book.used.setdefault(handoff, here.hop.id) == here.hop.id:
            span = handoff
        elif len(some) == 1:
            span = known[0] if known else _key(here, some[0], set())
        else:
            recipients = [delivery.recipient for delivery in some]
            span = attempt_id(here.trace, here.hop.host, here.hop.queue_id, recipients, some[0].raw_time)
        out.append(_made(here, span, next_id, some, parent, tuple(known) if book.follow else (), new=True))
        parent, old, at = (parent if old else span), True, end


def _gaps(group: Sequence[Delivery]) -> list[int]:
    """Where in a transaction a line comes so late that those before it may have been sent."""
    if len(group) == 1:
        return []
    return [at for at in range(1, len(group)) if group[at].time - group[at - 1].time > SLACK]


def _key(here: Here, delivery: Delivery, seen: set[bytes]) -> bytes:
    """What a delivery's line is known by: its own words, so that it is the same whatever else is known."""
    queue_id = delivery.reply_id or here.hop.queue_id
    key = attempt_id(here.trace, here.hop.host, queue_id, (delivery.recipient,), delivery.raw_time)
    while key in seen:  # one recipient twice in one second: by two aliases, or with another outcome
        key = part_id(here.trace, "again", key)
    seen.add(key)
    return key


def _made(
    here: Here,
    span: bytes,
    next_id: str,
    group: list[Delivery],
    parent: bytes,
    covers: tuple[bytes, ...],
    *,
    new: bool,
) -> Attempt:
    start, end = attempted(here.hop, group[0], next_id, here.accepted, here.skew)
    for delivery in group[1:]:
        other = attempted(here.hop, delivery, next_id, here.accepted, here.skew)
        start, end = min(start, other[0]), max(end, other[1])
    return _new(Attempt, (span, group, start, end, parent, covers, new))


def _leads(hop: Hop, ways: Sequence[tuple[Link, Hop]]) -> dict[int, str]:
    """Deliveries without an ID in the reply that are known to have led to a hop: their index and its queue ID."""
    told = {delivery.reply_id for delivery in hop.deliveries}
    leads: dict[int, str] = {}
    for link, child in ways:
        if child.queue_id in told or link.kind is LinkKind.REQUEUED:
            continue
        for index, delivery in enumerate(hop.deliveries):
            if delivery.status == "sent" and not delivery.reply_id and delivery.recipient in link.recipients:
                leads.setdefault(index, child.queue_id)
    return leads


def _other(hop: Hop, link: Link) -> str:
    """The ID in the reply to a delivery that led to a hop with another (a filter answers in another's name)."""
    for delivery in hop.deliveries:
        if delivery.status == "sent" and delivery.reply_id and delivery.recipient in link.recipients:
            return delivery.reply_id
    return ""


def _transactions(deliveries: Sequence[Delivery], leads: Mapping[int, str]) -> list[tuple[str, list[Delivery]]]:
    """Deliveries that were one transaction, in order of their first lines, with the ID of the next hop ("" for none).

    Together are those with one ID in the reply, and of others those of one moment with the same relay and answer. A
    delivery on the host itself is alone.
    """
    if len(deliveries) == 1:
        return [(deliveries[0].reply_id or leads.get(0, ""), list(deliveries))]
    out: list[tuple[str, list[Delivery]]] = []
    named: dict[str, list[Delivery]] = {}
    recent: dict[object, list[Delivery]] = {}
    for index, delivery in enumerate(deliveries):
        next_id = delivery.reply_id or leads.get(index, "")
        if next_id:
            group = named.get(next_id)
            key: object = None
        else:
            key = index if delivery.local else (delivery.status, delivery.relay, delivery.reply, delivery.transport)
            group = recent.get(key)
            if group is not None and delivery.time - group[-1].time > TOGETHER:
                group = None
        if group is None:
            group = [delivery]
            out.append((next_id, group))
        else:
            group.append(delivery)
        if next_id:
            named[next_id] = group
        else:
            recent[key] = group
    return out
