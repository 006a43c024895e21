"""Commands over paramiko's connection.

Fabric's `run` joins all output and breaks UTF-8, so the channel below it is read. Output waits in the channel's window
until it is taken.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from mailtrace.sources.ssh_remote import SshError

_BLOCK = 1 << 16
_SESSIONS_PAUSE = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)


class Connection:
    """A `Link` over paramiko's transport."""

    def __init__(self, transport: Any, timeout: float, close: Callable[[], object]) -> None:
        """`close` lets go of the transport and of what it goes through."""
        self._transport = transport
        self._timeout = timeout
        self._close = close

    @property
    def lost(self) -> bool:
        """Whether the transport has ended."""
        return not self._transport.is_active()

    def run(self, command: str) -> Channel:
        """Run a command on a channel of its own. Raises `SshError`."""
        import paramiko

        channel = self._open()
        try:
            channel.exec_command(command)
        except (paramiko.SSHException, EOFError, OSError):
            with suppress(Exception):
                channel.close()
            msg = "the server does not run commands" if not self.lost else "the connection was lost"
            raise SshError(msg) from None
        return Channel(channel)

    def alive(self) -> None:
        """Ask something that is unknown to every server, which has to say so."""
        self._transport.global_request("alive@mailtrace")

    def close(self) -> None:
        """End it."""
        self._transport.close()
        self._close()

    def _open(self) -> Any:
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


class Channel:
    """A `Wire` over paramiko's channel."""

    def __init__(self, channel: Any) -> None:
        """The command runs already."""
        self._channel = channel
        self._poll = select.poll()
        self._poll.register(channel.fileno(), select.POLLIN)

    def send(self, data: bytes) -> None:
        """Write to standard input."""
        self._channel.sendall(data)

    def end_input(self) -> None:
        """Close standard input."""
        self._channel.shutdown_write()

    def read(self, seconds: float) -> tuple[bytes, bytes] | None:
        """What has come; standard error first, for sudo may ask there."""
        channel = self._channel
        for wait in (seconds, 0):
            ended = channel.eof_received or channel.closed  # before the rest is looked at: it came before the end
            if channel.recv_stderr_ready():
                return b"", channel.recv_stderr(_BLOCK)
            if channel.recv_ready():
                return channel.recv(_BLOCK), b""
            if ended:
                return None
            self._poll.poll(wait * 1000)
        return b"", b""

    def status(self, seconds: float) -> int:
        """The exit status, once it is here."""
        self._channel.status_event.wait(seconds)
        return int(self._channel.exit_status) if self._channel.status_event.is_set() else -1

    def stop(self, group: int) -> None:
        """Send a signal (RFC 4254, 6.9), which paramiko has no method for, and close."""
        import paramiko
        from paramiko.common import cMSG_CHANNEL_REQUEST

        channel = self._channel
        if not channel.closed and not channel.status_event.is_set():
            message = paramiko.Message()
            message.add_byte(cMSG_CHANNEL_REQUEST)
            message.add_int(channel.remote_chanid)
            message.add_string("signal")
            message.add_boolean(False)
            message.add_string("TERM")
            with suppress(Exception):
                channel.transport._send_user_message(message)  # noqa: SLF001
        channel.close()
