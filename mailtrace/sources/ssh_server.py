"""One machine and the logs on it: what is there, where a window stands in it, and the lines that answer.

What a log is and what its stamps mean is learnt from small pieces of it; a window is found by looking at several
places at once; then the machine itself chooses the lines, and only those travel.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from mailtrace.errors import DataError
from mailtrace.model import Coverage, LogEntry, LogQuery, Parser, Stamp, Tail
from mailtrace.sources import journal, ssh_commands
from mailtrace.sources.catalog import JOURNAL, STDIN, Log, Name, Positions
from mailtrace.sources.dating import Dating
from mailtrace.sources.division import Division
from mailtrace.sources.extent import late, reaches, wider, windowed, within
from mailtrace.sources.following import Broken, LogTail
from mailtrace.sources.journal_tail import JournalTail
from mailtrace.sources.presence import spellings
from mailtrace.sources.rotation import is_glob, rotated
from mailtrace.sources.search import Literals
from mailtrace.sources.ssh_commands import Command, Filter, Piece
from mailtrace.sources.ssh_lines import LITERALS, batches, chunks, filters, literal_sets, split, unlike
from mailtrace.sources.ssh_listing import Listed, below, kind_by_name, listed
from mailtrace.sources.ssh_log import HEAD, Learning, RemoteLog, RemoteText
from mailtrace.sources.ssh_machine import Machine, why, zone_told
from mailtrace.sources.ssh_remote import Remote, Session, SshError
from mailtrace.sources.ssh_tail import SOON, RemoteThere
from mailtrace.sources.window import NEAR

if TYPE_CHECKING:
    from mailtrace.secret import Secret
    from mailtrace.sources.ssh_options import Way

T = TypeVar("T")

SOURCE = "ssh"
_AGAIN = 60.0  # seconds before a machine that failed is asked again, where it is followed
_DAY = 86400.0
_NO_JOURNAL = "journal: there is no journalctl on the machine; name the log files instead"
_FRESH = 10.0
"""Seconds for which a listing of folders is believed; each reading tells whether its file is still that one."""
_NEAR_LITERALS = 1 << 20
"""So close to a window's ends, the machine's grep is quicker than looking; but where no literal is asked for, all that
lies between would travel."""
_SMALL = 4  # times that: a log in which no window is looked for at all
_PIECES = 12_000  # bytes of arguments of one command
_BEHIND_CUT = 1 << 16  # a line that begins before the end of a window may end so far behind it
_SKEW = 30.0  # seconds by which a machine's clock may differ from ours without a word


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
        self.turn: AbstractContextManager[object] = nullcontext()
        """Held while its logs are searched, of which how many do so at a time is limited."""
        self._again = 0.0  # when a machine that failed is asked anew, where it is followed
        self._settings = settings
        self._dating = Dating(settings.zone_of, settings.now)
        self._learning = Learning(self._fetch, self._dating)
        self._session: Session | None = None
        self._listing: dict[str, dict[str, Listed]] = {}
        self._listed_at = -1e9
        self._logs: dict[object, RemoteLog] = {}
        self._followed: set[object] = set()

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
            self._learning.look(logs, LogQuery())
            for log in logs:
                log.read = log.looked
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
        chosen = next(filters(literal_sets(query, in_json=False) or (), numbered=False))
        for path in paths:
            ends = [Piece(path, "plain", 0, HEAD)]
            out.append(("look at places of it", ssh_commands.pieces(ends, "mailtrace:MARK", sudo=sudo).line))
            how = ssh_commands.lines(path, "plain", 0, 1 << 20 if windowed(query) else None, chosen, sudo=sudo)
            out.append(("read lines", how.line))
        for name in self.names:
            if name.pattern == JOURNAL and self._concerns(name.hosts, query):
                words = journal.command(*wider(query))[1:]
                chosen = Filter(literal_sets(query, in_json=True) or ())
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

    @property
    def clock(self) -> str:
        """What the machine says of its clock, in words."""
        skew = round(self.machine.skew)
        how = f"{abs(skew)} s {'ahead' if skew > 0 else 'behind'}" if abs(skew) > 1 else "right"
        name = "" if len(self.hosts) == 1 else f" of {self.way.address}"
        return f"clock{name} {how}, zone {self.machine.zone or 'not told'}"

    # -------------------------------------------------------------------------------------- following

    def follow(self, places: Mapping[str, Any], since: float | None, now: float) -> list[Tail]:
        """What came to each of its logs; what is not much is fetched at once. A machine that fails costs itself."""
        self.problems = {}
        if self.failed and time.monotonic() < self._again:
            return [Broken(self._key(name.pattern), self.failed) for name in self.names]
        self.failed = ""
        # Each day brings a new file: those that nothing came to since the last round are forgotten.
        self._logs = {key: log for key, log in self._logs.items() if key in self._followed}
        self._followed.clear()
        out: list[LogTail] = []
        journals: list[Tail] = []
        try:
            self._open()
            self._listed_at = -1e9
            self._list()
            for name in self.names:
                if name.pattern == STDIN:
                    text = f"{STDIN} on a server is not followed: name its log files"
                    self._problem(name.hosts, STDIN, text, missing=True)
                elif name.pattern == JOURNAL:
                    journals += self._journal_tail(name, places, since)
                else:
                    out += self._tails(name, places, since, now)
            for tail in out:
                for there, start in tail.unread():
                    there.fetch(start)  # type: ignore[attr-defined]
        except (SshError, DataError, _MovedError) as error:
            self._fail(SshError(str(error) or "its logs are being rotated"))
            self.failed = str(error) or "its logs are being rotated"
            self._again = time.monotonic() + _AGAIN
        problems = {item.names[:1]: item.problem for item in self.problems.values() if item.missing}
        broken = [Broken(self._key("".join(names)), text) for names, text in problems.items()]
        return [*broken, *(() if self.failed else (*out, *journals))]

    def _journal_tail(self, name: Name, places: Mapping[str, Any], since: float | None) -> Iterator[Tail]:
        """The machine's journal, if it has one; what is not much is fetched at once."""
        if "journalctl" not in self.machine.tools:
            self._problem(name.hosts, JOURNAL, _NO_JOURNAL, missing=True)
            return
        key = self._key(JOURNAL)
        self._followed.add(JOURNAL)
        yield JournalTail(key, places.get(key), self._journal_log(name), self._journal_text, since)

    def _journal_text(self, start: float | None, cursor: str, tell: Callable[[str], None]) -> Iterator[bytes]:
        """The journal's lines from a place on. Raises `SshError` where they cannot be asked for."""
        arguments = journal.command(start, None, cursor)[1:]
        remote = self._run(ssh_commands.journal(arguments, Filter(), sudo=self._sudo))
        blocks, ahead = remote.blocks(), []
        size = 0
        for block in blocks:
            ahead.append(block)
            size += len(block)
            if size > SOON:
                break

        def rest() -> Iterator[bytes]:
            try:
                for line in split(chain(ahead, blocks)):
                    self._settings.traffic.lines += 1
                    yield line + b"\n"
            except SshError as error:
                raise DataError(f"journal: {error}", self.way.name) from None
            finally:
                self._settings.traffic.received += remote.received
                remote.stop()
            for part, status, words in remote.statuses:
                if part == "read" and status and status < 128:
                    tell(f"journal: {words or f'journalctl ended with {status}'}")

        return rest()

    def _key(self, path: str) -> str:
        return f"{SOURCE}:{self.way.name}:{path}"

    def _tails(self, name: Name, places: Mapping[str, Any], since: float | None, now: float) -> Iterator[LogTail]:
        """Each log that a name stands for, with its rotated siblings; what a glob names is one log's."""
        every = [PurePosixPath(file.path) for each in self.names if _is_file(each) for file in self._files(each)]
        for file in self._files(name):
            own = PurePosixPath(file.path)
            turned = any(own.parent == log.parent and rotated(log.name, [own.name]) for log in every)
            if file.kind == "-" and not turned:
                folder = self._listing.get(str(own.parent), {})
                files = [file, *(folder[other] for other in rotated(own.name, folder) if folder[other].kind == "-")]
                there = [self._there(each, name, live=each is file) for each in files]
                named = [one.ident for one, each in zip(there, files, strict=True) if PurePosixPath(each.path) in every]
                key = self._key(file.path)
                yield LogTail(key, places.get(key), there, since=since, named=frozenset(named), now=now)

    def _there(self, file: Listed, name: Name, *, live: bool) -> RemoteThere:
        kind = kind_by_name(PurePosixPath(file.path).name)

        def begin(size: int) -> bytes:
            wanted = Piece(file.path, kind, 0, size)
            try:
                return self._fetch([wanted]).get(wanted, b"")
            except (_MovedError, SshError):
                return b""

        def read(start: int) -> tuple[Log, Iterator[bytes]] | str:
            try:
                found = (PurePosixPath(file.path).parent, file.inode)
                self._followed.add(found)
                log = self._claim(found, file, name, list(name.hosts))
                self._learning.look([log], LogQuery())
                return log, self._raw(log, start)
            except _MovedError:
                return f"{file.path}: it is being rotated"
            except SshError as error:
                return str(error)

        return RemoteThere(file, kind, begin, read, live=live)

    def _raw(self, log: RemoteLog, start: int) -> Iterator[bytes]:
        """A log's text from a byte on, as it comes. Raises `DataError` for a file that is another by now."""
        command = ssh_commands.lines(
            str(log.path), log.kind, start if log.plain else 0, None, Filter(), sudo=self._sudo
        )
        try:
            remote = self._run(command)
        except SshError as error:
            raise DataError(str(error), log.host) from None
        begun, ahead, skip = False, b"", 0 if log.plain else start
        try:
            for block in remote.blocks():
                text = block
                if not begun:
                    ahead += block
                    first, newline, text = ahead.partition(b"\n")
                    if not newline:
                        continue
                    self._same(log, first)
                    begun = True
                if skip < len(text):
                    yield bytes(text[skip:])
                skip = max(skip - len(text), 0)
        except _MovedError:
            return
        except SshError as error:
            raise DataError(str(error), log.host) from None
        finally:
            self._settings.traffic.received += remote.received
            remote.stop()
        self._judge(log, remote, filtered=False)

    # -------------------------------------------------------------------------------------- commands

    def _open(self) -> Session:
        if self._session is None:
            self._session = self._settings.connect(self.way)
            self.machine = self._hello()
            # Assumed last, and not taken for sure: a log may have been copied here.
            self._dating = Dating(self._settings.zone_of, self._settings.now, self.zone(*self.hosts[:1]))
            self._learning = Learning(self._fetch, self._dating)
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
            skew=float(seconds) + 0.5 - between if seconds.isdigit() else 0.0,  # `date` tells no fraction
            zone=zone_told(said.get("zone", [""])[0], offset, between),
            home=said.get("home", ["/"])[0],
            tools=frozenset(said.get("tool", [])),
            offsets=said.get("grep", [""])[0] == "2:bx",
            greps="x" in (said.get("grep", [""])[0] + said.get("plain", [""])[0])[-1:],
            root=said["uid"][0] == "0",
        )
        for tool in ("tail", "head", "ls"):
            if tool not in machine.tools:
                msg = f"there is no {tool} on the machine"
                raise SshError(msg)
        if said.get("cut") != ["bc"]:
            msg = "tail -c +N and head -c N do not cut on the machine as they do elsewhere"
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
        for some in batches(folders, _PIECES, len):
            out, remote = self._output(ssh_commands.list_(some, sudo=self._sudo))
            now = time.time() + self.machine.skew
            files: dict[str, Listed] = {}
            known: list[str] = []
            for line in out.split(b"\n"):
                if line.startswith(b"folder "):
                    folder = line[7:].decode("utf-8", "surrogateescape")
                    known.append(folder)
                    files = listing.setdefault(folder, {})
                elif (found := listed(line, known[-1] if known else "", now)) is not None:
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
                self._problem(name.hosts, name.pattern, why(folder, words, self.way.user), missing=True)

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
            if folder != str(path.parent) and not (is_glob(str(path.parent)) and below(folder, str(path.parent))):
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
                log.forget()
            log.size, log.modified, log.ended = file.size, file.modified, False
        return log

    def _fetch(self, wanted: Sequence[Piece]) -> dict[Piece, bytes]:
        """Pieces of files; those that cannot be read are left out, and a problem."""
        got: dict[Piece, bytes] = {}
        for some in batches(dict.fromkeys(wanted), _PIECES, lambda piece: len(piece.path) + 30):
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
        self._problem(sorted(hosts), path, why(path, words, self.way.user), missing=True)

    # -------------------------------------------------------------------------------------- reading

    def _query(self, query: LogQuery) -> Iterator[list[LogEntry]]:
        self._open()
        self._list()
        chosen = self._chosen(query)
        self._learning.look(chosen, query)
        logs = sorted((log for log in chosen if log.head), key=lambda log: (log.base, log.modified, str(log.path)))
        for log in chosen:
            log.read = log.read or (log.looked and not log.head)
        if windowed(query):
            logs = [
                log for at, log in enumerate(logs) if reaches(log, [(later, None) for later in logs[at + 1 :]], query)
            ]
        for log in logs:
            yield from chunks(within(log, query, self._entries(log, query)))
            self._meet(log)
        for name in self.names:
            if name.pattern == JOURNAL and self._concerns(name.hosts, query):
                yield from chunks(self._in_turn(self._journal(name, query)))
            elif name.pattern == STDIN:
                self._problem(name.hosts, STDIN, "-: standard input is not on the server; name a file", missing=True)

    def _bounds(self, log: RemoteLog, query: LogQuery) -> tuple[int, int | None]:
        """The part of a log that holds the window; None: to its end."""
        if not log.plain:
            return 0, None
        low, high = 0, log.size
        near = _NEAR_LITERALS if query.all_of or query.any_of else NEAR
        if log.size <= _SMALL * near:
            return 0, None
        if windowed(query) and log.clock is not None:
            low, high = log.places.bounds(RemoteText(log, self._fetch), log.clock, *wider(query, late(log)), near)
            high += _BEHIND_CUT
        return low, high if high < log.size else None  # it may have grown meanwhile

    def _entries(self, log: RemoteLog, query: LogQuery) -> Iterator[LogEntry]:
        """Entries of the lines that answer."""
        low, high = self._bounds(log, query)
        if low >= (log.size if high is None else high):
            log.read = True
            return
        literals = Literals(query, in_json=log.in_json)
        sets = literal_sets(query, in_json=log.in_json)
        if sets is None:
            log.read = True
            return
        verify = bool(literals) and (log.in_json or not self.machine.greps or unlike(query))
        seen: set[int] = set()
        for chosen in filters(sets if self.machine.greps else (), numbered=not self.machine.offsets):
            several = len(sets) and sum(map(len, sets[0])) > LITERALS
            for position, line in self._in_turn(self._lines(log, low, high, chosen)):
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

    def _in_turn(self, search: Iterator[T]) -> Iterator[T]:
        """A search that waits until few others are under way."""
        with self.turn:
            yield from search

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
            for number, line in enumerate(split(remote.blocks())):
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
        found = listed(line.removeprefix(b"file "), str(log.path.parent), time.time(), whole=True)
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

    def _meet(self, log: RemoteLog) -> None:
        """Learn from when to when a loghost's file tells of each of its hosts."""
        if log.division is None or not log.head or not self.machine.greps:
            return
        hosts = sorted({*filter(None, log.hosts), *log.found})
        new = [host for host in hosts if host not in log.spans]
        for some in batches(new, _PIECES, lambda _host: 300):
            mark = f"mailtrace:{secrets.token_hex(8)}"
            spelled = [spellings(host, log.division) for host in some]
            command = ssh_commands.met(str(log.path), log.kind, log.size, spelled, mark, sudo=self._sudo)
            with self.turn:
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
            self._problem(name.hosts, JOURNAL, _NO_JOURNAL, missing=True)
            return
        log = self._journal_log(name)
        literals = Literals(query, in_json=True)
        sets = literal_sets(query, in_json=True)
        if sets is None:
            return
        arguments = journal.command(*wider(query))[1:]
        command = ssh_commands.journal(arguments, Filter(sets if self.machine.greps else ()), sudo=self._sudo)
        remote = self._run(command)
        log.read = True
        try:
            for line in split(remote.blocks()):
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
            self._problem(name.hosts, JOURNAL, _NO_JOURNAL, missing=True)
            return
        out, remote = self._output(
            ssh_commands.journal([*journal.command(None, None)[1:], "-n", "1"], Filter(), sudo=self._sudo)
        )
        log = self._journal_log(name)
        log.read = True
        log.first = log.last = log.parser.stamp(out.strip()) if out.strip() else None
        for _, status, words in remote.statuses:
            if status and status < 128:
                self._problem(name.hosts, JOURNAL, f"journal: {words}", missing=True)


def _is_file(name: Name) -> bool:
    return name.pattern not in (STDIN, JOURNAL)


def _without_sudo(settings: Settings) -> Settings:
    from dataclasses import replace

    return replace(settings, sudo=False)
