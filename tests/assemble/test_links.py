"""Which stay follows which, by what evidence, and how sure that is."""

# ruff: noqa: E501 - log lines are as long as they are

from __future__ import annotations

import pytest
from stories import entries, evidence, links, only, put_together, read, rows

from mailtrace.assemble.skew import solve

# One mail through two hosts that share their inodes: 1D80B9DA856 is a queue ID of hub and, at the same time, of filter2.
AMAVIS1 = """
Nov  2 15:29:48 amavis1 postfix/smtpd[141]: 1CD7A9DA855: client=localhost[127.0.0.1], orig_queue_id=0D0A69DA857, orig_client=mx.east.lab.test[10.77.0.11]
Nov  2 15:29:48 amavis1 postfix/cleanup[149]: 1CD7A9DA855: message-id=<CA+421c0e8175f5=bd11ba44_w@mail.gmail.example>
Nov  2 15:29:48 amavis1 postfix/qmgr[124]: 1CD7A9DA855: from=<wendy@world.lab.test>, size=2407, nrcpt=1 (queue active)
Nov  2 15:29:48 amavis1 postfix/relay/smtp[214]: 1CD7A9DA855: to=<in1@fwd.lab.test>, relay=hub.lab.test[10.77.0.15]:25, delay=0.01, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 1D80B9DA856)
Nov  2 15:29:48 amavis1 postfix/qmgr[124]: 1CD7A9DA855: removed
"""
BEFORE_AMAVIS = """
Nov  2 15:29:48 amavis1 postfix/smtpd[125]: 0D0A69DA857: client=mx.east.lab.test[10.77.0.11]
Nov  2 15:29:48 amavis1 postfix/cleanup[129]: 0D0A69DA857: message-id=<CA+421c0e8175f5=bd11ba44_w@mail.gmail.example>
Nov  2 15:29:48 amavis1 postfix/qmgr[124]: 0D0A69DA857: from=<wendy@world.lab.test>, size=2030, nrcpt=1 (queue active)
Nov  2 15:29:48 amavis1 postfix/qmgr[124]: 0D0A69DA857: removed
"""
HUB = """
Nov  2 15:29:48 hub postfix-in/smtpd[142]: 1D80B9DA856: client=amavis1.lab.test[10.77.0.13]
Nov  2 15:29:48 hub postfix-in/cleanup[224]: 1D80B9DA856: message-id=<CA+421c0e8175f5=bd11ba44_w@mail.gmail.example>
Nov  2 15:29:48 hub postfix-in/qmgr[109]: 1D80B9DA856: from=<wendy@world.lab.test>, size=2590, nrcpt=1 (queue active)
Nov  2 15:29:48 hub postfix-in/smtp[208]: 1D80B9DA856: to=<in1@fwd.lab.test>, relay=filter2.lab.test[10.77.0.14]:25, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 1E4E29DA855)
Nov  2 15:29:48 hub postfix-in/qmgr[109]: 1D80B9DA856: removed
"""
FILTER2 = """
Nov  2 15:29:48 filter2.lab.test postfix/smtpd[145]: 1E4E29DA855: client=hub.lab.test[10.77.0.15]
Nov  2 15:29:48 filter2.lab.test postfix/cleanup[280]: 1E4E29DA855: message-id=<CA+421c0e8175f5=bd11ba44_w@mail.gmail.example>
Nov  2 15:29:48 filter2.lab.test postfix/qmgr[107]: 1E4E29DA855: from=<wendy@world.lab.test>, size=2769, nrcpt=1 (queue active)
Nov  2 15:29:48 filter2.lab.test postfix/smtp[112]: 1E4E29DA855: to=<in1@fwd.lab.test>, relay=127.0.0.1[127.0.0.1]:10025, delay=0.05, delays=0/0/0/0.04, dsn=2.0.0, status=sent (250 OK)
Nov  2 15:29:48 filter2.lab.test postfix/qmgr[107]: 1E4E29DA855: removed
Nov  2 15:29:48 filter2.lab.test postfix/reinject/smtpd[115]: 1D80B9DA856: client=localhost[127.0.0.1]
Nov  2 15:29:48 filter2.lab.test postfix/cleanup[280]: 1D80B9DA856: message-id=<CA+421c0e8175f5=bd11ba44_w@mail.gmail.example>
Nov  2 15:29:48 filter2.lab.test postfix/qmgr[107]: 1D80B9DA856: from=<wendy@world.lab.test>, size=2941, nrcpt=1 (queue active)
Nov  2 15:29:48 filter2.lab.test postfix/smtp[117]: 1D80B9DA856: to=<in1@fwd.lab.test>, relay=hub-out.lab.test[10.77.0.16]:25, delay=0.02, delays=0.01/0.01/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4czzDD2Lw3z1VsPG)
Nov  2 15:29:48 filter2.lab.test postfix/qmgr[107]: 1D80B9DA856: removed
"""


def test_a_short_id_that_two_hosts_have_at_once_leads_to_the_right_one() -> None:
    found = read(amavis1=AMAVIS1, hub=HUB, filter2=FILTER2)
    assert rows(found) == [
        "in1@fwd.lab.test relayed amavis1:1CD7A9DA855 hub:1D80B9DA856 filter2:1E4E29DA855 filter2:1D80B9DA856"
    ]
    assert "amavis1:1CD7A9DA855 relayed hub:1D80B9DA856 proven" in links(found)
    assert evidence(found, "1E4E29DA855")[:2] == ["reply-id", "message-id"]


def test_a_filter_whose_reply_names_no_id_is_followed_by_what_it_brought_back() -> None:
    found = read(filter2=FILTER2)
    assert links(found) == ["filter2:1E4E29DA855 reinjected filter2:1D80B9DA856 likely"]
    assert evidence(found, "1D80B9DA856") == ["message-id", "recipient", "client"]


def test_a_message_id_that_a_cut_line_broke_off_contradicts_nothing() -> None:
    cut = HUB.replace("message-id=<CA+421c0e8175f5=bd11ba44_w@mail.gmail.example>", "message-id=<CA+421c0e8175f5=bd")
    found = read(amavis1=AMAVIS1, hub=cut, filter2=FILTER2)
    assert rows(found) == [
        "in1@fwd.lab.test relayed amavis1:1CD7A9DA855 hub:1D80B9DA856 filter2:1E4E29DA855 filter2:1D80B9DA856"
    ]
    mail = only(read(hub=cut, filter2=FILTER2))
    assert mail.message_id == "CA+421c0e8175f5=bd11ba44_w@mail.gmail.example"


def test_nothing_is_linked_against_a_message_id_that_differs() -> None:
    other = FILTER2.replace("CA+421c0e8175f5", "CA+000000000000")
    found = read(amavis1=AMAVIS1, hub=HUB, filter2=other)
    assert "in1@fwd.lab.test in_transit amavis1:1CD7A9DA855 hub:1D80B9DA856" in [
        row.replace("unknown", "in_transit") for row in rows(found)
    ]


def test_two_messages_of_one_message_id_behind_a_filter_are_kept_apart_by_their_recipients() -> None:
    again = FILTER2.replace("1E4E29DA855", "2E4E29DA855").replace("1D80B9DA856", "2D80B9DA856").replace("in1@", "in2@")
    found = read(filter2=FILTER2 + again.lstrip("\n"))
    assert links(found) == [
        "filter2:1E4E29DA855 reinjected filter2:1D80B9DA856 likely",
        "filter2:2E4E29DA855 reinjected filter2:2D80B9DA856 likely",
    ]


def test_two_equal_candidates_are_both_shown_and_none_is_chosen() -> None:
    # The same message twice through the filter at once: same Message-ID, sender, recipient and size.
    again = FILTER2.replace("1E4E29DA855", "2E4E29DA855").replace("1D80B9DA856", "2D80B9DA856")
    found = read(filter2=FILTER2 + again.lstrip("\n"))
    assert links(found) == [
        f"filter2:{before} reinjected filter2:{after} ambiguous"
        for before in ("1E4E29DA855", "2E4E29DA855")
        for after in ("1D80B9DA856", "2D80B9DA856")
    ]
    assert {row.recipient for mail in found.mails for row in mail.recipients} == {"in1@fwd.lab.test"}
    assert all(len(row.path) == 1 for mail in found.mails for row in mail.recipients)
    # The log has what became of them, so that neither is in transit.
    assert sorted(row.outcome for mail in found.mails for row in mail.recipients) == ["relayed"] * 2 + ["unknown"] * 2


def test_a_filters_two_messages_are_told_apart_by_size_where_the_usual_growth_is_known() -> None:
    # 172 bytes is what the filter adds (2769 → 2941); the other message is larger by 1000.
    again = (
        FILTER2.replace("1E4E29DA855", "2E4E29DA855")
        .replace("1D80B9DA856", "2D80B9DA856")
        .replace("=2769", "=3769")
        .replace("=2941", "=3941")
    )
    known = (
        FILTER2.replace("1E4E29DA855", "3E4E29DA855").replace("1D80B9DA856", "3D80B9DA856").replace("421c0e", "000000")
    )
    found = read(filter2=FILTER2 + again.lstrip("\n") + known.lstrip("\n"))
    assert [link for link in links(found) if "3E4" not in link] == [
        "filter2:1E4E29DA855 reinjected filter2:1D80B9DA856 likely",
        "filter2:2E4E29DA855 reinjected filter2:2D80B9DA856 likely",
    ]


def test_xforward_names_the_queue_id_before_the_filter() -> None:
    # The filter's own delivery line is lost: only orig_queue_id tells.
    found = read(amavis1=BEFORE_AMAVIS + AMAVIS1.lstrip("\n"))
    assert "amavis1:0D0A69DA857 reinjected amavis1:1CD7A9DA855 proven" in links(found)
    assert evidence(found, "1CD7A9DA855") == ["xforward"]


def test_amavis_own_line_names_the_queue_ids_on_both_sides() -> None:
    # https://github.com/lightmeter/controlcenter, 1_bounce_simple.log; the reply is cut to one that names no ID.
    found = read(
        mail="""
        Jun  3 10:40:57 mail postfix/submission/smtpd[9708]: 4AA091855DA0: client=some.domain.name[1.2.3.4], sasl_method=PLAIN, sasl_username=user@sender.com
        Jun  3 10:40:57 mail postfix/smtpd[9715]: 776E41855DB2: client=localhost[127.0.0.1]
        Jun  3 10:40:57 mail amavis[2279]: (02279-04) Passed CLEAN {RelayedOpenRelay}, [1.2.3.4]:6101 [1.2.3.4] <user@sender.com> -> <invalid.email@example.com>, Queue-ID: 4AA091855DA0, Message-ID: <ca10035e-2951-bfd5-ec7e-1a5773fce1cd@mail.sender.com>, mail_id: 6aLEkMwQa8H2, Hits: -, size: 888, queued_as: 776E41855DB2, 80 ms
        Jun  3 10:40:57 mail postfix/smtp[9710]: 4AA091855DA0: to=<invalid.email@example.com>, relay=127.0.0.1[127.0.0.1]:10024, delay=0.23, delays=0.15/0/0/0.08, dsn=2.0.0, status=sent (250 OK)
        Jun  3 10:40:59 mail postfix/smtp[9890]: 776E41855DB2: to=<invalid.email@example.com>, relay=mx.example.com[11.22.33.44]:25, delay=1.9, delays=0/0/1.5/0.37, dsn=5.1.1, status=bounced (host mx.example.com[11.22.33.44] said: 550 5.1.1 <invalid.email@example.com> User unknown (in reply to RCPT TO command))
        """
    )
    assert links(found) == ["mail:4AA091855DA0 reinjected mail:776E41855DB2 proven"]
    assert evidence(found, "776E41855DB2") == ["filter"]
    assert rows(found) == ["invalid.email@example.com bounced mail:4AA091855DA0 mail:776E41855DB2"]


def test_a_reply_through_amavis_names_the_message_behind_it() -> None:
    found = read(
        helga="""
        2023-03-14T00:08:35.917122+01:00 helga postfix/10025/smtpd[302614]: 4PbC4z6W5Qz3tG3: client=localhost[127.0.0.1]
        2023-03-14T00:08:35.948047+01:00 helga postfix/amavis/smtp[302609]: 4PbC4x469Jz3tBr: to=<user01.test@uhu-banane.net>, orig_to=<frank@brehm-berlin.de>, relay=127.0.0.1[127.0.0.1]:10024, delay=2.4, delays=0.29/0.02/0.01/2.1, dsn=2.0.0, status=sent (250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 4PbC4z6W5Qz3tG3)
        2023-03-14T00:08:36.037018+01:00 helga postfix/pipe[302615]: 4PbC4z6W5Qz3tG3: to=<user01.test@uhu-banane.net>, relay=dovecot, delay=0.12, delays=0.01/0.01/0/0.1, dsn=2.0.0, status=sent (delivered via dovecot service)
        """
    )
    assert rows(found) == ["user01.test@uhu-banane.net delivered helga:4PbC4x469Jz3tBr helga:4PbC4z6W5Qz3tG3"]
    assert only(found).recipients[0].original_recipient == "frank@brehm-berlin.de"
    assert links(found) == ["helga:4PbC4x469Jz3tBr reinjected helga:4PbC4z6W5Qz3tG3 proven"]


REQUEUE = """
Nov 23 03:41:43 sp1 postfix/smtpd[200]: D25AA9985AE: client=localhost[127.0.0.1], orig_client=bulk7.sender.example[10.99.0.204]
Nov 23 03:41:43 sp1 postfix/cleanup[208]: D25AA9985AE: message-id=<CAF7d7a7478b39e1b18=x+7d7a@mail.gmail.example>
Nov 23 03:42:06 sp1 postfix/postsuper[235]: D25AA9985AE: requeued
Nov 23 03:42:08 sp1 postfix/pickup[194]: 0C65E998724: uid=2002 from=<hold2@far.example> orig_id=D25AA9985AE
Nov 23 03:42:08 sp1 postfix/cleanup[208]: 0C65E998724: message-id=<CAF7d7a7478b39e1b18=x+7d7a@mail.gmail.example>
Nov 23 03:42:08 sp1 postfix/qmgr[195]: 0C65E998724: from=<hold2@far.example>, size=914, nrcpt=2 (queue active)
Nov 23 03:42:08 sp1 postfix/smtp[205]: 0C65E998724: to=<cy@quay.example>, relay=washer.quay.example[10.99.0.13]:25, delay=24, delays=24/0/0/0.01, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 0FC36998725)
Nov 23 03:42:08 sp1 postfix/smtp[205]: 0C65E998724: to=<u38@reef.example>, relay=washer.quay.example[10.99.0.13]:25, delay=24, delays=24/0/0/0.01, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 0FC36998725)
Nov 23 03:42:08 sp1 postfix/qmgr[195]: 0C65E998724: removed
"""


def test_a_requeued_message_goes_on_under_its_new_id() -> None:
    found = read(sp1=REQUEUE)
    assert links(found) == ["sp1:D25AA9985AE requeued sp1:0C65E998724 proven"]
    assert rows(found) == [
        "cy@quay.example relayed sp1:D25AA9985AE sp1:0C65E998724",
        "u38@reef.example relayed sp1:D25AA9985AE sp1:0C65E998724",
    ]


ALIAS = """
Nov 23 12:11:58 agora postfix/smtpd[217]: 0B8919986D2: client=core-out.quay.example[10.99.0.15]
Nov 23 12:11:58 agora postfix/cleanup[255]: 0B8919986D2: message-id=<CAF21a56fbdf40aea45=x+21a5@mail.gmail.example>
Nov 23 12:11:58 agora postfix/qmgr[206]: 0B8919986D2: from=<sid@far.example>, size=2574, nrcpt=1 (queue active)
Nov 23 12:11:58 agora postfix/local[250]: 0B8919986D2: to=<ada@quay.example>, orig_to=<team@quay.example>, relay=local, delay=0.01, delays=0/0/0/0, dsn=2.0.0, status=sent (delivered to maildir)
Nov 23 12:11:58 agora postfix/local[250]: 0B8919986D2: to=<bo@quay.example>, orig_to=<team@quay.example>, relay=local, delay=0.01, delays=0/0/0/0, dsn=2.0.0, status=sent (delivered to maildir)
Nov 23 12:11:58 agora postfix/cleanup[234]: 0D1419986D4: message-id=<CAF21a56fbdf40aea45=x+21a5@mail.gmail.example>
Nov 23 12:11:58 agora postfix/local[250]: 0B8919986D2: to=<team@quay.example>, relay=local, delay=0.01, delays=0/0/0/0, dsn=2.0.0, status=sent (forwarded as 0D1419986D4)
Nov 23 12:11:58 agora postfix/qmgr[206]: 0B8919986D2: removed
Nov 23 12:11:58 agora postfix/qmgr[206]: 0D1419986D4: from=<sid@far.example>, size=2706, nrcpt=2 (queue active)
Nov 23 12:11:58 agora postfix/smtp[212]: 0D1419986D4: to=<nan@arctic.example>, orig_to=<team@quay.example>, relay=inbound.quay.example[10.99.0.14]:25, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 0DADE9986D2)
Nov 23 12:11:58 agora postfix/smtp[212]: 0D1419986D4: to=<ivy@reef.example>, orig_to=<team@quay.example>, relay=inbound.quay.example[10.99.0.14]:25, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 0DADE9986D2)
Nov 23 12:11:58 agora postfix/qmgr[206]: 0D1419986D4: removed
"""


def test_an_alias_delivers_here_and_forwards_to_a_new_id() -> None:
    found = read(agora=ALIAS)
    assert links(found) == ["agora:0B8919986D2 forwarded agora:0D1419986D4 proven"]
    assert rows(found) == [
        "ada@quay.example delivered agora:0B8919986D2",
        "bo@quay.example delivered agora:0B8919986D2",
        "ivy@reef.example relayed agora:0B8919986D2 agora:0D1419986D4",
        "nan@arctic.example relayed agora:0B8919986D2 agora:0D1419986D4",
    ]
    assert {row.original_recipient for row in only(found).recipients} == {"team@quay.example"}


def test_a_list_with_an_owner_goes_out_with_another_sender_and_is_the_same_mail() -> None:
    found = read(
        agora="""
        Nov 23 12:11:20 agora postfix/smtpd[215]: 3F7939983F6: client=core-out.quay.example[10.99.0.15]
        Nov 23 12:11:20 agora postfix/cleanup[209]: 3F7939983F6: message-id=<CAF85868457b89e4915=x+8586@mail.gmail.example>
        Nov 23 12:11:20 agora postfix/qmgr[206]: 3F7939983F6: from=<ugo@far.example>, size=2833, nrcpt=1 (queue active)
        Nov 23 12:11:20 agora postfix/cleanup[209]: 3FE42998416: message-id=<CAF85868457b89e4915=x+8586@mail.gmail.example>
        Nov 23 12:11:20 agora postfix/qmgr[206]: 3FE42998416: from=<owner-list-news@quay.example>, size=2970, nrcpt=5 (queue active)
        Nov 23 12:11:20 agora postfix/local[211]: 3F7939983F6: to=<list-news@quay.example>, relay=local, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (forwarded as 3FE42998416)
        Nov 23 12:11:20 agora postfix/qmgr[206]: 3F7939983F6: removed
        Nov 23 12:11:20 agora postfix/local[216]: 3FE42998416: to=<dag@quay.example>, relay=local, delay=0.01, delays=0/0.01/0/0, dsn=2.0.0, status=sent (delivered to maildir)
        Nov 23 12:11:20 agora postfix/smtp[212]: 3FE42998416: to=<tess@far.example>, relay=inbound.quay.example[10.99.0.14]:25, delay=0.02, delays=0/0/0.01/0.01, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4371B998408)
        """
    )
    assert rows(found) == [
        "dag@quay.example delivered agora:3F7939983F6 agora:3FE42998416",
        "tess@far.example relayed agora:3F7939983F6 agora:3FE42998416",
    ]
    assert only(found).sender == "ugo@far.example"
    assert {row.original_recipient for row in only(found).recipients} == {"list-news@quay.example"}


SIEVE = """
2026-11-23T07:41:25.264073+01:00 coral postfix/smtpd[203]: 4jXxDP1scsz1Sq53: client=core-out.quay.example[10.99.0.15]
2026-11-23T07:41:25.264301+01:00 coral postfix/cleanup[206]: 4jXxDP1scsz1Sq53: message-id=<51459b25dbe3589c@far.example>
2026-11-23T07:41:25.265521+01:00 coral postfix/qmgr[195]: 4jXxDP1scsz1Sq53: from=<tess@far.example>, size=1609, nrcpt=1 (queue active)
2026-11-23T07:41:25.284501+01:00 coral postfix/pickup[194]: 4jXxDP219cz1Sq52: uid=2010 from=<tess@far.example>
2026-11-23T07:41:25.284765+01:00 coral postfix/cleanup[205]: 4jXxDP219cz1Sq52: message-id=<51459b25dbe3589c@far.example>
2026-11-23T07:41:25.285323+01:00 coral postfix/qmgr[195]: 4jXxDP219cz1Sq52: from=<tess@far.example>, size=2091, nrcpt=1 (queue active)
2026-11-23T07:41:25.288424+01:00 coral postfix/smtp[217]: 4jXxDP219cz1Sq52: to=<inga@isle.example>, relay=inbound.quay.example[10.99.0.14]:25, delay=0.01, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 462B9998476)
2026-11-23T07:41:25.288596+01:00 coral postfix/qmgr[195]: 4jXxDP219cz1Sq52: removed
2026-11-23T07:41:25.289084+01:00 coral dovecot: lmtp(away@reef.example)<212><WL/YDxXgA2vUAAAADcNtUg>: sieve: msgid=<51459b25dbe3589c@far.example>: redirect action: forwarded to <inga@isle.example>
2026-11-23T07:41:25.291034+01:00 coral postfix/lmtp[211]: 4jXxDP1scsz1Sq53: to=<away@reef.example>, relay=coral.quay.example[private/dovecot], delay=0.03, delays=0/0/0/0.02, dsn=2.0.0, status=sent (250 2.0.0 <away@reef.example> WL/YDxXgA2vUAAAADcNtUg Saved)
2026-11-23T07:41:25.291219+01:00 coral postfix/qmgr[195]: 4jXxDP1scsz1Sq53: removed
"""


def test_what_a_sieve_script_sent_on_follows_the_mailboxs_mail() -> None:
    found = read(coral=SIEVE)
    assert links(found) == ["coral:4jXxDP1scsz1Sq53 forwarded coral:4jXxDP219cz1Sq52 proven"]
    assert rows(found) == ["inga@isle.example relayed coral:4jXxDP1scsz1Sq53 coral:4jXxDP219cz1Sq52"]
    assert only(found).recipients[0].original_recipient == "away@reef.example"


def test_without_dovecots_line_the_forward_is_likely_and_the_mailbox_keeps_its_copy() -> None:
    log = "\n".join(line for line in SIEVE.split("\n") if "dovecot:" not in line)
    found = read(coral=log)
    assert links(found) == ["coral:4jXxDP1scsz1Sq53 forwarded coral:4jXxDP219cz1Sq52 likely"]
    assert rows(found) == [
        "away@reef.example delivered coral:4jXxDP1scsz1Sq53",
        "inga@isle.example relayed coral:4jXxDP1scsz1Sq53 coral:4jXxDP219cz1Sq52",
    ]


CORE_OUT = """
<22>1 2026-11-23T06:41:39.664760+00:00 core core-out/smtpd 348 - -  A247699856B: client=localhost[127.0.0.1], orig_queue_id=9F5ED99856C, orig_client=mx-osl.quay.example[10.99.0.12]
<22>1 2026-11-23T06:41:39.667477+00:00 core core-out/cleanup 332 - -  A247699856B: message-id=<ee671131.a96eb31a.JavaMail.root@app-ee>
<22>1 2026-11-23T06:41:39.668373+00:00 core core-out/qmgr 323 - -  A247699856B: from=<nobody45858@far.example>, size=1560, nrcpt=1 (queue active)
<22>1 2026-11-23T06:41:39.679142+00:00 core core-out/smtp 337 - -  A247699856B: to=<ghost1@reef.example>, relay=coral.quay.example[10.99.0.17]:25, delay=0.01, delays=0/0/0/0.01, dsn=5.1.1, status=bounced (host coral.quay.example[10.99.0.17] said: 550 5.1.1 <ghost1@reef.example>: Recipient address rejected: User unknown in virtual mailbox table (in reply to RCPT TO command))
<22>1 2026-11-23T06:41:39.683171+00:00 core core-out/cleanup 355 - -  A5E9699856A: message-id=<20261123064139.A5E9699856A@core-out.quay.example>
<22>1 2026-11-23T06:41:39.683958+00:00 core core-out/bounce 353 - -  A247699856B: sender non-delivery notification: A5E9699856A
<22>1 2026-11-23T06:41:39.684042+00:00 core core-out/qmgr 323 - -  A5E9699856A: from=<>, size=3769, nrcpt=1 (queue active)
<22>1 2026-11-23T06:41:39.684654+00:00 core core-out/qmgr 323 - -  A247699856B: removed
<22>1 2026-11-23T06:41:39.695721+00:00 core core-out/smtp 359 - -  A5E9699856A: to=<nobody45858@far.example>, relay=gull.quay.example[10.99.0.21]:25, delay=0.02, delays=0/0/0/0.01, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 9896833)
<22>1 2026-11-23T06:41:39.696020+00:00 core core-out/qmgr 323 - -  A5E9699856A: removed
"""
CORE_IN = """
<22>1 2026-11-23T06:41:39.652931+00:00 core core-in/smtpd 345 - -  9F5ED99856C: client=mx-osl.quay.example[10.99.0.12]
<22>1 2026-11-23T06:41:39.653676+00:00 core core-in/cleanup 354 - -  9F5ED99856C: message-id=<ee671131.a96eb31a.JavaMail.root@app-ee>
<22>1 2026-11-23T06:41:39.655009+00:00 core core-in/qmgr 197 - -  9F5ED99856C: from=<nobody45858@far.example>, size=1369, nrcpt=1 (queue active)
<22>1 2026-11-23T06:41:39.668582+00:00 core core-in/smtp 362 - -  9F5ED99856C: to=<ghost1@reef.example>, relay=127.0.0.1[127.0.0.1]:10024, delay=0.02, delays=0/0/0.01/0.01, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as A247699856B)
<22>1 2026-11-23T06:41:39.670522+00:00 core core-in/qmgr 197 - -  9F5ED99856C: removed
"""


def test_a_bounce_is_a_mail_of_its_own_joined_to_what_it_reports() -> None:
    found = read(core=CORE_OUT)
    assert links(found) == ["core:A247699856B bounced core:A5E9699856A proven"]
    assert rows(found) == [
        "ghost1@reef.example bounced core:A247699856B",
        "nobody45858@far.example relayed core:A5E9699856A",
    ]
    assert [mail.sender for mail in found.mails] == ["nobody45858@far.example", ""]


def test_a_message_passes_from_one_instance_of_a_host_to_the_other() -> None:
    found = read(core=CORE_IN + CORE_OUT.lstrip("\n"))
    assert "ghost1@reef.example bounced core:9F5ED99856C core:A247699856B" in rows(found)
    assert "core:9F5ED99856C reinjected core:A247699856B proven" in links(found)
    assert {hop.instance for mail in found.mails for hop in mail.hops} == {"core-in", "core-out"}


def test_exims_bounce_names_what_it_reports() -> None:
    found = read(
        exim2="""
        2020-02-22 07:09:20 1j5NyY-0004Xp-NZ <= root@edward.rosnix.net U=root P=local S=2233
        2020-02-22 07:09:24 1j5NyY-0004Xp-NZ ** ronnienorcross@yahoo.com R=dnslookup T=remote_smtp: SMTP error from remote mail server after end of data: host mta5.am0.yahoodns.net [67.195.204.72]: 554 delivery error: dd This user doesn't have a yahoo.com account (ronnienorcross@yahoo.com) [-9] - mta4420.mail.bf1.yahoo.com
        2020-02-22 07:09:24 1j5Nye-0004Xw-5I <= <> R=1j5NyY-0004Xp-NZ U=Debian-exim P=local S=2233
        2020-02-22 07:09:24 1j5NyY-0004Xp-NZ Completed
        """
    )
    assert links(found) == ["exim2:1j5NyY-0004Xp-NZ bounced exim2:1j5Nye-0004Xw-5I proven"]
    assert rows(found)[-1] == "ronnienorcross@yahoo.com bounced exim2:1j5NyY-0004Xp-NZ"


ROAM = """
2026-11-23 01:04:20 1xVITk-00000b-19 <= paula@planet.lab.test H=(relay1.lab.test) [10.77.0.14] P=esmtp S=1931 id=CA+9f7528003d34=d7299d60_w@mail.gmail.example
2026-11-23 01:04:20 1xVITk-00000b-19 => bella@beta.lab.test <roam2@gamma.lab.test> R=delta_out T=remote_smtp H=mailbox2.lab.test [10.77.0.16] K C="250 2.0.0 Ok: 1968 bytes queued as 5A5972FCB66"
2026-11-23 01:04:20 1xVITk-00000b-19 Completed
"""
MAILBOX2 = """
2026-11-23T01:04:20.370170+00:00 mailbox2 postfix/smtpd[112]: 5A5972FCB66: client=exim1.lab.test[10.77.0.17]
2026-11-23T01:04:20.370332+00:00 mailbox2 postfix/cleanup[116]: 5A5972FCB66: message-id=<CA+9f7528003d34=d7299d60_w@mail.gmail.example>
2026-11-23T01:04:20.370926+00:00 mailbox2 postfix/qmgr[111]: 5A5972FCB66: from=<paula@planet.lab.test>, size=2155, nrcpt=1 (queue active)
2026-11-23T01:04:20.374242+00:00 mailbox2 postfix/lmtp[117]: 5A5972FCB66: to=<bella@beta.lab.test>, relay=mailbox2.lab.test[private/dovecot-lmtp], delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 <bella@beta.lab.test> KKohFhSRA2t2AAAAr+m3bA Saved)
2026-11-23T01:04:20.374615+00:00 mailbox2 postfix/qmgr[111]: 5A5972FCB66: removed
"""


def test_an_exim_redirect_keeps_the_address_that_was_first_accepted() -> None:
    found = read(exim1=ROAM, mailbox2=MAILBOX2)
    assert rows(found) == ["bella@beta.lab.test delivered exim1:1xVITk-00000b-19 mailbox2:5A5972FCB66"]
    assert only(found).recipients[0].original_recipient == "roam2@gamma.lab.test"


@pytest.mark.parametrize("lost", range(3))
def test_the_link_holds_whichever_line_of_the_receiving_side_is_lost(lost: int) -> None:
    log = MAILBOX2.strip().split("\n")
    del log[lost]
    assert rows(read(exim1=ROAM, mailbox2="\n".join(log))) == [
        "bella@beta.lab.test delivered exim1:1xVITk-00000b-19 mailbox2:5A5972FCB66"
    ]


def test_without_the_sending_line_message_id_and_hosts_and_recipient_prove_nothing_but_one_mail_is_likely() -> None:
    # Exim's `=>` is lost: what mailbox2 took from exim1.lab.test with the same Message-ID.
    log = [line for line in ROAM.strip().split("\n") if "=>" not in line]
    names = (
        ROAM.replace("1xVITk-00000b-19", "1xVITj-00000a-19")
        .replace("CA+9f7528003d34", "CA+0")
        .replace("5A5972FCB66", "4A5972FCB66")
    )
    other = MAILBOX2.replace("5A5972FCB66", "4A5972FCB66").replace("CA+9f7528003d34", "CA+0")
    found = read(exim1="\n".join(log) + names, mailbox2=MAILBOX2 + other.lstrip("\n"))
    assert "exim1:1xVITk-00000b-19 relayed mailbox2:5A5972FCB66 likely" in links(found)


def test_no_message_id_on_either_side_is_linked_by_the_reply() -> None:
    found = read(
        mx1="""
        2026-11-23T01:04:30.695089+00:00 mx1 postfix/smtpd[109]: A9ADD2B2985: client=client.lab.test[10.77.0.250]
        2026-11-23T01:04:30.695743+00:00 mx1 postfix/cleanup[112]: A9ADD2B2985: message-id=<>
        2026-11-23T01:04:30.696571+00:00 mx1 postfix/qmgr[105]: A9ADD2B2985: from=<paula@planet.lab.test>, size=1102, nrcpt=2 (queue active)
        2026-11-23T01:04:30.698930+00:00 mx1 postfix/relay/smtp[113]: A9ADD2B2985: to=<axel@alpha.lab.test>, relay=filter1.lab.test[10.77.0.13]:25, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as AA6192FC342)
        2026-11-23T01:04:30.698944+00:00 mx1 postfix/relay/smtp[113]: A9ADD2B2985: to=<greta@gamma.lab.test>, relay=filter1.lab.test[10.77.0.13]:25, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as AA6192FC342)
        2026-11-23T01:04:30.699146+00:00 mx1 postfix/qmgr[105]: A9ADD2B2985: removed
        """,
        filter1="""
        Nov 23 01:04:30 filter1 postfix/smtpd[111]: AA6192FC342: client=mx1.lab.test[10.77.0.11]
        Nov 23 01:04:30 filter1 postfix/cleanup[129]: AA6192FC342: message-id=<>
        Nov 23 01:04:30 filter1 postfix/qmgr[106]: AA6192FC342: from=<paula@planet.lab.test>, size=1258, nrcpt=2 (queue active)
        Nov 23 01:04:30 filter1 postfix/smtpd[117]: B560C2FC352: client=localhost[127.0.0.1]
        Nov 23 01:04:30 filter1 postfix/cleanup[110]: B560C2FC352: message-id=<20261123010430.B560C2FC352@filter1.lab.test>
        Nov 23 01:04:30 filter1 postfix/qmgr[106]: B560C2FC352: from=<paula@planet.lab.test>, size=1466, nrcpt=2 (queue active)
        Nov 23 01:04:30 filter1 postfix/smtp[126]: AA6192FC342: to=<axel@alpha.lab.test>, relay=127.0.0.1[127.0.0.1]:10025, delay=0.05, delays=0/0/0/0.04, dsn=2.0.0, status=sent (250 2.0.0 from MTA(smtp:[127.0.0.1]:10026): 250 2.0.0 Ok: queued as B560C2FC352)
        Nov 23 01:04:30 filter1 postfix/smtp[126]: AA6192FC342: to=<greta@gamma.lab.test>, relay=127.0.0.1[127.0.0.1]:10025, delay=0.05, delays=0/0/0/0.04, dsn=2.0.0, status=sent (250 2.0.0 from MTA(smtp:[127.0.0.1]:10026): 250 2.0.0 Ok: queued as B560C2FC352)
        Nov 23 01:04:30 filter1 postfix/qmgr[106]: AA6192FC342: removed
        """,
    )
    assert rows(found) == [
        f"{recipient} deferred mx1:A9ADD2B2985 filter1:AA6192FC342 filter1:B560C2FC352"
        for recipient in ("axel@alpha.lab.test", "greta@gamma.lab.test")
    ]


def test_a_host_in_the_middle_whose_log_is_missing_is_bridged_and_the_link_says_so() -> None:
    found = read(amavis1=AMAVIS1, filter2=FILTER2.replace("1D80B9DA856", "7D80B9DA856"))
    assert "amavis1:1CD7A9DA855 relayed filter2:1E4E29DA855 likely" in links(found)
    assert evidence(found, "1E4E29DA855") == ["gap"]


def test_a_gap_is_not_bridged_backwards_in_time() -> None:
    # Without the hub both of the filter's messages came from it and went to it; the later one does not lead to the
    # earlier.
    log = [
        line.replace("15:29:48", "15:29:50").replace("hub-out.lab.test[10.77.0.16]", "hub.lab.test[10.77.0.15]")
        if "1D80B9DA856" in line
        else line.replace("status=sent (250 OK)", "status=deferred (busy)")
        for line in FILTER2.split("\n")
    ]
    found = read(filter2="\n".join(log))
    assert "filter2:1D80B9DA856 relayed filter2:1E4E29DA855 likely" not in links(found)


def test_the_result_is_the_same_in_any_order_of_lines() -> None:
    lines = entries(amavis1=BEFORE_AMAVIS + AMAVIS1.lstrip("\n"), hub=HUB, filter2=FILTER2, agora=ALIAS, coral=SIEVE)
    assert links(put_together(lines)) == links(put_together(lines[::-1]))
    assert rows(put_together(lines)) == rows(put_together(lines[::-1]))


# A filter before the queue: the client of the queue is the filter, that of the process in front of it the partner.
SP1 = """
Nov 28 17:02:56 sp1 postfix/smtpd[202]: CB2869F0212: client=localhost[127.0.0.1], orig_client=mail.far.example[10.99.0.30]
Nov 28 17:02:56 sp1 postfix/cleanup[203]: CB2869F0212: message-id=<CAFd584e99a4f028e3e=x+d584@mail.gmail.example>
Nov 28 17:02:56 sp1 postfix/qmgr[197]: CB2869F0212: from=<vera@far.example>, size=2007, nrcpt=1 (queue active)
Nov 28 17:02:56 sp1 postfix/smtpd[198]: proxy-accept: END-OF-MESSAGE: 250 2.0.0 Ok: queued as CB2869F0212; from=<vera@far.example> to=<nan@arctic.example> proto=ESMTP helo=<mail.far.example>
Nov 28 17:02:57 sp1 postfix/smtp[211]: CB2869F0212: to=<nan@arctic.example>, relay=washer.quay.example[10.99.0.13]:25, delay=0.1, delays=0/0/0/0.1, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as DAD859F0272)
Nov 28 17:02:57 sp1 postfix/qmgr[197]: CB2869F0212: removed
"""
FAR = """
Nov 28 17:02:56 far postfix/pickup[190]: 4jcLnw3yRFz1Wc6j: uid=0 from=<vera@far.example>
Nov 28 17:02:56 far postfix/cleanup[191]: 4jcLnw3yRFz1Wc6j: message-id=<CAFd584e99a4f028e3e=x+d584@mail.gmail.example>
Nov 28 17:02:56 far postfix/qmgr[192]: 4jcLnw3yRFz1Wc6j: from=<vera@far.example>, size=1700, nrcpt=1 (queue active)
Nov 28 17:02:56 far postfix/smtp[193]: 4jcLnw3yRFz1Wc6j: to=<nan@arctic.example>, relay=sp1.quay.example[10.99.0.11]:25, delay=0.1, delays=0/0/0/0.1, dsn=2.0.0, status=sent (250 OK)
Nov 28 17:02:56 far postfix/qmgr[192]: 4jcLnw3yRFz1Wc6j: removed
Nov 28 17:09:00 far postfix/cleanup[191]: A48191855DA0: message-id=<20261128170900.A48191855DA0@mail.far.example>
"""


def test_a_mail_through_a_filter_before_the_queue_came_from_the_client_in_front_of_it() -> None:
    found = read(far=FAR, sp1=SP1)
    assert "far:4jcLnw3yRFz1Wc6j relayed sp1:CB2869F0212 likely" in links(found)
    assert {hop.host: hop.client.ip for mail in found.mails for hop in mail.hops}["sp1"] == "10.99.0.30"


def test_a_mail_through_a_filter_before_the_queue_is_not_another_one_of_its_host_brought_back() -> None:
    """The same Message-ID a minute later, and the first one's delivery is not in the log."""
    lost = "".join(f"{line}\n" for line in SP1.splitlines() if "status=sent" not in line)
    again = SP1.replace("17:02:", "17:03:").replace("CB2869F0212", "34C039F01B8").replace("size=2007", "size=2375")
    assert links(read(sp1=lost + again.lstrip("\n"))) == []


# The host between was read from noon on; another mail of the same Message-ID went through it then.
WEST = """
Nov  2 11:59:59 west postfix/cleanup[9]: 4czzD56fQyz1VrhX: message-id=<same@mail.example>
Nov  2 11:59:59 west postfix/qmgr[8]: 4czzD56fQyz1VrhX: from=<wolf@world.example>, size=1856, nrcpt=1 (queue active)
Nov  2 11:59:59 west postfix/smtp[7]: 4czzD56fQyz1VrhX: to=<alice@alpha.example>, relay=hub.lab.test[10.77.0.15]:25, delay=0.1, delays=0/0/0/0.1, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 8CC789DA1E5)
Nov  2 12:00:01 west postfix/cleanup[9]: 4czzD95fQyz1VrhY: message-id=<same@mail.example>
Nov  2 12:00:01 west postfix/qmgr[8]: 4czzD95fQyz1VrhY: from=<wolf@world.example>, size=1856, nrcpt=1 (queue active)
Nov  2 12:00:01 west postfix/smtp[7]: 4czzD95fQyz1VrhY: to=<alice@alpha.example>, relay=hub.lab.test[10.77.0.15]:25, delay=0.1, delays=0/0/0/0.1, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 9CC789DA1E5)
"""
HUB_FROM_NOON = """
Nov  2 12:00:01 hub postfix/smtpd[3]: 9CC789DA1E5: client=west.lab.test[10.77.0.12]
Nov  2 12:00:01 hub postfix/cleanup[4]: 9CC789DA1E5: message-id=<same@mail.example>
Nov  2 12:00:01 hub postfix/qmgr[5]: 9CC789DA1E5: from=<wolf@world.example>, size=1856, nrcpt=1 (queue active)
Nov  2 12:00:01 hub postfix/smtp[6]: 9CC789DA1E5: to=<alice@alpha.example>, relay=mail1.lab.test[10.77.0.17]:25, delay=0.1, delays=0/0/0/0.1, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 33E4F9DA366)
"""
MAIL1 = """
Nov  2 12:00:02 mail1 postfix/smtpd[107]: 22E4F9DA366: client=hub.lab.test[10.77.0.15]
Nov  2 12:00:02 mail1 postfix/cleanup[121]: 22E4F9DA366: message-id=<same@mail.example>
Nov  2 12:00:02 mail1 postfix/qmgr[106]: 22E4F9DA366: from=<wolf@world.example>, size=1856, nrcpt=1 (queue active)
Nov  2 12:00:02 mail1 postfix/local[120]: 22E4F9DA366: to=<alice@alpha.example>, relay=local, delay=0.01, delays=0.01/0/0/0, dsn=2.0.0, status=sent (delivered to maildir)
"""


def test_a_gap_is_not_bridged_to_what_another_mail_of_that_message_id_may_have_become() -> None:
    assert "west:4czzD56fQyz1VrhX relayed mail1:22E4F9DA366 likely" not in links(
        read(west=WEST, hub=HUB_FROM_NOON, mail1=MAIL1)
    )


WAYS = """mx1-filter1 mx2-filter1 filter1-relay1 relay1-mailbox1 relay1-mailbox2 relay1-exim1 exim1-mailbox2 mailbox1-relay2
mailbox2-relay2 exim1-relay2 relay2-mailbox1 relay2-out1 exim2-relay2 exim2-out1 out1-ext1"""


def test_clocks_are_put_right_also_where_most_are_wrong() -> None:
    """The differences between neighbours leave no doubt, though most of them are large."""
    wrong = {"mx1": 900.0, "filter1": 95.0, "mailbox1": -240.0, "exim1": 900.0, "out1": 95.0, "relay2": 95.0}
    ways = [tuple(way.split("-")) for way in WAYS.split()]
    pairs = {(one, other): [wrong.get(other, 0.0) - wrong.get(one, 0.0)] for one, other in ways}
    found = solve(pairs, frozenset())
    for one, other in ways:
        assert found.get(other, 0.0) - found.get(one, 0.0) == pairs[(one, other)][0]


def test_one_wrong_clock_is_the_one_that_is_put_right() -> None:
    ways = [tuple(way.split("-")) for way in WAYS.split()]
    for host in {host for way in ways for host in way} - {"mx1", "mx2", "ext1"}:  # with one neighbour either may be it
        pairs = {(one, other): [120.0 * ((other == host) - (one == host))] for one, other in ways}
        assert solve(pairs, frozenset()) == {host: 120.0}


def test_how_sure_a_link_is_is_said_by_all_that_the_links_taught() -> None:
    """Neither the names are known at first nor the second host's zone; six mails show both."""
    first = second = ""
    for n in range(6):
        one, other = f"A{n}10000001", f"B{n}20000002"
        first += f"""
            2026-03-09T04:2{n}:02+00:00 mx1 postfix/smtpd[11]: {one}: client=out.example[192.0.2.{n}]
            2026-03-09T04:2{n}:02+00:00 mx1 postfix/cleanup[12]: {one}: message-id=<{n}@example.net>
            2026-03-09T04:2{n}:03+00:00 mx1 postfix/smtp[14]: {one}: to=<b@example.com>, relay=box.example[10.0.0.2]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as {other})"""
        second += f"""
            Mar  9 07:2{n}:02 mx2 postfix/smtpd[11]: {other}: client=gate.example[10.0.0.1]
            Mar  9 07:2{n}:02 mx2 postfix/cleanup[12]: {other}: message-id=<{n}@example.net>
            Mar  9 07:2{n}:03 mx2 postfix/local[14]: {other}: to=<b@example.com>, relay=local, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (delivered to mailbox)"""
    assert links(read(mx1=first, mx2=second)) == [f"mx1:A{n}10000001 relayed mx2:B{n}20000002 proven" for n in range(6)]


# Copies of one message, sent again after three seconds, that got the same short ID at gull, whose clock is five hours
# and a half ahead: dock's and far's IDs tell what became of which.
DOCK_AGAIN = """
<22>1 2026-11-29T02:00:08.428029+00:00 dock postfix/submission/smtpd 215 - -  4jcVj432Dgz1SGnX: client=laptop.dhcp.quay.example[10.99.0.206], sasl_method=PLAIN, sasl_username=uma@dune.example
<22>1 2026-11-29T02:00:08.428528+00:00 dock postfix/cleanup 217 - -  4jcVj432Dgz1SGnX: message-id=<9cc6c0c82e2bdbf9@dune.example>
<22>1 2026-11-29T02:00:08.430462+00:00 dock postfix/qmgr 199 - -  4jcVj432Dgz1SGnX: from=<uma@dune.example>, size=953, nrcpt=2 (queue active)
<22>1 2026-11-29T02:00:08.435883+00:00 dock postfix/smtp 214 - -  4jcVj432Dgz1SGnX: to=<a=b@isle.example>, relay=gull.quay.example[10.99.0.21]:25, delay=0.01, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 5B8D827)
<22>1 2026-11-29T02:00:08.436055+00:00 dock postfix/qmgr 199 - -  4jcVj432Dgz1SGnX: removed
<22>1 2026-11-29T02:00:11.390320+00:00 dock postfix/submission/smtpd 215 - -  4jcVj72mJCz1SGpV: client=laptop.dhcp.quay.example[10.99.0.206], sasl_method=PLAIN, sasl_username=uma@dune.example
<22>1 2026-11-29T02:00:11.390756+00:00 dock postfix/cleanup 217 - -  4jcVj72mJCz1SGpV: message-id=<9cc6c0c82e2bdbf9@dune.example>
<22>1 2026-11-29T02:00:11.392484+00:00 dock postfix/qmgr 199 - -  4jcVj72mJCz1SGpV: from=<uma@dune.example>, size=1963, nrcpt=2 (queue active)
<22>1 2026-11-29T02:00:11.396578+00:00 dock postfix/smtp 214 - -  4jcVj72mJCz1SGpV: to=<a=b@isle.example>, relay=gull.quay.example[10.99.0.21]:25, delay=0.01, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 5B8D827)
<22>1 2026-11-29T02:00:11.396994+00:00 dock postfix/qmgr 199 - -  4jcVj72mJCz1SGpV: removed
"""
GULL_AGAIN = """
Nov 29 07:30:08 gull postfix/smtpd[190]: 5B8D827: client=dock.quay.example[10.99.0.20]
Nov 29 07:30:08 gull postfix/cleanup[193]: 5B8D827: message-id=<9cc6c0c82e2bdbf9@dune.example>
Nov 29 07:30:08 gull postfix/qmgr[189]: 5B8D827: from=<uma@dune.example>, size=1139, nrcpt=1 (queue active)
Nov 29 07:30:08 gull postfix/smtp[196]: 5B8D827: to=<a=b@isle.example>, relay=mail.isle.example[10.99.0.30]:25, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4jcVj4372sz1SGnc)
Nov 29 07:30:08 gull postfix/qmgr[189]: 5B8D827: removed
Nov 29 07:30:11 gull postfix/smtpd[190]: 5B8D827: client=dock.quay.example[10.99.0.20]
Nov 29 07:30:11 gull postfix/cleanup[193]: 5B8D827: message-id=<9cc6c0c82e2bdbf9@dune.example>
Nov 29 07:30:11 gull postfix/qmgr[189]: 5B8D827: from=<uma@dune.example>, size=2149, nrcpt=1 (queue active)
Nov 29 07:30:11 gull postfix/smtp[196]: 5B8D827: to=<a=b@isle.example>, relay=mail.isle.example[10.99.0.30]:25, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4jcVj72r0dz1SGpV)
Nov 29 07:30:11 gull postfix/qmgr[189]: 5B8D827: removed
"""
FAR_AGAIN = """
2026-11-29T02:00:08.440955+00:00 far postfix/smtpd[209]: 4jcVj4372sz1SGnc: client=gull.quay.example[10.99.0.21]
2026-11-29T02:00:08.441225+00:00 far postfix/cleanup[210]: 4jcVj4372sz1SGnc: message-id=<9cc6c0c82e2bdbf9@dune.example>
2026-11-29T02:00:08.443087+00:00 far postfix/qmgr[201]: 4jcVj4372sz1SGnc: from=<uma@dune.example>, size=1519, nrcpt=1 (queue active)
2026-11-29T02:00:08.444715+00:00 far postfix/virtual[211]: 4jcVj4372sz1SGnc: to=<a=b@isle.example>, relay=virtual, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (delivered to maildir)
2026-11-29T02:00:08.444815+00:00 far postfix/qmgr[201]: 4jcVj4372sz1SGnc: removed
2026-11-29T02:00:11.400312+00:00 far postfix/smtpd[209]: 4jcVj72r0dz1SGpV: client=gull.quay.example[10.99.0.21]
2026-11-29T02:00:11.401274+00:00 far postfix/cleanup[210]: 4jcVj72r0dz1SGpV: message-id=<9cc6c0c82e2bdbf9@dune.example>
2026-11-29T02:00:11.402843+00:00 far postfix/qmgr[201]: 4jcVj72r0dz1SGpV: from=<uma@dune.example>, size=2529, nrcpt=1 (queue active)
2026-11-29T02:00:11.404140+00:00 far postfix/virtual[211]: 4jcVj72r0dz1SGpV: to=<a=b@isle.example>, relay=virtual, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (delivered to maildir)
2026-11-29T02:00:11.404247+00:00 far postfix/qmgr[201]: 4jcVj72r0dz1SGpV: removed
"""


def test_a_short_id_that_copies_of_one_message_had_leads_to_the_one_of_that_moment() -> None:
    found = read(dock=DOCK_AGAIN, gull=GULL_AGAIN, far=FAR_AGAIN)
    assert rows(found) == [
        "a=b@isle.example delivered dock:4jcVj432Dgz1SGnX gull:5B8D827 far:4jcVj4372sz1SGnc",
        "a=b@isle.example delivered dock:4jcVj72mJCz1SGpV gull:5B8D827 far:4jcVj72r0dz1SGpV",
    ]
    assert "dock:4jcVj72mJCz1SGpV relayed gull:5B8D827#2 proven" in links(found)


# The same within one second. The fourth message that has the ID is another one.
DOCK_AT_ONCE = """
<22>1 2026-11-29T02:06:22.619440+00:00 dock postfix/smtps/smtpd 214 - -  4jcVrG4P3Gz1SKtc: client=laptop.dhcp.quay.example[10.99.0.206], sasl_method=PLAIN, sasl_username=u20@reef.example
<22>1 2026-11-29T02:06:22.620816+00:00 dock postfix/cleanup 224 - -  4jcVrG4P3Gz1SKtc: message-id=<AM0PR098A2D8F92406A9FB@AM0PR01MB1234.eurprd01.prod.outlook.example>
<22>1 2026-11-29T02:06:22.623655+00:00 dock postfix/qmgr 199 - -  4jcVrG4P3Gz1SKtc: from=<u20@reef.example>, size=1699, nrcpt=2 (queue active)
<22>1 2026-11-29T02:06:22.633310+00:00 dock postfix/smtp 221 - -  4jcVrG4P3Gz1SKtc: to=<ugo@far.example>, relay=gull.quay.example[10.99.0.21]:25, delay=0.02, delays=0.01/0/0/0.01, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 9896827)
<22>1 2026-11-29T02:06:22.633381+00:00 dock postfix/qmgr 199 - -  4jcVrG4P3Gz1SKtc: removed
<22>1 2026-11-29T02:06:22.657083+00:00 dock postfix/smtps/smtpd 205 - -  4jcVrG4fykz1SKss: client=laptop.dhcp.quay.example[10.99.0.206], sasl_method=PLAIN, sasl_username=u20@reef.example
<22>1 2026-11-29T02:06:22.657412+00:00 dock postfix/cleanup 224 - -  4jcVrG4fykz1SKss: message-id=<AM0PR098A2D8F92406A9FB@AM0PR01MB1234.eurprd01.prod.outlook.example>
<22>1 2026-11-29T02:06:22.658292+00:00 dock postfix/qmgr 199 - -  4jcVrG4fykz1SKss: from=<u20@reef.example>, size=1341, nrcpt=2 (queue active)
<22>1 2026-11-29T02:06:22.662420+00:00 dock postfix/smtp 218 - -  4jcVrG4fykz1SKss: to=<ugo@far.example>, relay=gull.quay.example[10.99.0.21]:25, delay=0.01, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 9896827)
<22>1 2026-11-29T02:06:22.662922+00:00 dock postfix/qmgr 199 - -  4jcVrG4fykz1SKss: removed
<22>1 2026-11-29T02:06:22.669615+00:00 dock postfix/smtps/smtpd 226 - -  4jcVrG4lbcz1SKvt: client=laptop.dhcp.quay.example[10.99.0.206], sasl_method=PLAIN, sasl_username=u20@reef.example
<22>1 2026-11-29T02:06:22.671962+00:00 dock postfix/cleanup 216 - -  4jcVrG4lbcz1SKvt: message-id=<AM0PR098A2D8F92406A9FB@AM0PR01MB1234.eurprd01.prod.outlook.example>
<22>1 2026-11-29T02:06:22.672775+00:00 dock postfix/qmgr 199 - -  4jcVrG4lbcz1SKvt: from=<u20@reef.example>, size=884, nrcpt=2 (queue active)
<22>1 2026-11-29T02:06:22.676847+00:00 dock postfix/smtp 220 - -  4jcVrG4lbcz1SKvt: to=<ugo@far.example>, relay=gull.quay.example[10.99.0.21]:25, delay=0.01, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 9896827)
<22>1 2026-11-29T02:06:22.676927+00:00 dock postfix/qmgr 199 - -  4jcVrG4lbcz1SKvt: removed
"""
GULL_AT_ONCE = """
Nov 29 07:36:22 gull postfix/smtpd[196]: 9896827: client=dock.quay.example[10.99.0.20]
Nov 29 07:36:22 gull postfix/cleanup[195]: 9896827: message-id=<AM0PR098A2D8F92406A9FB@AM0PR01MB1234.eurprd01.prod.outlook.example>
Nov 29 07:36:22 gull postfix/qmgr[189]: 9896827: from=<u20@reef.example>, size=1884, nrcpt=1 (queue active)
Nov 29 07:36:22 gull postfix/smtp[203]: 9896827: to=<ugo@far.example>, relay=mail.far.example[10.99.0.30]:25, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4jcVrG4Z5Xz1SKsr)
Nov 29 07:36:22 gull postfix/qmgr[189]: 9896827: removed
Nov 29 07:36:22 gull postfix/smtpd[193]: 9896827: client=dock.quay.example[10.99.0.20]
Nov 29 07:36:22 gull postfix/cleanup[195]: 9896827: message-id=<AM0PR098A2D8F92406A9FB@AM0PR01MB1234.eurprd01.prod.outlook.example>
Nov 29 07:36:22 gull postfix/qmgr[189]: 9896827: from=<u20@reef.example>, size=1526, nrcpt=1 (queue active)
Nov 29 07:36:22 gull postfix/smtp[198]: 9896827: to=<ugo@far.example>, relay=mail.far.example[10.99.0.30]:25, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4jcVrG4k52z1SKss)
Nov 29 07:36:22 gull postfix/qmgr[189]: 9896827: removed
Nov 29 07:36:22 gull postfix/smtpd[196]: 9896827: client=dock.quay.example[10.99.0.20]
Nov 29 07:36:22 gull postfix/cleanup[194]: 9896827: message-id=<AM0PR098A2D8F92406A9FB@AM0PR01MB1234.eurprd01.prod.outlook.example>
Nov 29 07:36:22 gull postfix/qmgr[189]: 9896827: from=<u20@reef.example>, size=1069, nrcpt=1 (queue active)
Nov 29 07:36:22 gull postfix/smtp[201]: 9896827: to=<ugo@far.example>, relay=mail.far.example[10.99.0.30]:25, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4jcVrG4rVJz1SKss)
Nov 29 07:36:22 gull postfix/qmgr[189]: 9896827: removed
Nov 29 07:36:22 gull postfix/smtpd[190]: 9896827: client=dock.quay.example[10.99.0.20]
Nov 29 07:36:22 gull postfix/cleanup[195]: 9896827: message-id=<CAF62ef4df9bb7cdd47=x+62ef@mail.gmail.example>
Nov 29 07:36:22 gull postfix/qmgr[189]: 9896827: from=<wes@dune.example>, size=1198, nrcpt=1 (queue active)
Nov 29 07:36:22 gull postfix/smtp[200]: 9896827: to=<sid@far.example>, relay=mail.far.example[10.99.0.30]:25, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4jcVrG5Jrcz1SKss)
Nov 29 07:36:22 gull postfix/qmgr[189]: 9896827: removed
"""
FAR_AT_ONCE = """
2026-11-29T02:06:22.643917+00:00 far postfix/smtpd[202]: 4jcVrG4Z5Xz1SKsr: client=gull.quay.example[10.99.0.21]
2026-11-29T02:06:22.644209+00:00 far postfix/cleanup[209]: 4jcVrG4Z5Xz1SKsr: message-id=<AM0PR098A2D8F92406A9FB@AM0PR01MB1234.eurprd01.prod.outlook.example>
2026-11-29T02:06:22.644975+00:00 far postfix/qmgr[201]: 4jcVrG4Z5Xz1SKsr: from=<u20@reef.example>, size=2263, nrcpt=1 (queue active)
2026-11-29T02:06:22.645769+00:00 far postfix/virtual[213]: 4jcVrG4Z5Xz1SKsr: to=<ugo@far.example>, relay=virtual, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (delivered to maildir)
2026-11-29T02:06:22.646055+00:00 far postfix/qmgr[201]: 4jcVrG4Z5Xz1SKsr: removed
2026-11-29T02:06:22.665491+00:00 far postfix/smtpd[205]: 4jcVrG4k52z1SKss: client=gull.quay.example[10.99.0.21]
2026-11-29T02:06:22.665768+00:00 far postfix/cleanup[209]: 4jcVrG4k52z1SKss: message-id=<AM0PR098A2D8F92406A9FB@AM0PR01MB1234.eurprd01.prod.outlook.example>
2026-11-29T02:06:22.668215+00:00 far postfix/qmgr[201]: 4jcVrG4k52z1SKss: from=<u20@reef.example>, size=1905, nrcpt=1 (queue active)
2026-11-29T02:06:22.671795+00:00 far postfix/virtual[213]: 4jcVrG4k52z1SKss: to=<ugo@far.example>, relay=virtual, delay=0.01, delays=0/0/0/0, dsn=2.0.0, status=sent (delivered to maildir)
2026-11-29T02:06:22.672066+00:00 far postfix/qmgr[201]: 4jcVrG4k52z1SKss: removed
2026-11-29T02:06:22.682823+00:00 far postfix/smtpd[210]: 4jcVrG4rVJz1SKss: client=gull.quay.example[10.99.0.21]
2026-11-29T02:06:22.683702+00:00 far postfix/cleanup[211]: 4jcVrG4rVJz1SKss: message-id=<AM0PR098A2D8F92406A9FB@AM0PR01MB1234.eurprd01.prod.outlook.example>
2026-11-29T02:06:22.685013+00:00 far postfix/qmgr[201]: 4jcVrG4rVJz1SKss: from=<u20@reef.example>, size=1448, nrcpt=1 (queue active)
2026-11-29T02:06:22.686465+00:00 far postfix/virtual[212]: 4jcVrG4rVJz1SKss: to=<ugo@far.example>, relay=virtual, delay=0.01, delays=0.01/0/0/0, dsn=2.0.0, status=sent (delivered to maildir)
2026-11-29T02:06:22.686520+00:00 far postfix/qmgr[201]: 4jcVrG4rVJz1SKss: removed
2026-11-29T02:06:22.748678+00:00 far postfix/smtpd[202]: 4jcVrG5Jrcz1SKss: client=gull.quay.example[10.99.0.21]
2026-11-29T02:06:22.749009+00:00 far postfix/cleanup[209]: 4jcVrG5Jrcz1SKss: message-id=<CAF62ef4df9bb7cdd47=x+62ef@mail.gmail.example>
2026-11-29T02:06:22.749595+00:00 far postfix/qmgr[201]: 4jcVrG5Jrcz1SKss: from=<wes@dune.example>, size=1577, nrcpt=1 (queue active)
2026-11-29T02:06:22.750825+00:00 far postfix/virtual[213]: 4jcVrG5Jrcz1SKss: to=<sid@far.example>, relay=virtual, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (delivered to maildir)
2026-11-29T02:06:22.751077+00:00 far postfix/qmgr[201]: 4jcVrG5Jrcz1SKss: removed
"""
IN_TURN = [
    "ugo@far.example delivered dock:4jcVrG4P3Gz1SKtc gull:9896827 far:4jcVrG4Z5Xz1SKsr",
    "ugo@far.example delivered dock:4jcVrG4fykz1SKss gull:9896827 far:4jcVrG4k52z1SKss",
    "ugo@far.example delivered dock:4jcVrG4lbcz1SKvt gull:9896827 far:4jcVrG4rVJz1SKss",
]


def test_a_short_id_that_copies_had_in_one_second_leads_to_each_in_turn() -> None:
    found = read(dock=DOCK_AT_ONCE, gull=GULL_AT_ONCE, far=FAR_AT_ONCE)
    assert rows(found) == sorted([*IN_TURN, "sid@far.example delivered gull:9896827 far:4jcVrG5Jrcz1SKss"])
    assert [link for link in links(found) if link.startswith("dock")] == [
        "dock:4jcVrG4P3Gz1SKtc relayed gull:9896827 likely",
        "dock:4jcVrG4fykz1SKss relayed gull:9896827#2 likely",
        "dock:4jcVrG4lbcz1SKvt relayed gull:9896827#3 likely",
    ]


def test_where_one_of_such_copies_has_lost_its_answer_none_is_chosen() -> None:
    some = "\n".join(line for line in DOCK_AT_ONCE.split("\n") if "4jcVrG4fykz1SKss: to=" not in line)
    found = read(dock=some, gull=GULL_AT_ONCE, far=FAR_AT_ONCE)
    assert {link.split()[-1] for link in links(found) if link.startswith("dock")} == {"ambiguous"}


def probes(count: int, told: int) -> tuple[str, str]:
    """Logs of a monitor's probes, one a minute, all with one Message-ID; each `told`-th reply names the next ID."""
    sent, came = [], []
    for n in range(count):
        at, one, two = (
            f"2026-11-02T{10 + n // 60:02}:{n % 60:02}:00.000000+00:00",
            f"{0xA0000000A1 + n:X}",
            f"{0xB0000000B1 + n:X}",
        )
        reply = f"250 2.0.0 Ok: queued as {two}" if told and not n % told else "250 OK"
        sent += [
            f"{at} edge postfix/smtpd[1]: {one}: client=probe.example[192.0.2.9]",
            f"{at} edge postfix/cleanup[2]: {one}: message-id=<probe@probe.example>",
            f"{at} edge postfix/qmgr[3]: {one}: from=<p@probe.example>, size=100, nrcpt=1 (queue active)",
            f"{at} edge postfix/smtp[4]: {one}: to=<r@store.example>, relay=store.example[192.0.2.2]:25, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent ({reply})",
            f"{at} edge postfix/qmgr[3]: {one}: removed",
        ]
        came += [
            f"{at} store postfix/smtpd[1]: {two}: client=edge.example[192.0.2.1]",
            f"{at} store postfix/cleanup[2]: {two}: message-id=<probe@probe.example>",
            f"{at} store postfix/qmgr[3]: {two}: from=<p@probe.example>, size=300, nrcpt=1 (queue active)",
            f"{at} store postfix/local[4]: {two}: to=<r@store.example>, relay=local, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (delivered to mailbox)",
            f"{at} store postfix/qmgr[3]: {two}: removed",
        ]
    return "\n".join(sent), "\n".join(came)


def test_of_a_crowd_of_messages_alike_each_is_the_one_of_its_moment_where_clocks_are_known_to_agree() -> None:
    edge, store = probes(300, told=50)
    found = rows(read(edge=edge, store=store))
    assert found == [
        f"r@store.example delivered edge:{0xA0000000A1 + n:X} store:{0xB0000000B1 + n:X}" for n in range(300)
    ]


def test_of_a_crowd_of_messages_alike_none_is_chosen_where_they_may_not_and_few_are_named() -> None:
    edge, store = probes(300, told=0)
    found = links(read(edge=edge, store=store))
    assert {link.split()[-1] for link in found} == {"ambiguous"}
    assert 300 <= len(found) <= 300 * 32
