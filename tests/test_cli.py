"""The commands: what may be typed, what comes out where, and with which exit code."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

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


LONG = "9" * 400


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
        ("trace @who-got-itt", 'there is no recipe "who-got-itt"; did you mean "who-got-it"?'),
        ("doctor @", 'there is no recipe ""'),
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
def test_help_fits_the_terminal(mailtrace: Callable[..., Said], monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for words in (["trace", "--help"], ["--help"]):
        text = mailtrace(*words).out.partition("Examples:")[0]
        assert max(map(len, text.splitlines())) <= max(columns, 60)


@pytest.mark.parametrize(
    "words",
    [
        ["play", LONG],
        ["test", LONG],
        ["lint", LONG],
        ["trace", LONG],
        ["new", "-o", LONG],
        ["trace", "-k", "x", "-c", LONG],
        ["trace", "--bundle", LONG],
        ["trace", "--log", "x", "--eml", LONG],
    ],
    ids=" ".join,
)
def test_a_name_that_is_too_long_is_a_wrong_name(mailtrace: Callable[..., Said], words: list[str]) -> None:
    said = mailtrace(*words)
    assert said.code in {2, 4}
    assert "bug" not in said.err
    assert "9999" in said.out + said.err


def test_a_flag_is_explained_as_it_is_written(mailtrace: Callable[..., Said]) -> None:
    said = mailtrace("explain", "--wait")
    assert (said.code, said.err) == (0, "")
    assert "--wait DURATION" in said.out
    assert mailtrace("explain", "--wiat").code == 2


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
    code = "import sys, invoke; before = set(sys.modules); import mailtrace.cli; print(*(set(sys.modules) - before))"
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


def test_settings_of_invoke_are_none_of_ours(tmp_path: Path) -> None:
    (tmp_path / ".invoke.yaml").write_text("this: [is not YAML")
    done = program("--list", env={**os.environ, "HOME": str(tmp_path), "INVOKE_RUN_ECHO": "1"})
    assert (done.returncode, done.stderr) == (0, "")


# ------------------------------------------------------------------------------------------- answers


def test_a_trace_is_told_on_stdout_and_nothing_on_stderr(mailtrace: Callable[..., Said]) -> None:
    said = mailtrace("trace", "-c", CONFIG, "--sender", "wolf@world.lab.test", "--utc")
    assert (said.code, said.err) == (0, "")
    assert "wolf@world.lab.test" in said.out


def test_a_command_line_and_the_job_that_it_prints_give_the_same_answer(
    mailtrace: Callable[..., Said], tmp_path: Path
) -> None:
    line = ["trace", "-c", os.path.relpath(CONFIG), "-h", "mx", "-k", "wolf", "--time", "2026-11-23T01:04:24Z"]
    line += ["--time-range", "3s", "--format", "json"]
    answer = mailtrace(*line)
    assert len(json.loads(answer.out)["mails"]) > 1
    printed = mailtrace(*line, "--print-job")
    assert (printed.code, printed.err) == (0, "")
    assert printed.out.startswith("# yaml-language-server: $schema=/")
    job = tmp_path / "job.yaml"
    job.write_text(printed.out)
    again = mailtrace("play", job)
    expected, got = json.loads(answer.out), json.loads(again.out)
    assert got["job"].pop("name") == "job"
    expected["job"].pop("name")
    assert got == expected
    assert mailtrace("lint", job) == (0, "", "")


def test_a_printed_job_means_what_was_typed_whatever_was_typed(
    mailtrace: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "leaked")
    odd = "${env:SECRET} \"' # : \\ é"
    printed = mailtrace("trace", "-c", CONFIG, "-k", odd, "--sender", "", "-e", "a=b", "--print-job").out
    (tmp_path / "job.yaml").write_text(printed)
    from mailtrace import load_job

    find = load_job(tmp_path / "job.yaml").find
    assert (find.keywords, find.sender) == ((odd,), "")
    assert "leaked" not in printed


def test_a_job_file_is_printed_with_what_was_said_over_it(mailtrace: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "config.yaml").symlink_to(CONFIG)
    job = tmp_path / "job.yaml"
    job.write_text(
        "version: 1\nkind: trace\nconfig: config.yaml\nvars: {who: wolf}\nfind: {keywords: ['${who}']}\n"
        "source: [{files: {hosts: [mx]}}]\nexport: [{json: {to: 'out/${who}.json'}}]\n"
    )
    printed = mailtrace("trace", job, "-e", "who=albert", "--limit", "mx1", "--set", "walk.max_hops=4", "--print-job")
    assert printed.code == 0
    from mailtrace.load.tree import from_yaml

    tree, problems, _ = from_yaml(printed.out.encode(), "printed")
    assert tree
    assert not problems
    assert tree.plain() == {
        "version": 1,
        "kind": "trace",
        "config": str(tmp_path / "config.yaml"),
        "vars": {"who": "albert"},
        "find": {"keywords": ["${who}"]},
        "source": [{"files": {"hosts": ["mx1"]}}],
        "walk": {"max_hops": 4},
        "export": [{"json": {"to": str(Path.cwd() / "out" / "${who}.json")}}],
    }


def test_logs_that_nobody_is_named_for_are_divided_by_the_names_in_their_lines(
    mailtrace: Callable[..., Said], tmp_path: Path
) -> None:
    hosts = ("mx1", "filter1", "relay1", "mailbox1", "mailbox2")
    (tmp_path / "all.log").write_bytes(b"".join((DEMO / f"{host}.log").read_bytes() for host in hosts))
    named = [word for host in hosts for word in ("--log", f"{host}={DEMO}/{host}.log")]
    question = ("--queue-id", "A264B2B2943", "--format", "json")
    answers = [
        json.loads(mailtrace("trace", *logs, *question).out)["mails"]
        for logs in (named, ["--log", *(DEMO / f"{host}.log" for host in hosts)], ["--log", tmp_path / "all.log"])
    ]
    assert {hop["host"] for hop in answers[0][0]["hops"]} == set(hosts)
    assert answers[0] == answers[1] == answers[2]


def test_standard_input_is_a_log_too() -> None:
    done = program("graph", "--log", "-", "--queue-id", "A264B2B2943", input=(DEMO / "mx1.log").read_text(), stdin=None)
    assert done.returncode == 0
    assert '"mx1"' in done.stdout


@pytest.mark.parametrize("command", ["run", "trace", "graph"])
def test_text_of_a_log_moves_no_cursor(mailtrace: Callable[..., Said], tmp_path: Path, command: str) -> None:
    text = (DEMO / "mx1.log").read_bytes()
    (tmp_path / "mx1.log").write_bytes(text.replace(b"250 2.0.0 Ok", b"250 \x1b[2J\xc2\x9b2J\xe2\x80\xae\x07Ok"))
    said = mailtrace(command, "--log", f"mx1={tmp_path}/mx1.log", "--queue-id", "A264B2B2943")
    assert said.code == 0
    assert "A264B2B2943" in said.out
    assert not set("\x1b\x07\x9b\u202e") & set(said.out + said.err)


def test_a_password_is_never_printed(mailtrace: Callable[..., Said], tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"method: files\nfiles_config: {{hosts: {{mx1: {{log_files: [{DEMO}/mx1.log]}}}}}}\n")
    for more in (["--print-job"], ["--plan"], ["-vv"]):
        said = mailtrace("trace", "-c", config, "-k", "x", "--login-pass", "hunter2-secret", *more)
        assert "hunter2-secret" not in said.out + said.err


def test_the_endings_of_o_write_files_and_leave_stdout_empty(
    mailtrace: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, begin in (("a/b/x.dot", "digraph"), ("x.json", "{"), ("x.txt", "")):
        assert mailtrace("trace", "-c", CONFIG, "-k", "wolf", "-o", name) == (0, "", "")
        assert (tmp_path / name).read_text().startswith(begin)
        assert oct((tmp_path / name).stat().st_mode & 0o777) == oct(0o666 & ~_umask())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "x.json", "x.txt"]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_o_minus_is_stdout(mailtrace: Callable[..., Said]) -> None:
    plain = mailtrace("graph", "-c", CONFIG, "-k", "wolf")
    assert plain.out.startswith("digraph {\n")
    assert mailtrace("graph", "-c", CONFIG, "-k", "wolf", "-o", "-") == plain


def test_the_kind_of_answer_is_the_command_s_the_question_the_job_s(mailtrace: Callable[..., Said]) -> None:
    assert mailtrace("graph", DEMO.parent / "demo.yaml").out.startswith("digraph {")
    assert '"mails"' in mailtrace("graph", DEMO.parent / "demo.yaml", "--format", "json").out
    day = mailtrace("trace", DEMO.parent / "day-graph.yaml", "-c", CONFIG, "-e", "since=2026-11-23T01:00Z",
                    "-e", "until=2026-11-23T02:00Z")  # fmt: skip
    assert day.code == 0
    assert "digraph" not in day.out


def test_flags_lead_over_the_job(mailtrace: Callable[..., Said]) -> None:
    said = mailtrace("trace", DEMO.parent / "demo.yaml", "--recipient", "greta@gamma.lab.test", "--format", "json")
    mails = json.loads(said.out)["mails"]
    assert mails
    assert any(row["original_recipient"] == "greta@gamma.lab.test" for row in mails[0]["recipients"])


@pytest.mark.parametrize(
    "line, code, told",
    [
        ("trace -c {c} -h mx9 -k x", 2, '--start-host: there is no host or cluster "mx9"'),
        ("trace {j} -h mx9 -k x", 2, '--start-host: there is no host or cluster "mx9"'),
        ("trace -c {c} --time 25:77", 2, '--time: "25:77" is not a time'),
        ("trace -c {c} --since 2026-01-02 --until 2026-01-01", 2, "ends before it starts"),
        ("trace -c {c} --time-range 2h", 2, "time"),
        ("trace -c {c} --limit nope", 2, 'there is no host or cluster "nope"'),
        ("trace -c {c} --tz Mars/Olympus", 2, '--tz: "Mars/Olympus" is not a time zone'),
        ("trace -c {c} --log-level LOUD", 2, "--log-level LOUD"),
        ("trace -c {c} --set walk.max_hop=5", 2, "max_hops"),
        ("trace -c {c} --format tomeline", 2, "timeline"),
        ("trace -c {c} --format zzz", 2, '--format: there is no export "zzz"; there are: timeline, json, summary'),
        ("trace -c /nope.yaml -k x", 2, "/nope.yaml"),
        ("trace -c /nope.yaml -k x", 2, '--config-path: there is no config "/nope.yaml"\n'),
        ("trace -c / -k x", 2, '--config-path: "/" is a folder'),
        ("play demoo", 2, "demoo: cannot be read"),
        ("play demo recipe --print-job", 2, "--print-job prints one job"),
        ("play /nope.yaml", 2, "/nope.yaml"),
        ("lint /nope.yaml", 2, "1 problem"),
        ("trace {j} --format tomeline", 2, '--format: there is no export "tomeline"; did you mean "timeline"?'),
        ("trace -c {c} -k there-is-no-such-text", 1, ""),
        ("graph -c {c} -k there-is-no-such-text", 1, "no mail found"),
        ("graph --log mx1=/nope.log -k x", 3, "mx1: /nope.log"),
        ("graph --log mx1=/nope.log -k x", 3, "nothing was searched"),
        ("trace --log /nope.log -k x", 3, ""),
        ("graph --log mx1=/ -k x", 3, "/"),
        ("trace -c {c} -k wolf -o /proc/nope/x.json", 4, "cannot write /proc/nope/x.json"),
        ("trace -c {c} -k wolf -o {c}/x.json", 4, "cannot write"),
    ],
)
def test_what_goes_wrong_has_its_exit_code_and_one_message(
    mailtrace: Callable[..., Said], line: str, code: int, told: str
) -> None:
    said = mailtrace(*line.format(c=CONFIG, j=DEMO.parent / "demo.yaml").split())
    assert said.code == code
    assert told in said.err
    assert "Traceback" not in said.out + said.err


def test_a_graph_of_nothing_is_an_empty_valid_one(mailtrace: Callable[..., Said]) -> None:
    said = mailtrace("graph", "-c", CONFIG, "-k", "there-is-no-such-text")
    assert said.out.split() == ["digraph", "{", "}"]


def test_the_worst_code_of_several_jobs_counts_and_all_are_played(
    mailtrace: Callable[..., Said], tmp_path: Path
) -> None:
    job = tmp_path / "nothing.yaml"
    job.write_text(f"version: 1\nkind: graph\nconfig: {CONFIG}\nfind: {{keywords: [there-is-no-such-text]}}\n")
    said = mailtrace("play", job, "/nope.yaml", DEMO.parent / "demo.yaml", "--utc")
    assert said.code == 2
    assert "digraph" in said.out
    assert "wolf@world.lab.test" in said.out


def test_lint_tells_where_and_nothing_is_right_silently(mailtrace: Callable[..., Said], tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(f"version: 1\nkind: trace\nconfig: {CONFIG}\nfind:\n  keyword: [x]\n")
    said = mailtrace("lint", tmp_path)
    assert said.code == 2
    assert f"{job}:5:3:" in said.out
    assert "keywords" in said.out
    assert "1 problem" in said.err
    assert mailtrace("lint", DEMO.parent) == (0, "", "")


def test_a_recipe_is_played_by_its_name_from_anywhere(
    mailtrace: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    played = mailtrace("play", "demo", "--utc")
    assert played.code == 0
    assert played == mailtrace("trace", "demo", "--utc")
    printed = mailtrace("play", "demo", "--print-job")
    assert printed == mailtrace("trace", "demo", "--print-job")
    Path("demo.yaml").write_text(printed.out)
    Path("demo").mkdir()
    assert mailtrace("play", "demo.yaml", "--utc") == played
    assert mailtrace("play", "demo", "--utc") == played
    assert "demo" in mailtrace("play").err


def test_lint_can_show_what_it_would_read(mailtrace: Callable[..., Said], tmp_path: Path) -> None:
    for name in ("one.yaml", "two.yml"):
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
    said = mailtrace("lint", tmp_path, tmp_path / "pipe", "--plan")
    assert said == (0, f"{tmp_path}/one.yaml\n{tmp_path}/two.yml\n{tmp_path}/pipe\n", "")
    assert mailtrace("lint", DEMO.parent, "--check") == (0, "", "")


def test_a_wrong_flag_is_told_once_whatever_it_sets(mailtrace: Callable[..., Said]) -> None:
    for line in (f"trace -c {CONFIG} -k x", "play demo"):
        assert mailtrace(*line.split(), "--tz", "Mars/X").err.count("Mars/X") == 1


def test_a_config_may_come_through_a_pipe(mailtrace: Callable[..., Said]) -> None:
    config = Path(CONFIG).read_text().replace("[mx1.log", f"[{DEMO}/mx1.log")
    read, write = os.pipe()
    with os.fdopen(write, "w") as end:
        end.write(config)
    said = mailtrace("trace", "-c", f"/dev/fd/{read}", "-h", "mx1", "--limit", "mx1", "-k", "wolf", "--check")
    os.close(read)
    assert (said.code, said.out) == (0, f"mx1: ok ({DEMO}/mx1.log)\n")


def test_a_job_may_come_through_a_pipe(mailtrace: Callable[..., Said]) -> None:
    job = mailtrace("trace", "-c", CONFIG, "-k", "wolf", "--print-job").out
    done = program("play", "/dev/stdin", "--plan", stdin=None, input=job)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"mx1: read {DEMO}/mx1.log" in done.stdout


def test_a_config_of_the_environment_that_is_not_there_is_told_as_such(
    mailtrace: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAILTRACE_CONFIG", "/nope.yaml")
    assert '$MAILTRACE_CONFIG: there is no config "/nope.yaml"' in mailtrace("trace", "-k", "x").err


def test_a_plan_opens_nothing(mailtrace: Callable[..., Said], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "mail.log")  # opening it would wait for ever
    said = mailtrace("trace", "--log", f"mx1={tmp_path}/mail.log", "-k", "x", "--plan")
    assert (said.code, said.err) == (0, "")
    assert f"{tmp_path}/mail.log" in said.out
    assert [line for line in said.out.splitlines() if not line.startswith(" ")] == [
        "source files", "walk", "export timeline"
    ]  # fmt: skip


def test_check_tells_of_every_log_whether_it_can_be_read(mailtrace: Callable[..., Said]) -> None:
    said = mailtrace("trace", "--log", f"mx1={DEMO}/mx1.log", "--log", "mx2=/nope.log", "--check")
    assert said.code == 3
    assert f"mx1: ok ({DEMO}/mx1.log)" in said.out
    assert "mx2: /nope.log" in said.out
    assert mailtrace("play", DEMO.parent / "demo.yaml", "--check").code == 0


def test_a_bug_has_a_short_message_and_its_own_code(
    mailtrace: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("hops\x1b[31m hunter2-secret")

    monkeypatch.setattr("mailtrace.run.walk", fail)
    monkeypatch.setenv("MAILTRACE_SUDO_PASSWORD", "hunter2-secret")
    said = mailtrace("trace", "-c", CONFIG, "-k", "x")
    assert said.code == 70
    assert "hunter2" not in said.err
    assert "this is a bug in mailtrace: KeyError" in said.err
    assert "report" in said.err
    assert "Traceback" not in said.err
    assert "\x1b" not in said.err
    assert "Traceback" in mailtrace("trace", "-c", CONFIG, "-k", "x", "-vv").err


def test_messages_are_as_many_as_asked_for(mailtrace: Callable[..., Said]) -> None:
    line = ("graph", "-c", CONFIG, "-k", "wolf")
    assert mailtrace(*line).err == ""
    assert "walk took" in mailtrace(*line, "-v").err
    assert "walk …" not in mailtrace(*line, "-v").err
    assert "walk …" in mailtrace(*line, "-vv").err
    assert "walk took" in mailtrace(*line, "--log-level", "info").err
    missing = ("graph", "--log", "mx1=/nope.log", "-k", "x")
    assert mailtrace(*missing, "--log-level", "CRITICAL").err == ""


def test_without_a_config_a_server_reads_its_own_logs(
    mailtrace: Callable[..., Said], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("mailtrace.request.OWN_LOGS", ["/nope", f"{DEMO}/mx1.log"])
    for line in (["graph", "-k", "wolf"], ["play", DEMO.parent / "where-is-this-mail.yaml", "-e", "who=wolf",
                 "-e", "since=2026-11-23T01:00Z", "-e", "until=2026-11-23T02:00Z"]):  # fmt: skip
        said = mailtrace(*line)
        assert said.code == 0, said
        assert "mx1" in said.out


# ------------------------------------------------------------------------------- the program as a whole


def test_a_closed_pipe_ends_quietly() -> None:
    command = f"{PROGRAM} trace -c {CONFIG} --format json | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout.splitlines()[-1], done.stderr) == ("0", "")
    done = subprocess.run(["bash", "-c", f"{PROGRAM} trace --help | true; echo ${{PIPESTATUS[0]}}"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize("line", [f"trace -c {CONFIG} -k wolf", f"trace -c {CONFIG} --print-job", "trace --help"])
def test_a_full_disk_is_an_export_that_failed(line: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = program(*line.split(), capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 4
    assert "cannot write standard output: No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_terminal_without_letters_gets_their_numbers() -> None:
    done = program("trace", "-c", CONFIG, "-k", "wolf", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")


def unread(pipe: IO[str]) -> int:
    """Bytes in a pipe that its reader has not taken yet."""
    count = array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_was_found_is_reported_when_the_run_is_stopped(tmp_path: Path, number: int, code: int) -> None:
    out = tmp_path / "report.json"
    command = [PROGRAM, "trace", "--log", f"mx1={DEMO}/mx1.log", "--log", "zz=-", "-k", "wolf", "-o", str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stderr
        process.stdin.write("no line of a log\n")
        process.stdin.flush()
        until = time.monotonic() + 60
        while unread(process.stdin) and time.monotonic() < until:
            time.sleep(0.02)
        assert process.poll() is None  # it waits for the rest
        process.send_signal(number)
        assert process.wait(20) == code
        assert "Traceback" not in process.stderr.read()
    assert json.loads(out.read_text())["partial"] is True


def test_a_folder_that_is_gone_is_no_bug(tmp_path: Path) -> None:
    line = f"mkdir {tmp_path}/gone; cd {tmp_path}/gone; rmdir {tmp_path}/gone; {PROGRAM} play demo"
    done = subprocess.run(["sh", "-c", line], check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (2, "mailtrace: the folder you are in is gone; cd into another one\n")


def test_what_an_import_makes_of_ctrl_c_is_no_bug(
    mailtrace: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **_more: object) -> None:
        raise RuntimeError("Error calling __set_name__") from KeyboardInterrupt()

    monkeypatch.setattr("mailtrace.load.load_job", stopped)
    assert mailtrace("trace", "-c", CONFIG, "-k", "x") == (130, "", "\nmailtrace: interrupted\n")


def test_a_password_that_nobody_types_is_no_bug(terminal: Callable[..., Terminal]) -> None:
    words = ("trace", "-c", CONFIG, "-k", "wolf", "--ask-login-pass")
    screen = terminal(*words)
    screen.until("SSH password: ")
    screen.type("\x04")
    code, text = screen.end()
    assert code == 2
    assert "no password was typed" in text
    done = program(*words, start_new_session=True)
    assert done.returncode == 2
    assert "no password was typed; without a terminal, set one of MAILTRACE_SSH_PASSWORD" in done.stderr


def test_a_closed_standard_stream_is_no_bug() -> None:
    line = f"{PROGRAM} trace -c {CONFIG} -k wolf"
    for end, code in ((">&-", 4), ("2>&- >/dev/null", 0), ("<&- >/dev/null", 0), (">&- 2>&-", 4)):
        done = subprocess.run(["sh", "-c", f"{line} {end}"], check=False, capture_output=True, text=True, timeout=60)
        assert (end, done.returncode) == (end, code)
        assert "Traceback" not in done.stderr
        assert "bug" not in done.stderr


# ------------------------------------------------------------------------------------------ mailtrace run


class Terminal:
    """The program at a terminal of its own."""

    def __init__(self, *words: object, columns: int = 80) -> None:
        self.master, slave = pty.openpty()
        env = {**os.environ, "COLUMNS": str(columns), "LINES": "50", "TERM": "xterm"}
        self.process = subprocess.Popen(
            [PROGRAM, *map(str, words)], stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True,
            preexec_fn=lambda: _take(slave),  # noqa: PLW1509 - no thread is running
        )  # fmt: skip
        os.close(slave)
        self.text = ""

    def until(self, wanted: str) -> str:
        """What was shown until the text came."""
        end = time.monotonic() + 20
        while wanted not in self.text and time.monotonic() < end:
            if select.select([self.master], [], [], 0.1)[0] and not self._read():
                break
        assert wanted in self.text, self.text
        shown, _, self.text = self.text.partition(wanted)
        return shown + wanted

    def _read(self) -> bool:
        try:
            piece = os.read(self.master, 65536).decode(errors="replace")
        except OSError:
            return False
        self.text += piece.replace("\r\n", "\n")
        return bool(piece)

    def type(self, text: str) -> None:
        """Type something, with its Enter."""
        os.write(self.master, text.encode())

    def end(self) -> tuple[int, str]:
        """Exit code and the last words."""
        until = time.monotonic() + 20
        while time.monotonic() < until:
            if select.select([self.master], [], [], 0.1)[0] and not self._read():
                break
        return self.process.wait(20), self.text


def _take(slave: int) -> None:
    import fcntl
    import termios

    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*words: object, columns: int = 80) -> Terminal:
        opened.append(Terminal(*words, columns=columns))
        return opened[-1]

    yield start
    for each in opened:
        each.process.kill()
        each.process.wait()
        os.close(each.master)


RUN = ("run", DEMO.parent / "demo.yaml", "--utc")


def test_run_goes_from_hop_to_hop_as_it_is_told(terminal: Callable[..., Terminal]) -> None:
    screen = terminal(*RUN)
    listed = screen.until("n to stop] ")
    assert "wolf@world.lab.test" in listed
    assert "mx1 A264B2B2943" in listed
    screen.type("nonsense\n")
    assert 'There is no mail "nonsense"' in screen.until("n to stop] ")
    screen.type("A264B2B2943\n")
    assert "next: filter1 A30122FC074" in screen.until("Go on to filter1 A30122FC074? [Y/n/local/<next hop>] ")
    screen.type("local\n")
    assert "There is no further queue ID on mx1." in screen.until("<next hop>] ")
    screen.type("y\n")
    screen.until("Go on to filter1 AD9412FC0B4?")
    screen.until("<next hop>] ")
    screen.type("local\n")
    screen.until("Go on to relay1 4jXnlY53s4zRZ8x?")
    screen.until("<next hop>] ")
    screen.type("realy1\n")
    assert 'There is no host "realy1". did you mean "relay1"?' in screen.until("<next hop>] ")
    screen.type("exim1\n")
    assert "This mail was not seen on exim1." in screen.until("<next hop>] ")
    screen.type("\n")
    screen.until("<next hop>] ")
    screen.type("mailbox2\n")
    assert "delivered after" in screen.until("Go on to mailbox1 AED082FC0B4?")
    screen.until("<next hop>] ")
    screen.type("\n")
    code, last = screen.end()
    assert (code, last.split("\n")[-2]) == (0, "That is the whole way.")


@pytest.mark.parametrize("keys, code", [("n\n", 0), ("\x04", 0), ("\x03", 130)])
@pytest.mark.parametrize("first", ["", "1\n"])
def test_run_ends_cleanly_whenever_the_user_has_enough(
    terminal: Callable[..., Terminal], first: str, keys: str, code: int
) -> None:
    screen = terminal(*RUN)
    screen.until("n to stop] ")
    if first:
        screen.type(first)
        screen.until("<next hop>] ")
    screen.type(keys)
    ended, last = screen.end()
    assert ended == code
    assert "Traceback" not in last
    assert last.endswith("\n")


def test_run_asks_nothing_without_a_terminal_or_where_the_config_says_so(
    mailtrace: Callable[..., Said], terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    said = mailtrace(*RUN)
    assert said.code == 0
    assert "Which one?" not in said.out
    assert said.out.endswith("That is the whole way.\n")
    assert "mailbox2  6DC9C2FCB7D" in said.out
    text = Path(CONFIG).read_text()
    (tmp_path / "config.yaml").write_text(f"auto_continue: true\n{text}")
    for log in DEMO.glob("*.log"):
        (tmp_path / log.name).symlink_to(log)
    code, shown = terminal(*RUN, "-c", tmp_path / "config.yaml").end()
    assert code == 0
    assert "Which one?" not in shown


def test_run_fits_a_narrow_terminal(terminal: Callable[..., Terminal]) -> None:
    screen = terminal(*RUN, columns=40)
    screen.until("n to stop] ")
    screen.type("1\n")
    shown = screen.until("Go on to")
    assert max(len(line) for line in shown.splitlines() if "@" not in line and "[" not in line) <= 40


def test_run_begins_where_it_was_told_to(mailtrace: Callable[..., Said]) -> None:
    said = mailtrace("run", "-c", CONFIG, "-h", "relay1", "-k", "albert@alpha.lab.test", "--queue-id", "A264B2B2943")
    assert said.code == 0
    assert "relay1 4jXnlY53s4zRZ8x\n" in said.out
    assert "\nmx1  A264B2B2943" not in said.out
    assert "\nmailbox2  6DC9C2FCB7D" in said.out


def test_run_of_nothing_says_so(mailtrace: Callable[..., Said]) -> None:
    said = mailtrace("run", "-c", CONFIG, "-k", "there-is-no-such-text")
    assert (said.code, said.out) == (1, "No mail found.\n")


# --------------------------------------------------------------------------------------- for CI servers


def test_several_jobs_share_one_file_of_test_results(mailtrace: Callable[..., Said], tmp_path: Path) -> None:
    results = tmp_path / "junit.xml"
    said = mailtrace("play", DEMO.parent / "demo.yaml", "/nope.yaml", "--junit", results)
    assert said.code == 2
    text = results.read_text()
    assert text.count("<testsuite ") == 2
    assert 'message="exit code 2"' in text


def test_what_went_wrong_is_annotated_where_a_ci_server_is_known(
    mailtrace: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    expect = 'expect=[{found: false}, {every: {"mails.hops.host": nowhere}}]'
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    said = mailtrace("trace", "-c", CONFIG, "-k", "4jXnlV6MTQzRbF8", "--set", expect)
    assert said.code == 1
    assert [line.partition("::expected ")[2] for line in said.err.splitlines() if line.startswith("::error ")] != []
    monkeypatch.delenv("GITHUB_ACTIONS")
    said = mailtrace("trace", "-c", CONFIG, "-k", "4jXnlV6MTQzRbF8", "--set", expect)
    assert "::error" not in said.err


def test_a_wait_and_test_results_are_part_of_the_job_that_is_printed(
    mailtrace: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ("--eml", "x.eml", "--wait", "10m", "--junit", "j.xml")
    said = mailtrace("trace", "-c", CONFIG, *flags, "--print-job")
    assert f"  eml: {tmp_path}/x.eml\n" in said.out
    assert "\nwait: 10m\n" in said.out
    assert f"  - junit:\n      to: {tmp_path}/j.xml\n" in said.out
    plan = mailtrace("trace", "-c", CONFIG, *flags, "--plan")
    assert plan.code == 0
    assert f"the message in {tmp_path}/x.eml" in plan.out
    assert "at most 600 s" in plan.out
