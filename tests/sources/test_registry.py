"""The words by which a job names sources."""

from __future__ import annotations

import pytest

from mailtrace.sources import SOURCES, source_class


@pytest.mark.parametrize("word", sorted(SOURCES))
def test_every_word_has_a_class_that_asks_and_tells(word: str) -> None:
    made = source_class(word)
    assert all(callable(getattr(made, name)) for name in ("query", "coverage", "samples", "plan", "check", "close"))


def test_an_unknown_word_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        source_class("carrier-pigeon")
