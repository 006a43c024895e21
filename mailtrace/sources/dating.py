"""What the stamps of each log mean, learnt from samples of it: the clock by which a window is found in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mailtrace.clocks import Clocks, token
from mailtrace.model import LogQuery, Zone
from mailtrace.sources.catalog import Log
from mailtrace.sources.window import LogClock

_HALF_YEAR = 182 * 86400.0
_POSITION_BITS = 38  # of `seq`; above them stands the minute at which the file begins


class Dating:
    """Gives logs their clocks."""

    def __init__(self, zone_of: Callable[[str], str], now: float, machine_zone: str = "") -> None:
        """`zone_of` gives a host's configured zone ("" if none), `now` is UTC seconds, `machine_zone` assumed last."""
        self._zone_of = zone_of
        self._now = now
        self._machine_zone = machine_zone

    def near(self, log: Log, query: LogQuery) -> float:
        """The moment after which a stamp without a year does not lie, where nothing proves the year."""
        if query.end is not None:
            return min(self._now, query.end + _HALF_YEAR)
        if query.start is not None:
            return min(self._now, query.start + _HALF_YEAR)
        return min(self._now, log.modified or self._now)

    def clock(self, log: Log, near: float) -> LogClock:
        """A clock that has learnt nothing yet."""
        clocks = Clocks(self._zone_of, machine=self._machine_zone, near=near)
        return LogClock(clocks, log.host, lambda host: bool(self._zone_of(host)))

    def learn(self, log: Log, near: float, sample_of: Callable[[], Iterable[tuple[int, bytes]]]) -> None:
        """Sample the log to know what its stamps mean and, of a loghost's, whose lines it holds.

        `sample_of` reads positions and whole lines; it is not called where every stamp carries its offset.
        """
        log.clock, log.near = self.clock(log, near), near
        if log.division is not None or log.first is None or log.first.zone is not Zone.UTC:
            before = log.parser.unparsed
            sample = [entry for offset, lines in sample_of() for entry in log.parser.parse(lines, offset, log.whose)]
            log.parser.unparsed = before  # these lines were not asked for
            log.sample = [entry for entry in sample if entry.zone is not Zone.UTC and token(entry) is not None]
            log.clock.learn(sample)
            latest = log.clock.latest_proved(sample)
            if latest is not None and not log.clock.proved():
                # Hosts of one file write in the same year: those that prove it speak for those that don't.
                log.clock = self.clock(log, latest)
                log.clock.learn(sample)
        if log.first is not None:
            minute = int(log.clock.utc(log.first, "" if log.division else log.host)[0] // 60)
            log.base = max(minute, 0) << _POSITION_BITS
