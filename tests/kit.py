"""Builders for the words of the model, so that a test states only what it is about.

Times are seconds after `T0`. A hop is named after its host and queue ID.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from mailtrace.model import (
    Certainty,
    Delivery,
    Evidence,
    Hop,
    Link,
    LinkKind,
    Mail,
    Peer,
    Recipient,
    Step,
)
from mailtrace.report import Report

T0 = 1795395862.0  # 2026-11-23T01:04:22Z


def peer(text: str) -> Peer:
    """`name[ip]:port` as logs write it; any part may be missing."""
    name, _, rest = text.partition("[")
    ip, _, port = rest.partition("]:")
    return Peer(name, ip.rstrip("]"), int(port) if port else None)


def delivery(recipient: str, status: str = "sent", relay: str = "", *, at: float = 0.0, **more: Any) -> Delivery:
    """One attempt; `local` unless it has a relay with an address."""
    fields: dict[str, Any] = {
        "original_recipient": "",
        "reply": "",
        "reply_id": "",
        "dsn": "",
        "delay": None,
        "delays": None,
        "tls": "",
        "raw_time": "",
        "transport": "smtp",
        "local": "[" not in relay,
    }
    fields.update(more)
    return Delivery(recipient=recipient, status=status, relay=peer(relay), time=T0 + at, **fields)


def hop(
    host: str, queue_id: str, *deliveries: Delivery, at: float = 0.0, until: float | None = None, **more: Any
) -> Hop:
    """One stay; it ends with its last delivery unless `until` says otherwise."""
    last = max([T0 + at, *(item.time for item in deliveries)]) if until is None else T0 + until
    client = more.pop("client", "")
    instance = more.pop("instance", "postfix")
    return Hop(
        id=more.pop("id", f"{host}:{instance}:{queue_id}"),
        host=host,
        instance=instance,
        queue_id=queue_id,
        mta=more.pop("mta", "postfix"),
        first=T0 + at,
        last=last,
        client=peer(client),
        deliveries=list(deliveries),
        **more,
    )


def link(
    one: Hop, other: Hop, kind: str = "relayed", certainty: str = "proven", *evidence: str, to: tuple[str, ...] = ()
) -> Link:
    """`other` follows `one`; each evidence is `kind: text`."""
    facts = tuple(Evidence(*text.split(": ", 1)) for text in evidence) or (
        Evidence("reply-id", f"the reply names {other.queue_id}"),
    )
    return Link(one.id, other.id, LinkKind(kind), Certainty(certainty), facts, to)


def row(recipient: str, outcome: str, *path: Hop, **more: Any) -> Recipient:
    """What became of one copy; proven, in one attempt, unless said otherwise."""
    fields: dict[str, Any] = {"original_recipient": recipient, "seconds": None, "reason": "", "attempts": 1}
    fields.update(more)
    return Recipient(
        recipient=recipient, outcome=outcome, path=tuple(Step(hop.host, hop.queue_id, hop.id) for hop in path), **fields
    )


def mail(hops: list[Hop], rows: list[Recipient], links: list[Link] | None = None, **more: Any) -> Mail:
    """Hops and rows; without links each hop is followed by the next."""
    fields: dict[str, Any] = {
        "message_id": "m1@example.org",
        "sender": "walter@world.example",
        "size": 2134,
        "subject": None,
    }
    fields.update(more)
    if links is None:
        links = [link(one, other) for one, other in pairwise(hops)]
    first = min([item.first for item in hops], default=T0)
    fields.setdefault("id", hops[0].id if hops else fields["message_id"])
    fields.setdefault("first", first)
    fields.setdefault("last", max([item.last for item in hops], default=first))
    return Mail(hops=hops, links=links, recipients=rows, **fields)


def report(*mails: Mail, **more: Any) -> Report:
    """A trace that found these mails."""
    return Report(name=more.pop("name", "a test"), kind=more.pop("kind", "trace"), mails=list(mails), **more)
