"""All that one run worked with, so that it can be run again elsewhere: the question, the fleet, the lines.

Made of what the job means rather than of its text: paths, passwords and comments are no part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from mailtrace.load import literal, to_yaml
from mailtrace.model import LogEntry, Stamp, Zone
from mailtrace.report import Case, Report, rfc3339

if TYPE_CHECKING:
    from mailtrace.job import Find, Job


def make_case(job: Job, entries: Iterable[LogEntry], report: Report, replay: Callable[[str], Report]) -> Case:
    """The case of a run that is over."""
    lines = {(entry.host, entry.seq, entry.raw): entry for entry in entries if entry.raw}
    ordered = sorted(lines.values(), key=lambda entry: (entry.host, entry.time, entry.seq))
    return Case(
        find=_find(job.find),
        walk={"max_hops": job.walk.max_hops, "max_age": f"{job.walk.max_age:g}s"},
        config=_config(job),
        logs=_logs(job, report),
        lines=tuple(ordered),
        spans=_spans(report),
        write=lambda document: to_yaml(escaped(document)),
        replay=replay,
    )


def _find(find: Find) -> dict[str, Any]:
    """The question; the window as points in time, keys from a file as they were read."""
    texts = ("message_id", "recipient", "queue_id", "subject", "client", "sasl_user")
    out: dict[str, Any] = {name: getattr(find, name) for name in texts if getattr(find, name)}
    if find.sender is not None:
        out["sender"] = find.sender or "<>"
    for name in ("start_host", "keywords", "any_of"):
        if getattr(find, name):
            out[name] = list(getattr(find, name))
    if find.keys or find.letter:
        held = find.letter.literals if find.letter else ()
        out["any_of"] = [*out.get("any_of", ()), *find.keys, *held]
    for name, time in (("since", find.start), ("until", find.end)):
        if time is not None:
            out[name] = rfc3339(time)
    return out


def _config(job: Job) -> dict[str, Any]:
    """The fleet without its logs."""
    inventory = job.inventory
    hosts: dict[str, Any] = {}
    for name, facts in inventory.hosts.items():
        said = {"aliases": list(facts.aliases), "addresses": list(facts.addresses), "outside": facts.outside}
        hosts[name] = {key: value for key, value in said.items() if value}
    out: dict[str, Any] = {"method": "files"}
    if inventory.domain:
        out["domain"] = inventory.domain
    if inventory.clusters:
        out["clusters"] = {name: list(members) for name, members in inventory.clusters.items()}
    if hosts:
        out["hosts"] = hosts
    return out


def _logs(job: Job, report: Report) -> dict[str, dict[str, str]]:
    """How the lines of each host are read; its zone is the one that the run found out."""
    zones = {note.host: _offset(note.offset) for note in report.clocks if note.offset is not None}
    out: dict[str, dict[str, str]] = {}
    for source in job.source:
        for host in source.hosts:
            logs = next((log for log in getattr(source, "logs", ()) if log.host == host), None)
            said = {"time_zone": zones.get(host, "")}
            if logs is not None:
                said = {"log_parser": logs.log_parser, "time_format": logs.time_format} | said
                said["time_zone"] = said["time_zone"] or logs.time_zone
            out[host] = {key: value for key, value in said.items() if value}
    if out:  # an index has lines of more hosts than its source was asked for
        for host in (item.host for item in report.coverage if item.first is not None):
            out.setdefault(host, {"time_zone": zones[host]} if zones.get(host) else {})
    return out


def _offset(seconds: float) -> str:
    minutes = round(abs(seconds) / 60)
    return f"{'-' if seconds < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"


def _spans(report: Report) -> dict[str, tuple[Stamp, Stamp]]:
    """From when to when each host's log was looked at: whether a mail is lost or was not looked for hangs on it."""
    out: dict[str, tuple[Stamp, Stamp]] = {}
    for item in report.coverage:
        if item.first is None or item.last is None:
            continue
        first = item.first_stamp or Stamp(item.first, Zone.UTC)
        last = item.last_stamp or Stamp(item.last, Zone.UTC)
        known = out.get(item.host)
        out[item.host] = (min(first, known[0]), max(last, known[1])) if known else (first, last)
    return out


def escaped(value: Any) -> Any:
    """A document in which no text is taken for a variable."""
    if isinstance(value, dict):
        return {key: escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [escaped(item) for item in value]
    return literal(value) if isinstance(value, str) else value
