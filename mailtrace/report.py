"""The report: all that one run found, and its form as data (`schemas/report.schema.json`).

What is not known is null; an empty string is a value (the null sender). Times are RFC 3339 in UTC. The same report
gives the same bytes.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mailtrace.model import (
        ClockNote,
        Coverage,
        Delivery,
        Expectation,
        Headers,
        Hint,
        Hop,
        Link,
        LogEntry,
        Mail,
        Peer,
        Recipient,
        Stamp,
        ToldHop,
        Warning_,
    )

VERSION = 1
"""Of the form that `to_dict` gives; a field that goes or changes its meaning raises it, a new one does not."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
# What JSON lets stand bare but a terminal, a browser or an editor acts on: DEL and C1 controls, bidi marks, line
# separators; and halves of surrogate pairs, which no UTF-8 stream takes.
_UNSAFE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def rfc3339(time: float | None) -> str | None:
    """UTC seconds as RFC 3339 with as many digits of the second as it needs, microseconds at most.

    None where the time is unknown or no calendar has it.
    """
    if time is None:
        return None
    try:
        seconds, rest = divmod(round(time * 1_000_000), 1_000_000)
        text = _second(seconds)
    except (OverflowError, ValueError):
        return None
    return f"{text}.{rest:06}".rstrip("0") + "Z" if rest else text + "Z"


@lru_cache(maxsize=4096)  # the lines of a mail share their seconds
def _second(seconds: int) -> str:
    at = _EPOCH + timedelta(seconds=seconds)
    return f"{at.year:04}-{at:%m-%dT%H:%M:%S}"


def visible(text: str) -> str:
    r"""Text of a log in which nothing moves a cursor, hides or turns letters around: ESC is shown as `\x1b`.

    What Python calls printable stays, so letters of any script do; controls, bidi marks, line separators and
    halves of surrogate pairs are escaped as in a Python string.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


@dataclass(slots=True)
class Report:
    """All that one run found. `exit_code` as in the manual's table.

    `mails` are in order of first sight. Where every mail of a window was asked for they may be made anew each time they
    are looked at: an exporter that goes through them once and keeps none needs no more memory for a million than for
    ten, and what is changed in one is lost.
    """

    name: str
    kind: str
    start: float | None = None
    end: float | None = None
    mails: Sequence[Mail] = field(default_factory=list)
    coverage: list[Coverage] = field(default_factory=list)
    clocks: list[ClockNote] = field(default_factory=list)
    warnings: list[Warning_] = field(default_factory=list)
    expectations: list[Expectation] = field(default_factory=list)
    partial: bool = False
    exit_code: int = 0
    zone: str = ""  # the zone that times of the job without one were read in
    outside: frozenset[str] = frozenset()  # inventory hosts that are not the fleet's
    headers: list[Headers] = field(default_factory=list)  # of the message in hand
    hints: list[Hint] = field(default_factory=list)  # where nothing was found
    case: Case | None = None  # what the run worked with, where an export wants it
    keys: dict[str, list[str]] = field(default_factory=dict)  # keys of `keys_from` → IDs of the mails that have them

    def to_dict(self, *, entries: bool = False) -> dict[str, Any]:
        """The report as `schemas/report.schema.json` describes it; with `entries`, each hop's raw lines too."""
        return {
            "version": VERSION,
            "job": {"name": self.name, "kind": self.kind},
            "window": {"start": rfc3339(self.start), "end": rfc3339(self.end)},
            "partial": self.partial,
            "mails": [_mail(mail, entries=entries) for mail in self.mails],
            **({"keys": [{"key": key, "mails": mails} for key, mails in self.keys.items()]} if self.keys else {}),
            **({"headers": [_headers(sheet) for sheet in self.headers]} if self.headers else {}),
            "coverage": [_coverage(item) for item in self.coverage],
            "clocks": [_clock(note) for note in self.clocks],
            "warnings": [_warning(warning) for warning in self.warnings],
            **({"hints": [_warning(hint) for hint in self.hints]} if self.hints else {}),
            "expectations": [_expectation(expectation) for expectation in self.expectations],
        }

    def frame(self) -> dict[str, Any]:
        """The report as data without its mails."""
        return replace(self, mails=[]).to_dict()

    def to_json(self, *, entries: bool = False) -> str:
        """`to_dict()` as JSON text, with a newline at its end."""
        return "".join(self.iter_json(entries=entries))

    def iter_json(self, *, entries: bool = False) -> Iterator[str]:
        """The text of `to_json` piece by piece: a day's mails are never in memory as text all at once.

        One hop, link or row per line, so that two reports can be compared with `diff`.
        """
        frame = self.frame()
        for number, (key, value) in enumerate(frame.items()):
            yield f'{"," if number else "{"}\n"{key}": '
            if key == "mails":
                yield from self._mails_text(entries=entries)
            else:
                yield _lines(value, "") if isinstance(value, list) else json_text(value)
        yield "\n}\n"

    def _mails_text(self, *, entries: bool) -> Iterator[str]:
        yield "["
        for i, mail in enumerate(self.mails):
            yield ("," if i else "") + "\n" + _mail_text(_mail(mail, entries=entries))
        yield "\n]" if self.mails else "]"


@dataclass(frozen=True, slots=True)
class Case:
    """All that one run worked with: `find` and `walk` as a job has them, `config` as a config has it, without its logs.

    `logs` tells of each host in scope how its lines are read, `lines` are all that were fetched, in their order, and
    `spans` from when to when each host's log was looked at. `write` makes a job or config file of a mapping, `replay`
    runs the job file at a path.
    """

    find: Mapping[str, Any]
    walk: Mapping[str, Any]
    config: Mapping[str, Any]
    logs: Mapping[str, Mapping[str, str]]
    lines: tuple[LogEntry, ...]
    spans: Mapping[str, tuple[Stamp, Stamp]]
    write: Callable[[Mapping[str, Any]], str]
    replay: Callable[[str], Report]


class Exporter(Protocol):
    """Shows a report. Made by the registry from its options."""

    def export(self, report: Report, stream: Any) -> str | None:
        """Write the report to a text stream (binary for exporters with `binary = True`).

        What it answers is told to who wants to know how the step went.
        """


_encode = json.JSONEncoder(ensure_ascii=False).encode


def json_text(value: object) -> str:
    """A value as JSON in one line that no terminal, browser or editor acts on."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", _encode(value))


def _lines(items: list[Any], indent: str) -> str:
    if not items:
        return "[]"
    return "[\n" + ",\n".join(f"{indent} {json_text(item)}" for item in items) + f"\n{indent}]"


def _mail_text(mail: dict[str, Any]) -> str:
    """One mail: its own fields in one line, then a line for each hop, link and recipient."""
    lists = ("hops", "links", "recipients")
    own = json_text({key: value for key, value in mail.items() if key not in lists})
    parts = (f'  "{key}": {_lines(mail[key], "  ")}' for key in lists)
    return f" {own[:-1]},\n" + ",\n".join(parts) + "\n }"


def _known(text: str) -> str | None:
    return text or None


def _seconds(value: float | None) -> float | None:
    """A duration without the noise of float arithmetic; never negative."""
    return None if value is None else max(0.0, round(value, 6))


def mail_as_data(mail: Mail) -> dict[str, Any]:
    """One mail as `schemas/report.schema.json` describes it, without raw lines."""
    return _mail(mail, entries=False)


def _mail(mail: Mail, *, entries: bool) -> dict[str, Any]:
    out: dict[str, Any] = {
        "id": mail.id,
        "message_id": _known(mail.message_id),
        "sender": mail.sender,
        "size": mail.size,
    }
    if mail.subject is not None:
        out["subject"] = mail.subject
    out["hops"] = [_hop(hop, entries=entries) for hop in mail.hops]
    out["links"] = [_link(link) for link in mail.links]
    out["recipients"] = [_recipient(row) for row in mail.recipients]
    return out


def _hop(hop: Hop, *, entries: bool) -> dict[str, Any]:
    out: dict[str, Any] = {
        "id": hop.id,
        "host": hop.host,
        "instance": hop.instance,
        "queue_id": hop.queue_id,
        "mta": hop.mta,
        "first": rfc3339(hop.first),
        "last": rfc3339(hop.last),
        "client": _peer(hop.client, "name"),
        "helo": _known(hop.helo),
        # A local submission's user is a uid of the host, not a login.
        "sasl_user": None if hop.local else _known(hop.user),
        "tls": _known(hop.tls),
        "deliveries": [_delivery(delivery) for delivery in hop.deliveries],
    }
    if entries:
        out["entries"] = [entry.raw for entry in hop.entries]
    return out


def _peer(peer: Peer, name: str) -> dict[str, Any] | None:
    if not any(peer):
        return None
    return {name: _known(peer.name), "ip": _known(peer.ip), "port": peer.port}


def _delivery(delivery: Delivery) -> dict[str, Any]:
    delays = delivery.delays
    return {
        "recipient": delivery.recipient,
        "original_recipient": _known(delivery.original_recipient),
        "status": delivery.status,
        "relay": _peer(delivery.relay, "host"),
        "tls": _known(delivery.tls),
        "dsn": _known(delivery.dsn),
        "reply": _known(delivery.reply),
        "reply_id": _known(delivery.reply_id),
        "delay": delivery.delay,
        "delays": delays and dict(zip(("before_qmgr", "in_qmgr", "conn_setup", "transmission"), delays, strict=True)),
        "time": rfc3339(delivery.time),
        "raw_time": _known(delivery.raw_time),
    }


def _link(link: Link) -> dict[str, Any]:
    return {
        "from": link.from_,
        "to": link.to,
        "kind": link.kind.value,
        "certainty": link.certainty.value,
        "evidence": [{"kind": fact.kind, "text": fact.text} for fact in link.evidence],
    }


def _recipient(row: Recipient) -> dict[str, Any]:
    return {
        "recipient": row.recipient,
        "original_recipient": _known(row.original_recipient),
        "outcome": row.outcome,
        "path": [{"host": step.host, "queue_id": step.queue_id} for step in row.path],
        "seconds": _seconds(row.seconds),
        "reason": _known(row.reason),
        "attempts": row.attempts,
        "certainty": row.certainty.value,
    }


def _headers(sheet: Headers) -> dict[str, Any]:
    return {
        "kind": sheet.kind,
        "message_id": _known(sheet.message_id),
        "sender": sheet.sender,
        "recipients": list(sheet.recipients),
        "subject": _known(sheet.subject),
        "hops": [_told(hop) for hop in sheet.hops],
    }


def _told(hop: ToldHop) -> dict[str, Any]:
    return {
        "host": _known(hop.host),
        "queue_id": _known(hop.queue_id),
        "client": _peer(hop.client, "name"),
        "protocol": _known(hop.protocol),
        "recipient": _known(hop.recipient),
        "tls": _known(hop.tls),
        "time": rfc3339(hop.time),
        "hop": _known(hop.hop),
    }


def _coverage(item: Coverage) -> dict[str, Any]:
    out: dict[str, Any] = {
        "host": item.host,
        "source": item.source,
        "index" if item.source == "opensearch" else "files": list(item.names),
        "first": rfc3339(item.first),
        "last": rfc3339(item.last),
        "lines": item.lines,
        "matched": item.matched,
        "unparsed": item.unparsed,
    }
    if item.problem:
        out["problem"] = item.problem
    return out


def _clock(note: ClockNote) -> dict[str, Any]:
    return {
        "host": note.host,
        "offset": note.offset,
        "year_from": _known(note.year_from),
        "skew_seconds": round(note.skew_seconds, 6),
        "proved_by": note.proved_by,
    }


def _warning(warning: Warning_ | Hint) -> dict[str, Any]:
    out = {"code": warning.code, "message": warning.message}
    return {**out, "host": warning.host} if warning.host else out


def _expectation(expectation: Expectation) -> dict[str, Any]:
    out = {"text": expectation.text, "held": expectation.held, "detail": _known(expectation.detail)}
    return {**out, "place": expectation.place} if expectation.place else out
