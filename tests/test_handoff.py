"""What replies say: every row of the receivers that are known, and what hostile ones try."""

# ruff: noqa: E501 - log lines are as long as they are

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtrace.handoff import ReplyId, reply_id


@pytest.mark.parametrize(
    "text, kind, found",
    [
        ("250 2.0.0 Ok: queued as 99D0EBC23", "postfix", "99D0EBC23"),
        ("250 2.0.0 Ok: queued as 4PbC4z6W5Qz3tG3", "postfix", "4PbC4z6W5Qz3tG3"),
        ("250 2.0.0 Ok: 4711 bytes queued as DAE9FC9", "postfix", "DAE9FC9"),
        (
            "250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 776E41855DB2",
            "postfix",
            "776E41855DB2",
        ),
        (
            "250 2.0.0 Ok, id=13678-04, from MTA([127.0.0.1]:10025): 250 2.0.0 Ok: queued as EB47E2C7E094",
            "postfix",
            "EB47E2C7E094",
        ),
        ("250 2.5.0 OK (381C4E5DFA32622BFC4)", "pmg", "381C4E5DFA32622BFC4"),
        ("250 OK id=1Zv49d-0004WR-2L", "exim", "1Zv49d-0004WR-2L"),
        ("250 OK id=10HmaY-000000005vi-0000", "exim", "10HmaY-000000005vi-0000"),
        (r"250- 39457 byte chunk, total 40669\\n250 OK id=1d171v-0007GV-Hi", "exim", "1d171v-0007GV-Hi"),
        ("250- 39457 byte chunk, total 40669\\n250 OK id=1d171v-0007GV-Hi", "exim", "1d171v-0007GV-Hi"),
        ("250- 39457 byte chunk, total 40669\n250 OK id=1d171v-0007GV-Hi", "exim", "1d171v-0007GV-Hi"),
        ("250- 39457 byte chunk, total 40669 250 OK id=1d171v-0007GV-Hi", "exim", "1d171v-0007GV-Hi"),
        ("250 2.0.0 r5A5FHIR025383 Message accepted for delivery", "sendmail", "r5A5FHIR025383"),
        ("o0RABp3N006085 Message accepted for delivery", "sendmail", "o0RABp3N006085"),
        (
            "250 2.0.0 36VKKS9J026559-36VKKS9K026559 Message accepted for delivery",
            "proofpoint",
            "36VKKS9J026559-36VKKS9K026559",
        ),
        ("250 2.0.0 1cw0gkh1hh-1 Message accepted for delivery", "proofpoint", "1cw0gkh1hh-1"),
        ("250 2.0.0 f6e94209 Message accepted for delivery", "opensmtpd", "f6e94209"),
        ("250 2.0.0: f6e94209 Message accepted for delivery", "opensmtpd", "f6e94209"),
        ("250 2.0.0 51b580f9-00008bbf Message accepted for delivery", "other", "51b580f9-00008bbf"),
        ("250 ok 1370843978 qp 20079", "qmail", "1370843978 qp 20079"),
        ("250 [2.6.0] x", None, ""),
        ("250 2.6.0 <a@b> Queued mail for delivery", "message-id", "a@b"),
        ("250 2.0.0 OK  1370843019 l7si764411eey.60 - gsmtp", "gmail", "1370843019 l7si764411eey.60"),
        ("250 2.0.0 Mail 658552211 queued for delivery in session 7eb500000164.", "seznam", "658552211"),
        ("250 ok:  Message 515174843 accepted", "ironport", "515174843"),
        ("250 2.0.0 <u@d> IkiQKTt+117kJgAAWP5Hkg Saved", "dovecot", "IkiQKTt+117kJgAAWP5Hkg"),
        ("250 2.0.0 <u@d> Ikiq/Tt+117kJgAAWP5Hkg:R2 Saved", "dovecot", "Ikiq/Tt+117kJgAAWP5Hkg:R2"),
        (
            "250 2.1.5 Ok SESSIONID=<cyrus-12823-1488397532-1> [bluemind.net!user.user.INBOX () 2294]",
            "cyrus",
            "cyrus-12823-1488397532-1",
        ),
        (
            "250 Ok 010001806b0f0f99-41060108-df04-45ed-8b3c-e2f5d9275ec9-000000",
            "ses",
            "010001806b0f0f99-41060108-df04-45ed-8b3c-e2f5d9275ec9-000000",
        ),
        (
            "250 Message Queued (51DE505A-C5B4-4ED3-9FA0-45ED43F49E96.1)",
            "haraka",
            "51DE505A-C5B4-4ED3-9FA0-45ED43F49E96.1",
        ),
        ("250 2.0.0 Message queued with id 45969f8cd4be043", "stalwart", "45969f8cd4be043"),
        ("250 Requested mail action okay, completed: id=0MRjB3-1UwmQ60mJF-00SzIS", "gmx", "0MRjB3-1UwmQ60mJF-00SzIS"),
        ("250 2.0.0 mVzk1l002035BVM01VzkBh mail accepted for delivery", "other", "mVzk1l002035BVM01VzkBh"),
        (
            "250 2.6.0 124477 bytes received in 00:00:00; Message id 201306100759457317 accepted for delivery",
            "other",
            "201306100759457317",
        ),
        ("forwarded as 4PbMVH1yTpz3tG3", "forwarded", "4PbMVH1yTpz3tG3"),
    ],
)
def test_every_known_receiver_s_reply_names_its_id(text: str, kind: str | None, found: str) -> None:
    reply = reply_id(text)
    if kind is None:
        assert reply is None
    else:
        assert reply is not None
        assert (reply.kind, reply.id) == (kind, found)
        assert not reply.verdict


@pytest.mark.parametrize(
    "text",
    ["250 OK", "250 ok dirdel", "250 Thanks", "Queued (3.890 seconds)", "250 Ok: queued as ", "delivered to maildir", "",
     "250 2.0.0 message accepted by labfilter", "delivered via dovecot service", "forwarded as nobody"],
)  # fmt: skip
def test_a_reply_without_an_id_has_none(text: str) -> None:
    assert reply_id(text) is None


def test_replies_that_name_their_host_tell_it() -> None:
    exchange = reply_id(
        "250 2.6.0 <m@x> [InternalId=152941, Hostname=X.prod.outlook.com] 141301 bytes in 0.101, 1361.827 KB/sec"
        " Queued mail for delivery -> 250 2.1.5"
    )
    assert exchange == ReplyId("exchange", "152941", "X.prod.outlook.com", "", "m@x")
    yandex = reply_id("250 2.0.0 Ok: queued on mxfront5.mail.yandex.net as xZAKdQqmFY-q7iWoMga")
    assert yandex == ReplyId("yandex", "xZAKdQqmFY-q7iWoMga", "mxfront5.mail.yandex.net")
    oracle = reply_id("250 2.5.0 Ok, envelope id 0MO500DBLXYO2700@mta-in1.stonline.sk")
    assert oracle == ReplyId("envelope", "0MO500DBLXYO2700", "mta-in1.stonline.sk")


@pytest.mark.parametrize(
    "text, found",
    [
        ("250 2.7.0 BLOCKED (3802E45DFA503808B06)", "3802E45DFA503808B06"),
        ("250 2.7.0 Ok, discarded, id=01234-05", "01234-05"),
        ("250 2.5.0 Ok, DISCARD(bounce.suppressed), id=01234-05", "01234-05"),
        ("250 2.7.0 Ok, discarded, UBE, id=01234-05-2", "01234-05-2"),
        ("delivered to file: /dev/null", ""),
    ],
)
def test_an_accepted_message_that_was_thrown_away_is_discarded(text: str, found: str) -> None:
    reply = reply_id(text)
    assert reply is not None
    assert (reply.verdict, reply.id) == ("discarded", found)


def test_the_last_queued_as_is_the_truth() -> None:
    reply = reply_id("250 Ok queued as AAAAAA from helo queued as BBBBBBB: 250 2.0.0 Ok: queued as CCCCCCCC")
    assert reply is not None
    assert reply.id == "CCCCCCCC"


@pytest.mark.parametrize(
    "text", ["250 ok xOK id=1Zv49d-0004WR-2L", "550 no OK id=1Zv49d-0004WR-2L", "250 OK id=1Zv49d-0004WR-2LX"]
)
def test_an_exim_id_stands_where_exim_puts_it(text: str) -> None:
    reply = reply_id(text)
    assert reply is None or reply.kind != "exim"


@given(st.text())
def test_no_reply_raises(text: str) -> None:
    reply_id(text)


WORDS = st.sampled_from(
    ["queued as ", "250 OK id=", "Saved", " Message accepted for delivery", "InternalId=", "[", "]", "(", ")", "OK (", "<", ">",
     "1Zv49d-0004WR-2L", "99D0EBC23", "smtp", " qp ", "id=", "discarded", "BLOCKED (", "SESSIONID=<", "envelope id ", "@", "\\n", " "]
)  # fmt: skip


@given(st.lists(WORDS).map("".join))
def test_no_mixture_of_what_replies_say_raises(text: str) -> None:
    reply = reply_id(text)
    assert reply is None or reply.id or reply.verdict


@pytest.mark.parametrize(
    "word", ["a@", "InternalId=", "queued as ", "250 <a@a@", "envelope id @", "SESSIONID=<-1-1", "id=1-1-", "Saved "]
)
def test_a_megabyte_of_reply_costs_no_more_than_its_length(word: str) -> None:
    start = time.process_time()
    reply_id(word * (1_000_000 // len(word)) + " Queued mail for delivery Saved accepted for delivery")
    assert time.process_time() - start < 1
