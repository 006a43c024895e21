"""The hop walker: fetches, wave by wave, exactly the lines that the mails asked for need.

Wave 1 finds the start: lines with the literals of `find`, on the start hosts, in the window. Each later wave asks for
every ID learnt in the wave before, on the hosts that may know it, near the time of the mail: queue IDs on their host,
the reply's ID on the host the relay names (on all where the name is not known), Message-IDs where an end is open,
upstream clients likewise. What is fetched goes through `assemble` after every wave; the walk ends when nothing new is
left to ask. A loop ends because no new ID appears.

Where `find` is empty every mail is meant: all lines are read once, and `Walked.mails` is a sequence in order of first
sight (`len`, index, any number of passes); who goes through it must keep none, so that its mails can be made when they
are looked at.
"""

from __future__ import annotations

import gc
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise
from typing import NamedTuple, Protocol

from mailtrace.assemble import Assembly, assemble
from mailtrace.assemble.names import loopback
from mailtrace.assemble.refusals import TRANSACTION
from mailtrace.job import Find, Walk
from mailtrace.model import (
    Check,
    ClockNote,
    Delivery,
    Fleet,
    Hop,
    Letter,
    LogEntry,
    LogQuery,
    Mail,
    Peer,
    Recipient,
    Stored,
    Warning_,
)
from mailtrace.shelf import Shelf

NEAR = 900.0
"""Seconds before and after what is known of a mail in which its other ends are looked for first; more than the skew
of a clock that nobody tends."""
FAR = 6 * 3600.0
"""The next try, before `max_age`."""
AROUND = 90.0
"""Seconds around a hand-off in which other mails show who a stranger is."""
EXAMPLES = 6
"""As many other mails are followed to learn one stranger's name."""
SESSION = 300.0
"""Seconds around a message's acceptance in which its connection begins and ends, as a rule."""
GREY = 4 * 3600.0
"""Seconds before its acceptance in which a mail's own earlier, refused attempts are looked for."""
ALL = "*"  # every host

OF_A_LETTER = 6 * 86400.0
"""Seconds between a header's time and a hop that has the queue ID it names: more than a queue keeps a mail; a short ID
is given again later."""
LATE = NEAR
"""Seconds that a later walk with a `Memory` reaches back: lines come late, and clocks are wrong."""

MOST = 200_000
"""Lines that a walk of every mail of a window keeps, some 250 MB; of more it goes part by part."""
PIECES = 8
SHORTEST = 2 * 3600.0
"""Seconds of a part that is not divided again: it is read with what is `NEAR` it."""

Want = tuple[str, str, tuple[float, float]]
"""Something to ask for: host or ALL, literal, window."""
Covered = Callable[[], Mapping[str, tuple[float, float]]]


class Ask(Protocol):
    """Puts the questions of one wave to all sources, at once where they can be."""

    def __call__(self, *queries: LogQuery) -> Iterable[LogEntry]:
        """The entries of the lines that answer any of them."""


class _TooMuchError(Exception):
    """A window has more lines than one walk should keep."""


class Part(NamedTuple):
    """A part of a window (UTC), and whether it is the window's first or last."""

    start: float
    end: float
    first: bool
    last: bool

    def pieces(self, covered: Mapping[str, tuple[float, float]]) -> list[Part]:
        """Smaller parts, in order, of the time that the logs cover."""
        begun = [first - NEAR for first, _last in covered.values()]
        ended = [last + NEAR for _first, last in covered.values()]
        start = max(self.start, min(begun, default=self.start))
        end = min(self.end, max(ended, default=self.end))
        if end <= start:
            start, end = self.start, self.end
        step = (end - start) / PIECES
        edges = [self.start, *(start + n * step for n in range(1, PIECES)), self.end]
        return [
            Part(one, other, self.first and n == 0, self.last and n == PIECES - 1)
            for n, (one, other) in enumerate(pairwise(edges))
        ]

    @property
    def whole(self) -> bool:
        """Whether the window was not divided."""
        return self.first and self.last

    def has(self, time: float) -> bool:
        """Whether a moment of the window lies in it."""
        return (self.first or time >= self.start) and (self.last or time < self.end)


WHOLE = Part(float("-inf"), float("inf"), first=True, last=True)


@dataclass(slots=True)
class Walked:
    """What a walk found."""

    mails: Sequence[Mail] = field(default_factory=list)
    clocks: list[ClockNote] = field(default_factory=list)
    warnings: list[Warning_] = field(default_factory=list)
    keys: dict[str, list[str]] = field(default_factory=dict)
    begun: list[LogEntry] = field(default_factory=list)  # where nothing was found: the lines of wave 1
    near: list[Mail] = field(default_factory=list)  # and the mails that have those
    part: Part = WHOLE  # of the window that was asked for


@dataclass(slots=True)
class Memory:
    """What a walk has read. The next one that asks the same reads only what came since, and what was open."""

    entries: dict[tuple[str, int, float, str], LogEntry] = field(default_factory=dict)
    asked: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    start_hits: set[tuple[str, str, float]] = field(default_factory=set)
    stored: dict[str, list[LogEntry]] = field(default_factory=lambda: defaultdict(list))
    until: float | None = None  # when the last walk began

    def reopen(self) -> None:
        """Forget that anything was asked of the time since shortly before the last walk."""
        if self.until is not None:
            fresh = self.until - LATE
            self.asked = {key: (low, min(high, fresh)) for key, (low, high) in self.asked.items() if low < fresh}


@dataclass(frozen=True, slots=True)
class Scene:
    """What a walk needs to know of its surroundings.

    `covered` tells what each host's log covers, as far as the sources know by now, `samples` what they read of each log
    to learn its clock; `machine` is the zone of stamps that nothing explains; `now` (UTC) the moment after which no log
    line can be. With `tls` the lines of connections are asked for too (other parsers leave them out); with `lives`
    nobody looks at a line again.
    """

    ask: Ask
    fleet: Fleet
    covered: Covered
    samples: Callable[[], Iterable[LogEntry]] = tuple
    machine: str = ""
    now: float = 0.0
    keep_entries: bool = False
    tls: bool = False
    lives: bool = False


def walk(find: Find, options: Walk, scene: Scene, memory: Memory | None = None) -> Walked:
    """Find the mails of `find` and follow each to its ends; a `memory` is what earlier walks have read.

    Where every mail of a window is meant, and nothing has to be remembered for a next walk, a window of too many lines
    is walked part by part, and the mails that are found wait on disk.
    """
    query = first_query(find)
    if memory is None and find.start is not None and not (query.all_of or query.any_of):
        return _in_parts(find, options, scene, find.start)
    return _Walk(find, options, scene, memory or Memory()).run()


def _in_parts(find: Find, options: Walk, scene: Scene, start: float) -> Walked:
    """All mails of a window that begins at `start`, walked in as many parts as it needs."""
    end = scene.now if find.end is None else find.end
    walks = _walks(find, options, scene, Part(start, end, first=True, last=True))
    begun = next(walks)
    if begun.part.whole:
        return begun
    out, shelf = Walked(), Shelf()
    clocks: dict[tuple[str, bool], ClockNote] = {}
    for walked in chain([begun], walks):
        for mail in walked.mails:
            shelf.put(mail)
        for note in walked.clocks:
            key = (note.host, note.offset is None)
            if key not in clocks or note.proved_by != "machine":
                clocks[key] = note
        out.warnings += [warning for warning in walked.warnings if warning not in out.warnings]
        out.begun, out.near = out.begun or walked.begun, out.near or walked.near
    shelf.sort()
    out.mails, out.clocks = shelf, [clocks[key] for key in sorted(clocks)]
    return out


def _walks(find: Find, options: Walk, scene: Scene, part: Part) -> Iterator[Walked]:
    """The walk of a part of a window, or of the parts of it where it has too many lines."""
    walked = _tried(find, options, scene, part)
    if walked is None or not part.whole:
        # What hangs together in rings is not let go of by itself, least of all where a run switches this off.
        gc.collect()
    if walked is not None:
        yield walked
        return
    for piece in part.pieces(scene.covered()):
        yield from _walks(find, options, scene, piece)


def _tried(find: Find, options: Walk, scene: Scene, part: Part) -> Walked | None:
    """The walk of a part of a window; None where it has too many lines."""
    try:
        return _Walk(find, options, scene, Memory(), part).run()
    except _TooMuchError:
        return None


def first_query(find: Find) -> LogQuery:
    """What wave 1 asks for."""
    if find.letter is not None:
        return LogQuery(find.start_host, (), find.letter.literals, find.start, find.end)
    literals = tuple(dict.fromkeys(literal for literal, _ in criteria(find) if literal))
    # Keys of a file are whole: identifiers, or addresses; what a person types may be a part of one.
    whole = not (find.keywords or find.subject or find.client or find.any_of)
    if len(literals) == 1:
        return LogQuery(find.start_host, literals, (), find.start, find.end, whole)
    any_of = literals or find.any_of or find.keys
    return LogQuery(find.start_host, (), any_of, find.start, find.end, whole and bool(any_of))


def criteria(find: Find) -> list[tuple[str, Callable[[Mail, str], bool]]]:
    """Each thing that a mail must have: the literal to look for, and the exact test over the mail."""
    tests: list[tuple[str, Callable[[Mail, str], bool]]] = [(word, _has_text) for word in find.keywords]
    if find.message_id:
        tests.append((find.message_id, _has_message_id))
    if find.sender is not None:
        tests.append((find.sender or "from=<>", _has_sender if find.sender else _has_null_sender))
    if find.recipient:
        tests.append((find.recipient, _has_recipient))
    if find.queue_id:
        tests.append((find.queue_id, _has_queue_id))
    if find.subject:
        tests.append((find.subject, _has_subject))
    if find.client:
        tests.append((find.client, _has_client))
    if find.sasl_user:
        tests.append((find.sasl_user, _has_user))
    return tests


def _within(find: Find, time: float) -> bool:
    """Whether a moment lies in a question's window (stamps of one second round down)."""
    return (find.start is None or time >= find.start - 1.0) and (find.end is None or time <= find.end + 1.0)


class _Walk:
    """One walk: what was asked, what came back."""

    def __init__(self, find: Find, options: Walk, scene: Scene, memory: Memory, part: Part = WHOLE) -> None:
        self.window = find
        self.part = part
        if not part.whole:
            find = replace(find, start=part.start, end=part.end)
        self.find = find
        self.options = options
        self.scene = scene
        memory.reopen()
        self.memory = memory
        self.entries, self.asked = memory.entries, memory.asked
        self.distances = (FAR, options.max_age)
        self.tests = criteria(find)
        self.keys = Keys(find.keys)
        self.first = first_query(find)
        self.hosts = frozenset(self.first.hosts)
        self.start_hits = memory.start_hits
        self.examples: Counter[tuple[str, str]] = Counter()
        self.warnings: list[Warning_] = []
        self.stored = memory.stored  # mailbox servers' own lines by Message-ID
        self.whole: tuple[float, float] | None = None  # the window of which every line of every host was read

    def run(self) -> Walked:
        """All waves, then the answer."""
        query = self.first
        if query == LogQuery():
            query = replace(query, lives=self.scene.lives)
            found = self._assemble(self.scene.ask(query), keep_entries=self.scene.keep_entries, hold=False)
            return Walked(found.mails, found.clocks, self.warnings)
        if self.memory.until is not None and (query.all_of or query.any_of):
            query = replace(query, start=max(query.start or 0.0, self.memory.until - LATE))
        for entry in self.scene.ask(query):
            self._keep(entry)
            self.start_hits.add((entry.host, entry.queue_id, entry.time))
            if len(self.entries) > MOST and self.part.end - self.part.start > SHORTEST:
                raise _TooMuchError
        if not (query.all_of or query.any_of):
            self._read_around(query)
        found = self._followed()
        self.memory.until = self.scene.now
        mails = self._of_this_part(self._matching(found, final=True), found)
        self._limits(mails)
        if not self.scene.keep_entries:
            for mail in mails:
                for hop in mail.hops:
                    hop.entries = []
        out = Walked(mails, found.clocks, self.warnings, self.keys.found(), part=self.part)
        if not mails:
            hits = self.start_hits
            out.begun = [e for e in self.entries.values() if (e.host, e.queue_id, e.time) in hits]
            out.near = [mail for mail in found.mails if self._means(mail, found, final=False)]
        return out

    def _followed(self) -> Assembly:
        """All later waves, and what they bring together."""
        found = self._assemble(self.entries.values())
        while True:
            related = self._related(self._matching(found, final=False), found.mails)
            asks = self._asks(related, found)
            strangers = self._strangers(related, found, asks)
            if not (asks or strangers):
                break
            for entry in self.scene.ask(*self._queries_of(asks, strangers)):
                self._keep(entry)
            found = self._assemble(self.entries.values())
        if self.scene.tls and self.whole is None and found.mails:
            for entry in self.scene.ask(*_connections(self._matching(found, final=False))):
                self._keep(entry)
            found = self._assemble(self.entries.values())
        return found

    def _read_around(self, query: LogQuery) -> None:
        """Every mail of a window is asked for: read what is near it on all hosts too, rather than ask for each ID."""
        # A mail is looked for as far as `NEAR` from its own lines: of a part's, hardly one is to be asked for again.
        near = NEAR if self.part.whole else 1.5 * NEAR
        start = float("-inf") if query.start is None else query.start - near
        end = float("inf") if query.end is None else query.end + near
        parts: list[tuple[float | None, float | None]] = []
        if query.hosts:
            parts = [(None if query.start is None else start, None if query.end is None else end)]
        else:
            parts += [(start, query.start)] if query.start is not None else []
            parts += [(query.end, end)] if query.end is not None else []
        if parts:
            for entry in self.scene.ask(*(LogQuery((), (), (), low, high) for low, high in parts)):
                self._keep(entry)
        self.whole = (start, end)

    def _keep(self, entry: LogEntry) -> None:
        """Remember a line once, however many waves bring it."""
        key = (entry.host, entry.seq, entry.time, entry.queue_id)
        if isinstance(entry.event, Stored) and entry.event.message_id and key not in self.entries:
            self.stored[entry.event.message_id].append(entry)
        self.entries[key] = entry

    def _lines(self, mail: Mail, found: Assembly) -> list[LogEntry]:
        """All lines of a mail, a mailbox server's own among them: those have no queue ID but the Message-ID."""
        ids = {hop.message_id for hop in mail.hops if hop.message_id in self.stored}
        return [*found.lines(mail), *(line for message_id in sorted(ids) for line in self.stored[message_id])]

    def _assemble(self, entries: Iterable[LogEntry], *, keep_entries: bool = True, hold: bool = True) -> Assembly:
        return assemble(
            entries,
            self.scene.fleet,
            covered=self.scene.covered,
            machine=self.scene.machine,
            near=self.find.end if self.find.end is not None else self.scene.now,
            samples=self.scene.samples,
            keep_entries=keep_entries,
            hold=hold,
            tls=self.scene.tls,
        )

    # --------------------------------------------------------------------------- which mails are meant

    def _matching(self, found: Assembly, *, final: bool) -> Sequence[Mail]:
        """The mails that the question means, with the bounces that report on them and those they report on."""
        meant = [mail for mail in found.mails if self._means(mail, found, final=final)]
        if len(meant) == len(found.mails):
            return meant
        ids = {mail.id for mail in meant}
        by_hop = {hop.id: mail for mail in found.mails for hop in mail.hops}
        again = True
        while again:
            again = False
            for mail in found.mails:
                joined = {by_hop[end].id for link in mail.links for end in (link.from_, link.to) if end in by_hop}
                if mail.id not in ids and joined & ids:
                    ids.add(mail.id)
                    again = True
        return [mail for mail in found.mails if mail.id in ids]

    def _means(self, mail: Mail, found: Assembly, *, final: bool) -> bool:
        lines = self._lines(mail, found)
        begun = [e for e in lines if (e.host, e.queue_id, e.time) in self.start_hits and self._in_window(e, found)]
        if not begun:
            return False
        if self.find.keys:
            keys = self.keys.of(lines if self.tests or self.find.any_of else begun)
            if final:
                self.keys.remember(keys, mail.id)
            if not keys:
                return False
        if not final:
            return True
        if self.find.letter is not None and not _is_letter(mail, self.find.letter):
            return False
        # What wave 1 asked for is known to be there.
        asked = self.find.any_of == self.first.any_of
        if self.find.any_of and not asked and not any(_text_in(lines, word) for word in self.find.any_of):
            return False
        return all(
            _text_in(lines, literal) if test is _has_text else test(mail, literal) for literal, test in self.tests
        )

    def _of_this_part(self, mails: Sequence[Mail], found: Assembly) -> Sequence[Mail]:
        """The mails whose first line in the window stands in this part of it, with those that are joined to them.

        Another part tells the others, so that each is told once.
        """
        if self.part.whole:
            return mails
        begun = {mail.id: self._begun(mail, found) for mail in mails}
        own = {mail_id for mail_id, time in begun.items() if time is not None and self.part.has(time)}
        by_hop = {hop.id: mail.id for mail in mails for hop in mail.hops}
        for mail in mails:
            if begun[mail.id] is None and not own.isdisjoint(
                by_hop.get(end, "") for link in mail.links for end in (link.from_, link.to)
            ):
                own.add(mail.id)
        return [mail for mail in mails if mail.id in own]

    def _begun(self, mail: Mail, found: Assembly) -> float | None:
        """When the first line of a mail was logged that lies in the whole window; None where none does."""
        times = [found.utc(line) for line in self._lines(mail, found) if not self.hosts or line.host in self.hosts]
        return min((time for time in times if _within(self.window, time)), default=None)

    def _in_window(self, entry: LogEntry, found: Assembly) -> bool:
        """Whether a line of wave 1 lies in the window by its corrected time."""
        if self.find.start is None and self.find.end is None:
            return True
        return _within(self.find, found.utc(entry))

    # --------------------------------------------------------------------------- what to ask next

    def _asks(self, mails: Sequence[Mail], found: Assembly) -> dict[tuple[str, str], tuple[float, float]]:
        """(host or ALL, literal) → window, for all that the mails leave open and nobody asked before."""
        asks: dict[tuple[str, str], tuple[float, float]] = {}
        for mail in mails:
            own, slack = {hop.host for hop in mail.hops}, found.slack(mail)
            for host, literal, (low, high) in self._open_ends(mail, found):
                # where nothing proves the zone of a log, its hours mean nothing on another host
                wide = 0.0 if host in own else slack
                self._add(asks, host, literal, (low - wide, high + wide))
        for host, literal, window in self._whose_attempt(found):
            self._add(asks, host, literal, window)
        for message_id, lines in self.stored.items():
            begun = [found.utc(e) for e in lines if (e.host, e.queue_id, e.time) in self.start_hits]
            if begun:
                self._add(asks, ALL, message_id, (min(begun) - NEAR, max(begun) + NEAR))
        return asks

    def _whose_attempt(self, found: Assembly) -> Iterator[Want]:
        """The other end of a refusal that the search began with: the line of our own host whose attempt it was."""
        begun = [line for line in found.unclaimed if (line.host, line.queue_id, line.time) in self.start_hits]
        for line in begun:
            check = line.event
            if isinstance(check, Check) and check.recipient:
                time = found.utc(line)
                for host in found.hosts_of(check.client):
                    yield host, check.recipient, (time - AROUND, time + AROUND)

    def _related(self, meant: Sequence[Mail], mails: Sequence[Mail]) -> list[Mail]:
        """The mails that are meant, and those that may turn out to be parts of them: same Message-ID, or neither has
        one and a recipient is the same.
        """
        ids = {hop.message_id for mail in meant for hop in mail.hops if hop.message_id}
        bare = {d.recipient for mail in meant for hop in mail.hops if self._is_bare(hop) for d in hop.deliveries}
        known = {mail.id for mail in meant}
        return [
            mail
            for mail in mails
            if mail.id in known
            or any(
                hop.message_id in ids if hop.message_id else any(d.recipient in bare for d in hop.deliveries)
                for hop in mail.hops
            )
        ]

    def _before(self, host: str, literal: str) -> tuple[float, float] | None:
        """The window in which a host was asked for a literal already."""
        return self.asked.get((host, literal)) or self.asked.get((ALL, literal)) or self.whole

    def _is_bare(self, hop: Hop) -> bool:
        """Whether a hop has no Message-ID, its own lines having been asked for."""
        return not hop.message_id and self._before(hop.host, hop.queue_id) is not None

    def _open_ends(self, mail: Mail, found: Assembly) -> Iterator[Want]:
        """What one mail leaves open."""
        if not mail.hops:
            yield from _past_the_door(mail, found)
        window = (mail.first - NEAR, mail.last + NEAR)
        linked = {(link.from_, recipient) for link in mail.links for recipient in link.recipients}
        followed = {link.to for link in mail.links}
        depth = {step.hop: at for row in mail.recipients for at, step in enumerate(row.path)}
        for hop in mail.hops:
            if depth.get(hop.id, 0) >= self.options.max_hops:
                continue
            yield hop.host, hop.queue_id, self._life(hop)
            if hop.message_id:
                yield hop.host, hop.message_id, window
            for named in found.named(hop):
                yield hop.host, named, window
            for delivery in hop.deliveries:
                if delivery.status == "sent" and not delivery.local and (hop.id, delivery.recipient) not in linked:
                    yield from _downstream(hop, delivery, found, window, bare=self._is_bare(hop))
                elif delivery.status in ("deferred", "bounced") and not loopback(delivery.relay):
                    for host in found.hosts_of(delivery.relay):
                        yield host, delivery.recipient, (delivery.time - 60, delivery.time + 60)
            if hop.id not in followed and not hop.local:
                yield from _upstream(hop, mail.recipients, found, window, bare=self._is_bare(hop))
                if self.whole is None:
                    yield from _at_the_door(hop, mail.recipients)

    def _life(self, hop: Hop) -> tuple[float, float]:
        """Where the lines of one hop are looked for: near, then farther, then as far as a queue keeps a message."""
        before = self._before(hop.host, hop.queue_id)
        begun = hop.client != Peer() or hop.local
        delay = max((d.delay or 0.0 for d in hop.deliveries), default=0.0)
        low, high = hop.first - NEAR - (0.0 if begun else delay), hop.last + NEAR
        if before is not None:
            if not begun:
                low = next((hop.first - far for far in self.distances if before[0] > hop.first - far + 1), before[0])
            if not hop.removed:
                high = next((hop.last + far for far in self.distances if before[1] < hop.last + far - 1), before[1])
        return low, high

    def _strangers(
        self, mails: Sequence[Mail], found: Assembly, pending: Mapping[tuple[str, str], tuple[float, float]]
    ) -> dict[tuple[str, str], tuple[float, float]]:
        """Who is a relay or a client that no name tells? Other mails that met it at that time show it by their IDs.

        As long as the mail's own IDs are `pending` at that end, they may tell it.
        """
        asks: dict[tuple[str, str], tuple[float, float]] = {}
        unknown: dict[str, float] = {}
        for mail in mails:
            for peer, time in self._unknown_peers(mail, found, pending):
                unknown.setdefault(peer.ip, time)
                wide = AROUND + found.slack(mail)
                self._add(asks, ALL, f"[{peer.ip}]", (time - wide, time + wide))
        for mail in found.mails if unknown else ():
            for hop in mail.hops:
                if hop.client.ip in unknown and self._example("client", hop.client.ip):
                    self._add(asks, ALL, hop.queue_id, (hop.first - AROUND, hop.last + AROUND))
                for delivery in hop.deliveries:
                    ip = delivery.relay.ip
                    if ip in unknown and delivery.reply_id and self._example("relay", ip):
                        self._add(asks, ALL, delivery.reply_id, (delivery.time - AROUND, delivery.time + AROUND))
        return asks

    def _unknown_peers(
        self, mail: Mail, found: Assembly, pending: Mapping[tuple[str, str], tuple[float, float]]
    ) -> Iterator[tuple[Peer, float]]:
        """Relays and clients at the open ends of a mail that may be hosts whose logs are read."""
        followed = {link.to for link in mail.links}
        linked = {(link.from_, recipient) for link in mail.links for recipient in link.recipients}
        window = (mail.first, mail.last)
        for hop in mail.hops:
            client, bare = hop.client, self._is_bare(hop)
            if hop.id not in followed and client.ip and not loopback(client) and not found.hosts_of(client):
                wants = _upstream(hop, mail.recipients, found, window, bare=bare)
                if not any((host, literal) in pending for host, literal, _window in wants):
                    yield client, hop.first
            for one in hop.deliveries:
                relay = one.relay
                if one.local or not relay.ip or loopback(relay) or (hop.id, one.recipient) in linked:
                    continue
                wants = _downstream(hop, one, found, window, bare=bare)
                if not found.hosts_of(relay) and not any((host, word) in pending for host, word, _window in wants):
                    yield relay, one.time

    def _example(self, kind: str, ip: str) -> bool:
        """Whether one more mail may be followed to learn who a stranger is."""
        self.examples[(kind, ip)] += 1
        return self.examples[(kind, ip)] <= EXAMPLES

    def _add(
        self, asks: dict[tuple[str, str], tuple[float, float]], host: str, literal: str, window: tuple[float, float]
    ) -> None:
        key = (host, literal)
        low, high = window
        before = self._before(host, literal)
        if before is not None and before[0] <= low + 1 and before[1] >= high - 1:
            return
        if before is not None and not (self.memory.until is not None and before[0] <= low + 1 <= before[1]):
            low, high = min(low, before[0]), max(high, before[1])
        elif before is not None:
            low = before[1]  # what was read earlier is remembered
        known = asks.get(key)
        asks[key] = (min(low, known[0]), max(high, known[1])) if known else (low, high)

    def _queries_of(
        self, asks: dict[tuple[str, str], tuple[float, float]], strangers: dict[tuple[str, str], tuple[float, float]]
    ) -> Iterator[LogQuery]:
        """The queries of one wave. Addresses of strangers stand in many lines: what is asked of a time much longer is
        asked by itself.
        """
        if _span(asks) <= 2 * _span(strangers):
            yield from self._queries({**asks, **strangers})
        else:
            yield from self._queries(asks)
            yield from self._queries(strangers)

    def _queries(self, asks: dict[tuple[str, str], tuple[float, float]]) -> Iterator[LogQuery]:
        """One query for each set of literals' hosts; all literals of a host go together."""
        by_host: dict[str, dict[str, tuple[float, float]]] = {}
        for (host, literal), window in _without_repeats(asks).items():
            by_host.setdefault(host, {})[literal] = window
        same: dict[tuple[tuple[str, ...], float, float], list[str]] = {}
        for host, literals in sorted(by_host.items()):
            low = min(window[0] for window in literals.values())
            high = max(window[1] for window in literals.values())
            for key in ((host, literal) for literal in literals):
                self.asked[key] = (min(low, self.asked.get(key, (low, high))[0]), high)
            same.setdefault((tuple(sorted(literals)), low, high), []).append(host)
        for (words, low, high), hosts in same.items():
            yield LogQuery(() if ALL in hosts else tuple(hosts), (), words, low, high, whole=True)

    def _limits(self, mails: Sequence[Mail]) -> None:
        for mail in mails:
            longest = max((len(row.path) for row in mail.recipients), default=0)
            if longest > self.options.max_hops:
                self.warnings.append(
                    Warning_("max-hops", f"{mail.id}: a path of {longest} hops is longer than max_hops allows")
                )


def _connections(mails: Sequence[Mail]) -> Iterator[LogQuery]:
    """What is logged of the connections of these mails' hops: for each host its peers, around that time."""
    wanted: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
    for mail in mails:
        for hop in mail.hops:
            ends = [] if hop.tls else [(hop.client, hop.first - SESSION, hop.first + SESSION)]
            ends += [(one.relay, one.time - SESSION, one.time) for one in hop.deliveries if not one.tls]
            for peer, low, high in ends:
                if hop.mta == "postfix" and peer.ip and not loopback(peer):
                    known = wanted[hop.host].get(peer.ip, (low, high))
                    wanted[hop.host][peer.ip] = (min(low, known[0]), max(high, known[1]))
    for host, peers in sorted(wanted.items()):
        low, high = min(low for low, _ in peers.values()), max(high for _, high in peers.values())
        ips = tuple(f"[{ip}]" for ip in sorted(peers))
        for said in ("TLS connection", "connect from"):  # the latter is in `disconnect from` too
            yield LogQuery((host,), (said,), ips, low, high)


def _without_repeats(asks: dict[tuple[str, str], tuple[float, float]]) -> dict[tuple[str, str], tuple[float, float]]:
    """What is asked of all hosts is not asked of one besides, unless much farther."""
    out = dict(asks)
    for (host, literal), (low, high) in asks.items():
        everywhere = out.get((ALL, literal))
        if host == ALL or everywhere is None:
            continue
        if low >= everywhere[0] - NEAR and high <= everywhere[1] + NEAR:
            out[(ALL, literal)] = (min(low, everywhere[0]), max(high, everywhere[1]))
            del out[(host, literal)]
    return out


def _span(asks: Mapping[tuple[str, str], tuple[float, float]]) -> float:
    """Seconds from the earliest to the latest that is asked for."""
    return max((high for _, high in asks.values()), default=0.0) - min((low for low, _ in asks.values()), default=0.0)


def _past_the_door(mail: Mail, found: Assembly) -> Iterator[Want]:
    """What else the client of a refusal brought: the rest of its transaction; after a refusal for now, the next try."""
    for line in found.lines(mail):
        check = line.event
        if isinstance(check, Check) and check.client.ip:
            until = GREY if check.action == "defer" else TRANSACTION
            window = (mail.first - TRANSACTION, mail.last + until)
            yield line.host, f"[{check.client.ip}]", window
            if check.action == "defer" and check.recipient:
                yield line.host, check.recipient, window


def _at_the_door(hop: Hop, rows: list[Recipient]) -> Iterator[Want]:
    """What was refused in the same transaction, and earlier attempts that were refused for now."""
    if hop.sender is not None:
        yield hop.host, f"from=<{hop.sender}>", (hop.first - TRANSACTION, hop.first + TRANSACTION)
        yield hop.host, f"F=<{hop.sender}>", (hop.first - TRANSACTION, hop.first + TRANSACTION)
    for address in dict.fromkeys(row.original_recipient for row in rows[:100] if row.original_recipient):
        yield hop.host, address, (hop.first - GREY, hop.first + TRANSACTION)


def _downstream(
    hop: Hop, delivery: Delivery, found: Assembly, window: tuple[float, float], *, bare: bool
) -> Iterator[Want]:
    """The next hop of a delivery: by the reply's ID, by Message-ID, or by its recipient where it has none."""
    hosts = found.hosts_of(delivery.relay) or ((hop.host,) if loopback(delivery.relay) else (ALL,))
    for host in hosts:
        if delivery.reply_id:
            yield host, delivery.reply_id, window
        if hop.message_id:
            yield host, hop.message_id, window
        elif bare and not delivery.reply_id:
            yield host, delivery.recipient, (delivery.time - 120, delivery.time + 120)


def _upstream(
    hop: Hop, rows: list[Recipient], found: Assembly, window: tuple[float, float], *, bare: bool
) -> Iterator[Want]:
    """The hop before: who logged this queue ID in a reply, or the same Message-ID."""
    hosts = found.hosts_of(hop.client) or ((hop.host,) if loopback(hop.client) else (ALL,))
    for host in hosts:
        yield host, hop.queue_id, window
        if hop.message_id:
            yield host, hop.message_id, window
        elif bare:
            for recipient in dict.fromkeys(row.original_recipient for row in rows[:20]):
                yield host, recipient, (hop.first - 120, hop.first + 120)


# --------------------------------------------------------------------------------------------- exact tests


class Keys:
    """Many keys, each a whole word of a line, and the mails that have them.

    A line is taken apart once, so that a thousand keys cost as much as one.
    """

    def __init__(self, keys: tuple[str, ...]) -> None:
        self._mails: dict[str, dict[str, None]] = {key: {} for key in keys}
        self._keys: dict[str, list[str]] = {}
        for key in keys:
            self._keys.setdefault(key.lower(), []).append(key)
        self._known: dict[str, frozenset[str]] = {}
        self._odd = [key for key in self._keys if _APART.search(key) or key.strip(_EDGE) != key]

    def of(self, lines: Iterable[LogEntry]) -> set[str]:
        """The keys that are in these lines."""
        return {key for line in lines for key in self._of(line.raw)}

    def _of(self, line: str) -> frozenset[str]:
        """The keys that are in a line; waves ask for the same ones again."""
        found = self._known.get(line)
        if found is None:
            found = frozenset(given for key in self._in(line.lower()) for given in self._keys[key])
            self._known[line] = found
        return found

    def remember(self, keys: Iterable[str], mail: str) -> None:
        """A mail has these keys."""
        for key in keys:
            self._mails[key][mail] = None

    def found(self) -> dict[str, list[str]]:
        """The mails of each key, in the keys' order."""
        return {key: list(mails) for key, mails in self._mails.items()}

    def _in(self, text: str) -> Iterator[str]:
        for word in _APART.split(text):
            # `bob@example.com:`, `id=…@…` of Exim, `ctladdr=bob@example.com`
            for part in (word, word.strip(_EDGE), word.partition("=")[2].strip(_EDGE)):
                if part in self._keys:
                    yield part
        for key in self._odd:
            if key in text:
                yield key


_APART = re.compile(r"[\s<>()\[\],;\"']+")
_EDGE = ".:="


def _text_in(lines: Iterable[LogEntry], literal: str) -> bool:
    word = literal.lower()
    return any(word in line.raw.lower() for line in lines)


def _has_text(_mail: Mail, _literal: str) -> bool:
    raise AssertionError  # told apart by identity: it needs the lines


def _is_letter(mail: Mail, letter: Letter) -> bool:
    """Whether a mail is what was in hand: by Message-ID, by a queue ID at that time, else by a recipient."""
    if not (letter.message_ids or letter.queue_ids):
        return any(_has_recipient(mail, address) for address in letter.recipients)
    if any(_has_message_id(mail, message_id) for message_id in letter.message_ids):
        return True
    return any(
        hop.queue_id == queue_id and (time is None or abs(hop.first - time) < OF_A_LETTER)
        for queue_id, time in letter.queue_ids
        for hop in mail.hops
    )


def _same(one: str, other: str) -> bool:
    return one.strip("<>").lower() == other.strip("<>").lower()


def _has_message_id(mail: Mail, literal: str) -> bool:
    return any(_same(hop.message_id, literal) for hop in mail.hops)


def _has_sender(mail: Mail, literal: str) -> bool:
    senders = [mail.sender, *(hop.sender for hop in mail.hops)]
    return any(sender is not None and _same(sender, literal) for sender in senders)


def _has_null_sender(mail: Mail, _literal: str) -> bool:
    return mail.sender == ""


def _has_recipient(mail: Mail, literal: str) -> bool:
    rows = [address for row in mail.recipients for address in (row.recipient, row.original_recipient)]
    return any(_same(address, literal) for address in rows) or any(
        _same(address, literal)
        for hop in mail.hops
        for delivery in hop.deliveries
        for address in (delivery.recipient, delivery.original_recipient)
    )


def _has_queue_id(mail: Mail, literal: str) -> bool:
    return any(hop.queue_id == literal for hop in mail.hops)


def _has_subject(mail: Mail, literal: str) -> bool:
    return any(hop.subject is not None and literal.lower() in hop.subject.lower() for hop in mail.hops)


def _has_client(mail: Mail, literal: str) -> bool:
    return any(literal.lower() in (hop.client.name.lower(), hop.client.ip.lower()) for hop in mail.hops)


def _has_user(mail: Mail, literal: str) -> bool:
    return any(_same(hop.user, literal) for hop in mail.hops)
