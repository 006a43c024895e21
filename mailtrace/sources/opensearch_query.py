"""A `LogQuery` as OpenSearch's query DSL: always a superset of what answers, which is then filtered here, exactly.

User data is only ever a value of `terms`, `match_phrase` or an escaped `wildcard`; no query-string syntax, no script.
What each kind of field finds is a matter of its type: words of `text` are asked for in lower case, and a literal that
may be a part of a word by its fragments; whole values (`keyword`, `wildcard`) by a pattern.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mailtrace.model import LogQuery
from mailtrace.sources.opensearch_fields import Field, Fields

Clause = dict[str, Any]

MOST_TERMS = 10_000
"""IDs in one query; the server takes 65,536 (`index.max_terms_count`)."""
MOST_CLAUSES = 256
"""Other literals in one query; the server takes 1,024 clauses in all."""
MOST_PATTERNS = 64
"""Patterns over whole values in one query: each looks at every value, and reading the window is cheaper than more."""
FRAGMENTS = 3
"""Fragments of a literal that are asked for: the longest ones rule out nearly everything."""
LONGEST = 120
"""Characters of a fragment or a pattern: an analyzer cuts longer words (at 255), and patterns have limits too."""

_FRAGMENT = re.compile(r"[0-9A-Za-z]+")
_ID = re.compile(r"(?=[A-Za-z]*[0-9])[0-9A-Za-z]{5,64}")
_WHOLE = re.compile(
    r"[^\s@]*[0-9A-Za-z][^\s@]*@[^\s@]*[0-9A-Za-z][^\s@]*|\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z]{6,7}-[0-9A-Za-z-]+"
)
_LATEST = 9_200_000_000  # the year 2261, where nanoseconds end


def bodies(query: LogQuery, fields: Fields, *, without: Clause | None = None) -> list[Clause]:
    """The queries that together find all lines of a `LogQuery` but for its window, usually one.

    `without` are lines not to be returned.
    """
    typed = not query.whole
    common = [_contains(literal, fields, typed=typed) for literal in query.all_of]
    groups: list[Clause | None] = list(_any_of(query.any_of, fields, typed=typed)) if query.any_of else [None]
    out = []
    for group in groups:
        inner: Clause = {"filter": [clause for clause in (*common, group) if clause]}
        if without:
            inner["must_not"] = [without]
        out.append({"bool": inner})
    return out


def in_time(
    query: Clause,
    times: Sequence[Field],
    start: float | None,
    end: float | None,
    *,
    low: float = -math.inf,
    before: Sequence[Field] = (),
) -> Clause:
    """A query within a window (UTC seconds) and from `low` on (as the index counts), by any of some fields.

    Documents that have a time field of `before` are left out.
    """
    inner = dict(query["bool"])
    if window := _window(times, start, end, low):
        inner["filter"] = [window, *inner["filter"]]
    elif before:
        inner["filter"] = [{"exists": {"field": times[0].name}}, *inner["filter"]]
    return _left_out({"bool": inner}, ({"exists": {"field": each.name}} for each in before))


def in_moment(query: Clause, field: Field, time: float, *, before: Sequence[Field], low: float) -> Clause:
    """A query within one unit of a time field, as the index counts, from a number in the shard on."""
    moment = {"gte": time, "lt": time + 1, "format": "epoch_millis"}
    inner = dict(query["bool"])
    inner["filter"] = [{"range": {field.name: moment}}, *inner["filter"]]
    if low > -math.inf:
        inner["filter"].append({"range": {"_seq_no": {"gte": low}}})
    return _left_out({"bool": inner}, ({"exists": {"field": each.name}} for each in before))


def without(query: Clause, documents: Mapping[str, Iterable[str]]) -> Clause:
    """A query without some documents: index → `_id`."""
    return _left_out(
        query,
        (
            {"bool": {"filter": [{"term": {"_index": index}}, {"ids": {"values": sorted(ids)}}]}}
            for index, ids in documents.items()
        ),
    )


def _left_out(query: Clause, clauses: Iterable[Clause]) -> Clause:
    gone = [*query["bool"].get("must_not", ()), *clauses]
    return {"bool": {**query["bool"], "must_not": gone}} if gone else query


def sort_of(times: Sequence[Field]) -> list[Clause]:
    """By time."""
    order: list[Clause] = []
    for each in times:
        how: dict[str, Any] = {"order": "asc", "unmapped_type": "date"}
        if each.in_nanos:
            how["numeric_type"] = "date_nanos"
        order.append({each.name: how})
    return order


def unsearchable(fields: Fields) -> Clause | None:
    """Lines whose text is not indexed (longer than `ignore_above`): no pattern finds them. None: there are none."""
    whole = [each for each in fields.message if each.is_keyword]
    if not whole:
        return None
    return {"bool": {"must_not": [{"exists": {"field": each.name}} for each in fields.message]}}


# ------------------------------------------------------------------------------------------------ conditions


def _window(fields: Sequence[Field], start: float | None, end: float | None, low: float) -> Clause | None:
    """In milliseconds, with the format named: what every mapping of a time understands; numbers in their own unit."""
    clauses: list[Clause] = []
    for each in fields:
        unit, latest = each.per_second, _LATEST * each.per_second
        bounds: dict[str, Any] = {}
        if start is not None or low > -math.inf:
            first = -math.inf if start is None else math.floor(start * unit)
            bounds["gte"] = min(max(first, low, 0), latest)
        if end is not None:
            bounds["lte"] = max(min(math.ceil(end * unit), latest), 0)
        if not bounds:
            return None
        bounds["format"] = "epoch_millis"
        clauses.append({"range": {each.name: bounds}})
    return one_of(clauses)


def _any_of(literals: Sequence[str], fields: Fields, *, typed: bool) -> Iterator[Clause | None]:
    """Lines with any of these, in as few groups as the limits allow; None for all lines, filtered here."""
    literals = list(dict.fromkeys(literals))
    in_patterns = any(each.is_keyword or not each.in_words for each in fields.message)
    if in_patterns and len(literals) > MOST_PATTERNS:
        yield None
        return
    ids = [] if typed or in_patterns else [literal for literal in literals if _ID.fullmatch(literal)]
    known = set(ids)
    clauses = [_contains(literal, fields, typed=typed) for literal in literals if literal not in known]
    if None in clauses:  # one that no index can look for
        yield None
        return
    words = sorted({literal.lower() for literal in ids})
    most = max(len(words) / MOST_TERMS, len(clauses) / MOST_CLAUSES, 1)
    for number in range(math.ceil(most)):
        some = words[number * MOST_TERMS : (number + 1) * MOST_TERMS]
        group = [{"terms": {each.name: some}} for each in fields.message] if some else []
        group += [clause for clause in clauses[number * MOST_CLAUSES : (number + 1) * MOST_CLAUSES] if clause]
        if group:
            yield one_of(group)


def _contains(literal: str, fields: Fields, *, typed: bool) -> Clause | None:
    """Lines that may contain a literal; None where the index can't narrow that down."""
    fragments = fragments_of(literal)
    ways: list[Clause] = []
    for each in fields.message:
        if each.is_keyword:
            ways.append(_pattern(each.name, literal))
        if each.is_text and not fragments:
            return None
        if each.is_text:
            whole = (
                not typed
                and each.in_words
                and len(literal) < 1000
                and (_ID.fullmatch(literal) or _WHOLE.search(literal))
            )
            ways.append(
                {"match_phrase": {each.name: literal}} if whole else _parts(fragments, each, fields, typed=typed)
            )
    if (lost := unsearchable(fields)) is not None:
        ways.append(lost)
    return one_of(ways)


def fragments_of(literal: str) -> list[str]:
    """The longest pieces of a literal that no analyzer cuts further: ASCII letters and digits, in lower case."""
    found = dict.fromkeys(fragment.lower() for fragment in _FRAGMENT.findall(literal))
    return sorted((each for each in found if len(each) <= LONGEST), key=len, reverse=True)[:FRAGMENTS]


def _parts(fragments: Iterable[str], message: Field, fields: Fields, *, typed: bool) -> Clause:
    """Lines with each fragment somewhere; a person may also type a host or a program, which have own fields."""
    beside = [*fields.hostname, *fields.service] if typed else []
    clauses = [
        one_of([_pattern(each.name, fragment) for each in (message, *beside) if each.is_text or each.is_keyword])
        for fragment in fragments
    ]
    return {"bool": {"filter": clauses}}


def _pattern(name: str, literal: str) -> Clause:
    value = re.sub(r"([\\*?])", r"\\\1", literal[:LONGEST])  # ASCII letters in any case, others as they are
    return {"wildcard": {name: {"value": f"*{value}*", "case_insensitive": True}}}


def one_of(clauses: Sequence[Clause]) -> Clause:
    """What any of the clauses finds."""
    if len(clauses) == 1:
        return clauses[0]
    return {"bool": {"should": list(clauses), "minimum_should_match": 1}}
