"""What a program's grammar is: the text of a line in, its queue ID and event out."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

from mailtrace.model import Event, Note

Made = tuple[str, Event]
"""Queue ID ("" where the line has none) and event."""

UNPARSED: Made = ("", Note("unparsed", ""))
"""What a grammar answers for a line of its program that it does not know."""

Grammar = Callable[[str, str], "Made | None"]
"""Called with the service of the tag and the text; None for a line that tells of no message."""

About = Callable[[str, str], "Event | None"]
"""Called with the service of the tag and the text behind a queue ID of the program's shape; None for an unknown one."""

made_of = cast("Callable[[type[Any], tuple[object, ...]], Any]", tuple.__new__)
"""A NamedTuple made in C, without the detour through its Python constructor."""

_GLUED = re.compile(
    r"(?:[A-Z][a-z]{2} {1,2}[0-9]{1,2}|[0-9]{4}-[0-9]{2}-[0-9]{2})[T ][0-9]{2}:[0-9]{2}:[0-9]{2}"
    r"[^\s\[\]]{0,16} [^\s\[\]]{1,255} [^\s\[\]:]{1,128}\[[0-9]{1,10}\]: "
)


def unglued(text: str) -> str:
    """The text up to the stamp of another line, where a newline was lost.

    What follows is not read as a line of its own: the text of a line is other people's, and may be made to look so.
    """
    if "]: " not in text:
        return text
    found = _GLUED.search(text)
    return text[: found.start()] if found else text
