"""How long a run goes on asking."""

from __future__ import annotations

from typing import Any

from kit import hop, mail, report, row

from mailtrace.expect import Expect
from mailtrace.model import Coverage, Mail
from mailtrace.patience import LONGEST_PAUSE, Patience, unsettled


class Clock:
    """A clock that only pauses move."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def pauses(seconds: float, *found: list[Mail], expects: tuple[Expect, ...] = (), **more: Any) -> list[float]:
    """The pauses after each of these answers; the last one is given again and again."""
    clock = Clock()
    patience = Patience(seconds, expects, clock)
    out: list[float] = []
    while pause := patience.pause(report(*found[min(len(out), len(found) - 1)], **more)):
        out.append(pause)
        clock.now += pause
    return out


def one(outcome: str, *, removed: bool = True) -> list[Mail]:
    here = hop("mx1", "A", removed=removed)
    return [mail([here], [row("a@x", outcome, here)])]


def test_what_is_final_is_not_asked_again() -> None:
    assert pauses(60, one("delivered")) == []
    assert pauses(60, one("bounced")) == []


def test_a_mail_that_is_not_there_yet_is_waited_for() -> None:
    assert pauses(60, [], [], one("relayed")) == [1, 2]


def test_pauses_grow_and_the_last_question_is_asked_when_the_time_is_over() -> None:
    assert pauses(100, one("deferred")) == [1, 2, 4, 8, 16, LONGEST_PAUSE, LONGEST_PAUSE, 9]


def test_without_time_there_is_one_question() -> None:
    assert pauses(0, []) == []


def test_a_message_that_is_still_in_a_queue_is_final_when_two_answers_are_the_same() -> None:
    assert pauses(60, one("delivered", removed=False)) == [1]


def test_more_mails_are_waited_for_where_more_are_expected() -> None:
    assert pauses(3, one("delivered"), expects=(Expect("count", ">= 2"),)) == [1, 2]
    assert pauses(60, one("delivered"), expects=(Expect("count", 0),)) == []


def test_nothing_that_can_be_read_is_nothing_to_wait_for() -> None:
    lost = Coverage("mx1", "files", problem="no such file", missing=True)
    assert pauses(60, [], coverage=[lost]) == []
    assert pauses(2, [], coverage=[lost, Coverage("mx2", "files")]) == [1, 1]


def test_a_mail_of_which_no_recipient_is_known_yet_is_open() -> None:
    assert unsettled([mail([hop("mx1", "A")], []), *one("held"), *one("delivered")]) == 2
