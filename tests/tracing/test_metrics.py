"""Metrics as a real Collector gets them, and that nobody is bothered where they are not wanted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from stories import entries, hosts, put_together

from mailtrace.hosts import HostFacts
from mailtrace.otlp.endpoint import Endpoint
from mailtrace.otlp.record import Span
from mailtrace.otlp.spans import spans_of
from mailtrace.tracing.metrics import BUCKETS, Figures, Metrics

if TYPE_CHECKING:
    from otelcol.collector import Collector

pytestmark = pytest.mark.needs("opentelemetry")

FIGURES = Figures(
    counters={"entries": 120, "sent": 30, "rejected": 2, "aside": 1, "forgotten": 4},
    before={"entries": 20, "sent": 10},
    lag={"files:/var/log/mail.log": 4.5},
    problems=1,
    waiting=7,
    open=12,
)


MX = """\
2026-02-03T10:00:00.100000+00:00 mx postfix/smtpd[1]: AAAAA11111: client=out.example.net[192.0.2.9]
2026-02-03T10:00:00.110000+00:00 mx postfix/cleanup[2]: AAAAA11111: message-id=<m1@example.net>
2026-02-03T10:00:00.120000+00:00 mx postfix/qmgr[3]: AAAAA11111: from=<ann@example.net>, size=7, nrcpt=2 (queue active)
2026-02-03T10:00:00.400000+00:00 mx postfix/smtp[4]: AAAAA11111: to=<bob@example.com>, relay=none, delay=0.3, \
delays=0.02/0.01/0.27/0, dsn=4.4.1, status=deferred (connect to box: Connection refused)
2026-02-03T10:00:00.200100+00:00 mx postfix/local[4]: AAAAA11111: to=<eve@example.com>, relay=local, delay=0.1, \
delays=0.02/0.01/0/0.07, dsn=2.0.0, status=sent (delivered to mailbox)
2026-02-03T10:00:40.100000+00:00 mx postfix/smtp[4]: AAAAA11111: to=<bob@example.com>, relay=box[192.0.2.2]:25, \
delay=40, delays=39/0.01/0.5/0.5, dsn=2.0.0, status=sent (250 OK)
2026-02-03T10:00:40.100200+00:00 mx postfix/qmgr[3]: AAAAA11111: removed
"""


def told() -> list[Span]:
    assembly = put_together(entries(mx=MX), hosts(mx=HostFacts()))
    return list(spans_of(assembly.mails, assembly.clocks))


def points(metric: dict[str, Any]) -> dict[tuple[str, ...], float]:
    """The numbers of a counter or gauge by their labels' values."""
    [kind] = metric.keys() & {"sum", "gauge"}
    return {
        tuple(item["value"]["stringValue"] for item in point.get("attributes", ())): float(
            point.get("asInt", point.get("asDouble"))
        )
        for point in metric[kind]["dataPoints"]
    }


@pytest.mark.parametrize("way", ["endpoint", "http_endpoint"])
def test_the_figures_reach_a_collector(make_collector: Callable[..., Collector], way: str) -> None:
    collector = make_collector()
    metrics = Metrics(Endpoint.of({"endpoint": getattr(collector, way), "compression": "gzip"}, {}), FIGURES)
    metrics.seen(told())
    metrics.close()
    found = collector.metrics()
    assert found[""]["service.name"] == {"stringValue": "mailtrace"}
    assert points(found["mailtrace.lines"]) == {(): 100.0}  # of this process
    assert points(found["mailtrace.export.sent"]) == {(): 20.0}
    assert points(found["mailtrace.export.failed"]) == {("rejected",): 2.0, ("aside",): 1.0, ("dropped",): 0.0}
    assert points(found["mailtrace.mails.forgotten"]) == {(): 4.0}
    assert points(found["mailtrace.source.lag"]) == {("files:/var/log/mail.log",): 4.5}
    assert points(found["mailtrace.source.problems"]) == {(): 1.0}
    assert points(found["mailtrace.export.spooled"]) == {(): 7.0}
    assert points(found["email.messages.open"]) == {(): 12.0}
    assert points(found["email.delivery.attempts"]) == {("mx", "deferred"): 1.0, ("mx", "sent"): 2.0}
    [delays] = found["email.delivery.duration"]["histogram"]["dataPoints"]
    assert (int(delays["count"]), delays["sum"], delays["explicitBounds"]) == (2, 40.1, list(map(float, BUCKETS)))
    assert [found[name].get("unit", "") for name in ("mailtrace.source.lag", "email.delivery.duration")] == ["s", "s"]


@pytest.mark.parametrize("variable, value", [("OTEL_METRICS_EXPORTER", "none"), ("OTEL_SDK_DISABLED", "true")])
def test_nothing_is_sent_where_nobody_wants_it(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    metrics = Metrics(Endpoint("http://127.0.0.1:1"), Figures())
    metrics.seen(told())
    assert metrics._provider is None
    metrics.close()


def test_a_back_end_that_is_away_or_wants_no_metrics_is_no_trouble() -> None:
    script = (
        "from mailtrace.otlp.endpoint import Endpoint\n"
        "from mailtrace.tracing.metrics import Figures, Metrics\n"
        "Metrics(Endpoint('http://127.0.0.1:1'), Figures()).close()\n"
        "Metrics(Endpoint('http://127.0.0.1:1/v1/traces', http=True), Figures()).close()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_certificate_that_cannot_be_read_is_said_by_who_sends_the_traces(tmp_path: Path) -> None:
    metrics = Metrics(Endpoint("https://127.0.0.1:1", ca_file=str(tmp_path / "none.pem")), Figures())
    metrics.seen(told())
    metrics.close()
