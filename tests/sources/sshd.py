"""Real sshd processes on loopback, each with keys, users and settings of its own: what the tests of `ssh` log in to.

Needs root, sshd and ssh-keygen: the users are real ones of this machine, made for the tests and deleted behind them.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

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
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError(self.log)

    def sessions(self) -> list[int]:
        """The processes of its connections."""
        children = _children(self.process.pid) if self.process else []
        return [*children, *(grand for child in children for grand in _children(child))]

    def stop(self) -> None:
        """End it with all its connections."""
        if self.process is None:
            return
        for pid in self.sessions():
            _kill(pid)
        self.process.terminate()
        self.process.wait(5)
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
        }
        fields.update(more)
        return SshConfig(**fields)  # type: ignore[arg-type]


def secret(text: str) -> Secret:
    """A password as the config holds it."""
    return Secret(text)


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """A key pair."""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", path], check=True)
    return path


def make_server(folder: Path, client: Path, settings: Mapping[str, str] | None = None, kind: str = "ed25519") -> Server:
    """An sshd that is not started yet."""
    folder.mkdir(parents=True)
    key = make_key(folder / "host", kind).with_suffix(".pub").read_text().split()
    server = Server(folder, free_port(), client, settings=dict(settings or {}))
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
        subprocess.run(["chpasswd"], input=f"{name}:{PASSWORD}\n".encode(), check=True)
        if sudo:
            rules.write_text(f"{name} {sudo}\nDefaults:{name} !lecture\n")
            rules.chmod(0o440)
        yield User(name, home)
    finally:
        rules.unlink(missing_ok=True)
        _delete(name)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _delete(name: str) -> None:
    subprocess.run(["userdel", "-f", name], check=False, capture_output=True)


def _children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], check=False, capture_output=True, text=True)
    return [int(child) for child in found.stdout.split()]


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
