"""Builders for the words of the model, so that a test states only what it is about.

Times are seconds after `T0`. A hop is named after its host and queue ID.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from mailtrace.model import (
    Certainty,
    ClockNote,
    Coverage,
    Delivery,
    Evidence,
    Expectation,
    Hop,
    Link,
    LinkKind,
    Mail,
    Peer,
    Recipient,
    Step,
    Warning_,
)
from mailtrace.report import Report

DEMO = Path(__file__).parents[1] / "jobs" / "demo"
WINDOW = {"time": "2026-11-23T01:04:24Z", "time_range": "3s"}
T0 = 1795395862.0  # 2026-11-23T01:04:22Z


def demo(**sections: Any) -> dict[str, Any]:
    """A job over the demo's fleet."""
    find = {"sender": "wolf@world.lab.test", **WINDOW}
    return {"version": 1, "kind": "trace", "config": str(DEMO / "config.yaml"), "find": find, **sections}


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


WORDS = st.text(max_size=12)
TIMES = st.one_of(st.floats(T0, T0 + 1e6), st.sampled_from([0.0, T0, -1.0, 1e12, 1e300]))
PEERS = st.builds(Peer, WORDS, WORDS, st.one_of(st.none(), st.integers(0, 65535)))
STATUSES = ("sent", "deferred", "bounced", "expired", "rejected", "discarded", "held")
OUTCOMES = (*STATUSES[1:], "delivered", "relayed", "quarantined", "in_transit", "unknown")
DELAYS = st.one_of(st.none(), st.tuples(*[st.floats(0, 1e6)] * 4))
DELIVERIES = st.builds(
    Delivery, WORDS, WORDS, st.sampled_from(STATUSES), PEERS, WORDS, WORDS, WORDS, st.none() | st.floats(0, 1e6),
    DELAYS, WORDS, TIMES, WORDS, WORDS, st.booleans(),
)  # fmt: skip


@st.composite
def any_mail(draw: st.DrawFn) -> Mail:
    """A mail of hostile text in which anything may be linked to anything, also to hops that are not there."""
    ids = [str(i) for i in range(draw(st.integers(0, 4)))]
    hops = [
        Hop(id_, draw(WORDS), draw(WORDS), draw(WORDS), "postfix", draw(TIMES), draw(TIMES), draw(PEERS),
            user=draw(WORDS), deliveries=draw(st.lists(DELIVERIES, max_size=3)))
        for id_ in ids
    ]  # fmt: skip
    end = st.sampled_from([*ids, "gone"])
    evidence = st.lists(st.builds(Evidence, WORDS, WORDS), max_size=2).map(tuple)
    links = st.builds(Link, end, end, st.sampled_from(LinkKind), st.sampled_from(Certainty), evidence, st.tuples(WORDS))
    steps = st.lists(st.builds(Step, WORDS, WORDS, end), max_size=3).map(tuple)
    seconds = st.one_of(st.none(), st.floats(-1, 1e9))
    rows = st.builds(
        Recipient,
        WORDS,
        WORDS,
        st.sampled_from(OUTCOMES),
        steps,
        seconds,
        WORDS,
        st.integers(0, 99),
        st.sampled_from(Certainty),
    )
    size = st.one_of(st.none(), st.integers(0, 10**12))
    return Mail(
        draw(WORDS), draw(WORDS), draw(st.one_of(st.none(), WORDS)), draw(size), draw(st.one_of(st.none(), WORDS)),
        hops, draw(st.lists(links, max_size=4)), draw(st.lists(rows, max_size=6)), draw(TIMES), draw(TIMES),
    )  # fmt: skip


@st.composite
def any_report(draw: st.DrawFn) -> Report:
    """A report of such mails, one or many, with everything around them."""
    mails = draw(st.lists(any_mail(), max_size=3))
    host = st.builds(
        Coverage,
        WORDS,
        st.sampled_from(["files", "opensearch"]),
        st.tuples(WORDS),
        TIMES,
        TIMES,
        st.integers(0, 9),
        problem=WORDS,
    )
    offset = st.one_of(st.none(), st.floats(-86400, 86400))
    return Report(
        draw(WORDS),
        draw(WORDS),
        draw(st.one_of(st.none(), TIMES)),
        draw(st.one_of(st.none(), TIMES)),
        mails * draw(st.sampled_from([1, 1, 5])),
        draw(st.lists(host, max_size=3)),
        draw(st.lists(st.builds(ClockNote, WORDS, offset, WORDS, st.floats(-1e6, 1e6), WORDS), max_size=3)),
        draw(st.lists(st.builds(Warning_, WORDS, WORDS, WORDS), max_size=3)),
        draw(st.lists(st.builds(Expectation, WORDS, st.booleans(), WORDS), max_size=3)),
        partial=draw(st.booleans()),
    )
