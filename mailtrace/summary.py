"""Many mails in a few figures: how they came out, why not, where the time went, what is stuck.

Made of one mail after the other; what it keeps does not grow with their number.

A stage is where a copy spent its time on a host: `before the queue` (being received), `in the queue`, `connecting`,
`transmission` (Postfix' four `delays`), and `waiting for a retry`, which Postfix counts as before the queue. Exim logs
one figure for a delivery: `in the queue` there is all of it.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from mailtrace.model import Delivery, Hop, Mail, Recipient

MOST = 10_000
"""Different reasons that are counted one by one; in what is beyond, nothing is common any more."""
STUCK = 10
"""So many of the mails that wait are named, the oldest."""
STUCK_AS = ("deferred", "held", "in_transit")
"""What a mail that waits is: in a queue, or between two of the own hosts."""
STAGES = ("before the queue", "in the queue", "connecting", "transmission", "waiting for a retry")

_ADDRESS = re.compile(r"<?[^\s<>()\[\]:;,\"']+@[^\s<>()\[\]:;,\"']+>?")
_NUMBER = re.compile(r"(?<![\w.-])(?=[\w-]*\d[\w-]*\d)[\w-]{10,}(?![\w.-])|\b\d{5,}\b")


@dataclass(slots=True)
class Stage:
    """What the deliveries of one host took in one stage: how many, seconds together, and the longest."""

    number: int = 0
    seconds: float = 0.0
    longest: float = 0.0

    def add(self, seconds: float) -> None:
        """One more delivery."""
        self.number += 1
        self.seconds += seconds
        self.longest = max(self.longest, seconds)


@dataclass(frozen=True, slots=True, order=True)
class Waiting:
    """A copy that waits somewhere: since when, and what of it."""

    since: float
    mail: str
    host: str
    queue_id: str
    sender: str
    recipient: str
    outcome: str
    reason: str


@dataclass(slots=True)
class Summary:
    """The figures of the mails seen until now."""

    mails: int = 0
    recipients: int = 0
    first: float | None = None
    last: float | None = None
    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)  # outcome and reason → recipients
    stages: dict[tuple[str, str], Stage] = field(default_factory=dict)  # host and stage
    waiting: int = 0
    _oldest: list[tuple[float, int, Waiting]] = field(default_factory=list)

    @property
    def stuck(self) -> list[Waiting]:
        """What has waited longest, the oldest first."""
        return sorted(item for _, _, item in self._oldest)

    @property
    def slowest(self) -> list[tuple[str, str, Stage]]:
        """Host, stage and figures, where most time went first."""
        found = [(host, name, stage) for (host, name), stage in self.stages.items() if stage.seconds > 0]
        return sorted(found, key=lambda item: (-item[2].seconds, item[:2]))

    def add(self, mail: Mail) -> None:
        """One more mail."""
        self.mails += 1
        self.first = mail.first if self.first is None else min(self.first, mail.first)
        self.last = mail.last if self.last is None else max(self.last, mail.last)
        for row in mail.recipients:
            self.recipients += 1
            self.outcomes[row.outcome] += 1
            if row.outcome not in ("delivered", "relayed") and _why(row):
                key = (row.outcome, impersonal(_why(row)))
                if key in self.reasons or len(self.reasons) < MOST:
                    self.reasons[key] += 1
            if row.outcome in STUCK_AS:
                self._wait(mail, row)
        for hop in mail.hops:
            self._spent(hop)

    def _wait(self, mail: Mail, row: Recipient) -> None:
        self.waiting += 1
        at = row.path[-1] if row.path else None
        item = Waiting(
            mail.first,
            mail.id,
            at.host if at else "",
            at.queue_id if at else "",
            mail.sender or "",
            row.recipient,
            row.outcome,
            _why(row),
        )
        push = heapq.heappush if len(self._oldest) < STUCK else heapq.heappushpop
        push(self._oldest, (-mail.first, self.waiting, item))

    def _spent(self, hop: Hop) -> None:
        tried = {one.recipient for one in hop.deliveries if one.status == "deferred"}
        for one in hop.deliveries:
            if one.status == "sent":
                for stage, seconds in _stages(one, again=one.recipient in tried):
                    self.stages.setdefault((hop.host, stage), Stage()).add(seconds)


def _why(row: Recipient) -> str:
    """Why a copy is not where it should be; that the next host took it is no reason for being lost there."""
    taken = row.outcome in ("in_transit", "unknown") and row.reason.startswith("2")
    return "" if taken else row.reason


def summarize(mails: Iterable[Mail]) -> Summary:
    """The figures of these mails."""
    summary = Summary()
    for mail in mails:
        summary.add(mail)
    return summary


def _stages(one: Delivery, *, again: bool) -> list[tuple[str, float]]:
    if one.delays is None:
        return [(STAGES[4] if again else STAGES[1], one.delay)] if one.delay is not None else []
    named = list(zip(STAGES, one.delays, strict=False))
    return [(STAGES[4], one.delays[0]), *named[1:]] if again else named


def impersonal(reason: str) -> str:
    """A reply without what differs from mail to mail: addresses, IDs and long numbers."""
    return _NUMBER.sub("…", _ADDRESS.sub("…", reason))[:200]
