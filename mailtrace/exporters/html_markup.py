"""HTML that cannot be broken by what it holds: every text is escaped unless it is markup made here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from html import escape

from mailtrace.report import visible

EMPTY = {"input": ">", "line": "/>", "path": "/>", "rect": "/>"}
"""How the start of an element ends that has no content."""


_SPECIAL = re.compile("[&<>\"']").search


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Part = str | None | Iterable["Part"]
"""What an element may hold: text, markup, nothing, or a row of these."""


def text(value: str) -> Markup:
    """Text as HTML shows it letter by letter: nothing in it is an element, and controls and bidi marks are visible."""
    return Markup(_escaped(value))


def join(*parts: Part) -> Markup:
    """Parts one behind another."""
    out: list[str] = []
    _gather(parts, out)
    return Markup("".join(out))


def tag(name: str, *content: Part, **attributes: str | float | bool | None) -> Markup:
    """An element.

    Attributes are keywords: `class_` is `class`, `data_r` is `data-r`, True is the bare name, None and False none.
    """
    out = ["<", name]
    for key, value in attributes.items():
        if value is not None and value is not False:
            out.append(_attribute(key, value))
    if name in EMPTY and not content:
        out.append(EMPTY[name])
    else:
        out.append(">")
        _gather(content, out)
        out += ("</", name, ">")
    return Markup("".join(out))


def scroll(name: str, *content: Part, class_: str = "") -> Markup:
    """Content that may be wider than the page, and can be scrolled by keyboard."""
    return tag("div", *content, class_=f"scroll {class_}".rstrip(), tabindex=0, role="region", aria_label=name)


def table(columns: Iterable[str], rows: Iterable[Markup], caption: str = "") -> Markup:
    """A table with its head."""
    head = tag("thead", tag("tr", [tag("th", column, scope="col") for column in columns]))
    return tag("table", tag("caption", caption) if caption else None, head, tag("tbody", rows))


@lru_cache(maxsize=4096, typed=True)  # most are classes
def _attribute(key: str, value: str | float) -> str:
    key = key.rstrip("_").replace("_", "-")
    return f" {key}" if value is True else f' {key}="{_escaped(str(value))}"'


def _gather(parts: Iterable[Part], out: list[str]) -> None:
    for part in parts:
        if isinstance(part, Markup):
            out.append(part)
        elif isinstance(part, str):
            out.append(_escaped(part))
        elif part is not None:
            _gather(part, out)


def _escaped(value: str) -> str:
    shown = visible(value)
    return escape(shown) if _SPECIAL(shown) else shown
