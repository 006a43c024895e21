"""The `junit` export: read by the schema that CI servers go by."""

from __future__ import annotations

import io
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import xmlschema
from hypothesis import given, settings
from kit import any_report, hop, mail, report, row

from mailtrace.exporters.junit import Junit, not_run, suite, write
from mailtrace.model import Coverage, Expectation
from mailtrace.report import Report

SCHEMA = xmlschema.XMLSchema(Path(__file__).with_name("junit-10.xsd"))
"""The Jenkins xUnit plugin's (MIT, as its head says)."""


def exported(found: Report) -> ET.Element:
    stream = io.StringIO()
    Junit().export(found, stream)
    text = stream.getvalue()
    text.encode()
    SCHEMA.validate(text)
    return ET.fromstring(text)


def results(root: ET.Element) -> dict[str, str]:
    """Case → what came of it, "" for good."""
    return {
        case.get("name", ""): next((f"{child.tag}: {child.get('message')}" for child in case), "")
        for case in root.iter("testcase")
    }


def test_each_expectation_is_a_case_that_says_where_what_was_wanted_and_what_came() -> None:
    root = exported(
        report(
            mail([hop("mx1", "A")], [row("a@x", "bounced")]),
            expectations=[
                Expectation("delivered: all", held=False, detail="0 of 1", place="job.yaml:9:3"),
                Expectation("within: 60s", held=True),
            ],
        )
    )
    assert results(root) == {
        "all logs are read": "",
        "delivered: all": "failure: job.yaml:9:3: expected delivered: all; seen: 0 of 1",
        "within: 60s": "",
    }
    assert [root.get(name) for name in ("tests", "failures", "errors")] == ["3", "1", "0"]


def test_without_expectations_the_case_is_that_a_mail_is_found() -> None:
    assert results(exported(report(mail([hop("mx1", "A")], []))))["a mail is found"] == ""
    assert "no mail" in results(exported(report(exit_code=1)))["a mail is found"]


def test_nothing_found_fails_also_where_no_expectation_is_broken() -> None:
    held = [Expectation("bounced: none", held=True)]
    assert "a mail is found" in results(exported(report(exit_code=1, expectations=held)))
    assert "a mail is found" not in results(exported(report(exit_code=0, expectations=held)))


def test_data_that_is_missing_is_an_error() -> None:
    root = exported(report(coverage=[Coverage("mx1", "ssh", problem="no route", missing=True)]))
    assert results(root)["all logs are read"] == "error: mx1: no route"
    assert root.get("errors") == "1"


def test_several_jobs_share_a_file_also_one_that_could_not_be_run() -> None:
    stream = io.StringIO()
    write([suite(report(name="one")), not_run("two.yaml", "exit code 2")], stream)
    SCHEMA.validate(stream.getvalue())
    assert 'message="exit code 2"' in stream.getvalue()


@settings(max_examples=30, deadline=None)
@given(any_report())
def test_no_text_of_a_log_breaks_the_schema(found: Report) -> None:
    exported(found)


@pytest.mark.parametrize("text", ["]]>", "<b>&amp;</b>", "\0\x1b[31m", "\ud800", "\ufffe"])
def test_hostile_text_stays_text(text: str) -> None:
    root = exported(report(expectations=[Expectation("delivered: all", held=False, detail=text)]))
    assert len(list(root.iter())) == 5
