"""The mails of many stays: the same whether they are held or made anew, in order of first sight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import truth
from stories import NOW

from mailtrace.assemble import assemble
from mailtrace.load import load_job
from mailtrace.model import LogEntry, LogQuery, Mail, Remade
from mailtrace.report import Report
from mailtrace.run import sources


def entries(name: str) -> list[LogEntry]:
    (source,) = sources(load_job({"version": 1, "kind": "trace", "config": truth.fleet(name)}))
    return list(source.query(LogQuery()))


def told(mails: Sequence[Mail]) -> Any:
    return Report("", "trace", mails=mails).to_dict()["mails"]


@pytest.mark.parametrize("name", ["fleet", "rough"])
def test_mails_are_the_same_whether_they_are_held_or_made_anew(name: str) -> None:
    lines = entries(name)
    held = assemble(lines, machine="UTC", near=NOW).mails
    anew = assemble(lines, machine="UTC", near=NOW, hold=False).mails
    assert told(anew) == told(held)
    assert told(anew) == told(held), "another time"
    assert len(anew) == len(held) > 100


@pytest.mark.parametrize("name", ["fleet", "rough"])
def test_the_mails_that_are_linked_to_others_are_known_before_all_are_made(name: str) -> None:
    mails = assemble(entries(name), machine="UTC", near=NOW, hold=False).mails
    assert isinstance(mails, Remade)
    own = {hop.id: mail.id for mail in mails for hop in mail.hops}
    ends = {
        own.get(hop)
        for mail in mails
        for link in mail.links
        for hop in (link.from_, link.to)
        if own.get(link.from_) != own.get(link.to)
    }
    assert len(ends) > 5
    assert {mail.id for mail in mails.linked()} >= ends
    assert len(list(mails.linked())) < len(mails) / 2


def test_a_mail_made_anew_is_another_object_and_a_held_one_the_same() -> None:
    lines = entries("fleet")
    held, anew = assemble(lines, near=NOW).mails, assemble(lines, near=NOW, hold=False).mails
    assert held[0] is held[0]
    assert anew[0] is not anew[0]
    assert [mail.id for mail in anew[3:5]] == [held[3].id, held[4].id]
    assert anew[-1].id == held[-1].id


def test_mails_are_in_order_of_first_sight() -> None:
    mails = assemble(entries("rough"), machine="UTC", near=NOW, hold=False).mails
    order = [(mail.first, mail.id) for mail in mails]
    assert order == sorted(order)


def test_a_mail_has_no_more_attributes_than_it_has() -> None:
    mail = assemble(entries("fleet"), near=NOW, hold=False).mails[0]
    with pytest.raises(AttributeError, match="colour"):
        mail.colour  # type: ignore[attr-defined]  # noqa: B018


def test_a_mail_can_be_made_like_another() -> None:
    mail = assemble(entries("fleet"), near=NOW, hold=False).mails[0]
    other = replace(mail, message_id="x@y")
    assert (other.message_id, other.recipients) == ("x@y", mail.recipients)
