"""The files of a log on a server that is followed: only new bytes travel.

The few bytes that came to most logs are fetched while the machines are asked at once; what is long (a first reading)
is streamed when its turn comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mailtrace.sources.following import Text, fingerprint
from mailtrace.sources.resume import HEAD

if TYPE_CHECKING:
    from mailtrace.sources.catalog import Log
    from mailtrace.sources.ssh_listing import Listed

SOON = 1 << 20
"""Bytes that are fetched at once."""


class RemoteThere:
    """A file of a server at the path of a log or beside it."""

    def __init__(
        self,
        file: Listed,
        kind: str,
        begin: Callable[[int], bytes],
        read: Callable[[int], tuple[Log, Iterator[bytes]] | str],
        *,
        live: bool,
    ) -> None:
        """`begin` fetches its first bytes, `read` its text from a place on, or says why it can't."""
        self.ident = f"{file.path.rpartition('/')[0]}:{file.inode}"
        self.size, self.modified = file.size, file.modified
        self.plain = kind == "plain"
        self.live = live
        self.problem = ""
        self._begin, self._read = begin, read
        self._text: bytes | None = None
        self._fetched: tuple[int, Log, list[bytes]] | None = None

    def head(self, length: int) -> str:
        """The fingerprint of its first bytes."""
        if self._text is None:
            self._text = self._begin(HEAD)
        return fingerprint(self._text[:length]) if len(self._text) >= length else ""

    def fetch(self, start: int) -> None:
        """Fetch now what is not much."""
        if self.plain and 0 < self.size - start <= SOON:
            found = self._read(start)
            if isinstance(found, str):
                self.problem = found
            else:
                self._fetched = start, found[0], list(found[1])

    @contextmanager
    def text(self, start: int) -> Iterator[Text | None]:
        """Its text from a place on."""
        if self._fetched is not None and self._fetched[0] == start:
            yield Text(self._fetched[1], iter(self._fetched[2]))
            return
        found = self.problem or self._read(start)
        if isinstance(found, str):
            self.problem = found
            yield None
        else:
            yield Text(*found)
