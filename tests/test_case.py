"""What a run keeps of itself to be run again: the question and the fleet as they were meant, and every line."""

from __future__ import annotations

from typing import Any

from truth import fleet

from mailtrace import run_job
from mailtrace.case import escaped
from mailtrace.report import Case


def case_of(tmp_path: Any, **job: Any) -> Case:
    export = [{"bundle": {"to": str(tmp_path / "case.zip")}}]
    report = run_job({"config": fleet("fleet"), "export": export, **job})
    assert report.case is not None
    return report.case


def test_the_question_is_kept_as_it_was_meant(tmp_path: Any) -> None:
    find = {"sender": "<>", "start_host": "ext1", "time": "2026-11-23T01:04:24Z", "time_range": "2s", "any_of": ["x"]}
    case = case_of(tmp_path, find=find, walk={"max_hops": 7})
    assert case.find == {
        "sender": "<>",
        "start_host": ["ext1"],
        "any_of": ["x"],
        "since": "2026-11-23T01:04:22Z",
        "until": "2026-11-23T01:04:26Z",
    }
    assert case.walk == {"max_hops": 7, "max_age": "432000s"}


def test_lines_are_kept_once_and_in_order(tmp_path: Any) -> None:
    case = case_of(tmp_path, find={"keywords": ["4jXnlV6MTQzRbF8"]})
    assert len({(entry.host, entry.seq) for entry in case.lines}) == len(case.lines) > 20
    for host in {entry.host for entry in case.lines}:
        times = [entry.time for entry in case.lines if entry.host == host]
        assert times == sorted(times)


def test_zones_are_those_that_were_found_out_and_spans_those_of_the_logs(tmp_path: Any) -> None:
    case = case_of(tmp_path, find={"keywords": ["4jXnlV6MTQzRbF8"]})
    assert case.logs["mx2"] == {"time_zone": "+00:00"}
    assert set(case.spans) == set(case.logs)
    assert all(first <= last for first, last in case.spans.values())


def test_a_report_without_a_bundle_has_no_case() -> None:
    assert run_job({"config": fleet("fleet"), "find": {"keywords": ["4jXnlV6MTQzRbF8"]}}).case is None


def test_no_text_of_a_case_is_taken_for_a_variable() -> None:
    assert escaped({"a": ["${env:HOME}", 1], "b": None}) == {"a": ["$${env:HOME}", 1], "b": None}
