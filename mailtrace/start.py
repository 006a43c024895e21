"""The start of the `mailtrace` program: so small that Ctrl-C is heard while the rest is still being read."""

from __future__ import annotations

import gc
import os
import signal


def main() -> None:
    """Run the program; Ctrl-C before a command has begun ends it without a word."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not for `nohup`, or in a shell's background
        signal.signal(signal.SIGINT, _leave)
    gc.disable()  # a program that ends with its answer: a search for garbage in all it found would be for nothing
    from mailtrace.cli import main as program

    program()


def _leave(number: int, frame: object) -> None:
    # Not by an exception, which an import may swallow; nothing is open yet that would have to be closed.
    os._exit(128 + number)
