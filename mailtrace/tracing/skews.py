"""How far each host's clock is ahead of the fleet's, learnt from hand-offs and kept from run to run.

A mail is assembled alone, and two hosts alone do not tell whose clock is wrong. So the two ends of every hand-off whose
reply names the next queue ID are compared and remembered, and the clocks of all hosts are judged together. The same
tells the zone of a log that carries none and whose IDs prove none (`zones`). A clock that is right stays untouched.

Until they have, nothing is said of such a host: what was sent with its times three hours off stays so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from statistics import median
from typing import TYPE_CHECKING

from mailtrace.assemble.skew import SKEWED, apart, solve
from mailtrace.clocks import nearest_offset
from mailtrace.model import Certainty, LinkKind

if TYPE_CHECKING:
    from mailtrace.model import Delivery, Link, LogEntry, Mail
    from mailtrace.tracing.state import State

UNKNOWN = 600.0
"""Seconds of a log in which hand-offs have to tell its clock; from then on it is taken as it reads."""
ENOUGH = 5
"""Hand-offs between two hosts that tell their clocks' difference."""
_KEPT = 15
_ZONE = 600.0
"""Seconds of difference that are a zone's, which nothing but whole quarters of an hour divides, and not a clock's."""


class Skews:
    """The clocks of a fleet, as hand-offs show them.

    `of` has the seconds by which hosts are ahead, `zones` those by which the zone is that was assumed for their stamps.
    """

    def __init__(self, state: State) -> None:
        """Read what is known."""
        kept = json.loads(state.meta().get("skews", "{}"))
        self.of: dict[str, float] = kept.get("of", {})
        self.zones: dict[str, float] = kept.get("zones", {})
        self._pairs: dict[tuple[str, str], list[float]] = {(a, b): seen for a, b, seen in kept.get("pairs", [])}
        self._since: dict[str, float] = kept.get("since", {})
        self._told: set[str] = set(kept.get("told", ()))
        self._changed = self._unjudged = False

    def doubt(self, host: str, time: float) -> None:
        """The zone of a host's stamps is assumed; the first of them reads `time`."""
        if time < self._since.get(host, math.inf):
            self._since[host] = time
            self._changed = True

    def doubtful(self, hosts: Iterable[str]) -> dict[str, float]:
        """Those of some hosts whose zone hand-offs have yet to tell; until when, in their logs, that is waited for."""
        return {host: self._since[host] + UNKNOWN for host in hosts if host in self._since and host not in self._told}

    def observe(self, mails: Iterable[Mail]) -> None:
        """Learn from the hand-offs of mails that were assembled with the clocks as they are."""
        for one, other, seconds in _handoffs(mails):
            seen = self._pairs.setdefault((one, other), [])
            seen.append(round(seconds, 3))
            del seen[:-_KEPT]
            self._changed = self._unjudged = True

    def known(self, mails: Iterable[Mail]) -> bool:
        """Whether enough is known of every two hosts whose clocks differ by these mails."""
        return all(
            abs(seconds) < SKEWED or len(self._pairs.get((one, other), ())) >= ENOUGH
            for one, other, seconds in _handoffs(mails)
        )

    def settle(self, fleet: AbstractSet[str]) -> set[str]:
        """Judge the clocks anew; the hosts that are doubtful no longer. `fleet` are all hosts whose logs may be read.

        A clock that was judged before moves only where it is clearly another by now.
        """
        if not self._unjudged:
            return set()
        self._unjudged = False
        told = {pair: [median(seen)] for pair, seen in self._pairs.items() if len(seen) >= ENOUGH}
        found = solve(told, frozenset(self._since))
        for host in {*found, *self.of, *self.zones}:
            seconds = found.get(host, 0.0)
            if abs(seconds - self.of.get(host, 0.0) - self.zones.get(host, 0.0)) >= SKEWED:
                zone = nearest_offset(seconds) if abs(seconds) > _ZONE else 0
                rest = seconds - zone
                self.zones[host] = zone
                self.of[host] = round(rest * 2) / 2 if abs(rest) >= SKEWED else 0.0
        self.of = {host: seconds for host, seconds in self.of.items() if seconds}
        self.zones = {host: seconds for host, seconds in self.zones.items() if seconds}
        before, self._told = self._told, self._reachable(told, fleet - self._since.keys())
        return self._told - before

    def _reachable(self, pairs: Iterable[tuple[str, str]], sure: AbstractSet[str]) -> set[str]:
        """The doubtful hosts that hand-offs lead to from those whose stamps tell the zone.

        Where no host's do, any hand-offs tell as much as there is to know.
        """
        beside: dict[str, set[str]] = {}
        for one, other in pairs:
            beside.setdefault(one, set()).add(other)
            beside.setdefault(other, set()).add(one)
        found = set(sure or beside)
        waiting = list(found)
        for host in waiting:
            more = beside.get(host, set()) - found
            found |= more
            waiting += more
        return found & self._since.keys()

    def off(self) -> dict[str, float]:
        """Seconds by which the times of hosts, as they were read, are too late."""
        return {host: self.of.get(host, 0.0) + self.zones.get(host, 0.0) for host in {*self.of, *self.zones}}

    def dated(self, entries: list[LogEntry]) -> list[LogEntry]:
        """Entries in the zones that their hosts turned out to write in."""
        zones = self.zones
        if not zones:
            return entries
        return [e._replace(time=e.time - zones[e.host]) if e.host in zones else e for e in entries]

    def keep(self, state: State) -> None:
        """Write it down, where it has changed. Within the caller's transaction."""
        if self._changed:
            pairs = [[one, other, seen] for (one, other), seen in self._pairs.items()]
            known = {"of": self.of, "zones": self.zones, "pairs": pairs}
            known |= {"since": self._since, "told": sorted(self._told)}
            state.set_meta("skews", json.dumps(known))
            self._changed = False


def _handoffs(mails: Iterable[Mail]) -> Iterator[tuple[str, str, float]]:
    """Hosts of each proven hand-off, and how far the second one's clock is ahead."""
    for mail in mails:
        hops = {hop.id: hop for hop in mail.hops} if mail.links else {}
        for link in mail.links:
            one, other = hops.get(link.from_), hops.get(link.to)
            if one is None or other is None or link.kind is not LinkKind.RELAYED or one.host == other.host:
                continue
            if link.certainty is Certainty.AMBIGUOUS:
                continue
            named = (d for d in one.deliveries if d.reply_id == other.queue_id)
            sent = next(named, None) or next((d for d in one.deliveries if _led(d, link)), None)
            if sent is not None:
                yield one.host, other.host, apart(sent.delays, sent.time, other.first)


def _led(delivery: Delivery, link: Link) -> bool:
    """Whether a delivery whose reply names no queue ID is one that a link tells of."""
    return delivery.status == "sent" and delivery.recipient in link.recipients
