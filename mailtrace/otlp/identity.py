"""The IDs of traces and spans: computed from the log alone, so that they are the same in every run.

Whoever reads a line can say which trace and which span it belongs to, whatever came before it, comes after it or never
comes: a mail's hops join in the back end though they are read an hour apart, by another process, or by two mailtraces.

Hn(a, b, ...) is BLAKE2b with a digest of n bits over the parts in UTF-8, joined by NUL; an ID of zeros only, which
OpenTelemetry forbids, becomes 1.

    trace       H128(Message-ID)                         as logged, without <> and white space
                H128(host, queue ID, second)             of the first hop, where no hop has a Message-ID
                H128("refused", the mail's id)           a mail refused at the door, which never had a queue ID
    hop         H64(trace, host, queue ID)               one message in one queue, told by its reception
                H64(trace, host, queue ID, second)       a queue ID that comes again within one trace
    hand-off    H64(trace, "handoff", next queue ID)     the SMTP transaction or local forward that made the next hop
    attempt     H64(trace, host, queue ID, recipients, raw stamp)    any other; recipients sorted, joined by a blank
    parts       H384(trace, "parts", span)               64 bits each, of a reception or an attempt: the wait in the
                                                         queue after it, that wait's before_qmgr and in_qmgr, the
                                                         attempt's conn_setup and transmission (Postfix' `delays=`),
                                                         the queue's giving up what that reception brought
    action      H64(trace, what NUL raw stamp, span)     what was done to what that reception brought
    again       H64(trace, "again", attempt)             an attempt for one recipient twice in one second

`trace` is the 32 and `span` the 16 hexadecimal digits of that ID, `host` the inventory's name, `second` the raw stamp
of the hop's first line up to its seconds, `raw stamp` as the line has it. The sender reads the next queue ID in the
reply, the receiver knows it as its own: neither needs a line of the other to name the hand-off between them. A shell
tells a mail's trace too:

    printf %s 'abc@example.com' | b2sum -l 128
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b

_SECOND = re.compile(r".*?\d:\d\d:\d\d")


def trace_id(message_id: str) -> bytes:
    """The trace of all mails with this Message-ID (with or without <>): 16 bytes."""
    return _digest("".join(message_id.split()).removeprefix("<").removesuffix(">"), 16)


def nameless_trace_id(host: str, queue_id: str, raw_stamp: str) -> bytes:
    """The trace of a mail without a Message-ID, from its first hop: 16 bytes."""
    return _digest(f"{host}\0{queue_id}\0{second(raw_stamp)}", 16)


def refused_trace_id(mail: str) -> bytes:
    """The trace of a mail that was refused at the door, from the report's id of it: 16 bytes."""
    return _digest(f"refused\0{mail}", 16)


def hop_id(trace: bytes, host: str, queue_id: str, again: str = "") -> bytes:
    """The reception of a message by one queue: 8 bytes; `again` tells a reused queue ID's lifecycles apart."""
    tail = f"\0{again}" if again else ""
    return _digest(f"{trace.hex()}\0{host}\0{queue_id}{tail}", 8)


def handoff_id(trace: bytes, next_queue_id: str) -> bytes:
    """What made the next hop, named by that hop's queue ID: 8 bytes."""
    return _digest(f"{trace.hex()}\0handoff\0{next_queue_id}", 8)


def attempt_id(trace: bytes, host: str, queue_id: str, recipients: Iterable[str], raw_stamp: str) -> bytes:
    """Any other attempt of a hop to pass the message on: 8 bytes."""
    return _digest(f"{trace.hex()}\0{host}\0{queue_id}\0{' '.join(sorted(recipients))}\0{raw_stamp}", 8)


def parts_of(trace: bytes, span: bytes) -> bytes:
    """The IDs of what belongs to a span: 8 bytes at each of WAIT and so on. One digest, since most spans have some."""
    return blake2b(f"{trace.hex()}\0parts\0{span.hex()}".encode("ascii"), digest_size=48).digest()


WAIT, BEFORE_QMGR, IN_QMGR, CONN_SETUP, TRANSMISSION, EXPIRY = (slice(8 * n, 8 * n + 8) for n in range(6))


def part_id(trace: bytes, part: str, span: bytes) -> bytes:
    """Anything else that belongs to a span: 8 bytes."""
    return _digest(f"{trace.hex()}\0{part}\0{span.hex()}", 8)


def second(raw_stamp: str) -> str:
    """A stamp up to its seconds: what all lines of that second share."""
    found = _SECOND.match(raw_stamp)
    return found[0] if found else raw_stamp


def _digest(text: str, size: int) -> bytes:
    found = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()
    return found if found not in _ZEROS else found[:-1] + b"\1"


_ZEROS = (bytes(8), bytes(16))
