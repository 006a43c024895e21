"""One machine and the logs on it: what is there, where a window stands in it, and the lines that answer.

What a log is and what its stamps mean is learnt from small pieces of it; a window is found by looking at several
places at once; then the machine itself chooses the lines, and only those travel.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from mailtrace.model import Coverage, LogEntry, LogQuery, Parser, Stamp, Zone
from mailtrace.sources import journal, ssh_commands
from mailtrace.sources.catalog import JOURNAL, STDIN, Log, Name, Positions
from mailtrace.sources.dating import Dating
from mailtrace.sources.division import Division
from mailtrace.sources.extent import late, reaches, wider, windowed, within
from mailtrace.sources.logfile import LONGEST_LINE, MAGIC
from mailtrace.sources.presence import spellings
from mailtrace.sources.rotation import is_glob, rotated
from mailtrace.sources.search import Literals, json_spellings
from mailtrace.sources.ssh_channel import Remote, Session, SshError
from mailtrace.sources.ssh_commands import Command, Filter, Piece
from mailtrace.sources.window import Places, first_stamp, last_stamp, samples

if TYPE_CHECKING:
    from mailtrace.secret import Secret
    from mailtrace.sources.ssh_options import Way

T = TypeVar("T")

SOURCE = "ssh"
HEAD = 4096
"""Bytes that are looked at of a log's beginning and of its end."""
_PROBE = 1024
_SAMPLE_PLACES, _SAMPLE_SIZE = 16, 2048
_FRESH = 2.0  # seconds for which a listing of folders is believed
_CHUNK = 500  # entries that are handed on at once
_PIECES = 12_000  # bytes of arguments of one command
_LITERALS = 90_000  # bytes of literals of one grep
_DAY = 86400.0
_BEHIND_CUT = 1 << 16  # a line that begins before the end of a window may end so far behind it
_SKEW = 30.0  # seconds by which a machine's clock may differ from ours without a word
_LISTED = re.compile(
    rb"\s*(?P<inode>\d+)\s+(?P<kind>[-bcdlps])\S*\s+\d+\s+\S+\s+\S+\s+(?P<size>\d+)\s+"
    rb"(?P<month>[A-Z][a-z]{2})\s+(?P<day>\d+)\s+(?P<when>\d+:\d+|\d{4})\s(?P<name>.*)"
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_BYTE_ARRAY = '"MESSAGE":['


class Machine(NamedTuple):
    """What a machine says of itself."""

    skew: float = 0.0  # seconds its clock is ahead of ours
    zone: str = ""
    home: str = "/"
    tools: frozenset[str] = frozenset()
    offsets: bool = True  # its grep tells byte offsets (-b)
    greps: bool = True  # its grep can be used at all
    root: bool = False


class Listed(NamedTuple):
    """One file of a folder."""

    path: str
    inode: int
    size: int
    modified: float  # give or take a day: ls tells neither zone nor seconds
    kind: str


@dataclass(eq=False)
class RemoteLog(Log):
    """One log on the machine."""

    inode: int = 0
    kind: str = "plain"
    looked: bool = False

    def __post_init__(self) -> None:
        """As of any log, with smaller pieces."""
        self.places = Places(self.parser, _PROBE)


class _MovedError(Exception):
    """A file is no longer the one that was listed."""


@dataclass
class Traffic:
    """What travelled."""

    lines: int = 0
    received: int = 0
    commands: int = 0


@dataclass
class Settings:
    """What every server of a source has in common."""

    connect: Callable[[Way], Session]
    make_parser: Callable[[str], Parser]
    zone_of: Callable[[str], str]
    divide: Callable[[Iterable[str], str], Division]
    hosts: frozenset[str]  # every host that is configured
    sudo: bool
    sudo_pass: Secret
    now: float
    traffic: Traffic = field(default_factory=Traffic)


class Server:
    """A machine that is logged in to once, whatever number of hosts its logs are of."""

    def __init__(self, way: Way, names: Sequence[Name], settings: Settings) -> None:
        """`names` are the configured log files, each with the hosts it is configured for."""
        self.way = way
        self.names = tuple(names)
        self.hosts = tuple(dict.fromkeys(host for name in names for host in name.hosts))
        self.machine = Machine()
        self.problems: dict[tuple[str, str], Coverage] = {}
        self.failed = ""
        self._settings = settings
        self._dating = Dating(settings.zone_of, settings.now)
        self._session: Session | None = None
        self._listing: dict[str, dict[str, Listed]] = {}
        self._listed_at = -1e9
        self._logs: dict[object, RemoteLog] = {}

    # -------------------------------------------------------------------------------------- what is asked

    @property
    def logs(self) -> list[RemoteLog]:
        """Every log that was looked at."""
        return list(self._logs.values())

    def concerned(self, query: LogQuery) -> bool:
        """Whether its logs may hold lines of the hosts that are asked for."""
        return any(self._concerns(name.hosts, query) for name in self.names)

    def query(self, query: LogQuery) -> Iterator[list[LogEntry]]:
        """Entries of the lines that answer, some at a time. What fails is a problem, never raised."""
        if self.failed:
            return
        try:
            for _ in range(3):
                try:
                    yield from self._query(query)
                except _MovedError:  # rotated between two commands: look again
                    self._listed_at = -1e9
                    continue
                return
            self._problem(self.hosts, "", "its logs are rotated faster than they can be read", missing=True)
        except SshError as error:
            self._fail(error)

    def check(self) -> None:
        """Log in, and look at every configured log as a query would, at its rotated siblings not."""
        try:
            self._open()
            self._list()
            logs = self._chosen(LogQuery())
            self._look(logs, LogQuery())
            for log in logs:
                log.read = True
                self._meet(log)
            for name in self.names:
                if name.pattern == JOURNAL:
                    self._check_journal(name)
        except (SshError, _MovedError) as error:
            self._fail(SshError(str(error) or "its logs are being rotated; try again"))

    def plan(self, query: LogQuery) -> list[tuple[str, str]]:
        """What each command is for, and the command; numbers that are only known then are examples."""
        sudo = self._sudo
        out = [("ask for its clock and tools", ssh_commands.hello().line)]
        files = [name for name in self.names if _is_file(name) and self._concerns(name.hosts, query)]
        paths = [str(PurePosixPath(self._path(name))) for name in files]
        folders = list(dict.fromkeys(str(PurePosixPath(path).parent) for path in paths))
        if folders:
            out.append(("list folders", ssh_commands.list_(folders, sudo=sudo).line))
        chosen = next(_filters(self._sets(query, in_json=False) or (), numbered=False))
        for path in paths:
            ends = [Piece(path, "plain", 0, HEAD)]
            out.append(("look at places of it", ssh_commands.pieces(ends, "mailtrace:MARK", sudo=sudo).line))
            how = ssh_commands.lines(path, "plain", 0, 1 << 20 if windowed(query) else None, chosen, sudo=sudo)
            out.append(("read lines", how.line))
        for name in self.names:
            if name.pattern == JOURNAL and self._concerns(name.hosts, query):
                words = journal.command(*wider(query))[1:]
                chosen = Filter(self._sets(query, in_json=True) or ())
                out.append(("read the journal", ssh_commands.journal(words, chosen, sudo=sudo).line))
        return out

    def stop(self) -> None:
        """End what runs on the machine."""
        if self._session is not None:
            self._session.stop()

    def close(self) -> None:
        """End what runs and log out."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _fail(self, error: SshError) -> None:
        """The machine costs itself only."""
        self._problem(self.hosts, "", str(error), missing=True)
        lost = self._session is not None and self._session.lost
        if self._session is None or not lost:
            self.failed = str(error)
        self.close()
        if lost and any("lost" in text for _, text in self.problems):
            self.failed = str(error)

    def _problem(self, hosts: Iterable[str], name: str, text: str, *, missing: bool) -> None:
        for host in hosts:
            names = (name,) if name else tuple(n.pattern for n in self.names if host in n.hosts)
            self.problems.setdefault((host, text), Coverage(host, SOURCE, names, problem=text, missing=missing))

    def _concerns(self, hosts: Sequence[str], query: LogQuery) -> bool:
        """Whether a log named for some hosts may answer; a loghost's may hold hosts that nobody named."""
        if not query.hosts or not set(hosts).isdisjoint(query.hosts):
            return True
        return len(hosts) > 1 and not self._settings.hosts.issuperset(query.hosts)

    def zone(self, host: str) -> str:
        """The zone in which the machine writes, if it is that host and no loghost."""
        return self.machine.zone if self.hosts == (host,) else ""

    # -------------------------------------------------------------------------------------- commands

    def _open(self) -> Session:
        if self._session is None:
            self._session = self._settings.connect(self.way)
            self.machine = self._hello()
            # Assumed last, and not taken for sure: a log may have been copied here.
            self._dating = Dating(self._settings.zone_of, self._settings.now, self.zone(*self.hosts[:1]))
        return self._session

    def _run(self, command: Command) -> Remote:
        if self._session is None:
            msg = "the connection was lost"
            raise SshError(msg)
        self._settings.traffic.commands += 1
        sudo = self._settings.sudo_pass if self._sudo == ssh_commands.ASKING else None
        return self._session.start(command.line, command.text, sudo)

    def _output(self, command: Command) -> tuple[bytes, Remote]:
        """All output of a command that has little."""
        remote = self._run(command)
        out = b"".join(remote.blocks())
        self._settings.traffic.received += remote.received
        return out, remote

    @property
    def _sudo(self) -> str:
        """What sudo is told, "" where it is not used."""
        if not self._settings.sudo or self.machine.root:
            return ""
        return ssh_commands.ASKING if self._settings.sudo_pass else ssh_commands.SILENT

    def _hello(self) -> Machine:
        """Ask the machine about itself."""
        before = time.time()
        out, remote = self._output(ssh_commands.hello())
        between = (before + time.time()) / 2
        said: dict[str, list[str]] = {}
        for line in out.decode("utf-8", "surrogateescape").splitlines():
            word, _, rest = line.partition(" ")
            said.setdefault(word, []).append(rest)
        if "uid" not in said:
            msg = f"the login shell runs no commands: {remote.words or 'there is no POSIX sh'}"
            raise SshError(msg)
        seconds, _, offset = said.get("date", [""])[0].partition(" ")
        machine = Machine(
            skew=float(seconds) - between if seconds.isdigit() else 0.0,
            zone=_zone(said.get("zone", [""])[0], offset, between),
            home=said.get("home", ["/"])[0],
            tools=frozenset(said.get("tool", [])),
            offsets=said.get("grep", [""])[0] == "0:x",
            greps="x" in (said.get("grep", [""])[0] + said.get("plain", [""])[0])[-1:],
            root=said["uid"][0] == "0",
        )
        for tool in ("tail", "head", "ls"):
            if tool not in machine.tools:
                msg = f"there is no {tool} on the machine"
                raise SshError(msg)
        if not machine.greps:
            text = "there is no grep on the machine that can be used (grep -a -F -i): whole windows travelled"
            self._problem(self.hosts, "", text, missing=False)
        if self._settings.sudo and "sudo" not in machine.tools and not machine.root:
            # Not an error: what the user may read is read as the user.
            self._settings = _without_sudo(self._settings)
        if abs(machine.skew) > _SKEW and len(self.hosts) == 1:
            how = "ahead of" if machine.skew > 0 else "behind"
            text = f"the clock of {self.way.address} is {abs(machine.skew):.0f} s {how} this machine's"
            self._problem(self.hosts, "", text, missing=False)
        return machine

    # -------------------------------------------------------------------------------------- what is there

    def _list(self) -> None:
        """List the folders of all configured logs."""
        if time.monotonic() - self._listed_at < _FRESH:
            return
        folders = list(
            dict.fromkeys(str(PurePosixPath(self._path(name)).parent) for name in self.names if _is_file(name))
        )
        if not folders:
            return
        listing: dict[str, dict[str, Listed]] = {}
        for some in _batches(folders, _PIECES, len):
            out, remote = self._output(ssh_commands.list_(some, sudo=self._sudo))
            now = time.time() + self.machine.skew
            files: dict[str, Listed] = {}
            known: list[str] = []
            for line in out.split(b"\n"):
                if line.startswith(b"folder "):
                    folder = line[7:].decode("utf-8", "surrogateescape")
                    known.append(folder)
                    files = listing.setdefault(folder, {})
                elif (found := _listed(line, known[-1] if known else "", now)) is not None:
                    files[PurePosixPath(found.path).name] = found
            for folder, (_, status, words) in zip(known, remote.statuses, strict=False):
                if status and not listing[folder]:
                    self._unlisted(folder, words)
        self._listing = listing
        self._listed_at = time.monotonic()

    def _unlisted(self, folder: str, words: str) -> None:
        """A folder that could not be listed."""
        for name in self.names:
            if _is_file(name) and fnmatchcase(folder, str(PurePosixPath(self._path(name)).parent)):
                self._problem(name.hosts, name.pattern, _why(folder, words, self), missing=True)

    def _path(self, name: Name) -> str:
        """A configured path as an absolute one of the machine."""
        pattern = name.pattern
        home = self.machine.home
        if pattern == "~" or pattern.startswith("~/"):
            pattern = home + pattern[1:]
        return str(PurePosixPath(home) / pattern)

    def _files(self, name: Name) -> list[Listed]:
        """The files that a configured name stands for; none is a problem."""
        path = PurePosixPath(self._path(name))
        found: list[Listed] = []
        for folder, files in self._listing.items():
            if folder != str(path.parent) and not (is_glob(str(path.parent)) and _below(folder, str(path.parent))):
                continue
            if path.name in files:
                found.append(files[path.name])
            elif is_glob(path.name):
                hidden = path.name.startswith(".")
                found += [
                    file
                    for at, file in files.items()
                    if fnmatchcase(at, path.name) and (hidden or not at.startswith(".")) and file.kind != "d"
                ]
        if not found and not any(key[1].startswith(str(path.parent)) for key in self.problems):
            what = "no file matches" if is_glob(str(path)) else "no such file"
            others = rotated(path.name, self._listing.get(str(path.parent), {}))
            hint = f"; there is {others[0]}: name it, or give a window" if others else ""
            self._problem(name.hosts, name.pattern, f"{path}: {what}{hint}", missing=True)
        return sorted(found)

    def _chosen(self, query: LogQuery) -> list[RemoteLog]:
        """Every log that the names stand for; rotated siblings where there is a window."""
        claims: dict[object, tuple[Listed, Name, list[str]]] = {}
        start = query.start
        for name in self.names:
            if not _is_file(name):
                continue
            files = self._files(name)
            for file in list(files) if windowed(query) else []:
                folder = self._listing.get(str(PurePosixPath(file.path).parent), {})
                siblings = [folder[other] for other in rotated(PurePosixPath(file.path).name, folder)]
                # What was last written long before the window holds nothing of it.
                files += [
                    other
                    for other in siblings
                    if other not in files and (start is None or other.modified > start - 3 * _DAY)
                ]
            for file in files:
                key = (PurePosixPath(file.path).parent, file.inode)
                if file.kind != "-":
                    what = {"d": "is a directory; name the files in it: {}/*"}.get(file.kind, "is not a file")
                    self._problem(name.hosts, name.pattern, f"{file.path} {what.format(file.path)}", missing=True)
                    continue
                hosts = claims.setdefault(key, (file, name, []))[2]
                hosts += [host for host in name.hosts if host not in hosts]
        logs = []
        for found, (file, name, hosts) in claims.items():
            log = self._claim(found, file, name, hosts)
            if self._concerns(log.hosts, query):
                logs.append(log)
        return logs

    def _claim(self, key: object, file: Listed, name: Name, hosts: list[str]) -> RemoteLog:
        """The log of a file, known to be these hosts'."""
        log = self._logs.get(key)
        if log is None:
            parser = self._settings.make_parser(hosts[0])
            log = self._logs[key] = RemoteLog(Path(file.path), name.pattern, list(hosts), parser, inode=file.inode)
        log.path = Path(file.path)
        more = [host for host in hosts if host not in log.hosts]
        log.hosts += more
        if len(log.hosts) > 1 and (log.division is None or more):
            log.division = self._settings.divide(log.hosts, log.host)
            log.clock = None
        if log.size != file.size:
            if file.size < log.size or log.kind != "plain":  # cut short under its writer, or packed anew
                log.looked = False
                log.places = Places(log.parser, _PROBE)
                log.clock = None
            log.size, log.modified, log.ended = file.size, file.modified, False
        return log

    # -------------------------------------------------------------------------------------- learning a log

    def _look(self, logs: Sequence[RemoteLog], query: LogQuery) -> None:
        """Learn what is not known of some logs: what they are, their first and last stamps, what their stamps mean."""
        new = [log for log in logs if not log.looked]
        grown = [log for log in logs if log.looked and log.kind == "plain" and not log.ended]
        wanted: list[Piece] = []
        for log in new:
            log.kind = _kind_by_name(log.path.name)
            wanted.append(Piece(str(log.path), log.kind, 0, HEAD))
            if log.kind != "plain":
                wanted.append(Piece(str(log.path), "plain", 0, 8))
        wanted += [_tail(log) for log in [*new, *grown] if log.kind == "plain"]
        got = self._fetch(wanted)
        again = []
        for log in new:
            stored = got.get(Piece(str(log.path), "plain", 0, 8 if log.kind != "plain" else HEAD), b"")
            kind = next((kind for magic, kind in MAGIC.items() if stored.startswith(magic)), "plain")
            if stored and kind != log.kind:
                log.kind = kind
                again.append(log)
        if again:
            got |= self._fetch([Piece(str(log.path), log.kind, 0, HEAD) for log in again])
            got |= self._fetch([_tail(log) for log in again if log.kind == "plain"])
        for log in new:
            self._learn(log, got)
        for log in grown:
            log.last, log.ended = last_stamp(got.get(_tail(log), b""), log.parser) or log.last, True
        self._date([log for log in logs if log.head], query)

    def _learn(self, log: RemoteLog, got: dict[Piece, bytes]) -> None:
        """Take in a log's beginning and end."""
        log.plain = log.kind == "plain"
        log.head = got.get(Piece(str(log.path), log.kind, 0, HEAD), b"")
        log.in_json = log.head.lstrip(b"\0 \t\r\n\xef\xbb\xbf").startswith(b"{")
        log.first = first_stamp(log.head, log.parser)
        tail = got.get(_tail(log), b"") if log.plain else b""
        log.last, log.ended = last_stamp(tail, log.parser) or log.first, log.plain
        log.looked = bool(log.head) or log.size == 0
        log.read = log.read or log.size == 0

    def _date(self, logs: Sequence[RemoteLog], query: LogQuery) -> None:
        """Give logs their clocks; samples of all that need them are fetched at once."""
        texts: dict[RemoteLog, _Text] = {}
        undated = []
        for log in logs:
            near = self._dating.near(log, query)
            if log.clock is None or (log.near != near and not log.clock.proved()):
                undated.append((log, near))
                if log.division is not None or log.first is None or log.first.zone is not Zone.UTC:
                    texts[log] = _Text(log, self._fetch)
        wanted = []
        for log, text in texts.items():
            if log.plain:
                wanted += text.pieces(_sample_places(log.size), _SAMPLE_SIZE)
            else:
                wanted.append(_beginning(log))
        got = self._fetch(wanted)
        for log, near in undated:
            text = texts.get(log) or _Text(log, self._fetch)
            text.cache |= {piece.offset: data for piece, data in got.items() if piece.path == str(log.path)}
            if not log.plain:
                text.cache = {0: got.get(_beginning(log), log.head)}
            self._dating.learn(log, near, lambda log=log, text=text: self._sample(log, text))  # type: ignore[misc]

    def _sample(self, log: RemoteLog, text: _Text) -> Iterator[tuple[int, bytes]]:
        if not log.plain:
            beginning = text.cache[0]
            return iter([(0, beginning[: beginning.rfind(b"\n") + 1])])
        return samples(text, _SAMPLE_PLACES, _SAMPLE_SIZE)

    def _fetch(self, wanted: Sequence[Piece]) -> dict[Piece, bytes]:
        """Pieces of files; those that cannot be read are left out, and a problem."""
        got: dict[Piece, bytes] = {}
        for some in _batches(dict.fromkeys(wanted), _PIECES, lambda piece: len(piece.path) + 30):
            # Unguessable: a log may hold any text.
            mark = f"mailtrace:{secrets.token_hex(8)}"
            out, remote = self._output(ssh_commands.pieces(some, mark, sudo=self._sudo))
            texts = out.split(b"\n" + mark.encode() + b"\n")
            for piece, text, (_, status, words) in zip(some, texts, remote.statuses, strict=False):
                if status and status < 128 and not text:
                    self._unread(piece.path, words)
                else:
                    got[piece] = text
        return got

    def _unread(self, path: str, words: str) -> None:
        hosts = {host for log in self._logs.values() if str(log.path) == path for host in log.hosts} or set(self.hosts)
        if "No such file" in words:
            raise _MovedError
        self._problem(sorted(hosts), path, _why(path, words, self), missing=True)

    # -------------------------------------------------------------------------------------- reading

    def _query(self, query: LogQuery) -> Iterator[list[LogEntry]]:
        self._open()
        self._list()
        chosen = self._chosen(query)
        self._look(chosen, query)
        logs = sorted((log for log in chosen if log.head), key=lambda log: (log.base, log.modified, str(log.path)))
        for log in chosen:
            log.read = log.read or (log.looked and not log.head)
        if windowed(query):
            logs = [
                log for at, log in enumerate(logs) if reaches(log, [(later, None) for later in logs[at + 1 :]], query)
            ]
        for log in logs:
            yield from _chunks(within(log, query, self._entries(log, query)))
            self._meet(log)
        for name in self.names:
            if name.pattern == JOURNAL and self._concerns(name.hosts, query):
                yield from _chunks(self._journal(name, query))
            elif name.pattern == STDIN:
                self._problem(name.hosts, STDIN, "-: standard input is not on the server; name a file", missing=True)

    def _bounds(self, log: RemoteLog, query: LogQuery) -> tuple[int, int | None]:
        """The part of a log that holds the window; None: to its end."""
        if not log.plain:
            return 0, None
        low, high = 0, log.size
        if windowed(query) and log.clock is not None:
            low, high = log.places.bounds(_Text(log, self._fetch), log.clock, *wider(query, late(log)))
            high = min(high + _BEHIND_CUT, log.size)
        return low, high

    def _entries(self, log: RemoteLog, query: LogQuery) -> Iterator[LogEntry]:
        """Entries of the lines that answer."""
        low, high = self._bounds(log, query)
        if high is not None and low >= high:
            log.read = True
            return
        literals = Literals(query, in_json=log.in_json)
        sets = self._sets(query, in_json=log.in_json)
        if sets is None:
            log.read = True
            return
        verify = bool(literals) and (log.in_json or not self.machine.greps or _unlike(query))
        seen: set[int] = set()
        for chosen in _filters(sets if self.machine.greps else (), numbered=not self.machine.offsets):
            several = len(sets) and sum(map(len, sets[0])) > _LITERALS
            for position, line in self._lines(log, low, high, chosen):
                if (verify and not literals.answers(line)) or (several and position in seen):
                    continue
                if several:
                    seen.add(position)
                self._settings.traffic.lines += 1
                before = log.parser.unparsed
                entries = list(log.parser.parse(line + b"\n", log.base + position, log.whose))
                host = entries[0].host if entries else log.host
                if literals:
                    known = log.found.setdefault(host, Positions())
                    if position not in known:
                        known.add(position)
                        log.unparsed += log.parser.unparsed - before
                yield from entries

    def _lines(self, log: RemoteLog, low: int, high: int | None, chosen: Filter) -> Iterator[tuple[int, bytes]]:
        """Positions and lines that pass a filter."""
        kind = log.kind
        tool = ssh_commands.UNPACK.get(kind, "").partition(" ")[0]
        if tool and tool not in self.machine.tools:
            text = f"{log.path}: there is no {tool} on the machine to unpack it; install it there"
            self._problem(log.hosts, str(log.path), text, missing=True)
            return
        remote = self._run(ssh_commands.lines(str(log.path), kind, low, high, chosen, sudo=self._sudo))
        log.read = True
        filtered = bool(chosen.sets)
        position, before = low, 0
        count = 0
        try:
            for number, line in enumerate(_split(remote.blocks())):
                if number == 0:
                    self._same(log, line)
                    continue
                if chosen.numbered and filtered and kind == "plain" and number == 1:
                    before = int(line.removeprefix(b"before ") or 0)
                    continue
                count += 1
                if filtered:
                    told, _, rest = line.partition(b":")
                    if not told.isdigit():
                        continue
                    place = before + int(told) - 1 if chosen.numbered else low + int(told)
                    if low and place == (before if chosen.numbered else low):
                        continue  # the end of a line that begins before the window
                    yield place, rest
                else:
                    if position != low or not low:
                        yield position, line
                    position += len(line) + 1
        finally:
            self._settings.traffic.received += remote.received
            remote.stop()
        if not filtered and low == 0 and (high is None or high >= log.size):
            log.lines = count
            log.counted = {log.host: count} if log.division is None else log.counted
        self._judge(log, remote, filtered=filtered)

    def _same(self, log: RemoteLog, line: bytes) -> None:
        """Raise where a file is not the one that was listed."""
        found = _listed(line.removeprefix(b"file "), str(log.path.parent), time.time(), whole=True)
        if found is not None and (found.inode != log.inode or found.size < log.size):
            raise _MovedError

    def _judge(self, log: RemoteLog, remote: Remote, *, filtered: bool) -> None:
        """What the statuses of a pipeline mean."""
        for part, status, words in remote.statuses:
            if part == "read" and status and status < 128:
                self._unread(str(log.path), words)
                return
            if part == "unpack" and status and status < 128:
                text = f"{log.path}: damaged: {words or 'it cannot be unpacked'}; what comes before was read"
                self._problem(log.hosts, str(log.path), text, missing=True)
        if remote.status > 1 or (remote.status and not filtered):
            text = f"{log.path}: the command ended with {remote.status}: {remote.words or 'it does not say why'}"
            self._problem(log.hosts, str(log.path), text, missing=True)
        if not log.plain:
            log.ended = False

    def _sets(self, query: LogQuery, *, in_json: bool) -> tuple[tuple[str, ...], ...] | None:
        """The literals for grep: lines hold one of every set. None: no line can answer."""
        sets: list[tuple[str, ...]] = []
        groups: list[tuple[str, ...]] = [(text,) for text in dict.fromkeys(query.all_of) if text]
        if query.any_of and "" not in query.any_of:
            groups.append(tuple(dict.fromkeys(query.any_of)))
        for group in groups:
            possible = [text for text in group if "\n" not in text]
            if not possible:
                return None
            spelled: list[str] = []
            for text in possible:
                # An argument holds no NUL; the line itself is looked at when it is here.
                pieces = [max(text.split("\0"), key=len)]
                if in_json:
                    pieces = [one.decode("utf-8", "surrogateescape") for one in json_spellings(pieces[0])]
                spelled += pieces
            if in_json:
                spelled.append(_BYTE_ARRAY)
            if "" in spelled:
                continue
            sets.append(tuple(dict.fromkeys(spelled)))
        # The set that is cheapest to look for comes first: it sees every line, those behind it only what is left.
        return tuple(sorted(sets, key=lambda texts: (sum(map(len, texts)) > _LITERALS, len(texts)), reverse=False))

    def _meet(self, log: RemoteLog) -> None:
        """Learn from when to when a loghost's file tells of each of its hosts."""
        if log.division is None or not log.head or not self.machine.greps:
            return
        hosts = sorted({*filter(None, log.hosts), *log.found})
        new = [host for host in hosts if host not in log.spans]
        for some in _batches(new, _PIECES, lambda _host: 300):
            mark = f"mailtrace:{secrets.token_hex(8)}"
            spelled = [spellings(host, log.division) for host in some]
            command = ssh_commands.met(str(log.path), log.kind, log.size, spelled, mark, sudo=self._sudo)
            out, _ = self._output(command)
            texts = out.split(b"\n" + mark.encode() + b"\n")
            for at, host in enumerate(some):
                first = self._own_stamps(log, texts[2 * at : 2 * at + 1], host)
                last = self._own_stamps(log, texts[2 * at + 1 : 2 * at + 2], host)
                log.spans[host] = (first[0], (last or first)[-1]) if first else None

    def _own_stamps(self, log: RemoteLog, texts: Sequence[bytes], host: str) -> list[Stamp]:
        """The stamps of a host's own lines."""
        before = log.parser.unparsed
        entries = [entry for text in texts for entry in log.parser.parse(text + b"\n", 0, log.whose)]
        log.parser.unparsed = before
        return [Stamp(entry.time, entry.zone) for entry in entries if entry.host == host]

    # -------------------------------------------------------------------------------------- the journal

    def _journal_log(self, name: Name) -> RemoteLog:
        log = self._logs.get(JOURNAL)
        if log is None:
            parser = self._settings.make_parser(name.hosts[0])
            log = self._logs[JOURNAL] = RemoteLog(Path(JOURNAL), JOURNAL, list(name.hosts), parser, kind=JOURNAL)
            log.plain, log.in_json, log.looked = False, True, True
            if len(log.hosts) > 1:
                log.division = self._settings.divide(log.hosts, log.host)
            log.clock = self._dating.clock(log, self._settings.now)
        return log

    def _journal(self, name: Name, query: LogQuery) -> Iterator[LogEntry]:
        """Entries of the machine's journal."""
        if "journalctl" not in self.machine.tools:
            text = "journal: there is no journalctl on the machine; name the log files instead"
            self._problem(name.hosts, JOURNAL, text, missing=True)
            return
        log = self._journal_log(name)
        literals = Literals(query, in_json=True)
        sets = self._sets(query, in_json=True)
        if sets is None:
            return
        arguments = journal.command(*wider(query))[1:]
        command = ssh_commands.journal(arguments, Filter(sets if self.machine.greps else ()), sudo=self._sudo)
        remote = self._run(command)
        log.read = True
        try:
            for line in _split(remote.blocks()):
                if literals and not literals.answers(line):
                    continue
                self._settings.traffic.lines += 1
                moment = re.search(rb'"__REALTIME_TIMESTAMP"\s*:\s*"(\d{1,18})"', line)
                position = int(moment[1]) if moment else 0
                stamp = log.parser.stamp(line)
                if stamp is not None:
                    log.first, log.last = log.first or stamp, stamp
                for entry in log.parser.parse(line + b"\n", position, log.whose):
                    log.found.setdefault(entry.host, set()).add(position)
                    if not query.hosts or entry.host in query.hosts:
                        yield entry
        finally:
            self._settings.traffic.received += remote.received
            remote.stop()
        for part, status, words in remote.statuses:
            if part == "read" and status and status < 128:
                self._problem(
                    name.hosts, JOURNAL, f"journal: {words or f'journalctl ended with {status}'}", missing=True
                )

    def _check_journal(self, name: Name) -> None:
        """Whether the journal can be read at all."""
        if "journalctl" not in self.machine.tools:
            text = "journal: there is no journalctl on the machine; name the log files instead"
            self._problem(name.hosts, JOURNAL, text, missing=True)
            return
        out, remote = self._output(ssh_commands.journal(["-n", "1", "-o", "json"], Filter(), sudo=self._sudo))
        log = self._journal_log(name)
        log.read = True
        log.first = log.last = log.parser.stamp(out.strip()) if out.strip() else None
        for _, status, words in remote.statuses:
            if status and status < 128:
                self._problem(name.hosts, JOURNAL, f"journal: {words}", missing=True)


class _Text:
    """A remote log as a text of which any place can be read."""

    def __init__(self, log: RemoteLog, fetch: Callable[[Sequence[Piece]], dict[Piece, bytes]]) -> None:
        self.cache: dict[int, bytes] = {}
        self._log = log
        self._fetch = fetch

    @property
    def size(self) -> int:
        """As it was listed."""
        return self._log.size

    def read(self, offset: int, size: int) -> bytes:
        """One place, from what was fetched if it is there."""
        size = min(size, self.size - offset)
        known = self.cache.get(offset)
        if known is None or len(known) < size:
            piece = Piece(str(self._log.path), "plain", offset, size)
            known = self.cache[offset] = self._fetch([piece]).get(piece, b"")
        return known[:size]

    def expect(self, places: Sequence[int], size: int) -> None:
        """Fetch several places at once, unless the first of them is here: the others are for the steps behind it."""
        if places and places[0] in self.cache:
            return
        wanted = self.pieces([place for place in places if place not in self.cache], size)
        self.cache |= {piece.offset: text for piece, text in self._fetch(wanted).items()}

    def pieces(self, places: Iterable[int], size: int) -> list[Piece]:
        """What to fetch for some places."""
        return [Piece(str(self._log.path), "plain", place, min(size, self.size - place)) for place in places]


def _sample_places(size: int) -> list[int]:
    """As `window.samples` will ask."""
    if size <= _SAMPLE_PLACES * _SAMPLE_SIZE:
        return []
    return [(size - _SAMPLE_SIZE) * place // (_SAMPLE_PLACES - 1) for place in range(_SAMPLE_PLACES)]


def _tail(log: RemoteLog) -> Piece:
    """The end of a plain log."""
    return Piece(str(log.path), "plain", max(0, log.size - HEAD), HEAD)


def _beginning(log: RemoteLog) -> Piece:
    """What is sampled of a compressed log, which cannot be looked at in several places."""
    return Piece(str(log.path), log.kind, 0, _SAMPLE_PLACES * _SAMPLE_SIZE * 2)


def _is_file(name: Name) -> bool:
    return name.pattern not in (STDIN, JOURNAL)


def _kind_by_name(name: str) -> str:
    suffix = name.rpartition(".")[2]
    return suffix if suffix in ssh_commands.UNPACK else "plain"


def _below(folder: str, pattern: str) -> bool:
    """Whether a folder is one that a pattern with wildcards stands for."""
    one, other = PurePosixPath(folder).parts, PurePosixPath(pattern).parts
    return len(one) == len(other) and all(fnmatchcase(a, b) for a, b in zip(one, other, strict=True))


def _listed(line: bytes, folder: str, now: float, *, whole: bool = False) -> Listed | None:
    """A line of `ls -lni`; None for others (`total 12`, devices, names that break lines)."""
    found = _LISTED.fullmatch(line)
    if found is None:
        return None
    name = found["name"].decode("utf-8", "surrogateescape")
    modified = _modified(found["month"].decode(), int(found["day"]), found["when"].decode(), now)
    path = name if whole else str(PurePosixPath(folder) / name)
    return Listed(path, int(found["inode"]), int(found["size"]), modified, found["kind"].decode())


def _modified(month: str, day: int, when: str, now: float) -> float:
    """A moment as `ls` writes it, read as UTC: a day more or less is no matter."""
    today = datetime.fromtimestamp(now, timezone.utc)
    year = today.year if ":" in when else int(when)
    with suppress(ValueError):
        moment = datetime(year, _MONTHS.index(month) + 1, day, 12, tzinfo=timezone.utc)
        if ":" in when and moment > today + timedelta(days=2):
            moment = moment.replace(year=year - 1)
        return min(moment.timestamp() + _DAY / 2, now)
    return now


def _zone(said: str, offset: str, now: float) -> str:
    """The zone of `$TZ:/etc/localtime's target`, where it agrees with what `date` says, else that offset."""
    from zoneinfo import ZoneInfo

    variable, _, link = said.partition(":")
    plain = f"{offset[:3]}:{offset[3:]}" if re.fullmatch(r"[+-]\d{4}", offset) else ""
    for name in (variable.removeprefix(":"), link.partition("zoneinfo/")[2]):
        try:
            zone = ZoneInfo(name) if name else None
        except (ValueError, OSError, KeyError):
            continue
        if zone is not None and datetime.fromtimestamp(now, zone).strftime("%z") == offset:
            return name
    return plain


def _why(path: str, words: str, server: Server) -> str:
    """Why something cannot be read, and the cure, from what `tail`, `ls` or sudo says."""
    user = server.way.user
    said = words.rpartition("; ")[2] if "sudo" not in words else words
    if "incorrect password" in words or "Sorry, try again" in words:
        msg = "sudo refused the password; it was tried once. Check sudo_pass (--ask-sudo-pass)"
        raise SshError(msg)
    if "password is required" in words:
        return (
            f"{path}: sudo asks {user} for a password; use --ask-sudo-pass or MAILTRACE_SUDO_PASSWORD, add the sudoers "
            "lines that --plan prints, or let the user read the logs (group adm)"
        )
    if "must have a tty" in words or "terminal is required" in words:
        return f"{path}: sudo wants a terminal; take `requiretty` out of sudoers for {user}"
    if "not in the sudoers" in words or "not allowed to" in words or "may not run" in words:
        return f"{path}: sudo does not allow {user} to read it; add the sudoers lines that --plan prints"
    if "Permission denied" in words:
        return (
            f"{path}: permission denied for {user}; let {user} read it (often the group adm), or set sudo: true and "
            "add the sudoers lines that --plan prints"
        )
    if "No such file" in words:
        return f"{path}: no such file"
    return f"{path}: cannot be read: {said or 'it is not said why'}"


def _without_sudo(settings: Settings) -> Settings:
    from dataclasses import replace

    return replace(settings, sudo=False)


def _unlike(query: LogQuery) -> bool:
    """Whether grep may find lines that do not answer."""
    return any("\0" in text for text in (*query.all_of, *query.any_of))


def _filters(sets: tuple[tuple[str, ...], ...], *, numbered: bool) -> Iterator[Filter]:
    """One filter, or several where the literals are too many for one grep."""
    if not sets:
        yield Filter((), numbered)
        return
    largest = max(range(len(sets)), key=lambda at: sum(map(len, sets[at])))
    for some in _batches(sets[largest], _LITERALS, lambda text: len(text.encode("utf-8", "surrogateescape")) + 1):
        yield Filter((*sets[:largest], tuple(some), *sets[largest + 1 :]), numbered)


def _batches(items: Iterable[T], most: int, cost: Callable[[T], int]) -> Iterator[list[T]]:
    """Items in groups that cost no more than `most`, or are one."""
    group: list[T] = []
    total = 0
    for item in items:
        if group and total + cost(item) > most:
            yield group
            group, total = [], 0
        group.append(item)
        total += cost(item)
    if group:
        yield group


def _chunks(entries: Iterable[LogEntry]) -> Iterator[list[LogEntry]]:
    """Entries, some at a time."""
    chunk: list[LogEntry] = []
    for entry in entries:
        chunk.append(entry)
        if len(chunk) >= _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _split(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines of blocks; of a line that is too long only the beginning."""
    tail = b""
    skipping = False
    for block in blocks:
        *full, rest = (tail + block).split(b"\n")
        if full and skipping:
            full, skipping = full[1:], False
        yield from full
        tail = b"" if skipping else rest
        if len(tail) > LONGEST_LINE:
            yield tail[:LONGEST_LINE]
            tail, skipping = b"", True
    if tail:
        yield tail
