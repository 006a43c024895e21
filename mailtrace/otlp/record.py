"""What a span is before it is bytes: plain frozen records, the words of OpenTelemetry's data model."""

from __future__ import annotations

from typing import NamedTuple

INTERNAL, SERVER, CLIENT, PRODUCER = 1, 2, 3, 4
"""Kinds of spans, numbered as OTLP numbers them."""

Value = str | int | float | bool | tuple[str, ...]
Attributes = tuple[tuple[str, Value], ...]


class Event(NamedTuple):
    """Something that happened at one moment of a span (nanoseconds since the epoch)."""

    name: str
    time: int
    attributes: Attributes = ()


class SpanLink(NamedTuple):
    """A span of this or another trace that has to do with this one without being its parent."""

    trace_id: bytes
    span_id: bytes
    attributes: Attributes = ()


class Span(NamedTuple):
    """One span, with nothing left to find out. Times are nanoseconds since the epoch, `end` always after `start`.

    `parent_id` is b"" for a root, and `far` tells that the parent is another host's span. `host` is the resource.
    `attributes` are its own, `common` those that it shares with others of its kind, as one object.
    `error` is the description of status ERROR; "" means that the status is unset.
    `settles` (seconds since the epoch, corrected like all times) is the moment on the host's own log after which no
    further line changes the span. `covers` are the keys of the log lines in it, where they were asked for.
    """

    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    host: str
    name: str
    kind: int
    start: int
    end: int
    attributes: Attributes = ()
    common: Attributes = ()
    events: tuple[Event, ...] = ()
    links: tuple[SpanLink, ...] = ()
    error: str = ""
    far: bool = False
    settles: float = 0.0
    covers: tuple[bytes, ...] = ()

    @property
    def facts(self) -> dict[str, Value]:
        """All attributes."""
        return dict(self.attributes + self.common)

    @property
    def keys(self) -> tuple[bytes, ...]:
        """What has been sent once this span has: remember `{key: span.span_id for key in span.keys}`."""
        return (self.span_id, *self.covers)
