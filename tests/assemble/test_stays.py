"""Lines → stays: whose lines belong together, where one queue ID was used again, and which line came twice."""

# ruff: noqa: E501 - log lines are as long as they are

from __future__ import annotations

import pytest
from stories import entries, links, only, put_together, read, rows

GULL = """
Nov 23 12:11:25 gull postfix/smtpd[190]: 3D0902C: client=core-out.quay.example[10.99.0.15]
Nov 23 12:11:25 gull postfix/cleanup[194]: 3D0902C: message-id=<51459b25dbe3589c@far.example>
Nov 23 12:11:25 gull postfix/qmgr[187]: 3D0902C: from=<tess@far.example>, size=2671, nrcpt=1 (queue active)
Nov 23 12:11:25 gull postfix/smtp[200]: 3D0902C: to=<inga@isle.example>, relay=mail.isle.example[10.99.0.30]:25, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4jXxDP2D9nz1Sq4t)
Nov 23 12:11:25 gull postfix/qmgr[187]: 3D0902C: removed
Nov 23 12:11:26 gull postfix/smtpd[190]: 3D0902C: client=dock.quay.example[10.99.0.20]
Nov 23 12:11:26 gull postfix/cleanup[194]: 3D0902C: message-id=<3e15f92df9141608@quay.example>
Nov 23 12:11:26 gull postfix/qmgr[187]: 3D0902C: from=<ada@quay.example>, size=2679, nrcpt=1 (queue active)
Nov 23 12:11:26 gull postfix/smtp[208]: 3D0902C: to=<sid@far.example>, relay=mail.far.example[10.99.0.30]:25, delay=0.13, delays=0/0/0/0.13, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4jXxDQ2g2Mz1Sq5Z)
Nov 23 12:11:26 gull postfix/qmgr[187]: 3D0902C: removed
"""
BOTH = ["inga@isle.example relayed gull:3D0902C", "sid@far.example relayed gull:3D0902C"]


def lines(text: str) -> list[str]:
    return text.strip().split("\n")


def test_a_queue_id_used_again_a_second_later_is_another_mail() -> None:
    found = read(gull=GULL)
    assert rows(found) == BOTH
    assert [mail.id for mail in found.mails] == ["gull:postfix:3D0902C", "gull:postfix:3D0902C#2"]
    assert [mail.message_id for mail in found.mails] == [
        "51459b25dbe3589c@far.example",
        "3e15f92df9141608@quay.example",
    ]


def test_a_queue_id_used_again_hours_later_is_another_mail_also_without_the_first_ones_last_line() -> None:
    log = lines(GULL)
    log = [*log[:4], *(line.replace("12:11:26", "15:48:09") for line in log[5:])]
    assert rows(read(gull="\n".join(log))) == BOTH


def test_a_queue_id_used_again_is_another_mail_also_where_no_client_line_is_left() -> None:
    log = [line.replace("12:11:26", "15:48:09") for line in lines(GULL) if "client=" not in line]
    assert rows(read(gull="\n".join(log))) == BOTH


@pytest.mark.parametrize("at", range(1, 4))
def test_a_client_line_that_a_loghost_wrote_late_opens_no_second_life(at: int) -> None:
    log = lines(GULL)[:5]
    log.insert(at, log.pop(0))
    found = read(gull="\n".join(log))
    assert rows(found) == BOTH[:1]
    assert only(found).hops[0].client.name == "core-out.quay.example"


def test_removed_that_a_loghost_wrote_before_the_last_delivery_opens_no_second_life() -> None:
    log = lines(GULL)[:5]
    log[3], log[4] = log[4], log[3]
    assert rows(read(gull="\n".join(log))) == BOTH[:1]


def test_lines_that_came_from_two_files_count_once() -> None:
    once = entries(gull=GULL)
    twice = [*once, *(entry._replace(seq=entry.seq + 500) for entry in once)]
    assert [row.attempts for mail in put_together(twice).mails for row in mail.recipients] == [1, 1]
    assert rows(put_together(twice)) == BOTH


IN_ONE_SECOND = """
Nov 29 07:29:59 gull postfix/smtpd[190]: 5B8D827: client=dock.quay.example[10.99.0.20]
Nov 29 07:29:59 gull postfix/cleanup[193]: 5B8D827: message-id=<0ae1cb2d692836b5@dune.example>
Nov 29 07:29:59 gull postfix/qmgr[189]: 5B8D827: from=<uma@dune.example>, size=2693, nrcpt=1 (queue active)
Nov 29 07:29:59 gull postfix/smtp[196]: 5B8D827: to=<vera@far.example>, relay=mail.far.example[10.99.0.30]:25, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4jcVhv324vz1SGlm)
Nov 29 07:29:59 gull postfix/qmgr[189]: 5B8D827: removed
Nov 29 07:29:59 gull postfix/smtpd[197]: 5B8D827: client=dock.quay.example[10.99.0.20]
Nov 29 07:29:59 gull postfix/cleanup[198]: 5B8D827: message-id=<86e2ed08.fe48333f.JavaMail.root@app-86>
Nov 29 07:29:59 gull postfix/qmgr[189]: 5B8D827: from=<u17@reef.example>, size=846, nrcpt=1 (queue active)
Nov 29 07:29:59 gull postfix/smtp[194]: 5B8D827: to=<sid@far.example>, relay=mail.far.example[10.99.0.30]:25, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4jcVhv37SDz1SGll)
Nov 29 07:29:59 gull postfix/qmgr[189]: 5B8D827: removed
Nov 29 07:29:59 gull postfix/smtpd[190]: 5B8D827: client=dock.quay.example[10.99.0.20]
Nov 29 07:29:59 gull postfix/cleanup[193]: 5B8D827: message-id=<AM0PR0B22F86A9998A2C3F@AM0PR01MB1234.eurprd01.prod.outlook.example>
Nov 29 07:29:59 gull postfix/qmgr[189]: 5B8D827: from=<eve@quay.example>, size=1174, nrcpt=1 (queue active)
Nov 29 07:29:59 gull postfix/smtp[196]: 5B8D827: to=<sid@far.example>, relay=mail.far.example[10.99.0.30]:25, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4jcVhv3TPCz1SGlr)
Nov 29 07:29:59 gull postfix/qmgr[189]: 5B8D827: removed
"""
THREE = [
    "sid@far.example relayed gull:5B8D827",
    "sid@far.example relayed gull:5B8D827",
    "vera@far.example relayed gull:5B8D827",
]


def test_a_queue_id_used_three_times_in_a_second_is_three_mails() -> None:
    once = entries(gull=IN_ONE_SECOND)
    found = put_together(once)
    assert rows(found) == THREE
    assert [mail.message_id for mail in found.mails] == [
        "0ae1cb2d692836b5@dune.example",
        "86e2ed08.fe48333f.JavaMail.root@app-86",
        "AM0PR0B22F86A9998A2C3F@AM0PR01MB1234.eurprd01.prod.outlook.example",
    ]
    assert all(hop.removed for mail in found.mails for hop in mail.hops)


def test_lines_of_such_a_second_that_came_from_two_files_count_once() -> None:
    once = entries(gull=IN_ONE_SECOND)
    after = [entry._replace(seq=entry.seq + 500) for entry in once]
    between = [entry._replace(seq=entry.seq + 0.5) for entry in once]  # type: ignore[arg-type]
    for more in (after, between):
        found = put_together([*once, *more])
        assert rows(found) == THREE
        assert [row.attempts for mail in found.mails for row in mail.recipients] == [1, 1, 1]


NOTICES_IN_ONE_SECOND = """
Nov 29 09:20:14 gull postfix/smtpd[190]: 1E8482B: client=dock.quay.example[10.99.0.20]
Nov 29 09:20:14 gull postfix/cleanup[193]: 1E8482B: message-id=<CAF4d702a262f1c40df=x+4d70@mail.gmail.example>
Nov 29 09:20:14 gull postfix/qmgr[189]: 1E8482B: from=<xia.long-name_with.parts@dune.example>, size=1615, nrcpt=1 (queue active)
Nov 29 09:20:14 gull postfix/smtp[199]: 1E8482B: to=<slow76d07@far.example>, relay=mail.far.example[10.99.0.30]:25, delay=0.13, delays=0/0/0/0.13, dsn=4.2.2, status=deferred (host mail.far.example[10.99.0.30] said: 450 4.2.2 <slow76d07@far.example>: Recipient address rejected: Mailbox busy (in reply to RCPT TO command))
Nov 29 09:20:16 gull postfix/smtpd[190]: 5B8D833: client=dock.quay.example[10.99.0.20]
Nov 29 09:20:16 gull postfix/cleanup[193]: 5B8D833: message-id=<CAF954b5a686e3915d7=x+954b@mail.gmail.example>
Nov 29 09:20:16 gull postfix/qmgr[189]: 5B8D833: from=<xia.long-name_with.parts@dune.example>, size=1218, nrcpt=2 (queue active)
Nov 29 09:20:16 gull postfix/smtp[199]: 5B8D833: to=<a=b@isle.example>, relay=mail.isle.example[10.99.0.30]:25, delay=0.13, delays=0/0/0/0.13, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4jcY883YKrz1TfWv)
Nov 29 09:20:16 gull postfix/smtp[198]: 5B8D833: to=<x21bd6@dead.example>, relay=none, delay=0.5, delays=0/0/0.5/0, dsn=4.4.1, status=deferred (connect to mx.dead.example[10.99.0.250]:25: No route to host)
Nov 29 09:20:30 gull postfix/cleanup[211]: 0000049: message-id=<20261129035030.0000049@gull.quay.example>
Nov 29 09:20:30 gull postfix/qmgr[189]: 0000049: from=<>, size=3030, nrcpt=1 (queue active)
Nov 29 09:20:30 gull postfix/bounce[196]: 5B8D833: sender delay notification: 0000049
Nov 29 09:20:30 gull postfix/smtp[199]: 0000049: to=<xia.long-name_with.parts@dune.example>, relay=inbound.quay.example[10.99.0.14]:25, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 153619B0601)
Nov 29 09:20:30 gull postfix/qmgr[189]: 0000049: removed
Nov 29 09:20:30 gull postfix/cleanup[211]: 0000049: message-id=<20261129035030.0000049@gull.quay.example>
Nov 29 09:20:30 gull postfix/bounce[204]: 1E8482B: sender delay notification: 0000049
Nov 29 09:20:30 gull postfix/qmgr[189]: 0000049: from=<>, size=3160, nrcpt=1 (queue active)
Nov 29 09:20:30 gull postfix/smtp[194]: 0000049: to=<xia.long-name_with.parts@dune.example>, relay=inbound.quay.example[10.99.0.14]:25, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 183FC9B0601)
Nov 29 09:20:30 gull postfix/qmgr[189]: 0000049: removed
"""


@pytest.mark.parametrize("cleanup", [211, 212])
def test_two_notices_that_had_one_id_and_message_id_in_one_second_are_two_mails_each_of_its_own(cleanup: int) -> None:
    first, line, second = NOTICES_IN_ONE_SECOND.rpartition("gull postfix/cleanup[211]")
    found = read(gull=f"{first}{line.replace('211', str(cleanup))}{second}")
    to = "xia.long-name_with.parts@dune.example relayed"
    assert [row for row in rows(found) if row.startswith("xia")] == [f"{to} gull:0000049"] * 2
    assert sorted(link for link in links(found) if "bounced" in link) == [
        "gull:1E8482B bounced gull:0000049#2 proven",
        "gull:5B8D833 bounced gull:0000049 proven",
    ]
    sizes = {hop.id: hop.size for mail in found.mails for hop in mail.hops}
    assert (sizes["gull:postfix:0000049"], sizes["gull:postfix:0000049#2"]) == (3030, 3160)


NOTICE_IN_A_REUSED_ID = """
Jun  3 10:40:57 mail postfix/submission/smtpd[9708]: A48191855DA0: client=some.domain.name[1.2.3.4], sasl_method=PLAIN, sasl_username=user@sender.com
Jun  3 10:40:57 mail postfix/cleanup[9709]: A48191855DA0: message-id=<ca10035e-2951-bfd5-ec7e-1a5773fce1cd@mail.sender.com>
Jun  3 10:40:57 mail postfix/qmgr[9700]: A48191855DA0: from=<user@sender.com>, size=900, nrcpt=1 (queue active)
Jun  3 10:40:57 mail postfix/lmtp[9717]: A48191855DA0: to=<other@sender.com>, relay=mail.sender.com[/var/run/dovecot/lmtp], delay=0.03, delays=0.01/0/0.02/0.01, dsn=2.0.0, status=sent (250 2.0.0 <other@sender.com> IkiQKTt+117kJgAAWP5Hkh Saved)
Jun  3 10:40:58 mail postfix/qmgr[9700]: A48191855DA0: removed
Jun  3 10:40:59 mail postfix/cleanup[9716]: A48191855DA0: message-id=<20200603104059.A48191855DA0@mail.sender.com>
Jun  3 10:40:59 mail postfix/bounce[9719]: 776E41855DB2: sender non-delivery notification: A48191855DA0
Jun  3 10:40:59 mail postfix/lmtp[9717]: A48191855DA0: to=<user@sender.com>, relay=mail.sender.com[/var/run/dovecot/lmtp], delay=0.03, delays=0.01/0/0.02/0.01, dsn=2.0.0, status=sent (250 2.0.0 <user@sender.com> IkiQKTt+117kJgAAWP5Hkg Saved)
"""


def test_a_notice_under_a_reused_id_is_a_mail_of_its_own() -> None:
    found = read(mail=NOTICE_IN_A_REUSED_ID)
    assert rows(found)[:2] == [
        "other@sender.com delivered mail:A48191855DA0",
        "user@sender.com delivered mail:A48191855DA0",
    ]
    assert {
        row.recipient: mail.id for mail in found.mails for row in mail.recipients if "@sender" in row.recipient
    } == {
        "other@sender.com": "mail:postfix:A48191855DA0",
        "user@sender.com": "mail:postfix:A48191855DA0#2",
    }


def test_one_queue_id_in_two_instances_at_once_is_two_mails() -> None:
    # Two instances on one host, each with its own queue, may hold the same ID.
    first = [line.replace("gull postfix/", "gull postfix-in/") for line in lines(GULL)[:5]]
    second = [
        line.replace("12:11:26", "12:11:25").replace("gull postfix/", "gull postfix-out/") for line in lines(GULL)[5:]
    ]
    found = read(gull="\n".join([*first, *second]))
    assert rows(found) == BOTH
    assert sorted(mail.id for mail in found.mails) == ["gull:postfix-in:3D0902C", "gull:postfix-out:3D0902C"]


def test_a_service_with_a_syslog_name_of_its_own_belongs_to_the_instance_of_its_queue_manager() -> None:
    log = lines(GULL)[:5]
    log[0] = log[0].replace("postfix/smtpd", "from-core/smtpd")
    log[3] = log[3].replace("postfix/smtp", "to-world/smtp")
    mail = only(read(gull="\n".join(log)))
    assert [hop.id for hop in mail.hops] == ["gull:postfix:3D0902C"]
    assert mail.hops[0].client.name == "core-out.quay.example"
    assert [delivery.recipient for delivery in mail.hops[0].deliveries] == ["inga@isle.example"]


def test_each_retry_is_one_attempt_and_the_last_decides() -> None:
    found = read(
        gull="""
        Nov 23 12:11:22 gull postfix/smtpd[188]: 1E84840: client=dock.quay.example[10.99.0.20]
        Nov 23 12:11:22 gull postfix/cleanup[194]: 1E84840: message-id=<8fb62ef87d70257e@reef.example>
        Nov 23 12:11:22 gull postfix/qmgr[187]: 1E84840: from=<u20@reef.example>, size=1515, nrcpt=2 (queue active)
        Nov 23 12:11:22 gull postfix/error[205]: 1E84840: to=<x5464b@dead.example>, relay=none, delay=0, delays=0/0/0/0, dsn=4.4.1, status=deferred (delivery temporarily suspended: connect to mx.dead.example[10.99.0.250]:25: No route to host)
        Nov 23 12:11:25 gull postfix/qmgr[187]: 1E84840: from=<u20@reef.example>, size=1515, nrcpt=2 (queue active)
        Nov 23 12:11:28 gull postfix/smtp[197]: 1E84840: to=<x5464b@dead.example>, relay=none, delay=6, delays=2.9/0/3.1/0, dsn=4.4.1, status=deferred (connect to mx.dead.example[10.99.0.250]:25: No route to host)
        """
    )
    (row,) = only(found).recipients
    assert (row.outcome, row.attempts, row.reason) == (
        "deferred",
        2,
        "connect to mx.dead.example[10.99.0.250]:25: No route to host",
    )


# Its stamps have no year: by their face the mail was removed before it came.
NEW_YEAR = """
Dec 31 23:59:52 out1 postfix-out/smtpd[190]: EEC479DA752: client=sub1.lab.test[10.77.0.20]
Dec 31 23:59:52 out1 postfix-out/cleanup[194]: EEC479DA752: message-id=<51459b25dbe3589c@lab.test>
Dec 31 23:59:52 out1 postfix-out/qmgr[187]: EEC479DA752: from=<ada@lab.test>, size=2671, nrcpt=1 (queue active)
Dec 31 23:59:52 out1 postfix-out/smtp[200]: EEC479DA752: to=<inga@isle.example>, relay=mail.isle.example[10.99.0.30]:25, delay=0.1, delays=0/0/0.1/0, dsn=4.2.0, status=deferred (host mail.isle.example[10.99.0.30] said: 450 4.2.0 Greylisted (in reply to RCPT TO command))
Jan  1 00:00:31 out1 postfix-out/smtp[200]: EEC479DA752: to=<inga@isle.example>, relay=mail.isle.example[10.99.0.30]:25, delay=39, delays=39/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 OK  1767225631 l7si764411eey.60 - gsmtp)
Jan  1 00:00:31 out1 postfix-out/qmgr[187]: EEC479DA752: removed
"""


def test_a_mail_that_waits_in_the_night_of_new_year_is_one() -> None:
    mail = only(read(out1=NEW_YEAR))
    assert [(row.outcome, row.attempts, row.seconds) for row in mail.recipients] == [("relayed", 2, 39.0)]
    assert (mail.first, mail.last) == (1767225592.0, 1767225631.0)  # 2025-12-31T23:59:52Z


# In Berlin it is three o'clock, and then two again; by their faces the mail was removed before it came.
SUMMERS_END = """
Oct 25 02:59:59 washer postfix/smtpd[142]: F22A59F01F4: client=localhost[127.0.0.1]
Oct 25 02:59:59 washer postfix/cleanup[149]: F22A59F01F4: message-id=<51459b25dbe3589c@quay.example>
Oct 25 02:59:59 washer postfix/qmgr[124]: F22A59F01F4: from=<ada@quay.example>, size=2407, nrcpt=1 (queue active)
Oct 25 02:00:00 washer postfix/smtp[214]: F22A59F01F4: to=<flo@quay.example>, relay=core.quay.example[10.99.0.14]:25, delay=0.9, delays=0.1/0/0/0.8, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 0A2169F01F6)
Oct 25 02:00:00 washer postfix/qmgr[124]: F22A59F01F4: removed
"""


def test_a_mail_in_the_night_when_summer_time_ends_is_one() -> None:
    mail = only(read(washer=SUMMERS_END))
    assert (mail.sender, [row.outcome for row in mail.recipients]) == ("ada@quay.example", ["relayed"])


def test_the_same_lines_in_a_second_file_are_no_clock_that_was_put_back() -> None:
    first = SUMMERS_END.replace("02:59:59", "01:10:00").replace("02:00:00", "01:59:00")
    mail = only(put_together([*entries(washer=first), *(e._replace(seq=e.seq + 100) for e in entries(washer=first))]))
    assert [(row.outcome, row.attempts) for row in mail.recipients] == [("relayed", 1)]


def test_a_message_id_that_is_empty_is_no_message_id() -> None:
    mail = only(
        read(
            mx1="""
            2026-11-23T01:04:30.695089+00:00 mx1 postfix/smtpd[109]: A9ADD2B2985: client=client.lab.test[10.77.0.250]
            2026-11-23T01:04:30.695743+00:00 mx1 postfix/cleanup[112]: A9ADD2B2985: message-id=<>
            2026-11-23T01:04:30.696571+00:00 mx1 postfix/qmgr[105]: A9ADD2B2985: from=<paula@planet.lab.test>, size=1102, nrcpt=2 (queue active)
            """
        )
    )
    assert mail.message_id == ""


def test_the_same_id_on_two_hosts_is_two_mails() -> None:
    other = GULL.replace(" gull ", " tern ")
    found = read(gull="\n".join(lines(GULL)[:5]), tern="\n".join(lines(other)[5:]))
    assert rows(found) == ["inga@isle.example relayed gull:3D0902C", "sid@far.example relayed tern:3D0902C"]
    assert links(found) == []


def test_an_exim_message_is_one_stay_with_its_ids_clock_and_all_its_lines() -> None:
    mail = only(
        read(
            exim1="""
            2026-11-23 01:04:20 1xVITk-00000b-19 <= paula@planet.lab.test H=(relay1.lab.test) [10.77.0.14] P=esmtp S=1931 id=CA+9f7528003d34=d7299d60_w@mail.gmail.example
            2026-11-23 01:04:20 1xVITk-00000b-19 => bella@beta.lab.test <roam2@gamma.lab.test> R=delta_out T=remote_smtp H=mailbox2.lab.test [10.77.0.16] K C="250 2.0.0 Ok: 1968 bytes queued as 5A5972FCB66"
            2026-11-23 01:04:20 1xVITk-00000b-19 Completed
            """
        )
    )
    (hop,) = mail.hops
    assert (hop.mta, hop.removed, hop.client.ip, mail.size) == ("exim", True, "10.77.0.14", 1931)
    assert mail.message_id == "CA+9f7528003d34=d7299d60_w@mail.gmail.example"


def test_what_an_exim_cutthrough_delivers_before_it_accepts_is_the_same_stay() -> None:
    # `>>` is logged before `<=`; the same queue ID, one life.
    found = read(
        exim="""
        1999-03-02 09:44:33 10HmaX-000000005vi-0000 >> u@domain.com R=all T=smtp H=127.0.0.1 [127.0.0.1] C="250 OK id=10HmaY-000000005vi-0000"
        1999-03-02 09:44:34 10HmaX-000000005vi-0000 <= sender@source.dom H=(ehlo.domain) [127.0.0.1] P=smtp S=sss
        1999-03-02 09:44:34 10HmaX-000000005vi-0000 Completed
        """
    )
    assert [mail.id for mail in found.mails] == ["exim:exim:10HmaX-000000005vi-0000"]
