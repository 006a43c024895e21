"""Variables in string values: `${name}`, `${env:NAME}`, `${env:NAME:-default}`; `$${` is a literal `${`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from mailtrace.load.tree import Node
from mailtrace.problem import Problem, did_you_mean

LONGEST = 100_000
"""Characters of a text with its variables put in; more is a bomb of variables that name each other."""

_PIECE = re.compile(r"\$\$\{|\$\{(?P<name>[^{}\n]*)\}|(?P<open>\$\{)")
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_ENV = re.compile(r"env:(?P<name>[A-Za-z_]\w*)(?::-(?P<default>.*))?", re.ASCII)


class Broken(Exception):  # noqa: N818 - carried to where the text stands
    """A variable that cannot be put in; `hint` is the cure."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Text(NamedTuple):
    """A text with its variables put in; `literal` where some of it is written in the document itself."""

    text: str
    literal: bool


def literal(text: str) -> str:
    """A text as it must be written in a job to mean itself, whatever `${` it holds."""
    return text.replace("${", "$${")


@dataclass(slots=True)
class Variables:
    """What `${…}` stands for: values of the command line, else the document's `vars`, and the environment.

    `own` is False for a config file, which has no variables of its own.
    """

    given: Mapping[str, str]
    defined: Mapping[str, Node] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    own: bool = True
    _known: dict[str, Text] = field(default_factory=dict)
    _within: list[str] = field(default_factory=list)

    def fill(self, tree: Node) -> list[Problem]:
        """Put the variables into every text of a tree. A text that cannot be filled becomes null."""
        problems = []
        for node in tree.walk():
            if isinstance(node.value, str) and "${" in node.value:
                node.template = node.value
                try:
                    node.value = self.text(node.value).text
                except Broken as broken:
                    problems.append(node.problem(str(broken), broken.hint))
                    node.value, node.broken = None, True
        return problems

    def text(self, template: str) -> Text:
        """One text with its variables put in. Raises `Broken`."""
        out: list[str] = []
        at, is_literal, size = 0, False, 0
        for piece in _PIECE.finditer(template):
            if piece["open"]:
                raise Broken('"${" is never closed', 'write "$${" for the characters themselves')
            before = template[at : piece.start()]
            found = Text("${", literal=True) if piece["name"] is None else self.value(piece["name"])
            is_literal = is_literal or bool(before) or (found.literal and bool(found.text))
            out += (before, found.text)
            size += len(before) + len(found.text)
            if size > LONGEST:
                raise Broken("the text is too long with its variables put in")
            at = piece.end()
        return Text("".join(out) + template[at:], is_literal or at < len(template))

    def value(self, name: str) -> Text:
        """What one variable stands for. Raises `Broken`."""
        if name.startswith("env:"):
            return self._from_environment(name)
        if name in self.given:
            return Text(self.given[name], literal=False)
        if name in self._known:
            return self._known[name]
        node = self.defined.get(name)
        if node is None:
            raise self._unknown(name)
        if name in self._within:
            ring = " → ".join([*self._within[self._within.index(name) :], name])
            raise Broken(f"the variable {name} needs itself: {ring}")
        if len(self._within) > 50:
            raise Broken(f"the variable {name} needs too many others")
        raw = node.template if node.template is not None else node.value
        self._within.append(name)
        try:
            if isinstance(raw, str):
                found = self.text(raw)
            else:
                written = node.raw if node.raw is not None else "" if raw is None else str(raw)
                found = Text(written.lower() if isinstance(raw, bool) else written, literal=True)
        finally:
            self._within.pop()
        self._known[name] = found
        return found

    def _unknown(self, name: str) -> Broken:
        if not _NAME.fullmatch(name):
            hint = "write ${name}, ${env:NAME}, or $${ for the characters"
            return Broken(f'"${{{name[:60]}}}" is not a variable', hint)
        if not self.own:
            return Broken(f"there is no variable {name} in a config", f"write ${{env:{name.upper()}}}")
        near = did_you_mean(name, (*self.given, *self.defined))
        return Broken(f"there is no variable {name[:60]}", near or "define it under vars:, or with -e")

    def _from_environment(self, name: str) -> Text:
        asked = _ENV.fullmatch(name)
        if asked is None:
            raise Broken(f'"${{{name[:60]}}}" is not a variable', "write ${env:NAME} or ${env:NAME:-default}")
        value = self.environment.get(asked["name"])
        if asked["default"] is not None and not value:
            return Text(asked["default"], literal=True)
        if value is None:
            hint = f"set it, or write ${{env:{asked['name']}:-default}}"
            raise Broken(f"the environment has no {asked['name']}", hint)
        # A default counts as written down also while the environment has the value.
        return Text(value, literal=bool(asked["default"]))
