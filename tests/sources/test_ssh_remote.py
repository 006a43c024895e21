"""What is heard of a remote command: marks, statuses of parts, sudo's question."""

from __future__ import annotations

from typing import Any

import pytest

from mailtrace.secret import Secret
from mailtrace.sources.ssh_commands import BEGIN, PROMPT, SUDO
from mailtrace.sources.ssh_remote import Remote, Session, SshError


class Line:
    """A wire that only remembers what is sent along it."""

    def __init__(self) -> None:
        self.sent = b""

    def send(self, data: bytes) -> None:
        self.sent += data


def remote(password: str = "pw") -> tuple[Remote, Line]:
    wire: Any = Line()
    nowhere: Any = None
    made = Remote(wire, Session(nowhere, 1.0), Secret(password))
    made._hear(f"noise\n{BEGIN}\n".encode())
    return made, wire


def hear(made: Remote, text: str) -> None:
    for character in text.encode():
        made._hear(bytes([character]))


def test_statuses_of_parts_are_told_apart_from_words() -> None:
    made, _ = remote()
    hear(made, "tail: no\nmailtrace:read=1\nmore\nmailtrace:unpack=0\nrest\n")
    assert made.statuses == [("read", 1, "tail: no"), ("unpack", 0, "more")]
    assert made.words == "rest"


def test_the_password_goes_in_when_sudo_asks_and_once_for_each_sudo() -> None:
    made, wire = remote()
    hear(made, f"{SUDO}\n{PROMPT}")
    assert wire.sent == b"pw\n"
    hear(made, f"mailtrace:read=0\n{SUDO}\n{PROMPT}")
    assert wire.sent == b"pw\npw\n"


def test_a_second_question_is_a_refusal() -> None:
    made, wire = remote()
    hear(made, f"{SUDO}\n{PROMPT}")
    with pytest.raises(SshError, match="refused the password"):
        hear(made, f"Sorry, try again.\n{PROMPT}")
    assert wire.sent == b"pw\n"


def test_a_question_without_a_sudo_of_ours_gets_no_password() -> None:
    made, wire = remote()
    with pytest.raises(SshError):
        hear(made, f"tail: cannot open '{PROMPT}'")
    assert wire.sent == b""


def test_without_a_password_the_question_is_told() -> None:
    made, _ = remote("")
    with pytest.raises(SshError, match="--ask-sudo-pass"):
        hear(made, f"{SUDO}\n{PROMPT}")
