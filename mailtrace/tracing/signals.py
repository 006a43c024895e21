"""Signals for a program that runs for months: stop, reload, and a sleep that both end at once."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mailtrace.run import Stop


class Signals:
    """Hears SIGTERM and Ctrl-C (`stop`), and SIGHUP (`reload`)."""

    def __init__(self) -> None:
        """Nothing is heard before `heard`."""
        self.stop = Stop()
        self.reload = False
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def stopped(self) -> bool:
        """Whether it is time to end."""
        return bool(self.stop.signal)

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Hear signals as long as the block runs; only in a main thread there are any."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers = {signal.SIGINT: self._end, signal.SIGTERM: self._end, signal.SIGHUP: self._again}
        before = {number: signal.getsignal(number) for number in handlers}
        try:
            for number, handler in handlers.items():
                if before[number] is not signal.SIG_IGN or number == signal.SIGHUP:
                    signal.signal(number, handler)
            yield
        finally:
            for number, old in before.items():
                signal.signal(number, old)

    def sleep(self, seconds: float) -> None:
        """Sleep, until a signal comes."""
        end = time.monotonic() + seconds
        while not (self.stop.signal or self.reload):
            left = end - time.monotonic()
            if left <= 0:
                return
            select.select([self._read], [], [], left)
            with suppress(BlockingIOError):
                os.read(self._read, 64)

    def close(self) -> None:
        """Let go of the pipe."""
        os.close(self._read)
        os.close(self._write)

    def _wake(self) -> None:
        with suppress(OSError):
            os.write(self._write, b".")

    def _end(self, number: int, frame: object) -> None:
        self._wake()
        self.stop(number, frame)

    def _again(self, _number: int, _frame: object) -> None:
        self.reload = True
        self._wake()
