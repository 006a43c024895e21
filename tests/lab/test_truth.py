"""Bounce messages say which recipients of which message failed."""

from __future__ import annotations

from .ends import hops, parse
from .truth import notice_in

DSN = b"""\
Content-Type: multipart/report; report-type=delivery-status; boundary="b"
Subject: Undelivered Mail Returned to Sender

--b
Content-Type: text/plain

Sorry.
--b
Content-Type: message/%(kind)sdelivery-status

Reporting-MTA: dns; gull.quay.example
X-Postfix-Queue-ID: 7A12027

Final-Recipient: rfc822; none@far.example
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 unknown

Final-Recipient: rfc822; slow@far.example
Action: delayed
Status: 4.2.2

--b
Content-Type: %(returned)s

Received: from x (y [10.99.0.20]) by gull.quay.example (Postfix) with ESMTP id 7A12027; date
X-Lab-Id: lab-1-00001

--b--
"""


def made(kind: bytes, returned: bytes) -> bytes:
    return DSN % {b"kind": kind, b"returned": returned}


def test_a_notice_tells_each_recipient_and_its_action() -> None:
    notice = notice_in(parse(made(b"", b"message/rfc822")))
    assert notice is not None
    assert [(one.recipient, one.action) for one in notice.failures] == [
        ("none@far.example", "failed"),
        ("slow@far.example", "delayed"),
    ]


def test_the_returned_message_tells_the_queue_that_gave_up() -> None:
    for returned in (b"message/rfc822", b"text/rfc822-headers"):
        notice = notice_in(parse(made(b"", returned)))
        assert notice is not None
        assert hops(notice.about) == [("gull", "7A12027")]


def test_an_internationalised_notice_is_read_alike() -> None:
    notice = notice_in(parse(made(b"global-", b"message/global")))
    assert notice is not None
    assert [one.recipient for one in notice.failures] == ["none@far.example", "slow@far.example"]
    assert hops(notice.about) == [("gull", "7A12027")]


def test_an_ordinary_mail_is_no_notice() -> None:
    assert notice_in(parse(b"Subject: x\n\nbody\n")) is None
