# ruff: noqa: RUF001 - the sign for times is what the table means
"""`python -m tests.bench`: what mailtrace costs, as multiples of the tools a user would reach for, in one run.

`--lines N` (default 1,000,000) and `--folder PATH` (default: a temporary one; logs that are there already are used
again). Nothing here asserts a time: machines differ, ratios on a busy one too.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import generate
from .generate import Sample

ROOT = Path(__file__).parents[2]
KEYS = 1000
HOSTS = ("mx1", "relay1", "mailbox1")
C_LOCALE = {**os.environ, "LC_ALL": "C"}

MEMORY = """
import json, sys
from tests.bench.__main__ import trace
trace(json.loads(sys.argv[1]), sys.argv[2])
text = open("/proc/self/status").read()
print(*(line.split()[1] for line in text.splitlines() if line.startswith(("VmHWM", "RssFile"))))
"""


GRAPH = """
import sys, time
from mailtrace import run_job
def peak():  # not `ru_maxrss`, which begins with what the parent had
    return int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])
hosts = {"mx1": {"log_files": [sys.argv[1]]}}
job = {"version": 1, "kind": "graph", "config": {"method": "files", "files_config": {"hosts": hosts}}}
before = peak()
begun = time.process_time()
report = run_job({**job, "export": [{"dot": {"to": "/dev/null"}}]})
print(time.process_time() - begun, len(report.mails), before, peak())
"""


def best(work: Callable[[], Any], times: int = 5) -> float:
    """Seconds of the quickest of several runs."""
    quickest = float("inf")
    for _ in range(times):
        begun = time.perf_counter()
        work()
        quickest = min(quickest, time.perf_counter() - begun)
    return quickest


def run(*command: str) -> None:
    """Run a program and throw away what it prints."""
    subprocess.run(command, env=C_LOCALE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def made(folder: Path, name: str, make: Callable[[Path], list[Sample]]) -> tuple[Path, Sample]:
    """A generated log and the mail in its middle; made once for each folder."""
    place = folder / name
    note = place / "sample.json"
    if not note.exists():
        samples = make(place)
        note.write_text(json.dumps(samples[len(samples) // 2].__dict__))
        apart = max(1, len(samples) // KEYS)
        (place / "keys.txt").write_text("\n".join(sample.message_id for sample in samples[::apart][:KEYS]))
    fields = json.loads(note.read_text())
    return place, Sample(**{**fields, "queue_ids": tuple(fields["queue_ids"])})


def trace(logs: dict[str, str], message_id: str, **find: Any) -> Any:
    """The trace of one mail, as a user's script asks for it."""
    from mailtrace import run_job

    hosts = {host: {"log_files": [path]} for host, path in logs.items()}
    report = run_job(
        {
            "version": 1,
            "kind": "trace",
            "config": {"method": "files", "files_config": {"hosts": hosts}},
            "find": {"message_id": message_id, **find},
        }
    )
    if len(report.mails) != 1:
        message = f"{message_id}: {len(report.mails)} mails"
        raise SystemExit(message)
    return report


def search(logs: dict[str, str], literal: str, start: float | None = None) -> None:
    """One question to the source alone."""
    from mailtrace.hosts import HostFacts, Inventory
    from mailtrace.model import HostLogs, LogQuery
    from mailtrace.parsers import make_parser
    from mailtrace.sources.files import FilesSource

    source = FilesSource(
        [HostLogs(host, (path,)) for host, path in logs.items()],
        lambda _logs: make_parser(),
        Inventory({host: HostFacts() for host in logs}),
        base=ROOT,
        now=time.time(),
    )
    found = list(source.query(LogQuery(any_of=(literal,) if literal else (), start=start)))
    source.close()
    if not found:
        message = f"{literal} is not in {logs}"
        raise SystemExit(message)


def around(sample: Sample) -> dict[str, str]:
    """A window of two hours around a mail, as a job writes it."""
    return {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(sample.time)), "time_range": "1h"}


def row(work: str, figure: float, unit: str, goal: float, *, most: bool = True) -> None:
    """One line of the table."""
    reached = figure <= goal if most else figure >= goal
    sign = "≤" if most else "≥"
    print(
        f"{work:<66} {figure:>11,.2f} {unit:<12} {sign} {goal:>9,.2f}  {'reached' if reached else 'MISSED'}", flush=True
    )


def plain(folder: Path, lines: int) -> None:
    """One mail in one log, and in one ten times as long."""
    one, sample = made(folder, f"one-{lines}", lambda place: generate.postfix(place, lines))
    ten, later = made(folder, f"one-{lines * 10}", lambda place: generate.postfix(place, lines * 10))
    logs, longer = {"mx1": str(one / "mx1/mail.log")}, {"mx1": str(ten / "mx1/mail.log")}
    grep = best(lambda: run("grep", "-F", sample.message_id, logs["mx1"]))
    row("grep -F of a message ID, seconds", grep, "s", grep)
    row("search for a message ID", best(lambda: search(logs, sample.message_id)) / grep, "× grep", 2)
    row("trace of one mail by message ID", best(lambda: trace(logs, sample.message_id)) / grep, "× grep", 2)
    windowed = best(lambda: trace(logs, sample.message_id, **around(sample)))
    row("the same in a window of two hours", windowed / grep, "× grep", 2)
    in_ten = best(lambda: trace(longer, later.message_id, **around(later)))
    row("the same in a log ten times as long", in_ten / windowed, "× the former", 1.3)
    memory(logs, sample)


def many_keys(folder: Path, lines: int) -> None:
    """A thousand Message-IDs of all the day in one walk, against one; the program as a whole, as a user runs it."""
    one, sample = made(folder, f"one-{lines}", lambda place: generate.postfix(place, lines))
    program = (str(Path(sys.executable).parent / "mailtrace"), "trace", "--log", f"mx1={one / 'mx1/mail.log'}")
    single = best(lambda: run(*program, "--message-id", sample.message_id))
    several = best(lambda: run(*program, "--keys-from", str(one / "keys.txt")))
    row("the program for one message ID, start-up and all", single, "s", single)
    row("the same for 1,000 of them (--keys-from)", several / single, "× one", 3)


def memory(logs: dict[str, str], sample: Sample) -> None:
    """Peak memory of a whole trace in a process of its own, and what Python and the imports take of it."""
    peak = [
        subprocess.run(
            [sys.executable, "-c", MEMORY, json.dumps(some), sample.message_id],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for some in (logs,)
    ]
    row("peak resident memory of that trace, all of it", int(peak[0][0]) / 1024, "MiB", 60)


def three_hosts(folder: Path, lines: int) -> None:
    """One mail over three hosts' logs, against one host's of the same size."""
    one, sample = made(folder, f"one-{lines}", lambda place: generate.postfix(place, lines))
    three, far = made(folder, f"three-{lines}", lambda place: generate.postfix(place, lines, hosts=HOSTS))
    single = best(lambda: trace({"mx1": str(one / "mx1/mail.log")}, sample.message_id))
    several = best(lambda: trace({host: str(three / host / "mail.log") for host in HOSTS}, far.message_id))
    row("trace over three hosts' logs of the same total size", several / single, "× one host's", 1.3)
    _, other = made(folder, f"shared-{lines}", lambda place: generate.postfix(place, lines, hosts=HOSTS, shared=True))
    shared = str(folder / f"shared-{lines}" / "mail.log")
    loghost = best(lambda: trace(dict.fromkeys(HOSTS, shared), other.message_id))
    row("trace over the three in one loghost's file", loghost / single, "× one host's", 1.3)


def compressed(folder: Path, lines: int) -> None:
    """One mail in a gzip."""
    one, sample = made(folder, f"one-{lines}", lambda place: generate.postfix(place, lines))
    log = one / "mx1/mail.log"
    packed = one / "mail.log.gz"
    if not packed.exists():
        with log.open("rb") as source, gzip.open(packed, "wb", compresslevel=6) as target:
            shutil.copyfileobj(source, target)
    pipe = best(lambda: run("sh", "-c", f"zcat '{packed}' | grep -F '{sample.message_id}'"), 3)
    row("zcat | grep -F of a message ID, seconds", pipe, "s", pipe)
    logs = {"mx1": str(packed)}
    row(
        "search for a message ID in a gzip", best(lambda: search(logs, sample.message_id), 3) / pipe, "× zcat|grep", 0.5
    )
    row("trace of one mail in a gzip", best(lambda: trace(logs, sample.message_id), 3) / pipe, "× zcat|grep", 0.5)


def every_line(folder: Path, lines: int) -> None:
    """Every line of a log: read and parsed. What assembling and a graph add is measured by `everything`."""
    one, _ = made(folder, f"one-{lines}", lambda place: generate.postfix(place, lines))
    exim, _ = made(folder, f"exim-{lines}", lambda place: generate.exim(place / "mainlog", lines))
    for name, path in (("Postfix", one / "mx1/mail.log"), ("Exim", exim / "mainlog")):
        seconds = best(lambda path=path: search({"mx1": str(path)}, ""), 1)  # type: ignore[misc]
        row(f"every line of a {name} log to entries (one core)", lines / seconds, "lines/s", 200_000, most=False)


def everything(folder: Path, lines: int) -> None:
    """Every mail of a log to a graph: read, parsed, assembled, drawn; in a process of its own."""
    one, _ = made(folder, f"one-{lines}", lambda place: generate.postfix(place, lines))
    command = [sys.executable, "-c", GRAPH, str(one / "mx1/mail.log")]
    runs = [subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout for _ in range(3)]
    seconds, mails, before, after = min([float(field) for field in run.split()] for run in runs)
    row("every mail of a log to a graph (seconds of one core)", lines / seconds, "lines/s", 200_000, most=False)
    row("memory of it", (after - before) / mails, "KiB/message", 1)


def traces(folder: Path, lines: int) -> None:
    """Every mail of three hosts as OTLP requests, against OpenTelemetry's own SDK."""
    from .spans import rates

    three, _ = made(folder, f"three-{lines}", lambda place: generate.postfix(place, lines, hosts=HOSTS))
    _, ours, theirs = rates({host: three / host / "mail.log" for host in HOSTS}, best)
    row("spans from assembled mails to OTLP requests (one core)", ours, "spans/s", 100_000, most=False)
    row("the same against the SDK's spans and encoder", ours / theirs, "× SDK", 3, most=False)


def start_up() -> None:
    """`mailtrace --list` against a bare Invoke program."""
    bare = [sys.executable, "-c", "from invoke import Program; Program().run('invoke --version', exit=False)"]
    listing = [sys.executable, "-m", "mailtrace.cli", "--list"]
    script = Path(sys.executable).parent / "mailtrace"
    if script.exists():
        listing = [str(script), "--list"]
    row("mailtrace --list", best(lambda: run(*listing)) / best(lambda: run(*bare)), "× Invoke", 1.3)


def main() -> None:
    """All rows."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mailtrace-bench-") as temporary:
        folder = options.folder or Path(temporary)
        plain(folder, options.lines)
        many_keys(folder, options.lines)
        three_hosts(folder, options.lines)
        compressed(folder, options.lines)
        every_line(folder, options.lines)
        everything(folder, options.lines)
        traces(folder, options.lines)
        start_up()


if __name__ == "__main__":
    main()
