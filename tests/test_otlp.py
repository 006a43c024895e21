"""Whole fleets as traces: what a back end gets, judged by the truth."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme
import truth
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from otelcol.collector import whole_records
from traces import Got, Judgement, judge, of_json

from mailtrace.load import load_job
from mailtrace.model import LinkKind
from mailtrace.otlp.client import Client
from mailtrace.otlp.encode import encode, split
from mailtrace.otlp.endpoint import Endpoint
from mailtrace.otlp.outcome import Verdict
from mailtrace.otlp.record import Span
from mailtrace.otlp.spans import spans_of
from mailtrace.report import Report
from mailtrace.run import gather, run_job
from mailtrace.secret import Secret

if TYPE_CHECKING:
    from otelcol.collector import Collector


@cache
def day(name: str) -> Report:
    return gather(load_job({"version": 1, "kind": "trace", "config": truth.fleet(name), "find": {}}))


def received(name: str) -> list[Got]:
    report = day(name)
    out = []
    for request in encode(spans_of(report.mails, report.clocks)):
        got = MessageToDict(ExportTraceServiceRequest.FromString(request.body), use_integers_for_enums=True)
        for group in got["resourceSpans"]:
            resource = {item["key"]: item["value"] for item in group["resource"]["attributes"]}
            out += [of_json(resource, hexed(span)) for scope in group["scopeSpans"] for span in scope["spans"]]
    return out


def hexed(span: dict[str, object]) -> dict[str, object]:
    """Protobuf's JSON has IDs in base64, OTLP's in hexadecimal digits."""
    from base64 import b64decode

    def ids(found: dict[str, object]) -> dict[str, object]:
        return {
            k: b64decode(str(v)).hex() if k in ("traceId", "spanId", "parentSpanId") else v for k, v in found.items()
        }

    return {**ids(span), "links": [ids(link) for link in span.get("links", ())]}  # type: ignore[attr-defined]


@cache
def judged(name: str) -> Judgement:
    return judge(received(name), truth.truth(name))


@pytest.mark.parametrize("name", ["fleet", "rough"])
def test_every_mail_of_the_truth_is_one_trace_with_its_hops_parents_statuses_and_links(name: str) -> None:
    found = judged(name)
    assert found.wrong == []
    assert found.right == found.wanted > 180


@pytest.mark.parametrize("name", ["fleet", "rough"])
def test_no_span_is_there_twice_and_none_is_an_orphan(name: str) -> None:
    assert (judged(name).twice, judged(name).orphans) == ([], [])


def test_receptions_lie_within_the_hand_offs_that_made_them() -> None:
    assert judged("fleet").outside == []
    assert judged("fleet").handoffs > 400
    # Two wrong clocks, one of them drifting; seven receptions have a queue ID or lines that contradict their own clock.
    assert len(judged("rough").outside) <= 7
    assert judged("rough").handoffs > 3000


def test_no_span_is_without_length() -> None:
    assert [span for span in received("rough") if span.end <= span.start] == []


def test_a_day_s_spans_do_not_depend_on_what_else_is_in_it() -> None:
    report = day("fleet")
    together = set(spans_of(report.mails, report.clocks))
    mails = [mail for mail in report.mails if not any(link.kind is LinkKind.BOUNCED for link in mail.links)]
    for mail in mails:
        assert set(spans_of([mail], report.clocks)) <= together


def test_the_judge_sees_a_lost_span_a_doubled_one_and_a_wrong_parent() -> None:
    spans = received("fleet")
    rows = truth.truth("fleet")
    inner = next(span for span in spans if span.name == "smtp receive" and span.parent)
    assert judge([span for span in spans if span is not inner], rows).orphans
    assert judge([*spans, inner], rows).twice
    moved = replace(inner, parent="")
    assert judge([moved if span is inner else span for span in spans], rows).wrong


# ------------------------------------------------------------------------------- a real OpenTelemetry Collector


def stored(collector: Collector) -> list[Got]:
    return [of_json(resource, span) for resource, span in collector.spans()]


def send(name: str, endpoint: str, **options: Any) -> Report:
    config = truth.fleet(name)
    export = [{"otlp": {"endpoint": endpoint, **options}}]
    return run_job({"version": 1, "kind": "trace", "config": config, "find": {}, "export": export})


@pytest.mark.parametrize("way", ["endpoint", "http_endpoint"])
def test_a_day_of_mails_reaches_a_collector_whole_and_once(make_collector: Callable[..., Collector], way: str) -> None:
    collector = make_collector()
    assert send("fleet", getattr(collector, way), compression="gzip").exit_code == 0
    found = judge(stored(collector), truth.truth("fleet"))
    assert (found.wrong, found.twice, found.orphans, found.outside) == ([], [], [], [])
    assert found.right == found.wanted
    assert sorted(stored(collector), key=repr) == sorted(received("fleet"), key=repr)


def test_tracing_sends_what_the_export_sends(make_collector: Callable[..., Collector], tmp_path: Path) -> None:
    collector = make_collector()
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(truth.fleet("fleet")))
    command = ["tracing", "-c", str(config), "--otel-endpoint", collector.endpoint, "--until", "now"]
    surroundings = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    subprocess.run([Path(sys.executable).with_name("mailtrace"), *command], env=surroundings, check=True, timeout=120)
    assert sorted(stored(collector), key=repr) == sorted(received("fleet"), key=repr)


def test_a_record_that_a_kill_cut_in_two_spoils_no_other() -> None:
    record = '{"resourceSpans":[{"resource":{},"scopeSpans":[]}]}'
    written = f"{record}\n{record[:31]}{record}\n{record}\n{record[:-1]}"
    assert list(whole_records(written)) == [json.loads(record)] * 3


def test_a_collector_that_is_killed_at_any_moment_loses_and_doubles_nothing(
    make_collector: Callable[..., Collector],
) -> None:
    collector = make_collector()
    report = day("fleet")
    requests = list(encode(spans_of(report.mails, report.clocks), 20_000))
    client = Client(Endpoint.of({"endpoint": collector.endpoint, "timeout": 5}, {}))
    killed = 0
    for number, request in enumerate(requests):
        if number % 5 == 2:
            thread = threading.Timer(random.Random(number).random() / 200, collector.kill)
            thread.start()
            killed += 1
        while client.send(request.body).verdict is not Verdict.SENT:
            if collector.process is not None and collector.process.poll() is not None:
                collector.start()
                client.close()
        if number % 5 == 2:
            thread.join()
            if collector.process is not None and collector.process.poll() is not None:
                collector.start()
                client.close()
    client.close()
    spans = stored(collector)
    assert killed > 3
    # What was taken and not acknowledged is sent again: the same bytes, which back ends take for one.
    assert {(span.trace, span.id) for span in spans} == {(span.trace, span.id) for span in received("fleet")}
    assert len({repr(span) for span in spans}) == len(received("fleet"))


@pytest.fixture(name="pki", scope="module")
def _pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    for name, cert in (("sv", authority.issue_cert("127.0.0.1")), ("cl", authority.issue_cert("me@example.com"))):
        cert.private_key_pem.write_to_path(folder / f"{name}.key")
        cert.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
    return folder


def one_span(collector: Collector, scheme: str = "http", way: str = "port", **options: Any) -> Verdict:
    path = "/v1/traces" if way == "http_port" else ""
    url = f"{scheme}://127.0.0.1:{getattr(collector, way)}{path}"
    client = Client(Endpoint.of({"endpoint": url, "timeout": 5, **options}, {}))
    span = Span(bytes(15) + b"\1", bytes(7) + b"\1", b"", "mx1", "smtp receive", 2, 1, 2000)
    try:
        return client.send(next(encode([span])).body).verdict
    finally:
        client.close()


@pytest.mark.parametrize("way", ["port", "http_port"])
def test_a_collector_s_certificate_and_ours_are_checked(
    make_collector: Callable[..., Collector], pki: Path, way: str
) -> None:
    tls = f", tls: {{cert_file: {pki}/sv.pem, key_file: {pki}/sv.key, client_ca_file: {pki}/ca.pem}}"
    collector = make_collector(receiver=tls)
    mine = {"ca_file": f"{pki}/ca.pem", "cert_file": f"{pki}/cl.pem", "key_file": f"{pki}/cl.key"}
    assert one_span(collector, "https", way, **mine) is Verdict.SENT
    assert one_span(collector, "https", way, cert_file=mine["cert_file"], key_file=mine["key_file"]) is Verdict.DENIED
    assert one_span(collector, "https", way, ca_file=mine["ca_file"]) in (Verdict.DENIED, Verdict.LATER)


@pytest.mark.parametrize("way", ["port", "http_port"])
def test_a_collector_that_wants_a_token_gets_it(make_collector: Callable[..., Collector], way: str) -> None:
    collector = make_collector(
        receiver=", auth: {authenticator: bearertokenauth}",
        more="extensions:\n  bearertokenauth: {token: s3cret}\n",
        service="  extensions: [bearertokenauth]\n",
    )
    assert one_span(collector, way=way, headers={"Authorization": Secret("Bearer s3cret")}) is Verdict.SENT
    assert one_span(collector, way=way) is Verdict.DENIED
    assert one_span(collector, way=way, headers={"Authorization": Secret("Bearer wrong")}) is Verdict.DENIED


def test_more_than_a_collector_reads_at_once_is_halved(make_collector: Callable[..., Collector]) -> None:
    collector = make_collector()
    long = "x" * 1000
    spans = [
        Span(bytes(15) + b"\1", n.to_bytes(8, "big"), b"", "mx1", "smtp receive", 2, n, n + 1000, (("a", long),))
        for n in range(1, 5000)
    ]
    client = Client(Endpoint.of({"endpoint": collector.endpoint}, {}))
    (whole,) = encode(spans, 1 << 30)
    assert client.send(whole.body).verdict is Verdict.SPLIT
    assert [client.send(half.body).verdict for half in split(whole.body)] == [Verdict.SENT] * 2
    client.close()
    assert len(stored(collector)) == 4999
