"""One command on a remote machine: its output in blocks, its words, its end; sudo's password when sudo asks.

What carries it is a `Link`: paramiko's connection (`ssh_channel`) or the machine's own `ssh` (`ssh_client`).
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, TypeVar

from mailtrace.sources.ssh_commands import BEGIN, PROMPT, STATUS, SUDO

if TYPE_CHECKING:
    from mailtrace.secret import Secret

T = TypeVar("T")

_TICK = 0.5
_TRIES = 6
_PAUSE = 0.4
_LONGEST_SILENCE = 300.0
_WORDS = 4000
_STATUS = re.compile(rf"{STATUS}([a-z]*)=(\d+)\n")
_GROUP = "group"  # the part that only tells the process group of the command


class SshError(Exception):
    """Why a machine, or something on it, cannot be read, and the cure."""


class DroppedError(Exception):
    """The server closed before it said who it is: perhaps it has too many at once."""

    def __init__(self, said: str) -> None:
        """`said` is all that is known of it."""
        super().__init__(
            f"the server dropped the connection before logging in ({said}); too many at once for its MaxStartups, "
            "a ban on this address (PerSourcePenalties, fail2ban), or no SSH server on that port"
        )


class Wire(Protocol):
    """A command's three streams. Its methods raise `OSError` or `EOFError` where the connection is lost."""

    def send(self, data: bytes) -> None:
        """Write to its standard input."""

    def end_input(self) -> None:
        """Close its standard input."""

    def read(self, seconds: float) -> tuple[bytes, bytes] | None:
        """What has come of standard output and standard error, nothing of both when time is up; None at their end.

        Output waits where it is until it is taken: memory stays flat however much there is.
        """

    def status(self, seconds: float) -> int:
        """Its exit status, -1 if it has none within that time."""

    def stop(self, group: int) -> None:
        """End it if it runs, with its process group where that is known (else 0), and let go of it."""


class Link(Protocol):
    """A connection to a machine we are logged in to."""

    @property
    def lost(self) -> bool:
        """Whether it is gone."""

    def run(self, command: str) -> Wire:
        """Run a command. Raises `SshError`."""

    def alive(self) -> None:
        """Return once the server has answered; anything may be raised where it cannot."""

    def close(self) -> None:
        """End it."""


def persistently(login: Callable[[], T]) -> T:
    """Log in; a server that drops the connection before its banner is tried again, not at once."""
    for attempt in range(_TRIES):
        try:
            return login()
        except DroppedError as error:
            if attempt + 1 == _TRIES:
                msg = f"{error}; tried {_TRIES} times"
                raise SshError(msg) from None
            time.sleep(_PAUSE * (attempt + random.random() * 2))  # noqa: S311 - no secret
    raise AssertionError


class Session:
    """A machine we are logged in to."""

    def __init__(self, link: Link, timeout: float) -> None:
        """`timeout` are the seconds within which a living server answers."""
        self.timeout = max(timeout, 1.0)
        self._link = link
        self._running: set[Remote] = set()

    def start(self, command: str, text: bytes = b"", sudo: Secret | None = None) -> Remote:
        """Run a command with some text as its input; `sudo` is the password for when sudo asks. Raises `SshError`."""
        remote = Remote(self._link.run(command), self, sudo)
        self._running.add(remote)
        remote.begin(text)
        return remote

    def ended(self, remote: Remote) -> None:
        """A command has ended."""
        self._running.discard(remote)

    @property
    def lost(self) -> bool:
        """Whether the connection is gone."""
        return self._link.lost

    def answers(self) -> bool:
        """Whether the server still answers; a connection that does not is closed."""
        thread = threading.Thread(target=self._ask, name="mailtrace-ssh-alive", daemon=True)
        thread.start()
        thread.join(self.timeout)
        if thread.is_alive() or self.lost:
            self._link.close()
            return False
        return True

    def _ask(self) -> None:
        with suppress(Exception):
            self._link.alive()

    def stop(self) -> None:
        """End the commands that run."""
        for remote in list(self._running):
            remote.stop()

    def close(self) -> None:
        """End the commands and the connection."""
        self.stop()
        with suppress(Exception):
            self._link.close()


class Remote:
    """One command."""

    def __init__(self, wire: Wire, session: Session, sudo: Secret | None) -> None:
        """`sudo` is the password for when sudo asks, None where it cannot."""
        self.status = -1
        """The command's exit status, -1 while there is none."""
        self.statuses: list[tuple[str, int, str]] = []
        """Of parts that tell: name, exit status, and what stood on standard error before."""
        self.received = 0
        self._wire = wire
        self._session = session
        self._sudo = sudo
        self._may_ask = 0
        self._answered = 0
        self._begun = False
        self._group = 0
        self._words = b""

    @property
    def words(self) -> str:
        """What is left on standard error."""
        return _tidy(self._words.decode("utf-8", "replace"))

    def begin(self, text: bytes) -> None:
        """Give it its input."""
        try:
            if text:
                self._wire.send(text)
            if self._sudo is None:
                self._wire.end_input()
        except (EOFError, OSError):
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
                said = f'it said "{said[:200]}"' if said else f"it ended with {self.status}"
                msg = (
                    f"the login shell did not run the command, {said}; a start-up file of it, its ForceCommand or the "
                    "user's shell is in the way: try `ssh HOST true` as this user"
                )
                raise SshError(msg)
        except (EOFError, OSError):
            msg = "the connection was lost while reading"
            raise SshError(msg) from None
        finally:
            self.stop()

    def stop(self) -> None:
        """End it, wherever it is."""
        self._session.ended(self)
        with suppress(Exception):
            self._wire.stop(0 if self.status >= 0 else self._group)

    def _blocks(self) -> Iterator[bytes]:
        heard = asked = time.monotonic()
        while (got := self._wire.read(_TICK)) is not None:
            out, err = got
            if err:
                self._hear(err)
            if out:
                self.received += len(out)
                yield out
            now = time.monotonic()
            if out or err:
                heard = asked = now
            elif now - heard > _LONGEST_SILENCE:
                msg = f"timed out: the command said nothing for {_LONGEST_SILENCE:g} s"
                raise SshError(msg)
            elif now - asked > self._session.timeout:
                if not self._session.answers():
                    msg = "the connection was lost: the server no longer answers"
                    raise SshError(msg)
                asked = now

    def _finish(self) -> None:
        """Wait for the exit status."""
        self.status = self._wire.status(self._session.timeout)
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
            if found[1] == _GROUP:
                self._group = int(found[2])
            else:
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
        with suppress(OSError, EOFError):
            self._wire.send(self._sudo.reveal().encode() + b"\n")


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
