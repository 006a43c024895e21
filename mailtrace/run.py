"""run_job: Job → Report. The named steps of a run, what each asks for, who is told, and how it all came out."""

from __future__ import annotations

import gc
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timezone
from itertools import chain, islice
from operator import attrgetter
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mailtrace import notify
from mailtrace.assemble import assemble
from mailtrace.case import make_case
from mailtrace.eml import known_hops, read_letter
from mailtrace.errors import DataError, ExportError, Interrupted, RequestError
from mailtrace.expect import judge, wants_nothing, wants_tls
from mailtrace.exporters import exporter as exporter_class
from mailtrace.exporters import make as make_exporter
from mailtrace.job import FilesSource, Job, OtherSource, SshSource
from mailtrace.keylist import read_keys
from mailtrace.load import ConfigLike, JobLike, load_job
from mailtrace.model import Coverage, Hint, Letter, LogEntry, LogQuery, Warning_, lines_of
from mailtrace.nearby import Look, hints
from mailtrace.otlp.endpoint import Endpoint
from mailtrace.output import write
from mailtrace.parsers import make_parser
from mailtrace.patience import Patience, unsettled
from mailtrace.problem import Problem
from mailtrace.report import Report
from mailtrace.sources import SOURCES, source_class
from mailtrace.times import zone as named_zone
from mailtrace.walk import Memory, Scene, Walked, first_query, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mailtrace.hosts import Inventory
    from mailtrace.job import Export, Find
    from mailtrace.job import Source as Described
    from mailtrace.model import HostLogs, Parser, Source

CHUNK = 512
"""Entries taken from a source at a time: between two chunks a run can be stopped and tells how far it is."""
PROGRESS_SECONDS = 0.1
SECOND_LOOK = 2.0
"""Seconds that may be spent on what is near where nothing was found, besides as many as the search took."""
MANY = 3
"""What is the same of more hosts than that is told in one line."""


class Stop:
    """Ends a run from outside with what it has found. Itself a handler for `signal.signal`.

    The first signal interrupts a source that is being waited for, and nothing else: what is found so far is still
    put together and reported. The second one raises `KeyboardInterrupt` wherever the run is.
    """

    def __init__(self) -> None:
        """Nobody has called yet."""
        self.signal = 0
        self._waiting = False

    def __call__(self, signal_number: int, frame: object = None) -> None:
        """Remember the signal; interrupt what waits."""
        again, self.signal = bool(self.signal), self.signal or signal_number
        if again or self._waiting:
            raise KeyboardInterrupt

    def asleep(self, seconds: float) -> bool:
        """Sleep until the time is over or a signal comes; whether one has come."""
        with self.waiting():
            if not self.signal:
                time.sleep(seconds)
        return bool(self.signal)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """What is done inside ends at the first signal, quietly."""
        self._waiting = True
        try:
            yield
        except KeyboardInterrupt:
            if not self.signal:
                raise
        finally:
            self._waiting = False


def run_job(  # noqa: PLR0913 - load_job's, and who listens
    job: JobLike,
    *,
    variables: Mapping[str, str] | Sequence[str] = (),
    sets: Mapping[str, Any] | Sequence[str] = (),
    config: ConfigLike = None,
    limit: Sequence[str] = (),
    secrets: Mapping[str, str] | None = None,
    listener: notify.Listener = notify.nobody,
    stdout: IO[str] | None = None,
    stop: Stop | None = None,
) -> Report:
    """Run a job: a file, a mapping of the same structure, or a `Job` from `load_job`.

    Runs the exporters that the job names and no others, and prints nothing of its own; `to: "-"` writes to `stdout`
    (default `sys.stdout`). `listener` hears the events of the run. The other parameters are `load_job`'s.

    Raises `RequestError` when the job is wrong. What goes wrong later is in the report: missing data in `coverage`,
    an export that failed in `warnings`, and the sum of it in `exit_code`.
    """
    loaded = load_job(job, variables=variables, sets=sets, config=config, limit=limit, secrets=secrets)
    if isinstance(job, Mapping) and not job.get("export"):
        loaded = replace(loaded, export=())  # what a job prints by default is for the people who play it
    return _Run(loaded, listener, stdout, stop).run()


def gather(job: Job, *, keep_entries: bool = False) -> Report:
    """Run a job without its exporters. With `keep_entries`, each hop of the report has its log entries."""
    return _Run(job, keep_entries=keep_entries).gather()


def steps(job: Job) -> list[str]:
    """The names of a job's steps, in order, as plan, events and timings call them."""
    return [*(f"source {source.name}" for source in job.source), "walk", *(f"export {e.name}" for e in job.export)]


def asked(find: Find) -> Find:
    """The question with what its files hold. Raises `RequestError` for one that cannot be read."""
    if find.keys_from:
        find = replace(find, keys=read_keys(find.keys_from, find.keys_column))
    if find.eml:
        letter = read_letter(find.eml)
        find = replace(find, letter=letter)
        if find.start is None and find.end is None:
            find = replace(find, start=letter.start, end=letter.end)
    return find


def planned(find: Find) -> Find:
    """The question with a word for what its files hold: a plan opens none."""
    if find.eml:
        return replace(find, letter=Letter((), message_ids=(f"each Message-ID and queue ID of {find.eml}",)))
    return replace(find, keys=(f"each key of {find.keys_from}",)) if find.keys_from else find


def _files(find: Find) -> list[str]:
    """What a question reads besides logs."""
    lines = []
    if find.keys_from:
        lines.append(f"any of the keys in {'standard input' if find.keys_from == '-' else find.keys_from}, in one walk")
    if find.eml:
        lines.append(f"the message in {'standard input' if find.eml == '-' else find.eml}, and its bounce")
    return lines


def plan(job: Job) -> list[str]:
    """What a run of the job would do, a line each. Opens no log, file or network."""
    out: list[str] = []
    out += [f"find {line}" for line in _files(job.find)]
    for description, source in zip(job.source, sources(job), strict=True):
        out.append(f"source {description.name}")
        try:
            out += [f"  {line}" for line in source.plan(first_query(planned(job.find)))]
        finally:
            _close(source)
    out.append("walk")
    out.append(f"  at most {job.walk.max_hops} hops and {job.walk.max_age / 86400:g} days around what is found")
    for export in job.export:
        out += [f"export {export.name}", f"  to {_destination(export)}"]
    out += [f"expect {expect.text or expect.name}" for expect in job.expect]
    if job.wait:
        out += ["wait", f"  at most {job.wait:g} s until every fate is final; then only what is new or open is asked"]
    return [job.redactor.redact(line) for line in out]


def _destination(export: Export) -> str:
    if export.name == "otlp":
        return Endpoint.of(export.options).url
    return "standard output" if export.to == "-" else export.to


def check(job: Job) -> list[Coverage]:
    """Verify access to everything that the job reads, and read nothing else."""
    out: list[Coverage] = []
    for description, source in zip(job.source, sources(job), strict=True):
        try:
            out += source.check()
        except DataError as error:
            out.append(_lost(description.name, error))
        finally:
            _close(source)
    return out


def checked(item: Coverage, zone: str = "") -> str:
    """What a check found of one log, in words: what is wrong, or from when to when it goes and by which clock."""
    if item.problem:
        return item.problem
    in_zone = named_zone(zone)
    span = [
        f"{datetime.fromtimestamp(time, timezone.utc).astimezone(in_zone):%Y-%m-%d %H:%M:%S %z}"
        for time in (item.first, item.last)
        if time is not None
    ]
    facts = [f"({', '.join(item.names)})" if item.names else "", " to ".join(span), item.clock]
    return " ".join(["ok", *filter(None, facts[:1])]) + "".join(f"; {fact}" for fact in facts[1:] if fact)


def _close(source: Source) -> None:
    """Let go of what a source holds; what cannot be closed ends with the process."""
    with suppress(Exception):
        source.close()


class _Run:
    """One run of one job, from its first step to its last."""

    def __init__(
        self,
        job: Job,
        listener: notify.Listener = notify.nobody,
        stdout: IO[str] | None = None,
        stop: Stop | None = None,
        *,
        keep_entries: bool = False,
    ) -> None:
        self.job = job = replace(job, find=asked(job.find))
        for export in job.export:
            _known(export)
        self.keep_entries = keep_entries or any(export.options.get("entries") for export in job.export)
        self.kept: list[LogEntry] | None = [] if any(export.name == "bundle" for export in job.export) else None
        self.sources = self._open()
        self.tell = listener
        self.stdout = stdout
        self.stop = stop or Stop()
        self.lost: list[Coverage] = []
        self.failed_exports = False
        self.entries = 0
        self.waves = 0
        self.told = 0.0
        self.deadline = float("inf")  # of a second look
        self.nothing: tuple[Walked, float] | None = None  # a walk that found no mail, and how long it took

    def _open(self) -> list[Source]:
        # Where every mail is meant, nothing looks at the lines again, and a day of them would fill the memory.
        first = first_query(self.job.find)
        everything = not (first.all_of or first.any_of)
        # The lines of connections are as many as those of mails: they are read where TLS is asked for.
        self.tls = wants_tls(self.job.expect)
        keep_raw = self.keep_entries or self.kept is not None or not everything
        return sources(self.job, self._read, keep_raw=keep_raw, sessions=self.tls)

    def run(self) -> Report:
        """All steps. Exporters run also when data is missing or the search was stopped."""
        with _no_collection():
            return self._run()

    def _run(self) -> Report:
        report = self.gather()
        if self.kept is not None:
            report.case = make_case(self.job, self.kept, report, lambda path: gather(load_job(path)))
        self._announce(report)
        for export in self.job.export:
            self._export(export, report)
        report.exit_code = self.exit_code(report)
        self.tell(notify.ReportDone(len(report.mails), report.partial, report.exit_code))
        return report

    def gather(self) -> Report:
        """The report, shown to nobody yet: the first, or where the job waits the one in which every fate is final."""
        patience, memory = Patience(self.job.wait, self.job.expect), Memory()
        report = self._answer(memory)
        while not self.stop.signal and (pause := patience.pause(report)):
            self.tell(notify.Waiting(len(report.mails), unsettled(report.mails), pause, patience.left))
            if self.stop.asleep(pause):
                report.partial, report.exit_code = True, self.exit_code(report)
                return report
            self.sources, self.lost = self._open(), []  # logs have grown, or were rotated
            report = self._answer(memory)
        if self.job.wait and self.nothing is not None:
            self.sources = self._open()
            try:
                self._look_again(report)
            finally:
                for source in self.sources:
                    _close(source)
        if self.job.wait and not report.partial and (still := unsettled(report.mails)):
            said = f"the time to wait is over, and the fate of {still} of the recipients is not final"
            report.warnings.append(Warning_("wait-over", said))
        return report

    def _answer(self, memory: Memory) -> Report:
        """What the logs show now."""
        inventory = self.job.inventory
        report = Report(
            name=self.job.name,
            kind=self.job.kind,
            start=self.job.find.start,
            end=self.job.find.end,
            zone=self.job.find.zone,
            outside=frozenset(name for name in inventory.names if not inventory.own(name)),
            warnings=list(self.job.warnings),
        )
        try:
            with _no_collection():
                self._walk(report, memory)
        finally:
            for source in self.sources:
                _close(source)
        report.partial = bool(self.stop.signal)
        report.expectations = judge(report, self.job.expect)
        report.exit_code = self.exit_code(report)
        return report

    def exit_code(self, report: Report) -> int:
        """The first that applies of the manual's table."""
        if self.stop.signal:
            return Interrupted(self.stop.signal).exit_code
        if self.failed_exports:
            return ExportError.exit_code
        if self.job.on_unreachable != "warn" and any(item.missing for item in report.coverage):
            return DataError.exit_code
        found = bool(report.mails) or wants_nothing(self.job.expect)
        return 0 if found and all(expectation.held for expectation in report.expectations) else 1

    def _walk(self, report: Report, memory: Memory) -> None:
        scene = Scene(
            ask=self.ask,
            fleet=_Fleet(self.job.inventory, self.sources),
            covered=self._covered,
            samples=lambda: [entry for source in self.sources for entry in source.samples()],
            now=_now(self.job),
            keep_entries=self.keep_entries,
            tls=self.tls,
            lives=not (self.keep_entries or self.kept is not None or self.tls),
        )
        with notify.step(self.tell, "walk") as outcome:
            began = time.monotonic()
            found = walk(self.job.find, self.job.walk, scene, memory if self.job.wait else None)
            report.mails, report.clocks, report.keys = found.mails, found.clocks, found.keys
            report.warnings += found.warnings
            if letter := self.job.find.letter:
                hops = [(hop.id, hop.queue_id, hop.first) for mail in report.mails for hop in mail.hops]
                report.headers = [known_hops(sheet, hops) for sheet in letter.sheets]
                report.warnings += [Warning_("eml-cut", note) for note in letter.notes]
            outcome.detail = f"{len(report.mails)} mails of {self.entries} log lines"
        if not report.mails and self._covered() and self._rotated_unread():
            report.warnings.append(Warning_("no-window", "only the logs named were read; --since reaches rotated ones"))
        redact = self.job.redactor.redact
        report.coverage = [*(item for source in self.sources for item in source.coverage()), *self.lost]
        for item in report.coverage:
            item.problem = redact(item.problem)
        self.nothing = None if report.mails else (found, time.monotonic() - began)
        if not self.job.wait:
            self._look_again(report)

    def _look_again(self, report: Report) -> None:
        """Where nothing was found and something should have been, tell what is near."""
        if self.nothing is not None and not self.stop.signal and not wants_nothing(self.job.expect):
            found, seconds = self.nothing
            # Where no log could be read, nobody knows what is near.
            if not report.coverage or not all(item.missing for item in report.coverage):
                report.hints = self._hints(found, report, seconds)

    def _rotated_unread(self) -> bool:
        """Whether rotated logs, which only a window reaches, may lie beside those that were read."""
        find = self.job.find
        logs = [log for source in self.job.source if isinstance(source, FilesSource | SshSource) for log in source.logs]
        files = any(name not in ("-", "journal") for log in logs for name in log.log_files)
        return files and find.start is None and find.end is None

    def _announce(self, report: Report) -> None:
        alike: dict[tuple[str, str], list[str]] = {}
        for item in report.coverage:
            if item.problem:
                alike.setdefault(("missing-data" if item.missing else "log", item.problem), []).append(item.host)
        for (code, problem), hosts in alike.items():
            if len(hosts) > MANY:
                self.tell(notify.Warning(code, f"{len(hosts)} hosts: {problem} ({', '.join(hosts[:MANY])} …)"))
                continue
            for host in hosts:
                self.tell(notify.Warning(code, problem, host))
        for warning in report.warnings:
            self.tell(notify.Warning(warning.code, warning.message, warning.host))
        for hint in report.hints:
            self.tell(notify.Warning(hint.code, hint.message))
        for mail in report.mails if notify.wants_mails(self.tell) else ():
            self.tell(notify.MailFound(mail.id, mail.message_id or None, mail.sender, len(mail.recipients)))
        for came in report.expectations:
            self.tell(notify.Expectation(came.text, came.held, came.detail or None, came.place))

    def _covered(self) -> dict[str, tuple[float, float]]:
        """What each host's log covers, as far as the sources know by now."""
        out: dict[str, tuple[float, float]] = {}
        for item in (item for source in self.sources for item in source.coverage()):
            if item.host and item.first is not None and item.last is not None:
                first, last = out.get(item.host, (item.first, item.last))
                out[item.host] = (min(first, item.first), max(last, item.last))
        return out

    def ask(self, *queries: LogQuery) -> Iterator[LogEntry]:
        """Put the questions of one wave to every source. A source that fails as a whole costs itself only."""
        self.waves += 1
        return chain.from_iterable(
            chunk
            for description, source in zip(self.job.source, self.sources, strict=True)
            for chunk in self._counted(source, queries, description.name)
        )

    def _counted(self, source: Source, queries: Sequence[LogQuery], name: str) -> Iterator[list[LogEntry]]:
        """Ask one source, and tell what came of it."""
        began = time.perf_counter()
        lines = Counter(dict.fromkeys((host for query in queries for host in query.hosts), 0))
        for chunk in self._ask(source, queries, name):
            lines.update(map(attrgetter("host"), chunk))
            for entry in chunk if any(query.lives for query in queries) else ():
                more = lines_of(entry) - 1
                lines[entry.host] += more
                self.entries += more
            yield chunk
        hosts = () if any(not query.hosts for query in queries) else tuple(lines)
        seconds = time.perf_counter() - began
        self.tell(notify.Asked(name, self.waves, len(queries), hosts, dict(lines), seconds))

    def _ask(self, source: Source, queries: Sequence[LogQuery], name: str) -> Iterator[list[LogEntry]]:
        together = getattr(source, "queries", None)  # what asks many machines asks them at once
        entries = iter(together(queries) if together else chain.from_iterable(map(source.query, queries)))
        more = not self.stop.signal
        while more:
            # `extend` keeps what came before an interruption or an error, a list made at once would not.
            chunk: list[LogEntry] = []
            try:
                with self.stop.waiting():
                    chunk.extend(islice(entries, CHUNK))
                more = len(chunk) == CHUNK and not self.stop.signal
            except DataError as error:
                lost = _lost(name, error)
                self.lost += [] if lost in self.lost else [lost]  # it fails again in every wave
                more = False
            except _Late:
                more = False
            self.entries += len(chunk)
            if self.kept is not None:
                self.kept += chunk
            yield chunk

    def _hints(self, found: Walked, report: Report, seconds: float) -> list[Hint]:
        """What is near where nothing was found, in about the time that the search took."""
        fleet = _Fleet(self.job.inventory, self.sources)
        until = time.monotonic() + SECOND_LOOK + seconds

        def read(query: LogQuery, most: int) -> list[LogEntry]:
            if time.monotonic() >= until:
                return []
            self.deadline = until
            try:
                return list(islice(self.ask(query), most))
            finally:
                self.deadline = float("inf")

        def moments(entries: Sequence[LogEntry]) -> list[float]:
            samples = [entry for source in self.sources for entry in source.samples()]
            assembly = assemble(entries, fleet, near=_now(self.job), samples=lambda: samples)
            return [assembly.utc(entry) for entry in entries]

        own = {name for name in self.job.inventory.names if self.job.inventory.own(name)}
        asked = {host for source in self.job.source for host in source.hosts} | {item.host for item in report.coverage}
        remote = any(isinstance(source, SshSource) for source in self.job.source)
        everyone = any(not source.hosts for source in self.job.source)
        scope = frozenset(own if everyone else asked)
        return hints(self.job.find, found, Look(read, moments, self._covered, scope, frozenset(own), not remote))

    def _read(self, done: int, total: int) -> None:
        """Hear from a source how far its files are read; pass it on some ten times a second."""
        now = time.monotonic()
        if now > self.deadline:
            raise _Late
        if now - self.told >= PROGRESS_SECONDS:
            self.told = now
            self.tell(notify.Progress("walk", done, total, "bytes"))

    def _export(self, export: Export, report: Report) -> None:
        """Run one exporter; when its result can't be written, the others still run."""
        with notify.step(self.tell, f"export {export.name}") as outcome:
            try:
                outcome.detail = write(_exporter(export), report, export.to, self.stdout or sys.stdout)
            except ExportError as error:
                self.failed_exports = True
                text = self.job.redactor.redact(str(error))
                outcome.failed(text)
                report.warnings.append(Warning_("export-failed", text))
                self.tell(notify.Warning("export-failed", text))


class _Late(Exception):  # noqa: N818 - nothing is wrong
    """The time for a second look is over."""


class _Fleet:
    """The inventory, and the zones that hosts tell of themselves where none is configured."""

    def __init__(self, inventory: Inventory, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._inventory = inventory
        self.own, self.find = inventory.own, inventory.find

    @property
    def names(self) -> Iterable[str]:
        return self._inventory.names

    @property
    def domain(self) -> str:
        return self._inventory.domain

    def zone(self, host: str) -> str:
        told = (source.zone(host) for source in self._sources if hasattr(source, "zone"))
        return self._inventory.zone(host) or next(filter(None, told), "")


def _now(job: Job) -> float:
    return time.time() if job.now is None else job.now


def _lost(source: str, error: DataError) -> Coverage:
    return Coverage(host=error.host, source=source, problem=str(error), missing=True)


@contextmanager
def _no_collection() -> Iterator[None]:
    """No search for cyclic garbage: among a log's millions of entries, in no cycle, it takes half the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


# -------------------------------------------------------------------------------------------- registries


def sources(
    job: Job, progress: Callable[[int, int], None] | None = None, *, keep_raw: bool = False, sessions: bool = False
) -> list[Source]:
    """The sources of a job, in its order; nothing is opened yet.

    `progress` hears the bytes read and the bytes to read; with `keep_raw` every entry has its line, with `sessions`
    the lines of connections are entries too. Raises
    `RequestError` for a source that is not installed.
    """
    parsers = _parsers(job, keep_raw=keep_raw, sessions=sessions)
    return [_source(description, job, parsers, progress) for description in job.source]


def _source(
    description: Described,
    job: Job,
    parsers: Callable[[HostLogs], Parser],
    progress: Callable[[int, int], None] | None,
) -> Source:
    try:
        known = source_class(description.name)
    except KeyError:
        what = f"logs cannot be read by {description.name}"
        hint = f"this mailtrace reads {', '.join(SOURCES)}; name logs with --log [HOST=]PATH, or use method: files"
        raise RequestError([Problem(what, path="source", hint=hint)]) from None
    made: Source
    if isinstance(description, FilesSource):
        made = known(description.logs, parsers, job.inventory, base=Path.cwd(), now=_now(job), progress=progress)
    elif isinstance(description, OtherSource):
        made = known(description.hosts, parsers, job.inventory, **description.options)
    elif isinstance(description, SshSource):
        made = known(description.logs, parsers, job.inventory, access=description.access, progress=progress)
    else:
        made = known(description.hosts, parsers, job.inventory, access=description.access, progress=progress)
    return made


def _parsers(job: Job, *, keep_raw: bool, sessions: bool) -> Callable[[HostLogs], Parser]:
    """What makes the parser of a host's log: the host's own `log_parser` leads, then come the job's."""
    formats = [parse.name for parse in job.parse]
    hint = next((parse.time_format for parse in job.parse if parse.time_format), "")

    def make(logs: HostLogs) -> Parser:
        names = [logs.log_parser] if logs.log_parser else formats
        return make_parser(names, logs.time_format or hint, keep_raw, sessions=sessions)

    return make


def _known(export: Export) -> None:
    """Raise `RequestError` for an exporter that this version lacks, before any work is done for it."""
    try:
        exporter_class(export.name)
    except ExportError as error:
        raise RequestError([Problem(str(error))]) from None


def _exporter(export: Export) -> Any:
    return make_exporter(export.name, **export.options)
