"""The inventory: hosts, clusters, domain, aliases and addresses, and the names by which logs call them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What the config's `hosts` says of one host."""

    aliases: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    time_zone: str = ""
    outside: bool = False


@dataclass(frozen=True)
class Inventory:
    """The hosts of the method's section and of the clusters, in the config's order and spelling.

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
        raise NotImplementedError

    def own(self, host: str) -> bool:
        """Whether this inventory host belongs to the fleet (not `outside`)."""
        raise NotImplementedError

    def find(self, name: str) -> str:
        """The inventory's host for a name, an alias or an address, "" if it knows none."""
        raise NotImplementedError

    def zone(self, host: str) -> str:
        """The configured time zone of a host ("" if none)."""
        raise NotImplementedError

    def expand(self, names: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Hosts for names of hosts and clusters and ranges, each once in that order, and the names it does not know."""
        raise NotImplementedError

    def near(self, name: str) -> str:
        """`did you mean "…"?` for an unknown host or cluster, else ""."""
        raise NotImplementedError


def ranges(pattern: str) -> tuple[str, ...]:
    """`mx[01:40].example.com` as forty names; a name without a range as itself. ValueError says what is wrong."""
    raise NotImplementedError
