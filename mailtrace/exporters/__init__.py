"""Ways to show a report, by their word in a job's `export` section.

An exporter is a class made from its options (a frozen dataclass, checked against `schemas/job.schema.json` by a test)
with `export(report, stream)`; `binary` says which kind of stream it writes to. Another package joins with an entry
point in the group `mailtrace.exporters`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailtrace.errors import ExportError

if TYPE_CHECKING:
    from mailtrace.report import Exporter

GROUP = "mailtrace.exporters"

EXPORTERS = {
    "timeline": "mailtrace.exporters.timeline:Timeline",
    "json": "mailtrace.exporters.json:Json",
    "summary": "mailtrace.exporters.summary:Table",
    "csv": "mailtrace.exporters.csv:Csv",
    "ndjson": "mailtrace.exporters.ndjson:Ndjson",
    "dot": "mailtrace.exporters.dot:Dot",
    "svg": "mailtrace.exporters.dot:Svg",
    "png": "mailtrace.exporters.dot:Png",
    "bundle": "mailtrace.exporters.bundle:Bundle",
    "junit": "mailtrace.exporters.junit:Junit",
    "html": "mailtrace.exporters.html:Html",
    "otlp": "mailtrace.exporters.otlp:Otlp",
}
"""Word → class; imported when it is used, so that a run pays for what it shows only."""


def exporter(name: str) -> type[Exporter]:
    """The class behind a word. Raises `ExportError` for one that nobody has registered or that can't be imported."""
    from importlib import import_module
    from importlib.metadata import entry_points

    known = EXPORTERS.get(name)
    if known is not None:
        module, _, attribute = known.partition(":")
        own: type[Exporter] = getattr(import_module(module), attribute)
        return own
    for point in entry_points(group=GROUP, name=name):
        try:
            other: type[Exporter] = point.load()
        except Exception as error:  # another package's code may raise anything
            raise ExportError(f"export {name}: {point.value} cannot be imported: {error}") from error
        return other
    raise ExportError(f"export {name}: no such exporter; there are {', '.join(EXPORTERS)}")


def make(name: str, **options: Any) -> Exporter:
    """An exporter made from its options, those of the job's schema without `to`."""
    return exporter(name)(**options)
