"""A corpus as an index would hold it: log lines taken apart as each shipper does, and documents put into an index.

For tests and trials only: the lines' zones and years are told, not learnt.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from functools import cache
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import truth

from mailtrace.model import Zone
from mailtrace.parsers import envelope as env

Document = dict[str, Any]
BULK = 10_000
"""Documents in a request that fills an index."""
YEAR = {"fleet": 2026, "rough": 2025}
EXACT: Document = {"type": "keyword", "ignore_above": 1024}
TEXT: Document = {"type": "text"}
DYNAMIC: Document = {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}
DATE: Document = {"type": "date"}


class Line(NamedTuple):
    """A log line taken apart; `time` is UTC."""

    host: str
    time: datetime
    program: str
    pid: int
    text: str
    raw: str


@cache
def lines(corpus: str) -> tuple[Line, ...]:
    """All lines of a corpus that have a stamp."""
    return tuple(lines_of(truth.logs(corpus), truth.hosts(corpus), YEAR[corpus]))


def lines_of(logs: dict[str, list[str]], facts: dict[str, dict[str, Any]], year: int) -> Iterator[Line]:
    """All lines of some logs that have a stamp; each once, though a loghost's file stands under several hosts.

    `logs` are each host's files, `facts` what is known of the hosts, `year` that of stamps without one.
    """
    files: dict[str, list[str]] = {}
    for host, names in logs.items():
        for name in names:
            files.setdefault(name, []).append(host)
    for name, hosts in files.items():
        raw = Path(name).read_bytes()
        text = (gzip.decompress(raw) if name.endswith(".gz") else raw).decode("utf-8", "replace")
        for line in text.replace("\0", "").split("\n"):
            framed = framed_of(line, exims="Exim mainlog" in facts.get(hosts[0], {}).get("log_format", ""))
            if framed is None:
                continue
            host = hosts[0] if len(hosts) == 1 else framed.host
            known = next((each for each in hosts if same(host, each)), None)
            framed = framed._replace(text=framed.text.encode("utf-8", "replace").decode())
            yield Line(known or host, utc(framed, facts.get(known or "", {}), year), *framed[4:], line)


def framed_of(line: str, *, exims: bool) -> env.Framed | None:
    """Stamp, host, program, pid and text of a line; `exims`: of a file that Exim writes itself."""
    line = line.rstrip("\r")
    if line.startswith("{"):
        record = env.json_object(line)
        return env.journal(record) if record else None
    if line.startswith("<") and (found := env.rfc5424(line)) is not None:
        return found
    stamp = env.any_stamp(line)
    if stamp is None:
        return None
    (time, zone), end = stamp
    head = None if exims else env.head(line, end)
    if head is None:
        return env.Framed(time, zone, line[:end], "", "exim", 0, line[end:].strip())
    host, tag, pid, start = head
    return env.Framed(time, zone, line[:end], host, tag, pid, line[start:])


def same(name: str, host: str) -> bool:
    """Whether a name in a line is this host's."""
    return name.partition(".")[0] == host.partition(".")[0]


def utc(framed: env.Framed, facts: dict[str, Any], year: int) -> datetime:
    """The time of a framed line; `facts` tell its host's zone, `year` the year of stamps without one."""
    face = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=framed.time)
    if framed.zone is Zone.UTC:
        return face
    if framed.zone is Zone.YEARLESS:
        face = face.replace(year=year)
    zone = facts.get("time_zone") or "UTC"
    return face.replace(tzinfo=ZoneInfo(zone)).astimezone(timezone.utc)


# ------------------------------------------------------------------------------------------------ shapes


def _ecs(line: Line) -> Document:
    syslog = {"appname": line.program, "procid": str(line.pid), "facility": {"name": "mail", "code": 2}}
    return {
        "@timestamp": _iso(line.time),
        "host": {"name": line.host, "hostname": line.host},
        "log": {"syslog": syslog},
        "message": line.text,
    }


def _logstash(line: Line) -> Document:
    return {
        "@timestamp": _iso(line.time),
        "logsource": line.host,
        "host": "192.0.2.1",
        "program": line.program,
        "pid": str(line.pid),
        "facility": 2,
        "facility_label": "mail",
        "message": line.text,
    }


def _vector(line: Line) -> Document:
    return {
        "timestamp": _iso(line.time),
        "hostname": line.host,
        "appname": line.program,
        "procid": line.pid,
        "facility": "mail",
        "source_ip": "192.0.2.1",
        "message": line.text,
    }


def _fluent_bit(line: Line) -> Document:
    return {
        "@timestamp": _iso(line.time),
        "host": line.host,
        "ident": line.program,
        "pid": str(line.pid),
        "pri": "22",
        "message": line.text,
    }


def _rsyslog(line: Line) -> Document:
    return {
        "@timestamp": _iso(line.time),
        "host": line.host,
        "facility": "mail",
        "syslogtag": f"{line.program}[{line.pid}]:",
        "programname": line.program.partition("/")[0],
        "message": " " + line.text,
    }


def _graylog(line: Line) -> Document:
    who = f"{line.program}[{line.pid}]" if line.pid else line.program
    return {
        "timestamp": line.time.strftime("%Y-%m-%d %H:%M:%S.") + f"{line.time.microsecond // 1000:03}",
        "source": line.host,
        "facility": "mail",
        "message": f"{line.host} {who}: {line.text}" if line.pid else line.text,
        **({} if line.pid else {"application_name": line.program}),
    }


def _syslog_ng(line: Line) -> Document:
    return {
        "@timestamp": _iso(line.time),
        "HOST": line.host,
        "PROGRAM": line.program,
        "PID": str(line.pid),
        "FACILITY": "mail",
        "MESSAGE": line.text,
    }


def _data_prepper(line: Line) -> Document:
    return {
        "time": _iso(line.time),
        "resource": {"attributes": {"host@name": line.host}},
        "attributes": {"appname": line.program, "procid": str(line.pid)},
        "body": line.text,
    }


def _wazuh(line: Line) -> Document:
    return {
        "@timestamp": _iso(line.time),
        "predecoder": {"hostname": line.host, "program_name": line.program},
        "full_log": line.raw,
    }


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


GRAYLOG_DATE = {"type": "date", "format": "uuuu-MM-dd HH:mm:ss.SSS"}
SHAPES: dict[str, tuple[Any, Document]] = {
    "ecs": (_ecs, {"@timestamp": DATE, "message": {"type": "match_only_text"},
                   "host": {"properties": {"name": EXACT, "hostname": EXACT}},
                   "log": {"properties": {"syslog": {"properties": {"appname": EXACT, "procid": EXACT}}}}}),
    "logstash": (_logstash, {"@timestamp": DATE, "message": TEXT}),
    "vector": (_vector, {"timestamp": DATE}),
    "fluent-bit": (_fluent_bit, {"@timestamp": DATE, "message": DYNAMIC}),
    "rsyslog": (_rsyslog, {"@timestamp": DATE, "message": {"type": "wildcard"}}),
    "graylog": (_graylog, {"timestamp": GRAYLOG_DATE, "message": TEXT, "application_name": {"type": "keyword"},
                           "source": {"type": "text", "analyzer": "keyword", "fielddata": True}}),
    "syslog-ng": (_syslog_ng, {"@timestamp": {"type": "date_nanos"}}),
    "data-prepper": (_data_prepper, {"time": {"type": "date_nanos"}, "body": TEXT}),
    "wazuh": (_wazuh, {"@timestamp": DATE, "full_log": EXACT, "predecoder": {"properties": {"hostname": EXACT}}}),
}  # fmt: skip
"""Preset → how a line becomes a document, and the part of the mapping that is not dynamic."""


def put(client: Any, index: str, documents: Iterable[Document], properties: Document, shards: int = 1) -> None:
    """Make an index and fill it."""
    settings = {"number_of_shards": shards, "number_of_replicas": 0}
    body = {"settings": {"index": settings}, "mappings": {"properties": properties}}
    client.indices.create(index=index, body=body)
    add(client, index, documents)


def add(client: Any, index: str, documents: Iterable[Document], ids: Iterable[str] = ()) -> None:
    """Put more documents into an index or a stream, under IDs of their own where there are any.

    As text, a few large requests: the client's helper takes a few times as long to put them together.
    """
    actions = chain(({"create": {"_id": each}} for each in ids), repeat({"create": {}}))
    rest = zip(actions, documents, strict=False)
    while some := list(islice(rest, BULK)):
        lines = (json.dumps(part) for pair in some for part in pair)
        told = client.bulk(index=index, body="\n".join(lines) + "\n", params={"filter_path": "errors,items.*.error"})
        if told["errors"]:
            raise RuntimeError(str(told)[:2000])
    client.indices.refresh(index=index)


def ingest(client: Any, index: str, corpus: str, shape: str, shards: int = 1) -> None:
    """Put a corpus into an index in the shape of a preset."""
    make, properties = SHAPES[shape]
    put(client, index, map(make, lines(corpus)), properties, shards)
