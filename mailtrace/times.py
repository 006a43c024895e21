"""Points in time, durations and zones as people write them, to UTC epoch seconds.

The stamps of log lines are the parsers' business; this is what jobs and flags say. Every function raises ValueError
with a text that says what was expected.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from mailtrace.problem import did_you_mean

LOCAL = "local"
LONGEST = 100 * 366 * 86400
"""The longest duration in seconds: a longer one is a slip of the keyboard, and dates would overflow."""

_SECONDS = {
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), 0.001),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
    **dict.fromkeys(("w", "week", "weeks"), 7 * 86400.0),
}
_PART = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)\s*([A-Za-z]+)\s*", re.ASCII)
_NAME = re.compile(r"[A-Za-z][\w+-]*(?:/[\w+-]+)*", re.ASCII)
LONGEST_NAME = 64
_OFFSET = re.compile(r"(?:UTC|GMT)?([+-])(\d{2})(?::?(\d{2}))?", re.ASCII | re.IGNORECASE)
_DAY = re.compile(r"(\d{4})-(\d{2})-(\d{2})|(\d{4})(\d{2})(\d{2})|(today|yesterday)", re.ASCII | re.IGNORECASE)
_CLOCK = re.compile(
    r"(?:\s+|T)?(?:(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?|(?<=T)(\d{2})(\d{2})(\d{2})?)(?![\d:])",
    re.ASCII | re.IGNORECASE,
)
_EPOCH = re.compile(r"@(\d{1,11}(?:\.\d{1,9})?)", re.ASCII)
_FORMS = '"2025-07-21 10:00:00", "2025-07-21T10:00:00+02:00", "10:00", "now", "2h ago" or "yesterday 10:00"'


def duration(text: str) -> float:
    """Seconds of `10h`, `90s`, `1h30m`, `1d`, `2 weeks`; units ms, s, m, h, d, w and their English names."""
    said = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?", said, re.ASCII):
        msg = f'the duration {_shown(said)} has no unit: write "{said[:20]}s" for seconds, or m, h, d'
        raise ValueError(msg)
    total, at = 0.0, 0
    while part := _PART.match(said, at):
        unit = _SECONDS.get(part[2].lower())
        if unit is None:
            break
        total, at = total + float(part[1]) * unit, part.end()
    if not said or at != len(said):
        msg = f'{_shown(text)} is not a duration; write "90s", "10h", "1h30m" or "2d"'
        raise ValueError(msg)
    if total > LONGEST:
        msg = f"the duration {_shown(text)} is longer than a hundred years"
        raise ValueError(msg)
    return total


def zone(text: str) -> tzinfo | None:
    """The zone of `Europe/Berlin`, `UTC`, `+02:00` or `-0330`; None for `local` and "" (the machine's)."""
    said = text.strip()
    if said.lower() in {"", LOCAL}:
        return None
    if said.upper() in {"Z", "UTC", "GMT"}:
        return timezone.utc
    if offset := _OFFSET.fullmatch(said):
        minutes = int(offset[2]) * 60 + int(offset[3] or 0)
        if minutes < 24 * 60 and int(offset[3] or 0) < 60:
            return timezone(timedelta(minutes=-minutes if offset[1] == "-" else minutes))
    # A name becomes a path of the database: nothing but names is looked up.
    elif len(said) <= LONGEST_NAME and _NAME.fullmatch(said):
        with suppress(KeyError, OSError, ValueError):
            return ZoneInfo(said)
    # Few people misspell the first letters; comparing with every name would take a while.
    near = did_you_mean(said, (name for name in _zone_names() if name[:3].lower() == said[:3].lower()))
    hint = near or 'write "Europe/Berlin", "UTC", "+02:00" or "local"'
    msg = f"{_shown(text)} is not a time zone; {hint}"
    raise ValueError(msg)


@lru_cache(maxsize=1)
def _zone_names() -> frozenset[str]:
    """Every name of the database; reading them takes a while."""
    return frozenset(available_timezones())


def moment(text: str, now: float, where: tzinfo | None = None) -> float:
    """UTC seconds of a point in time; one without a zone of its own is read in `where` (None: the machine's).

    Takes ISO 8601 (a blank or `T`, a fraction, a zone behind), a day alone (its midnight), a clock time alone (today),
    `now`, `2h ago`, `today` and `yesterday` with or without a clock time, and `@1753092000` (epoch seconds).
    """
    said = text.strip()
    if said.lower() == "now":
        return now
    if said.lower().endswith("ago"):
        return now - duration(said[:-3])
    if epoch := _EPOCH.fullmatch(said):
        return float(epoch[1])
    try:
        return _calendar(said, now, where)
    except (ValueError, OverflowError, OSError) as error:
        why = f": {error}" if isinstance(error, ValueError) and str(error) else ""
        if "; " in why:  # about the zone behind it, with its own cure
            raise
        msg = f"{_shown(text)} is not a time{why}; write {_FORMS}"
        raise ValueError(msg) from None


def _calendar(said: str, now: float, where: tzinfo | None) -> float:
    """A day, a clock time or both, with or without a zone."""
    day = _DAY.match(said)
    rest = said[day.end() :] if day else said
    clock = _CLOCK.match(said, day.end()) if day else _CLOCK.match(said)
    if clock:
        rest = said[clock.end() :]
    if not day and not clock:
        raise ValueError
    if rest.strip():
        if not clock:
            raise ValueError
        where = zone(rest)
    today = datetime.fromtimestamp(now, where)
    hour, minute, second, fraction = _clock(clock)
    if not day or day[7]:
        base = today - timedelta(days=1 if day and day[7].lower() == "yesterday" else 0)
        year, month, number = base.year, base.month, base.day
    else:
        year, month, number = (int(group) for group in day.groups()[:6] if group)
    # Naive in the machine's zone, since `timestamp()` then asks the system, which knows its own daylight saving.
    return datetime(year, month, number, hour, minute, second, fraction, tzinfo=where).timestamp()


def _clock(clock: re.Match[str] | None) -> tuple[int, int, int, int]:
    """Hour, minute, second, microsecond of a clock time; midnight for none."""
    if clock is None:
        return 0, 0, 0, 0
    hour, minute, second = clock[1] or clock[5], clock[2] or clock[6], clock[3] or clock[7]
    return int(hour), int(minute), int(second or 0), int((clock[4] or "0").ljust(6, "0")[:6])


def _shown(text: str) -> str:
    """A text as it can stand in a message: quoted, printable, short."""
    cut = text if len(text) <= 60 else text[:57] + "…"
    return '"' + "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in cut) + '"'
