"""Every key that jobs, configs, reports, events and tests may have: a walk over the JSON Schemas."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from mailtrace.load.check import resolve, schema, types

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailtrace.load.check import Schema

DOCUMENTS = {
    "job": "a job file",
    "config": "config.yaml",
    "test": "a test of a job",
    "report": "a report",
    "event": "an event of a run",
    "row": "a row of `csv` and `ndjson`",
}
"""The schemas, and what they describe."""

TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "array": "list",
    "object": "mapping",
    "null": "null",
}


_PLAIN = re.compile(r"[\w./~<$][^\n]*")
"""A text that YAML takes for itself without quotes."""


class Key(NamedTuple):
    """One key: `path` is where it stands in its document (`find.since`, `export.json.to`), lists left out.

    `default` is None where there is none; examples are the schema's, as YAML writes them in one line.
    """

    document: str
    path: str
    title: str
    text: str
    type: str
    default: str | None
    choices: tuple[str, ...]
    examples: tuple[str, ...]

    @property
    def name(self) -> str:
        """The key itself."""
        return self.path.rpartition(".")[2]


def keys(document: str) -> list[Key]:
    """Every key of a document, a section before what is in it."""
    rules = schema(document)
    if "oneOf" in rules:  # one of several forms, each by its name
        return [key for name, form in rules["$defs"].items() for key in _of(document, name, form, rules)]
    return list(_below(document, "", rules, rules, ()))


def _of(document: str, path: str, rules: Schema, root: Schema, seen: tuple[str, ...] = ()) -> Iterator[Key]:
    reference = rules.get("$ref", "")
    if reference in seen:
        return
    rules = resolve(rules, root)
    yield Key(
        document,
        path,
        rules.get("title", ""),
        rules.get("description", ""),
        _type(rules),
        _default(rules),
        tuple(_shown(value) for value in rules.get("enum", ()) if value != ""),
        tuple(_shown(value) for value in rules.get("examples", ())),
    )
    yield from _below(document, path, rules, root, (*seen, reference) if reference else seen)


def _below(document: str, path: str, rules: Schema, root: Schema, seen: tuple[str, ...]) -> Iterator[Key]:
    """The keys in a mapping, in the items of a list, or under any name (written in capitals)."""
    for name, found in rules.get("properties", {}).items():
        yield from _of(document, f"{path}.{name}" if path else name, found, root, seen)
    items = rules.get("items")
    if items:
        if items.get("$ref", "") in seen:
            return
        inside = (*seen, items["$ref"]) if "$ref" in items else seen
        yield from _below(document, path, resolve(items, root), root, inside)
    any_name = rules.get("additionalProperties")
    if isinstance(any_name, dict):
        yield from _below(document, f"{path}.NAME", resolve(any_name, root), root, seen)


def _type(rules: Schema) -> str:
    if "const" in rules:
        return _shown(rules["const"])
    words = [TYPES[name] for name in types(rules)]
    if not words and "enum" in rules:
        words = ["text"]
    return " or ".join(words)


def _default(rules: Schema) -> str | None:
    """The default, where it says something: an empty one is told by the description."""
    value = rules.get("default")
    return None if value in (None, "", [], {}) else _shown(value)


def _shown(value: Any) -> str:
    """A value in one line, as YAML takes it."""
    plain = isinstance(value, str) and _PLAIN.fullmatch(value) and ": " not in value and " #" not in value
    return value if plain else json.dumps(value, ensure_ascii=False)
