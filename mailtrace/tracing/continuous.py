"""Continuous tracing: rounds of reading what is new, assembling what it touches, handing over what is final.

A round reads every log from its place, in batches. Each batch is one transaction: the places, the lines of the mails
under way and the requests to be sent change together or not at all. So a crash, a full disk or a failed query loses
nothing and repeats nothing: the next round begins where the last transaction ended.
"""

from __future__ import annotations

import gc
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mailtrace.otlp.encode import encode
from mailtrace.run import Stop
from mailtrace.tracing import status
from mailtrace.tracing.mails import OpenMails
from mailtrace.tracing.query import Read, merged, tails_of
from mailtrace.tracing.status import Round

if TYPE_CHECKING:
    from mailtrace.job import Bounds
    from mailtrace.model import Fleet, LogEntry, Tail
    from mailtrace.otlp.record import Span
    from mailtrace.tracing.handover import Handover
    from mailtrace.tracing.state import State
    from mailtrace.tracing.target import Maker

BATCH = 5000
"""Entries that are worked on in one transaction."""
LOOKS = 500
"""Mails that are looked at in one transaction."""
FORGETS = 1000
"""Mails of a kind that are forgotten in one transaction."""
FIRST = 200_000
"""Entries that a first round reads, where it has so many, before it looks at mails: logs whose clocks are not known yet
are read side by side, and one that is ten minutes ahead comes that much too late."""


@dataclass(frozen=True)
class Scene:
    """All that a run works with.

    `pulse` is called now and then while a round runs, `stop` ends it; `seen` hears of the spans that are handed over.
    """

    state: State
    sources: Mapping[str, Any]
    fleet: Fleet
    make: Maker
    handover: Handover
    pulse: Callable[[], None] = lambda: None
    stop: Stop = field(default_factory=Stop)
    seen: Callable[[Sequence[Span]], None] = lambda _spans: None


@contextmanager
def seldom_collecting() -> Iterator[None]:
    """Let Python look for garbage less often: nearly all that a round makes is let go of at once.

    What it meets too soon it takes for lasting, and keeps.
    """
    before = gc.get_threshold()
    gc.set_threshold(200_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)


class Rounds:
    """Goes round. Everything that it must not forget is in the state."""

    def __init__(self, scene: Scene, bounds: Bounds, hold: int = 0) -> None:
        """A mail is looked at after `hold` rounds without a new line of it."""
        self.scene = scene
        self.sources, self._bounds, self._hold = scene.sources, bounds, hold
        self._state, self._fleet, self._make = scene.state, scene.fleet, scene.make
        self._handover = scene.handover
        self._pulse, self._stop = scene.pulse, scene.stop
        self._followed = {host for source in scene.sources.values() for host in source.hosts}
        self._mails = OpenMails(scene.state, scene.fleet, scene.make, self._followed)
        self._places = scene.state.places()
        self._number = int(scene.state.meta().get("round", "0"))
        self.reached: dict[str, float] = {}
        self._hosts: dict[str, set[str]] = {}  # whose lines each log has
        self._unread: dict[str, float] = {}  # when a host's log could last not be read
        self._began = time.time() - time.monotonic()

    def _now(self) -> float:
        """The time of day, as if the machine's clock had not been set since the process began."""
        return self._began + time.monotonic()

    def go(self) -> Round:
        """One round. What goes wrong with a log or with the state is told in the result, never raised."""
        self._number += 1
        done = Round(self._number)
        now = self._now()
        with seldom_collecting():
            self._go(done, now)
        return done

    def _go(self, done: Round, now: float) -> None:
        try:
            tails: list[Tail] = []
            with self._stop.waiting():
                tails = tails_of(self.sources, self._places, self._bounds.since, time.time(), done.problems)
            self._read(tails, done, now)
            if not self._stop.signal:
                self._look(done, now)
                self._end(done, now)
        except sqlite3.Error as error:
            done.failed = f"state {self._state.path}: {error}"
            self._again()

    def finish(self) -> Round:
        """Look at all mails as if no line could come any more."""
        done = Round(self._number)
        try:
            self._look(done, self._now(), everything=True)
        except sqlite3.Error as error:
            done.failed = f"state {self._state.path}: {error}"
            self._again()
        return done

    def _again(self) -> None:
        """Begin anew from what the state holds."""
        self._mails = OpenMails(self._state, self._fleet, self._make, self._followed)
        self._places = self._state.places()
        self._handover.refresh()

    def _read(self, tails: Sequence[Tail], done: Round, now: float) -> None:
        batch: list[LogEntry] = []
        marks: dict[str, Read] = {}
        whole = True
        for read in merged(tails, done.problems, self._stop, self._mails.ahead()):
            if self._bounds.until is not None and read.time > self._bounds.until:
                whole = False
                break
            marks[read.tail.name] = read
            hosts = self._hosts.setdefault(read.tail.name, set())
            if read.entry.host not in hosts:
                hosts.add(read.entry.host)
                if read.entry.host in read.tail.unproved:
                    self._mails.doubt(read.entry.host, read.entry.time)
            self.reached[read.tail.name] = max(read.time, self.reached.get(read.tail.name, read.time))
            if self._bounds.since is None or read.time >= self._bounds.since:
                batch.append(read.entry)
            if len(batch) >= BATCH:
                self._keep(batch, {name: last.tail.place(last.mark) for name, last in marks.items()}, done, now)
                batch, marks = [], {}
        places = {name: last.tail.place(last.mark) for name, last in marks.items()}
        if whole and not self._stop.signal:
            places.update({tail.name: tail.place() for tail in tails if tail.name not in done.problems})
        self._keep(batch, places, done, now)
        done.lines = sum(tail.lines for tail in tails)

    def _keep(self, batch: list[LogEntry], places: Mapping[str, Any], done: Round, now: float) -> None:
        """Take a batch into the state: all of it or nothing."""
        new = {name: place for name, place in places.items() if place != self._places.get(name)}
        if batch or new:
            with self._state.transaction():
                for name, place in new.items():
                    self._state.set_place(name, place)
                self._state.set_meta("round", str(self._number))
                if batch:
                    self._mails.take(batch, self._number, now)
                    self._state.count("entries", len(batch))
            self._places.update(new)
        done.entries += len(batch)
        if batch and not self._hold and (self._number > 1 or done.entries > FIRST):
            self._look(done, now)
        self._pulse()
        self._handover.send(lambda: bool(self._stop.signal))

    def _look(self, done: Round, now: float, *, everything: bool = False) -> None:
        """Look at the mails whose time has come, some in each transaction."""
        number = self._number if everything else self._number - self._hold
        self._unread.update(dict.fromkeys(self._blind(done.problems), now))
        after: int | None = 0
        while after is not None and not (self._stop.signal and not everything):
            with self._state.transaction():
                look = self._mails.ready(number, now, after, LOOKS, everything=everything, unread=self._unread)
                requests = [(request.spans, request.body) for request in encode(look.spans)]
                self._handover.add(requests, now)
                self._state.count("spans", len(look.spans))
            if requests:
                self._handover.refresh()
                self.scene.seen(look.spans)
            done.spans += len(look.spans)
            after = look.after
            self._pulse()

    def _blind(self, problems: Mapping[str, str]) -> Collection[str]:
        """The hosts whose logs could not be read: that nothing comes of them does not mean that there is nothing.

        Nor when they can be read again: what ships lines into an index had to wait for it as well.
        """
        if not self.sources.keys().isdisjoint(problems):  # a source failed as a whole
            return {host for hosts in self._hosts.values() for host in hosts} | self._mails.marks.keys()
        return {host for name in problems for host in self._hosts.get(name, ())}

    def _end(self, done: Round, now: float) -> None:
        """Forget what is over, and write down how it went, for `--status`."""
        forgotten = FORGETS
        while forgotten >= FORGETS and not self._stop.signal:
            with self._state.transaction():
                ended, endless = self._mails.forget(now, FORGETS)
                self._state.count("forgotten", endless)
            forgotten = max(ended, endless)
            self._pulse()
        with self._state.transaction():
            status.remember(self._state, done, now)
            for name, reached in self.reached.items():
                status.remember_log(self._state, name, reached, now)
