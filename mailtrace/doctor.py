"""`mailtrace doctor`: whether all is there that a trace needs, a line for each thing looked at, with the cure."""

from __future__ import annotations

import platform
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from mailtrace.errors import MailtraceError, RequestError
from mailtrace.job import Find
from mailtrace.run import check, gather
from mailtrace.versions import EXTRAS, GRAPHVIZ, graphviz, libraries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailtrace.job import Job
    from mailtrace.model import ClockNote, Coverage

DAY = 86400.0
NOBODY = "mailtrace-doctor-asks-for-no-mail"
"""A text that no log has: asking for it shows what the logs cover and how their clocks go, and finds nothing."""
SKEW = 5.0
"""Seconds that a clock may be wrong before it is said; hand-offs take about as long."""


WHICH = "is this the log that the server writes?"


class Finding(NamedTuple):
    """One thing looked at: `code` is the exit code that it stands for, None for a warning, 0 where all is well."""

    what: str
    text: str
    cure: str = ""
    code: int | None = 0

    def __str__(self) -> str:
        """`fail  access mx1: …; cure`."""
        level = "ok" if self.code == 0 else "warn" if self.code is None else "fail"
        return f"{level:<5} {self.what}: {self.text}" + (f"; {self.cure}" if self.cure else "")


def findings(load: Callable[[], Job]) -> Iterator[Finding]:
    """Everything, in the order in which it would be needed; `load` reads config and job."""
    yield from _parts()
    try:
        job = load()
    except RequestError as error:
        for problem in error.problems:
            what = replace(problem, hint="", excerpt="").text
            yield Finding("config", what, problem.hint, RequestError.exit_code)
        return
    yield from _config(job)
    try:
        for finding in (*_access(job), *_last_day(job)):
            yield finding._replace(text=job.redactor.redact(finding.text))
    except MailtraceError as error:
        yield Finding("access", job.redactor.redact(str(error)), code=error.exit_code)


def _parts() -> Iterator[Finding]:
    found = libraries()
    there = f"Python {platform.python_version()}, {sum(bool(part.version) for part in found)} libraries"
    yield Finding("versions", f"{there}, as mailtrace --version lists them")
    for part in found:
        if not part.version:
            needed = f"{EXTRAS[part.extra]} needs it" if part.extra else "mailtrace needs it"
            cure = f"pip install -e '.[{part.extra}]' in the checkout" if part.extra else "install mailtrace again"
            yield Finding(part.name, f"not installed: {needed}", cure, None)
    dot = graphviz()
    cure, code = ("", 0) if dot.version else (GRAPHVIZ, None)
    yield Finding("Graphviz", dot.version or "not installed: pictures (.svg, .png) need it", cure, code)


def _config(job: Job) -> Iterator[Finding]:
    config = job.config
    where = str(config.path) if config.path else "this machine's own logs, or those of the command line"
    yield Finding("config", f"{where}: method {config.method}")
    hosts = len(tuple(job.inventory.names))
    clusters = len(config.clusters)
    yield Finding("names", f"{hosts} host{'s' * (hosts != 1)}, {clusters} cluster{'s' * (clusters != 1)}")
    for warning in job.warnings:
        yield Finding("names", warning.message, code=None)


def _access(job: Job) -> Iterator[Finding]:
    fine = job.on_unreachable == "warn"
    for item in check(job):
        names = f" ({', '.join(item.names)})" if item.names else ""
        code = None if fine else 3
        yield Finding(_of("access", item), item.problem or f"ok{names}", code=code if item.missing else 0)


def _of(what: str, item: Coverage) -> str:
    return f"{what} {item.host or item.source}"


def _last_day(job: Job) -> Iterator[Finding]:
    now = time.time()
    asked = replace(job, find=Find(keywords=(NOBODY,), start=now - DAY, end=now), export=(), expect=())
    report = gather(asked)
    # Who is missing is told above; of a host with several logs the one that says most.
    shown = sorted(report.coverage, key=lambda item: (bool(item.problem), item.last or 0.0))
    items = {item.host: item for item in shown}
    yield from (_covered(item, now) for item in items.values() if not item.missing)
    for host in dict.fromkeys(host for source in job.source for host in source.hosts):
        if host not in items:
            yield Finding(f"last day {host}", "no line as young as that", WHICH, None)
    for clock in report.clocks:
        yield _clock(clock)


def _covered(item: Coverage, now: float) -> Finding:
    what = _of("last day", item)
    if item.last is None:
        return Finding(what, item.problem or "no line at all", WHICH, None)
    ago = max(0.0, now - item.last)
    if ago > DAY:
        return Finding(what, f"the last line is {_span(ago)} old", WHICH, None)
    if item.problem:
        return Finding(what, item.problem, code=None)
    began = "" if item.first is None else f"begins {_span(now - item.first)} ago, "
    return Finding(what, f"{began}last line {_span(ago)} ago")


def _clock(clock: ClockNote) -> Finding:
    what = f"clock {clock.host}"
    if abs(clock.skew_seconds) > SKEW:
        way = "ahead" if clock.skew_seconds > 0 else "behind"
        said = f"{abs(clock.skew_seconds):.0f} s {way} of the others; mailtrace corrects for it"
        return Finding(what, said, "let NTP set the server's clock", None)
    if clock.offset is None:
        return Finding(what, "stamps carry their zone")
    zone = f"stamps are {clock.offset / 3600:+g} h from UTC"
    if clock.proved_by in ("assumed", "machine"):
        cure = f"if that is wrong: hosts: {{{clock.host}: {{time_zone: Europe/Berlin}}}} in the config"
        return Finding(what, f"{zone}, which nothing in the log proves", cure, None)
    return Finding(what, f"{zone}, proved by {clock.proved_by}")


def _span(seconds: float) -> str:
    """A duration as people say it."""
    for size, name in ((DAY, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{max(0.0, seconds):.0f} s"
