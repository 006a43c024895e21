"""What surrounds the text of a log line: the stamp, the host, the program's tag.

Formats: RFC 3164 and its many dialects, rsyslog's ISO 8601 file format, RFC 5424, Exim's own stamp, the journal's
JSON and text, container logs (Docker, CRI, compose) and JSON exports of log stores. A stamp without a year is put into
the year 2000 and one without an offset is read as if the clock's face were UTC; `Zone` says which.
"""

from __future__ import annotations

import json
import re
from calendar import timegm
from datetime import date
from functools import lru_cache
from typing import Any, NamedTuple

from mailtrace.model import Stamp, Zone

YEARLESS_YEAR = 2000
"""A leap year, so that 29 February is a day."""

MONTHS = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), start=1
    )
}


class Framed(NamedTuple):
    """A line taken out of its envelope; `tag` is "" for Exim's own files, `pid` 0 where none is told."""

    time: float
    zone: Zone
    raw_time: str
    host: str
    tag: str
    pid: int
    text: str


# ------------------------------------------------------------------------------------------------ stamps

BSD = re.compile(
    r"(?:([0-9]{4}) )?([A-Z][a-z]{2}) {1,2}([0-9]{1,2}) (?:([0-9]{4}) )?"
    r"([0-9]{2}):([0-9]{2}):([0-9]{2})(?:[.,]([0-9]{1,9}))?(?= |:|$)"
)
"""`Mar  9 04:27:02`, `Jan 4 21:51:05`, `Jul 03 19:18:06.1234`, `2013 Jun 10 07:59:37.123`, `Jun 10 2013 07:59:37`."""
ISO = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:[.,]([0-9]{1,9}))?"
    r"(?: ?(Z|[+-][0-9]{2}:?[0-9]{2}(?![0-9])))?(?= |$)"
)
FULL = re.compile(r"[A-Z][a-z]{2} (?=[0-9]{4}-)")
"""The weekday of `journalctl -o short-full`; a zone's name stands behind the time."""
ZONE_NAME = re.compile(r" ([A-Z]{3,5}|[+-][0-9]{2})(?= )")
UNIX = re.compile(r"([0-9]{9,10})\.([0-9]{3,6})(?= )")


@lru_cache(maxsize=1024)
def midnight(year: int, month: int, day: int) -> float | None:
    """Seconds at the beginning of a day, None if there is no such day."""
    try:
        date(year, month, day)
        return float(timegm((year, month, day, 0, 0, 0)))
    except (ValueError, OverflowError):
        return None


def moment(day: float | None, hour: str, minute: str, second: str, fraction: str | None, east: int = 0) -> float | None:
    """Seconds of a time of day; None for one that no clock shows (a leap second is one that it may)."""
    hours, minutes, seconds = int(hour), int(minute), int(second)
    if day is None or hours > 23 or minutes > 59 or seconds > 60:
        return None
    whole = day + hours * 3600 + minutes * 60 + seconds - east
    return whole + int(fraction) / 10 ** len(fraction) if fraction else whole


def offset(zone: str) -> int | None:
    """Seconds east of UTC of `Z`, `+02:00`, `-0500`, `+02`; None for what is none."""
    if zone == "Z":
        return 0
    hours, minutes = int(zone[1:3]), int(zone[-2:]) if len(zone) > 3 else 0
    if hours > 18 or minutes > 59:
        return None
    seconds = hours * 3600 + minutes * 60
    return -seconds if zone[0] == "-" else seconds


def bsd_stamp(line: str, at: int = 0) -> tuple[Stamp, int] | None:
    """The stamp of the RFC 3164 family at a place, and where it ends."""
    found = BSD.match(line, at)
    if found is None:
        return None
    before, month, day, after, hour, minute, second, fraction = found.groups()
    year = before or after
    number = MONTHS.get(month)
    if number is None:
        return None
    time = moment(midnight(int(year) if year else YEARLESS_YEAR, number, int(day)), hour, minute, second, fraction)
    if time is None:
        return None
    return Stamp(time, Zone.LOCAL if year else Zone.YEARLESS), found.end()


def iso_stamp(line: str, at: int = 0) -> tuple[Stamp, int] | None:
    """The ISO 8601 stamp at a place, and where it ends."""
    found = ISO.match(line, at)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    east = offset(zone) if zone else 0
    if east is None:
        return None
    time = moment(midnight(int(year), int(month), int(day)), hour, minute, second, fraction, east)
    if time is None:
        return None
    return Stamp(time, Zone.UTC if zone else Zone.LOCAL), found.end()


def full_stamp(line: str) -> tuple[Stamp, int] | None:
    """The stamp of `journalctl -o short-full`: weekday, date, time, name of the zone."""
    weekday = FULL.match(line)
    found = iso_stamp(line, weekday.end()) if weekday else None
    if found is None:
        return None
    stamp, end = found
    zone = ZONE_NAME.match(line, end)
    if zone is None:
        return found
    if zone[1] in ("UTC", "GMT"):
        stamp = Stamp(stamp.time, Zone.UTC)
    elif zone[1][0] in "+-":
        stamp = Stamp(stamp.time - (offset(zone[1]) or 0), Zone.UTC)
    return stamp, zone.end()


def unix_stamp(line: str) -> tuple[Stamp, int] | None:
    """`1789228152.650438`, as `journalctl -o short-unix` writes it."""
    found = UNIX.match(line)
    if found is None:
        return None
    return Stamp(int(found[1]) + int(found[2]) / 10 ** len(found[2]), Zone.UTC), found.end()


def any_stamp(line: str) -> tuple[Stamp, int] | None:
    """Whichever plain stamp a line begins with, and where it ends."""
    first = line[:1]
    if first.isdigit():
        return iso_stamp(line) or bsd_stamp(line) or unix_stamp(line)
    return bsd_stamp(line) or full_stamp(line)


_DIRECTIVES = {
    "Y": r"(?P<Y>[0-9]{4})", "y": r"(?P<y>[0-9]{2})", "m": r"(?P<m>[0-9]{1,2})", "d": r"(?P<d> ?[0-9]{1,2})",
    "e": r"(?P<d> ?[0-9]{1,2})", "H": r"(?P<H>[0-9]{1,2})", "I": r"(?P<I>[0-9]{1,2})", "M": r"(?P<M>[0-9]{1,2})",
    "S": r"(?P<S>[0-9]{1,2})", "f": r"(?P<f>[0-9]{1,9})", "b": r"(?P<b>[A-Z][a-z]{2})", "B": r"(?P<B>[A-Z][a-z]+)",
    "h": r"(?P<b>[A-Z][a-z]{2})", "a": r"[A-Z][a-z]{2}", "A": r"[A-Z][a-z]+", "p": r"(?P<p>[AaPp][Mm])",
    "z": r"(?P<z>Z|[+-][0-9]{2}:?[0-9]{2})", "Z": r"[A-Z]{3,5}", "s": r"(?P<s>[0-9]{9,10})",
    "T": r"(?P<H>[0-9]{2}):(?P<M>[0-9]{2}):(?P<S>[0-9]{2})", "F": r"(?P<Y>[0-9]{4})-(?P<m>[0-9]{2})-(?P<d>[0-9]{2})",
    "%": "%",
}  # fmt: skip


class TimeFormat:
    """A configured `time_format` (strftime's letters): reads the stamps that are written so."""

    def __init__(self, text: str) -> None:
        """Raises ValueError for a letter that can't be read back, or one that is there twice."""
        parts = []
        for literal, letter in re.findall(r"([^%]+)|%(.?)", text, re.DOTALL):
            if literal:
                parts.append(re.escape(literal))
            elif letter in _DIRECTIVES:
                parts.append(_DIRECTIVES[letter])
            else:
                message = f"%{letter} can't be read in a time format"
                raise ValueError(message)
        try:
            self._pattern = re.compile("".join(parts) + r"(?=[\s:,|\]]|$)")
        except re.error:
            message = f"the time format {text!r} names the same field twice"
            raise ValueError(message) from None

    def __call__(self, line: str) -> tuple[Stamp, int] | None:
        """The stamp at the beginning of a line, and where it ends."""
        found = self._pattern.match(line)
        if found is None:
            return None
        field = found.groupdict()
        if field.get("s"):
            return Stamp(float(field["s"]), Zone.UTC), found.end()
        time = moment(
            midnight(*self._day(field)), self._hour(field), field.get("M") or "0", field.get("S") or "0", field.get("f")
        )
        if time is None:
            return None
        if field.get("z"):
            east = offset(field["z"])
            return None if east is None else (Stamp(time - east, Zone.UTC), found.end())
        has_year = field.get("Y") or field.get("y")
        return Stamp(time, Zone.LOCAL if has_year else Zone.YEARLESS), found.end()

    @staticmethod
    def _day(field: dict[str, str | None]) -> tuple[int, int, int]:
        year = YEARLESS_YEAR
        if full := field.get("Y"):
            year = int(full)
        elif short := field.get("y"):
            year = 2000 + int(short) if int(short) < 69 else 1900 + int(short)
        name = field.get("b") or field.get("B")
        month = MONTHS.get(name[:3], 0) if name else int(field.get("m") or "1")
        return year, month, int(field.get("d") or "1")

    @staticmethod
    def _hour(field: dict[str, str | None]) -> str:
        if half := field.get("I"):
            return str(int(half) % 12 + (12 if (field.get("p") or "").lower() == "pm" else 0))
        return field.get("H") or "0"


# ----------------------------------------------------------------------------------------- host and tag

_TAG = r"(?P<tag>[^\s:\[\]]{1,128})(?:\[(?P<pid>[0-9]{1,10})\])?:(?: +|$)"  # rsyslog's %msg% brings a space of its own
_NO_HOST = re.compile(rf" *{_TAG}")
_WITH_HOST = re.compile(rf" *(?P<host>[^\s\[\]]{{1,255}}) +(?:[a-z]+[0-7]?\.[a-z]+ +)?{_TAG}")
_FACILITY = re.compile(r" *[a-z]+[0-7]?\.[a-z]+ +")
_CUT_TAG = re.compile(r" *(?P<host>[^\s\[\]]{1,255}) (?P<tag>(?=[^\s:]{32}(?: |$))[^\s:\[]{1,32})(?:\[[0-9]*\]?)? ?")
_DOVECOT_FILE = re.compile(
    r" *(?=(?:lmtp|lda|deliver|imap|imap-login|pop3|managesieve|master|indexer-worker)(?:\(|: ))"
)


def plain_host(name: str) -> str:
    """The first host of syslog-ng's chain (`src@client/relay`)."""
    if "/" in name or "@" in name:
        return name.split("/", 1)[0].rpartition("@")[2]
    return name


def head(line: str, at: int) -> tuple[str, str, int, int] | None:
    """Host, tag and pid that follow a stamp, and where the text begins."""
    facility = _FACILITY.match(line, at)
    start = facility.end() if facility else at
    own = _DOVECOT_FILE.match(line, start)
    if own is not None:
        return "", "dovecot", 0, own.end()
    found = _NO_HOST.match(line, start)
    host = ""
    if found is None:
        found = _WITH_HOST.match(line, at)
        if found is None:
            cut = _CUT_TAG.match(line, at)
            return (plain_host(cut["host"]), cut["tag"], 0, cut.end()) if cut else None
        host = plain_host(found["host"])
    return host, found["tag"], int(found["pid"] or 0), found.end()


# ------------------------------------------------------------------------------------------ RFC 5424

_RFC5424 = re.compile(
    r"(?:<[0-9]{1,3}>)?1 (?P<time>\S+) (?P<host>\S+) (?P<tag>\S+) (?P<pid>\S+) \S+ "
    r"(?:-|(?:\[[^\"\]\\]*(?:(?:\\.|\"[^\"\\]*(?:\\.[^\"\\]*)*\")[^\"\]\\]*)*\])+)(?: (?P<text>.*))?",
    re.DOTALL,
)


def rfc5424(line: str) -> Framed | None:
    """Read an RFC 5424 line, with or without its PRI."""
    found = _RFC5424.fullmatch(line)
    if found is None:
        return None
    raw_time = found["time"]
    read = iso_stamp(raw_time)
    if read is None or read[1] != len(raw_time):
        return None
    (time, zone), _ = read
    pid = found["pid"]
    tag = "" if found["tag"] == "-" else found["tag"]
    host = "" if found["host"] == "-" else plain_host(found["host"])
    text = (found["text"] or "").lstrip("\ufeff ")
    return Framed(time, zone, raw_time, host, tag, _pid(pid), text)


def _pid(text: object) -> int:
    return int(text) if isinstance(text, str) and len(text) <= 10 and text.isascii() and text.isdigit() else 0


# -------------------------------------------------------------------------------------- JSON envelopes


def json_object(line: str) -> dict[str, Any] | None:
    """The object a line holds; None for anything else."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def journal(record: dict[str, Any]) -> Framed | None:
    """Read an entry of `journalctl -o json`."""
    text = _message(record.get("MESSAGE"))
    raw_time = _text(record.get("_SOURCE_REALTIME_TIMESTAMP")) or _text(record.get("__REALTIME_TIMESTAMP"))
    if text is None or not (raw_time.isascii() and raw_time.isdigit() and len(raw_time) <= 17):
        return None
    host = _text(record.get("_HOSTNAME"))
    tag = _text(record.get("SYSLOG_IDENTIFIER")) or _text(record.get("_COMM"))
    pid = _pid(_text(record.get("SYSLOG_PID")) or _text(record.get("_PID")))
    return Framed(int(raw_time) / 1e6, Zone.UTC, raw_time, host, tag, pid, text.rstrip("\n").lstrip(" "))


def _text(value: object) -> str:
    """A field's first value as text; a repeated field is an array."""
    if isinstance(value, list) and value:
        value = value[0]
    return value if isinstance(value, str) else str(value) if type(value) is int else ""


def _message(value: object) -> str | None:
    """MESSAGE: text, an array of bytes (not UTF-8), or an array of such (a repeated field)."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value:
        if all(type(item) is int and 0 <= item < 256 for item in value):
            return bytes(value).decode("utf-8", "surrogateescape")
        return _message(value[0]) if isinstance(value[0], (str, list)) and value[0] != value else None
    return None


class Wrapped(NamedTuple):
    """A line inside a container's or a log store's: what it holds, and what is known if it tells no stamp itself."""

    text: str
    stamp: Stamp | None
    raw_time: str
    host: str = ""
    tag: str = ""
    pid: int = 0
    stream: str = ""
    partial: bool = False


_DOCKER_PIECE = 16384
"""Docker cuts longer lines into pieces of this many bytes; only the last one ends in a newline."""


def docker(record: dict[str, Any]) -> Wrapped | None:
    """Read an entry of Docker's json-file driver."""
    text = record.get("log")
    if not isinstance(text, str):
        return None
    raw_time = _text(record.get("time"))
    partial = not text.endswith("\n") and len(text.encode("utf-8", "surrogatepass")) >= _DOCKER_PIECE
    stream = _text(record.get("stream"))
    return Wrapped(text.rstrip("\r\n"), _whole_stamp(raw_time), raw_time, stream=stream, partial=partial)


_EXPORT_TEXT = ("message", "data", "msg", "line")
_EXPORT_TIME = ("@timestamp", "timestamp", "time", "ts", "_time")
_EXPORT_TAG = ("program", "syslog_program", "process", "app-name", "appname", "ident", "tag")


def export(record: dict[str, Any]) -> Wrapped | None:
    """Read a document of a log store (`{"@timestamp": …, "host": …, "message": "…"}`)."""
    inner = record.get("_source")
    if isinstance(inner, dict):
        record = inner
    text = next((record[key] for key in _EXPORT_TEXT if isinstance(record.get(key), str)), None)
    if text is None:
        return None
    raw_time = next((_text(record[key]) for key in _EXPORT_TIME if key in record), "")
    tag, pid = "", 0
    for key in _EXPORT_TAG:
        value = record.get(key)
        if isinstance(value, dict):
            pid = _pid(_text(value.get("pid")))
            value = value.get("name")
        if isinstance(value, str):
            tag = value
            break
    host = record.get("host") or record.get("hostname")
    if isinstance(host, dict):
        host = host.get("name") or host.get("hostname")
    return Wrapped(
        text.rstrip("\r\n"), _whole_stamp(raw_time), raw_time, _text(host), tag, pid or _pid(_text(record.get("pid")))
    )


def _whole_stamp(text: str) -> Stamp | None:
    if text.isascii() and text.isdigit() and len(text) in (10, 13, 16):
        return Stamp(int(text) / 10 ** (len(text) - 10), Zone.UTC)
    found = iso_stamp(text)
    return found[0] if found and found[1] == len(text) else None


_CRI = re.compile(r"(\S{20,40}) (stdout|stderr) ([PF])(?::\S*)? (.*)", re.DOTALL)


def cri(line: str) -> Wrapped | None:
    """Read a line of the container runtime interface (Kubernetes); `P` is a piece of a longer line."""
    found = _CRI.fullmatch(line)
    stamp = _whole_stamp(found[1]) if found else None
    if found is None or stamp is None:
        return None
    return Wrapped(found[4], stamp, found[1], stream=found[2], partial=found[3] == "P")


PRI = re.compile(r"(?:[0-9]{1,6} )?<[0-9]{1,3}>(?=\S)")
"""The priority of a raw syslog line, with the octet count of RFC 6587 before it."""
COMPOSE = re.compile(r"[\w.-]{1,64} +\| ")
FACILITY = re.compile(r"[a-z]+[0-7]?\.[a-z]+:? +(?=[A-Z])")
OCTETS = re.compile(r"[0-9]{1,6} (?=<[0-9]{1,3}>)")
