"""Commands through the control socket of an `ssh` that has logged in."""

from __future__ import annotations

import os
import select
import shlex
import shutil
import signal
import socket
import subprocess
import threading
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from mailtrace.sources.ssh_remote import SshError

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = 1 << 16
_SESSIONS_PAUSE = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
_REFUSED = b"Session open refused by peer"
_FAILED = 255  # of ssh itself
_BEHIND = 0.5  # seconds by which a master may end behind those that went through it


class Master:
    """A `Link` over a master `ssh` with its socket; `folder` goes with it, None where the master is the user's own."""

    def __init__(self, name: str, path: str, pid: int, folder: Path | None) -> None:
        """It is logged in already, to what is shown as `name`."""
        self.name = name
        self._path = path
        self._pid = pid
        self._folder = folder

    @property
    def lost(self) -> bool:
        """Whether it has ended."""
        # Its process would seem to be there where nobody reaps it.
        with closing(socket.socket(socket.AF_UNIX)) as probe:
            return probe.connect_ex(self._path) != 0

    def run(self, command: str) -> Process:
        """Run a command."""
        if self.lost:
            msg = "the connection was lost"
            raise SshError(msg)
        return Process(self, command)

    @property
    def said(self) -> str:
        """What it has said so far with `-v`, "" where it is the user's own."""
        try:
            return "" if self._folder is None else (self._folder / "log").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    @property
    def passage(self) -> str:
        """As a ProxyCommand: a connection from that machine to another."""
        return f"{shlex.join(self._through).replace('%', '%%')} -W '[%h]:%p' master"

    @property
    def _through(self) -> list[str]:
        """An `ssh` that goes through the socket, and never by a connection of its own."""
        options = [f"ControlPath={self._path}", "ControlMaster=no", "ProxyCommand=false", "LogLevel=ERROR"]
        return ["ssh", "-F", "none", *(word for option in options for word in ("-o", option))]

    def start(self, command: str) -> subprocess.Popen[bytes]:
        """An `ssh` that runs a command."""
        try:
            return subprocess.Popen(
                [*self._through, "-T", "--", "master", command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # a Ctrl-C is ours to handle
            )
        except OSError as error:
            msg = f"ssh cannot be run: {error.strerror}"
            raise SshError(msg) from None

    def alive(self) -> None:
        """Return: the master asks by itself (ServerAliveInterval), and ends where nobody answers."""

    def close(self) -> None:
        """End it, unless it is the user's."""
        if self._folder is None:
            return
        with suppress(OSError):
            os.kill(self._pid, signal.SIGTERM)
        shutil.rmtree(self._folder, ignore_errors=True)


class Process:
    """A `Wire` over an `ssh` process."""

    def __init__(self, master: Master, command: str) -> None:
        """Start it."""
        self._master = master
        self._command = command
        self._pauses = list(_SESSIONS_PAUSE)
        self._early = b""
        self._given = b""
        self._open = True
        self._reading = threading.Lock()  # who stops a command may be another thread than who reads it
        self._start()

    def send(self, data: bytes) -> None:
        """Write to standard input."""
        self._given += data
        self._write(data)

    def end_input(self) -> None:
        """Close standard input."""
        self._open = False
        with suppress(OSError):
            self._input.close()

    def read(self, seconds: float) -> tuple[bytes, bytes] | None:
        """What has come; standard error first, for sudo may ask there."""
        with self._reading:
            return self._read(seconds)

    def _read(self, seconds: float) -> tuple[bytes, bytes] | None:
        if not self._ends:
            return (b"", b"") if self._refused() else None
        ready = {number for number, _ in self._poll.poll(seconds * 1000)}
        for number in sorted(ready, key=lambda number: number != self._errors):
            block = os.read(number, _BLOCK)
            if not block:
                self._poll.unregister(number)
                self._ends.discard(number)
            elif number == self._errors:
                self._early = (self._early + block)[:_BLOCK]
                return b"", block
            else:
                self._given = b""
                return block, b""
        return b"", b""

    def status(self, seconds: float) -> int:
        """The exit status; -1 also where `ssh` itself has failed, which looks like a command that says 255."""
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return -1
        until = time.monotonic() + _BEHIND
        while status == _FAILED and not self._master.lost and time.monotonic() < until:
            time.sleep(0.02)
        return -1 if status in (_FAILED, -signal.SIGTERM) else status

    def stop(self, group: int) -> None:
        """End `ssh`; the remote command, which hears of that only when it writes, is sent a signal besides."""
        running = self._process.poll() is None
        if running:
            self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        with self._reading:
            self._ends.clear()
            self._early = b""
            for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()
        if running and group and not self._master.lost:
            end = self._master.start(f"exec sh -c 'kill -s TERM -- -{group}'")
            with suppress(subprocess.TimeoutExpired):
                end.communicate(timeout=2)
            end.kill()
            end.wait()

    def _start(self) -> None:
        self._process = self._master.start(self._command)
        if self._process.stdin is None or self._process.stdout is None or self._process.stderr is None:
            raise AssertionError
        self._input = self._process.stdin
        self._errors = self._process.stderr.fileno()
        self._ends = {self._process.stdout.fileno(), self._errors}
        self._poll = select.poll()
        for number in self._ends:
            self._poll.register(number, select.POLLIN)

    def _write(self, data: bytes) -> None:
        self._input.write(data)
        self._input.flush()

    def _refused(self) -> bool:
        """Whether the server had no session left (MaxSessions), and the command was started again."""
        if self._process.wait() != _FAILED or _REFUSED not in self._early:
            return False
        if not self._pauses:
            msg = "the server opens no session; is MaxSessions above 0 in its sshd_config?"
            raise SshError(msg)
        time.sleep(self._pauses.pop(0))
        self._early = b""
        self._start()
        with suppress(OSError):
            self._write(self._given)
        if not self._open:
            self.end_input()
        return True
