"""Following a systemd journal, this machine's or a server's: what it took in since the last line that was read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from mailtrace.model import LogEntry, Zone
from mailtrace.sources.catalog import Log

_REALTIME = re.compile(rb'"__REALTIME_TIMESTAMP"\s*:\s*"(\d{1,18})"')
_CURSOR = re.compile(rb'"__CURSOR"\s*:\s*"([0-9A-Za-z;=]{1,500})"')
_new = cast("Callable[[type[LogEntry], tuple[object, ...]], LogEntry]", tuple.__new__)

Mark = tuple[int, str]
"""When the last line was taken in (microseconds), and its cursor."""
Read = Callable[["float | None", str, "Callable[[str], None]"], Iterable[bytes]]
"""Gives the journal's lines from a time on, or from the line with a cursor on; tells what is wrong with it."""


class JournalTail:
    """The journal from a place on. Its lines carry UTC.

    A place is a cursor: the journal's own order has nothing to do with clocks, which may be set back.
    """

    def __init__(self, name: str, place: Any, log: Log, read: Read, since: float | None) -> None:
        """`since` is where a first reading begins, None for the journal's beginning."""
        self.name = name
        self.problem = ""
        self.lines = 0
        self.unproved = ()  # the journal's times are UTC
        self._log = log
        self._reached: Mark = (place[0], place[1]) if place else (0, "")
        last, cursor = self._reached
        self._text = read(last / 1e6 if last else since, cursor, self._hear)

    def __iter__(self) -> Iterator[tuple[LogEntry, Mark]]:
        """New entries."""
        last, cursor = self._reached
        for line in self._text:
            moment, found = _REALTIME.search(line), _CURSOR.search(line)
            at, name = int(moment[1]) if moment else 0, found[1].decode() if found else ""
            if name == cursor if cursor else at <= last:
                continue
            self.lines += 1
            mark = (at, name)
            for entry in self._log.parser.parse(line, at, self._log.whose):
                yield _new(LogEntry, (entry[0], entry.time, Zone.UTC, at, *entry[4:])), mark
            self._reached = mark

    def place(self, mark: Mark | None = None) -> Any:
        """The place at a mark, or behind all that was read."""
        return mark or self._reached

    def _hear(self, text: str) -> None:
        self.problem = self.problem or text
