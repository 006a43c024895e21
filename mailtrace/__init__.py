"""mailtrace: where did this mail go?

`run_job` runs a job (a file or a mapping of the same structure) and returns its `Report`. Below it are the parts:
`load_job`, `load_config`, `lint`, and the functions of the first mailtrace (`query_logs_by_keywords`,
`trace_mail_flow`, …) over the same core.

Names are imported when they are first used, so that the command starts quickly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mailtrace.aggregator import (
        do_trace,
        query_logs_by_keywords,
        select_aggregator,
        trace_mail_flow,
        trace_mail_flow_to_file,
    )
    from mailtrace.graph import MailGraph
    from mailtrace.job import Job
    from mailtrace.load import lint, load_config, load_job
    from mailtrace.report import Report
    from mailtrace.run import run_job

    __version__: str

__all__ = [
    "Job",
    "MailGraph",
    "Report",
    "__version__",
    "do_trace",
    "lint",
    "load_config",
    "load_job",
    "query_logs_by_keywords",
    "run_job",
    "select_aggregator",
    "trace_mail_flow",
    "trace_mail_flow_to_file",
]

_HOMES = {
    "Job": "job",
    "MailGraph": "graph",
    "Report": "report",
    "do_trace": "aggregator",
    "lint": "load",
    "load_config": "load",
    "load_job": "load",
    "query_logs_by_keywords": "aggregator",
    "run_job": "run",
    "select_aggregator": "aggregator",
    "trace_mail_flow": "aggregator",
    "trace_mail_flow_to_file": "aggregator",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("mailtrace")
    elif name in _HOMES:
        from importlib import import_module

        value = getattr(import_module(f"mailtrace.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
