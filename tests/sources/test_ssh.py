"""The source `ssh` as a whole, against real sshd processes: which lines come back, and what coverage says."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from mailtrace.config import SshConfig
from mailtrace.hosts import HostFacts, Inventory
from mailtrace.model import HostLogs, LogEntry, LogQuery
from mailtrace.parsers import make_parser
from mailtrace.sources import ssh_remote
from mailtrace.sources.ssh import SshSource, _Turns

from .sshd import PASSWORD, Server, User, free_port, made_user, make_key, secret

pytestmark = [pytest.mark.needs("root", "sshd", "ssh", "ssh-keygen")]

DAY = 86400.0


def at(day: float, second: float = 0.0) -> float:
    """A moment of January 2026; day 1 is the first."""
    return datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp() + (day - 1) * DAY + second


def line(moment: float, queue_id: str, message_id: str = "", host: str = "mx1") -> str:
    stamp = datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="microseconds")
    return f"{stamp} {host} postfix/cleanup[1]: {queue_id}: message-id=<{message_id or queue_id + '@example.com'}>\n"


def log(start: float, count: int, host: str = "mx1", *, step: float = 1.0) -> str:
    return "".join(line(start + n * step, f"{n:010X}", host=host) for n in range(count))


def ids(entries: Iterable[LogEntry]) -> list[str]:
    return sorted(entry.queue_id for entry in entries)


def source(access: SshConfig, logs: dict[str, list[str]] | str, **more: Any) -> SshSource:
    named = {"mx1": [logs]} if isinstance(logs, str) else logs
    described = [HostLogs(host, tuple(files)) for host, files in named.items()]
    fleet = Inventory({host: HostFacts() for host in named})
    return SshSource(described, lambda _logs: make_parser([], "", True), fleet, access=access, **more)


def problems(made: SshSource) -> list[str]:
    return [item.problem for item in made.coverage() if item.problem]


def write(folder: Path, name: str, text: str | bytes) -> str:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape"))
    path.chmod(0o644)
    return str(path)


# ------------------------------------------------------------------------------------------- turns


class Machine:
    """All that turns need of a server."""

    turn: AbstractContextManager[object]

    def stop(self) -> None:
        """Nothing runs here."""


def test_some_search_at_a_time_and_others_log_in_meanwhile() -> None:
    together, searching = threading.Barrier(4), threading.Semaphore(1)

    def read(server: Any) -> Iterator[list[LogEntry]]:
        together.wait(20)  # four are here at the same time
        with server.turn:
            assert searching.acquire(blocking=False)
            yield []
            searching.release()

    servers: Any = [Machine() for _ in range(8)]
    turns = _Turns(servers, read, 1)
    turns.start()
    got = [turns.next() for _ in range(16)]
    turns.end(stop=False)
    assert got.count([]) == got.count(None) == 8


def test_who_waits_for_a_turn_does_not_take_it_once_nobody_wants_to_know() -> None:
    took: list[object] = []

    def read(server: Any) -> Iterator[list[LogEntry]]:
        with server.turn:
            took.append(server)
            while True:
                yield []

    servers: Any = [Machine() for _ in range(4)]
    turns = _Turns(servers, read, 1)
    turns.start()
    assert turns.next() == []
    turns.end(stop=True)
    assert not [thread for thread in turns._threads if thread.is_alive()]
    assert len(took) == 1


# ------------------------------------------------------------------------------------------- what comes back


def test_only_lines_that_answer_travel(server: Server, reader: User, folder: Path) -> None:
    path = write(folder, "mail.log", log(at(1), 5000))
    made = source(server.access(reader), path)
    assert ids(made.query(LogQuery(any_of=("000000002A", "0000000100")))) == ["000000002A", "0000000100"]
    assert made.traffic.lines == 2
    [item] = made.coverage()
    assert (item.host, item.source, item.matched, item.problem) == ("mx1", "ssh", 2, "")
    assert (item.first, item.last) == (at(1), at(1, 4999))
    made.close()


def test_a_window_is_found_without_reading_the_log(server: Server, reader: User, folder: Path) -> None:
    path = write(folder, "mail.log", log(at(1), 60_000))
    made = source(server.access(reader), path)
    found = list(made.query(LogQuery(start=at(1, 30_000), end=at(1, 30_010))))
    times = [entry.time for entry in found]
    assert min(times) <= at(1, 30_000)
    assert max(times) >= at(1, 30_010)
    assert len(times) < 400
    assert made.traffic.received < 250_000
    made.close()


def test_positions_are_the_same_whatever_the_window(server: Server, reader: User, folder: Path) -> None:
    path = write(folder, "mail.log", log(at(1), 20_000))
    made = source(server.access(reader), path)
    literal = ("0000002710",)
    windows: list[tuple[float | None, float | None]] = [
        (None, None),
        (at(1, 9_900), at(1, 10_100)),
        (at(1, 9_999), None),
    ]
    seen = {e.seq for start, end in windows for e in made.query(LogQuery(any_of=literal, start=start, end=end))}
    everything = {e.seq for e in made.query(LogQuery()) if e.queue_id == literal[0]}
    assert len(seen) == 1
    assert everything == seen
    made.close()


def test_all_of_and_any_of_are_both_asked_on_the_server(server: Server, reader: User, folder: Path) -> None:
    path = write(
        folder,
        "mail.log",
        line(at(1), "AAAAAAAA01", "x@a") + line(at(1), "AAAAAAAA02", "x@b") + line(at(1), "BBBBBBBB01", "x@a"),
    )
    made = source(server.access(reader), path)
    assert ids(made.query(LogQuery(all_of=("aa", "X@"), any_of=("@A>", "nothing")))) == ["AAAAAAAA01"]
    assert made.traffic.lines == 1
    made.close()


def test_thousands_of_literals_go_through_standard_input(server: Server, reader: User, folder: Path) -> None:
    path = write(folder, "mail.log", log(at(1), 3000))
    wanted = tuple(f"{n:010X}@example.com" for n in range(0, 12_000, 2))
    made = source(server.access(reader), path)
    assert len(ids(made.query(LogQuery(any_of=wanted)))) == 1500
    made.close()


def test_a_line_without_an_end_and_bytes_that_are_no_text_are_lines_like_others(
    server: Server, reader: User, folder: Path
) -> None:
    text = (
        b"\xff\xfe\0"
        + line(at(1), "AAAAAAAA01").encode()
        + line(at(1), "AAAAAAAA02", "\udce4@x").encode("utf-8", "surrogateescape")
    )
    path = write(folder, "mail.log", log(at(1), 3).encode() + text.rstrip(b"\n"))
    made = source(server.access(reader), path)
    assert ids(made.query(LogQuery(any_of=("aaaaaaaa02",)))) == ["AAAAAAAA02"]
    assert ids(made.query(LogQuery(any_of=("\udce4@",)))) == ["AAAAAAAA02"]
    made.close()


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zst"])
def test_rotated_logs_are_unpacked_on_the_server(
    server: Server, reader: User, folder: Path, kind: str, need: Callable[[str], None]
) -> None:
    old = log(at(1), 400).encode()
    if kind == "zst":
        need("zstd")
        packed = subprocess.run(["zstd", "-c"], input=old, capture_output=True, check=True).stdout
    else:
        pack: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
        packed = pack[kind](old)
    write(folder, f"mail.log.2.{kind}", packed)
    path = write(folder, "mail.log", log(at(3), 400))
    made = source(server.access(reader), path)
    assert len(list(made.query(LogQuery(any_of=("000000002A",), start=at(1), end=at(4))))) == 2
    assert made.traffic.lines == 2
    assert not problems(made)
    made.close()


def test_rotated_logs_are_left_alone_without_a_window(server: Server, reader: User, folder: Path) -> None:
    write(folder, "mail.log.1", log(at(1), 10))
    path = write(folder, "mail.log", log(at(3), 10))
    made = source(server.access(reader), path)
    assert len(list(made.query(LogQuery(any_of=("0000000001",))))) == 1
    made.close()


def test_a_damaged_archive_is_told_and_read_as_far_as_it_goes(server: Server, reader: User, folder: Path) -> None:
    packed = gzip.compress(log(at(1), 20_000).encode())
    path = write(folder, "mail.log.gz", packed[: len(packed) // 2])
    made = source(server.access(reader), path)
    assert ids(made.query(LogQuery(any_of=("0000000001",)))) == ["0000000001"]
    assert "damaged" in problems(made)[0]
    made.close()


def test_a_rotation_between_two_waves_is_followed(server: Server, reader: User, folder: Path) -> None:
    path = write(folder, "mail.log", log(at(1), 2000))
    made = source(server.access(reader), path)
    window: dict[str, Any] = {"start": at(1), "end": at(2)}
    first = {e.seq for e in made.query(LogQuery(any_of=("00000001F4",), **window))}
    Path(path).rename(folder / "mail.log.1")
    write(folder, "mail.log", line(at(1, 3000), "FEED000001"))
    again = {e.seq for e in made.query(LogQuery(any_of=("00000001F4",), **window))}
    assert first == again
    assert ids(made.query(LogQuery(any_of=("FEED000001",), **window))) == ["FEED000001"]
    assert not problems(made)
    made.close()


def test_what_is_written_meanwhile_is_found_by_the_next_wave(server: Server, reader: User, folder: Path) -> None:
    path = write(folder, "mail.log", log(at(1), 2000))
    made = source(server.access(reader), path)
    assert ids(made.query(LogQuery(any_of=("FEED000002",)))) == []
    with Path(path).open("a") as stream:
        stream.write(line(at(1, 5000), "FEED000002"))
    assert ids(made.query(LogQuery(any_of=("FEED000002",)))) == ["FEED000002"]
    made.close()


def test_globs_and_homes_are_the_servers(server: Server, reader: User, folder: Path) -> None:
    for host in ("a", "b"):
        (folder / host).mkdir(mode=0o755)
        write(folder / host, "mail.log", line(at(1), f"AAAAAAAA0{host.upper()}"))
    (reader.home / "own.log").write_text(line(at(1), "AAAAAAAA0C"))
    made = source(server.access(reader), {"mx1": [f"{folder}/*/mail.lo?", "~/own.log"]})
    assert ids(made.query(LogQuery(any_of=("AAAAAAAA0",)))) == ["AAAAAAAA0A", "AAAAAAAA0B", "AAAAAAAA0C"]
    assert not problems(made)
    made.close()


# ------------------------------------------------------------------------------------------- evil text

EVIL = [
    "'; touch {mark}; '", '"; touch {mark}; "', "$(touch {mark})", "`touch {mark}`", "| touch {mark}",
    "& touch {mark} &",
    "&& touch {mark}", "|| touch {mark}", "> {mark}", "< /etc/passwd", ">> {mark}", "\\'; touch {mark}; \\'",
    "-f /etc/passwd", "--file=/etc/passwd", "-e", "--", "-", "-r", "--help", "-v", "*", "?", "[a-z]", ".*", "^", "$",
    "$HOME", "${{IFS}}", "$0", "!!", "!1", "!touch {mark}", "~", "~root", "#comment", "%s%n", "%d", "{{a,b}}", "a\\nb",
    "\\",
    "\\\\", "'", '"', "''", "' '", "\t", "a  b", "ä€😀", "\x01\x7f", "\x1b[31m", "\r", "a;b", "(x)", "=(x)", "<(x)",
    "^touch {mark}^", "/../../etc/passwd", "\udcff\udcfe", "EOF", "mailtrace:begin", "mailtrace:password:", "+1", "\\0",
    "\\052", "%25", "@{{u}}", "$'x'", '$"x"',
]  # fmt: skip


@pytest.mark.parametrize("sudo", [False, True], ids=["user", "sudo"])
def test_evil_literals_are_searched_for_and_nothing_else_happens(
    server: Server, reader: User, folder: Path, *, sudo: bool
) -> None:
    mark = reader.home / "touched"
    texts = [text.format(mark=mark) for text in EVIL]
    lines = [line(at(1, n), f"E{n:09X}", f",,{text},,x@y") for n, text in enumerate(texts)]
    decoys = log(at(2), 50)
    path = write(folder, "mail.log", "".join(lines) + decoys)
    if sudo:
        Path(path).chmod(0o600)
    made = source(server.access(reader, sudo=sudo, sudo_pass=secret(PASSWORD)), path)
    for n, text in enumerate(texts):
        found = {entry.queue_id for entry in made.query(LogQuery(all_of=(f",,{text},,",)))}
        assert found == {f"E{n:09X}"}, text
    assert not mark.exists()
    assert not problems(made)
    found = {entry.queue_id for entry in made.query(LogQuery(any_of=tuple(f",,{text},," for text in texts)))}
    assert found == {f"E{n:09X}" for n in range(len(texts))}
    made.close()


PATHS = (
    "a b.log",
    "-x.log",
    "$(id).log",
    "a'b.log",
    'a"b.log',
    "a!b.log",
    "a\\b.log",
    "ü.log",
    ";x.log",
    "a\tb.log",
    "*.log",
)


@pytest.mark.parametrize("name", PATHS)
def test_evil_paths_are_paths(server: Server, reader: User, folder: Path, name: str) -> None:
    path = write(folder, name, line(at(1), "AAAAAAAA01"))
    made = source(server.access(reader), path)
    assert ids(made.query(LogQuery(any_of=("AAAAAAAA01",)))) == ["AAAAAAAA01"]
    made.close()


def test_a_literal_with_a_line_break_is_in_no_line(server: Server, reader: User, folder: Path) -> None:
    path = write(folder, "mail.log", log(at(1), 5))
    made = source(server.access(reader), path)
    assert ids(made.query(LogQuery(all_of=("example\ncom",)))) == []
    assert ids(made.query(LogQuery(any_of=("\n", "0000000001")))) == ["0000000001"]
    made.close()


# ------------------------------------------------------------------------------------------- sudo


@pytest.fixture
def closed(folder: Path) -> str:
    """A log that only root may read, in a folder that only root may list."""
    (folder / "closed").mkdir(mode=0o700)
    path = write(folder / "closed", "mail.log", log(at(1), 100))
    Path(path).chmod(0o600)
    return path


def test_sudo_gets_its_password_when_it_asks(server: Server, reader: User, closed: str) -> None:
    made = source(server.access(reader, sudo=True, sudo_pass=secret(PASSWORD)), closed)
    assert ids(made.query(LogQuery(any_of=("0000000001",)))) == ["0000000001"]
    assert not problems(made)
    made.close()


def test_a_password_that_sudo_does_not_ask_for_goes_nowhere(
    server: Server, place: Path, closed: str, client: Path
) -> None:
    with made_user("mt-free", place / "free", sudo="ALL=(root) NOPASSWD: ALL") as user:
        made = source(server.access(user, sudo=True, sudo_pass=secret("0000000001")), closed)
        wanted = tuple(f"x{n:012}" for n in range(4000))
        assert ids(made.query(LogQuery(any_of=wanted))) == []
        assert ids(made.query(LogQuery(any_of=("0000000002",)))) == ["0000000002"]
        made.close()


def test_a_wrong_sudo_password_is_one_error_after_one_try(server: Server, reader: User, closed: str) -> None:
    made = source(server.access(reader, sudo=True, sudo_pass=secret("wrong wrong")), closed)
    for _ in range(3):
        assert ids(made.query(LogQuery(any_of=("0000000001",)))) == []
    [problem] = problems(made)
    assert "sudo refused the password" in problem
    assert "once" in problem
    assert "wrong wrong" not in problem
    assert made.coverage()[0].missing
    made.close()


def test_sudo_without_a_password_says_what_to_do(server: Server, reader: User, closed: str) -> None:
    made = source(server.access(reader, sudo=True), closed)
    assert ids(made.query(LogQuery(any_of=("0000000001",)))) == []
    assert "--ask-sudo-pass" in problems(made)[0]
    made.close()


def test_a_log_that_sudo_would_be_needed_for_costs_itself_only(
    server: Server, reader: User, closed: str, folder: Path
) -> None:
    path = write(folder, "mail.log", log(at(1), 10))
    made = source(server.access(reader, sudo=True), {"mx1": [path, closed]})
    assert len(ids(made.query(LogQuery()))) == 10
    assert len(problems(made)) == 1
    made.close()


def test_a_user_who_may_not_use_sudo_is_told(server: Server, place: Path, closed: str) -> None:
    with made_user("mt-plain", place / "plain") as user:
        made = source(server.access(user, sudo=True, sudo_pass=secret(PASSWORD)), closed)
        assert ids(made.query(LogQuery(any_of=("0000000001",)))) == []
        assert f"sudo does not allow {user.name}" in problems(made)[0]
        made.close()


def test_without_sudo_a_closed_log_is_permission_denied(server: Server, reader: User, closed: str) -> None:
    made = source(server.access(reader), closed)
    assert ids(made.query(LogQuery(any_of=("0000000001",)))) == []
    assert "permission denied" in problems(made)[0]
    made.close()


def test_the_sudoers_lines_of_the_plan_allow_just_what_runs(server: Server, place: Path, closed: str) -> None:
    version = subprocess.run(["sudo", "-V"], capture_output=True, text=True, check=True).stdout.split()[2]
    if tuple(int(part) for part in version.split("p")[0].split(".")) < (1, 9, 10):
        pytest.skip("needs sudo 1.9.10: an older one knows no expressions in sudoers")
    with made_user("mt-just", place / "just") as user:
        made = source(server.access(user, sudo=True), closed)
        allowed = [text.partition("sudoers: ")[2] for text in made.plan(LogQuery()) if "sudoers: " in text]
        rules = Path("/etc/sudoers.d") / user.name
        rules.write_text("".join(f"{text}\n" for text in allowed))
        rules.chmod(0o440)
        subprocess.run(["visudo", "-cq", "-f", rules], check=True)
        window: dict[str, Any] = {"start": at(1), "end": at(2)}
        assert ids(made.query(LogQuery(any_of=("0000000001",), **window))) == ["0000000001"]
        assert not problems(made)
        made.close()
        others = (["tail", "-c", "+1", "/etc/shadow"], ["cat", closed], ["tail", "-c", "+1", "/etc/shadow", closed])
        for other in others:
            command = ["su", user.name, "-c", f"sudo -n {' '.join(other)}"]
            assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_no_password_is_in_any_command_line(
    started: Callable[..., Server], reader: User, closed: str, folder: Path
) -> None:
    """Nor in the list of processes before, while and after sudo asks; between that as often as one can look."""
    sudo, told = folder / "bin" / "sudo", folder / "ps"
    sudo.parent.mkdir(mode=0o755)
    told.touch()
    told.chmod(0o666)
    look_around = f"ps -eww -o args </dev/null >>{told}"
    sudo.write_text(f'#!/bin/sh\n{look_around}\n{shutil.which("sudo")} "$@"\nstatus=$?\n{look_around}\nexit $status\n')
    sudo.chmod(0o755)
    own = started(SetEnv=f"PATH={sudo.parent}:/usr/bin:/bin")
    seen: list[str] = []
    enough = threading.Event()

    def look() -> None:
        while not enough.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.append(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
                except OSError:
                    continue

    watcher = threading.Thread(target=look)
    watcher.start()
    access = own.access(reader, sudo=True, sudo_pass=secret(PASSWORD), password=secret(PASSWORD), private_key="")
    made = source(access, closed)
    assert ids(made.query(LogQuery(any_of=("0000000001",)))) == ["0000000001"]
    text = "\n".join(made.plan(LogQuery(any_of=("x",))))
    made.close()
    enough.set()
    watcher.join()
    listed = told.read_text()
    assert f"/bin/sh {sudo} -S" in listed
    assert not any(PASSWORD in command for command in [*seen, listed, text, repr(access)])


# ------------------------------------------------------------------------------------------- shells and tools


@pytest.mark.parametrize("shell", ["csh", "fish", "bash", "dash"])
def test_every_login_shell_will_do(
    server: Server, place: Path, folder: Path, shell: str, need: Callable[[str], None]
) -> None:
    need(shell)
    path = write(folder, "mail.log", log(at(1), 100) + line(at(2), "FEED000003", "it's!$(x)\\\\@y"))
    with made_user(f"mt-{shell}", place / shell, shell=shutil.which(shell) or "") as user:
        made = source(server.access(user), path)
        assert ids(made.query(LogQuery(any_of=("0000000001", "it's!$(x)\\\\")))) == ["0000000001", "FEED000003"]
        assert not problems(made)
        made.close()


def test_start_up_files_may_print(server: Server, place: Path, folder: Path) -> None:
    path = write(folder, "mail.log", log(at(1), 100))
    with made_user("mt-chatty", place / "chatty", shell="/bin/bash") as user:
        (user.home / ".bashrc").write_text(
            "echo hello; echo -n 'no end'; echo oops >&2; export GREP_OPTIONS=-v TZ=Asia/Tokyo\n"
        )
        made = source(server.access(user), path)
        assert ids(made.query(LogQuery(any_of=("0000000001",)))) == ["0000000001"]
        assert not problems(made)
        made.close()


def test_a_user_without_a_shell_is_told(server: Server, place: Path, folder: Path) -> None:
    path = write(folder, "mail.log", log(at(1), 100))
    with made_user("mt-none", place / "none", shell="/usr/sbin/nologin") as user:
        made = source(server.access(user), path)
        assert ids(made.query(LogQuery())) == []
        assert "login shell" in problems(made)[0]
        made.close()


@pytest.fixture
def busybox(place: Path, need: Callable[[str], None]) -> Path:
    """A folder of BusyBox' tools."""
    need("busybox")
    tools = place / f"busybox-{time.monotonic_ns()}"
    tools.mkdir(mode=0o755)
    for name in ("sh", "grep", "tail", "head", "ls", "gzip", "wc", "date", "id", "readlink", "printf", "cat"):
        (tools / name).symlink_to(shutil.which("busybox") or "")
    return tools


def test_busybox_will_do(
    started: Callable[..., Server], reader: User, folder: Path, busybox: Path, server: Server
) -> None:
    write(folder, "mail.log.1.gz", gzip.compress(log(at(1), 50).encode()))
    path = write(folder, "mail.log", log(at(2), 20_000))
    own = started(SetEnv=f"PATH={busybox}")
    made = source(own.access(reader), path)
    window: dict[str, Any] = {"start": at(1), "end": at(2, 10_000)}
    query = LogQuery(any_of=("0000000001", "0000000010", "0000001388"), **window)
    found = list(made.query(query))
    assert ids(found) == ["0000000001", "0000000001", "0000000010", "0000000010", "0000001388"]
    assert {e.seq for e in found} == {e.seq for e in made.query(replace(query, start=at(1) - 1e6))}
    assert not problems(made)
    made.close()


FREEBSD = {  # what each takes, by its manual page there; letters with a value of their own behind the colon
    "grep": "abcdDEFGHhIiLlmnOopqRSsUVvwxz:ABCef",
    "tail": "Fqr:bcn",
    "head": "qv:cn",
    "ls": "ABCFGHILPRSTUWZabcdfghiklmnopqrstuwxy1,:D",
    "wc": "Lclmw:",
    "date": "jnRu:Ifrvz",
    "readlink": "fn:",
    "id": "AGMPacgnpru:",
    "gzip": "19cdfhklLNnqrtVv:S",
}
STRICT = """#!/bin/bash
# Refuses every option that is not FreeBSD's, and options behind operands, and runs the machine's own program.
given=("$@")
while (($#)); do
  case $1 in
    --) break;;
    --*) echo "%(name)s: unrecognized option $1" >&2; exit 2;;
    -?*) letters=${1#-}; shift
      while [ -n "$letters" ]; do
        letter=${letters:0:1}; letters=${letters:1}
        if [[ '%(valued)s' == *"$letter"* ]]; then [ -z "$letters" ] && shift; letters=
        elif [[ '%(plain)s' != *"$letter"* ]]; then echo "%(name)s: illegal option -- $letter" >&2; exit 2; fi
      done;;
    *) for rest; do case $rest in -?*) echo "%(name)s: $rest: No such file" >&2; exit 2;; esac; done; break;;
  esac
done
exec /usr/bin/%(name)s "${given[@]}"
"""


@pytest.fixture
def freebsd(place: Path) -> Path:
    """A folder of programs that take what FreeBSD's take."""
    tools = place / f"freebsd-{time.monotonic_ns()}"
    tools.mkdir(mode=0o755)
    for name, letters in FREEBSD.items():
        plain, _, valued = letters.partition(":")
        (tools / name).write_text(STRICT % {"name": name, "plain": plain, "valued": valued})
        (tools / name).chmod(0o755)
    return tools


def test_only_what_freebsds_programs_take_is_asked_of_them(
    started: Callable[..., Server], reader: User, folder: Path, freebsd: Path
) -> None:
    """Its grep has no `-P`, its tail no `--bytes`, its head no negative numbers …"""
    refused = subprocess.run([freebsd / "grep", "-aP", "x"], check=False, capture_output=True, text=True)
    assert (refused.returncode, refused.stderr) == (2, "grep: illegal option -- P\n")
    write(folder, "mail.log.1.gz", gzip.compress(log(at(1), 50).encode()))
    path = write(folder, "mail.log", log(at(2), 20_000))
    own = started(SetEnv=f"PATH={freebsd}:/usr/bin:/bin")
    made = source(own.access(reader), path)
    query = LogQuery(any_of=("0000000001", "0000001388"), start=at(1), end=at(2, 10_000))
    assert ids(made.query(query)) == ["0000000001", "0000000001", "0000001388"]
    many = tuple(f"{n:010X}" for n in range(2000))  # on standard input
    assert len(ids(made.query(replace(query, any_of=many, start=at(2))))) == 2000
    assert [item.problem for item in made.check() if item.problem] == []
    assert problems(made) == []
    made.close()


@pytest.mark.parametrize("name, letters", [("head", "qv:n"), ("tail", "fr:bn")])
def test_a_machine_whose_head_or_tail_cannot_cut_is_told(
    started: Callable[..., Server], reader: User, folder: Path, freebsd: Path, name: str, letters: str
) -> None:
    plain, _, valued = letters.partition(":")
    (freebsd / name).write_text(STRICT % {"name": name, "plain": plain, "valued": valued})
    path = write(folder, "mail.log", log(at(1), 10))
    own = started(SetEnv=f"PATH={freebsd}:/usr/bin:/bin")
    made = source(own.access(reader), path)
    assert ids(made.query(LogQuery())) == []
    assert "head -c N do not cut" in problems(made)[0]
    made.close()


def test_without_grep_whole_windows_travel_and_the_coverage_says_so(
    started: Callable[..., Server], reader: User, folder: Path, busybox: Path
) -> None:
    grep = busybox / "grep"
    grep.unlink()
    (busybox / "sh").unlink()
    (busybox / "sh").symlink_to("/bin/dash")  # BusyBox' own would not look for grep in PATH
    grep.write_text("#!/bin/sh\nexit 2\n")
    grep.chmod(0o755)
    path = write(folder, "mail.log", log(at(1), 500))
    own = started(SetEnv=f"PATH={busybox}")
    made = source(own.access(reader), path)
    assert ids(made.query(LogQuery(any_of=("0000000001",)))) == ["0000000001"]
    assert "no grep" in problems(made)[0]
    assert not any(item.missing for item in made.coverage())
    made.close()


# ------------------------------------------------------------------------------------------- faults


def test_a_closed_port_costs_that_host_only(server: Server, reader: User, folder: Path) -> None:
    path = write(folder, "mail.log", log(at(1), 10))
    access = server.access(reader)
    config = Path(access.ssh_config_file)
    config.write_text(f"Host down\n  Port {free_port()}\n{config.read_text()}")
    made = source(access, {"mx1": [path], "down": [path]})
    assert len(ids(made.query(LogQuery()))) == 10
    assert [(item.host, item.missing) for item in made.coverage() if item.problem] == [("down", True)]
    assert "refused" in problems(made)[0]
    made.close()


def test_wrong_user_wrong_key_and_wrong_password_are_told(
    server: Server, reader: User, folder: Path, place: Path
) -> None:
    path = write(folder, "mail.log", log(at(1), 10))
    other = place / "other-key"
    if not other.exists():
        make_key(other)
    cases = {
        "login as nobody-here refused": server.access("nobody-here"),
        f"tried key {other}": server.access(reader, private_key=str(other)),
        "the password": server.access(reader, private_key="", password=secret("not it at all")),
        "there is no key /nowhere/key": server.access(reader, private_key="/nowhere/key"),
    }
    for text, access in cases.items():
        made = source(access, path)
        assert ids(made.query(LogQuery())) == []
        assert text in problems(made)[0]
        assert "not it at all" not in problems(made)[0]
        made.close()


def test_a_wrong_password_is_sent_once(started: Callable[..., Server], reader: User, folder: Path) -> None:
    own = started()
    path = write(folder, "mail.log", log(at(1), 10))
    made = source(own.access(reader, private_key="", password=secret("not it at all")), path)
    for _ in range(3):
        assert ids(made.query(LogQuery())) == []
    made.close()
    assert own.told("Failed password") == 1


def test_an_sshd_that_is_killed_in_mid_read_is_told_and_keeps_what_came(
    started: Callable[..., Server], reader: User, folder: Path
) -> None:
    path = write(folder, "mail.log", log(at(1), 400_000))
    own = started()
    made = source(own.access(reader), path)
    entries = made.query(LogQuery())
    first = list(islice(entries, 1000))
    own.cut()
    rest = sum(1 for _ in entries)
    assert len(first) == 1000
    assert rest < 399_000
    assert any("lost" in text for text in problems(made))
    assert any(item.missing for item in made.coverage())
    made.close()


def test_one_session_at_a_time_is_enough(started: Callable[..., Server], reader: User, folder: Path) -> None:
    path = write(folder, "mail.log", log(at(1), 5000))
    own = started(MaxSessions="1")
    made = source(own.access(reader), {"mx1": [path], "mx2": [path + "x"]})
    write(folder, "mail.logx", log(at(1), 10, "mx2"))
    for n in range(5):
        assert len(ids(made.query(LogQuery(any_of=(f"000000000{n}",))))) == 2
    assert not problems(made)
    made.close()


def test_connections_that_a_busy_server_drops_are_tried_again(
    started: Callable[..., Server], reader: User, folder: Path
) -> None:
    path = write(folder, "mail.log", log(at(1), 10))
    own = started(MaxStartups="1", LogLevel="DEBUG1")
    made = source(own.access(reader), path)
    results: list[int] = []
    with logging_in(own.port):
        before = own.log.count("MaxStartups")
        thread = threading.Thread(target=lambda: results.append(len(ids(made.query(LogQuery())))))
        thread.start()
        until = time.monotonic() + 20
        while own.log.count("MaxStartups") == before and time.monotonic() < until:
            time.sleep(0.02)
    thread.join()
    assert results == [10]
    made.close()


def test_a_server_that_is_busy_all_the_time_is_told_after_some_tries(
    started: Callable[..., Server], reader: User, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_remote, "_PAUSE", 0.01)
    own = started(MaxStartups="1")
    made = source(own.access(reader), write(folder, "mail.log", log(at(1), 10)))
    with logging_in(own.port):
        assert ids(made.query(LogQuery())) == []
    [problem] = problems(made)
    assert "MaxStartups" in problem
    assert "tried 6 times" in problem
    made.close()


@contextmanager
def logging_in(port: int) -> Iterator[None]:
    """Somebody who does not get on with it, for whom alone a server with `MaxStartups 1` has room."""
    while True:  # who looked whether it listens may not have been forgotten yet
        with socket.create_connection(("127.0.0.1", port)) as other:
            if other.recv(100).startswith(b"SSH-"):
                yield
                return
        time.sleep(0.02)


def test_a_login_banner_is_no_output(started: Callable[..., Server], reader: User, folder: Path) -> None:
    banner = write(folder, "banner", "AUTHORIZED USERS ONLY\n" * 50)
    path = write(folder, "mail.log", log(at(1), 10))
    own = started(Banner=banner)
    made = source(own.access(reader), path)
    assert len(ids(made.query(LogQuery()))) == 10
    made.close()


def test_a_port_that_is_no_ssh_server_is_told(reader: User, server: Server, folder: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        access = server.access(reader, timeout=1.0)
        Path(access.ssh_config_file).write_text(f"Host *\n  HostName 127.0.0.1\n  Port {silent.getsockname()[1]}\n")
        made = source(access, str(folder / "mail.log"))
        assert ids(made.query(LogQuery())) == []
        assert problems(made)
        made.close()


def test_a_file_that_is_not_there_is_told_once(server: Server, reader: User, folder: Path) -> None:
    write(folder, "mail.log.1", log(at(1), 10))
    made = source(server.access(reader), str(folder / "mail.log"))
    for _ in range(2):
        assert ids(made.query(LogQuery())) == []
    [problem] = problems(made)
    assert "no such file" in problem
    assert "mail.log.1" in problem
    made.close()


def test_an_empty_log_is_read_and_no_problem(server: Server, reader: User, folder: Path) -> None:
    made = source(server.access(reader), write(folder, "mail.log", ""))
    assert ids(made.query(LogQuery(any_of=("x",)))) == []
    assert [(item.host, item.problem) for item in made.coverage()] == [("mx1", "")]
    made.close()


def test_who_stops_listening_ends_the_remote_commands(
    started: Callable[..., Server], reader: User, folder: Path
) -> None:
    path = write(folder, "mail.log", log(at(1), 300_000))
    own = started()
    made = source(own.access(reader), path)
    entries = made.query(LogQuery())
    next(entries)
    assert _processes(path)
    entries.close()  # type: ignore[attr-defined]
    until = time.monotonic() + 30
    while _processes(path) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _processes(path)
    made.close()


def _processes(text: str) -> list[int]:
    """Processes with a text in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text.encode() in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


# ------------------------------------------------------------------------------------------- fleets


def test_names_of_one_machine_share_one_connection(started: Callable[..., Server], reader: User, folder: Path) -> None:
    own = started()
    logs = {f"mx{n}": [write(folder, f"mx{n}.log", log(at(1), 10, f"mx{n}"))] for n in range(12)}
    made = source(own.access(reader), logs)
    found = list(made.query(LogQuery(any_of=("0000000001",))))
    assert sorted({entry.host for entry in found}) == sorted(logs)
    assert own.told("Accepted publickey") == 1
    made.close()


def test_a_loghosts_file_is_divided_by_the_names_in_its_lines(server: Server, reader: User, folder: Path) -> None:
    path = write(folder, "all.log", log(at(1), 50, "mx1") + log(at(1, 100), 50, "mx2.example.org"))
    made = source(server.access(reader), {"mx1": [path], "mx2": [path], "mx3": [path]})
    found = list(made.query(LogQuery(any_of=("0000000001",))))
    assert sorted(entry.host for entry in found) == ["mx1", "mx2"]
    assert [e.host for e in made.query(LogQuery(hosts=("mx2",), any_of=("0000000001",)))] == ["mx2"]
    covered = {item.host: (item.first, item.last) for item in made.coverage()}
    assert covered["mx2"] == (at(1, 100), at(1, 149))
    assert covered["mx1"] == (at(1), at(1, 49))
    assert covered["mx3"] == (None, None)
    made.close()


def test_a_closed_loghosts_file_is_divided_under_sudo(server: Server, reader: User, closed: str) -> None:
    made = source(server.access(reader, sudo=True, sudo_pass=secret(PASSWORD)), {"mx1": [closed], "mx2": [closed]})
    assert [entry.host for entry in made.query(LogQuery(any_of=("0000000001",)))] == ["mx1"]
    assert {item.host: item.first for item in made.coverage()} == {"mx1": at(1), "mx2": None}
    made.close()


def test_only_machines_that_are_asked_are_logged_in_to(
    started: Callable[..., Server], reader: User, server: Server, folder: Path
) -> None:
    own = started()
    path = write(folder, "mail.log", log(at(1), 10))
    access = server.access(reader)
    config = Path(access.ssh_config_file)
    config.write_text(f"Host other\n  Port {own.port}\n{config.read_text()}")
    made = source(access, {"mx1": [path], "other": [path]})
    assert len(ids(made.query(LogQuery(hosts=("mx1",))))) == 10
    assert "Accepted" not in own.log
    made.close()


def test_check_logs_in_and_reads_first_and_last_stamps_only(server: Server, reader: User, folder: Path) -> None:
    path = write(folder, "mail.log", log(at(1), 50_000))
    closed = write(folder, "closed.log", log(at(1), 10))
    Path(closed).chmod(0o600)
    made = source(server.access(reader), {"mx1": [path, str(folder / "missing.log"), closed]})
    good, unread, bad = sorted(made.check(), key=lambda item: (item.missing, "no such" in item.problem))
    assert (good.first, good.last) == (at(1), at(1, 49_999))
    assert re.fullmatch(r"clock right, zone \S+", good.clock)
    assert unread.missing
    assert "permission denied" in unread.problem
    assert bad.missing
    assert "no such file" in bad.problem
    assert made.traffic.received < 20_000
    made.close()


def test_the_plan_opens_no_connection_and_shows_every_command(server: Server, folder: Path) -> None:
    before = server.log.count("Connection from")
    made = source(server.access("somebody", sudo=True, sudo_pass=secret(PASSWORD)), "/var/log/mail.log")
    text = "\n".join(made.plan(LogQuery(any_of=("it's",), start=at(1))))
    assert f"log in as somebody@127.0.0.1:{server.port}" in text
    assert "grep -abFi" in text
    assert "sudoers: somebody ALL=(root) NOPASSWD: /usr/bin/tail ^-c \\+[0-9]+ /var/log/mail[.]log" in text
    assert PASSWORD not in text
    assert server.log.count("Connection from") == before


# ------------------------------------------------------------------------------------------- following


class Following:
    """Follows logs on a server, as another process in each round."""

    def __init__(self, make: Callable[[], SshSource]) -> None:
        self.make = make
        self.places: dict[str, Any] = {}
        self.received = 0
        self.problems: list[str] = []

    def round(self) -> list[str]:
        made = self.make()
        found: list[str] = []
        for tail in made.follow(self.places, None, time.time()):
            found += [entry.queue_id for entry, _mark in tail]
            self.problems = [tail.problem] if tail.problem else []
            if not tail.problem:
                self.places[tail.name] = json.loads(json.dumps(tail.place()))
        self.received = made.traffic.received
        made.close()
        return found


def test_only_new_bytes_of_a_followed_log_travel(server: Server, reader: User, folder: Path) -> None:
    path = write(folder, "mail.log", log(at(1), 5000))
    following = Following(lambda: source(server.access(reader), path))
    assert len(following.round()) == 5000
    with Path(path).open("a", encoding="utf-8") as more:
        more.write(line(at(2), "AAAAAAAA01") + line(at(2), "AAAAAAAA02")[:-9])
    assert following.round() == ["AAAAAAAA01"]
    assert following.received < 20_000
    with Path(path).open("a", encoding="utf-8") as more:
        more.write(line(at(2), "AAAAAAAA02")[-9:])
    assert following.round() == ["AAAAAAAA02"]
    assert following.round() == []


def test_a_log_on_a_server_is_followed_through_rotation(server: Server, reader: User, folder: Path) -> None:
    path = Path(write(folder, "mail.log", log(at(1), 50)))
    following = Following(lambda: source(server.access(reader), str(path)))
    assert len(following.round()) == 50
    with path.open("a", encoding="utf-8") as more:
        more.write(line(at(2), "AAAAAAAA01"))
    path.rename(folder / "mail.log.1")
    write(folder, "mail.log", line(at(2), "AAAAAAAA02"))
    assert following.round() == ["AAAAAAAA01", "AAAAAAAA02"]
    with path.open("a", encoding="utf-8") as more:
        more.write(line(at(2), "AAAAAAAA03"))
    shutil.copy(path, folder / "mail.log.2")
    os.truncate(path, 0)
    assert following.round() == ["AAAAAAAA03"]
    (folder / "mail.log.3.gz").write_bytes(gzip.compress((folder / "mail.log.2").read_bytes()))
    (folder / "mail.log.2").unlink()
    write(folder, "mail.log", line(at(3), "AAAAAAAA04"))
    assert following.round() == ["AAAAAAAA04"]


def test_a_server_that_cannot_be_reached_costs_itself_and_keeps_its_place(
    server: Server, reader: User, folder: Path
) -> None:
    path = write(folder, "mail.log", log(at(1), 3))
    following = Following(lambda: source(server.access(reader), path))
    following.round()
    before = dict(following.places)
    lost = Following(lambda: source(server.access("nobody-there"), path))
    lost.places = dict(before)
    assert lost.round() == []
    assert lost.problems
    assert lost.places == before
