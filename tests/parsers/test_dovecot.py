"""Dovecot's delivery lines: real ones, of 2.2 and 2.3, LMTP, LDA and sieve."""

from __future__ import annotations

import pytest

from mailtrace.model import Stored
from mailtrace.parsers import make_parser
from mailtrace.parsers.dovecot import read
from mailtrace.parsers.grammar import UNPARSED

SESSION = "IkiQKTt+117kJgAAWP5Hkg"


@pytest.mark.parametrize(
    "text, found",
    [
        (
            f"lmtp(user@sender.com)<9956><{SESSION}>: msgid=<m@x>: saved mail to INBOX",
            Stored("dovecot", SESSION, "user@sender.com", "m@x", "stored", "INBOX"),
        ),
        (
            f"lmtp(u@x)<9956><{SESSION}:R2>: sieve: msgid=<m@x>: stored mail into mailbox 'INBOX/a: b'",
            Stored("dovecot", f"{SESSION}:R2", "u@x", "m@x", "stored", "INBOX/a: b"),
        ),
        (
            "lmtp(u@x): wArTL0TxF2AccAAAYr7Zvw: sieve: msgid=<m@x>: stored mail into mailbox 'INBOX'",
            Stored("dovecot", "wArTL0TxF2AccAAAYr7Zvw", "u@x", "m@x", "stored", "INBOX"),
        ),
        ("lda(u@x): msgid=<m@x>: saved mail to Junk", Stored("dovecot", "", "u@x", "m@x", "stored", "Junk")),
        (
            f"lmtp(u@x)<1><{SESSION}>: sieve: msgid=unspecified: forwarded to <c@d>",
            Stored("dovecot", SESSION, "u@x", "", "forwarded", "c@d"),
        ),
        (
            f"lmtp(u@x)<1><{SESSION}>: sieve: msgid=<m@x>: discarded duplicate forward to <c@d>",
            Stored("dovecot", SESSION, "u@x", "m@x", "discarded", "c@d"),
        ),
        (
            f"lmtp(u@x)<1><{SESSION}>: sieve: msgid=<m@x>: rejected message from <a@b> (reject)",
            Stored("dovecot", SESSION, "u@x", "m@x", "rejected", "message from <a@b> (reject)"),
        ),
        (
            f"lmtp(u@x)<1><{SESSION}>: msgid=<m@x>: save failed to INBOX: Quota exceeded",
            Stored("dovecot", SESSION, "u@x", "m@x", "failed", "INBOX"),
        ),
    ],
)
def test_where_a_message_was_put(text: str, found: Stored) -> None:
    assert read("", text) == ("", found)


@pytest.mark.parametrize(
    "text", ["lmtp(9956): Connect from local", "imap-login: Login: user=<x>, msgid=1", "master: Dovecot v2.3"]
)
def test_other_lines_are_passed_over(text: str) -> None:
    assert read("", text) is None


def test_a_delivery_line_nobody_can_read_is_counted() -> None:
    assert read("", "lmtp(u@x)<1>?: msgid=<m@x>") is UNPARSED


def test_dovecot_s_own_file_has_no_host_and_a_level() -> None:
    line = f"Feb 25 10:18:53 lmtp(u@x)<9956><{SESSION}>: Info: msgid=<m@x>: saved mail to INBOX\n"
    (entry,) = make_parser().parse(line.encode(), 0, "mailbox")
    assert entry.instance == "dovecot"
    assert entry.event == Stored("dovecot", SESSION, "u@x", "m@x", "stored", "INBOX")
