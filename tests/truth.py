"""Two real fleets with the truth beside their logs, and how well a report tells it.

The truth was read from `Received:` headers, delivery notices and SMTP replies, never from the logs.
`tests/corpus/NAME/truth.jsonl.gz` has one object for each final copy of a mail; `"provable": false` are copies that
the lines left in the logs can't show.
"""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mailtrace.model import Mail, Recipient

HERE = Path(__file__).parent
DEMO = HERE.parent / "jobs" / "demo"
Hop = tuple[str, str]


def truth(name: str) -> list[dict[str, Any]]:
    """All rows of a fleet's truth."""
    with gzip.open(HERE / "corpus" / name / "truth.jsonl.gz", "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def hosts(name: str) -> dict[str, dict[str, Any]]:
    """What is known of a fleet's hosts (for reading: a trace must not be told)."""
    told: dict[str, dict[str, Any]] = json.loads((HERE / "corpus" / name / "hosts.json").read_text())["hosts"]
    return told


def logs(name: str) -> dict[str, list[str]]:
    """Each host's log files; a loghost's file stands under several hosts."""
    if name == "fleet":
        return {host: [str(DEMO / f"{host}.log")] for host in hosts(name)}
    return {
        host: [str(HERE / "corpus" / name / file) for file in facts["log_files"]] for host, facts in hosts(name).items()
    }


def fleet(name: str, *, without: str = "") -> dict[str, Any]:
    """A configuration that tells where the logs are and nothing else."""
    named = {host: {"log_files": files} for host, files in logs(name).items() if host != without}
    return {"method": "files", "files_config": {"host_config": {"log_files": []}, "hosts": named}}


@dataclass(slots=True)
class Score:
    """How a report compares: `wanted` provable rows, of which `exact` are told with recipient, outcome and path."""

    wanted: int = 0
    exact: int = 0
    reported: int = 0
    unexplained: list[tuple[Mail, Recipient]] = field(default_factory=list)
    missed: list[dict[str, Any]] = field(default_factory=list)
    mixed: list[tuple[Mail, Recipient]] = field(default_factory=list)


def score(mails: Sequence[Mail], rows: list[dict[str, Any]]) -> Score:
    """Compare the rows of a report with the truth."""
    result = Score()
    told: dict[tuple[Hop, ...], list[tuple[Mail, Recipient]]] = defaultdict(list)
    for mail in mails:
        for copy in mail.recipients:
            told[path_of(copy)].append((mail, copy))
            result.reported += 1
    used: set[int] = set()
    for row in rows:
        if row.get("provable") is False:
            continue
        result.wanted += 1
        hit = _find(row, told, used)
        if hit is None:
            result.missed.append(row)
            continue
        used.add(id(hit))
        result.exact += 1
    _judge_rest(told, used, rows, result)
    return result


def path_of(row: Recipient) -> tuple[Hop, ...]:
    """The hosts and queue IDs of a row's path."""
    return tuple((step.host, step.queue_id) for step in row.path)


def true_path(row: dict[str, Any]) -> tuple[Hop, ...]:
    """The same of a row of the truth."""
    return tuple((step["host"], step["queue_id"]) for step in row["path"])


def _find(
    row: dict[str, Any], told: dict[tuple[Hop, ...], list[tuple[Mail, Recipient]]], used: set[int]
) -> Recipient | None:
    for mail, told_row in told.get(true_path(row), ()):
        if id(told_row) in used or told_row.outcome != row["outcome"] or not same_recipient(told_row, row):
            continue
        if not row["path"] and (mail.sender or "").lower() != row["envelope_from"].lower():
            continue
        return told_row
    return None


def same_recipient(told: Recipient, row: dict[str, Any]) -> bool:
    """Whether a row is about the truth's recipient; Exim logs a local mailbox by its local part."""
    got, want = told.recipient.lower(), row["final_recipient"].lower()
    if got == want or ("@" not in got and got == want.partition("@")[0]):
        return True
    return bool(row["outcome"] != "delivered" and got == (row["original_recipient"] or "").lower())


def _judge_rest(
    told: dict[tuple[Hop, ...], list[tuple[Mail, Recipient]]],
    used: set[int],
    rows: list[dict[str, Any]],
    result: Score,
) -> None:
    owners: dict[Hop, set[str]] = defaultdict(set)
    doubtful: set[Hop] = set()
    refused: set[tuple[str, str]] = set()
    for row in rows:
        for hop in true_path(row):
            owners[hop].add(row["lab_id"])
            if row.get("provable") is False:
                doubtful.add(hop)
        if not row["path"] and ((row.get("times") or 1) > 1 or row.get("provable") is False):
            refused.add((row["final_recipient"].lower(), row["envelope_from"].lower()))
    for path, found in told.items():
        for mail, told_row in found:
            known = len(path) > 1 and all(hop in owners for hop in path)
            if known and not set.intersection(*(owners[hop] for hop in path)):
                result.mixed.append((mail, told_row))
            if id(told_row) in used or any(hop in doubtful for hop in path):
                continue
            if not path and (told_row.recipient.lower(), (mail.sender or "").lower()) in refused:
                continue
            result.unexplained.append((mail, told_row))
