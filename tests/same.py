"""`python tests/same.py FOLDER`: a corpus' spans, followed in rounds of any number, against those of the export.

FOLDER is what `python -m tests.lab run FOLDER` leaves. Each host's rotated logs are put together, since they are to be
written anew here, in the order in which they came; nothing but where the logs are is told. Exit 1 where a span differs.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from feed import Memory, rounds_of, went

from mailtrace.load import load_job
from mailtrace.otlp.client import Client
from mailtrace.otlp.encode import encode
from mailtrace.otlp.spans import spans_of
from mailtrace.run import gather, sources

Spans = list[tuple[str, bytes]]


def exported(config: dict[str, Any]) -> Spans:
    """The spans that the export of everything sends."""
    report = gather(load_job({"version": 1, "kind": "trace", "config": config, "find": {}}))
    memory = Memory()
    memory.bodies = [request.body for request in encode(spans_of(report.mails, report.clocks))]
    return memory.spans()


def fleet(logs: dict[str, Path], facts: dict[str, Any] | None = None) -> dict[str, Any]:
    """A configuration of these logs; `facts` tells the hosts' zones as well."""
    named = {host: {"log_files": [str(path)]} for host, path in logs.items()}
    zones = {host: {"time_zone": told["time_zone"]} for host, told in (facts or {}).items()}
    return {"method": "files", "files_config": {"hosts": named}, "hosts": zones}


def called(facts: dict[str, Any]) -> dict[str, Any]:
    """What a configuration tells of hosts whose names and addresses are known."""
    return {host: {key: told[key] for key in ("addresses", "aliases")} for host, told in facts.items()}


def together(corpus: Path, hosts: dict[str, Any], folder: Path) -> dict[str, Path]:
    """Each host's logs as one file; a log host's file stands for several hosts."""
    folder.mkdir()
    logs: dict[str, Path] = {}
    for host, told in hosts.items():
        files = [corpus / name for name in told["log_files"]]
        logs[host] = folder / f"{files[-1].parent.name}.log"
        if not logs[host].exists():
            texts = [file.read_bytes() for file in files]
            whole = [
                gzip.decompress(text) if file.suffix == ".gz" else text for file, text in zip(files, texts, strict=True)
            ]
            logs[host].write_bytes(b"".join(whole))
    return logs


def pieces(logs: dict[str, Path], facts: dict[str, Any], count: int) -> Iterator[dict[Path, bytes]]:
    """What is written to each log in each of so many stretches of time, by the zones that the hosts really had."""
    ends: list[tuple[float, str, int]] = []
    for source in sources(load_job({"version": 1, "kind": "tracing", "config": fleet(logs, facts)})):
        tails: Any = source
        for tail in tails.follow({}, None, 4e9):
            ends += [(entry.time, tail.name, mark[1]) for entry, mark in tail]
    ends.sort()
    texts = {path: path.read_bytes() for path in logs.values()}
    written = dict.fromkeys(texts, 0)
    for number in range(count):
        reached = dict(written)
        for _time, name, end in ends[number * len(ends) // count : (number + 1) * len(ends) // count]:
            path = next(path for path in texts if name.endswith(str(path)))
            reached[path] = max(reached[path], end)
        if number == count - 1:
            reached = {path: len(text) for path, text in texts.items()}
        yield {path: texts[path][written[path] : end] for path, end in reached.items()}
        written = reached


def follow(
    logs: dict[str, Path], facts: dict[str, Any], folder: Path, count: int, client: Client, late: str = ""
) -> None:
    """Follow logs while they are written, in so many rounds, and send what comes of it.

    A host whose log comes `late` comes when all others have; then its names and addresses, and all others', are told.
    """
    folder.mkdir()
    there = {host: folder / path.name for host, path in logs.items()}
    for path in there.values():
        path.touch()
    config = fleet(there)
    if late:
        config["hosts"] = called(facts)
    rounds = rounds_of(config, folder, client)
    kept = b""
    for piece in pieces(logs, facts, count):
        for path, text in piece.items():
            if late and path == logs[late]:
                kept += text
                continue
            with (folder / path.name).open("ab") as log:
                log.write(text)
        went(rounds.go())
    if late:
        there[late].write_bytes(kept)
        went(rounds.go())
    rounds.finish()
    rounds.scene.handover.send()
    rounds.scene.state.close()


def followed(logs: dict[str, Path], facts: dict[str, Any], folder: Path, count: int) -> Spans:
    """The spans that come of following logs while they are written, in so many rounds."""
    memory = Memory()
    follow(logs, facts, folder, count, memory)
    return memory.spans()


def main() -> int:
    """Compare, and print what differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("corpus", type=Path, metavar="FOLDER")
    parser.add_argument("--rounds", type=int, nargs="+", default=[1, 200])
    given = parser.parse_args()
    facts: dict[str, Any] = json.loads((given.corpus / "hosts.json").read_text())["hosts"]
    differs = 0
    with TemporaryDirectory(prefix="mailtrace-same-") as name:
        folder = Path(name)
        logs = together(given.corpus, facts, folder / "logs")
        wanted = exported(fleet(logs))
        for count in given.rounds:
            found = followed(logs, facts, folder / str(count), count)
            missing, more = set(wanted) - set(found), set(found) - set(wanted)
            differs += len(missing) + len(more) + len(found) - len(set(found))
            print(
                f"{count} rounds: {len(found):,} spans, {len(found) - len(set(found))} twice; of the export's "
                f"{len(wanted):,}, {len(missing)} are missing or other; {len(more)} are in it in no such form",
                flush=True,
            )
    return 1 if differs else 0


if __name__ == "__main__":
    sys.exit(main())
