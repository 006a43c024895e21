"""Texts kept on disk for the next query: standard input, which comes only once, and what was unpacked.

Unpacking is what a compressed log costs; the waves that follow the first one find its text here, where they can bisect.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import NamedTuple

MOST = 1 << 30
"""Bytes of unpacked text that are kept."""


class Kept(NamedTuple):
    """The beginning of a log's text, or all of it."""

    start: int
    size: int
    complete: bool


class Spool:
    """One file without a name, gone with the program, that holds any number of texts one behind the other."""

    def __init__(self, most: int = MOST) -> None:
        """Nothing is created before something is kept."""
        self._descriptor = -1
        self._most = most
        self._end = 0
        self._busy = False

    @property
    def descriptor(self) -> int:
        """A descriptor of its own for a reader, to be closed by it."""
        return os.dup(self._descriptor)

    @property
    def busy(self) -> bool:
        """Whether a text is being kept; a second one has to wait."""
        return self._busy

    def begin(self) -> Keeping:
        """Keep a new text; only where the spool is not `busy`."""
        if self._descriptor < 0:
            with tempfile.TemporaryFile() as file:
                self._descriptor = os.dup(file.fileno())
        self._busy = True
        return Keeping(self, self._end)

    def room(self) -> int:
        """How many bytes may still be kept: no more than the limit, and never more than half the free space."""
        return min(self._most - self._end, shutil.disk_usage(tempfile.gettempdir()).free // 2)

    def write(self, data: bytes | memoryview, offset: int) -> None:
        """Write all of some data; raises `OSError` where there is no room."""
        while data:
            written = os.pwrite(self._descriptor, data, offset)
            data, offset = data[written:], offset + written

    def take(self, end: int) -> None:
        """The text that was being kept ends here (0: it is given up)."""
        self._end = max(self._end, end)
        self._busy = False

    def close(self) -> None:
        """Forget everything."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._end = 0


class Keeping:
    """One text that is being kept, until `done` or `drop`."""

    def __init__(self, spool: Spool, start: int) -> None:
        self._spool = spool
        self._start = start
        self._size = 0
        self._room = -1

    @property
    def size(self) -> int:
        """How much there is."""
        return self._size

    def add(self, data: bytes | memoryview) -> None:
        """Keep some more; raises `OSError` where there is no room."""
        self._spool.write(data, self._start + self._size)
        self._size += len(data)

    def add_if_room(self, data: bytes | memoryview) -> bool:
        """Keep some more unless that is too much; False: give it up."""
        if self._room < 0:
            self._room = self._spool.room()
        if self._size + len(data) > self._room:
            return False
        try:
            self.add(data)
        except OSError:
            return False
        return True

    def done(self, *, complete: bool) -> Kept:
        """That is all."""
        self._spool.take(self._start + self._size)
        return Kept(self._start, self._size, complete)

    def drop(self) -> None:
        """Keep nothing of it."""
        self._spool.take(0)
