"""Who is before a server's door: few at a time, and one for all who only pass through.

An sshd drops connections when too many of them have not logged in yet (MaxStartups, ten by default), and what watches
it counts refused logins (PerSourcePenalties, fail2ban, a directory that locks accounts).
"""

from __future__ import annotations

import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Generic, TypeVar

from mailtrace.sources.ssh_options import Way
from mailtrace.sources.ssh_remote import SshError

T = TypeVar("T")

_MOST = 8
_BELIEVED = 30.0  # seconds for which a refusal is taken for the answer to those behind


class Doors:
    """One for each sshd that is reached without another."""

    def __init__(self) -> None:
        """Nobody knocks yet."""
        self._lock = threading.Lock()
        self._doors: dict[object, threading.Semaphore] = defaultdict(lambda: threading.Semaphore(_MOST))

    def of(self, way: Way) -> threading.Semaphore:
        """Held while a login is under way."""
        first = way.jumps[0] if way.jumps else way
        # Where commands lead to nobody tells: most of them to one machine.
        key = "command" if first.command else _place(first)
        with self._lock:
            return self._doors[key]


def _place(way: Way) -> object:
    """Several names may lead to one sshd."""
    try:
        return socket.getaddrinfo(way.address, way.port, type=socket.SOCK_STREAM)[0][4]
    except (OSError, UnicodeError, OverflowError):  # told by who connects
        return way.address, way.port


class Shared(Generic[T]):
    """What the first to want it makes, and the others wait for; a refusal is theirs as well."""

    def __init__(self, good: Callable[[T], bool]) -> None:
        """`good` tells whether something that was made can still be used."""
        self._good = good
        self._lock = threading.Lock()
        self._kept: dict[object, _Kept[T]] = {}

    def through(self, jumps: tuple[Way, ...], log_in: Callable[[Way, T | None], T]) -> T | None:
        """What leads to the last of some jump hosts, None where there are none.

        `log_in` makes it for one jump host, of what leads to the one before. Raises `SshError`, with the host's name.
        """
        if not jumps:
            return None
        way = jumps[-1]

        def make() -> T:
            before = self.through(jumps[:-1], log_in)
            try:
                return log_in(way, before)
            except SshError as error:
                msg = f"the jump host {way.shown}: {error}"
                raise SshError(msg) from None

        return self.get(tuple(jump.machine for jump in jumps), make)

    def get(self, key: object, make: Callable[[], T]) -> T:
        """What is kept under a key, made where there is none. Raises the `SshError` of its making."""
        with self._lock:
            kept = self._kept.setdefault(key, _Kept())
        with kept.lock:
            if kept.refusal and time.monotonic() - kept.refused < _BELIEVED:
                raise SshError(kept.refusal)
            if kept.made is None or not self._good(kept.made):
                kept.made = None
                try:
                    kept.made = make()
                except SshError as error:
                    kept.refusal, kept.refused = str(error), time.monotonic()
                    raise
                kept.refusal = ""
            return kept.made

    def all(self) -> list[T]:
        """All that is kept."""
        with self._lock:
            return [kept.made for kept in self._kept.values() if kept.made is not None]


class _Kept(Generic[T]):
    """Something shared, or why there is none."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.made: T | None = None
        self.refusal = ""
        self.refused = 0.0
