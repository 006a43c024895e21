"""What systemd wants to hear of a service (sd_notify(3)): ready, alive, reloading, stopping, and a line of status."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress


def notify(**facts: str) -> None:
    """Tell the service manager; nothing happens where there is none (`READY="1"`, `STATUS="…"`)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    where = "\0" + address[1:] if address[0] == "@" else address
    text = "\n".join(f"{name}={value}" for name, value in facts.items())
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
        line.settimeout(1)
        line.sendto(text.encode(), where)


def reloading() -> None:
    """The configuration is read again; `READY` ends it."""
    notify(RELOADING="1", MONOTONIC_USEC=str(time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000))


class Watchdog:
    """Tells that the program lives, as often as the service manager wants to hear it (`WatchdogSec=`)."""

    def __init__(self) -> None:
        """Read from the environment what is wanted."""
        wanted = os.environ.get("WATCHDOG_USEC", "")
        mine = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.seconds = int(wanted) / 2e6 if wanted.isdigit() and mine else 0.0
        self._last = 0.0

    def __call__(self) -> None:
        """Tell it, if it is time."""
        now = time.monotonic()
        if self.seconds and now - self._last >= self.seconds / 2:
            self._last = now
            notify(WATCHDOG="1")
