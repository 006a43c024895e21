"""The source `files`: logs on this machine, plain or compressed, rotated or not, of one host or of many.

A file is searched as raw bytes, once for all literals of a query, and only the lines that answer are parsed. In a
plain file a window is found by bisection. What could not be read is told by `coverage`, never raised.
"""

from __future__ import annotations

import os
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import chain, repeat
from pathlib import Path
from typing import Any, NamedTuple

from mailtrace.model import Coverage, Fleet, HostLogs, LogEntry, LogQuery, Parser, Stamp, Tail, lines_of
from mailtrace.sources import journal
from mailtrace.sources.catalog import JOURNAL, SOURCE, STDIN, Catalog, Log, Name
from mailtrace.sources.dating import Dating
from mailtrace.sources.division import Division
from mailtrace.sources.extent import add, behind, late, reaches, wider, windowed, within
from mailtrace.sources.files_tail import FileThere
from mailtrace.sources.following import Broken, LogTail
from mailtrace.sources.journal_tail import JournalTail, Read
from mailtrace.sources.logfile import BLOCK, BUFFER, Block, LogFile
from mailtrace.sources.presence import Span, spans
from mailtrace.sources.rotation import rotated, siblings
from mailtrace.sources.search import Data, Literals
from mailtrace.sources.window import Places, first_stamp, last_stamp, samples

_SAMPLE_PLACES, _SAMPLE_SIZE = 16, 4096
_HEAD = 1 << 14
_SEGMENT = 16  # blocks that one thread searches at a time
_WORTH_THREADS = 4 * _SEGMENT  # fewer blocks than that are searched before threads have started
_THREADS = min(os.cpu_count() or 1, 4)
_REALTIME = re.compile(rb'"__REALTIME_TIMESTAMP"\s*:\s*"(\d{1,18})"')

Progress = Callable[[int, int], None]
Found = tuple[int, bytes]  # position and line


class FilesSource:
    """Logs on this machine. `hosts` are those for which a log is named."""

    def __init__(
        self,
        logs: Sequence[HostLogs],
        make_parser: Callable[[HostLogs], Parser],
        fleet: Fleet,
        *,
        base: Path,
        now: float,
        machine_zone: str = "",
        progress: Progress | None = None,
    ) -> None:
        """`base` is what relative paths are relative to, `now` UTC seconds, `machine_zone` the zone to assume last.

        `progress` is called with the bytes read and the bytes to read, of the query that runs.
        """
        self.hosts = tuple(dict.fromkeys(log.host for log in logs if log.host))
        self.progress = progress
        self._settings = {log.host: log for log in reversed(logs)}
        self._named: frozenset[Path] = frozenset()  # every path that the configuration stands for, where it is followed
        self._make_parser = make_parser
        self._now = now
        self._dating = Dating(self._zone_of(fleet), now, machine_zone)
        self._catalog = Catalog(logs, self._new_log, lambda hosts, nobody: Division(hosts, fleet, nobody), base)

    # -------------------------------------------------------------------------------------- the protocol

    def query(self, query: LogQuery) -> Iterator[LogEntry]:
        """Entries of the lines that answer, file by file, each in the file's order."""
        return chain.from_iterable(self._batches(query))  # a generator's step for each of millions would be felt

    def _batches(self, query: LogQuery) -> Iterator[Iterable[LogEntry]]:
        """The same entries, some at a time."""
        tally = _Tally(self.progress)
        plain, in_json = Literals(query), Literals(query, in_json=True)
        needed = self._needed(query)
        alone = len({host for log, _path in needed for host in log.hosts}) == 1
        parts = [self._part(log, path, query, tally)._replace(alone=alone) for log, path in needed]
        for name in self._catalog.asked(query):
            if name.pattern == JOURNAL:
                yield self._journal(name, query, in_json)
        for part in parts:
            for entries in self._entries(part, in_json if part.log.in_json else plain, tally):
                yield within(part.log, query, entries)

    def coverage(self) -> list[Coverage]:
        """What was read, one item per host and configured log, and one for each problem."""
        items: dict[tuple[str, str], Coverage] = {}
        read = [log for log in self._catalog.logs if log.read]
        for log in sorted(read, key=lambda log: (log.base, str(log.path))):
            spans_of = self._spans(log)
            whose = log.host if log.host in spans_of else next(iter(spans_of), "")
            self._doubt(log, read)
            for host, span in spans_of.items():
                item = items.setdefault((host, log.pattern), Coverage(host, SOURCE))
                add(item, host, log, span, whose)
                if len(spans_of) == 1 and log.lines is not None:
                    item.lines = (item.lines or 0) + log.lines
        for log in read:
            if log.division is not None and log.division.nameless and len(log.hosts) > 1:
                text = (
                    f"{log.path}: lines without a host's name in a log named for several hosts; taken as {log.host}'s"
                )
                self._catalog.problem([log.host], str(log.path), text, missing=False)
        out = [*items.values(), *self._catalog.problems.values()]
        return sorted(out, key=lambda item: (item.host, item.problem != "", item.names))

    def _doubt(self, log: Log, read: Sequence[Log]) -> None:
        """Say so where nothing of what was read looks like a log: then "not found" would be no answer."""
        if str(log.path) == JOURNAL:
            if log.first is None:
                self._catalog.problem(log.hosts, JOURNAL, "the journal has no line of then", missing=False)
        elif not log.head and log.plain and not any(other.head for other in read if other.hosts == log.hosts):
            self._catalog.problem(log.hosts, str(log.path), f"{log.path}: is empty", missing=False)
        known = sum(map(len, log.found.values())) + sum(log.counted.values()) > log.unparsed
        if log.head and log.first is None and log.last is None and not known:
            text = f"{log.path}: no line has a stamp that is known here: not a mail log, or in a form of its own"
            self._catalog.problem(log.hosts, str(log.path), text, missing=True)

    def samples(self) -> list[LogEntry]:
        """What was read of each log to learn what its stamps mean, whatever was asked."""
        return [entry for log in self._catalog.logs for entry in log.sample]

    def plan(self, query: LogQuery) -> list[str]:
        """What would be read, without opening anything."""
        out = []
        for name in self._catalog.asked(query):
            hosts = ", ".join(host or "every host in it" for host in name.hosts)
            if name.pattern == JOURNAL:
                out.append(f"{hosts}: {journal.shown(*wider(query))}")
            elif name.pattern == STDIN:
                out.append(f"{hosts}: read standard input")
            else:
                how = ", and its rotated siblings where the window reaches them" if windowed(query) else ""
                out.append(f"{hosts}: read {self._catalog.shown(name)}{how}")
        return out

    def check(self) -> list[Coverage]:
        """Open every log that is named and read its beginning."""
        out: list[Coverage] = []
        for name in self._catalog.names:
            if name.pattern in (STDIN, JOURNAL):
                out += [Coverage(host, SOURCE, (name.pattern,)) for host in name.hosts]
                continue
            for path in self._catalog.paths(name):
                with self._catalog.open(path, name.hosts) as file:
                    if file is not None:
                        file.head(1)
                        out += [Coverage(host, SOURCE, (str(path),)) for host in name.hosts]
        return [*out, *self._catalog.problems.values()]

    def close(self) -> None:
        """Let go of what was kept of standard input and of compressed logs."""
        self._catalog.close()

    # -------------------------------------------------------------------------------------- following

    def follow(self, places: Mapping[str, Any], since: float | None, now: float) -> list[Tail]:
        """What came to each log since its place; from `since` on, or all of it, where it has none.

        `now` is the machine's clock. Standard input cannot be followed.
        """
        self._now, self._catalog.problems = now, {}
        self._catalog.forget()
        met: set[str] = set()
        out: list[Tail] = []
        files = [name for name in self._catalog.names if name.pattern not in (STDIN, JOURNAL)]
        self._named = frozenset(path for name in files for path in self._catalog.paths(name))
        for name in self._catalog.names:
            if name.pattern == STDIN:
                self._catalog.problem(name.hosts, STDIN, "-: standard input cannot be followed", missing=True)
            elif name.pattern == JOURNAL:
                key = f"{SOURCE}:{JOURNAL}"
                out.append(
                    JournalTail(key, places.get(key), self._catalog.journal(name), self._journal_text(name), since)
                )
            else:
                out += [self._tail(name, there, places, since) for there in self._logs_there(name, met)]
        problems = [item for item in self._catalog.problems.values() if item.missing]
        return [*out, *(Broken(f"{SOURCE}:{item.names[0]}", item.problem) for item in problems)]

    def _journal_text(self, name: Name) -> Read:
        """This machine's journal from a place on."""
        noted = self._catalog.notes(name.hosts, JOURNAL)

        def read(start: float | None, cursor: str, tell: Callable[[str], None]) -> Iterator[bytes]:
            def note(text: str, missing: bool) -> None:  # noqa: FBT001 - the shape of `Note`
                noted(text, missing)
                tell(text)

            for block in journal.blocks(start, None, note, cursor):
                yield from block.text.splitlines(keepends=True)

        return read

    def _logs_there(self, name: Name, met: set[str]) -> Iterator[list[FileThere]]:
        """For each log that a name stands for its files, rotated ones too; those that are named belong to their log."""
        for path in self._catalog.paths(name):
            if not any(path.parent == log.parent and rotated(log.name, [path.name]) for log in self._named):
                files = [self._there(each, name, live=each == path) for each in (path, *siblings(path))]
                found = [file for file in files if file is not None and file.ident not in met]
                met.update(file.ident for file in found)
                if found:
                    yield found

    def _there(self, path: Path, name: Name, *, live: bool) -> FileThere | None:
        """A file that is there."""
        try:
            state = path.stat()
        except (OSError, ValueError) as error:
            if live:
                what = "no such file" if isinstance(error, FileNotFoundError) else str(error)
                self._catalog.problem(name.hosts, str(path), f"{path}: {what}", missing=True)
            return None

        def learn(file: FileThere, opened: LogFile) -> Log:
            log = self._catalog.known(file.ident, file.path, name)
            self._look(log, opened, LogQuery())
            return log

        return FileThere(path, state, lambda path: self._catalog.open(path, name.hosts), learn, live=live)

    def _tail(self, name: Name, there: list[FileThere], places: Mapping[str, Any], since: float | None) -> Tail:
        """A log that is followed."""
        path = next((file.path for file in there if file.live), there[0].path)
        idents = frozenset(file.ident for file in there if file.path in self._named)
        key = f"{SOURCE}:{path}"
        return LogTail(key, places.get(key), there, since=since, named=idents, now=self._now)

    # ------------------------------------------------------------------------------- what a log holds

    def _zone_of(self, fleet: Fleet) -> Callable[[str], str]:
        """The configured zone of a host."""
        settings = self._settings
        return lambda host: (settings[host].time_zone if host in settings else "") or fleet.zone(host)

    def _new_log(self, path: Path, name: Name) -> Log:
        return Log(path, name.pattern, list(name.hosts), self._make_parser(self._settings[name.hosts[0]]))

    def _needed(self, query: LogQuery) -> list[tuple[Log, Path]]:
        """The logs with lines in the window, oldest first; one that repeats another is left out."""
        known = []
        for log, path in self._catalog.chosen(query):
            with self._catalog.open(path, log.hosts) as file:
                if file is not None:
                    self._look(log, file, query)
                    known.append((log, path))
        known.sort(key=lambda item: (item[0].base, item[0].modified, str(item[1])))
        for log, _ in known:
            log.read = log.read or not log.head  # an empty log has been read
        # Of a compressed one that seems empty it has to be told why.
        known = self._without_repeats([item for item in known if item[0].head or not item[0].plain])
        if not windowed(query):
            return known
        return [item for at, item in enumerate(known) if reaches(item[0], known[at + 1 :], query)]

    def _look(self, log: Log, file: LogFile, query: LogQuery) -> None:
        """Learn what is not known of a log yet, or has changed: its stamps and what they mean."""
        if log.size != file.size:
            log.size, log.modified, log.plain, log.kept = file.size, file.modified, file.plain, None
            log.head = file.head(_HEAD)
            log.in_json = log.head.lstrip(b"\0 \t\r\n\xef\xbb\xbf").startswith(b"{")
            log.first = first_stamp(log.head, log.parser)
            tail = file.read(max(0, file.size - _HEAD), _HEAD) if file.plain else log.head
            log.last, log.ended = last_stamp(tail, log.parser) or log.first, file.plain
            log.clock = None
            log.spans.clear()
            log.places = Places(log.parser)
        near = self._dating.near(log, query)
        if log.clock is None or (log.near != near and not log.clock.proved()):
            self._dating.learn(log, near, lambda: _sample(file))

    def _without_repeats(self, known: list[tuple[Log, Path]]) -> list[tuple[Log, Path]]:
        """Leave out a log whose text is that of another of the same hosts, or its beginning."""
        kept: list[tuple[Log, Path]] = []
        for log, path in sorted(known, key=lambda item: -item[0].size):
            if not any(
                other.hosts == log.hosts and _alike(other.head, log.head) and self._repeats(path, where, log.hosts)
                for other, where in kept
            ):
                kept.append((log, path))
        return [item for item in known if item in kept]

    def _repeats(self, one: Path, other: Path, hosts: list[str]) -> bool:
        """Whether one log's text is the beginning of another's."""
        with self._catalog.open(one, hosts) as short, self._catalog.open(other, hosts) as long:
            if short is None or long is None:
                return False
            theirs, ahead = (block.text for block in long.blocks()), b""
            for block in short.blocks():
                text = block.text
                while len(ahead) < len(text) and (more := next(theirs, b"")):
                    ahead += more
                if not ahead.startswith(text):
                    return False
                ahead = ahead[len(text) :]
            return True

    # -------------------------------------------------------------------------------------- reading

    def _text(self, log: Log, path: Path, query: LogQuery) -> AbstractContextManager[LogFile | None]:
        """The open log, or what is kept of its text where that is enough for the query."""
        if log.kept is not None and (log.kept.complete or behind(log, log.last, query)):
            return self._catalog.open_kept(log)
        return self._catalog.open(path, log.hosts)

    def _part(self, log: Log, path: Path, query: LogQuery, tally: _Tally) -> _Part:
        """The part of a log that a query has to read."""
        low, high = 0, max(log.size, 0)
        with self._text(log, path, query) as file:
            if file is not None and file.plain:
                high = file.size
                if windowed(query) and log.clock is not None:
                    low, high = log.places.bounds(file, log.clock, *wider(query, late(log)))
        tally.total += high - low
        return _Part(log, path, low, high, query)

    def _entries(self, part: _Part, literals: Literals, tally: _Tally) -> Iterator[list[LogEntry]]:
        """Entries of the lines of a part that hold the literals, some at a time."""
        log = part.log
        with self._text(log, part.path, part.query) as file:
            if file is None:
                return
            log.read = True
            if not literals:
                yield from self._all(part, file, tally)
                return
            for found in self._lines(part, file, literals, tally):
                yield self._understood(log, found)

    def _understood(self, log: Log, found: Sequence[Found]) -> list[LogEntry]:
        """Entries of lines that hold the literals, each with its place in the log; they are counted once."""
        before = log.parser.unparsed
        text = b"".join(line if line.endswith(b"\n") else line + b"\n" for _position, line in found)
        entries = log.parser.parse(text, 0, log.whose)
        places = [log.base + position for position, _line in found]
        hosts = {entry.seq: entry.host for entry in entries}
        # Whose a line is that nobody understands is not known where the log is not one host's.
        nobodys = "" if log.division else log.host
        fresh = []
        for number, (position, line) in enumerate(found):
            known = log.found.setdefault(hosts.get(number, nobodys), set())
            if position not in known:
                known.add(position)
                fresh.append(line)
        if log.parser.unparsed > before:
            strict = self._make_parser(self._settings[log.hosts[0]])
            for line in fresh:
                strict.parse(line, 0, log.whose)
            log.unparsed += strict.unparsed
        return [entry._replace(seq=places[entry.seq]) for entry in entries]

    def _all(self, part: _Part, file: LogFile, tally: _Tally) -> Iterator[list[LogEntry]]:
        """Entries of all lines of a part, some at a time."""
        log, lines = part.log, 0
        before = log.parser.unparsed
        # Lines of another file may belong to the same message: `assemble` sees to that.
        reader: Any = log.parser
        whole = part.query.lives and hasattr(reader, "lives")
        if whole:
            reader = reader.lives(relayed=part.alone)
        counts: Counter[str] = Counter()
        for block in self._blocks(part, file, tally):
            for position, cell in block.cells():
                lines += cell.count(b"\n") + (not cell.endswith(b"\n"))
                entries = list(reader.parse(cell, log.base + position, log.whose))
                if log.division is not None:
                    counts.update(_hosts(entries))
                yield entries
        if whole:
            entries = reader.rest()
            if log.division is not None:
                counts.update(_hosts(entries))
            yield entries
        if log.division is None:
            counts[log.host] = lines
        log.counted = {host: max(count, log.counted.get(host, 0)) for host, count in {**log.counted, **counts}.items()}
        log.unparsed = max(log.unparsed, log.parser.unparsed - before)
        if not windowed(part.query):
            log.lines = lines

    def _lines(self, part: _Part, file: LogFile, literals: Literals, tally: _Tally) -> Iterator[list[Found]]:
        """The lines of a part that hold the literals, with their positions, some at a time."""
        literals.prepare(part.log.head)
        numbers = part.numbers if file.plain else range(0)
        if len(numbers) <= _WORTH_THREADS or _THREADS == 1:
            for block in self._blocks(part, file, tally):
                yield _search(block, literals)
            return
        yield from _in_threads(numbers, lambda some: _segment(file, some, literals), tally)

    def _blocks(self, part: _Part, file: LogFile, tally: _Tally) -> Iterator[Block]:
        """The blocks of a part; of a compressed log those in the window, as far as stamps tell."""
        if not file.plain:
            yield from self._unpacked(part, file, tally)
            return
        buffer = bytearray(BUFFER)
        for number in part.numbers:
            if block := file.block(number, buffer):
                yield block
            tally.add(BLOCK)

    def _unpacked(self, part: _Part, file: LogFile, tally: _Tally) -> Iterator[Block]:
        """The blocks of a compressed log, which are kept for the next query."""
        log, query = part.log, part.query
        start, _ = wider(query, late(log))
        spool = self._catalog.spool
        keeping = None if spool.busy else spool.begin()
        complete = finished = False
        try:
            for block in file.blocks(tally.add):
                text = memoryview(block.data)[block.start : block.end]
                if keeping is not None and (keeping.size != block.offset or not keeping.add_if_room(text)):
                    keeping.drop()
                    keeping = None
                last = last_stamp(block.data[max(block.start, block.end - 4096) : block.end], log.parser)
                if last is not None and (not log.ended):
                    log.last = last
                if last is None or start is None or not log.clock or log.clock.utc(last)[1] >= start:
                    yield block
                if behind(log, last, query):
                    break
            else:
                complete = log.ended = True
            finished = True
        finally:
            if keeping is not None and finished:
                log.kept = keeping.done(complete=complete)
            elif keeping is not None:
                keeping.drop()

    def _journal(self, name: Name, query: LogQuery, literals: Literals) -> Iterator[LogEntry]:
        """Entries of the journal."""
        log = self._catalog.journal(name)
        log.read, log.plain = True, False
        if log.clock is None:
            log.clock = self._dating.clock(log, self._now)
        for block in journal.blocks(*wider(query), self._catalog.notes(name.hosts, JOURNAL)):
            if log.first is None:
                log.first = first_stamp(block.text[:_HEAD], log.parser)
            log.last = last_stamp(block.text[-_HEAD:], log.parser) or log.last
            bounds_of = literals.lines if literals else _line_bounds
            for start, end in bounds_of(block.data, block.start, block.end):
                line = bytes(block.data[start:end])
                moment = _REALTIME.search(line)
                position = int(moment[1]) if moment else 0
                for entry in log.parser.parse(line, position, log.whose):
                    log.found.setdefault(entry.host, set()).add(position)
                    if not query.hosts or entry.host in query.hosts:
                        yield entry

    def _spans(self, log: Log) -> dict[str, tuple[Stamp | None, Stamp | None]]:
        """The hosts that a log tells of, and from when to when."""
        if log.division is None:
            return {log.host: (log.first, log.last)}
        hosts = sorted({*filter(None, (*log.hosts, *log.found)), *log.counted, *(log.clock.hosts if log.clock else ())})
        new = [host for host in hosts if host not in log.spans]
        found = self._search_spans(log, log.division, new) if new else {}
        if found is None:  # a compressed log that was not read to its end
            return dict.fromkeys(hosts, (log.first, log.last))
        log.spans.update({host: found.get(host) for host in new})
        # Lines without a name cannot be looked for by name; a log of them is one host's from its first line on.
        nobody = (log.first, log.last) if log.division.nameless else (None, None)
        return {host: log.spans[host] or (nobody if host == log.host else (None, None)) for host in hosts}

    def _search_spans(self, log: Log, division: Division, hosts: list[str]) -> dict[str, Span] | None:
        """Look for the first and last line of each host; None where that would mean to unpack a log again."""
        if log.kept is not None and log.kept.complete:
            with self._catalog.open_kept(log) as kept:
                return spans(kept, log.parser, division, hosts)
        if log.plain:
            with self._catalog.open(log.path, log.hosts) as file:
                return None if file is None else spans(file, log.parser, division, hosts)
        return None


def _hosts(entries: Iterable[LogEntry]) -> Iterator[str]:
    """The host of every line."""
    return chain.from_iterable(repeat(entry.host, lines_of(entry)) for entry in entries)


class _Part(NamedTuple):
    """What a query reads of a log: the lines that begin in [low, high) of its text, if that can be read anywhere."""

    log: Log
    path: Path
    low: int
    high: int
    query: LogQuery
    alone: bool = False  # no other host's log is read

    @property
    def numbers(self) -> range:
        """The blocks of it."""
        return range(self.low // BLOCK, -(-self.high // BLOCK))


class _Tally:
    """Bytes read of those to read."""

    def __init__(self, progress: Progress | None) -> None:
        self.total = 0
        self._done = 0
        self._progress = progress

    def add(self, count: int) -> None:
        """So many bytes more were read."""
        self._done += count
        if self._progress is not None:
            self._progress(min(self._done, self.total), self.total)


def _alike(one: bytes, other: bytes) -> bool:
    """Whether two beginnings of a text are one text's, as far as both go."""
    length = min(len(one), len(other))
    return one[:length] == other[:length]


def _sample(file: LogFile) -> Iterator[tuple[int, bytes]]:
    """Lines of several places of a log, or the beginning of a compressed one."""
    return samples(file, _SAMPLE_PLACES, _SAMPLE_SIZE) if file.plain else iter([(0, file.head())])


def _line_bounds(data: Data, start: int, end: int) -> list[tuple[int, int]]:
    """Start and end of every line."""
    found = []
    while start < end:
        line_end = data.find(b"\n", start, end) + 1 or end
        found.append((start, line_end))
        start = line_end
    return found


def _search(block: Block, literals: Literals) -> list[Found]:
    """The lines of a block that hold the literals, with their positions."""
    return [
        (block.position(start), bytes(block.data[start:end]))
        for start, end in literals.lines(block.data, block.start, block.end)
    ]


def _segment(file: LogFile, numbers: range, literals: Literals) -> list[Found]:
    """The lines of several blocks that hold the literals."""
    buffer = bytearray(BUFFER)
    return [found for number in numbers if (block := file.block(number, buffer)) for found in _search(block, literals)]


def _in_threads(numbers: range, work: Callable[[range], list[Found]], tally: _Tally) -> Iterator[list[Found]]:
    """Search a plain file in several places at once, results in the file's order, never many ahead."""
    rest = deque(numbers[at : at + _SEGMENT] for at in range(0, len(numbers), _SEGMENT))
    waiting: deque[tuple[range, Future[list[Found]]]] = deque()
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="mailtrace-files")
    try:
        while rest or waiting:
            while rest and len(waiting) < _THREADS * 2:
                some = rest.popleft()
                waiting.append((some, pool.submit(work, some)))
            some, future = waiting.popleft()
            yield future.result()
            tally.add(len(some) * BLOCK)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
