"""What a back end's answer to a request says."""

from __future__ import annotations

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from mailtrace.otlp.outcome import Outcome, Verdict, accepted


def test_no_words_are_good_words() -> None:
    assert accepted(b"") == Outcome(Verdict.SENT)


def test_what_is_dropped_of_a_request_is_told() -> None:
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 2
    answer.partial_success.error_message = "too old"
    assert accepted(answer.SerializeToString()) == Outcome(Verdict.SENT, "too old", rejected=2)


def test_a_broken_answer_is_no_back_end() -> None:
    assert accepted(b"<html>").verdict is Verdict.DENIED
