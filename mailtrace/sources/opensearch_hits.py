"""A hit as a log entry: the syslog line it once was is put together again and read by the same parser as any other.

An index holds the text behind the tag with host, program and pid beside it, or the whole line, or something between.
The time is the index's, which is UTC, except where the line itself carries its offset.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any, NamedTuple, cast
from zlib import crc32

from mailtrace.model import LogEntry, LogQuery, Parser, Zone
from mailtrace.sources.opensearch_fields import Field, Fields
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
_ISO = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?\s?(Z|[+-]\d\d:?\d\d)?", re.ASCII)
_NEVER = 9_000_000_000_000_000_000  # what a document without the field is sorted by
_FLAKE = re.compile(r"[0-9A-Za-z_-]{20}")
_OLDEST, _NEWEST = 1_262_304_000_000, 4_102_444_800_000  # 2010, 2100

SHAPES = ("{iso} {who}: {text}", "<22>1 {iso} {host} {tag} {pid} - - {text}", "{bsd} {who}: {text}")
"""Envelopes a line can be put into, for a job that names one format: ISO 8601, RFC 5424, RFC 3164 with its year."""


class Line(NamedTuple):
    """A line put together from a hit: whose it is by the index, its time, its place among lines of that time."""

    text: str
    host: str
    time: float
    order: int


class Reader:
    """Makes entries of hits. `lines` and `unread` count, per host, what answered and what no parser understood."""

    def __init__(
        self, fields: Fields, parser: Parser, host_of: Callable[[str], str], knows: Callable[[str], str]
    ) -> None:
        """`host_of` gives the inventory's name for one in the index or a line, `knows` "" for one it does not know."""
        self._fields = fields
        self._parser = parser
        self._host_of = host_of
        self._knows = knows
        self._shape = next((shape for shape in SHAPES if self._readable(shape)), SHAPES[0])
        self.timeless = 0
        self.textless = 0

    @property
    def unparsed(self) -> int:
        """Lines of a mail program that no grammar knew."""
        return self._parser.unparsed

    def entries(self, hits: Iterable[Hit], literals: Literals, query: LogQuery) -> list[LogEntry]:
        """Entries of the hits that hold the literals, lie in the window and are of the hosts asked for."""
        lines = [line for hit in hits if (line := self._line(hit)) is not None]
        if literals:
            lines = _answering(lines, literals)
        if not lines:
            return []
        block = "\n".join([line.text for line in lines]).encode("utf-8", "surrogatepass")
        asked = frozenset(query.hosts)
        out: list[LogEntry] = []
        add = out.append
        for entry in self._parser.parse(block, 0, _itself):
            line = lines[entry.seq]
            host = self._host(line.host, entry.logged_host)
            if asked and host not in asked:
                continue
            time = entry.time if entry.zone is Zone.UTC else line.time
            if (query.start is not None and time < query.start - 1) or (query.end is not None and time > query.end + 1):
                continue
            add(_new(LogEntry, (host, time, Zone.UTC, line.order, *entry[4:])))
        return out

    # ------------------------------------------------------------------------------------------ one hit

    def _host(self, told: str, logged: str) -> str:
        """The index's host; the line's own where the index tells none, or a collector's that nobody configured."""
        if told and logged and not self._knows(told) and self._knows(logged):
            return self._host_of(logged)
        return self._host_of(told or logged)

    def _line(self, hit: Hit) -> Line | None:
        source = hit.get("_source")
        text = _first(source, self._fields.message) if isinstance(source, Mapping) else ""
        if not isinstance(source, Mapping) or not text:
            self.textless += 1
            return None
        time = self._time(hit, source)
        if time is None:
            self.timeless += 1
            return None
        text = text.strip(" \r\n").replace("\n", " ").replace("\0", " ")
        host = _first(source, self._fields.hostname)
        service = _first(source, self._fields.service)
        pid = _first(source, self._fields.pid)
        return Line(self._whole(text, host, service, pid, time), host, time, _order(hit))

    def _whole(self, text: str, host: str, service: str, pid: str, time: float) -> str:
        name, number = _tag(service)
        if _STAMPED.match(text) and self._parser.stamp(text.encode("utf-8", "surrogatepass")) is not None:
            named = not name or _MACHINE.match(text) or re.search(rf"[\s/]{re.escape(name)}[^\s:]*: ", text[:300])
            if named:
                return text
        if not name and _TAGGED.match(text):
            who, _, rest = text.partition(": ")
            logged, _, program = who.rpartition(" ")
            return self._framed(time, logged or host, *_tag(program), rest)
        if (not name or text[:1] == "[") and _EXIM.match(text):  # out of Exim's own file
            return f"{_iso(time)[:23].replace('T', ' ')} +0000 {text}"
        number = number or pid
        return self._framed(time, host, name or "postfix", number if number.isdigit() else "", text)

    def _framed(self, time: float, host: str, tag: str, pid: str, text: str) -> str:
        host = _fit(host)
        who = f"{host} {tag}[{pid}]" if pid else f"{host} {tag}"
        bsd = _bsd(time) if self._shape.startswith("{bsd}") else ""
        return self._shape.format(
            iso=_iso(time), bsd=bsd, who=who, host=host or "-", tag=tag, pid=pid or "-", text=text
        )

    def _readable(self, shape: str) -> bool:
        """Whether the parser, which a job may have told one format, reads lines of this shape."""
        self._shape = shape
        before = self._parser.unparsed
        line = self._framed(0.0, "host", "postfix/qmgr", "1", "0123456789: removed")
        found = list(self._parser.parse(line.encode(), 0, "host"))
        self._parser.unparsed = before
        return bool(found)

    def _time(self, hit: Hit, source: Mapping[str, Any]) -> float | None:
        """UTC seconds: as the index sorts it, and as finely as the document tells it."""
        for value, each in zip(hit.get("sort", ()), self._fields.timestamp, strict=False):
            if isinstance(value, (int, float)) and abs(value) < _NEVER:
                rough = value / 1e9 if each.in_nanos else seconds(value)
                fine = _finer(_value(source, each.name), rough)
                return rough if fine is None else fine
        return None


def seconds(value: float) -> float:
    """A time as an index keeps it, whichever unit it counts in; milliseconds are a date's."""
    for least, unit in ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3)):
        if abs(value) >= least:
            return value / unit
    return float(value)


def _finer(written: object, rough: float) -> float | None:
    """The time with the fraction that the document writes, where that is the same to the millisecond."""
    found = _ISO.fullmatch(written) if isinstance(written, str) else None
    if found is None or len(found[3] or "") <= 3:
        return None
    fraction = int(found[3]) / 10 ** len(found[3])
    whole = round(rough - fraction)
    return whole + fraction if abs(whole + fraction - rough) < 0.002 else None


def _answering(lines: Sequence[Line], literals: Literals) -> list[Line]:
    """The lines that hold the literals, all searched at once."""
    parts = [line.text.encode("utf-8", "surrogatepass") for line in lines]
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
    place = _made(name) or (max(number, 0) if isinstance(number, int) else 0)
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


def _first(source: Mapping[str, Any], fields: Iterable[Field]) -> str:
    """The first of some fields that the document has, as text."""
    for each in fields:
        value = _value(source, each.name)
        if type(value) is str:
            if value:
                return value
        elif type(value) is int:
            return str(value)
    return ""


def _value(source: Any, path: str) -> object:
    """A field of a document, whether its names are nested, dotted or both; the first value of several."""
    value = source.get(path)
    if value is not None:
        return value[0] if type(value) is list and value else value
    at = path.find(".")
    while at > 0:
        inner = source.get(path[:at])
        if isinstance(inner, dict):
            found = _value(inner, path[at + 1 :])
            if found is not None:
                return found
        at = path.find(".", at + 1)
    return None


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
