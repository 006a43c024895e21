"""Postfix' lines, kind by kind; the texts are real ones or follow the sources where no log is public."""

# ruff: noqa: E501 - log lines are as long as they are

from __future__ import annotations

import pytest

from mailtrace.model import (
    Accepted,
    Action,
    Attempt,
    Check,
    Event,
    MessageId,
    Note,
    Notified,
    Peer,
    Proxied,
    Queued,
    Removed,
    Session,
)
from mailtrace.parsers import make_parser
from mailtrace.parsers.grammar import UNPARSED
from mailtrace.parsers.postfix import Postfix


def read(text: str, service: str = "smtpd") -> tuple[str, Event]:
    made = Postfix()(service, text)
    assert made is not None
    assert made is not UNPARSED
    return made


def event(text: str, service: str = "smtpd") -> Event:
    return read(text, service)[1]


# ------------------------------------------------------------------------------------------- acceptance


def test_client_opens_a_message() -> None:
    queue_id, found = read(
        "670FCA58C8: client=unknown[11.11.11.11], sasl_method=LOGIN, sasl_username=sender@sender.com"
    )
    assert queue_id == "670FCA58C8"
    assert found == Accepted(Peer("unknown", "11.11.11.11"), user="sender@sender.com", method="LOGIN")


def test_xforward_names_the_parent_and_its_client() -> None:
    found = event(
        "4PbC4z6W5Qz3tG3: client=localhost[127.0.0.1], orig_queue_id=4PbC4x469Jz3tBr, orig_client=mx[192.0.2.1]"
    )
    assert found == Accepted(
        Peer("localhost", "127.0.0.1"), parent="4PbC4x469Jz3tBr", parent_kind="xforward", origin=Peer("mx", "192.0.2.1")
    )
    alone = event("1C6B541C5D: client=localhost.localdomain[127.0.0.1], orig_client=test.localdomain[192.168.22.40]")
    assert isinstance(alone, Accepted)
    assert (alone.parent, alone.origin.ip) == ("", "192.168.22.40")


def test_a_parent_of_the_wrong_shape_is_none() -> None:
    found = event("670FCA58C8: client=localhost[127.0.0.1], orig_queue_id=../../etc")
    assert isinstance(found, Accepted)
    assert not found.parent
    assert not found.parent_kind


def test_clients_have_ports_and_ipv6_addresses() -> None:
    assert event("670FCA58C8: client=mail.example[2001:db8::1]:41044") == Accepted(
        Peer("mail.example", "2001:db8::1", 41044)
    )


def test_noqueue_client_is_the_session_of_a_before_queue_filter() -> None:
    assert read("NOQUEUE: client=unknown[1.2.3.4]") == ("", Accepted(Peer("unknown", "1.2.3.4")))


def test_uid_is_a_local_submission_and_orig_id_its_earlier_name() -> None:
    assert event("670FCA58C8: uid=0 from=<root>", "pickup") == Accepted(user="0", local=True, sender="root")
    assert event("670FCA58C8: uid=104 from=<a@b> orig_id=A48191855DA0", "pickup") == Accepted(
        user="104", local=True, sender="a@b", parent="A48191855DA0", parent_kind="requeued"
    )


@pytest.mark.parametrize(
    "raw, found",
    [
        ("message-id=<a@b>", MessageId("a@b")),
        ("resent-message-id=<a@b>", MessageId("a@b", resent=True)),
        ("message-id=<>", MessageId("")),
        ("message-id=", MessageId("")),
        ("message-id=a@b", MessageId("a@b")),
        ("message-id=<xyz>#012", MessageId("xyz")),
        ("message-id=<a b@c>", MessageId("a b@c")),
        (
            "message-id==?UTF-8?B?PDE5?=? =?UTF-8?B?MTIyMDExMjkxNjYxMUBDbGllbnQtMDQ1LnJ1YmluZXR0ZXJpZS5sb2NhbD4=?=",
            MessageId("191220112916611@Client-045.rubinetterie.local"),
        ),
        ("message-id==?nonsense?B?%%%?=", MessageId("=?nonsense?B?%%%?=")),
    ],
)
def test_message_ids_come_raw(raw: str, found: MessageId) -> None:
    assert event(f"ADD961003206D: {raw}", "cleanup") == found


def test_the_queue_manager_tells_sender_size_and_recipients() -> None:
    assert event("670FCA58C8: from=<s@x>, size=852, nrcpt=2 (queue active)", "qmgr") == Queued("s@x", 852, 2)
    assert event("670FCA58C8: from=<>, size=852, nrcpt=2 (queue active)", "qmgr") == Queued("", 852, 2)


def test_a_quoted_sender_may_hold_what_ends_an_unquoted_one() -> None:
    text = r'670FCA58C8: from=<"a>, size=1, nrcpt=1 (queue active)\""@x>, size=852, nrcpt=2 (queue active)'
    assert event(text, "qmgr") == Queued(r'"a>, size=1, nrcpt=1 (queue active)\""@x', 852, 2)


# -------------------------------------------------------------------------------------------- delivery

SENT = (
    "670FCA58C8: to=<r@x>, relay=mail2.example.com[33.33.33.33]:587, delay=0.69, delays=0.22/0/0.35/0.12, dsn=2.0.0, "
    "status=sent (250 2.0.0 Ok: queued as F27E789349)"
)


def attempt(text: str, service: str = "smtp") -> Attempt:
    found = event(text, service)
    assert isinstance(found, Attempt)
    return found


def test_a_delivery_tells_relay_delays_status_and_reply() -> None:
    assert attempt(SENT) == Attempt(
        "r@x",
        "",
        "sent",
        Peer("mail2.example.com", "33.33.33.33", 587),
        "smtp",
        "250 2.0.0 Ok: queued as F27E789349",
        "2.0.0",
        0.69,
        (0.22, 0.0, 0.35, 0.12),
    )


def test_orig_to_and_conn_use_are_read() -> None:
    found = attempt(SENT.replace(">, relay", ">, orig_to=<alias@x>, relay").replace(", delay=", ", conn_use=2, delay="))
    assert (found.original, found.relay.port, found.delay) == ("alias@x", 587, 0.69)


def test_addresses_without_brackets_and_csv_tails_are_old_but_real() -> None:
    found = attempt(
        "4181C1102B83: to=recipient@externaldomain.com, relay=none, delay=94296, delays=94266/0.01/30/0, dsn=4.4.1, "
        "status=deferred (connect to ns.watson.ibm.com[129.34.20.80]:25: Connection timed out),,,,,,,"
    )
    assert (found.recipient, found.relay, found.status, found.delay) == (
        "recipient@externaldomain.com",
        Peer(),
        "deferred",
        94296.0,
    )
    assert found.reply == "connect to ns.watson.ibm.com[129.34.20.80]:25: Connection timed out"


def test_postfix_2_0_has_neither_delays_nor_dsn() -> None:
    found = attempt("670FCA58C8: to=<a@b>, relay=mx[1.2.3.4], delay=1, status=sent (250 ok)")
    assert (found.delays, found.dsn, found.relay.port, found.reply) == (None, "", None, "250 ok")


def test_postfix_3_11_tells_tls() -> None:
    assert attempt(SENT.replace(", dsn=", ", tls=verified, dsn=")).tls == "verified"


@pytest.mark.parametrize(
    "relay, service, reply, local",
    [
        ("local", "local", "delivered to maildir", True),
        ("virtual", "virtual", "delivered to maildir", True),
        ("dovecot", "pipe", "delivered via dovecot service", True),
        ("local", "local", "forwarded as 4PbMVH1yTpz3tG3", False),
        ("mx[1.2.3.4]:25", "smtp", "250 ok", False),
        ("mail[/var/run/dovecot/lmtp]", "lmtp", "250 2.0.0 <a@b> IkiQKTt+117kJgAAWP5Hkg Saved", False),
    ],
)
def test_a_delivery_is_local_where_it_ends_on_this_host(relay: str, service: str, reply: str, local: bool) -> None:
    found = attempt(
        f"670FCA58C8: to=<a@b>, relay={relay}, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent ({reply})", service
    )
    assert found.local is local
    assert found.reply == reply
    assert found.transport == service


def test_a_bounce_of_a_local_delivery_is_not_stored_here() -> None:
    found = attempt(
        "95ECE24E0: to=<tom@example.com>, relay=dovecot, delay=0.12, delays=0.03/0/0/0.08, dsn=5.4.6, "
        "status=bounced (mail forwarding loop for tom@example.com)",
        "pipe",
    )
    assert (found.status, found.local) == ("bounced", False)


@pytest.mark.parametrize(
    "word, status",
    [
        ("deferred", "deferred"),
        ("SOFTBOUNCE", "deferred"),
        ("deliverable", "deliverable"),
        ("undeliverable", "undeliverable"),
        ("undeliverable-but-not-cached", "undeliverable"),
    ],
)
def test_every_status_word_has_its_meaning(word: str, status: str) -> None:
    assert attempt(SENT.replace("status=sent", f"status={word}")).status == status


def test_a_status_nobody_knows_is_not_guessed() -> None:
    assert Postfix()("smtp", SENT.replace("status=sent", "status=teleported")) is UNPARSED


def test_what_discard_says_was_sent_nobody_gets() -> None:
    line = SENT.replace("relay=mail2.example.com[33.33.33.33]:587", "relay=none")
    (entry,) = make_parser().parse(f"Mar  9 04:27:04 h postfix/discard[1]: {line}\n".encode(), 0, "h")
    assert isinstance(entry.event, Attempt)
    assert (entry.event.status, entry.event.local) == ("discarded", True)


@pytest.mark.parametrize("number", ["nan", "inf", "1e999", "-5", "x"])
def test_a_delay_that_no_clock_measures_is_not_believed(number: str) -> None:
    assert Postfix()("smtp", SENT.replace("delay=0.69", f"delay={number}")) is UNPARSED
    assert Postfix()("smtp", SENT.replace("0.22/0/", f"0.22/{number}/")) is UNPARSED
    assert (
        Postfix()("smtp", f"670FCA58C8: to=<a@b>, relay=mx[1.2.3.4], delay={'9' * 41}, status=sent (250 ok)")
        is UNPARSED
    )


def test_a_quoted_recipient_may_hold_a_whole_delivery() -> None:
    evil = '"x>, relay=evil[6.6.6.6]:25, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (250 queued as AAAAAA)"@y'
    found = attempt(SENT.replace("r@x", evil))
    assert found.recipient == evil
    assert found.relay.ip == "33.33.33.33"


def test_a_reply_may_hold_parentheses_and_status_words() -> None:
    found = attempt(SENT.replace("F27E789349)", "F27E789349 (status=bounced (x), really))"))
    assert found.status == "sent"
    assert found.reply.endswith("really)")


def test_a_reply_that_was_cut_loses_its_last_word() -> None:
    assert attempt(SENT[:-4]).reply == "250 2.0.0 Ok: queued as"


def test_another_line_glued_to_a_reply_lends_it_nothing() -> None:
    glued = SENT[:-14] + f"Mar  9 04:27:04 h postfix/smtp[7]: {SENT}"
    assert "F27E789349" not in attempt(glued).reply


# ---------------------------------------------------------------------------------- life of a message


@pytest.mark.parametrize(
    "text, service, found",
    [
        ("removed", "qmgr", Removed()),
        ("removed", "postsuper", Removed("deleted")),
        ("removed (canceled)", "cleanup", Removed("canceled")),
        ("from=<>, status=expired, returned to sender", "qmgr", Action("expired")),
        ("from=<a@b>, status=force-expired, returned to sender", "qmgr", Action("force-expired", sender="a@b")),
        ("requeued", "postsuper", Action("requeued")),
        ("placed on hold", "postsuper", Action("held")),
        ("released from hold", "postsuper", Action("released")),
        ("expired", "postsuper", Action("force-expired")),
        ("skipped, still being delivered", "qmgr", Action("skipped")),
        ("sender non-delivery notification: ADD2F8052", "bounce", Notified("ADD2F8052", "non-delivery")),
        ("sender delivery status notification: 1DF35917", "bounce", Notified("1DF35917", "success")),
        ("sender delay notification: 0A87A1A08", "bounce", Notified("0A87A1A08", "delay")),
        (
            "postmaster non-delivery notification: 47335405A44",
            "bounce",
            Notified("47335405A44", "non-delivery", "postmaster"),
        ),
        ("sender notification failed", "bounce", None),
        (
            "conversation with mx00.gmx.com[74.208.5.4] timed out while receiving the initial server greeting",
            "smtp",
            Note(
                "smtp",
                "conversation with mx00.gmx.com[74.208.5.4] timed out while receiving the initial server greeting",
                Peer("mx00.gmx.com", "74.208.5.4"),
            ),
        ),
        (
            "host mg2.egov.bg[213.91.191.86] refused to talk to me: 450 4.3.2 try again later",
            "smtp",
            Note(
                "smtp",
                "host mg2.egov.bg[213.91.191.86] refused to talk to me: 450 4.3.2 try again later",
                Peer("mg2.egov.bg", "213.91.191.86"),
            ),
        ),
    ],
)
def test_each_thing_that_happens_to_a_queued_message(text: str, service: str, found: Event | None) -> None:
    if found is None:
        assert isinstance(event(f"17CCA8044: {text}", service), Notified)
    else:
        assert event(f"17CCA8044: {text}", service) == found


def test_a_warning_about_a_message_is_a_note() -> None:
    assert read("warning: 17CCA8044: defer service failure", "smtp") == (
        "17CCA8044",
        Note("warning", "defer service failure"),
    )
    assert Postfix()("smtp", "warning: hostname x does not resolve to address 1.2.3.4") is None


# ----------------------------------------------------------------------------------------------- checks


def check(text: str) -> Check:
    found = event(text)
    assert isinstance(found, Check)
    return found


def test_a_refused_recipient() -> None:
    found = check(
        "NOQUEUE: reject: RCPT from h.example[61.238.241.86]: 550 5.1.1 <toernooi@example.com>: Recipient address rejected: "
        "User unknown in virtual mailbox table; from=<wumt5@cchfdc.com> to=<toernooi@example.com> proto=ESMTP helo=<ecsolved.com>"
    )
    assert found[:8] == (
        "reject", "RCPT", Peer("h.example", "61.238.241.86"), "wumt5@cchfdc.com", "toernooi@example.com", "ecsolved.com",
        "550", "5.1.1",
    )  # fmt: skip
    assert found.text.startswith("550 5.1.1 <toernooi@example.com>: Recipient address rejected")


def test_a_temporary_refusal_defers() -> None:
    found = check(
        "NOQUEUE: milter-reject: RCPT from mailrelay.example.com[8.8.8.8]: 451 4.7.1 Greylisting in action, please come "
        "back later; from=<support@example.com> to=<example@example.org> proto=ESMTP helo=<mailrelay.example.com>"
    )
    assert (found.action, found.code, found.dsn) == ("defer", "451", "4.7.1")


def test_postscreen_separates_with_commas() -> None:
    found = check(
        "NOQUEUE: reject: RCPT from [185.246.220.193]:62795: 550 5.7.1 Service unavailable; client [185.246.220.193] blocked "
        "using zen.spamhaus.org; from=<ripe@x>, to=<y@hotmail.com>, proto=ESMTP, helo=<z>"
    )
    assert (found.client, found.sender, found.recipient, found.helo) == (
        Peer("", "185.246.220.193", 62795),
        "ripe@x",
        "y@hotmail.com",
        "z",
    )


def test_a_refusal_whose_end_was_cut_still_names_the_recipient() -> None:
    found = check(
        "NOQUEUE: reject: RCPT from out1[10.77.0.23]: 550 5.7.1 <long@x>: Recipient address rejected: This mess"
    )
    assert (found.recipient, found.sender, found.code) == ("long@x", None, "550")


@pytest.mark.parametrize(
    "text, action, stage, argument",
    [
        (
            ("milter-header-redirect: header X-Spam-Status: Yes, score=39.3 from h[61.238.241.86]; from=<a@b> to=<c@d> "
            "proto=ESMTP helo=<x>: tom@example.com"),
            "redirect",
            "header",
            "tom@example.com",
        ),
        (
            ("milter-reject: END-OF-MESSAGE from h[61.238.241.86]: 5.7.1 Blocked by SpamAssassin; from=<a@b> to=<c@d> "
            "proto=ESMTP helo=<x>"),
            "reject",
            "END-OF-MESSAGE",
            "",
        ),
        (
            ("filter: RCPT from unknown[85.25.255.255]: <mail@sender.com>: Sender address triggers FILTER "
            "smtp-amavis:[127.0.0.1]:10024; from=<a@b> to=<c@d> proto=ESMTP helo=<x>"),
            "filter",
            "RCPT",
            "",
        ),
        (
            ("prepend: header X-Spam-Status: Yes, score=45.1 required=10.0 from h[192.0.2.41]; from=<a@b> to=<c@d> "
            "proto=ESMTP helo=<x>: X-Spam-Status: Yes"),
            "prepend",
            "header",
            "X-Spam-Status: Yes",
        ),
        ("hold: header Subject: x from local; from=<a@b> to=<c@d>: wait", "hold", "header", "wait"),
        ("discard: body spam from h[1.2.3.4]; from=<a@b> to=<c@d> proto=ESMTP helo=<x>: gone", "discard", "body", "gone"),
        ("reject_warning: RCPT from h[1.2.3.4]: 550 x; from=<a@b> to=<c@d> proto=ESMTP helo=<x>", "warn", "RCPT", ""),
        ("milter-hold: END-OF-MESSAGE from h[1.2.3.4]: milter triggers HOLD action; from=<a@b> to=<c@d> proto=SMTP helo=<x>",
         "hold", "END-OF-MESSAGE", ""),
        ("bcc: RCPT from h[1.2.3.4]: <c@d>: Recipient address triggers BCC e@f; from=<a@b> to=<c@d> proto=SMTP helo=<x>",
         "bcc", "RCPT", ""),
    ],
)  # fmt: skip
def test_every_action_of_a_check(text: str, action: str, stage: str, argument: str) -> None:
    found = check(f"4104E3D: {text}")
    assert (found.action, found.stage, found.argument) == (action, stage, argument)
    assert (found.sender, found.recipient) == ("a@b", "c@d")


def test_a_header_refused_for_now_defers_and_tells_the_code_behind_it() -> None:
    found = check(
        "4104E3D: reject: header Subject: x from h[1.2.3.4]; from=<a@b> to=<c@d> proto=ESMTP helo=<x>: 4.7.1 later"
    )
    assert (found.action, found.dsn, found.argument) == ("defer", "4.7.1", "4.7.1 later")


def test_a_subject_is_told_raw_and_may_say_anything() -> None:
    evil = "queued as AAAAAA; from=<evil@x> to=<evil@y> proto=SMTP helo=<z> from evil[6.6.6.6]"
    found = check(f"D95341E50350: info: header Subject: {evil} from local; from=<from@example.com> to=<to@example.com>")
    assert found.subject == evil
    assert (found.sender, found.recipient, found.client) == ("from@example.com", "to@example.com", Peer())


def test_the_null_sender_is_empty_and_a_missing_one_none() -> None:
    assert check("NOQUEUE: reject: RCPT from h[1.2.3.4]: 550 x; from=<> to=<c@d> proto=SMTP helo=<x>").sender == ""
    found = check("NOQUEUE: reject: CONNECT from h[1.2.3.4]: 554 5.7.1 Service unavailable; proto=SMTP")
    assert (found.sender, found.recipient, found.stage) == (None, None, "CONNECT")


def test_a_before_queue_filter_s_verdict() -> None:
    reply = "250 2.0.0 from MTA(smtp:[127.0.0.1]:10013): 250 2.0.0 Ok: queued as DF66E940333"
    assert event(
        f"proxy-accept: END-OF-MESSAGE: {reply}; from=<a@b> to=<c@d> proto=ESMTP helo=<[127.0.0.1]>"
    ) == Proxied(accepted=True, reply=reply, sender="a@b", recipient="c@d", helo="[127.0.0.1]")
    refused = event(
        "proxy-reject: END-OF-MESSAGE: 554 5.7.1 no (381C4E5DFA31DF9E90F); from=<a@b> to=<c@d> proto=ESMTP helo=<x>"
    )
    assert isinstance(refused, Proxied)
    assert not refused.accepted


# -------------------------------------------------------------------------------- silent and unknown lines


@pytest.mark.parametrize(
    "service, text",
    [
        ("smtpd", "connect from unknown[1.2.3.4]"),
        ("smtpd", "disconnect from unknown[1.2.3.4] ehlo=2 starttls=1 mail=1 rcpt=1 data=1 quit=1 commands=7"),
        ("smtpd", "lost connection after RCPT from unknown[1.2.3.4]"),
        ("smtpd", "timeout after END-OF-MESSAGE from unknown[1.2.3.4]"),
        ("smtpd", "Anonymous TLS connection established from x[1.2.3.4]: TLSv1.3 with cipher X (256/256 bits)"),
        ("smtp", "connect to h[1.2.3.4]:25: Connection timed out"),
        ("anvil", "statistics: max connection rate 1/60s for (smtp:1.2.3.4) at Mar  9 04:27:03"),
        ("postscreen", "PASS NEW [1.2.3.4]:1234"),
        ("postscreen", "PREGREET 12 after 0.1 from [1.2.3.4]:1: EHLO x\\r\\n"),
        ("master", "daemon started -- version 3.7.11, configuration /etc/postfix"),
        ("postsuper", "Deleted: 3 messages"),
        ("smtpd", "warning: non-SMTP command from unknown[1.2.3.4]: GET / HTTP/1.0"),
    ],
)
def test_lines_about_no_message_are_passed_over(service: str, text: str) -> None:
    assert Postfix()(service, text) is None


@pytest.mark.parametrize(
    "text", ["17CCA8044: frobnicated", "utterly unknown", "17CCA8044: to=<a@b>, garbage", "17CCA8044: rem"]
)
def test_unknown_lines_are_counted_and_not_guessed(text: str) -> None:
    parser = make_parser()
    assert list(parser.parse(f"Mar  9 04:27:04 h postfix/smtp[1]: {text}\n".encode(), 0, "h")) == []
    assert parser.unparsed == 1


def test_sessions_are_told_to_those_who_ask() -> None:
    lines = b"""\
Mar  9 04:27:04 h postfix/smtpd[1]: connect from mail.example[1.2.3.4]
Mar  9 04:27:05 h postfix/smtpd[1]: disconnect from mail.example[1.2.3.4] ehlo=1 quit=1 commands=2
Mar  9 04:27:05 h postfix/smtp[2]: Trusted TLS connection established to mx[5.6.7.8]:25: TLSv1.3 with cipher X
"""
    assert [entry.event for entry in make_parser(sessions=True).parse(lines, 0, "h")] == [
        Session("connect", "in", Peer("mail.example", "1.2.3.4")),
        Session("disconnect", "in", Peer("mail.example", "1.2.3.4"), "ehlo=1 quit=1 commands=2"),
        Session("tls", "out", Peer("mx", "5.6.7.8", 25), "TLSv1.3 with cipher X"),
    ]
