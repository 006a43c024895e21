"""Dovecot's delivery lines (LMTP, LDA, sieve; lib-lda and pigeonhole sources): where a message was put."""

from __future__ import annotations

import re

from mailtrace.ids import DOVECOT
from mailtrace.model import Stored
from mailtrace.parsers.grammar import UNPARSED, Made, unglued

_LINE = re.compile(
    rf"(?P<program>lmtp|lda|deliver)\((?P<user>[^()]*)\)(?:<[0-9]*><(?P<session>{DOVECOT})?>|<[0-9]*>)?: "
    rf"(?:(?:Info|Error|Warning|Debug|Fatal): )?(?:(?P<old>{DOVECOT}): )?(?:(?:Info|Error|Warning): )?(?:sieve: )?"
    r"msgid=(?P<id><[^<>]*>|[^\s:]*)(?: \([^()]*\))?: (?:[a-z]+ action: )?(?P<what>.*)",
    re.DOTALL,
)
_WHATS = (
    (re.compile(r"saved mail to (.*)", re.DOTALL), "stored"),
    (re.compile(r"stored mail into mailbox '(.*)'", re.DOTALL), "stored"),
    (re.compile(r"forwarded to <([^<>]*)>", re.DOTALL), "forwarded"),
    (re.compile(r"discarded duplicate forward to <([^<>]*)>", re.DOTALL), "discarded"),
    (re.compile(r"(?:marked message to be )?discarded(?: (.*))?", re.DOTALL), "discarded"),
    (re.compile(r"rejected(?: (.*))?", re.DOTALL), "rejected"),
    (re.compile(r"save failed to ([^:]*)(?:: .*)?", re.DOTALL), "failed"),
    (re.compile(r"failed to store into mailbox '?([^':]*)'?(?:: .*)?", re.DOTALL), "failed"),
)


def read(service: str, text: str) -> Made | None:
    """The event of a line; None for one that delivers nothing (Dovecot's lines never have a queue ID)."""
    if "msgid=" not in text or not text.startswith(("lmtp(", "lda(", "deliver(")):
        return None
    found = _LINE.fullmatch(unglued(text))
    if found is None:
        return UNPARSED
    message_id = found["id"]
    if message_id == "unspecified":
        message_id = ""
    message_id = message_id.removeprefix("<").removesuffix(">")
    for pattern, what in _WHATS:
        done = pattern.fullmatch(found["what"])
        if done is not None:
            session = found["session"] or found["old"] or ""
            where = (done[1] or "") if done.re.groups else ""
            return "", Stored("dovecot", session, found["user"], message_id, what, where)
    return None
