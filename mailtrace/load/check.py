"""A tree against its JSON Schema: values in the schema's types, every break as a problem, defaults filled in."""

from __future__ import annotations

import json
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

from mailtrace.load.tree import Node, from_python, scalar
from mailtrace.problem import Problem, did_you_mean

Schema = dict[str, Any]

_WORDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}
_MOST_NAMED = 12
_MOST_SAID = 50
"""Unknown keys of one mapping that are told one by one."""


def data_folder() -> Path:
    """Where schemas are: in an installed package beside the code, in a checkout above it."""
    package = Path(__file__).parents[1]
    installed = package / "_data"
    return installed if installed.is_dir() else package.parent


@lru_cache(maxsize=8)
def rules_of(name: str) -> Schema:
    """The JSON Schema `job`, `config`, `report` or `event`, read once for all who ask: nobody may change it."""
    text = (data_folder() / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8")
    loaded: Schema = json.loads(text)
    return loaded


def schema(name: str) -> Schema:
    """The same; the caller's own, to change at will."""
    return deepcopy(rules_of(name))


def check(tree: Node, rules: Schema) -> list[Problem]:
    """Every break of the schema; what breaks it is taken out of the tree, the rest is valid then."""
    from jsonschema import Draft202012Validator

    _settle(tree, rules, rules)
    problems: list[Problem] = []
    drop: list[tuple[Node, str | int]] = []
    said: set[tuple[str | int, ...]] = set()  # values of a wrong type: no more is said of them
    for error in sorted(Draft202012Validator(rules).iter_errors(tree.plain()), key=lambda e: e.validator != "type"):
        where = tuple(error.absolute_path)
        if where in said:
            continue
        if error.validator in {"type", "enum"}:
            said.add(where)
        node, parent, last = tree, None, None
        # An error in a key's name has the mapping's path.
        for step in error.absolute_path:
            node, parent, last = node.value[step], node, step
        found, keys = _explain(error, node, parent, last)
        problems += found
        drop += [(node, key) for key in keys]
        if not keys and parent is not None and last is not None:
            drop.append((parent, last))
        elif not keys:
            tree.value = {}
    _take_out(drop)
    return problems


def _take_out(drop: list[tuple[Node, str | int]]) -> None:
    """Remove keys and items, items from the last to the first, so that the others keep their numbers."""
    items: dict[int, tuple[Node, set[int]]] = {}
    for node, key in drop:
        if isinstance(key, int):
            items.setdefault(id(node), (node, set()))[1].add(key)
        elif isinstance(node.value, dict):
            node.value.pop(key, None)
    for node, numbers in items.values():
        if isinstance(node.value, list):
            node.value = [item for number, item in enumerate(node.value) if number not in numbers]


def resolve(rules: Schema, root: Schema) -> Schema:
    """A schema with its `$ref` into the same file followed; what stands beside the reference leads."""
    while "$ref" in rules and rules["$ref"].startswith("#/"):
        target: Any = root
        for step in rules["$ref"][2:].split("/"):
            target = target[step]
        rules = {**target, **{key: value for key, value in rules.items() if key != "$ref"}}
    return rules


def types(rules: Schema) -> tuple[str, ...]:
    """The types that a schema allows; () for any."""
    allowed = rules.get("type", ())
    return (allowed,) if isinstance(allowed, str) else tuple(allowed)


def below(rules: Schema, key: str, root: Schema) -> Schema:
    """The schema of a key of a mapping; {} where it has none."""
    found = rules.get("properties", {}).get(key, rules.get("additionalProperties", {}))
    return resolve(found, root) if isinstance(found, dict) else {}


def _settle(node: Node, rules: Schema, root: Schema) -> None:
    """Read values by the types that the schema wants: `name: 2025` is text, `${hops}` can be a number.

    A null where none is allowed means "not set": the key goes, or is an empty mapping or list where that is wanted.
    """
    rules = resolve(rules, root)
    allowed = types(rules)
    value = node.value
    if node.raw is not None and "string" in allowed and not {"number", "integer"} & set(allowed):
        node.value = node.raw
    elif isinstance(value, str) and (node.template is not None or node.origin == "command line"):
        meant = scalar(value)
        wanted = {"boolean"} if isinstance(meant, bool) else {"integer", "number"} if meant is not None else set()
        if not isinstance(meant, str) and ("string" not in allowed) and wanted & set(allowed):
            node.value = meant
    elif isinstance(value, float) and value.is_integer() and "integer" in allowed:
        node.value = int(value)
    elif isinstance(value, dict):
        for key, child in list(value.items()):
            inner = below(rules, key, root)
            if child.value is None and inner and "null" not in types(inner):
                if types(inner) == ("object",):
                    child.value = {}
                else:
                    del value[key]
                    continue
            _settle(child, inner, root)
    elif isinstance(value, list):
        for child in value:
            _settle(child, rules.get("items", {}), root)


def fill(node: Node, rules: Schema, root: Schema) -> None:
    """Fill in the schema's defaults, wherever a mapping has fixed keys.

    Not in a mapping of which one key names the module, and not in single hosts, which inherit from `host_config`.
    """
    rules = resolve(rules, root)
    if isinstance(node.value, dict):
        for key, found in rules.get("properties", {}).items():
            inner = resolve(found, root)
            if key not in node.value and "maxProperties" not in rules and "default" in inner:
                node.value[key], _ = from_python(inner["default"], origin="default")
            if key in node.value:
                fill(node.value[key], inner, root)
    elif isinstance(node.value, list):
        for child in node.value:
            fill(child, rules.get("items", {}), root)


# ------------------------------------------------------------------------------------------ in words


def _explain(error: Any, node: Node, parent: Node | None, last: str | int | None) -> tuple[list[Problem], list[str]]:
    """One break of the schema in words, and the keys of `node` that are to go (none: the node itself)."""
    kind, rules = error.validator, error.schema
    called = _called(node, last)
    if kind == "additionalProperties":
        known = list(rules.get("properties", {}))
        extra = [key for key in node.value if key not in known]
        found = [_unknown(node.value[key], key, known, rules, called) for key in extra[:_MOST_SAID]]
        rest = len(extra) - len(found)
        return found + ([node.problem(f"and {rest} more keys that there are not")] if rest else []), extra
    if isinstance(node.value, dict) and isinstance(error.instance, str):
        # A rule about the names of keys: the error has the mapping's path.
        key = error.instance
        place = node.value.get(key, node)
        return [place.problem(f'"{_short(key)}" is not a name', "use letters, digits and _", at_key=True)], [key]
    if kind == "type":
        return [_mistyped(node, called, rules)], []
    if kind == "enum":
        return [_not_among(node, called, rules)], []
    if kind == "required":
        missing = next(name for name in error.validator_value if name not in node.value)
        return [node.problem(f"{missing} is missing: {rules['properties'][missing]['description']}")], []
    if kind == "minProperties":
        listed = ", ".join(rules.get("properties", {}))
        return [node.problem(f"which {_title(rules)}? One key names it: {listed}")], []
    if kind == "maxProperties":
        named = ", ".join(_short(key) for key in node.value)
        message = f"one key names the {_title(rules)}, here are several: {named}"
        return [node.problem(message, "give each an item of its own")], []
    return [node.problem(_bound(error, called))], []


def _called(node: Node, last: str | int | None) -> str:
    """What a message calls a value: its key, or its place in a list."""
    return "this" if last is None else f'"{_short(last)}"' if isinstance(last, str) else "an item of this list"


def _title(rules: Schema) -> str:
    return str(rules.get("title", "value")).lower()


def _short(text: Any) -> str:
    shown = json.dumps(str(text), ensure_ascii=False)[1:-1]
    printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in shown)
    return printable if len(printable) <= 60 else printable[:57] + "…"


def _unknown(node: Node, key: str, known: list[str], rules: Schema, called: str) -> Problem:
    """A key that the schema does not have."""
    hint = did_you_mean(key, known)
    if not hint and len(known) <= _MOST_NAMED:
        hint = f"there are: {', '.join(known)}"
    if rules.get("maxProperties") == 1:
        message = f'there is no {_title(rules)} "{_short(key)}"'
    elif called == "this":
        message = f'"{_short(key)}" is not a key here'
    else:
        message = f'"{_short(key)}" is not a key of {called}'
    return node.problem(message, hint, at_key=True)


def _mistyped(node: Node, called: str, rules: Schema) -> Problem:
    """A value of another type."""
    wanted = " or ".join(_WORDS[name] for name in types(rules))
    value = node.value
    hint = ""
    if isinstance(value, str) and rules.get("maxProperties") == 1:
        known = list(rules.get("properties", {}))
        hint = f'write "{value}: {{}}"' if value in known else did_you_mean(value, known)
    elif isinstance(value, (int, float)) and types(rules) == ("string",):
        hint = "put it into quotes"
    return node.problem(f"{called} must be {wanted}, not {_shown(value)}", hint)


def _shown(value: Any) -> str:
    """A wrong value as a message names it."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return f'the text "{_short(value)}"' if isinstance(value, str) else json.dumps(value)


def _not_among(node: Node, called: str, rules: Schema) -> Problem:
    """A value that is none of those there are."""
    allowed = [value for value in rules["enum"] if value != ""]
    near = did_you_mean(str(node.value), map(str, allowed))
    listed = ", ".join(map(str, allowed))
    subject = called if called.startswith('"') else "this"
    choice = "one of " if len(allowed) > 1 else ""
    return node.problem(f'{subject} must be {choice}{listed}, not "{_short(node.value)}"', near)


def _bound(error: Any, called: str) -> str:
    """A value out of bounds."""
    limit = error.validator_value
    if error.validator in {"minLength", "minItems"}:
        return f"{called} must not be empty"
    words = {
        "minimum": "at least",
        "maximum": "at most",
        "exclusiveMinimum": "more than",
        "exclusiveMaximum": "less than",
    }
    if error.validator in words:
        return f"{called} must be {words[error.validator]} {limit}, not {error.instance}"
    return f"{called}: {_short(error.message)}"
