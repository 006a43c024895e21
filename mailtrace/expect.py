"""Expectations over a report: what a job promises about the mails it finds, and whether that came out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailtrace.model import Expectation
    from mailtrace.report import Report

Value = Union[str, int, float, bool, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Expect:
    """One expectation: `name` is its YAML word, `value` what it is held to (seconds for `within`)."""

    name: str
    value: Value
    text: str = ""  # as the job has it: "within: 60s"


def judge(report: Report, expects: Iterable[Expect]) -> list[Expectation]:
    """How each expectation came out over the mails of the report, in the job's order."""
    raise NotImplementedError
