"""What became of each copy: one rule a test."""

# ruff: noqa: E501 - log lines are as long as they are

from __future__ import annotations

import pytest
from stories import entries, hosts, only, put_together, read, rows

from mailtrace.assemble import assemble
from mailtrace.hosts import HostFacts

MBOX = """
2026-11-23T01:04:20.370170+00:00 mailbox2 postfix/smtpd[112]: 5A5972FCB66: client=exim1.lab.test[10.77.0.17]
2026-11-23T01:04:20.370332+00:00 mailbox2 postfix/cleanup[116]: 5A5972FCB66: message-id=<CA+9f7528003d34=d7299d60_w@mail.gmail.example>
2026-11-23T01:04:20.370926+00:00 mailbox2 postfix/qmgr[111]: 5A5972FCB66: from=<paula@planet.lab.test>, size=2155, nrcpt=1 (queue active)
"""
REMOVED = "2026-11-23T01:04:20.374615+00:00 mailbox2 postfix/qmgr[111]: 5A5972FCB66: removed\n"
HEAD = "2026-11-23T01:04:20.374242+00:00 mailbox2 postfix/"


def one(delivery: str, *, removed: bool = True) -> tuple[str, str]:
    """Outcome and reason of a message whose one delivery line this is."""
    found = read(mailbox2=MBOX + HEAD + delivery + "\n" + (REMOVED if removed else ""))
    (row,) = only(found).recipients
    return row.outcome, row.reason


@pytest.mark.parametrize(
    "line",
    [
        "lmtp[117]: 5A5972FCB66: to=<bella@beta.lab.test>, relay=mailbox2.lab.test[private/dovecot-lmtp], delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 <bella@beta.lab.test> KKohFhSRA2t2AAAAr+m3bA Saved)",
        "lmtp[16928]: 5A5972FCB66: to=<user@bluemind.net>, relay=192.168.124.72[192.168.124.72]:2400, delay=0.1, delays=0/0/0/0.1, dsn=2.1.5, status=sent (250 2.1.5 Ok SESSIONID=<cyrus-12823-1488397532-1> [bluemind.net!user.user.INBOX () 2294])",
        "local[250]: 5A5972FCB66: to=<ada@quay.example>, orig_to=<team@quay.example>, relay=local, delay=0.01, delays=0/0/0/0, dsn=2.0.0, status=sent (delivered to maildir)",
        "virtual[250]: 5A5972FCB66: to=<ada@quay.example>, relay=virtual, delay=0.01, delays=0/0/0/0, dsn=2.0.0, status=sent (delivered to maildir)",
        "pipe[302615]: 5A5972FCB66: to=<user01.test@uhu-banane.net>, relay=dovecot, delay=0.12, delays=0.01/0.01/0/0.1, dsn=2.0.0, status=sent (delivered via dovecot service)",
        "local[250]: 5A5972FCB66: to=<desk@quay.example>, relay=local, delay=0.01, delays=0/0/0/0, dsn=2.0.0, status=sent (delivered to command: /usr/bin/ticket)",
    ],
)
def test_what_was_stored_or_given_to_a_program_is_delivered(line: str) -> None:
    assert one(line)[0] == "delivered"


def test_what_a_host_outside_the_fleet_took_is_relayed() -> None:
    line = "smtp[875]: 5A5972FCB66: to=<recipient@recipient.com>, relay=gmail-smtp-in.l.google.com[44.44.44.44]:25, delay=0.99, delays=0.07/0.03/0.12/0.77, dsn=2.0.0, status=sent (250 2.0.0 OK  1646800024 v2-20020adf8b42000000b001e897c2e2d0si580205wra.733 - gsmtp)"
    assert one(line) == (
        "relayed",
        "250 2.0.0 OK  1646800024 v2-20020adf8b42000000b001e897c2e2d0si580205wra.733 - gsmtp",
    )


TO_HUB = "smtp[117]: 5A5972FCB66: to=<in1@fwd.lab.test>, relay=hub.lab.test[10.77.0.15]:25, delay=0.01, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 1D80B9DA856)"


def to_hub(span: dict[str, tuple[float, float]], **facts: HostFacts) -> str:
    """The outcome of a message that a known host took, and of which its log has no line."""
    lines = entries(mailbox2=MBOX + HEAD + TO_HUB + "\n" + REMOVED)
    found = assemble(
        lines, hosts(mailbox2=HostFacts(), **facts), covered=lambda: span, machine="UTC", near=1795500000.0
    )
    (row,) = found.mails[0].recipients
    return row.outcome


SENT = 1795395860.0
HUB = HostFacts(addresses=("10.77.0.15",))


def test_what_an_own_host_took_and_its_log_covers_is_in_transit() -> None:
    assert to_hub({"hub": (SENT - 60, SENT + 60)}, hub=HUB) == "in_transit"


@pytest.mark.parametrize("span", [{}, {"hub": (SENT + 60, SENT + 900)}, {"hub": (SENT - 900, SENT - 60)}])
def test_what_an_own_host_took_whose_log_does_not_cover_that_moment_is_unknown(
    span: dict[str, tuple[float, float]],
) -> None:
    assert to_hub(span, hub=HUB) == "unknown"


def test_what_a_configured_host_outside_took_is_relayed() -> None:
    outside = HostFacts(addresses=("10.77.0.15",), outside=True)
    assert to_hub({"hub": (SENT - 60, SENT + 60)}, hub=outside) == "relayed"


def test_what_a_filter_says_it_discarded_or_blocked_is_not_delivered() -> None:
    outcome, reason = one(
        "lmtp[29327]: 5A5972FCB66: to=<pmgtest@localhost>, relay=127.0.0.1[127.0.0.1]:10023, delay=0.07, delays=0.02/0.01/0.02/0.02, dsn=2.7.0, status=sent (250 2.7.0 BLOCKED (3802E45DFA503808B06))"
    )
    assert outcome not in ("delivered", "relayed"), reason
    outcome, reason = one(
        "smtp[29327]: 5A5972FCB66: to=<pmgtest@localhost>, relay=127.0.0.1[127.0.0.1]:10024, delay=0.07, delays=0.02/0.01/0.02/0.02, dsn=2.7.0, status=sent (250 2.7.0 Ok, discarded, id=00152-01 - INFECTED)"
    )
    assert outcome == "discarded", reason


def test_a_bounce_is_told_in_the_words_of_who_refused() -> None:
    outcome, reason = one(
        "smtp[9890]: 5A5972FCB66: to=<invalid.email@example.com>, relay=mx.example.com[11.22.33.44]:25, delay=1.9, delays=0/0/1.5/0.37, dsn=5.1.1, status=bounced (host mx.example.com[11.22.33.44] said: 550 5.1.1 <invalid.email@example.com> User unknown (in reply to RCPT TO command))"
    )
    assert outcome == "bounced"
    assert (
        reason
        == "host mx.example.com[11.22.33.44] said: 550 5.1.1 <invalid.email@example.com> User unknown (in reply to RCPT TO command)"
    )


def test_a_mailbox_loop_is_a_bounce() -> None:
    line = "pipe[12]: 5A5972FCB66: to=<tom@example.com>, relay=dovecot, delay=0.12, delays=0.03/0/0/0.08, dsn=5.4.6, status=bounced (mail forwarding loop for tom@example.com)"
    assert one(line) == ("bounced", "mail forwarding loop for tom@example.com")


DEFERRED = "smtp[197]: 5A5972FCB66: to=<x5464b@dead.example>, relay=none, delay=6, delays=2.9/0/3.1/0, dsn=4.4.1, status=deferred (connect to mx.dead.example[10.99.0.250]:25: No route to host)"


def test_what_still_waits_is_deferred_with_the_last_reason() -> None:
    assert one(DEFERRED, removed=False) == ("deferred", "connect to mx.dead.example[10.99.0.250]:25: No route to host")


@pytest.mark.parametrize("how", ["expired", "force-expired"])
def test_what_waited_too_long_is_expired_with_the_last_reason(how: str) -> None:
    expired = f"\n2026-11-23T01:04:30.000000+00:00 mailbox2 postfix/qmgr[111]: 5A5972FCB66: from=<paula@planet.lab.test>, status={how}, returned to sender\n"
    found = read(mailbox2=MBOX + HEAD + DEFERRED + expired + REMOVED.replace(":20.", ":30."))
    (row,) = only(found).recipients
    assert (row.outcome, row.reason) == ("expired", "connect to mx.dead.example[10.99.0.250]:25: No route to host")
    assert row.seconds == pytest.approx(9.63, abs=0.01)


def test_exims_retry_timeout_is_expired() -> None:
    found = read(
        exim2="""
        2026-11-23 01:04:29 1xVITt-00000i-1m <= alice@alpha.lab.test H=(client.lab.test) [10.77.0.250] P=esmtp S=1189 id=20269C0EC25C31.07649E@planet.lab.test for x542@dead.lab.test
        2026-11-23 01:04:32 1xVITt-00000i-1m == x542@dead.lab.test R=dead T=remote_smtp defer (113): No route to host H=dead.lab.test [10.77.0.99] DT=3s: dead.lab.test [10.77.0.99]
        2026-11-23 01:04:39 1xVITt-00000i-1m == x542@dead.lab.test R=dead T=remote_smtp defer (-54) DT=0s: retry time not reached for any host for 'dead.lab.test'
        2026-11-23 01:04:47 1xVITt-00000i-1m ** x542@dead.lab.test: retry timeout exceeded
        2026-11-23 01:04:47 1xVITt-00000i-1m Completed
        """
    )
    assert rows(found) == ["x542@dead.lab.test expired exim2:1xVITt-00000i-1m"]


HELD = """
Nov 23 03:42:02 sp1 postfix/smtpd[222]: NOQUEUE: client=mail.partner.example[10.99.0.201]
Nov 23 03:42:02 sp1 postfix/smtpd[221]: NOQUEUE: hold: RCPT from localhost[127.0.0.1]: <hold3@far.example>: Sender address to be looked at; from=<hold3@far.example> to=<eve@quay.example> proto=ESMTP helo=<mx-sp.quay.example>
Nov 23 03:42:02 sp1 postfix/smtpd[221]: E7E3899870B: client=localhost[127.0.0.1], orig_client=mail.partner.example[10.99.0.201]
Nov 23 03:42:02 sp1 postfix/cleanup[226]: E7E3899870B: message-id=<AM0PR0D2896AF35F03AC36@AM0PR01MB1234.eurprd01.prod.outlook.example>
Nov 23 03:42:02 sp1 postfix/smtpd[222]: proxy-accept: END-OF-MESSAGE: 250 2.0.0 Ok: queued as E7E3899870B; from=<hold3@far.example> to=<eve@quay.example> proto=ESMTP helo=<mail.partner.example>
"""


def test_what_an_access_table_put_on_hold_is_held() -> None:
    assert rows(read(sp1=HELD)) == ["eve@quay.example held sp1:E7E3899870B"]


def test_what_is_deleted_from_hold_is_discarded() -> None:
    deleted = HELD + "Nov 23 03:42:06 sp1 postfix/postsuper[238]: E7E3899870B: removed\n"
    assert rows(read(sp1=deleted)) == ["eve@quay.example discarded sp1:E7E3899870B"]


def test_what_is_released_from_hold_waits_again_and_is_then_sent() -> None:
    released = HELD + "Nov 23 03:42:06 sp1 postfix/postsuper[232]: E7E3899870B: released from hold\n"
    assert rows(read(sp1=released)) == ["eve@quay.example deferred sp1:E7E3899870B"]
    sent = (
        released
        + "Nov 23 03:42:09 sp1 postfix/smtp[231]: E7E3899870B: to=<eve@quay.example>, relay=washer.quay.example[10.99.0.13]:25, delay=36, delays=36/0/0.01/0.01, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 15D1299872C)\n"
    )
    assert rows(read(sp1=sent)) == ["eve@quay.example relayed sp1:E7E3899870B"]


def test_what_an_administrator_put_on_hold_is_held_until_it_is_released() -> None:
    hold = MBOX + "2026-11-23T01:05:00.000000+00:00 mailbox2 postfix/postsuper[232]: 5A5972FCB66: placed on hold\n"
    deferred = MBOX + HEAD + DEFERRED + "\n" + hold.removeprefix(MBOX)
    assert [row.split()[1] for row in rows(read(mailbox2=deferred))] == ["held"]
    released = (
        deferred + "2026-11-23T01:06:00.000000+00:00 mailbox2 postfix/postsuper[232]: 5A5972FCB66: released from hold\n"
    )
    assert [row.split()[1] for row in rows(read(mailbox2=released))] == ["deferred"]


def test_what_is_deleted_while_it_was_deferred_is_discarded_and_no_longer_deferred() -> None:
    gone = "2026-11-23T01:09:00.000000+00:00 mailbox2 postfix/postsuper[232]: 5A5972FCB66: removed\n"
    found = read(mailbox2=MBOX + HEAD + DEFERRED + "\n" + gone)
    assert [row.split()[1] for row in rows(found)] == ["discarded"]
    [row] = found.mails[0].recipients
    assert row.reason.startswith("deleted; deferred before: ")


def test_what_a_header_check_discards_is_discarded_with_its_words() -> None:
    found = read(
        sp1="""
        Nov 23 03:41:27 sp1 postfix/smtpd[200]: F299F9984AE: client=localhost[127.0.0.1], orig_client=unknown[10.99.0.203]
        Nov 23 03:41:27 sp1 postfix/cleanup[201]: F299F9984AE: discard: header X-Lab-Action: discard from unknown[10.99.0.203]; from=<very.common@isle.example> to=<u08@reef.example> proto=ESMTP helo=<WIN-7F3K2>: unwanted
        Nov 23 03:41:27 sp1 postfix/smtpd[196]: proxy-accept: END-OF-MESSAGE: 250 2.0.0 Ok: queued as F299F9984AE; from=<very.common@isle.example> to=<u08@reef.example> proto=ESMTP helo=<WIN-7F3K2>
        """
    )
    assert rows(found) == ["u08@reef.example discarded sp1:F299F9984AE"]
    assert only(found).recipients[0].reason == "unwanted"


def test_a_message_that_is_gone_without_a_line_is_unknown() -> None:
    # The hop before handed the recipient on; its delivery line here is lost.
    before = """
    2026-11-23 01:04:20 1xVITk-00000b-19 <= paula@planet.lab.test H=(relay1.lab.test) [10.77.0.14] P=esmtp S=1931 id=CA+9f7528003d34=d7299d60_w@mail.gmail.example
    2026-11-23 01:04:20 1xVITk-00000b-19 => bella@beta.lab.test <roam2@gamma.lab.test> R=delta_out T=remote_smtp H=mailbox2.lab.test [10.77.0.16] K C="250 2.0.0 Ok: 1968 bytes queued as 5A5972FCB66"
    """
    found = read(exim1=before, mailbox2=MBOX + REMOVED)
    assert rows(found) == ["bella@beta.lab.test unknown exim1:1xVITk-00000b-19 mailbox2:5A5972FCB66"]
    found = read(exim1=before, mailbox2=MBOX)
    assert rows(found) == ["bella@beta.lab.test deferred exim1:1xVITk-00000b-19 mailbox2:5A5972FCB66"]


def test_a_local_part_is_told_in_full_where_the_line_has_the_address() -> None:
    # Exim logs a local delivery by its local part.
    found = read(
        exim1="""
        2026-11-23 01:04:20 1xVITk-00000b-19 <= paula@planet.lab.test H=(relay1.lab.test) [10.77.0.14] P=esmtp S=1931 id=CA+9f7528003d34=d7299d60_w@mail.gmail.example
        2026-11-23 01:04:20 1xVITk-00000b-19 => greta <greta@gamma.lab.test> R=localuser T=maildir
        2026-11-23 01:04:20 1xVITk-00000b-19 => gerd <team+x@gamma.lab.test> R=localuser T=maildir
        2026-11-23 01:04:20 1xVITk-00000b-19 Completed
        """
    )
    assert sorted((row.recipient, row.original_recipient) for row in only(found).recipients) == [
        ("gerd", "team+x@gamma.lab.test"),
        ("greta@gamma.lab.test", "greta@gamma.lab.test"),
    ]


def test_a_recipient_twice_through_an_alias_is_two_copies() -> None:
    line = "lmtp[117]: 5A5972FCB66: to=<bella@beta.lab.test>, orig_to=<{}@beta.lab.test>, relay=mailbox2.lab.test[private/dovecot-lmtp], delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 <bella@beta.lab.test> KKohFhSRA2t2AAAAr+m3bA{} Saved)\n"
    found = read(mailbox2=MBOX + HEAD + line.format("info", "") + HEAD + line.format("team", ":R2") + REMOVED)
    assert sorted(row.original_recipient for row in only(found).recipients) == [
        "info@beta.lab.test",
        "team@beta.lab.test",
    ]


def test_an_address_probe_is_no_delivery() -> None:
    probe = "smtp[875]: 5A5972FCB66: to=<bella@beta.lab.test>, relay=mx.example.com[11.22.33.44]:25, delay=0.1, delays=0/0/0/0.1, dsn=2.1.5, status=deliverable (250 2.1.5 Ok)\n"
    found = read(mailbox2=MBOX + HEAD + probe + REMOVED)
    assert [row.recipient for row in only(found).recipients if row.outcome in ("delivered", "relayed")] == []


def test_the_time_it_took_counts_from_the_first_own_acceptance() -> None:
    found = read(mailbox2=MBOX + HEAD + TO_HUB + "\n")
    assert only(found).recipients[0].seconds == pytest.approx(0.004072, abs=1e-5)


def test_hostile_text_in_a_reply_makes_no_link_and_stays_text() -> None:
    line = "smtp[875]: 5A5972FCB66: to=<bella@beta.lab.test>, relay=mx.example.com[11.22.33.44]:25, delay=0.1, delays=0/0/0/0.1, dsn=5.0.0, status=bounced (host mx.example.com[11.22.33.44] said: 550 status=sent (250 2.0.0 Ok: queued as 5A5972FCB66) (in reply to RCPT TO command))"
    outcome, reason = one(line)
    assert outcome == "bounced"
    assert "queued as 5A5972FCB66" in reason


def test_the_weakest_link_on_the_way_tells_how_sure_a_row_is() -> None:
    found = put_together(
        entries(
            filter2="""
            Nov  2 15:29:48 filter2.lab.test postfix/smtpd[145]: 1E4E29DA855: client=hub.lab.test[10.77.0.15]
            Nov  2 15:29:48 filter2.lab.test postfix/cleanup[280]: 1E4E29DA855: message-id=<CA+421c0e8175f5=bd11ba44_w@mail.gmail.example>
            Nov  2 15:29:48 filter2.lab.test postfix/qmgr[107]: 1E4E29DA855: from=<wendy@world.lab.test>, size=2769, nrcpt=1 (queue active)
            Nov  2 15:29:48 filter2.lab.test postfix/smtp[112]: 1E4E29DA855: to=<in1@fwd.lab.test>, relay=127.0.0.1[127.0.0.1]:10025, delay=0.05, delays=0/0/0/0.04, dsn=2.0.0, status=sent (250 OK)
            Nov  2 15:29:48 filter2.lab.test postfix/reinject/smtpd[115]: 1D80B9DA856: client=localhost[127.0.0.1]
            Nov  2 15:29:48 filter2.lab.test postfix/cleanup[280]: 1D80B9DA856: message-id=<CA+421c0e8175f5=bd11ba44_w@mail.gmail.example>
            Nov  2 15:29:48 filter2.lab.test postfix/qmgr[107]: 1D80B9DA856: from=<wendy@world.lab.test>, size=2941, nrcpt=1 (queue active)
            Nov  2 15:29:48 filter2.lab.test postfix/smtp[117]: 1D80B9DA856: to=<in1@fwd.lab.test>, relay=hub-out.lab.test[10.77.0.16]:25, delay=0.02, delays=0.01/0.01/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4czzDD2Lw3z1VsPG)
            """
        )
    )
    assert [row.certainty.value for row in only(found).recipients] == ["likely"]


def test_where_a_cut_line_does_not_say_where_it_went_nobody_knows() -> None:
    log = """
    2026-11-28 20:02:57 1xXOdN-000016-2K <= wolf@world.lab.test H=relay1.lab.test [10.77.0.14] P=esmtp S=1402 id=a@x.example
    2026-11-28 20:02:57 1xXOdN-000016-2K => dora@delta.lab.test R=routed T=remote_smtp H=mailb
    2026-11-28 20:02:57 1xXOdN-000016-2K Completed
    """
    assert rows(read(exim1=log)) == ["dora@delta.lab.test unknown exim1:1xXOdN-000016-2K"]
