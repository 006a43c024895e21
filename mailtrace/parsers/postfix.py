"""Postfix: what each of its lines says.

The grammar is that of the sources (smtpd.c, cleanup.c, log_adhoc.c, qmgr, bounce, postsuper), versions 2.0 to 3.11.
Every event hangs on a queue ID of the right shape at the beginning of the text; nothing is searched for in the middle
of a line, where the text is somebody else's. Line kinds are told apart by the first letters behind the ID.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from mailtrace.ids import POSTFIX, is_postfix
from mailtrace.model import (
    NOBODY,
    Accepted,
    Action,
    Attempt,
    Check,
    Event,
    MessageId,
    Note,
    Notified,
    Peer,
    Proxied,
    Queued,
    Removed,
    Session,
)
from mailtrace.parsers.grammar import UNPARSED, Made, made_of, unglued

DAEMONS = frozenset(
    "anvil bounce cleanup defer discard dnsblog error flush lmtp local master nqmgr oqmgr pickup pipe postdrop postfix "
    "postfix-script postkick postlock postlog postlogd postmulti postqueue postscreen postsuper proxymap qmgr qmqpd "
    "relay retry scache sendmail showq smtp smtpd spawn tlsmgr tlsproxy trace trivial-rewrite verify virtual "
    "postmap postalias postconf posttls-finger set-permissions post-install".split()
)
"""Last components of a tag that are Postfix'."""

_MEMO = 65_536
_NEVER = 1e12
_REMOVED = Removed()
_PLAIN = Accepted()[1:]  # of a client of which nothing else is told

Delays = tuple[float, float, float, float]

_ADDRESS = r'<([^<>"]*(?:"[^"\\]*(?:\\.[^"\\]*)*"[^<>"]*)*)>'
# Character classes of one excluded letter are the quickest there are; what they let in is checked afterwards.
_TO = re.compile(
    r"to=<([^>]*)>, (?:orig_to=<([^>]*)>, )?relay=([^,]+), (?:conn_use=[^,]+, )?delay=([^,]+), "
    r"delays=([^,]+), dsn=([^,]+), status=([^ ]+) \((.*)",
    re.DOTALL,
).fullmatch
_TO_ANY = re.compile(
    rf"to=(?:{_ADDRESS}|<([^<>]*)>|([^,\s<>]+)), (?:orig_to=(?:{_ADDRESS}|([^,\s<>]+)), )?"
    r"relay=([^,\[]+(?:\[[^\]]*\])?(?::[0-9]+)?), (?:conn_use=[0-9]+, )?delay=([0-9.]+)"
    r"(?:, delays=([0-9.]+)/([0-9.]+)/([0-9.]+)/([0-9.]+))?(?:, tls=(.*?))?(?:, dsn=([0-9.]+))?, "
    r"status=([\w-]+)(?: \((.*))?",
    re.DOTALL,
)
_FROM = re.compile(r"from=<([^>]*)>, size=([0-9]{1,18}), nrcpt=([0-9]{1,9}) \(queue active\)").fullmatch
_FROM_ANY = re.compile(
    rf"from=(?:{_ADDRESS}|<([^<>]*)>|([^,\s<>]*)), size=([0-9]{{1,18}})(?:, nrcpt=([0-9]{{1,18}}))?"
    r"(?: \(queue active\))?,*"
)
_EXPIRED = re.compile(rf"from=(?:{_ADDRESS}|<([^<>]*)>|([^,\s<>]*)), status=((?:force-)?expired), returned to sender")
_PEER = re.compile(r"([^\s\[\]]*)\[([^\]\s]*)\](?::([0-9]{1,5}))?")
_RELAY = re.compile(r"([^\[]*)(?:\[([^\]]*)\])?(?::([0-9]{1,5}))?")
_CLIENT_ALONE = re.compile(r"client=([^][\s]*)\[([^][\s]*)\]").fullmatch
_CLIENT = re.compile(rf"client={_PEER.pattern}((?:, .*)?)", re.DOTALL)
_CLIENT_FIELD = re.compile(
    r", (sasl_method|sasl_username|sasl_sender|orig_queue_id|orig_client)="
    r"(.*?)(?=, (?:sasl_(?:method|username|sender)|orig_(?:queue_id|client))=|$)",
    re.DOTALL,
)
_UID = re.compile(rf"uid=([0-9]+) from=(?:{_ADDRESS}|<([^<>]*)>|([^\s<>]*))(?: orig_id=({POSTFIX}))?")
_NOTICE = re.compile(
    rf"(sender|postmaster) (?:(non-delivery|delivery status|delay|success) )?notification(?:: ({POSTFIX})| failed.*)"
)
_NOTICE_KINDS = {"delivery status": "success", "success": "success", "delay": "delay"}
_FOLD = re.compile(r"\?=\?? *=\?")

_CHECK = re.compile(
    r"(?:milter-)?(?:header-|body-)?"
    r"(warning|warn|info|prepend|replace|filter|hold|redirect|discard|bcc|reject|reject_warning|strip|pass|dunno|accept|"
    r"delay|defer|tempfail|quarantine|skip|ignore): "
    r"(header|body|mime header|nested header|[A-Z][A-Z-]*)(?: (.*))?",
    re.DOTALL,
)
_CHECKS = (
    "warning", "info", "prepend", "replace", "filter", "hold", "redirect", "discard", "bcc", "reject", "milter-reject",
    "strip", "pass", "delay", "defer", "tempfail",
)  # fmt: skip
_ACTIONS = {"warning": "warn", "reject_warning": "warn", "tempfail": "defer", "quarantine": "hold"}
_TAIL = re.compile(
    rf"; from=(?:{_ADDRESS}|<([^<>]*)>)(?:,? to=(?:{_ADDRESS}|<([^<>]*)>))?(?:,? proto=(\w+))?"
    r"(?:,? helo=<([^\s>]*|[^>]*)>)?((?:,? sasl_\w+=\S*)*)(?:: (.*))?",
    re.DOTALL,
)
_FROM_PEER = re.compile(rf"from (?:{_PEER.pattern}|(local|unknown))(?:: (.*))?", re.DOTALL)
_CODE = re.compile(r"(?:([245][0-9]{2})(?: |$))?(?:([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: |$))?")
_OBJECT = re.compile(rf"(?:[0-9]{{3}} )?(?:[0-9.]+ )?{_ADDRESS}: (?:Recipient address|Relay access|User unknown)")
_PROXY = re.compile(r"proxy-(accept|reject): ([A-Z-]+): (.*)", re.DOTALL)
_SAID = re.compile(rf"(?:host|conversation with|lost connection with|connect to) {_PEER.pattern}")
_SUBJECT = "Subject: "


def peer(text: str) -> Peer:
    """`name[ip]:port`, `[ip]:port`, `name[path]`, `name`."""
    found = _RELAY.fullmatch(text)
    if found is None:
        return Peer(text)
    name, ip, port = found.groups()
    return Peer(name, ip or "", int(port) if port else None)


class Postfix:
    """The grammar, with what it remembers of the text it saw (the same clients, relays and IDs come again)."""

    def __init__(self, *, sessions: bool = False) -> None:
        self.sessions = sessions
        self._ids: set[str] = set()
        self._relays: dict[str, tuple[Peer, bool]] = {}
        self._delays: dict[str, tuple[Delays, float]] = {}
        self._clients: dict[str, Accepted] = {}
        self._kinds: dict[str, Callable[[str, str], Event | None]] = {
            "to=": self._to,
            "fro": self._from,
            "cli": self._client,
            "uid": self._uid,
            "mes": self._message_id,
            "res": self._message_id,
            "rem": self._removed,
            "sen": _notified,
            "pos": _notified,
            "pla": _queue_action,
            "rel": _queue_action,
            "req": _queue_action,
            "exp": _queue_action,
            "ski": _queue_action,
        }
        for action in _CHECKS:
            self._kinds[action[:3]] = _check

    def __call__(self, service: str, text: str) -> Made | None:
        """The queue ID and event of a line; None for one that says nothing, `UNPARSED` for an unknown one."""
        if text.startswith(_COMMON) and not self.sessions:
            return None
        queue_id, _, rest = text.partition(": ")
        if queue_id not in self._ids:
            if not is_postfix(queue_id):
                if queue_id == "NOQUEUE":
                    return self._noqueue(service, rest)
                return self._without_id(service, text)
            if len(self._ids) > 2048:
                self._ids.clear()
            self._ids.add(queue_id)
        event = self.about(service, rest)
        return (queue_id, event) if event is not None else UNPARSED

    def about(self, service: str, rest: str) -> Event | None:
        """The event of a line, from what stands behind its queue ID."""
        kind = self._kinds.get(rest[:3])
        event = kind(service, rest) if kind is not None else None
        return event if event is not None else _note(rest)

    # ------------------------------------------------------------------------------- with a queue ID

    def _to(self, service: str, rest: str) -> Event | None:
        found = _TO(rest)
        if found is None:
            return self._to_any(service, rest)
        recipient, original, relay, delay, stages, dsn, status, reply = found.groups("")
        if '"' in recipient or '"' in original:  # a quoted local part may hold the brackets
            return self._to_any(service, rest)
        to, local = self._relays.get(relay) or self._relay(relay)
        if "]: " in reply:
            reply = unglued(reply)
        reply = reply[:-1] if reply[-1:] == ")" else _unclosed(reply)
        if local and (reply[:10] == "forwarded " or status != "sent"):
            local = False
        if status not in _PLAIN_STATUS:
            status = _STATUS.get(status, "")
            if not status:
                return None
        try:
            seconds = float(delay)
            delays, total = self._delays.get(stages) or self._stages(stages)
        except ValueError:
            return None
        if not 0.0 <= seconds + total < _NEVER:  # what Python takes for a number and no clock measures
            return None
        attempt: Event = made_of(
            Attempt, (recipient, original, status, to, service, reply, dsn, seconds, delays, "", local, "", "", ())
        )
        return attempt

    def _to_any(self, service: str, rest: str) -> Event | None:
        found = _TO_ANY.fullmatch(rest)
        if found is None:
            return None
        quoted, old, bare, original, bare_original, relay, delay, a, b, c, d, tls, dsn, word, reply = found.groups()
        to, local = self._relays.get(relay) or self._relay(relay)
        reply = unglued(reply or "")
        reply = reply[:-1] if reply.endswith(")") else _unclosed(reply)
        status = _STATUS.get(word, word if word in _PLAIN_STATUS else "")
        if not status:
            return None
        local = local and status == "sent" and not reply.startswith("forwarded as ")
        try:
            delays = (float(a), float(b), float(c), float(d)) if a else None
            seconds = float(delay)
        except ValueError:
            return None
        if not seconds + sum(delays or ()) < _NEVER:
            return None
        recipient = next(text for text in (quoted, old, bare, "") if text is not None)
        return Attempt(
            recipient, original or bare_original or "", status, to, service, reply, dsn or "", seconds, delays,
            tls or "", local,
        )  # fmt: skip

    def _stages(self, text: str) -> tuple[Delays, float]:
        """The four stages of a delay and their sum; written with two digits, so that the same come again and again.

        Raises ValueError for what is none.
        """
        a, b, c, d = map(float, text.split("/"))
        if len(self._delays) > _MEMO:
            self._delays.clear()
        found = self._delays[text] = (a, b, c, d), a + b + c + d
        return found

    def _relay(self, relay: str) -> tuple[Peer, bool]:
        """The relay, and whether it is a delivery on this host (it has no address)."""
        to = NOBODY if relay == "none" else peer(relay)
        made = to, not to.ip and relay != "none"
        if len(self._relays) > _MEMO:
            self._relays.clear()
        self._relays[relay] = made
        return made

    def _from(self, service: str, rest: str) -> Event | None:
        plain = _FROM(rest)
        if plain is not None:
            sender, size, nrcpt = plain.groups()
            if '"' not in sender:
                queued: Event = made_of(Queued, (sender, int(size), int(nrcpt)))
                return queued
        found = _FROM_ANY.fullmatch(rest)
        if found is not None:
            quoted, old, bare, size, nrcpt = found.groups()
            return Queued(quoted or old or bare or "", int(size), int(nrcpt or "1"))
        found = _EXPIRED.match(rest)
        if found is not None:
            quoted, old, bare, what = found.groups()
            return Action(what, "", quoted or old or bare or "")
        return None

    def _client(self, service: str, rest: str) -> Event | None:
        known = self._clients.get(rest)
        if known is not None:
            return known
        alone = _CLIENT_ALONE(rest)
        if alone is not None:
            return self._remember(rest, made_of(Accepted, (made_of(Peer, (*alone.groups(), None)), *_PLAIN)))
        found = _CLIENT.fullmatch(unglued(rest))
        if found is None:
            return None
        name, ip, port, more = found.groups()
        to = made_of(Peer, (name, ip, int(port) if port else None))
        if not more:
            return self._remember(rest, made_of(Accepted, (to, *_PLAIN)))
        user = method = parent = ""
        origin = NOBODY
        for key, value in _CLIENT_FIELD.findall(more):
            if key == "sasl_username":
                user = value
            elif key == "sasl_method":
                method = value
            elif key == "orig_queue_id":
                parent = value if is_postfix(value) else ""
            elif key == "orig_client":
                origin = peer(value)
        made = Accepted(
            to, "", user, method, parent=parent, parent_kind="xforward" if parent else "", origin=origin
        )  # fmt: skip
        if not parent:  # each of those is seen once
            self._remember(rest, made)
        return made

    def _remember(self, rest: str, made: Accepted) -> Accepted:
        if len(self._clients) > 4096:
            self._clients.clear()
        self._clients[rest] = made
        return made

    def _uid(self, service: str, rest: str) -> Event | None:
        found = _UID.match(rest)
        if found is None:
            return None
        uid, quoted, old, bare, parent = found.groups()
        return Accepted(
            NOBODY, "", uid, local=True, sender=quoted or old or bare or "", parent=parent or "",
            parent_kind="requeued" if parent else "",
        )  # fmt: skip

    def _message_id(self, service: str, rest: str) -> Event | None:
        if rest[:12] == "message-id=<" and rest[-1] == ">" and " " not in rest:
            event: Event = made_of(MessageId, (rest[12:-1], False))
            return event
        key, equals, value = unglued(rest).partition("=")
        if not equals or key not in ("message-id", "resent-message-id"):
            return _check(service, rest)
        if value[:1] == "<" and value[-1:] == ">":
            value = value[1:-1]
        elif value:
            value = bare_message_id(value)
        return MessageId(value, key != "message-id")

    def _removed(self, service: str, rest: str) -> Event | None:
        if rest == "removed":
            return Removed("deleted") if service.endswith("postsuper") else _REMOVED
        if rest.startswith("removed (") and rest.endswith(")"):
            return Removed(rest[9:-1])
        return Removed() if rest.rstrip(",") == "removed" else None

    # ---------------------------------------------------------------------------- without a queue ID

    def _noqueue(self, service: str, rest: str) -> Made | None:
        if rest.startswith("client="):
            event = self._client(service, rest)
        else:
            event = _check(service, rest)
            if event is None and _silent(rest):
                return None
        return ("", event) if event is not None else UNPARSED

    def _without_id(self, service: str, text: str) -> Made | None:
        if text.startswith(("connect from ", "disconnect from ")):
            return ("", _session(service, text)) if self.sessions else None
        if text.startswith("proxy-"):
            event = _proxied(text)
            return ("", event) if event is not None else UNPARSED
        if text.startswith(("warning: ", "error: ", "fatal: ", "panic: ")):
            return _warning(text)
        if self.sessions and (session := _session(service, text)).what:
            return "", session
        return None if _silent(text) or service.rpartition("/")[2] in _QUIET else UNPARSED


_QUIET = frozenset(
    "anvil dnsblog flush master postfix-script postlog postlogd postscreen proxymap scache showq tlsmgr tlsproxy "
    "trivial-rewrite verify postsuper postqueue postmulti postmap postalias postfix posttls-finger spawn".split()
)
"""Daemons whose lines without a queue ID never concern a message."""

_SILENT = re.compile(
    r"(?:connect (?:from|to) |disconnect from |lost connection |timeout (?:after|before) |too many errors after |"
    r"statistics: |(?:Anonymous|Trusted|Untrusted|Verified|Fingerprint) TLS |setting up TLS connection |SSL_|TLS |"
    r"(?:Host|Server) |certificate |table |reload|refreshing |terminating |daemon started|starting |stopping |"
    r"improper command pipelining |non-SMTP command |hostname |using |initializing |cache |mapping |input attribute |"
    r"[\w.:\[\]-]{1,300}: (?:re-using|certificate|subject_CN|issuer|Matched|depth|TLS|SSL|[Uu]ntrusted|[Tt]rusted|no )|"
    r"client [\w.:\[\]-]{1,300}: |conversation with |host |milter |"
    r"Deleted: |Requeued: |Placed on hold: |Released from hold: |"
    r"Expired: |abort |helo |[<>] |xsasl_|sql_|dict_|match_|name_mask|open |unlink |rewrite |watchdog|idle|private/|"
    r"before-|after-|sender_bcc|alias |enabling |save |deliver|Cannot |no |not |unknown |discarding |mail for )"
)


_COMMON = ("lost connection ", "statistics: ")
"""The commonest of them."""


def _silent(text: str) -> bool:
    return _SILENT.match(text) is not None


def _unclosed(reply: str) -> str:
    """A reply without its closing parenthesis: a CSV tail stands behind it, or the line was cut in a word."""
    bare = reply.rstrip(",")
    if bare != reply and bare.endswith(")"):
        return bare[:-1]
    return reply.rpartition(" ")[0]


_PLAIN_STATUS = frozenset(("sent", "deferred", "bounced"))
_STATUS = {
    "SOFTBOUNCE": "deferred",
    "deliverable": "deliverable",
    "undeliverable": "undeliverable",
    "undeliverable-but-not-cached": "undeliverable",
    "expired": "expired",
}


class Discard:
    """The grammar for discard(8): what it says was sent, nobody gets."""

    def __init__(self, postfix: Postfix) -> None:
        self._postfix = postfix

    def __call__(self, service: str, text: str) -> Made | None:
        """As `Postfix`, with `sent` told as what it is."""
        made = self._postfix(service, text)
        if made is not None and isinstance(made[1], Attempt) and made[1].status == "sent":
            return made[0], made[1]._replace(status="discarded", local=True)
        return made


def bare_message_id(value: str) -> str:
    """A raw `Message-ID:` header without brackets, escaped line ends and encoded words."""
    value = value.strip()
    while value.endswith(("#012", "#015", "\\n", "\\r")):
        value = value[: -4 if value.endswith(("#012", "#015")) else -2].rstrip()
    if value.startswith("=?") and len(value) < 1000:
        value = _decoded(value)
    return value[1:-1] if value[:1] == "<" and value[-1:] == ">" else value


def _decoded(value: str) -> str:
    from email.errors import HeaderParseError
    from email.header import decode_header

    try:
        parts = decode_header(_FOLD.sub("?= =?", value))
        text = "".join(
            part.decode(charset or "ascii", "replace") if isinstance(part, bytes) else part for part, charset in parts
        )
        return text.strip() or value
    except (HeaderParseError, LookupError, ValueError):
        return value


def _notified(service: str, rest: str) -> Event | None:
    found = _NOTICE.match(rest)
    if found is None:
        return None
    to, kind, child = found.groups()
    return Notified(child or "", _NOTICE_KINDS.get(kind, "non-delivery"), to)


_QUEUE_ACTIONS = {
    "placed on hold": "held",
    "released from hold": "released",
    "requeued": "requeued",
    "expired": "force-expired",
    "skipped, still being delivered": "skipped",
}


def _queue_action(service: str, rest: str) -> Event | None:
    what = _QUEUE_ACTIONS.get(rest)
    return Action(what) if what else _check(service, rest)


_NOTES = (
    ("host ", "smtp"),
    ("conversation with ", "smtp"),
    ("lost connection ", "smtp"),
    ("connect to ", "smtp"),
    ("Cannot start TLS", "tls"),
    ("TLS ", "tls"),
    ("Server certificate ", "tls"),
    ("certificate ", "tls"),
    ("Host offered STARTTLS", "tls"),
    ("enabling PIX ", "smtp"),
    ("passing ", "transport"),
    ("timeout ", "smtp"),
    ("too many errors ", "smtp"),
    ("improper command ", "smtp"),
    ("breaking line", "smtp"),
    ("warning: ", "warning"),
    ("error: ", "warning"),
    ("queue file ", "warning"),
    ("message ", "message"),
    ("table ", "warning"),
    ("client ", "smtp"),
    ("enqueue", "queue"),
    ("original ", "message"),
)


def _note(rest: str) -> Event | None:
    rest = unglued(rest)
    for start, kind in _NOTES:
        if rest.startswith(start):
            found = _SAID.match(rest)
            return Note(kind, rest, _peer_of(found) if found else NOBODY)
    return None


def _peer_of(found: re.Match[str], at: int = 1) -> Peer:
    port = found[at + 2]
    return Peer(found[at] or "", found[at + 1] or "", int(port) if port else None)


def _warning(text: str) -> Made | None:
    """`warning: QID: …` concerns a message, other warnings none."""
    _, _, rest = text.partition(": ")
    queue_id, colon, what = rest.partition(": ")
    return (queue_id, Note("warning", what)) if colon and is_postfix(queue_id) else None


_SESSIONS = (
    ("connect from ", "connect"),
    ("disconnect from ", "disconnect"),
    ("lost connection ", "lost"),
    ("timeout ", "timeout"),
    ("Anonymous TLS ", "tls"),
    ("Trusted TLS ", "tls"),
    ("Untrusted TLS ", "tls"),
    ("Verified TLS ", "tls"),
)
_IN_TEXT = re.compile(rf" (from|to|with) {_PEER.pattern}(?::? (.*))?$", re.DOTALL)


def _session(service: str, text: str) -> Session:
    what = next((word for start, word in _SESSIONS if text.startswith(start)), "")
    found = _IN_TEXT.search(text) if what else None
    direction = "in" if found and found[1] == "from" else "out"
    return Session(what, direction, _peer_of(found, 2) if found else NOBODY, (found[5] or "") if found else "")


def _check(service: str, rest: str) -> Event | None:
    found = _CHECK.fullmatch(unglued(rest))
    if found is None:
        return None
    action, stage, content = found.groups()
    action = _ACTIONS.get(action, action)
    content = content or ""
    ours = stage[0].islower()  # a header or a body line: text that its sender wrote
    at = content.rfind("; from=<") if ours else content.find("; from=<")
    tail = _TAIL.fullmatch(content, at) if at >= 0 else None
    sender = recipient = None
    helo = argument = ""
    if tail is not None:
        content = content[:at]
        quoted, old, to_quoted, to_old, _proto, helo_text, _sasl, more = tail.groups()
        sender = quoted if quoted is not None else old
        recipient = to_quoted if to_quoted is not None else to_old
        helo, argument = helo_text or "", more or ""
    client, text = _content(content, ours=ours)
    code, dsn = _codes(argument if ours else text)
    if recipient is None and stage == "RCPT" and (named := _OBJECT.match(text)):
        recipient = named[1]
    if action == "reject" and (code or dsn)[:1] == "4":
        action = "defer"
    subject = text[len(_SUBJECT) :] if ours and text[: len(_SUBJECT)].lower() == _SUBJECT.lower() else None
    return Check(action, stage, client, sender, recipient, helo, code, dsn, text, argument, subject)


def _content(content: str, *, ours: bool) -> tuple[Peer, str]:
    """The client, and the reply (`from CLIENT: reply`) or the header (`header from CLIENT`)."""
    if ours:
        text, _, client = content.rpartition(" from ")
        found = _PEER.fullmatch(client)
        if found:
            return _peer_of(found), text
        return NOBODY, text if client == "local" and text else content
    found = _FROM_PEER.match(content)
    if found is None:
        return NOBODY, content.removeprefix(": ")
    return _peer_of(found), found[5] or ""


def _codes(text: str) -> tuple[str, str]:
    found = _CODE.match(text)
    return (found[1] or "", found[2] or "") if found else ("", "")


def _proxied(text: str) -> Event | None:
    found = _PROXY.fullmatch(unglued(text))
    if found is None:
        return None
    verdict, _stage, rest = found.groups()
    at = rest.rfind("; from=<")
    tail = _TAIL.fullmatch(rest, at) if at >= 0 else None
    if tail is None:
        return Proxied(verdict == "accept", rest)
    quoted, old, to_quoted, to_old, _proto, helo, _sasl, _more = tail.groups()
    return Proxied(verdict == "accept", rest[:at], quoted or old or "", to_quoted or to_old or "", helo or "")
