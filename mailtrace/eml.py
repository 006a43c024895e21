"""A message in hand: a mail as a file, pasted headers, or a bounce; what of it logs can know.

- A mail: its Message-ID, and of each `Received:` header the host, queue ID, peer and time (RFC 5321 4.4; each server
  writes them its own way, so only what is common is taken).
- A delivery report (RFC 3464): the fields of its `message/delivery-status` part (`X-Postfix-Queue-ID`, recipients,
  `Arrival-Date`), and the headers of the message that it returns.
- Bounces of older or other servers in plain words (Exim, Exchange, Gmail, qmail): the headers of the message that they
  quote, wherever in the text those begin; `X-Failed-Recipients`.

What comes in is hostile: at most `MOST_BYTES` are read and `MOST_HOPS` headers taken, the newest, which are the most
trustworthy; nothing in it is believed without the logs, and what the logs do not have is marked as only told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from email import message_from_bytes, message_from_string, policy
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesHeaderParser
from email.utils import getaddresses, parsedate_to_datetime
from html import unescape

from mailtrace.errors import RequestError
from mailtrace.keylist import decoded, read_bytes
from mailtrace.model import Headers, Letter, Peer, ToldHop
from mailtrace.problem import Problem

MOST_BYTES = 32 * 1024 * 1024
MOST_HOPS = 100
MOST_TEXT = 2_000_000
"""Bytes of a bounce in which the message it is about is looked for."""
LONGEST = 4000
"""Letters of one header; what is longer says nothing that is true."""
HOUR, DAY = 3600.0, 86400.0
QUEUE_LIFE = 5 * DAY

_FIELD = re.compile(r"[!-9;-~]{1,80}:(?=[ \t]|$|\S)")
_QUOTED = re.compile(r"(?:>[ ]?|[ \t]{2,})")
_USUAL = re.compile(
    r"(?:received|return-path|message-id|from|to|subject|date|delivered-to|dkim-signature|mime-version|x-[\w-]+):",
    re.IGNORECASE,
)
_BOUNCED = re.compile(
    r"undeliver|delivery (?:status|failure|has failed|incomplete)|returned mail|failure notice|mail delivery|"
    r"delayed mail|non.?delivery",
    re.IGNORECASE,
)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9+/=._-]{5,63}")
_VERSION = re.compile(r"[\d.]+")  # Exchange writes its version where others write an ID
_BY = re.compile(r"(?:^|\s)by\s+([^\s;]+)", re.IGNORECASE)
_WITH = re.compile(r"\swith\s+([A-Za-z0-9-]+)", re.IGNORECASE)
_WITH_ID = re.compile(r"\sid\s+<?([^\s;<>]+)", re.IGNORECASE)
_FOR = re.compile(r"\sfor\s+<?([^\s<>;]+@[^\s<>;]+)>?", re.IGNORECASE)
_TLS = re.compile(r"\b(?:TLS|SSL)v?\d(?:[._]\d)?\b", re.IGNORECASE)
_BRACKETED = re.compile(r"\[(?:IPv6:)?([0-9A-Fa-f:.]{3,45})\]")
_IN_PARENTHESES = re.compile(r"\(([0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+)\)")
_SECURE = re.compile(r"(?:UTF8)?(?:E?SMTP|LMTP)SA?", re.IGNORECASE)
_OLE = b"\xd0\xcf\x11\xe0"


def read_letter(path: str) -> Letter:
    """The message of a file, `-` is standard input. Raises `RequestError` where it tells nothing to search for."""
    data = read_bytes(path, "eml", MOST_BYTES, cut=True)
    named = "standard input" if path == "-" else path
    if data.startswith(_OLE):
        raise _wrong(f"{named} is in Outlook's own format", "save it as .eml, or paste its headers into a file")
    letter = letter_of(data[:MOST_BYTES])
    if len(data) > MOST_BYTES:
        note = f"of {named} the first {MOST_BYTES // 1024 // 1024} MB were read"
        letter = letter._replace(notes=(*letter.notes, note))
    if not letter.literals:
        hint = "a mail, its headers, or a bounce that quotes them"
        raise _wrong(f"{named} holds no Message-ID, queue ID or address", hint)
    return letter


def letter_of(data: bytes) -> Letter:
    """What a message tells. Never raises, whatever the bytes are."""
    outer = _message(data)
    sheets: list[Headers] = []
    notes: list[str] = []
    reported: list[tuple[str, float | None]] = []
    failed: list[str] = []
    inner = _returned(outer) if _is_bounce(outer) else None
    if inner is not None:
        sheets.append(_sheet(inner, "returned", notes))
    if inner is not None or _is_bounce(outer):
        for fields in _reports(outer):
            arrived = _time(fields.get("Arrival-Date", ""))
            queue_id = _clean(fields.get("X-Postfix-Queue-ID", ""))
            reported += [(queue_id, arrived)] if _ID.fullmatch(queue_id) else []
            failed += [_after_type(fields.get(name, "")) for name in ("Original-Recipient", "Final-Recipient")]
        failed += _addresses(outer, "X-Failed-Recipients")
    sheets.append(_sheet(outer, "bounce" if _is_bounce(outer) else "message", notes))
    if failed and sheets:
        known = (*(address for address in failed if address), *sheets[0].recipients)
        sheets[0] = sheets[0]._replace(recipients=tuple(dict.fromkeys(known)))
    ids = [sheet.message_id for sheet in sheets if sheet.message_id]
    for reply in () if inner is not None else ("In-Reply-To", "References"):
        ids += _message_ids(outer, reply) if _is_bounce(outer) else []
    hops = [hop for sheet in sheets for hop in sheet.hops]
    queue_ids = [*reported, *((hop.queue_id, hop.time) for hop in hops if hop.queue_id)]
    start, end = _window(outer, [sheet.hops for sheet in sheets], inner)
    recipients = tuple(dict.fromkeys(address for sheet in sheets for address in sheet.recipients))
    return Letter(
        tuple(sheets), tuple(dict.fromkeys(ids)), tuple(dict.fromkeys(queue_ids)), recipients, start, end, tuple(notes)
    )


def known_hops(sheet: Headers, hops: Iterable[tuple[str, str, float]]) -> Headers:
    """A sheet whose hops name those of the logs that they are: same queue ID, about the same time.

    `hops` are id, queue ID and begin (UTC) of each.
    """
    by_id: dict[str, list[tuple[str, float]]] = {}
    for hop_id, queue_id, first in hops:
        by_id.setdefault(queue_id, []).append((hop_id, first))

    def known(told: ToldHop) -> ToldHop:
        near = [
            (abs(first - told.time) if told.time is not None else 0.0, hop_id)
            for hop_id, first in by_id.get(told.queue_id, ())
            if told.time is None or abs(first - told.time) < QUEUE_LIFE
        ]
        return told._replace(hop=min(near)[1]) if near else told

    return sheet._replace(hops=tuple(known(told) for told in sheet.hops))


# ------------------------------------------------------------------------------------------ messages


def _message(data: bytes) -> Message:
    """The message that bytes are: a mail, or headers that were pasted with what stood around them."""
    text = decoded(data[:MOST_TEXT])
    first = next((line for line in text.splitlines() if line.strip()), "")
    if not (first.startswith("From ") or (_FIELD.match(first) and not _QUOTED.match(first))):
        return _quoted(text) or message_from_string("", policy=policy.compat32)
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        data = text.encode("utf-8", "replace")
    data = data.lstrip()
    headers = BytesHeaderParser(policy=policy.compat32).parsebytes(re.split(rb"\r?\n\r?\n", data, maxsplit=1)[0])
    if not _is_bounce(headers):
        return headers  # what such a mail is about is not in its body
    try:
        return message_from_bytes(data[:MOST_TEXT], policy=policy.compat32)
    except (RecursionError, MessageError, ValueError, LookupError):
        return headers


def _quoted(text: str) -> Message | None:
    """The first block of headers in a text that has a Message-ID, else the first with a `Received:`."""
    found: Message | None = None
    for block in _blocks(text):
        message = message_from_string(block, policy=policy.compat32)
        if message.get("Message-ID"):
            return message
        found = found or message
    return found


def _blocks(text: str) -> Iterator[str]:
    """Runs of lines that are headers, with or without `>` or blanks before all of them."""
    block: list[str] = []
    for written in [*text.splitlines(), ""]:
        line = _unquoted(written, begun=bool(block))
        bare = line.strip()
        if (block and bare and line[:1] in " \t" and not _USUAL.match(bare)) or _FIELD.match(line):
            block.append(line[:LONGEST])
        elif block and bare and _USUAL.match(bare):
            block.append(bare[:LONGEST])
        else:
            if len(block) > 1 and any(each.lower().startswith(("message-id:", "received:")) for each in block):
                yield "\n".join(block) + "\n\n"
            block = []


def _unquoted(line: str, *, begun: bool) -> str:
    """A line without what a mail program puts before quoted text, or an editor before an indented one."""
    if begun:
        return line.removeprefix(">").removeprefix(" ") if line.startswith(">") else line
    quote = _QUOTED.match(line)
    return line[quote.end() :] if quote and _USUAL.match(line[quote.end() :]) else line


def _is_bounce(message: Message) -> bool:
    if message.get_content_type() == "multipart/report" or message.get("X-Failed-Recipients"):
        return True
    sender = f"{_clean(message.get('From', ''))} {_clean(message.get('Sender', ''))}".lower()
    empty = _clean(message.get("Return-Path", "")) == "<>"
    daemon = "mailer-daemon" in sender or "postmaster" in sender or "mail delivery" in sender
    return daemon or (empty and bool(_BOUNCED.search(_clean(message.get("Subject", "")))))


def _returned(message: Message) -> Message | None:
    """The message that a bounce is about: attached, its headers alone, or quoted in the text."""
    try:
        parts = [part for part in message.walk() if part is not message]
    except RecursionError:
        parts = []
    for part in parts:
        kind = part.get_content_type()
        if kind in ("message/rfc822", "message/global"):
            content = part.get_payload()
            inner = content[0] if isinstance(content, list) and content else None
            if isinstance(inner, Message) and (inner.get("Message-ID") or inner.get("Received")):
                return inner
        elif kind in ("text/rfc822-headers", "message/global-headers"):
            return message_from_string(_text(part), policy=policy.compat32)
    texts = [_text(part) for part in parts or [message] if part.get_content_maintype() == "text" or part is message]
    found = [quoted for text in texts if (quoted := _quoted(text)) is not None]
    return next((each for each in found if each.get("Message-ID")), found[0] if found else None)


def _text(part: Message) -> str:
    """The text of a part, decoded as well as can be; of HTML, its words."""
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else str(part.get_payload()).encode("utf-8", "replace")
    try:
        text = data[:MOST_TEXT].decode(part.get_content_charset() or "utf-8", "replace")
    except (LookupError, ValueError):
        text = data[:MOST_TEXT].decode("latin-1")
    if part.get_content_subtype() == "html":
        text = text.replace("\n ", "\x01").replace("\n\t", "\x01")  # a folded header stays one
        text = unescape(re.sub(r"<[^<>]{0,2000}>", "\n", text)).replace("\x01", "\n ")
    return text


def _reports(message: Message) -> Iterator[Message]:
    """The groups of fields of a delivery report: one of the message, one for each recipient (RFC 3464 2.1)."""
    try:
        parts = list(message.walk())
    except RecursionError:
        return
    for part in parts:
        if part.get_content_type() in ("message/delivery-status", "message/global-delivery-status"):
            content = part.get_payload()
            yield from (each for each in (content if isinstance(content, list) else ()) if isinstance(each, Message))


# -------------------------------------------------------------------------------------------- fields


def _sheet(message: Message, kind: str, notes: list[str]) -> Headers:
    """What one message's headers tell."""
    received = [_clean(value) for value in message.get_all("Received", [])]
    if len(received) > MOST_HOPS:
        notes.append(f"the headers have {len(received):,} Received lines; the {MOST_HOPS} newest were taken")
    sender = _clean(message.get("Return-Path", "")).strip("<> ") if message.get("Return-Path") is not None else None
    if sender is None:
        sender = next(iter(_addresses(message, "From")), None)
    names = ("Envelope-To", "X-Original-To", "Delivered-To", "To", "Cc")
    hops = tuple(_hop(value) for value in reversed(received[:MOST_HOPS]))
    recipients = [*(hop.recipient for hop in hops if hop.recipient)]
    recipients += [address for name in names for address in _addresses(message, name)]
    ids = _message_ids(message, "Message-ID")
    return Headers(
        kind,
        ids[0] if ids else "",
        sender,
        tuple(dict.fromkeys(recipients)),
        _subject(message),
        hops,
    )


def _hop(text: str) -> ToldHop:
    """One `Received:` header."""
    told, _, date = text.rpartition(";")
    told, date = (told, date) if told else (text, "")
    bare = _without_comments(told)
    by = _BY.search(bare)
    origin = told[: _BY.search(told).start()] if _BY.search(told) else told  # type: ignore[union-attr]
    name = re.match(r"from\s+(\S+)", origin, re.IGNORECASE)
    ip = _BRACKETED.search(origin) or _IN_PARENTHESES.search(origin)
    after = bare[by.end() :] if by else bare
    queue_id, protocol, recipient = _WITH_ID.search(after), _WITH.search(after), _FOR.search(after)
    written = queue_id[1].strip("<>,") if queue_id else ""
    good = bool(_ID.fullmatch(written)) and not _VERSION.fullmatch(written)
    tls = _TLS.search(told)
    word = protocol[1] if protocol else ""
    return ToldHop(
        by[1].strip("[]()") if by else "",
        written if good else "",
        Peer(_named(name[1]) if name else "", ip[1] if ip else ""),
        word,
        recipient[1] if recipient else "",
        tls[0] if tls else (word if _SECURE.fullmatch(word) and word.upper().rstrip("A").endswith("S") else ""),
        _time(date),
    )


def _named(name: str) -> str:
    """A client's name; an address literal is none."""
    return "" if name.startswith("[") else name.strip("()")


def _without_comments(text: str) -> str:
    """A structured field without its parentheses, however deep they are."""
    out, depth = [], 0
    for char in text:
        if char == "(":
            depth += 1
        elif char == ")" and depth:
            depth -= 1
            out.append(" ")
        elif not depth:
            out.append(char)
    return "".join(out)


def _clean(value: object) -> str:
    """A field's text in one line."""
    return " ".join(str(value)[:LONGEST].split())


def _subject(message: Message) -> str:
    text = _clean(message.get("Subject", ""))
    try:
        return str(make_header(decode_header(text)))
    except (LookupError, ValueError, MessageError):
        return text


def _addresses(message: Message, name: str) -> list[str]:
    values = [_clean(value) for value in message.get_all(name, [])[:20]]
    try:
        found = getaddresses(values)
    except (ValueError, IndexError, TypeError):
        return []
    return [address for _, address in found[:1000] if "@" in address and not re.search(r"[\s\x00-\x1f]", address)]


def _message_ids(message: Message, name: str) -> list[str]:
    """The Message-IDs of a field; a broken one is taken as it stands."""
    text = _clean(message.get(name, ""))
    if ids := re.findall(r"<([^<>\s]{3,900})>", text):
        return ids
    bare = text.strip("<> ")
    return [bare] if name == "Message-ID" and len(bare) > 2 and " " not in bare else []


def _after_type(text: str) -> str:
    """`rfc822; bob@example.com` → the address."""
    address = _clean(text).rpartition(";")[2].strip().strip("<>")
    return address if "@" in address and " " not in address else ""


def _time(text: object) -> float | None:
    try:
        return parsedate_to_datetime(_clean(text)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError, OSError):
        return None


def _window(
    outer: Message, chains: list[tuple[ToldHop, ...]], inner: Message | None
) -> tuple[float | None, float | None]:
    """When the mail can have been on its way: by the newest header, which its reader's own server wrote, and those that
    lie no longer before it than a queue keeps a mail; without any, by its date.
    """
    last = next((hop.time for chain in reversed(chains) for hop in reversed(chain) if hop.time is not None), None)
    if last is None:
        dates = [_time(message.get("Date", "")) for message in (outer, inner) if message is not None]
        written = [date for date in dates if date is not None]
        return (min(written) - HOUR, max(written) + QUEUE_LIFE) if written else (None, None)
    times = [hop.time for chain in chains for hop in chain if hop.time is not None]
    near = [time for time in times if last - 2 * QUEUE_LIFE <= time <= last]
    return min(near) - HOUR, last + DAY


def _wrong(message: str, hint: str) -> RequestError:
    return RequestError([Problem(message, path="find.eml", hint=hint)])
