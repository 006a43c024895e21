"""Entries → stays: what one queue did with one message, reused queue IDs told apart.

A `Stay` is the working form of a hop. Entries come in any order and from any source; they are grouped by host and
queue ID, put in the order of their stamps, and cut into lifecycles (formats: a short Postfix queue ID is free for
reuse as soon as its message is removed).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any

from mailtrace.clocks import Clocks
from mailtrace.handoff import ReplyId, reply_id
from mailtrace.model import (
    Accepted,
    Action,
    Attempt,
    Check,
    Event,
    Filtered,
    LogEntry,
    MessageId,
    Note,
    Notified,
    Proxied,
    Queued,
    Removed,
    Session,
    Stored,
    Zone,
)

LATE = 3.0
"""Seconds by which a line may come after the one that closes its lifecycle (a loghost's order, 1-second stamps)."""


APART = 0.999
"""Seconds that lie at least between the starts of two lifecycles of one queue ID."""


class Try:
    """One attempt of a stay, and the stay that its message went on in."""

    __slots__ = ("attempt", "face", "pid", "raw_time", "reply", "target", "time", "zone")

    def __init__(self, attempt: Attempt, entry: LogEntry) -> None:
        self.attempt = attempt
        self.face, self.zone, self.raw_time, self.pid = entry.time, entry.zone, entry.raw_time, entry.pid
        sent = attempt.status == "sent" and attempt.reply
        self.reply: ReplyId | None = reply_id(attempt.reply) if sent else None
        self.target: Stay | None = None
        self.time = entry.time


NONE: tuple[Any, ...] = ()
"""Shared by all stays for what most have none of; a list is made for the first item."""


class Stay:
    """One stay of a message in one queue, as the entries tell it. Times are UTC once `date` was called."""

    __slots__ = (
        "_id", "accepted", "actions", "certainty", "checks", "children", "entries", "evidence", "filtered", "first",
        "head", "host", "inferred", "instance", "kind", "last", "message_id", "notices", "nrcpt", "number", "parent",
        "queue_id", "queued", "removed", "removed_how", "rivals", "sender", "size", "subject", "tail", "through",
        "told", "tries",
    )  # fmt: skip

    def __init__(self, host: str, instance: str, queue_id: str, head: LogEntry) -> None:
        self.host = host
        self.instance = instance
        self.queue_id = queue_id
        self.number = 1
        self._id = ""
        self.head = self.tail = head
        self.entries: list[LogEntry] = []  # only where they are to be kept
        self.accepted: Accepted | None = None
        self.message_id: str | None = None
        self.sender: str | None = None
        self.size: int | None = None
        self.nrcpt: int | None = None
        self.subject: str | None = None
        self.queued = False
        self.removed: LogEntry | None = None
        self.removed_how = ""
        self.tries: list[Try] = []
        self.notices: Sequence[tuple[Notified, LogEntry]] = NONE
        self.actions: Sequence[tuple[Action, LogEntry]] = NONE
        self.checks: Sequence[tuple[Check, LogEntry]] = NONE
        self.filtered: Sequence[tuple[Filtered, LogEntry]] = NONE
        self.told: Sequence[str] = NONE  # recipients that a before-queue filter's line names
        self.first = 0.0
        self.last = 0.0
        # what links.py finds out
        self.inferred: str | None = None  # Message-ID of linked stays, where this one's own line is lost
        self.parent: Stay | None = None
        self.kind = ""
        self.certainty = ""
        self.evidence: Sequence[tuple[str, str]] = NONE
        self.rivals: Sequence[Stay] = NONE  # equal candidates for the parent: the link is ambiguous
        self.through: str = ""  # the recipient whose mailbox or program sent the message on
        self.children: Sequence[Stay] = NONE

    @property
    def id(self) -> str:
        """The hop's id in the report."""
        if not self._id:
            again = f"#{self.number}" if self.number > 1 else ""
            self._id = f"{self.host}:{self.instance}:{self.queue_id}{again}"
        return self._id

    @property
    def whole(self) -> bool:
        """Whether a message really came: more than an envelope was accepted."""
        if self.queued or self.tries or self.message_id is not None or self.size is not None:
            return True
        return any(check.action in ("discard", "hold") for check, _entry in self.checks)

    @property
    def known_id(self) -> str | None:
        """The Message-ID, from the stay's own lines or from those it is linked with; None if no line tells."""
        return self.message_id if self.message_id is not None else self.inferred

    def date(self, clocks: Clocks) -> None:
        """Give first, last and every attempt its UTC time."""
        utc, host = clocks.utc, self.host
        if self.head.zone is Zone.UTC and host not in clocks.skew:
            self.first, self.last = self.head.time, self.tail.time
            return  # as the attempts have it already, unless another kind of stamp is among them
        self.first = utc(host, self.head.zone, self.head.time)
        self.last = utc(host, self.tail.zone, self.tail.time)
        for attempt in self.tries:
            attempt.time = utc(host, attempt.zone, attempt.face)

    def incoming(self) -> set[str]:
        """The addresses under which this stay took its recipients, in lower case."""
        if self.accepted is not None and self.accepted.recipients:
            return {address.lower() for address in self.accepted.recipients}
        return {(t.attempt.original or t.attempt.recipient).lower() for t in self.tries}


class Loose:
    """Entries that belong to no queue ID."""

    __slots__ = ("checks", "hosts", "proxied", "stored")

    def __init__(self) -> None:
        self.checks: list[tuple[Check, LogEntry]] = []
        self.proxied: list[tuple[Proxied, LogEntry]] = []
        self.stored: list[Stored] = []
        self.hosts: set[str] = set()


def collect(entries: Iterable[LogEntry], clocks: Clocks, *, keep: bool = False) -> tuple[list[Stay], Loose]:
    """All stays that the entries tell of (with the entries where they are to be kept), and what has no queue ID."""
    groups: dict[tuple[str, str], list[LogEntry]] = {}
    loose = Loose()
    seen: set[LogEntry] = set()
    observe = clocks.observe
    for entry in entries:
        if entry.zone is not Zone.UTC:
            observe(entry)
        if entry.queue_id:
            key = (entry.host, entry.queue_id)
            group = groups.get(key)
            if group is None:
                groups[key] = [entry]
            else:
                group.append(entry)
        else:
            _loose(entry, loose, seen)
    stays: list[Stay] = []
    for (host, queue_id), group in groups.items():
        for instance, part in _instances(group):
            stays.extend(_lifecycles(host, instance, queue_id, part, keep=keep))
        group.clear()
    return stays, loose


def _loose(entry: LogEntry, loose: Loose, seen: set[LogEntry]) -> None:
    event = entry.event
    loose.hosts.add(entry.host)
    if type(event) is Check or type(event) is Proxied:
        same = entry._replace(seq=0, raw="")
        if same not in seen:
            seen.add(same)
            if type(event) is Check:
                loose.checks.append((event, entry))
            else:
                loose.proxied.append((event, entry))  # type: ignore[arg-type]
    elif type(event) is Stored:
        loose.stored.append(event)


def _instances(group: list[LogEntry]) -> list[tuple[str, list[LogEntry]]]:
    """Divide the entries of one queue ID between the Postfix instances of a host.

    A master.cf service may have a `syslog_name` of its own, so that one message's lines carry several names: only what
    the queue manager logs tells the instance.
    """
    names = {entry.instance for entry in group}
    if len(names) == 1:
        return [(group[0].instance, group)]
    managers = {entry.instance for entry in group if type(entry.event) in (Queued, Removed)}
    if len(managers) <= 1:
        name = managers.pop() if managers else Counter(e.instance for e in group).most_common(1)[0][0]
        return [(name, group)]
    parts: dict[str, list[LogEntry]] = {name: [] for name in sorted(managers)}
    strays: list[LogEntry] = []
    for entry in group:
        parts.get(entry.instance, strays).append(entry)
    for entry in strays:
        nearest = min(parts, key=lambda name: min(abs(e.time - entry.time) for e in parts[name]))
        parts[nearest].append(entry)
    return list(parts.items())


_order = itemgetter(LogEntry._fields.index("time"), LogEntry._fields.index("seq"))


def _lifecycles(host: str, instance: str, queue_id: str, entries: list[LogEntry], *, keep: bool) -> list[Stay]:
    entries.sort(key=_order)
    stay = Stay(host, instance, queue_id, entries[0])
    stays = [stay]
    at = -1
    for entry in entries:
        event = entry.event
        at += 1
        if at:
            if entry.time == entries[at - 1].time and _repeats(entries, at):
                continue
            if _begins(stay, entry, type(event)):
                stay = Stay(host, instance, queue_id, entry)
                stay.number = len(stays) + 1
                stays.append(stay)
        stay.tail = entry
        if keep:
            stay.entries.append(entry)
        _FOLD[type(event)](stay, event, entry)
    return stays


def _repeats(entries: list[LogEntry], at: int) -> bool:
    """Whether an entry is the same line once more: from two files, or sent again by a relay."""
    entry = entries[at]
    for before in reversed(entries[:at]) if at < 64 else entries[at - 64 : at]:
        if before.time == entry.time and before.pid == entry.pid and before.event == entry.event:
            return True
    return False


def _begins(stay: Stay, entry: LogEntry, kind: type[Event]) -> bool:
    """Whether an entry opens the next lifecycle of a queue ID.

    Two lifecycles of a short ID are whole seconds apart, since the ID holds the microsecond of its making: lines of
    one second belong together, in whatever order a loghost wrote them.
    """
    if kind is Accepted:
        age = entry.time - stay.head.time
        started = stay.tries and stay.tries[0].attempt.flag != ">>"
        made_here = stay.removed is not None and stay.queue_id in (stay.message_id or "")  # a notice: no client led in
        return stay.accepted is not None or made_here or (age >= APART and bool(stay.removed or started))
    if kind is MessageId:
        event = entry.event
        known = stay.message_id is not None and stay.message_id != event.message_id  # type: ignore[union-attr]
        if known and not event.resent:  # type: ignore[union-attr]
            age = entry.time - stay.head.time
            if stay.removed is not None or (age >= APART and bool(stay.queued or stay.tries)):
                return True
    if stay.removed is None or entry.time - stay.removed.time <= LATE:
        return False
    return kind in (MessageId, Queued, Attempt, Removed)


def _attempt(stay: Stay, event: Attempt, entry: LogEntry) -> None:
    stay.tries.append(Try(event, entry))


def _message_id(stay: Stay, event: MessageId, _entry: LogEntry) -> None:
    if not stay.message_id:
        stay.message_id = event.message_id


def _queued(stay: Stay, event: Queued, _entry: LogEntry) -> None:
    stay.queued = True
    stay.sender, stay.size = event.sender, event.size
    if stay.nrcpt is None or event.nrcpt > stay.nrcpt:
        stay.nrcpt = event.nrcpt


def _removed(stay: Stay, event: Removed, entry: LogEntry) -> None:
    stay.removed = entry
    stay.removed_how = event.how


def _notified(stay: Stay, event: Notified, entry: LogEntry) -> None:
    stay.notices = [*stay.notices, (event, entry)]


def _action(stay: Stay, event: Action, entry: LogEntry) -> None:
    stay.actions = [*stay.actions, (event, entry)]
    if stay.sender is None and event.sender:
        stay.sender = event.sender


def _check(stay: Stay, event: Check, entry: LogEntry) -> None:
    stay.checks = [*stay.checks, (event, entry)]
    if event.subject is not None:
        stay.subject = event.subject
    if stay.sender is None:
        stay.sender = event.sender


def _filtered(stay: Stay, event: Filtered, entry: LogEntry) -> None:
    stay.filtered = [*stay.filtered, (event, entry)]


def _accepted(stay: Stay, event: Accepted, _entry: LogEntry) -> None:
    stay.accepted = event
    if event.sender is not None:
        stay.sender = event.sender
    if event.size is not None:
        stay.size = event.size
    if event.message_id is not None:
        stay.message_id = event.message_id
    elif event.protocol and stay.message_id is None:
        stay.message_id = ""  # Exim tells a Message-ID here or there is none
    if event.subject is not None:
        stay.subject = event.subject


def _nothing(_stay: Stay, _event: Event, _entry: LogEntry) -> None:
    """What changes no state."""


_FOLD: dict[type[Event], Callable[[Stay, Any, LogEntry], None]] = {
    Attempt: _attempt,
    MessageId: _message_id,
    Queued: _queued,
    Removed: _removed,
    Accepted: _accepted,
    Notified: _notified,
    Action: _action,
    Check: _check,
    Filtered: _filtered,
    Proxied: _nothing,
    Stored: _nothing,
    Note: _nothing,
    Session: _nothing,
}
"""What each kind of entry adds to a stay."""
