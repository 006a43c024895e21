"""A few of the faults that `python -m tests.faults` tries twenty times each, with a real Collector."""

from __future__ import annotations

import random
import tempfile
import time
from functools import cache
from pathlib import Path

import pytest
from faults import __main__ as faults
from faults.backends import Collector

pytestmark = pytest.mark.needs("opentelemetry")


@cache
def wanted() -> list[str]:
    """What a Collector has where nothing happens."""
    with tempfile.TemporaryDirectory() as folder:
        back = Collector(Path(folder) / "back").start()
        with faults.stopped(back):
            return faults.undisturbed(Path(folder) / "calm", back)


@pytest.mark.usefixtures("make_collector")  # tells how to get one
@pytest.mark.parametrize("kind", ["kill -9 of mailtrace", "kill -9 of the Collector"])
def test_no_span_is_lost_and_none_doubled(tmp_path: Path, kind: str) -> None:
    assert len(wanted()) > 2000
    trial = faults.Trial(tmp_path / "disturbed", 2, random.Random(1), 1.0, wanted())
    done, found = faults.KINDS[kind](trial)
    row = faults.compared(kind, done, found, trial.wanted, time.monotonic())
    assert (row.lost, row.doubled, row.faults) == (0, 0, 2)


def test_a_span_that_is_missing_or_another_is_counted() -> None:
    row = faults.compared("", 1, ["a", "b", "b", "x"], ["a", "b", "c"], time.monotonic())
    assert (row.lost, row.doubled, row.copies) == (1, 1, 1)
