from __future__ import annotations

import pytest

from mailtrace.expect import NAMES, OUTCOMES, Expect, Value, compare, judge
from mailtrace.load import schema
from mailtrace.model import Certainty, Mail, Recipient, Step
from mailtrace.report import Report


def row(
    outcome: str,
    seconds: float | None = 1.0,
    path: str = "mx1 filter mail1",
    attempts: int = 1,
    certainty: Certainty = Certainty.PROVEN,
    name: str = "bob@example.com",
) -> Recipient:
    steps = tuple(Step(host, "ID") for host in path.split())
    return Recipient(name, name, outcome, steps, seconds, "full" if outcome == "bounced" else "", attempts, certainty)


def report(*rows: Recipient) -> Report:
    """A report with one mail to these recipients, or with none at all."""
    mails = [Mail("1", "m@x", "a@b", 1, None, [], [], list(rows))] if rows else []
    return Report("", "trace", mails=mails)


def held(found: Report, name: str, value: Value) -> bool:
    return judge(found, [Expect(name, value)])[0].held


@pytest.mark.parametrize(
    "outcomes, value, result",
    [
        ("delivered delivered", "all", True),
        ("delivered relayed", "all", True),
        ("delivered bounced", "all", False),
        ("", "all", False),
        ("delivered bounced", "any", True),
        ("bounced", "any", False),
        ("bounced", "none", True),
        ("delivered bounced", "none", False),
        ("delivered delivered", 2, True),
        ("delivered bounced", ">= 2", False),
        ("delivered bounced", "< 2", True),
    ],
)
def test_delivered_is_all_any_none_or_a_number_of_the_recipients(outcomes: str, value: Value, result: bool) -> None:
    assert held(report(*map(row, outcomes.split())), "delivered", value) is result


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_can_be_expected_not_to_be(outcome: str) -> None:
    assert not held(report(row(outcome)), outcome, "none")
    other = "bounced" if outcome != "bounced" else "held"
    assert held(report(row(other)), outcome, "none")


@pytest.mark.parametrize(
    "rows, result",
    [
        ([row("delivered", 60), row("bounced", 5)], True),
        ([row("delivered", 60.5)], False),
        ([row("delivered", None)], False),
        ([row("deferred", 5)], False),
        ([row("in_transit", 5)], False),
        ([], False),
    ],
)
def test_within_is_about_the_proven_end_of_every_recipient(rows: list[Recipient], result: bool) -> None:
    assert held(report(*rows), "within", 60.0) is result


@pytest.mark.parametrize(
    "name, value, result",
    [
        ("found", True, True),
        ("found", False, False),
        ("count", 1, True),
        ("count", "> 1", False),
        ("recipients", 2, True),
        ("outcome", ("delivered", "relayed"), True),
        ("outcome", ("delivered",), False),
        ("path_includes", ("mx1", "filter"), True),
        ("path_includes", ("mx2",), False),
        ("path_excludes", ("mx2",), True),
        ("path_excludes", ("filter",), False),
        ("hops", "<= 3", True),
        ("hops", 2, False),
        ("attempts", "< 3", True),
        ("attempts", 1, False),
        ("certainty", "likely", True),
        ("certainty", "proven", False),
    ],
)
def test_every_recipient_is_held_to_the_expectation(name: str, value: Value, result: bool) -> None:
    rows = row("delivered"), row("relayed", attempts=2, certainty=Certainty.LIKELY)
    assert held(report(*rows), name, value) is result


def test_nothing_found_can_be_what_is_expected() -> None:
    assert held(report(), "found", value=False)
    assert held(report(), "count", 0)
    assert held(report(), "bounced", "none")


def test_the_detail_names_who_broke_the_expectation_and_counts_the_rest() -> None:
    rows = [row("bounced", name=f"u{number}@x") for number in range(9)]
    detail = judge(report(*rows), [Expect("delivered", "all", "delivered: all")])[0]
    assert detail.text == "delivered: all"
    assert detail.detail == "u0@x bounced (full); u1@x bounced (full); u2@x bounced (full); and 6 more"


@pytest.mark.parametrize("text", ["", "x", ">", "> x", "1.5", "-1", "1..5", "=> 3", "9" * 20])
def test_what_is_no_comparison_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a number"):
        compare(text, 1)


def test_the_schema_knows_every_expectation_and_no_other() -> None:
    assert set(schema("job")["$defs"]["expect"]["properties"]) == set(NAMES)
