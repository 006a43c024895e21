"""What time it really was: year, zone, DST and skew of each log, learnt from the clocks inside IDs.

BSD stamps have no year and no zone, and an ISO stamp without an offset has no zone. Most IDs in the same lines do
carry a UTC clock: long Postfix queue IDs, Exim IDs, Message-IDs that Postfix made, and the replies of Gmail, qmail and
Dovecot. Stamp minus token is a zone's offset plus a few seconds; the year is the one that brings them together.
Where nothing proves a zone, `assemble` compares the two ends of proven hand-offs (`Clocks.shift`, `Clocks.skew`).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta, timezone, tzinfo
from typing import NamedTuple

from mailtrace.ids import id_time, is_long, message_id_time, reply_time
from mailtrace.model import Accepted, Attempt, ClockNote, Life, LogEntry, MessageId, Zone

HOUR = 3600
DAY = 86400
HALF_YEAR = 183 * DAY
WIDEST = 15 * HOUR  # no zone is further from UTC, and none further from another than twice that
ODD_OFFSETS = (20700, 31500, 45900, 49500)  # +5:45, +8:45, +12:45, +13:45: all others are whole or half hours
OWN, REMOTE = 4, 1  # the weight of a clock on the host itself, and of one that only answered it
_EPOCH_2000 = date(2000, 1, 1).toordinal()
_EPOCH_1970 = date(1970, 1, 1).toordinal()
_BASE = (_EPOCH_2000 - _EPOCH_1970) * DAY
_TOKENS_AN_HOUR = 60


class Offset(NamedTuple):
    """utc = stamp - `seconds`, give or take `slack`; `proved_by` is "" where nothing proves it."""

    seconds: float
    slack: float
    proved_by: str


def prove(entries: Iterable[LogEntry], zone: str, near: float) -> Offset:
    """The offset of one log from a sample of its entries, `zone` and `near` as in `Clocks`."""
    clocks = Clocks(lambda _host: zone, near=near)
    sample = list(entries)
    for entry in sample:
        clocks.observe(entry)
    offsets = [entry.time - clocks.utc(entry.host, entry.zone, entry.time) for entry in sample]
    if not offsets:
        return Offset(0.0, WIDEST, "")
    proofs = {clocks.clock(entry.host, entry.zone).proved_by for entry in sample}
    low, high = min(offsets), max(offsets)
    slack = high - low + (0 if "" not in proofs else WIDEST)
    return Offset((low + high) / 2, slack, "" if "" in proofs else ", ".join(sorted(proofs)))


def token(entry: LogEntry) -> tuple[float, int] | None:
    """The UTC clock in an entry and its weight: in its own queue ID or Message-ID, or in a reply that it logs."""
    event = entry.event
    kind = type(event)
    if kind is Accepted:
        time, weight = id_time(entry.queue_id), OWN
    elif kind is MessageId:
        time, weight = message_id_time(event.message_id, entry.queue_id), OWN  # type: ignore[union-attr,arg-type]
    elif kind is Attempt and event.status == "sent" and event.reply:  # type: ignore[union-attr]
        time, weight = reply_time(event.reply), REMOTE  # type: ignore[union-attr]
    else:
        return None
    return None if time is None else (time, weight)


class Clocks:
    """The clocks of all logs of one run.

    `zone_of` gives a host's configured zone ("" if none); `machine` is the zone to assume last ("" is this machine's);
    `near` (UTC seconds) is the moment that a year which nothing proves must not lie after.
    """

    def __init__(self, zone_of: Callable[[str], str], *, machine: str = "", near: float) -> None:
        self._zone_of = zone_of
        self._machine = machine
        self._near = near
        self._clocks: dict[tuple[str, Zone], Clock] = {}
        self.skew: dict[str, float] = {}

    def clock(self, host: str, zone: Zone) -> Clock:
        """The clock that one host's stamps of one kind come from."""
        found = self._clocks.get((host, zone))
        if found is None:
            configured = self._zone_of(host)
            found = Clock(zone, configured or self._machine, self._near, configured=bool(configured))
            self._clocks[(host, zone)] = found
        return found

    def observe(self, entry: LogEntry) -> None:
        """Learn from the tokens of one entry."""
        clock = self.clock(entry.host, entry.zone)
        if entry.zone is Zone.UTC:
            return
        found = token(entry)
        if found is not None:
            clock.add(entry.time, *found)

    def observe_life(self, life: Life) -> None:
        """The same from a whole message, whose lines are only read where they may tell anything new."""
        clock = self.clock(life.host, life.origin.zone)
        told = (
            not life.stored or is_long(life.queue_id) or life.queue_id in life.text.partition("message-id=<")[2][:998]
        )
        if told and clock.listens(life.first):
            for entry in life.entries():
                self.observe(entry)

    def utc(self, host: str, zone: Zone, time: float) -> float:
        """The corrected moment of a stamp."""
        skew = self.skew.get(host, 0.0)
        if zone is Zone.UTC:
            return time - skew
        return self.clock(host, zone).utc(time) - skew

    def assumed(self, host: str, zone: Zone, time: float) -> float:
        """The moment of a stamp in the zone that is assumed for it, whatever is proved."""
        return time if zone is Zone.UTC else self.clock(host, zone).assume(time)

    def unproved(self, host: str) -> bool:
        """Whether some stamps of this host were read in a zone that no ID proves."""
        return any(not c.proved_by for (h, _), c in self._clocks.items() if h == host)

    def slack(self, host: str) -> float:
        """Seconds by which a moment of this host may be wrong since nothing proves the zone of its stamps."""
        widest = 0.0
        for (name, zone), clock in self._clocks.items():
            if name == host and zone is not Zone.UTC and not clock.proved_by and not clock.by_handoff:
                widest = max(widest, HOUR if clock.configured else WIDEST)
        return widest

    def settle_years(self, faces: Iterable[tuple[str, Zone, float]]) -> None:
        """Read years that nothing proves by the fleet's other clocks: no log goes on after the latest sure moment.

        `faces` are stamps of the logs, the latest of each among them.
        """
        sure = [time for _host, zone, time in faces if zone is Zone.UTC]
        for (_, zone), clock in self._clocks.items():
            if zone is not Zone.UTC and clock.proved_by and clock.latest is not None:
                sure.append(clock.utc(clock.latest))
        if sure:
            for clock in self._clocks.values():
                clock.near = min(clock.near, max(sure))

    def shift(self, host: str, seconds: float) -> None:
        """A hand-off proves that this host's unproved zone is `seconds` further east than assumed (0: as assumed)."""
        for (name, _), clock in self._clocks.items():
            if name == host and not clock.proved_by:
                clock.shift += seconds
                clock.by_handoff = True

    def moved(self, host: str) -> float:
        """Seconds by which hand-offs show that a host's stamps would be read too late without them."""
        shifts = [clock.shift for (name, _), clock in self._clocks.items() if name == host]
        return self.skew.get(host, 0.0) + max(shifts, key=abs, default=0.0)

    def notes(self) -> list[ClockNote]:
        """One note for each host and kind of stamp, in order."""
        known = {host for host, _zone in self._clocks}
        wrong = [(host, skew) for host, skew in self.skew.items() if host not in known]
        out = [ClockNote(host, None, "stamp", round(skew, 3), "stamp") for host, skew in wrong]
        for (host, zone), clock in sorted(self._clocks.items()):
            skew = round(self.skew.get(host, 0.0), 3)
            if zone is Zone.UTC:
                out.append(ClockNote(host, None, "stamp", skew, "stamp"))
            else:
                out.append(ClockNote(host, clock.offset(), clock.year_from(), skew, clock.how()))
        return sorted(out, key=lambda note: note.host)


class Clock:
    """One kind of stamp of one host: from its face to UTC."""

    def __init__(self, zone: Zone, name: str, near: float, *, configured: bool) -> None:
        self.zone = zone
        self.configured = configured
        self.shift = 0.0
        self.by_handoff = False
        self.latest: float | None = None  # the latest stamp beside a token
        self._fallback = zone_info(name)
        self._near = near
        self._hours: dict[int, Counter[tuple[int, int]]] = {}
        self._counts: Counter[int] = Counter()
        self._starts: list[float] | None = None
        self._keys: list[tuple[int, int]] = []
        self._spans: list[tuple[float, float]] = []  # the first and the last stamp by which each of them is known
        self._assumed: dict[int, float] = {}
        self._own = False

    @property
    def near(self) -> float:
        """The moment that a year which nothing proves must not lie after."""
        return self._near

    @near.setter
    def near(self, moment: float) -> None:
        self._near = moment
        self._assumed.clear()

    @property
    def proved_by(self) -> str:
        """What proves the zone, "" if nothing does."""
        self._settle()
        if not self._keys:
            return ""
        return "ids" if self._own else "replies"

    def listens(self, face: float) -> bool:
        """Whether there are not tokens enough yet of the hour of a stamp."""
        return self._counts[int(face // HOUR)] < _TOKENS_AN_HOUR

    def add(self, face: float, token: float, weight: int) -> None:
        """A stamp that reads `face` stands beside a token of UTC time `token`."""
        hour = int(face // HOUR)
        if self._counts[hour] >= _TOKENS_AN_HOUR:
            return
        year = 0
        local = face
        if self.zone is Zone.YEARLESS:
            around = datetime.fromtimestamp(token, timezone.utc).year
            year = min(range(around - 1, around + 2), key=lambda y: abs(in_year(face, y) - token))
            local = in_year(face, year)
        if abs(local - token) > WIDEST:
            return  # the ID is older than the line by more than any zone: a forged or a foreign clock
        self._counts[hour] += 1
        self.latest = face if self.latest is None else max(self.latest, face)
        self._hours.setdefault(hour, Counter())[(year, nearest_offset(local - token))] += weight
        self._own = self._own or weight == OWN
        self._starts = None

    def utc(self, face: float) -> float:
        """UTC of a stamp; skew is not the clock's business."""
        self._settle()
        if not self._keys:
            return self.assume(face) - self.shift
        at = max(bisect_right(self._starts or [], face) - 1, 0)
        year, offset = self._keys[at]
        if not year:
            return face - offset
        low, high = self._spans[at]
        if face - high > HALF_YEAR:  # December, where only January tells the year
            year -= 1
        elif low - face > HALF_YEAR:
            year += 1
        return in_year(face, year) - offset

    def offset(self) -> float:
        """Seconds east of UTC (of the latest stretch where they change)."""
        self._settle()
        if self._keys:
            return float(self._keys[-1][1])
        return self._assumed_offset(self._near) + self.shift

    def year_from(self) -> str:
        """What tells the year: stamp, ids, or assumed."""
        if self.zone is Zone.LOCAL:
            return "stamp"
        return "ids" if self.proved_by else "assumed"

    def how(self) -> str:
        """What tells the zone: ids, replies, hand-offs, config, or machine."""
        if self.proved_by:
            return self.proved_by
        if self.by_handoff:
            return "hand-offs"
        return "config" if self.configured else "machine"

    def _settle(self) -> None:
        """Turn the tokens of each hour into stretches of one offset."""
        if self._starts is not None:
            return
        best = [(hour, *counter.most_common(1)[0]) for hour, counter in sorted(self._hours.items())]
        trusted = [(hour, key) for hour, key, weight in best if self._agrees(hour, key, weight, best)]
        self._starts, self._keys, self._spans = [], [], []
        last = 0
        for hour, key in trusted:
            if not self._keys or key != self._keys[-1]:
                self._starts.append((last + 1 + hour) / 2 * HOUR if self._keys else -math.inf)
                self._keys.append(key)
                self._spans.append((float(hour * HOUR), 0.0))
            self._spans[-1] = (self._spans[-1][0], float((hour + 1) * HOUR))
            last = hour

    def _agrees(
        self, hour: int, key: tuple[int, int], weight: int, best: list[tuple[int, tuple[int, int], int]]
    ) -> bool:
        """An hour's offset counts when an own ID says so, two replies do, or its day says the same."""
        if weight >= (2 if self.configured or len(best) > 1 else 1):
            return True
        return any(other != hour and k == key and abs(other - hour) <= DAY // HOUR for other, k, _ in best)

    def assume(self, face: float) -> float:
        """UTC of a stamp in the zone that is assumed, in the latest year that is not after `near`."""
        hour = int(face // HOUR)
        shift = self._assumed.get(hour)
        if shift is None:
            local = face
            if self.zone is Zone.YEARLESS:
                year = datetime.fromtimestamp(self._near + DAY, timezone.utc).year
                local = in_year(face, year)
                if local > self._near + DAY:
                    local = in_year(face, year - 1)
            shift = self._assumed[hour] = local - self._assumed_offset(local) - face
        return face + shift

    def _assumed_offset(self, local: float) -> float:
        naive = datetime(1970, 1, 1) + timedelta(seconds=local)  # noqa: DTZ001 - a wall clock, on purpose
        offset = naive.replace(tzinfo=self._fallback).utcoffset() if self._fallback else naive.astimezone().utcoffset()
        return offset.total_seconds() if offset else 0.0


def zone_info(name: str) -> tzinfo | None:
    """The zone of an IANA name or of `+02:00`; None for "" (this machine's)."""
    if not name:
        return None
    if name[0] in "+-":
        hours, _, minutes = name[1:].partition(":")
        sign = -1 if name[0] == "-" else 1
        if not minutes and len(hours) == 4:  # as in +0200
            hours, minutes = hours[:2], hours[2:]
        return timezone(sign * timedelta(hours=int(hours), minutes=int(minutes or 0)))
    from zoneinfo import ZoneInfo

    return timezone.utc if name in ("UTC", "Z") else ZoneInfo(name)


def nearest_offset(seconds: float) -> int:
    """The offset of a zone in use that is nearest to `seconds`."""
    half = round(seconds / 1800) * 1800
    return min((half, *ODD_OFFSETS), key=lambda offset: abs(offset - seconds))


_shifts: dict[tuple[int, int], int] = {}


def in_year(face: float, year: int) -> float:
    """A stamp of the year 2000 moved to another year, same month, day and time of day."""
    day = int((face - _BASE) // DAY)
    shift = _shifts.get((day, year))
    if shift is None:
        then = date.fromordinal(_EPOCH_2000 + day)
        years = year + then.year - 2000
        try:
            moved = then.replace(year=years).toordinal()
        except ValueError:  # 29 February of a year that has none
            moved = date(years, 3, 1).toordinal()
        shift = _shifts[(day, year)] = (moved - then.toordinal()) * DAY
    return face + shift
