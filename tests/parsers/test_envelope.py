"""Stamps, hosts and tags in every form that logs write them."""

# ruff: noqa: E501 - log lines are as long as they are

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtrace.model import LogEntry, Removed, Stamp, Zone
from mailtrace.parsers import envelope, make_parser


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()


def only(line: str, names: tuple[str, ...] = (), time_format: str = "") -> LogEntry:
    parser = make_parser(names, time_format)
    entries = list(parser.parse(line.encode("utf-8", "surrogateescape"), 7, lambda name: name or "-"))
    assert parser.unparsed == 0
    (entry,) = entries
    assert entry.seq == 7
    return entry


ID = "6A3F73FC075: removed"

LINES = [
    ("Mar  9 04:27:02 h postfix/qmgr[22]: ", "h", "2000-03-09T04:27:02", Zone.YEARLESS, 22),
    ("Feb 29 04:27:02 h postfix/qmgr[22]: ", "h", "2000-02-29T04:27:02", Zone.YEARLESS, 22),
    ("Jan 4 21:51:05 h postfix/qmgr[22]: ", "h", "2000-01-04T21:51:05", Zone.YEARLESS, 22),
    ("Jul 03 19:18:06 h postfix/qmgr[22]: ", "h", "2000-07-03T19:18:06", Zone.YEARLESS, 22),
    ("Mar 09 04:27:02.123456 h postfix/qmgr[22]: ", "h", "2000-03-09T04:27:02.123456", Zone.YEARLESS, 22),
    ("2013 Jun 10 07:59:37.123 h postfix/qmgr[22]: ", "h", "2013-06-10T07:59:37.123000", Zone.LOCAL, 22),
    ("Jun 10 2013 07:59:37 h postfix/qmgr[22]: ", "h", "2013-06-10T07:59:37", Zone.LOCAL, 22),
    ("Feb 20 17:23:32 postfix/qmgr[22]: ", "-", "2000-02-20T17:23:32", Zone.YEARLESS, 22),
    ("Feb 20 17:23:32  postfix/qmgr: ", "-", "2000-02-20T17:23:32", Zone.YEARLESS, 0),
    ("Mar 22 07:45:01 h mail.info postfix/qmgr[22]: ", "h", "2000-03-22T07:45:01", Zone.YEARLESS, 22),
    ("mail.info: Jan  7 14:35:09 postfix/qmgr[22]: ", "-", "2000-01-07T14:35:09", Zone.YEARLESS, 22),
    ("Jan  7 14:35:09 mail.info postfix/qmgr[22]: ", "-", "2000-01-07T14:35:09", Zone.YEARLESS, 22),
    ("Jan  7 14:35:09 src@relay/hop postfix/qmgr[22]: ", "relay", "2000-01-07T14:35:09", Zone.YEARLESS, 22),
    ("Jan  7 14:35:09 client/relay/hop postfix/qmgr[22]: ", "client", "2000-01-07T14:35:09", Zone.YEARLESS, 22),
    ("Jan  7 14:35:09 fe80::1 postfix/qmgr[22]: ", "fe80::1", "2000-01-07T14:35:09", Zone.YEARLESS, 22),
    ("<22>Mar  9 04:27:02 h postfix/qmgr[22]: ", "h", "2000-03-09T04:27:02", Zone.YEARLESS, 22),
    ("88 <22>Mar  9 04:27:02 h postfix/qmgr[22]: ", "h", "2000-03-09T04:27:02", Zone.YEARLESS, 22),
    ("2023-03-14T00:00:31.185246+01:00 h postfix/qmgr[22]: ", "h", "2023-03-13T23:00:31.185246", Zone.UTC, 22),
    ("2023-03-14T00:00:31.185246-0530 h postfix/qmgr[22]: ", "h", "2023-03-14T05:30:31.185246", Zone.UTC, 22),
    ("2023-03-14T00:00:31+01:00 h postfix/qmgr[22]: ", "h", "2023-03-13T23:00:31", Zone.UTC, 22),
    ("2023-03-14T00:00:31Z h postfix/qmgr[22]: ", "h", "2023-03-14T00:00:31", Zone.UTC, 22),
    ("2023-03-14T00:00:31.123Z h postfix/qmgr[22]: ", "h", "2023-03-14T00:00:31.123000", Zone.UTC, 22),
    ("2023-03-14T00:00:31.185246 h postfix/qmgr[22]: ", "h", "2023-03-14T00:00:31.185246", Zone.LOCAL, 22),
    ("2023-03-14 00:00:31 h postfix/qmgr[22]: ", "h", "2023-03-14T00:00:31", Zone.LOCAL, 22),
    ("<22>2023-03-14T00:00:31Z h postfix/qmgr[22]: ", "h", "2023-03-14T00:00:31", Zone.UTC, 22),
    ("<22>1 2023-03-14T00:00:31.5+08:00 h postfix/qmgr 22 - - ", "h", "2023-03-13T16:00:31.500000", Zone.UTC, 22),
    ("<22>1 2023-03-14T00:00:31Z h postfix/qmgr - - - ", "h", "2023-03-14T00:00:31", Zone.UTC, 0),
    ("<22>1 2023-03-14T00:00:31Z - postfix/qmgr 22 - -  ", "-", "2023-03-14T00:00:31", Zone.UTC, 22),
    ("1 2023-03-14T00:00:31Z h postfix/qmgr 22 ID47 - \ufeff", "h", "2023-03-14T00:00:31", Zone.UTC, 22),
    (r'9 <22>1 2023-03-14T00:00:31Z h postfix/qmgr 22 - [a@1 x="a\]b \"c\" \\"][b y="]"] ', "h", "2023-03-14T00:00:31", Zone.UTC, 22),
    ("Tue 2023-03-14 00:00:31 CET h postfix/qmgr[22]: ", "h", "2023-03-14T00:00:31", Zone.LOCAL, 22),
    ("Tue 2023-03-14 00:00:31 UTC h postfix/qmgr[22]: ", "h", "2023-03-14T00:00:31", Zone.UTC, 22),
    ("1678752031.185246 h postfix/qmgr[22]: ", "h", "2023-03-14T00:00:31.185246", Zone.UTC, 22),
    ("2023-03-14T00:00:31.185246000Z Mar 14 01:00:31 h postfix/qmgr[22]: ", "h", "2023-03-14T00:00:31.185246", Zone.UTC, 22),
    ("2023-03-14T00:00:31.1852460Z stdout F Mar 14 01:00:31 h postfix/qmgr[22]: ", "h", "2023-03-14T00:00:31.185246", Zone.UTC, 22),
    ("2023-03-14T00:00:31.1852460Z stdout F postfix/qmgr[22]: ", "-", "2023-03-14T00:00:31.185246", Zone.UTC, 22),
    ("postfix-mailcow_1     | Mar 14 01:00:31 h postfix/qmgr[22]: ", "h", "2000-03-14T01:00:31", Zone.YEARLESS, 22),
    ("mail-1  | 2023-03-14T00:00:31Z Mar 14 01:00:31 h postfix/qmgr[22]: ", "h", "2023-03-14T00:00:31", Zone.UTC, 22),
]  # fmt: skip


@pytest.mark.parametrize("head, host, moment, zone, pid", LINES)
def test_every_envelope_gives_host_moment_and_pid(head: str, host: str, moment: str, zone: Zone, pid: int) -> None:
    entry = only(head + ID)
    assert (entry.host, entry.zone, entry.pid) == (host, zone, pid)
    assert entry.time == pytest.approx(utc(moment), abs=1e-6)
    assert (entry.instance, entry.service, entry.queue_id, entry.event) == ("postfix", "qmgr", "6A3F73FC075", Removed())


@pytest.mark.parametrize("head, host, moment, zone, pid", LINES)
def test_a_line_s_stamp_is_its_entry_s_moment(head: str, host: str, moment: str, zone: Zone, pid: int) -> None:
    entry = only(head + ID)
    assert make_parser().stamp((head + ID + "\n").encode()) == Stamp(entry.time, entry.zone)


JSON_LINES = [
    (
        (
            '{"_COMM":"smtpd","SYSLOG_IDENTIFIER":"postfix/qmgr","_HOSTNAME":"h","__REALTIME_TIMESTAMP":"1789228152650438",'
            '"SYSLOG_PID":"22","_SOURCE_REALTIME_TIMESTAMP":"1789228152650416","MESSAGE":"6A3F73FC075: removed"}'
        ),
        1789228152.650416,
    ),
    (
        (
            '{"SYSLOG_IDENTIFIER":["postfix/qmgr","x"],"_HOSTNAME":"h","_PID":"22","__REALTIME_TIMESTAMP":"1789228152650438",'
            '"MESSAGE":[54,65,51,70,55,51,70,67,48,55,53,58,32,114,101,109,111,118,101,100]}'
        ),
        1789228152.650438,
    ),
    (
        '{"_COMM":"qmgr","_HOSTNAME":"h","_PID":"22","__REALTIME_TIMESTAMP":"1789228152650438","MESSAGE":"6A3F73FC075: removed"}',
        1789228152.650438,
    ),
    (
        '{"log":"Jul 03 19:18:06 h postfix/qmgr[22]: 6A3F73FC075: removed\\n","stream":"stdout","time":"2024-07-03T17:18:06.732276Z"}',
        1720027086.732276,
    ),
    (
        '{"@timestamp":"2024-07-03T17:18:06.732Z","host":"x","message":"Jul  3 19:18:06 h postfix/qmgr[22]: 6A3F73FC075: removed"}',
        1720027086.732,
    ),
    (
        (
            '{"@timestamp":"2024-07-03T17:18:06.732Z","host":{"name":"h"},"process":{"name":"postfix/qmgr","pid":22},'
            '"message":"6A3F73FC075: removed"}'
        ),
        1720027086.732,
    ),
    (
        '{"_index":"x","_source":{"@timestamp":"x","host":"h","message":"<22>1 2024-07-03T17:18:06Z h postfix/qmgr 22 - - 6A3F73FC075: removed"}}',
        1720027086.0,
    ),
]


@pytest.mark.parametrize("line, moment", JSON_LINES)
def test_every_json_envelope_gives_the_same(line: str, moment: float) -> None:
    entry = only(line)
    assert entry.time == pytest.approx(moment, abs=1e-6)
    assert (entry.zone, entry.host) == (Zone.UTC, "h")
    assert (entry.instance, entry.service, entry.pid, entry.event) == ("postfix", "qmgr", 22, Removed())


@pytest.mark.parametrize(
    "line",
    [
        '{"SYSLOG_IDENTIFIER":"postfix/qmgr","__REALTIME_TIMESTAMP":"1789228152650438","MESSAGE":null}',
        '{"SYSLOG_IDENTIFIER":"postfix/qmgr","__REALTIME_TIMESTAMP":"1789228152650438","MESSAGE":[54,300]}',
        '{"SYSLOG_IDENTIFIER":"postfix/qmgr","__REALTIME_TIMESTAMP":"x","MESSAGE":"6A3F73FC075: removed"}',
        '{"__REALTIME_TIMESTAMP":' + "9" * 5000 + ',"MESSAGE":"x"}',
        "[" * 100_000,
        '{"a":' * 100_000,
        "{",
        "Mar 32 04:27:02 h postfix/qmgr[22]: 6A3F73FC075: removed",
        "Feb 30 04:27:02 h postfix/qmgr[22]: 6A3F73FC075: removed",
        "Mar  9 24:27:02 h postfix/qmgr[22]: 6A3F73FC075: removed",
        "2023-02-29T00:00:31Z h postfix/qmgr[22]: 6A3F73FC075: removed",
        "0000-01-01T00:00:00Z h postfix/qmgr[22]: 6A3F73FC075: removed",
        "2023-03-14T00:00:31+99:00 h postfix/qmgr[22]: 6A3F73FC075: removed",
        "<22>1 - h postfix/qmgr 22 - - 6A3F73FC075: removed",
    ],
)
def test_a_line_without_a_readable_envelope_is_counted_and_costs_only_itself(line: str) -> None:
    parser = make_parser()
    good = b"Mar  9 04:27:02 h postfix/qmgr[22]: 6A3F73FC075: removed"
    entries = list(parser.parse(b"\n".join([good, line.encode(), good]), 0, "h"))
    assert [entry.seq for entry in entries] == [0, 2]
    assert parser.unparsed == 1


def test_a_message_that_begins_like_structured_data_is_the_message() -> None:
    text = '<22>1 2023-03-14T00:00:31Z h postfix/smtpd 22 - - [x@1 y="z"] hello'
    framed = envelope.rfc5424(text)
    assert framed is not None
    assert framed.text == '[x@1 y="z"] hello'


@pytest.mark.parametrize(
    "tag", ["postfix-outbound-long/submission", "postfix-outbound-long1/smtpd[123", "postfix-outbound-long12/smtpd[1]"]
)
def test_a_tag_that_forwarding_cut_is_known_by_its_text(tag: str) -> None:
    assert len(tag) == 32
    entry = only(f"Mar  9 04:27:02 h {tag} 6A3F73FC075: client=unknown[1.2.3.4]")
    assert (entry.logged_host, entry.queue_id) == ("h", "6A3F73FC075")
    assert entry.instance.startswith("postfix-outbound-long")


@pytest.mark.parametrize(
    "tag, instance, service",
    [
        ("postfix/smtpd", "postfix", "smtpd"),
        ("postfix/submission/smtpd", "postfix", "submission/smtpd"),
        ("postfix/10025/smtpd", "postfix", "10025/smtpd"),
        ("postfix-out/smtp", "postfix-out", "smtp"),
        ("postfix/outbound/smtp", "postfix", "outbound/smtp"),
        ("postfix-170.55.103.23/smtpd", "postfix-170.55.103.23", "smtpd"),
        ("mta.in/smtpd", "mta.in", "smtpd"),
        ("qmgr", "postfix", "qmgr"),
        ("postfix/some-new-daemon", "postfix", "some-new-daemon"),
    ],
)
def test_a_tag_is_an_instance_and_a_service(tag: str, instance: str, service: str) -> None:
    entry = only(f"Mar  9 04:27:02 h {tag}[1]: 6A3F73FC075: client=unknown[1.2.3.4]")
    assert (entry.instance, entry.service) == (instance, service)


# ------------------------------------------------------------------------------------------------- Exim


@pytest.mark.parametrize(
    "head, moment, zone, pid",
    [
        ("2020-02-22 01:01:56 ", "2020-02-22T01:01:56", Zone.LOCAL, 0),
        ("2020-02-22 01:01:56.123 ", "2020-02-22T01:01:56.123000", Zone.LOCAL, 0),
        ("2020-02-22 01:01:56.123 +0100 [77] ", "2020-02-22T00:01:56.123000", Zone.UTC, 77),
        ("2020-02-22 01:01:56 [77] ", "2020-02-22T01:01:56", Zone.LOCAL, 77),
        ("Feb 22 01:01:57 h exim[77]: 2020-02-22 01:01:56 ", "2020-02-22T01:01:56", Zone.LOCAL, 77),
        ("Feb 22 01:01:57 h exim[77]: ", "2000-02-22T01:01:57", Zone.YEARLESS, 77),
        ("<22>1 2020-02-22T01:01:57Z h exim 77 - - 2020-02-22 01:01:56 ", "2020-02-22T01:01:56", Zone.LOCAL, 77),
    ],
)
def test_exim_s_own_stamp_leads(head: str, moment: str, zone: Zone, pid: int) -> None:
    entry = only(f"{head}1j5IF1-0006A7-Ub Completed")
    assert (entry.zone, entry.pid, entry.queue_id, entry.instance) == (zone, pid, "1j5IF1-0006A7-Ub", "exim")
    assert entry.time == pytest.approx(utc(moment), abs=1e-6)


def test_the_journal_s_clock_is_better_than_exim_s_stamp() -> None:
    entry = only(
        '{"SYSLOG_IDENTIFIER":"exim","_HOSTNAME":"h","_PID":"7","__REALTIME_TIMESTAMP":"1582329716000000",'
        '"MESSAGE":"2020-02-22 01:01:56 1j5IF1-0006A7-Ub Completed"}'
    )
    assert (entry.time, entry.zone, entry.event) == (1582329716.0, Zone.UTC, Removed())


# --------------------------------------------------------------------------------------- pieces of lines


def test_pieces_of_a_container_s_line_are_joined_per_stream() -> None:
    block = b"""\
2019-04-30T02:12:41.1000000Z stdout P Jul 03 19:18:06 mail postfix/qmgr[76
2019-04-30T02:12:41.2000000Z stderr F Jul 03 19:18:06 mail postfix/qmgr[76]: 6A3F73FC076: removed
2019-04-30T02:12:41.3000000Z stdout F ]: 6A3F73FC075: removed
"""
    entries = list(make_parser().parse(block, 0, "h"))
    assert [(entry.queue_id, entry.raw_time) for entry in entries] == [
        ("6A3F73FC076", "2019-04-30T02:12:41.2000000Z"),
        ("6A3F73FC075", "2019-04-30T02:12:41.1000000Z"),
    ]


def test_nuls_before_a_line_or_between_two_cost_nothing() -> None:
    line = b"Mar  9 04:27:02 h postfix/qmgr[22]: 6A3F73FC075: removed"
    entries = list(make_parser().parse(b"\0\0\0" + line + b"\n" + line + b"\0\0" + line + b"\n\0\0\0\n", 0, "h"))
    assert [(entry.seq, entry.event) for entry in entries] == [(0, Removed()), (1, Removed()), (1, Removed())]


def test_line_ends_of_dos_and_none_at_all() -> None:
    line = b"Mar  9 04:27:02 h postfix/qmgr[22]: 6A3F73FC075: removed"
    assert len(list(make_parser().parse(line + b"\r\n" + line + b"\r\n" + line, 0, "h"))) == 3


def test_bytes_that_are_no_utf_8_survive() -> None:
    (entry,) = make_parser(keep_raw=True).parse(
        b"Mar  9 04:27:02 h postfix/cleanup[2]: 6A3F73FC075: message-id=<caf\xe9@x>\n", 0, "h"
    )
    assert entry.raw.encode("utf-8", "surrogateescape").endswith(b"<caf\xe9@x>")


# ------------------------------------------------------------------------------------------- time_format


@pytest.mark.parametrize(
    "text, stamp, moment, zone",
    [
        ("%d/%m/%Y %H:%M:%S", "31/12/2024 23:59:58", "2024-12-31T23:59:58", Zone.LOCAL),
        ("%d.%m.%y %I:%M %p", "31.12.24 11:59 PM", "2024-12-31T23:59:00", Zone.LOCAL),
        ("%Y%m%dT%H%M%S.%f%z", "20241231T235958.5+0100", "2024-12-31T22:59:58.500000", Zone.UTC),
        ("%d %b %T", "31 Dec 23:59:58", "2000-12-31T23:59:58", Zone.YEARLESS),
        ("[%s]", "[1735689598]", "2024-12-31T23:59:58", Zone.UTC),
    ],
)
def test_a_time_format_is_read_by_its_letters(text: str, stamp: str, moment: str, zone: Zone) -> None:
    entry = only(f"{stamp} h postfix/qmgr[22]: {ID}", time_format=text)
    assert (entry.time, entry.zone, entry.raw_time) == (utc(moment), zone, stamp)


@pytest.mark.parametrize("text", ["%Y-%m-%d %H:%M:%S", "%d/%m/%Y %H:%M:%S"])
def test_a_line_the_time_format_does_not_fit_is_read_as_if_there_were_none(text: str) -> None:
    for head, *_ in LINES:
        assert only(head + ID, time_format=text) == only(head + ID)


@pytest.mark.parametrize("text", ["%Q", "%Y %Y", "%"])
def test_a_time_format_that_cannot_be_read_back_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time format"):
        make_parser((), text)


@given(st.text(alphabet="0123456789:-T. Z+JanFeb\u0663\u00b2", max_size=40))
def test_no_stamp_raises(text: str) -> None:
    envelope.any_stamp(text)
    envelope.TimeFormat("%d %b %Y %H:%M:%S.%f%z")(text)
