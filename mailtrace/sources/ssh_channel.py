"""One command on a remote machine: its output in blocks, its words, its end; sudo's password when sudo asks.

Fabric's `run` joins all output and breaks UTF-8, so the channel below it is read. Output waits in the channel's window
until it is taken: memory stays flat however much there is.
"""

from __future__ import annotations

import re
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mailtrace.sources.ssh_commands import BEGIN, PROMPT, STATUS, SUDO

if TYPE_CHECKING:
    from mailtrace.secret import Secret

_BLOCK = 1 << 16
_TICK = 0.5
_LONGEST_SILENCE = 300.0
_SESSIONS_PAUSE = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
_WORDS = 4000
_STATUS = re.compile(rf"{STATUS}([a-z]*)=(\d+)\n")


class SshError(Exception):
    """Why a machine, or something on it, cannot be read, and the cure."""


class Session:
    """A machine we are logged in to."""

    def __init__(self, transport: Any, timeout: float, close: Callable[[], object]) -> None:
        """`timeout` are the seconds within which a living server answers."""
        self._transport = transport
        self._timeout = timeout
        self._close = close
        self._running: set[Remote] = set()

    def start(self, command: str, text: bytes = b"", sudo: Secret | None = None) -> Remote:
        """Run a command with some text as its input; `sudo` is the password for when sudo asks. Raises `SshError`."""
        remote = Remote(self._channel(), self, sudo)
        self._running.add(remote)
        remote.begin(command, text)
        return remote

    def ended(self, remote: Remote) -> None:
        """A command has ended."""
        self._running.discard(remote)

    @property
    def lost(self) -> bool:
        """Whether the connection is gone."""
        return not self._transport.is_active()

    def answers(self) -> bool:
        """Whether the server still answers; a connection that does not is closed."""
        # The request is unknown to every server, which has to say so.
        thread = threading.Thread(target=self._ask, name="mailtrace-ssh-alive", daemon=True)
        thread.start()
        thread.join(self._timeout)
        if thread.is_alive() or self.lost:
            self._transport.close()
            return False
        return True

    def _ask(self) -> None:
        with suppress(Exception):
            self._transport.global_request("alive@mailtrace")

    def stop(self) -> None:
        """End the commands that run."""
        for remote in list(self._running):
            remote.stop()

    def close(self) -> None:
        """End the commands and the connection."""
        self.stop()
        with suppress(Exception):
            self._close()

    def _channel(self) -> Any:
        import paramiko

        for pause in (*_SESSIONS_PAUSE, None):
            try:
                return self._transport.open_session(timeout=self._timeout)
            except paramiko.ChannelException as error:
                # MaxSessions: the server has not yet noticed that the one before has ended.
                if pause is None:
                    msg = f"the server opens no session: {error.text}; is MaxSessions above 0 in its sshd_config?"
                    raise SshError(msg) from None
                time.sleep(pause)
            except (paramiko.SSHException, EOFError, OSError):
                msg = "the connection was lost"
                raise SshError(msg) from None
        raise AssertionError


class Remote:
    """One command."""

    def __init__(self, channel: Any, session: Session, sudo: Secret | None) -> None:
        self.status = -1
        """The command's exit status, -1 while there is none."""
        self.statuses: list[tuple[str, int, str]] = []
        """Of parts that tell: name, exit status, and what stood on standard error before."""
        self.sent = 0
        self.received = 0
        self._channel = channel
        self._session = session
        self._sudo = sudo
        self._may_ask = 0
        self._answered = 0
        self._begun = False
        self._words = b""

    @property
    def words(self) -> str:
        """What is left on standard error."""
        return _tidy(self._words.decode("utf-8", "replace"))

    def begin(self, command: str, text: bytes) -> None:
        """Start."""
        import paramiko

        try:
            self._channel.exec_command(command)
            if text:
                self._channel.sendall(text)
            if self._sudo is None:
                self._channel.shutdown_write()
        except (paramiko.SSHException, EOFError, OSError):
            self.stop()
            msg = "the server does not run commands" if not self._session.lost else "the connection was lost"
            raise SshError(msg) from None

    def blocks(self) -> Iterator[bytes]:
        """Standard output behind the mark that it begins with: a shell's start-up files may print before it."""
        head = b""
        begun = False
        try:
            for block in self._blocks():
                if begun:
                    yield block
                    continue
                head += block
                at = _mark(head)
                if at >= 0:
                    begun = True
                    if head[at:]:
                        yield head[at:]
                elif len(head) > 1 << 20:
                    head = head[-100:]
            self._finish()
            if not begun and self.status not in (126, 127):
                said = self.words or _tidy(head.decode("utf-8", "replace"))
                msg = f"the login shell did not run the command: {said or f'it ended with {self.status}'}"
                raise SshError(msg)
        except (EOFError, OSError):
            msg = "the connection was lost while reading"
            raise SshError(msg) from None
        finally:
            self.stop()

    def stop(self) -> None:
        """End it, wherever it is."""
        self._session.ended(self)
        if self.status < 0 and not self._channel.closed:
            self._signal("TERM")
        with suppress(Exception):
            self._channel.close()

    def _blocks(self) -> Iterator[bytes]:
        channel = self._channel
        poll = select.poll()
        poll.register(channel.fileno(), select.POLLIN)
        heard = time.monotonic()
        asked = heard
        while True:
            if channel.recv_stderr_ready():
                self._hear(channel.recv_stderr(_BLOCK))
                heard = asked = time.monotonic()
            elif channel.recv_ready():
                block = channel.recv(_BLOCK)
                self.received += len(block)
                yield block
                heard = asked = time.monotonic()
            elif channel.eof_received or channel.closed:
                return
            elif not poll.poll(_TICK * 1000):
                now = time.monotonic()
                if now - heard > _LONGEST_SILENCE:
                    msg = f"timed out: the command said nothing for {_LONGEST_SILENCE:g} s"
                    raise SshError(msg)
                if now - asked > max(self._session._timeout, 1.0):  # noqa: SLF001 - its own
                    if not self._session.answers():
                        msg = "the connection was lost: the server no longer answers"
                        raise SshError(msg)
                    asked = time.monotonic()

    def _finish(self) -> None:
        """Wait for the exit status."""
        channel = self._channel
        until = time.monotonic() + max(self._session._timeout, 1.0)  # noqa: SLF001 - its own
        while not channel.status_event.wait(0.05) and time.monotonic() < until and not self._session.lost:
            if channel.recv_stderr_ready():
                self._hear(channel.recv_stderr(_BLOCK))
        while channel.recv_stderr_ready():
            self._hear(channel.recv_stderr(_BLOCK))
        self.status = channel.exit_status if channel.status_event.is_set() else -1
        if self.status < 0:
            msg = (
                "the connection was lost while reading" if self._session.lost else "the command was ended on the server"
            )
            raise SshError(msg)

    def _hear(self, block: bytes) -> None:
        """Take in standard error: marks, statuses of parts, sudo's question, and words."""
        self._words += block
        if not self._begun:
            at = _mark(self._words)
            if at < 0:
                self._words = self._words[-_WORDS:]
                return
            self._begun, self._words = True, self._words[at:]
        while True:
            found = _STATUS.search(self._words.decode("latin-1"))
            if found is None:
                break
            before = self._words[: found.start()]
            self._count_sudo(before)
            self.statuses.append((found[1], int(found[2]), _tidy(before.decode("utf-8", "replace"))))
            self._words = self._words[found.end() :]
        if PROMPT.encode() in self._words:
            self._count_sudo(self._words)
            self._answer()
        if len(self._words) > 2 * _WORDS:
            self._words = self._words[-_WORDS:]

    def _count_sudo(self, words: bytes) -> None:
        """How often sudo was started: each may ask once."""
        marks = words.count(SUDO.encode())
        if marks:
            self._may_ask += marks
            self._words = self._words.replace(SUDO.encode() + b"\n", b"", marks)

    def _answer(self) -> None:
        """Sudo asks."""
        before, _, after = self._words.partition(PROMPT.encode())
        if self._may_ask <= self._answered:
            msg = "sudo refused the password; it was tried once. Check sudo_pass (--ask-sudo-pass)"
            raise SshError(msg)
        if self._sudo is None or not self._sudo:
            msg = (
                "sudo asks for a password; use --ask-sudo-pass or MAILTRACE_SUDO_PASSWORD, allow the commands that "
                "--plan prints with NOPASSWD, or let the user read the logs (group adm) and set sudo: false"
            )
            raise SshError(msg)
        self._answered += 1
        self._words = before + after
        with suppress(OSError):
            self._channel.sendall(self._sudo.reveal().encode() + b"\n")

    def _signal(self, name: str) -> None:
        """Send a signal (RFC 4254, 6.9), which paramiko has no method for."""
        import paramiko
        from paramiko.common import cMSG_CHANNEL_REQUEST

        message = paramiko.Message()
        message.add_byte(cMSG_CHANNEL_REQUEST)
        message.add_int(self._channel.remote_chanid)
        message.add_string("signal")
        message.add_boolean(False)
        message.add_string(name)
        with suppress(Exception):
            self._channel.transport._send_user_message(message)  # noqa: SLF001


def _mark(text: bytes) -> int:
    """Where the text behind the mark begins, -1 if it has not come yet."""
    mark = BEGIN.encode() + b"\n"
    if text.startswith(mark):
        return len(mark)
    # Start-up files may leave a line without an end before it.
    at = text.find(mark)
    return -1 if at < 0 else at + len(mark)


def _tidy(text: str) -> str:
    """Words of remote programs in one line, without our marks."""
    text = text.replace(PROMPT, " ").replace(SUDO, " ").replace(BEGIN, " ")
    return "; ".join(" ".join(line.split()) for line in text.splitlines() if line.strip())[:_WORDS]
