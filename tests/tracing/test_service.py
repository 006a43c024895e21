"""The command `tracing` as people and systemd run it: another process, a real receiver."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from receiver import Receiver, over_grpc

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "jobs" / "demo"
PROGRAM = Path(sys.executable).parent / "mailtrace"
ALL = 2387
"""Spans of the demo's mails."""
LONG = 120
"""Seconds that nothing here takes, on a busy machine either."""

pytestmark = pytest.mark.needs("opentelemetry")


@pytest.fixture
def back() -> Iterator[Receiver]:
    with over_grpc() as receiver:
        yield receiver


class Command:
    """`mailtrace tracing` with a state and a copy of the demo of its own."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.folder, self.endpoint = folder, endpoint
        self.process: subprocess.Popen[str] | None = None
        shutil.copytree(DEMO, folder / "demo")
        self.logs = folder / "demo"
        self.config = self.logs / "config.yaml"
        self.environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "OTEL_METRICS_EXPORTER": "none"}

    @property
    def words(self) -> list[str]:
        return [str(PROGRAM), "tracing", "-c", str(self.config), "--otel-endpoint", self.endpoint]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.words, *words], env=self.environment, capture_output=True, text=True, check=False, timeout=LONG
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        self.process = subprocess.Popen([*self.words, *words], env=self.environment, stderr=subprocess.PIPE, text=True)
        return self.process


@pytest.fixture
def command(tmp_path: Path, back: Receiver) -> Iterator[Command]:
    made = Command(tmp_path, back.endpoint)
    yield made
    if made.process is not None:
        made.process.kill()
        made.process.communicate()


def until(met: Callable[[], bool]) -> None:
    """Wait for something that comes soon."""
    end = time.monotonic() + LONG
    while not met():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_all_mails_up_to_now_are_sent_once_and_a_second_run_has_nothing_to_send(
    command: Command, back: Receiver
) -> None:
    done = command.run("--until", "now")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(back.spans) == ALL
    assert len({(span.trace_id, span.span_id) for _host, span in back.spans}) == ALL
    assert command.run("--until", "now").returncode == 0
    assert len(back.spans) == ALL


def test_once_sends_what_is_final_and_keeps_the_rest(command: Command, back: Receiver) -> None:
    assert command.run("--once").returncode == 0
    first = len(back.spans)
    assert 1000 < first < ALL
    told = command.run("--status").stdout
    assert f"sent        {first:,} of {first:,} spans" in told
    assert command.run("--until", "now").returncode == 0
    assert len(back.spans) == ALL


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it_at_once_with_its_state_saved(
    command: Command, back: Receiver, number: signal.Signals, code: int
) -> None:
    process = command.start("--set", "tracing.hold_rounds=0")
    until(lambda: len(back.spans) > 1000)
    process.send_signal(number)
    _out, said = process.communicate(timeout=LONG)
    assert process.returncode == code
    assert "stopped; the next run goes on from here" in said
    assert command.run("--until", "now").returncode == 0
    # What was on its way when the signal came may come again: the same bytes, which back ends take for one.
    assert len({(host, span.SerializeToString(deterministic=True)) for host, span in back.spans}) == ALL


def test_new_lines_are_followed(command: Command, back: Receiver) -> None:
    log = command.logs / "mx1.log"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:100]))
    process = command.start("--set", "tracing.hold_rounds=0", "--set", "tracing.sleep_seconds=0.1")

    def told() -> set[str]:
        found = [{item.key: item.value.string_value for item in span.attributes} for _host, span in [*back.spans]]
        return {facts.get("email.local_id", "") for facts in found}

    until(lambda: len(back.spans) > 1000)
    first, last = (
        set(re.findall(r" ([0-9A-F]{11}): ", b"".join(some).decode())) for some in (lines[:100], lines[100:])
    )
    new = last - first
    assert new
    assert told().isdisjoint(new)
    with log.open("ab") as more:
        more.write(b"".join(lines[100:]))
    until(lambda: not told().isdisjoint(new))
    process.terminate()
    process.communicate(timeout=LONG)


def test_one_instance_for_each_state(command: Command, back: Receiver) -> None:
    process = command.start()
    # Its number is written there once it holds the lock.
    until(lambda: any(lock.read_text() for lock in (command.folder / "state").rglob("*.lock")))
    done = command.run("--once")
    assert (done.returncode, "is in use by process" in done.stderr) == (2, True)
    assert command.run("--status").returncode == 0
    process.terminate()
    process.communicate(timeout=LONG)
    assert back.calls >= 0


def test_a_back_end_that_is_away_costs_nothing_but_time(tmp_path: Path) -> None:
    away = Command(tmp_path, "http://127.0.0.1:1")
    done = away.run("--until", "now")
    assert done.returncode == 4
    assert f"{ALL:,} spans wait in the state for the next run" in done.stderr
    with over_grpc() as receiver:
        away.endpoint = receiver.endpoint
        assert away.run("--until", "now").returncode == 0
        assert len(receiver.spans) == ALL


def test_a_missing_log_is_said_and_is_missing_data(command: Command, back: Receiver) -> None:
    (command.logs / "mx1.log").unlink()
    done = command.run("--until", "now")
    assert done.returncode == 3
    assert "mx1.log: no such file" in done.stderr
    assert len(back.spans) > 1000


def test_since_is_for_a_first_run(command: Command, back: Receiver) -> None:
    assert command.run("--since", "2026-11-23T01:04:50Z", "--until", "now").returncode == 0
    assert 0 < len(back.spans) < ALL / 2
    done = command.run("--since", "2026-11-23T01:04:00Z", "--until", "now")
    assert "--since is for a first run" in done.stderr


def test_a_hangup_reads_the_configuration_again_and_keeps_the_old_one_where_the_new_is_wrong(
    command: Command, back: Receiver
) -> None:
    process = command.start("-v", "--set", "tracing.hold_rounds=0", "--set", "tracing.sleep_seconds=0.2")
    assert process.stderr is not None
    until(lambda: len(back.spans) > 1000)
    text = command.config.read_text(encoding="utf-8")
    command.config.write_text("methd: files\n", encoding="utf-8")
    process.send_signal(signal.SIGHUP)
    for line in process.stderr:
        if "the configuration is not taken over" in line:
            break
    command.config.write_text(text, encoding="utf-8")
    process.send_signal(signal.SIGHUP)
    for line in process.stderr:
        if "the configuration was read again" in line:
            break
    process.terminate()
    process.communicate(timeout=LONG)
    assert process.returncode == 143


def test_systemd_hears_that_it_is_ready_and_alive(command: Command, tmp_path: Path, back: Receiver) -> None:
    path = tmp_path / "notify"
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(path))
    manager.settimeout(LONG)
    command.environment |= {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "400000"}
    process = command.start()
    heard = b""
    while not (b"READY=1" in heard and b"WATCHDOG=1" in heard and b"mails under way" in heard):
        heard += manager.recv(1000) + b"\n"
    process.terminate()
    process.communicate(timeout=LONG)
    while b"STOPPING=1" not in heard:
        heard += manager.recv(1000)
    manager.close()
    assert back.calls >= 0


def test_a_state_that_cannot_be_made_is_said(command: Command) -> None:
    done = command.run("--once", "--set", "tracing.state=/proc/nowhere/state.db")
    assert (done.returncode, "tracing.state=FILE" in done.stderr) == (3, True)


def test_no_state_is_no_status(command: Command) -> None:
    done = command.run("--status")
    assert (done.returncode, "tracing was never run" in done.stderr) == (3, True)


def test_the_plan_tells_what_is_followed_where_to_and_opens_nothing(command: Command, back: Receiver) -> None:
    done = command.run("--plan")
    assert done.returncode == 0
    assert f"to {back.endpoint}" in done.stdout
    assert f"files mx1: {command.logs / 'mx1.log'}" in done.stdout
    assert not (command.folder / "state").exists()


def test_a_command_line_is_a_job_that_does_the_same(command: Command, back: Receiver, tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(command.run("--until", "now", "--print-job").stdout, encoding="utf-8")
    done = subprocess.run([PROGRAM, "play", job], env=command.environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(back.spans) == ALL


def test_the_recipe_traces_the_demo(command: Command, back: Receiver) -> None:
    done = subprocess.run(
        [
            *(str(PROGRAM), "play", str(ROOT / "jobs" / "every-mail-a-trace.yaml"), "-c", str(command.config)),
            *("-e", f"endpoint={back.endpoint}", "--set", "tracing.until=now"),
        ],
        env=command.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(back.spans) == ALL
