"""What a program's grammar is: the text of a line in, its queue ID and event out."""

from __future__ import annotations

from collections.abc import Callable

from mailtrace.model import Event, Note

Made = tuple[str, Event]
"""Queue ID ("" where the line has none) and event."""

UNPARSED: Made = ("", Note("unparsed", ""))
"""What a grammar answers for a line of its program that it does not know."""

Grammar = Callable[[str, str], "Made | None"]
"""Called with the service of the tag and the text; None for a line that tells of no message."""
