"""What `mailtrace.tracing` offers."""

from __future__ import annotations

from mailtrace import tracing


def test_every_listed_name_is_there() -> None:
    assert [name for name in tracing.__all__ if not callable(getattr(tracing, name))] == []
    assert dir(tracing) == tracing.__all__


def test_ids_are_numbers_of_the_sizes_that_opentelemetry_wants() -> None:
    assert 0 < tracing.trace_id("a@b") < 1 << 128
    assert 0 < tracing.span_id("a@b", "mx1", "4F1") < 1 << 64
