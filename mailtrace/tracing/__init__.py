"""Continuous tracing: every mail an OpenTelemetry trace, for as long as it runs; none lost, none doubled.

- query.py: what came to all logs, in one stream
- touch.py, mails.py, packing.py: which lines belong together, and when a mail's spans are final
- state.py: the file that remembers all of it
- handover.py: the way to the back end
- continuous.py: the rounds; service.py: the process around them
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "EmailTrace": "models",
    "create_spans": "otel",
    "setup_exporter": "otel",
    "span_id": "otel",
    "trace_id": "otel",
}
"""Name → the module that has it, imported when it is used: the libraries behind it are large."""

__all__ = ["EmailTrace", "create_spans", "setup_exporter", "span_id", "trace_id"]


def __getattr__(name: str) -> Any:
    """Import what is asked for."""
    if name not in _HOME:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
