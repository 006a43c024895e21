"""Exim's main log (specification, chapter "Log files"): what each of its lines says.

A line is read from its beginning on, field by field, and quoted fields as a whole: a subject (`T="…"`) or a reply
(`C="…"`) is other people's text and may contain whatever else a line can.
"""

from __future__ import annotations

import re

from mailtrace.ids import is_exim
from mailtrace.model import NOBODY, Accepted, Action, Attempt, Check, Event, Note, Peer, Removed
from mailtrace.parsers.grammar import UNPARSED, Made, made_of, unglued

_QUOTED = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_ADDRESS = rf'(?=[^\s<>])[^\s"<>]*(?:{_QUOTED}[^\s"<>]*)*'
_BRACKETS = rf'<([^<>"]*(?:{_QUOTED}[^<>"]*)*)>'
_ARRIVED = re.compile(rf"(<=|\(=) (<>|{_ADDRESS})(?: (.*))?", re.DOTALL)
_DELIVERY = re.compile(r"(=>|->|>>|\*>|\*\*|==) (.*)", re.DOTALL)
_RECIPIENT = re.compile(rf"<>|{_ADDRESS}")
_PROGRAM = re.compile(r":[a-z]+:|[|/>].*?(?= <| \(| [A-Z]{1,3}=|: |$)", re.DOTALL)
_ALIAS = re.compile(rf" \(([^()]*)\)| {_BRACKETS}")
_HOST = re.compile(
    r" H=(?:(?P<name>[^\s()\[\]=]+) )?(?:\((?P<helo>[^()]*(?:\([^()]*\)[^()]*)*)\) )?"
    r"\[(?P<ip>[^\]\s]*)\](?::(?P<port>[0-9]{1,5}))?\*?(?=[\s:]|$)"
)
_FIELD = (
    r" (?P<key>[A-Za-z][A-Za-z_]{0,7}\*?)="
    r"(?:\"(?P<quoted>[^\"\\]*(?:\\.[^\"\\]*)*)\"|(?P<bare>[^\s\":]*(?::[^\s\":]+|:(?=:))*))(?=:?(?:\s|$))"
)
_FLAG = r" (?:K|L\*?|PRDR|TFO\*?|CHUNKING|DANE|RFC2369|D8)(?=[\s:]|$)"
_ITEM = re.compile(rf"{_HOST.pattern}|{_FIELD}|{_FLAG}", re.DOTALL)
"""Whatever may stand in a row of fields, the host first: it looks like a field."""
_FOR = re.compile(rf" for ((?:{_ADDRESS})(?: {_ADDRESS})*)$")
_SENT_FROM = re.compile(r" from <([^<>]*)>")
_DEFER = re.compile(r"(?: (routing|delivery))? defer \((-?[0-9]+)\)")
_DURATION = re.compile(r" (?:DT|QT|RT)=[0-9.smhdw]+(?=[\s:]|$)")
_REJECTED = re.compile(
    r"(?P<before>.*?)(?: (?P<temporarily>temporarily))? rejected "
    r"(?P<stage>RCPT|MAIL|EHLO or HELO|HELO|EHLO|VRFY|EXPN|ETRN|AUTH|STARTTLS|connection|after DATA|"
    r"during MIME ACL checks|by local_scan\(\)|by non-SMTP ACL|after PRDR response|"
    r"DATA|message|QUIT|from)(?:(?= )| ?)(?P<rest>.*)",
    re.DOTALL,
)
_REJECT_TARGET = re.compile(rf" ?{_BRACKETS}(?::? (.*))?| ?([^\s:<>]+): (.*)", re.DOTALL)
_DISCARDED = re.compile(r"(?P<before>.*?) RCPT <(?P<rcpt>[^<>]*)>: discarded by RCPT ACL(?:: (?P<text>.*))?", re.DOTALL)
_SENDER = re.compile(r" F=<([^<>]*)>")
_CODE = re.compile(r"(?:([245][0-9]{2})(?: |-|$))?(?:([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: |$))?")
_REMOTE_CODE = re.compile(r": ([245][0-9]{2})[ -](?:([245]\.[0-9]{1,3}\.[0-9]{1,3})(?= |$))?")
_SPEAKS_SMTP = re.compile(r"(?<!b)smtp", re.IGNORECASE).search  # bsmtp is a file's or a program's format
_STAGES = {"after DATA": "END-OF-MESSAGE", "connection": "CONNECT", "EHLO or HELO": "EHLO", "from": "CONNECT"}
_STATUS = {"=>": "sent", "->": "sent", ">>": "sent", "*>": "deliverable", "**": "bounced", "==": "deferred"}

_ACTIONS = (
    ("Message is frozen", "frozen"),
    ("Frozen", "frozen"),
    ("frozen", "frozen"),
    ("*** Frozen", "frozen"),
    ("Unfrozen", "unfrozen"),
    ("unfrozen", "unfrozen"),
    ("thawed", "unfrozen"),
)
_NOTES = (
    ("Spool file is locked", "locked"),
    ("no immediate delivery", "queue"),
    ("SMTP error", "smtp"),
    ("H=", "smtp"),
    ("retry time not reached", "queue"),
    ("error ignored", "message"),
    ("SMTP ", "smtp"),
    ("TLS ", "tls"),
    ("Remote host", "smtp"),
    ("remote host", "smtp"),
    ("rejected", "smtp"),
    ("sender ", "message"),
    ("Sender ", "message"),
    ("original ", "message"),
    ("DKIM", "message"),
    ("PDKIM", "message"),
    ("SPF", "message"),
    ("Warning", "message"),
    ("failed ", "message"),
    ("Failed ", "message"),
    ("Error ", "message"),
    ("errors ", "message"),
    ("delivering ", "queue"),
    ("added ", "queue"),
    ("modified ", "queue"),
    ("marked ", "queue"),
    ("removed from", "queue"),
    ("queued ", "queue"),
    ("ident ", "smtp"),
    ("malware", "message"),
    ("spam", "message"),
    ("recipients ", "message"),
    ("Delivery status", "message"),
    ("pipe ", "message"),
    ("write ", "message"),
    ("return ", "message"),
    ("Greylist", "message"),
    ("greylist", "message"),
    ("X-", "message"),
    ("data ", "message"),
    ("all hosts", "queue"),
    ("child ", "message"),
    ("Completed", "queue"),
)


def read(service: str, text: str) -> Made | None:
    """The message's ID and event of a line behind its stamp; None for one that tells of no message."""
    text = unglued(text)
    queue_id, _, rest = text.partition(" ")
    if queue_id[6:7] == "-" and is_exim(queue_id):
        event = _about(rest)
        return (queue_id, event) if event is not None else UNPARSED
    if " rejected " in text:
        event = _rejected(text)
        if event is not None:
            return "", event
    if ": discarded by " in text:
        event = _discarded(text)
        if event is not None:
            return "", event
    return None


def about(service: str, rest: str) -> Event | None:
    """The event of a line, from what stands behind its message ID."""
    return _about(unglued(rest))


def begins(text: str) -> bool:
    """Whether a text begins as only Exim's do: with a message ID, or with the host that was turned away."""
    return text[:2] == "H=" or (text[6:7] == "-" and is_exim(text.partition(" ")[0]) is not None)


def _about(rest: str) -> Event | None:
    start = rest[:2]
    if start in ("<=", "(="):
        return _arrived(rest)
    if start in _STATUS:
        return _delivery(rest)
    if rest.startswith("Completed"):
        return Removed()
    for words, what in _ACTIONS:
        if rest.startswith(words):
            return Action(what, rest)
    if rest.startswith(("cancelled by", "removed by", "canceled by")):
        return Removed(rest)
    if " rejected " in rest:
        event = _rejected(rest)
        if event is not None:
            return event
    if ": discarded by " in rest and (event := _discarded(rest)) is not None:
        return event
    return _note(rest)


def _note(rest: str) -> Event | None:
    for start, kind in _NOTES:
        if rest.startswith(start):
            host = _HOST.match(" " + rest) if start == "H=" else None
            return Note(kind, rest, _peer(host) if host else NOBODY)
    return None


def _peer(host: re.Match[str]) -> Peer:
    port = host["port"]
    return Peer(host["name"] or "", host["ip"], int(port) if port else None)


class _Fields:
    """The fields of a line, read from a place on as far as they go; `end` is where other text begins."""

    __slots__ = ("end", "helo", "local", "peer", "values")

    def __init__(self, line: str, at: int) -> None:
        self.values: dict[str, str] = {}
        self.peer = NOBODY
        self.helo = ""
        values = self.values
        for found in _ITEM.finditer(line, at):
            if found.start() != at:
                break
            at = found.end()
            name, helo, ip, port, key, quoted, value = found.groups()
            if ip is not None:
                if "H" not in values:
                    values["H"] = found[0]
                    self.peer = made_of(Peer, (name or "", ip, int(port) if port else None))
                    self.helo = helo or ""
            elif key is not None and key not in values:
                values[key] = _unquoted(quoted) if value is None else value
        self.end = at


def _unquoted(text: str) -> str:
    return text.replace('\\"', '"').replace("\\\\", "\\") if "\\" in text else text


def _arrived(rest: str) -> Event | None:
    found = _ARRIVED.fullmatch(rest)
    if found is None:
        return None
    sender = "" if found[2] == "<>" else found[2]
    at = found.end(2)
    fields = _Fields(rest, at)
    value = fields.values
    recipients: tuple[str, ...] = ()
    tail = rest[fields.end :]
    if tail:
        if sent_from := _SENT_FROM.match(tail):
            tail = tail[sent_from.end() :]
        if listed := _FOR.fullmatch(tail):
            recipients = tuple(_RECIPIENT.findall(listed[1]))
        elif tail.strip() and not tail.startswith((" for ", " from ")) and "P" not in value:
            return None
    authenticator, _, user = value.get("A", "").partition(":")
    if not authenticator:
        user = value.get("U", "")
    parent = value.get("R", "")
    if parent and not is_exim(parent):
        parent = ""
    message_id = value.get("id", value.get("id*"))
    size = value.get("S", "")
    accepted: Event = made_of(Accepted, (
        fields.peer, fields.helo, user, authenticator, "H" not in value, value.get("P", ""), sender,
        int(size) if size.isascii() and size.isdigit() and len(size) < 19 else None,
        message_id.removeprefix("<").removesuffix(">") if message_id is not None else None,
        recipients, parent, "bounced" if parent else "", NOBODY, value.get("T"), value.get("X", ""),
    ))  # fmt: skip
    return accepted


def _delivery(rest: str) -> Event | None:
    found = _DELIVERY.fullmatch(rest)
    if found is None:
        return None
    flag, body = found.groups()
    who = _RECIPIENT.match(body) if body[:1] not in ("|", "/", ">", ":") else _PROGRAM.match(body)
    if who is None:
        return None
    recipient = who[0]
    at = who.end()
    if recipient[-1:] == ":" and recipient[0] != ":":  # the error follows at once
        recipient, at = recipient[:-1], at - 1
    parents: list[str] = []
    original = ""
    while (alias := _ALIAS.match(body, at)) is not None:
        at = alias.end()
        if alias[1] is not None:
            parents.extend(part.strip() for part in alias[1].split(",") if part.strip())
        else:
            if original:
                parents.append(original)
            original = alias[2]
    fields = _Fields(body, at)
    return _attempt(flag, recipient, original, tuple(parents), fields, body[fields.end :])


def _attempt(
    flag: str, recipient: str, original: str, parents: tuple[str, ...], fields: _Fields, tail: str
) -> Event | None:
    value = fields.values
    status = _STATUS[flag]
    reply = value.get("C", "")
    peer = fields.peer
    if flag == "==":
        deferred = _DEFER.match(tail)
        if deferred is None:
            return None
        more = tail[deferred.end() :]
        late = _Fields(more, 0)  # `defer (-44) H=… [ip] DT=0s: text`
        if peer is NOBODY:
            peer = late.peer
        if late.end == 0 and more.startswith(": ") and (named := _HOST.search(more)) is not None and not peer.ip:
            peer = _peer(named)  # `defer (113): No route to host H=… [ip] DT=3s`
        reply = _DURATION.sub("", more[late.end :] if late.end else more).removeprefix(": ").strip()
    elif tail:
        if not tail.startswith(":") and flag != "**":
            return None
        reply = reply or _DURATION.sub("", tail).removeprefix(":").strip()
    if recipient == "blackhole" and "discarded" in "".join(parents):
        status, recipient, parents = "discarded", "", ()
    elif recipient == ":blackhole:":
        status, recipient = "discarded", original
    code = _REMOTE_CODE.search(reply) if flag in ("**", "==") else _CODE.match(reply)
    transport = value.get("T", "")
    if status == "sent" and not transport and not value:
        return None  # cut, perhaps within the address
    # A transport that speaks SMTP names its host, and every delivery its transport: else the line was cut.
    local = "H" not in value and status not in ("bounced", "deferred")
    local = local and (status == "discarded" or bool(transport)) and not _SPEAKS_SMTP(transport)
    attempt: Event = made_of(Attempt, (
        recipient, original, status, peer, transport, reply, (code[2] or "") if code else "", _seconds(value.get("DT")),
        None, value.get("X", ""), local, flag, value.get("R", ""), parents,
    ))  # fmt: skip
    return attempt


_UNITS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_TIME_PART = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([wdhms])")


def _seconds(text: str | None) -> float | None:
    """`DT=1m3.5s` as seconds."""
    if not text:
        return None
    parts = _TIME_PART.findall(text)
    return sum(float(number) * _UNITS[unit] for number, unit in parts) if parts else None


def _rejected(text: str) -> Event | None:
    found = _REJECTED.fullmatch(text)
    if found is None:
        return None
    before = " " + found["before"]
    host = _HOST.match(before)
    if host is None and not before.startswith((" U=", " F=", " H=")):
        return None
    target, reason = _target(found["rest"])
    stage = _STAGES.get(found["stage"], found["stage"])
    sender = _SENDER.search(before, host.end() if host else 0)
    said = _CODE.match(reason)
    code, dsn = (said[1] or "", said[2] or "") if said else ("", "")
    temporary = found["temporarily"] is not None or code.startswith("4")
    return Check(
        "defer" if temporary else "reject", stage, _peer(host) if host else NOBODY,
        target if stage == "MAIL" and target is not None else sender[1] if sender else None,
        target if stage == "RCPT" else None, (host["helo"] or "") if host else "", code, dsn, reason,
    )  # fmt: skip


def _target(rest: str) -> tuple[str | None, str]:
    found = _REJECT_TARGET.fullmatch(rest)
    if found is None:
        return None, rest.removeprefix(":").removeprefix(" ")
    if found[1] is not None:
        return found[1], found[2] or ""
    return found[3], found[4]


def _discarded(text: str) -> Event | None:
    found = _DISCARDED.fullmatch(text)
    if found is None:
        return None
    before = " " + found["before"]
    host = _HOST.match(before)
    sender = _SENDER.search(before)
    return Check(
        "discard", "RCPT", _peer(host) if host else NOBODY, sender[1] if sender else None, found["rcpt"],
        (host["helo"] or "") if host else "", text=found["text"] or "discarded by RCPT ACL",
    )  # fmt: skip


_INNER_PID = re.compile(r" ?\[([0-9]{1,10})\] ")


def body(line: str, at: int) -> tuple[int, str]:
    """The pid (0 if none) and the text behind Exim's own stamp."""
    found = _INNER_PID.match(line, at)
    if found is not None:
        return int(found[1]), line[found.end() :]
    return 0, line[at:].removeprefix(" ")
