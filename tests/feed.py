"""Feeding logs to continuous tracing as they happened, and what it makes of them."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from traces import Got, of_json

from mailtrace.hosts import HostFacts, Inventory
from mailtrace.job import Bounds
from mailtrace.load import load_job
from mailtrace.model import HostLogs
from mailtrace.otlp.client import Client
from mailtrace.otlp.endpoint import Endpoint
from mailtrace.otlp.outcome import Outcome, Verdict
from mailtrace.parsers import make_parser
from mailtrace.run import sources
from mailtrace.sources.files import FilesSource
from mailtrace.tracing.continuous import Rounds, Scene
from mailtrace.tracing.handover import Handover
from mailtrace.tracing.state import State
from mailtrace.tracing.target import Maker, maker

NOW = 1.9e9


def source(logs: Mapping[str, Path], now: float = NOW) -> tuple[FilesSource, Inventory]:
    """A source of one log for each host, and the fleet."""
    fleet = Inventory({host: HostFacts() for host in logs})
    named = [HostLogs(host, (str(path),)) for host, path in logs.items()]
    return FilesSource(named, lambda _logs: make_parser(), fleet, base=Path("/"), now=now), fleet


def pieces(logs: Mapping[str, Path], count: int, now: float = NOW) -> Iterator[dict[str, bytes]]:
    """What is written to each log in each of so many stretches of time, all of them of as many lines."""
    files, _fleet = source(logs, now)
    ends: list[tuple[float, str, int]] = []
    for tail in files.follow({}, None, NOW):
        host = next(host for host, path in logs.items() if tail.name.endswith(str(path)))
        ends += [(entry.time, host, mark[1]) for entry, mark in tail]
    ends.sort()
    texts = {host: path.read_bytes() for host, path in logs.items()}
    written = dict.fromkeys(logs, 0)
    for number in range(count):
        reached = dict(written)
        for _time, host, end in ends[number * len(ends) // count : (number + 1) * len(ends) // count]:
            reached[host] = max(reached[host], end)
        if number == count - 1:
            reached = {host: len(text) for host, text in texts.items()}
        yield {host: texts[host][written[host] : end] for host, end in reached.items()}
        written = reached


class Memory(Client):
    """A back end that remembers the bodies of the requests that it took; `answer` tells what becomes of each."""

    def __init__(self, answer: Callable[[bytes], Outcome] = lambda _body: Outcome(Verdict.SENT)) -> None:
        super().__init__(Endpoint())
        self.bodies: list[bytes] = []
        self.answer = answer

    def send(self, body: bytes) -> Outcome:
        """Take it, if `answer` lets."""
        outcome = self.answer(body)
        if outcome.verdict is Verdict.SENT:
            self.bodies.append(body)
        return outcome

    def got(self) -> list[Got]:
        """Every span that was taken, as `traces.judge` wants it."""
        from google.protobuf.json_format import MessageToDict
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        out = []
        for body in self.bodies:
            request = MessageToDict(ExportTraceServiceRequest.FromString(body), use_integers_for_enums=True)
            for group in request["resourceSpans"]:
                resource = {item["key"]: item["value"] for item in group["resource"]["attributes"]}
                out += [of_json(resource, _hexed(span)) for scope in group["scopeSpans"] for span in scope["spans"]]
        return out

    def spans(self) -> list[tuple[str, bytes]]:
        """Every span that was taken: its host, its bytes."""
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        out = []
        for body in self.bodies:
            for group in ExportTraceServiceRequest.FromString(body).resource_spans:
                host = next((a.value.string_value for a in group.resource.attributes if a.key == "host.name"), "")
                out += [(host, span.SerializeToString()) for scope in group.scope_spans for span in scope.spans]
        return out


def run(
    logs: Mapping[str, Path],
    folder: Path,
    rounds: int,
    *,
    hold: int = 0,
    restart: bool = False,
    delay: Sequence[str] = (),
    client: Memory | None = None,
    now: float = NOW,
) -> Memory:
    """Feed logs in rounds; returns what was sent. `restart`: each round is another process'."""
    client = client or Memory()
    there = {host: folder / f"{host}.log" for host in logs}
    folder.mkdir(parents=True, exist_ok=True)
    for path in there.values():
        path.touch()
    made: Rounds | None = None
    state: State | None = None
    late = dict.fromkeys(delay, b"")
    for piece in pieces(logs, rounds, now):
        for host, text in piece.items():
            if host in late:
                late[host] += text
            else:
                _append(there[host], text)
        if made is None or state is None or restart:
            if state is not None:
                state.close()
            state = State(folder / "state.db")
            made = begin(state, there, client, hold, now=now)
        went(made.go())
    assert made is not None
    assert state is not None
    for host, text in late.items():
        _append(there[host], text)
    for _ in range(hold + 2 if not late else hold + 3):
        went(made.go())
    went(made.finish())
    made.scene.handover.send()
    state.close()
    return client


def _hexed(span: dict[str, Any]) -> dict[str, Any]:
    """Protobuf's JSON has IDs in base64, OTLP's in hexadecimal digits."""

    def ids(found: dict[str, Any]) -> dict[str, Any]:
        return {k: b64decode(v).hex() if k in ("traceId", "spanId", "parentSpanId") else v for k, v in found.items()}

    return {**ids(span), "links": [ids(link) for link in span.get("links", ())]}


def rounds_of(config: dict[str, Any], folder: Path, client: Client) -> Rounds:
    """The rounds of a fleet's configuration, without their process."""
    job = load_job({"version": 1, "kind": "tracing", "config": config})
    state = State(folder / "state.db")
    made = {each.name: source for each, source in zip(job.source, sources(job), strict=True)}
    handover = Handover(state, client, lambda _text: None)
    return Rounds(Scene(state, made, job.inventory, maker(), handover), Bounds(), 0)


def begin(
    state: State,
    logs: Mapping[str, Path],
    client: Client,
    hold: int = 0,
    make: Maker | None = None,
    *,
    now: float = NOW,
) -> Rounds:
    """The rounds of a new process."""
    files, fleet = source(logs, now)
    handover = Handover(state, client, lambda _text: None)
    return Rounds(Scene(state, {"files": files}, fleet, make or maker(), handover), Bounds(), hold)


def _append(path: Path, text: bytes) -> None:
    with path.open("ab") as log:
        log.write(text)


def went(done: Any) -> None:
    """A round in which nothing went wrong."""
    assert not done.failed, done.failed
    assert not done.problems, done.problems
