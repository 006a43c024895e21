"""One row for each recipient, for spreadsheets and other programs: the exports `csv` and `ndjson`.

The columns are those of `schemas/row.schema.json`, in its order:

| column | |
|---|---|
| `key` | which of the keys asked for (`keys_from`, `any_of`) the mail has; several with a blank between them |
| `mail` | names the mail within this report: rows of one mail share it |
| `message_id`, `subject`, `size` | of the mail; the subject where a host logs it, bytes as its first host counted |
| `sender` | the envelope sender; empty for the null sender of bounces |
| `recipient`, `original_recipient` | where this copy ended, and the address it was first accepted for |
| `outcome`, `reason`, `dsn` | what became of it, the last reply or error, and its enhanced status code |
| `first`, `last` | when the mail was first seen, and the last event of this copy (corrected; RFC 3339) |
| `seconds` | from the first own acceptance to the final event |
| `attempts` | delivery attempts of the last hop |
| `hops`, `path` | how many hops, and which: `host:queue ID`, with ` > ` between them (in NDJSON a list of objects) |
| `relay` | who had the last word: the host that took or refused it |
| `client`, `client_ip`, `sasl_user` | who handed the mail in, where it came in |
| `certainty` | of the weakest link on the path |

What is not known is empty in CSV and null in NDJSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mailtrace.model import Delivery, Mail, Peer, Recipient, Step
from mailtrace.report import Report

COLUMNS = (
    "key",
    "mail",
    "message_id",
    "sender",
    "recipient",
    "original_recipient",
    "outcome",
    "reason",
    "dsn",
    "first",
    "last",
    "seconds",
    "attempts",
    "hops",
    "path",
    "relay",
    "client",
    "client_ip",
    "sasl_user",
    "size",
    "subject",
    "certainty",
)


def rows(report: Report) -> Iterator[dict[str, Any]]:
    """The rows of a report, a mail at a time; none is kept.

    `first` and `last` are UTC seconds, `path` is a list of steps; what is not known is None.
    """
    by_mail: dict[str, list[str]] = {}
    for key, mails in report.keys.items():
        for mail_id in mails:
            by_mail.setdefault(mail_id, []).append(key)
    for mail in report.mails:
        yield from _rows(mail, " ".join(by_mail.get(mail.id, ())))


def _rows(mail: Mail, key: str) -> Iterator[dict[str, Any]]:
    last: dict[tuple[str, str], Delivery] = {}
    ends = {row.path[-1].hop for row in mail.recipients if row.path}
    hops = {hop.id: hop for hop in mail.hops}
    for end in ends & hops.keys():
        for one in hops[end].deliveries:
            known = last.get((end, one.recipient.lower()))
            if known is None or one.time >= known.time:
                last[(end, one.recipient.lower())] = one
    entry = mail.hops[0] if mail.hops else None
    for row in mail.recipients:
        end = row.path[-1].hop if row.path else ""
        word = last.get((end, row.recipient.lower())) or last.get((end, row.recipient.partition("@")[0].lower()))
        ended = word.time if word else hops[end].last if end in hops else None
        yield {
            "key": key or None,
            "mail": mail.id,
            "message_id": mail.message_id or None,
            "sender": mail.sender,
            "recipient": row.recipient,
            "original_recipient": row.original_recipient or None,
            "outcome": row.outcome,
            "reason": row.reason or None,
            "dsn": (word.dsn or None) if word else None,
            "first": mail.first,
            "last": ended,
            "seconds": _seconds(row),
            "attempts": row.attempts,
            "hops": len(row.path),
            "path": list(row.path),
            "relay": _peer(word.relay) if word else None,
            "client": (entry.client.name or None) if entry else None,
            "client_ip": (entry.client.ip or None) if entry else None,
            "sasl_user": (entry.user or None) if entry and not entry.local else None,
            "size": mail.size,
            "subject": mail.subject,
            "certainty": row.certainty.value,
        }


def _seconds(row: Recipient) -> float | None:
    return None if row.seconds is None else max(0.0, round(row.seconds, 6))


def _peer(peer: Peer) -> str | None:
    """A relay as one text: its name, else its address."""
    return peer.name or peer.ip or None


def way(steps: list[Step]) -> str:
    """A path as one text: `mx1:4bcXyz > filter1:8DCB2`."""
    return " > ".join(f"{step.host}:{step.queue_id}" for step in steps)
