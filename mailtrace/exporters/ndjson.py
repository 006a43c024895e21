"""The `ndjson` export: a JSON object for each recipient, one a line (the fields: `mailtrace/rows.py`).

For `jq`, log shippers and databases; times are RFC 3339 in UTC. Each line is as `schemas/row.schema.json` has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from mailtrace.report import Report, json_text, rfc3339
from mailtrace.rows import rows


@dataclass(frozen=True, slots=True)
class Ndjson:
    """Rows as JSON, one a line."""

    binary: ClassVar[bool] = False

    def export(self, report: Report, stream: Any) -> None:
        """Write the report to a text stream, row by row."""
        for row in rows(report):
            row["first"], row["last"] = rfc3339(row["first"]), rfc3339(row["last"])
            row["path"] = [{"host": step.host, "queue_id": step.queue_id} for step in row["path"]]
            stream.write(json_text(row) + "\n")
