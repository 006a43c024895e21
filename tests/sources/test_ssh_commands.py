"""The command lines that servers are given: every shell must read them alike."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailtrace.sources import ssh_commands
from mailtrace.sources.ssh_commands import Filter, Piece, quoted

WORDS = st.lists(
    st.binary(max_size=20).map(lambda b: b.replace(b"\0", b"").decode("utf-8", "surrogateescape")), max_size=4
)


def echoed(shell: str, words: list[str]) -> list[str]:
    """The words as a program sees them that a shell runs."""
    script = 'for w in "$@"; do printf "%s\\0" "$w"; done'
    command = quoted(["exec", "sh", "-c", script, "mailtrace", *words])
    said = subprocess.run([shell, "-c", command.encode("utf-8", "surrogateescape")], capture_output=True, check=True)
    return said.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1]


@settings(max_examples=150, deadline=None)
@given(WORDS)
def test_any_words_reach_the_program_as_they_are(words: list[str]) -> None:
    assert echoed("/bin/sh", words) == words


@pytest.mark.parametrize("shell", ["bash", "dash", "csh", "fish"])
def test_every_login_shell_reads_them_alike(shell: str, need: Callable[[str], None]) -> None:
    need(shell)
    words = [
        "it's",
        '"',
        "$(id)",
        "`id`",
        "!!",
        "\\",
        "\\\\'",
        "a\nb",
        "~",
        "*",
        "",
        " ",
        "ä",
        "\udcff",
        "-e",
        "%s",
        "\t;|&",
    ]
    assert echoed(shutil.which(shell) or "", words) == words


def test_scripts_need_no_octal_writing() -> None:
    """A script is readable in a process list and in --plan."""
    commands = [
        ssh_commands.hello(),
        ssh_commands.list_(["/var/log"], sudo=ssh_commands.ASKING),
        ssh_commands.pieces([Piece("/var/log/mail.log", "plain", 0, 10)], "mark", sudo=ssh_commands.ASKING),
        ssh_commands.lines("/var/log/mail.log", "gz", 0, None, Filter((("a",), ("b", "c"))), sudo=ssh_commands.ASKING),
        ssh_commands.met("/var/log/mail.log", "plain", 10, [["mx1"]], "mark", sudo=ssh_commands.ASKING),
    ]
    for command in commands:
        assert shlex.split(command.line) == ["exec", "sh", "-c", command.script, "mailtrace", *command.arguments]
        subprocess.run(["sh", "-n", "-c", command.script], check=True)


def test_many_literals_are_no_arguments() -> None:
    literals = tuple(f"literal-{n}" for n in range(2000))
    command = ssh_commands.lines("/log", "plain", 0, None, Filter((literals,)), sudo="")
    assert len(command.line) < 2000
    assert command.text == "\n".join(literals).encode()


def test_the_journals_words_are_plain() -> None:
    with pytest.raises(ValueError, match="not a plain word"):
        ssh_commands.journal(["$(id)"], Filter(), sudo="")
