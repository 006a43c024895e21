"""Entries → stays: what one queue did with one message, reused queue IDs told apart.

A `Stay` is the working form of a hop. Entries come in any order and from any source; they are grouped by host and
queue ID, put in the order of their stamps, and cut into lifecycles (formats: a short Postfix queue ID is free for
reuse as soon as its message is removed).
"""

from __future__ import annotations

from calendar import timegm
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

from mailtrace.clocks import Clocks
from mailtrace.handoff import ReplyId, reply_id
from mailtrace.model import (
    NOBODY,
    Accepted,
    Action,
    Attempt,
    Check,
    Event,
    Filtered,
    Life,
    LogEntry,
    MessageId,
    Note,
    Notified,
    Peer,
    Proxied,
    QueueAction,
    Queued,
    Removed,
    Session,
    Stored,
    Zone,
    read_lives,
)

LATE = 3.0
"""Seconds by which a line may come after the one that closes its lifecycle (a loghost's order, 1-second stamps)."""


SOON = 0.1
"""Seconds by which a queue manager may trail behind the message that it is told of."""


APART = 0.999
"""Seconds that lie at least between the starts of two lifecycles of one queue ID."""


_FEBRUARY, _DECEMBER = timegm((2000, 2, 1, 0, 0, 0)), timegm((2000, 12, 1, 0, 0, 0))
_YEAR, _MONTHS = 366 * 86400.0, 300 * 86400.0
"""Stamps without a year all stand in the year 2000, so that a night of two years is torn apart."""


_HOUR = 3600.0
_LATEST = 3
"""Clocks are put back at night: the hour that comes twice begins at three at the latest."""


_ONCE = (MessageId, Queued, Removed)
"""What each lifecycle has one line of, in whichever second."""


class Try:
    """One attempt of a stay, and the stay that its message went on in."""

    __slots__ = ("attempt", "face", "pid", "plain", "raw_time", "reply", "rivals", "target", "time", "zone")

    def __init__(self, attempt: Attempt, entry: LogEntry) -> None:
        self.attempt = attempt
        self.face, self.zone, self.raw_time, self.pid = entry.time, entry.zone, entry.raw_time, entry.pid
        sent = attempt.status == "sent" and attempt.reply
        self.reply: ReplyId | None = reply_id(attempt.reply) if sent else None
        self.target: Stay | None = None
        self.rivals = False  # it led to one of several stays, nobody knows which
        self.time = entry.time
        self.plain = False  # the log tells that it went without TLS


NONE: tuple[Any, ...] = ()
"""Shared by all stays for what most have none of; a list is made for the first item."""


class Stay:
    """One stay of a message in one queue, as the entries tell it. Times are UTC once `date` was called."""

    __slots__ = (
        "_id", "accepted", "actions", "broken", "certainty", "checks", "children", "done", "entries", "evidence",
        "expired", "filtered", "first", "head", "headed", "host", "inferred", "instance", "kind", "last", "message_id",
        "notices", "nrcpt", "number", "opened", "parent", "plain", "queue_id", "queued", "removed", "removed_how",
        "rivals", "sender", "size", "subject", "tail_face", "tail_zone", "taken", "taken_face", "through", "told",
        "tries",
    )  # fmt: skip

    def __init__(self, host: str, instance: str, queue_id: str, head: LogEntry) -> None:
        self.host = host
        self.instance = instance
        self.queue_id = queue_id
        self.number = 1
        self._id = ""
        self.head = head
        self.tail_face, self.tail_zone = head.time, head.zone
        self.entries: list[LogEntry] = []  # only where they are to be kept
        self.accepted: Accepted | None = None
        self.opened: LogEntry | None = None  # the line that tells of it
        self.message_id: str | None = None
        self.sender: str | None = None
        self.size: int | None = None
        self.nrcpt: int | None = None
        self.subject: str | None = None
        self.queued = False
        self.headed: float | None = None  # the stamp of the header's line
        self.taken_face: float | None = None  # the stamp of the line that shows that all of it had come
        self.taken: float | None = None
        self.expired: float | None = None
        self.removed: float | None = None  # the stamp of the line that says so
        self.removed_how = ""
        self.done: Sequence[QueueAction] = NONE  # the actions with their times
        self.tries: list[Try] = []
        self.notices: Sequence[tuple[Notified, LogEntry]] = NONE
        self.actions: Sequence[tuple[Action, LogEntry]] = NONE
        self.checks: Sequence[tuple[Check, LogEntry]] = NONE
        self.filtered: Sequence[tuple[Filtered, LogEntry]] = NONE
        self.told: Sequence[str] = NONE  # recipients that a before-queue filter's line names
        self.broken: Sequence[tuple[float, int]] = NONE  # stamps and processes that lost a connection
        self.plain = False  # the log tells that it came without TLS
        self.first = 0.0
        self.last = 0.0
        # what links.py finds out
        self.inferred: str | None = None  # Message-ID of linked stays, where this one's own line is lost or cut
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
        return self.message_id if self.inferred is None else self.inferred

    @property
    def client(self) -> Peer:
        """Who brought it: behind a before-queue filter the client of the process in front of that."""
        accepted = self.accepted
        if accepted is None:
            return NOBODY
        return accepted.origin if self.told and accepted.origin.ip else accepted.client

    def date(self, clocks: Clocks) -> None:
        """Give first, last and every attempt its UTC time."""
        utc, host = clocks.utc, self.host
        if self.actions:
            self._date_actions(clocks)
        if self.head.zone is Zone.UTC and host not in clocks.skew:
            self.first, self.last, self.taken = self.head.time, self.tail_face, self.taken_face
            return  # as the attempts have it already, unless another kind of stamp is among them
        self.first = utc(host, self.head.zone, self.head.time)
        self.last = utc(host, self.tail_zone, self.tail_face)
        if self.last < self.first:  # over the hour that comes twice
            self.first, self.last = self.last, self.first
        if self.taken_face is not None:
            self.taken = utc(host, self.head.zone, self.taken_face)
        for attempt in self.tries:
            attempt.time = utc(host, attempt.zone, attempt.face)

    def _date_actions(self, clocks: Clocks) -> None:
        self.done = [
            QueueAction(action.what, clocks.utc(self.host, entry.zone, entry.time), entry.raw_time)
            for action, entry in self.actions
        ]
        for done in self.done:
            if done.what in ("expired", "force-expired"):
                self.expired = done.time

    def incoming(self) -> set[str]:
        """The addresses under which this stay took its recipients, in lower case."""
        if self.accepted is not None and self.accepted.recipients:
            return {address.lower() for address in self.accepted.recipients}
        return {(t.attempt.original or t.attempt.recipient).lower() for t in self.tries}


class Loose:
    """Entries that belong to no queue ID."""

    __slots__ = ("checks", "hosts", "proxied", "sessions", "stored")

    def __init__(self) -> None:
        self.checks: list[tuple[Check, LogEntry]] = []
        self.proxied: list[tuple[Proxied, LogEntry]] = []
        self.stored: list[Stored] = []
        self.sessions: list[tuple[Session, LogEntry]] = []
        self.hosts: set[str] = set()


Groups = defaultdict[tuple[str, str], list[LogEntry]]


def collect(
    entries: Iterable[LogEntry | Life], clocks: Clocks, *, keep: bool = False
) -> tuple[list[Stay], Loose, dict[str, Life]]:
    """All stays that the entries tell of (with the entries where they are to be kept), and what has no queue ID.

    Lives of which no other line tells stay as they are, by queue ID.
    """
    groups: Groups = defaultdict(list)
    loose = Loose()
    lives: dict[str, Life] = {}
    seen: dict[int, LogEntry] = {}
    observe, utc = clocks.observe, Zone.UTC
    again: list[Life] = []  # whose queue ID is known already
    for entry in entries:
        if isinstance(entry, Life):
            if entry.origin.zone is not utc:
                clocks.observe_life(entry)
            if lives.setdefault(entry.queue_id, entry) is not entry:
                again.append(entry)
            continue
        if entry.zone is not utc:
            observe(entry)
        if entry.queue_id:
            groups[entry.host, entry.queue_id].append(entry)
        else:
            _loose(entry, loose, seen)
    if lives:
        known = chain(groups, ((life.host, life.queue_id) for life in again))
        again += [lives.pop(queue_id) for host, queue_id in known if queue_id in lives and lives[queue_id].host == host]
        for entry in read_lives(again):
            groups[entry.host, entry.queue_id].append(entry)
    return list(_stays(groups, keep=keep)), loose, lives


def stays_of(lives: Iterable[Life]) -> Iterator[Stay]:
    """The stays that lives tell of."""
    groups: Groups = defaultdict(list)
    for entry in read_lives(lives):
        groups[entry.host, entry.queue_id].append(entry)
    return _stays(groups, keep=False)


def _stays(groups: Groups, *, keep: bool) -> Iterator[Stay]:
    for (host, queue_id), group in groups.items():
        ordered = _in_order(group)
        if _is_one_life(ordered):
            yield _one_life(host, queue_id, ordered, keep=keep)
        else:
            for instance, part in _instances(ordered):
                yield from _lifecycles(host, instance, queue_id, part, keep=keep)
        group.clear()


def _loose(entry: LogEntry, loose: Loose, seen: dict[int, LogEntry]) -> None:
    event = entry.event
    loose.hosts.add(entry.host)
    if type(event) is Check or type(event) is Proxied:
        bare = entry._replace(seq=0, raw="")
        before = seen.setdefault(hash(bare), entry)
        if before is entry or before._replace(seq=0, raw="") != bare:  # else the same line from two files
            if type(event) is Check:
                loose.checks.append((event, entry))
            else:
                loose.proxied.append((event, entry))  # type: ignore[arg-type]
    elif type(event) is Stored:
        loose.stored.append(event)
    elif type(event) is Session:
        loose.sessions.append((event, entry))


def _instances(group: list[LogEntry]) -> list[tuple[str, list[LogEntry]]]:
    """Divide the entries of one queue ID, which are in order, between the Postfix instances of a host.

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
    return [(name, _in_order(part)) for name, part in parts.items()]


_order = itemgetter(LogEntry._fields.index("time"), LogEntry._fields.index("seq"))


def _in_order(entries: list[LogEntry]) -> list[LogEntry]:
    entries.sort(key=_order)
    if entries[-1].time - entries[0].time > _MONTHS and entries[0].zone is Zone.YEARLESS:
        return _over_new_year(entries)
    if entries[-1].time - entries[0].time > _HOUR / 2 and entries[0].zone is not Zone.UTC:
        return _over_summers_end(entries)
    return entries


def _is_one_life(entries: list[LogEntry]) -> bool:
    """Whether it is plain at once that entries, in order, are one lifecycle without a repeated line.

    So are most: what comes is told first, what leaves last, and nothing twice.
    """
    kinds = tuple([type(entry.event) for entry in entries])
    plain = _PLAIN.get(kinds)
    if plain is None:
        plain = len(set(kinds)) == len(kinds) and Accepted not in kinds[1:] and Removed not in kinds[:-1]
        if len(_PLAIN) < _KINDS:
            _PLAIN[kinds] = plain
    return plain and len({entry.instance for entry in entries}) == 1


def _one_life(host: str, queue_id: str, entries: list[LogEntry], *, keep: bool) -> Stay:
    head, tail = entries[0], entries[-1]
    stay = Stay(host, head.instance, queue_id, head)
    stay.tail_face, stay.tail_zone = tail.time, tail.zone
    if keep:
        stay.entries = entries[:]
    for entry in entries:
        event = entry.event
        _FOLD[type(event)](stay, event, entry)
    return stay


def _lifecycles(host: str, instance: str, queue_id: str, entries: list[LogEntry], *, keep: bool) -> list[Stay]:
    stay = Stay(host, instance, queue_id, entries[0])
    stays = [stay]
    had: set[type[Event]] = set()  # in this lifecycle
    at = -1
    for entry in entries:
        event = entry.event
        kind = type(event)
        at += 1
        if at:
            same = entry.time == entries[at - 1].time and _repeats(entries, at)
            anew = same and _anew(stay, entries, at)
            if same and not anew and (stay.removed is not None or kind not in _ONCE or kind in had):
                continue
            if anew or _begins(stay, entry, kind):
                stay = Stay(host, instance, queue_id, entry)
                stay.number = len(stays) + 1
                stays.append(stay)
                had.clear()
        had.add(kind)
        stay.tail_face, stay.tail_zone = entry.time, entry.zone
        if keep:
            stay.entries.append(entry)
        _FOLD[type(event)](stay, event, entry)
    return stays


def _over_new_year(entries: list[LogEntry]) -> list[LogEntry]:
    """Entries of one queue ID whose stamps have no year: those of January behind those of the December before."""
    old = [e for e in entries if e.zone is not Zone.YEARLESS or e.time >= _DECEMBER]
    new = [e for e in entries if e.zone is Zone.YEARLESS and e.time < _FEBRUARY]
    if not new or len(old) + len(new) < len(entries):
        return entries
    return [*old, *(e._replace(time=e.time + _YEAR) for e in new)]


def _over_summers_end(entries: list[LogEntry]) -> list[LogEntry]:
    """Entries of one queue ID in the order of their lines, where the clock was put back by an hour between them."""
    lines = sorted(entries, key=itemgetter(LogEntry._fields.index("seq")))
    back = [n for n in range(1, len(lines)) if lines[n - 1].time - lines[n].time > _HOUR / 2]
    if len(back) != 1:
        return entries
    before, after = lines[: back[0]], lines[back[0] :]
    night = after[0].time % (24 * _HOUR) < _LATEST * _HOUR
    known = {(entry.time, entry.pid, entry.event) for entry in before}
    if not night or before[-1].time - after[0].time > _HOUR or any((e.time, e.pid, e.event) in known for e in after):
        return entries  # a second file with the same lines
    return lines


def _repeats(entries: list[LogEntry], at: int) -> bool:
    """Whether an entry is the same line once more: from two files, or sent again by a relay."""
    entry = entries[at]
    for before in reversed(entries[:at]) if at < 64 else entries[at - 64 : at]:
        if before.time == entry.time and before.pid == entry.pid and before.event == entry.event:
            return True
    return False


def _anew(stay: Stay, entries: list[LogEntry], at: int) -> bool:
    """Whether a repeated line opens another lifecycle in the same second: of an ID that came again at once.

    It is told by what follows: lines that were sent twice are all alike as far as the removal.
    """
    if stay.removed is None or type(entries[at].event) not in (Accepted, MessageId):
        return False
    for later in range(at + 1, len(entries)):
        if entries[later].time - entries[at].time > LATE:
            break
        if not _repeats(entries, later):
            return True
        if type(entries[later].event) is Removed:
            break
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
        return stay.accepted is not None or made_here or (age >= APART and bool(stay.removed is not None or started))
    if kind is MessageId:
        event = entry.event
        known = stay.message_id is not None and stay.message_id != event.message_id  # type: ignore[union-attr]
        if stay.removed is not None and stay.headed is not None and stay.accepted is None:
            return True  # a second notice: their Message-IDs are their queue ID and the second
        if known and not event.resent:  # type: ignore[union-attr]
            age = entry.time - stay.head.time
            if stay.removed is not None or (age >= APART and bool(stay.queued or stay.tries)):
                return True
    if stay.removed is None or entry.time - stay.removed <= LATE:
        return False
    return kind in (MessageId, Queued, Attempt, Removed)


def _attempt(stay: Stay, event: Attempt, entry: LogEntry) -> None:
    stay.tries.append(Try(event, entry))


def _message_id(stay: Stay, event: MessageId, entry: LogEntry) -> None:
    if not stay.message_id:
        stay.message_id = event.message_id
    if stay.headed is None:
        stay.headed = entry.time


def _queued(stay: Stay, event: Queued, entry: LogEntry) -> None:
    if not stay.queued:
        stay.taken_face = _had(stay.headed, entry.time)
    stay.queued = True
    stay.sender, stay.size = event.sender, event.size
    if stay.nrcpt is None or event.nrcpt > stay.nrcpt:
        stay.nrcpt = event.nrcpt


def _had(headed: float | None, queued: float) -> float:
    """When a message had come: with the queue manager's line, unless that only trails behind the header's.

    The header's line stands in the log before the sender has its answer; the queue manager's may come later, and only
    tells more where a long body came between.
    """
    if headed is None:
        return queued
    trails = 1.0 if headed.is_integer() else SOON
    return headed if 0.0 <= queued - headed <= trails else queued


def _removed(stay: Stay, event: Removed, entry: LogEntry) -> None:
    stay.removed = entry.time
    if event.how:  # Exim completes what was removed
        stay.removed_how = event.how
        stay.actions = [*stay.actions, (Action(event.how), entry)]


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


def _accepted(stay: Stay, event: Accepted, entry: LogEntry) -> None:
    stay.accepted, stay.opened = event, entry
    if event.protocol:  # Exim's `<=` comes when the message has
        stay.taken_face = entry.time
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


def _note(stay: Stay, event: Note, entry: LogEntry) -> None:
    if event.kind in ("smtp", "tls"):
        stay.broken = [*stay.broken, (entry.time, entry.pid)]


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
    Note: _note,
    Session: _nothing,
}
"""What each kind of entry adds to a stay."""

_KINDS = 4096
_PLAIN: dict[tuple[type[Event], ...], bool] = {}
"""Sequences of kinds that were met, and whether they can only be one lifecycle."""
