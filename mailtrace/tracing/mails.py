"""The mails that are under way: lines come in, spans go out as soon as nothing can change them any more.

Lines are grouped by what they have in common (`touch`) and kept in the state file; memory holds only the group that is
worked on. A group is looked at when the log has moved on past its last line: it is assembled alone, so that its spans
depend on its own lines and not on what else is read in that round, and those that are settled and were not handed over
yet are handed over. A line that comes later finds its group again, also days later.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from mailtrace.assemble import Assembly, Known, assemble
from mailtrace.assemble.names import Names
from mailtrace.model import Accepted, Attempt, LogEntry, MessageId, Peer, Queued, Removed
from mailtrace.tracing.expected import QUIET, Expected
from mailtrace.tracing.packing import pack, unpack
from mailtrace.tracing.skews import UNKNOWN, Skews
from mailtrace.tracing.state import Head, State
from mailtrace.tracing.touch import Keys, envelopes, is_bare, is_soft, keys_of

if TYPE_CHECKING:
    from mailtrace.model import Fleet
    from mailtrace.otlp.record import Span
    from mailtrace.tracing.target import Maker

BUSY = 300.0
"""Seconds of the log after which a mail that is never quiet (a large list's) is looked at all the same."""
INCOMPLETE = 300.0
"""Seconds for which a message waits for the line that tells its Message-ID, and so its trace."""
LATE = 7200.0
"""Seconds for which a mail waits at most for another host's log, where it has to."""
IDLE = 30.0
"""Seconds of the machine's clock after which a mail's last line counts as past in a log that does not move on."""
APART = 60.0
"""Seconds after the end of a message before its queue ID counts as another message's."""
MOST = 5000
"""Lines of a group that further messages with the same Message-ID no longer join."""
HELD = 10_000
"""Entries of groups under way that memory holds besides."""
KEPT = 86400.0
"""Seconds that a finished mail is kept for lines that come late."""
_OF_A_MESSAGE = (Accepted, Attempt, MessageId, Queued, Removed)
LIFETIME = 6 * 86400.0
"""Seconds after its last line that a mail without an end is forgotten: longer than any queue keeps one."""


@dataclass(slots=True)
class Look:
    """What looking at groups brought: spans to hand over, and the groups as they are now."""

    spans: list[Span] = field(default_factory=list)
    heads: list[Head] = field(default_factory=list)
    after: int | None = None  # the last group that was passed, where there are more behind it


class OpenMails:
    """All mails of a state. Every method that changes it runs in a transaction of the caller's."""

    def __init__(self, state: State, fleet: Fleet, make: Maker, followed: Iterable[str] = ()) -> None:
        """`make` makes the spans of one group's mails, `followed` are the hosts that are known to be followed."""
        self._state = state
        self._fleet = fleet
        self._make = make
        self.marks = state.marks()
        self._skews = Skews(state)
        self._names = Names(fleet, self.marks)
        for spelling, host in json.loads(state.meta().get("names", "[]")):
            self._names.learn(Peer(name=spelling), host)
        self._expected = Expected(self._names, fleet, self.marks, self._skews, frozenset(followed))
        self._next = state.next_mail()
        self._held = Held()
        self._heard: dict[str, float] = {}  # when a host's lines were read last, by the machine's clock

    def take(self, entries: Sequence[LogEntry], number: int, now: float) -> None:
        """Put new entries to the groups that they touch. `number` is the round's, `now` the machine's clock."""
        keys = [keys_of(entry) for entry in entries]
        asked = {key for some in keys for key in some.own}
        asked.update(key for some in keys for key in some.looks)
        groups = _Groups(self._state, self._held, asked, self._next)
        marks: dict[str, float] = {}
        for entry, some in zip(entries, keys, strict=True):
            if entry.time > marks.get(entry.host, 0.0):
                marks[entry.host] = entry.time
            if some.own:
                groups.add(entry, some)
        off = self._skews.off()
        groups.meet(lambda host: off.get(host, 0.0))
        groups.save(number, now)
        self._next = groups.next
        self.marks.update(marks)
        self._heard.update(dict.fromkeys(marks, now))
        self._state.set_marks(marks)

    def ready(
        self,
        number: int,
        now: float,
        after: int = 0,
        most: int = 1000,
        *,
        everything: bool = False,
        unread: Mapping[str, float] = MappingProxyType({}),
    ) -> Look:
        """Look at the groups whose time has come; `number` is the last round in which their last line may have come.

        `most` are passed at a time, those numbered above `after`. With `everything`, no more lines are expected:
        nothing is waited for. `unread` tells of hosts when their logs could last not be read (machine's clock).
        """

        def silent(host: str) -> bool:
            """Whether nothing is read of a host any more: its clock goes on as ours does."""
            return everything or now - max(self._heard.get(host, 0.0), unread.get(host, 0.0)) >= IDLE

        look = Look()
        facts = self._names.facts
        heads = self._state.pending(number, after, most)
        timely = [
            (head, moved)
            for head in heads
            if self._due(head, moved := math.inf if everything else self._moved(head, now, unread))
        ]
        parts = self._state.parts(head.id for head, _moved in timely if self._held.get(head.id) is None)
        due = []
        for head, moved in timely:
            entries = self._held.get(head.id) or _unpacked(parts.pop(head.id, ()))
            if self._reached(head.host, moved) < head.last + INCOMPLETE and _nameless(entries):
                look.heads.append(head._replace(waits={head.host: head.last + INCOMPLETE}))
                continue
            assembly = self._assembled(entries, head, judged=False)
            if not head.looked:
                self._skews.observe(assembly.mails)
            due.append((head, moved, entries, assembly))
        for host in self._skews.settle(self._expected.hosts()):
            self._state.wake(host)
        more = self._names.facts > facts  # than was known when the first of them was assembled
        for head, moved, entries, assembly in due:
            again = self._assembled(entries, head, judged=False) if more else assembly
            self._look(head, moved, entries, again, look, silent)
        self._skews.keep(self._state)
        if self._names.facts > facts:
            self._state.set_meta("names", json.dumps(self._names.learnt()))
        self._state.put(look.heads)
        look.after = heads[-1].id if len(heads) == most else None
        return look

    def doubt(self, host: str, time: float) -> None:
        """A host's stamps are read in a zone that nothing proves; this is what the first of them was read as."""
        self._skews.doubt(host, time)

    def ahead(self) -> dict[str, float]:
        """Seconds by which the clocks of hosts are known to be ahead."""
        return self._skews.off()

    def forget(self, now: float, most: int = 1000) -> tuple[int, int]:
        """Forget mails that ended and were kept long enough, and those that never end: how many of each."""
        reached = min(max(self.marks.values(), default=0.0), now)
        ended = self._state.forget(reached - KEPT, finished=True, most=most)
        return ended, self._state.forget(reached - LIFETIME, finished=False, most=most)

    def _moved(self, head: Head, now: float, unread: Mapping[str, float]) -> float:
        """The time that a log which writes nothing more has reached all the same: its clock goes on as ours does.

        Who could not be read was not silent.
        """
        since = head.read
        if unread:
            since = max(since, *(unread.get(host, 0.0) for host in (head.host, *(head.waits or ()))))
        passed = now - since
        if passed < 0:  # our own was set back
            passed = IDLE
        return head.last + passed if passed >= IDLE else 0.0

    def _assembled(self, entries: list[LogEntry], head: Head, *, judged: bool) -> Assembly:
        """The mails of a group; `judged`: by what is known of the clocks, else as they read."""
        dated = self._skews.dated(entries) if judged else entries
        known = Known(self._names, self._skews.of if judged else {})
        assembly = assemble(dated, self._fleet, near=head.last, hold=False, known=known)
        assembly.mails = list(assembly.mails)  # without their rows, of which spans need few
        return assembly

    def _reached(self, host: str, moved: float) -> float:
        """The time that a host's log has reached, by its own clock."""
        return max(self.marks.get(host, 0.0), moved)

    def _due(self, head: Head, moved: float) -> bool:
        """Whether the log has moved on far enough to look at a group."""
        if not head.waits:  # its last line is newer than the last look
            mark = self._reached(head.host, moved)
            return mark >= head.last + QUIET or mark >= (head.looked or head.last) + BUSY
        return any(self._reached(host, moved) >= settles for host, settles in head.waits.items())

    def _look(
        self,
        head: Head,
        moved: float,
        entries: list[LogEntry],
        assembly: Assembly,
        look: Look,
        silent: Callable[[str], bool],
    ) -> None:
        """Hand over what is settled of a group that was assembled as its hosts' clocks read."""

        def come(host: str) -> float:
            return self._reached(host, moved if silent(host) else 0.0)

        reached = self._reached(head.host, moved)
        looked = max(head.last, self.marks.get(head.host, 0.0))
        if reached < head.last + UNKNOWN and not self._skews.known(assembly.mails):
            look.heads.append(head._replace(looked=looked, waits={head.host: head.last + UNKNOWN}))
            return
        hosts = {entry.host for entry in entries}
        if doubts := self._expected.zones(hosts, lambda host: self._reached(host, moved)):
            look.heads.append(head._replace(looked=looked, waits=doubts))
            return
        off = self._skews.off()
        if off and not hosts.isdisjoint(off):
            assembly = self._assembled(entries, head, judged=True)
        if reached < head.last + LATE and (late := self._expected.senders(assembly.mails, come)):
            look.heads.append(head._replace(looked=looked, waits=late))
            return
        waits: dict[str, float] = {}
        new = bytearray()
        for span in self._make(assembly, _sent(head.sent), self._expected.awaits):
            settles = span.settles + off.get(span.host, 0.0)
            if self._reached(span.host, moved) >= settles:
                look.spans.append(span)
                for key in span.keys:
                    new += bytes((len(key),)) + key + span.span_id
            else:
                waits[span.host] = min(settles, waits.get(span.host, settles))
        finished = all(hop.removed for mail in assembly.mails for hop in mail.hops)
        sent = head.sent + bytes(new)
        if finished and not waits:
            self._held.drop(head.id)
        look.heads.append(head._replace(looked=looked, waits=waits or None, finished=finished, sent=sent))


def _nameless(entries: Iterable[LogEntry]) -> bool:
    """Whether a line is still missing that tells some message's Message-ID, or that of one it goes on as."""
    named: set[tuple[str, str]] = set()
    there: set[tuple[str, str]] = set()
    bare: set[tuple[str, str]] = set()
    born: set[tuple[str, str]] = set()
    for entry in entries:
        event = entry.event
        kind = type(event)
        message = (entry.host, entry.queue_id)
        if kind in _OF_A_MESSAGE:
            there.add(message)
        if kind is MessageId or (kind is Accepted and event.protocol):  # type: ignore[union-attr]
            named.add(message)
            if is_bare(entry):
                bare.add(message)
        if kind is Accepted and event.local:  # type: ignore[union-attr]
            born.add(message)
    return not there <= named or (bare == named and not bare <= born)


def _unpacked(parts: Iterable[bytes]) -> list[LogEntry]:
    return [entry for part in parts for entry in unpack(part)]


def _sent(packed: bytes) -> dict[bytes, bytes]:
    """The keys of what was handed over, with the spans that it was in."""
    out: dict[bytes, bytes] = {}
    at = 0
    while at < len(packed):
        end = at + 1 + packed[at]
        out[packed[at + 1 : end]] = packed[end : end + 8]
        at = end + 8
    return out


class Held:
    """The entries of groups that were read lately and go on: what is in memory need not be unpacked again."""

    def __init__(self, most: int = HELD) -> None:
        """`most` entries are held; the groups that were not touched for longest go first."""
        self._most = most
        self._groups: dict[int, list[LogEntry]] = {}
        self._size = 0

    def get(self, group: int) -> list[LogEntry] | None:
        """All entries of a group, None where they are only in the state."""
        return self._groups.get(group)

    def put(self, group: int, entries: list[LogEntry]) -> None:
        """A group has these entries, and no others."""
        self.drop(group)
        self._groups[group] = entries
        self._size += len(entries)
        while self._size > self._most:
            self.drop(next(iter(self._groups)))

    def drop(self, group: int) -> list[LogEntry] | None:
        """Hold a group no longer; its entries, where it was held."""
        entries = self._groups.pop(group, None)
        self._size -= len(entries or ())
        return entries


@dataclass(slots=True)
class _Group:
    """A group while a batch is put to it: its `Head`, which of those in the state it is made of, and what is new."""

    head: Head
    host: str
    last: float
    size: int
    saved: list[int]
    new: list[LogEntry] = field(default_factory=list)

    @classmethod
    def of(cls, head: Head) -> _Group:
        """One that is in the state."""
        return cls(head, head.host, head.last, head.size, [head.id])


class _Groups:
    """The groups that a batch of entries touches, until they are saved."""

    def __init__(self, state: State, held: Held, keys: Iterable[int], following: int) -> None:
        self._state = state
        self._held = held
        self.next = following
        self._known = state.find(keys)
        self._groups = {group: _Group.of(head) for group, head in state.heads(set(self._known.values())).items()}
        self._into: dict[int, int] = {}
        self._keys: dict[int, int] = {}
        self._bare: set[int] = set()

    def add(self, entry: LogEntry, keys: Keys) -> None:
        """Put an entry to the group that it touches; to a new one where there is none, to one where there are more."""
        found: list[int] = []
        known = self._known
        for some in keys[:2]:
            for key in some:
                number = known.get(key)
                if number is not None:
                    number = self._whole(number)
                    if number not in found and self._open(number, entry, soft=is_soft(key)):
                        found.append(number)
        if found:
            into = found[0] if len(found) == 1 else self._one(found)
            group = self._groups[into]
        else:
            into, self.next = self.next, self.next + 1
            head = Head(into, entry.host, entry.time, 0, 0, 0.0, 0.0, None, finished=False, sent=b"")
            group = self._groups[into] = _Group(head, entry.host, entry.time, 0, [])
        self._own(keys.own, into)
        if keys.bare in known:
            self._bare.add(into)
        group.new.append(entry)
        group.size += 1
        if entry.time >= group.last:
            group.host, group.last = entry.host, entry.time

    def meet(self, ahead: Callable[[str], float]) -> None:
        """Join groups whose messages have neither Message-ID nor reply in common, by their envelopes."""
        for number in sorted(self._bare):
            into = self._whole(number)
            keys = envelopes(self._entries(self._groups[into]), ahead)
            found = self._state.find([key for key in (*keys.own, *keys.looks) if key not in self._known])
            self._known.update(found)
            unknown = {other for other in found.values() if other not in self._groups and other not in self._into}
            self._groups.update((other, _Group.of(head)) for other, head in self._state.heads(unknown).items())
            others = {self._whole(self._known[key]) for key in (*keys.own, *keys.looks) if key in self._known}
            into = self._one([into, *(other for other in others if self._groups[other].size < MOST)])
            self._own(keys.own, into)

    def _entries(self, group: _Group) -> list[LogEntry]:
        """All entries of a group, those that are saved and those that are not."""
        entries: list[LogEntry] = []
        for saved in group.saved:
            entries += self._held.get(saved) or _unpacked(self._state.parts([saved]).get(saved, ()))
        return entries + group.new

    def save(self, number: int, now: float) -> None:
        """Write all of it down."""
        touched = {number: group for number, group in self._groups.items() if group.new or len(group.saved) > 1}
        for into, group in touched.items():
            for other in group.saved:
                if other != into:
                    self._state.merge(other, into)
        self._state.put(
            group.head._replace(
                host=group.host, last=group.last, size=group.size, round=number, read=now, waits={}, finished=False
            )
            for group in touched.values()
        )
        self._state.put_parts((into, pack(group.new)) for into, group in touched.items() if group.new)
        self._state.put_keys((key, self._whole(number)) for key, number in self._keys.items())
        for into, group in touched.items():
            held = [self._held.drop(saved) for saved in group.saved]
            if None not in held:
                self._held.put(into, [entry for some in (*held, group.new) for entry in some or ()])

    def _open(self, number: int, entry: LogEntry, *, soft: bool) -> bool:
        """Whether a group takes an entry that has one of its keys: not where a message begins anew, or it is full."""
        group = self._groups[number]
        if soft:
            return group.size < MOST
        if not group.head.finished:
            return True
        return not (type(entry.event) in (Accepted, MessageId) and entry.time > group.last + APART)

    def _own(self, keys: Iterable[int], group: int) -> None:
        """A group has keys."""
        for key in keys:
            if self._known.get(key) != group:
                self._known[key] = self._keys[key] = group

    def _one(self, groups: Iterable[int]) -> int:
        """Make one group of some; which of them it is."""
        into, *others = sorted(set(groups))
        for other in others:
            self._merge(other, into)
        return into

    def _merge(self, number: int, into: int) -> None:
        one, other = self._groups.pop(number), self._groups[into]
        self._into[number] = into
        other.new = one.new + other.new
        other.saved += one.saved
        last = max(one, other, key=lambda group: group.last)
        other.host, other.last, other.size = last.host, last.last, one.size + other.size
        other.head = other.head._replace(
            looked=max(one.head.looked, other.head.looked), sent=one.head.sent + other.head.sent
        )

    def _whole(self, group: int) -> int:
        """The group that a group is part of by now."""
        while group in self._into:
            group = self._into[group]
        return group
