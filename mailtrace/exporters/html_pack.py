"""The stories of many mails, small: packed by the hundred, unpacked by the reader's browser when one is opened.

Written out, they would make a page of tens of megabytes. Deflate finds only what was said within the last 32 kB, which
is one or two stories; so what is alike in all stories is put together first: their graphs, their tables of attempts,
their log lines. Where such a part was cut out, a control character stays behind, which no text of a page has
(see `html_markup.text`).

A pack is base 85 (that of RFC 1924 with a comma for its `<`, so that no letter could end the element it is in) of raw
deflate of UTF-8: the stories and then each kind of parts, parted by NUL; among themselves stories, and parts of one
kind, are parted by `END`.
"""

from __future__ import annotations

import re
import zlib
from base64 import b85encode
from collections.abc import Iterable, Iterator
from itertools import islice

from mailtrace.exporters.html_markup import Markup

PACK = 250
"""Stories in one pack."""
END = "\x1f"
KINDS = {
    name: chr(i)
    for i, name in enumerate(("graph", "recipients", "facts", "proof", "attempts", "lines", "axis", "track"), 1)
}
"""The kinds of parts, and what each begins with."""

_PART = re.compile(f"([\x01-{max(KINDS.values())}])([^{END}]*){END}")


def part(kind: str, content: Markup | None) -> Markup:
    """Content that is packed with its like. Such parts do not hold one another."""
    return Markup(f"{KINDS[kind]}{content}{END}" if content else "")


def plain(story: str, kept: list[str] | None = None) -> str:
    """A story as it is written out: its parts in their places, unmarked. With `kept`, its log lines go there."""

    def place(found: re.Match[str]) -> str:
        if kept is None or found[1] != KINDS["lines"]:
            return found[2]
        kept.append(found[2])
        return (
            f'<section class="later" data-n="{len(kept) - 1}">The log lines are packed; a script shows them.</section>'
        )

    return _PART.sub(place, story)


def lines(kept: Iterable[str]) -> str:
    """Log lines that were kept from stories, packed: they are parted by `END`."""
    return _element(END.join(kept), "pack-lines")


def packs(stories: Iterable[str]) -> Iterator[str]:
    """Stories in order, in as many elements as they need."""
    rest = iter(stories)
    while some := list(islice(rest, PACK)):
        yield _element(_pack(some), "pack")


def _pack(stories: Iterable[str]) -> str:
    parts: dict[str, list[str]] = {kind: [] for kind in KINDS.values()}

    def away(found: re.Match[str]) -> str:
        parts[found[1]].append(found[2])
        return found[1]

    cut = [_PART.sub(away, story) for story in stories]
    return "\0".join(END.join(each) for each in (cut, *parts.values()))


def _element(text: str, name: str) -> str:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9)
    packed = deflate.compress(text.encode("utf-8", "backslashreplace")) + deflate.flush()
    return f'<script type="text/plain" class="{name}">{b85encode(packed).decode().replace("<", ",")}</script>\n'
