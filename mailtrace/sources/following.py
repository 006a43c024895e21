"""Following a log: only the lines that came since, through rotation, never half a line.

A line is read when its end is written. What was read is told by a place (`resume.Place`) that survives restarts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from hashlib import blake2b
from itertools import accumulate
from typing import Any, NamedTuple, Protocol, cast

from mailtrace.model import LogEntry, Zone
from mailtrace.sources.catalog import Log
from mailtrace.sources.logfile import LONGEST_LINE
from mailtrace.sources.resume import HEAD, Candidate, Place, Seen, resume

_SETTLED = 10.0
"""Seconds after which a rotated log's last line, though it has no end, is all there is of it."""

_new = cast("Callable[[type[LogEntry], tuple[object, ...]], LogEntry]", tuple.__new__)

Mark = tuple[int, int]
"""A place within one reading: the number of the file, and where in its text reading goes on."""


class Text(NamedTuple):
    """What a file holds from a place on: whose lines they are and what their stamps mean, and the text in pieces."""

    log: Log
    pieces: Iterator[bytes]


class There(Candidate, Protocol):
    """A file at the path of a log or beside it, wherever that is."""

    @property
    def problem(self) -> str:
        """Why it can't be read, "" where it can."""

    def text(self, start: int) -> AbstractContextManager[Text | None]:
        """Its text from `start` on; None where it can't be read, or is no longer the same file."""


def fingerprint(text: bytes) -> str:
    """What tells a beginning from others."""
    return blake2b(text, digest_size=12).hexdigest()


class LogTail:
    """One log that is followed; made anew for each round."""

    def __init__(
        self,
        name: str,
        place: Any,
        there: Sequence[There],
        *,
        since: float | None,
        named: frozenset[str] = frozenset(),
        now: float,
    ) -> None:
        """`place` is what the state has, `there` are the files, `named` the idents of those that the config names."""
        self.name = name
        self.problem = ""
        self.lines = 0
        before = Place.of(place)
        self._assumed = dict(before.assumed)
        self._before = before._replace(assumed=self._assumed)
        self._now = now
        resumed = resume(self._before, there, since, named)
        self._files: list[tuple[There, Seen]] = resumed.files
        if resumed.lost:
            self.problem = f"{name}: what was not read yet is gone: the log was rotated away; keep rotated logs longer"
        self._reached = [seen.offset for _file, seen in self._files]

    def __iter__(self) -> Iterator[tuple[LogEntry, Mark]]:
        """Entries whose times are UTC, each with the place behind its line."""
        for number, (there, seen) in enumerate(self._files):
            if there.plain and there.size <= seen.offset:
                continue
            with there.text(seen.offset) as text:
                if text is None:
                    self.problem = self.problem or there.problem
                    return  # rotated in this very moment, or unreadable: the next round knows it again
                for offset, lines in self._lines(there, text.pieces, seen.offset):
                    yield from self._entries(text.log, number, offset, lines)
                    self._reached[number] = offset + len(lines)

    @property
    def unproved(self) -> Collection[str]:
        """Hosts whose stamps are read in a zone that nothing proves."""
        return [host for host, guessed in self._assumed.items() if guessed]

    def unread(self) -> Iterator[tuple[There, int]]:
        """The files with something new, and where that begins."""
        return ((file, seen.offset) for file, seen in self._files if not file.plain or file.size > seen.offset)

    def place(self, mark: Mark | None = None) -> dict[str, Any]:
        """The place at a mark, for the state; without one, behind all that was read."""
        if mark is None:
            reached = self._reached
            seen = [self._seen(file, before, at) for (file, before), at in zip(self._files, reached, strict=True)]
            return self._before.after(seen, self._now).data() if seen else self._before.data()
        number, offset = mark
        seen = [
            self._seen(file, before, self._reached[n] if n < number else offset if n == number else before.offset)
            for n, (file, before) in enumerate(self._files)
        ]
        return self._before._replace(files=tuple(seen)).data()

    def _seen(self, file: There, before: Seen, offset: int) -> Seen:
        """A file that was read so far, or not yet; its beginning is read anew only as long as it grows."""
        length, head = before.length, before.head
        longer = min(max(file.size, offset), HEAD)
        if length < longer and (found := file.head(longer)):
            length, head = longer, found
        return Seen(file.ident, offset, length, head, file.modified)

    def _lines(self, there: There, pieces: Iterator[bytes], start: int) -> Iterator[tuple[int, bytes]]:
        """Whole lines, with the offset of the first of them."""
        closed = not there.live and not 0 <= self._now - there.modified < _SETTLED
        rest = b""
        for piece in pieces:
            text = rest + piece
            end = text.rfind(b"\n") + 1
            if not end and len(text) > LONGEST_LINE:
                self.problem = f"{self.name}: the line at byte {start} has no end; its beginning was read"
                yield start, text
                end = len(text)
            elif end:
                yield start, text[:end]
            start, rest = start + end, text[end:]
        if rest and closed:
            yield start, rest

    def _entries(self, log: Log, number: int, offset: int, text: bytes) -> Iterator[tuple[LogEntry, Mark]]:
        ends = _ends(text)
        self.lines += len(ends)
        clock, last, assumed = log.clock, len(ends) - 1, self._assumed
        for entry in log.parser.parse(text, 0, log.whose):
            line = min(entry.seq, last)
            begin = offset + (ends[line - 1] if line else 0)
            time = entry.time
            if entry.zone is not Zone.UTC and clock is not None:
                host = entry.host
                if host not in assumed:
                    assumed[host] = not clock.sure(host, entry.zone)
                time = clock.moment(host, entry.zone, time, assumed=assumed[host])
            dated = _new(LogEntry, (entry[0], time, Zone.UTC, log.base + begin, *entry[4:]))
            yield dated, (number, offset + ends[line])


def _ends(text: bytes) -> list[int]:
    """Where each line of a text ends, as the parser counts them."""
    lines = text.split(b"\n")
    ends = list(accumulate(len(line) + 1 for line in lines[:-1]))
    return [*ends, len(text)] if lines[-1] else ends


class Broken:
    """A log that cannot be followed now, and why."""

    def __init__(self, name: str, problem: str) -> None:
        """Its place stays as it is."""
        self.name = name
        self.problem = problem
        self.lines = 0
        self.unproved = ()

    def __iter__(self) -> Iterator[tuple[LogEntry, Any]]:
        """Nothing."""
        return iter(())

    def place(self, mark: Any = None) -> Any:
        """Nothing that would be kept: who has a problem keeps its place."""
        return mark
