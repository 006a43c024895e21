"""What the logs of other hosts may still tell of a mail, and how far they have to come for that.

The host that handed a message in is known by the name or address of the client. Its own lines tell where the mail came
from. They may come later than those of the next host: since all of that log comes later, or since some documents of an
index do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from mailtrace.model import Certainty

if TYPE_CHECKING:
    from mailtrace.assemble.names import Names
    from mailtrace.model import Fleet, Hop, Mail
    from mailtrace.tracing.skews import Skews

QUIET = 10.0
"""Seconds by which a log must have moved on past a line before those around it are taken to be there."""
SHUFFLED = 120.0
"""The same, before those that ought to be there and are not are taken not to come."""


class Expected:
    """What may come of hosts that are followed; `marks` are the times that their logs have reached, as they read."""

    def __init__(
        self, names: Names, fleet: Fleet, marks: Mapping[str, float], skews: Skews, followed: AbstractSet[str]
    ) -> None:
        """All of them may change later; `followed` are hosts that are known to be followed before they log anything."""
        self._names = names
        self._fleet = fleet
        self._marks = marks
        self._skews = skews
        self._followed = followed

    def hosts(self) -> set[str]:
        """Whose logs are read, or may be."""
        return {*self._marks, *filter(self._fleet.own, self._fleet.names)}

    def zones(self, hosts: Iterable[str], reached: Callable[[str], float]) -> dict[str, float]:
        """Those of some hosts whose zone another host's hand-offs may still tell, and until when they may."""
        doubts = self._skews.doubtful(hosts)
        if not doubts or len(self.hosts()) < 2:
            return {}
        return {host: until for host, until in doubts.items() if reached(host) < until}

    def awaits(self, hop: Hop, before: Hop | None) -> bool:
        """Whether the host that handed a message in may still tell of it (`otlp.spans.Awaits`).

        It may as long as its log has not come so far; where the config says that it is that host, also later. Where
        another hop is likely to have led here, as it is where that host's lines are not there, that counts then.
        """
        host = self._sender(hop)
        if not host or (before is not None and before.host == host):
            return False
        if self._marks.get(host, 0.0) < self._told(host, hop) + QUIET:
            return True
        return before is None and host in (self._fleet.find(hop.client.ip), self._fleet.find(hop.client.name))

    def senders(self, mails: Iterable[Mail], come: Callable[[str], float]) -> dict[str, float]:
        """Hosts that have yet to tell what the spans of these mails are called by, and how far their logs have to come.

        `come` tells how far a host's log has.

        Where the log of a host that handed a message in is behind, the next host's own lines say enough of the parent;
        but a mail without a Message-ID is called after where it began. Where that log has come so far and does not tell
        of it, a document of it may be late.
        """
        late: dict[str, float] = {}
        for mail in mails:
            hosts = {hop.id: hop.host for hop in mail.hops}
            told = {
                link.to: hosts[link.from_]
                for link in mail.links
                if link.from_ in hosts and link.certainty is not Certainty.AMBIGUOUS
            }
            for hop in mail.hops:
                host = self._sender(hop)
                if not host or told.get(hop.id) == host:
                    continue
                nameless = hop is mail.hops[0] and not any(one.message_id for one in mail.hops)
                told_by, reached = self._told(host, hop), come(host)
                if reached < told_by + QUIET:
                    if nameless:
                        late[host] = told_by + QUIET
                elif reached < told_by + SHUFFLED:
                    late[host] = told_by + SHUFFLED
        return late

    def _sender(self, hop: Hop) -> str:
        """The other host, whose log is followed, that handed a message in; "" where none is known to have."""
        if not (hop.client.name or hop.client.ip):
            return ""
        there = self._names.of(hop.client)
        host = next(iter(there)) if len(there) == 1 else ""
        return host if host != hop.host and (host in self._marks or host in self._followed) else ""

    def _told(self, host: str, hop: Hop) -> float:
        """When another host, by its clock, must have told what led to a hop."""
        return (hop.first if hop.taken is None else hop.taken) + self._skews.off().get(host, 0.0)
