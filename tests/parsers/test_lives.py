"""Whole messages: a `Life` and the entries beside it tell just what the lines tell one by one."""

# ruff: noqa: E501 - log lines are as long as they are

from __future__ import annotations

import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailtrace.model import Life, LogEntry, Zone
from mailtrace.parsers.lines import LineParser

ROOT = Path(__file__).parents[2]
LOGS = [
    path
    for path in sorted((*ROOT.glob("jobs/demo/*.log"), *ROOT.glob("tests/corpus/*/logs/*/*")))
    if path.stat().st_size > 100  # rotation leaves empty ones
]

PLAIN = """\
2026-03-09T04:27:01.000000+01:00 mx1 postfix/master[10]: reload -- version 3.7.11, configuration /etc/postfix
2026-03-09T04:27:02.100000+01:00 mx1 postfix/smtpd[11]: 4fXkSW2mqJz9sRK: client=client.example.net[192.0.2.7]
2026-03-09T04:27:02.200000+01:00 mx1 postfix/cleanup[12]: 4fXkSW2mqJz9sRK: message-id=<1@example.net>
2026-03-09T04:27:02.300000+01:00 mx1 postfix/qmgr[13]: 4fXkSW2mqJz9sRK: from=<a@example.net>, size=900, nrcpt=1 (queue active)
2026-03-09T04:27:02.400000+01:00 mx1 postfix/smtpd[11]: disconnect from client.example.net[192.0.2.7]
2026-03-09T04:27:03.500000+01:00 mx1 postfix/local[14]: 4fXkSW2mqJz9sRK: to=<b@example.com>, relay=local, delay=1.4, delays=0.2/0/0/1.2, dsn=2.0.0, status=sent (delivered to mailbox)
2026-03-09T04:27:03.600000+01:00 mx1 postfix/qmgr[13]: 4fXkSW2mqJz9sRK: removed
"""
AGAIN = "2026-03-09T04:27:03.500000+01:00 mx1 postfix/local[14]: 4fXkSW2mqJz9sRK: to=<c@example.com>, orig_to=<all@example.com>, relay=local, delay=1.4, delays=0.2/0/0/1.2, dsn=2.0.0, status=sent (delivered to mailbox)\n"


def content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def spelt(name: str) -> str:
    return name or "-"


def told(blocks: Sequence[bytes], *, relayed: bool = True) -> tuple[list[Life], list[LogEntry]]:
    reader = LineParser().lives(relayed=relayed)
    found = [item for number, block in enumerate(blocks) for item in reader.parse(block, 1000 * number, spelt)]
    found += reader.rest()
    return [item for item in found if isinstance(item, Life)], [item for item in found if isinstance(item, LogEntry)]


def apart(entries: Iterable[LogEntry]) -> list[str]:
    """All but the positions: a message's are known as they follow each other, not what stands between them."""
    return sorted(repr(entry._replace(seq=0)) for entry in entries)


def same(*blocks: bytes) -> list[Life]:
    """The lives of a log, of which the entries were compared with those that the lines give one by one."""
    parser = LineParser()
    plain = [entry for number, block in enumerate(blocks) for entry in parser.parse(block, 1000 * number, spelt)]
    lives, entries = told(blocks)
    assert apart([*entries, *(entry for life in lives for entry in life.entries())]) == apart(plain)
    return lives


@pytest.mark.parametrize("path", LOGS, ids=lambda path: "/".join(path.parts[-2:]))
def test_a_real_log_tells_the_same(path: Path) -> None:
    same(content(path))


def test_real_logs_have_plain_messages() -> None:
    assert sum(len(same(content(path))) for path in LOGS if path.parts[-2] in ("demo", "mx-east")) > 200


def test_a_plain_message_is_one_life() -> None:
    (life,) = same(PLAIN.encode())
    assert told([PLAIN.encode()])[1] == []
    assert (life.host, life.queue_id, life.seq, life.lines) == ("mx1", "4fXkSW2mqJz9sRK", 1, 5)
    assert (life.origin.logged_host, life.origin.instance, life.origin.zone) == ("mx1", "postfix", Zone.UTC)
    assert (life.first, life.last, life.named, life.stored) == (1773026822.1, 1773026823.6, (), True)


def test_a_message_to_several_is_one_too() -> None:
    several = PLAIN.replace("nrcpt=1", "nrcpt=2").replace("2026-03-09T04:27:03.6", AGAIN + "2026-03-09T04:27:03.6")
    (life,) = same(several.encode())
    assert life.lines == 6


def test_stamps_without_a_year_or_a_zone_are_taken_as_they_are() -> None:
    bsd = "".join(f"Mar  9 {line[11:19]}{line[32:]}\n" for line in PLAIN.splitlines())
    local = "".join(f"{line[:19]}{line[32:]}\n" for line in PLAIN.splitlines())
    assert [life.origin.zone for life in (*same(bsd.encode()), *same(local.encode()))] == [Zone.YEARLESS, Zone.LOCAL]


@pytest.mark.parametrize("relayed", [True, False])
def test_what_another_host_took_names_its_id(relayed: bool) -> None:
    relay = "relay=mx2.example.com[192.0.2.9]:25"
    text = PLAIN.replace("relay=local", relay).replace(
        "delivered to mailbox", "250 2.0.0 Ok: queued as 4fXkSW9mqJz9sRK"
    )
    same(text.encode())
    lives, entries = told([text.encode()], relayed=relayed)
    assert [(life.named, life.stored) for life in lives] == ([(("4fXkSW9mqJz9sRK",), False)] if relayed else [])
    assert len(entries) == (0 if relayed else 5)


def test_a_local_forward_names_the_new_message() -> None:
    (life,) = same(PLAIN.replace("delivered to mailbox", "forwarded as 4fXkSW9mqJz9sRK").encode())
    assert (life.named, life.stored) == (("4fXkSW9mqJz9sRK",), False)


def swapped(text: str) -> str:
    """The lines of a message in another order than that of their stamps."""
    lines = text.splitlines(keepends=True)
    return "".join([*lines[:3], lines[4], lines[3], *lines[5:]]).replace("02.300000", "02.150000")


OTHERS = {
    "deferred": PLAIN.replace("status=sent", "status=deferred").replace("dsn=2", "dsn=4"),
    "tried twice": PLAIN.replace("2026-03-09T04:27:03.6", AGAIN.replace("sent", "deferred") + "2026-03-09T04:27:03.6"),
    "bounced": PLAIN.replace("status=sent", "status=bounced"),
    "a recipient's line lost": PLAIN.replace("nrcpt=1", "nrcpt=2"),
    "a line lost": PLAIN.replace(PLAIN.splitlines(keepends=True)[2], ""),
    "from a program": PLAIN.replace("smtpd[11]: 4fXkSW2mqJz9sRK: client=client.example.net[192.0.2.7]", "pickup[11]: 4fXkSW2mqJz9sRK: uid=0 from=<a>"),
    "authenticated": PLAIN.replace("[192.0.2.7]\n2026-03-09T04:27:02.2", "[192.0.2.7], sasl_method=PLAIN, sasl_username=a\n2026-03-09T04:27:02.2"),
    "deleted by a tool": PLAIN.replace("qmgr[13]: 4fXkSW2mqJz9sRK: removed", "postsuper[13]: 4fXkSW2mqJz9sRK: removed"),
    "discarded": PLAIN.replace("postfix/local", "postfix/discard"),
    "of two instances": PLAIN.replace("postfix/local", "postfix-out/local"),
    "of two hosts": PLAIN.replace("mx1 postfix/local", "mx2 postfix/local"),
    "of another program": PLAIN.replace("postfix/local", "something"),
    "no Message-ID": PLAIN.replace("message-id=<1@example.net>", "message-id=<>"),
    "a Message-ID that was made of the queue ID": PLAIN.replace("message-id=<1@example.net>", "message-id=<20260309032702.4fXkSW2mqJz9sRK@mx1.example.com>"),
    "NUL in a reply": PLAIN.replace("delivered to mailbox", "delivered to \0 mailbox"),
    "a Message-ID that was cut": PLAIN.replace("message-id=<1@example.net>", "message-id=<1@example.n"),
    "a quoted recipient": PLAIN.replace("to=<b@", 'to=<"b>, c"@'),
    "a newline lost": PLAIN.replace("(delivered to mailbox)", "(delivered to mailbox) Mar  9 04:27:03 mx1 postfix/qmgr[13]: 4fXkSW2mqJz9sRK: removed"),
    "no number": PLAIN.replace("delay=1.4", "delay=nan"),
    "still in the queue": PLAIN.rpartition("2026")[0],
    "begun before the log": PLAIN.replace(PLAIN.splitlines(keepends=True)[1], ""),
    "out of order": swapped(PLAIN),
}  # fmt: skip


@pytest.mark.parametrize("text", OTHERS.values(), ids=OTHERS)
def test_no_other_message_is_taken_for_a_plain_one(text: str) -> None:
    assert same(text.encode()) == []


def test_an_id_that_comes_again_is_another_life() -> None:
    later = PLAIN.replace("04:27", "04:28")
    assert len(same((PLAIN + later).encode())) == 2


def test_a_clock_that_may_have_been_put_back_is_left_to_who_knows_clocks() -> None:
    bsd = "".join(f"Mar  9 {line[11:19]}{line[32:]}\n" for line in PLAIN.splitlines())
    long = bsd.replace("04:27:03", "05:27:03")
    assert same(long.encode()) == []
    assert len(same(PLAIN.replace("T04:27:03", "T05:27:03").encode())) == 1


def test_a_reply_that_tells_the_time_is_left_to_who_knows_clocks() -> None:
    bsd = "".join(f"Mar  9 {line[11:19]}{line[32:]}\n" for line in PLAIN.splitlines())
    reply = "250 2.0.0 OK  1773026823 a640c23a62f3a-b7d0f5f0 - gsmtp"
    gmail = bsd.replace("delivered to mailbox", reply).replace(
        "relay=local", "relay=gmail-smtp-in.l.google.com[192.0.2.9]:25"
    )
    assert same(gmail.encode()) == []


@pytest.mark.parametrize("at", range(1, 8))
def test_a_message_may_be_cut_by_blocks(at: int) -> None:
    lines = PLAIN.encode().splitlines(keepends=True)
    (life,) = same(b"".join(lines[:at]), b"".join(lines[at:]))
    assert life.queue_id == "4fXkSW2mqJz9sRK"


def test_stamps_of_two_forms_in_one_log() -> None:
    bsd = "".join(f"Mar  9 {line[11:19]}{line[32:]}\n" for line in PLAIN.splitlines())
    blocks = [text.encode() for text in (PLAIN, bsd, PLAIN.replace("04:27", "04:29"), bsd.replace("04:27", "04:29"))]
    assert same(*blocks)


def test_many_messages_that_never_end_are_not_gathered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailtrace.parsers.lives._OPEN", 20)
    start, first = PLAIN.splitlines(keepends=True)[:2]
    blocks = [
        (start + "".join(first.replace("4fXkSW2", f"4fXkS{a}{b}") for b in "BCDFGHJKLM")).encode() for a in "BCDFGH"
    ]
    reader = LineParser().lives(relayed=True)
    out = [item for number, block in enumerate(blocks) for item in reader.parse(block, 100 * number, spelt)]
    assert len(out) >= 20
    assert len(out) + len(reader.rest()) == 60


LINES = st.sampled_from((PLAIN + AGAIN + PLAIN.replace("04:27", "04:28")).splitlines())


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(LINES, st.integers(0, 180), st.sampled_from(["", "", "", "x", "\0", ": ", "<", "9"])), max_size=14
    )
)
def test_whatever_the_lines_are_they_tell_the_same(lines: list[tuple[str, int, str]]) -> None:
    text = "".join(f"{line[:at]}{other}{line[at:]}\n" for line, at, other in lines)
    same(text.encode())
