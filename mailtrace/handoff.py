"""What an SMTP reply says: the ID that the next hop gave the message, or that there is none to follow.

Called for every delivery of a log, so the cheap tests stand before the expressions and the commonest reply first.
A reply is the other side's text, and a hostile one may quote any other: an ID must have its program's shape and stand
where that program puts it; where a chain of filters repeats `queued as`, the last one is the truth.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mailtrace.ids import DOVECOT, EXIM, SENDMAIL, is_postfix


class ReplyId(NamedTuple):
    """The identifier in a reply.

    `kind` is the program that gives such IDs: postfix, exim, sendmail, dovecot …, `forwarded` for Postfix' own
    `forwarded as`, `other` for an ID of no known shape, "" when only the verdict is told.
    `host` where the reply names the host that took the message.
    `message_id` where the reply repeats the message's own (Exchange), without <>.
    `verdict` is the outcome that overrides an accepted message: `discarded`, `quarantined`, or "".
    """

    kind: str
    id: str
    host: str = ""
    verdict: str = ""
    message_id: str = ""


_LONGEST = 4096
"""Characters of a reply that are looked at; no server says more, and a hostile one may."""
_TOKEN = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]*")
_END = r"(?![0-9A-Za-z-])"
_EXIM = re.compile(rf"(?:^|[ n\n])250[ -](?:[0-9]\.[0-9]\.[0-9] )?(?:OK|Ok) id=({EXIM}){_END}")
_GMX = re.compile(r"completed: id=([0-9A-Za-z-]+)")
_SAVED = re.compile(rf"[ >]({DOVECOT}) Saved")
_SENDMAIL = re.compile(rf"(?:^|[ (])({SENDMAIL}) Message accepted for delivery")
_PROOFPOINT = re.compile(
    r"[ (]([0-9A-Za-z]{14,15}-[0-9A-Za-z]{14,15}|[0-9a-z]{10}-[0-9]+) Message accepted for delivery"
)
_OPENSMTPD = re.compile(r"(?<![-\w])([0-9a-f]{8}) Message accepted for delivery")
_ACCEPTED = re.compile(r"(?<![-\w])([\w-]{8,64}) (?:[Mm]ail|[Mm]essage) accepted for delivery")
_ACCEPTED_ID = re.compile(r"Message id (\w{1,64}) accepted")
_GMAIL = re.compile(r"\bOK +([0-9]{10} \S+) - g?smtp")
_QMAIL = re.compile(r"\bok ([0-9]{9,10} qp [0-9]+)")
_EXCHANGE = re.compile(r"(?:<([^<>\s]{0,500})>)? \[InternalId=([0-9]+)(?:, Hostname=([^\]\s]+))?\]")
_EXCHANGE_OLD = re.compile(r"250 +(?:2\.6\.0 +)?<?([^<>\s@]{1,250}@[^<>\s]{1,250})>? Queued mail for delivery")
_SEZNAM = re.compile(r"Mail ([0-9]+) queued for delivery in session (\w+)")
_IRONPORT = re.compile(r"ok: +Message ([0-9]+) accepted")
_CYRUS = re.compile(r"SESSIONID=<([^<>\s]+)>")
_SES = re.compile(r"\bOk (0[0-9a-f]{15}-[0-9a-f-]{36}-[0-9]{6})")
_HARAKA = re.compile(r"\(([0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12}(?:\.[0-9]+)+)\)")
_STALWART = re.compile(r"Message queued with id ([0-9a-f]+)")
_PMG = re.compile(r"(OK|BLOCKED) \(([0-9A-F]{17,22})\)")
_ENVELOPE = re.compile(r"envelope id ([^\s@]+)@(\S+)")
_YANDEX = re.compile(r"queued on (\S+) as (\S+)")
_AMAVIS = re.compile(r"\bid=([0-9]+-[0-9]+(?:-[0-9]+)?)")
_DISCARDED = re.compile(r"(?:^|[ n\n])250[ -](?:[0-9]\.[0-9]\.[0-9] )?(?:Ok|OK),? (?:discarded|DISCARD)\b|\bDISCARD\(")
_QUARANTINED = re.compile(r"(?:^|[ n\n])250[ -](?:[0-9]\.[0-9]\.[0-9] )?(?:(?:Ok|OK),? )?[Qq]uarantined\b")


def reply_id(text: str) -> ReplyId | None:
    r"""The identifier and the verdict in the reply to an accepted message; None where it tells neither.

    `text` is what stands in Postfix' `status=sent (…)`, Exim's `C="…"` and the like; lines of a longer reply may
    be joined by a space, a newline or a literal `\n`.
    """
    at = text.rfind("queued as ")
    if at >= 0:
        return _queued_as(text, at + 10)
    if text.startswith("delivered "):  # Postfix' own words: no other host took it
        return ReplyId("", "", verdict="discarded") if text == "delivered to file: /dev/null" else None
    if "id=" in text:
        found = _EXIM.search(text)
        if found:
            return ReplyId("exim", found[1])
    if text.startswith("forwarded as "):
        return ReplyId("forwarded", text[13:]) if is_postfix(text[13:]) else None
    return _by_words(text)


def _queued_as(text: str, at: int) -> ReplyId | None:
    found = _TOKEN.match(text, at)
    if found is None:
        return None
    token = found[0]
    verdict = "discarded" if "iscard" in text and _DISCARDED.search(text) else ""
    if is_postfix(token):
        return ReplyId("postfix", token, "", verdict)
    return ReplyId("other", token.rstrip("."), "", verdict)


def _by_words(text: str) -> ReplyId | None:
    """Look for the words that go with each kind of ID, and only then for the ID."""
    text = text[:_LONGEST]
    for word, read in _READERS:
        if word in text:
            found = read(text)
            if found is not None:
                return found
    return None


def _saved(text: str) -> ReplyId | None:
    found = _SAVED.search(text)
    return ReplyId("dovecot", found[1]) if found else None


def _accepted(text: str) -> ReplyId | None:
    for kind, pattern in (
        ("proofpoint", _PROOFPOINT),
        ("sendmail", _SENDMAIL),
        ("opensmtpd", _OPENSMTPD),
        ("other", _ACCEPTED),
        ("other", _ACCEPTED_ID),
    ):
        found = pattern.search(text)
        if found:
            return ReplyId(kind, found[1])
    return None


def _exchange(text: str) -> ReplyId | None:
    found = _EXCHANGE.search(text)
    if found:
        return ReplyId("exchange", found[2], found[3] or "", "", found[1] or "")
    found = _EXCHANGE_OLD.search(text)
    return ReplyId("message-id", found[1], "", "", found[1]) if found else None


def _yandex(text: str) -> ReplyId | None:
    found = _YANDEX.search(text)
    return ReplyId("yandex", found[2], found[1]) if found else None


def _envelope(text: str) -> ReplyId | None:
    found = _ENVELOPE.search(text)
    return ReplyId("envelope", found[1], found[2]) if found else None


def _pmg(text: str) -> ReplyId | None:
    found = _PMG.search(text)
    return ReplyId("pmg", found[2], "", "discarded" if found[1] == "BLOCKED" else "") if found else None


def _discarded(text: str) -> ReplyId | None:
    if not _DISCARDED.search(text):
        return None
    found = _AMAVIS.search(text)
    return ReplyId("amavis" if found else "", found[1] if found else "", "", "discarded")


def _quarantined(text: str) -> ReplyId | None:
    if not _QUARANTINED.search(text):
        return None
    found = _AMAVIS.search(text)
    return ReplyId("amavis" if found else "", found[1] if found else "", "", "quarantined")


class _Plain:
    """A kind whose ID is the first group of one expression."""

    def __init__(self, kind: str, pattern: re.Pattern[str]) -> None:
        self.kind = kind
        self.pattern = pattern

    def __call__(self, text: str) -> ReplyId | None:
        found = self.pattern.search(text)
        return ReplyId(self.kind, found[1]) if found else None


_READERS = (
    ("iscard", _discarded),
    ("DISCARD", _discarded),
    ("uarantined", _quarantined),
    ("Saved", _saved),
    ("smtp", _Plain("gmail", _GMAIL)),
    ("accepted for delivery", _accepted),
    ("InternalId=", _exchange),
    ("Queued mail for delivery", _exchange),
    (" in session ", _Plain("seznam", _SEZNAM)),
    ("ok: ", _Plain("ironport", _IRONPORT)),
    (" qp ", _Plain("qmail", _QMAIL)),
    ("SESSIONID=<", _Plain("cyrus", _CYRUS)),
    ("envelope id ", _envelope),
    ("completed: id=", _Plain("gmx", _GMX)),
    ("queued on ", _yandex),
    ("queued with id ", _Plain("stalwart", _STALWART)),
    ("OK (", _pmg),
    ("BLOCKED (", _pmg),
    ("Ok 0", _Plain("ses", _SES)),
    (")", _Plain("haraka", _HARAKA)),
    ("id=", _Plain("amavis", _AMAVIS)),
)
