"""The `csv` export: a row for each recipient, for spreadsheets (the columns: `mailtrace/rows.py`).

As RFC 4180 has it, in UTF-8, with a header and plain line ends. Log text is anybody's: a text that a spreadsheet would
take for a formula (it begins with `=`, `+`, `-`, `@`, a tab or a line end, blanks aside) gets a `'` before it, and
control characters are shown as escapes.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import Any, ClassVar

from mailtrace.report import Report, visible
from mailtrace.rows import COLUMNS, rows, way
from mailtrace.wording import Clock

FORMULA = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
"""What a formula begins with, in the full width of East Asian keyboards too (OWASP, "CSV Injection")."""


@dataclass(frozen=True, slots=True)
class Csv:
    """Rows for a spreadsheet; times are in `time_zone` (`UTC`, `local`, `Europe/Berlin`, `+02:00`)."""

    time_zone: str = "UTC"

    binary: ClassVar[bool] = False

    def export(self, report: Report, stream: Any) -> None:
        """Write the report to a text stream, row by row."""
        clock = Clock(self.time_zone)
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows(report):
            row["path"] = way(row["path"])
            for moment in ("first", "last"):
                row[moment] = _moment(clock, row[moment])
            writer.writerow([cell(row[name]) for name in COLUMNS])


def cell(value: Any) -> Any:
    """A value as a spreadsheet may have it: no text is a formula."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return value
    text = f"'{value}" if value.lstrip(" \xa0")[:1] in FORMULA and value.strip(" \xa0") else value
    return visible(text)


def _moment(clock: Clock, time: float | None) -> str | None:
    at = clock.at(time) if time is not None else None
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else None
