"""A `LogQuery` as OpenSearch's query DSL: always a superset of what answers, which is then filtered here, exactly.

User data is only ever a value of `terms`, `match_phrase` or an escaped `wildcard`; no query-string syntax, no script.
What each kind of field finds is a matter of its type: words of `text` are asked for in lower case, and a literal that
may be a part of a word by its fragments; whole values (`keyword`, `wildcard`) by a pattern.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
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
_LATEST = 9_200_000_000_000  # milliseconds: the year 2261, where nanoseconds end


def bodies(query: LogQuery, fields: Fields, *, typed: bool, without: Clause | None = None) -> list[Clause]:
    """The queries that together find all lines of a `LogQuery`, usually one.

    `typed`: the literals are what a person typed, maybe a part of a word; else whole identifiers out of log lines,
    which are found by their words. `without` are lines not to be returned.
    """
    common = [_window(query, fields.timestamp), *(_contains(literal, fields, typed=True) for literal in query.all_of)]
    groups: list[Clause | None] = list(_any_of(query.any_of, fields, typed=typed)) if query.any_of else [None]
    out = []
    for group in groups:
        filters = [clause for clause in (*common, group) if clause]
        inner: Clause = {"filter": filters}
        if without:
            inner["must_not"] = [without]
        out.append({"bool": inner} if filters or without else {"match_all": {}})
    return out


def sort_of(fields: Fields, tie: str) -> list[Clause]:
    """By time, then by what tells lines of one time apart (`_id`, `_shard_doc`, "" for nothing)."""
    order: list[Clause] = []
    for each in fields.timestamp:
        how: dict[str, Any] = {"order": "asc", "unmapped_type": "date"}
        if each.in_nanos:
            how["numeric_type"] = "date_nanos"
        order.append({each.name: how})
    return [*order, *([{tie: "asc"}] if tie else [])]


def unsearchable(fields: Fields) -> Clause | None:
    """Lines whose text is not indexed (longer than `ignore_above`): no pattern finds them. None: there are none."""
    whole = [each for each in fields.message if each.is_keyword]
    if not whole:
        return None
    return {"bool": {"must_not": [{"exists": {"field": each.name}} for each in fields.message]}}


# ------------------------------------------------------------------------------------------------ conditions


def _window(query: LogQuery, fields: Sequence[Field]) -> Clause | None:
    """In milliseconds, with the format named: what every mapping of a time understands."""
    bounds: dict[str, Any] = {}
    if query.start is not None:
        bounds["gte"] = min(max(math.floor(query.start * 1000), 0), _LATEST)
    if query.end is not None:
        bounds["lte"] = min(max(math.ceil(query.end * 1000), 0), _LATEST)
    if not bounds:
        return None
    bounds["format"] = "epoch_millis"
    return _one_of([{"range": {each.name: bounds}} for each in fields])


def _any_of(literals: Sequence[str], fields: Fields, *, typed: bool) -> Iterator[Clause | None]:
    """Lines with any of these, in as few groups as the limits allow; None for all lines, filtered here."""
    literals = list(dict.fromkeys(literals))
    in_patterns = any(each.is_keyword for each in fields.message)
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
            yield _one_of(group)


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
            whole = not typed and len(literal) < 1000 and (_ID.fullmatch(literal) or _WHOLE.search(literal))
            ways.append(
                {"match_phrase": {each.name: literal}} if whole else _parts(fragments, each, fields, typed=typed)
            )
    if (lost := unsearchable(fields)) is not None:
        ways.append(lost)
    return _one_of(ways)


def fragments_of(literal: str) -> list[str]:
    """The longest pieces of a literal that no analyzer cuts further: ASCII letters and digits, in lower case."""
    found = dict.fromkeys(fragment.lower() for fragment in _FRAGMENT.findall(literal))
    return sorted((each for each in found if len(each) <= LONGEST), key=len, reverse=True)[:FRAGMENTS]


def _parts(fragments: Iterable[str], message: Field, fields: Fields, *, typed: bool) -> Clause:
    """Lines with each fragment somewhere; a person may also type a host or a program, which have own fields."""
    beside = [*fields.hostname, *fields.service] if typed else []
    clauses = [
        _one_of([_pattern(each.name, fragment) for each in (message, *beside) if each.is_text or each.is_keyword])
        for fragment in fragments
    ]
    return {"bool": {"filter": clauses}}


def _pattern(name: str, literal: str) -> Clause:
    value = re.sub(r"([\\*?])", r"\\\1", literal[:LONGEST])  # ASCII letters in any case, others as they are
    return {"wildcard": {name: {"value": f"*{value}*", "case_insensitive": True}}}


def _one_of(clauses: Sequence[Clause]) -> Clause:
    if len(clauses) == 1:
        return clauses[0]
    return {"bool": {"should": list(clauses), "minimum_should_match": 1}}
