"""What a real Jaeger makes of our traces: `invoke test --jaeger`."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import truth
from otelcol.jaeger import Jaeger
from test_otlp import day, received, send
from traces import judge, of_json

from mailtrace.otlp.client import Client
from mailtrace.otlp.encode import encode
from mailtrace.otlp.endpoint import Endpoint
from mailtrace.otlp.outcome import Verdict
from mailtrace.otlp.record import Span
from mailtrace.otlp.spans import spans_of


@pytest.fixture(name="jaeger")
def _jaeger(tmp_path: Path) -> Iterator[Jaeger]:
    started = Jaeger(tmp_path).start()
    yield started
    started.kill()


def spans() -> list[Span]:
    report = day("fleet")
    return list(spans_of(report.mails, report.clocks))


def put(jaeger: Jaeger, some: list[Span]) -> None:
    with closing(Client(Endpoint.of({"endpoint": jaeger.endpoint}, {}))) as client:
        assert [client.send(request.body).verdict for request in encode(some, 100_000) if some] != []
        assert all(client.send(request.body).verdict is Verdict.SENT for request in encode(some, 100_000))


def shown(jaeger: Jaeger) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [found for trace in sorted({span.trace_id.hex() for span in spans()}) for found in jaeger.trace(trace)]


def warnings(found: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[tuple[str, str]]:
    """Jaeger's remarks, each with the host of its span."""
    return [
        (str(resource["host.name"]["stringValue"]), word["stringValue"])
        for resource, span in found
        for item in span.get("attributes", ())
        if item["key"] == "@jaeger@warnings"
        for word in item["value"]["arrayValue"]["values"]
    ]


def test_a_day_is_shown_as_it_was_also_when_it_comes_again_shuffled(jaeger: Jaeger) -> None:
    assert send("fleet", jaeger.endpoint).exit_code == 0
    mixed = spans()
    random.Random(7).shuffle(mixed)
    put(jaeger, mixed)
    found = shown(jaeger)
    result = judge([of_json(*each) for each in found], truth.truth("fleet"))
    assert (result.wrong, result.twice, result.orphans, result.outside) == ([], [], [], [])
    assert len(found) == len(received("fleet"))


def test_jaeger_finds_no_fault_but_that_exim_counts_whole_seconds(jaeger: Jaeger) -> None:
    put(jaeger, spans())
    faults = [(host, words) for host, words in warnings(shown(jaeger)) if host != "exim1"]
    assert faults == []
    assert all("clock skew" in words for _, words in warnings(shown(jaeger)))


def test_times_are_those_that_were_sent(jaeger: Jaeger) -> None:
    put(jaeger, spans())
    sent = {(span.span_id.hex(), span.start, span.end) for span in spans()}
    found = [of_json(*each) for each in shown(jaeger)]
    assert {(span.id, span.start, span.end) for span in found} == sent


def test_a_span_without_its_parent_is_remarked_on_until_the_parent_comes(jaeger: Jaeger) -> None:
    late = [span for span in spans() if span.host == "mx1"]
    put(jaeger, [span for span in spans() if span.host != "mx1"])
    assert any("is not in the trace" in words for _, words in warnings(shown(jaeger)))
    put(jaeger, late)
    assert not any("is not in the trace" in words for _, words in warnings(shown(jaeger)))


def test_a_queue_id_finds_its_trace_and_hosts_are_a_graph(jaeger: Jaeger) -> None:
    put(jaeger, spans())
    wanted = next(span for span in spans() if span.host == "mx2" and span.name == "smtp receive")
    window = {"start": str(wanted.start // 1000 - 10**9), "end": str(wanted.end // 1000 + 10**9), "limit": "50"}
    tags = f'{{"email.local_id": "{wanted.facts["email.local_id"]}"}}'
    found = jaeger.ask("/api/traces", service="mx2", tags=tags, **window)["data"]
    assert [trace["traceID"] for trace in found] == [wanted.trace_id.hex()]
    end = str(wanted.end // 10**6 + 3_600_000)
    edges = jaeger.ask("/api/dependencies", endTs=end, lookback="86400000")["data"]
    assert ("mx2", "filter1") in {(edge["parent"], edge["child"]) for edge in edges}
