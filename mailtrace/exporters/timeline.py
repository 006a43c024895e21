"""The `timeline` export: where each mail went, to be read by a tired human on a terminal.

Few mails get their story, many get a line each (see `Timeline`). The story of a mail is a tree: what all its
recipients share is told once, and it branches where their ways part.

    02:04:22      mx2       4jXnlV6MTQzRbF8
                  ├─ anna@alpha.example
    02:04:22      │  filter1   DBBB72FCB74  0.05 s
    02:04:22.951  │  ✓ delivered on filter1 after 0.1 s
                  └─ ghost@alpha.example
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar

from mailtrace.exporters.terminal import Line, Screen, Span, columns, shorten
from mailtrace.model import Certainty, Delivery, Hop, Link, Mail, Recipient
from mailtrace.remarks import SKEW, remarks
from mailtrace.report import Report, visible
from mailtrace.story import KINDS, TOLD, Index, Story, early, readdressed, refusal, sent, slowness, stay
from mailtrace.wording import (
    BAD,
    GOOD,
    OPEN,
    OUTCOMES,
    SLOW,
    Clock,
    address,
    count,
    duration,
    no_mail,
    outcome,
    peer,
    size_of,
    tally,
)

STORIES = 10
"""Up to so many mails get their story."""
NAMES = 12
"""Up to so many recipients of a group are named."""
WIDE = 100
"""From this width on a line of many has room for a queue ID."""

_STYLES = {GOOD: "green", OPEN: "yellow", BAD: "red"}


@dataclass(frozen=True, slots=True)
class Timeline:
    """The story of every recipient. `all`: of every mail, naming every recipient, however many there are.

    Times are in `time_zone`: `local` is the machine's, else `UTC`, `Europe/Berlin`, `+02:00`. `color` is auto, always
    or never; `width` 0 is the terminal's.
    """

    all: bool = False
    time_zone: str = "local"
    color: str = "auto"
    width: int = 0

    binary: ClassVar[bool] = False

    def export(self, report: Report, stream: Any) -> None:
        """Write the report to a text stream."""
        _Writer(self, report, Screen(stream, self.color, self.width)).write()


def _mark(name: str) -> Span:
    shown = outcome(name)
    return Span(shown.mark, _STYLES[shown.tone])


def _tally(rows: Iterable[Recipient]) -> Line:
    """How many recipients came out how, the good news first."""
    return _counted(tally(rows))


def _counted(outcomes: Iterable[tuple[str, int]]) -> Line:
    out: Line = []
    for name, number in outcomes:
        mark, style = _mark(name)
        if out:
            out.append(Span("  "))
        out.append(Span(f"{mark} {number} {visible(name).replace('_', ' ')}", f"bold {style}"))
    return out or [Span("no recipient known", "dim")]


class _Writer:
    """Writes one report to one screen."""

    def __init__(self, options: Timeline, report: Report, screen: Screen) -> None:
        self.options = options
        self.report = report
        self.screen = screen
        self.clock = Clock(options.time_zone)
        self.skews = {note.host: note.skew_seconds for note in report.clocks if abs(note.skew_seconds) >= SKEW}

    @cached_property
    def index(self) -> Index:
        """What the mails are to each other: for their stories, not for a table."""
        return Index(self.report)

    def write(self) -> None:
        mails = self.report.mails
        if self.report.partial:
            self.screen.line([Span("Interrupted: this is what was found until then.", "bold yellow")])
        if not mails:
            self.screen.line([Span(no_mail(self.report), "bold yellow")])
        elif len(mails) > STORIES and not self.options.all:
            _Table(self).write()
        else:
            for number, mail in enumerate(mails, 1):
                _StoryWriter(self, mail, number).write()
        _Footer(self).write()


class _StoryWriter:
    """One mail, told hop by hop."""

    def __init__(self, writer: _Writer, mail: Mail, number: int) -> None:
        self.writer, self.screen, self.clock = writer, writer.screen, writer.clock
        self.mail, self.number = mail, number
        self.story = Story(mail, writer.index, everything=writer.options.all)
        self.quickest: dict[str, float] = {}
        self.changed = readdressed(mail.recipients)
        self.narrow = self.screen.narrow
        self.day = self.clock.day(mail.first)
        times = [hop.first for hop in mail.hops] + [d.time for hop in mail.hops for d in hop.deliveries]
        self.fraction = not self.narrow and any(time % 1 for time in times)
        self.days = any(self.clock.day(time) != self.day for time in times)
        self.gutter = 8 + 4 * self.fraction + 6 * self.days
        self.host_width = min(24, max([columns(visible(hop.host)) for hop in mail.hops], default=0))
        self.id_width = min(20, max([columns(visible(hop.queue_id)) for hop in mail.hops], default=0))

    def write(self) -> None:
        self._header()
        self.screen.line()
        self._go(self.mail.recipients, 0, "")
        self._leftovers()
        self.screen.line()

    # ------------------------------------------------------------------ header

    def _header(self) -> None:
        mail, total = self.mail, len(self.writer.report.mails)
        title = f"Mail {self.number} of {total}" if total > 1 else "Mail"
        head = [Span("── ", "dim"), Span(title, "bold"), Span("  "), *_tally(mail.recipients), Span(" ")]
        rule = self.screen.width - columns("".join(span.text for span in head))
        self.screen.line([*head, Span("─" * max(0, rule), "dim")])
        cause = self.writer.index.cause(mail)
        if cause:
            self._field("", [Span(cause, "yellow")])
        self._field("from", [Span(address(mail.sender), "bold"), *self._origin()])
        self._field("to", self._names(mail.recipients))
        if mail.subject:
            self._field("subject", [Span(visible(mail.subject))])
        self._field("id", [Span(visible(mail.message_id) or "no Message-ID known", "" if mail.message_id else "dim")])
        when = f"{self.clock.minute(mail.first)} {self.clock.zone(mail.first)}"
        self._field("when", [Span(when), Span(f", {size_of(mail.size)}" if mail.size is not None else "")])

    def _field(self, name: str, spans: Line) -> None:
        pad = " " * (2 if self.narrow else 11)
        head = f"{name} ".lstrip() if self.narrow else f"  {name:<9}"
        self.screen.line(spans, [Span(head, "dim")], [Span(pad)])

    def _origin(self) -> Line:
        if not self.mail.hops:
            return []
        hop = self.mail.hops[0]
        out: Line = []
        client = peer(hop.client.name, hop.client.ip)
        if hop.local:
            out.append(
                Span(f" on {visible(hop.host)} itself" + (f", user {visible(hop.user)}" if hop.user else ""), "dim")
            )
        elif client:
            out.append(Span(f" via {client}", "dim"))
        if hop.user and not hop.local:
            out.append(Span(f", logged in as {visible(hop.user)}", "dim"))
        return out

    # ------------------------------------------------------------------ the tree

    def _go(self, rows: Sequence[Recipient], depth: int, rail: str) -> None:
        """Tell what happened to these recipients after their first `depth` hops, which they share."""
        while True:
            groups = self.story.groups(rows, depth)
            if len(groups) != 1:
                break
            if not self._step(rows, depth, rail):
                return
            depth += 1
        deep = len(rail) > self.screen.width // 4
        groups, rest = self.story.told(groups)
        for i, group in enumerate(groups):
            last = i == len(groups) - 1 and not rest
            inner = rail if deep else rail + ("   " if last else "│  ")
            self._line(None, self._names(group), rail + ("└─ " if last else "├─ "), inner)
            if self.story.ways(group, depth) > 1:
                self._many(group, depth, inner)
            else:
                self._go(group, depth, inner)
        if rest:
            left = [row for group in rest for row in group]
            more = [Span(f"{count(len(rest), 'more branch', 'more branches')}: ", "bold"), *_tally(left)]
            self._line(None, [*more, Span("  (--all tells all)", "dim")], rail + "└─ ", rail + "   ")

    def _many(self, group: Sequence[Recipient], depth: int, rail: str) -> None:
        """Branches that differ in their queue IDs only, as one."""
        hosts = [visible(hop.host) for hop in self.story.path(group[0])[depth:]]
        if hosts:
            ways = self.story.ways(group, depth)
            self._line(None, [Span(" → ".join(hosts), "bold"), Span(f"  {ways} messages, all alike", "dim")], rail)
        self._outcome(group, rail, alone=False)

    def _step(self, rows: Sequence[Recipient], depth: int, rail: str) -> bool:
        """Tell one hop, or how it ended; False when there is nothing after it."""
        path = self.story.path(rows[0])
        here = path[depth - 1] if depth else None
        if depth >= len(path):
            if here is not None:
                self._failures(here, None, rows[0], rail)
            self._outcome(rows, rail)
            return False
        hop = path[depth]
        if here is not None:
            self._failures(here, hop, rows[0], rail)
            self._notices(here, hop, rows[0], rail)
        self._hop(here, hop, rows, depth, rail)
        return True

    def _hop(self, before: Hop | None, hop: Hop, rows: Sequence[Recipient], depth: int, rail: str) -> None:
        attempts = self.story.attempts(hop, self.story.after(rows[0], depth), rows[0])
        done = sent(attempts)
        seconds = self.story.quickest(hop, rows, depth)
        if seconds is not None:  # what others stayed longer is told in their branch
            self.quickest[hop.id] = seconds
        for attempt in attempts:
            if early(attempt, hop):
                self._deferral(attempt, rail)
        host = visible(hop.host)
        queue_id = visible(hop.queue_id)
        spans = [Span(host.ljust(0 if self.narrow else self.host_width), "bold"), Span("  ")]
        spans.append(Span(queue_id if self.narrow else queue_id.ljust(self.id_width), "cyan"))
        if seconds is not None:
            text = duration(seconds)
            spans.append(
                Span(
                    "  " + (text.replace(" ", "") if self.narrow else text.rjust(8)),
                    "bold yellow" if seconds >= SLOW else "dim",
                )
            )
        elif not self.narrow:
            spans.append(Span(" " * 10))
        link = self.story.link(before, hop)
        if link is not None and link.kind in KINDS:
            spans.append(Span(f"  {KINDS[link.kind]}", "dim"))
        if hop.instance not in ("postfix", "exim", ""):
            spans.append(Span(f"  {visible(hop.instance)}", "dim"))
        raw = done.raw_time if done else ""
        if hop.host in self.writer.skews and raw:
            spans.append(Span(f"  its log says {visible(raw)}", "yellow"))
        self._line(hop.first, spans, rail, rail + "  ")
        if done is not None and seconds is not None and seconds >= SLOW and len(attempts) == 1:
            self._why_slow(done, rail)
        self._doubt(link, hop, rail)

    def _why_slow(self, done: Delivery, rail: str) -> None:
        text = slowness(done)
        if text:
            self._line(None, [Span(text, "yellow")], rail + "  ")

    def _doubt(self, link: Link | None, hop: Hop, rail: str) -> None:
        """Say so where a link is not proved, why it is thought of all the same, and what else it could be."""
        if link is None or link.certainty is Certainty.PROVEN:
            return
        why = self.story.why(link) or "no evidence given"
        word = "likely" if link.certainty is Certainty.LIKELY else "ambiguous"
        self._line(None, [Span(f"{word}: ", "bold yellow"), Span(why, "yellow")], rail + "  ", rail + "    ")
        for words, end, other in self.story.alternatives(link):
            said = self.story.why(other)
            spans = [Span(f"{words} "), *self._name_of(end), Span(f": {said}" if said else "")]
            spans = [span._replace(style=span.style or "yellow") for span in spans]
            self._line(None, spans, rail + "  ", rail + "    ")

    def _name_of(self, hop_id: str) -> Line:
        host, queue_id, of = self.story.named(hop_id)
        return [Span(host, "bold"), Span(" "), Span(queue_id, "cyan"), Span(of)]

    # ------------------------------------------------------------------ attempts

    def _failures(self, hop: Hop, after: Hop | None, row: Recipient, rail: str) -> None:
        """What went wrong on the way to the next hop or the end: the attempts before the last word."""
        failed = self.story.failures(hop, after, row)
        done = sent(self.story.attempts(hop, after, row))
        if not failed:
            if after is not None and done is not None:
                self._slower(hop, done, rail)
            return
        self._deferral(failed[0], rail)
        again = failed[1:]
        if len(again) > TOLD:
            self._summary(again, failed[0], row, rail)
        else:
            for before, one in pairwise(failed):
                self._deferral(one, rail, brief=self.story.alike(before, one, row))
        if after is not None and done is not None:
            spans = [Span(f"handed on at attempt {len(failed) + 1}"), Span(self._stayed(hop, done), "dim")]
            self._line(None, spans, rail, rail + "  ")

    def _slower(self, hop: Hop, done: Delivery, rail: str) -> None:
        """Say so where a branch waited longer than the hop's line tells."""
        seconds = stay(hop, done) or 0.0
        if seconds >= self.quickest.get(hop.id, seconds) + 1:
            self._line(None, [Span("handed on"), Span(self._stayed(hop, done), "dim")], rail, rail + "  ")
            if seconds >= SLOW:
                self._why_slow(done, rail)

    def _stayed(self, hop: Hop, done: Delivery) -> str:
        seconds = stay(hop, done)
        return f", {duration(seconds)} after it came" if seconds else ""

    def _summary(self, again: Sequence[Delivery], first: Delivery, row: Recipient, rail: str) -> None:
        """Many further failures, by reason."""
        head, *reasons = self.story.repeated(again, first, row)
        counted, _, same = head.partition(", ")
        rest = f", {same}" if same else ""
        spans = [Span(f"… {counted.rstrip(':')}", "bold yellow"), Span(rest or ":", "yellow")]
        self._line(again[-1].time, spans, rail, rail + "  ")
        for text in reasons:
            self._line(None, [Span(text, "yellow")], rail + "  ", rail + "    ")

    def _deferral(self, one: Delivery, rail: str, *, brief: bool = False) -> None:
        what, text = refusal(one)
        head, by, who = what.partition(" ")
        said = ", again" if brief else (f": {text}" if text else "")
        spans = [Span(f"… {head}", "bold yellow"), Span(f"{by}{who}", "yellow"), Span(said, "yellow")]
        self._line(one.time, spans, rail, rail + "  ")

    # ------------------------------------------------------------------ outcomes

    def _outcome(self, rows: Sequence[Recipient], rail: str, *, alone: bool = True) -> None:
        """How it ended; `alone` unless this stands for many messages whose hops were not told."""
        row = rows[0]
        path = self.story.path(row)
        mark, style = _mark(row.outcome)
        time, text = self.story.ending(rows, alone=alone)
        first, _, rest = text.partition(": ")
        spans = [Span(f"{mark} {first}", f"bold {style}"), Span(f": {rest}" if rest else "", style)]
        self._line(time, spans, rail, rail + "  ")
        if path:
            self._notices(path[-1], None, row, rail)

    def _notices(self, hop: Hop, after: Hop | None, row: Recipient, rail: str) -> None:
        """The messages that a hop caused on behalf of this recipient: a bounce, a notice of delay, list mail."""
        for link in self.story.notices(hop, after, row):
            what, number = self.story.caused(link)
            which = [Span(f"mail {number}", "bold")] if number else self._name_of(link.to)
            self._line(None, [Span(f"↳ {what}: ", "dim"), *which], rail + "  ")

    # ------------------------------------------------------------------ lines

    def _names(self, rows: Sequence[Recipient]) -> Line:
        """The recipients of a group, and what they were addressed to where that is something else."""
        names = list(dict.fromkeys(address(row.recipient) for row in rows))
        originals = list(dict.fromkeys(row.original_recipient for row in rows if row.original_recipient))
        shown = names if self.writer.options.all else names[:NAMES]
        spans = [Span(", ".join(shown) or "nobody that the logs tell", "bold" if shown else "dim")]
        if len(names) > len(shown):
            spans.append(Span(f" and {count(len(names) - len(shown), 'other')}", "bold"))
        if len(originals) == 1 and readdressed(rows) and (rows is self.mail.recipients or not self.changed):
            spans.append(Span(f"  addressed to {address(originals[0])}", "dim"))
        return spans

    def _leftovers(self) -> None:
        """Hops that no recipient's path explains: nothing that was found goes untold."""
        told = any(map(self.story.path, self.mail.recipients))
        for hop in self.story.leftovers():
            spans = [Span("also seen on " if told else "seen on ", "dim"), *self._name_of(hop.id)]
            if hop.deliveries:
                spans.append(Span(f": {hop.deliveries[-1].status} {visible(hop.deliveries[-1].reply)}", "dim"))
            self._line(hop.first, spans, "")

    def _time(self, time: float | None) -> str:
        at = self.clock.at(time) if time is not None else None
        if at is None or time is None:
            return " " * self.gutter
        text = f"{at:%H:%M:%S}"
        if self.fraction:
            text += f".{at.microsecond // 1000:03}" if time % 1 else "    "
        if self.days:
            text = (f"{at:%m-%d} " if self.clock.day(time) != self.day else " " * 6) + text
        return text

    def _line(self, time: float | None, spans: Iterable[Span], rail: str, rest: str | None = None) -> None:
        margin = "" if self.narrow else "  "
        gap = " " if self.narrow else "  "
        first = [Span(f"{margin}{self._time(time)}{gap}", "dim"), Span(rail, "dim")]
        after = [Span(margin + " " * self.gutter + gap), Span(rail if rest is None else rest, "dim")]
        self.screen.line(spans, first, after)


class _Table:
    """Many mails, a line each."""

    def __init__(self, writer: _Writer) -> None:
        self.writer, self.screen, self.clock = writer, writer.screen, writer.clock
        self.mails = writer.report.mails  # gone through twice: they may be made anew each time
        days: set[str] = set()
        longest = 0
        for mail in self.mails:
            days.add(self.clock.day(mail.first))
            if self.screen.width >= WIDE and mail.hops:
                longest = max(longest, len(visible(mail.hops[0].queue_id)))
        self.days = len(days) > 1
        self.id_width = min(23, longest)  # 23: the longest that Exim makes

    def write(self) -> None:
        mails = self.mails
        first = mails[0].first
        day = "" if self.days else f" on {self.clock.day(first)}"
        self.screen.line(
            [Span(count(len(mails), "mail"), "bold"), Span(f"{day}, times in {self.clock.zone(first)}", "dim")]
        )
        self.screen.line()
        outcomes = tally(self._written())
        self.screen.line()
        self.screen.line([Span(f"{count(sum(n for _, n in outcomes), 'recipient')}: "), *_counted(outcomes)])
        self.screen.line(
            [
                Span("For the story of one, narrow the search", "bold"),
                Span(": --message-id, --queue-id, --sender, --recipient, another -k, --since and --until. "),
                Span("--all tells all.", "dim"),
            ]
        )
        self.screen.line()

    def _written(self) -> Iterator[Recipient]:
        """Write the line of each mail; its rows."""
        for mail in self.mails:
            self.screen.line(self._row(mail))
            yield from mail.recipients

    def _row(self, mail: Mail) -> Line:
        at = self.clock.at(mail.first)
        time = (f"{at:%m-%d %H:%M:%S}" if self.days else f"{at:%H:%M:%S}") if at else "?"
        queue_id = visible(mail.hops[0].queue_id) if mail.hops and self.id_width else ""
        outcome = self._outcome(mail)
        taken = len(time) + (self.id_width + 2 if self.id_width else 0) + 2 * 2 + 3 + 19
        room = max(8, self.screen.width - taken)
        if self.screen.narrow:
            outcome = [outcome[0]]
            room = max(8, self.screen.width - len(time) - 1 - 3 - 2)
        sender_room = room * 45 // 100
        to = self._to(mail, room - sender_room)
        sender = shorten(address(mail.sender), sender_room)
        narrow = self.screen.narrow
        spans = [Span(time, "dim"), Span(" " if narrow else "  ")]
        if self.id_width:
            spans += [Span(_padded(shorten(queue_id, self.id_width), self.id_width), "cyan"), Span("  ")]
        spans += [Span(_padded(sender, sender_room)), Span(" → ", "dim"), Span(_padded(to, room - sender_room))]
        return [*spans, Span(" " if narrow else "  "), *outcome]

    def _to(self, mail: Mail, room: int) -> str:
        names = list(dict.fromkeys(address(row.recipient) for row in mail.recipients))
        if not names:
            return "nobody known"
        more = f" +{len(names) - 1}" if len(names) > 1 else ""
        return shorten(names[0], max(1, room - len(more))) + more

    def _outcome(self, mail: Mail) -> Line:
        counts = Counter(row.outcome for row in mail.recipients)
        order = list(OUTCOMES)
        if not counts:
            return [Span("? nobody known", "dim")]
        worst = max(counts, key=lambda item: order.index(item) if item in order else 99)
        mark, style = _mark(worst)
        word = worst.replace("_", " ")
        return [
            Span(mark, f"bold {style}"),
            Span(f" {counts[worst]} {word}" if len(counts) > 1 or counts[worst] > 1 else f" {word}", style),
        ]


def _padded(text: str, width: int) -> str:
    return text + " " * max(0, width - columns(text))


class _Footer:
    """What was looked at, how the clocks were read, and what the reader should know."""

    def __init__(self, writer: _Writer) -> None:
        self.writer, self.screen, self.clock = writer, writer.screen, writer.clock
        self.report = writer.report
        self.named = ""

    def write(self) -> None:
        narrow = self.screen.narrow
        for name, text, tone, mark in remarks(self.report, self.clock):
            shown = "" if name == self.named and not narrow else name
            self.named = name
            first = Span(f"{shown} " if narrow else f"{shown:<10} ", "bold")
            style = "dim" if tone == "dim" else _STYLES.get(tone, "")
            spans = (
                [Span(f"{mark} ", f"bold {style}"), Span(text, "red" if tone == BAD else "")]
                if mark
                else [Span(text, style)]
            )
            self.screen.line(spans, [first], [Span("  " if narrow else " " * 11)])
