"""Exim: real lines of its documentation, its test suite and the corpora, and what hostile senders put in them."""

# ruff: noqa: E501 - log lines are as long as they are

from __future__ import annotations

import pytest

from mailtrace.model import Accepted, Action, Attempt, Check, Event, Note, Peer, Removed
from mailtrace.parsers import make_parser
from mailtrace.parsers.exim import read
from mailtrace.parsers.grammar import UNPARSED

ID = "1j5IF1-0006A7-Ub"
LONG_ID = "10HmaX-000000005vi-0000"


def event(text: str, queue_id: str = ID) -> Event:
    made = read("", f"{queue_id} {text}")
    assert made is not None
    assert made is not UNPARSED
    assert made[0] == queue_id
    return made[1]


def accepted(text: str, queue_id: str = ID) -> Accepted:
    found = event(text, queue_id)
    assert isinstance(found, Accepted)
    return found


def attempt(text: str, queue_id: str = ID) -> Attempt:
    found = event(text, queue_id)
    assert isinstance(found, Attempt)
    return found


# ---------------------------------------------------------------------------------------------- arrival


def test_a_local_submission() -> None:
    found = accepted("<= root@edward.rosnix.net U=root P=local S=18235693")
    assert found == Accepted(user="root", local=True, protocol="local", sender="root@edward.rosnix.net", size=18235693)


def test_a_message_from_another_host() -> None:
    found = accepted(
        "<= plusgirot@nordea.com H=mail1.bemta26.messagelabs.com [85.158.142.5] P=esmtp S=4502 id=xPvw9194h6.x@nordea.com"
    )
    assert (found.client, found.size, found.message_id, found.local) == (
        Peer("mail1.bemta26.messagelabs.com", "85.158.142.5"),
        4502,
        "xPvw9194h6.x@nordea.com",
        False,
    )


def test_a_message_without_id_has_none() -> None:
    assert accepted("<= a@b H=x (y) [1.2.3.4] P=esmtp S=1").message_id is None


@pytest.mark.parametrize(
    "host, name, helo, ip, port",
    [
        ("H=(relay9.lab.test) [10.0.0.1]", "", "relay9.lab.test", "10.0.0.1", None),
        ("H=a.example (b.example) [10.0.0.1]:4711", "a.example", "b.example", "10.0.0.1", 4711),
        ("H=[10.0.0.1]", "", "", "10.0.0.1", None),
        ("H=([192.168.0.1]) [10.0.0.1]", "", "[192.168.0.1]", "10.0.0.1", None),
        ("H=a.example [2001:db8::1]:25", "a.example", "", "2001:db8::1", 25),
        ("H=(a b) [10.0.0.1]", "", "a b", "10.0.0.1", None),
    ],
)
def test_the_peer_comes_in_many_forms(host: str, name: str, helo: str, ip: str, port: int | None) -> None:
    found = accepted(f"<= a@b {host} P=esmtp S=1")
    assert (found.client, found.helo) == (Peer(name, ip, port), helo)


def test_fields_come_in_any_order() -> None:
    one = accepted("<= a@b H=x [1.2.3.4]:5 I=[5.6.7.8]:25 P=esmtpsa X=TLS1.3:Y:256 CV=no A=plain:bob K S=12 id=m@x")
    other = accepted("<= a@b id=m@x S=12 K A=plain:bob CV=no X=TLS1.3:Y:256 P=esmtpsa I=[5.6.7.8]:25 H=x [1.2.3.4]:5")
    assert one == other
    assert (one.user, one.method, one.tls, one.protocol) == ("bob", "plain", "TLS1.3:Y:256", "esmtpsa")


def test_recipients_stand_behind_for_and_may_be_quoted() -> None:
    found = accepted('<= a@b H=x [1.2.3.4] P=esmtp S=1 id=m@x T="Hi for you" from <a@b> for c@d "x y"@z')
    assert found.recipients == ("c@d", '"x y"@z')
    assert found.subject == "Hi for you"


def test_a_bounce_names_the_message_it_is_about() -> None:
    found = accepted(f"<= <> R={LONG_ID} U=Debian-exim P=local S=2233")
    assert (found.sender, found.parent, found.parent_kind, found.local) == ("", LONG_ID, "bounced", True)


def test_a_fakereject_is_an_arrival() -> None:
    assert accepted("(= a@b H=x [1.2.3.4] P=esmtp S=1").sender == "a@b"


def test_a_subject_stays_a_subject_whatever_it_says() -> None:
    evil = r"=> x@y R=r T=t C=\"250 OK id=1avnJx-00039F-Hs\" for evil@x"
    found = accepted(f'<= a@b H=x [1.2.3.4] P=esmtp S=1 id=m@x T="{evil}" for c@d')
    assert found.subject == evil.replace("\\", "")
    assert found.recipients == ("c@d",)
    assert found.parent == ""


# --------------------------------------------------------------------------------------------- delivery


def test_a_remote_delivery_with_confirmation() -> None:
    found = attempt(
        "=> abcd@eximtesthost.test.ex <abcd@eximtesthost> R=lookuphost T=send_to_server H=eximtesthost.test.ex "
        '[127.0.0.1]:1224* X=TLS1.2:A:128 CV=no DN="C=US,L=Mountain View,CN=mx" K L C="250 OK id=10HmaY-000000005vi-0000" QT=1s DT=0.5s',
        LONG_ID,
    )
    assert found == Attempt(
        "abcd@eximtesthost.test.ex",
        "abcd@eximtesthost",
        "sent",
        Peer("eximtesthost.test.ex", "127.0.0.1", 1224),
        "send_to_server",
        "250 OK id=10HmaY-000000005vi-0000",
        delay=0.5,
        tls="TLS1.2:A:128",
        flag="=>",
        router="lookuphost",
    )


def test_a_local_delivery_tells_the_local_part_and_the_address() -> None:
    found = attempt("=> gina <gina@gamma.lab.test> R=localuser T=local_maildir")
    assert (found.recipient, found.original, found.local, found.status) == ("gina", "gina@gamma.lab.test", True, "sent")


@pytest.mark.parametrize("transport", ["remote_smtp", "smarthost_smtp"])
def test_a_delivery_that_was_cut_before_its_host_is_not_a_local_one(transport: str) -> None:
    found = attempt(f"=> dora@delta.lab.test R=routed T={transport}")
    assert (found.recipient, found.local, found.relay) == ("dora@delta.lab.test", False, Peer())
    assert not attempt("=> dora@delta.lab.test R=loc").local
    assert attempt("=> dora@delta.lab.test R=local T=local_bsmtp").local


@pytest.mark.parametrize("text", ["=> bella@beta.lab.te", "-> arch", "=> gina <gina@gamma.lab.test>"])
def test_a_delivery_that_was_cut_at_its_address_tells_nothing(text: str) -> None:
    assert read("", f"{ID} {text}") is UNPARSED


def test_aliases_between_stand_in_parentheses_or_brackets() -> None:
    found = attempt("=> final@x (second@x, third@x) <first@x> R=r T=t")
    assert (found.recipient, found.original, found.parents) == ("final@x", "first@x", ("second@x", "third@x"))
    found = attempt("=> final@x <second@x> <first@x> R=r T=t")
    assert (found.original, found.parents) == ("first@x", ("second@x",))


@pytest.mark.parametrize(
    "who, recipient",
    [
        ("|/usr/bin/vacation -a b", "|/usr/bin/vacation -a b"),
        ("/var/mail/some file", "/var/mail/some file"),
        ('"a b"@x', '"a b"@x'),
    ],
)
def test_pipes_files_and_quoted_addresses_may_hold_spaces(who: str, recipient: str) -> None:
    found = attempt(f"=> {who} <u@x> R=userforward T=address_pipe")
    assert (found.recipient, found.original, found.local) == (recipient, "u@x", True)


@pytest.mark.parametrize(
    "flag, status", [("=>", "sent"), ("->", "sent"), (">>", "sent"), ("*>", "deliverable"), ("**", "bounced")]
)
def test_every_flag_has_its_status(flag: str, status: str) -> None:
    found = attempt(f"{flag} a@x R=r T=t H=h [1.2.3.4]")
    assert (found.status, found.flag) == (status, flag)


def test_a_failed_delivery_tells_why() -> None:
    found = attempt(
        "** ronnie@yahoo.com R=dnslookup T=remote_smtp H=mta5.am0.yahoodns.net [67.195.204.72]: SMTP error from remote mail "
        "server after RCPT TO:<ronnie@yahoo.com>: 550 5.1.1 <ronnie@yahoo.com>: User unknown DT=0s"
    )
    assert (found.status, found.relay.ip, found.transport, found.dsn) == (
        "bounced",
        "67.195.204.72",
        "remote_smtp",
        "5.1.1",
    )
    assert found.reply.endswith("User unknown")
    assert found.reply.startswith("SMTP error")


@pytest.mark.parametrize(
    "text, reply",
    [
        ("** a@b: retry timeout exceeded", "retry timeout exceeded"),
        ("** a@b <c@d>: Unrouteable address", "Unrouteable address"),
        ("** a@b P=<x@y> R=r T=remote_smtp: all hosts have been failing DT=0s", "all hosts have been failing"),
    ],
)
def test_a_failure_needs_no_host(text: str, reply: str) -> None:
    found = attempt(text)
    assert (found.recipient, found.status, found.reply, found.relay) == ("a@b", "bounced", reply, Peer())


@pytest.mark.parametrize(
    "text, reply, ip",
    [
        (
            "R=stuck T=remote_smtp defer (-53) DT=0s: retry time not reached for any host",
            "retry time not reached for any host",
            "",
        ),
        ("R=stuck T=remote_smtp defer (111): Connection refused DT=0s", "Connection refused", ""),
        ("routing defer (-51) DT=0s: retry time not reached", "retry time not reached", ""),
        (
            "R=w T=remote_smtp defer (-44) H=ext1 [10.77.0.30] DT=0s: SMTP error from remote mail server: 450 4.2.0 Greylisted",
            "SMTP error from remote mail server: 450 4.2.0 Greylisted",
            "10.77.0.30",
        ),
        ("R=w T=remote_smtp defer (113): No route to host H=dead [10.1.1.1] DT=3s: dead", None, "10.1.1.1"),
        (
            "R=w T=remote_smtp H=ext1 [10.77.0.30] defer (-46): SMTP error: 452 4.3.1 x",
            "SMTP error: 452 4.3.1 x",
            "10.77.0.30",
        ),
    ],
)
def test_a_deferral_tells_why_and_where(text: str, reply: str | None, ip: str) -> None:
    found = attempt(f"== x@stuck.lab.test {text}")
    assert (found.status, found.relay.ip) == ("deferred", ip)
    if reply is not None:
        assert found.reply == reply


def test_a_confirmation_may_hold_quotes_line_ends_and_other_replies() -> None:
    found = attempt(r'=> a@b R=r T=t H=h [1.2.3.4] C="250- \"queued as AAAAAA\"\n250 OK id=1avnJx-00039F-Hs"')
    assert found.reply == r'250- "queued as AAAAAA"\n250 OK id=1avnJx-00039F-Hs'


def test_a_blackholed_message_is_discarded() -> None:
    found = attempt("=> :blackhole: <a@b> R=r")
    assert (found.status, found.recipient) == ("discarded", "a@b")
    assert attempt("=> blackhole (DATA ACL discarded recipients): spam").status == "discarded"


# -------------------------------------------------------------------------------- life of a message


@pytest.mark.parametrize(
    "text, found",
    [
        ("Completed", Removed()),
        ("Completed QT=1m3s", Removed()),
        ("Message is frozen", Action("frozen", "Message is frozen")),
        ("Frozen (delivery error message)", Action("frozen", "Frozen (delivery error message)")),
        ("Unfrozen by forced delivery", Action("unfrozen", "Unfrozen by forced delivery")),
        ("removed by root", Removed("removed by root")),
        ("cancelled by timeout_frozen_after", Removed("cancelled by timeout_frozen_after")),
        (
            "Spool file is locked (another process is handling this message)",
            Note("locked", "Spool file is locked (another process is handling this message)"),
        ),
        ("H=client.lab.test [10.0.0.1] Connection refused",
         Note("smtp", "H=client.lab.test [10.0.0.1] Connection refused", Peer("client.lab.test", "10.0.0.1"))),
        ("no immediate delivery: queued by ACL", Note("queue", "no immediate delivery: queued by ACL")),
    ],
)  # fmt: skip
def test_each_thing_that_happens_to_a_queued_message(text: str, found: Event) -> None:
    assert event(text) == found


# ---------------------------------------------------------------------------------------------- refusals


def refusal(text: str) -> Check:
    made = read("", text)
    assert made is not None
    assert made is not UNPARSED
    assert isinstance(made[1], Check)
    return made[1]


def test_a_refused_recipient_has_no_queue_id() -> None:
    text = "H=([185.143.223.163]) [185.143.223.168] F=<fh@mirdif.com> rejected RCPT <explain@x.se>: Unrouteable address"
    made = read("", text)
    assert made is not None
    assert made[0] == ""
    assert made[1] == Check(
        "reject",
        "RCPT",
        Peer("", "185.143.223.168"),
        "fh@mirdif.com",
        "explain@x.se",
        "[185.143.223.163]",
        text="Unrouteable address",
    )


def test_a_temporary_refusal_defers() -> None:
    found = refusal(
        "H=h (e) [1.2.3.4]:5 I=[5.6.7.8]:25 X=TLS1.3:Y:256 CV=no F=<a@b> temporarily rejected RCPT <c@d>: later"
    )
    assert (found.action, found.sender, found.recipient, found.text) == ("defer", "a@b", "c@d", "later")


@pytest.mark.parametrize(
    "text, stage",
    [
        ("H=h [1.2.3.4] F=<a@b> rejected after DATA: virus", "END-OF-MESSAGE"),
        ("H=h [1.2.3.4] rejected EHLO or HELO x: bad", "EHLO"),
        ('H=[1.2.3.4]:5 rejected connection in "connect" ACL: go away', "CONNECT"),
        ("H=h [1.2.3.4] rejected MAIL <a@b>: no", "MAIL"),
        ("H=h [1.2.3.4] U=x F=<a@b> rejected by local_scan(): no", "by local_scan()"),
    ],
)
def test_every_stage_refuses(text: str, stage: str) -> None:
    assert refusal(text).stage == stage


def test_a_message_refused_after_its_data_keeps_its_id() -> None:
    made = read("", f"{ID} H=h [1.2.3.4] F=<a@b> rejected after DATA: 550 5.7.1 virus")
    assert made is not None
    assert made[0] == ID
    assert isinstance(made[1], Check)
    assert (made[1].action, made[1].code, made[1].dsn) == ("reject", "550", "5.7.1")


def test_a_discarded_recipient() -> None:
    found = refusal("H=h [1.2.3.4] F=<a@b> RCPT <c@d>: discarded by RCPT ACL: spam trap")
    assert (found.action, found.recipient, found.text) == ("discard", "c@d", "spam trap")


@pytest.mark.parametrize(
    "text",
    [
        "Start queue run: pid=18",
        "exim 4.96 daemon started: pid=17, -q4s, listening for SMTP on port 25 (IPv4)",
        "dovecot_login authenticator failed for (User) [192.0.2.37]: 535 Incorrect authentication data (set_id=a@b)",
        "no host name found for IP address 1.2.3.4",
    ],
)
def test_lines_about_no_message_are_passed_over(text: str) -> None:
    assert read("", text) is None


@pytest.mark.parametrize("text", ["=> ", "== a@b R=r", "<=", "utterly unknown", '=> a@b R=r T=t C="250 OK id=1av'])
def test_unknown_lines_are_counted_and_not_guessed(text: str) -> None:
    parser = make_parser()
    assert list(parser.parse(f"2020-02-22 01:01:56 {ID} {text}\n".encode(), 0, "h")) == []
    assert parser.unparsed == 1


def test_what_exim_cut_for_syslog_is_joined_by_its_pid() -> None:
    lines = b"""\
Apr 28 15:53:37 server exim[12105]: [1/2] 2016-04-28 15:53:37 1avnJx-00039F-Hs => a@b R=x T=y H=mx [1.2.3.4] C="250 OK id=1avn
Apr 28 15:53:37 server exim[12106]: 2016-04-28 15:53:37 1avnJy-00039F-Hs Completed
Apr 28 15:53:37 server exim[12105]: [2/2] Jx-00039F-Hs"
"""
    parser = make_parser()
    completed, sent = parser.parse(lines, 0, "h")
    assert completed.event == Removed()
    assert isinstance(sent.event, Attempt)
    assert sent.event.reply == "250 OK id=1avnJx-00039F-Hs"
    assert sent.raw_time == "2016-04-28 15:53:37"
    assert parser.unparsed == 0
