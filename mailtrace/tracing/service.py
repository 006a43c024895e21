"""The process around the rounds: one for each state, that stops, reloads and tells how it goes.

As a service, in `/etc/systemd/system/mailtrace.service`:

    [Unit]
    Description=Mails as OpenTelemetry traces
    After=network-online.target

    [Service]
    Type=notify-reload
    ExecStart=/usr/local/bin/mailtrace tracing -c /etc/mailtrace.yaml --otel-endpoint http://localhost:4317
    DynamicUser=yes
    SupplementaryGroups=adm systemd-journal
    StateDirectory=mailtrace
    Environment=XDG_STATE_HOME=/var/lib
    WatchdogSec=5min
    Restart=on-failure

    [Install]
    WantedBy=multi-user.target

It tells systemd when it is ready and that it is alive; `systemctl reload` makes it read its configuration again, and
`systemctl stop` ends it within seconds. Nothing is lost by a restart: what was read, what is under way and what is not
sent yet is in the state.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mailtrace.errors import DataError, MailtraceError
from mailtrace.otlp.client import Client
from mailtrace.run import sources
from mailtrace.tracing import status, systemd
from mailtrace.tracing.continuous import Rounds, Scene
from mailtrace.tracing.handover import Handover
from mailtrace.tracing.lock import locked
from mailtrace.tracing.metrics import Figures, Metrics
from mailtrace.tracing.signals import Signals
from mailtrace.tracing.state import State, default_path
from mailtrace.tracing.status import Round
from mailtrace.tracing.target import addresses_of, endpoint_of, maker

if TYPE_CHECKING:
    from mailtrace.job import Job

TROUBLE = 5.0
"""Seconds before another round after one that failed as a whole (a full disk), at least."""


@dataclass(frozen=True)
class Voice:
    """Who is told what: `warn` and `inform` take messages, `show` the line that tells how it goes."""

    warn: Callable[[str], None]
    inform: Callable[[str], None]
    show: Callable[[str], None]


def state_path(job: Job) -> Path:
    """The file that a job's state is kept in."""
    return Path(job.tracing.state) if job.tracing.state else default_path(job.config.path)


def plan(job: Job) -> list[str]:
    """What a run would do, a line each, without opening a log, a file or the network."""
    out = ["follow, from the place that the state tells"]
    for source in job.source:
        logs = getattr(source, "logs", ())
        out += [f"  {source.name} {log.host or 'every host in it'}: {', '.join(log.log_files)}" for log in logs]
        if not logs:
            out.append(f"  {source.name}: {', '.join(source.hosts) or 'every host in it'}")
    tracing = job.tracing
    often = "once" if job.bounds.once else f"every {tracing.sleep_seconds:g} s"
    out += [f"round {often}", f"  a mail is sent after {tracing.hold_rounds} rounds without a new line of it"]
    out += ["export otlp", f"  to {endpoint_of(job).url}", "state", f"  in {state_path(job)}"]
    return [job.redactor.redact(line) for line in out]


def report(job: Job) -> Iterable[str]:
    """What the state of a job tells. Raises `DataError` where there is none."""
    path = state_path(job)
    if not path.exists():
        raise DataError(f"state {path}: there is none: tracing was never run with this config")
    state = State(path, read_only=True)
    try:
        return list(status.report(state))
    finally:
        state.close()


class Service:
    """Follows what a job says until it is stopped, or has done what it was asked for."""

    def __init__(self, load: Callable[[], Job], voice: Voice) -> None:
        """`load` gives the job, again after each SIGHUP."""
        self._load = load
        self._voice = voice
        self._signals = Signals()
        self._watchdog = systemd.Watchdog()
        self._job = load()
        self._said: dict[str, str] = {}

    def run(self) -> int:
        """Go round; returns the exit code."""
        with ExitStack() as stack:
            stack.callback(self._signals.close)
            stack.enter_context(self._signals.heard())
            path = state_path(self._job)
            stack.enter_context(locked(path))
            state = State(path)
            stack.callback(state.close)
            code = self._run(state, self._since(state))
        systemd.notify(STOPPING="1")
        return code

    def _since(self, state: State) -> float | None:
        """From when on lines count: as the first run was told."""
        known = state.meta().get("since")
        wanted = self._job.bounds.since
        if known is None:
            with state.transaction():
                state.set_meta("since", "" if wanted is None else repr(wanted))
            return wanted
        if wanted is not None and repr(wanted) != known:
            self._voice.warn(f"--since is for a first run: state {state.path} knows where to go on")
        return float(known) if known else None

    def _run(self, state: State, since: float | None) -> int:
        endpoint = endpoint_of(self._job)
        handover = Handover(state, Client(endpoint), self._voice.warn, self._signals.stop.waiting)
        self._metrics = Metrics(endpoint, Figures(before=state.counters()))
        try:
            rounds = self._rounds(state, handover, since)
            systemd.notify(READY="1", STATUS="reading")
            code, rounds = self._go(state, rounds, handover, since)
            for source in rounds.sources.values():
                source.close()
        finally:
            handover.close()
            self._metrics.close()
        return code

    def _rounds(self, state: State, handover: Handover, since: float | None) -> Rounds:
        job = self._job
        made = {each.name: source for each, source in zip(job.source, sources(job), strict=True)}
        for source in made.values():
            if hasattr(source, "go_back"):
                source.go_back = job.tracing.go_back_seconds
        bounds = replace(job.bounds, since=since)
        hold = 0 if bounds.once else job.tracing.hold_rounds
        scene = Scene(
            state,
            made,
            job.inventory,
            maker(addresses_of(job)),
            handover,
            pulse=self._watchdog,
            stop=self._signals.stop,
            seen=self._metrics.seen,
        )
        return Rounds(scene, bounds, hold)

    def _go(self, state: State, rounds: Rounds, handover: Handover, since: float | None) -> tuple[int, Rounds]:
        """Round after round; returns the exit code, and the rounds as they were at last."""
        bounds = self._job.bounds
        while True:
            done = rounds.go()
            self._tell(state, done, rounds, handover)
            if self._signals.stopped():
                return self._stopped(handover), rounds
            over = bounds.until is not None and time.time() >= bounds.until and not done.failed
            if over:
                done = replace(rounds.finish(), lines=done.lines, problems=done.problems)
            if bounds.once or over:
                handover.send(self._signals.stopped, at_once=True)
                self._tell(state, done, rounds, handover)
                return self._ended(done, handover), rounds
            self._wait(handover, max(self._job.tracing.sleep_seconds, TROUBLE if done.failed else 0.0))
            if self._signals.stopped():
                return self._stopped(handover), rounds
            if self._signals.reload:
                self._signals.reload = False
                rounds = self._reload(state, rounds, handover, since)
                bounds = self._job.bounds

    def _wait(self, handover: Handover, seconds: float) -> None:
        """Sleep between two rounds; what could not be sent is tried again meanwhile."""
        end = time.monotonic() + seconds
        while not (self._signals.stopped() or self._signals.reload):
            self._watchdog()
            left = end - time.monotonic()
            if left <= 0:
                return
            times = [left, *([self._watchdog.seconds / 2] if self._watchdog.seconds else [])]
            if handover.wait is not None:
                times.append(max(handover.wait, 0.05))
            self._signals.sleep(min(times))
            handover.send(lambda: self._signals.stopped() or self._signals.reload)

    def _reload(self, state: State, rounds: Rounds, handover: Handover, since: float | None) -> Rounds:
        """Read the configuration again; the old one stays where the new one is wrong."""
        systemd.reloading()
        try:
            job = self._load()
        except MailtraceError as error:
            self._voice.warn(f"the configuration is not taken over: {error}")
        else:
            if state_path(job) != state.path:
                self._voice.warn("the state stays where it is: another file needs a restart")
            self._job = job
            for source in rounds.sources.values():
                source.close()
            endpoint = endpoint_of(job)
            handover.turn_to(Client(endpoint))
            self._metrics.close()
            self._metrics = Metrics(endpoint, self._metrics.figures)
            rounds = self._rounds(state, handover, since)
            self._voice.inform("the configuration was read again")
        systemd.notify(READY="1")
        return rounds

    def _tell(self, state: State, done: Round, rounds: Rounds, handover: Handover) -> None:
        """Say how a round went: a line, and each trouble once until it is over."""
        for name, text in done.problems.items():
            if self._said.get(name) != text:
                self._voice.warn(text)
        for name in set(self._said) - set(done.problems):
            self._voice.warn(f"{name}: can be read again")
        self._said = dict(done.problems)
        if done.failed:
            self._voice.warn(f"{done.failed}; nothing is lost: the round is done again")
            return
        now = time.time()
        figures = self._metrics.figures
        figures.counters, figures.problems, figures.waiting = state.counters(), len(done.problems), handover.waiting
        figures.lag = {name: now - reached for name, reached in rounds.reached.items()}
        figures.open = state.under_way()
        reached = max(rounds.reached.values(), default=None)
        said = status.line(done, state, handover.waiting, reached, now)
        self._voice.show(said)
        systemd.notify(STATUS=said)

    def _stopped(self, handover: Handover) -> int:
        waiting = f"; {handover.waiting:,} spans wait to be sent" if handover.waiting else ""
        self._voice.warn(f"stopped; the next run goes on from here{waiting}")
        return 128 + self._signals.stop.signal

    def _ended(self, done: Round, handover: Handover) -> int:
        if done.failed or handover.waiting:
            if handover.waiting:
                self._voice.warn(f"{handover.waiting:,} spans wait in the state for the next run: {handover.trouble}")
            return 4
        return 3 if done.problems and self._job.on_unreachable != "warn" else 0
