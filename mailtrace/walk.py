"""The hop walker: fetches, wave by wave, exactly the lines that the mails asked for need.

Wave 1 finds the start: lines with the literals of `find`, on the start hosts, in the window. Each later wave asks for
every ID learnt in the wave before, on the hosts that may know it, near the time of the mail: queue IDs on their host,
the reply's ID on the host the relay names (on all where the name is not known), Message-IDs where an end is open,
upstream clients likewise. What is fetched goes through `assemble` after every wave; the walk ends when nothing new is
left to ask. A loop ends because no new ID appears.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

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
    LogEntry,
    LogQuery,
    Mail,
    Peer,
    Recipient,
    Stored,
    Warning_,
)

NEAR = 900.0
"""Seconds before and after what is known of a mail in which its other ends are looked for first; more than the skew
of a clock that nobody tends."""
FAR = 6 * 3600.0
"""The next try, before `max_age`."""
AROUND = 90.0
"""Seconds around a hand-off in which other mails show who a stranger is."""
EXAMPLES = 6
"""As many other mails are followed to learn one stranger's name."""
GREY = 4 * 3600.0
"""Seconds before its acceptance in which a mail's own earlier, refused attempts are looked for."""
ALL = "*"  # every host

Want = tuple[str, str, tuple[float, float]]
"""Something to ask for: host or ALL, literal, window."""
Ask = Callable[[LogQuery], Iterable[LogEntry]]
Covered = Callable[[], Mapping[str, tuple[float, float]]]


@dataclass(slots=True)
class Walked:
    """What a walk found."""

    mails: list[Mail] = field(default_factory=list)
    clocks: list[ClockNote] = field(default_factory=list)
    warnings: list[Warning_] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Scene:
    """What a walk needs to know of its surroundings.

    `covered` tells what each host's log covers, as far as the sources know by now, `samples` what they read of each log
    to learn its clock; `machine` is the zone of stamps
    that nothing explains; `now` (UTC) the moment after which no log line can be.
    """

    ask: Ask
    fleet: Fleet
    covered: Covered
    samples: Callable[[], Iterable[LogEntry]] = tuple
    machine: str = ""
    now: float = 0.0
    keep_entries: bool = False


def walk(find: Find, options: Walk, scene: Scene) -> Walked:
    """Find the mails of `find` and follow each to its ends."""
    return _Walk(find, options, scene).run()


def first_query(find: Find) -> LogQuery:
    """What wave 1 asks for."""
    literals = tuple(dict.fromkeys(literal for literal, _ in criteria(find) if literal))
    if len(literals) == 1 and not find.any_of:
        return LogQuery(find.start_host, literals, (), find.start, find.end)
    return LogQuery(find.start_host, (), (*literals, *(() if literals else find.any_of)), find.start, find.end)


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


class _Walk:
    """One walk: what was asked, what came back."""

    def __init__(self, find: Find, options: Walk, scene: Scene) -> None:
        self.find = find
        self.options = options
        self.scene = scene
        self.entries: dict[tuple[str, int, float, str], LogEntry] = {}
        self.asked: dict[tuple[str, str], tuple[float, float]] = {}
        self.distances = (FAR, options.max_age)
        self.tests = criteria(find)
        self.start_hits: set[tuple[str, str, float]] = set()
        self.examples: Counter[tuple[str, str]] = Counter()
        self.warnings: list[Warning_] = []
        self.stored: dict[str, list[LogEntry]] = defaultdict(list)  # mailbox servers' own lines by Message-ID
        self.whole: tuple[float, float] | None = None  # the window of which every line of every host was read

    def run(self) -> Walked:
        """All waves, then the answer."""
        query = first_query(self.find)
        if query == LogQuery():
            found = self._assemble(self.scene.ask(query), keep_entries=self.scene.keep_entries)
            return Walked(found.mails, found.clocks, self.warnings)
        for entry in self.scene.ask(query):
            self._keep(entry)
            self.start_hits.add((entry.host, entry.queue_id, entry.time))
        if not (query.all_of or query.any_of):
            self._read_around(query)
        found = self._assemble(self.entries.values())
        while True:
            related = self._related(self._matching(found, final=False), found.mails)
            asks = self._asks(related, found) or self._strangers(related, found)
            if not asks:
                break
            for later in self._queries(asks):
                for entry in self.scene.ask(later):
                    self._keep(entry)
            found = self._assemble(self.entries.values())
        mails = self._matching(found, final=True)
        self._limits(mails)
        if not self.scene.keep_entries:
            for mail in mails:
                for hop in mail.hops:
                    hop.entries = []
        return Walked(mails, found.clocks, self.warnings)

    def _read_around(self, query: LogQuery) -> None:
        """Every mail of a window is asked for: read what is near it on all hosts too, rather than ask for each ID."""
        start = float("-inf") if query.start is None else query.start - NEAR
        end = float("inf") if query.end is None else query.end + NEAR
        parts: list[tuple[float | None, float | None]] = []
        if query.hosts:
            parts = [(None if query.start is None else start, None if query.end is None else end)]
        else:
            parts += [(start, query.start)] if query.start is not None else []
            parts += [(query.end, end)] if query.end is not None else []
        for low, high in parts:
            for entry in self.scene.ask(LogQuery((), (), (), low, high)):
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

    def _assemble(self, entries: Iterable[LogEntry], *, keep_entries: bool = True) -> Assembly:
        return assemble(
            entries,
            self.scene.fleet,
            covered=self.scene.covered,
            machine=self.scene.machine,
            near=self.find.end if self.find.end is not None else self.scene.now,
            samples=self.scene.samples,
            keep_entries=keep_entries,
        )

    # --------------------------------------------------------------------------- which mails are meant

    def _matching(self, found: Assembly, *, final: bool) -> list[Mail]:
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
        if not any((e.host, e.queue_id, e.time) in self.start_hits and self._in_window(e, found) for e in lines):
            return False
        if not final:
            return True
        if self.find.any_of and not any(_text_in(lines, word) for word in self.find.any_of):
            return False
        return all(
            _text_in(lines, literal) if test is _has_text else test(mail, literal) for literal, test in self.tests
        )

    def _in_window(self, entry: LogEntry, found: Assembly) -> bool:
        """Whether a line of wave 1 lies in the window by its corrected time (stamps of one second round down)."""
        start, end = self.find.start, self.find.end
        if start is None and end is None:
            return True
        time = found.utc(entry)
        return (start is None or time >= start - 1.0) and (end is None or time <= end + 1.0)

    # --------------------------------------------------------------------------- what to ask next

    def _asks(self, mails: list[Mail], found: Assembly) -> dict[tuple[str, str], tuple[float, float]]:
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

    def _related(self, meant: list[Mail], mails: list[Mail]) -> list[Mail]:
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

    def _strangers(self, mails: list[Mail], found: Assembly) -> dict[tuple[str, str], tuple[float, float]]:
        """Who is a relay or a client that no name tells? Other mails that met it at that time show it by their IDs."""
        asks: dict[tuple[str, str], tuple[float, float]] = {}
        unknown: dict[str, float] = {}
        for mail in mails:
            for peer, time in _unknown_peers(mail, found):
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
        if before is not None:
            low, high = min(low, before[0]), max(high, before[1])
        known = asks.get(key)
        asks[key] = (min(low, known[0]), max(high, known[1])) if known else (low, high)

    def _queries(self, asks: dict[tuple[str, str], tuple[float, float]]) -> Iterator[LogQuery]:
        """One query for each set of literals' hosts; all literals of a host go together."""
        by_host: dict[str, dict[str, tuple[float, float]]] = {}
        for (host, literal), window in _without_repeats(asks).items():
            by_host.setdefault(host, {})[literal] = window
        same: dict[tuple[tuple[str, ...], float, float], list[str]] = {}
        for host, literals in sorted(by_host.items()):
            low = min(window[0] for window in literals.values())
            high = max(window[1] for window in literals.values())
            self.asked.update({(host, literal): (low, high) for literal in literals})
            same.setdefault((tuple(sorted(literals)), low, high), []).append(host)
        for (words, low, high), hosts in same.items():
            yield LogQuery(() if ALL in hosts else tuple(hosts), (), words, low, high)

    def _limits(self, mails: list[Mail]) -> None:
        for mail in mails:
            longest = max((len(row.path) for row in mail.recipients), default=0)
            if longest > self.options.max_hops:
                self.warnings.append(
                    Warning_("max-hops", f"{mail.id}: a path of {longest} hops is longer than max_hops allows")
                )


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


def _unknown_peers(mail: Mail, found: Assembly) -> Iterator[tuple[Peer, float]]:
    """Relays and clients at the open ends of a mail that may be hosts whose logs are read."""
    followed = {link.to for link in mail.links}
    linked = {(link.from_, recipient) for link in mail.links for recipient in link.recipients}
    for hop in mail.hops:
        client = hop.client
        if hop.id not in followed and client.ip and not loopback(client) and not found.hosts_of(client):
            yield client, hop.first
        for delivery in hop.deliveries:
            relay = delivery.relay
            if delivery.local or not relay.ip or loopback(relay) or (hop.id, delivery.recipient) in linked:
                continue
            if not found.hosts_of(relay):
                yield relay, delivery.time


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


def _text_in(lines: Iterable[LogEntry], literal: str) -> bool:
    word = literal.lower()
    return any(word in line.raw.lower() for line in lines)


def _has_text(_mail: Mail, _literal: str) -> bool:
    raise AssertionError  # told apart by identity: it needs the lines


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
