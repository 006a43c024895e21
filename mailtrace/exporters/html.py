"""The `html` export: one page that holds all of it, to look at and to send to a colleague.

The page asks nothing of any network, and what it shows it shows without scripts; these only add searching, sorting and
opening. Its Content-Security-Policy allows the one script and the one style sheet that it is written with, by their
hash, and nothing else. A few mails have their story written out. Of many there is a table, and the stories are packed
(see `html_pack`).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from string import Template
from typing import Any, ClassVar

from mailtrace import __version__
from mailtrace.exporters.html_article import Article
from mailtrace.exporters.html_graph import ARROW, picture
from mailtrace.exporters.html_markup import Markup, join, scroll, table, tag
from mailtrace.exporters.html_pack import lines, packs, plain
from mailtrace.exporters.html_scene import LINES, Scene, chips
from mailtrace.exporters.html_table import mails_table
from mailtrace.graph import MailGraph
from mailtrace.remarks import Remark, grouped, proof_of, remarks
from mailtrace.report import Report, rfc3339
from mailtrace.wording import BAD, OPEN, Clock, count, duration, no_mail, tally, utc_offset

STORIES = 10
"""Up to so many mails have their story written out."""
PACKED = 10_000
"""Of more mails than this the first have their story in the page, and all have their row; the page says so."""
WRITTEN = 250
"""Up to so many log lines of a page are written out; more are packed."""
DRAWN = 60
"""A graph of more hosts is too wide to be read."""
DOUBTS = 3
"""Up to so many doubts stand at the top of the page."""
LISTED = 12
"""Up to so many logs the table of what was looked at is open from the start."""


@dataclass(frozen=True, slots=True)
class Html:
    """The page. With `entries`, each hop has its raw log lines; times are in `time_zone`, as in the timeline."""

    time_zone: str = "local"
    entries: bool = True

    binary: ClassVar[bool] = False

    def export(self, report: Report, stream: Any) -> None:
        """Write the page to a text stream, a mail at a time."""
        for piece in _page(Scene(report, Clock(self.time_zone), entries=self.entries)):
            stream.write(piece.encode("utf-8", "backslashreplace").decode())


@lru_cache(maxsize=3)
def _part(name: str) -> str:
    """A file that stands beside this module."""
    return (files("mailtrace.exporters") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _page(scene: Scene) -> Iterator[str]:
    report = scene.report
    style, script = _part("html_page.css"), _part("html_page.js")
    title = report.name or "Where did this mail go?"
    hashes = f"script-src {_hash(script)}; style-src {_hash(style)}"
    policy = f"default-src 'none'; {hashes}; base-uri 'none'; form-action 'none'"
    template = Template(_part("html_page.html"))
    page = template.substitute(
        policy=policy, style=style, script=script, title=tag("title", title), heading=tag("h1", title),
        summary=join(_summary(scene)), version=join(__version__), arrow=ARROW, body="\0",
    )  # fmt: skip
    head, _, foot = page.partition("\0")
    yield head
    yield from _body(scene)
    yield foot


def _body(scene: Scene) -> Iterator[str]:
    mails = scene.report.mails
    packed = len(mails) > STORIES
    if len(mails) > 1:
        yield from mails_table(scene, packed=packed)
        yield _flow(scene)
    articles = (Article(scene, mail, number).markup() for number, mail in enumerate(mails[:PACKED], 1))
    if packed:
        yield from packs(articles)
    else:
        kept: list[str] | None = [] if scene.lines > WRITTEN else None
        yield from (plain(article, kept) for article in articles)
        yield lines(kept) if kept else ""
    yield _about(scene)


# ---------------------------------------------------------------------------------------------- head and foot


def _summary(scene: Scene) -> Iterator[Markup]:
    """The answer in a line, and what the reader should know before all else."""
    report = scene.report
    rows = [row for mail in report.mails for row in mail.recipients]
    if report.mails:
        said = f"{count(len(report.mails), 'mail')} to {count(len(rows), 'recipient')}: "
        yield tag("p", said, chips(rows), class_="answer")
    else:
        yield tag("p", tag("b", no_mail(report)), class_="answer")
    if report.partial:
        yield tag("p", "Interrupted: this is what was found until then.", class_="alert open")
    for item in remarks(report, scene.clock):
        if item.name == "Expected" or item.tone == BAD:
            yield tag("p", _remark(item), class_=f"alert {item.tone}")
    doubts = [item for item in remarks(report, scene.clock) if item.tone == OPEN]
    if len(doubts) <= DOUBTS or not report.mails:
        yield from (tag("p", _remark(item), class_="alert open") for item in doubts)
    else:
        link = tag("a", f"{len(doubts):,} remarks on what was looked at", href="#about")
        yield tag("p", link, class_="alert open")


def _remark(item: Remark) -> Markup:
    return join(tag("b", item.name), " ", f"{item.mark} " if item.mark else "", item.text)


def _flow(scene: Scene) -> Markup:
    """How all mails flowed over the hosts."""
    graph = MailGraph.of(scene.report)
    if not 1 < len(graph.hosts) <= DRAWN:
        return Markup("")
    ends = grouped(
        ((row.path[-1].host, row) for mail in scene.report.mails for row in mail.recipients if row.path),
        lambda item: item[0],
    )
    drawn = picture(graph, dict.fromkeys(graph.hosts, "mails"), {
        host: tally(row for _, row in items) for host, items in ends.items()
    })  # fmt: skip
    shown = scroll("The flow of all mails", drawn, class_="flow")
    return tag("section", tag("h2", "How they flowed", id="flowt"), shown, aria_labelledby="flowt")


def _about(scene: Scene) -> Markup:
    """What was asked and looked at, and how clocks were read."""
    report = scene.report
    told = [
        tag("li", _remark(item), class_=item.tone or None)
        for item in remarks(report, scene.clock)
        if item.name != "Expected"
    ]
    if scene.lines > LINES:
        words = f"This page has no log lines: they are {scene.lines:,}. Narrow the search to have them here."
        told.append(tag("li", tag("b", "Lines"), " ", words))
    if len(report.mails) > PACKED:
        words = f"Only the first {PACKED:,} of {count(len(report.mails), 'mail')} open to their story."
        told.append(tag("li", tag("b", "Stories"), " ", words, class_=OPEN))
    return tag(
        "section",
        tag("h2", "What was looked at", id="aboutt"),
        tag("ul", told, class_="remarks"),
        _coverage(scene),
        _clocks(report),
        id="about",
        aria_labelledby="aboutt",
    )


def _folded(name: str, columns: tuple[str, ...], rows: list[Markup]) -> Markup | None:
    """A table under its name, open unless it is long."""
    if not rows:
        return None
    shown = scroll(name, table(columns, rows))
    return tag("details", tag("summary", tag("h3", name)), shown, open=len(rows) <= LISTED)


def _coverage(scene: Scene) -> Markup | None:
    def when(time: float | None) -> Markup | str:
        return tag("time", scene.clock.minute(time), datetime=rfc3339(time)) if time is not None else "?"

    rows = [
        tag(
            "tr",
            tag("th", item.host or "?", scope="row"),
            tag("td", item.source, tag("small", ", ".join(item.names))),
            tag("td", when(item.first)),
            tag("td", when(item.last)),
            tag("td", f"{item.lines:,}" if item.lines is not None else "?", class_="n"),
            tag("td", f"{item.matched:,}", class_="n"),
            tag("td", f"{item.unparsed:,}", class_="n"),
            tag("td", item.problem, class_=BAD if item.missing else OPEN),
        )
        for item in scene.report.coverage
    ]
    columns = ("host", "source", "from", "to", "lines", "matched", "not understood", "problem")
    return _folded(count(len(rows), "log"), columns, rows)


def _clocks(report: Report) -> Markup | None:
    rows = [
        tag(
            "tr",
            tag("th", note.host, scope="row"),
            tag("td", utc_offset(note.offset) if note.offset is not None else "tell their own zone"),
            tag("td", proof_of(note.proved_by) if note.offset is not None else ""),
            tag("td", note.year_from),
            tag("td", _skew(note.skew_seconds)),
        )
        for note in report.clocks
    ]
    columns = ("host", "stamps", "proof", "year from", "clock")
    return _folded(count(len(rows), "clock"), columns, rows)


def _skew(seconds: float) -> str:
    if abs(seconds) < 0.01:
        return "as the others"
    return f"{duration(abs(seconds))} {'fast' if seconds > 0 else 'slow'}; times are corrected"
