"""Where the traces of a job go, and how they are made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from mailtrace.errors import RequestError
from mailtrace.otlp.endpoint import Endpoint
from mailtrace.otlp.spans import spans_of
from mailtrace.problem import Problem

if TYPE_CHECKING:
    from mailtrace.assemble import Assembly
    from mailtrace.hosts import Inventory
    from mailtrace.job import Job
    from mailtrace.model import Hop
    from mailtrace.otlp.record import Span

Maker = Callable[["Assembly", Mapping[bytes, bytes], Collection[str]], "Iterator[Span]"]
"""Makes the spans of a group's mails: what was sent of it already, and the hosts whose logs are read."""


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


def maker(fleet: Inventory, addresses: str = "full") -> Maker:
    """What makes the spans of a fleet's mails."""

    def make(assembly: Assembly, sent: Mapping[bytes, bytes], hosts: Collection[str]) -> Iterator[Span]:
        def awaits(hop: Hop) -> bool:
            client = hop.client
            there = fleet.find(client.ip) or fleet.find(client.name)
            return bool(there) and there != hop.host and there in hosts

        return spans_of(assembly.mails, assembly.clocks, addresses=addresses, sent=sent, awaits=awaits)

    return make
