"""Blocks of lines: never an exception, the same entries in one block as line by line, nothing of a real log unread."""

# ruff: noqa: E501 - log lines are as long as they are

from __future__ import annotations

import gzip
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailtrace.model import Attempt, Check, LogEntry, Note, Removed, Zone
from mailtrace.parsers import FORMATS, make_parser
from mailtrace.parsers.lines import LineParser

ROOT = Path(__file__).parents[2]
LINE = b"Mar  9 04:27:02 h postfix/qmgr[22]: 6A3F73FC075: removed\n"


LOGS = [
    path
    for path in sorted((*ROOT.glob("jobs/demo/*.log"), *ROOT.glob("tests/corpus/*/logs/*/*")))
    if path.stat().st_size > 100  # rotation leaves empty ones
]


def content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def spelt(name: str) -> str:
    return name or "-"


@pytest.mark.parametrize("path", LOGS, ids=lambda path: "/".join(path.parts[-2:]))
def test_no_line_of_a_real_mail_program_stays_unread(path: Path) -> None:
    parser = make_parser()
    parser.parse(content(path), 0, spelt)
    assert parser.unparsed == 0


@pytest.mark.parametrize("path", LOGS, ids=lambda path: "/".join(path.parts[-2:]))
def test_a_block_gives_what_its_lines_give_one_by_one(path: Path) -> None:
    block = content(path)
    one_by_one, parser = LineParser(), LineParser()
    single = [
        entry
        for number, line in enumerate(block.split(b"\n"))
        for entry in one_by_one.parse(line + b"\n", number, spelt)
    ]
    assert parser.parse(block, 0, spelt) == single


@pytest.mark.parametrize("path", LOGS, ids=lambda path: "/".join(path.parts[-2:]))
def test_a_look_up_gives_what_reading_gives(path: Path) -> None:
    """A parser that knows nothing of the line before reads the same."""
    parser = LineParser()
    known = {entry.seq: entry for entry in parser.parse(content(path), 0, spelt)}
    for number, line in enumerate(content(path).split(b"\n")[:600]):
        for entry in LineParser().parse(line + b"\n", number, spelt):
            assert entry == known[number]


def test_a_real_log_has_the_entries_that_its_text_has() -> None:
    block = content(ROOT / "jobs" / "demo" / "relay1.log")
    entries = list(make_parser().parse(block, 0, "relay1"))
    kinds = [type(entry.event).__name__ for entry in entries]
    assert kinds.count("Removed") == block.count(b": removed\n")
    assert kinds.count("Accepted") == block.count(b": client=")
    assert kinds.count("Queued") == block.count(b"(queue active)")
    assert kinds.count("Attempt") == block.count(b", status=")
    assert kinds.count("MessageId") == block.count(b": message-id=")
    assert {entry.zone for entry in entries} == {Zone.UTC}


# ----------------------------------------------------------------------------------------- properties

PIECES = st.sampled_from(
    [
        "Mar  9 04:27:02 ", "2023-03-14T00:00:31.185246+01:00 ", "2020-02-22 01:01:56 ", "<22>1 ", "<22>", "h ", "postfix/smtp[1]: ",
        "exim[7]: ", "amavis[9]: ", "dovecot: ", "670FCA58C8: ", "1j5IF1-0006A7-Ub ", "NOQUEUE: ", "reject: RCPT from ", "x[1.2.3.4]",
        ": ", "; from=<", "> to=<", "to=<", ">, relay=", ", delay=", "1", ", delays=", "0/0/0/0", ", dsn=", "2.0.0", ", status=",
        "sent (", ")", "from=<", ">, size=", ", nrcpt=", " (queue active)", "message-id=<", ">", "client=", "<= ", "=> ", "== ", "** ",
        "a@b", " H=", "(h) [1.2.3.4]", " R=", " T=", ' C="', '"', "\\", " defer (-1)", " for ", " rejected RCPT <", "(1-2) Passed CLEAN",
        " {x}, <", "> -> <", ", Queue-ID: ", "lmtp(u)<1><IkiQKTt+117kJgAAWP5Hkg>: ", "msgid=<", "message repeated 3 times: [ ", "\0",
        "\n", "\r\n", "{", '{"MESSAGE":', "stdout P ", "\ufeff", "\udcff", "\u0663", "\u00b2", "nan", "1e999", "9" * 30, "]: ", "[", "]",
    ]
)  # fmt: skip
TEXTS = st.lists(st.one_of(PIECES, st.text(max_size=5)), max_size=40).map("".join)


def data(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.one_of(st.binary(), TEXTS.map(data)), st.sampled_from([(), *((name,) for name in FORMATS)]), st.booleans())
def test_no_bytes_make_a_parser_raise(block: bytes, names: tuple[str, ...], sessions: bool) -> None:
    parser = make_parser(names, keep_raw=True, sessions=sessions)
    for entry in parser.parse(block, 0, spelt):
        assert isinstance(entry, LogEntry)
        assert abs(entry.time) < 1e12
    parser.stamp(block)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(TEXTS.map(data))
def test_any_block_gives_what_its_lines_give_one_by_one(block: bytes) -> None:
    whole, single = LineParser(), LineParser()
    lines = block.replace(b"\r\n", b"\n").split(b"\n")
    expected = [entry for number, line in enumerate(lines) for entry in single.parse(line + b"\n", number, spelt)]
    assert whole.parse(block, 0, spelt) == expected
    assert whole.unparsed == single.unparsed


HOSTILE = [
    b"\0", b"<", b'"', b'<"', b'\\"', b" ", b"a@", b": ", b"]: ", b", ", b"(", b"H=(", b" <a>", b"[1/2] ", b"; from=<", b"- ", b"9", b"=?",
    b"Mar  9 04:27:02 ", b"2020-02-22 01:01:56 ", b", sasl_username=", b" rejected ", b" H=x [1.2.3.4]", b' T="', b" for a", b'[a="',
    b'{"a":', b"), <", b"x | ", b"a.b ",
]  # fmt: skip
HEADS = [
    b"", b"Mar  9 04:27:02 ", b"Mar  9 04:27:02 h postfix/smtpd[1]: ", b"Mar  9 04:27:02 h postfix/smtpd[1]: 670FCA58C8: client=x[1.2.3.4]",
    b"Mar  9 04:27:02 h postfix/smtp[1]: 670FCA58C8: to=<", b"Mar  9 04:27:02 h postfix/smtp[1]: 670FCA58C8: from=<",
    b"Mar  9 04:27:02 h postfix/smtpd[1]: NOQUEUE: reject: RCPT from x[1.2.3.4]: ", b"Mar  9 04:27:02 h postfix/smtpd[1]: proxy-accept: X: ",
    b"Mar  9 04:27:02 h postfix/cleanup[1]: 670FCA58C8: message-id=", b"Mar  9 04:27:02 h postfix/cleanup[1]: 670FCA58C8: info: header ",
    b"Mar  9 04:27:02 h amavis[1]: (1-2) Passed CLEAN", b"Mar  9 04:27:02 h dovecot: lmtp(u): msgid=<", b"<22>1 2020-02-22T01:01:56Z h t 1 - [",
    b"2020-02-22 01:01:56 1j5IF1-0006A7-Ub <= a@b", b"2020-02-22 01:01:56 1j5IF1-0006A7-Ub => a", b"2020-02-22 01:01:56 1j5IF1-0006A7-Ub ** |",
    b"2020-02-22 01:01:56 1j5IF1-0006A7-Ub == a@b", b"2020-02-22 01:01:56 H=", b"2020-02-22 01:01:56 ", b"Mar  9 04:27:02 h rsyslogd: ",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
def test_a_long_line_costs_no_more_than_its_length(head: bytes) -> None:
    for piece in HOSTILE:
        line = head + piece * (200_000 // len(piece)) + b"\n"
        start = time.process_time()
        make_parser().parse(line, 0, "h")
        make_parser().stamp(line)
        assert time.process_time() - start < 1.5, (head, piece)


def test_a_stamp_behind_a_stamp_behind_a_stamp_ends() -> None:
    parser = make_parser()
    assert list(parser.parse(b"2020-02-22 01:01:56 " * 5000 + b"\n" + b"x | " * 5000 + LINE, 0, "h")) == []


# ----------------------------------------------------------------------------------- the daemon's own words


def test_a_repeated_refusal_is_told_with_how_often() -> None:
    refusal = (
        b"NOQUEUE: reject: RCPT from u[10.77.0.209]: 550 5.1.1 <a@b>: no; from=<c@d> to=<a@b> proto=ESMTP helo=<x>"
    )
    head = b"Nov  2 10:30:31 mx postfix/smtpd[115]: "
    once, again = make_parser().parse(
        head + refusal + b"\n" + head + b"message repeated 3 times: [ " + refusal + b"]\n", 0, "mx"
    )
    assert isinstance(once.event, Check)
    assert isinstance(again.event, Check)
    assert (once.event.repeats, again.event.repeats) == (1, 3)
    assert again.event._replace(repeats=1) == once.event


def test_what_the_log_daemon_left_out_is_noted() -> None:
    block = b"""\
Mar  9 04:27:04 h rsyslogd: imuxsock: 12 messages lost due to rate-limiting
Mar  9 04:27:04 h systemd-journald[1]: Suppressed 34 messages from postfix.service
Mar  9 04:27:04 h rsyslogd: imjournal: begin to drop messages due to rate-limiting
Mar  9 04:27:04 h rsyslogd: started
"""
    events = [entry.event for entry in make_parser().parse(block, 0, "h")]
    assert [(event.kind, event.number) for event in events if isinstance(event, Note)] == [
        ("lost", 12),
        ("lost", 34),
        ("lost", 0),
    ]


def test_other_programs_lines_are_not_ours() -> None:
    parser = make_parser()
    block = b"Mar  9 04:27:04 h kernel: [1.0] usb\nMar  9 04:27:04 h sshd[1]: Connection closed\n\n-- Boot 12 --\n"
    assert list(parser.parse(block, 0, "h")) == []
    assert parser.unparsed == 0


# ------------------------------------------------------------------------------------------- the protocol


def test_a_host_is_named_as_told_or_by_its_line() -> None:
    parser = make_parser()
    assert [entry.host for entry in parser.parse(LINE, 0, "mx1.example")] == ["mx1.example"]
    assert [(entry.host, entry.logged_host) for entry in parser.parse(LINE * 2, 0, str.upper)] == [("H", "h")] * 2
    assert [entry.host for entry in parser.parse(LINE, 0, "other")] == ["other"]


@pytest.mark.parametrize(
    "head",
    [
        "Mar  9 04:27:02 h postfix/qmgr[22]: ",
        "2022-03-09T04:27:02.123456+00:00 h postfix/qmgr[22]: ",
        "<22>1 2022-03-09T04:27:02.123456+00:00 h postfix/qmgr 22 - - ",
        '{"__REALTIME_TIMESTAMP":"1646800022000000","_HOSTNAME":"h","SYSLOG_IDENTIFIER":"postfix/qmgr","MESSAGE":"',
        '{"@timestamp":"2022-03-09T04:27:02Z","host":"h","program":"postfix/qmgr","message":"',
    ],
)
def test_the_space_that_rsyslogs_msg_brings_is_not_part_of_the_text(head: str) -> None:
    end = '"}' if head[0] == "{" else ""
    lines = [f"{head}{' ' * n}6A3F73FC075: from=<a@x.example>, size=852, nrcpt=2 (queue active){end}" for n in (0, 1)]
    told = [LineParser().parse(f"{line}\n".encode() * 3, 0, "h") for line in lines]
    assert len(told[0]) == 3
    assert told[0] == told[1]


def test_raw_lines_are_kept_only_where_asked() -> None:
    assert [entry.raw for entry in make_parser().parse(LINE * 2, 0, "h")] == ["", ""]
    kept = [entry.raw for entry in make_parser((), "", True).parse(LINE * 2, 0, "h")]
    assert kept == [LINE.decode().rstrip()] * 2


def test_one_log_may_change_its_format_at_any_line() -> None:
    iso = b"2023-03-14T00:00:31.185246+01:00 h postfix/qmgr[22]: 6A3F73FC075: removed\n"
    later = iso.replace(b"+01:00", b"+02:00")
    entries = list(make_parser().parse(LINE + iso + LINE + iso + later + iso + later, 0, "h"))
    assert [entry.zone for entry in entries] == [Zone.YEARLESS, Zone.UTC, Zone.YEARLESS, *[Zone.UTC] * 4]
    assert entries[5].time - entries[6].time == 3600


def test_the_fraction_of_a_stamp_is_exact_on_both_ways() -> None:
    lines = b"".join(
        b"2023-03-14T00:00:31.%06d+01:00 h postfix/qmgr[22]: 6A3F73FC075: removed\n" % n for n in range(0, 10**6, 997)
    )
    looked_up = [entry.time for entry in make_parser().parse(lines, 0, "h")]
    read = [entry.time for line in lines.splitlines() for entry in make_parser().parse(line, 0, "h")]
    assert looked_up == read == [1678748431 + n / 10**6 for n in range(0, 10**6, 997)]


@pytest.mark.parametrize(
    "name, line, reads",
    [
        ("Rfc3164Parser", LINE, True),
        ("rfc3164", b"<22>1 2023-03-14T00:00:31Z h postfix/qmgr 2 - - 6A3F73FC075: removed\n", False),
        ("Rfc3164Parser", b"2023-03-14T00:00:31Z h postfix/qmgr[2]: 6A3F73FC075: removed\n", False),
        ("Rfc5424Parser", b"<22>1 2023-03-14T00:00:31Z h postfix/qmgr 2 - - 6A3F73FC075: removed\n", True),
        ("Rfc5424Parser", b"2023-03-14T00:00:31Z h postfix/qmgr[2]: 6A3F73FC075: removed\n", True),
        ("rfc5424", LINE, False),
        ("iso8601", b"2023-03-14T00:00:31Z h postfix/qmgr[2]: 6A3F73FC075: removed\n", True),
        ("iso8601", LINE, False),
        ("exim", b"2020-02-22 01:01:56 1j5IF1-0006A7-Ub Completed\n", True),
        ("exim", b"Feb 22 01:01:57 h exim[7]: 2020-02-22 01:01:56 1j5IF1-0006A7-Ub Completed\n", True),
        ("exim", LINE, False),
        ("journal", b'{"SYSLOG_IDENTIFIER":"postfix/qmgr","__REALTIME_TIMESTAMP":"1","MESSAGE":"6A3F73FC075: removed"}\n', True),
        ("journal", LINE, True),
        ("SyslogParser", LINE, True),
        ("auto", LINE, True),
    ],
)  # fmt: skip
def test_a_forced_format_reads_its_own_lines_only(name: str, line: bytes, reads: bool) -> None:
    parser = make_parser([name])
    assert bool(list(parser.parse(line * 2, 0, "h"))) is reads
    assert parser.unparsed == (0 if reads else 2)


def test_formats_are_tried_in_order() -> None:
    parser = make_parser(["exim", "rfc3164"])
    assert [entry.event for entry in parser.parse(LINE, 0, "h")] == [Removed()]
    assert [entry.instance for entry in parser.parse(b"2020-02-22 01:01:56 1j5IF1-0006A7-Ub Completed\n", 0, "h")] == [
        "exim"
    ]


def test_an_unknown_format_is_refused_with_a_near_match() -> None:
    with pytest.raises(ValueError, match=r"did you mean rfc3164\?"):
        make_parser(["rfc3146"])


def test_a_line_without_a_stamp_has_none() -> None:
    parser = make_parser()
    assert parser.stamp(b"") is None
    assert parser.stamp(b"\0\0\n") is None
    assert parser.stamp(b"no stamp here\n") is None
    assert parser.stamp(b"Mar  9 04:27:02 h kernel: x\n") is not None
    assert parser.stamp(b"Mar  9 04:27:02 no tag at all\n") is not None


def test_looking_at_a_stamp_changes_nothing() -> None:
    piece = b"2019-04-30T02:12:41.1000000Z stdout P Jul 03 19:18:06 mail postfix/qmgr[76]: 6A3F73"
    parser = make_parser()
    parser.parse(piece + b"\n", 0, "h")
    assert parser.stamp(piece) is not None
    assert len(list(parser.parse(b"2019-04-30T02:12:41.2000000Z stdout F FC075: removed\n", 0, "h"))) == 1


def test_the_same_delivery_in_another_envelope_is_the_same_event() -> None:
    text = (
        "670FCA58C8: to=<r@x>, relay=mail2.example.com[33.33.33.33]:587, delay=0.69, delays=0.22/0/0.35/0.12, dsn=2.0.0, "
        "status=sent (250 2.0.0 Ok: queued as F27E789349)"
    )
    heads = [
        "Mar  9 04:27:02 h postfix/smtp[1]: ",
        "<22>1 2023-03-14T00:00:31Z h postfix/smtp 1 - - ",
        "Mar  9 04:27:02 h smtp[1]: ",
    ]
    events = {entry.event for head in heads for entry in make_parser().parse((head + text).encode(), 0, "h")}
    assert len(events) == 1
    assert isinstance(events.pop(), Attempt)
