"""Which hand-offs went over TLS: told by the lines of their connections, and never where these do not tell."""

# ruff: noqa: E501 - log lines are as long as they are

from __future__ import annotations

from collections import Counter

import pytest
from truth import fleet

from mailtrace import run_job
from mailtrace.assemble import assemble
from mailtrace.assemble.names import loopback
from mailtrace.model import Delivery, Hop
from mailtrace.parsers import make_parser

CIPHER = "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)"
TLS = f"{CIPHER} key-exchange X25519 server-signature ECDSA (prime256v1) server-digest SHA256"
FRESH = "ehlo=2 starttls=1 mail=1 rcpt=1 data=1 quit=1 commands=7"
PLAIN = "ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5"


def told(*lines: str) -> list[Hop]:
    """The hops of one mail server's log; a line begins with its seconds."""
    text = "\n".join(f"2026-11-23T01:04:{line[:2]}.{line[3:6]}+00:00 mx1 {line[7:]}" for line in lines)
    entries = make_parser(sessions=True).parse(text.encode(), 0, "mx1")
    return [hop for mail in assemble(entries, near=1.8e9, tls=True).mails for hop in mail.hops]


def smtpd(*lines: str, queue_id: str = "8F0A22FCB3F", at: str = "10.500") -> list[str]:
    """A message that smtpd 108 took from c[192.0.2.1], among other lines of it."""
    return sorted(
        [
            *(f"{line[:6]} postfix/smtpd[108]: {line[7:]}" for line in lines),
            f"{at} postfix/smtpd[108]: {queue_id}: client=c[192.0.2.1]",
            f"{at} postfix/cleanup[112]: {queue_id}: message-id=<{queue_id}@c>",
            f"{at} postfix/qmgr[107]: {queue_id}: from=<a@c>, size=1847, nrcpt=1 (queue active)",
        ]
    )


def came(*lines: str) -> tuple[str, bool]:
    """How that message came."""
    (hop,) = told(*smtpd(*lines))
    return hop.tls, hop.plain


def test_a_message_of_a_connection_with_tls_came_over_it() -> None:
    begun = [
        "10.100 connect from c[192.0.2.1]",
        f"10.200 Anonymous TLS connection established from c[192.0.2.1]: {TLS}",
    ]
    assert came(*begun) == (CIPHER, False)
    assert came(*begun, f"10.600 disconnect from c[192.0.2.1] {FRESH}") == (CIPHER, False)


def test_the_counters_tell_of_tls_that_is_not_logged() -> None:
    assert came(f"10.600 disconnect from c[192.0.2.1] {FRESH}") == ("STARTTLS", False)


def test_the_counters_tell_that_there_was_none() -> None:
    assert came("10.100 connect from c[192.0.2.1]", f"10.600 disconnect from c[192.0.2.1] {PLAIN}") == ("", True)
    failed = PLAIN.replace("mail=1", "starttls=0/1 mail=1")
    assert came("10.100 connect from c[192.0.2.1]", f"10.600 disconnect from c[192.0.2.1] {failed}") == ("", True)


def test_where_no_line_tells_nothing_is_said() -> None:
    assert came() == ("", False)
    assert came("10.100 connect from c[192.0.2.1]", "10.600 disconnect from c[192.0.2.1]") == ("", False)


def test_a_client_that_logged_in_without_starttls_may_have_come_to_a_port_of_tls_alone() -> None:
    lines = smtpd("10.100 connect from c[192.0.2.1]", f"10.600 disconnect from c[192.0.2.1] {PLAIN}")
    (hop,) = told(*(line.replace("client=c[192.0.2.1]", "client=c[192.0.2.1], sasl_username=a") for line in lines))
    assert (hop.tls, hop.plain) == ("", False)
    (hop,) = told(*(line.replace("postfix/smtpd", "postfix/smtps/smtpd") for line in lines))
    assert (hop.tls, hop.plain) == ("", False)


def test_tls_of_an_earlier_connection_of_the_same_client_proves_nothing() -> None:
    secured = [
        "09.100 connect from c[192.0.2.1]",
        f"09.200 Anonymous TLS connection established from c[192.0.2.1]: {TLS}",
        "09.300 disconnect from c[192.0.2.1] ehlo=2 starttls=1 quit=1 commands=4",
    ]
    again = ["10.100 connect from c[192.0.2.1]", f"10.600 disconnect from c[192.0.2.1] {PLAIN}"]
    assert came(*secured, *again) == ("", True)
    assert came(*secured, again[0]) == ("", True)  # this log tells of TLS where there is some
    assert came(*secured, again[1]) == ("", True)  # the beginning is lost, and the end is enough
    assert came(*secured) == ("", False)


def test_another_clients_lines_prove_nothing() -> None:
    other = [
        "10.100 connect from d[192.0.2.2]",
        f"10.200 Anonymous TLS connection established from d[192.0.2.2]: {TLS}",
    ]
    assert came(*other, f"10.600 disconnect from d[192.0.2.2] {FRESH}") == ("", False)


def test_lines_of_the_same_second_have_no_order() -> None:
    def at_once(*lines: str) -> tuple[str, bool]:
        return came(*(f"10.500 {line}" for line in lines))

    first = ["connect from c[192.0.2.1]", f"Anonymous TLS connection established from c[192.0.2.1]: {TLS}"]
    ends = [f"disconnect from c[192.0.2.1] {FRESH}", f"disconnect from c[192.0.2.1] {PLAIN}"]
    assert at_once(*first, ends[0]) == (CIPHER, False)
    assert at_once(*first, ends[0], first[0], ends[1]) == ("", False)
    assert at_once(*first, first[0]) == ("", False)
    assert at_once(*first, *first) == (CIPHER, False)


def sent(*lines: str, pid: int = 113, delays: str = "0.1/0/0.2/0.3") -> Delivery:
    """How smtp 113 sent a message to mx[10.0.0.2]:25 at 12.010, among other lines of it."""
    (hop,) = told(
        *smtpd(),
        *(f"{line[:6]} postfix/smtp[{pid}]: {line[7:]}" for line in lines),
        f"12.010 postfix/smtp[113]: 8F0A22FCB3F: to=<b@d>, relay=mx[10.0.0.2]:25, delay=0.6, delays={delays}, dsn=2.0.0, status=sent (250 ok)",
    )
    (one,) = hop.deliveries
    return one


ESTABLISHED = f"Untrusted TLS connection established to mx[10.0.0.2]:25: {TLS}"


def test_a_delivery_went_over_the_connection_that_was_made_for_it() -> None:
    one = sent(f"11.700 {ESTABLISHED}")
    assert (one.tls, one.plain) == (CIPHER, False)
    assert sent(f"11.700 {ESTABLISHED.replace('established', 'reused')}").tls == CIPHER


@pytest.mark.parametrize(
    "line",
    [
        f"11.000 {ESTABLISHED}",  # longer ago than the delivery took
        f"11.700 {ESTABLISHED.replace('10.0.0.2', '10.0.0.3')}",
        f"11.700 {ESTABLISHED.replace(':25:', ':2525:')}",
    ],
)
def test_a_delivery_did_not_go_over_another_connection(line: str) -> None:
    one = sent(line)
    assert (one.tls, one.plain) == ("", True)  # for this log tells of TLS


def test_another_process_tells_nothing_but_that_tls_is_logged() -> None:
    one = sent(f"11.700 {ESTABLISHED}", pid=114)
    assert (one.tls, one.plain) == ("", True)


def test_nothing_is_said_of_a_delivery_where_tls_is_not_logged() -> None:
    one = sent()
    assert (one.tls, one.plain) == ("", False)


def test_where_tls_was_lost_the_delivery_may_have_gone_without() -> None:
    lost = "11.800 8F0A22FCB3F: lost connection with mx[10.0.0.2] while performing the EHLO handshake"
    one = sent(f"11.700 {ESTABLISHED}", lost)
    assert (one.tls, one.plain) == ("", False)


@pytest.mark.parametrize(
    "protocol, more, expected",
    [
        ("esmtps", " X=TLS1.3:TLS_AES_256_GCM_SHA384:256", ("TLS1.3:TLS_AES_256_GCM_SHA384:256", False)),
        ("esmtps", "", ("TLS", False)),
        ("esmtpsa", "", ("TLS", False)),
        ("esmtp", "", ("", True)),
        ("utf8esmtp", "", ("", True)),
    ],
)
def test_exim_tells_by_the_protocol(protocol: str, more: str, expected: tuple[str, bool]) -> None:
    line = f"1xVITm-00000t-36 <= a@c H=c [192.0.2.1] P={protocol}{more} S=735 id=1@c for b@d"
    (hop,) = told(f"10.000 exim[5]: {line}")
    assert (hop.tls, hop.plain) == expected


def test_both_ends_of_a_real_fleets_hand_offs_say_the_same() -> None:
    report = run_job({"version": 1, "kind": "trace", "config": fleet("rough"), "find": {}, "expect": [{"tls": True}]})
    seen: Counter[tuple[str, str]] = Counter()
    for mail in report.mails:
        hops = {hop.id: hop for hop in mail.hops}
        for link in mail.links:
            here, there = hops.get(link.from_), hops.get(link.to)
            for one in here.deliveries if here and there else ():
                if there and one.reply_id == there.queue_id and not one.local and not loopback(one.relay):
                    seen[_told(one), _told(there)] += 1
    assert seen["tls", "tls"] > 600
    assert seen["tls", "plain"] == seen["plain", "tls"] == 0


def _told(side: Hop | Delivery) -> str:
    return "tls" if side.tls else "plain" if side.plain else ""


def test_a_single_mail_shows_the_tls_that_the_whole_log_shows() -> None:
    job = {"version": 1, "kind": "trace", "config": fleet("rough"), "expect": [{"tls": True}]}
    find = {"message_id": "217294027.c53331.JavaMail.app@app-a6"}
    whole = {hop.id: hop for mail in run_job({**job, "find": {}}).mails for hop in mail.hops}
    (mail,) = run_job({**job, "find": find}).mails
    assert any(hop.tls for hop in mail.hops)
    for hop in mail.hops:
        assert hop.tls == whole[hop.id].tls
        assert [one.tls for one in hop.deliveries] == [one.tls for one in whole[hop.id].deliveries]
