"""What the command line says over a document: `-e name=value` and `--set a.b[0].c=value`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mailtrace.load.tree import Node, Place, from_python, from_yaml, scalar
from mailtrace.problem import Problem

_STEP = re.compile(r'\.?(?:"(?P<quoted>[^"]*)"|(?P<name>[^.\[\]"=]+))|\[(?P<number>\d{1,6})\]')
_VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)


class Override(NamedTuple):
    """One value for one path. `value` is a `Node` where it was written as YAML, else any Python value.

    `said` is how it was given, for messages.
    """

    path: str
    value: Any
    said: str
    origin: str = "command line"


def read_variables(given: Mapping[str, str] | Sequence[str], problems: list[Problem]) -> dict[str, str]:
    """The variables of `-e`; the last of several with one name counts."""
    if isinstance(given, Mapping):
        pairs = [(str(name), value if isinstance(value, str) else json.dumps(value)) for name, value in given.items()]
    else:
        pairs = []
        for each in [given] if isinstance(given, str) else given:
            name, equals, value = str(each).partition("=")
            if equals:
                pairs.append((name, value))
            else:
                problems.append(Problem(f'"{name[:60]}" sets nothing', path="-e", hint="write -e name=value"))
    for name, _ in pairs:
        if not _VARIABLE.fullmatch(name):
            problems.append(Problem(f'"{name[:60]}" is not a name', path="-e", hint="use letters, digits and _"))
    return dict(pairs)


def read_sets(given: Mapping[str, Any] | Sequence[str], problems: list[Problem]) -> list[Override]:
    """The overrides of `--set`, in their order."""
    if isinstance(given, Mapping):
        return [Override(str(path), value, f"--set {path}") for path, value in given.items()]
    found = []
    for each in [given] if isinstance(given, str) else given:
        path, equals, value = _split(str(each))
        if not equals:
            problems.append(Problem(f'"{path[:60]}" sets nothing', path="--set", hint="write --set walk.max_hops=5"))
            continue
        said = f"--set {path}"
        found.append(Override(path, _meant(value, said, problems), said))
    return found


def _split(said: str) -> tuple[str, str, str]:
    """Path, `=`, value; a quoted key may hold a `=`."""
    found = re.match(r'((?:"[^"]*"|[^="])*)=(.*)', said, re.DOTALL)
    return (found[1].strip(), "=", found[2]) if found else (said, "", "")


def _meant(value: str, said: str, problems: list[Problem]) -> Any:
    """A list, a mapping or a quoted text as JSON or YAML; anything else is a scalar."""
    if value[:1] in ("[", "{", '"', "'"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            pass
        tree, found, _ = from_yaml(value.encode("utf-8", "replace"), said, origin="command line")
        if not found and tree is not None:
            return tree
        if value[:1] in ("[", "{"):
            problems += [Problem(each.message, path=said, hint=each.hint) for each in found]
            return None
    meant = scalar(value)
    if isinstance(meant, (int, float)) and not isinstance(meant, bool):
        return Node(meant, Place(said), raw=value, origin="command line")
    return meant if value else ""


def override(tree: Node, given: Override, problems: list[Problem]) -> None:
    """Put a value into a tree; mappings on the way are made."""
    steps = _steps(given.path)
    if not steps:
        problems.append(Problem(f'"{given.path[:60]}" is not a path', path=given.said, hint="write walk.max_hops"))
        return
    node = tree
    for number, step in enumerate(steps):
        last = number == len(steps) - 1
        new = _new(given, problems) if last else _between(steps[number + 1], given)
        below = _child(node, step)
        fits = isinstance(node.value, list if isinstance(step, int) else dict)
        if node.value is None:
            node.value, fits = ([] if isinstance(step, int) else {}), True
        if not fits or (isinstance(step, int) and step > len(node.value)):
            wanted = f"item {step}" if isinstance(step, int) else f'key "{step[:60]}"'
            problems.append(Problem(f"there is no {wanted} to set", path=given.said))
            return
        if last or below is None:
            if isinstance(step, int) and step == len(node.value):
                node.value.append(new)
            else:
                node.value[step] = new
            below = new
        node = below


def _new(given: Override, problems: list[Problem]) -> Node:
    if isinstance(given.value, Node):
        new = given.value.copy()
    else:
        new, found = from_python(given.value, origin=given.origin, file=given.said)
        problems += found
    for node in new.walk():
        node.origin = given.origin
        node.place = Place(given.said)
        node.key = None
    return new


def _between(step: str | int, given: Override) -> Node:
    """An empty list or mapping on the way to a value."""
    return Node([] if isinstance(step, int) else {}, Place(given.said), origin=given.origin)


def _child(node: Node, step: str | int) -> Node | None:
    if isinstance(step, int):
        inside = isinstance(node.value, list) and step < len(node.value)
        return node.value[step] if inside else None
    return node.get(step)


def _steps(path: str) -> list[str | int]:
    """`a.b[0]."c.d"` as its keys and numbers; [] for what is no path."""
    steps: list[str | int] = []
    at = 0
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None or found.end() == at or (path[at] == "." and not steps):
            return []
        if found["number"] is not None:
            steps.append(int(found["number"]))
        else:
            steps.append(found["quoted"] if found["quoted"] is not None else found["name"])
        at = found.end()
    return steps
