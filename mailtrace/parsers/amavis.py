"""amavisd-new's summary line (`$log_short_templ`): the one line that names both queue IDs of a filtered message."""

from __future__ import annotations

import re

from mailtrace.ids import POSTFIX, is_postfix
from mailtrace.model import Filtered
from mailtrace.parsers.grammar import UNPARSED, Made, unglued

_ADDRESS = r'<([^<>"]*(?:"[^"\\]*(?:\\.[^"\\]*)*"[^<>"]*)*)>'
_VERDICT = re.compile(r"\([0-9]+-[0-9]+(?:-[0-9]+)?\) ((?:Passed|Blocked) [A-Z-]+)")
_ENVELOPE = re.compile(rf"(?: \{{[^{{}}]*\}})?, [^<]*({_ADDRESS}) -> ({_ADDRESS}(?:,{_ADDRESS})*)")
_MORE = re.compile(
    r", (?P<key>Queue-ID|Message-ID|size|queued_as|Subject): "
    r"(?P<value><[^<>]*>|[^,]*)"
)
_QUEUE_IDS = re.compile(POSTFIX)
_RECIPIENT = re.compile(_ADDRESS)


def read(service: str, text: str) -> Made | None:
    """The first queue ID and event of a line; None for one that sums nothing up."""
    if " Passed " not in text[:48] and " Blocked " not in text[:48]:
        return None
    verdict = _VERDICT.match(text)
    if verdict is None:
        return UNPARSED if text.startswith("(") else None
    text = unglued(text)
    at = verdict.end()
    if text.startswith(" (", at):  # names of banned files, which their sender chose
        end = text.find(") {", at)
        at = (end if end >= 0 else text.find("), ", at)) + 1
    found = _ENVELOPE.match(text, at)
    if found is None:
        return UNPARSED
    fields: dict[str, str] = {}
    for field in _MORE.finditer(text, found.end()):
        if field["key"] == "Subject":  # from here on it is the sender's text
            break
        fields.setdefault(field["key"], field["value"])
    queue_id = fields.get("Queue-ID", "")
    size = fields.get("size", "")
    event = Filtered(
        "amavis",
        verdict[1],
        queue_id if is_postfix(queue_id) else "",
        tuple(dict.fromkeys(_QUEUE_IDS.findall(fields.get("queued_as", "")))),
        fields.get("Message-ID", "").strip().removeprefix("<").removesuffix(">"),
        found[2],
        tuple(_RECIPIENT.findall(found[3])),
        int(size) if size.isascii() and size.isdigit() and len(size) < 19 else None,
    )
    return event.queue_id, event
