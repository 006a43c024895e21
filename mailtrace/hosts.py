"""The inventory: hosts, clusters, domain, aliases and addresses, and the names by which logs call them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from mailtrace.problem import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MOST_NAMES = 10_000
"""As many names as one range may stand for; the largest fleets have fewer, and a slip (`[1:99999999]`) has more."""

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_PLAIN_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}", re.ASCII).fullmatch
_RANGE = re.compile(r"\[(\d+|[a-z]|[A-Z]):(\d+|[a-z]|[A-Z])\]", re.ASCII)


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What the config's `hosts` says of one host."""

    aliases: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    time_zone: str = ""
    outside: bool = False


@dataclass(frozen=True)
class Inventory:
    """The hosts of the method's section, of the clusters and of `hosts`, in the config's order and spelling.

    Implements `model.Fleet`. `open` tells that the logs may hold hosts that nobody configured (a loghost's file, an
    index): an unknown name is no mistake then.
    """

    hosts: Mapping[str, HostFacts] = field(default_factory=dict)
    clusters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    domain: str = ""
    open: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """All inventory hosts."""
        return tuple(self.hosts)

    def own(self, host: str) -> bool:
        """Whether this inventory host belongs to the fleet (not `outside`)."""
        facts = self.hosts.get(host)
        return facts is not None and not facts.outside

    def find(self, name: str) -> str:
        """The inventory's host for a name, an alias or an address as logs spell it, "" if it knows none.

        In any case; with or without the domain, a dot at the end, brackets around an address. A name that two hosts
        share belongs to neither.
        """
        return self._by_name.get(folded(name), "")

    def zone(self, host: str) -> str:
        """The configured time zone of a host ("" if none)."""
        facts = self.hosts.get(host)
        return facts.time_zone if facts else ""

    def expand(self, names: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Hosts for names of hosts and clusters and ranges, each once in that order, and the names it does not know.

        Raises ValueError for a range that cannot be read.
        """
        known: dict[str, None] = {}
        unknown: dict[str, None] = {}
        for pattern in names:
            for name in ranges(pattern):
                found = self._members(name, set())
                known.update(dict.fromkeys(found))
                if not found:
                    unknown[name] = None
        return tuple(known), tuple(unknown)

    def near(self, name: str) -> str:
        """`did you mean "…"?` for an unknown host or cluster, else ""."""
        return did_you_mean(name, (*self.clusters, *self.hosts))

    def _members(self, name: str, seen: set[str]) -> tuple[str, ...]:
        """The hosts of a cluster, of the clusters in it, or the one host of that name."""
        cluster = self._clusters.get(name.casefold())
        if cluster is None:
            host = self.find(name)
            return (host,) if host else ()
        if name.casefold() in seen:
            return ()
        deeper = seen | {name.casefold()}
        return tuple(
            host
            for member in cluster
            # A cluster may bear the name of one of its hosts.
            for host in (
                self._members(member, deeper) if member.casefold() not in deeper else filter(None, [self.find(member)])
            )
        )

    @cached_property
    def _clusters(self) -> dict[str, tuple[str, ...]]:
        return {name.casefold(): members for name, members in self.clusters.items()}

    @cached_property
    def _by_name(self) -> dict[str, str]:
        """Every spelling of every host. Configured spellings lead over those that the domain makes of them."""
        table: dict[str, str] = {}
        for spellings in (self._written, self._made):
            level: dict[str, str] = {}
            for host, facts in self.hosts.items():
                for spelling in spellings(host, facts):
                    if level.setdefault(spelling, host) != host:
                        level[spelling] = ""
            table = {**level, **table}
        # An alias never takes away another host's own name.
        return {**table, **{folded(host): host for host in reversed(list(self.hosts))}}

    @staticmethod
    def _written(host: str, facts: HostFacts) -> Iterator[str]:
        yield folded(host)
        yield from map(folded, (*facts.aliases, *facts.addresses))

    def _made(self, host: str, facts: HostFacts) -> Iterator[str]:
        """N and N.domain are one host."""
        domain = folded(self.domain).lstrip(".")
        if not domain:
            return
        for name in map(folded, (host, *facts.aliases)):
            if name.endswith("." + domain):
                yield name[: -len(domain) - 1]
            elif _address(name) is None:
                yield f"{name}.{domain}"


def folded(name: str) -> str:
    """A host name or address in the one form in which spellings are compared."""
    bare = name.strip().removeprefix("[").removesuffix("]")
    bare = bare[5:] if bare[:5].lower() == "ipv6:" else bare
    return _address(bare) or bare.rstrip(".").casefold()


def _address(text: str) -> str | None:
    """The canonical form of an IP address, None for anything else; a mapped IPv4 address is that IPv4 address."""
    if not (":" in text or text[-1:].isdigit()):
        return None
    if _PLAIN_IPV4(text):
        return text  # as nearly all are, and asked for every client of a day's mail
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address)


def ranges(pattern: str) -> tuple[str, ...]:
    """`mx[01:40].example.com` as forty names, `mx[a:c]` as three; a name without a range as itself.

    Both ends belong to it, zeros in front are kept, several ranges multiply. ValueError says what is wrong.
    """
    names = [""]
    at = 0
    for found in _RANGE.finditer(pattern):
        steps = _steps(found[1], found[2], pattern)
        literal = pattern[at : found.start()]
        if len(names) * len(steps) > MOST_NAMES:
            msg = f"the range {pattern} stands for more than {MOST_NAMES} hosts"
            raise ValueError(msg)
        names = [name + literal + step for name in names for step in steps]
        at = found.end()
    rest = pattern[at:]
    bare = rest if at else pattern
    # Brackets also enclose an address; any other bracket is a range that was meant.
    if ("[" in bare or "]" in bare) and (at or _address(bare.removeprefix("[").removesuffix("]")) is None):
        msg = f"{pattern} is not a range of hosts; write mx[01:40].example.com"
        raise ValueError(msg)
    return tuple(name + rest for name in names)


def _steps(first: str, last: str, pattern: str) -> list[str]:
    """Every value of one range."""
    steps: list[str] = []
    if first.isdigit() and last.isdigit():
        count = int(last[:9]) - int(first[:9]) + 1 if max(len(first), len(last)) <= 9 else MOST_NAMES + 1
        if 0 < count <= MOST_NAMES:
            width = len(first) if first.startswith("0") else 0
            steps = [str(number).zfill(width) for number in range(int(first), int(last) + 1)]
        elif count > MOST_NAMES:
            msg = f"the range {pattern} stands for more than {MOST_NAMES} hosts"
            raise ValueError(msg)
    elif first.isalpha() and last.isalpha() and first.islower() == last.islower():
        steps = [chr(code) for code in range(ord(first), ord(last) + 1)]
    if not steps:
        msg = f"the range {pattern} is empty: {first} comes after {last}"
        raise ValueError(msg)
    return steps


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
