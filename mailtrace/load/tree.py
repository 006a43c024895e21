"""Documents as trees whose nodes know where they stand: from YAML, from Python values, and back.

YAML is composed from the parser's events with a stack of our own, so that depth, aliases and size are bounded before
anything is built. Scalars are JSON's: `true`, `false`, `null` and numbers; all else is text (`no`, `22:30`, `0123`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from math import isfinite
from os import PathLike, fspath
from typing import Any

from mailtrace.problem import Problem
from mailtrace.secret import Secret

MOST_BYTES = 4 * 1024 * 1024
MOST_NODES = 200_000
DEEPEST = 50
LONGEST_NUMBER = 40

_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_CORE = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was written. `line` and `col` count from 1; 0 for a value that came from no file."""

    file: str = ""
    line: int = 0
    col: int = 0
    excerpt: str = ""


@dataclass(slots=True)
class Node:
    """A value and where it stands.

    `value` is a dict of nodes, a list of nodes, or a scalar. `raw` is a number's text as written, `template` a text
    before its variables were put in. `origin` says whose value it is: default, config, environment, job or command
    line.
    """

    value: Any
    place: Place = field(default_factory=Place)
    key: Place | None = None
    path: str = ""
    raw: str | None = None
    template: str | None = None
    origin: str = "job"
    broken: bool = False  # a variable in it could not be put in, and that is said

    def problem(self, message: str, hint: str = "", *, at_key: bool = False) -> Problem:
        """A problem with this value, or with its key."""
        place = self.key if at_key and self.key else self.place
        return Problem(message, place.file, place.line, place.col, self.path, place.excerpt, hint)

    def get(self, key: str) -> Node | None:
        """The node under a key of a mapping, None if there is none or this is no mapping."""
        return self.value.get(key) if isinstance(self.value, dict) else None

    def at(self, *keys: str) -> Node:
        """The node under these keys; an empty one where there is none."""
        node = self
        for key in keys:
            node = node.get(key) or Node(None, path=f"{node.path}.{key}" if node.path else key)
        return node

    def plain(self, default: Any = None) -> Any:
        """The value without places; `default` for null."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return default if self.value is None else self.value

    def children(self) -> list[Node]:
        """The nodes directly below."""
        if isinstance(self.value, dict):
            return list(self.value.values())
        return list(self.value) if isinstance(self.value, list) else []

    def walk(self) -> Iterator[Node]:
        """This node and all below it."""
        yield self
        for child in self.children():
            yield from child.walk()

    def drop_broken(self) -> None:
        """Take out the values that are known to be broken, so that nothing more is said of them."""
        if isinstance(self.value, dict):
            self.value = {key: child for key, child in self.value.items() if not child.broken}
        elif isinstance(self.value, list):
            self.value = [child for child in self.value if not child.broken]
        for child in self.children():
            child.drop_broken()

    def copy(self) -> Node:
        """A copy that can be changed without changing this one."""
        value = self.value
        if isinstance(value, dict):
            value = {key: child.copy() for key, child in value.items()}
        elif isinstance(value, list):
            value = [child.copy() for child in value]
        return replace(self, value=value)


def name_paths(node: Node, path: str = "") -> None:
    """Write into each node the path under which it stands: `source[0].ssh.hosts`."""
    node.path = path
    if isinstance(node.value, dict):
        for key, child in node.value.items():
            shown = key if re.fullmatch(r"[\w-]+", key) else json.dumps(key[:80])
            name_paths(child, f"{path}.{shown}" if path else shown)
    elif isinstance(node.value, list):
        for number, child in enumerate(node.value):
            name_paths(child, f"{path}[{number}]")


def scalar(text: str) -> Any:
    """What a plain scalar means: null, a truth value, a JSON number, else the text itself."""
    if text in {"", "null"}:
        return None
    if text in {"true", "false"}:
        return text == "true"
    number = _NUMBER.fullmatch(text) if len(text) <= LONGEST_NUMBER else None
    if number is None:
        return text
    if number[1] is None and number[2] is None:
        return int(text)
    value = float(text)
    return value if isfinite(value) else text


# ------------------------------------------------------------------------------------------- from Python


def from_python(value: Any, *, origin: str = "job", file: str = "") -> tuple[Node, list[Problem]]:
    """The tree of a Python value; what cannot stand in a document is a problem and null."""
    problems: list[Problem] = []
    left = [MOST_NODES]
    tree = _node(value, Place(file), origin, "", 0, problems, left)
    name_paths(tree)
    return tree, problems


def _node(
    value: Any,
    place: Place,
    origin: str,
    path: str,
    depth: int,
    problems: list[Problem],
    left: list[int],
) -> Node:
    left[0] -= 1
    out = Node(None, place, place, path, origin=origin)
    if depth > DEEPEST or left[0] < 0:
        if left[0] >= -1:
            what = "is nested too deeply, or in itself" if depth > DEEPEST else "has too many values"
            problems.append(out.problem(f"the document {what}"))
            left[0] = -2 if depth <= DEEPEST else left[0]
        return out
    if isinstance(value, Mapping):
        out.value = {}
        for key, below in value.items():
            if isinstance(key, str):
                inside = f"{path}.{key}" if path else key
                out.value[key] = _node(below, place, origin, inside, depth + 1, problems, left)
            else:
                problems.append(out.problem(f"a key must be text, not {type(key).__name__}"))
    elif isinstance(value, (list, tuple)):
        out.value = [
            _node(below, place, origin, f"{path}[{number}]", depth + 1, problems, left)
            for number, below in enumerate(value)
        ]
    else:
        _leaf(value, out, problems)
    return out


def _leaf(value: Any, out: Node, problems: list[Problem]) -> None:
    """A Python scalar."""
    if isinstance(value, str):
        out.value = str(value)
    elif isinstance(value, Secret):
        out.value = value.reveal()
    elif value is None or isinstance(value, (bool, int)):
        out.value = value
    elif isinstance(value, float):
        out.value = value if isfinite(value) else None
        if out.value is None:
            problems.append(out.problem("the number is not finite"))
    elif isinstance(value, (datetime, date)):
        out.value = value.isoformat()
    elif isinstance(value, PathLike) and isinstance(fspath(value), str):
        out.value = fspath(value)
    else:
        problems.append(out.problem(f"a {type(value).__name__} cannot stand in a job"))


# --------------------------------------------------------------------------------------------- from YAML


class _Stop(Exception):  # noqa: N818 - ends the composing, with its problem
    def __init__(self, problem: Problem) -> None:
        self.problem = problem


def from_yaml(data: bytes, file: str, *, origin: str = "job") -> tuple[Node | None, list[Problem], int]:
    """The tree of a YAML document, its problems, and the line from which on it could not be read (0: all was read).

    A tree that ends early holds what stood before that line; None where there is nothing at all.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        begin = data.rfind(b"\n", 0, error.start) + 1
        end = data.find(b"\n", error.start)
        excerpt = data[begin : end if end >= 0 else None][:400].decode("utf-8", "replace")
        col = len(data[begin : error.start].decode("utf-8", "replace")) + 1
        return None, [Problem("the file is not UTF-8", file, line, col, excerpt=excerpt, hint="save it as UTF-8")], 0
    return _Composer(text, file, origin).compose()


@dataclass(slots=True)
class _Open:
    """A collection that is being filled: `key` waits for its value; `merges` are what `<<` names."""

    node: Node
    anchor: str | None
    key: Node | None = None
    bad_key: bool = False
    merges: list[Node] = field(default_factory=list)


class _Composer:
    """Parser events to a tree."""

    def __init__(self, text: str, file: str, origin: str) -> None:
        self.text = text
        self.file = file
        self.origin = origin
        self.lines = text.splitlines()
        self.problems: list[Problem] = []
        self.anchors: dict[str, Node] = {}
        self.size: dict[int, tuple[int, int]] = {}  # id of an anchored node → nodes in it, its height
        self.stack: list[_Open] = []
        self.root: Node | None = None
        self.nodes = 0

    def place(self, mark: Any) -> Place:
        """The place of a parser's mark."""
        line = min(mark.line, max(len(self.lines) - 1, 0))
        excerpt = self.lines[line] if self.lines else ""
        col = mark.column if line == mark.line else len(excerpt)
        return Place(self.file, line + 1, col + 1, excerpt)

    def compose(self) -> tuple[Node | None, list[Problem], int]:
        """Read the whole text."""
        import yaml

        if bad := _UNPRINTABLE.search(self.text):
            line = len(self.text[: bad.start()].splitlines() or [""])
            begin = max(self.text.rfind("\n", 0, bad.start()), self.text.rfind("\r", 0, bad.start())) + 1
            if begin == bad.start() and begin:
                line += 1
            what = f"the character U+{ord(bad[0]):04X} cannot stand in YAML"
            excerpt = self.lines[line - 1] if line <= len(self.lines) else ""
            return None, [Problem(what, self.file, line, bad.start() - begin + 1, excerpt=excerpt)], 0
        stopped = 0
        try:
            for event in yaml.parse(self.text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
                self.take(event)
        except yaml.YAMLError as error:
            problem = self.syntax(error)
            stopped = problem.line or 1
            self.problems.append(problem)
        except _Stop as stop:
            stopped = stop.problem.line or 1
            self.problems.append(stop.problem)
        told = len(self.problems)
        while self.stack:
            self.close()
        del self.problems[told:]  # about halves of what was meant
        if self.root is None and not self.problems:
            self.problems.append(Problem("the file is empty", self.file))
        if self.root is not None:
            name_paths(self.root)
        return self.root, self.problems, stopped

    def syntax(self, error: Any) -> Problem:
        """What the parser says, in words that help."""
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        place = self.place(mark) if mark else Place(self.file)
        said = getattr(error, "problem", None) or "this cannot be read"
        hint = ""
        before = place.excerpt[: place.col]
        if "\t" in before and not before.strip():
            said, hint = "a tab cannot indent", "YAML takes blanks only"
        elif re.search(r"(?<![\"'\w])\$\{[^}]*\}", place.excerpt):
            hint = 'put a value with "${" into quotes'
        elif "mapping values are not allowed" in said:
            hint = 'put a text with ": " into quotes'
        elif "alias" in said or "anchor" in said or "cannot start any token" in said:
            hint = "put a text that begins with *, &, @, %, ! or ` into quotes"
        elif "nesting depth" in said:  # libyaml's own limit, which it may reach before we see ours
            said = f"nested more than {DEEPEST} deep"
        return Problem(f"YAML: {said}", place.file, place.line, place.col, excerpt=place.excerpt, hint=hint)

    def take(self, event: Any) -> None:
        """One event of the parser."""
        kind = type(event).__name__
        if kind == "DocumentStartEvent" and self.root is not None:
            raise _Stop(self.at(event).problem("a second document starts here; a file holds one"))
        if kind in {"MappingStartEvent", "SequenceStartEvent"}:
            self.open(event, {} if kind == "MappingStartEvent" else [])
        elif kind in {"MappingEndEvent", "SequenceEndEvent"}:
            self.close()
        elif kind == "ScalarEvent":
            self.leaf(event)
        elif kind == "AliasEvent":
            self.alias(event)

    def at(self, event: Any) -> Node:
        """A node where an event is."""
        return Node(None, self.place(event.start_mark), origin=self.origin)

    def count(self, nodes: int, depth: int, event: Any) -> None:
        """Keep size and depth within bounds."""
        self.nodes += nodes
        if self.nodes > MOST_NODES:
            raise _Stop(self.at(event).problem(f"the document has more than {MOST_NODES} values, aliases written out"))
        if len(self.stack) + depth > DEEPEST:
            raise _Stop(self.at(event).problem(f"nested more than {DEEPEST} deep"))

    def open(self, event: Any, value: Any) -> None:
        """A mapping or a list begins."""
        self.count(1, 1, event)
        node = self.at(event)
        node.value = value
        self.tag(event, node, "map" if isinstance(value, dict) else "seq")
        self.stack.append(_Open(node, event.anchor))

    def close(self) -> None:
        """The innermost collection is complete."""
        done = self.stack.pop()
        for merged in done.merges:
            for key, child in merged.value.items():
                if key not in done.node.value:
                    done.node.value[key] = child
        self.remember(done.anchor, done.node)
        self.put(done.node)

    def leaf(self, event: Any) -> None:
        """A scalar."""
        self.count(1, 0, event)
        node = self.at(event)
        tag = event.tag or ""
        self.tag(event, node, "str", "int", "float", "bool", "null")
        typed = tag.startswith(_CORE) and tag != _CORE + "str"
        plain = typed or (not event.style and not tag)
        node.value = scalar(event.value) if plain else event.value
        if plain and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
            node.raw = event.value
        if plain and self.stack and self.stack[-1].key is None and isinstance(self.stack[-1].node.value, dict):
            node.raw = event.value  # a key is text, whatever it looks like
        self.remember(event.anchor, node)
        self.put(node, merge=not event.style and event.value == "<<")

    def tag(self, event: Any, node: Node, *known: str) -> None:
        """Refuse tags that mean something we do not do."""
        if event.tag and event.tag != "!" and event.tag.removeprefix(_CORE) not in known:
            shown = event.tag.replace(_CORE, "!!")[:60]
            self.problems.append(node.problem(f"the tag {shown} has no meaning here"))

    def remember(self, anchor: str | None, node: Node) -> None:
        """Make a complete node known by its anchor."""
        if anchor:
            self.anchors[anchor] = node
            self.size[id(node)] = _measure(node)

    def alias(self, event: Any) -> None:
        """A copy of an anchored node: what is done to one place must not be done to the other."""
        source = self.anchors.get(event.anchor)
        if source is None:
            inside = any(frame.anchor == event.anchor for frame in self.stack)
            what = "stands for something that holds itself" if inside else "has no anchor before it"
            self.problems.append(self.at(event).problem(f"the alias *{event.anchor[:60]} {what}"))
            self.put(self.at(event))
            return
        nodes, height = self.size[id(source)]
        self.count(nodes, height, event)
        self.put(source.copy())

    def put(self, node: Node, *, merge: bool = False) -> None:
        """Hang a complete node into the innermost open collection."""
        if not self.stack:
            self.root = node
            return
        frame = self.stack[-1]
        if isinstance(frame.node.value, list):
            frame.node.value.append(node)
        elif frame.key is None and not frame.bad_key:
            if merge:
                node.raw = None
                node.value = "<<"
                frame.key = replace(node, template="<<")
            elif isinstance(node.value, (dict, list)):
                hint = "put a text that begins with { or [ into quotes"
                self.problems.append(node.problem("a key must be text", hint))
                frame.bad_key = True
            else:
                frame.key = node
        else:
            self.pair(frame, node)
            frame.key, frame.bad_key = None, False

    def pair(self, frame: _Open, node: Node) -> None:
        """A key has got its value."""
        key = frame.key
        if key is None:
            return
        if key.template == "<<":
            maps = node.value if isinstance(node.value, list) else [node]
            if all(isinstance(each.value, dict) for each in maps):
                frame.merges += maps
            else:
                self.problems.append(key.problem("<< takes a mapping or a list of mappings"))
            return
        name = key.raw if key.raw is not None else str(key.value)
        first = frame.node.value.get(name)
        if first is not None:
            where = f"; the first is in line {first.key.line}" if first.key else ""
            self.problems.append(key.problem(f'the key "{name[:60]}" is here twice{where}'))
            return
        node.key = key.place
        frame.node.value[name] = node


def _measure(node: Node) -> tuple[int, int]:
    """How many nodes there are, and how many levels."""
    nodes, level, height = 0, [node], 0
    while level:
        nodes += len(level)
        height += 1
        level = [below for each in level for below in each.children()]
    return nodes, height


# ----------------------------------------------------------------------------------------------- to YAML


def to_yaml(document: Mapping[str, Any]) -> str:
    """A job or config as YAML that reads back as the same, for `--print-job`."""
    import yaml

    class Writer(yaml.SafeDumper):
        """Lists indented below their key, no anchors, and quotes where our reader would see a number."""

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT001, FBT002
            super().increase_indent(flow, False)

        def ignore_aliases(self, _: Any) -> bool:
            return True

    def quoted(writer: Any, text: str) -> Any:
        style = "'" if not isinstance(scalar(text), str) else None if text.isprintable() else '"'
        return writer.represent_scalar(_CORE + "str", text, style=style)

    Writer.add_representer(str, quoted)
    text: str = yaml.dump(document, Dumper=Writer, sort_keys=False, allow_unicode=True, width=110)
    return text
