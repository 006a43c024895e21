"""The way to the back end: sent again, halved, set aside, dropped; and counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from feed import Memory

from mailtrace.otlp.encode import encode
from mailtrace.otlp.outcome import Outcome, Verdict
from mailtrace.otlp.record import INTERNAL, Span
from mailtrace.tracing import handover
from mailtrace.tracing.handover import Handover
from mailtrace.tracing.state import State


def spans(*names: str) -> list[Span]:
    return [
        Span(b"t" * 16, name.encode().ljust(8, b"-"), b"", "mx1", name, INTERNAL, 10**18, 10**18 + 1) for name in names
    ]


class Place:
    """A spool with some spans in one request, and what is said."""

    def __init__(self, path: Path, answer: Callable[[bytes], Outcome], *names: str, made: float | None = None) -> None:
        self.state, self.client, self.said = State(path), Memory(answer), list[str]()
        with self.state.transaction():
            for request in encode(spans(*names)):
                self.state.spool([(time.time() if made is None else made, request.spans, request.body)])
        self.handover = Handover(self.state, self.client, self.said.append)

    @property
    def sent(self) -> list[str]:
        return sorted(
            name for _host, body in self.client.spans() for name in ("a", "b", "c", "d") if name == named(body)
        )


def named(body: bytes) -> str:
    from opentelemetry.proto.trace.v1.trace_pb2 import Span as Read

    return str(Read.FromString(body).name)


SENT = Outcome(Verdict.SENT)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def test_what_is_sent_is_gone_and_counted(path: Path) -> None:
    place = Place(path, lambda _body: SENT, "a", "b")
    place.handover.send()
    assert (place.sent, place.state.spooled()[0], place.state.counters()) == (["a", "b"], 0, {"sent": 2})
    assert place.handover.wait is None
    place.state.close()


def test_a_back_end_that_is_away_is_asked_later_and_said_once(path: Path) -> None:
    away = Outcome(Verdict.LATER, "nobody listens", after=3.0)
    answers = [away, away, SENT]
    place = Place(path, lambda _body: answers.pop(0), "a")
    place.handover.send()
    place.handover.send()
    assert len(answers) == 2, "it waits as long as it was asked to"
    assert 2.0 < (place.handover.wait or 0) <= 3.0
    place.handover.send(at_once=True)
    place.handover.send(at_once=True)
    assert place.sent == ["a"]
    assert place.said == ["traces wait: nobody listens", "the back end takes traces again"]
    place.state.close()


def test_what_is_too_large_is_halved(path: Path) -> None:
    too_large = Outcome(Verdict.SPLIT, "too large")
    one = len(next(iter(encode(spans("a")))).body)
    place = Place(path, lambda body: SENT if len(body) < 2 * one else too_large, "a", "b", "c", "d")
    place.handover.send()
    assert place.sent == ["a", "b", "c", "d"]
    assert len(place.client.bodies) > 1
    place.state.close()


def test_a_bad_span_is_found_and_set_aside_and_the_others_are_sent(path: Path) -> None:
    bad = Outcome(Verdict.BAD, "no such thing")
    place = Place(path, lambda body: bad if b"c" + b"-" * 7 in body else SENT, "a", "b", "c", "d")
    place.handover.send()
    assert place.sent == ["a", "b", "d"]
    assert place.state.counters() == {"sent": 3, "aside": 1, "halved": 2}
    assert "set aside: no such thing" in place.said[0]
    place.state.close()


def test_a_back_end_that_takes_nothing_costs_no_span(path: Path) -> None:
    wrong = [True]
    bad = Outcome(Verdict.BAD, "HTTP 500")
    place = Place(path, lambda _body: bad if wrong[0] else SENT, "a", "b", "c", "d")
    place.handover.send()
    asked = len(place.client.bodies)
    place.handover.send()  # it waits
    assert place.said == ["the back end refuses all that it is sent: HTTP 500"]
    assert (place.handover.waiting, place.state.spooled()[0], len(place.client.bodies)) == (4, 4, asked)
    for _ in range(20):
        place.handover.send(at_once=True)
    assert place.state.counters().get("aside", 0) == 0
    wrong[0] = False
    place.handover.send(at_once=True)
    assert (place.sent, place.handover.waiting) == (["a", "b", "c", "d"], 0)
    place.state.close()


def test_a_single_bad_span_waits_until_others_tell_that_it_is_the_one(path: Path) -> None:
    bad = Outcome(Verdict.BAD, "no such thing")
    place = Place(path, lambda body: bad if b"c" + b"-" * 7 in body else SENT, "c")
    place.handover.send()
    assert (place.sent, place.handover.waiting) == ([], 1)
    with place.state.transaction():
        place.handover.add([(request.spans, request.body) for request in encode(spans("d"))], time.time())
    place.handover.refresh()
    for _ in range(3):
        place.handover.send(at_once=True)
    assert (place.sent, place.handover.waiting) == (["d"], 0)
    assert place.state.counters()["aside"] == 1
    place.state.close()


def test_what_is_dropped_by_the_back_end_is_counted_and_not_sent_again(path: Path) -> None:
    place = Place(path, lambda _body: Outcome(Verdict.SENT, "no room", rejected=1), "a", "b")
    place.handover.send()
    assert place.state.counters() == {"sent": 1, "rejected": 1}
    assert (len(place.client.bodies), place.state.spooled()[0]) == (1, 0)
    assert "1 of 2 spans: no room" in place.said[0]
    place.state.close()


def test_a_back_end_that_refuses_us_is_said_at_once(path: Path) -> None:
    place = Place(path, lambda _body: Outcome(Verdict.DENIED, "wrong token"), "a")
    place.handover.send()
    assert place.said == ["the back end refuses us: wrong token"]
    assert place.handover.waiting == 1
    place.state.close()


def test_what_waited_too_long_goes_first_and_is_counted(path: Path) -> None:
    place = Place(path, lambda _body: Outcome(Verdict.LATER), "a", made=time.time() - handover.MOST_AGE - 60)
    place.handover.send()
    assert place.state.counters() == {"dropped": 1}
    assert place.handover.waiting == 0
    place.state.close()


def test_a_spool_that_is_full_loses_its_oldest(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = len(next(iter(encode(spans("a")))).body)
    monkeypatch.setattr(handover, "MOST_BYTES", 2 * one)
    place = Place(path, lambda _body: Outcome(Verdict.LATER), "a")
    for name in ("b", "c", "d"):
        with place.state.transaction():
            place.handover.add([(request.spans, request.body) for request in encode(spans(name))], time.time())
    place.handover.refresh()
    place.handover.send()
    assert place.state.counters() == {"dropped": 2}
    assert [request.id for request in place.state.next_requests(9)] == [3, 4], "the newest are kept"
    place.state.close()
