"""Real sshd processes on loopback, each with keys, users and settings of its own: what the tests of `ssh` log in to.

Needs root, sshd and ssh-keygen: the users are real ones of this machine, made for the tests and deleted behind them.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from tempfile import TemporaryDirectory

import pytest

from mailtrace.config import SshConfig
from mailtrace.secret import Secret

PASSWORD = "correct horse !$'\" battery"
SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin") or "/usr/sbin/sshd"


@dataclass
class User:
    """A user of this machine."""

    name: str
    home: Path


@dataclass
class Server:
    """One sshd."""

    folder: Path
    port: int
    client: Path  # the client's private key
    transport: str = "paramiko"
    process: subprocess.Popen[bytes] | None = None
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def known_hosts(self) -> Path:
        """A known_hosts that holds its key."""
        return self.folder / "known_hosts"

    @property
    def log(self) -> str:
        """What it wrote."""
        return (self.folder / "log").read_text(errors="replace")

    def told(self, words: str) -> int:
        """How often it has written these words, which it may do a moment after its client has gone."""
        until = time.monotonic() + 20
        while words not in self.log and time.monotonic() < until:
            time.sleep(0.05)
        return self.log.count(words)

    def start(self) -> None:
        """Start, and wait until it listens."""
        lines = {
            "Port": str(self.port),
            "ListenAddress": "127.0.0.1",
            "HostKey": str(self.folder / "host"),
            "PidFile": "none",
            "UsePAM": "no",
            "StrictModes": "no",
            "AuthorizedKeysFile": f"{self.client}.pub",
            "PasswordAuthentication": "yes",
            "KbdInteractiveAuthentication": "no",
            "LogLevel": "VERBOSE",
            **self.settings,
        }
        config = self.folder / "sshd_config"
        config.write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
        Path("/run/sshd").mkdir(exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [SSHD, "-D", "-e", "-f", config], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until = time.monotonic() + 30
        while time.monotonic() < until:
            with suppress(OSError), socket.create_connection((lines["ListenAddress"], self.port), 1):
                return
            time.sleep(0.02)
        raise AssertionError(self.log)

    def cut(self) -> None:
        """End all its connections, as a crash would."""
        children = _children(self.process.pid) if self.process else []
        for pid in [*children, *(grand for child in children for grand in _children(child))]:
            with suppress(ProcessLookupError):  # one ends with the other
                os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """End it with all its connections."""
        if self.process is None:
            return
        self.cut()
        self.process.terminate()
        self.process.wait(30)
        self.process = None

    def access(self, user: User | str, **more: object) -> SshConfig:
        """What config.yaml would say to reach it, with an ssh_config of its own."""
        name = user if isinstance(user, str) else user.name
        config = self.folder / f"ssh_config-{name}"
        config.write_text(f"Host *\n  HostName 127.0.0.1\n  Port {self.port}\n")
        fields: dict[str, object] = {
            "username": name,
            "private_key": str(self.client),
            "known_hosts": (str(self.known_hosts),),
            "ssh_config_file": str(config),
            "sudo": False,
            "timeout": 5.0,
            "transport": self.transport,
        }
        fields.update(more)
        return SshConfig(**fields)  # type: ignore[arg-type]


def secret(text: str) -> Secret:
    """A password as the config holds it."""
    return Secret(text)


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """A key pair."""
    bits = ["-b", "2048"] if kind == "rsa" else []  # the least that is taken everywhere: finding more takes seconds
    subprocess.run(["ssh-keygen", "-q", "-t", kind, *bits, "-N", passphrase, "-f", path], check=True)
    return path


def make_server(
    folder: Path,
    client: Path,
    settings: Mapping[str, str] | None = None,
    kind: str = "ed25519",
    transport: str = "paramiko",
) -> Server:
    """An sshd that is not started yet."""
    folder.mkdir(parents=True)
    key = make_key(folder / "host", kind).with_suffix(".pub").read_text().split()
    server = Server(folder, free_port(), client, transport, settings=dict(settings or {}))
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {key[0]} {key[1]}\n")
    return server


@contextmanager
def made_user(name: str, home: Path, *, shell: str = "/bin/sh", sudo: str = "", groups: str = "") -> Iterator[User]:
    """A user with `PASSWORD`; `sudo` is what sudoers says behind its name. Two test runs share none."""
    name = f"{name}-{os.getpid()}"
    more = ["-G", groups] if groups else []
    rules = Path("/etc/sudoers.d") / name
    _delete(name)
    subprocess.run(["useradd", "-M", "-d", home, "-s", shell, *more, name], check=True)
    try:
        home.mkdir(parents=True, exist_ok=True)
        shutil.chown(home, name)
        # A hash that is quick to check: sudo asks for it hundreds of times.
        subprocess.run(["chpasswd", "-c", "SHA256", "-s", "1000"], input=f"{name}:{PASSWORD}\n".encode(), check=True)
        if sudo:
            rules.write_text(f"{name} {sudo}\nDefaults:{name} !lecture\n")
            rules.chmod(0o440)
        yield User(name, home)
    finally:
        rules.unlink(missing_ok=True)
        _delete(name)


class Slowly:
    """A way to a port on which every packet takes some seconds, in both directions (pipelined, as a long line is)."""

    def __init__(self, port: int, seconds: float) -> None:
        self.seconds = seconds
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = [self._listener]
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> Slowly:  # noqa: PYI034 - Self is Python 3.11's
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                self._open += [near, far]
                for one, other in ((near, far), (far, near)):
                    late: Queue[tuple[float, bytes]] = Queue()
                    threading.Thread(target=self._take, args=(one, late), daemon=True).start()
                    threading.Thread(target=self._give, args=(other, late), daemon=True).start()

    def _take(self, one: socket.socket, late: Queue[tuple[float, bytes]]) -> None:
        data = b"x"
        while data:
            try:
                data = one.recv(1 << 16)
            except OSError:
                data = b""
            late.put((time.monotonic() + self.seconds, data))

    def _give(self, other: socket.socket, late: Queue[tuple[float, bytes]]) -> None:
        while True:
            due, data = late.get()
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                if not data:
                    other.shutdown(socket.SHUT_RDWR)
                    return
                other.sendall(data)
            except OSError:
                return


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session", params=["paramiko", "openssh"])
def transport(request: pytest.FixtureRequest) -> str:
    """What speaks SSH: the same holds for both."""
    return str(request.param)


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A folder that every user may enter: those of pytest are its own user's only."""
    with TemporaryDirectory(prefix="mailtrace-ssh-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def client(place: Path) -> Path:
    """The client's private key."""
    return make_key(place / "client")


@pytest.fixture(scope="session")
def reader(place: Path) -> Iterator[User]:
    """A user who may do anything through sudo, with the password."""
    with made_user("mt-reader", place / "reader", sudo="ALL=(root) ALL") as user:
        yield user


@pytest.fixture(scope="session")
def server(place: Path, client: Path, transport: str) -> Iterator[Server]:
    """An sshd that all tests may share."""
    made = make_server(place / f"server-{transport}", client, transport=transport)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def started(place: Path, client: Path, transport: str) -> Iterator[Callable[..., Server]]:
    """Starts an sshd with settings of its own."""
    made: list[Server] = []

    def start(kind: str = "ed25519", **settings: str) -> Server:
        made.append(make_server(place / f"sshd-{time.monotonic_ns()}", client, settings, kind, transport))
        made[-1].start()
        return made[-1]

    yield start
    for one in made:
        one.stop()


@pytest.fixture
def folder(place: Path) -> Iterator[Path]:
    """A folder of logs that everyone may read."""
    made = place / f"logs-{time.monotonic_ns()}"
    made.mkdir(mode=0o755)
    yield made
    shutil.rmtree(made)


def _delete(name: str) -> None:
    subprocess.run(["userdel", "-f", name], check=False, capture_output=True)


def _children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], check=False, capture_output=True, text=True)
    return [int(child) for child in found.stdout.split()]


def until(true: Callable[[], bool]) -> None:
    """Wait for what comes soon, also on a busy machine."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)
