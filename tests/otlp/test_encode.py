"""Spans on the wire: what opentelemetry-proto reads is what was written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2
from receiver import host_of, spans_in

from mailtrace.otlp.encode import LIMIT, Request, encode, split
from mailtrace.otlp.record import Event, Span, SpanLink

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue

TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=300)
VALUE = TEXT | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.booleans() | st.lists(TEXT).map(tuple)
ATTRIBUTES = st.dictionaries(st.text("abc.", max_size=5), VALUE, max_size=4).map(lambda found: tuple(found.items()))
TIME = st.integers(0, 2**64 - 1)
SPANS = st.builds(
    Span,
    trace_id=st.binary(min_size=16, max_size=16),
    span_id=st.binary(min_size=8, max_size=8),
    parent_id=st.just(b"") | st.binary(min_size=8, max_size=8),
    host=st.sampled_from(["mx1", "mx2", "höst"]),
    name=TEXT,
    kind=st.integers(1, 5),
    start=TIME,
    end=TIME,
    attributes=ATTRIBUTES,
    common=ATTRIBUTES,
    events=st.lists(st.builds(Event, TEXT, TIME, ATTRIBUTES), max_size=2).map(tuple),
    links=st.lists(
        st.builds(SpanLink, st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8), ATTRIBUTES),
        max_size=2,
    ).map(tuple),
    error=TEXT,
    far=st.booleans(),
    settles=st.just(0.0),
    covers=st.just(()),
)


def value(found: AnyValue) -> Any:
    kind = found.WhichOneof("value")
    if kind == "array_value":
        return tuple(value(item) for item in found.array_value.values)
    return getattr(found, str(kind))


def attributes(found: Any) -> tuple[tuple[str, Any], ...]:
    return tuple((item.key, value(item.value)) for item in found)


def read(found: trace_pb2.Span, host: str) -> Span:
    error = found.status.code == trace_pb2.Status.STATUS_CODE_ERROR
    return Span(
        found.trace_id,
        found.span_id,
        found.parent_span_id,
        host,
        found.name,
        found.kind,
        found.start_time_unix_nano,
        found.end_time_unix_nano,
        attributes(found.attributes),
        (),
        tuple(Event(e.name, e.time_unix_nano, attributes(e.attributes)) for e in found.events),
        tuple(SpanLink(k.trace_id, k.span_id, attributes(k.attributes)) for k in found.links),
        found.status.message if error else "",
        bool(found.flags & 0x200),
    )


def requests(*spans: Span, limit: int = LIMIT) -> list[ExportTraceServiceRequest]:
    return [ExportTraceServiceRequest.FromString(request.body) for request in encode(spans, limit)]


def span(number: int, host: str = "mx1", text: str = "") -> Span:
    id_ = number.to_bytes(8, "big")
    return Span(id_ * 2, id_, b"", host, "queue wait", 1, number, number + 1, (("a", text),))


@given(st.lists(SPANS, max_size=4))
def test_everything_that_is_written_is_read(spans: list[Span]) -> None:
    got = [
        read(each, host_of(group.resource))
        for request in requests(*spans)
        for group in request.resource_spans
        for scope in group.scope_spans
        for each in scope.spans
    ]
    wanted = [each._replace(attributes=each.attributes + each.common, common=()) for each in spans]
    assert sorted(got, key=repr) == sorted(wanted, key=repr)


@given(st.lists(SPANS, min_size=1, max_size=4))
def test_nothing_unknown_is_written(spans: list[Span]) -> None:
    for request in requests(*spans):
        assert ExportTraceServiceRequest.FromString(request.SerializeToString()) == request
        whole = request.SerializeToString()
        request.DiscardUnknownFields()
        assert request.SerializeToString() == whole


def test_a_resource_is_a_host_and_a_scope_is_mailtrace_in_every_version() -> None:
    (request,) = requests(span(1))
    group = request.resource_spans[0]
    assert attributes(group.resource.attributes) == (
        ("service.name", "mx1"),
        ("service.namespace", "mail"),
        ("host.name", "mx1"),
    )
    assert (group.scope_spans[0].scope.name, group.scope_spans[0].scope.version) == ("mailtrace", "")


def test_every_span_is_sampled_and_tells_whether_its_parent_is_remote() -> None:
    (request,) = requests(span(1), span(2)._replace(far=True))
    assert [each.flags for each in spans_in(request)] == [0x101, 0x301]


def test_spans_of_one_host_are_one_group() -> None:
    (request,) = requests(span(1), span(2, "mx2"), span(3))
    assert [host_of(group.resource) for group in request.resource_spans] == ["mx1", "mx2"]


def test_a_request_stays_within_its_limit_and_none_is_lost() -> None:
    spans = [span(n, f"mx{n % 7}", "x" * (n % 500)) for n in range(1, 3000)]
    made = list(encode(spans, 20_000))
    assert max(len(request.body) for request in made) <= 20_000
    assert min(len(request.body) for request in made[:-1]) > 18_000
    got = [each for request in made for each in spans_in(ExportTraceServiceRequest.FromString(request.body))]
    assert sorted(each.span_id for each in got) == [each.span_id for each in spans]
    assert sum(request.spans for request in made) == len(spans)


def test_a_span_above_the_limit_is_a_request_of_its_own() -> None:
    made = list(encode([span(1), span(2, text="x" * 5000), span(3)], 1000))
    assert [request.spans for request in made] == [1, 1, 1]


def test_no_spans_are_no_request() -> None:
    assert list(encode([])) == []


def test_the_same_spans_are_the_same_bytes() -> None:
    spans = [span(n, f"mx{n % 3}") for n in range(100)]
    assert list(encode(spans)) == list(encode(spans))


def test_half_surrogates_become_text() -> None:
    (request,) = requests(span(1, text="a\ud800b"))
    assert attributes(spans_in(request)[0].attributes) == (("a", "a?b"),)


def test_a_request_is_halved_down_to_one_span() -> None:
    spans = [span(n, f"mx{n % 3}") for n in range(1, 12)]
    (whole,) = encode(spans)
    waiting, ones = [whole], []
    while waiting:
        request = waiting.pop()
        halves = split(request.body)
        if len(halves) == 1:
            assert halves == [request]
            ones.append(request)
        else:
            assert sum(half.spans for half in halves) == request.spans
            waiting += halves
    assert {spans_in(ExportTraceServiceRequest.FromString(one.body))[0].span_id for one in ones} == {
        each.span_id for each in spans
    }
    assert all(isinstance(one, Request) and one.spans == 1 for one in ones)
