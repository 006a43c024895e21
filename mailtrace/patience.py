"""How long a run goes on asking: until every recipient's fate is final, or the time that the job gives it is over.

Between two questions lies a pause that doubles from a second to half a minute. A later question is about what is new or
still open only (`walk.Memory`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from mailtrace.expect import FINAL, may_grow

if TYPE_CHECKING:
    from mailtrace.expect import Expect
    from mailtrace.model import Mail
    from mailtrace.report import Report

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0


class Patience:
    """Decides after each answer whether to ask again, and when."""

    def __init__(
        self, seconds: float, expects: Iterable[Expect] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`seconds` from now on; 0 is a single question."""
        self._clock = clock
        self._end = clock() + seconds
        self._expects = tuple(expects)
        self._pause = FIRST_PAUSE
        self._before: object = None

    @property
    def left(self) -> float:
        """Seconds until the time is over."""
        return max(0.0, self._end - self._clock())

    def pause(self, report: Report) -> float:
        """Seconds to wait before the next question; 0 where there is nothing more to wait for."""
        if not self.left or self._settled(report) or _nothing_readable(report):
            return 0.0
        pause, self._pause = self._pause, min(self._pause * 2, LONGEST_PAUSE)
        return min(pause, self.left)

    def _settled(self, report: Report) -> bool:
        """Whether a mail is there, every recipient's fate is final, and more lines would change nothing.

        A message that has not left a queue may have recipients yet to come; where its last line is lost, two answers
        that are the same have to do.
        """
        state = [(mail.id, row) for mail in report.mails for row in mail.recipients]
        before, self._before = self._before, state
        if not report.mails or unsettled(report.mails) or may_grow(self._expects, report.mails):
            return False
        gone = all(hop.removed for mail in report.mails for hop in mail.hops)
        return gone or state == before


def unsettled(mails: Iterable[Mail]) -> int:
    """How many recipients have a fate that is not final; a mail without any counts as one."""
    return sum(sum(row.outcome not in FINAL for row in mail.recipients) if mail.recipients else 1 for mail in mails)


def _nothing_readable(report: Report) -> bool:
    """Whether no log at all could be read: no time mends a wrong path."""
    return bool(report.coverage) and all(item.missing for item in report.coverage)
