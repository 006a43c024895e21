"""How continuous tracing goes: a line while it runs, and what its state tells afterwards."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mailtrace.tracing.state import State


@dataclass(slots=True)
class Round:
    """What one round did. `problems` are what could not be read, by the log's name; `failed` why it ended early."""

    number: int
    lines: int = 0
    entries: int = 0
    spans: int = 0
    problems: dict[str, str] = field(default_factory=dict)
    failed: str = ""


def line(done: Round, state: State, waiting: int, reached: float | None, now: float) -> str:
    """A round in a line: `round 7: 120 lines, 12 mails under way, 3 spans wait, 340 sent, 4 s behind`."""
    counters = state.counters()
    open_ = state.under_way()
    parts = [
        f"round {done.number}: {done.lines:,} lines",
        f"{open_:,} mails under way",
        f"{waiting:,} spans wait",
        f"{counters.get('sent', 0):,} sent",
    ]
    if reached is not None:
        parts.append(f"{lasted(now - reached)} behind")
    if done.problems:
        parts.append(f"{len(done.problems)} logs cannot be read")
    return ", ".join(parts)


def lasted(seconds: float) -> str:
    """A length of time, in one unit."""
    seconds = max(0.0, seconds)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def remember(state: State, done: Round, now: float) -> None:
    """Write down how a round went. Within the caller's transaction."""
    state.set_meta("last", json.dumps({"at": now, "problems": done.problems}))


def remember_log(state: State, name: str, reached: float, now: float) -> None:
    """Write down how far a log has come. Within the caller's transaction."""
    state.set_meta(f"log {name}", json.dumps({"reached": reached, "at": now}))


def report(state: State, now: float | None = None) -> Iterator[str]:
    """What a state tells, a line each."""
    now = time.time() if now is None else now
    meta, counters = state.meta(), state.counters()
    last: Mapping[str, Any] = json.loads(meta.get("last", "{}"))
    yield f"state       {state.path}"
    when = f"{_moment(last['at'])}, {lasted(now - last['at'])} ago" if "at" in last else "none yet"
    yield f"last round  {when} (round {meta.get('round', '0')})"
    everything, under_way, pending = state.mails()
    yield f"mails       {under_way:,} under way, {pending:,} with spans to come, {everything:,} remembered"
    spans, size, oldest = state.spooled()
    waiting = f", the oldest for {lasted(now - oldest)}" if oldest is not None else ""
    yield f"spool       {spans:,} spans wait ({size / 1e6:.1f} MB{waiting})"
    yield f"read        {counters.get('entries', 0):,} lines about mail"
    yield f"sent        {counters.get('sent', 0):,} of {counters.get('spans', 0):,} spans"
    for name, words in _LOSSES.items():
        if counters.get(name):
            yield f"{name:<11} {counters[name]:,} {words}"
    for name, text in sorted(meta.items()):
        if name.startswith("log "):
            reached = json.loads(text)["reached"]
            yield f"log         {name[4:]}: up to {_moment(reached)}, {lasted(now - reached)} ago"
    for name, text in sorted(last.get("problems", {}).items()):
        yield f"problem     {text if name in text else f'{name}: {text}'}"


_LOSSES = {
    "rejected": "spans were dropped by the back end (partial success)",
    "aside": "spans were refused and set aside (table aside of the state)",
    "dropped": "spans waited too long or were too many, and were dropped",
    "forgotten": "mails never ended and are forgotten",
}


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
