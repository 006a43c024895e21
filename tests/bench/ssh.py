"""`python -m tests.bench.ssh`: what mailtrace costs over SSH, beside `ssh HOST grep` on the same log. As root.

`--lines N` (default 1,000,000) and `--folder PATH` (default: a temporary one; logs that are there already are used
again). The servers are sshd processes on loopback: their work is done by the same processors. Nothing here asserts a
time.
"""
# ruff: noqa: RUF001 - the sign for times is what the table means

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from sources.sshd import Server, Slowly, User, made_user, make_key, make_server

from mailtrace.config import SshConfig
from mailtrace.hosts import HostFacts, Inventory
from mailtrace.model import HostLogs, LogQuery
from mailtrace.parsers import make_parser
from mailtrace.sources.ssh import SshSource

from . import generate
from .__main__ import ROOT, best, made, row

WINDOW = 3600.0
FLEET = 20
LATENCY = 0.025  # seconds of each packet on the way to the fleet
SMALL = 50_000  # lines of each of the fleet's logs

MEMORY = """
import sys
from tests.bench.ssh import everything
everything(sys.argv[1:])
text = open("/proc/self/status").read()
print(next(line.split()[1] for line in text.splitlines() if line.startswith("VmHWM")))
"""


def source(access: SshConfig, logs: dict[str, Path]) -> SshSource:
    """The source by itself, as a run makes it."""
    return SshSource(
        [HostLogs(host, (str(path),)) for host, path in logs.items()],
        lambda _logs: make_parser(),
        Inventory({host: HostFacts() for host in logs}),
        access=access,
    )


def ask(access: SshConfig, logs: dict[str, Path], literal: str, around: float | None = None) -> SshSource:
    """Log in, ask one question, log out."""
    asked = source(access, logs)
    start, end = (None, None) if around is None else (around - WINDOW, around + WINDOW)
    found = list(asked.query(LogQuery(any_of=(literal,), start=start, end=end)))
    asked.close()
    if not found or any(item.missing for item in asked.coverage()):
        raise SystemExit(f"{literal} is not found: {asked.coverage()}")
    return asked


def everything(words: Sequence[str]) -> None:
    """Take every line of a log, and keep none."""
    user, key, config, known, path = words
    access = SshConfig(
        username=user, private_key=key, ssh_config_file=config, known_hosts=(known,), sudo=False, timeout=30
    )
    asked = source(access, {"mx1": Path(path)})
    count = sum(1 for _ in asked.query(LogQuery(any_of=(":",))))
    asked.close()
    if count < 1000:
        raise SystemExit(f"only {count} lines came: {asked.coverage()}")


def one_mail(server: Server, user: User, folder: Path, lines: int) -> None:
    """One mail in one log, and in one ten times as long."""
    one, sample = made(folder, f"one-{lines}", lambda place: generate.postfix(place, lines))
    ten, later = made(folder, f"one-{lines * 10}", lambda place: generate.postfix(place, lines * 10))
    log, longer = one / "mx1/mail.log", ten / "mx1/mail.log"
    queue_id = sample.queue_ids[0]
    access = server.access(user, timeout=30.0)
    command = f"LC_ALL=C grep -F -e {queue_id} {log}"
    options = ["-F", access.ssh_config_file, "-o", f"UserKnownHostsFile={server.known_hosts}", "-l", user.name]

    def grep() -> bytes:
        done = subprocess.run(["ssh", *options, "-i", server.client, "mx1", command], check=True, capture_output=True)
        return done.stdout

    matching = grep()
    base = best(grep)
    row("ssh HOST grep -F of a queue ID, seconds", base, "s", base)
    for transport in ("paramiko", "openssh"):
        way = server.access(user, timeout=30.0, transport=transport)
        seconds = best(partial(ask, way, {"mx1": log}, queue_id))
        row(f"search for it ({transport})", seconds / base, "× ssh grep", 4)
    typed = best(lambda: program(access, log, queue_id), 3)
    row("the same by `mailtrace trace`, start-up and all", typed / base, "× ssh grep", 4)
    asked = ask(access, {"mx1": log}, queue_id)
    row("bytes that came, of the matching lines", asked.traffic.received, "bytes", 2 * len(matching) + (64 << 10))
    near = best(lambda: ask(access, {"mx1": log}, queue_id, sample.time))
    far = best(lambda: ask(access, {"mx1": longer}, later.queue_ids[0], later.time))
    row("in a window of two hours, seconds", near, "s", near)
    row("the same in a log ten times as long", far / near, "× the former", 1.5)
    asked = ask(access, {"mx1": longer}, later.queue_ids[0], later.time)
    row("bytes that came then", asked.traffic.received, "bytes", 2 * len(matching) + (64 << 10))


def program(access: SshConfig, log: Path, queue_id: str) -> None:
    """As a user types it."""
    config = Path(access.ssh_config_file).with_suffix(".yaml")
    config.write_text(
        f"method: ssh\nssh_config:\n  username: {access.username}\n  private_key: {access.private_key}\n"
        f"  ssh_config_file: {access.ssh_config_file}\n  known_hosts: {access.known_hosts[0]}\n  sudo: false\n"
        f"  timeout: 30\n  hosts:\n    mx1: {{log_files: [{log}]}}\n"
    )
    command = [str(Path(sys.executable).parent / "mailtrace"), "trace", "-c", str(config), "--queue-id", queue_id]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def memory(server: Server, user: User, folder: Path, lines: int) -> None:
    """What it takes to read a log of which every line answers, in a process of its own."""
    one, _ = made(folder, f"one-{lines}", lambda place: generate.postfix(place, lines))
    access = server.access(user, timeout=30.0)
    words = [user.name, server.client, access.ssh_config_file, server.known_hosts, one / "mx1/mail.log"]
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, *map(str, words)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    row("peak memory while every line answers", int(done.stdout) / 1024, "MiB", 80)


@contextmanager
def fleet(place: Path, client: Path, user: User, log: Path) -> Iterator[tuple[SshConfig, dict[str, Path]]]:
    """Some servers behind a line with latency, each with a log of its own."""
    with ExitStack() as running:
        config, known, logs = "", "", {}
        for number in range(FLEET):
            name = f"mx{number + 1:02}"
            server = make_server(place / name, client)
            server.start()
            running.callback(server.stop)
            line = running.enter_context(Slowly(server.port, LATENCY))
            config += f"Host {name}\n  HostName 127.0.0.1\n  Port {line.port}\n  HostKeyAlias {name}\n"
            known += f"{name} {server.known_hosts.read_text().partition(' ')[2]}"
            logs[name] = place / name / "mail.log"
            os.link(log, logs[name])
        (place / "fleet").write_text(config)
        (place / "fleet-known").write_text(known)
        access: dict[str, Any] = {
            "username": user.name,
            "private_key": str(client),
            "known_hosts": (str(place / "fleet-known"),),
            "ssh_config_file": str(place / "fleet"),
        }
        yield SshConfig(**access, sudo=False, timeout=30, forks=FLEET), logs


def many(place: Path, client: Path, user: User, folder: Path) -> None:
    """Twenty hosts at once, against the slowest of them alone."""
    one, sample = made(folder, f"one-{SMALL}", lambda where: generate.postfix(where, SMALL))
    with fleet(place, client, user, _copy(one / "mx1/mail.log", place)) as (access, logs):
        queue_id = sample.queue_ids[0]
        for transport in ("paramiko", "openssh"):
            at_once(replace(access, transport=transport), logs, queue_id, transport)
        with behind(place, client, access) as (jumping, jump):
            for transport in ("paramiko", "openssh"):
                at_once(replace(jumping, transport=transport), logs, queue_id, f"{transport}, behind a jump host")
            row("connections that the jump host dropped", jump.log.count("past MaxStartups"), "dropped", 0)


def at_once(access: SshConfig, logs: dict[str, Path], queue_id: str, how: str) -> None:
    """Twenty hosts, with as many forks and with what a user has who says nothing."""
    alone = max(best(partial(ask, access, {name: logs[name]}, queue_id), 1) for name in list(logs)[:5])
    row(f"one host, {2 * LATENCY * 1000:.0f} ms away ({how}), seconds", alone, "s", alone)
    for forks in (FLEET, SshConfig().forks):
        seconds = best(partial(ask, replace(access, forks=forks), logs, queue_id), 3)
        row(f"{FLEET} such hosts (forks: {forks})", seconds / alone, "× one", 2)


@contextmanager
def behind(place: Path, client: Path, access: SshConfig) -> Iterator[tuple[SshConfig, Server]]:
    """The same servers behind a jump host that is as far away, with sshd's own MaxStartups."""
    jump = make_server(place / "jump", client)
    jump.start()
    try:
        with Slowly(jump.port, LATENCY) as line:
            config, known = place / "jumping", place / "jumping-known"
            through = f"Host jump\n  HostName 127.0.0.1\n  Port {line.port}\n  HostKeyAlias jump\n"
            config.write_text(f"{through}Host mx*\n  ProxyJump jump\n{Path(access.ssh_config_file).read_text()}")
            key = jump.known_hosts.read_text().partition(" ")[2]
            known.write_text(Path(access.known_hosts[0]).read_text() + f"jump {key}")
            yield replace(access, ssh_config_file=str(config), known_hosts=(str(known),)), jump
    finally:
        jump.stop()


def _copy(log: Path, place: Path) -> Path:
    """Where the servers' user may read it, and a hard link can lead to."""
    copy = place / "mail.log"
    copy.write_bytes(log.read_bytes())
    copy.chmod(0o644)
    return copy


def main() -> None:
    """All rows."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ssh", description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mailtrace-bench-") as temporary:
        place = Path(temporary)
        place.chmod(0o755)
        folder = options.folder or place
        client = make_key(place / "client")
        with made_user("mt-bench", place / "home") as user:
            server = make_server(place / "server", client)
            server.start()
            try:
                one_mail(server, user, folder, options.lines)
                memory(server, user, folder, options.lines)
            finally:
                server.stop()
            many(place, client, user, folder)


if __name__ == "__main__":
    main()
