"""`python -m tests.faults`: what becomes of traces when everything around them fails.

Real logs are written as they happened while continuous tracing follows them, and at random moments something is done to
one of the parts: `kill -9`, a full disk, a clock that is set back, a back end that is away or wants less. At the end
what the back end has is compared, byte for byte, with what an undisturbed run gives.

    lost       spans that are missing
    doubled    spans that are there with another content, or should not be there
    copies     spans that are there more than once, the same to the byte: back ends remove them

`--times N` (default 20) faults of each kind, `--only KIND` (repeatable), `--seed N`, `--away SECONDS` (default 3): how
long the Collector is away each time.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

sys.path.insert(0, str(Path(__file__).parents[1]))

import truth
from otelcol.collector import HOW_TO_GET, built

from mailtrace.tracing.state import State

from .backends import Collector, Dice, free_port, small_disk

ROOT = Path(__file__).parents[2]
DEMO = {path.stem: path for path in sorted((ROOT / "jobs" / "demo").glob("*.log"))}
CLOCK = """
import time, types
from pathlib import Path
from mailtrace.tracing import continuous, handover, service
# The clock of mailtrace alone: gRPC for Python counts its deadlines by a `time.time` that must be the system's.
clock = types.SimpleNamespace(**vars(time))
clock.time = lambda: time.time() + float(Path({path!r}).read_text())
continuous.time = handover.time = service.time = clock
"""
IN_STEP = """
import fcntl
from mailtrace.tracing.continuous import Rounds
go = Rounds.go
def in_step(rounds):
    with open({path!r}, "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return go(rounds)
Rounds.go = in_step
"""
"""A day is written in seconds: a round that read one host's log before and another's after a piece of it was written
would see them minutes apart, which no fleet's logs are. So a piece is written between two rounds."""
PROGRAM = "from mailtrace.start import main; main()"


class BackEnd(Protocol):
    """What takes traces."""

    @property
    def endpoint(self) -> str:
        """Where it listens."""

    def texts(self) -> list[str]:
        """What it has."""

    def stop(self) -> None:
        """It listens no more."""


class Row(NamedTuple):
    """What came of a kind of fault."""

    kind: str
    faults: int
    spans: int
    lost: int
    doubled: int
    copies: int
    seconds: float


class Tracer:
    """A process of `mailtrace tracing`."""

    def __init__(self, folder: Path, endpoint: str, state: Path, before: str = "", config: str = "") -> None:
        self.folder, self.state = folder, state
        self.config = folder / "config.yaml"
        hosts = "".join(f"    {host}: {{log_files: [{folder / 'logs' / host}.log]}}\n" for host in DEMO)
        self.config.write_text(
            config
            or f"method: files\nfiles_config:\n  hosts:\n{hosts}hosts:\n  ext1: {{outside: true}}\n"
            "tracing: {sleep_seconds: 0.1, hold_rounds: 0}\n",
            encoding="utf-8",
        )
        self.words = ["tracing", "-c", str(self.config), "--otel-endpoint", endpoint, "--set", f"tracing.state={state}"]
        self.before = before
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        """Begin to follow."""
        with (self.folder / "tracer.log").open("ab") as log:
            command = [sys.executable, "-c", self.before + PROGRAM, *self.words, *more]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "TZ": "UTC"})

    def kill(self) -> None:
        """`kill -9`."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)

    def finish(self) -> None:
        """End it, and let another process send what is still there."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)
        for _ in range(30):
            self.start("--until", "now")
            assert self.process is not None
            if self.process.wait(120) == 0:
                return
            time.sleep(0.5)
        raise RuntimeError((self.folder / "tracer.log").read_text(encoding="utf-8", errors="replace")[-3000:])


def undisturbed(folder: Path, back: BackEnd) -> list[str]:
    """What a back end has after a run to which nothing happens."""
    (folder / "logs").mkdir(parents=True)
    for path in DEMO.values():
        shutil.copy(path, folder / "logs" / path.name)
    Tracer(folder, back.endpoint, folder / "state.db").finish()
    return back.texts()


def disturbed(
    folder: Path, back: BackEnd, fault: Callable[[Tracer], None] | None, times: int, dice: random.Random, **more: Any
) -> None:
    """Write the logs while they are followed, with so many faults in between."""
    from feed import pieces

    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    for host in DEMO:
        (logs / f"{host}.log").touch()
    calm = more.pop("calm", lambda: None)
    turn = folder / "turn"
    before = IN_STEP.format(path=str(turn)) + more.pop("before", "")
    tracer = Tracer(folder, back.endpoint, more.pop("state", folder / "state.db"), before, **more)
    tracer.start()
    time.sleep(1)
    for number, piece in enumerate(pieces(DEMO, times * 3)):
        with turn.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for host, text in piece.items():
                with (logs / f"{host}.log").open("ab") as log:
                    log.write(text)
        time.sleep(dice.uniform(0.0, 0.5))
        if fault is not None and number % 3 == 1:
            fault(tracer)
    calm()
    tracer.finish()


def compared(kind: str, faults: int, found: list[str], wanted: list[str], began: float) -> Row:
    """A row of the table."""
    right = set(wanted)
    copies = Counter(found)
    return Row(
        kind,
        faults,
        len(copies),
        len(right - set(copies)),
        len(set(copies) - right),
        sum(count - 1 for count in copies.values()),
        time.monotonic() - began,
    )


# ------------------------------------------------------------------------------------------- the faults


class Trial(NamedTuple):
    """What a kind of fault is tried with."""

    folder: Path
    times: int
    dice: random.Random
    away: float
    wanted: list[str]


def kill_mailtrace(trial: Trial) -> tuple[int, list[str]]:
    """`kill -9` of mailtrace, started again."""

    def fault(tracer: Tracer) -> None:
        time.sleep(trial.dice.uniform(0, 1.0))
        tracer.kill()
        tracer.start()

    back = Collector(trial.folder / "back").start()
    with stopped(back):
        disturbed(trial.folder, back, fault, trial.times, trial.dice)
        return trial.times, back.texts()


def kill_collector(trial: Trial) -> tuple[int, list[str]]:
    """`kill -9` of the Collector, started again after a while."""
    back = Collector(trial.folder / "back").start()

    def fault(_tracer: Tracer) -> None:
        back.kill()
        time.sleep(trial.dice.uniform(0, 0.5))
        back.start()

    with stopped(back):
        disturbed(trial.folder, back, fault, trial.times, trial.dice)
        return trial.times, back.texts()


def collector_away(trial: Trial) -> tuple[int, list[str]]:
    """The Collector is away for long while lines go on, again and again, and mailtrace is killed meanwhile.

    Lines must not stop for half a minute: a log that is silent so long is taken to have moved on.
    """
    back = Collector(trial.folder / "back").start()
    returns: list[threading.Timer] = []

    def here() -> None:
        for each in returns:
            each.join()

    def fault(tracer: Tracer) -> None:
        here()
        back.kill()
        returns.append(threading.Timer(trial.away, back.start))
        returns[-1].start()
        time.sleep(trial.dice.uniform(0, min(trial.away, 3.0)))
        tracer.kill()
        tracer.start()

    with stopped(back):
        disturbed(trial.folder, back, fault, trial.times, trial.dice, calm=here)
        return trial.times, back.texts()


def throttled(trial: Trial) -> tuple[int, list[str]]:
    """A back end that wants less, or is busy, every other time."""
    back = Dice(("throttle", "away"), trial.dice.randrange(1 << 30), 0.7).start()
    with stopped(back):
        disturbed(trial.folder, back, None, 2 * trial.times, trial.dice)
        return back.answered, back.texts()


def partial(trial: Trial) -> tuple[int, list[str]]:
    """A back end that drops a span of a request and says so: it is not sent again. What it dropped counts as there."""
    back = Dice(("partial",), trial.dice.randrange(1 << 30), 0.9).start()
    with stopped(back):
        disturbed(trial.folder, back, None, 4 * trial.times, trial.dice)
        found = back.texts()
        gone = [span for span in trial.wanted if span not in set(found)]
        counted = counters(trial.folder / "state.db").get("rejected", 0)
        return back.answered, [*found, *gone] if len(gone) == back.answered == counted else found


def too_large(trial: Trial) -> tuple[int, list[str]]:
    """A Collector that takes a third of our largest request at most: they are halved until it does, and that counts."""
    config = json.dumps({**truth.fleet("rough"), "tracing": {"sleep_seconds": 0.1, "hold_rounds": 0}})
    whole = Collector(trial.folder / "whole").start()
    with stopped(whole):
        Tracer(trial.folder, whole.endpoint, trial.folder / "state.db", config=config).finish()
        trial.wanted[:] = whole.texts()
    halved, runs = 0, list[list[str]]()
    while halved < trial.times and len(runs) < trial.times:
        folder = trial.folder / str(len(runs))
        back = Collector(folder, ", max_recv_msg_size_mib: 1").start()
        with stopped(back):
            Tracer(folder, back.endpoint, folder / "state.db", config=config).finish()
            runs.append(back.texts())
        halved += counters(folder / "state.db").get("halved", 0)
    return halved, max(runs, key=lambda found: len(set(found) ^ set(trial.wanted)))


def counters(path: Path) -> dict[str, int]:
    """What a state has counted."""
    state = State(path, read_only=True)
    try:
        return state.counters()
    finally:
        state.close()


def disk_full(trial: Trial) -> tuple[int, list[str]]:
    """No room for the state, for a while."""
    back = Collector(trial.folder / "back").start()
    with stopped(back), small_disk(trial.folder / "disk", 24) as disk:
        balloon = disk / "balloon"

        def fault(_tracer: Tracer) -> None:
            with balloon.open("wb", buffering=0) as full:
                try:
                    while full.write(b"\0" * 4096) == 4096:
                        pass
                except OSError:
                    pass
            time.sleep(trial.dice.uniform(0.2, 0.8))
            balloon.unlink()

        disturbed(trial.folder, back, fault, trial.times, trial.dice, state=disk / "state.db")
        return trial.times, back.texts()


def clock_set_back(trial: Trial) -> tuple[int, list[str]]:
    """The machine's clock jumps an hour back, and on again."""
    back = Collector(trial.folder / "back").start()
    trial.folder.mkdir(parents=True, exist_ok=True)
    shift = trial.folder / "shift"
    shift.write_text("0", encoding="ascii")

    def fault(_tracer: Tracer) -> None:
        new = trial.folder / "shift.new"
        new.write_text(str(trial.dice.choice((-3600, -60, 0, 3600))), encoding="ascii")
        new.replace(shift)

    with stopped(back):
        before = CLOCK.format(path=str(shift))
        disturbed(trial.folder, back, fault, trial.times, trial.dice, before=before, calm=lambda: shift.write_text("0"))
        return trial.times, back.texts()


def kill_opensearch(trial: Trial) -> tuple[int, list[str]]:
    """`kill -9` of the index that is followed, started again, while lines are put into it."""
    from opensearch_node import node as nodes
    from opensearch_node.shapes import SHAPES, lines
    from opensearchpy.exceptions import OpenSearchException

    version = nodes.OLD
    if not version.fetched():
        raise RuntimeError(f"there is no OpenSearch: {nodes.HOW_TO_GET}")
    trial.folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    node = nodes.Node(version, trial.folder / "node", f"http.port={port}").start()
    make, properties = SHAPES["ecs"]
    index = {"settings": {"number_of_shards": 2, "number_of_replicas": 0}, "mappings": {"properties": properties}}
    node.client().indices.create(index="mail", body=index)
    documents = [make(line) for line in sorted(lines("fleet"), key=lambda line: line.time)]
    back, undisturbed_back = (Collector(trial.folder / name).start() for name in ("back", "undisturbed"))
    config = (
        f"method: opensearch\nopensearch_config: {{host: 127.0.0.1, port: {port}, index: mail}}\n"
        f"clusters: {{all: [{', '.join(DEMO)}]}}\ntracing: {{sleep_seconds: 0.1, hold_rounds: 0}}\n"
    )
    tracer = Tracer(trial.folder, back.endpoint, trial.folder / "state.db", config=config)
    tracer.start()
    size = len(documents) // trial.times + 1
    with stopped(back), stopped(undisturbed_back):
        for number in range(trial.times):
            some = enumerate(documents[number * size : (number + 1) * size], number * size)
            # `create` with an ID: what a crash left in doubt can be asked for again and is there once.
            body = [each for at, one in some for each in ({"create": {"_index": "mail", "_id": str(at)}}, one)]
            cut = 2 * trial.dice.randrange(1, len(body) // 2)
            node.client().bulk(body=body[:cut])
            time.sleep(trial.dice.uniform(0, 1.0))
            node.process.kill()
            node.process.communicate()
            node.start()
            for _ in range(50):
                try:
                    node.client().bulk(body=body)
                    break
                except OpenSearchException:
                    time.sleep(0.2)
        tracer.finish()
        other = Tracer(trial.folder, undisturbed_back.endpoint, trial.folder / "other.db", config=config)
        other.finish()
        node.stop()
        trial.wanted[:] = undisturbed_back.texts()
        return trial.times, back.texts()


@contextmanager
def stopped(back: BackEnd) -> Iterator[None]:
    """A back end is stopped in the end."""
    try:
        yield
    finally:
        back.stop()


KINDS: Mapping[str, Callable[[Trial], tuple[int, list[str]]]] = {
    "kill -9 of mailtrace": kill_mailtrace,
    "kill -9 of the Collector": kill_collector,
    "kill -9 of OpenSearch": kill_opensearch,
    "Collector away": collector_away,
    "throttling": throttled,
    "partial success": partial,
    "messages too large": too_large,
    "disk full": disk_full,
    "clock set back": clock_set_back,
}


def main() -> int:
    """Try all kinds, or those that are named; print the table."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    arguments.add_argument("--times", type=int, default=20)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--away", type=float, default=3.0)
    arguments.add_argument("--only", action="append", choices=sorted(KINDS), default=[])
    given = arguments.parse_args()
    if not built():
        sys.stderr.write(f"there is no Collector: {HOW_TO_GET}\n")
        return 2
    rows = []
    with tempfile.TemporaryDirectory(prefix="mailtrace-faults-") as name:
        folder = Path(name)
        wanted = {}
        for kind, back in (("real", Collector(folder / "undisturbed-back")), ("dice", Dice((), 0, 0.0))):
            back.start()
            with stopped(back):
                wanted[kind] = undisturbed(folder / f"undisturbed-{kind}", back)
        print("| fault | times | spans | lost | doubled | copies | seconds |\n|---|---|---|---|---|---|---|")
        for kind in given.only or KINDS:
            began = time.monotonic()
            right = wanted["dice" if kind in ("throttling", "partial success") else "real"]
            trial = Trial(folder / kind.replace(" ", "-"), given.times, random.Random(given.seed), given.away, [*right])
            faults, found = KINDS[kind](trial)
            rows.append(compared(kind, faults, found, trial.wanted, began))
            cells = [f"{value:.0f}" if isinstance(value, float) else str(value) for value in rows[-1]]
            print(f"| {' | '.join(cells)} |", flush=True)
    return 1 if any(row.lost or row.doubled for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
