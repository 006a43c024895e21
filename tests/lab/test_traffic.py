"""One seed is one traffic; another seed is another."""

from __future__ import annotations

from .fleet import FLEET, HOME, MAILBOXES, finals
from .traffic import SCENARIOS, Writer


def test_a_seed_gives_the_same_traffic_again() -> None:
    assert list(Writer(3, 45).sessions(0.2)) == list(Writer(3, 45).sessions(0.2))


def test_another_seed_gives_other_traffic() -> None:
    one, other = (list(Writer(seed, 45).sessions(0.2)) for seed in (3, 4))
    assert [session.at for session in one] != [session.at for session in other]


def test_every_kind_of_mail_is_sent_at_least_once() -> None:
    mails = [mail for session in Writer(5, 45).sessions(0.01) for mail in session.mails]
    assert {mail.scenario for mail in mails} == set(SCENARIOS)
    assert len({mail.lab_id for mail in mails}) == len(mails)


def test_every_domain_has_a_home_in_the_fleet() -> None:
    assert {HOME[domain] for domain in MAILBOXES} <= {host.name for host in FLEET}


def test_a_chain_of_aliases_ends_where_its_last_one_does() -> None:
    assert "tao@dune.example" in finals("Chain1@quay.example")


def test_an_alias_loop_ends() -> None:
    assert finals("ping@quay.example") == {"ping@quay.example", "pong@arctic.example"}
