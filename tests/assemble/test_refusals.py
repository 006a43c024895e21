"""What was turned away: whose attempt it was, which mail it belongs to, or a mail of its own."""

# ruff: noqa: E501 - log lines are as long as they are

from __future__ import annotations

from stories import only, read, rows

EXT1 = """
2026-11-23T01:04:15.585962+00:00 ext1 postfix/smtpd[108]: 8F0A22FCB3F: client=client.lab.test[10.77.0.250]
2026-11-23T01:04:15.586339+00:00 ext1 postfix/cleanup[112]: 8F0A22FCB3F: message-id=<202645CC4B59AC.878E42@planet.lab.test>
2026-11-23T01:04:15.586819+00:00 ext1 postfix/qmgr[107]: 8F0A22FCB3F: from=<wolf@world.lab.test>, size=1847, nrcpt=1 (queue active)
2026-11-23T01:04:15.588613+00:00 ext1 postfix/smtp[113]: 8F0A22FCB3F: to=<ben+gle81af7@beta.lab.test>, relay=mx2.lab.test[10.77.0.12]:25, delay=0, delays=0/0/0/0, dsn=4.2.0, status=deferred (host mx2.lab.test[10.77.0.12] said: 450 4.2.0 <ben+gle81af7@beta.lab.test>: Recipient address rejected: Greylisted, please try again later (in reply to RCPT TO command))
2026-11-23T01:04:19.087772+00:00 ext1 postfix/qmgr[107]: 8F0A22FCB3F: from=<wolf@world.lab.test>, size=1847, nrcpt=1 (queue active)
2026-11-23T01:04:19.100688+00:00 ext1 postfix/smtp[113]: 8F0A22FCB3F: to=<ben+gle81af7@beta.lab.test>, relay=mx2.lab.test[10.77.0.12]:25, delay=3.5, delays=3.5/0/0.01/0, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4jXnlR0hnkzRbDl)
2026-11-23T01:04:19.101168+00:00 ext1 postfix/qmgr[107]: 8F0A22FCB3F: removed
"""
MX2 = """
Nov 23 01:04:15 mx2 postfix/smtpd[107]: NOQUEUE: reject: RCPT from ext1.lab.test[10.77.0.30]: 450 4.2.0 <ben+gle81af7@beta.lab.test>: Recipient address rejected: Greylisted, please try again later; from=<wolf@world.lab.test> to=<ben+gle81af7@beta.lab.test> proto=ESMTP helo=<ext1.lab.test>
Nov 23 01:04:19 mx2 postfix/smtpd[107]: 4jXnlR0hnkzRbDl: client=ext1.lab.test[10.77.0.30]
Nov 23 01:04:19 mx2 postfix/cleanup[112]: 4jXnlR0hnkzRbDl: message-id=<202645CC4B59AC.878E42@planet.lab.test>
Nov 23 01:04:19 mx2 postfix/qmgr[106]: 4jXnlR0hnkzRbDl: from=<wolf@world.lab.test>, size=2038, nrcpt=1 (queue active)
Nov 23 01:04:19 mx2 postfix/relay/smtp[115]: 4jXnlR0hnkzRbDl: to=<ben+gle81af7@beta.lab.test>, relay=filter1.lab.test[10.77.0.13]:25, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 18F042FCB3F)
Nov 23 01:04:19 mx2 postfix/qmgr[106]: 4jXnlR0hnkzRbDl: removed
"""


def test_a_refusal_of_one_own_host_by_another_is_the_far_end_of_its_attempt() -> None:
    found = read(ext1=EXT1, mx2=MX2)
    assert rows(found) == ["ben+gle81af7@beta.lab.test relayed ext1:8F0A22FCB3F mx2:4jXnlR0hnkzRbDl"]
    assert only(found).recipients[0].attempts == 2


def test_greylisting_of_a_stranger_is_an_earlier_attempt_of_the_mail_that_came_later() -> None:
    found = read(mx2=MX2)
    assert rows(found) == ["ben+gle81af7@beta.lab.test relayed mx2:4jXnlR0hnkzRbDl"]
    assert only(found).recipients[0].attempts == 2
    assert only(found).first == 1795395855.0  # the refused attempt, four seconds before the acceptance


def test_greylisting_that_nobody_came_back_from_is_a_mail_that_was_rejected() -> None:
    (mail,) = read(mx2=MX2.strip().split("\n")[0]).mails
    (row,) = mail.recipients
    assert (row.recipient, row.outcome, row.path) == ("ben+gle81af7@beta.lab.test", "rejected", ())
    assert row.reason.startswith("450 4.2.0 ")
    assert mail.sender == "wolf@world.lab.test"


def test_greylisting_of_another_sender_is_another_mail() -> None:
    log = MX2.replace("from=<wolf@world.lab.test> to", "from=<other@world.lab.test> to")
    assert rows(read(mx2=log)) == [
        "ben+gle81af7@beta.lab.test rejected",
        "ben+gle81af7@beta.lab.test relayed mx2:4jXnlR0hnkzRbDl",
    ]


PART = """
2026-11-23T07:41:44.492000+01:00 osl1 postfix/smtpd[196]: 4jXxDm3TpNz1SqC6: client=unknown[10.99.0.203]
2026-11-23T07:41:44.492932+01:00 osl1 postfix/smtpd[196]: 4jXxDm3TpNz1SqC6: reject: RCPT from unknown[10.99.0.203]: 550 5.1.1 <nosuchbeea0@reef.example>: Recipient address rejected: User unknown in relay recipient table; from=<greta@isle.example> to=<nosuchbeea0@reef.example> proto=ESMTP helo=<WIN-7F3K2>
2026-11-23T07:41:44.496000+01:00 osl1 postfix/cleanup[206]: 4jXxDm3TpNz1SqC6: message-id=<b413a370.176f5767.JavaMail.root@app-b4>
2026-11-23T07:41:44.497000+01:00 osl1 postfix/qmgr[195]: 4jXxDm3TpNz1SqC6: from=<greta@isle.example>, size=1369, nrcpt=1 (queue active)
2026-11-23T07:41:44.500000+01:00 osl1 postfix/smtp[205]: 4jXxDm3TpNz1SqC6: to=<vic@dune.example>, relay=core-in.quay.example[10.99.0.14]:25, delay=0.01, delays=0/0/0/0.01, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 7A4DF9985B4)
2026-11-23T07:41:44.501000+01:00 osl1 postfix/qmgr[195]: 4jXxDm3TpNz1SqC6: removed
"""


def test_a_recipient_refused_after_another_was_taken_is_a_row_of_that_mail() -> None:
    found = read(osl1=PART)
    assert rows(found) == ["nosuchbeea0@reef.example rejected", "vic@dune.example relayed osl1:4jXxDm3TpNz1SqC6"]
    refused = next(row for row in only(found).recipients if row.outcome == "rejected")
    assert refused.path == ()
    assert refused.reason.startswith("550 5.1.1 <nosuchbeea0@reef.example>: Recipient address rejected")


def test_a_recipient_refused_before_another_was_taken_is_a_row_of_that_mail() -> None:
    log = PART.strip().split("\n")
    refusal = log.pop(1).replace("4jXxDm3TpNz1SqC6:", "NOQUEUE:").replace("44.492932", "44.491000")
    found = read(osl1="\n".join([refusal, *log]))
    assert rows(found) == ["nosuchbeea0@reef.example rejected", "vic@dune.example relayed osl1:4jXxDm3TpNz1SqC6"]
    assert len(found.mails) == 1


def test_a_refusal_in_another_session_is_a_mail_of_its_own() -> None:
    log = PART.strip().split("\n")
    refusal = log.pop(1).replace("4jXxDm3TpNz1SqC6:", "NOQUEUE:").replace("44.492932", "44.491000")
    found = read(osl1="\n".join([refusal.replace("smtpd[196]", "smtpd[197]"), *log]))
    assert len(found.mails) == 2


def test_a_refusal_of_the_same_client_that_went_away_and_came_anew_is_a_mail_of_its_own() -> None:
    # One smtpd process, one client, one sender; five seconds and a `disconnect` lie between the two mails.
    found = read(
        mx1="""
        2026-11-23T01:04:32.656790+00:00 mx1 postfix/smtpd[106]: NOQUEUE: reject: RCPT from client.lab.test[10.77.0.250]: 554 5.7.1 <userf658@elsewhere.example>: Relay access denied; from=<petra@planet.lab.test> to=<userf658@elsewhere.example> proto=ESMTP helo=<client.lab.test>
        2026-11-23T01:04:32.656989+00:00 mx1 postfix/smtpd[106]: disconnect from client.lab.test[10.77.0.250] ehlo=1 mail=1 rcpt=0/1 rset=1 quit=1 commands=4/5
        2026-11-23T01:04:37.620776+00:00 mx1 postfix/smtpd[106]: 9786C2B298B: client=client.lab.test[10.77.0.250]
        2026-11-23T01:04:37.621937+00:00 mx1 postfix/qmgr[105]: 9786C2B298B: from=<petra@planet.lab.test>, size=653, nrcpt=1 (queue active)
        """
    )
    assert [[row.recipient for row in mail.recipients] for mail in found.mails] == [["userf658@elsewhere.example"], []]


def test_recipients_refused_one_after_the_other_belong_to_the_one_that_was_taken_in_the_end() -> None:
    line = "2026-11-23T07:41:{:02}.492932+01:00 osl1 postfix/smtpd[196]: NOQUEUE: reject: RCPT from unknown[10.99.0.203]: 550 5.1.1 <no{}@reef.example>: Recipient address rejected: User unknown in relay recipient table; from=<greta@isle.example> to=<no{}@reef.example> proto=ESMTP helo=<WIN-7F3K2>"
    taken = [row for row in PART.strip().split("\n") if "reject:" not in row]
    refused = [line.format(second, second, second) for second in (34, 36, 38, 40, 42)]
    assert len(only(read(osl1="\n".join([*refused, *taken]))).recipients) == 6


def test_recipients_refused_in_one_transaction_are_one_mail() -> None:
    found = read(
        mx="""
        2026-11-23T07:41:44.492932+01:00 mx postfix/smtpd[196]: NOQUEUE: reject: RCPT from unknown[10.99.0.203]: 550 5.1.1 <nosuchbeea0@reef.example>: Recipient address rejected: User unknown in relay recipient table; from=<greta@isle.example> to=<nosuchbeea0@reef.example> proto=ESMTP helo=<WIN-7F3K2>
        2026-11-23T07:41:44.592932+01:00 mx postfix/smtpd[196]: NOQUEUE: reject: RCPT from unknown[10.99.0.203]: 550 5.1.1 <nosuchdf729@reef.example>: Recipient address rejected: User unknown in relay recipient table; from=<greta@isle.example> to=<nosuchdf729@reef.example> proto=ESMTP helo=<WIN-7F3K2>
        """
    )
    assert [row.recipient for row in only(found).recipients] == ["nosuchbeea0@reef.example", "nosuchdf729@reef.example"]
    assert only(found).hops == []


def test_the_same_refusal_in_the_same_session_is_the_next_attempt() -> None:
    line = "2026-11-23T07:41:44.492932+01:00 mx postfix/smtpd[196]: NOQUEUE: reject: RCPT from unknown[10.99.0.203]: 550 5.1.1 <nosuchbeea0@reef.example>: Recipient address rejected: User unknown in relay recipient table; from=<greta@isle.example> to=<nosuchbeea0@reef.example> proto=ESMTP helo=<WIN-7F3K2>"
    (row,) = only(read(mx=f"{line}\n{line.replace('44.49', '44.59')}")).recipients
    assert row.attempts == 2


def test_what_a_content_check_refuses_after_the_data_is_rejected() -> None:
    found = read(
        mx="""
        Nov 23 01:04:15 mx postfix/smtpd[107]: 4104E3D: client=061238241086.static.ctinets.com[61.238.241.86]
        Nov 23 01:04:15 mx postfix/cleanup[112]: 4104E3D: message-id=<202645CC4B59AC.878E42@planet.lab.test>
        Nov 23 01:04:15 mx postfix/cleanup[112]: 4104E3D: milter-reject: END-OF-MESSAGE from 061238241086.static.ctinets.com[61.238.241.86]: 5.7.1 Blocked by SpamAssassin; from=<wumt5@cchfdc.com> to=<voorzitter@example.com> proto=ESMTP helo=<ecsolved.com>
        """
    )
    assert [row.split()[:2] for row in rows(found)] == [["voorzitter@example.com", "rejected"]]
    assert only(found).recipients[0].reason == "5.7.1 Blocked by SpamAssassin"


def test_a_header_check_refuses_with_its_own_words() -> None:
    found = read(
        mx1="""
        Nov 23 01:04:15 mx1 postfix/smtpd[107]: 9786C2B298B: client=client.lab.test[10.77.0.250]
        Nov 23 01:04:15 mx1 postfix/cleanup[112]: 9786C2B298B: reject: header Subject: viagra from client.lab.test[10.77.0.250]; from=<petra@planet.lab.test> to=<anna@alpha.lab.test> proto=ESMTP helo=<client.lab.test>: 5.7.1 Forbidden subject
        """
    )
    assert rows(found) == ["anna@alpha.lab.test rejected"]


PROXY = """
Nov 23 03:41:57 sp1 postfix/smtpd[216]: NOQUEUE: client=unknown[10.99.0.203]
Nov 23 03:41:57 sp1 postfix/smtpd[221]: 612309986C7: client=localhost[127.0.0.1], orig_client=unknown[10.99.0.203]
Nov 23 03:41:57 sp1 postfix/smtpd[216]: proxy-reject: END-OF-MESSAGE: 550 5.7.1 Message content rejected, id=00152-01 - SPAM; from=<inga@isle.example> to=<nan@arctic.example> proto=ESMTP helo=<WIN-7F3K2>
Nov 23 03:41:57 sp1 postfix/smtpd[221]: lost connection after DATA (0 bytes) from localhost[127.0.0.1]
"""


def test_what_a_filter_before_the_queue_refused_is_rejected_and_nobody_is_said_to_have_got_it() -> None:
    found = read(sp1=PROXY)
    assert rows(found) == ["nan@arctic.example rejected"]
    assert found.mails[-1].recipients[0].reason == "550 5.7.1 Message content rejected, id=00152-01 - SPAM"


def test_postscreens_refusal_is_a_mail_that_was_rejected() -> None:
    found = read(
        helga="""
        2023-03-14T00:26:51.985219+01:00 helga postfix/postscreen[3163107]: NOQUEUE: reject: RCPT from [185.246.220.193]:62795: 550 5.7.1 Service unavailable; client [185.246.220.193] blocked using zen.spamhaus.org; from=<ripe@uhu-banane.de>, to=<someone@hotmail.com>, proto=ESMTP, helo=<mail.example>
        """
    )
    assert rows(found) == ["someone@hotmail.com rejected"]


def test_exims_refusal_is_a_mail_that_was_rejected() -> None:
    found = read(
        exim="""
        2020-02-22 00:48:43 H=([185.143.223.163]) [185.143.223.168] F=<fhlon4qcwjl2f1m@mirdifphysiorehab.com> rejected RCPT <explain@dissonantia.se>: Unrouteable address
        """
    )
    assert rows(found) == ["explain@dissonantia.se rejected"]
    assert only(found).recipients[0].reason == "Unrouteable address"


def test_a_check_that_refuses_nothing_makes_no_mail() -> None:
    found = read(
        mx="""
        Nov 23 01:04:15 mx postfix/smtpd[107]: NOQUEUE: filter: RCPT from unknown[85.25.255.255]: <mail@sender.com>: Sender address triggers FILTER smtp-amavis:[127.0.0.1]:10024; from=<mail@sender.com> to=<user@domain.com> proto=ESMTP helo=<plutoapp.biz>
        """
    )
    assert found.mails == []
