"""What an index covers of each host, within the time that was asked for."""

from __future__ import annotations

from typing import Any

from mailtrace.model import LogQuery
from mailtrace.sources.opensearch_spans import DAY, Spans


def buckets(*told: tuple[str, float, float, int], others: int = 0) -> dict[str, Any]:
    found = [
        {"key": key, "doc_count": count, "min0": {"value": first * 1e3}, "max0": {"value": last * 1e3}}
        for key, first, last, count in told
    ]
    return {"h0": {"by": {"buckets": found, "sum_other_doc_count": others}}}


def test_the_time_asked_for_grows_and_is_counted_anew_only_then() -> None:
    spans = Spans()
    spans.reach(LogQuery(start=1e9, end=2e9))
    assert not spans.known()
    spans.begin()
    spans.take(buckets())
    assert spans.known()
    spans.reach(LogQuery(start=1.5e9, end=1.6e9))
    assert spans.known()
    spans.reach(LogQuery(start=1e9))
    assert not spans.known()
    assert spans.wanted == (1e9 - DAY, None)


def test_spellings_of_one_host_are_joined() -> None:
    spans = Spans()
    spans.reach(LogQuery())
    spans.take(buckets(("mx1", 1e9, 1.1e9, 3), ("mx1.example.com", 0.9e9, 1e9, 4)))
    assert spans.of(lambda name: name.partition(".")[0]) == {"mx1": (0.9e9, 1.1e9, 7)}


def test_what_was_left_out_makes_it_incomplete() -> None:
    spans = Spans()
    spans.take(buckets(("mx1", 1e9, 1e9, 1), others=5))
    assert not spans.complete
    spans.take({})
    assert not spans.complete


def test_lines_are_only_told_where_all_were_counted() -> None:
    spans = Spans()
    spans.reach(LogQuery(start=1e9))
    spans.take(buckets(("mx1", 1e9, 1e9, 1)))
    assert spans.of(str)["mx1"][2] is None
