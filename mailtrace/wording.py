"""How mailtrace says things, wherever it says them: durations, sizes, counts, outcomes, hosts, times of day.

Everything here returns text that is safe to show as text: what logs hold went through `visible`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from mailtrace.model import Recipient
from mailtrace.report import Report, visible
from mailtrace.times import zone

SLOW = 10.0
"""Seconds in one queue that are worth a word."""

GOOD, OPEN, BAD = "good", "open", "bad"
"""The tone in which an outcome is told: as it should be, not over or not sure, failed."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_GREY = re.compile(r"gr[ae]y-?\s?list|postgrey|gr[ae]ylist", re.IGNORECASE)


def no_mail(report: Report) -> str:
    """How it is told that no mail was found: "not found" and "not looked" are different words."""
    missing = any(item.missing for item in report.coverage)
    if all(item.first is None for item in report.coverage):
        if missing:
            return "Nothing was searched: no log could be read."
        if report.partial:
            return "Nothing was searched yet: no log was read."
    return "No mail found in what could be read." if missing else "No mail found."


class Outcome(NamedTuple):
    """How an outcome is shown: a mark of one character, and its tone."""

    mark: str
    tone: str


OUTCOMES = {
    "delivered": Outcome("✓", GOOD),
    "relayed": Outcome("→", GOOD),
    "deferred": Outcome("…", OPEN),
    "held": Outcome("…", OPEN),
    "in_transit": Outcome("?", OPEN),
    "unknown": Outcome("?", OPEN),
    "quarantined": Outcome("✗", OPEN),
    "discarded": Outcome("✗", OPEN),
    "bounced": Outcome("✗", BAD),
    "expired": Outcome("✗", BAD),
    "rejected": Outcome("✗", BAD),
}
"""The good news first; what comes later is worse."""
FAILED = tuple(name for name, outcome in OUTCOMES.items() if outcome.tone == BAD)
_ORDER = {name: i for i, name in enumerate(OUTCOMES)}


def outcome(name: str) -> Outcome:
    """How an outcome is shown, also one that nobody here knows."""
    return OUTCOMES.get(name, Outcome("?", OPEN))


def tally(rows: Iterable[Recipient]) -> list[tuple[str, int]]:
    """How many recipients came out how, the good news first."""
    counts = Counter(row.outcome for row in rows)
    return sorted(counts.items(), key=lambda item: (_ORDER.get(item[0], len(_ORDER)), item[0]))


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


def address(text: str | None) -> str:
    """An envelope address; the null sender is `<>`."""
    if text is None:
        return "unknown"
    return visible(text) if text else "<>"


def peer(name: str, ip: str) -> str:
    """`name [address]`, or what there is of it."""
    name, ip = visible(name), visible(ip)
    if name and ip and name != ip:
        return f"{name} [{ip}]"
    return name or (f"[{ip}]" if ip else "")


def some(names: Iterable[str], most: int = 3) -> str:
    """A few hosts by name, the others by number."""
    shown = [visible(name) for name in dict.fromkeys(names)]
    if len(shown) <= most + 1:
        return ", ".join(shown)
    return f"{', '.join(shown[:most])} and {count(len(shown) - most, 'other')}"


def utc_offset(seconds: float | None) -> str:
    """`UTC`, `UTC+1`, `UTC-3:30`."""
    minutes = round((seconds or 0) / 60)
    if minutes == 0:
        return "UTC"
    return f"UTC{'-' if minutes < 0 else '+'}{abs(minutes) // 60}" + (
        f":{abs(minutes) % 60:02}" if minutes % 60 else ""
    )


def greylisted(reply: str) -> bool:
    """Whether a refusal says that it was greylisting."""
    return _GREY.search(reply) is not None


class Clock:
    """Times as the reader's clock shows them. `zone` is the machine's (`local`), `UTC`, a name or `+02:00`."""

    def __init__(self, where: str) -> None:
        """A clock of that zone; raises ValueError for none that is known."""
        self._zone = zone(where)

    def at(self, time: float) -> datetime | None:
        """The moment, None where no calendar has it."""
        try:
            return (_EPOCH + timedelta(microseconds=round(time * 1_000_000))).astimezone(self._zone)
        except (OverflowError, ValueError, OSError):
            return None

    def day(self, time: float) -> str:
        """`2026-11-23`."""
        at = self.at(time)
        return f"{at:%Y-%m-%d}" if at else "?"

    def minute(self, time: float) -> str:
        """`2026-11-23 01:04:22`."""
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
