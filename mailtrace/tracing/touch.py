"""What log entries have in common: the keys by which lines of one mail find each other, whoever comes first.

The keys are those that `assemble` links by: queue IDs (a hop's own, the one in an SMTP reply, a notification, a
parent, a filter's line), Message-IDs, the session of a mailbox server, and for what has no ID yet, the SMTP session.
Where a message has no Message-ID and the reply to it names no queue ID either, what is left is its envelope, which
several lines tell together (`envelopes`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

from mailtrace.assemble.evidence import MOMENT, QUEUE_REPLIES, bare, plain_id
from mailtrace.handoff import reply_id
from mailtrace.hosts import address
from mailtrace.ids import generated
from mailtrace.model import Accepted, Attempt, Check, Filtered, LogEntry, MessageId, Notified, Proxied, Queued, Stored

SESSION = 3
"""Seconds after a refusal in which what the same process takes from the same client may be the same transaction."""


def is_soft(key: int) -> bool:
    """Whether a key is a Message-ID's or an envelope's, which any number of mails may share."""
    return bool(key & 1)


class Keys(NamedTuple):
    """The keys that an entry has, its own queue ID's first, and those that it only looks for.

    `bare` is the key of a message that came without a Message-ID, where the entry may tell of one.
    """

    own: list[int]
    looks: list[int]
    bare: int = 0


def keys_of(entry: LogEntry) -> Keys:
    """The keys of an entry; none for what concerns no mail."""
    queue_id = entry.queue_id
    named = _NAMED.get(type(entry.event))
    if named is None:  # nearly half of all lines
        return Keys([_key("queue", queue_id)] if queue_id else [], [])
    found = Found([queue_id] if queue_id else [], [], [])
    named(entry, entry.event, found)
    own = [_key("queue", queue_id) for queue_id in found.ids if queue_id] + found.keys
    if found.message_id:
        own.append(_key("message", plain_id(found.message_id)) | 1)
    mark = 0
    if found.envelope:
        mark = _key("bare", f"{entry.host}\0{entry.queue_id}")
        (own if is_bare(entry) else found.looks).append(mark)
    return Keys(own, found.looks, mark)


def is_bare(entry: LogEntry) -> bool:
    """Whether an entry tells of a message that came without a Message-ID: it has none, or one made on this host."""
    event = entry.event
    if isinstance(event, MessageId):
        message_id: str | None = event.message_id
    elif isinstance(event, Accepted) and event.protocol:  # Exim's line names it, where there is one
        message_id = event.message_id
    else:
        return False
    if not message_id:
        return True
    made = generated(message_id)
    return made is not None and made.queue_id == entry.queue_id


def envelopes(entries: Iterable[LogEntry], ahead: Callable[[str], float]) -> Keys:
    """The keys by which the two ends of a hand-off find each other where neither Message-ID nor reply names the mail.

    `entries` are a group's; of them those messages count that came without a Message-ID. An end has keys of its sender,
    a recipient and the minute, and looks for the other end's in that minute and in those beside it. `ahead` tells how
    far a host's clock is ahead, in seconds.
    """
    lines: dict[tuple[str, str], list[LogEntry]] = {}
    came: set[tuple[str, str]] = set()
    for entry in entries:
        message = (entry.host, entry.queue_id)
        if entry.queue_id:
            lines.setdefault(message, []).append(entry)
            if is_bare(entry):
                came.add(message)
    keys = Keys([], [])
    for host, queue_id in sorted(came):
        _ends(lines[host, queue_id], ahead(host), keys)
    return keys


def _ends(lines: list[LogEntry], ahead: float, keys: Keys) -> None:
    """Add the keys of one message: of how it came, and of how it was passed on without a queue ID in the reply."""
    events = [entry.event for entry in lines]
    tries = [(entry.time - ahead, event) for entry in lines if isinstance(event := entry.event, Attempt)]
    entry = next((event for event in events if isinstance(event, Accepted)), None)
    senders = [event.sender for event in events if isinstance(event, Queued | Accepted) and event.sender is not None]
    if not senders:
        return
    sender = bare(senders[0])
    if entry is not None and not entry.local:
        first = min(line.time for line in lines) - ahead
        for recipient in entry.recipients or {attempt.original or attempt.recipient for _time, attempt in tries}:
            _end("taken", "given", sender, recipient, first, keys)
    for time, attempt in tries:
        reply = reply_id(attempt.reply) if attempt.reply else None
        if attempt.status == "sent" and not attempt.local and (reply is None or reply.kind not in QUEUE_REPLIES):
            _end("given", "taken", sender, attempt.recipient, time, keys)


def _end(mine: str, other: str, sender: str, recipient: str, time: float, keys: Keys) -> None:
    minute = int(time // MOMENT)
    whom = f"{sender}\0{recipient.lower()}"
    keys.own.append(_key(mine, f"{whom}\0{minute}") | 1)
    keys.looks.extend(_key(other, f"{whom}\0{at}") | 1 for at in (minute - 1, minute, minute + 1))


@dataclass(slots=True)
class Found:
    """What an entry names: queue IDs, a Message-ID, keys of other kinds, and keys that it only looks for.

    `envelope`: it tells of how a message came or went on.
    """

    ids: list[str]
    keys: list[int]
    looks: list[int]
    message_id: str | None = None
    envelope: bool = False


def _attempt(_entry: LogEntry, event: Attempt, found: Found) -> None:
    found.envelope = True
    reply = reply_id(event.reply) if event.status == "sent" and event.reply else None
    if reply is not None and reply.id:
        if reply.kind in QUEUE_REPLIES or reply.kind == "forwarded":
            found.ids.append(reply.id)
        elif reply.kind == "dovecot":
            found.keys.append(_key("session", reply.id))


def _message_id(entry: LogEntry, event: MessageId, found: Found) -> None:
    found.envelope = is_bare(entry)
    found.message_id = event.message_id


def _accepted(entry: LogEntry, event: Accepted, found: Found) -> None:
    found.envelope = is_bare(entry)
    found.message_id = event.message_id
    found.ids.append(event.parent)
    if event.client.ip:
        found.looks += _at_the_door(entry, event.client.ip, SESSION)


def _notified(_entry: LogEntry, event: Notified, found: Found) -> None:
    found.ids.append(event.child)


def _filtered(_entry: LogEntry, event: Filtered, found: Found) -> None:
    found.ids += [event.queue_id, *event.queued_as]
    found.message_id = event.message_id


def _stored(_entry: LogEntry, event: Stored, found: Found) -> None:
    found.message_id = event.message_id
    if event.session:
        found.keys.append(_key("session", event.session))


def _check(entry: LogEntry, event: Check, found: Found) -> None:
    if not entry.queue_id and event.recipient is not None:
        found.keys += _at_the_door(entry, event.client.ip)
        found.looks += _at_the_door(entry, event.client.ip, SESSION)[1:]


def _proxied(entry: LogEntry, event: Proxied, found: Found) -> None:
    reply = reply_id(event.reply) if event.accepted else None
    if reply is not None:
        found.ids.append(reply.id)
    found.keys += _at_the_door(entry, "")


_NAMED: dict[type[Any], Callable[[LogEntry, Any, Found], None]] = {
    Attempt: _attempt,
    MessageId: _message_id,
    Accepted: _accepted,
    Notified: _notified,
    Filtered: _filtered,
    Stored: _stored,
    Check: _check,
    Proxied: _proxied,
}


def _at_the_door(entry: LogEntry, ip: str, seconds: int = 0) -> list[int]:
    """Keys of what one process refused to one client in this second, and in some before."""
    now = int(entry.time)
    who = _key("door", f"{entry.host}\0{entry.pid}\0{address(ip)}")
    return [(who + _MOMENT * at) & _BITS for at in range(now, now - seconds - 1, -1)]


_BITS = (1 << 63) - 2
_MOMENT = 0x9E3779B97F4A7C16
"""What a second adds to a key: an even number, most of whose multiples differ in all digits."""


@lru_cache(maxsize=1 << 14)  # the lines of a mail share theirs
def _key(kind: str, text: str) -> int:
    """63 bits of a text, the last of them 0."""
    digest = blake2b(f"{kind}\0{text}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 1) & ~1
