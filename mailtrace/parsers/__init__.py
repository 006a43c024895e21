"""Parsers: bytes of log lines in, entries out. The registry of their names."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from mailtrace.model import Parser
from mailtrace.parsers.lines import LineParser

FORMATS: dict[str, str] = {
    "auto": "auto",
    "rfc3164": "rfc3164",
    "rfc5424": "rfc5424",
    "iso8601": "iso8601",
    "exim": "exim",
    "journal": "journal",
    "SyslogParser": "auto",
    "Rfc3164Parser": "rfc3164",
    "Rfc5424Parser": "rfc5424",
}
"""The words of a job and of a config, and the format they mean."""


def make_parser(
    names: Sequence[str] = (),
    time_format: str = "",
    keep_raw: bool = False,  # noqa: FBT001, FBT002 - the third thing said of a parser, everywhere
    *,
    sessions: bool = False,
) -> Parser:
    """A parser of these formats, tried in order; none means `auto`.

    `time_format` (strftime's letters) is a hint: a stamp it fits is read by it, any other as if it were not there.
    `keep_raw` keeps the line in each entry; `sessions` yields connections too.
    Raises ValueError for an unknown name or a time format that can't be read back.
    """
    formats = []
    for name in names:
        known = FORMATS.get(name)
        if known is None:
            near = get_close_matches(name, FORMATS, 1)
            hint = f", did you mean {near[0]}?" if near else ""
            message = f"unknown parser {name!r}{hint} (there are {', '.join(FORMATS)})"
            raise ValueError(message)
        formats.append(known)
    return LineParser(formats, time_format, keep_raw=keep_raw, sessions=sessions)


__all__ = ["FORMATS", "make_parser"]
