"""A log's window: what its stamps mean in UTC, and where in the file the lines of a window stand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from mailtrace.clocks import WIDEST, Clocks
from mailtrace.model import LogEntry, Parser, Stamp, Zone

HOUR = 3600.0
DAY = 86400
SLACK = 120.0
"""Lines may be late, and clocks not quite right: a window is widened by so much."""
LATE = 600.0
"""A loghost's lines are in the order in which they came: a host that was cut off sends its lines later."""
_PROBE = 4096
_MOST = 1 << 20
_STAMPS = 3
_LEVELS = 3  # so many steps of a bisection are looked ahead
NEAR = 1 << 16
"""So close, reading is cheaper than looking."""


class Sized(Protocol):
    """Something of which the size is known."""

    @property
    def size(self) -> int:
        """Its bytes."""


class Text(Sized, Protocol):
    """A log of which any place can be read."""

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of it; fewer at its end."""

    def expect(self, groups: Sequence[Sequence[int]], size: int) -> None:
        """Hear where it may be read next: one that is far away fetches all of that at once.

        The first place of a group is needed now, the others perhaps later: a group whose first is known can wait.
        """


class LogClock:
    """What the stamps of one log mean, learnt from a sample of its entries."""

    def __init__(self, clocks: Clocks, host: str, zone_known: Callable[[str], bool]) -> None:
        """`host` is whose stamps are meant where the lines are not told apart."""
        self._clocks = clocks
        self._zone_known = zone_known
        self._hosts = [host]
        self._offsets: dict[tuple[str, Zone], set[int]] = {}

    def learn(self, entries: Iterable[LogEntry]) -> None:
        """Take in a sample."""
        sample = list(entries)
        for entry in sample:
            self._clocks.observe(entry)
        for entry in sample:
            offset = entry.time - self._clocks.utc(entry.host, entry.zone, entry.time)
            self._offsets.setdefault((entry.host, entry.zone), set()).add(round(offset % DAY))
        hosts = sorted({host for host, zone in self._offsets if zone is not Zone.UTC})
        self._hosts = hosts or self._hosts

    @property
    def hosts(self) -> set[str]:
        """The hosts whose lines were seen."""
        return {host for host, _ in self._offsets}

    def proved(self) -> bool:
        """Whether every kind of stamp in the sample is sure."""
        return all(zone is Zone.UTC or self._clocks.clock(host, zone).proved_by for host, zone in self._offsets)

    def sure(self, host: str, zone: Zone) -> bool:
        """Whether IDs prove what a host's stamps mean."""
        return bool(self._clocks.clock(host, zone).proved_by)

    def latest_proved(self, sample: Iterable[LogEntry]) -> float | None:
        """The latest moment in a sample that is sure, None if nothing is."""
        return max(
            (
                self._clocks.utc(entry.host, entry.zone, entry.time)
                for entry in sample
                if entry.zone is Zone.UTC or self._clocks.clock(entry.host, entry.zone).proved_by
            ),
            default=None,
        )

    def utc(self, stamp: Stamp, host: str = "") -> tuple[float, float]:
        """The earliest and the latest moment that a stamp can mean (of one host, or of any in the log)."""
        if stamp.zone is Zone.UTC:
            return stamp.time, stamp.time
        ranges = [self._range(name, stamp) for name in ([host] if host else self._hosts)]
        return min(low for low, _ in ranges), max(high for _, high in ranges)

    def _range(self, host: str, stamp: Stamp) -> tuple[float, float]:
        moment = self._clocks.utc(host, stamp.zone, stamp.time)
        slack = self.slack(host, stamp.zone)
        return moment - slack, moment + slack

    def moment(self, host: str, zone: Zone, time: float, *, assumed: bool = False) -> float:
        """The likeliest moment that a stamp of a host means; `assumed`: by the zone that is assumed, proved or not."""
        return self._clocks.assumed(host, zone, time) if assumed else self._clocks.utc(host, zone, time)

    def slack(self, host: str, zone: Zone) -> float:
        """How far a stamp may be off: not at all, an hour around a change, or any zone."""
        if zone is Zone.UTC:
            return 0.0
        if self._clocks.clock(host, zone).proved_by:
            # Where the offset changes within the log, the sample does not tell at which line; an hour comes twice.
            return HOUR if len(self._offsets.get((host, zone), ())) > 1 else 0.0
        return HOUR if self._zone_known(host) else WIDEST


def stamps(lines: bytes, parser: Parser, most: int) -> list[Stamp]:
    """The first stamps of some lines."""
    found: list[Stamp] = []
    for line in lines.splitlines():
        if (stamp := parser.stamp(line)) is not None:
            found.append(stamp)
            if len(found) == most:
                break
    return found


def first_stamp(text: bytes, parser: Parser) -> Stamp | None:
    """The stamp of the first line that has one."""
    return next(iter(stamps(text, parser, 1)), None)


def last_stamp(text: bytes | bytearray, parser: Parser) -> Stamp | None:
    """The stamp of the last line that has one."""
    for line in reversed(text.splitlines()):
        if (stamp := parser.stamp(bytes(line))) is not None:
            return stamp
    return None


def sample_places(log: Sized, places: int, size: int) -> list[int]:
    """Where `samples` reads a log that is larger than that."""
    return [(log.size - size) * place // (places - 1) for place in range(places)]


def samples(log: Text, places: int, size: int) -> Iterator[tuple[int, bytes]]:
    """Whole lines from several places of a plain file, its beginning and its end among them."""
    if log.size <= places * size:
        yield 0, log.read(0, log.size)
        return
    offsets = sample_places(log, places, size)
    log.expect([offsets], size)
    for offset in offsets:
        text = log.read(offset, size)
        start = text.find(b"\n") + 1 if offset else 0
        end = text.rfind(b"\n") + 1
        if end > start:
            yield offset + start, text[start:end]


class Places:
    """Where in a plain log the lines of a window stand, by bisection; what was seen on the way is remembered."""

    def __init__(self, parser: Parser, probe: int = _PROBE) -> None:
        """`probe` are the bytes that are read at a place."""
        self._parser = parser
        self._size = probe
        self._seen: dict[int, list[Stamp]] = {}

    def bounds(
        self, log: Text, clock: LogClock, start: float | None, end: float | None, near: int = NEAR
    ) -> tuple[int, int]:
        """The part of the file that holds every line of a window: first and last byte, each give or take `near`.

        It may be larger than needed, where lines are out of order or carry no stamp; never smaller.
        """

        def before(found: list[Stamp]) -> bool:
            """Whether all of these lines are before the window."""
            return start is not None and bool(found) and all(clock.utc(stamp)[1] < start for stamp in found)

        def not_behind(found: list[Stamp]) -> bool:
            """Whether some of these lines may not be behind the window."""
            return end is None or not found or any(clock.utc(stamp)[0] <= end for stamp in found)

        first, last = _Search(before, 0, log.size), _Search(not_behind, 0, log.size)
        self._narrow(log, [*([first] if start is not None else []), *([last] if end is not None else [])], near)
        low, high = (0 if start is None else first.low), (log.size if end is None else last.high)
        return low, max(low, high)

    def _narrow(self, log: Text, searches: list[_Search], near: int) -> None:
        """Halve until all are narrow; those that need to look anew are looked up together."""
        while wide := [search for search in searches if search.high - search.low > near]:
            unseen = [search for search in wide if search.middle not in self._seen]
            log.expect([_halves(search.low, search.high, near, _LEVELS) for search in unseen], self._size)
            for search in wide:
                found = self._seen.get(search.middle)
                if found is None:
                    found = self._seen[search.middle] = self._probe(log, search.middle, search.high)
                search.halve(found)

    def _probe(self, log: Text, offset: int, limit: int) -> list[Stamp]:
        """A few stamps from `offset` on; none where there is none within a reasonable distance."""
        size = self._size
        while True:
            text = log.read(offset, min(size, limit - offset))
            start, end = text.find(b"\n") + 1, text.rfind(b"\n") + 1
            found = stamps(text[start:end], self._parser, _STAMPS) if start else []
            if found or size >= min(_MOST, limit - offset):
                return found
            size *= 16


@dataclass(slots=True)
class _Search:
    """The last place that was seen where `goes_on` holds, and the first one behind it where it does not."""

    goes_on: Callable[[list[Stamp]], bool]
    low: int
    high: int

    @property
    def middle(self) -> int:
        return (self.low + self.high) // 2

    def halve(self, found: list[Stamp]) -> None:
        if self.goes_on(found):
            self.low = self.middle
        else:
            self.high = self.middle


def _halves(low: int, high: int, near: int, levels: int) -> list[int]:
    """The places that the next steps of a bisection can look at."""
    if not levels or high - low <= near:
        return []
    middle = (low + high) // 2
    return [middle, *_halves(low, middle, near, levels - 1), *_halves(middle, high, near, levels - 1)]
