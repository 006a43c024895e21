"""What the parts of a page share: the report and its reader's clock, and how recipients, outcomes and times look."""

from __future__ import annotations

from collections.abc import Sequence

from mailtrace.exporters.html_markup import Markup, join, tag
from mailtrace.model import Certainty, Mail, Peer, Recipient
from mailtrace.remarks import SKEW
from mailtrace.report import Report
from mailtrace.story import Index, readdressed
from mailtrace.wording import OPEN, OUTCOMES, Clock, address, count, outcome, tally

LINES = 80_000
"""More log lines than this are left out of a page, which says so."""
NAMES = 12
"""Up to so many recipients of a group are named; the table of recipients names all."""


class Scene:
    """A report as one page shows it. With `entries`, hops have their raw log lines."""

    def __init__(self, report: Report, clock: Clock, *, entries: bool) -> None:
        """For all mails of a report."""
        self.report, self.clock = report, clock
        self.lines = sum(len(hop.entries) for mail in report.mails for hop in mail.hops) if entries else 0
        self.entries = 0 < self.lines <= LINES
        self.index = Index(report)
        self.skewed = {note.host for note in report.clocks if abs(note.skew_seconds) >= SKEW}
        self._called = _called(report)

    def host(self, relay: Peer) -> str:
        """Which host a relay is, where a proved hand-off told so; else as the log calls it."""
        return self._called.get((relay.name, relay.ip)) or relay.name or relay.ip


def _called(report: Report) -> dict[tuple[str, str], str]:
    """What logs call each host that they handed mail to; a name that means two hosts is none's."""
    called: dict[tuple[str, str], set[str]] = {}
    for mail in report.mails:
        hops = {hop.id: hop for hop in mail.hops}
        for link in mail.links:
            one, other = hops.get(link.from_), hops.get(link.to)
            if one is None or other is None or link.certainty is not Certainty.PROVEN:
                continue
            for done in one.deliveries:
                if done.reply_id and done.reply_id == other.queue_id:
                    called.setdefault((done.relay.name, done.relay.ip), set()).add(other.host)
    return {name: hosts.pop() for name, hosts in called.items() if len(hosts) == 1}


class Times:
    """The times of one mail: with as much of a date and of a second as the mail needs."""

    def __init__(self, clock: Clock, mail: Mail) -> None:
        """Of the mail's own day and of all that happened to it."""
        self._clock, self._day = clock, clock.day(mail.first)
        times = [hop.first for hop in mail.hops] + [one.time for hop in mail.hops for one in hop.deliveries]
        self._fraction = any(time % 1 for time in times)

    def of(self, time: float) -> Markup:
        """`01:04:22.953`; with the day where it is another one."""
        at = self._clock.at(time)
        if at is None:
            return tag("span", "?", class_="t")
        said = f"{at:%H:%M:%S}" + (f".{at.microsecond // 1000:03}" if self._fraction and time % 1 else "")
        day = "" if self._clock.day(time) == self._day else f"{at:%m-%d} "
        return tag("time", day + said, class_="t")


def chip(name: str, number: int = 0) -> Markup:
    """One outcome as a small sign with its word, and how often."""
    tone = outcome(name).tone if name in OUTCOMES else OPEN
    said = name.replace("_", " ")
    return tag("span", f"{number:,} {said}" if number else said, class_=f"chip {tone} {_word(name)}")


def _word(name: str) -> str:
    """The class by which the style sheet knows an outcome and gives it its mark."""
    return name if name in OUTCOMES else "unknown"


def chips(rows: Sequence[Recipient]) -> Markup:
    """How recipients came out."""
    if not rows:
        return tag("span", "no recipient known", class_="dim")
    return tag("span", [join(chip(name, number), " ") for name, number in tally(rows)], class_="chips")


def names(rows: Sequence[Recipient], most: int = NAMES) -> Markup:
    """Recipients by name, up to so many, and what they were addressed to where that is something else."""
    known = list(dict.fromkeys(address(row.recipient) for row in rows))
    if not known:
        return tag("i", "nobody that the logs tell")
    more = f" and {count(len(known) - most, 'other')}" if len(known) > most else ""
    originals = {row.original_recipient for row in rows}
    asked = None
    if len(originals) == 1 and readdressed(rows):
        asked = tag("span", f" addressed to {address(originals.pop())}", class_="dim")
    return join(tag("b", ", ".join(known[:most]) + more), asked)
