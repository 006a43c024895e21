"""The `otlp` export: mails to a trace back end, or an error that says why not."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from kit import delivery, hop, mail, report, row
from receiver import Answer, Receiver, over_grpc, partial, spans_in

from mailtrace.errors import ExportError
from mailtrace.exporters.otlp import Otlp
from mailtrace.report import Report
from mailtrace.run import run_job

if TYPE_CHECKING:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@pytest.fixture(name="back_end")
def _back_end() -> Iterator[Receiver]:
    with over_grpc() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)


def one() -> Report:
    sender = hop("mx1", "4F1A2B3C4D", delivery("bob@example.com", "sent", "box[192.0.2.2]:25", reply_id="9A", at=1))
    receiver = hop("box", "9A", delivery("bob@example.com", "sent", at=2), client="mx1[192.0.2.1]", at=1)
    return report(mail([sender, receiver], [row("bob@example.com", "delivered", sender, receiver)]))


def test_a_mail_is_sent_and_nothing_is_written(back_end: Receiver) -> None:
    stream = io.StringIO()
    said = Otlp(endpoint=back_end.endpoint).export(one(), stream)
    assert {host for host, _ in back_end.spans} == {"mx1", "box"}
    assert said == f"{len(back_end.spans)} spans sent to {back_end.endpoint}"
    assert stream.getvalue() == ""


def test_nothing_found_asks_no_back_end() -> None:
    assert Otlp(endpoint="http://127.0.0.1:1").export(report(), io.StringIO()) == "no spans to send"


def test_a_back_end_that_is_away_for_a_moment_is_waited_for(back_end: Receiver) -> None:
    back_end.answers.extend([Answer("UNAVAILABLE", "soon"), Answer("RESOURCE_EXHAUSTED", "slowly", 0.2)])
    Otlp(endpoint=back_end.endpoint).export(one(), io.StringIO())
    assert back_end.calls == 3
    assert len(back_end.taken) == 1


def test_a_back_end_that_stays_away_is_an_error(back_end: Receiver) -> None:
    back_end.always = Answer("UNAVAILABLE", "no room")
    with pytest.raises(ExportError, match=r"cannot send traces: .*UNAVAILABLE: no room; tried for \d+ s"):
        Otlp(endpoint=back_end.endpoint).export(one(), io.StringIO())


def test_a_back_end_that_refuses_us_is_asked_once(back_end: Receiver) -> None:
    back_end.always = Answer("UNAUTHENTICATED", "who are you?")
    with pytest.raises(ExportError, match="credentials"):
        Otlp(endpoint=back_end.endpoint).export(one(), io.StringIO())
    assert back_end.calls == 1


def test_a_request_that_is_too_large_is_sent_in_halves(back_end: Receiver) -> None:
    def small(request: ExportTraceServiceRequest) -> Answer | None:
        too_many = len(spans_in(request)) > 2
        return Answer("RESOURCE_EXHAUSTED", "received message larger than max") if too_many else None

    back_end.always = small
    Otlp(endpoint=back_end.endpoint).export(one(), io.StringIO())
    with over_grpc() as other:
        Otlp(endpoint=other.endpoint).export(one(), io.StringIO())
        assert sorted(span.span_id for _, span in back_end.spans) == sorted(span.span_id for _, span in other.spans)


def test_one_bad_span_does_not_keep_the_others_back(back_end: Receiver) -> None:
    def bad(request: ExportTraceServiceRequest) -> Answer | None:
        names = [span.name for span in spans_in(request)]
        return Answer("INVALID_ARGUMENT", "no deliveries here") if "mail deliver" in names else None

    back_end.always = bad
    with pytest.raises(ExportError, match=r"1 of \d+ spans were not taken: .*no deliveries here"):
        Otlp(endpoint=back_end.endpoint).export(one(), io.StringIO())
    assert "mail deliver" not in back_end.names
    assert len(back_end.spans) > 2


def test_a_back_end_that_takes_nothing_is_not_asked_for_each_span(back_end: Receiver) -> None:
    back_end.always = Answer("INTERNAL", "what is this?")
    alone = [hop("mx1", f"4F1A2B3C{n}", delivery("bob@example.com", "sent", at=1)) for n in range(10, 60)]
    many = report(*(mail([each], [row("bob@example.com", "delivered", each)]) for each in alone))
    with pytest.raises(ExportError, match=r"nothing is taken: .*what is this"):
        Otlp(endpoint=back_end.endpoint).export(many, io.StringIO())
    assert back_end.calls < 30


def test_spans_that_the_back_end_drops_are_told_and_not_sent_again(back_end: Receiver) -> None:
    back_end.answers.append(partial(2, "too old"))
    with pytest.raises(ExportError, match=r"2 of \d+ spans were not taken: too old"):
        Otlp(endpoint=back_end.endpoint).export(one(), io.StringIO())
    assert back_end.calls == 1


@pytest.mark.parametrize("endpoint", ["localhost:4317", "ftp://x", "http://user:secret@host:4317", "http://[::1"])
def test_an_endpoint_that_is_none_is_said_without_its_password(endpoint: str) -> None:
    with pytest.raises(ExportError) as failed:
        Otlp(endpoint=endpoint).export(one(), io.StringIO())
    assert "secret" not in str(failed.value)


def test_a_job_s_mails_reach_the_back_end_and_a_failure_is_exit_4(back_end: Receiver) -> None:
    job = {
        "version": 1,
        "kind": "trace",
        "config": "jobs/demo/config.yaml",
        "find": {"sender": "axel@alpha.lab.test"},
        "export": [{"otlp": {"endpoint": back_end.endpoint}}],
    }
    assert run_job(job).exit_code == 0
    assert back_end.spans
    back_end.always = Answer("PERMISSION_DENIED", "go away")
    failed = run_job(job)
    assert failed.exit_code == 4
    assert "go away" in failed.warnings[-1].message
