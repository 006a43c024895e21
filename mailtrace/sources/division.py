"""Whose line it is, in a file that holds the lines of many hosts, or of one that nobody named."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from pathlib import Path

from mailtrace.model import Fleet


class Division:
    """Maps the name in a line to a host, for a file named for several hosts or for none."""

    def __init__(self, hosts: Iterable[str], fleet: Fleet, nobody: str) -> None:
        """`hosts` are those for which the file is named; `nobody` is the host of lines without a name."""
        self._hosts = tuple(hosts)
        self._nobody = nobody
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

        Nothing tells whose a line without a name is; `nameless` remembers that there was one.
        """
        if not name:
            self.nameless = True
            return self._nobody
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


def owner(path: Path) -> str:
    """The host of a log that names none, neither in the configuration nor in its lines (Exim's own, for one).

    Where logs of several hosts were gathered, each has a folder; what is below /var/log, or comes through a pipe, is
    this machine's.
    """
    folder = path.absolute().parent
    if path.name == str(path) or folder.is_relative_to("/var/log") or not folder.name:
        return socket.gethostname()
    return folder.name
