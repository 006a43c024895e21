"""The journal through journalctl; a program of that name stands in for it, so that every answer of it can be tried."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailtrace.hosts import HostFacts, Inventory
from mailtrace.model import Coverage, HostLogs, LogEntry, LogQuery
from mailtrace.parsers import make_parser
from mailtrace.sources.files import FilesSource
from mailtrace.sources.journal import MAIL

ENTRY = (
    '{"__REALTIME_TIMESTAMP":"1767225600123456","_HOSTNAME":"mx1","SYSLOG_IDENTIFIER":"postfix/cleanup",'
    '"SYSLOG_PID":"1","MESSAGE":"AAAAAAAAA1: message-id=<a@example.com>"}'
)


@pytest.fixture
def journalctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder / "journalctl"


def answers(program: Path, script: str) -> None:
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def ask(query: LogQuery) -> tuple[list[LogEntry], list[Coverage]]:
    fleet = Inventory({"mx1": HostFacts()})
    made = FilesSource([HostLogs("mx1", ("journal",))], lambda _logs: make_parser(), fleet, base=Path("/"), now=2e9)
    return list(made.query(query)), made.coverage()


def test_its_entries_are_found_and_its_arguments_are_a_list(journalctl: Path, tmp_path: Path) -> None:
    answers(journalctl, f"echo \"$@\" >{tmp_path}/said; echo '{ENTRY}'; echo '{ENTRY.replace('AAAAAAAAA1', 'B')}'")
    found, coverage = ask(LogQuery(any_of=("aaaaaaaaa1",), start=1767225600.0, end=1767225700.0))
    assert [(entry.queue_id, entry.seq) for entry in found] == [("AAAAAAAAA1", 1767225600123456)]
    assert (tmp_path / "said").read_text().split() == [
        "-o",
        "json",
        "--no-pager",
        "--all",
        "--since=@1767225480",
        "--until=@1767225821",
        *MAIL,
    ]
    assert [(item.host, item.names, item.matched, item.problem) for item in coverage] == [("mx1", ("journal",), 1, "")]
    assert coverage[0].first == 1767225600.123456


def test_without_the_program_data_is_missing(journalctl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(journalctl.parent))
    found, coverage = ask(LogQuery())
    assert found == []
    assert any(item.missing and "journalctl can't be run" in item.problem for item in coverage)


@pytest.mark.parametrize(
    "script,missing",
    [
        ("echo 'Failed to open' >&2; exit 1", True),
        ("echo 'No journal files were opened due to insufficient permissions.' >&2", True),
        (f"echo 'Hint: You are currently not seeing messages' >&2; echo '{ENTRY}'", True),
        ("echo '-- No entries --' >&2", False),
        ("true", False),
    ],
)
def test_what_it_complains_of_is_told(journalctl: Path, script: str, missing: bool) -> None:
    answers(journalctl, script)
    _, coverage = ask(LogQuery())
    assert any(item.missing for item in coverage) is missing


def test_it_is_stopped_when_nobody_listens_any_more(journalctl: Path) -> None:
    answers(journalctl, f"while true; do echo '{ENTRY}'; done")
    fleet = Inventory({"mx1": HostFacts()})
    made = FilesSource([HostLogs("mx1", ("journal",))], lambda _: make_parser(), fleet, base=Path("/"), now=2e9)
    entries = made.query(LogQuery())
    next(entries)
    del entries


def test_it_is_followed_by_its_cursor(journalctl: Path, tmp_path: Path) -> None:
    lines = [
        ENTRY.replace("{", f'{{"__CURSOR":"s=a;i={n}",', 1).replace("AAAAAAAAA1", f"AAAAAAAAA{n}") for n in range(4)
    ]
    answers(
        journalctl,
        f'echo "$@" >{tmp_path}/said\ncase "$*" in\n'
        f"*--cursor=*) printf '%s\\n' '{lines[1]}' '{lines[2]}' '{lines[3]}';;\n"
        f"*) printf '%s\\n' '{lines[0]}' '{lines[1]}';;\nesac",
    )
    fleet = Inventory({"mx1": HostFacts()})
    made = FilesSource([HostLogs("mx1", ("journal",))], lambda _: make_parser(), fleet, base=Path("/"), now=2e9)
    [tail] = made.follow({}, None, 2e9)
    assert [entry.queue_id for entry, _mark in tail] == ["AAAAAAAAA0", "AAAAAAAAA1"]
    places = {tail.name: tail.place()}
    [tail] = made.follow(places, None, 2e9)
    assert [entry.queue_id for entry, _mark in tail] == ["AAAAAAAAA2", "AAAAAAAAA3"]
    assert "--cursor=s=a;i=1" in (tmp_path / "said").read_text().split()
    answers(journalctl, "echo 'Failed to open' >&2; exit 1")
    [tail] = made.follow(places, None, 2e9)
    assert (list(tail), "Failed to open" in tail.problem) == ([], True)
