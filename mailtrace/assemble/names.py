"""Who is who: which host a name or an address in a log line means, learnt from proven links.

A relay is logged by its MX name, a VIP or a NAT address, a client by its reverse name: equality of names is never
required. A reply ID that was found on one host names that host; the client that this host saw names the one before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from ipaddress import ip_address

from mailtrace.model import Fleet, Peer

LOCAL_NAMES = frozenset({"localhost", "localhost.localdomain", "localhost4", "localhost6", "ip6-localhost"})
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


def address(ip: str) -> str:
    """An address as it is compared; v4-mapped IPv6 is IPv4."""
    if ":" not in ip:
        return ip
    try:
        parsed = ip_address(ip.removeprefix("IPv6:").partition("%")[0])
    except ValueError:
        return ip.lower()
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped or parsed)


class Names:
    """What is known about the names and addresses of the hosts whose logs are read."""

    def __init__(self, fleet: Fleet | None, hosts: Iterable[str]) -> None:
        self._fleet = fleet
        self.hosts = frozenset(hosts)
        self._learnt: dict[str, Counter[str]] = {}
        self._known: dict[tuple[str, str], frozenset[str]] = {}
        self._domains: Counter[str] = Counter()
        self._labels: dict[str, set[str]] = {}
        for host in {*self.hosts, *(fleet.names if fleet else ())}:
            self._labels.setdefault(plain(host).partition(".")[0], set()).add(host)

    def learn(self, peer: Peer, host: str) -> None:
        """A proven link shows that `peer` is `host`."""
        if loopback(peer):
            return
        if peer.ip:
            self._learnt.setdefault(address(peer.ip), Counter())[host] += 1
        name = plain(peer.name)
        if name and name != "unknown":
            self._learnt.setdefault(name, Counter())[host] += 1
            label, _, domain = name.partition(".")
            if domain and label == plain(host).partition(".")[0]:
                self._domains[domain] += 1
        self._known.clear()

    def of(self, peer: Peer) -> frozenset[str]:
        """The hosts that a peer may be; empty where nothing is known of it."""
        key = (peer.name, peer.ip)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._find(peer)
        return known

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
