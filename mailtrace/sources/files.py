"""The source `files`: logs on this machine, plain or compressed, rotated or not, of one host or of many.

A file is searched as raw bytes, once for all literals of a query, and only the lines that answer are parsed. In a
plain file a window is found by bisection. What could not be read is told by `coverage`, never raised.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mailtrace.clocks import Clocks
from mailtrace.model import Coverage, Fleet, HostLogs, LogEntry, LogQuery, Parser, Stamp, Zone
from mailtrace.sources import journal
from mailtrace.sources.logfile import BLOCK, BUFFER, Block, LogFile, Unreadable, open_log, opened
from mailtrace.sources.rotation import expand, siblings
from mailtrace.sources.search import Data, Literals
from mailtrace.sources.window import LATE, SLACK, LogClock, bounds, first_stamp, last_stamp, samples

STDIN = "-"
JOURNAL = "journal"
NAME = "files"
_SAMPLE_PLACES, _SAMPLE_SIZE = 16, 4096
_ONE_HEAD = 1 << 14
_YEAR_HALF = 182 * 86400.0
_SEGMENT = 16  # blocks that one thread searches at a time
_THREADS = min(os.cpu_count() or 1, 4)
_HOUR = 3600
_POSITION_BITS = 38  # of `seq`; above them stands the minute at which the file begins
_REALTIME = re.compile(rb'"__REALTIME_TIMESTAMP"\s*:\s*"(\d{1,18})"')

Progress = Callable[[int, int], None]
Found = tuple[int, bytes]  # position and line


class Name(NamedTuple):
    """One configured entry of `log_files`, and the hosts it is configured for."""

    pattern: str
    hosts: tuple[str, ...]


@dataclass(eq=False)
class Log:
    """One log and what is known of it; kept from query to query, its text is not."""

    path: Path
    pattern: str
    hosts: list[str]
    parser: Parser
    first: Stamp | None = None
    last: Stamp | None = None
    size: int = -1
    modified: float = 0.0
    kind: str = "plain"
    in_json: bool = False
    head: bytes = b""
    clock: LogClock | None = None
    near: float | None = None
    base: int = 0  # what positions in this file begin with, so that those of a later file are larger
    read: bool = False
    lines: int | None = None
    found: dict[str, set[int]] = field(default_factory=dict)  # by host, the positions of lines that answered
    parsed: int = 0
    unparsed: int = 0
    seen: set[str] = field(default_factory=set)
    nameless: bool = False

    @property
    def host(self) -> str:
        """Whose log it is; of several, the first that was named."""
        return self.hosts[0]

    @property
    def divided(self) -> bool:
        """Whether its lines are told apart by the name in them."""
        return len(self.hosts) > 1


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
        self.hosts = tuple(dict.fromkeys(log.host for log in logs))
        self._settings = {log.host: log for log in reversed(logs)}
        self._make_parser = make_parser
        self._fleet = fleet
        self._base = base
        self._now = now
        self._machine_zone = machine_zone
        self.progress = progress
        self._names = _names(logs)
        self._logs: dict[object, Log] = {}
        self._problems: dict[tuple[str, str], Coverage] = {}
        self._spool: int | None = None
        self._division: dict[tuple[str, ...], dict[str, str]] = {}

    # -------------------------------------------------------------------------------------- the protocol

    def query(self, query: LogQuery) -> Iterator[LogEntry]:
        """Entries of the lines that answer, file by file, each in the file's order."""
        chosen = [(log, opening) for log, opening in self._chosen(query) if self._concerns(log, query)]
        tally = _Tally(self.progress)
        plain = Literals(query)
        in_json = Literals(query, in_json=True)
        reads = [self._part(log, opening, query, tally) for log, opening in self._needed(chosen, query)]
        for name in self._names:
            if name.pattern == JOURNAL and _meets(name.hosts, query, self.hosts):
                yield from self._journal(name, query, in_json)
        for read in reads:
            literals = in_json if read.log.in_json else plain
            yield from self._within(read.log, query, self._entries(read, literals, tally))

    def coverage(self) -> list[Coverage]:
        """What was read, one item per host and configured log, and one for each problem."""
        items: dict[tuple[str, str], Coverage] = {}
        for log in sorted((log for log in self._logs.values() if log.read), key=lambda log: (log.base, str(log.path))):
            for host in self._covered(log):
                self._cover(items.setdefault((host, log.pattern), Coverage(host, NAME)), host, log)
        out = [*items.values(), *self._problems.values()]
        return sorted(out, key=lambda item: (item.host, item.problem != "", item.names))

    def plan(self, query: LogQuery) -> list[str]:
        """What would be read, without opening anything."""
        out = []
        for name in self._names:
            if not _meets(name.hosts, query, self.hosts):
                continue
            hosts = ", ".join(name.hosts)
            if name.pattern == JOURNAL:
                start, end = _wider(query)
                out.append(f"{hosts}: {journal.shown(start, end)}")
            elif name.pattern == STDIN:
                out.append(f"{hosts}: read standard input")
            else:
                how = "and its rotated siblings as far as the window reaches" if _windowed(query) else "whole"
                where = self._base / os.path.expanduser(name.pattern)  # noqa: PTH111 - as in `expand`
                out.append(f"{hosts}: read {where} {how}")
        return out

    def check(self) -> list[Coverage]:
        """Open every log that is named and read its first line."""
        out: list[Coverage] = []
        for name in self._names:
            if name.pattern in (STDIN, JOURNAL):
                out += [Coverage(host, NAME, (name.pattern,)) for host in name.hosts]
                continue
            before = set(self._problems)
            for path in self._paths(name):
                with self._open(path, name.hosts) as file:
                    if file is not None:
                        file.head(1)
                        out += [Coverage(host, NAME, (str(path),)) for host in name.hosts]
            out += [self._problems[key] for key in self._problems if key not in before]
        return out

    def close(self) -> None:
        """Let go of what standard input was kept in."""
        if self._spool is not None:
            os.close(self._spool)
            self._spool = None

    # ------------------------------------------------------------------------------------- which files

    def _chosen(self, query: LogQuery) -> list[tuple[Log, Path]]:
        """Every log that the names stand for, each file once, with a path that opens it."""
        chosen: dict[object, tuple[Log, Path]] = {}
        claims: dict[object, list[str]] = {}
        for name in self._names:
            if name.pattern == JOURNAL:
                continue
            paths = [Path(STDIN)] if name.pattern == STDIN else self._paths(name)
            if _windowed(query) and name.pattern != STDIN:
                paths = list(dict.fromkeys([*paths, *(other for path in paths for other in siblings(path))]))
            for path in paths:
                key = self._key(path, name)
                if key is None:
                    continue
                hosts = claims.setdefault(key, [])
                hosts += [host for host in name.hosts if host not in hosts]
                if key not in chosen:
                    chosen[key] = (self._logs.get(key) or self._new(key, path, name), path)
        for key, hosts in claims.items():
            log = chosen[key][0]
            log.hosts += [host for host in hosts if host not in log.hosts]
        return list(chosen.values())

    def _new(self, key: object, path: Path, name: Name) -> Log:
        """A log that was not known before."""
        log = Log(path, name.pattern, list(name.hosts), self._make_parser(self._settings[name.hosts[0]]))
        self._logs[key] = log
        return log

    def _paths(self, name: Name) -> list[Path]:
        """The paths that a configured name stands for; nothing at all is a problem."""
        paths = expand(name.pattern, self._base)
        if not paths:
            for host in name.hosts:
                self._problem(host, name.pattern, f"{self._base / name.pattern}: no file matches", missing=True)
        return paths

    def _key(self, path: Path, name: Name) -> object | None:
        """What tells a file from others, by whatever name it is found; None where there is no file."""
        if str(path) == STDIN:
            return STDIN
        try:
            state = path.stat()
        except (OSError, ValueError) as error:
            what = (
                "no such file" if isinstance(error, FileNotFoundError) else getattr(error, "strerror", "") or str(error)
            )
            rotated = siblings(path)
            hint = f"; there is {rotated[0].name}: name it, or give a window" if rotated else ""
            for host in name.hosts:
                self._problem(host, str(path), f"{path}: {what}{hint}", missing=True)
            return None
        return (state.st_dev, state.st_ino)

    def _concerns(self, log: Log, query: LogQuery) -> bool:
        """Whether a log may hold lines of the hosts that are asked for."""
        return _meets(log.hosts, query, self.hosts)

    @contextmanager
    def _open(self, path: Path, hosts: Iterable[str]) -> Iterator[LogFile | None]:
        """An open log, None (and a problem) where it can't be read."""
        named = list(hosts)

        def note(text: str, missing: bool) -> None:  # noqa: FBT001 - the shape of `Note`
            for host in named:
                self._problem(host, str(path), text, missing=missing)

        try:
            file = opened(path, os.dup(self._standard_input()), note) if str(path) == STDIN else open_log(path, note)
        except Unreadable as error:
            note(str(error), True)
            yield None
            return
        try:
            yield file
        finally:
            file.close()

    def _standard_input(self) -> int:
        """Standard input, read once and kept, for it is asked for in every wave."""
        if self._spool is None:
            with tempfile.TemporaryFile() as file:
                stream = getattr(sys.stdin, "buffer", None)
                if stream is None or sys.stdin.isatty():
                    msg = "-: standard input is a terminal; pipe a log into it"
                    raise Unreadable(msg)
                while piece := stream.read(BLOCK):
                    file.write(piece)
                file.flush()
                self._spool = os.dup(file.fileno())
        return self._spool

    def _problem(self, host: str, name: str, text: str, *, missing: bool) -> None:
        """Remember what went wrong, once."""
        key = (host, text)
        if key not in self._problems:
            self._problems[key] = Coverage(host, NAME, (name,), problem=text, missing=missing)

    # ------------------------------------------------------------------------------- what a file holds

    def _needed(self, chosen: list[tuple[Log, Path]], query: LogQuery) -> list[tuple[Log, Path]]:
        """Those with lines in the window, oldest first; a file that repeats another is left out."""
        known = []
        for log, path in chosen:
            with self._open(path, log.hosts) as file:
                if file is not None:
                    self._look(log, file, query)
                    known.append((log, path))
        known.sort(key=lambda item: (item[0].base, item[0].modified, str(item[1])))
        known = [item for item in known if item[0].head]
        self._mark_empty(chosen)
        known = self._without_repeats(known)
        if not _windowed(query):
            return known
        return [item for at, item in enumerate(known) if self._reaches(item[0], known[at + 1 :], query)]

    @staticmethod
    def _mark_empty(chosen: list[tuple[Log, Path]]) -> None:
        """An empty log that was opened has been read."""
        for log, _ in chosen:
            if log.size == 0:
                log.read = True

    def _look(self, log: Log, file: LogFile, query: LogQuery) -> None:
        """Learn what is not known of a log yet, or has changed: its stamps and what they mean."""
        if log.size != file.size:
            log.size, log.modified, log.kind = file.size, file.modified, file.kind
            log.head = file.head(_ONE_HEAD)
            log.in_json = log.head.lstrip(b"\0 \t\r\n\xef\xbb\xbf").startswith(b"{")
            log.first = first_stamp(log.head, log.parser)
            if file.plain:
                tail = file.read(max(0, file.size - _ONE_HEAD), _ONE_HEAD)
                log.last = last_stamp(tail, log.parser) or log.last or log.first
            elif log.last is None:
                log.last = last_stamp(log.head, log.parser)
            log.clock = None
        near = self._near(log, query)
        if log.clock is None or (log.near != near and not log.clock.proved()):
            self._learn_clock(log, file, near)

    def _near(self, log: Log, query: LogQuery) -> float:
        """The moment after which a stamp without a year does not lie, where nothing proves the year."""
        if query.end is not None or query.start is not None:
            return min(self._now, (query.end if query.end is not None else query.start or 0.0) + _YEAR_HALF)
        return min(self._now, log.modified or self._now)

    def _learn_clock(self, log: Log, file: LogFile, near: float) -> None:
        """Sample the log to know what its stamps mean and, of a loghost's, whose lines it holds."""
        clocks = Clocks(self._zone, machine=self._machine_zone, near=near)
        log.clock, log.near = LogClock(clocks, log.host, lambda host: bool(self._zone(host))), near
        plain_utc = log.first is not None and log.first.zone is Zone.UTC
        if plain_utc and not log.divided:
            self._set_base(log)
            return
        taken = samples(file, _SAMPLE_PLACES, _SAMPLE_SIZE) if file.plain else iter([(0, file.head())])
        before = log.parser.unparsed
        host = self._host_of(log)
        for offset, lines in taken:
            log.clock.learn(log.parser.parse(lines, offset, host))
        log.parser.unparsed = before  # these lines were not asked for
        log.seen |= log.clock.hosts
        self._set_base(log)

    @staticmethod
    def _set_base(log: Log) -> None:
        """Order this file among the others of its log by its first stamp."""
        if log.first is not None and log.clock is not None:
            minute = int(log.clock.utc(log.first, "" if log.divided else log.host)[0] // 60)
            log.base = max(minute, 0) << _POSITION_BITS

    def _zone(self, host: str) -> str:
        """The configured zone of a host."""
        settings = self._settings.get(host)
        return (settings.time_zone if settings else "") or self._fleet.zone(host)

    def _reaches(self, log: Log, later: list[tuple[Log, Path]], query: LogQuery) -> bool:
        """Whether a log may hold lines of the window. Of a compressed one the next one's beginning is its end."""
        if log.clock is None or log.first is None:
            return True
        start, end = _wider(query)
        late = LATE if log.divided else 0.0
        if end is not None and log.clock.utc(log.first)[0] > end + late:
            return False
        if start is None:
            return True
        last = (
            log.last
            if log.kind == "plain"
            else next(
                (
                    other.first
                    for other, _ in later
                    if other.first and other.hosts == log.hosts and other.pattern == log.pattern
                ),
                None,
            )
        )
        return last is None or log.clock.utc(last)[1] >= start - late

    def _without_repeats(self, known: list[tuple[Log, Path]]) -> list[tuple[Log, Path]]:
        """Leave out a file whose text is that of another, or its beginning."""
        kept: list[tuple[Log, Path]] = []
        for log, path in sorted(known, key=lambda item: -item[0].size):
            if not any(
                other.hosts == log.hosts and _alike(other.head, log.head) and self._begins_with(where, path, log.hosts)
                for other, where in kept
            ):
                kept.append((log, path))
        return [item for item in known if item in kept]

    def _begins_with(self, long: Path, short: Path, hosts: list[str]) -> bool:
        """Whether one log's text begins with the whole of another's."""
        with self._open(long, hosts) as one, self._open(short, hosts) as other:
            if one is None or other is None:
                return False
            ours, theirs = _text(one), _text(other)
            mine = b""
            for piece in theirs:
                while len(mine) < len(piece) and (more := next(ours, b"")):
                    mine += more
                if not mine.startswith(piece):
                    return False
                mine = mine[len(piece) :]
            return True

    # -------------------------------------------------------------------------------------- reading

    def _part(self, log: Log, path: Path, query: LogQuery, tally: _Tally) -> _Part:
        """The part of a log that a query has to read."""
        part = _Part(log, path, 0, max(log.size, 0), query)
        if log.kind == "plain" and _windowed(query) and log.clock is not None:
            start, end = _wider(query)
            late = LATE if log.divided else 0.0
            with self._open(path, log.hosts) as file:
                if file is not None:
                    low, high = bounds(
                        file,
                        log.parser,
                        log.clock,
                        None if start is None else start - late,
                        None if end is None else end + late,
                    )
                    part = _Part(log, path, low, high, query)
        tally.total += part.high - part.low
        return part

    def _entries(self, part: _Part, literals: Literals, tally: _Tally) -> Iterator[LogEntry]:
        """Entries of the lines of a part that hold the literals."""
        log = part.log
        with self._open(part.path, log.hosts) as file:
            if file is None:
                return
            log.read = True
            host = self._host_of(log)
            if not literals:
                yield from self._all(part, file, host, tally)
                return
            for position, line in self._lines(part, file, literals, tally):
                before = log.parser.unparsed
                found = list(log.parser.parse(line, log.base + position, host))
                name = found[0].host if found else log.host
                known = log.found.setdefault(name, set())
                if position not in known:
                    known.add(position)
                    log.unparsed += log.parser.unparsed - before
                yield from found

    def _all(self, part: _Part, file: LogFile, host: str | Callable[[str], str], tally: _Tally) -> Iterator[LogEntry]:
        """Entries of all lines of a part."""
        log = part.log
        before, lines, counts = log.parser.unparsed, 0, dict.fromkeys(log.hosts, 0)
        for block in self._blocks(part, file, tally):
            for position, cell in block.cells():
                lines += cell.count(b"\n") + (not cell.endswith(b"\n"))
                for entry in log.parser.parse(cell, log.base + position, host):
                    counts[entry.host] = counts.get(entry.host, 0) + 1
                    yield entry
        log.parsed = max(log.parsed, lines)
        log.unparsed = max(log.unparsed, log.parser.unparsed - before)
        log.seen |= {name for name, count in counts.items() if count}
        if part.low == 0 and part.high >= log.size:
            log.lines = lines

    def _lines(self, part: _Part, file: LogFile, literals: Literals, tally: _Tally) -> Iterator[Found]:
        """The lines of a part that hold the literals, with their positions."""
        literals.prepare(part.log.head)
        numbers = range(part.low // BLOCK, -(-part.high // BLOCK)) if file.plain else range(0)
        if len(numbers) <= _SEGMENT or _THREADS < 2:
            for block in self._blocks(part, file, tally):
                yield from _search(block, literals)
            return
        yield from _in_threads(numbers, lambda some: _segment(file, some, literals), tally)

    def _blocks(self, part: _Part, file: LogFile, tally: _Tally) -> Iterator[Block]:
        """The blocks of a part; of a compressed log those in the window, as far as stamps tell."""
        if file.plain:
            buffer = bytearray(BUFFER)
            for number in range(part.low // BLOCK, -(-part.high // BLOCK)):
                if block := file.block(number, buffer):
                    yield block
                tally.add(BLOCK)
            return
        log = part.log
        start, end = _wider(part.query)
        late = LATE if log.divided else 0.0
        for block in file.blocks(tally.add):
            last = last_stamp(block.data[max(block.start, block.end - 4096) : block.end], log.parser)
            if last is not None:
                log.last = last
                if start is not None and log.clock and log.clock.utc(last)[1] < start - late:
                    continue
            yield block
            if last is not None and end is not None and log.clock and log.clock.utc(last)[0] > end + late:
                return

    def _journal(self, name: Name, query: LogQuery, literals: Literals) -> Iterator[LogEntry]:
        """Entries of the journal."""

        def note(text: str, missing: bool) -> None:  # noqa: FBT001 - the shape of `Note`
            for host in name.hosts:
                self._problem(host, JOURNAL, text, missing=missing)

        log = self._logs.get(JOURNAL) or self._new(JOURNAL, Path(JOURNAL), name)
        log.read = True
        host = self._host_of(log)
        for block in journal.blocks(*_wider(query), note):
            if log.first is None:
                log.first = first_stamp(block.text[:_ONE_HEAD], log.parser)
            log.last = last_stamp(block.text[-_ONE_HEAD:], log.parser) or log.last
            bounds_of = literals.lines if literals else _line_bounds
            for start, end in bounds_of(block.data, block.start, block.end):
                line = bytes(block.data[start:end])
                moment = _REALTIME.search(line)
                position = int(moment[1]) if moment else 0
                for entry in log.parser.parse(line, position, host):
                    log.found.setdefault(entry.host, set()).add(position)
                    if not query.hosts or entry.host in query.hosts:
                        yield entry

    def _within(self, log: Log, query: LogQuery, entries: Iterable[LogEntry]) -> Iterator[LogEntry]:
        """Entries of the hosts asked for whose stamps can mean a moment of the window."""
        start, end = _wider(query)
        asked = frozenset(query.hosts)
        clock = log.clock
        for entry in entries:
            if asked and entry.host not in asked:
                continue
            if clock is not None and (start is not None or end is not None):
                low, high = clock.utc(Stamp(entry.time, entry.zone), entry.host)
                if (start is not None and high < start) or (end is not None and low > end):
                    continue
            yield entry

    # ------------------------------------------------------------------------------- hosts of a loghost

    def _host_of(self, log: Log) -> str | Callable[[str], str]:
        """The host of a log's lines: the one it is named for, else told by the name in the line."""
        if not log.divided:
            return log.host
        names = tuple(log.hosts)
        known = self._division.setdefault(names, {})

        def divide(name: str) -> str:
            host = known.get(name)
            if host is None:
                host = known[name] = self._named(name, names)
            return host

        return divide

    def _named(self, name: str, hosts: tuple[str, ...]) -> str:
        """The host of a name in a line: the inventory's, or the one with that first label, or a host of its own."""
        if not name:
            return hosts[0]
        if found := self._fleet.find(name):
            return found
        for inventory in (hosts, tuple(self._fleet.names)):
            if name in inventory:
                return name
            alike = [host for host in inventory if _same_label(host, name)]
            if len(alike) == 1:
                return alike[0]
            if alike:
                break
        return name

    # -------------------------------------------------------------------------------------- coverage

    def _covered(self, log: Log) -> list[str]:
        """The hosts that a log tells of."""
        if not log.divided:
            return [log.host]
        return sorted({*log.hosts, *log.seen, *log.found})

    def _cover(self, item: Coverage, host: str, log: Log) -> None:
        """Add one file to what is told of a host's log."""
        item.names = (*item.names, str(log.path))
        item.unparsed += log.unparsed if host == log.host else 0
        item.matched += max(len(log.found.get(host, ())), 0 if log.divided else log.parsed)
        if log.lines is not None and not log.divided:
            item.lines = (item.lines or 0) + log.lines
        if log.clock is None:
            return
        if log.first is not None:
            first = sum(log.clock.utc(log.first, host)) / 2
            item.first = first if item.first is None else min(item.first, first)
        if log.last is not None:
            last = sum(log.clock.utc(log.last, host)) / 2
            item.last = last if item.last is None else max(item.last, last)


class _Part(NamedTuple):
    """What a query reads of a log: the lines that begin in [low, high) of a plain one."""

    log: Log
    path: Path
    low: int
    high: int
    query: LogQuery


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


def _names(logs: Sequence[HostLogs]) -> list[Name]:
    """Every entry of `log_files` once, with all hosts it is configured for."""
    names: dict[str, list[str]] = {}
    for log in logs:
        for pattern in log.log_files:
            hosts = names.setdefault(pattern, [])
            if log.host not in hosts:
                hosts.append(log.host)
    return [Name(pattern, tuple(hosts)) for pattern, hosts in names.items()]


def _windowed(query: LogQuery) -> bool:
    return query.start is not None or query.end is not None


def _wider(query: LogQuery) -> tuple[float | None, float | None]:
    """The window with room for clocks that are not quite right."""
    start = None if query.start is None else query.start - SLACK
    return start, None if query.end is None else query.end + SLACK


def _meets(hosts: Sequence[str], query: LogQuery, known: Sequence[str]) -> bool:
    """Whether a log named for some hosts may answer; a loghost's may hold hosts that nobody named."""
    if not query.hosts or any(host in query.hosts for host in hosts):
        return True
    return len(hosts) > 1 and any(host not in known for host in query.hosts)


def _same_label(host: str, name: str) -> bool:
    """Whether a host and a name can be the same by their first label: one of them has no more than that."""
    one, two = host.lower().rstrip("."), name.lower().rstrip(".")
    return one == two or (one.partition(".")[0] == two.partition(".")[0] and not ("." in one and "." in two))


def _alike(one: bytes, other: bytes) -> bool:
    """Whether two beginnings of a text are one text's, as far as both go."""
    length = min(len(one), len(other))
    return one[:length] == other[:length]


def _text(file: LogFile) -> Iterator[bytes]:
    """A log's text in pieces."""
    return (block.text for block in file.blocks())


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


def _in_threads(numbers: range, work: Callable[[range], list[Found]], tally: _Tally) -> Iterator[Found]:
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
            yield from future.result()
            tally.add(len(some) * BLOCK)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
