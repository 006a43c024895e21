"""Log entries as bytes, for the state file: JSON, squeezed. What cannot be read back is an error, never code."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, NamedTuple, cast, get_args, get_type_hints

from mailtrace import model
from mailtrace.model import Event, LogEntry, Peer, Zone

KINDS: tuple[type[Any], ...] = get_args(Event)
"""Kinds of events by their number in the state file; a new one is added to the end of `model.Event`."""

_LONG = 1 << 63
"""Numbers of lines from here on (an index has such) are written as text: quick codecs take none of them."""
_NUMBERS = {kind: number for number, kind in enumerate(KINDS)}
_new = cast("Any", tuple.__new__)
_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode


class Codec(NamedTuple):
    """Rows as JSON and back; each codec reads what another wrote."""

    dumps: Callable[[Any], bytes]
    loads: Callable[[bytes], Any]


def _plain_dumps(rows: Any) -> bytes:
    return _json(rows).encode("ascii")


PLAIN = Codec(_plain_dumps, json.loads)


@cache
def quickest() -> Codec:
    """The quick codec, which leaves what it is too strict for (half characters) to the plain one, where it is there."""
    try:
        import orjson
    except ImportError:
        return PLAIN

    def dumps(rows: Any) -> bytes:
        try:
            return orjson.dumps(rows, default=tuple)
        except TypeError:
            return PLAIN.dumps(rows)

    def loads(text: bytes) -> Any:
        try:
            return orjson.loads(text)
        except ValueError:
            return PLAIN.loads(text)

    return Codec(dumps, loads)


@cache
def _squeeze() -> Callable[[bytes, int], bytes]:
    from isal import isal_zlib  # a third of zlib's time, and its format

    return isal_zlib.compress


def _shapes(kind: type[Any]) -> list[tuple[int, type[Any]]]:
    """Where in an event JSON's lists have to become something else again: a peer or a tuple."""
    hints = get_type_hints(kind, vars(model))
    out: list[tuple[int, type[Any]]] = []
    for at, name in enumerate(kind._fields):
        if hints[name] is Peer:
            out.append((at, Peer))
        elif "tuple" in str(hints[name]):
            out.append((at, tuple))
    return out


_SHAPES = [_shapes(kind) for kind in KINDS]


def pack(entries: Iterable[LogEntry]) -> bytes:
    """Entries, whose times are UTC, as bytes."""
    rows = [
        (e[0], e[1], e[3] if e[3] < _LONG else str(e[3]), *e[4:9], _NUMBERS[type(e[9])], e[9], e[11]) for e in entries
    ]
    return _squeeze()(quickest().dumps(rows), 1)


def unpack(packed: bytes) -> list[LogEntry]:
    """The entries again, equal to those that were packed (without their lines)."""
    out = []
    for host, time, seq, logged, instance, service, pid, queue_id, number, fields, raw_time in quickest().loads(
        zlib.decompress(packed)
    ):
        for at, shape in _SHAPES[number]:
            value = fields[at]
            if value is not None:
                fields[at] = Peer(*value) if shape is Peer else tuple(value)
        event = _new(KINDS[number], fields)
        at = seq if type(seq) is int else int(seq)
        entry = (host, time, Zone.UTC, at, logged, instance, service, pid, queue_id, event, "", raw_time)
        out.append(_new(LogEntry, entry))
    return out
