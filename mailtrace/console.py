"""How a run goes, on stderr: messages in the log, and on a terminal a line that the next one replaces."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any

from mailtrace import notify
from mailtrace.report import visible
from mailtrace.wording import count, no_mail

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailtrace.job import Job
    from mailtrace.report import Report


class Console:
    """Tells the user how a run goes: messages in the log, and on a terminal what takes more than a second."""

    every_mail = False

    def __init__(self, job: Job) -> None:
        self.log = logging.getLogger("mailtrace")
        # A timeline tells all of it itself.
        self.told = any(export.name == "timeline" and export.to == "-" for export in job.export)
        self.bar: Any = None
        self.task: Any = None
        self.began = self.read_since = 0.0
        self.read = 0
        self.waits = False

    def __enter__(self) -> Console:  # noqa: PYI034 - Self is Python 3.11's
        self.began = self.read_since = time.monotonic()
        return self

    def __exit__(self, *exc: object) -> None:
        self._clear()

    def __call__(self, event: object) -> None:
        """Take one event of the run."""
        if isinstance(event, notify.Progress):
            self._show(event)
        elif isinstance(event, notify.Waiting):
            self._wait(event)
        elif isinstance(event, notify.Asked):
            self.log.info("%s", event.said)
        elif isinstance(event, notify.StepStarted):
            if not self.waits or event.step != "walk":
                self._clear()
            self.log.debug("%s …", event.step)
        elif isinstance(event, notify.StepFinished):
            if not self.waits:
                self._clear()
            detail = f": {event.detail}" if event.detail else ""
            self.log.info("%s took %.2f s%s", event.step, event.seconds, detail)
        elif isinstance(event, notify.Warning):
            host = f"{event.host}: " if event.host else ""
            level = (
                self.log.error if event.code == "export-failed" else self.log.info if self.told else self.log.warning
            )
            level("%s%s", host, event.message)
        elif isinstance(event, notify.Expectation) and not event.held and not self.told:
            where = f"{event.place}: " if event.place else ""
            self.log.warning("%sexpected %s; seen: %s", where, event.text, event.detail)

    def conclude(self, report: Report) -> None:
        """Say that nothing was found, or that nothing was looked at, where no exporter does."""
        if not report.mails and not self.told:
            said = no_mail(report).rstrip(".")
            self.log.warning("%s", said[0].lower() + said[1:])

    def _wait(self, event: Any) -> None:
        """What is waited for, on a terminal; in a log once."""
        found = (
            f"{count(event.mails, 'mail')}, {count(event.open, 'recipient')} not final" if event.mails else "no mail"
        )
        until = time.strftime("%H:%M:%S", time.localtime(event.time + event.left))
        text = f"waiting until {until} at most: {found} yet"
        if not self.waits:
            self.log.info("%s", text)
        self.waits = True
        if sys.stderr.isatty():
            self._bar(text)

    def _bar(self, text: str) -> None:
        """A line on the terminal that the next one replaces."""
        if self.bar is None:
            from rich.console import Console as Screen
            from rich.progress import Progress, SpinnerColumn, TextColumn

            columns = (SpinnerColumn(), TextColumn("{task.description}"))
            self.bar = Progress(*columns, console=Screen(stderr=True), transient=True)
            self.task = self.bar.add_task("", total=None)
            self.bar.start()
        self.bar.update(self.task, description=text, refresh=True)

    def _show(self, event: Any) -> None:
        if self.waits:
            return
        if event.done < self.read:
            self.read_since = time.monotonic()  # the next wave reads anew
        self.read = event.done
        if self.bar is None and (time.monotonic() - self.began < 1 or not sys.stderr.isatty()):
            return
        done, total = event.done / 1e6, f" of {event.total / 1e6:,.0f}" if event.total else ""
        rate = done / max(time.monotonic() - self.read_since, 0.001)
        self._bar(f"{event.step}: {done:,.0f}{total} MB read, {rate:,.1f} MB/s")

    def _clear(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


class StatusLine:
    """The last line of a terminal, which tells how a program goes that runs for months; in a log, a message."""

    def __init__(self, log: Any) -> None:
        self.log = log
        self.shown = ""

    def __enter__(self) -> StatusLine:  # noqa: PYI034 - Self is Python 3.11's
        return self

    def __exit__(self, *exc: object) -> None:
        self._clear()

    def show(self, text: str) -> None:
        """Put it there."""
        if not sys.stderr.isatty():
            self.log.info("%s", text)
            return
        self._clear()
        self.shown = visible(text)[: max(shutil.get_terminal_size().columns - 1, 1)]
        sys.stderr.write(self.shown)
        sys.stderr.flush()

    def above(self, say: Callable[..., None]) -> Callable[[str], None]:
        """What says a message above the line."""

        def said(text: str) -> None:
            shown = self.shown
            self._clear()
            say("%s", text)
            if shown:
                self.show(shown)

        return said

    def _clear(self) -> None:
        if self.shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self.shown = ""
