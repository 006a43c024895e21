"""What a back end got, judged by the truth of a fleet: one trace a mail, its hops, parents, times, statuses, links."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mailtrace.otlp.identity import trace_id

RECEPTIONS = ("smtp receive", "mail submit")
ATTEMPTS = ("smtp deliver", "mail deliver", "mail expire")
FAILED = ("bounced", "expired", "deferred")
SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Got:
    """A span as a back end has it; IDs in hexadecimal digits, "" for no parent."""

    host: str
    trace: str
    id: str
    parent: str
    name: str
    start: int
    end: int
    attributes: dict[str, Any]
    links: tuple[tuple[str, str, str], ...]  # trace, span, relation
    failed: bool

    @property
    def hop(self) -> tuple[str, str]:
        """The host and its queue ID."""
        return self.host, str(self.attributes.get("email.local_id", ""))


def plain(value: dict[str, Any]) -> Any:
    """An attribute's value out of OTLP/JSON."""
    ((kind, found),) = value.items()
    if kind == "arrayValue":
        return tuple(plain(item) for item in found.get("values", ()))
    if kind == "doubleValue":
        return float(found)
    return int(found) if kind == "intValue" else found


def of_json(resource: dict[str, Any], span: dict[str, Any]) -> Got:
    """A span out of OTLP/JSON, as the Collector's file and Jaeger's API have it."""
    links = tuple(
        (link["traceId"], link["spanId"], str(plain(link["attributes"][0]["value"]))) for link in span.get("links", ())
    )  # Jaeger puts `follows_from` in the place of our relation
    return Got(
        host=str(plain(resource["host.name"])),
        trace=span["traceId"],
        id=span["spanId"],
        parent=span.get("parentSpanId", ""),
        name=span["name"],
        start=int(span["startTimeUnixNano"]),
        end=int(span["endTimeUnixNano"]),
        attributes={item["key"]: plain(item["value"]) for item in span.get("attributes", ())},
        links=links,
        failed=span.get("status", {}).get("code", 0) == 2,
    )


@dataclass(slots=True)
class Judgement:
    """What is wrong, in words; `wanted` and `right` count the truth's rows."""

    wanted: int = 0
    right: int = 0
    twice: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)  # a row of the truth that is not told as it was
    outside: list[str] = field(default_factory=list)  # a reception that does not lie within its hand-off
    handoffs: int = 0


def judge(spans: Iterable[Got], rows: Iterable[dict[str, Any]]) -> Judgement:
    """Compare what a back end has with the provable rows of a fleet's truth."""
    found = list(spans)
    result = Judgement()
    times = Counter((span.trace, span.id) for span in found)
    result.twice = [f"{trace} {span} {count} times" for (trace, span), count in times.items() if count > 1]
    by_id = {(span.trace, span.id): span for span in found}
    result.orphans = [
        f"{span.name} {span.hop} has no {span.parent}"
        for span in found
        if span.parent and (span.trace, span.parent) not in by_id
    ]
    told = list(rows)
    case = _Case(found, by_id, told)
    for row in told:
        if row.get("provable") is False or not row["path"]:
            continue
        result.wanted += 1
        faults = list(case.faults(row))
        result.right += not faults
        result.wrong += [f"{row['scenario']} {row['lab_id']} {row['final_recipient']}: {fault}" for fault in faults]
    for span, parent in case.handoffs():
        result.handoffs += 1
        if not (parent.start <= span.start and span.end <= parent.end):
            early, late = (parent.start - span.start) / SECOND, (span.end - parent.end) / SECOND
            result.outside.append(f"{parent.hop} -> {span.hop}: {early:+.3f} s before, {late:+.3f} s after")
    return result


class _Case:
    def __init__(self, spans: list[Got], by_id: dict[tuple[str, str], Got], rows: Iterable[dict[str, Any]]) -> None:
        self.by_id = by_id
        self.lives: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
        """The messages that had a queue ID of a host, one after another."""
        for row in rows:
            for step in row["path"]:
                self.lives[step["host"], step["queue_id"]].add((row["lab_id"], row["kind"]))
        self.receptions: dict[tuple[str, str], list[Got]] = defaultdict(list)
        self.below: dict[tuple[str, str], list[Got]] = defaultdict(list)
        for span in spans:
            if span.name in RECEPTIONS:
                self.receptions[span.hop].append(span)
            if span.parent:
                self.below[(span.trace, span.parent)].append(span)

    def parent(self, span: Got) -> Got | None:
        return self.by_id.get((span.trace, span.parent))

    def hop_before(self, span: Got) -> Got | None:
        """The reception that led to another one."""
        at = self.parent(span)
        while at is not None and at.name not in RECEPTIONS:
            at = self.parent(at)
        return at

    def handoffs(self) -> Iterator[tuple[Got, Got]]:
        """Every reception with the attempt of another host that it came by."""
        for spans in self.receptions.values():
            for span in spans:
                parent = self.parent(span)
                if parent is not None and parent.name == "smtp deliver" and parent.host != span.host:
                    yield span, parent

    def faults(self, row: dict[str, Any]) -> Iterator[str]:
        """What is wrong with how one row of the truth is told.

        Copies of one message, and notices, may be given one queue ID in turn: then a way through some of them is right.
        """
        steps: list[list[Got]] = []
        for step in row["path"]:
            spans = self.receptions.get((step["host"], step["queue_id"]), [])
            if row["message_id"]:
                mine = trace_id(row["message_id"]).hex()
                final = trace_id(row.get("final_message_id") or row["message_id"]).hex()
                named = [span for span in spans if span.trace in (mine, final)]
                # What is thrown away before its header is logged has no Message-ID in any log.
                spans = named or [span for span in spans if "email.message_id" not in span.attributes]
            if not spans:
                yield f"{step['host']} {step['queue_id']} has no reception"
                return
            if len(spans) > len(self.lives[spans[0].hop]):
                yield f"{step['host']} {step['queue_id']} has {len(spans)} receptions"
                return
            steps.append(spans)
        ways = [list(self._along(row, list(chain))) for chain in itertools.islice(itertools.product(*steps), 4096)]
        yield from min(ways, key=len)

    def _along(self, row: dict[str, Any], chain: list[Got]) -> Iterator[str]:
        """What is wrong with how one row of the truth is told by these receptions."""
        if len({span.trace for span in chain}) > 1:
            yield "is told by several traces"
        for span in chain:
            yield from (
                f"{below.name} of {below.hop} ends before it has come"
                for below in self.below[(span.trace, span.id)]
                if below.end <= span.start
            )
        for before, after in itertools.pairwise(chain):
            found = self.hop_before(after)
            if found is not before:
                yield f"{after.hop} follows {found and found.hop}, not {before.hop}"
            if after.end <= after.start:
                yield f"{after.hop} took no time"
        if row["kind"] == "dsn":
            yield from self._reports_on(row, chain[0])
        elif chain[0].parent:
            yield f"{chain[0].hop} is no root"
        yield from self._ends(row, chain[-1])

    def _reports_on(self, row: dict[str, Any], first: Got) -> Iterator[str]:
        parent = row.get("parent")
        if first.parent:
            yield f"the notice {first.hop} is no root"
        if not parent:
            return
        linked = [
            self.by_id.get((trace, span))
            for trace, span, relation in first.links
            if relation in ("bounce_of", "follows_from")
        ]
        if (parent["host"], parent["queue_id"]) not in [span.hop for span in linked if span is not None]:
            yield f"the notice {first.hop} has no link to {parent}"

    def _ends(self, row: dict[str, Any], last: Got) -> Iterator[str]:
        """The last hop's attempts end as the truth says."""
        attempts = [span for span in self.below[(last.trace, last.id)] if span.name in ATTEMPTS]
        outcome = row["outcome"]
        wanted = {"delivered": {"sent"}, "bounced": {"bounced"}, "deferred": {"deferred"}, "expired": {"expired"}}
        states = {str(span.attributes.get("email.delivery.status")) for span in attempts}
        if outcome in wanted and not wanted[outcome] & states:
            yield f"{last.hop} is {outcome}, its attempts are {sorted(states)}"
        for span in attempts:
            failed = span.attributes.get("email.delivery.status") in FAILED
            if span.failed != failed or failed != ("error.type" in span.attributes):
                yield f"{span.name} of {span.hop}: status and error.type do not go with {span.attributes}"
