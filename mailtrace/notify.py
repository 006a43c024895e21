"""Events of a run and who hears them (`schemas/event.schema.json` is their form as data).

A listener is any function that takes an event. It is called in the thread of the run, between two pieces of work:
one that is slow makes the run slow, one that raises ends it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

from mailtrace.report import rfc3339


@dataclass(frozen=True, slots=True)
class _At:
    time: float = field(default_factory=time.time, kw_only=True)  # UTC seconds

    def to_dict(self) -> dict[str, Any]:
        """The event as data; what does not apply is left out."""
        name = "".join(f"_{c.lower()}" if c.isupper() else c for c in type(self).__name__).lstrip("_")
        own = {item.name: getattr(self, item.name) for item in fields(self)}
        own["time"] = rfc3339(self.time)
        return {"event": name, **{key: value for key, value in own.items() if value != "" or key not in _OPTIONAL}}


@dataclass(frozen=True, slots=True)
class StepStarted(_At):
    """A step of the plan begins: `source files`, `walk`, `export dot`."""

    step: str


@dataclass(frozen=True, slots=True)
class StepFinished(_At):
    """A step is over. `detail` is what came of it, or what went wrong."""

    step: str
    seconds: float
    ok: bool = True
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Progress(_At):
    """How far a step is, some ten times a second at most; `total` is None where nobody knows."""

    step: str
    done: int
    total: int | None = None
    unit: str = "lines"


@dataclass(frozen=True, slots=True)
class Warning(_At):  # noqa: A001 - the event's name in the schema
    """Something the reader should know; the report has it too."""

    code: str
    message: str
    host: str = ""


@dataclass(frozen=True, slots=True)
class MailFound(_At):
    """A mail is complete. `sender` is "" for the null sender."""

    mail: str
    message_id: str | None
    sender: str | None
    recipients: int


@dataclass(frozen=True, slots=True)
class Expectation(_At):
    """An expectation of the job was checked."""

    text: str
    held: bool
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class ReportDone(_At):
    """The run is over; the last event."""

    mails: int
    partial: bool
    exit_code: int


Event = StepStarted | StepFinished | Progress | Warning | MailFound | Expectation | ReportDone
Listener = Callable[[Event], None]

_OPTIONAL = ("detail", "host")


def nobody(event: Event) -> None:
    """The listener of a run that nobody listens to."""


class Outcome:
    """How a step came out, for its `StepFinished`."""

    def __init__(self) -> None:
        """All is well until somebody says otherwise."""
        self.ok = True
        self.detail = ""

    def failed(self, detail: str) -> None:
        """The step did not do all it should."""
        self.ok = False
        self.detail = detail


@contextmanager
def step(listener: Listener, name: str) -> Iterator[Outcome]:
    """Tell the listener that a step begins, and that it is over, with the time it took."""
    began = time.perf_counter()
    outcome = Outcome()
    listener(StepStarted(name))
    try:
        yield outcome
    except BaseException as error:
        outcome.failed(str(error) or type(error).__name__)
        raise
    finally:
        listener(StepFinished(name, time.perf_counter() - began, outcome.ok, outcome.detail))
