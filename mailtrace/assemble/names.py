"""Who is who: which host a name or an address in a log line means, learnt from proven links.

A relay is logged by its MX name, a VIP or a NAT address, a client by its reverse name: equality of names is never
required. A reply ID that was found on one host names that host; the client that this host saw names the one before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mailtrace.hosts import address
from mailtrace.ids import generated
from mailtrace.model import Fleet, Peer

if TYPE_CHECKING:
    from mailtrace.assemble.stays import Stay

LOCAL_NAMES = frozenset({"localhost", "localhost.localdomain", "localhost4", "localhost6", "ip6-localhost"})
_MOST = 5_000
"""Peers whose hosts are remembered: who follows logs for months meets any number."""
_SHARE = 0.2  # of an address' links that a host needs, so that one wrong link teaches nothing


def loopback(peer: Peer) -> bool:
    """Whether a peer is this machine by its address alone: loopback, or a socket in the file system."""
    ip = peer.ip
    if ip:
        return ip.startswith(("127.", "/", "private/", "public/")) or ip in ("::1", "local")
    return peer.name.lower() in LOCAL_NAMES


def plain(name: str) -> str:
    """A host name as it is compared: lower case, without a trailing dot."""
    return name.lower().rstrip(".")


class Names:
    """What is known about the names and addresses of the hosts whose logs are read."""

    def __init__(self, fleet: Fleet | None, hosts: Iterable[str]) -> None:
        self._fleet = fleet
        self.hosts: frozenset[str] = frozenset()
        self.facts = 0
        """Grows with every name that is learnt of a host."""
        self._learnt: dict[str, Counter[str]] = {}
        self._known: dict[tuple[str, str], frozenset[str]] = {}
        self._domains: Counter[str] = Counter()
        self._labels: dict[str, set[str]] = {}
        for host in fleet.names if fleet else ():
            self._labels.setdefault(plain(host).partition(".")[0], set()).add(host)
        self.meet(hosts)

    def meet(self, hosts: Iterable[str]) -> None:
        """Hear of hosts whose logs are read."""
        new = frozenset(hosts) - self.hosts
        if new:
            self.hosts |= new
            self._known.clear()
            for host in new:
                self._labels.setdefault(plain(host).partition(".")[0], set()).add(host)

    def learnt(self) -> list[tuple[str, str]]:
        """What was learnt: pairs of a spelling and a host that it means."""
        return sorted((spelling, host) for spelling, hosts in self._learnt.items() for host in hosts)

    def learn(self, peer: Peer, host: str, times: int = 1) -> None:
        """So many proven links show that `peer` is `host`."""
        if loopback(peer):
            return
        if peer.ip:
            self._count(address(peer.ip), host, times)
        name = plain(peer.name)
        if name and name != "unknown":
            self._count(name, host, times)
            label, _, domain = name.partition(".")
            if domain and label == plain(host).partition(".")[0]:
                if not self._domains[domain]:
                    self._known.clear()
                self._domains[domain] += times

    def hear(self, stays: Iterable[Stay], signatures: Iterable[tuple[str, str]] = ()) -> None:
        """Learn what hosts call themselves: in Message-IDs that they made of queue IDs of their own, in their lines.

        `signatures` are hosts and what lines call them that are not among the stays'.
        """
        signed = dict.fromkeys((logged, host) for host, logged in signatures)
        for stay in stays:
            signed[stay.head.logged_host, stay.host] = None
            made = stay.message_id
            if made and stay.queue_id in made and (own := generated(made)) and own.queue_id == stay.queue_id:
                self._introduce(own.host, stay.host)
        for name, host in sorted(signed):
            if "." in name:
                self._introduce(name, host)

    def _introduce(self, name: str, host: str) -> None:
        """A host's own lines call it so."""
        if plain(name) != plain(host) and host not in self._learnt.get(plain(name), ()):
            self.learn(Peer(name, "", None), host)

    def _count(self, spelling: str, host: str, times: int) -> None:
        hosts = self._learnt.setdefault(spelling, Counter())
        new = host not in hosts
        self.facts += new
        hosts[host] += times
        if new or len(hosts) > 1:  # else it means what it meant before
            self._known.clear()

    def of(self, peer: Peer) -> frozenset[str]:
        """The hosts that a peer may be; empty where nothing is known of it."""
        key = (peer.name, peer.ip)
        known = self._known.get(key)
        if known is None:
            if len(self._known) > _MOST:
                self._known.clear()
            known = self._known[key] = self._find(peer)
        return known

    def alike(self, peer: Peer, host: str) -> bool:
        """Whether a peer that nothing else is known of has a host's first label: a hint, and no more than that."""
        label = plain(peer.name).partition(".")[0]
        return host in self._labels.get(label, ()) and not self.of(peer)

    def is_local(self, peer: Peer, host: str) -> bool:
        """Whether a peer seen on `host` is `host` itself."""
        return loopback(peer) or self.of(peer) == {host}

    def _find(self, peer: Peer) -> frozenset[str]:
        ip, name = address(peer.ip) if peer.ip else "", plain(peer.name)
        if self._fleet is not None:
            for spelling in (ip, name):
                told = self._fleet.find(spelling) if spelling and spelling != "unknown" else ""
                if told:
                    return frozenset({told})
        for spelling in (ip, name):
            counts = self._learnt.get(spelling) if spelling else None
            if counts:
                most = max(counts.values())
                return frozenset(host for host, n in counts.items() if n >= _SHARE * most)
        label, _, domain = name.partition(".")
        if name in self._labels:
            return frozenset(self._labels[name])
        if domain and self._domains[domain] and label in self._labels:
            return frozenset(self._labels[label])
        return frozenset()
