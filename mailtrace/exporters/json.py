"""The `json` export: the report as data, as `schemas/report.schema.json` describes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from mailtrace.report import Report


@dataclass(frozen=True, slots=True)
class Json:
    """The report as JSON; with `entries`, every hop has its raw log lines."""

    entries: bool = False

    binary: ClassVar[bool] = False

    def export(self, report: Report, stream: Any) -> None:
        """Write the report to a text stream, a mail at a time."""
        for piece in report.iter_json(entries=self.entries):
            stream.write(piece)
