"""The source `ssh` as a whole, against real sshd processes: which lines come back, and what coverage says."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from mailtrace.config import SshConfig
from mailtrace.hosts import HostFacts, Inventory
from mailtrace.model import HostLogs, LogEntry, LogQuery
from mailtrace.parsers import make_parser
from mailtrace.sources.ssh import SshSource

from .sshd import PASSWORD, Server, User, free_port, made_user, make_key, make_server, secret

pytestmark = [pytest.mark.needs("root", "sshd", "ssh-keygen")]

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


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A folder that every user may enter: those of pytest are its own user's only."""
    with TemporaryDirectory(prefix="mailtrace-ssh-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def client(place: Path) -> Path:
    return make_key(place / "client")


@pytest.fixture(scope="session")
def reader(place: Path) -> Iterator[User]:
    with made_user("mt-reader", place / "reader", sudo="ALL=(root) ALL") as user:
        yield user


@pytest.fixture(scope="session")
def server(place: Path, client: Path) -> Iterator[Server]:
    made = make_server(place / "server", client)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def folder(place: Path) -> Iterator[Path]:
    """A folder of logs that everyone may read."""
    made = place / f"logs-{time.monotonic_ns()}"
    made.mkdir(mode=0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def started(place: Path, client: Path) -> Iterator[Callable[..., Server]]:
    """Starts an sshd with settings of its own."""
    made: list[Server] = []

    def start(**settings: str) -> Server:
        made.append(make_server(place / f"sshd-{time.monotonic_ns()}", client, settings))
        made[-1].start()
        return made[-1]

    yield start
    for one in made:
        one.stop()


def write(folder: Path, name: str, text: str | bytes) -> str:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape"))
    path.chmod(0o644)
    return str(path)


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
    time.sleep(2.1)
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


def test_no_password_is_in_any_command_line(server: Server, reader: User, closed: str) -> None:
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
    access = server.access(reader, sudo=True, sudo_pass=secret(PASSWORD), password=secret(PASSWORD), private_key="")
    made = source(access, closed)
    assert ids(made.query(LogQuery(any_of=("0000000001",)))) == ["0000000001"]
    text = "\n".join(made.plan(LogQuery(any_of=("x",))))
    made.close()
    enough.set()
    watcher.join()
    assert any("sudo" in command for command in seen)
    assert not any(PASSWORD in command for command in [*seen, text, repr(access)])


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
    assert own.log.count("Failed password") == 1


def test_an_sshd_that_is_killed_in_mid_read_is_told_and_keeps_what_came(
    started: Callable[..., Server], reader: User, folder: Path
) -> None:
    path = write(folder, "mail.log", log(at(1), 400_000))
    own = started()
    made = source(own.access(reader), path)
    entries = made.query(LogQuery())
    first = list(islice(entries, 1000))
    for pid in own.sessions():
        os.kill(pid, 9)
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
    own = started(MaxStartups="2:70:6")
    made = [source(own.access(reader), path) for _ in range(10)]
    results: list[int] = []
    threads = [threading.Thread(target=lambda one=one: results.append(len(ids(one.query(LogQuery()))))) for one in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [10] * 10
    for one in made:
        one.close()


def test_a_login_banner_is_no_output(started: Callable[..., Server], reader: User, folder: Path) -> None:
    banner = write(folder, "banner", "AUTHORIZED USERS ONLY\n" * 50)
    path = write(folder, "mail.log", log(at(1), 10))
    own = started(Banner=banner)
    made = source(own.access(reader), path)
    assert len(ids(made.query(LogQuery()))) == 10
    made.close()


def test_a_port_that_is_no_ssh_server_is_told(reader: User, server: Server, folder: Path) -> None:
    import socket

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
    until = time.monotonic() + 5
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
    assert own.log.count("Accepted publickey") == 1
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
    made = source(server.access(reader), {"mx1": [path, str(folder / "missing.log")]})
    good, bad = made.check()
    assert (good.first, good.last) == (at(1), at(1, 49_999))
    assert bad.missing
    assert "no such file" in bad.problem
    assert made.traffic.received < 20_000
    made.close()


def test_the_plan_opens_no_connection_and_shows_every_command(server: Server, folder: Path) -> None:
    before = server.log
    made = source(server.access("somebody", sudo=True, sudo_pass=secret(PASSWORD)), "/var/log/mail.log")
    text = "\n".join(made.plan(LogQuery(any_of=("it's",), start=at(1))))
    assert f"log in as somebody@127.0.0.1:{server.port}" in text
    assert "grep -abFi" in text
    assert "sudoers: somebody ALL=(root) NOPASSWD: /usr/bin/tail ^-c \\+[0-9]+ /var/log/mail[.]log" in text
    assert PASSWORD not in text
    assert server.log == before
