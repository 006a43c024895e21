"""The commands: what may be typed, what comes out where, and with which exit code."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from mailtrace import cli

ROOT = Path(__file__).parents[1]
PROGRAM = str(Path(sys.executable).parent / "mailtrace")
DEMO = ROOT / "jobs" / "demo"
CONFIG = str(DEMO / "config.yaml")


class Said(NamedTuple):
    """What a command line came to."""

    code: int
    out: str
    err: str


@pytest.fixture
def mailtrace(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run a command line in this process."""

    def run(*words: object) -> Said:
        code = 0
        try:
            cli.program.run(["mailtrace", *map(str, words)])
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return run


def program(*words: object, **how: object) -> subprocess.CompletedProcess[str]:
    """Run a command line as a user does."""
    command = [PROGRAM, *map(str, words)]
    options: dict[str, object] = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": 60}
    return subprocess.run(command, check=False, **{**options, **how})  # type: ignore[call-overload, no-any-return]


# ------------------------------------------------------------------------------------------------ usage


@pytest.mark.parametrize(
    "line, told",
    [
        ("trcae -k x", 'there is no command "trcae"; did you mean "trace"?'),
        ("jobs/demo.yaml", "to run a job: mailtrace play jobs/demo.yaml"),
        ("trace --kye x", 'there is no flag --kye; did you mean "--key"?'),
        ("trace --recipent=x", 'did you mean "--recipient"?'),
        ("trace -x", "there is no flag -x"),
        ("trace -vx", "there is no flag -x (in -vx)"),
        ("trace -k", "-k needs a value; -k TEXT"),
        ("trace -k --utc", "-k needs a value"),
        ("trace --plan=yes", "--plan takes no value"),
        ("trace --sender a --sender b", "--sender is given twice"),
        ("trace user@example.com", "to search for a text: -k user@example.com"),
        ("trace a.yaml b.yaml", "one job at a time; mailtrace play runs several"),
        ("lint --all", "it is a flag of trace, play"),
        ("trace -c a --log b", "-c and --log both say where the logs are"),
        ("trace -k x --utc --tz Europe/Rome --log x", "--utc and --tz"),
        ("trace -k x --log x -o picture.jpg", 'the ending ".jpg" does not say what to write'),
        ("trace -k x --log x -o picture", "a name without an ending does not say what to write"),
        ("trace --log mx1=", "--log mx1=: no path"),
        ("play", "play what?"),
        ("--bogus", "--bogus"),
    ],
)
def test_wrong_usage_is_exit_2_and_says_what_was_perhaps_meant(
    mailtrace: Callable[..., Said], line: str, told: str
) -> None:
    said = mailtrace(*line.split())
    assert said.code == 2
    assert said.out == ""
    assert told in said.err
    assert "Traceback" not in said.err


def test_help_is_there_however_it_is_asked_for(mailtrace: Callable[..., Said]) -> None:
    texts = {mailtrace(*line.split()).out for line in ("trace -h", "trace --help", "--help trace", "trace -k x --help")}
    assert len(texts) == 1
    assert "--recipient ADDRESS" in texts.pop()
    for line in ("", "--help", "-h"):
        said = mailtrace(*line.split())
        assert (said.code, said.err) == (0, "")
        assert "Usage: mailtrace COMMAND" in said.out
    assert "-h, --start-host" not in mailtrace("lint", "-h").out


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_help_fits_the_terminal(
    mailtrace: Callable[..., Said], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = mailtrace("trace", "--help").out.partition("Examples:")[0]
    assert max(map(len, text.splitlines())) <= max(columns, 60)


def test_every_flag_of_the_first_mailtrace_is_there() -> None:
    seed = "config-path start-host key time time-range login-pass sudo-pass opensearch-pass".split()
    seed += ["ask-login-pass", "ask-sudo-pass", "ask-opensearch-pass"]
    for task, more in ((cli.run, []), (cli.trace, ["output"]), (cli.graph, ["output"])):
        assert {flag.name for flag in task.flags} >= {*seed, *more}
    short = {flag.name: flag.short for flag in cli.graph.flags if flag.short}
    assert {"config-path": "c", "start-host": "h", "key": "k", "output": "o"}.items() <= short.items()
    assert {"config-path", "otel-endpoint", "opensearch-pass", "ask-opensearch-pass"} <= {
        flag.name for flag in cli.tracing.flags
    }


def test_a_flag_means_one_thing_in_every_command() -> None:
    known: dict[str, str] = {}
    for task in cli.COMMANDS:
        spelled = [spelling for flag in task.flags for spelling in flag.spellings]
        assert len(spelled) == len(set(spelled))
        for flag in task.flags:
            for spelling in flag.spellings:
                assert known.setdefault(spelling, flag.name) == flag.name


@pytest.mark.parametrize(
    "line, same",
    [
        ("trace -kfoo", "trace --key foo"),
        ("trace -k=foo", "trace --key foo"),
        ("trace --key=a=b", "trace --key a=b"),
        ("trace -vvk foo", "trace --verbose --verbose --key foo"),
        ("trace jobs/demo.yaml -e a=b", "trace --job jobs/demo.yaml --var a=b"),
        ("trace -e a=b jobs/demo.yaml", "trace --var a=b --job jobs/demo.yaml"),
        ("play a.yaml -v b.yaml", "play --job a.yaml --verbose --job b.yaml"),
        ("lint jobs config.yaml", "lint --path jobs --path config.yaml"),
        ("trace --log a/mail.log b/mail.log -k x", "trace --log a/mail.log --log b/mail.log --key x"),
        ("trace --log a/mail.log x.yaml", "trace --log a/mail.log --job x.yaml"),
        ("play -- -odd.yaml", "play --job -odd.yaml"),
        ("graph -o -", "graph --output -"),
        ("trace -k -dash", "trace --key -dash"),
    ],
)
def test_words_find_their_flags(line: str, same: str) -> None:
    assert cli.arranged(line.split()) == same.split()


def test_the_start_needs_no_library_but_invoke() -> None:
    code = (
        "import sys, invoke; before = set(sys.modules); import mailtrace.cli; print(*(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "mailtrace" in loaded
    heavy = {"fabric", "opensearchpy", "grpc", "yaml", "jsonschema", "pydot", "rich", "paramiko", "hyperscan"}
    assert not loaded & heavy
    ours = {name for name in done.stdout.split() if name.startswith("mailtrace")}
    assert ours == {"mailtrace", "mailtrace.cli", "mailtrace.flags"}


def test_commands_are_listed_and_the_version_told() -> None:
    listed = program("--list")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert all(task.name in listed.stdout for task in cli.COMMANDS)
    assert program("--version").stdout.startswith("mailtrace ")


def test_the_shell_completes_commands_and_flags() -> None:
    assert "complete" in program("--print-completion-script", "bash").stdout
    assert "trace" in program("--complete", "--", "mailtrace ").stdout.split()
    assert "--recipient" in program("--complete", "--", "mailtrace trace --").stdout.split()


def test_settings_of_invoke_are_none_of_ours(tmp_path: Path) -> None:
    (tmp_path / ".invoke.yaml").write_text("this: [is not YAML")
    done = program("--list", env={**os.environ, "HOME": str(tmp_path), "INVOKE_RUN_ECHO": "1"})
    assert (done.returncode, done.stderr) == (0, "")
