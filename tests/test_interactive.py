"""`mailtrace run` without a terminal: what is said, what is asked, and where the answers lead."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from truth import fleet

from mailtrace.hosts import HostFacts, Inventory
from mailtrace.interactive import Conversation
from mailtrace.report import Report
from mailtrace.run import run_job


@pytest.fixture(scope="module")
def report() -> Report:
    job = {"version": 1, "kind": "trace", "config": fleet("fleet"), "find": {"queue_id": "4jXnlV6MTQzRbF8"}}
    return run_job({**job, "export": []})


def talk(report: Report, *answers: str) -> list[str]:
    """The lines of a conversation; who is asked more than is answered has left."""
    said: list[str] = []
    left: Iterator[str] = iter(answers)

    def ask(question: str) -> str:
        said.append(question)
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    hosts = Inventory(dict.fromkeys(("mx2", "filter1", "relay1", "exim1", "mailbox1"), HostFacts()))
    try:
        Conversation(report, hosts, said.append, ask).talk()
    except EOFError:
        said.append("left")
    return said


def test_yes_goes_on_to_the_next_hop(report: Report) -> None:
    said = talk(report, "1", "Y")
    assert any(line.startswith("mx2  4jXnlV6MTQzRbF8") for line in said)
    assert any(line.startswith("filter1  ") for line in said)


def test_no_ends_the_conversation(report: Report) -> None:
    said = talk(report, "1", "n", "never asked")
    assert said[-1] != "left"
    assert not any(line.startswith("filter1  ") for line in said)


def test_local_takes_the_next_queue_id_on_the_same_host(report: Report) -> None:
    said = talk(report, "1", "Y", "local")
    assert sum(line.startswith("filter1  ") for line in said) == 2


def test_a_host_s_name_goes_on_there(report: Report) -> None:
    said = talk(report, "1", "mailbox1")
    assert any(line.startswith("mailbox1  ") for line in said)


def test_a_name_that_nobody_has_is_told_with_the_nearest(report: Report) -> None:
    said = talk(report, "1", "mailbix1")
    assert any('There is no host "mailbix1"' in line and "mailbox1" in line for line in said)


def test_without_anybody_to_ask_every_mail_is_followed(report: Report) -> None:
    said: list[str] = []
    Conversation(report, Inventory(), said.append, None).talk()
    for mail in report.mails:
        assert all(any(line.startswith(f"{hop.host}  {hop.queue_id}") for line in said) for hop in mail.hops)
