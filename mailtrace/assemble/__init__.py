"""Entries → hops → links → mails. Pure: no I/O, any order of entries, any source.

- stays.py: entries to stays, one stay of a message in one queue; reused IDs told apart
- links.py: which stay follows which, with evidence; teaches names (names.py) and clocks
- refusals.py: what was turned away, and whose attempt it was
- verdicts.py: one row for each final copy
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mailtrace.assemble.links import Linker
from mailtrace.assemble.names import Names
from mailtrace.assemble.refusals import Door, Turned, join_sessions, sort_out
from mailtrace.assemble.stays import Stay, Try, collect
from mailtrace.assemble.verdicts import Context, refused, rows
from mailtrace.clocks import Clocks
from mailtrace.model import (
    NOBODY,
    Certainty,
    Check,
    ClockNote,
    Delivery,
    Evidence,
    Fleet,
    Hop,
    Link,
    LinkKind,
    LogEntry,
    Mail,
    Peer,
    Span,
)

__all__ = ["Assembly", "assemble"]


@dataclass(slots=True)
class Assembly:
    """All mails, in order of first sight, how the clocks were read, and what a walk needs to go on."""

    mails: list[Mail]
    clocks: list[ClockNote]
    _clocks: Clocks
    _names: Names
    _doors: dict[str, list[LogEntry]]
    _named: dict[str, tuple[str, ...]]
    unclaimed: list[LogEntry]  # refusals of an attempt of one of the fleet's own hosts, whose line is not there

    def utc(self, entry: LogEntry) -> float:
        """The corrected moment of an entry."""
        return self._clocks.utc(entry.host, entry.zone, entry.time)

    def lines(self, mail: Mail) -> list[LogEntry]:
        """The entries of a mail, where `keep_entries` was asked for."""
        return [*(entry for hop in mail.hops for entry in hop.entries), *self._doors.get(mail.id, ())]

    def slack(self, mail: Mail) -> float:
        """Seconds by which the times of a mail may be wrong."""
        return max((self._clocks.slack(host) for host in {hop.host for hop in mail.hops}), default=0.0)

    def hosts_of(self, peer: Peer) -> tuple[str, ...]:
        """The hosts that a relay or a client may be, () where nothing is known of it."""
        return tuple(sorted(self._names.of(peer)))

    def named(self, hop: Hop) -> tuple[str, ...]:
        """Other IDs on a hop's own host that its lines name: notifications, forwards, parents."""
        return self._named.get(hop.id, ())


def assemble(
    entries: Iterable[LogEntry],
    fleet: Fleet | None = None,
    *,
    covered: Callable[[], Span] = dict,
    machine: str = "",
    near: float,
    samples: Callable[[], Iterable[LogEntry]] = tuple,
    keep_entries: bool = False,
) -> Assembly:
    """Build the mails that the entries tell of.

    `covered` tells what each host's log covers (UTC seconds; by default what the entries cover), `machine` the zone of
    stamps that nothing explains ("" is this machine's), `near` the moment (UTC) that a year which nothing proves must
    not lie after; `samples` gives further entries of the same logs that only tell of their clocks. Both are asked
    when all entries have come. The result depends on the set of entries, not on their order.
    """
    clocks = Clocks(fleet.zone if fleet else _nowhere, machine=machine, near=near)
    stays, loose = collect(entries, clocks, keep=keep_entries)
    for entry in samples():
        clocks.observe(entry)
    clocks.settle_years((stay.host, stay.tail.zone, stay.tail.time) for stay in stays)
    stays.sort(key=lambda s: (s.host, s.instance, s.queue_id, s.number))
    names = Names(fleet, loose.hosts | {stay.host for stay in stays})
    linker = Linker(stays, names, clocks, loose.stored)
    linker.date()
    join_sessions(loose, stays, clocks)
    linker.run()
    turned = sort_out(loose, stays, names, clocks)
    context = Context(names, _own(fleet), _corrected(covered(), clocks) or _span(stays))
    mails = [_mail(root, turned, context) for root in stays if _is_root(root)]
    doors = _refusals(turned, stays) if keep_entries else {}
    for door in turned.doors:
        mail = _turned_away(door)
        mails.append(mail)
        doors[mail.id] = [refusal.entry for refusal in door.refusals]
    mails.sort(key=lambda mail: (mail.first, mail.id))
    named = {stay.id: _named(stay) for stay in stays} if keep_entries else {}
    unclaimed = [refusal.entry for refusal, stay in turned.far_ends if stay is None]
    return Assembly(mails, clocks.notes(), clocks, names, doors, named, unclaimed)


def _nowhere(_host: str) -> str:
    return ""


def _own(fleet: Fleet | None) -> Callable[[str], bool]:
    """Whether a host is the fleet's: the inventory's unless `outside`, and every other whose log is read."""
    if fleet is None:
        return lambda _host: True
    known = frozenset(fleet.names)
    return lambda host: host not in known or fleet.own(host)


def _named(stay: Stay) -> tuple[str, ...]:
    ids = [notice.child for notice, _entry in stay.notices]
    ids += [t.reply.id for t in stay.tries if t.reply is not None and t.reply.kind == "forwarded"]
    ids += [queue_id for filtered, _entry in stay.filtered for queue_id in (filtered.queue_id, *filtered.queued_as)]
    if stay.accepted is not None:
        ids.append(stay.accepted.parent)
    if stay.parent is not None and stay.kind == LinkKind.BOUNCED:
        ids.append(stay.parent.queue_id)
    return tuple(sorted({queue_id for queue_id in ids if queue_id and queue_id != stay.queue_id}))


def _refusals(turned: Turned, stays: list[Stay]) -> dict[str, list[LogEntry]]:
    """The lines that refused a recipient of a mail, now or at an earlier attempt, by the mail's id."""
    found: dict[str, list[LogEntry]] = {}
    ids = {id(stay): stay.id for stay in stays}
    for key, refusals in turned.of.items():
        found.setdefault(ids[key], []).extend(refusal.entry for refusal, _certainty in refusals)
    for (key, _recipient), again in turned.retried.items():
        found.setdefault(ids[key], []).extend(refusal.entry for refusal in again)
    for refusal, stay in turned.far_ends:
        if stay is not None:
            found.setdefault(_root(stay).id, []).append(refusal.entry)
    return found


def _root(stay: Stay) -> Stay:
    """Where the mail of a stay begins."""
    while stay.parent is not None and stay.kind != LinkKind.BOUNCED:
        stay = stay.parent
    return stay


def _corrected(span: Span, clocks: Clocks) -> Span:
    """What the logs cover by the clocks as the hand-offs show them; their readers know the stamps alone."""
    return {host: (first - clocks.moved(host), last - clocks.moved(host)) for host, (first, last) in span.items()}


def _span(stays: list[Stay]) -> dict[str, tuple[float, float]]:
    span: dict[str, tuple[float, float]] = {}
    for stay in stays:
        first, last = span.get(stay.host, (stay.first, stay.last))
        span[stay.host] = (min(first, stay.first), max(last, stay.last))
    return span


def _is_root(stay: Stay) -> bool:
    """Whether a mail begins here: nothing led to it, or it reports on another (a bounce)."""
    if not stay.whole and stay.accepted is None and not stay.checks:
        return False  # only a filter's or a queue tool's line names this ID
    return stay.parent is None or stay.kind == LinkKind.BOUNCED


def _mail(root: Stay, turned: Turned, context: Context) -> Mail:
    if not root.children and root.parent is None and not root.rivals and not turned.concern(root):
        return Mail(
            root.id,
            root.message_id or "",
            root.sender,
            root.size,
            root.subject,
            [_hop(root)],
            [],
            rows(root, context),
            root.first,
            root.last,
        )
    stays = _travel(root)
    links = [_link(stay.parent, stay) for stay in stays if stay.parent is not None]
    for stay in stays:
        links.extend(_link(stay, child) for child in stay.children if child.kind == LinkKind.BOUNCED)
        links.extend(
            Link(rival.id, stay.id, LinkKind.RELAYED if rival.host != stay.host else LinkKind.REINJECTED,
                 Certainty.AMBIGUOUS, (Evidence("candidates", f"{len(stay.rivals)} messages fit equally well"),))
            for rival in stay.rivals
        )  # fmt: skip
    recipients = rows(root, context)
    for refusal, certainty in turned.of.get(id(root), ()):
        check = refusal.check
        recipients.append(refused(_words(check), check.recipient or "", certainty))
    recipients = [
        row._replace(attempts=row.attempts + sum(r.times for r in again))
        if (again := turned.retried.get((id(root), row.original_recipient.lower())))
        else row
        for row in recipients
    ]
    first = root.first
    for again in (turned.retried.get((id(root), row.original_recipient.lower()), []) for row in recipients):
        first = min([first, *(r.time for r in again)])
    hops = [_hop(stay) for stay in stays]
    return Mail(
        id=root.id,
        message_id=next((s.message_id for s in stays if s.message_id), ""),
        sender=next((s.sender for s in stays if s.sender is not None), None),
        size=next((s.size for s in stays if s.size is not None), None),
        subject=next((s.subject for s in stays if s.subject is not None), None),
        hops=hops,
        links=links,
        recipients=recipients,
        first=first,
        last=max(stay.last for stay in stays),
    )


def _travel(root: Stay) -> list[Stay]:
    """The stays of one mail, a hop before those that follow it, otherwise by time."""
    out, waiting = [], [root]
    while waiting:
        waiting.sort(key=lambda s: (s.first, s.id), reverse=True)
        stay = waiting.pop()
        out.append(stay)
        waiting.extend(child for child in stay.children if child.kind != LinkKind.BOUNCED)
    return out


def _link(parent: Stay, child: Stay) -> Link:
    through = tuple(dict.fromkeys(t.attempt.recipient for t in parent.tries if t.target is child))
    evidence = tuple(Evidence(kind, text) for kind, text in child.evidence)
    return Link(parent.id, child.id, LinkKind(child.kind), Certainty(child.certainty), evidence, through)


def _hop(stay: Stay) -> Hop:
    accepted = stay.accepted
    return Hop(  # by position: this is done for every message of a day
        stay.id,
        stay.host,
        stay.instance,
        stay.queue_id,
        "exim" if "-" in stay.queue_id else "postfix",
        stay.first,
        stay.last,
        accepted.client if accepted else NOBODY,
        accepted.helo if accepted else "",
        accepted.user if accepted else "",
        bool(accepted and accepted.local),
        accepted.tls if accepted else "",
        stay.message_id or "",
        stay.sender,
        stay.size,
        stay.subject,
        stay.removed is not None,
        bool(stay.checks) and any(check.action == "hold" for check, _entry in stay.checks),
        [_delivery(t) for t in stay.tries],
        stay.entries,
    )


def _delivery(attempt: Try) -> Delivery:
    event, reply = attempt.attempt, attempt.reply
    return Delivery(
        event.recipient,
        event.original or event.recipient,
        event.status,
        event.relay,
        event.reply,
        reply.id if reply is not None else "",
        event.dsn,
        event.delay,
        event.delays,
        event.tls,
        attempt.time,
        attempt.raw_time,
        event.transport,
        event.local,
    )


def _turned_away(door: Door) -> Mail:
    first = door.refusals[0]
    recipients = [
        refused(_words(r.check), r.check.recipient or "", Certainty.PROVEN)._replace(attempts=r.times)
        for r in door.refusals
    ]  # fmt: skip
    names = f"{first.host}:{first.entry.instance}:NOQUEUE:{first.entry.pid}@{first.time:.6f}:{first.check.recipient}"
    return Mail(
        id=names,
        message_id="",
        sender=first.check.sender,
        size=None,
        subject=None,
        hops=[],
        links=[],
        recipients=recipients,
        first=first.time,
        last=door.refusals[-1].time,
    )


def _words(check: Check) -> str:
    """A refusal's reply in full; its text may hold the codes already."""
    if check.text.startswith(check.code or check.dsn):
        return check.text
    return " ".join(part for part in (check.code, check.dsn, check.text) if part)
