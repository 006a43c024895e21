"""The report: all that one run found, and its form as data (`schemas/report.schema.json`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from mailtrace.model import ClockNote, Coverage, Expectation, Mail, Warning_


@dataclass(slots=True)
class Report:
    """All that one run found. `exit_code` as in the README's table."""

    name: str
    kind: str
    start: float | None = None
    end: float | None = None
    mails: list[Mail] = field(default_factory=list)
    coverage: list[Coverage] = field(default_factory=list)
    clocks: list[ClockNote] = field(default_factory=list)
    warnings: list[Warning_] = field(default_factory=list)
    expectations: list[Expectation] = field(default_factory=list)
    partial: bool = False
    exit_code: int = 0
    zone: str = ""  # the zone that times of the job without one were read in
    outside: frozenset[str] = frozenset()  # inventory hosts that are not the fleet's

    def to_dict(self, *, entries: bool = False) -> dict[str, Any]:
        """The report as `schemas/report.schema.json` describes it."""
        raise NotImplementedError

    def to_json(self, *, entries: bool = False) -> str:
        """`to_dict()` as JSON text, with a newline at its end."""
        raise NotImplementedError


class Exporter(Protocol):
    """Shows a report. Made by the registry from its options."""

    def export(self, report: Report, stream: Any) -> None:
        """Write the report to a text stream (binary for exporters with `binary = True`)."""
