"""Spans to the bodies of OTLP requests: `ExportTraceServiceRequest` of opentelemetry-proto 1.x, on the wire.

The bytes are put together here and not by protobuf's messages, since Python makes those five times slower than a log is
read; a test reads every field back with opentelemetry-proto. Field numbers are those of `trace.proto` and
`common.proto`, which their stability guarantee fixes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from struct import Struct, calcsize
from typing import NamedTuple

from mailtrace.otlp.record import Attributes, Span, Value

LIMIT = 3 * 1024 * 1024
"""Bytes of one request, unpacked: collectors take 4 MiB unless they are told otherwise."""


class Request(NamedTuple):
    """The serialized body of one request, and how many spans are in it."""

    body: bytes
    spans: int


def encode(spans: Iterable[Span], limit: int = LIMIT) -> Iterator[Request]:
    """The spans as requests of at most `limit` bytes, grouped by host, in the order given.

    A request has at least one span, however large that is. The same spans in the same order give the same bytes.
    """
    write = Writer().span
    groups: dict[str, list[bytes]] = {}
    size = count = 0
    for span in spans:
        body = write(span)
        group = groups.get(span.host)
        more = len(body)
        if group is None:
            more += len(_resource(span.host)) + _ENVELOPE
        if count and size + more > limit:
            yield Request(_request(groups), count)
            groups, group = {}, None
            size = count = 0
            more = len(body) + len(_resource(span.host)) + _ENVELOPE
        if group is None:
            group = groups[span.host] = []
        group.append(body)
        size += more
        count += 1
    if count:
        yield Request(_request(groups), count)


def split(body: bytes) -> list[Request]:
    """The two halves of a request; of a request of one span, that request alone."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    whole = ExportTraceServiceRequest.FromString(body)
    total = sum(len(scope.spans) for group in whole.resource_spans for scope in group.scope_spans)
    if total <= 1:
        return [Request(body, total)]
    out = []
    for first, last in ((0, total // 2), (total // 2, total)):
        half = ExportTraceServiceRequest()
        at = 0
        for group in whole.resource_spans:
            for scope in group.scope_spans:
                kept = scope.spans[max(first - at, 0) : max(last - at, 0)]
                at += len(scope.spans)
                if kept:
                    part = half.resource_spans.add(resource=group.resource)
                    part.scope_spans.add(scope=scope.scope).spans.extend(kept)
        out.append(Request(half.SerializeToString(deterministic=True), last - first))
    return out


# ------------------------------------------------------------------------------------------------ the wire

_ENVELOPE = 64
"""Bytes that a host's group needs at most besides its resource and its spans."""


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_NUMBERS = tuple(_varint(n) for n in range(1 << 14))
"""The varints of most lengths and sizes."""


def _number(number: int) -> bytes:
    return _NUMBERS[number] if number < 1 << 14 else _varint(number)


def _field(number: int, data: bytes) -> bytes:
    """A field with a length: text, bytes, or a message."""
    return _varint(number << 3 | 2) + _number(len(data)) + data


def _text(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _any(value: Value) -> bytes:
    """An `AnyValue`."""
    kind = type(value)
    if kind is tuple:
        texts = [_text(item) for item in value]  # type: ignore[union-attr]
        return b"\x2a" + _sized(b"".join([b"\x0a" + _head(len(text)) + text for text in texts]))
    if kind is float:
        return _DOUBLE(0x21, value)
    if kind is int:
        return b"\x18" + _number(value & 0xFFFFFFFFFFFFFFFF)  # type: ignore[operator]
    if kind is bool:
        return b"\x10\x01" if value else b"\x10\x00"
    return b"\x0a" + _sized(_text(value))  # type: ignore[arg-type]


def _head(length: int) -> bytes:
    return _HEADS[length] if length < _SHORT else _number(1 + len(_number(length)) + length) + b"\x0a" + _number(length)


def _pair(key: str, value: Value) -> bytes:
    """A `KeyValue`."""
    return _field(1, _text(key)) + _field(2, _any(value))


def _sized(data: bytes) -> bytes:
    """What follows the tag of a field with a length."""
    return _number(len(data)) + data


def _resource(host: str) -> bytes:
    """A host's `Resource`, as the field of `ResourceSpans`."""
    found = _resources.get(host)
    if found is None:
        told = {"service.name": host, "service.namespace": "mail", "host.name": host}
        found = _field(1, b"".join(_field(1, _pair(key, value)) for key, value in told.items()))
        if len(_resources) > _MOST:  # names out of log lines have no end
            _resources.clear()
        _resources[host] = found
    return found


_resources: dict[str, bytes] = {}
_SCOPE = _field(1, _field(1, b"mailtrace"))  # no version: what is sent again after an upgrade is to be the same


def _request(groups: dict[str, list[bytes]]) -> bytes:
    return b"".join(
        _field(1, _resource(host) + _field(2, b"".join((_SCOPE, *spans)))) for host, spans in groups.items()
    )


_MOST = 20_000
"""Sets of common attributes whose bytes are kept."""


class Writer:
    """Writes spans, and remembers the bytes of what comes again."""

    def __init__(self) -> None:
        """Nothing is remembered yet."""
        self._common: dict[int, tuple[Attributes, bytes]] = {}
        self._keys: dict[str, bytes] = {}
        self._heads: dict[bytes, dict[str, dict[int, bytes]]] = {b"\x1a": {}, b"\x22": {}, b"\x4a": {}}
        self._names: dict[str, bytes] = {}
        self._bare: dict[tuple[str, int], tuple[Callable[..., bytes], bytes, bytes]] = {}

    def span(self, span: Span) -> bytes:
        """A span as the field of `ScopeSpans`."""
        trace, id_, parent, _host, name, kind, start, end, own, common, events, links, error, far, _settles, _c = span
        if parent and not (own or common or events or links or error or far):  # most spans tell of time alone
            pack, head, called = self._bare.get((name, kind)) or self._template(name, kind)
            return pack(head, trace, b"\x12\x08", id_, b"\x22\x08", parent, called, 0x39, start, 0x41, end, _NEAR)
        parts = [b"\x0a\x10", trace, b"\x12\x08", id_]
        if parent:
            parts += (b"\x22\x08", parent)
        parts += (self._name(b"\x2a", name), _KINDS[kind], _TIMES(0x39, start, 0x41, end))
        if own:
            self._attributes(b"\x4a", own, parts)
        if common:
            parts.append(self._shared(common))
        for event in events:
            what, time, more = event
            called = self._name(b"\x12", what)
            if not more:
                parts += (b"\x5a", _NUMBERS[9 + len(called)], _TIME(0x09, time), called)
                continue
            inner = [_TIME(0x09, time), called]
            self._attributes(b"\x1a", more, inner)
            parts += (b"\x5a", _number(sum(map(len, inner))), *inner)
        for link in links:
            inner = [b"\x0a\x10", link.trace_id, b"\x12\x08", link.span_id]
            self._attributes(b"\x22", link.attributes, inner)
            inner.append(b"\x35\x01\x00\x00\x00")
            parts += (b"\x6a", _number(sum(map(len, inner))), *inner)
        if error:
            parts.append(_field(15, _field(2, _text(error)) + b"\x18\x02"))
        parts.append(_FAR if far else _NEAR)
        body = b"".join(parts)
        return b"\x12" + _number(len(body)) + body

    def _template(self, name: str, kind: int) -> tuple[Callable[..., bytes], bytes, bytes]:
        """What a span without attributes has in common with others of its name: how it is packed, its ends."""
        called = self._name(b"\x2a", name) + _KINDS[kind]
        fields = f"16s2s8s2s8s{len(called)}sBQBQ{len(_NEAR)}s"
        head = b"\x12" + _number(2 + calcsize(f"<{fields}")) + b"\x0a\x10"
        found = self._bare[name, kind] = Struct(f"<{len(head)}s{fields}").pack, head, called
        return found

    def _name(self, tag: bytes, name: str) -> bytes:
        known = self._names.get(name)
        if known is None:
            known = self._names[name] = _sized(_text(name))
        return tag + known

    def _shared(self, common: Attributes) -> bytes:
        known = self._common.get(id(common))
        if known is None or known[0] is not common:
            if len(self._common) > _MOST:
                self._common.clear()
            parts: list[bytes] = []
            self._attributes(b"\x4a", common, parts)
            known = self._common[id(common)] = common, b"".join(parts)
        return known[1]

    def _attributes(self, tag: bytes, attributes: Attributes, parts: list[bytes]) -> None:
        heads = self._heads[tag]
        for key, value in attributes:
            if type(value) is str and len(data := value.encode("utf-8", "replace")) < _SHORT:
                try:
                    head = heads[key][len(data)]
                except KeyError:
                    head = self._head(tag, key, len(data))
                parts += (head, data)
            else:
                parts += (tag, _sized(self._key(key) + _sized(_any(value))))

    def _head(self, tag: bytes, key: str, length: int) -> bytes:
        """What stands before a text of so many bytes that is an attribute."""
        name, head = self._key(key), _HEADS[length]
        whole = tag + _NUMBERS[len(name) + len(head) + length] + name + head
        self._heads[tag].setdefault(key, {})[length] = whole
        return whole

    def _key(self, key: str) -> bytes:
        name = self._keys.get(key)
        if name is None:
            name = self._keys[key] = _field(1, _text(key)) + b"\x12"
        return name


_SHORT = 2048
_HEADS = tuple(_number(1 + len(_number(n)) + n) + b"\x0a" + _number(n) for n in range(_SHORT))
"""What stands before a text of n bytes: the length of its `AnyValue`, and its own."""
_KINDS = tuple(b"\x30" + _varint(kind) for kind in range(6))
_DOUBLE = Struct("<Bd").pack
_TIME, _TIMES = Struct("<BQ").pack, Struct("<BQBQ").pack
_NEAR, _FAR = b"\x85\x01\x01\x01\x00\x00", b"\x85\x01\x01\x03\x00\x00"
"""`flags`: sampled, and it is known whether the parent is remote; it is."""
