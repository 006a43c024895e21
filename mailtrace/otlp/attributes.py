"""What spans say: attributes by the names of ECS and OpenTelemetry, and how much of an address they show.

There is no OpenTelemetry convention for mail; `email.*` are the Elastic Common Schema's names where it has one.

| attribute | on | what |
|---|---|---|
| `host.name`, `service.name` | resource | the inventory's name of the host |
| `service.namespace` | resource | `mail` |
| `email.local_id` | reception, attempt | the queue ID on this host |
| `email.message_id` | reception | the Message-ID without <> |
| `email.from.address` | reception | the envelope's sender; the null sender of bounces has none |
| `email.subject` | reception | where the log has it, and addresses are shown in full |
| `messaging.message.envelope.size` | reception | bytes |
| `client.address`, `client.port`, `network.peer.address` | reception | who handed the message in |
| `smtp.helo` | reception | how the client called itself |
| `user.name` | reception | the user who logged in |
| `network.protocol.name` | reception, attempt | `smtp` or `lmtp` |
| `tls.protocol.version`, `tls.cipher` | reception, attempt | as logged |
| `mailtrace.mta`, `mailtrace.instance` | reception | `postfix` or `exim`, and its syslog name |
| `mailtrace.certainty` | reception | `likely`, where the hop before it is not proved |
| `email.to.address` | attempt, rejection, remove | the recipients, a list |
| `email.to.original_address` | attempt | what they were first addressed to, where that differs |
| `email.delivery.status` | attempt, hold, remove | sent, deferred, bounced, expired, rejected, discarded, held |
| `email.delivery.attempt` | attempt | the how manieth for these recipients |
| `email.delivery.transport` | attempt | Postfix' service or Exim's transport |
| `email.delivery.next_id` | attempt | the ID that the other side gave the message |
| `email.delay` | attempt | seconds since the message came, as logged (Exim: of the delivery) |
| `server.address`, `server.port`, `network.peer.address` | attempt | the relay |
| `smtp.response.status_code`, `smtp.response.enhanced_code`, `smtp.response.text` | attempt, rejection | the answer |
| `error.type` | attempt, rejection | what is not `sent`: the enhanced code, else the code, else the status |
| `mailtrace.raw_time` | reception, attempt | the stamp as logged, where the time was corrected |
| `mailtrace.action` | hold, release, requeue, remove | what the log calls it: held, frozen, deleted, removed by … |
| `link.relation` | links | `bounce_of`, `forwarded`, `relayed`, `reinjected`, `requeued`, or `candidate` |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import blake2b

from mailtrace.assemble.verdicts import gave_up
from mailtrace.model import Delivery, Hop, Peer, Recipient
from mailtrace.otlp.record import Attributes, Value

LONGEST = 1024
"""Characters of a reply that a span keeps."""
_MOST = 2_000
"""Sets of common attributes that are remembered."""

Show = Callable[[str], str]
"""What a span shows of an address; "" leaves it out."""


def _full(address: str) -> str:
    return address


def _domain(address: str) -> str:
    return address.rpartition("@")[2] if "@" in address else ""


def _hash(address: str) -> str:
    return blake2b(address.lower().encode("utf-8", "surrogatepass"), digest_size=8).hexdigest() if address else ""


def _none(_address: str) -> str:
    return ""


ADDRESSES: dict[str, Show] = {"full": _full, "domain": _domain, "hash": _hash, "none": _none}
"""The ways to show an address, by their word in the configuration: as it is, its domain, BLAKE2b-64 of it in lower
case, or not at all. Addresses in replies are treated alike; a Message-ID is none."""

_ADDRESS = re.compile(r"""[^\s<>,;:"'()\[\]=]+@[^\s<>,;:"'()\[\]]+""")
_CODE = re.compile(r"(?:^|said: |: )([245][0-9]{2})(?=[ -])")
_TLS = re.compile(r"(?:TLS)?v?(1\.[0-3]|1)(?![0-9])")
_CIPHER = re.compile(r"(?:cipher |:)([A-Z0-9][\w-]{6,})")


class Teller:
    """Attributes of hops and attempts, with addresses shown in one way."""

    def __init__(self, addresses: str = "full") -> None:
        """`addresses` is a word of ADDRESSES."""
        self.show = ADDRESSES[addresses]
        self.plain = addresses == "full"
        self._common: dict[tuple[object, ...], Attributes] = {}

    def reply(self, text: str, *addresses: str) -> str:
        """A reply as far as it may be shown: `addresses` are those that it may name by their local part alone."""
        if len(text) > LONGEST:
            text = text[:LONGEST]
        if self.plain:
            return text
        if "@" in text:
            text = _ADDRESS.sub(lambda found: self.show(found[0]) or "…", text)
        for local in {address.partition("@")[0] for address in addresses}:
            if len(local) > 1:
                text = re.sub(rf"(?<![\w.]){re.escape(local)}(?![\w.])", "…", text, flags=re.IGNORECASE)
        return text

    def reception(self, hop: Hop, message_id: str, raw: str, certainty: str) -> tuple[Attributes, Attributes]:
        """Of a hop's reception: its own, and those that it shares with others."""
        out: list[tuple[str, Value]] = [("email.local_id", hop.queue_id)]
        add = out.append
        if message_id:
            add(("email.message_id", message_id))
        if hop.sender and (shown := self.show(hop.sender)):
            add(("email.from.address", shown))
        if hop.subject and self.plain:
            add(("email.subject", hop.subject))
        if hop.size is not None and not hop.held:  # of those on hold it is told when they are released
            add(("messaging.message.envelope.size", hop.size))
        if hop.user and not hop.local and (shown := self.show(hop.user)):
            add(("user.name", shown))
        if raw:
            add(("mailtrace.raw_time", raw))
        key = (hop.client, hop.helo, hop.tls, hop.mta, hop.instance, certainty)
        common = self._common.get(key)
        if common is None:
            common = self._remember(key, _came(hop, certainty))
        return tuple(out), common

    def attempt(
        self, hop: Hop, deliveries: Sequence[Delivery], number: int, raw: str
    ) -> tuple[Attributes, Attributes, str]:
        """Of an attempt for some recipients, as above, and the description of its error ("" for none)."""
        first = deliveries[0]
        out: list[tuple[str, Value]] = [("email.local_id", hop.queue_id)]
        add = out.append
        self._recipients(deliveries, out)
        if first.reply_id:
            add(("email.delivery.next_id", first.reply_id))
        if first.delay is not None:
            add(("email.delay", first.delay))
        reply = self.reply(first.reply, first.recipient, first.original_recipient)
        if reply:
            add(("smtp.response.text", reply))
        if raw:
            add(("mailtrace.raw_time", raw))
        code = status_code(reply)
        status = "expired" if first.status == "bounced" and gave_up(first.reply) else first.status
        key = (status, number, first.transport, first.relay, first.tls, first.dsn, code, first.local)
        common = self._common.get(key)
        if common is None:
            common = self._remember(key, _went(first, status, number, code))
        return tuple(out), common, _error(status, first.dsn, reply) if status in FAILED else ""

    def _remember(self, key: tuple[object, ...], common: list[tuple[str, Value]]) -> Attributes:
        if len(self._common) > _MOST:
            self._common.clear()
        return self._common.setdefault(key, tuple(common))

    def end(self, row: Recipient) -> Attributes:
        """Of what became of a recipient for whom nothing was tried."""
        to, said = self.show(row.recipient), self.reply(row.reason, row.recipient, row.original_recipient)
        pairs = (("email.to.address", (to,) if to else ""), ("smtp.response.text", said))
        return tuple((key, value) for key, value in pairs if value)

    def refusal(self, sender: str | None, recipients: Sequence[str], reply: str) -> tuple[Attributes, str]:
        """Of a refusal at the door, and the description of its error."""
        out: list[tuple[str, Value]] = []
        if sender and (shown := self.show(sender)):
            out.append(("email.from.address", shown))
        to = tuple(filter(None, map(self.show, recipients)))
        if to:
            out.append(("email.to.address", to))
        reply = self.reply(reply, *recipients, sender or "")
        out += [("smtp.response.text", reply), ("email.delivery.status", "rejected")]
        dsn, code = enhanced(reply), status_code(reply)
        out += _answer("rejected", dsn, code)
        return tuple(out), _error("rejected", dsn, reply)

    def expiry(self, hop: Hop, deliveries: Sequence[Delivery]) -> Attributes:
        """Of a queue's giving up on these recipients."""
        out: list[tuple[str, Value]] = [("email.local_id", hop.queue_id)]
        if deliveries:
            self._recipients(deliveries, out)
            out.append(("smtp.response.text", self.reply(deliveries[-1].reply, deliveries[-1].recipient)))
        out += [("email.delivery.status", "expired"), ("error.type", "expired")]
        return tuple(out)

    def action(self, hop: Hop, what: str, rows: Sequence[Recipient]) -> Attributes:
        """Of what was done to a message in its queue; `rows` are the copies that ended by it."""
        out: list[tuple[str, Value]] = [("email.local_id", hop.queue_id)]
        to = tuple(filter(None, [self.show(row.recipient) for row in rows if row.outcome == "discarded"]))
        if to:
            out += [("email.to.address", to), ("email.delivery.status", "discarded")]
        elif what in ("held", "frozen"):
            out.append(("email.delivery.status", "held"))
        out.append(("mailtrace.action", self.reply(what)))
        return tuple(out)

    def _recipients(self, deliveries: Sequence[Delivery], out: list[tuple[str, Value]]) -> None:
        show = self.show
        to = tuple(filter(None, [show(delivery.recipient) for delivery in deliveries]))
        if to:
            out.append(("email.to.address", to))
        other = [d.original_recipient for d in deliveries if d.original_recipient != d.recipient]
        if other and (shown := tuple(filter(None, map(show, other)))):
            out.append(("email.to.original_address", shown))


@cache
def teller(addresses: str) -> Teller:
    """One for all mails: who follows logs asks for the spans of each mail alone, and most of them are alike."""
    return Teller(addresses)


def _came(hop: Hop, certainty: str) -> list[tuple[str, Value]]:
    """Who handed a message in, and to what."""
    out: list[tuple[str, Value]] = []
    if hop.client.name or hop.client.ip:
        _client(hop.client, out)
    if hop.helo:
        out.append(("smtp.helo", hop.helo))
    if hop.tls:
        out += tls(hop.tls)
    out += [("mailtrace.mta", hop.mta), ("mailtrace.instance", hop.instance)]
    if certainty:
        out.append(("mailtrace.certainty", certainty))
    return out


def _went(first: Delivery, status: str, number: int, code: str) -> list[tuple[str, Value]]:
    """How an attempt went, and where."""
    out: list[tuple[str, Value]] = [("email.delivery.status", status), ("email.delivery.attempt", number)]
    if first.transport:
        out.append(("email.delivery.transport", first.transport))
    name, ip, port = first.relay
    if not first.local and (name or ip):
        out.append(("server.address", name or ip))
        if port is not None:
            out.append(("server.port", port))
        if ip:
            out.append(("network.peer.address", ip))
        out.append(("network.protocol.name", "lmtp" if "lmtp" in first.transport else "smtp"))
    if first.tls:
        out += tls(first.tls)
    return out + _answer(status, first.dsn, code)


def _answer(status: str, dsn: str, code: str) -> list[tuple[str, Value]]:
    out: list[tuple[str, Value]] = []
    if code:
        out.append(("smtp.response.status_code", int(code)))
    if dsn:
        out.append(("smtp.response.enhanced_code", dsn))
    if status in FAILED:
        out.append(("error.type", dsn or code or status))
    return out


def _error(status: str, dsn: str, reply: str) -> str:
    """What a span with status ERROR says of it."""
    if not dsn or dsn in reply:
        return reply or status
    return f"{dsn} {reply}" if reply else dsn


def status_code(reply: str) -> str:
    """The three digits of an SMTP reply, "" if there are none."""
    code = reply[:3]
    if code.isdecimal() and code.isascii():
        return code
    found = _CODE.search(reply)
    return found[1] if found else ""


def _client(client: Peer, out: list[tuple[str, Value]]) -> None:
    name, ip, port = client
    out.append(("client.address", ip if not name or name == "unknown" else name))
    if port is not None:
        out.append(("client.port", port))
    if ip:
        out.append(("network.peer.address", ip))
    out.append(("network.protocol.name", "smtp"))


FAILED = frozenset({"deferred", "bounced", "expired", "rejected"})
"""What makes an attempt's status ERROR."""

_ENHANCED = re.compile(r"\b([245]\.[0-9]{1,3}\.[0-9]{1,3})\b")


def enhanced(reply: str) -> str:
    """The enhanced status code in a reply, "" if it has none."""
    found = _ENHANCED.search(reply[:64])
    return found[1] if found else ""


def tls(text: str) -> list[tuple[str, Value]]:
    """`TLSv1.3 with cipher …` or Exim's `TLS1.3:…` as attributes."""
    version, cipher = _TLS.search(text), _CIPHER.search(text)
    out: list[tuple[str, Value]] = []
    if version is not None:
        out.append(("tls.protocol.version", version[1]))
    if cipher is not None:
        out.append(("tls.cipher", cipher[1]))
    return out
