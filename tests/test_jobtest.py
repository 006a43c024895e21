"""`mailtrace test`: what passes, what fails, and how a failure is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mailtrace.jobtest import find_tests, run_tests, seen_as

ROOT = Path(__file__).parents[1]
PROGRAM = Path(sys.executable).parent / "mailtrace"
LOG = """\
2025-07-21T10:00:00+00:00 mx1 postfix/smtpd[7]: 4bcXyz1Rqpz9vZ: client=client.example.net[192.0.2.7]
2025-07-21T10:00:00+00:00 mx1 postfix/cleanup[8]: 4bcXyz1Rqpz9vZ: message-id=<1@example.net>
2025-07-21T10:00:00+00:00 mx1 postfix/qmgr[9]: 4bcXyz1Rqpz9vZ: from=<b@example.net>, size=700, nrcpt=1 (queue active)
2025-07-21T10:00:01+00:00 mx1 postfix/local[10]: 4bcXyz1Rqpz9vZ: to=<a@example.com>, relay=local, delay=1, \
delays=1/0/0/0, dsn=2.0.0, status=sent (delivered to mailbox)
2025-07-21T10:00:01+00:00 mx1 postfix/qmgr[9]: 4bcXyz1Rqpz9vZ: removed
"""
HEAD = "job: job.yaml\nlogs: {mx1: mx1.log}\nnow: '2025-07-21T11:00:00Z'\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "job.yaml").write_text(
        "find: {recipient: a@example.com, since: 2h ago}\nexport: [{json: {to: out.json}}]\n"
    )
    (tmp_path / "mx1.log").write_text(LOG)
    return tmp_path


def verdict(folder: Path, text: str) -> tuple[int, str]:
    path = folder / "a.test.yaml"
    path.write_text(HEAD + text)
    (result,) = run_tests([path])
    return result.verdict


@pytest.mark.parametrize(
    "report",
    [
        "{}",
        "{mails: [{recipients: [{recipient: a@example.com, outcome: delivered}]}]}",
        "{mails: {count: 1}}",
        "{mails: {includes: [{size: 700}], count: 1}}",
        "{mails: [{hops: [{deliveries: [{reply: {contains: to mailbox}, dsn: 2.0.0, delay: 1}]}]}]}",
        "{warnings: []}",
        "{window: {start: 2025-07-21T09:00:00Z}, partial: false}",
    ],
)
def test_what_is_as_wanted_passes(folder: Path, report: str) -> None:
    assert verdict(folder, f"report: {report}\n") == (0, f"ok    {folder / 'a.test.yaml'}")


@pytest.mark.parametrize(
    "report, wanted, seen",
    [
        ("{mails: [{recipients: [{outcome: bounced}]}]}", "outcome: bounced", "outcome: delivered"),
        ("{mails: []}", "mails: []", "mails:"),
        ("{mails: {count: 2}}", "count: 2", "count: 1"),
        ("{mails: {includes: [{size: 7}]}}", "size: 7", "size: 700"),
        ("{mails: [{sender: b@example.net}, {sender: c@example.net}]}", "- sender: c@example.net", ""),
        (
            "{mails: [{hops: [{deliveries: [{reply: {contains: nobox}}]}]}]}",
            "contains: nobox",
            "reply: delivered to mailbox",
        ),
        ("{mails: [{subject: x}]}", "subject: x", ""),
        ("{partial: true}", "partial: true", "partial: false"),
    ],
)
def test_what_is_not_as_wanted_fails_with_both_shown(folder: Path, report: str, wanted: str, seen: str) -> None:
    code, said = verdict(folder, f"report: {report}\n")
    assert code == 1
    lines = [line[:1] + line[1:].strip() for line in said.splitlines()]
    assert any(line.startswith("-") and wanted in line for line in lines), said
    assert not seen or any(line.startswith("+") and seen in line for line in lines), said


def test_another_exit_code_fails(folder: Path) -> None:
    assert verdict(folder, "exit_code: 1\n")[0] == 1


def test_a_log_that_is_missing_is_told(folder: Path) -> None:
    (folder / "mx1.log").unlink()
    code, said = verdict(folder, "")
    assert code == 1
    assert "+exit_code: 3" in said
    assert "mx1: " in said.splitlines()[-1]


def test_no_export_of_the_job_is_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert verdict(folder, "")[0] == 0
    assert not (folder / "out.json").exists()


@pytest.mark.parametrize(
    "wanted, seen",
    [
        ({"a": 1}, {"a": 1, "b": 2}),
        ([1, 2], [1, 2]),
        ({"includes": [3, 1]}, [1, 2, 3]),
        ({"includes": [], "count": 3}, [1, 2, 3]),
        ({"contains": "b"}, "abc"),
        ({}, {"a": 1}),
        (None, None),
    ],
)
def test_these_are_as_wanted(wanted: Any, seen: Any) -> None:
    assert seen_as(wanted, seen) == wanted


@pytest.mark.parametrize(
    "wanted, seen",
    [
        ([1, 2], [2, 1]),
        ([1], [1, 2]),
        ([1, 2], [1]),
        ([], [1]),
        ({"includes": [1, 1]}, [1, 2]),
        ({"includes": [1]}, []),
        ({"count": 2}, [1]),
        ({"contains": "d"}, "abc"),
        ({"contains": "d"}, None),
        ({"a": 1}, {}),
        ({"a": None}, {}),
        (None, 0),
    ],
)
def test_these_are_not(wanted: Any, seen: Any) -> None:
    assert seen_as(wanted, seen) != wanted


def test_a_folder_stands_for_the_tests_in_it(folder: Path) -> None:
    verdict(folder, "")
    (folder / "below").mkdir()
    (folder / "below" / "b.test.yml").write_text(HEAD)
    assert find_tests([str(folder)]) == [folder / "a.test.yaml", folder / "below" / "b.test.yml"]


def test_the_command_says_how_it_came_out(folder: Path) -> None:
    def run(*paths: str) -> tuple[int, str, str]:
        done = subprocess.run([PROGRAM, "test", *paths], cwd=folder, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    assert run() == (2, "", "mailtrace: there is no NAME.test.yaml in .; mailtrace explain logs tells what is in one\n")
    verdict(folder, "")
    assert run() == (0, "ok    a.test.yaml\n", "mailtrace: 1 test, 0 failed\n")
    (folder / "b.test.yaml").write_text(HEAD + "exit_code: 1\n")
    code, out, err = run()
    assert (code, err) == (1, "mailtrace: 2 tests, 1 failed\n")
    assert out.startswith("ok    a.test.yaml\nFAIL  b.test.yaml\n--- wanted\n+++ seen\n")
    (folder / "c.test.yaml").write_text("job: job.yaml\nlog: x\n")
    code, out, err = run()
    assert code == 2
    assert 'c.test.yaml:2:1: "log" is not a key here; did you mean "logs"?' in out
    assert run("--plan", "c.test.yaml") == (0, "c.test.yaml\n", "")
