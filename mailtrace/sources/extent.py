"""How far a query reaches into a log, and what is told of what was read of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mailtrace.model import Coverage, LogEntry, LogQuery, Stamp
from mailtrace.sources.catalog import Log
from mailtrace.sources.window import LATE, SLACK


def windowed(query: LogQuery) -> bool:
    """Whether a query has a window."""
    return query.start is not None or query.end is not None


def wider(query: LogQuery, late: float = 0.0) -> tuple[float | None, float | None]:
    """The window with room for clocks that are not quite right, and for lines that come late."""
    start = None if query.start is None else query.start - SLACK - late
    return start, None if query.end is None else query.end + SLACK + late


def late(log: Log) -> float:
    """How late a line of this log may stand."""
    return 0.0 if log.division is None else LATE


def behind(log: Log, stamp: Stamp | None, query: LogQuery) -> bool:
    """Whether everything from this stamp on is behind the window."""
    _, end = wider(query, late(log))
    return stamp is not None and end is not None and log.clock is not None and log.clock.utc(stamp)[0] > end


def reaches(log: Log, later: Sequence[tuple[Log, Any]], query: LogQuery) -> bool:
    """Whether a log may hold lines of the window. A compressed one ends where the next one begins."""
    if behind(log, log.first, query):
        return False
    start, _ = wider(query, late(log))
    last = log.last
    if not log.ended:
        same = (other.first for other, _ in later if other.hosts == log.hosts and other.pattern == log.pattern)
        last = next((first for first in same if first is not None), None)
    return start is None or last is None or log.clock is None or log.clock.utc(last)[1] >= start


def within(log: Log, query: LogQuery, entries: Iterable[LogEntry]) -> Iterable[LogEntry]:
    """Entries of the hosts asked for whose stamps can mean a moment of the window."""
    return _within(log, query, entries) if windowed(query) or query.hosts else entries


def _within(log: Log, query: LogQuery, entries: Iterable[LogEntry]) -> Iterator[LogEntry]:
    start, end = wider(query)
    asked = frozenset(query.hosts)
    clock = log.clock
    for entry in entries:
        if asked and entry.host not in asked:
            continue
        if clock is not None and (start is not None or end is not None):
            low, high = clock.utc(Stamp(entry.time, entry.zone), entry.host)
            if (start is not None and high < start) or (end is not None and low > end):
                continue
        yield entry


def add(item: Coverage, host: str, log: Log, span: tuple[Stamp | None, Stamp | None], whose: str = "") -> None:
    """Add one file to what is told of a host's log. `whose` counts its strange lines, by default the log's own host."""
    if log.division is not None and log.head and span[0] is None:
        item.problem = f"{log.path}: holds no mail line of {host}"
    item.names = (*item.names, str(log.path))
    item.unparsed += log.unparsed if host == (whose or log.host) else 0
    item.matched += max(len(log.found.get(host, ())), log.counted.get(host, 0))
    if log.clock is None:
        return
    for stamp in span:
        if stamp is None:
            continue
        moment = sum(log.clock.utc(stamp, host)) / 2
        if item.first is None or moment < item.first:
            item.first, item.first_stamp = moment, stamp
        if item.last is None or moment >= item.last:
            item.last, item.last_stamp = moment, stamp
