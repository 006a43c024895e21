"""Where the traces of a job go, and how they are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from mailtrace.errors import RequestError
from mailtrace.otlp.endpoint import Endpoint
from mailtrace.otlp.spans import spans_of
from mailtrace.problem import Problem

if TYPE_CHECKING:
    from mailtrace.assemble import Assembly
    from mailtrace.job import Job
    from mailtrace.otlp.record import Span
    from mailtrace.otlp.spans import Awaits

Maker = Callable[["Assembly", Mapping[bytes, bytes], "Awaits"], "Iterator[Span]"]
"""Makes the spans of a group's mails: what was sent of it already, and whether another host's lines may still come."""


def endpoint_of(job: Job) -> Endpoint:
    """The back end that a job names. Raises `RequestError` for one that no request can be sent to."""
    try:
        return Endpoint.of(_options(job))
    except ValueError as error:
        raise RequestError([Problem(str(error), path="export")]) from None


def addresses_of(job: Job) -> str:
    """How much of an address its spans show."""
    return str(_options(job).get("addresses") or "full")


def _options(job: Job) -> Mapping[str, object]:
    return next((export.options for export in job.export if export.name == "otlp"), {})


def maker(addresses: str = "full") -> Maker:
    """What makes the spans of a fleet's mails."""

    def make(assembly: Assembly, sent: Mapping[bytes, bytes], awaits: Awaits) -> Iterator[Span]:
        return spans_of(assembly.mails, assembly.clocks, addresses=addresses, sent=sent, awaits=awaits)

    return make
