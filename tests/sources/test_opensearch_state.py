"""How far behind an index is."""

from __future__ import annotations

import math

import pytest

from mailtrace.sources.opensearch_state import State, interval


@pytest.mark.parametrize(
    "text, seconds",
    [("1s", 1.0), ("500ms", 0.5), ("2m", 120.0), ("1.5h", 5400.0), ("1d", 86400.0), ("0", 0.0), ("-1", math.inf)],
)
def test_an_interval_is_read_in_its_unit(text: str, seconds: float) -> None:
    assert interval(text) == seconds


def test_an_interval_that_cannot_be_read_is_not_taken_for_a_short_one() -> None:
    assert interval("soon") == math.inf


def test_only_what_is_later_than_usual_is_told() -> None:
    assert list(State(refresh=1.0, lag=5.0).late()) == []
    assert len(list(State(refresh=30.0, lag=300.0).late())) == 2
