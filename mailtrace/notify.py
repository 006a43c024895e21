"""Events of a run and who hears them (`schemas/event.schema.json` is their form as data).

A listener is any function that takes an event. It is called in the thread of the run, between two pieces of work:
one that is slow makes the run slow, one that raises ends it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import IO, Any

from mailtrace.report import rfc3339

_SHOWN = 8  # hosts that a line names


@dataclass(frozen=True, slots=True)
class _At:
    time: float = field(default_factory=time.time, kw_only=True)  # UTC seconds

    def to_dict(self) -> dict[str, Any]:
        """The event as data; what does not apply is left out."""
        name = "".join(f"_{c.lower()}" if c.isupper() else c for c in type(self).__name__).lstrip("_")
        own = {item.name: getattr(self, item.name) for item in fields(self)}
        own = {key: list(value) if isinstance(value, tuple) else value for key, value in own.items()}
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
class Waiting(_At):
    """Not every fate is final: in `pause` seconds the logs are asked again, for `left` seconds at most."""

    mails: int
    open: int
    pause: float
    left: float


@dataclass(frozen=True, slots=True)
class Asked(_At):
    """A source has answered the questions of one wave.

    `hosts` are those that were asked, none for all of them; `lines` tells how many of each answered.
    """

    source: str
    wave: int
    questions: int
    hosts: tuple[str, ...]
    lines: Mapping[str, int]
    seconds: float

    @property
    def said(self) -> str:
        """The same in a line: `wave 2, ssh: 34 lines of core, osl1, sp1 in 0.25 s (core 30, osl1 4)`."""
        most = sorted((item for item in self.lines.items() if item[1]), key=lambda item: (-item[1], item[0]))
        counted = ", ".join(f"{host} {number}" for host, number in most[:_SHOWN])
        more = f" and {len(most) - _SHOWN} more" if len(most) > _SHOWN else ""
        asked = f"{', '.join(self.hosts[:_SHOWN])}{' …' if len(self.hosts) > _SHOWN else ''}" or "all hosts"
        total = sum(self.lines.values())
        told = f" ({counted}{more})" if most else ""
        return f"wave {self.wave}, {self.source}: {total} lines of {asked} in {self.seconds:.2f} s{told}"


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
    place: str = ""


@dataclass(frozen=True, slots=True)
class ReportDone(_At):
    """The run is over; the last event."""

    mails: int
    partial: bool
    exit_code: int


Event = StepStarted | StepFinished | Progress | Asked | Waiting | Warning | MailFound | Expectation | ReportDone
Listener = Callable[[Event], None]

_OPTIONAL = ("detail", "host", "place")


def nobody(event: Event) -> None:
    """The listener of a run that nobody listens to."""


def wants_mails(listener: Listener) -> bool:
    """Whether a listener wants to hear of every mail: of a day that is a million events, and each takes time.

    One that does not says so with `every_mail = False`.
    """
    return listener is not nobody and getattr(listener, "every_mail", True)


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


def recorder(stream: IO[str], redact: Callable[[str], str]) -> Listener:
    """A listener that writes each event as a line of JSON, as it happens."""

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            return redact(value)
        if isinstance(value, Mapping):
            return {redact(key): clean(item) for key, item in value.items()}
        return [clean(item) for item in value] if isinstance(value, list) else value

    def hear(event: Event) -> None:
        stream.write(json.dumps(clean(event.to_dict())) + "\n")
        stream.flush()

    return hear
