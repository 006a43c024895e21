"""Signals end a sleep at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from mailtrace.tracing.signals import Signals


@pytest.fixture
def signals() -> Iterator[Signals]:
    made = Signals()
    with made.heard():
        yield made
    made.close()


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 15), (signal.SIGINT, 2)])
def test_a_stop_ends_the_sleep_and_is_remembered(signals: Signals, number: signal.Signals, code: int) -> None:
    began = time.monotonic()
    threading.Timer(0.1, os.kill, (os.getpid(), number)).start()
    signals.sleep(30)
    assert time.monotonic() - began < 20
    assert signals.stopped()
    assert signals.stop.signal == code


def test_a_hangup_means_to_read_the_configuration_again(signals: Signals) -> None:
    os.kill(os.getpid(), signal.SIGHUP)
    signals.sleep(30)
    assert signals.reload
    assert not signals.stopped()


def test_handlers_are_as_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    made = Signals()
    with made.heard():
        assert signal.getsignal(signal.SIGTERM) != before
    made.close()
    assert signal.getsignal(signal.SIGTERM) == before
