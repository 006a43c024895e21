"""Entries → hops → links → mails. Pure: no I/O, any order of entries, any source.

- stays.py: entries to stays, one stay of a message in one queue; reused IDs told apart
- lives.py: the plain messages that concern no other, which stay text until they are looked at
- links.py: which stay follows which, with evidence; teaches names (names.py) and clocks
- refusals.py: what was turned away, and whose attempt it was
- verdicts.py: one row for each final copy
- mails.py: the mails, in order of first sight
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import NamedTuple

from mailtrace.assemble.links import Linker
from mailtrace.assemble.lives import in_touch
from mailtrace.assemble.mails import Mails
from mailtrace.assemble.names import Names
from mailtrace.assemble.refusals import join_sessions, sort_out
from mailtrace.assemble.stays import Stay, collect, stays_of
from mailtrace.assemble.tls import join_tls
from mailtrace.assemble.verdicts import Context
from mailtrace.clocks import Clocks
from mailtrace.model import ClockNote, Fleet, Hop, Life, LinkKind, LogEntry, Mail, Peer, Span, Zone

__all__ = ["Assembly", "Known", "assemble"]


@dataclass(slots=True)
class Assembly:
    """All mails, in order of first sight, how the clocks were read, and what a walk needs to go on."""

    mails: Sequence[Mail]
    clocks: list[ClockNote]
    _clocks: Clocks
    _names: Names
    _refusals: dict[str, list[LogEntry]]
    _named: dict[str, tuple[str, ...]]
    unclaimed: list[LogEntry]  # refusals of an attempt of one of the fleet's own hosts, whose line is not there

    def utc(self, entry: LogEntry) -> float:
        """The corrected moment of an entry."""
        return self._clocks.utc(entry.host, entry.zone, entry.time)

    def lines(self, mail: Mail) -> list[LogEntry]:
        """The entries of a mail, where `keep_entries` was asked for."""
        return [*(entry for hop in mail.hops for entry in hop.entries), *self._refusals.get(mail.id, ())]

    def slack(self, mail: Mail) -> float:
        """Seconds by which the times of a mail may be wrong."""
        return max((self._clocks.slack(host) for host in {hop.host for hop in mail.hops}), default=0.0)

    def hosts_of(self, peer: Peer) -> tuple[str, ...]:
        """The hosts that a relay or a client may be, () where nothing is known of it."""
        return tuple(sorted(self._names.of(peer)))

    def named(self, hop: Hop) -> tuple[str, ...]:
        """Other IDs on a hop's own host that its lines name: notifications, forwards, parents."""
        return self._named.get(hop.id, ())


class Known(NamedTuple):
    """What is known of a fleet beforehand: names, which go on learning, and seconds by which clocks are ahead."""

    names: Names
    skews: Mapping[str, float]


def assemble(  # noqa: PLR0913 - what is known beforehand, each of it optional
    entries: Iterable[LogEntry | Life],
    fleet: Fleet | None = None,
    *,
    covered: Callable[[], Span] = dict,
    machine: str = "",
    near: float,
    samples: Callable[[], Iterable[LogEntry]] = tuple,
    keep_entries: bool = False,
    hold: bool = True,
    tls: bool = False,
    known: Known | None = None,
) -> Assembly:
    """Build the mails that the entries tell of.

    `covered` tells what each host's log covers (UTC seconds; by default what the entries cover), `machine` the zone of
    stamps that nothing explains ("" is this machine's), `near` the moment (UTC) that a year which nothing proves must
    not lie after; `samples` gives further entries of the same logs that only tell of their clocks. These are asked for
    when all entries have come, `covered` where an outcome depends on it. Without `hold` a mail is made anew whenever it
    is looked at. With `tls` the lines of connections are looked at for it (see `assemble.tls`). `known` is what many
    mails have taught, where these are a few of them: no clock is judged by them. The result depends on the set of
    entries, not on their order.
    """
    clocks = Clocks(fleet.zone if fleet else _nowhere, machine=machine, near=near)
    clocks.skew.update(known.skews if known else {})
    stays, loose, lives = collect(entries, clocks, keep=keep_entries)
    for entry in samples():
        clocks.observe(entry)
    stays += stays_of([lives.pop(queue_id) for queue_id in in_touch(lives, stays, loose)])
    alone = list(lives.values())
    lives.clear()
    clocks.settle_years(_faces(stays, alone))
    stays.sort(key=attrgetter("host", "instance", "queue_id", "number"))
    origins = {life.origin[:2] for life in alone}
    hosts = loose.hosts | {stay.host for stay in stays} | {host for host, _logged in origins}
    names = known.names if known else Names(fleet, hosts)
    names.meet(hosts)
    names.hear(stays, origins)
    linker = Linker(stays, names, clocks, loose.stored, judge_clocks=known is None)
    linker.date()
    join_sessions(loose, stays, clocks)
    if tls:
        join_tls(loose.sessions, stays)
    linker.run()
    turned = sort_out(loose, stays, names, clocks)

    @cache
    def span() -> Span:
        return _corrected(covered(), clocks) or _span(stays, alone, clocks)

    if not hold:  # mails are made when the logs may be closed
        span()
    mails = Mails(stays, alone, turned, Context(names, _own(fleet), span), clocks)
    refusals = mails.refusals() if keep_entries else {}
    named = {stay.id: _named(stay) for stay in stays} if keep_entries else {}
    unclaimed = [refusal.entry for refusal, stay in turned.far_ends if stay is None]
    return Assembly(mails.held() if hold else mails, clocks.notes(), clocks, names, refusals, named, unclaimed)


def _faces(stays: Iterable[Stay], lives: Iterable[Life]) -> Iterator[tuple[str, Zone, float]]:
    """The last stamp of each message."""
    for stay in stays:
        yield stay.host, stay.tail_zone, stay.tail_face
    for life in lives:
        yield life.host, life.origin.zone, life.last


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


def _corrected(span: Span, clocks: Clocks) -> Span:
    """What the logs cover by the clocks as the hand-offs show them; their readers know the stamps alone."""
    return {host: (first - clocks.moved(host), last - clocks.moved(host)) for host, (first, last) in span.items()}


def _span(stays: list[Stay], lives: list[Life], clocks: Clocks) -> dict[str, tuple[float, float]]:
    span: dict[str, tuple[float, float]] = {}
    told = [(stay.host, stay.first, stay.last) for stay in stays]
    for life in lives:
        zone = life.origin.zone
        told.append((life.host, clocks.utc(life.host, zone, life.first), clocks.utc(life.host, zone, life.last)))
    for host, begin, end in told:
        first, last = span.get(host, (begin, end))
        span[host] = (min(first, begin), max(last, end))
    return span
