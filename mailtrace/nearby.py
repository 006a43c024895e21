"""What is near to a question that found nothing: why that may be, and what to ask instead.

Nothing found is an answer, and worth a second look: was anybody looking at the right time and place, is the text there
in another role, outside the window, on another host, or spelt a little differently? What has to be read for that is
bounded: `Look.read` ends when its time is over, and so many lines (`MOST_LINES`) are enough.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from mailtrace.job import Find
from mailtrace.model import Hint, LogEntry, LogQuery, Mail
from mailtrace.report import visible
from mailtrace.walk import Walked, criteria, first_query
from mailtrace.wording import Clock, count, some

DAY = 86400.0
MOST_LINES = 20_000
LIKE = 0.75
"""How alike two addresses must be (difflib's ratio) for one to be taken for the other misspelt."""
NAMED = 3
"""So many likely addresses, hosts or texts are named."""

_ADDRESS = re.compile(r"(?:\b\w{1,20}=)?([^\s<>,;:\"'()\[\]]{1,200}@[A-Za-z0-9._-]{1,200}[A-Za-z0-9])")


@dataclass(frozen=True, slots=True)
class Look:
    """How a second look is taken.

    `read` asks the sources for so many lines at most; it gives no more when the time for a second look is over.
    `moments` tells when (UTC) each of some entries was, `covered` what each host's log covers, as far as is known by
    now. `scope` are the hosts that were asked, `known` all hosts of the fleet. `everywhere` tells whether logs may be
    read as a whole: on servers they are not.
    """

    read: Callable[[LogQuery, int], Sequence[LogEntry]]
    moments: Callable[[Sequence[LogEntry]], Sequence[float]]
    covered: Callable[[], Mapping[str, tuple[float, float]]]
    scope: frozenset[str]
    known: frozenset[str]
    everywhere: bool


def hints(find: Find, found: Walked, look: Look) -> list[Hint]:
    """What to tell of a question that found nothing, what explains it best first."""
    return list(_Nearby(find, found, look).hints())


class _Nearby:
    def __init__(self, find: Find, found: Walked, look: Look) -> None:
        self.find, self.found, self.look = find, found, look
        self.query = first_query(find)
        self.literals = (*self.query.all_of, *self.query.any_of)
        self.clock = Clock(find.zone)

    def hints(self) -> Iterator[Hint]:
        near: list[Hint] = []
        if self.found.begun:
            near += self._begun()
        elif self.literals:
            near += self._elsewhere()
            for literal in () if near else self.literals[:NAMED]:
                near += self._like(literal)
        else:
            self.look.read(LogQuery(), 1)  # tells what the logs cover
        window = [*self._window()]
        yield from window
        yield from near
        if self.literals and not window and not near and self.look.covered():
            yield Hint(
                "nothing-near", "nothing like it is near: try a part of it with -k, or a wider time with --since"
            )
        yield from self._scope()

    # ------------------------------------------------------------------------------ when and where

    def _window(self) -> Iterator[Hint]:
        """Hosts whose logs do not cover the time asked for."""
        start = self.find.start if self.find.start is not None else float("-inf")
        end = self.find.end if self.find.end is not None else float("inf")
        covered = self.look.covered()
        outside = {host: span for host, span in covered.items() if span[1] < start or span[0] > end}
        if outside and len(outside) == len(covered):
            first, last = min(span[0] for span in outside.values()), max(span[1] for span in outside.values())
            yield Hint("not-covered", f"no log covers the time asked for; they go {self._span(first, last)}")
        else:
            for host, (first, last) in list(outside.items())[:NAMED]:
                yield Hint("not-covered", f"the log of {visible(host)} goes {self._span(first, last)}", host)
            if len(outside) > NAMED:
                rest = count(len(outside) - NAMED, "other host")
                yield Hint("not-covered", f"the logs of {rest} do not cover the time asked for either")

    def _span(self, first: float, last: float) -> str:
        return f"from {self.clock.minute(first)} to {self.clock.minute(last)} {self.clock.zone(last)}"

    def _scope(self) -> Iterator[Hint]:
        """Hosts of the fleet that nobody asked."""
        missed = sorted(self.look.known - self.look.scope)
        if missed:
            yield Hint("not-in-scope", f"not looked at: {some(missed)}, which the job or --limit leaves out")

    def _elsewhere(self) -> Iterator[Hint]:
        """The same outside the window, or on hosts where the search did not begin."""
        if self.find.start is None and self.find.end is None and not self.query.hosts:
            return
        wide = replace(
            self.query,
            hosts=(),
            start=None if self.find.start is None else self.find.start - DAY,
            end=None if self.find.end is None else self.find.end + DAY,
        )
        lines = self.look.read(wide, MOST_LINES)
        if not lines and self.look.everywhere:
            lines = self.look.read(replace(wide, start=None, end=None), MOST_LINES)
        if not lines:
            return
        times = self.look.moments(lines)
        inside = [line.host for line, time in zip(lines, times, strict=True) if self._asked_for(time)]
        if inside and self.query.hosts:
            begun = some(self.query.hosts)
            said = f"{some(inside)} has {count(len(inside), 'line')} of it; the search began at {begun} only"
            yield Hint("other-host", f"{said}: leave out the start host")
            return
        away = [(abs(time - self._middle()), time, line.host) for line, time in zip(lines, times, strict=True)]
        _, time, host = min(away)
        day = self.clock.minute(time)
        since = self.clock.minute(min(times) - 60)[:16]
        said = f"{visible(host)} has it at {day} {self.clock.zone(time)}, {count(len(lines), 'line')} in all"
        yield Hint("outside-window", f'{said}, outside the time asked for: try --since "{since}"', host)

    def _asked_for(self, time: float) -> bool:
        start, end = self.find.start, self.find.end
        return (start is None or time >= start - 1) and (end is None or time <= end + 1)

    def _middle(self) -> float:
        ends = [end for end in (self.find.start, self.find.end) if end is not None]
        return sum(ends) / len(ends) if ends else 0.0

    # --------------------------------------------------------------------------------- what is there

    def _begun(self) -> Iterator[Hint]:
        """The text is there, but no mail is what was asked for."""
        tests = [literal for literal, _ in criteria(self.find) if literal]
        raws = [line.raw.lower() for line in self.found.begun]
        lines = {literal: sum(literal.lower() in raw for raw in raws) for literal in tests}
        missed = [literal for literal, number in lines.items() if not number]
        if missed and len(missed) < len(lines):
            there = ", ".join(f'"{visible(word)}" in {count(n, "line")}' for word, n in lines.items() if n)
            yield Hint("never-together", f'no line has "{visible(missed[0])}"; there is {there}')
            yield from self._like(missed[0])
        elif len(lines) > 1:
            there = ", ".join(f'"{visible(word)}" in {count(n, "line")}' for word, n in lines.items())
            yield Hint("never-together", f"there is {there}, but no mail that has all of it")
        elif self.found.near:
            yield from self._roles(tests)
        else:
            line = self.found.begun[0]
            said = count(len(self.found.begun), "line has", "lines have")
            shown = visible(line.raw[:200].strip()) or "it is not kept"
            yield Hint("no-mail", f"{said} the text, but belong to no mail; the first: {shown}", line.host)

    def _roles(self, tests: list[str]) -> Iterator[Hint]:
        """What the text is to the mails that have it, where it is not what was asked for."""
        for literal in tests or self.literals[:1]:
            roles = Counter(role for mail in self.found.near for role in sorted(_roles_of(mail, literal)))
            for (role, flag), number in roles.most_common(NAMED):
                said = f'"{visible(literal)}" is {role} {count(number, "mail")}'
                yield Hint("other-role", f"{said}: try {flag}" if flag else said)
            if not roles:
                mails = count(len(self.found.near), "mail")
                yield Hint("other-role", f'"{visible(literal)}" is somewhere in the lines of {mails}: try -k')

    def _like(self, literal: str) -> Iterator[Hint]:
        """Addresses and Message-IDs that differ from one that is nowhere by a little."""
        local, at, domain = literal.rpartition("@")
        if not at:
            return
        asked = literal.lower()
        for part in (f"@{domain}", f"{local}@"):
            if len(part) < 3:
                continue
            lines = self.look.read(LogQuery(self.query.hosts, (part,), (), self.find.start, self.find.end), MOST_LINES)
            seen = Counter(found.lower() for line in lines for found in _ADDRESS.findall(line.raw))
            near = get_close_matches(asked, [one for one in seen if one != asked], n=NAMED, cutoff=LIKE)
            if near:
                named = ", ".join(f"{visible(one)} ({count(seen[one], 'line')})" for one in near)
                yield Hint("like-address", f"{visible(literal)} is in no line; there is {named}")
                return
            if lines:
                has = count(len(lines), "line") if len(lines) < MOST_LINES else f"more than {MOST_LINES:,} lines"
                yield Hint("like-address", f"{visible(literal)} is in no line; {visible(part)} is in {has}")
                return


def _roles_of(mail: Mail, literal: str) -> set[tuple[str, str]]:
    """What a text is to a mail: in words, and the flag that asks for it."""
    asked = literal.strip("<>").lower()
    rows = {address.lower() for row in mail.recipients for address in (row.recipient, row.original_recipient)}
    tried = {d.recipient.lower() for hop in mail.hops for d in hop.deliveries}
    found = {
        ("the sender of", "--sender"): any((hop.sender or "").lower() == asked for hop in mail.hops),
        ("a recipient of", "--recipient"): asked in rows | tried,
        ("the Message-ID of", "--message-id"): any(hop.message_id.lower() == asked for hop in mail.hops),
        ("the user who sent", "--sasl-user"): any(hop.user.lower() == asked for hop in mail.hops),
        ("the client of", "--client"): any(asked in (hop.client.name.lower(), hop.client.ip) for hop in mail.hops),
    }
    roles = {role for role, there in found.items() if there}
    for hop in mail.hops:
        if hop.queue_id.lower() == asked:
            exact = "" if hop.queue_id == literal else f", as {hop.queue_id} (case counts),"
            roles.add((f"a queue ID{exact} of", f"--queue-id {hop.queue_id}"))
    return roles
