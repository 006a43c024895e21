"""The waterfall of one mail: a list of rows on one axis of time.

A row is a hop with its bars, and opens to show what proves it; between rows stands the text of the story. Where the
recipients' ways part, the list branches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from mailtrace.exporters.html_axis import Axis
from mailtrace.exporters.html_evidence import evidence, tried
from mailtrace.exporters.html_lanes import STAGES, Bar, Lane, Lanes, Mark
from mailtrace.exporters.html_markup import Markup, join, tag
from mailtrace.exporters.html_pack import part
from mailtrace.exporters.html_scene import Scene, Times, chips, names
from mailtrace.model import Certainty, Delivery, Hop, Link, Recipient
from mailtrace.report import visible
from mailtrace.story import KINDS, TOLD, Story, early, refusal, sent, slowness, stay
from mailtrace.wording import SLOW, address, count, duration, outcome

NAMES = 6
"""Up to so many recipients of a branch are named; the table of recipients names all."""
DEEPEST = 6
"""Branches that lie deeper are not indented further."""
BACK = 85.0
"""Percent of the width from which on lettering ends at its place instead of beginning there."""


class Waterfall:
    """Draws one mail's hops. `anchors` are the names by which a page leads to a hop's row."""

    def __init__(self, scene: Scene, story: Story, anchors: dict[str, str]) -> None:
        """For the mail of a story."""
        self.scene, self.story, self.mail = scene, story, story.mail
        self.anchors, self.anchored = anchors, set[str]()
        self.times = Times(scene.clock, self.mail)
        self.lanes = Lanes(story)
        self.quickest: dict[str, float] = {}
        self.on_path = {hop.id for row in self.mail.recipients for hop in story.path(row)}
        self.numbers = {id(row): i for i, row in enumerate(self.mail.recipients)}
        lanes = list(self._lanes())
        self.axis = Axis([time for lane in lanes for time in lane.times] or [self.mail.first])
        self.kinds = {bar.kind for lane in lanes for bar in lane.bars}

    def _lanes(self) -> Iterable[Lane]:
        """Every lane that may be drawn, so that the axis knows all times."""
        seen = set()
        for row in self.mail.recipients:
            for i, hop in enumerate(self.story.path(row)):
                after = self.story.after(row, i)
                attempts = self.story.attempts(hop, after, row)
                what = (hop.id, after.id if after else "", *map(id, attempts))
                if what not in seen:
                    seen.add(what)
                    yield self.lanes.lane(hop, attempts, after)
        for hop in self.mail.hops:
            if hop.id not in self.on_path:
                yield self.lanes.lane(hop, hop.deliveries, None)

    def markup(self) -> Markup:
        """The axis, the rows, and what the colours mean."""
        items = self._way(self.mail.recipients, 0, 0) + self._leftovers()
        rows = tag("ol", items, class_="way")
        if self.axis.point:  # one moment needs no axis
            return tag("div", rows, class_="fall")
        return join(tag("div", part("axis", join(self._grid(), self._axis())), rows, class_="fall"), self._legend())

    # ------------------------------------------------------------------ the axis

    def _axis(self) -> Markup:
        labels = [
            tag("text", said, x=_at(x), y="13", class_="e" if x > BACK else None) for x, said in self.axis.labels()
        ]
        breaks = [
            tag("text", duration(cut.end - cut.start), x=_at((cut.left + cut.right) / 2), y="27", class_="m")
            for cut in self.axis.breaks
        ]
        clock = self.scene.clock.at(self.axis.start)
        begins = tag("span", f"{clock:%H:%M:%S}" if clock else "?", class_="t", title="where the axis begins")
        tall = " cuts" if breaks else ""
        return tag("div", begins, tag("svg", labels, breaks, class_="track", aria_hidden="true"), class_=f"axis{tall}")

    def _grid(self) -> Markup:
        """The lines behind all rows."""
        breaks = [
            tag("rect", x=_at(cut.left + 0.6), width=_at(cut.right - cut.left - 1.2), y="0", height="100%")
            for cut in self.axis.breaks
        ]
        lines = [tag("line", x1=_at(x), x2=_at(x), y1="0", y2="100%") for x in self.axis.lines()]
        return tag("svg", breaks, lines, class_="grid", aria_hidden="true")

    def _legend(self) -> Markup:
        words = [join(tag("i", class_=f"sw {kind}"), STAGES[kind]) for kind in STAGES if kind in self.kinds]
        if any(self.lanes.soft(hop) for hop in self.mail.hops):
            words.append(join(tag("i", class_="sw soft"), "the log tells seconds only; drawn where it fits"))
        if self.axis.breaks:
            words.append(join(tag("i", class_="sw cut"), "a long wait, cut out of the axis"))
        words.append(join(tag("i", class_="sw line"), f"every {_brief(self.axis.step)}"))
        return tag("p", [join(tag("span", each), " ") for each in words], class_="legend")

    # ------------------------------------------------------------------ the tree

    def _way(self, rows: Sequence[Recipient], depth: int, level: int) -> list[Markup]:
        """What happened to these recipients after their first `depth` hops, which they share."""
        items: list[Markup] = []
        while True:
            groups = self.story.groups(rows, depth)
            if len(groups) != 1:
                break
            if self.story.ways(rows, depth) > 1:
                return items + self._many(rows, depth)
            more, goes_on = self._step(rows, depth)
            items += more
            if not goes_on:
                return items
            depth += 1
        told, rest = self.story.told(groups)
        items += [self._branch(group, self._way(group, depth, level + 1), level + 1) for group in told]
        if rest:
            left = [row for group in rest for row in group]
            items.append(self._branch(left, [], level + 1, f"{count(len(rest), 'more branch', 'more branches')}: "))
        return items

    def _branch(self, group: Sequence[Recipient], inside: list[Markup], level: int, words: str = "") -> Markup:
        mine = " ".join(str(self.numbers[id(row)]) for row in group)
        head = tag("p", tag("span", words, names(group, NAMES), " ", chips(group)), class_="who")
        way = tag("ol", inside, class_="way") if inside else None
        return tag("li", head, way, class_=f"branch d{min(level, DEEPEST)}", data_r=mine)

    def _many(self, group: Sequence[Recipient], depth: int) -> list[Markup]:
        """Branches that differ in their queue IDs only, as one."""
        ways = [self.story.path(row)[depth:] for row in group]
        hops = [hop for way in ways for hop in way]
        if not hops:
            return self._outcome(group, alone=False)
        mark, tone = outcome(group[0].outcome)
        since, until = min(map(self.lanes.start, hops)), max(hop.last for hop in hops)
        lane = Lane([Bar("stay", since, max(since, until))], [Mark(until, mark, tone, group[0].outcome)], soft=False)
        each = [
            tag("li", address(row.recipient), " ", tag("code", " → ".join(visible(hop.queue_id) for hop in way)))
            for row, way in zip(group, ways, strict=True)
        ]
        summary = tag(
            "summary",
            self.times.of(since),
            tag("span", tag("b", " → ".join(visible(hop.host) for hop in ways[0])), class_="what"),
            self._track(lane),
            tag("span", f"{self.story.ways(group, depth):,} alike", class_="took"),
        )
        item = tag("li", tag("details", summary, tag("div", tag("ul", each), class_="more"), class_="row"))
        return [item, *self._outcome(group, alone=False)]

    def _step(self, rows: Sequence[Recipient], depth: int) -> tuple[list[Markup], bool]:
        """One hop, or how it ended; and whether there is more after it."""
        row = rows[0]
        path = self.story.path(row)
        here = path[depth - 1] if depth else None
        hop = path[depth] if depth < len(path) else None
        items = self._kept(here, hop, row) if here is not None else []
        if hop is None:
            return [*items, *self._outcome(rows)], False
        if here is not None:
            items += self._notices(here, hop, row)
        return [*items, *self._hop(here, hop, rows, depth)], True

    # ------------------------------------------------------------------ rows

    def _hop(self, before: Hop | None, hop: Hop, rows: Sequence[Recipient], depth: int) -> list[Markup]:
        row = self._quickest_row(hop, rows, depth)
        after = self.story.after(row, depth)
        attempts = self.story.attempts(hop, after, row)
        seconds = self.story.quickest(hop, rows, depth)
        if seconds is not None:
            self.quickest[hop.id] = seconds
        done = sent(attempts)
        link = self.story.link(before, hop)
        words = [KINDS[link.kind]] if link is not None and link.kind in KINDS else []
        if hop.instance not in ("postfix", "exim", ""):
            words.append(visible(hop.instance))
        if hop.host in self.scene.skewed and done is not None and done.raw_time:
            words.append(f"its log says {visible(done.raw_time)}")
        all_ = sorted({id(d): d for r in rows for d in self._of(hop, r, depth)}.values(), key=lambda d: d.time)
        inside = evidence(self.story, self.times, hop, link, all_, lines=self.scene.entries)
        summary = self._summary(hop, self.lanes.lane(hop, attempts, after), seconds, words)
        anchor = None if hop.id in self.anchored else self.anchors.get(hop.id)
        self.anchored.add(hop.id)
        items = [self._refused(one) for one in attempts if early(one, hop)]
        items.append(tag("li", tag("details", summary, inside, id=anchor, class_="row"), data_h=hop.host))
        if done is not None and seconds is not None and seconds >= SLOW and len(attempts) == 1:
            items += self._note(None, slowness(done), "open")
        return [*items, *self._doubt(link)]

    def _of(self, hop: Hop, row: Recipient, depth: int) -> list[Delivery]:
        return self.story.attempts(hop, self.story.after(row, depth), row)

    def _quickest_row(self, hop: Hop, rows: Sequence[Recipient], depth: int) -> Recipient:
        """The recipient whose copy a hop passed on first: its lane stands for all who share the row."""

        def seconds(row: Recipient) -> float:
            done = sent(self._of(hop, row, depth))
            took = stay(hop, done) if done else None
            return took if took is not None else float("inf")

        return min((group[0] for group in self.story.groups(rows, depth + 1)), key=seconds, default=rows[0])

    def _kept(self, hop: Hop, after: Hop | None, row: Recipient) -> list[Markup]:
        """What went wrong on the way from a hop to the next or to the end, or took longer for these than for others."""
        failed = self.story.failures(hop, after, row)
        attempts = self.story.attempts(hop, after, row)
        done = sent(attempts)
        seconds = stay(hop, done) if done is not None else None
        slower = seconds is not None and seconds >= self.quickest.get(hop.id, seconds) + 1
        items: list[Markup] = []
        if (failed or slower) and self._shared(hop):
            lane = self.lanes.lane(hop, attempts, after)
            summary = self._summary(hop, lane, seconds, ["for these recipients"])
            inside = tag("div", tried(attempts, self.times), class_="more")
            items.append(tag("li", tag("details", summary, inside, class_="row again"), data_h=hop.host))
        if failed:
            items += self._failures(failed, row)
        if after is not None and done is not None and (failed or slower):
            which = f"handed on at attempt {len(failed) + 1}" if failed else "handed on"
            stayed = f", {duration(seconds)} after it came" if seconds else ""
            items += self._note(done.time, which + stayed)
            if slower and seconds is not None and seconds >= SLOW and not failed:
                items += self._note(None, slowness(done), "open")
        return items

    def _shared(self, hop: Hop) -> bool:
        """Whether ways part at a hop, so that its row shows only the quickest of them."""
        nexts = set()
        for row in self.mail.recipients:
            path = self.story.path(row)
            if hop in path:
                nexts.add(self.story.goes_to(row, path.index(hop) + 1))
        return len(nexts) > 1

    def _summary(self, hop: Hop, lane: Lane, seconds: float | None, words: Sequence[str]) -> Markup:
        more = tag("small", ", ".join(words)) if words else None
        took = duration(seconds) if seconds is not None else ""
        slow = " slow" if seconds is not None and seconds >= SLOW else ""
        return tag(
            "summary",
            self.times.of(hop.first),
            tag("span", tag("b", hop.host), " ", tag("code", hop.queue_id), " ", more, class_="what"),
            self._track(lane),
            tag("span", took, class_=f"took{slow}"),
        )

    def _track(self, lane: Lane) -> Markup:
        parts = []
        for kind, start, end in lane.bars:
            left, right = self.axis.at(start), self.axis.at(end)
            words = f"{STAGES[kind]}: {_brief(end - start)}"
            wide = _at(max(0.1, right - left))
            parts.append(tag("rect", tag("title", words), x=_at(left), width=wide, class_=kind))
        parts += [
            tag("text", tag("title", text), sign, x=_at(self.axis.at(time)), dx="3", y="16", class_=tone)
            for time, sign, tone, text in lane.marks
        ]
        return part("track", tag("svg", parts, class_="track soft" if lane.soft else "track", aria_hidden="true"))

    # ------------------------------------------------------------------ text between rows

    def _note(self, time: float | None, text: str | Markup, tone: str = "") -> list[Markup]:
        """A line of the story; its words before the first `: ` stand out."""
        if not text:
            return []
        at = self.times.of(time) if time is not None else tag("span", class_="t")
        if not isinstance(text, Markup):
            head, colon, rest = text.partition(": ")
            text = join(tag("b", head), colon, rest) if tone else join(text)
        return [
            tag("li", at, tag("span", tag("span", text, class_="on"), class_="said"), class_=f"note {tone}".rstrip())
        ]

    def _refused(self, one: Delivery, *, again: bool = False) -> Markup:
        what, text = refusal(one)
        said = ", again" if again else (f": {text}" if text else "")
        return self._note(one.time, join(tag("b", f"… {what}"), said), "open")[0]

    def _failures(self, failed: Sequence[Delivery], row: Recipient) -> list[Markup]:
        items = [self._refused(failed[0])]
        again = failed[1:]
        if len(again) > TOLD:
            head, *reasons = self.story.repeated(again, failed[0], row)
            listed = tag("ul", [tag("li", reason) for reason in reasons]) if reasons else None
            return items + self._note(again[-1].time, join(tag("b", f"… {head}"), listed), "open")
        return items + [
            self._refused(one, again=self.story.alike(before, one, row)) for before, one in pairwise(failed)
        ]

    def _doubt(self, link: Link | None) -> list[Markup]:
        """Say so where a link is not proved, why it is thought of all the same, and what else it could be."""
        if link is None or link.certainty is Certainty.PROVEN:
            return []
        items = self._note(None, f"{link.certainty.value}: {self.story.why(link) or 'no evidence given'}", "open")
        for words, end, other in self.story.alternatives(link):
            host, queue_id, of = self.story.named(end)
            why = self.story.why(other)
            items += self._note(None, f"{words} {host} {queue_id}{of}: {why}".removesuffix(": "), "open")
            hop = self.story.hops.get(end)
            if hop is not None and end not in self.on_path and end not in self.anchored:
                items.append(self._aside(hop, other, "may be"))
        return items

    def _outcome(self, rows: Sequence[Recipient], *, alone: bool = True) -> list[Markup]:
        row = rows[0]
        path = self.story.path(row)
        mark, tone = outcome(row.outcome)
        time, text = self.story.ending(rows, alone=alone)
        head, colon, rest = text.partition(": ")
        said = join(tag("b", tag("span", mark, aria_hidden="true"), f" {head}"), colon, rest)
        items = self._note(time, said, f"end {tone}")
        return items + (self._notices(path[-1], None, row) if path else [])

    def _notices(self, hop: Hop, after: Hop | None, row: Recipient) -> list[Markup]:
        """The messages that a hop caused on behalf of this recipient."""
        items: list[Markup] = []
        for link in self.story.notices(hop, after, row):
            what, number = self.story.caused(link)
            host, queue_id, of = self.story.named(link.to)
            which = tag("a", f"mail {number}", href=f"#m{number}") if number else f"{host} {queue_id}{of}"
            items += self._note(None, join(f"↳ {what}: ", which))
        return items

    def _leftovers(self) -> list[Markup]:
        """Hops that no recipient's path explains: nothing that was found goes untold."""
        items: list[Markup] = []
        told = any(map(self.story.path, self.mail.recipients))
        for hop in self.story.leftovers():
            items.append(self._aside(hop, None, "also seen" if told else ""))
            if hop.deliveries:
                last = hop.deliveries[-1]
                items += self._note(last.time, f"{last.status} {last.reply}".strip())
        return items

    def _aside(self, hop: Hop, link: Link | None, words: str) -> Markup:
        """A hop that is on nobody's way."""
        lane = self.lanes.lane(hop, hop.deliveries, None)
        inside = evidence(self.story, self.times, hop, link, hop.deliveries, lines=self.scene.entries)
        summary = self._summary(hop, lane, None, [words] if words else [])
        self.anchored.add(hop.id)
        row = tag("details", summary, inside, id=self.anchors.get(hop.id), class_="row again")
        return tag("li", row, data_h=hop.host)


def _at(percent: float) -> str:
    return f"{percent:.1f}".rstrip("0").rstrip(".") + "%"


def _brief(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if 0.0001 < seconds < 0.1 else duration(seconds)
