"""Which lines find each other."""

from __future__ import annotations

import pytest

from mailtrace.model import LogEntry
from mailtrace.parsers import make_parser
from mailtrace.tracing.touch import Keys, envelopes, is_bare, is_soft, keys_of


def read(text: str, second: int = 0, host: str = "mx1") -> LogEntry:
    stamp = f"2026-11-23T01:04:{second:02}+00:00 {host} "
    [entry] = make_parser().parse(f"{stamp}{text}\n".encode(), 0, host)
    return entry


def keys(text: str, second: int = 0, host: str = "mx1") -> Keys:
    return keys_of(read(text, second, host))


def touch(one: Keys, other: Keys) -> bool:
    """Whether the second of two entries finds the first."""
    return not {*one.own}.isdisjoint([*other.own, *other.looks])


QUEUED = "postfix/qmgr[2]: 4F1A2B3C4D: from=<a@x>, size=1, nrcpt=1 (queue active)"
SENT = (
    "postfix/smtp[3]: 4F1A2B3C4D: to=<b@y>, relay=mx2[192.0.2.2]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, "
    "status=sent (250 2.0.0 Ok: queued as 5A5B5C5D5E)"
)
REFUSED = (
    "postfix/smtpd[9]: NOQUEUE: reject: RCPT from c[192.0.2.9]: 550 5.1.1 <n@y>: Recipient address rejected: unknown; "
    "from=<a@x> to=<n@y> proto=ESMTP helo=<c>"
)
TAKEN = "postfix/smtpd[9]: 4F1A2B3C4D: client=c[192.0.2.9]"


@pytest.mark.parametrize(
    "one, other",
    [
        (QUEUED, "postfix/qmgr[2]: 4F1A2B3C4D: removed"),
        (SENT, "postfix/smtpd[4]: 5A5B5C5D5E: client=mx1[192.0.2.1]"),
        ("postfix/cleanup[4]: 4F1A2B3C4D: message-id=<M@x>", "postfix/cleanup[4]: 7777777777: message-id=<m@x>"),
        (QUEUED, "postfix/bounce[5]: 4F1A2B3C4D: sender non-delivery notification: 6B6B6B6B6B"),
        (
            "postfix/bounce[5]: 4F1A2B3C4D: sender non-delivery notification: 6B6B6B6B6B",
            "postfix/qmgr[2]: 6B6B6B6B6B: from=<>, size=1, nrcpt=1 (queue active)",
        ),
    ],
)
def test_lines_of_one_mail_have_a_key_in_common(one: str, other: str) -> None:
    assert touch(keys(one), keys(other))


def test_lines_of_two_mails_have_none() -> None:
    assert not touch(keys(QUEUED), keys("postfix/qmgr[2]: 4F1A2B3C4E: removed"))


def test_only_a_message_id_is_a_soft_key() -> None:
    assert [is_soft(key) for key in keys("postfix/cleanup[4]: 4F1A2B3C4D: message-id=<m@x>").own] == [False, True]


def test_a_refusal_joins_what_its_session_takes_right_after_it() -> None:
    assert touch(keys(REFUSED), keys(TAKEN, 2))
    assert not touch(keys(REFUSED), keys(TAKEN, 10))
    assert not touch(keys(REFUSED), keys(TAKEN.replace("smtpd[9]", "smtpd[8]"), 1))
    assert not touch(keys(TAKEN), keys(REFUSED, 1)), "who is refused later does not belong to what was taken before"


def test_two_mails_of_one_session_do_not_touch() -> None:
    assert not touch(keys(TAKEN), keys(TAKEN.replace("4F1A2B3C4D", "4F1A2B3C4E"), 1))


def given(queue_id: str = "4F1A2B3C4D", reply: str = "250 OK", message_id: str = "") -> list[LogEntry]:
    """A message from outside that is passed on."""
    return [
        read(f"postfix/smtpd[9]: {queue_id}: client=c[192.0.2.9]"),
        read(f"postfix/cleanup[8]: {queue_id}: message-id=<{message_id}>"),
        read(f"postfix/qmgr[2]: {queue_id}: from=<A@x>, size=1, nrcpt=1 (queue active)"),
        read(
            f"postfix/smtp[3]: {queue_id}: to=<b@y>, relay=f[192.0.2.2]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, "
            f"status=sent ({reply})",
            1,
        ),
    ]


def taken(client: str = "mx1[192.0.2.1]", sender: str = "a@x", second: int = 30) -> list[LogEntry]:
    """The same message where it comes to, under a Message-ID that is made there."""
    return [
        read(f"postfix/smtpd[9]: 7777777777: client={client}", second, "f"),
        read("postfix/cleanup[8]: 7777777777: message-id=<20261123010430.7777777777@f>", second, "f"),
        read(f"postfix/qmgr[2]: 7777777777: from=<{sender}>, size=1, nrcpt=1 (queue active)", second, "f"),
        read(
            "postfix/local[3]: 7777777777: to=<B@y>, relay=local, delay=1, delays=0/0/0/1, dsn=2.0.0, "
            "status=sent (delivered to maildir)",
            second + 1,
            "f",
        ),
    ]


def on_time(_host: str) -> float:
    return 0.0


def test_a_message_without_a_message_id_is_found_by_its_envelope_from_both_ends() -> None:
    assert all(is_bare(message[1]) for message in (given(), taken()))
    one, other = envelopes(given(), on_time), envelopes(taken(), on_time)
    assert touch(one, other)
    assert touch(other, one)
    assert all(is_soft(key) for key in one.own)


@pytest.mark.parametrize("one, other", [(given(message_id="m@x"), taken()), (given(), taken(sender="c@x"))])
def test_a_message_id_and_another_sender_are_another_mail(one: list[LogEntry], other: list[LogEntry]) -> None:
    assert not touch(envelopes(one, on_time), envelopes(other, on_time))
    assert not touch(envelopes(other, on_time), envelopes(one, on_time))


def test_a_reply_that_names_a_queue_id_leads_there_and_nowhere_else() -> None:
    named = given(reply="250 2.0.0 Ok: queued as 5A5B5C5D5E")
    assert len(envelopes(named, on_time).own) == len(envelopes(given(), on_time).own) - 1


def test_a_wrong_clock_is_put_right_where_envelopes_are_compared() -> None:
    fast = [entry._replace(time=entry.time + 600.0) for entry in taken()]
    assert not touch(envelopes(given(), on_time), envelopes(fast, on_time))
    assert touch(envelopes(given(), on_time), envelopes(fast, {"mx1": 0.0, "f": 600.0}.__getitem__))
