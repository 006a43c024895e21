"""Which logs the configuration names, each file once by whatever name it is found, and how to open them."""

from __future__ import annotations

import os
import sys
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mailtrace.model import Coverage, HostLogs, LogEntry, LogQuery, Parser, Stamp
from mailtrace.sources.division import Division, owner
from mailtrace.sources.logfile import BLOCK, LogFile, Note, Unreadable, open_log, opened
from mailtrace.sources.presence import Span
from mailtrace.sources.rotation import expand, siblings
from mailtrace.sources.spool import Kept, Spool
from mailtrace.sources.window import LogClock, Places

STDIN = "-"
JOURNAL = "journal"
SOURCE = "files"


class Name(NamedTuple):
    """One configured entry of `log_files`, and the hosts it is configured for ("": those its lines name)."""

    pattern: str
    hosts: tuple[str, ...]


class Positions:
    """A set of positions in a log, two bytes each: a million lines may answer."""

    def __init__(self) -> None:
        self._pages: dict[int, array[int]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, position: int) -> bool:
        page = self._pages.get(position >> 16, _NO_PAGE)
        low = position & 0xFFFF
        at = bisect_left(page, low)
        return at < len(page) and page[at] == low

    def add(self, position: int) -> None:
        """Take in one more."""
        page = self._pages.setdefault(position >> 16, array("H"))
        low = position & 0xFFFF
        if not page or page[-1] < low:  # they come in order
            page.append(low)
            self._count += 1
        elif position not in self:
            page.insert(bisect_left(page, low), low)
            self._count += 1


_NO_PAGE = array("H")


@dataclass(eq=False)
class Log:
    """One log and what is known of it, kept from query to query."""

    path: Path
    pattern: str
    hosts: list[str]  # for which it is named; "" among them: for those that its lines name
    parser: Parser
    places: Places = field(init=False)
    division: Division | None = None
    clock: LogClock | None = None
    near: float | None = None  # the moment by which a year was assumed
    sample: list[LogEntry] = field(default_factory=list)  # read to learn the clock
    size: int = -1
    modified: float = 0.0
    plain: bool = True
    in_json: bool = False
    head: bytes = b""
    first: Stamp | None = None
    last: Stamp | None = None  # of a compressed log the last one seen
    ended: bool = False  # whether `last` is the log's last
    kept: Kept | None = None
    base: int = 0  # what positions in this file begin with, so that those of a later file are larger
    read: bool = False
    lines: int | None = None
    found: dict[str, Positions | set[int]] = field(default_factory=dict)  # by host, positions of lines that answered
    counted: dict[str, int] = field(default_factory=dict)  # by host, the entries of a read of every line
    unparsed: int = 0
    spans: dict[str, Span | None] = field(default_factory=dict)  # of a loghost's file: when each host is met in it

    def __post_init__(self) -> None:
        self.places = Places(self.parser)

    @property
    def host(self) -> str:
        """Whose log it is; of several, the first that was named; of none, what its place tells."""
        return next(filter(None, self.hosts), "") or owner(self.path)

    @property
    def whose(self) -> str | Callable[[str], str]:
        """The host of its lines, as `Parser.parse` wants it."""
        return self.host if self.division is None else self.division


class Catalog:
    """The logs of a configuration."""

    def __init__(
        self,
        logs: Sequence[HostLogs],
        make_log: Callable[[Path, Name], Log],
        divide: Callable[[Iterable[str], str], Division],
        base: Path,
    ) -> None:
        """`make_log` makes what is known of a log that was not known before."""
        self.names = _names(logs)
        self.problems: dict[tuple[str, str], Coverage] = {}
        self.spool = Spool()
        self._input = Spool()
        self._hosts = frozenset(log.host for log in logs)
        self._make_log = make_log
        self._divide = divide
        self._base = base
        self._logs: dict[object, Log] = {}
        self._followed: set[object] = set()
        self._stdin: Kept | None = None

    @property
    def logs(self) -> list[Log]:
        """Every log that was looked at."""
        return list(self._logs.values())

    def asked(self, query: LogQuery) -> list[Name]:
        """The names whose logs may hold lines of the hosts that are asked for."""
        return [name for name in self.names if self._concerns(name.hosts, query)]

    def chosen(self, query: LogQuery) -> list[tuple[Log, Path]]:
        """Every log that the names stand for, with a path that opens it; rotated siblings where there is a window."""
        paths: dict[object, tuple[Path, Name, list[str]]] = {}
        windowed = query.start is not None or query.end is not None
        for name in self.names:
            if name.pattern == JOURNAL:
                continue
            for path in self._with_siblings(name) if windowed else self.paths(name):
                key = self._key(path, name)
                if key is None:
                    continue
                hosts = paths.setdefault(key, (path, name, []))[2]
                hosts += [host for host in name.hosts if host not in hosts]
        for key, (path, name, hosts) in paths.items():
            self._claim(key, path, Name(name.pattern, tuple(hosts)))
        return [
            (log, path) for key, (path, _, _) in paths.items() if self._concerns((log := self._logs[key]).hosts, query)
        ]

    def journal(self, name: Name) -> Log:
        """The journal as a log."""
        return self._claim(JOURNAL, Path(JOURNAL), name)

    def known(self, ident: str, path: Path, name: Name) -> Log:
        """What is known of a file that is followed, whatever it is called by now."""
        key = ("followed", ident)
        self._followed.add(key)
        return self._claim(key, path, name)

    def forget(self) -> None:
        """Forget the files that were followed, but for those that were `known` since this was done last.

        Who follows logs for months sees a new file each day, and has no need of the old ones.
        """
        idle = [
            key for key in self._logs if isinstance(key, tuple) and key[0] == "followed" and key not in self._followed
        ]
        for key in idle:
            del self._logs[key]
        self._followed.clear()

    def paths(self, name: Name) -> list[Path]:
        """The paths that a configured name stands for; none is a problem."""
        if name.pattern == STDIN:
            return [Path(STDIN)]
        paths = expand(name.pattern, self._base)
        if not paths:
            self.problem(name.hosts, name.pattern, f"{self._base / name.pattern}: no file matches", missing=True)
        return paths

    def shown(self, name: Name) -> str:
        """The path or glob of a name, as one would type it."""
        return str(self._base / os.path.expanduser(name.pattern))  # noqa: PTH111 - as in `expand`

    def problem(self, hosts: Iterable[str], name: str, text: str, *, missing: bool) -> None:
        """Remember what went wrong, once for each host."""
        for host in hosts:
            self.problems.setdefault((host, text), Coverage(host, SOURCE, (name,), problem=text, missing=missing))

    def notes(self, hosts: Iterable[str], name: str) -> Note:
        """What a file of these hosts calls with its problems."""

        def note(text: str, missing: bool) -> None:  # noqa: FBT001 - the shape of `Note`
            self.problem(hosts, name, text, missing=missing)

        return note

    @contextmanager
    def open(self, path: Path, hosts: Iterable[str]) -> Iterator[LogFile | None]:
        """An open log, None (and a problem) where it can't be read."""
        note = self.notes(tuple(hosts), str(path))
        try:
            file = self._standard_input(note) if str(path) == STDIN else open_log(path, note)
        except Unreadable as error:
            note(str(error), True)
            yield None
            return
        try:
            yield file
        finally:
            file.close()

    @contextmanager
    def open_kept(self, log: Log) -> Iterator[LogFile]:
        """What is kept of a compressed log's text, as a plain log."""
        kept = log.kept or Kept(0, 0, complete=False)
        note = self.notes(tuple(log.hosts), str(log.path))
        file = LogFile(log.path, self.spool.descriptor, kept.size, log.modified, "plain", note, start=kept.start)
        try:
            yield file
        finally:
            file.close()

    def close(self) -> None:
        """Let go of what was kept."""
        for log in self._logs.values():
            log.kept = None
        self.spool.close()
        self._input.close()
        self._stdin = None

    def _with_siblings(self, name: Name) -> list[Path]:
        """The paths of a name and their rotated siblings."""
        paths = self.paths(name)
        if name.pattern == STDIN:
            return paths
        return list(dict.fromkeys([*paths, *(other for path in paths for other in siblings(path))]))

    def _claim(self, key: object, path: Path, name: Name) -> Log:
        """The log of a file, known to be these hosts'."""
        log = self._logs.get(key)
        if log is None:
            log = self._logs[key] = self._make_log(path, name)
        more = [host for host in name.hosts if host not in log.hosts]
        log.hosts += more
        if log.hosts != [log.host] and (log.division is None or more):
            log.division = self._divide(filter(None, log.hosts), log.host)
            log.clock = None
        return log

    def _concerns(self, hosts: Iterable[str], query: LogQuery) -> bool:
        """Whether a log named for some hosts may answer; a loghost's may hold hosts that nobody named."""
        named = set(hosts)
        if not query.hosts or "" in named or not named.isdisjoint(query.hosts):
            return True
        return len(named) > 1 and not self._hosts.issuperset(query.hosts)

    def _key(self, path: Path, name: Name) -> object | None:
        """What tells a file from others, by whatever name it is found; None where there is no file."""
        if str(path) == STDIN:
            return STDIN
        try:
            state = path.stat()
        except (OSError, ValueError) as error:
            what = "no such file" if isinstance(error, FileNotFoundError) else getattr(error, "strerror", str(error))
            rotated = siblings(path)
            hint = f"; there is {rotated[0].name}: name it, or give a window" if rotated else ""
            self.problem(name.hosts, str(path), f"{path}: {what}{hint}", missing=True)
            return None
        return (state.st_dev, state.st_ino)

    def _standard_input(self, note: Note) -> LogFile:
        """Standard input, read once and kept, for it is asked for in every wave."""
        if self._stdin is None:
            stream = getattr(sys.stdin, "buffer", None)
            if stream is None or sys.stdin.isatty():
                msg = "-: standard input is a terminal; pipe a log into it"
                raise Unreadable(msg)
            keeping = self._input.begin()
            try:
                while piece := stream.read(BLOCK):
                    keeping.add(piece)
            except OSError as error:
                note(f"-: standard input can't be kept: {error.strerror}; what came before was read", True)
            self._stdin = keeping.done(complete=True)
        return opened(Path(STDIN), self._input.descriptor, note, self._stdin.start, self._stdin.size)


def _names(logs: Sequence[HostLogs]) -> list[Name]:
    """Every entry of `log_files` once, with all hosts it is configured for."""
    names: dict[str, list[str]] = {}
    for log in logs:
        for pattern in log.log_files:
            hosts = names.setdefault(pattern, [])
            if log.host not in hosts:
                hosts.append(log.host)
    return [Name(pattern, tuple(hosts)) for pattern, hosts in names.items()]
