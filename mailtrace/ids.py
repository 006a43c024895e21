"""The shapes of message identifiers, and the clocks that hide in them.

Where a shape comes from: Postfix `global/mail_queue.h`, Exim's specification ("Message identification"), sendmail
`queue.c`, Dovecot `lib/guid.c`. All times are UTC seconds; a function answers None where an identifier has no clock
or tells a time that no mail log can have.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode
from binascii import Error as Base64Error
from calendar import timegm
from typing import NamedTuple

_B52 = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"
_B62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGIT52 = {char: value for value, char in enumerate(_B52)}
_DIGIT62 = {char: value for value, char in enumerate(_B62)}

SHORT = r"[0-9A-F]{6,21}"
"""Postfix: five hex digits of microseconds, then the inode."""
LONG = r"[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{10}z[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-y]{1,20}"
"""Postfix with `enable_long_queue_ids`: base-52 seconds and microseconds, `z`, base-51 inode."""
POSTFIX = rf"(?:{SHORT}|{LONG})"
EXIM = r"[0-9A-Za-z]{6}-(?:[0-9A-Za-z]{6}-[0-9A-Za-z]{2}|[0-9A-Za-z]{11}-[0-9A-Za-z]{4})"
"""Exim: base-62 seconds, pid, fraction; 16 characters before 4.97, 23 since."""
SENDMAIL = r"[0-9A-Za-x][0-9AB][0-9A-V][0-9A-N][0-9A-Za-x]{4}[0-9]{6,7}"
SENDMAIL_OLD = r"[A-X][A-Z]{2}[0-9]{5}"
OPENSMTPD = r"[0-9a-f]{8}"
DOVECOT = r"[A-Za-z0-9+/]{22}(?::\w+)*"
"""Dovecot's session: base64 of 16 bytes without its `==`; `:R2`, `:T2` for further recipients and transactions."""

is_short = re.compile(SHORT).fullmatch
is_long = re.compile(LONG).fullmatch
is_postfix = re.compile(POSTFIX).fullmatch
is_exim = re.compile(EXIM).fullmatch
is_sendmail = re.compile(SENDMAIL).fullmatch
is_dovecot = re.compile(DOVECOT).fullmatch
LONG_LIVED = re.compile(rf"{LONG}|{EXIM}|{SENDMAIL}").fullmatch
"""IDs that no other message of the same host gets; short Postfix IDs are reused."""

_EARLIEST = 631152000.0  # 1990: before that, neither program
_LATEST = 4102444800.0  # 2100

_GENERATED = re.compile(rf"<?([0-9]{{4}}){'([0-9]{2})' * 5}\.({SHORT})@([^\s<>@]+)>?")
_GENERATED_LONG = re.compile(rf"<?({LONG})@([^\s<>@]+)>?")
_GENERATED_EXIM = re.compile(rf"<?E({EXIM})@([^\s<>@]+)>?")


class Generated(NamedTuple):
    """What a message ID that an MTA made tells: when, under which queue ID, on which host."""

    time: float | None
    queue_id: str
    host: str


class DovecotSession(NamedTuple):
    """What a Dovecot session ID tells: when, which process, and 8 hex digits that `dovecot_host` also makes."""

    time: float | None
    pid: int
    host_hash: str


def _sane(time: float) -> float | None:
    return time if _EARLIEST <= time < _LATEST else None


def id_time(queue_id: str) -> float | None:
    """When a message got this queue ID: long Postfix IDs to the microsecond, Exim IDs to the second."""
    if queue_id[6:7] == "-":
        return _exim_time(queue_id) if is_exim(queue_id) else None
    return _long_time(queue_id) if is_long(queue_id) else None


def _exim_time(queue_id: str) -> float | None:
    seconds = 0
    for char in queue_id[:6]:
        seconds = seconds * 62 + _DIGIT62[char]
    return _sane(float(seconds))


def _long_time(queue_id: str) -> float | None:
    seconds = micros = 0
    for char in queue_id[:6]:
        seconds = seconds * 52 + _DIGIT52[char]
    for char in queue_id[6:10]:
        micros = micros * 52 + _DIGIT52[char]
    return _sane(seconds + micros / 1e6) if micros < 1_000_000 else None


def short_micros(queue_id: str) -> int | None:
    """The microseconds within its second at which a message got a short Postfix queue ID."""
    if not is_short(queue_id):
        return None
    micros = int(queue_id[:5], 16)
    return micros if micros < 1_000_000 else None


def generated(message_id: str) -> Generated | None:
    """Read a message ID that Postfix (`YYYYMMDDhhmmss.QID@host`, `QID@host`) or Exim (`EID@host`) made."""
    found = _GENERATED.fullmatch(message_id)
    if found:
        return Generated(_calendar(*(int(found[n]) for n in range(1, 7))), found[7], found[8])
    found = _GENERATED_EXIM.fullmatch(message_id) or _GENERATED_LONG.fullmatch(message_id)
    if found:
        return Generated(id_time(found[1]), found[1], found[2])
    return None


def _calendar(*fields: int) -> float | None:
    _, month, day, hour, minute, second = fields
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 61):
        return None
    return _sane(float(timegm(fields)))


def message_id_time(message_id: str, queue_id: str = "") -> float | None:
    """When a message got the message ID that its own MTA made; None when the ID names another `queue_id`."""
    made = generated(message_id)
    if made is None or (queue_id and made.queue_id != queue_id):
        return None
    return made.time


def dovecot(session: str) -> DovecotSession | None:
    """Decode a Dovecot session ID."""
    if not is_dovecot(session):
        return None
    try:
        raw = b64decode(session[:22] + "==", validate=True)
    except Base64Error:
        return None
    nanos = int.from_bytes(raw[:4], "little")
    seconds = int.from_bytes(raw[4:8], "little")
    time = _sane(seconds + nanos / 1e9) if nanos < 1_000_000_000 else None
    return DovecotSession(time, int.from_bytes(raw[8:12], "little"), raw[12:].hex())


def dovecot_host(fqdn: str) -> str:
    """The host hash that Dovecot puts into the sessions of a host of this name."""
    return hashlib.sha1(fqdn.encode("utf-8", "surrogateescape"), usedforsecurity=False).digest()[-4:].hex()


_QUEUED_AS = re.compile(rf"queued as ({LONG})\b")
_OK_ID = re.compile(rf"\b(?:OK|Ok) id=({EXIM})(?![0-9A-Za-z-])")
_GMAIL = re.compile(r"\bOK +([0-9]{10}) \S+ - g?smtp")
_QMAIL = re.compile(r"\bok ([0-9]{9,10}) qp [0-9]+")
_SAVED = re.compile(rf"[ >]({DOVECOT}) Saved")
_CYRUS = re.compile(r"SESSIONID=<[\w.-]*?-[0-9]+-([0-9]{9,10})-[0-9]+[^>]*>")
_SES = re.compile(r"\bOk (0[0-9a-f]{15})-[0-9a-f-]{36}-[0-9]{6}")
_PMG = re.compile(r"\((?:[0-9A-F]{4,9})([0-9A-F]{8})([0-9A-F]{5})\)")
_STALWART = re.compile(r"Message queued with id ([0-9a-f]{10,16})\b")


def reply_time(reply: str) -> float | None:
    """The UTC clock in an SMTP acceptance reply: when the other side took the message, by its own clock."""
    reply = reply[-4096:]
    if "queued as " in reply:
        found = _QUEUED_AS.findall(reply)
        return id_time(found[-1]) if found else None
    if " id=" in reply:
        exim = _OK_ID.search(reply)
        return id_time(exim[1]) if exim else None
    if "smtp" in reply and (gmail := _GMAIL.search(reply)):
        return _sane(float(gmail[1]))
    if " qp " in reply and (qmail := _QMAIL.search(reply)):
        return _sane(float(qmail[1]))
    if reply.endswith("Saved") and (saved := _SAVED.search(reply)):
        session = dovecot(saved[1])
        return session.time if session else None
    return _rare_time(reply)


def _rare_time(reply: str) -> float | None:
    if found := _CYRUS.search(reply):
        return _sane(float(found[1]))
    if found := _SES.search(reply):
        return _sane((int(found[1], 16) % (1 << 44)) / 1000)
    if found := _PMG.search(reply):
        return pmg_time(found[0][1:-1])
    if found := _STALWART.search(reply):
        return stalwart_time(int(found[1], 16))
    return None


def pmg_time(session: str) -> float | None:
    """When a Proxmox filter session began: its last 13 hex digits are seconds and microseconds."""
    try:
        return _sane(int(session[-13:-5], 16) + int(session[-5:], 16) / 1e6)
    except ValueError:
        return None


def stalwart_time(queue_id: int) -> float | None:
    """When Stalwart queued a message: milliseconds since 1632280000 s in all but the lowest 21 bits."""
    return _sane(1632280000 + (queue_id >> 21) / 1000)
