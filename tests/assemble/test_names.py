"""Who is who, learnt from the logs themselves: VIPs, MX names, clocks and zones of the hosts behind them."""

# ruff: noqa: E501 - log lines are as long as they are

from __future__ import annotations

import pytest
from stories import entries, hosts, links, put_together, read, rows

from mailtrace.assemble.names import Names, loopback, plain
from mailtrace.hosts import HostFacts, address
from mailtrace.model import Peer

# https://github.com/lightmeter/controlcenter, 29_inbound_relayed_message_server_{1,2}.log: no name or address of one log
# occurs in the other.
LIGHTMETER = """
Mar  9 04:27:03 lightmetermail postfix/smtpd[1966]: 670FCA58C8: client=unknown[11.11.11.11], sasl_method=LOGIN, sasl_username=sender@sender.com
Mar  9 04:27:03 lightmetermail postfix/cleanup[1969]: 670FCA58C8: message-id=<fa421b15dce6013dc6e14fec64e371b2@swift.generated>
Mar  9 04:27:03 lightmetermail postfix/qmgr[150]: 670FCA58C8: from=<sender@sender.com>, size=852, nrcpt=2 (queue active)
Mar  9 04:27:04 lightmetermail postfix/smtp[1970]: 670FCA58C8: to=<recipient@recipient.com>, relay=mail2.example.com[33.33.33.33]:587, delay=0.69, delays=0.22/0/0.35/0.12, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as F27E789349)
Mar  9 04:27:04 lightmetermail postfix/qmgr[150]: 670FCA58C8: removed
"""
MAIL2 = """
Mar  9 04:27:03 mail2 postfix/smtpd[870]: F27E789349: client=unknown[22.22.22.22]
Mar  9 04:27:04 mail2 postfix/cleanup[873]: F27E789349: message-id=<fa421b15dce6013dc6e14fec64e371b2@swift.generated>
Mar  9 04:27:04 mail2 postfix/qmgr[146]: F27E789349: from=<sender@sender.com>, size=1599, nrcpt=2 (queue active)
Mar  9 04:27:04 mail2 postfix/smtp[875]: F27E789349: to=<recipient@recipient.com>, relay=gmail-smtp-in.l.google.com[44.44.44.44]:25, delay=0.99, delays=0.07/0.03/0.12/0.77, dsn=2.0.0, status=sent (250 2.0.0 OK  1646800024 v2-20020adf8b42000000b001e897c2e2d0si580205wra.733 - gsmtp)
"""
THERE = "recipient@recipient.com relayed lightmetermail:670FCA58C8 mail2:F27E789349"


def test_a_link_needs_no_name_in_common() -> None:
    assert THERE in rows(read(lightmetermail=LIGHTMETER, mail2=MAIL2))


def test_a_proven_link_teaches_the_relays_and_the_clients_names() -> None:
    found = read(lightmetermail=LIGHTMETER, mail2=MAIL2)
    assert found.hosts_of(Peer("", "33.33.33.33")) == ("mail2",)
    assert found.hosts_of(Peer("mail2.example.com", "")) == ("mail2",)
    assert found.hosts_of(Peer("unknown", "22.22.22.22")) == ("lightmetermail",)
    assert found.hosts_of(Peer("unknown", "11.11.11.11")) == ()


def test_what_was_learnt_decides_where_a_reply_without_an_id_went() -> None:
    again = LIGHTMETER.replace("670FCA58C8", "770FCA58C8").replace("fa421b15", "00000000")
    again = again.replace("250 2.0.0 Ok: queued as F27E789349", "250 OK")
    there = MAIL2.replace("F27E789349", "E27E789349").replace("fa421b15", "00000000")
    found = read(lightmetermail=LIGHTMETER + again.lstrip("\n"), mail2=MAIL2 + there.lstrip("\n"))
    assert "lightmetermail:770FCA58C8 relayed mail2:E27E789349 likely" in links(found)


def test_a_reply_without_an_id_to_a_stranger_is_not_linked_by_message_id_alone() -> None:
    log = LIGHTMETER.replace("250 2.0.0 Ok: queued as F27E789349", "250 OK").replace("relay=mail2.", "relay=vip.")
    assert links(read(lightmetermail=log, mail2=MAIL2)) == []


# What a bounce's own Message-ID looks like: the queue ID in it is the line's own.
OWN_BOUNCE = "Mar  9 04:27:30 mail2 postfix/cleanup[873]: A48191855DA0: message-id=<20220309042730.A48191855DA0@mail2.example.com>\n"


def test_a_host_is_named_by_the_message_ids_that_it_makes_itself() -> None:
    log = LIGHTMETER.replace("250 2.0.0 Ok: queued as F27E789349", "250 OK").replace("relay=mail2.", "relay=vip.")
    found = read(lightmetermail=log, mail2=MAIL2 + OWN_BOUNCE.replace("@mail2.", "@vip."))
    assert "lightmetermail:670FCA58C8 relayed mail2:F27E789349 likely" in links(found)
    assert found.hosts_of(Peer("vip.example.com", "")) == ("mail2",)


def test_a_host_is_not_named_by_message_ids_that_others_made() -> None:
    found = read(mail2=MAIL2 + OWN_BOUNCE.replace("]: A48191855DA0", "]: B48191855DA0"))
    assert found.hosts_of(Peer("mail2.example.com", "")) == ()


def test_a_host_is_named_in_full_by_its_own_lines() -> None:
    log = LIGHTMETER.replace("250 2.0.0 Ok: queued as F27E789349", "250 OK").replace("relay=mail2.", "relay=vip.")
    found = read(lightmetermail=log, mail2=MAIL2.replace(" mail2 ", " vip.example.com "))
    assert "lightmetermail:670FCA58C8 relayed mail2:F27E789349 likely" in links(found)


def test_a_configured_address_is_enough_where_nothing_was_learnt() -> None:
    log = LIGHTMETER.replace("250 2.0.0 Ok: queued as F27E789349", "250 OK")
    inventory = hosts(lightmetermail=HostFacts(), mail2=HostFacts(addresses=("33.33.33.33",)))
    found = put_together(entries(lightmetermail=log, mail2=MAIL2), inventory)
    assert "lightmetermail:670FCA58C8 relayed mail2:F27E789349 likely" in links(found)


@pytest.mark.parametrize("seconds", [600, -600, 95])
def test_a_clock_that_is_ahead_or_behind_is_learnt_from_hand_offs(seconds: int) -> None:
    # ISO stamps carry their zone, so that only the clock itself can be wrong.
    first, second = [
        "\n".join(f"2022-03-09T{line[7:15]}.100000+00:00{line[15:]}" for line in log.strip().split("\n"))
        for log in (LIGHTMETER, MAIL2)
    ]
    lines = entries(lightmetermail=first) + [
        entry._replace(time=entry.time + seconds) for entry in entries(mail2=second)
    ]
    found = put_together(lines)
    assert THERE in rows(found)
    (note,) = found.clocks  # which of two clocks is the wrong one, nobody can tell
    assert abs(abs(note.skew_seconds) - abs(seconds)) <= 1.5
    assert (note.offset, note.proved_by) == (None, "stamp")


def test_a_zone_that_nothing_else_proves_is_learnt_from_hand_offs() -> None:
    eastern = MAIL2.replace(" 04:27:0", " 13:27:0")
    eastern = "\n".join(line for line in eastern.split("\n") if "gsmtp" not in line)  # Gmail's clock would prove it
    iso = "\n".join(f"2022-03-09T{line[7:15]}.100000+00:00{line[15:]}" for line in LIGHTMETER.strip().split("\n"))
    found = read(lightmetermail=iso, mail2=eastern)
    assert THERE.replace("relayed", "deferred") in rows(found)
    note = next(note for note in found.clocks if note.host == "mail2")
    assert (note.offset, note.proved_by) == (9 * 3600, "hand-offs")


def test_a_reply_of_a_big_provider_proves_zone_and_year() -> None:
    note = next(note for note in read(mail2=MAIL2).clocks)
    assert (note.offset, note.year_from, note.proved_by) == (0.0, "ids", "replies")
    assert read(mail2=MAIL2).mails[0].first == 1646800023.0  # 2022-03-09T04:27:03Z


@pytest.mark.parametrize(
    "peer",
    [
        Peer("localhost", "127.0.0.1", 10024),
        Peer("localhost", "::1"),
        Peer("mail.sender.com", "/var/run/dovecot/lmtp"),
        Peer("mailbox2.lab.test", "private/dovecot-lmtp"),
        Peer("localhost", ""),
    ],
)
def test_loopback_and_sockets_are_the_host_itself(peer: Peer) -> None:
    assert loopback(peer)
    assert Names(None, ["a"]).is_local(peer, "a")


@pytest.mark.parametrize(
    "peer", [Peer("localhost", "203.0.113.5"), Peer("mx", "10.127.0.1"), Peer("local.example", "")]
)
def test_a_name_like_localhost_with_another_address_is_not(peer: Peer) -> None:
    assert not loopback(peer)


def test_addresses_are_compared_by_value() -> None:
    assert address("IPv6:2001:DB8::0:1") == address("2001:db8:0::1") == "2001:db8::1"
    assert address("::ffff:192.0.2.1") == "192.0.2.1"
    assert address("fe80::1%eth0") == "fe80::1"
    assert address("not:an:address") == "not:an:address"
    assert plain("MX1.Example.COM.") == "mx1.example.com"


def test_an_address_that_belongs_to_several_hosts_is_each_of_them_and_one_wrong_link_teaches_nothing() -> None:
    names = Names(None, ["a", "b", "c"])
    for host, times in (("a", 10), ("b", 8), ("c", 1)):
        for _ in range(times):
            names.learn(Peer("vip.example.com", "192.0.2.7"), host)
    assert names.of(Peer("other.example.com", "192.0.2.7")) == {"a", "b"}


def test_a_name_that_begins_like_a_hosts_is_it_only_together_with_the_message_id() -> None:
    log = LIGHTMETER.replace("250 2.0.0 Ok: queued as F27E789349", "250 OK")
    log = log.replace("relay=mail2.example.com[33.33.33.33]", "relay=filter.example.com[33.33.33.33]")
    there = MAIL2.replace(" mail2 ", " filter ")
    assert links(read(lightmetermail=log, filter=there)) == [
        "lightmetermail:670FCA58C8 relayed filter:F27E789349 likely"
    ]
    for other_id in ("<>", "<another@swift.generated>"):
        other = there.replace("<fa421b15dce6013dc6e14fec64e371b2@swift.generated>", other_id)
        found = read(lightmetermail=log, filter=other)
        assert links(found) == []
        assert found.hosts_of(Peer("filter.example.com", "33.33.33.33")) == ()


def test_a_hosts_domain_is_learnt_and_then_its_neighbours_are_known_by_name() -> None:
    names = Names(None, ["mx1", "mx2"])
    assert names.of(Peer("mx2.example.com", "192.0.2.2")) == frozenset()
    names.learn(Peer("mx1.example.com", "192.0.2.1"), "mx1")
    assert names.of(Peer("mx2.example.com", "192.0.2.2")) == {"mx2"}
    assert names.of(Peer("mx2.elsewhere.org", "198.51.100.2")) == frozenset()


def test_unknown_is_nobodys_name() -> None:
    names = Names(None, ["a"])
    names.learn(Peer("unknown", "192.0.2.1"), "a")
    assert names.of(Peer("unknown", "192.0.2.9")) == frozenset()
