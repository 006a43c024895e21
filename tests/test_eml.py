"""Messages in hand. Postfix' and Exim's bounces were recorded in the lab, Exchange's, Gmail's and qmail's are written.

Those of the lab's servers are tried anew by `lab/test_fleet.py`, as they come.
"""

from __future__ import annotations

import io
import tracemalloc
from email.message import EmailMessage
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailtrace.eml import MOST_HOPS, known_hops, letter_of, read_letter
from mailtrace.errors import RequestError
from mailtrace.model import Letter, Peer

POSTFIX = """\
Return-Path: <>
Delivered-To: owner-list-news@quay.example
Received: from core-out.quay.example (core-out.quay.example [10.99.0.15])
\tby agora.quay.example (Postfix) with ESMTP id 1AF9D9AACF3
\tfor <owner-list-news@quay.example>; Mon, 23 Nov 2026 14:19:25 +0530 (IST)
Received: by core-out.quay.example (Postfix)
\tid 19D689B4B51; Mon, 23 Nov 2026 08:49:25 +0000 (UTC)
Date: Mon, 23 Nov 2026 08:49:25 +0000 (UTC)
From: Mail Delivery System <MAILER-DAEMON@core-out.quay.example>
Subject: Undelivered Mail Returned to Sender
To: owner-list-news@quay.example
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="17ECC9B4B4F.1795423765/core-out.quay.example"
Content-Transfer-Encoding: 8bit
Message-Id: <20261123084925.19D689B4B51@core-out.quay.example>

This is a MIME-encapsulated message.

--17ECC9B4B4F.1795423765/core-out.quay.example
Content-Description: Notification
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

This is the mail system at host core-out.quay.example.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

                   The mail system

<ghost1@reef.example>: host coral.quay.example[10.99.0.17] said: 550 5.1.1
    <ghost1@reef.example>: Recipient address rejected: User unknown in virtual
    mailbox table (in reply to RCPT TO command)

--17ECC9B4B4F.1795423765/core-out.quay.example
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; core-out.quay.example
X-Postfix-Queue-ID: 17ECC9B4B4F
X-Postfix-Sender: rfc822; owner-list-news@quay.example
Arrival-Date: Mon, 23 Nov 2026 08:49:25 +0000 (UTC)

Final-Recipient: rfc822; ghost1@reef.example
Original-Recipient: rfc822;ghost1@reef.example
Action: failed
Status: 5.1.1
Remote-MTA: dns; coral.quay.example
Diagnostic-Code: smtp; 550 5.1.1 <ghost1@reef.example>: Recipient address
    rejected: User unknown in virtual mailbox table

--17ECC9B4B4F.1795423765/core-out.quay.example
Content-Description: Undelivered Message
Content-Type: message/rfc822
Content-Transfer-Encoding: 8bit

Return-Path: <owner-list-news@quay.example>
Received: from core-in.quay.example (localhost [127.0.0.1])
\tby core-out.quay.example (Postfix) with ESMTP id 17ECC9B4B4F;
\tMon, 23 Nov 2026 08:49:25 +0000 (UTC)
Received: by agora.quay.example (Postfix)
\tid 15F889AACF3; Mon, 23 Nov 2026 14:19:25 +0530 (IST)
Received: from WIN-7F3K2 (unknown [10.99.0.203])
\tby mx-osl.quay.example (Postfix) with ESMTP id 4jY0450VNMz1TPG7
\tfor <list-news@quay.example>; Mon, 23 Nov 2026 08:49:25 +0000 (UTC)
From: <hans@isle.example>
To: undisclosed:;
Subject: drift urgent fathom
Message-ID: <CAFecb157b3cb290266=x+ecb1@mail.gmail.example>

sail
--17ECC9B4B4F.1795423765/core-out.quay.example--
"""
EXIM = """\
Received: from Debian-exim by narwhal.arctic.example with local (Exim 4.96)
\tid 1xVPje-000017-0f
\tfor quin@arctic.example;
\tMon, 23 Nov 2026 08:49:14 +0000
X-Failed-Recipients: none6df6c@isle.example
Auto-Submitted: auto-replied
From: Mail Delivery System <Mailer-Daemon@arctic.example>
To: quin@arctic.example
Subject: Mail delivery failed: returning message to sender
Message-Id: <E1xVPje-000017-0f@narwhal.arctic.example>
Date: Mon, 23 Nov 2026 08:49:14 +0000

This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  none6df6c@isle.example
    host mail.isle.example [10.99.0.30]
    SMTP error from remote mail server after RCPT TO:<none6df6c@isle.example>:
    550 5.1.1 <none6df6c@isle.example>: Recipient address rejected:
    User unknown in virtual mailbox table

------ This is a copy of the message, including all the headers. ------

Return-path: <quin@arctic.example>
Received: from app1.quay.example ([10.99.0.205] helo=app1)
\tby narwhal.arctic.example with esmtpsa (TLS1.3:TLS_AES_256_GCM_SHA384:256)
\t(Exim 4.96)
\t(envelope-from <quin@arctic.example>)
\tid 1xVPje-000014-0W
\tfor none6df6c@isle.example;
\tMon, 23 Nov 2026 08:49:14 +0000
From: <quin@arctic.example>
Subject: log sail mast
Message-ID: <007fe21921338524@arctic.example>

fathom status=sent
"""
# Written, not recorded: in the form that Exchange has.
EXCHANGE = """\
From: <postmaster@corp.example>
To: <fred@shop.example>
Date: Tue, 24 Nov 2026 15:18:30 +0100
Content-Type: text/plain; charset="us-ascii"
Content-Transfer-Encoding: quoted-printable
Message-ID: <83b495a0-4547-4174-b297-aec8956f6dba>
Subject: Undeliverable: offer

Delivery has failed to these recipients or distribution lists:

John Smith<mailto:john.smith@corp.example>
This message exceeds the maximum message size allowed.

Diagnostic information for administrators:

Generating server: mbx1.corp.example

john.smith@corp.example
#550 5.2.3 RESOLVER.RST.RecipSizeLimit; message too large for this recipien=
t ##

Original message headers:

Received: from edge.corp.example (198.51.100.128) by
 mbx1.corp.example (172.26.2.7) with Microsoft SMTP Server
 (version=3DTLS1_2, cipher=3DTLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) id
 15.1.2507.39; Tue, 24 Nov 2026 15:18:29 +0100
Received: from server4.shop.example (server4.shop.example [192.0.2.212]=
)
        by edge.corp.example with ESMTP id pqjdyr591-1 for
 <john.smith@corp.example>; Tue, 24 Nov 2026 15:18:27 +0100
Received: by server4.shop.example (Postfix, from userid 505)   id BC9AC165=
86D3;
 Tue, 24 Nov 2026 15:18:25 +0100 (CET)
From: Fred Bloggs <fred@shop.example>
To: John Smith <john.smith@corp.example>
Message-ID: <20261124141825.BC9AC16586D3@server4.shop.example>
Return-Path: fred@shop.example
"""
# Written, not recorded: in the form that Gmail had before it took to RFC 3464.
GMAIL = """\
Delivered-To: walter@gmail.example
Received: by 10.231.14.200 with SMTP id h8cs59550iba;
        Sun, 3 Oct 2027 16:06:55 -0700 (PDT)
Return-Path: <>
From: Mail Delivery Subsystem <mailer-daemon@googlemail.com>
To: walter@gmail.example
X-Failed-Recipients: nobody@shop.example
Subject: Delivery Status Notification (Failure)
Message-ID: <001636e0a5ece778400491be7b6c@google.com>
Content-Type: text/plain; charset=ISO-8859-1
Content-Transfer-Encoding: quoted-printable

Delivery to the following recipient failed permanently:

     nobody@shop.example

The error that the other server return=
ed was: 550 550 5.1.1 user unknown (state 14).

----- Original message -----

Received: by 10.143.14.8 with SMTP id r8mr7773460wfi.198.1286147214334;
        Sun, 03 Oct 2027 16:06:54 -0700 (PDT)
Return-Path: <walter@gmail.example>
Received: from [192.0.2.40] (135.isp.example [192.0=
.2.135])
        by mx.google.com with ESMTPS id o16sm5546636wfh.7.2010.10.03.16.06.=
53
        (version=3DTLSv1/SSLv3 cipher=3DRC4-MD5);
        Sun, 03 Oct 2027 16:06:53 -0700 (PDT)
Message-Id: <45B7FBD7-1218-4FCD-ACA1-4706F111E682@gmail.example>
From: walter <walter@gmail.example>
To: nobody@shop.example

test
"""
# Written, not recorded: the form of qmail-send, which is fixed (QSBMF).
QMAIL = """\
Return-Path: <>
From: MAILER-DAEMON@old.example
To: demo@old.example
Subject: failure notice

Hi. This is the qmail-send program at old.example.
I'm afraid I wasn't able to deliver your message to the following addresses.

<nobody@shop.example>:
192.0.2.9 does not like recipient.
Remote host said: 550 No such user

--- Below this line is a copy of the message.

Return-Path: <demo@old.example>
Received: (qmail 4096 invoked from network); 6 Sep 2026 03:20:00 -0000
Received: from unknown (HELO desk) (192.0.2.77)
  by old.example with SMTP; 6 Sep 2026 03:20:00 -0000
Subject: test
Message-ID: <202209061120555008262@old.example>

test
"""


def told(text: str) -> Letter:
    return letter_of(text.encode())


@pytest.mark.parametrize(
    "text, message_id, failed",
    [
        (POSTFIX, "CAFecb157b3cb290266=x+ecb1@mail.gmail.example", "ghost1@reef.example"),
        (EXIM, "007fe21921338524@arctic.example", "none6df6c@isle.example"),
        (EXCHANGE, "20261124141825.BC9AC16586D3@server4.shop.example", "john.smith@corp.example"),
        (GMAIL, "45B7FBD7-1218-4FCD-ACA1-4706F111E682@gmail.example", "nobody@shop.example"),
        (QMAIL, "202209061120555008262@old.example", None),
    ],
    ids=["postfix", "exim", "exchange", "gmail", "qmail"],
)
def test_a_bounce_leads_to_the_message_it_is_about(text: str, message_id: str, failed: str | None) -> None:
    letter = told(text)
    assert [sheet.kind for sheet in letter.sheets] == ["returned", "bounce"]
    assert letter.message_ids[0] == letter.sheets[0].message_id == message_id
    assert failed is None or letter.sheets[0].recipients[0] == failed


def test_queue_ids_come_from_every_header_and_from_the_report() -> None:
    assert [queue_id for queue_id, _ in told(POSTFIX).queue_ids] == [
        "17ECC9B4B4F",
        "4jY0450VNMz1TPG7",
        "15F889AACF3",
        "19D689B4B51",
        "1AF9D9AACF3",
    ]
    assert [hop.queue_id for hop in told(EXIM).sheets[0].hops] == ["1xVPje-000014-0W"]
    # what Exchange calls an ID is its version
    assert [hop.queue_id for hop in told(EXCHANGE).sheets[0].hops] == ["BC9AC16586D3", "pqjdyr591-1", ""]


def test_a_hop_has_host_peer_protocol_recipient_and_time() -> None:
    oldest = told(POSTFIX).sheets[0].hops[0]
    assert (oldest.host, oldest.client, oldest.protocol) == (
        "mx-osl.quay.example",
        Peer("WIN-7F3K2", "10.99.0.203"),
        "ESMTP",
    )
    assert (oldest.recipient, oldest.time) == ("list-news@quay.example", 1795423765.0)
    exim = told(EXIM).sheets[0].hops[0]
    assert (exim.host, exim.client, exim.tls) == (
        "narwhal.arctic.example",
        Peer("app1.quay.example", "10.99.0.205"),
        "TLS1.3",
    )
    local, edge, mailbox = told(EXCHANGE).sheets[0].hops
    assert (local.host, local.client) == ("server4.shop.example", Peer())
    assert edge.client == Peer("server4.shop.example", "192.0.2.212")
    assert (mailbox.host, mailbox.client, mailbox.tls) == (
        "mbx1.corp.example",
        Peer("edge.corp.example", "198.51.100.128"),
        "TLS1_2",
    )


HEADERS = """\
Received: from a.example (a.example [192.0.2.1]) by b.example (Postfix) with ESMTPS id 4bcXyz1Rqpz9vZ
\tfor <bob@b.example>; Mon, 23 Nov 2026 08:00:00 +0100
Message-ID: <m1@a.example>
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=
From: Ann <ann@a.example>
"""


@pytest.mark.parametrize(
    "text",
    [
        HEADERS,
        HEADERS + "\nbody\n",
        "\n\n" + HEADERS,
        HEADERS.replace("\n", "\r\n"),
        "\ufeff" + HEADERS,
        "From ann@a.example Mon Nov 23 08:00:00 2026\n" + HEADERS + "\nbody\n",
        "".join(f"    {line}\n" for line in HEADERS.splitlines()),
        "".join(f"> {line}\n" for line in HEADERS.splitlines()),
        "Hello,\nthese are the headers you asked for:\n\n" + HEADERS + "\nRegards\n",
        "Hello,\nthese are the headers:\n\n" + "".join(f"> {line}\n" for line in HEADERS.splitlines()),
    ],
    ids=["bare", "mail", "blanks", "crlf", "mark", "mbox", "indented", "quoted", "in a text", "quoted in a text"],
)
def test_headers_are_understood_however_they_were_pasted(text: str) -> None:
    letter = told(text)
    assert letter.message_ids == ("m1@a.example",)
    assert letter.queue_ids == (("4bcXyz1Rqpz9vZ", 1795417200.0),)
    assert letter.sheets[0].subject == "Grüße"


def test_utf_16_is_read_too() -> None:
    assert letter_of(HEADERS.encode("utf-16")).message_ids == ("m1@a.example",)


def test_a_mail_is_looked_for_around_the_time_its_newest_header_tells() -> None:
    letter = told(HEADERS)
    assert (letter.start, letter.end) == (1795417200.0 - 3600, 1795417200.0 + 86400)
    forged = HEADERS.replace("Message-ID", "Received: from x by y; Mon, 1 Jan 1990 00:00:00 +0000\nMessage-ID")
    assert told(forged).start == letter.start
    unsent = told("Message-ID: <m1@a.example>\nDate: Mon, 23 Nov 2026 08:00:00 +0100\n\n")
    assert (unsent.start, unsent.end) == (1795417200.0 - 3600, 1795417200.0 + 5 * 86400)
    assert (told("Message-ID: <m1@a.example>\n\n").start, told("Message-ID: <m1@a.example>\n\n").end) == (None, None)


def test_recipients_are_looked_for_only_where_there_is_no_id() -> None:
    assert told("To: bob@b.example\nFrom: ann@a.example\nSubject: x\n\n").literals == ("bob@b.example",)
    assert told(HEADERS).literals == ("m1@a.example", "4bcXyz1Rqpz9vZ")


def test_a_hop_of_the_logs_is_known_by_its_queue_id_at_about_that_time() -> None:
    (sheet,) = told(HEADERS).sheets
    near, later = ("b:postfix:4bcXyz1Rqpz9vZ", "4bcXyz1Rqpz9vZ", 1795417201.0), ("old", "4bcXyz1Rqpz9vZ", 1.0)
    assert known_hops(sheet, [later, near]).hops[0].hop == near[0]
    assert known_hops(sheet, [later]).hops[0].hop == ""


# --------------------------------------------------------------------------------------------- hostile


def test_of_ten_thousand_received_lines_the_newest_are_taken() -> None:
    line = "Received: from a by b{} with SMTP id ABCDEF{:06}; Mon, 23 Nov 2026 08:00:00 +0000\n"
    letter = told("".join(line.format(n, n) for n in range(10_000)) + "Message-ID: <m1@x>\n\n")
    assert len(letter.sheets[0].hops) == MOST_HOPS
    assert letter.sheets[0].hops[-1].queue_id == "ABCDEF000000"
    assert "10,000 Received lines" in letter.notes[0]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 1000,
        b"\xff\xfe\x00",
        b"Message-ID: " + b"<" * 100_000,
        b"Received: " + b"(" * 100_000 + b"\nMessage-ID: <a@b>\n",
        b"Received: from " + b"a" * 1_000_000,
        b"Subject: =?utf-9?q?x?= =?utf-8?b?!!!!?=\nMessage-ID: <a@b>\n\n",
        b"Date: Mon, 99 Foo 99999 99:99:99 +9999\nMessage-ID: <a@b>\n\n",
        b"Content-Type: multipart/report; boundary=x\n\n"
        + b"--x\nContent-Type: multipart/mixed; boundary=x\n\n" * 5000,
        b"Content-Type: text/html; charset=nonsense\nX-Failed-Recipients: \xff@\xfe\n\n<" + b"<a" * 50_000,
        b"To: " + b"a@b," * 20_000 + b"\n\n",
        b"Content-Transfer-Encoding: base64\nFrom: mailer-daemon@x\n\n" + b"=" * 10_000,
    ],
)
def test_whatever_comes_in_is_a_letter(data: bytes) -> None:
    assert isinstance(letter_of(data), Letter)


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=400), st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace"))))
def test_bytes_of_any_kind_are_a_letter(data: bytes) -> None:
    for before in (b"", POSTFIX.encode()[:900], b"Received: "):
        assert isinstance(letter_of(before + data), Letter)


def test_a_bounce_that_hides_what_it_is_about_below_other_messages_is_still_one() -> None:
    inner = EmailMessage()
    inner["Message-ID"] = "<deep@x>"
    inner.set_content("x")
    outer = EmailMessage()
    outer["From"] = "MAILER-DAEMON@x"
    outer["Message-ID"] = "<outer@x>"
    outer.set_content("could not be delivered")
    outer.add_attachment(inner)
    assert letter_of(bytes(outer)).message_ids == ("deep@x", "outer@x")


def test_megabytes_take_no_more_memory_than_a_few_times_themselves() -> None:
    data = HEADERS.encode() + b"\n" + b"x" * 70 + (b"\n" + b"y" * 70) * 100_000
    tracemalloc.start()
    assert letter_of(data).message_ids == ("m1@a.example",)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * len(data)


# ----------------------------------------------------------------------------------------------- files


def test_a_file_that_tells_nothing_is_a_wrong_request(tmp_path: Path) -> None:
    path = tmp_path / "x.eml"
    for data, said in (
        (b"just some words\n", "holds no Message-ID, queue ID or address"),
        (b"", "holds no Message-ID"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 500, "Outlook's own format; save it as .eml"),
    ):
        path.write_bytes(data)
        with pytest.raises(RequestError, match=said):
            read_letter(str(path))
    with pytest.raises(RequestError, match=r"find\.eml.*cannot be read"):
        read_letter(str(tmp_path / "nope"))


def test_minus_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(HEADERS.encode())))
    assert read_letter("-").message_ids == ("m1@a.example",)


def test_of_a_file_that_is_too_large_the_begin_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailtrace.eml.MOST_BYTES", 1024)
    path = tmp_path / "x.eml"
    path.write_text(HEADERS + "\n" + "x" * 5000)
    letter = read_letter(str(path))
    assert letter.message_ids == ("m1@a.example",)
    assert "the first" in letter.notes[0]
