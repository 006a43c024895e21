"""Assembled mails to OTLP requests: ours, and the way through OpenTelemetry's SDK, on the same spans."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mailtrace.load import load_job
from mailtrace.otlp.encode import encode
from mailtrace.otlp.record import Span
from mailtrace.otlp.spans import spans_of
from mailtrace.run import gather


def rates(logs: dict[str, Path], best: Callable[..., float]) -> tuple[int, float, float]:
    """Spans of these hosts' mails; spans a second from assembled mails to requests; the same through the SDK."""
    hosts = {host: {"log_files": [str(path)]} for host, path in logs.items()}
    config = {"method": "files", "files_config": {"hosts": hosts}}
    report = gather(load_job({"version": 1, "kind": "trace", "config": config, "find": {}}))
    count = sum(1 for _ in spans_of(report.mails, report.clocks))
    gc.collect()
    gc.disable()  # as a run of a job does
    try:
        ours = best(lambda: [request.spans for request in encode(spans_of(report.mails, report.clocks))])
        theirs = best(lambda: through_the_sdk(list(spans_of(report.mails, report.clocks))), 1)
    finally:
        gc.enable()
    return count, count / ours, count / theirs


def through_the_sdk(spans: list[Span]) -> int:
    """The same spans as the SDK's own objects and requests; the bytes that come of it."""
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

    kinds = {1: SpanKind.INTERNAL, 2: SpanKind.SERVER, 3: SpanKind.CLIENT, 4: SpanKind.PRODUCER}
    resources: dict[str, Resource] = {}

    def context(trace: bytes, span: bytes) -> SpanContext:
        numbers = int.from_bytes(trace, "big"), int.from_bytes(span, "big")
        return SpanContext(*numbers, is_remote=False, trace_flags=TraceFlags(1))

    def readable(span: Span) -> ReadableSpan:
        resource = resources.get(span.host)
        if resource is None:
            resource = resources[span.host] = Resource({"service.name": span.host, "host.name": span.host})
        attributes: Any = span.facts
        return ReadableSpan(
            span.name,
            context(span.trace_id, span.span_id),
            context(span.trace_id, span.parent_id) if span.parent_id else None,
            resource,
            attributes,
            kind=kinds[span.kind],
            start_time=span.start,
            end_time=span.end,
        )

    size = 0
    for at in range(0, len(spans), 5000):
        size += len(encode_spans([readable(span) for span in spans[at : at + 5000]]).SerializeToString())
    return size
