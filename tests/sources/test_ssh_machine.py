"""What a machine says of itself: its zone, and why a log cannot be read."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from mailtrace.sources.ssh_machine import why, zone_told
from mailtrace.sources.ssh_remote import SshError

NOW = datetime(2026, 1, 10, tzinfo=timezone.utc).timestamp()


@pytest.mark.parametrize(
    "said, offset, zone",
    [
        (":/usr/share/zoneinfo/Europe/Oslo", "+0100", "Europe/Oslo"),
        ("Asia/Tokyo:/usr/share/zoneinfo/Europe/Oslo", "+0900", "Asia/Tokyo"),
        (":/usr/share/zoneinfo/Europe/Oslo", "+0530", "+05:30"),
        (":", "-0300", "-03:00"),
        (":", "", ""),
        ("../../etc:", "+0000", "+00:00"),
    ],
)
def test_a_zone_is_believed_where_date_agrees(said: str, offset: str, zone: str) -> None:
    assert zone_told(said, offset, NOW) == zone


@pytest.mark.parametrize(
    "words, cure",
    [
        ("tail: cannot open '/a' for reading: Permission denied", "sudo: true"),
        ("sudo: a password is required", "--ask-sudo-pass"),
        ("sudo: sorry, you must have a tty to run sudo", "requiretty"),
        ("Sorry, user reader is not allowed to execute '/usr/bin/tail' as root on mx1.", "--plan"),
        ("tail: cannot open '/a' for reading: No such file or directory", "no such file"),
        ("tail: /a: Input/output error", "Input/output error"),
    ],
)
def test_each_reason_has_its_cure(words: str, cure: str) -> None:
    said = why("/a", words, "reader")
    assert said.startswith("/a: ")
    assert cure in said


def test_a_wrong_sudo_password_ends_the_machine() -> None:
    with pytest.raises(SshError, match="tried once"):
        why("/a", "Sorry, try again.", "reader")
