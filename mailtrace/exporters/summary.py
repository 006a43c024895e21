"""The `summary` export: many mails in a few figures, for people (what they mean: `mailtrace/summary.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from mailtrace.exporters.terminal import Screen, Span, columns, shorten
from mailtrace.remarks import remarks
from mailtrace.report import Report, visible
from mailtrace.summary import Summary, summarize
from mailtrace.wording import BAD, GOOD, OPEN, OUTCOMES, Clock, address, count, duration, no_mail, outcome

REASONS = 8
STAGES = 8
_STYLES = {GOOD: "green", OPEN: "yellow", BAD: "red", "dim": "dim"}


@dataclass(frozen=True, slots=True)
class Table:
    """Outcomes, reasons, slowest stages and what is stuck. The options are the timeline's."""

    time_zone: str = "local"
    color: str = "auto"
    width: int = 0

    binary: ClassVar[bool] = False

    def export(self, report: Report, stream: Any) -> None:
        """Write the report to a text stream."""
        _Writer(report, Screen(stream, self.color, self.width), Clock(self.time_zone)).write()


class _Writer:
    def __init__(self, report: Report, screen: Screen, clock: Clock) -> None:
        self.report, self.screen, self.clock = report, screen, clock

    def write(self) -> None:
        summary = summarize(self.report.mails)
        if self.report.partial:
            self.screen.line([Span("Interrupted: this is what was found until then.", "bold yellow")])
        self._head(summary)
        if summary.recipients:
            self._outcomes(summary)
        self._reasons(summary)
        self._stages(summary)
        self._stuck(summary)
        for name, text, tone, mark in remarks(self.report, self.clock):
            said = f"{mark} {text}" if mark else text
            self.screen.line([Span(said, _STYLES.get(tone, ""))], [Span(f"{name:<10} ", "bold")], [Span(" " * 11)])

    def _head(self, summary: Summary) -> None:
        if summary.first is None or summary.last is None:
            self.screen.line([Span(no_mail(self.report), "bold yellow")])
        else:
            when = f"{self.clock.minute(summary.first)} to {self.clock.minute(summary.last)}"
            zone = self.clock.zone(summary.first)
            head = f"{count(summary.mails, 'mail')}, {count(summary.recipients, 'recipient')}"
            self.screen.line([Span(head, "bold"), Span(f", {when} {zone}", "dim")])
        self.screen.line()

    def _outcomes(self, summary: Summary) -> None:
        order = {name: number for number, name in enumerate(OUTCOMES)}
        found = sorted(summary.outcomes.items(), key=lambda item: order.get(item[0], len(order)))
        self._title("Outcomes")
        for name, number in found:
            mark, tone = outcome(name)
            share = f"{100 * number / summary.recipients:5.1f} %"
            text = f"{number:>9,}  {share}  "
            self.screen.line([Span(text), Span(f"{mark} {name.replace('_', ' ')}", _STYLES[tone])])
        self.screen.line()

    def _reasons(self, summary: Summary) -> None:
        if not summary.reasons:
            return
        self._title("Top reasons")
        for (name, reason), number in summary.reasons.most_common(REASONS):
            spans = [Span(name.replace("_", " "), _STYLES[outcome(name).tone]), Span(f": {visible(reason)}")]
            self.screen.line(spans, [Span(f"{number:>9,}  ")], [Span(" " * 13)])
        self._rest(len(summary.reasons) - REASONS, "other reason")

    def _stages(self, summary: Summary) -> None:
        total = sum(stage.seconds for _, _, stage in summary.slowest)
        slowest = [item for item in summary.slowest if item[2].seconds >= total / 100]
        if not slowest:
            return
        self._title("Where the time went")
        hosts = [shorten(visible(host), 24) for host, _, _ in slowest[:STAGES]]
        width = max(columns(host) for host in hosts)
        for host, (_, name, stage) in zip(hosts, slowest, strict=False):
            share = f"{100 * stage.seconds / total:5.1f} %"
            mean = f"{duration(stage.seconds / stage.number)} on average"
            spans = [
                Span(host + " " * (width - columns(host)), "bold"),
                Span(f"  {name}: {mean}, {duration(stage.longest)} at most, "),
                Span(count(stage.number, "delivery", "deliveries"), "dim"),
            ]
            self.screen.line(spans, [Span(f"{share:>9}  ")], [Span(" " * 13)])
        self._rest(len(slowest) - STAGES, "other stage")

    def _stuck(self, summary: Summary) -> None:
        if not summary.waiting:
            return
        self._title(f"Stuck: {count(summary.waiting, 'recipient')}, the oldest first")
        for item in summary.stuck:
            where = f"{visible(item.host)} {visible(item.queue_id)}".strip()
            why = f": {visible(item.reason)}" if item.reason else ""
            spans = [
                Span(f"{where}  ", "bold"),
                Span(f"{address(item.sender)} → {address(item.recipient)}  "),
                Span(item.outcome.replace("_", " ") + why, _STYLES[outcome(item.outcome).tone]),
            ]
            self.screen.line(spans, [Span(f"  {self.clock.minute(item.since)}  ", "dim")], [Span(" " * 6)])
        self._rest(summary.waiting - len(summary.stuck), "other")

    def _title(self, text: str) -> None:
        self.screen.line([Span(text, "bold")])

    def _rest(self, number: int, what: str) -> None:
        if number > 0:
            self.screen.line([Span(f"  and {count(number, what)}", "dim")])
        self.screen.line()
