"""The `junit` export: what a job expects as test results, as CI servers read them.

The form is that of Ant's JUnit task as the Jenkins xUnit plugin describes it (`junit-10.xsd`). A job is a test suite.
Its cases are: that all logs could be read (an error where not), that a mail is found (where the job expects nothing in
particular), and each expectation. What was wanted and what was seen instead is the failure's message.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar
from xml.etree import ElementTree as ET

from mailtrace.report import Report, visible


@dataclass(frozen=True, slots=True)
class Junit:
    """Expectations as test results."""

    binary: ClassVar[bool] = False

    def export(self, report: Report, stream: Any) -> None:
        """Write the report to a text stream."""
        write([suite(report)], stream)


def write(suites: Iterable[ET.Element], stream: Any) -> None:
    """Write test suites as one document."""
    root = ET.Element("testsuites", name="mailtrace")
    root.extend(suites)
    for count in ("tests", "failures", "errors"):
        root.set(count, str(sum(int(each.get(count, "0")) for each in root)))
    ET.indent(root)
    stream.write('<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n")


def suite(report: Report) -> ET.Element:
    """A job and how its expectations came out."""
    name = visible(report.name) or "mailtrace"
    return _suite(name, list(_cases(name, report)))


def not_run(name: str, why: str) -> ET.Element:
    """A job that could not be run."""
    return _suite(visible(name), [_case(visible(name), "the job runs", "error", why)])


def _suite(name: str, cases: list[ET.Element]) -> ET.Element:
    out = ET.Element("testsuite", name=name, tests=str(len(cases)))
    for count, kind in (("failures", "failure"), ("errors", "error")):
        out.set(count, str(sum(case.find(kind) is not None for case in cases)))
    out.extend(cases)
    return out


def _cases(name: str, report: Report) -> Iterable[ET.Element]:
    lost = [item for item in report.coverage if item.missing]
    problems = "; ".join(f"{item.host}: {item.problem}" if item.host else item.problem for item in lost)
    yield _case(name, "all logs are read", "error", problems)
    broken = any(not came.held for came in report.expectations)
    missed = not report.mails and not broken and report.exit_code == 1
    if missed or not report.expectations:
        yield _case(name, "a mail is found", "failure", "" if report.mails else "no mail was found")
    for came in report.expectations:
        where = f"{came.place}: " if came.place else ""
        seen = f"{where}expected {came.text}; seen: {came.detail}"
        yield _case(name, came.text, "failure", "" if came.held else seen)


def _case(suite_name: str, name: str, kind: str, problem: str) -> ET.Element:
    case = ET.Element("testcase", classname=suite_name, name=visible(name))
    if problem:
        ET.SubElement(case, kind, type=kind, message=visible(problem))
    return case
