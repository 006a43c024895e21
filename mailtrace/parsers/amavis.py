"""amavisd-new's summary line (`$log_short_templ`): the one line that names both queue IDs of a filtered message."""

from __future__ import annotations

import re

from mailtrace.ids import POSTFIX, is_postfix
from mailtrace.model import Filtered
from mailtrace.parsers.grammar import UNPARSED, Made, unglued

_ADDRESS = r"<((?:[^<>\"]|\"(?:[^\"\\]|\\.)*\")*)>"
_SUMMARY = re.compile(
    r"\([0-9]+-[0-9]+(?:-[0-9]+)?\) (?P<verdict>(?:Passed|Blocked) [A-Z-]+)(?P<detail> \(.*?\))?(?: \{[^{}]*\})?, "
    rf"(?:(?!<)[^<]*?)?(?P<sender>{_ADDRESS}) -> (?P<to>{_ADDRESS}(?:,{_ADDRESS})*)(?P<more>.*)",
    re.DOTALL,
)
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
    found = _SUMMARY.fullmatch(unglued(text))
    if found is None:
        return UNPARSED if text.startswith("(") else None
    fields: dict[str, str] = {}
    for field in _MORE.finditer(found["more"]):
        if field["key"] == "Subject":  # from here on it is the sender's text
            break
        fields.setdefault(field["key"], field["value"])
    queue_id = fields.get("Queue-ID", "")
    size = fields.get("size", "")
    event = Filtered(
        "amavis",
        found["verdict"],
        queue_id if is_postfix(queue_id) else "",
        tuple(dict.fromkeys(_QUEUE_IDS.findall(fields.get("queued_as", "")))),
        fields.get("Message-ID", "").strip().removeprefix("<").removesuffix(">"),
        found["sender"][1:-1],
        tuple(_RECIPIENT.findall(found["to"])),
        int(size) if size.isascii() and size.isdigit() and len(size) < 19 else None,
    )
    return event.queue_id, event

