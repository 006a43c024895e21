"""Assembling is a pure function of the set of entries: any order, any part of them, never an exception."""

from __future__ import annotations

import random
from functools import cache

import truth
from hypothesis import given, settings
from hypothesis import strategies as st
from stories import NOW, put_together

from mailtrace.assemble import Assembly, assemble
from mailtrace.model import LogEntry
from mailtrace.parsers import make_parser
from mailtrace.report import Report


@cache
def fleet() -> tuple[LogEntry, ...]:
    """All entries of the small fleet."""
    found: list[LogEntry] = []
    for host, files in truth.logs("fleet").items():
        with open(files[0], "rb") as stream:  # noqa: PTH123 - a path of the corpus, as text
            found += make_parser(keep_raw=True).parse(stream.read(), 0, host)
    return tuple(found)


@cache
def one_mails_entries() -> tuple[tuple[LogEntry, ...], ...]:
    """The entries of each mail of the small fleet."""
    found = assemble(fleet(), machine="UTC", near=NOW, keep_entries=True)
    return tuple(tuple(found.lines(mail)) for mail in found.mails)


def report(found: Assembly) -> str:
    return Report("a test", "trace", mails=found.mails, clocks=found.clocks).to_json(entries=True)


def test_a_whole_fleet_is_the_same_in_any_order() -> None:
    lines = list(fleet())
    straight = report(put_together(lines))
    for seed in range(3):
        random.Random(seed).shuffle(lines)
        assert report(put_together(lines)) == straight


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_some_mails_lines_are_the_same_in_any_order(data: st.DataObject) -> None:
    mails = data.draw(st.lists(st.integers(0, len(one_mails_entries()) - 1), min_size=1, max_size=4, unique=True))
    lines = [line for mail in mails for line in one_mails_entries()[mail]]
    assert report(put_together(data.draw(st.permutations(lines)))) == report(put_together(lines))


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 4900), max_size=80), st.randoms(use_true_random=False))
def test_any_mixture_of_lines_is_put_together(picks: list[int], dice: random.Random) -> None:
    """Lines of many mails and hosts, torn out; stamps and hosts mixed up; some twice."""
    everything = fleet()
    lines = [everything[pick % len(everything)] for pick in picks]
    ids = [line.queue_id for line in lines]
    mixed = [line._replace(queue_id=dice.choice(ids)) if dice.random() < 0.3 else line for line in lines]
    mixed = [line._replace(host=dice.choice(lines).host) if dice.random() < 0.1 else line for line in mixed]
    mixed = [line._replace(time=line.time + dice.uniform(-1e6, 1e6)) if dice.random() < 0.1 else line for line in mixed]
    found = put_together([*mixed, *mixed[:10]])
    assert sorted(hop.id for mail in found.mails for hop in mail.hops) == sorted(
        {hop.id for mail in found.mails for hop in mail.hops}
    )
    report(found)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_mail_with_any_lines_lost_never_becomes_another_mails(data: st.DataObject) -> None:
    """What is left of two mails stays apart, and no row names a recipient that neither of them had."""
    pair = data.draw(st.lists(st.integers(0, len(one_mails_entries()) - 1), min_size=2, max_size=2, unique=True))
    lines = [line for mail in pair for line in one_mails_entries()[mail]]
    kept = [line for line in lines if data.draw(st.booleans())]
    told = {row.recipient for mail in put_together(lines).mails for row in mail.recipients}
    told |= {row.original_recipient for mail in put_together(lines).mails for row in mail.recipients}
    told |= {d.recipient for mail in put_together(lines).mails for hop in mail.hops for d in hop.deliveries}
    assert {row.recipient for mail in put_together(kept).mails for row in mail.recipients} <= told


def test_no_lines_are_no_mails() -> None:
    found = assemble([], near=NOW)
    assert (found.mails, found.clocks) == ([], [])


def test_a_loop_ends_where_the_mail_did() -> None:
    rows = [row for mail in put_together(fleet()).mails for row in mail.recipients]
    loop = next(row for row in rows if row.recipient == "loopa@alpha.lab.test" and row.path[0].host == "mx1")
    assert loop.outcome == "bounced"
    assert [step.host for step in loop.path] == [
        *("mx1", "filter1", "filter1", "relay1", "mailbox1", "mailbox1", "relay2", "mailbox2", "relay2", "mailbox1")
    ]
    assert len({step.hop for step in loop.path}) == len(loop.path)
