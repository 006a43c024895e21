"""NAME.test.yaml: what it means, and what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailtrace.load import lint, load_test

JOB = "kind: trace\nvars: {who: a@example.com}\nfind: {keywords: ['${who}'], since: 2h ago}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "job.yaml").write_text(JOB)
    (tmp_path / "mx1.log").write_text("")
    return tmp_path


def write(folder: Path, text: str) -> Path:
    path = folder / "a.test.yaml"
    path.write_text(text)
    return path


def test_a_job_is_played_at_the_moment_of_its_test_with_its_variables_and_values(folder: Path) -> None:
    test, problems = load_test(
        write(
            folder,
            "job: job.yaml\nlogs: {mx1: mx1.log}\nnow: '2025-07-21T12:00:00Z'\n"
            "vars: {who: 0815}\nset: {walk.max_hops: 3}\nexit_code: 1\n",
        )
    )
    assert problems == []
    assert test is not None
    assert test.job.find.keywords == ("0815",)
    assert (test.job.find.start, test.job.find.end) == (1753092000.0, 1753099200.0)
    assert (test.job.walk.max_hops, test.exit_code, test.report) == (3, 1, {})


@pytest.mark.parametrize(
    "logs, host",
    [
        ("logs: {mx1: mx1.log}", "mx1"),
        ("logs: {mx1: [mx1.log]}", "mx1"),
        ("logs: mx1.log", ""),
        ("logs: [mx1.log]", ""),
        ("config: {method: files, files_config: {hosts: {mx1: {log_files: [mx1.log]}}}}", "mx1"),
        ("config: {method: files, files_config: {host_config: {log_files: mx1.log}}}", ""),
    ],
)
def test_recorded_lines_are_beside_the_test_wherever_one_stands(folder: Path, logs: str, host: str) -> None:
    test, problems = load_test(write(folder, f"job: job.yaml\n{logs}\n"))
    assert problems == []
    assert test is not None
    (source,) = test.job.source
    assert [(log.host, log.log_files) for log in source.logs] == [(host, (str(folder / "mx1.log"),))]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text, message",
    [
        ("logs: {mx1: mx1.log}", "job is missing: The job to play"),
        ("job: nope.yaml\nlogs: {mx1: mx1.log}", "nope.yaml: cannot be read: no such file or directory"),
        ("job: '@nope'\nlogs: {mx1: mx1.log}", 'there is no recipe "nope"'),
        ("job: job.yaml\nlogs: {mx1: mx1.log}\nconfig: x.yaml", "config and logs both say where the lines are"),
        ("job: job.yaml\nconfig: x.yaml", "x.yaml: cannot be read"),
        ("job: job.yaml\nlogs: {mx1: mx1.log}\nnow: soon", "a.test.yaml:3:6: "),
        ("job: job.yaml\nlogs: {mx1: mx1.log}\nwalk: {}", '"walk" is not a key here'),
        ("job: job.yaml\nlogs: {mx1: mx1.log}\nset: {walk.max_hop: 3}", "--set walk.max_hop"),
        ("job: job.yaml\nlogs: {mx1: mx1.log}\nreport: {mail: []}", 'not in a report here; did you mean "mails"?'),
        (
            "job: job.yaml\nlogs: {mx1: mx1.log}\nreport: {mails: [{recipients: [{outcom: x}]}]}",
            'a.test.yaml:3:33: "outcom" is not in a report here; did you mean "outcome"?',
        ),
        (
            "job: job.yaml\nlogs: {mx1: mx1.log}\nreport: {mails: {include: []}}",
            '"include" is not in a report here; did you mean "includes"?',
        ),
        (
            "job: job.yaml\nlogs: {mx1: mx1.log}\nreport: {mails: {includes: [{hop: 1}]}}",
            '"hop" is not in a report here; did you mean "hops"?',
        ),
        ("kind: trace\nfind: {}", "this is no test: a test names its job"),
        ("- 1", "a test is a mapping of keys to values; this is a list"),
        ("", "the file is empty"),
        ("job: [", "YAML"),
    ],
)
def test_what_is_wrong_is_told_by_the_test_and_by_lint(folder: Path, text: str, message: str) -> None:
    path = write(folder, f"{text}\n")
    test, problems = load_test(path)
    assert test is None
    assert any(message in problem.text for problem in problems), [problem.text for problem in problems]
    assert {problem.text for problem in lint([path])} == {problem.text for problem in problems}


def test_a_test_without_problems_is_none_to_lint(folder: Path) -> None:
    write(folder, "job: job.yaml\nlogs: {mx1: mx1.log}\nreport: {mails: {count: 0}}\nexit_code: 1\n")
    assert lint([folder / "a.test.yaml"]) == []
