"""Expectations over a report: what a job promises about the mails it finds, and whether that came out."""

from __future__ import annotations

import operator
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailtrace.model import Certainty, Expectation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mailtrace.model import Mail, Recipient
    from mailtrace.report import Report

Value = str | int | float | bool | tuple[str, ...]

OUTCOMES = (
    "delivered",
    "relayed",
    "deferred",
    "bounced",
    "expired",
    "rejected",
    "discarded",
    "held",
    "quarantined",
    "in_transit",
    "unknown",
)
"""What can have become of a recipient, in the report's words."""

MOST_NAMED = 3
"""So many recipients that break an expectation are named in its detail; the rest are counted."""

_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "": operator.eq,
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_NUMBER = re.compile(r"\s*(|==?|!=|<=?|>=?)\s*(\d{1,9})\s*", re.ASCII)
_CERTAINTY = {Certainty.AMBIGUOUS: 0, Certainty.LIKELY: 1, Certainty.PROVEN: 2}


@dataclass(frozen=True, slots=True)
class Expect:
    """One expectation: `name` is its YAML word, `value` what it is held to.

    Seconds for `within`, inventory hosts for `path_includes` and `path_excludes`, outcomes for `outcome`, a bool for
    `found`, a certainty for `certainty`; else a number, a comparison (`">= 2"`) or `all`, `any`, `none`.
    """

    name: str
    value: Value
    text: str = ""  # as the job has it: "within: 60s"


def compare(text: str | int, number: int) -> bool:
    """Whether a number is as the text says: `3`, `">= 1"`, `"< 5"`. ValueError for any other text."""
    said = _NUMBER.fullmatch(str(text))
    if said is None:
        msg = f'"{str(text)[:40]}" is not a number or a comparison; write 3, ">= 1" or "< 10"'
        raise ValueError(msg)
    return _COMPARE[said[1]](number, int(said[2]))


def judge(report: Report, expects: Iterable[Expect]) -> list[Expectation]:
    """How each expectation came out over the mails of the report, in the job's order."""
    return [_judge(report, expect) for expect in expects]


def wants_nothing(expects: Iterable[Expect]) -> bool:
    """Whether a job says that it may find nothing (`found: false`, `count: 0`): then it has not failed to find it."""
    return any(expect.name in _COUNTS and _counted(expect, 0)[0] for expect in expects)


def _judge(report: Report, expect: Expect) -> Expectation:
    """One expectation over all mails."""
    rows = [(mail, row) for mail in report.mails for row in mail.recipients]
    if expect.name in OUTCOMES:
        held, detail = _shares(rows, expect)
    elif expect.name in _COUNTS:
        number = _COUNTS[expect.name](report.mails)
        held, detail = _counted(expect, number)
    else:
        broken = list(_RULES[expect.name](rows, expect.value))
        held, detail = not broken and bool(rows), _named(broken) if rows else "no mail was found"
    return Expectation(expect.text or f"{expect.name}: {expect.value}", held, detail)


def _counted(expect: Expect, number: int) -> tuple[bool, str]:
    """A number of mails or recipients against what was expected of it."""
    if isinstance(expect.value, bool):
        return (number > 0) is expect.value, f"{number} found"
    return compare(_plain(expect.value), number), f"{number} found"


def _shares(rows: list[tuple[Mail, Recipient]], expect: Expect) -> tuple[bool, str]:
    """How many recipients have an outcome: all, any, none, or a number of them.

    `delivered` counts what was relayed to a host outside the fleet too: further than that no log of ours can see.
    """
    wanted = {expect.name, "relayed"} if expect.name == "delivered" else {expect.name}
    others = [(mail, row) for mail, row in rows if row.outcome not in wanted]
    number = len(rows) - len(others)
    if expect.value == "all":
        detail = _named(_outcome(mail, row) for mail, row in others)
        return bool(rows) and not others, detail if rows else "no mail was found"
    if expect.value == "any":
        return number > 0, f"{number} of {len(rows)}"
    if expect.value == "none":
        return number == 0, _named(_outcome(mail, row) for mail, row in rows if row.outcome in wanted)
    return compare(_plain(expect.value), number), f"{number} of {len(rows)}"


def _outcome(mail: Mail, row: Recipient) -> str:
    """One recipient and what became of it, in words."""
    why = f" ({row.reason})" if row.reason else ""
    return f"{row.recipient or mail.id} {row.outcome.replace('_', ' ')}{why}"


def _within(rows: list[tuple[Mail, Recipient]], value: Value) -> Iterator[str]:
    """Recipients that were not final in so many seconds; one whose end no log shows is among them."""
    limit = float(_plain(value))
    for _, row in rows:
        if row.seconds is None:
            yield f"{row.recipient} has no proven end ({row.outcome.replace('_', ' ')})"
        elif row.seconds > limit or row.outcome in {"deferred", "held", "in_transit"}:
            yield f"{row.recipient} {row.outcome.replace('_', ' ')} after {row.seconds:g} s"


def _among(rows: list[tuple[Mail, Recipient]], value: Value) -> Iterator[str]:
    """Recipients with another outcome than these."""
    return (_outcome(mail, row) for mail, row in rows if row.outcome not in _several(value))


def _includes(rows: list[tuple[Mail, Recipient]], value: Value) -> Iterator[str]:
    """Recipients whose path misses one of these hosts."""
    for _, row in rows:
        missed = [host for host in _several(value) if host not in {step.host for step in row.path}]
        if missed:
            yield f"{row.recipient} did not pass {', '.join(missed)}"


def _excludes(rows: list[tuple[Mail, Recipient]], value: Value) -> Iterator[str]:
    """Recipients whose path has one of these hosts."""
    for _, row in rows:
        passed = [host for host in _several(value) if host in {step.host for step in row.path}]
        if passed:
            yield f"{row.recipient} passed {', '.join(passed)}"


def _hops(rows: list[tuple[Mail, Recipient]], value: Value) -> Iterator[str]:
    """Recipients whose path has another number of hops."""
    return (
        f"{row.recipient} took {len(row.path)} hops" for _, row in rows if not compare(_plain(value), len(row.path))
    )


def _attempts(rows: list[tuple[Mail, Recipient]], value: Value) -> Iterator[str]:
    """Recipients that took another number of attempts."""
    return (
        f"{row.recipient} took {row.attempts} attempts" for _, row in rows if not compare(_plain(value), row.attempts)
    )


def _certain(rows: list[tuple[Mail, Recipient]], value: Value) -> Iterator[str]:
    """Recipients whose path is less certain than this."""
    least = _CERTAINTY[Certainty(value)]
    return (f"{row.recipient} is {row.certainty.value}" for _, row in rows if _CERTAINTY[row.certainty] < least)


def _named(broken: Iterable[str]) -> str:
    """The first few of those that break an expectation, and how many more there are; equal ones once."""
    counted = Counter(broken)
    named = [f"{text} ({times} times)" if times > 1 else text for text, times in counted.items()]
    rest = len(named) - MOST_NAMED
    return "; ".join(named[:MOST_NAMED]) + (f"; and {rest} more" if rest > 0 else "")


def _several(value: Value) -> tuple[str, ...]:
    """One name or several."""
    return value if isinstance(value, tuple) else (str(value),)


def _plain(value: Value) -> str:
    """A value as the text it was written as."""
    return str(value)


_COUNTS: dict[str, Callable[[list[Mail]], int]] = {
    "found": len,
    "count": len,
    "recipients": lambda mails: sum(len(mail.recipients) for mail in mails),
}
_RULES: dict[str, Callable[[list[tuple[Mail, Recipient]], Value], Iterator[str]]] = {
    "within": _within,
    "outcome": _among,
    "path_includes": _includes,
    "path_excludes": _excludes,
    "hops": _hops,
    "attempts": _attempts,
    "certainty": _certain,
}

NAMES = (*_COUNTS, *OUTCOMES, *_RULES)
"""Every expectation, as the job's schema lists them."""
