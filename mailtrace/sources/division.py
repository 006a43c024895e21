"""Whose line it is, in a file that holds the lines of many hosts."""

from __future__ import annotations

from collections.abc import Iterable

from mailtrace.model import Fleet


class Division:
    """Maps the name in a line to a host, for a file named for several hosts."""

    def __init__(self, hosts: Iterable[str], fleet: Fleet) -> None:
        """`hosts` are those for which the file is named."""
        self._hosts = tuple(hosts)
        self._fleet = fleet
        self._known: dict[str, str] = {}
        self.nameless = False

    def __call__(self, name: str) -> str:
        """The host of a name, as `Parser.parse` wants it."""
        host = self._known.get(name)
        if host is None:
            host = self._known[name] = self._find(name)
        return host

    def names(self, host: str) -> list[str]:
        """The names seen so far that are this host's."""
        return [name for name, known in self._known.items() if known == host and name]

    def _find(self, name: str) -> str:
        """The inventory's host, or the only one with that first label, or the name as a host of its own.

        A line without a name is the first host's: nothing tells whose it is, and `nameless` remembers that.
        """
        if not name:
            self.nameless = True
            return self._hosts[0]
        if found := self._fleet.find(name):
            return found
        for hosts in (self._hosts, tuple(self._fleet.names)):
            alike = [host for host in hosts if same_label(host, name)]
            if alike:
                return alike[0] if len(alike) == 1 else name
        return name


def same_label(host: str, name: str) -> bool:
    """Whether a host and a name can be the same by their first label: one of them has no more than that."""
    one, two = host.casefold().rstrip("."), name.casefold().rstrip(".")
    return one == two or (one.partition(".")[0] == two.partition(".")[0] and not ("." in one and "." in two))
