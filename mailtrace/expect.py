"""Expectations over a report: what a job promises about the mails it finds, and whether that came out.

Most are about every recipient (`within`, `via`, `max_attempts` …), some about numbers (`count`, `delivered: ">= 2"`).
`every`, `some` and `none` compare any other value of the report: a path of `schemas/report.schema.json`, lists gone
through (`mails.hops.client.ip`), against what is wanted there (`wanted`). They are judged mail by mail, so that a day's
mails need not be kept for it.
"""

from __future__ import annotations

import operator
import re
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from mailtrace.assemble.names import loopback
from mailtrace.model import Certainty, Expectation
from mailtrace.report import mail_as_data

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from mailtrace.model import Delivery, Hop, Mail, Recipient
    from mailtrace.report import Report

Scalar = str | int | float | bool | None
Value = Scalar | tuple[Scalar | tuple[str, ...], ...]

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
FINAL = frozenset({"delivered", "relayed", "bounced", "expired", "rejected", "discarded", "quarantined"})
"""Outcomes that stay: nothing more happens to that copy."""

MOST_NAMED = 3
"""So many recipients that break an expectation are named in its detail; the rest are counted."""

_COMPARE: dict[str, Callable[[float, float], bool]] = {
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
_DECIMAL = re.compile(r"\s*(|==?|!=|<=?|>=?)\s*(-?\d{1,15}(?:\.\d{1,9})?)\s*", re.ASCII)
_CERTAINTY = {Certainty.AMBIGUOUS: 0, Certainty.LIKELY: 1, Certainty.PROVEN: 2}


@dataclass(frozen=True, slots=True)
class Expect:
    """One expectation: `name` is its YAML word, `value` what it is held to.

    Seconds for `within`; for `via` and `not_via` a tuple of hosts for each name (a cluster has several); outcomes for
    `outcome`, a bool for `found`, `not_found` and `tls`, a certainty for `certainty`; else a number, a comparison
    (`">= 2"`), an address, or `all`, `any`, `none`. `path` is what `every`, `some` and `none` look at.
    """

    name: str
    value: Value
    text: str = ""  # as the job has it: "within: 60s"
    path: str = ""  # mails.hops.client.ip
    place: str = ""  # where the job has it: job.yaml:12:5


def compare(text: str | int, number: int) -> bool:
    """Whether a number is as the text says: `3`, `">= 1"`, `"< 5"`. ValueError for any other text."""
    said = _NUMBER.fullmatch(str(text))
    if said is None:
        msg = f'"{str(text)[:40]}" is not a number or a comparison; write 3, ">= 1" or "< 10"'
        raise ValueError(msg)
    return _COMPARE[said[1]](number, int(said[2]))


def wanted(value: Value, seen: Any) -> bool:
    """Whether one value of the report is as a free comparison wants it.

    `null` is what is not known; a number is held to a number or a comparison (`"< 10"`, `">= 0.5"`), a text to a
    pattern in any case, in which `*` is anything (`"*quota*"`); of several wanted values one is enough.
    """
    if isinstance(value, tuple):
        return any(wanted(each, seen) for each in value)
    if value is None or seen is None or isinstance(value, bool) or isinstance(seen, bool):
        return value is seen
    if isinstance(seen, (int, float)):
        said = _DECIMAL.fullmatch(str(value))
        return said is not None and _COMPARE[said[1]](seen, float(said[2]))
    pattern, text = str(value).casefold(), str(seen).casefold()
    return pattern == text or fnmatchcase(text, pattern.replace("[", "[[]"))


def judge(report: Report, expects: Collection[Expect]) -> list[Expectation]:
    """How each expectation came out over the mails of the report, in the job's order."""
    judges = Judges(expects)
    for mail in report.mails if expects else ():
        judges.see(mail)
    return judges.verdicts(report)


def wants_nothing(expects: Iterable[Expect]) -> bool:
    """Whether a job says that it may find nothing (`not_found: true`, `count: 0`): then it has not failed to."""
    return any(expect.name in _COUNTS and _Number(expect).held() for expect in expects)


def may_grow(expects: Iterable[Expect], mails: Iterable[Mail]) -> bool:
    """Whether an expectation about numbers does not hold yet, and more mails could make it true."""
    seen = list(mails)
    for expect in expects:
        if expect.name in _COUNTS:
            number = sum(_COUNTS[expect.name](mail) for mail in seen)
            more = (number + step for step in (*range(1, 100), 10**8))
            if not _counted(expect, number) and any(_counted(expect, each) for each in more):
                return True
    return False


class Judges:
    """All expectations of a job, shown one mail after the other."""

    def __init__(self, expects: Iterable[Expect]) -> None:
        """Nothing is seen yet."""
        self._expects = list(expects)
        self._judges = [_judge(expect) for expect in self._expects]

    def see(self, mail: Mail) -> None:
        """Take one mail into account."""
        for judge in self._judges:
            judge.see(mail)

    def verdicts(self, report: Report) -> list[Expectation]:
        """How each came out; the report may lack its mails."""
        return [
            Expectation(
                expect.text or f"{expect.name}: {expect.value}", judge.held(report), judge.detail(), expect.place
            )
            for expect, judge in zip(self._expects, self._judges, strict=True)
        ]


class _Named:
    """The first few of those that break an expectation, equal ones once, and how many more there are."""

    def __init__(self) -> None:
        self._first: Counter[str] = Counter()
        self._more = 0

    def add(self, text: str) -> None:
        if text in self._first or len(self._first) < MOST_NAMED:
            self._first[text] += 1
        else:
            self._more += 1

    def __bool__(self) -> bool:
        return bool(self._first)

    def __str__(self) -> str:
        named = [f"{text} ({times} times)" if times > 1 else text for text, times in self._first.items()]
        return "; ".join([*named, *([f"and {self._more:,} more"] if self._more else [])])


class _Number:
    """A number of mails or recipients."""

    def __init__(self, expect: Expect) -> None:
        self._expect, self._number = expect, 0

    def see(self, mail: Mail) -> None:
        self._number += _COUNTS[self._expect.name](mail)

    def held(self, _report: Report | None = None) -> bool:
        return _counted(self._expect, self._number)

    def detail(self) -> str:
        return f"{self._number} found"


def _counted(expect: Expect, number: int) -> bool:
    if isinstance(expect.value, bool):
        return (number > 0) is (expect.value is (expect.name != "not_found"))
    return compare(_plain(expect.value), number)


class _Share:
    """How many recipients have an outcome: all, any, none, a number of them, or one by its address.

    `delivered` counts what was relayed to a host outside the fleet too: further than that no log of ours can see.
    """

    def __init__(self, expect: Expect) -> None:
        self._value = ("any" if expect.value else "none") if isinstance(expect.value, bool) else expect.value
        self._outcomes = {expect.name, "relayed"} if expect.name == "delivered" else {expect.name}
        self._address = str(self._value).strip("<>").lower() if "@" in str(self._value) else ""
        self._all = self._with = 0
        self._yes, self._no = _Named(), _Named()

    def see(self, mail: Mail) -> None:
        for row in mail.recipients:
            names = (row.recipient.lower(), row.original_recipient.lower())
            if self._address and self._address not in names:
                continue
            self._all += 1
            hit = row.outcome in self._outcomes
            self._with += hit
            (self._yes if hit else self._no).add(_outcome(mail, row))

    def held(self, _report: Report) -> bool:
        if self._value == "all" or self._address:
            return self._all > 0 and self._with == self._all
        if self._value in ("any", "none"):
            return (self._with > 0) is (self._value == "any")
        return compare(_plain(self._value), self._with)

    def detail(self) -> str:
        if not self._all:
            return f"no mail to {self._address} was found" if self._address else "no mail was found"
        shown = str(self._yes if self._value == "none" else self._no)
        return f"{self._with} of {self._all}" + (f": {shown}" if shown else "")


class _Each:
    """What holds for every recipient of every mail."""

    def __init__(self, expect: Expect) -> None:
        self._expect, self._rows, self._broken = expect, 0, _Named()

    def see(self, mail: Mail) -> None:
        self._rows += len(mail.recipients)
        for text in _RULES[self._expect.name](mail, self._expect.value):
            self._broken.add(text)

    def held(self, _report: Report) -> bool:
        return self._rows > 0 and not self._broken

    def detail(self) -> str:
        return str(self._broken) if self._rows else "no mail was found"


class _Values:
    """A free comparison: every, some or none of the values under a path of the report."""

    def __init__(self, expect: Expect) -> None:
        self._expect = expect
        self._keys = expect.path.split(".")
        self._fit = self._all = 0
        self._yes, self._no = _Named(), _Named()

    def see(self, mail: Mail) -> None:
        if self._keys[0] == "mails":
            for value in _under(mail_as_data(mail), self._keys[1:]):
                self._look(value, mail.id)

    def _look(self, value: Any, of: str = "") -> None:
        self._all += 1
        fits = wanted(self._expect.value, value)
        self._fit += fits
        (self._yes if fits else self._no).add(_said(value) + (f" in {of}" if of else ""))

    def held(self, report: Report) -> bool:
        if self._keys[0] != "mails" and not self._all:
            for value in _under(report.frame(), self._keys):
                self._look(value)
        if self._expect.name == "every":
            return self._all > 0 and self._fit == self._all
        return (self._fit > 0) is (self._expect.name == "some")

    def detail(self) -> str:
        if not self._all:
            return f"the report has no {self._expect.path}"
        shown = self._yes if self._expect.name == "none" else self._no
        return f"{self._fit} of {self._all}" + (f": {shown}" if shown else "")


def _under(data: Any, keys: list[str]) -> Iterator[Any]:
    """The values under a path; lists are gone through, what is null above them has none."""
    if isinstance(data, list):
        for item in data:
            yield from _under(item, keys)
    elif not keys:
        yield data
    elif isinstance(data, dict) and keys[0] in data:
        yield from _under(data[keys[0]], keys[1:])


def _said(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _judge(expect: Expect) -> _Number | _Share | _Each | _Values:
    if expect.path:
        return _Values(expect)
    if expect.name in OUTCOMES:
        return _Share(expect)
    return _Number(expect) if expect.name in _COUNTS else _Each(expect)


# ----------------------------------------------------------------------------- what breaks a rule, in words


def _outcome(mail: Mail, row: Recipient) -> str:
    """One recipient and what became of it."""
    why = f" ({row.reason})" if row.reason else ""
    return f"{row.recipient or mail.id} {row.outcome.replace('_', ' ')}{why}"


def _within(mail: Mail, value: Value) -> Iterator[str]:
    """Recipients that were not final in so many seconds; one whose end no log shows is among them."""
    limit = float(_plain(value))
    for row in mail.recipients:
        if row.seconds is None:
            yield f"{row.recipient} has no proven end ({row.outcome.replace('_', ' ')})"
        elif row.seconds > limit or row.outcome in {"deferred", "held", "in_transit"}:
            yield f"{row.recipient} {row.outcome.replace('_', ' ')} after {round(row.seconds, 3):g} s"


def _among(mail: Mail, value: Value) -> Iterator[str]:
    """Recipients with another outcome than these."""
    return (_outcome(mail, row) for row in mail.recipients if row.outcome not in _several(value))


def _via(mail: Mail, value: Value) -> Iterator[str]:
    """Recipients whose path misses one of these names."""
    for row in mail.recipients:
        passed = {step.host for step in row.path}
        missed = [" or ".join(hosts) for hosts in _groups(value) if not passed & set(hosts)]
        if missed:
            yield f"{row.recipient} did not pass {', '.join(missed)}, but {_way(row)}"


def _not_via(mail: Mail, value: Value) -> Iterator[str]:
    """Recipients whose path has one of these hosts."""
    for row in mail.recipients:
        passed = {step.host for step in row.path}
        met = [host for hosts in _groups(value) for host in hosts if host in passed]
        if met:
            yield f"{row.recipient} passed {', '.join(met)}: {_way(row)}"


def _way(row: Recipient) -> str:
    return " > ".join(step.host for step in row.path) or "no host at all"


def _hops(mail: Mail, value: Value) -> Iterator[str]:
    """Recipients whose path has another number of hops."""
    rows = (row for row in mail.recipients if not compare(_plain(value), len(row.path)))
    return (f"{row.recipient} took {len(row.path)} hops" for row in rows)


def _attempts(mail: Mail, value: Value) -> Iterator[str]:
    """Recipients that took another number of attempts."""
    rows = (row for row in mail.recipients if not compare(_plain(value), row.attempts))
    return (f"{row.recipient} took {row.attempts} attempts" for row in rows)


def _max_attempts(mail: Mail, value: Value) -> Iterator[str]:
    """Recipients that took more attempts."""
    return _attempts(mail, f"<= {value}")


def _certain(mail: Mail, value: Value) -> Iterator[str]:
    """Recipients whose path is less certain than this."""
    least = _CERTAINTY[Certainty(value)]
    rows = (row for row in mail.recipients if _CERTAINTY[row.certainty] < least)
    return (f"{row.recipient} is {row.certainty.value}" for row in rows)


def wants_tls(expects: Iterable[Expect]) -> bool:
    """Whether an expectation is about TLS, so that the lines of connections have to be read."""
    return any(expect.name == "tls" or expect.path.rpartition(".")[2] == "tls" for expect in expects)


def _tls(mail: Mail, _value: Value) -> Iterator[str]:
    """Ways over a network of which the logs of neither side tell of TLS."""
    hops = {hop.id: hop for hop in mail.hops}
    before = {link.to: hops[link.from_] for link in mail.links if link.from_ in hops and link.to in hops}
    for hop in mail.hops:
        out = _out(before, hop)
        if not hop.local and not loopback(hop.client) and any(hop.client) and not (hop.tls or any(d.tls for d in out)):
            origin = before[hop.id].host if hop.id in before else hop.client.name or hop.client.ip
            plain = hop.plain or any(one.plain for one in out)
            yield f"{origin} to {hop.host} ({hop.queue_id}): {_unsecured(hop, plain=plain)}"
    onward = {(link.from_, address) for link in mail.links for address in link.recipients if link.to in hops}
    for hop in mail.hops:
        for one in hop.deliveries:
            further = (hop.id, one.recipient) in onward
            if one.status == "sent" and one.relay.ip and not (one.local or loopback(one.relay) or one.tls or further):
                way = f"{hop.host} to {one.relay.name or one.relay.ip} ({hop.queue_id})"
                yield f"{way}: {_unsecured(hop, plain=one.plain)}"


def _unsecured(hop: Hop, *, plain: bool) -> str:
    """What the log tells where it tells of no TLS: that there was none, or nothing."""
    if plain:
        return "no TLS"
    setting = "smtp_tls_loglevel = 1, smtpd_tls_loglevel = 1" if hop.mta == "postfix" else "log_selector = +tls_cipher"
    return f"no line tells whether over TLS (with {setting} the log does)"


def _out(before: dict[str, Hop], hop: Hop) -> list[Delivery]:
    """The deliveries of the host before that came to this hop."""
    sender = before.get(hop.id)
    return [one for one in sender.deliveries if one.reply_id == hop.queue_id] if sender is not None else []


def _several(value: Value) -> tuple[Any, ...]:
    """One name or several."""
    return value if isinstance(value, tuple) else (str(value),)


def _groups(value: Value) -> list[tuple[str, ...]]:
    """The hosts of each name."""
    return [each if isinstance(each, tuple) else (each,) for each in _several(value)]


def _plain(value: Any) -> str:
    """A value as the text it was written as."""
    return str(value)


_COUNTS: dict[str, Callable[[Mail], int]] = {
    "found": lambda _mail: 1,
    "not_found": lambda _mail: 1,
    "count": lambda _mail: 1,
    "recipients": lambda mail: len(mail.recipients),
}
_RULES: dict[str, Callable[[Mail, Value], Iterator[str]]] = {
    "within": _within,
    "outcome": _among,
    "via": _via,
    "not_via": _not_via,
    "tls": _tls,
    "hops": _hops,
    "attempts": _attempts,
    "max_attempts": _max_attempts,
    "certainty": _certain,
}
FREE = ("every", "some", "none")
"""The expectations that compare any value of the report."""

NAMES = (*_COUNTS, *OUTCOMES, *_RULES, *FREE)
"""Every expectation, as the job's schema lists them."""
