"""`python -m tests.bench.week`: what continuous tracing costs over a week of lines: memory, state, lines a second.

Three hosts' logs are written as they would be in a week, some minutes at a time, rotated each day, and followed in one
round for each piece; the back end takes everything at once. One mail in 300 stays deferred for up to five days. The
clocks in the lines tell a week, the machine's does not: only what waits for the machine's clock is left out.

`--lines N` (default 10,000,000), `--piece N` lines a round (default 20,000), `--hold N` rounds.
"""
# ruff: noqa: RUF001 - the sign for times is what the table means

from __future__ import annotations

import argparse
import heapq
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from . import generate
from .__main__ import HOSTS, row

DAY = 86400.0
WEEK = 7 * DAY
LATE = 300
"""One mail in so many is deferred."""
RETRY = 4 * 3600.0
"""Seconds between two attempts."""


def week(lines: int) -> Iterator[tuple[float, int, str]]:
    """So many lines of a week: time, number of the host, text."""
    generate.LINES_PER_SECOND = lines / WEEK
    fleet = generate.Fleet(HOSTS, long_ids=True, seed=7)
    waiting: list[tuple[float, int, int, str]] = []
    for number, (at, _order, host, text) in enumerate(fleet.lines(lines)):
        fleet.samples.clear() if number % 10_000 == 0 and len(fleet.samples) > 10 else None
        if number % (8 * LATE) == 0:
            for line in deferred(fleet, at):
                heapq.heappush(waiting, line)
        while waiting and waiting[0][0] < at:
            late, _order, there, words = heapq.heappop(waiting)
            yield late, there, words
        yield at, host, text


def deferred(fleet: generate.Fleet, moment: float) -> Iterator[generate.Line]:
    """A mail that nobody takes, for up to five days."""
    queue_id, host = fleet.queue_id(moment), len(HOSTS) - 1
    client, to = fleet.client(), fleet.address()
    yield fleet.line(moment, host, f"postfix/smtpd[99]: {queue_id}: client={client}")
    yield fleet.line(moment, host, f"postfix/cleanup[98]: {queue_id}: message-id=<{queue_id}.late@example.com>")
    yield fleet.line(moment, host, f"postfix/qmgr[812]: {queue_id}: from=<{to}>, size=900, nrcpt=1 (queue active)")
    end = fleet.random.uniform(RETRY, 5 * DAY)
    for passed in range(30, int(end), int(RETRY)):
        told = f"relay=none, delay={passed}, delays={passed - 30}/0.1/30/0, dsn=4.4.1, status=deferred (timed out)"
        yield fleet.line(moment + passed, host, f"postfix/smtp[97]: {queue_id}: to=<{to}>, {told}")
    told = f"relay=mx.example[192.0.2.7]:25, delay={end:.0f}, delays={end:.0f}/0/0/0.1, dsn=2.0.0, status=sent (250 OK)"
    yield fleet.line(moment + end, host, f"postfix/smtp[97]: {queue_id}: to=<{to}>, {told}")
    yield fleet.line(moment + end + 0.1, host, f"postfix/qmgr[812]: {queue_id}: removed")


def written(pipe: Connection, lines: int, piece: int) -> None:
    """Make the lines, in a process of its own: what that costs is none of mailtrace's."""
    texts: list[list[str]] = [[] for _ in HOSTS]
    day = generate.START // DAY  # a line may be a little older than the one before
    for count, (at, host, text) in enumerate(week(lines), 1):
        texts[host].append(f"{generate.iso(at)} {HOSTS[host]} {text}\n")
        if count % piece == 0 or at // DAY > day:
            pipe.send((at // DAY > day, ["".join(some).encode("ascii") for some in texts]))
            day = max(day, at // DAY)
            texts = [[] for _ in HOSTS]
    pipe.send((False, ["".join(some).encode("ascii") for some in texts]))
    pipe.send(None)


def resident() -> float:
    """MiB that this process holds in memory now, what it maps of files aside."""
    with Path("/proc/self/status").open() as status:
        facts = dict(line.split(":", 1) for line in status)
    return int(facts["RssAnon"].split()[0]) / 1024


def peak() -> float:
    """MiB that this process held at most, all of it."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """A week."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.week", description=__doc__)
    parser.add_argument("--lines", type=int, default=10_000_000)
    parser.add_argument("--piece", type=int, default=20_000)
    parser.add_argument("--hold", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mailtrace-week-") as folder:
        go(Path(folder), options.lines, options.piece, options.hold)


def go(folder: Path, lines: int, piece: int, hold: int) -> None:
    """Follow a week, and tell at the end of each day how it goes."""
    from feed import begin

    from mailtrace.otlp.client import Client
    from mailtrace.otlp.endpoint import Endpoint
    from mailtrace.otlp.outcome import Outcome, Verdict
    from mailtrace.tracing.state import State

    class Sink(Client):
        taken = 0

        def send(self, body: bytes) -> Outcome:
            self.taken += len(body)
            return Outcome(Verdict.SENT)

    out, into = multiprocessing.get_context("spawn").Pipe(duplex=False)
    maker = multiprocessing.get_context("spawn").Process(target=written, args=(into, lines, piece), daemon=True)
    maker.start()
    state, sink = State(folder / "state.db"), Sink(Endpoint())
    logs = {host: folder / f"{host}.log" for host in HOSTS}
    for log in logs.values():
        log.touch()
    rounds: Any = begin(state, logs, sink, hold)
    read, spent, day, steady = 0, 0.0, 0, 0.0
    while (piece_of := out.recv()) is not None:
        over, texts = piece_of
        for log, text in zip(logs.values(), texts, strict=True):
            with log.open("ab") as file:
                file.write(text)
        begun = time.process_time()
        done = rounds.go()
        spent += time.process_time() - begun
        assert not done.failed, done.failed
        assert not done.problems, done.problems
        read += done.entries
        if over:
            day += 1
            if day == 2:
                steady = resident()
            told(f"day {day}", state, spent, lines, read, day)
            for log in logs.values():
                log.replace(log.with_name(f"{log.name}.1"))
                log.touch()
    rounds.finish()
    rounds.scene.handover.send()
    told("end", state, spent, lines, read, 7)
    spans = state.counters()["sent"]
    print(f"{spans:,} spans sent, {sink.taken / 1e6:,.0f} MB; {state.counters().get('forgotten', 0)} mails forgotten")
    row("lines of files to spans, state and spool on the way (one core)", lines / spent, "lines/s", 20_000, most=False)
    row("peak resident memory over the week, all of it", peak(), "MiB", 200)
    row("memory at its end against that after two days", resident() / steady if steady else 0.0, "×", 1.2)


def told(when: str, state: Any, spent: float, lines: int, read: int, day: int) -> None:
    """A line of how it goes."""
    size = sum(path.stat().st_size for path in state.path.parent.glob(f"{state.path.name}*")) / 1e6
    every, open_, pending = state.mails()
    print(
        f"{when}: {min(1.0, day / 7):.0%} of {lines:,} lines, {read:,} about mail, {spent:,.0f} s of CPU, "
        f"{resident():.0f} MiB now, {peak():.0f} MiB at most, state {size:,.0f} MB, "
        f"{every:,} mails remembered, {open_:,} open, {pending:,} pending",
        flush=True,
    )


if __name__ == "__main__":
    main()
