"""Completion: what is offered for a word, and that bash, zsh and fish really offer it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mailtrace import cli
from mailtrace.completion import SCRIPTS, candidates, script
from mailtrace.load import recipes

ROOT = Path(__file__).parents[1]
PROGRAM = Path(sys.executable).parent / "mailtrace"
FLEET = str(ROOT / "jobs" / "demo" / "config.yaml")


def offered(*words: str) -> list[str]:
    return candidates(["mailtrace", *words], cli.described(), ["--list", "--jobs"])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("vars: {who: a, when: b}\nfind: {}\n")
    (tmp_path / "my.log").write_text("")
    (tmp_path / "mydir").mkdir()
    (tmp_path / "mydir" / "deep.yml").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    "words, wanted",
    [
        (["tr"], ["trace", "tracing"]),
        (["--j"], ["--jobs"]),
        (["--help", "li"], ["lint"]),
        (["trace", "--message"], ["--message-id"]),
        (["trace", "-c", FLEET, "-h", "mx"], ["mx", "mx1", "mx2"]),
        (["trace", "--config-path", FLEET, "--start-host", "fil"], ["filter1"]),
        (["trace", "-c", FLEET, "--limit", "mx1,rel"], ["mx1,relay1", "mx1,relay2"]),
        (["trace", "-c", "nope.yaml", "-h", "mx"], []),
        (["trace", "-h", "mx"], []),
        (["trace", "--format", "js"], ["json"]),
        (["trace", "--format=js"], ["--format=json"]),
        (["trace", "--format", "=", "js"], ["json"]),
        (["trace", "--log-level", "D"], ["DEBUG"]),
        (["trace", "--tz", "Europe/Ro"], ["Europe/Rome"]),
        (["trace", "-k", ""], []),
        (["play", "@who"], ["@who-got-it"]),
        (["play", "@", "who"], ["who-got-it"]),
        (["play", "who"], ["who-got-it"]),
        (["trace", "--job", "who"], ["who-got-it"]),
        (["play", "m"], ["mine.yaml", "mydir/"]),
        (["play", "mydir/"], ["mydir/deep.yml"]),
        (["play", "@who-got-it", "-e", "m"], ["message_id="]),
        (["play", "mine.yaml", "-e", "w"], ["when=", "who="]),
        (["play", "-e", ""], []),
        (["trace", "--set", "walk.max_h"], ["walk.max_hops="]),
        (["explain", "find.sen"], ["find.sender"]),
        (["explain", "quar"], ["quarantined"]),
        (["new", "why"], ["why-did-it-bounce"]),
        (["test", "my"], ["mydir/"]),
        (["nonsense", "x"], []),
    ],
)
def test_these_are_offered(words: list[str], wanted: list[str]) -> None:
    assert offered(*words) == wanted


def test_every_command_and_recipe_is_offered() -> None:
    assert offered("") == sorted(task.name for task in cli.COMMANDS)
    assert [name for name in offered("play", "") if name in recipes()] == recipes()


@pytest.mark.parametrize("task", cli.COMMANDS, ids=lambda task: task.name)
def test_every_flag_of_a_command_is_offered(task: cli.Command) -> None:
    assert offered(task.name, "--") == sorted(f"--{flag.name}" for flag in task.flags)


@pytest.mark.parametrize("words", [[], ["play", "/nope/"], ["play", "\0"], ["run", "=", "="], ["play", "@"]])
def test_nothing_that_is_typed_makes_it_raise(words: list[str]) -> None:
    assert isinstance(offered(*words), list)


def test_a_broken_job_or_config_offers_nothing(folder: Path) -> None:
    (folder / "bad.yaml").write_text("vars: [\n")
    assert offered("play", "bad.yaml", "-e", "") == []
    assert offered("trace", "-c", "bad.yaml", "-h", "") == []


def shell(*command: str, given: str = "") -> str:
    """What a shell prints, with our program first on its PATH."""
    surroundings = {**os.environ, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}", "TERM": "dumb"}
    done = subprocess.run(
        [*command], input=given, capture_output=True, text=True, env=surroundings, check=False, timeout=60
    )
    return done.stdout


def in_bash(line: str) -> list[str]:
    """The replies of bash's own machinery to a Tab behind this line, its word breaks as in an interactive shell."""
    words = "'" + "' '".join(line.split(" ")) + "'"
    return shell(
        "bash",
        "-c",
        f'eval "$(mailtrace --print-completion-script bash)"; compopt() {{ :; }}; COMP_WORDS=({words});'
        ' COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _mailtrace; printf "%s\\n" "${COMPREPLY[@]}"',
    ).split()


def in_fish(line: str) -> list[str]:
    return [
        found.partition("\t")[0]
        for found in shell(
            "fish", "-c", f"mailtrace --print-completion-script fish | source; complete -C '{line}'"
        ).splitlines()
    ]


ZSH = r"""
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'PROMPT=; unsetopt zle_bracketed_paste beep; TERM=dumb'
zpty -w shell 'eval "$(mailtrace --print-completion-script zsh)"'
zpty -w shell 'zstyle ":completion:*" list-prompt ""; LISTMAX=9999; bindkey "^I" complete-word'
zpty -w shell 'compadd() { print -rl -- "${@[$@[(i)--]+1,-1]}" >>$OUT; builtin compadd "$@" }'
zpty -w shell 'print ready >>$OUT'
for i in {1..100}; do [[ -s $OUT ]] && break; sleep 0.1; done
zpty -w -n shell "$LINE"$'\t'
for i in {1..100}; do [[ $(wc -l <$OUT) -gt 1 ]] && break; sleep 0.1; done
sleep 0.2
zpty -d shell
"""


def in_zsh(line: str, out: Path) -> list[str]:
    """What a real zsh, on a terminal of its own, adds to its candidates at a Tab behind this line."""
    out.unlink(missing_ok=True)
    shell("zsh", "-f", "-c", f"export OUT={out}\nLINE='{line}'\n{ZSH}")
    return out.read_text().split()[1:] if out.exists() else []


@pytest.mark.needs("bash")
def test_bash_completes() -> None:
    assert in_bash("mailtrace tr") == ["trace", "tracing"]
    assert in_bash("mailtrace trace --message") == ["--message-id"]
    assert in_bash(f"mailtrace trace -c {FLEET} -h mx") == ["mx", "mx1", "mx2"]
    assert in_bash("mailtrace play @ who") == ["who-got-it"]
    assert "mine.yaml" in in_bash("mailtrace play ")
    assert in_bash("mailtrace trace --log ") == []


@pytest.mark.needs("fish")
def test_fish_completes() -> None:
    assert in_fish("mailtrace tr") == ["trace", "tracing"]
    assert in_fish("mailtrace trace --message") == ["--message-id"]
    assert in_fish(f"mailtrace trace -c {FLEET} -h mx") == ["mx", "mx1", "mx2"]
    assert in_fish("mailtrace play @who") == ["@who-got-it"]
    assert in_fish("mailtrace trace --log my") == ["my.log", "mydir/"]


@pytest.mark.needs("zsh")
@pytest.mark.slow
def test_zsh_completes(tmp_path: Path) -> None:
    out = tmp_path / "offered"
    assert in_zsh("mailtrace tr", out) == ["trace", "tracing"]
    assert in_zsh("mailtrace play @who", out) == ["@who-got-it"]
    assert in_zsh(f"mailtrace trace -c {FLEET} -h mx", out) == ["mx", "mx1", "mx2"]


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_a_script_says_how_to_use_it(name: str) -> None:
    assert script(name).startswith("# add to ~/")
    done = subprocess.run([PROGRAM, "--print-completion-script", name], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, script(name), "")


def test_a_shell_that_nobody_knows_is_told_with_those_there_are() -> None:
    done = subprocess.run([PROGRAM, "--print-completion-script", "csh"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no completion for" in done.stderr
