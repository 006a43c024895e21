"""What came to all logs since they were last read, as one stream in the order of its times."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import Any, NamedTuple

from mailtrace.errors import DataError
from mailtrace.model import LogEntry, Tail
from mailtrace.run import CHUNK, Stop


class Read(NamedTuple):
    """One new entry, the log it comes from, and the mark behind it.

    As tuples, those of several logs are in order: two of them never have the same `number`.
    """

    time: float
    number: int  # of the log
    entry: LogEntry
    tail: Tail
    mark: Any


def tails_of(
    sources: Mapping[str, Any], places: Mapping[str, Any], since: float | None, now: float, problems: dict[str, str]
) -> list[Tail]:
    """Everything that the sources follow. A source that fails as a whole is a problem under its name."""
    tails: list[Tail] = []
    for name, source in sources.items():
        try:
            tails += source.follow(places, since, now)
        except DataError as error:
            problems[name] = str(error)
    return tails


def merged(
    tails: Sequence[Tail], problems: dict[str, str], stop: Stop, ahead: Mapping[str, float] = MappingProxyType({})
) -> Iterator[Read]:
    """New entries of all logs by time, so that what happened together is seen together. A log that fails costs itself.

    `ahead` has the seconds by which hosts' clocks are known to be ahead: each `Read.time` is corrected by it. The times
    of one log may be a little out of order; it is read in its own order all the same. All of it ends soon after `stop`
    was called.
    """
    streams = [_stream(number, tail, problems, stop, ahead) for number, tail in enumerate(tails)]
    return heapq.merge(*streams) if len(streams) > 1 else streams[0] if streams else iter(())


def _stream(
    number: int, tail: Tail, problems: dict[str, str], stop: Stop, ahead: Mapping[str, float]
) -> Iterator[Read]:
    coming = iter(tail)
    more = True
    while more and not stop.signal:
        chunk: list[tuple[LogEntry, Any]] = []
        more = False
        try:
            with stop.waiting():
                chunk.extend(islice(coming, CHUNK))
                more = len(chunk) == CHUNK
        except DataError as error:
            problems[tail.name] = str(error)
        for entry, mark in chunk:
            time = entry.time - ahead.get(entry.host, 0.0) if ahead else entry.time
            yield Read(time, number, entry, tail, mark)
    if tail.problem:
        problems[tail.name] = tail.problem
