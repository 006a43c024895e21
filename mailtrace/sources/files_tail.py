"""The files of a local log that is followed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from mailtrace.sources.catalog import Log
from mailtrace.sources.following import Text, fingerprint
from mailtrace.sources.logfile import LogFile, unpacked
from mailtrace.sources.resume import HEAD

PIECE = 1 << 18
"""Bytes that are read and parsed at a time."""

Open = Callable[[Path], AbstractContextManager[LogFile | None]]
Learn = Callable[["FileThere", LogFile], Log]


class FileThere:
    """A file beside or at the path of a log."""

    def __init__(self, path: Path, state: os.stat_result, open_file: Open, learn: Learn, *, live: bool) -> None:
        """`state` is what the system tells of it; `learn` tells whose lines it has and what its stamps mean."""
        self.path = path
        self.ident = _ident(state)
        self.size, self.modified = state.st_size, state.st_mtime
        self.live = live
        self.problem = ""
        self._open, self._learn = open_file, learn
        self._text = b""
        self._plain: bool | None = None

    @property
    def plain(self) -> bool:
        """Whether it is not packed."""
        self._look()
        return bool(self._plain)

    def head(self, length: int) -> str:
        """The fingerprint of its first bytes."""
        self._look()
        return fingerprint(self._text[:length]) if len(self._text) >= length else ""

    @contextmanager
    def text(self, start: int) -> Iterator[Text | None]:
        """Its text from a place on."""
        with self._open(self.path) as file:
            if file is None:
                self.problem = f"{self.path}: can't be read"
                yield None
            elif _ident(os.fstat(file.descriptor)) != self.ident:
                yield None
            else:
                pieces = _plain(file, start) if file.plain else _packed(file, start)
                yield Text(self._learn(self, file), pieces)

    def _look(self) -> None:
        if self._plain is None:
            with self._open(self.path) as file:
                self._plain = file is None or file.plain
                self._text = b"" if file is None else file.head(HEAD)


def _ident(state: os.stat_result) -> str:
    return f"{state.st_dev}:{state.st_ino}"


def _plain(file: LogFile, start: int) -> Iterator[bytes]:
    while piece := file.read(start, PIECE):
        yield piece
        start += len(piece)


def _packed(file: LogFile, start: int) -> Iterator[bytes]:
    skip = start
    for piece in unpacked(file, lambda _count: None):
        if skip < len(piece):
            yield piece[skip:]
        skip = max(skip - len(piece), 0)
