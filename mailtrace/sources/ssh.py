"""The source `ssh`: logs where they are, on the servers.

Hosts that lead to the same machine share one connection; each machine has a thread of its own while it is asked, and
what it finds is handed on as it comes. `forks` of them search their logs at a time; more of them log in and look around
meanwhile, which does little but wait. A machine that fails costs itself only, and `coverage` says so.
"""

from __future__ import annotations

import shlex
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from queue import Empty, Full, Queue
from typing import TYPE_CHECKING, Any

from mailtrace.errors import DataError
from mailtrace.model import Coverage, Fleet, HostLogs, LogEntry, LogQuery, Parser, Tail
from mailtrace.sources import ssh_commands
from mailtrace.sources.catalog import JOURNAL, STDIN, Name
from mailtrace.sources.division import Division
from mailtrace.sources.extent import add
from mailtrace.sources.following import Broken
from mailtrace.sources.ssh_client import Client
from mailtrace.sources.ssh_connect import Connector
from mailtrace.sources.ssh_log import RemoteLog
from mailtrace.sources.ssh_options import Way
from mailtrace.sources.ssh_server import SOURCE, Server, Settings, Traffic

if TYPE_CHECKING:
    from mailtrace.config import SshConfig
    from mailtrace.model import Stamp

_WAITING = 64  # chunks of entries that may wait to be taken
_AHEAD = 4  # times `forks`: so many machines are logged in to, look around, wait for their turn or have it
_TICK = 0.2
_LEAVE = 2.0  # seconds within which threads end that have no more to do

Progress = Callable[[int, int], None]


class SshSource:
    """Logs on servers. `hosts` are those whose logs they are."""

    def __init__(
        self,
        logs: Sequence[HostLogs],
        make_parser: Callable[[HostLogs], Parser],
        fleet: Fleet,
        *,
        access: SshConfig,
        progress: Progress | None = None,
    ) -> None:
        """Connect to nothing yet. `progress` is called with the machines that were read and those to read."""
        self.hosts = tuple(dict.fromkeys(log.host for log in logs))
        self.progress = progress
        self.traffic = Traffic()
        self._logs = tuple(logs)
        self._access = access
        self._fleet = fleet
        settings = {log.host: log for log in reversed(logs)}
        self._connector = connector_of(access)
        self._settings = Settings(
            connect=self._connector.connect,
            make_parser=lambda host: make_parser(settings[host]),
            zone_of=lambda host: (settings[host].time_zone if host in settings else "") or fleet.zone(host),
            divide=lambda hosts, nobody: Division(hosts, fleet, nobody),
            hosts=frozenset(self.hosts),
            sudo=access.sudo,
            sudo_pass=access.sudo_pass,
            now=time.time(),
            traffic=self.traffic,
        )
        self._servers: list[Server] | None = None
        self._unknown: list[Coverage] = []

    # -------------------------------------------------------------------------------------- the protocol

    def query(self, query: LogQuery) -> Iterator[LogEntry]:
        """Entries of the lines that answer, in the order in which they come; those of one log in its order."""
        return self.queries([query])

    def queries(self, queries: Sequence[LogQuery]) -> Iterator[LogEntry]:
        """The same of several questions: every machine is asked its own at once with the others."""

        def answers(server: Server) -> Iterator[list[LogEntry]]:
            for query in queries:
                if server.concerned(query):
                    yield from server.query(query)

        servers = [server for server in self._all() if any(map(server.concerned, queries)) and not server.failed]
        for chunk in self._at_once(servers, answers):
            yield from chunk

    def follow(self, places: Mapping[str, Any], since: float | None, now: float) -> list[Tail]:
        """What came to each log since its place; from `since` on, or all of it, where it has none."""
        tails: dict[int, list[Tail]] = {}

        def look(server: Server) -> Iterator[list[LogEntry]]:
            tails[id(server)] = server.follow(places, since, now)
            return iter(())

        servers = self._all()
        for _ in self._at_once(servers, look):
            pass
        unknown = [Broken(f"{SOURCE}:{item.host}", item.problem) for item in self._unknown]
        return [*unknown, *(tail for server in servers for tail in tails.get(id(server), ()))]

    def coverage(self) -> list[Coverage]:
        """What was read, one item per host and configured log, and one for each problem."""
        out = list(self._unknown)
        for server in self._servers or ():
            items: dict[tuple[str, str], Coverage] = {}
            for log in sorted((log for log in server.logs if log.read), key=lambda log: (log.base, str(log.path))):
                for host in _hosts_of(log):
                    item = items.setdefault((host, log.pattern), Coverage(host, SOURCE))
                    add(item, host, log, _span(log, host))
                    if log.lines is not None and log.division is None:
                        item.lines = (item.lines or 0) + log.lines
            out += [*items.values(), *server.problems.values()]
        return sorted(out, key=lambda item: (item.host, item.problem != "", item.names))

    def samples(self) -> list[LogEntry]:
        """What was read of each log to learn what its stamps mean, whatever was asked."""
        return [entry for server in self._servers or () for log in server.logs for entry in log.sample]

    def zone(self, host: str) -> str:
        """The zone of a host by its own word, "" where it has not been asked or its log is on another machine."""
        return next((zone for server in self._servers or () if (zone := server.zone(host))), "")

    def plan(self, query: LogQuery) -> list[str]:
        """Each login and each command as it would run, and the sudoers lines that allow just these."""
        out: list[str] = []
        for server in self._all():
            if server.concerned(query):
                out += self._plan(server, query)
        out += [f"{item.host}: {item.problem}" for item in self._unknown]
        return out

    def check(self) -> list[Coverage]:
        """Log in everywhere, list and open every configured log, and read no more than its first and last stamps."""

        def look(server: Server) -> Iterator[list[LogEntry]]:
            server.check()
            return iter(())

        for _ in self._at_once(self._all(), look):
            pass
        items = self.coverage()
        told = {host: server.clock for server in self._servers or () for host in server.hosts}
        for item in items:
            item.clock = "" if item.problem else told.get(item.host, "")
        return items

    def close(self) -> None:
        """Log out everywhere."""
        threads = [threading.Thread(target=server.close, daemon=True) for server in self._servers or ()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2)
        self._connector.close()

    # -------------------------------------------------------------------------------------- machines

    def _all(self) -> list[Server]:
        """Every machine, once for all hosts whose logs are on it."""
        if self._servers is None:
            ways: dict[object, Way] = {}
            names: dict[object, dict[str, list[str]]] = {}
            from concurrent.futures import ThreadPoolExecutor

            # With `transport: openssh` each is asked of a program.
            with ThreadPoolExecutor(max(self._access.forks, 1)) as pool:
                found = list(pool.map(self._way, (log.host for log in self._logs)))
            for log, way in zip(self._logs, found, strict=True):
                if isinstance(way, DataError):
                    self._unknown.append(Coverage(log.host, SOURCE, log.log_files, problem=str(way), missing=True))
                    continue
                ways.setdefault(way.machine, way)
                patterns = names.setdefault(way.machine, {})
                for pattern in log.log_files:
                    hosts = patterns.setdefault(pattern, [])
                    hosts += [log.host] if log.host not in hosts else []
            self._servers = [
                Server(way, [Name(pattern, tuple(hosts)) for pattern, hosts in names[key].items()], self._settings)
                for key, way in ways.items()
            ]
        return self._servers

    def _way(self, host: str) -> Way | DataError:
        try:
            return self._connector.way(host)
        except DataError as error:
            return error

    def _at_once(
        self, servers: Sequence[Server], work: Callable[[Server], Iterator[list[LogEntry]]]
    ) -> Iterator[list[LogEntry]]:
        """What some machines have to say, each in a thread."""
        turns = _Turns(servers, work, max(self._access.forks, 1))
        turns.start()
        done = 0
        try:
            while done < len(servers):
                item = turns.next()
                if isinstance(item, BaseException):
                    raise item
                if item is None:
                    done += 1
                    if self.progress is not None:
                        self.progress(done, len(servers))
                else:
                    yield item
        finally:
            turns.end(stop=done < len(servers))

    # -------------------------------------------------------------------------------------- plans

    def _plan(self, server: Server, query: LogQuery) -> list[str]:
        way = server.way
        through = "".join(f" through {jump.shown}" for jump in way.jumps)
        through += f" through {way.command}" if way.command else ""
        out = [f"{', '.join(server.hosts)}: log in as {way.shown}{through}"]
        if server.hosts != (way.name,) or way.address != way.name:
            out[0] += f" (ssh {shlex.quote(way.name)})"
        if self._access.transport == "openssh":
            out[0] += " by the ssh of this machine"
        commands = server.plan(query)
        out += [f"  {what}: {command}" for what, command in commands]
        if self._access.sudo:
            files = [name.pattern for name in server.names if name.pattern not in (STDIN, JOURNAL)]
            allowed = ssh_commands.sudoers(way.user, _folders(files), files)
            if any(name.pattern == JOURNAL for name in server.names):
                allowed.append(ssh_commands.sudoers_journal(way.user))
            out += [f"  sudoers: {line}" for line in allowed]
        return out


def connector_of(access: SshConfig) -> Client | Connector:
    """What logs in: the transport that is configured."""
    return Client(access) if access.transport == "openssh" else Connector(access)


class _OverError(Exception):
    """Nobody wants to know any more."""


class _Turn:
    """Held by a machine that searches its logs; some may at a time."""

    def __init__(self, forks: int, enough: threading.Event) -> None:
        self._free = threading.Semaphore(forks)
        self._enough = enough

    def __enter__(self) -> None:
        while not self._free.acquire(timeout=_TICK):
            if self._enough.is_set():
                raise _OverError
        if self._enough.is_set():
            self._free.release()
            raise _OverError

    def __exit__(self, *_: object) -> None:
        self._free.release()


class _Turns:
    """Machines that are worked on by some threads; what they find waits in one queue, never much of it."""

    def __init__(
        self, servers: Sequence[Server], work: Callable[[Server], Iterator[list[LogEntry]]], forks: int
    ) -> None:
        self._servers = servers
        self._work = work
        self._most = _AHEAD * forks
        self._waiting = deque(servers)
        self._ready: Queue[list[LogEntry] | BaseException | None] = Queue(_WAITING)
        self._enough = threading.Event()
        self._turn = _Turn(forks, self._enough)
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin."""
        for number in range(min(self._most, len(self._servers))):
            thread = threading.Thread(target=self._run, name=f"mailtrace-ssh-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def next(self) -> list[LogEntry] | BaseException | None:
        """Some entries, what went wrong, or None for every machine that is done."""
        while True:
            with suppress(Empty):
                return self._ready.get(timeout=_TICK)  # not for ever: a signal has to get through

    def end(self, *, stop: bool) -> None:
        """No more is wanted; `stop` what still runs."""
        self._enough.set()
        if stop:
            for server in self._servers:
                server.stop()
        until = time.monotonic() + _LEAVE
        for thread in self._threads:
            thread.join(max(until - time.monotonic(), 0))

    def _run(self) -> None:
        while not self._enough.is_set():
            try:
                server = self._waiting.popleft()
            except IndexError:
                return
            try:
                server.turn = self._turn
                if not all(self._put(chunk) for chunk in self._work(server)):
                    return
            except BaseException as error:  # noqa: BLE001 - raised again where the entries are wanted
                self._put(error)
            self._put(None)

    def _put(self, item: list[LogEntry] | BaseException | None) -> bool:
        while not self._enough.is_set():
            with suppress(Full):
                self._ready.put(item, timeout=_TICK)
                return True
        return False


def _folders(files: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(f"{file.rpartition('/')[0]}/" for file in files))


def _hosts_of(log: RemoteLog) -> list[str]:
    """The hosts that a log tells of."""
    if log.division is None:
        return [log.host]
    return sorted({*filter(None, log.hosts), *log.found, *log.counted, *(log.clock.hosts if log.clock else ())})


def _span(log: RemoteLog, host: str) -> tuple[Stamp | None, Stamp | None]:
    """From when to when a log tells of a host."""
    if log.division is None or host not in log.spans:
        return log.first, log.last
    return log.spans[host] or (None, None)
