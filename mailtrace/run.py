"""run_job: Job → Report. The named steps of a run, what each asks for, who is told, and how it all came out."""

from __future__ import annotations

import gc
import os
import stat
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mailtrace import notify
from mailtrace.errors import DataError, ExportError, Interrupted, RequestError
from mailtrace.expect import judge, wants_nothing
from mailtrace.exporters import exporter as exporter_class
from mailtrace.exporters import make as make_exporter
from mailtrace.job import FilesSource, Job, OtherSource, SshSource
from mailtrace.load import ConfigLike, JobLike, load_job
from mailtrace.model import Coverage, LogEntry, LogQuery, Warning_
from mailtrace.parsers import make_parser
from mailtrace.problem import Problem
from mailtrace.report import Report
from mailtrace.sources import SOURCES, source_class
from mailtrace.walk import Scene, criteria, first_query, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mailtrace.hosts import Inventory
    from mailtrace.job import Export
    from mailtrace.job import Source as Described
    from mailtrace.model import HostLogs, Parser, Source

CHUNK = 512
"""Entries taken from a source at a time: between two chunks a run can be stopped and tells how far it is."""
PROGRESS_SECONDS = 0.1


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


def plan(job: Job) -> list[str]:
    """What a run of the job would do, a line each. Opens no log, file or network."""
    out: list[str] = []
    for description, source in zip(job.source, sources(job), strict=True):
        out.append(f"source {description.name}")
        out += [f"  {line}" for line in source.plan(first_query(job.find))]
    out.append("walk")
    out.append(f"  at most {job.walk.max_hops} hops and {job.walk.max_age / 86400:g} days around what is found")
    for export in job.export:
        out += [f"export {export.name}", f"  to {'standard output' if export.to == '-' else export.to}"]
    out += [f"expect {expect.text or expect.name}" for expect in job.expect]
    return [job.redactor.redact(line) for line in out]


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
        self.job = job
        for export in job.export:
            _known(export)
        self.keep_entries = keep_entries or any(export.options.get("entries") for export in job.export)
        # Where every mail is meant, nothing looks at the lines again, and a day of them would fill the memory.
        everything = not any(literal for literal, _ in criteria(job.find)) and not job.find.any_of
        self.sources = sources(job, self._read, keep_raw=self.keep_entries or not everything)
        self.tell = listener
        self.stdout = stdout
        self.stop = stop or Stop()
        self.lost: list[Coverage] = []
        self.failed_exports = False
        self.entries = 0
        self.told = 0.0

    def run(self) -> Report:
        """All steps. Exporters run also when data is missing or the search was stopped."""
        with _no_collection():
            return self._run()

    def _run(self) -> Report:
        report = self.gather()
        self._announce(report)
        for export in self.job.export:
            self._export(export, report)
        report.exit_code = self.exit_code(report)
        self.tell(notify.ReportDone(len(report.mails), report.partial, report.exit_code))
        return report

    def gather(self) -> Report:
        """The report, shown to nobody yet."""
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
                self._walk(report)
        finally:
            for source in self.sources:
                _close(source)
        report.partial = bool(self.stop.signal)
        report.expectations = judge(report, self.job.expect)
        report.exit_code = self.exit_code(report)
        return report

    def exit_code(self, report: Report) -> int:
        """The first that applies of the README's table."""
        if self.stop.signal:
            return Interrupted(self.stop.signal).exit_code
        if self.failed_exports:
            return ExportError.exit_code
        if self.job.on_unreachable != "warn" and any(item.missing for item in report.coverage):
            return DataError.exit_code
        found = bool(report.mails) or wants_nothing(self.job.expect)
        return 0 if found and all(expectation.held for expectation in report.expectations) else 1

    def _walk(self, report: Report) -> None:
        scene = Scene(
            ask=self.ask,
            fleet=_Fleet(self.job.inventory, self.sources),
            covered=self._covered,
            samples=lambda: [entry for source in self.sources for entry in source.samples()],
            now=time.time(),
            keep_entries=self.keep_entries,
        )
        with notify.step(self.tell, "walk") as outcome:
            found = walk(self.job.find, self.job.walk, scene)
            report.mails, report.clocks = found.mails, found.clocks
            report.warnings += found.warnings
            outcome.detail = f"{len(report.mails)} mails of {self.entries} log lines"
        if not report.mails and self._rotated_unread():
            report.warnings.append(Warning_("no-window", "only the logs named were read; --since reaches rotated ones"))
        redact = self.job.redactor.redact
        report.coverage = [*(item for source in self.sources for item in source.coverage()), *self.lost]
        for item in report.coverage:
            item.problem = redact(item.problem)

    def _rotated_unread(self) -> bool:
        """Whether rotated logs, which only a window reaches, may lie beside those that were read."""
        find = self.job.find
        logs = [log for source in self.job.source if isinstance(source, FilesSource | SshSource) for log in source.logs]
        files = any(name not in ("-", "journal") for log in logs for name in log.log_files)
        return files and find.start is None and find.end is None

    def _announce(self, report: Report) -> None:
        for item in report.coverage:
            if item.problem:
                self.tell(notify.Warning("missing-data" if item.missing else "log", item.problem, item.host))
        for warning in report.warnings:
            self.tell(notify.Warning(warning.code, warning.message, warning.host))
        for mail in report.mails:
            self.tell(notify.MailFound(mail.id, mail.message_id or None, mail.sender, len(mail.recipients)))
        for came in report.expectations:
            self.tell(notify.Expectation(came.text, came.held, came.detail or None))

    def _covered(self) -> dict[str, tuple[float, float]]:
        """What each host's log covers, as far as the sources know by now."""
        out: dict[str, tuple[float, float]] = {}
        for item in (item for source in self.sources for item in source.coverage()):
            if item.host and item.first is not None and item.last is not None:
                first, last = out.get(item.host, (item.first, item.last))
                out[item.host] = (min(first, item.first), max(last, item.last))
        return out

    def ask(self, query: LogQuery) -> Iterator[LogEntry]:
        """Put one question to every source. A source that fails as a whole costs itself only."""
        for description, source in zip(self.job.source, self.sources, strict=True):
            yield from self._ask(source, query, description.name)

    def _ask(self, source: Source, query: LogQuery, name: str) -> Iterator[LogEntry]:
        entries = iter(source.query(query))
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
            self.entries += len(chunk)
            yield from chunk

    def _read(self, done: int, total: int) -> None:
        """Hear from a source how far its files are read; pass it on some ten times a second."""
        now = time.monotonic()
        if now - self.told >= PROGRESS_SECONDS:
            self.told = now
            self.tell(notify.Progress("walk", done, total, "bytes"))

    def _export(self, export: Export, report: Report) -> None:
        """Run one exporter; when its result can't be written, the others still run."""
        with notify.step(self.tell, f"export {export.name}") as outcome:
            try:
                _write(export, report, self.stdout or sys.stdout)
            except ExportError as error:
                self.failed_exports = True
                text = self.job.redactor.redact(str(error))
                outcome.failed(text)
                report.warnings.append(Warning_("export-failed", text))
                self.tell(notify.Warning("export-failed", text))


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


# --------------------------------------------------------------------------------------------- writing


def _write(export: Export, report: Report, stdout: IO[str]) -> None:
    """Show the report with one exporter where the job wants it. Raises `ExportError`."""
    exporter = _exporter(export)
    binary = getattr(exporter, "binary", False)
    where = "standard output" if export.to == "-" else export.to
    try:
        if export.to == "-":
            exporter.export(report, _bytes(stdout) if binary else stdout)
            stdout.flush()
        else:
            with _replacing(Path(export.to), binary=binary) as stream:
                exporter.export(report, stream)
    except BrokenPipeError:
        if export.to != "-":
            raise ExportError(f"cannot write {where}: its reader has gone") from None
        # Who reads our output has seen enough (`| head`): not an error.
        abandon(stdout)
    except OSError as error:
        if export.to == "-":
            abandon(stdout)
        raise ExportError(f"cannot write {where}: {error.strerror or error}") from None


def _bytes(stream: IO[str]) -> Any:
    """The binary side of a text stream. Raises `ExportError` for one that has none (a `StringIO`)."""
    with suppress(AttributeError):
        return stream.buffer  # type: ignore[attr-defined]
    raise ExportError("a picture cannot be written to a stream of text; give the export a file with `to`")


def abandon(stdout: IO[str]) -> None:
    """Let what is left in a stream's buffer go nowhere: Python would complain of it when the program ends."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stdout.fileno())
        os.close(nowhere)
        stdout.flush()


@contextmanager
def _replacing(path: Path, *, binary: bool) -> Iterator[IO[Any]]:
    """A stream whose text becomes the file at the end, whole or not at all; folders are made.

    A device, a pipe and the like is written as it is; a symbolic link stays one.
    """
    target = Path(os.path.realpath(path))
    how: dict[str, Any] = {} if binary else {"encoding": "utf-8", "errors": "backslashreplace", "newline": "\n"}
    mode = "wb" if binary else "w"
    if target.is_dir():
        raise IsADirectoryError(21, "it is a directory")
    if target.exists() and not target.is_file():
        with target.open(mode, **how) as stream:
            yield stream
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", dir=target.parent)
    new = Path(name)
    try:
        with os.fdopen(handle, mode, **how) as stream:
            yield stream
        new.chmod(_mode(target))
        new.replace(target)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise


def _mode(target: Path) -> int:
    """The permissions a file has, or would have if it were made the plain way."""
    with suppress(OSError):
        return stat.S_IMODE(target.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


# -------------------------------------------------------------------------------------------- registries


def sources(job: Job, progress: Callable[[int, int], None] | None = None, *, keep_raw: bool = False) -> list[Source]:
    """The sources of a job, in its order; nothing is opened yet.

    `progress` hears the bytes read and the bytes to read; with `keep_raw` every entry has its line. Raises
    `RequestError` for a source that is not installed.
    """
    parsers = _parsers(job, keep_raw=keep_raw)
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
        made = known(description.logs, parsers, job.inventory, base=Path.cwd(), now=time.time(), progress=progress)
    elif isinstance(description, OtherSource):
        made = known(description.hosts, parsers, job.inventory, **description.options)
    elif isinstance(description, SshSource):
        made = known(description.logs, parsers, job.inventory, access=description.access, progress=progress)
    else:
        made = known(description.hosts, parsers, job.inventory, access=description.access, progress=progress)
    return made


def _parsers(job: Job, *, keep_raw: bool) -> Callable[[HostLogs], Parser]:
    """What makes the parser of a host's log: the host's own `log_parser` leads, then come the job's."""
    formats = [parse.name for parse in job.parse]
    hint = next((parse.time_format for parse in job.parse if parse.time_format), "")

    def make(logs: HostLogs) -> Parser:
        names = [logs.log_parser] if logs.log_parser else formats
        return make_parser(names, logs.time_format or hint, keep_raw)

    return make


def _known(export: Export) -> None:
    """Raise `RequestError` for an exporter that this version lacks, before any work is done for it."""
    try:
        exporter_class(export.name)
    except ExportError as error:
        raise RequestError([Problem(str(error))]) from None


def _exporter(export: Export) -> Any:
    return make_exporter(export.name, **export.options)
