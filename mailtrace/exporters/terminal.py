"""Text for a terminal: hostile characters made visible, columns counted, lines folded, colour where it is wanted.

A line is a list of spans. Nothing here knows mail.
"""

from __future__ import annotations

import os
import re
import unicodedata
from typing import TYPE_CHECKING, Any, NamedTuple

from mailtrace.report import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Line", "Screen", "Span", "columns", "fold", "shorten", "visible"]

WIDTH = 100
"""Of output that goes to no terminal, where $COLUMNS does not say otherwise."""
NARROW = 60
"""Below this, columns are not aligned and only the most important is shown."""
NARROWEST = 32
"""A narrower terminal gets lines of this width."""

_SGR = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "cyan": "36",
    "bold red": "1;31",
    "bold green": "1;32",
    "bold yellow": "1;33",
}
_ASCII = str.maketrans(
    {
        "─": "-",
        "│": "|",
        "├": "+",
        "└": "`",
        "✓": "+",
        "✗": "x",
        "→": ">",
        "↳": ">",
        "…": "~",
    }
)


class Span(NamedTuple):
    """A piece of a line in one style (a key of the colours, or "" for plain)."""

    text: str
    style: str = ""


Line = list[Span]


def columns(text: str) -> int:
    """How many columns of a terminal printable text takes."""
    if text.isascii():
        return len(text)
    return sum(_columns(c) for c in text)


def _columns(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def shorten(text: str, width: int) -> str:
    """Text of at most that many columns; what is cut from its middle leaves a `…`."""
    if columns(text) <= width:
        return text
    if width <= 1:
        return "…"[:width]
    head = (width - 1) * 2 // 3
    return _fitting(text, head) + "…" + _fitting(text[::-1], width - 1 - head)[::-1]


def _fitting(text: str, width: int) -> str:
    used = 0
    for i, char in enumerate(text):
        used += _columns(char)
        if used > width:
            return text[:i]
    return text


def fold(line: Iterable[Span], width: int) -> Iterator[Line]:
    """Break a line at spaces into lines of at most `width` columns; a longer word is broken wherever it must be."""
    spans = [span for span in line if span.text]
    text = "".join(span.text for span in spans)
    if columns(text) <= width:
        yield spans
        return
    for start, end in _breaks(text, max(1, width)):
        yield _slice(spans, start, end)


def _breaks(text: str, width: int) -> Iterator[tuple[int, int]]:
    start = end = used = 0
    for match in re.finditer(r" *[^ ]+", text):
        word = columns(match[0])
        if used and used + word > width:
            yield start, end
            start = match.end() - len(match[0].lstrip(" "))
            used = word = columns(text[start : match.end()])
        else:
            used += word
        end = match.end()
        while used > width:
            cut = start + max(1, len(_fitting(text[start:end], width)))
            yield start, cut
            start, used = cut, columns(text[cut:end])
    if end > start:
        yield start, end


def _slice(spans: list[Span], start: int, end: int) -> Line:
    out: Line = []
    at = 0
    for span in spans:
        piece = span.text[max(0, start - at) : max(0, end - at)]
        if piece:
            out.append(Span(piece, span.style))
        at += len(span.text)
    return out


class Screen:
    """A stream as a terminal sees it: its width, its colours and what its encoding can show.

    `color` is auto, always or never; auto colours a terminal unless $NO_COLOR is set or $TERM is dumb.
    `width` 0 takes the terminal's.
    """

    def __init__(self, stream: Any, color: str = "auto", width: int = 0) -> None:
        self._stream = stream
        self.width = max(NARROWEST, width or _width(stream))
        self.narrow = self.width < NARROW
        self.color = color == "always" or (color == "auto" and _colourful(stream))
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        try:
            "─│├└✓✗→↳…".encode(self._encoding)
            self._plain = False
        except (UnicodeEncodeError, LookupError):
            self._plain = True

    def line(self, spans: Iterable[Span] = (), first: Iterable[Span] = (), rest: Iterable[Span] | None = None) -> None:
        """Write a line, folded to the width, with `first` before it and `rest` before what did not fit."""
        first = list(first)
        rest = first if rest is None else list(rest)
        room = self.width - max(columns("".join(s.text for s in first)), columns("".join(s.text for s in rest)))
        for i, part in enumerate(fold(spans, max(room, 6))):
            self._write([*(rest if i else first), *part])

    def _write(self, spans: Line) -> None:
        while spans and not spans[-1].text.rstrip(" "):
            spans = spans[:-1]
        if spans:
            spans = [*spans[:-1], Span(spans[-1].text.rstrip(" "), spans[-1].style)]
        self._stream.write("".join(self._paint(span) for span in spans) + "\n")

    def _paint(self, span: Span) -> str:
        text = span.text
        if not text.isascii():
            if self._plain:
                text = text.translate(_ASCII)
            text = text.encode(self._encoding, "backslashreplace").decode(self._encoding)
        code = _SGR.get(span.style) if self.color else None
        return f"\x1b[{code}m{text}\x1b[0m" if code and text.strip() else text


def _width(stream: Any) -> int:
    columns_ = os.environ.get("COLUMNS", "")
    if columns_.isdecimal() and int(columns_):
        return int(columns_)
    try:
        return os.get_terminal_size(stream.fileno()).columns or WIDTH
    except (AttributeError, OSError, ValueError):
        return WIDTH


def _colourful(stream: Any) -> bool:
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return bool(getattr(stream, "isatty", lambda: False)())
