"""Metrics of continuous tracing and of the mail it sees, sent to the same back end by OpenTelemetry's SDK.

| metric | kind | unit | tells |
|---|---|---|---|
| `mailtrace.lines` | counter | | lines about mail that were read |
| `mailtrace.source.lag` | gauge | s | how far the newest line of a log lies back, by `mailtrace.source` |
| `mailtrace.source.problems` | gauge | | logs that cannot be read |
| `mailtrace.export.sent` | counter | | spans that the back end took |
| `mailtrace.export.failed` | counter | | spans that are lost to it, by `reason`: rejected, aside, dropped |
| `mailtrace.export.spooled` | gauge | | spans that wait |
| `mailtrace.mails.forgotten` | counter | | mails without an end |
| `email.messages.open` | gauge | | mails under way |
| `email.delivery.attempts` | counter | | attempts, by `host.name`, `email.delivery.status` |
| `email.delivery.duration` | histogram | s | from acceptance to delivery (Exim: of the delivery alone), by the same |

Counters begin anew with the process, histograms too. `OTEL_METRICS_EXPORTER=none` or `OTEL_SDK_DISABLED=true` send
none; `OTEL_METRIC_EXPORT_INTERVAL` (milliseconds, default 60000) tells how often.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mailtrace.otlp.endpoint import PATH

if TYPE_CHECKING:
    from mailtrace.otlp.endpoint import Endpoint
    from mailtrace.otlp.record import Span

BUCKETS = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 14400, 43200, 86400, 432000)
"""Seconds: of the orders in which mail is late."""
METRICS_PATH = "/v1/metrics"
_TIMEOUT = 3.0


@dataclass
class Figures:
    """What is told, as it is now; changed by the rounds, read when it is sent."""

    counters: dict[str, int] = field(default_factory=dict)
    before: dict[str, int] = field(default_factory=dict)  # the counters when this process began
    lag: dict[str, float] = field(default_factory=dict)
    problems: int = 0
    waiting: int = 0
    open: int = 0

    def count(self, name: str) -> int:
        """A counter since the process began."""
        return self.counters.get(name, 0) - self.before.get(name, 0)


class Metrics:
    """Tells a back end the figures every minute; nothing where it is not wanted or not installed."""

    def __init__(self, endpoint: Endpoint, figures: Figures) -> None:
        """Begin to tell."""
        self.figures = figures
        self._provider: Any = None
        self._attempts: Any = None
        self._duration: Any = None
        none = os.environ.get("OTEL_METRICS_EXPORTER") == "none" or os.environ.get("OTEL_SDK_DISABLED") == "true"
        if not none:
            with suppress(ImportError, OSError):  # who sends the traces says what is missing, or can't be read
                self._begin(endpoint)

    def seen(self, spans: Iterable[Span]) -> None:
        """Count the attempts among spans that are handed over."""
        if self._provider is None:
            return
        for span in spans:
            if span.name in ("smtp deliver", "mail deliver"):
                told = span.facts
                status = told["email.delivery.status"]
                labels = {"host.name": span.host, "email.delivery.status": status}
                self._attempts.add(1, labels)
                if status == "sent" and "email.delay" in told:
                    self._duration.record(told["email.delay"], labels)

    def close(self) -> None:
        """Tell the last figures, and no more."""
        if self._provider is not None:
            with suppress(Exception):
                self._provider.shutdown(timeout_millis=_TIMEOUT * 1000)
            self._provider = None

    def _begin(self, endpoint: Endpoint) -> None:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
        from opentelemetry.sdk.resources import Resource

        from mailtrace import __version__

        # A back end of traces alone refuses metrics; that is no trouble of whoever looks at traces.
        quiet = logging.getLogger("opentelemetry")
        quiet.propagate = False
        quiet.addHandler(logging.NullHandler())
        exporter = _over_http(endpoint) if endpoint.http else _over_grpc(endpoint)
        view = View(
            instrument_name="email.delivery.duration",
            aggregation=ExplicitBucketHistogramAggregation(boundaries=BUCKETS),
        )
        resource = Resource.create({"service.name": "mailtrace", "service.version": __version__})
        reader = PeriodicExportingMetricReader(exporter, export_timeout_millis=_TIMEOUT * 1000)
        self._provider = MeterProvider([reader], resource, shutdown_on_exit=False, views=[view])
        meter = self._provider.get_meter("mailtrace", __version__)
        self._attempts = meter.create_counter("email.delivery.attempts")
        self._duration = meter.create_histogram("email.delivery.duration", unit="s")
        self._tell(meter)

    def _tell(self, meter: Any) -> None:
        from opentelemetry.metrics import Observation

        figures = self.figures

        def one(value: Callable[[], float]) -> list[Callable[[Any], list[Any]]]:
            return [lambda _options: [Observation(value())]]

        def failed(_options: Any) -> list[Any]:
            return [Observation(figures.count(name), {"reason": name}) for name in ("rejected", "aside", "dropped")]

        def lag(_options: Any) -> list[Any]:
            return [Observation(value, {"mailtrace.source": name}) for name, value in list(figures.lag.items())]

        meter.create_observable_counter("mailtrace.lines", one(lambda: figures.count("entries")))
        meter.create_observable_counter("mailtrace.export.sent", one(lambda: figures.count("sent")))
        meter.create_observable_counter("mailtrace.export.failed", [failed])
        meter.create_observable_counter("mailtrace.mails.forgotten", one(lambda: figures.count("forgotten")))
        meter.create_observable_gauge("mailtrace.source.lag", [lag], unit="s")
        meter.create_observable_gauge("mailtrace.source.problems", one(lambda: figures.problems))
        meter.create_observable_gauge("mailtrace.export.spooled", one(lambda: figures.waiting))
        meter.create_observable_gauge("email.messages.open", one(lambda: figures.open))


def _over_grpc(endpoint: Endpoint) -> Any:
    """What sends metrics over gRPC."""
    from mailtrace.otlp.rpc import credentials, quiet

    quiet()
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

    return OTLPMetricExporter(
        endpoint=endpoint.url,
        insecure=not endpoint.tls,
        headers=tuple((name.lower(), secret.reveal()) for name, secret in endpoint.headers.items()),
        timeout=_TIMEOUT,
        credentials=credentials(endpoint) if endpoint.tls else None,
    )


def _over_http(endpoint: Endpoint) -> Any:
    """What sends metrics over HTTP, beside the traces' path."""
    from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
    from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult

    from mailtrace.otlp.http import Http
    from mailtrace.otlp.outcome import Verdict

    url = endpoint.url.removesuffix(PATH) + METRICS_PATH
    wire = Http(replace(endpoint, url=url, timeout=_TIMEOUT))

    class OverHttp(MetricExporter):
        def export(self, metrics_data: Any, timeout_millis: float = 0, **_more: Any) -> Any:
            sent = wire.send(encode_metrics(metrics_data).SerializeToString()).verdict is Verdict.SENT
            return MetricExportResult.SUCCESS if sent else MetricExportResult.FAILURE

        def force_flush(self, timeout_millis: float = 0) -> bool:
            return True

        def shutdown(self, timeout_millis: float = 0, **_more: Any) -> None:
            """Nothing is held."""

    return OverHttp()
