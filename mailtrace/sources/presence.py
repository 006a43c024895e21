"""From when to when a loghost's file tells of each of its hosts: the first and the last line of each.

A host that is common in the file is found in its first and last blocks; only for one that is not there at all is the
whole file searched, as fast as for any literal.
"""

from __future__ import annotations

from collections.abc import Iterable

from mailtrace.model import LogQuery, Parser, Stamp
from mailtrace.sources.division import Division
from mailtrace.sources.logfile import BUFFER, LogFile
from mailtrace.sources.search import Literals

Span = tuple[Stamp, Stamp]


def spans(file: LogFile, parser: Parser, division: Division, hosts: Iterable[str]) -> dict[str, Span]:
    """First and last stamp of each of these hosts in a plain log; a host without a line is left out."""
    numbers = range(file.block_count())
    before = parser.unparsed
    first = _met(file, numbers, parser, division, hosts)
    last = _met(file, reversed(numbers), parser, division, first, backwards=True)
    parser.unparsed = before
    return {host: (stamp, last.get(host, stamp)) for host, stamp in first.items()}


def _met(
    file: LogFile,
    numbers: Iterable[int],
    parser: Parser,
    division: Division,
    hosts: Iterable[str],
    *,
    backwards: bool = False,
) -> dict[str, Stamp]:
    """The stamp of the first line of each host that is met in these blocks."""
    waiting = set(hosts)
    met: dict[str, Stamp] = {}
    literals = _names(waiting, division)
    buffer = bytearray(BUFFER)
    for number in numbers:
        if not waiting:
            break
        block = file.block(number, buffer)
        if block is None:
            continue
        lines = literals.lines(block.data, block.start, block.end)
        for start, end in reversed(lines) if backwards else lines:
            for entry in parser.parse(bytes(block.data[start:end]), 0, division):
                if entry.host in waiting:
                    met[entry.host] = Stamp(entry.time, entry.zone)
                    waiting.discard(entry.host)
            if not waiting:
                break
        if lines and waiting:
            literals = _names(waiting, division)
    return met


def _names(hosts: Iterable[str], division: Division) -> Literals:
    return Literals(LogQuery(any_of=tuple(text for host in hosts for text in spellings(host, division))))


def spellings(host: str, division: Division) -> list[str]:
    """The name of a host as the head of a line holds it: in syslog or in JSON."""
    literals = [text for name in division.names(host) for text in (f" {name} ", f'"{name}"')]
    label = host.partition(".")[0]
    return [*literals, f" {label} ", f" {label}.", f'"{label}"', f'"{label}.']
