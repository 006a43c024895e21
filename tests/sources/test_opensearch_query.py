"""A query to OpenSearch is a superset of what was asked, within the server's limits, and user data stays data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtrace.model import LogQuery
from mailtrace.sources.opensearch_fields import Field, Fields
from mailtrace.sources.opensearch_query import MOST_CLAUSES, bodies, fragments_of, in_time, sort_of, unsearchable

EVERYTHING: dict[str, Any] = {"bool": {"filter": []}}


def fields(*message: str, time: str = "date") -> Fields:
    """An index whose messages are of these types."""
    found = tuple(Field(f"m{number}", frozenset({kind})) for number, kind in enumerate(message or ("text",)))
    return Fields((Field("@timestamp", frozenset({time})),), (), (), (), found)


def leaves(clause: Any) -> Iterator[tuple[str, Any]]:
    """Every condition that is not a combination of others."""
    if isinstance(clause, list):
        for each in clause:
            yield from leaves(each)
    elif "bool" in clause:
        for name, inner in clause["bool"].items():
            if name != "minimum_should_match":
                yield from leaves(inner)
    else:
        yield from clause.items()


def test_an_empty_query_is_every_line() -> None:
    assert bodies(LogQuery(), fields()) == [EVERYTHING]


def test_a_window_is_in_milliseconds_and_says_so() -> None:
    body = in_time(EVERYTHING, fields().timestamp, 1.0005, 2.0)
    assert list(leaves(body)) == [("range", {"@timestamp": {"gte": 1000, "lte": 2000, "format": "epoch_millis"}})]


def test_five_thousand_ids_are_one_query_in_lower_case() -> None:
    wanted = tuple(f"{number:010X}" for number in range(5000))
    (body,) = bodies(LogQuery(any_of=wanted, whole=True), fields())
    ((kind, asked),) = leaves(body)
    assert kind == "terms"
    assert sorted(asked["m0"]) == sorted(each.lower() for each in wanted)


@pytest.mark.parametrize("count", [1, MOST_CLAUSES, MOST_CLAUSES + 1, 3000])
def test_many_message_ids_are_divided_and_none_is_lost(count: int) -> None:
    wanted = tuple(f"x{number}@example.com" for number in range(count))
    several = bodies(LogQuery(any_of=wanted, whole=True), fields())
    found = [list(leaves(body)) for body in several]
    assert all(len(group) <= MOST_CLAUSES for group in found)
    assert sorted(asked["m0"] for group in found for _, asked in group) == sorted(wanted)


def test_what_a_person_typed_is_found_inside_of_words() -> None:
    (body,) = bodies(LogQuery(all_of=("ice@Exam",)), fields())
    assert [asked["m0"]["value"] for _, asked in leaves(body)] == ["*exam*", "*ice*"]


def test_more_ids_than_patterns_are_cheap_are_looked_for_here() -> None:
    wanted = tuple(f"{number:010X}" for number in range(100))
    assert bodies(LogQuery(any_of=wanted, whole=True), fields("keyword")) == [EVERYTHING]


def test_lines_that_are_too_long_for_a_keyword_are_read_all_the_same() -> None:
    (body,) = bodies(LogQuery(any_of=("ABC123",), whole=True), fields("keyword"))
    assert ("exists", {"field": "m0"}) in list(leaves(body))
    assert unsearchable(fields("text")) is None


def test_a_literal_without_letters_is_looked_for_here() -> None:
    assert bodies(LogQuery(all_of=("<>",)), fields()) == [EVERYTHING]
    assert bodies(LogQuery(any_of=("<>", "ABC123"), whole=True), fields()) == [EVERYTHING]


def test_times_of_two_kinds_are_sorted_as_nanoseconds() -> None:
    (order,) = sort_of(fields(time="date_nanos").timestamp)
    assert order["@timestamp"]["numeric_type"] == "date_nanos"


def test_the_next_page_begins_where_the_last_one_ended() -> None:
    body = in_time(EVERYTHING, fields().timestamp, 1.0, 2.0, low=1500)
    assert list(leaves(body)) == [("range", {"@timestamp": {"gte": 1500, "lte": 2000, "format": "epoch_millis"}})]


def test_a_document_with_two_times_is_read_by_the_first() -> None:
    first, second = (Field(name, frozenset({"date"})) for name in ("@timestamp", "timestamp"))
    body = in_time(EVERYTHING, (second,), None, None, before=(first,))
    assert body == {
        "bool": {
            "filter": [{"exists": {"field": "timestamp"}}],
            "must_not": [{"exists": {"field": "@timestamp"}}],
        }
    }


def test_an_identifier_is_looked_up_by_its_words_only_where_they_are_known() -> None:
    odd = fields("text").message[0]._replace(in_words=False)
    index = Fields(fields().timestamp, (), (), (), (odd,))
    (body,) = bodies(LogQuery(any_of=("ABC123", "a@b.example"), whole=True), index)
    assert {name for name, _ in leaves(body)} == {"wildcard"}


@given(st.text(max_size=300))
def test_every_fragment_is_a_part_of_the_literal(literal: str) -> None:
    assert all(fragment in literal.lower() for fragment in fragments_of(literal))


@given(st.text(max_size=300), st.sampled_from(["text", "keyword"]), st.booleans())
def test_no_syntax_but_terms_phrases_and_patterns_carries_user_data(literal: str, kind: str, typed: bool) -> None:
    for body in bodies(LogQuery(any_of=(literal, "x"), whole=not typed), fields(kind)):
        assert {name for name, _ in leaves(body)} <= {"terms", "match_phrase", "wildcard", "exists", "match_all"}
        for name, asked in leaves(body):
            if name == "wildcard":
                inner = asked["m0"]["value"][1:-1].replace("\\\\", "").replace("\\*", "").replace("\\?", "")
                assert not set(inner) & {"*", "?"}
        json.dumps(body)
