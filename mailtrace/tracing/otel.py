"""OpenTelemetry for who scripts it: IDs as numbers, an exporter, spans sent in one call."""

from __future__ import annotations

from collections.abc import Iterable

from mailtrace.otlp import identity
from mailtrace.otlp.client import Client
from mailtrace.otlp.encode import encode
from mailtrace.otlp.endpoint import Endpoint
from mailtrace.otlp.outcome import Outcome
from mailtrace.tracing.models import EmailTrace


def trace_id(message_id: str) -> int:
    """The 128-bit trace ID of a Message-ID."""
    return int.from_bytes(identity.trace_id(message_id), "big")


def span_id(message_id: str, host: str, queue_id: str) -> int:
    """The 64-bit span ID of a message's stay in a queue of a host (the inventory's name)."""
    return int.from_bytes(identity.hop_id(identity.trace_id(message_id), host, queue_id), "big")


def setup_exporter(endpoint: str = "http://localhost:4317") -> Client:
    """A client that sends to an OTLP endpoint."""
    return Client(Endpoint(endpoint))


def create_spans(exporter: Client, traces: Iterable[EmailTrace]) -> list[Outcome]:
    """Send the spans of some traces; what became of each request."""
    spans = (span for trace in traces for span in trace.spans())
    return [exporter.send(request.body) for request in encode(spans)]
