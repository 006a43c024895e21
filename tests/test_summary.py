"""Many mails in a few figures."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from kit import T0, any_report, delivery, hop, mail, row

from mailtrace.report import Report
from mailtrace.summary import STUCK, Summary, impersonal, summarize


def test_outcomes_and_reasons_are_counted_by_recipient_addresses_aside() -> None:
    rows = [row(f"u{n}@x", "bounced", reason=f"550 5.1.1 <u{n}@x>: User unknown") for n in range(3)]
    found = summarize([mail([hop("mx1", "A")], [*rows, row("ok@x", "delivered", reason="250 ok")])])
    assert (found.mails, found.recipients) == (1, 4)
    assert found.outcomes == {"bounced": 3, "delivered": 1}
    assert found.reasons == {("bounced", "550 5.1.1 …: User unknown"): 3}


@pytest.mark.parametrize(
    "reason, shown",
    [
        ("host mx1-backup.example.com[192.0.2.1] said: 550 no", "host mx1-backup.example.com[192.0.2.1] said: 550 no"),
        ("451 4.7.1 try again in 300 seconds (id 4bcXyz1Rqpz9vZ)", "451 4.7.1 try again in 300 seconds (id …)"),
        ("timeout 1234567", "timeout …"),
    ],
)
def test_a_reason_keeps_what_mails_share(reason: str, shown: str) -> None:
    assert impersonal(reason) == shown


def test_time_is_told_by_host_and_stage() -> None:
    one = delivery("a@x", "sent", "mx[192.0.2.1]:25", delays=(0.1, 0.2, 3.0, 4.0))
    again = [delivery("b@x", "deferred"), delivery("b@x", "sent", delays=(300.0, 0.0, 0.0, 1.0))]
    found = summarize([mail([hop("mx1", "A", one, *again), hop("ex1", "B", delivery("a@x", delay=2.0))], [])])
    told = {(host, name): (stage.number, stage.seconds, stage.longest) for host, name, stage in found.slowest}
    assert told == {
        ("mx1", "waiting for a retry"): (1, 300.0, 300.0),
        ("mx1", "transmission"): (2, 5.0, 4.0),
        ("mx1", "connecting"): (2, 3.0, 3.0),
        ("mx1", "in the queue"): (2, 0.2, 0.2),
        ("mx1", "before the queue"): (1, 0.1, 0.1),
        ("ex1", "in the queue"): (1, 2.0, 2.0),
    }
    assert [host for host, _, _ in found.slowest][:1] == ["mx1"]


def test_that_the_next_host_took_it_is_no_reason() -> None:
    rows = [row("a@x", "in_transit", reason="250 OK"), row("b@x", "unknown", reason="250 OK"), row("c@x", "held")]
    found = summarize([mail([hop("mx1", "A")], rows)])
    assert not found.reasons
    assert [(item.recipient, item.reason) for item in found.stuck] == [("a@x", ""), ("c@x", "")]


def test_the_oldest_of_what_waits_are_named() -> None:
    mails = [mail([hop("mx1", f"Q{n}", at=n)], [row("a@x", "deferred")]) for n in range(30, 0, -1)]
    found = summarize(mails)
    assert found.waiting == 30
    assert [item.since - T0 for item in found.stuck] == list(range(1, STUCK + 1))


@settings(max_examples=20, deadline=None)
@given(any_report())
def test_whatever_a_log_holds_can_be_summed_up(found: Report) -> None:
    assert isinstance(summarize(found.mails), Summary)
