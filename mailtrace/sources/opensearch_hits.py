"""A hit as a log entry: the syslog line it once was is put together again and read by the same parser as any other.

An index holds the text behind the tag with host, program and pid beside it, or the whole line, or something between.
The time is the index's, which is UTC, except where the line itself carries its offset.
"""

from __future__ import annotations

import math
import re
from base64 import urlsafe_b64decode
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone, tzinfo
from functools import lru_cache
from typing import Any, NamedTuple, cast
from zlib import crc32

from mailtrace.model import LogEntry, LogQuery, Parser, Zone
from mailtrace.sources.opensearch_fields import Fields, per_second
from mailtrace.sources.search import Literals

Hit = Mapping[str, Any]
_new = cast("Callable[[type[LogEntry], tuple[object, ...]], LogEntry]", tuple.__new__)

_STAMPED = re.compile(
    r"(?:[0-9]{1,6} )?(?:<[0-9]{1,3}>)?(?:1 )?"
    r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]|(?:[0-9]{4} )?[A-Z][a-z]{2} [ 0-9])|\{"
)
_MACHINE = re.compile(r"\{|(?:<[0-9]{1,3}>)?1 [0-9]{4}-")  # JSON, RFC 5424
_TAGGED = re.compile(r"(?:\S{1,255} )?[^\s:\[\]]{1,128}\[[0-9]{1,10}\]: ")
_EXIM = re.compile(r"(?:\[[0-9]+\] )?[0-9A-Za-z]{6}-[0-9A-Za-z]{6,11}-[0-9A-Za-z]{2,4} ")
_TAG = re.compile(r"(?P<tag>.*?)(?:\[(?P<pid>[0-9]{1,10})\])?:?\s*")
_UNFIT = re.compile(r"[\s:\[\]]")
_STAMP = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)?", re.ASCII)
_MOST_NAMES = 100_000
FEW_LINES = 64
"""Up to so many lines it is quicker to look at each than to prepare a search of many."""
_NEVER = 9_000_000_000_000_000_000  # what a document without the field is sorted by
_FLAKE = re.compile(r"[0-9A-Za-z_-]{20}")
_OLDEST, _NEWEST = 1_262_304_000_000, 4_102_444_800_000  # 2010, 2100

SHAPES = ("{iso} {who}: {text}", "<22>1 {iso} {host} {tag} {pid} - - {text}", "{bsd} {who}: {text}")
"""Envelopes a line can be put into, for a job that names one format: ISO 8601, RFC 5424, RFC 3164 with its year."""


class Line(NamedTuple):
    """A line put together from a hit: whose it is by the index, its time."""

    text: str
    host: str
    time: float
    hit: Hit


class Reader:
    """Makes entries of hits; `textless` counts those without a text."""

    def __init__(
        self,
        fields: Fields,
        parser: Parser,
        host_of: Callable[[str], str],
        knows: Callable[[str], str],
        zone: tzinfo | None = None,
    ) -> None:
        """`host_of` gives the inventory's name for one in the index or a line, `knows` "" for one it does not know.

        `zone` is that of times which documents write without one, None for UTC.
        """
        self._parser = parser
        self._host_of = host_of
        self._knows = knows
        self._zone = zone
        self._nanos = [each.in_nanos for each in fields.timestamp]
        self._written = [getter(each.name) for each in fields.timestamp]
        self._hostname = first_of([each.name for each in fields.hostname])
        self._service = first_of([each.name for each in fields.service])
        self._pid = first_of([each.name for each in fields.pid])
        self._text = first_of([each.name for each in fields.message])
        self._known: dict[tuple[str, str], str] = {}
        self._shape = next((shape for shape in SHAPES if self._readable(shape)), SHAPES[0])
        self.shift = 0.0
        self.textless = 0

    @property
    def unparsed(self) -> int:
        """Lines of a mail program that no grammar knew."""
        return self._parser.unparsed

    def entries(self, hits: Iterable[Hit], asked: Sequence[tuple[Literals, LogQuery]]) -> list[LogEntry]:
        """Entries of the hits that answer any question: hold its literals, lie in its window, are of its hosts."""
        lines = [line for hit in hits if (line := self._line(hit)) is not None]
        if len(asked) == 1:
            literals, query = asked[0]
            within = _within(query)
            return [entry for _hit, entry in self._parsed(_answering(lines, literals)) if within(entry)]
        several = [({id(line.hit) for line in _answering(lines, each)}, _within(query)) for each, query in asked]
        lines = [line for line in lines if any(id(line.hit) in answers for answers, _ in several)]
        return [
            entry
            for hit, entry in self._parsed(lines)
            if any(id(hit) in answers and within(entry) for answers, within in several)
        ]

    def with_hits(self, hits: Iterable[Hit]) -> Iterator[tuple[Hit, LogEntry]]:
        """Entries of all hits, each with its hit."""
        return self._parsed([line for hit in hits if (line := self._line(hit)) is not None])

    def _parsed(self, lines: Sequence[Line]) -> Iterator[tuple[Hit, LogEntry]]:
        """What the parser makes of lines."""
        block = "\n".join([line.text for line in lines]).encode("utf-8", "surrogatepass")
        for entry in self._parser.parse(block, 0, _itself) if lines else ():
            _, told, time, hit = lines[entry.seq]
            host = self._known.get((told, entry.logged_host)) or self._host(told, entry.logged_host)
            if entry.zone is Zone.UTC:
                time = entry.time
            yield hit, _new(LogEntry, (host, time, Zone.UTC, _order(hit), *entry[4:]))

    # ------------------------------------------------------------------------------------------ one hit

    def _host(self, told: str, logged: str) -> str:
        """The index's host; the line's own where the index tells none, or a collector's that nobody configured."""
        better = told and logged and not self._knows(told) and self._knows(logged)
        host = self._host_of(logged if better else told or logged)
        if len(self._known) < _MOST_NAMES:
            self._known[told, logged] = host
        return host

    def _line(self, hit: Hit) -> Line | None:
        source = hit.get("_source")
        text = self._text(source) if isinstance(source, dict) else ""
        if not text or not isinstance(source, dict):
            self.textless += 1
            return None
        found = self._time(hit, source)
        if found is None:
            return None
        time, stamp = found
        text = text.strip(" \r\n")
        if "\n" in text or "\0" in text:
            text = text.replace("\n", " ").replace("\0", " ")
        host = self._hostname(source)
        return Line(self._whole(text, host, source, time, stamp), host, time, hit)

    def _whole(self, text: str, host: str, source: dict[str, Any], time: float, stamp: str) -> str:
        name, number = _tag(self._service(source))
        if _STAMPED.match(text) and self._parser.stamp(text.encode("utf-8", "surrogatepass")) is not None:
            named = not name or _MACHINE.match(text) or re.search(rf"[\s/]{re.escape(name)}[^\s:]*: ", text[:300])
            if named:
                return text
        if not name and _TAGGED.match(text):
            who, _, rest = text.partition(": ")
            logged, _, program = who.rpartition(" ")
            return self._framed(time, stamp, logged or host, *_tag(program), rest)
        if (not name or text[:1] == "[") and _EXIM.match(text):  # out of Exim's own file
            return f"{_iso(time)[:23].replace('T', ' ')} +0000 {text}"
        number = number or self._pid(source)
        return self._framed(time, stamp, host, name or "postfix", number if number.isdigit() else "", text)

    def _framed(self, time: float, stamp: str, host: str, tag: str, pid: str, text: str) -> str:
        host = _fit(host)
        who = f"{host} {tag}[{pid}]" if pid else f"{host} {tag}"
        if self._shape is SHAPES[0]:
            return f"{stamp or _iso(time)} {who}: {text}"
        bsd = _bsd(time) if self._shape.startswith("{bsd}") else ""
        return self._shape.format(
            iso=stamp or _iso(time), bsd=bsd, who=who, host=host or "-", tag=tag, pid=pid or "-", text=text
        )

    def _readable(self, shape: str) -> bool:
        """Whether the parser, which a job may have told one format, reads lines of this shape."""
        self._shape = shape
        before = self._parser.unparsed
        line = self._framed(0.0, "", "host", "postfix/qmgr", "1", "0123456789: removed")
        found = list(self._parser.parse(line.encode(), 0, "host"))
        self._parser.unparsed = before
        return bool(found)

    def _time(self, hit: Hit, source: dict[str, Any]) -> tuple[float, str] | None:
        """UTC seconds, as the index sorts it and as finely as the document tells it; its stamp where that is UTC."""
        for value, written, nanos in zip(hit.get("sort", ()), self._written, self._nanos, strict=False):
            if not isinstance(value, (int, float)) or abs(value) >= _NEVER:
                continue
            millis = value / 1e6 if nanos else seconds(value) * 1e3
            stamp = written(source)
            second = int(millis // 1000)
            if type(stamp) is str and stamp[-1:] == "Z" and stamp.startswith(_second(second)):  # nearly always
                fraction = stamp[19:-1]
                if not fraction:
                    return float(second), stamp
                if fraction[0] == "." and fraction[1:].isdecimal() and fraction.isascii():
                    return second + float(fraction), stamp
            found = _STAMP.fullmatch(stamp) if type(stamp) is str else None
            if found is None:
                return millis / 1e3, ""
            whole, fraction, zone = found[1], found[2], found[3]
            time = second + float(fraction) if fraction else millis / 1e3
            clock = divmod(second % 3600, 60)
            if abs(time - millis / 1e3) > 0.002 or (int(whole[14:16]), int(whole[17:19])) != clock:
                return millis / 1e3, ""  # one of several, or of another zone
            if not zone and self._zone is not None:
                time = self._elsewhere(time)
            return time, ""
        return None

    def _elsewhere(self, time: float) -> float:
        """The time of a document that writes its zone's clock, without saying which; the index took it for UTC."""
        face = _moment(time).replace(tzinfo=self._zone)
        self.shift = time - face.timestamp() if time >= 0 else 0.0
        return time - self.shift


def seconds(value: float) -> float:
    """A time as an index keeps it, whichever unit it counts in."""
    return float(value / per_second(value))


def _within(query: LogQuery) -> Callable[[LogEntry], bool]:
    """Whether an entry lies in the window of a question, and is of its hosts."""
    hosts = frozenset(query.hosts)
    low = -math.inf if query.start is None else query.start - 1
    high = math.inf if query.end is None else query.end + 1
    return lambda entry: low <= entry.time <= high and (not hosts or entry.host in hosts)


def _answering(lines: Sequence[Line], literals: Literals) -> Sequence[Line]:
    """The lines that hold the literals; many are searched at once."""
    if not literals:
        return lines
    parts = [line.text.encode("utf-8", "surrogatepass") for line in lines]
    if len(parts) <= FEW_LINES:
        return [line for line, part in zip(lines, parts, strict=True) if literals.answers(part)]
    starts, at = [], 0
    for part in parts:
        starts.append(at)
        at += len(part) + 1
    block = b"\n".join(parts) + b"\n"
    return [lines[bisect_right(starts, start) - 1] for start, _ in literals.lines(block, 0, len(block))]


def _itself(name: str) -> str:
    return name


def _order(hit: Hit) -> int:
    """The same for a document whenever it is met, and in the order in which the cluster took its documents.

    That order is in the IDs which the cluster makes; where someone else made them, in each shard's own count.
    """
    name = str(hit.get("_id"))
    number = hit.get("_seq_no")
    place = _made(name) or (max(number, 0) if type(number) is int else 0)
    return place << 32 | crc32(f"{hit.get('_index')} {name}".encode("utf-8", "replace"))


def _made(name: str) -> int:
    """When OpenSearch made an ID: milliseconds, then its count; 0 for an ID that it did not make.

    `TimeBasedUUIDGenerator` lays the 6 bytes of the time, the 3 of the count and the node's address out for Lucene.
    """
    if not _FLAKE.fullmatch(name):
        return 0
    b = urlsafe_b64decode(name)
    time = int.from_bytes(bytes((b[5], b[4], b[3], b[2], b[12], b[14])), "big")
    return time << 24 | b[1] << 16 | b[13] << 8 | b[0] if _OLDEST < time < _NEWEST else 0


@lru_cache(maxsize=4096)
def _tag(service: str) -> tuple[str, str]:
    """Program and pid of a name, or of a tag with its brackets and colon."""
    found = _TAG.fullmatch(service)
    return (_UNFIT.sub("_", found["tag"])[:128], found["pid"] or "") if found else ("", "")


@lru_cache(maxsize=4096)
def _fit(host: str) -> str:
    """A host's name as one word."""
    return _UNFIT.sub("_", host)[:255]


def first_of(paths: Sequence[str]) -> Callable[[dict[str, Any]], str]:
    """What takes the first of some fields that a document has out of it, as text; "" if there is none."""
    getters = [getter(path) for path in paths]

    def first(source: dict[str, Any]) -> str:
        for get in getters:
            value = get(source)
            if type(value) is str:
                if value:
                    return value
            elif type(value) is int:
                return str(value)
        return ""

    return first


def getter(path: str) -> Callable[[dict[str, Any]], object]:
    """What takes a field out of a document, whether its names are nested, dotted or both: its first value."""
    parts = path.split(".")

    def get(source: dict[str, Any]) -> object:
        value: Any = source
        try:
            for part in parts:
                value = value[part]
        except (KeyError, TypeError):
            value = _value(source, path)
        return value[0] if type(value) is list and value else value

    return get


def _value(source: dict[str, Any], path: str) -> object:
    """A field whose names are dotted, wholly or in part."""
    value: object = source.get(path)
    at = path.find(".")
    while value is None and at > 0:
        inner = source.get(path[:at])
        if isinstance(inner, dict):
            value = _value(inner, path[at + 1 :])
        at = path.find(".", at + 1)
    return value


def _iso(time: float) -> str:
    """RFC 3339 with microseconds; only the fraction is new in most lines."""
    micros = round(time * 1e6)
    return f"{_second(micros // 1_000_000)}.{micros % 1_000_000:06}+00:00"


@lru_cache(maxsize=4096)
def _second(time: int) -> str:
    return _moment(time).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")


def _bsd(time: float) -> str:
    return _moment(time).strftime("%b %d %Y %H:%M:%S.%f")


def _moment(time: float) -> datetime:
    try:
        return datetime.fromtimestamp(time, timezone.utc)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, timezone.utc)
