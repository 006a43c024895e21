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

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any, ClassVar

from mailtrace.exporters.terminal import Line, Screen, Span, columns, shorten
from mailtrace.model import (
    Certainty,
    Coverage,
    Delivery,
    Hop,
    Link,
    LinkKind,
    Mail,
    Recipient,
)
from mailtrace.report import Report, visible
from mailtrace.times import LOCAL, zone

STORIES = 10
"""Up to so many mails get their story."""
NAMES = 12
"""Up to so many recipients of a group are named."""
ALIKE = 4
"""More branches than this that differ in nothing but their queue IDs are told as one."""
BRANCHES = 20
"""Where a way parts into more, so many branches are told, those that failed before others."""
WIDE = 100
"""From this width on a line of many has room for a queue ID."""
TOLD = 2
"""Of more further failures than this, the reasons are counted instead."""
SLOW = 10.0
"""Seconds in one queue that are worth a word."""
SKEW = 1.0
"""Seconds that a clock is off before its raw stamps are shown."""

_GOOD, _OPEN, _BAD = "green", "yellow", "red"
_OUTCOMES = {
    "delivered": ("✓", _GOOD),
    "relayed": ("→", _GOOD),
    "deferred": ("…", _OPEN),
    "held": ("…", _OPEN),
    "in_transit": ("?", _OPEN),
    "unknown": ("?", _OPEN),
    "quarantined": ("✗", _OPEN),
    "discarded": ("✗", _OPEN),
    "bounced": ("✗", _BAD),
    "expired": ("✗", _BAD),
    "rejected": ("✗", _BAD),
}
_FAILED = tuple(outcome for outcome, (_, style) in _OUTCOMES.items() if style == _BAD)
_KINDS = {
    LinkKind.REINJECTED: "back from the filter",
    LinkKind.FORWARDED: "forwarded",
    LinkKind.REQUEUED: "requeued",
    LinkKind.BOUNCED: "bounce",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SAID = re.compile(
    r"host (?P<name>[^\s\[]*)\[(?P<ip>[^\]]*)\](?::\d+)? (?:said|refused to talk to me): (?P<text>.*)", re.DOTALL
)
_IN_REPLY = re.compile(r" \(in reply to [^()]{1,60}( command)?\)?$")
_GREY = re.compile(r"gr[ae]y-?\s?list|postgrey|gr[ae]ylist", re.IGNORECASE)
_PLAIN_SUCCESS = re.compile(
    r"|delivered to (maildir|mailbox|file.*)|(\d{3} )?.*\b(saved|queued|ok|accepted)\b.*", re.IGNORECASE
)


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


class _Clock:
    """Times as the reader's clock shows them."""

    def __init__(self, options: Timeline) -> None:
        self._zone = zone(options.time_zone)

    def at(self, time: float) -> datetime | None:
        try:
            return (_EPOCH + timedelta(microseconds=round(time * 1_000_000))).astimezone(self._zone)
        except (OverflowError, ValueError, OSError):
            return None

    def day(self, time: float) -> str:
        at = self.at(time)
        return f"{at:%Y-%m-%d}" if at else "?"

    def minute(self, time: float) -> str:
        at = self.at(time)
        return f"{at:%Y-%m-%d %H:%M:%S}" if at else "?"

    def zone(self, time: float) -> str:
        """`CET (+01:00)`; only the one where they are the same."""
        at = self.at(time)
        if at is None:
            return ""
        offset, name = f"{at:%z}", at.tzname() or ""
        offset = f"{offset[:3]}:{offset[3:5]}"
        if name == "UTC" or name.startswith("UTC") or name[:1] in "+-":
            return "UTC" if offset == "+00:00" else offset
        return f"{name} ({offset})"


def duration(seconds: float) -> str:
    """Seconds as a human says them: `0.05 s`, `2.3 s`, `4 min 5 s`, `2 h 10 min`, `5 d`."""
    if seconds < 1:
        return f"{max(0.0, seconds):.2f}".rstrip("0").rstrip(".") + " s"
    if seconds < SLOW:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    for size, name, small, small_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {name}" + (f" {rest} {small_name}" if rest else "")
    return f"{whole} s"


def size_of(count: int) -> str:
    """Bytes as a human says them."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "bytes" or value >= 100 else f"{value:.1f} {unit}"


def count(number: int, one: str, many: str = "") -> str:
    """`1 mail`, `1,234 mails`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _shown(address: str | None) -> str:
    if address is None:
        return "unknown"
    return visible(address) if address else "<>"


def _peer(name: str, ip: str) -> str:
    name, ip = visible(name), visible(ip)
    if name and ip and name != ip:
        return f"{name} [{ip}]"
    return name or (f"[{ip}]" if ip else "")


def _mark(outcome: str) -> Span:
    mark, style = _OUTCOMES.get(outcome, ("?", _OPEN))
    return Span(mark, style)


def _tally(rows: Iterable[Recipient]) -> Line:
    """How many recipients came out how, the good news first."""
    counts = Counter(row.outcome for row in rows)
    order = {outcome: i for i, outcome in enumerate(_OUTCOMES)}
    out: Line = []
    for outcome in sorted(counts, key=lambda item: (order.get(item, 99), item)):
        mark, style = _mark(outcome)
        if out:
            out.append(Span("  "))
        out.append(Span(f"{mark} {counts[outcome]} {outcome.replace('_', ' ')}", f"bold {style}"))
    return out or [Span("no recipient known", "dim")]


class _Writer:
    """Writes one report to one screen."""

    def __init__(self, options: Timeline, report: Report, screen: Screen) -> None:
        self.options = options
        self.report = report
        self.screen = screen
        self.clock = _Clock(options)
        self.numbers = {hop.id: i for i, mail in enumerate(report.mails, 1) for hop in mail.hops}
        self.skews = {note.host: note.skew_seconds for note in report.clocks if abs(note.skew_seconds) >= SKEW}
        self.causes: dict[str, list[Link]] = {}  # hop → bounces and list mail that it caused, which are other mails
        self.roots: dict[str, Link] = {}
        for mail in report.mails:
            for link in mail.links:
                if self.numbers.get(link.from_) != self.numbers.get(link.to) or link.kind is LinkKind.BOUNCED:
                    known = self.causes.setdefault(link.from_, [])
                    if all(link.to != other.to for other in known):
                        known.append(link)
                    self.roots[link.to] = link

    def write(self) -> None:
        mails = self.report.mails
        if self.report.partial:
            self.screen.line([Span("Interrupted: this is what was found until then.", "bold yellow")])
        if not mails:
            self.screen.line([Span("No mail found.", "bold yellow")])
        elif len(mails) > STORIES and not self.options.all:
            _Table(self).write()
        else:
            for number, mail in enumerate(mails, 1):
                _Story(self, mail, number).write()
        _Footer(self).write()


class _Story:
    """One mail, told hop by hop."""

    def __init__(self, writer: _Writer, mail: Mail, number: int) -> None:
        self.writer, self.screen, self.clock = writer, writer.screen, writer.clock
        self.mail, self.number = mail, number
        self.hops = {hop.id: hop for hop in mail.hops}
        self.by_queue_id = {(hop.host, hop.queue_id): hop for hop in reversed(mail.hops)}
        self.tried: dict[str, _Tried] = {}
        self.quickest: dict[str, float] = {}
        self.into: dict[str, list[Link]] = {}
        self.out: dict[str, list[Link]] = {}
        for link in mail.links:
            self.into.setdefault(link.to, []).append(link)
            self.out.setdefault(link.from_, []).append(link)
        self.paths = {id(row): self._path(row) for row in mail.recipients}
        self.changed = self._changed(mail.recipients)
        self.narrow = self.screen.narrow
        self.day = self.clock.day(mail.first)
        times = [hop.first for hop in mail.hops] + [d.time for hop in mail.hops for d in hop.deliveries]
        self.fraction = not self.narrow and any(time % 1 for time in times)
        self.days = any(self.clock.day(time) != self.day for time in times)
        self.gutter = 8 + 4 * self.fraction + 6 * self.days
        self.host_width = min(24, max([columns(visible(hop.host)) for hop in mail.hops], default=0))
        self.id_width = min(20, max([columns(visible(hop.queue_id)) for hop in mail.hops], default=0))

    def _path(self, row: Recipient) -> list[Hop]:
        found = (self.hops.get(step.hop) or self.by_queue_id.get((step.host, step.queue_id)) for step in row.path)
        return [hop for hop in found if hop is not None]

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
        root = self.writer.roots.get(mail.hops[0].id) if mail.hops else None
        if root is not None and self.writer.numbers.get(root.from_) != self.number:
            self._field("", [Span(self._cause(root), "yellow")])
        self._field("from", [Span(_shown(mail.sender), "bold"), *self._origin()])
        self._field("to", self._names(mail.recipients))
        if mail.subject:
            self._field("subject", [Span(visible(mail.subject))])
        self._field("id", [Span(visible(mail.message_id) or "no Message-ID known", "" if mail.message_id else "dim")])
        when = f"{self.clock.minute(mail.first)} {self.clock.zone(mail.first)}"
        self._field("when", [Span(when), Span(f", {size_of(mail.size)}" if mail.size is not None else "")])

    def _cause(self, link: Link) -> str:
        what = "sent on from" if link.kind is LinkKind.FORWARDED else f"{_notice(link)} of"
        number = self.writer.numbers.get(link.from_)
        return f"{what} " + (
            f"mail {number}" if number else f"{visible(link.from_.rpartition(':')[2])}, which is not shown"
        )

    def _field(self, name: str, spans: Line) -> None:
        pad = " " * (2 if self.narrow else 11)
        head = f"{name} ".lstrip() if self.narrow else f"  {name:<9}"
        self.screen.line(spans, [Span(head, "dim")], [Span(pad)])

    def _origin(self) -> Line:
        if not self.mail.hops:
            return []
        hop = self.mail.hops[0]
        out: Line = []
        client = _peer(hop.client.name, hop.client.ip)
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
            groups = self._groups(rows, depth)
            if len(groups) != 1:
                break
            if not self._step(rows, depth, rail):
                return
            depth += 1
        deep = len(rail) > self.screen.width // 4
        groups, rest = self._told(groups)
        for i, group in enumerate(groups):
            last = i == len(groups) - 1 and not rest
            inner = rail if deep else rail + ("   " if last else "│  ")
            self._line(None, self._names(group), rail + ("└─ " if last else "├─ "), inner)
            if self._alike(group, depth):
                self._many(group, depth, inner)
            else:
                self._go(group, depth, inner)
        if rest:
            left = [row for group in rest for row in group]
            more = [Span(f"{count(len(rest), 'more branch', 'more branches')}: ", "bold"), *_tally(left)]
            self._line(None, [*more, Span("  (--all tells all)", "dim")], rail + "└─ ", rail + "   ")

    def _told(self, groups: list[list[Recipient]]) -> tuple[list[list[Recipient]], list[list[Recipient]]]:
        """The branches to tell, and those to count."""
        if self.writer.options.all or len(groups) <= BRANCHES:
            return groups, []
        order = sorted(groups, key=lambda group: all(_mark(row.outcome).style == _GOOD for row in group))
        told = {id(group) for group in order[:BRANCHES]}
        return [group for group in groups if id(group) in told], [group for group in groups if id(group) not in told]

    def _groups(self, rows: Sequence[Recipient], depth: int) -> list[list[Recipient]]:
        """Rows that go on together, in order; where many go on alike, those that differ in queue IDs only."""
        groups = _grouped(rows, lambda row: self._next(row, depth))
        if len(groups) <= ALIKE or self.writer.options.all:
            return groups
        out: dict[Hashable, list[list[Recipient]]] = {}
        for group in groups:
            shapes = {self._shape(row, depth) for row in group}
            out.setdefault(shapes.pop() if len(shapes) == 1 else id(group), []).append(group)
        merged: list[list[Recipient]] = []
        for same in out.values():
            if len(same) > ALIKE:
                merged.append([row for group in same for row in group])
            else:
                merged += same
        return merged

    def _next(self, row: Recipient, depth: int) -> Hashable:
        path = self.paths[id(row)]
        return path[depth].id if depth < len(path) else self._end(row)

    def _end(self, row: Recipient) -> Hashable:
        reason, other = "", ("", "")
        if row.outcome != "delivered":
            reason, other = self._impersonal(row.reason, row), self._other_side(row)
        return (row.outcome, reason, other, row.attempts, row.certainty)

    def _other_side(self, row: Recipient) -> tuple[str, str]:
        """Name and address of who had the last word."""
        path = self.paths[id(row)]
        attempts = self._attempts(path[-1], None, row) if path else []
        return (attempts[-1].relay.name, attempts[-1].relay.ip) if attempts else ("", "")

    def _shape(self, row: Recipient, depth: int) -> Hashable:
        return (tuple(hop.host for hop in self.paths[id(row)][depth:]), self._end(row))

    def _alike(self, group: Sequence[Recipient], depth: int) -> bool:
        return len({self._next(row, depth) for row in group}) > 1

    def _many(self, group: Sequence[Recipient], depth: int, rail: str) -> None:
        """Branches that differ in their queue IDs only, as one."""
        hosts = [visible(hop.host) for hop in self.paths[id(group[0])][depth:]]
        if hosts:
            ways = len({self._next(row, depth) for row in group})
            self._line(None, [Span(" → ".join(hosts), "bold"), Span(f"  {ways} messages, all alike", "dim")], rail)
        self._outcome(group, rail, alone=False)

    def _step(self, rows: Sequence[Recipient], depth: int, rail: str) -> bool:
        """Tell one hop, or how it ended; False when there is nothing after it."""
        path = self.paths[id(rows[0])]
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
        path = self.paths[id(rows[0])]
        after = path[depth + 1] if depth + 1 < len(path) else None
        attempts = self._attempts(hop, after, rows[0])
        done = next((d for d in reversed(attempts) if d.status == "sent"), None)
        stay = self._quickest(hop, rows, depth)
        for early in attempts:
            if _early(early, hop):
                self._deferral(early, rows[0], rail)
        host = visible(hop.host)
        queue_id = visible(hop.queue_id)
        spans = [Span(host.ljust(0 if self.narrow else self.host_width), "bold"), Span("  ")]
        spans.append(Span(queue_id if self.narrow else queue_id.ljust(self.id_width), "cyan"))
        if stay is not None:
            text = duration(stay)
            spans.append(
                Span(
                    "  " + (text.replace(" ", "") if self.narrow else text.rjust(8)),
                    "bold yellow" if stay >= SLOW else "dim",
                )
            )
        elif not self.narrow:
            spans.append(Span(" " * 10))
        link = self._link(before, hop)
        if link is not None and link.kind in _KINDS:
            spans.append(Span(f"  {_KINDS[link.kind]}", "dim"))
        if hop.instance not in ("postfix", "exim", ""):
            spans.append(Span(f"  {visible(hop.instance)}", "dim"))
        raw = done.raw_time if done else ""
        if hop.host in self.writer.skews and raw:
            spans.append(Span(f"  its log says {visible(raw)}", "yellow"))
        self._line(hop.first, spans, rail, rail + "  ")
        if done is not None and stay is not None and stay >= SLOW and len(attempts) == 1:
            self._why_slow(done, rail)
        self._doubt(link, hop, rail)

    def _quickest(self, hop: Hop, rows: Sequence[Recipient], depth: int) -> float | None:
        """How long the first of these recipients' copies stayed; what others stayed longer is told in their branch."""
        stays: list[float] = []
        for group in _grouped(rows, lambda row: self._next(row, depth + 1)):
            path = self.paths[id(group[0])]
            after = path[depth + 1] if depth + 1 < len(path) else None
            done = _sent(self._attempts(hop, after, group[0]))
            stay = _stay(hop, done) if done else None
            if stay is not None:
                stays.append(stay)
        if not stays:
            return None
        self.quickest[hop.id] = min(stays)
        return min(stays)

    def _why_slow(self, done: Delivery, rail: str) -> None:
        if done.delays is None:
            return
        to = _peer(done.relay.name, "") or "the next host"
        parts = (
            "before the queue manager took it",
            "in the active queue",
            f"connecting to {to}",
            f"while {to} took it",
        )
        told = [f"{duration(s)} {what}" for s, what in zip(done.delays, parts, strict=True) if s >= SLOW / 10]
        if told:
            self._line(None, [Span("waited " + ", ".join(told), "yellow")], rail + "  ")

    def _link(self, before: Hop | None, hop: Hop) -> Link | None:
        if before is None:
            return None
        return next((link for link in self.into.get(hop.id, ()) if link.from_ == before.id), None)

    def _doubt(self, link: Link | None, hop: Hop, rail: str) -> None:
        """Say so where a link is not proved, why it is thought of all the same, and what else it could be."""
        if link is None or link.certainty is Certainty.PROVEN:
            return
        why = self._why(link) or "no evidence given"
        word = "likely" if link.certainty is Certainty.LIKELY else "ambiguous"
        self._line(None, [Span(f"{word}: ", "bold yellow"), Span(why, "yellow")], rail + "  ", rail + "    ")
        if link.certainty is Certainty.LIKELY:
            return
        for other in self.out.get(link.from_, ()):
            if other.to != link.to and other.certainty is Certainty.AMBIGUOUS:
                self._alternative("may as well be", other.to, other, rail)
        for other in self.into.get(hop.id, ()):
            if other.from_ != link.from_ and other.certainty is Certainty.AMBIGUOUS:
                self._alternative("may as well come from", other.from_, other, rail)

    def _why(self, link: Link) -> str:
        """The evidence, without repeating the Message-ID that the header has."""
        known = f" <{self.mail.message_id}>"
        return "; ".join(visible(fact.text.replace(known, "")) for fact in link.evidence)

    def _alternative(self, words: str, end: str, link: Link, rail: str) -> None:
        why = self._why(link)
        spans = [Span(f"{words} "), *self._name_of(end), Span(f": {why}" if why else "")]
        self._line(None, [span._replace(style=span.style or "yellow") for span in spans], rail + "  ", rail + "    ")

    def _name_of(self, hop_id: str) -> Line:
        hop = self.hops.get(hop_id)
        if hop is None:
            number = self.writer.numbers.get(hop_id)
            host, queue_id = hop_id.partition(":")[0], hop_id.rpartition(":")[2]
            of = Span(f" of mail {number}" if number else "")
            return [Span(visible(host), "bold"), Span(" "), Span(visible(queue_id), "cyan"), of]
        return [Span(visible(hop.host), "bold"), Span(" "), Span(visible(hop.queue_id), "cyan")]

    # ------------------------------------------------------------------ attempts

    def _attempts(self, hop: Hop, after: Hop | None, row: Recipient) -> list[Delivery]:
        """The attempts of a hop that this copy went through, in order of time."""
        tried = self._tried(hop)
        link = self._link(hop, after) if after else None
        recipient, original = _folded(row.recipient), _folded(row.original_recipient)
        also = [_folded(address) for address in link.recipients] if link else []
        names = (
            tried.by_name.get(recipient)
            or tried.by_name.get(recipient.partition("@")[0])
            # Exim logs only the local part of a local delivery; here the whole address is there and the row has less
            or ("@" not in recipient and tried.by_local_part.get(recipient))
            or (after is not None and tried.by_reply_id.get(after.queue_id))
            or _first(tried.by_name, [recipient, original, *also])
            or _first(tried.by_original, [recipient, original, *also])
            or (tried.only if len(tried.only) == 1 else ())
        )
        return sorted((d for name in names or () for d in tried.by_exact_name[name]), key=lambda d: d.time)

    def _tried(self, hop: Hop) -> _Tried:
        known = self.tried.get(hop.id)
        if known is None:
            known = self.tried[hop.id] = _Tried(hop)
        return known

    def _failures(self, hop: Hop, after: Hop | None, row: Recipient, rail: str) -> None:
        """What went wrong on the way to the next hop or the end: the attempts before the last word."""
        attempts = self._attempts(hop, after, row)
        failed = [d for d in attempts if d.status == "deferred" and not _early(d, hop)]
        if after is None and row.outcome == "deferred":
            failed = failed[:-1]  # the last one is the outcome
        done = _sent(attempts)
        if not failed:
            if after is not None and done is not None:
                self._slower(hop, done, rail)
            return
        self._deferral(failed[0], row, rail)
        again = failed[1:]
        if len(again) > TOLD:
            self._summary(again, failed[0], row, rail)
        else:
            for before, one in pairwise(failed):
                self._deferral(one, row, rail, brief=self._reason(before, row) == self._reason(one, row))
        if after is not None and done is not None:
            spans = [Span(f"handed on at attempt {len(failed) + 1}"), Span(self._stayed(hop, done), "dim")]
            self._line(None, spans, rail, rail + "  ")

    def _slower(self, hop: Hop, done: Delivery, rail: str) -> None:
        """Say so where a branch waited longer than the hop's line tells."""
        stay = _stay(hop, done) or 0.0
        if stay >= self.quickest.get(hop.id, stay) + 1:
            self._line(None, [Span("handed on"), Span(self._stayed(hop, done), "dim")], rail, rail + "  ")
            if stay >= SLOW:
                self._why_slow(done, rail)

    def _stayed(self, hop: Hop, done: Delivery) -> str:
        stay = _stay(hop, done)
        return f", {duration(stay)} after it came" if stay else ""

    def _reason(self, one: Delivery, row: Recipient) -> tuple[str, str]:
        who, text = self._said(one.reply, one)
        return who, self._impersonal(text, row)

    def _summary(self, again: Sequence[Delivery], first: Delivery, row: Recipient, rail: str) -> None:
        """Many further failures, by reason."""
        reasons = Counter(self._reason(one, row) for one in again)
        spans = [Span(f"… deferred {len(again):,} more times until then", "bold yellow")]
        if set(reasons) == {self._reason(first, row)}:
            self._line(again[-1].time, [*spans, Span(", for the same reason", "yellow")], rail, rail + "  ")
            return
        self._line(again[-1].time, [*spans, Span(":", "yellow")], rail, rail + "  ")
        common = reasons.most_common(TOLD)
        for (who, text), times in common:
            said = f"{who}: " if who else ""
            self._line(None, [Span(f"{times:,} times {said}{visible(text)}", "yellow")], rail + "  ", rail + "    ")
        if len(reasons) > len(common):
            self._line(None, [Span(f"and {count(len(reasons) - len(common), 'other reason')}", "yellow")], rail + "  ")

    def _deferral(self, one: Delivery, row: Recipient, rail: str, *, brief: bool = False) -> None:
        who, text = self._said(one.reply, one)
        word = "greylisted" if _GREY.search(one.reply) else "deferred"
        spans = [Span(f"… {word}", "bold yellow"), Span(f" by {who}" if who else "", "yellow")]
        if brief:
            spans.append(Span(", again", "yellow"))
        elif text:
            spans.append(Span(f": {visible(text)}", "yellow"))
        self._line(one.time, spans, rail, rail + "  ")

    def _said(self, reply: str, delivery: Delivery | None) -> tuple[str, str]:
        """Who refused, and the words, out of a reply or error."""
        reply = _IN_REPLY.sub("", reply)
        match = _SAID.match(reply)
        if match:
            return _peer(match["name"], match["ip"]), match["text"]
        if delivery is not None and not delivery.local and (delivery.relay.name or delivery.relay.ip):
            return _peer(delivery.relay.name, delivery.relay.ip), reply
        return "", reply

    def _impersonal(self, text: str, row: Recipient) -> str:
        """A reply without the recipient it is about, so that the same reply to several can be told once."""
        for address in (row.recipient, row.original_recipient):
            if address:
                text = re.sub(re.escape(address), "…", text, flags=re.IGNORECASE)
        return text

    # ------------------------------------------------------------------ outcomes

    def _outcome(self, rows: Sequence[Recipient], rail: str, *, alone: bool = True) -> None:
        """How it ended; `alone` unless this stands for many messages whose hops were not told."""
        row = rows[0]
        path = self.paths[id(row)]
        hop = path[-1] if path else None
        attempts = self._attempts(hop, None, row) if hop else []
        last = attempts[-1] if attempts else None
        mark, style = _mark(row.outcome)
        text = self._words(rows, hop, last)
        if row.certainty is not Certainty.PROVEN and not (alone and self._told_doubt(path)):
            text += f" ({row.certainty.value})"
        time = last.time if last else (hop.last if hop else self.mail.first)
        if not alone:
            time = max((self.paths[id(r)][-1].last for r in rows if self.paths[id(r)]), default=time)
        first, _, rest = text.partition(": ")
        spans = [Span(f"{mark} {first}", f"bold {style}"), Span(f": {rest}" if rest else "", style)]
        self._line(time, spans, rail, rail + "  ")
        if hop is not None:
            self._notices(hop, None, row, rail)

    def _notices(self, hop: Hop, after: Hop | None, row: Recipient, rail: str) -> None:
        """The messages that a hop caused on behalf of this recipient: a bounce, a notice of delay, list mail."""
        for link in self.writer.causes.get(hop.id, ()):
            if self._concerns(link, hop, after, row) or (after is None and not self._concerns_any(link, hop)):
                self._caused(link, rail)

    def _concerns(self, link: Link, hop: Hop, after: Hop | None, row: Recipient) -> bool:
        notice = _notice(link)
        if notice == "delay notice":
            return any(d.status == "deferred" for d in self._attempts(hop, after, row))
        if notice == "delivery report":
            return row.outcome in ("delivered", "relayed")
        return after is None and row.outcome in _FAILED

    def _concerns_any(self, link: Link, hop: Hop) -> bool:
        """Whether the message speaks of any recipient that came to the hop."""
        for row in self.mail.recipients:
            path = self.paths[id(row)]
            if hop in path:
                after = path[path.index(hop) + 1 :]
                if self._concerns(link, hop, after[0] if after else None, row):
                    return True
        return False

    def _told_doubt(self, path: list[Hop]) -> bool:
        links = (self._link(one, other) for one, other in pairwise(path))
        return any(link is not None and link.certainty is not Certainty.PROVEN for link in links)

    def _caused(self, link: Link, rail: str) -> None:
        number = self.writer.numbers.get(link.to)
        what = _notice(link) if link.kind is LinkKind.BOUNCED else "sent on as a mail of its own"
        spans = [Span(f"↳ {what}", "dim")]
        if number and number != self.number:
            target = self.writer.report.mails[number - 1]
            to = ", ".join(_shown(row.recipient) for row in target.recipients[:2])
            spans += [Span(f" to {to}" if to else "", "dim"), Span(": ", "dim"), Span(f"mail {number}", "bold")]
        else:
            spans += [Span(": ", "dim"), *self._name_of(link.to)]
        self._line(None, spans, rail + "  ")

    def _words(self, rows: Sequence[Recipient], hop: Hop | None, last: Delivery | None) -> str:
        """The outcome as a sentence; what follows its first `: ` is the other side's words."""
        row = rows[0]
        reason = row.reason or (last.reply if last else "")
        if len(rows) > 1:
            reason = self._impersonal(reason, row)
        who, said = self._said(reason, last)
        host = f" on {visible(hop.host)}" if hop else ""
        tail = f": {visible(said)}" if said else ""
        after = self._after(rows, last)
        tries = f" after {count(row.attempts, 'attempt')}" if row.attempts > 1 else ""
        to = (_peer(last.relay.name, last.relay.ip) if last else "") or "the next host"
        words = {
            "delivered": f"delivered{host}{after}" + ("" if _PLAIN_SUCCESS.fullmatch(said) else tail),
            "relayed": f"relayed to outside host {to}{after}" + tail,
            "deferred": f"still queued{host}{tries or after}" + (f", {who} said" if who else "") + tail,
            "bounced": f"bounced{f' by {who}' if who else host}{after}{tail}",
            "expired": f"given up{host}{after or tries}{tail}",
            "rejected": f"refused{f' by {who}' if who and not hop else host}{tail}",
            "discarded": f"discarded{host}{tail}",
            "held": f"held{host}{tail}",
            "quarantined": f"quarantined{host}{tail}",
            "in_transit": f"in transit: handed to {to}, whose log of that time does not have it",
            "unknown": f"unknown: handed to {to}, of which no log was read",
        }
        if row.outcome == "unknown" and (last is None or last.status != "sent"):
            return f"unknown{host}{tail}"
        return words.get(row.outcome, f"{visible(row.outcome)}{host}{tail}")

    def _after(self, rows: Sequence[Recipient], last: Delivery | None) -> str:
        """How long it took, no finer than the stamps are."""
        seconds = sorted(row.seconds for row in rows if row.seconds is not None)
        if not seconds:
            return ""
        path = self.paths[id(rows[0])]
        if (path and _whole(path[0].first)) or (last is not None and _whole(last.time)):
            seconds = [float(round(value)) for value in seconds]
            if not seconds[-1]:
                return " within a second"
        if not round(seconds[0], 2) and round(seconds[-1], 2):
            return f" within {duration(seconds[-1])}"
        low, high = duration(seconds[0]), duration(seconds[-1])
        return f" after {high}" if low == high else f" after {low} to {high}"

    # ------------------------------------------------------------------ lines

    def _names(self, rows: Sequence[Recipient]) -> Line:
        """The recipients of a group, and what they were addressed to where that is something else."""
        names = list(dict.fromkeys(_shown(row.recipient) for row in rows))
        originals = list(dict.fromkeys(row.original_recipient for row in rows if row.original_recipient))
        shown = names if self.writer.options.all else names[:NAMES]
        spans = [Span(", ".join(shown) or "nobody that the logs tell", "bold" if shown else "dim")]
        if len(names) > len(shown):
            spans.append(Span(f" and {count(len(names) - len(shown), 'other')}", "bold"))
        if len(originals) == 1 and self._changed(rows) and (rows is self.mail.recipients or not self.changed):
            spans.append(Span(f"  addressed to {_shown(originals[0])}", "dim"))
        return spans

    def _changed(self, rows: Sequence[Recipient]) -> bool:
        """Whether all of these were addressed to one address that an alias, a list or a map changed."""
        return len({row.original_recipient for row in rows}) == 1 and all(
            row.original_recipient and not _same(row.recipient, row.original_recipient) for row in rows
        )

    def _leftovers(self) -> None:
        """Hops that no recipient's path explains: nothing that was found goes untold."""
        told = {hop.id for path in self.paths.values() for hop in path}
        alternatives = {
            end for link in self.mail.links if link.certainty is Certainty.AMBIGUOUS for end in (link.from_, link.to)
        }
        for hop in self.mail.hops:
            if hop.id not in told and hop.id not in alternatives:
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


def _folded(address: str) -> str:
    return address.strip("<>").lower()


def _same(one: str, other: str) -> bool:
    """Whether two addresses are one; Exim logs only the local part of a local delivery."""
    one, other = _folded(one), _folded(other)
    if one == other:
        return True
    return ("@" not in one or "@" not in other) and one.partition("@")[0] == other.partition("@")[0] != ""


def _grouped(rows: Iterable[Recipient], key: Any) -> list[list[Recipient]]:
    out: dict[Hashable, list[Recipient]] = {}
    for row in rows:
        out.setdefault(key(row), []).append(row)
    return list(out.values())


def _whole(time: float) -> bool:
    """Whether a stamp seems to have no fraction: what lies between two of them is known to the second only."""
    return time == int(time)


def _sent(attempts: Sequence[Delivery]) -> Delivery | None:
    """The attempt that passed the message on."""
    return next((d for d in reversed(attempts) if d.status == "sent"), None)


def _stay(hop: Hop, done: Delivery) -> float | None:
    """Seconds between a message's arrival and its handing on; None where the log can't tell so little."""
    if done.delay is not None:
        return done.delay
    seconds = done.time - hop.first
    return None if seconds < 1 and (_whole(done.time) or _whole(hop.first)) else max(0.0, seconds)


def _notice(link: Link) -> str:
    """What the message is that a link leads to, as the log's words for it tell."""
    words = " ".join(fact.text for fact in link.evidence)
    if " delay " in words:
        return "delay notice"
    return "delivery report" if " success " in words else "bounce"


def _early(attempt: Delivery, hop: Hop) -> bool:
    """Whether an attempt came before the message did: a refusal at the door that the client took for a `later`."""
    return attempt.status != "sent" and attempt.time < hop.first


class _Tried:
    """A hop's attempts by what can be known of a recipient, since a mail may have thousands."""

    def __init__(self, hop: Hop) -> None:
        self.by_exact_name: dict[str, list[Delivery]] = {}
        self.by_name: dict[str, dict[str, None]] = {}
        self.by_local_part: dict[str, dict[str, None]] = {}
        self.by_original: dict[str, dict[str, None]] = {}
        self.by_reply_id: dict[str, dict[str, None]] = {}
        for one in hop.deliveries:
            self.by_exact_name.setdefault(one.recipient, []).append(one)
            name, original = _folded(one.recipient), _folded(one.original_recipient)
            self.by_name.setdefault(name, {})[one.recipient] = None
            self.by_local_part.setdefault(name.partition("@")[0], {})[one.recipient] = None
            if original:
                self.by_original.setdefault(original, {})[one.recipient] = None
            if one.reply_id:
                self.by_reply_id.setdefault(one.reply_id, {})[one.recipient] = None
        self.only = list(self.by_exact_name)


def _first(index: dict[str, dict[str, None]], names: Iterable[str]) -> list[str]:
    """Everything that an index has of these names."""
    return list(dict.fromkeys(found for name in names for found in index.get(name, ())))


class _Table:
    """Many mails, a line each."""

    def __init__(self, writer: _Writer) -> None:
        self.writer, self.screen, self.clock = writer, writer.screen, writer.clock
        mails = writer.report.mails
        days = {self.clock.day(mail.first) for mail in mails}
        self.days = len(days) > 1
        ids = [visible(mail.hops[0].queue_id) for mail in mails if mail.hops] if self.screen.width >= WIDE else []
        self.id_width = min(23, max(map(len, ids), default=0))  # 23: the longest that Exim makes

    def write(self) -> None:
        mails = self.writer.report.mails
        first = mails[0].first
        day = "" if self.days else f" on {self.clock.day(first)}"
        self.screen.line(
            [Span(count(len(mails), "mail"), "bold"), Span(f"{day}, times in {self.clock.zone(first)}", "dim")]
        )
        self.screen.line()
        for mail in mails:
            self.screen.line(self._row(mail))
        self.screen.line()
        rows = [row for mail in mails for row in mail.recipients]
        self.screen.line([Span(f"{count(len(rows), 'recipient')}: "), *_tally(rows)])
        self.screen.line(
            [
                Span("For the story of one, narrow the search", "bold"),
                Span(": --message-id, --queue-id, --sender, --recipient, another -k, --since and --until. "),
                Span("--all tells all.", "dim"),
            ]
        )
        self.screen.line()

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
        sender = shorten(_shown(mail.sender), sender_room)
        narrow = self.screen.narrow
        spans = [Span(time, "dim"), Span(" " if narrow else "  ")]
        if self.id_width:
            spans += [Span(_padded(shorten(queue_id, self.id_width), self.id_width), "cyan"), Span("  ")]
        spans += [Span(_padded(sender, sender_room)), Span(" → ", "dim"), Span(_padded(to, room - sender_room))]
        return [*spans, Span(" " if narrow else "  "), *outcome]

    def _to(self, mail: Mail, room: int) -> str:
        names = list(dict.fromkeys(_shown(row.recipient) for row in mail.recipients))
        if not names:
            return "nobody known"
        more = f" +{len(names) - 1}" if len(names) > 1 else ""
        return shorten(names[0], max(1, room - len(more))) + more

    def _outcome(self, mail: Mail) -> Line:
        counts = Counter(row.outcome for row in mail.recipients)
        order = list(_OUTCOMES)
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
        self._expectations()
        self._window()
        self._coverage()
        self._clocks()
        self._warnings()

    def _item(self, name: str, spans: Line) -> None:
        narrow = self.screen.narrow
        if not narrow and name == self.named:
            name = ""
        self.named = name or self.named
        first = Span(f"{name} " if narrow else f"{name:<10} ", "bold")
        self.screen.line(spans, [first], [Span("  " if narrow else " " * 11)])

    def _expectations(self) -> None:
        for item in self.report.expectations:
            mark = Span("✓ ", "bold green") if item.held else Span("✗ ", "bold red")
            detail = f": {visible(item.detail)}" if item.detail else ""
            self._item("Expected", [mark, Span(visible(item.text) + detail, "" if item.held else "red")])

    def _window(self) -> None:
        start, end = self.report.start, self.report.end
        if start is None and end is None:
            return
        since = f"from {self.clock.minute(start)} " if start is not None else ""
        until = f"until {self.clock.minute(end)} " if end is not None else ""
        known = start if start is not None else end
        read = {"": "", LOCAL: "; times read in this machine's zone"}.get(
            self.report.zone, f"; times read in {self.report.zone}"
        )
        self._item("Asked for", [Span(f"mail {since}{until}{self.clock.zone(known or 0.0)}{visible(read)}")])

    def _coverage(self) -> None:
        items = self.report.coverage
        good = [item for item in items if not item.problem]
        if not items:
            self._item("Looked at", [Span("no log at all", "yellow")])
            return
        hosts = len({item.host for item in good})
        text = f"{count(len(good), 'log')} of {count(hosts, 'host')}" if good else "nothing"
        lines = [item.lines for item in good if item.lines is not None]
        if lines:
            text += f", {count(sum(lines), 'line')}"
        self._item("Looked at", [Span(text + self._span(good))])
        unparsed = sum(item.unparsed for item in items)
        if unparsed:
            self._item(
                "Looked at", [Span(f"{count(unparsed, 'line')} of a mail program in a form not known here", "dim")]
            )
        for problem, same in _by(items, lambda item: item.problem).items():
            if problem:
                lacks = any(item.missing for item in same)
                style = "red" if lacks else "yellow"
                known = [item.host for item in same if item.host]
                named = f"{_hosts(known)}: " if known else ""  # a log that nobody is named for
                self._item("Looked at", [Span(f"{'✗' if lacks else '!'} {named}{visible(problem)}", style)])

    def _span(self, items: Sequence[Coverage]) -> str:
        """From when to when there are logs: of all of them, since what one host lacks is a gap."""
        firsts = [item.first for item in items if item.first is not None]
        lasts = [item.last for item in items if item.last is not None]
        if not firsts or not lasts:
            return ""
        first, last = min(firsts), max(lasts)
        since, until = self.clock.minute(first), self.clock.minute(last)
        if self.clock.day(first) == self.clock.day(last):
            return f", {since} to {until[11:]}"
        return f", {since} to {until}"

    def _clocks(self) -> None:
        notes = self.report.clocks
        for note in notes:
            if abs(note.skew_seconds) >= SKEW:
                fast = "fast" if note.skew_seconds > 0 else "slow"
                off = duration(abs(note.skew_seconds))
                self._item(
                    "Clocks", [Span(f"{visible(note.host)} is {off} {fast}; times here are corrected", "yellow")]
                )
        zones = _by(
            [note for note in notes if note.offset is not None], lambda note: (_offset(note.offset), note.proved_by)
        )
        for (offset, proof), same in zones.items():
            doubt = proof in ("config", "machine", "assumed")
            words = {
                "config": "as configured",
                "machine": "this machine's zone, for want of proof",
                "assumed": "assumed",
            }
            said = words.get(proof, f"proved by {visible(proof)}")
            text = f"{_hosts(note.host for note in same)}: stamps in {offset}, {said}"
            self._item("Clocks", [Span(text, "yellow" if doubt and proof != "config" else "dim")])

    def _warnings(self) -> None:
        for (_, message), same in _by(self.report.warnings, lambda item: (item.code, item.message)).items():
            hosts = [item.host for item in same if item.host]
            where = f"{_hosts(hosts)}: " if hosts else ""
            self._item("Warning", [Span(where + visible(message), "yellow")])


def _by(items: Iterable[Any], key: Any) -> dict[Any, list[Any]]:
    out: dict[Any, list[Any]] = {}
    for item in items:
        out.setdefault(key(item), []).append(item)
    return out


def _hosts(hosts: Iterable[str], most: int = 3) -> str:
    """A few hosts by name, the others by number."""
    names = [visible(host) for host in dict.fromkeys(hosts)]
    if len(names) <= most + 1:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {count(len(names) - most, 'other')}"


def _offset(seconds: float | None) -> str:
    minutes = round((seconds or 0) / 60)
    if minutes == 0:
        return "UTC"
    return f"UTC{'-' if minutes < 0 else '+'}{abs(minutes) // 60}" + (
        f":{abs(minutes) % 60:02}" if minutes % 60 else ""
    )
