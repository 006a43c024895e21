"""The shape of a log's lines, learnt from one of them: what is the same in line after line need not be read again.

Two envelopes are known so: `STAMP HOST TAG[PID]: text` (RFC 3164, rsyslog's ISO 8601) and Exim's own `STAMP ID text`.
One expression goes over a whole block of such lines and takes each apart where it is certain to be right; every other
line comes back as it is, for `envelope` to read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import NamedTuple

from mailtrace.ids import EXIM, POSTFIX
from mailtrace.model import Zone
from mailtrace.parsers.envelope import Framed
from mailtrace.parsers.grammar import About, Grammar

MEMO = 8192
_WORDS = 3
_SECONDS = frozenset(f"{second:02}" for second in range(60))

IDLE = ("connect ", "disconne", "lost con", "CONNECT ", "PASS OLD", "PASS NEW", "Anonymou", "Untruste", "statisti")
"""How the commonest texts begin that concern no message."""
_IDLE_EXIM = ("Start queue run", "End queue run", "no host name found ", "no IP address found ", "SMTP connection ")
"""The same in Exim's own log."""

Row = tuple[str, str, str, str, str, str, str, str, str]
"""A line taken apart: the line itself (where it is to be kept), its stamp, the stamp's whole seconds and fraction, what
stands between stamp and process ID, the process ID, the queue ID, the text. All of these are empty for an idle line,
and for a line of another shape, which is the last field."""

Tag = tuple[str, str, str, "Grammar | None", "About | None"]
"""Who wrote a line: the host it names, instance, service, grammar and what reads behind a queue ID. (Unpacked a million
times: no NamedTuple.)"""


def text_of(block: bytes) -> str:
    """The text of a block of lines, which end in a newline each, the last in none."""
    text = block.decode("utf-8", "surrogateescape")
    if "\r" in text:
        text = text.replace("\r\n", "\n").removesuffix("\r")
    return text.removesuffix("\n")


class Form(NamedTuple):
    """What the stamps of a log have in common: how far whole seconds reach, the digits of the fraction (0: none), the
    offset as it is written, the zone; and the words between the stamp and the text: host, facility and tag, as many of
    them as there are, none in Exim's own log.
    """

    start: int
    digits: int
    offset: str
    zone: Zone
    words: int


def form_of(line: str, framed: Framed) -> Form | None:
    """The form of a line whose stamp can be looked up; None for others."""
    raw = framed.raw_time
    words = 0
    if framed.host or framed.tag != "exim":
        words = line[len(raw) :].partition(": ")[0].count(" ")
        if not 0 < words <= _WORDS:
            return None
    if len(raw) == 15:
        return Form(15, 0, "", framed.zone, words) if framed.zone is Zone.YEARLESS else None
    if raw[4:5] != "-" or raw[19:20] == ",":
        return None
    digits = len(raw[20:]) - len(raw[20:].lstrip("0123456789")) if raw[19:20] == "." else 0
    return Form(19, digits, raw[20 + digits :] if digits else raw[19:], framed.zone, words)


class Shape:
    """Lines of one form, and the stamps and tags of them that are known."""

    def __init__(self, form: Form, *, keep: bool, idle: bool) -> None:
        """`keep` gives each row its line; with `idle` texts that begin like `IDLE` are left out."""
        self.form = form
        self.zone = form.zone
        self.scale = 10**form.digits if form.digits else 0
        self.tags: dict[str, Tag] = {}
        self._minutes: dict[str, float] = {}
        self.seconds: dict[str, float] = {}
        self.rows: Callable[[str, int], list[Row]] = _pattern(form, keep=keep, idle=idle).findall

    def learn(self, framed: Framed, who: str, tag: Tag) -> None:
        """Remember the stamp and the tag of a line."""
        if len(self.seconds) > MEMO or len(self.tags) > MEMO:
            self.seconds.clear()
            self._minutes.clear()
            self.tags.clear()
        raw, start = framed.raw_time, self.form.start
        second = float(math.floor(framed.time))  # the fraction is added again
        self.seconds[raw[:start]] = second
        self._minutes[raw[: start - 2]] = second - int(raw[start - 2 : start])
        self.tags[who] = tag

    def line(self, stamp: str, who: str, number: str, queue_id: str, rest: str) -> str:
        """The line of a row."""
        text = self.text(queue_id, rest)
        if not self.form.words:
            return f"{stamp} [{number}] {text}" if number else f"{stamp} {text}"
        process = f"[{number}]" if number else ""
        return f"{stamp}{who}{process}: {text}"

    def text(self, queue_id: str, rest: str) -> str:
        """The text of a row, with its queue ID."""
        if not queue_id:
            return rest
        return f"{queue_id}: {rest}" if self.form.words else f"{queue_id} {rest}"

    def who(self, line: str, framed: Framed) -> str | None:
        """What stands between stamp and process ID of a line of this form; None for one of another shape."""
        for row in self.rows(line, 0):
            _raw, stamp, _second, _fraction, who, number, queue_id, rest, _other = row
            if rest and stamp == framed.raw_time and self.text(queue_id, rest) == framed.text:
                same = int(number or "0") == framed.pid and (who.endswith(framed.tag) or not who)
                return who if same else None
        return None

    def second(self, stamp: str) -> float:
        """The time of a stamp whose minute is known; `KeyError` for one that must be read as a whole."""
        minute, second = self._minutes[stamp[:-2]], stamp[-2:]
        if second not in _SECONDS:
            raise KeyError(stamp)
        if len(self.seconds) > MEMO:
            self.seconds.clear()
        time = self.seconds[stamp] = minute + int(second)
        return time


def _pattern(form: Form, *, keep: bool, idle: bool) -> re.Pattern[str]:
    """What takes the lines of a block apart, one `Row` each."""
    fraction = rf"\.([0-9]{{{form.digits}}})" if form.digits else "()"
    stamp = rf"((.{{{form.start}}}){fraction}{re.escape(form.offset)})"
    skipped = f"(?:{'|'.join(IDLE if form.words else _IDLE_EXIM)}).*|" if idle else ""
    if not form.words:
        line = rf"{stamp}() (?:\[([0-9]{{1,10}})\] )?(?:{skipped}(?:({EXIM}) |(?=H=))(.+))"
    else:
        who = " [^ \\[\\]\\n]+" * (form.words - 1) + " [^ \\[\\]:\\n]+"
        line = rf"{stamp}({who})(?:\[([0-9]{{1,10}})\])?: +(?:{skipped}(?:({POSTFIX}): )?(.+))"
    return re.compile(rf"^(?:{f'({line})' if keep else f'(){line}'}|(.*))$", re.MULTILINE)
