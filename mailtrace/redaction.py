"""Pseudonyms for everything in log lines that names a person, a machine or a network; the same one every time.

Addresses, host names, users, Message-IDs, paths and headers are taken apart into words of letters and digits, and each
word gets its own pseudonym wherever it stands: `anna` is `u1x` in `anna@example.com`, in `SRS0=x=y=example.com=anna@…`,
in `bounce-anna=example.com@…`, in `/home/anna/Maildir` and in an encoded word. So what was equal stays equal, a name
without its domain stays the beginning of the name with it, and a trace finds the same way. IP addresses are mapped as a
whole, private ones to 10/8, others to 198.18/15 (RFC 2544) and 2001:db8::/32 (RFC 3849); loopback addresses stay.

Queue IDs, times, sizes, process IDs, status codes and what programs say of themselves stay as they are: that is what a
trace is made of. The words in KEPT stay too. A word that was seen in an address or a name is replaced in free text as
well, unless it belongs to the programs' own vocabulary (VOCABULARY): a host called `mail` is replaced where it stands
as a host, and "mail forwarding loop" is left alone.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from quopri import decodestring
from typing import Any

KEPT = frozenset(
    "com net org edu gov mil int arpa test example invalid localhost localdomain local lan internal "
    "unknown postmaster root nobody daemon mailer srs0 srs1 prvs ipv6".split()
)
"""Words that stay wherever they stand: they name nobody."""

VOCABULARY = frozenset(
    """
    a about above accept accepted accepting access account acl active add added address addresses after again
    alias aliases all allow allowed already amavis amavisd an and anonymous another any appears apr are as at
    attempt aug auth authenticated authentication bad banned bcc because been before being beyond blocked
    blocklist body bounce bounced but by bytes cache can cannot cert certificate check checks child cipher clean
    cleanup client closed code command commands completed config configuration connect connected connecting
    connection content conversation cram daemon data deadline dec decoder defer deferral deferred delay delayed
    delays deliver deliverable delivered deliveries delivery denied destination digest directory disabled
    discard discarded disconnect dkim dns does domain dovecot dsn due during ecdhe ecdsa ehlo empty enabled
    encrypted end enough envelope error errors esmtp esmtpa esmtps esmtpsa established exceeded exchange exim
    exim4 exist existing exists expansion expired external fail failed failure fatal feature feb file filter
    final for force forced forward forwarded forwarding found fri from frozen full generic get go gone got
    greeting greylisted greylisting handed has have header headers held helo hits hold home host hostname hosts
    id if in inbound inbox incoming info input insufficient internal invalid ip is issuer it jan jul jun key lda
    length limit line list lists literal lmtp load local locally log logged login logs lookup loop lost mail
    mailbox maildir mailer mails main many map maps mar match max maximum may me media message messages method
    milter minute missing mode mon more moved msgid mta mx name need network new next no node non none noqueue
    not notification notified notify nov now null number oct of off ok old on one only open or orig original
    other our out outbound outgoing over overload own parameters passed password path per permanent permanently
    permission permitted pid pipe pipelining plain please policy port postfix postmaster postscreen prefer
    prefix private probe problem process processing program prohibited proto protocol proxy qmgr qmqp quarantine
    queue queued queueing queues quit quota r rate rcpt read reason receive received recipient recipients record
    redirect refused reject rejected rejecting relay relayed relaying release released removed reply report
    requested required resent reset resolve response result retry return returned reverse rewrite route router
    routing rset rule run said same sasl sat saved say says scanning score secure security see seems send sender
    senders sending sent sep server servers service session sessions set shutdown sieve size skipped smtp smtpd
    smtps so socket spam spool sqlite ssl start started starttls state status still stop stopped storage store
    stored string subject submission success successful sun suspended syntax system table temporarily temporary
    term than that the their there this thu time timed timeout timer times tls to too trace transaction transfer
    transient transport tries trust trusted try trying tue two type unable unavailable undeliverable unexpected
    unfrozen unknown unreachable unrecognized until untrusted unverified user users using valid var verification
    verified verify version via virtual virus waiting warning was we wed when where while will with within
    without write x xforward yet you your
    """.split()
)
"""Words of Postfix, Exim, Dovecot, amavisd and of common SMTP replies: no names where they stand alone."""

_PATH_WORDS = frozenset(
    "var usr etc home root mail vmail spool log logs lib libexec lib64 bin sbin local opt srv tmp run new cur maildir "
    "mbox inbox dev null proc private public postfix exim exim4 dovecot sieve procmail deliver db cf map maps".split()
)
_JSON_DROPPED = re.compile(r"_(?!HOSTNAME$|PID$|SOURCE_REALTIME_TIMESTAMP$|_REALTIME_TIMESTAMP$)")
"""Fields of the journal that a trace does not need, and that name machines and commands."""

_WORD = re.compile(r"[^\W_]+")
_V4 = r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w]|\.\d)"
_V6 = (
    r"(?:\b[Ii][Pp][Vv]6:|(?<![\w:.]))(?:[0-9A-Fa-f]{0,4}:){2,7}"
    r"(?:[0-9A-Fa-f]{1,4}|\d{1,3}(?:\.\d{1,3}){3})?(?![\w:])"
)
_ENCODED = r"=\?[\w-]+\?[bqBQ]\?[^?\s]*\?="
_NAME = r"(?<![\w.-])(?:[^\W_](?:[\w-]*[^\W_])?\.)+[^\W\d_](?:[\w-]*[^\W_])?(?![\w-])"
_ADDRESS = r"[\w.!#$%&'*+/=?^`{|}~-]+@(?:\[[^\]\s]*\]|[\w.-]+)"
_USERS = frozenset("sasl_username sasl_sender user username U A ruser mech_user".split())
_HOSTS = frozenset("helo H client relay orig_client host server rip lip".split())
_KEYS = "|".join(sorted(_USERS | _HOSTS, key=len, reverse=True))


_TAKEN = re.compile(rf"{_V4}|{_V6}")

_PIECES = re.compile(
    "|".join(
        (
            r"(?P<header>\bheader [\w-]+: .*?(?= from \S+\[[^\]\s]*\];|$)|\bT=\"(?:[^\"\\]|\\.)*\")",
            r"(?P<id>\b(?:resent-)?(?:message-id|msgid|id|Message-ID)[=:] ?<?[^<>\s,;\"]+>?)",
            r"(?P<bracket><[^<>\s]*>|<[^<>]*@[^<>]*>)",
            rf"(?P<encoded>{_ENCODED})",
            r"(?P<cert>\b(?:subject_CN|issuer|issuer_CN|DN|CN)=(?:\"[^\"]*\"|[^,\s]+))",
            rf"(?P<v6>{_V6})",
            rf"(?P<v4>{_V4})",
            rf"(?P<key>\b(?:{_KEYS})=\(?[^\s,;()\[\]<>\"]+\)?(?: ?\[)?)",
            rf"(?P<address>{_ADDRESS})",
            r"(?P<session>\b(?:lmtp|lda|deliver|imap|pop3|sieve|managesieve)\([^)\s]*\))",
            r"(?P<local>(?:=>|->|>>|\*\*|==|\*>) (?!<)[^\s<>]+)",
            r"(?P<path>(?<![\w.])/(?:[\w.@+~=-]+/)*[\w.@+~=-]+)",
            rf"(?P<name>{_NAME})",
            r"(?P<word>[^\W_]+)",
        )
    )
)
"""What a line is made of, the most certain first; the text between is punctuation."""


class Pseudonyms:
    """Pseudonyms for the words of a set of log lines. `learn` all of them first, then `line` replaces."""

    def __init__(self, texts: Iterable[str], ids: Iterable[str] = (), names: Iterable[str] = ()) -> None:
        """`texts` are all that a pseudonym must not be taken from, `ids` the queue IDs that stay, `names` hosts."""
        self._ids = frozenset(ids)
        self._taken = {found.casefold() for text in texts for found in (*_WORD.findall(text), *_TAKEN.findall(text))}
        self._words: dict[str, str] = {}
        self._everywhere: set[str] = set()
        self._addresses: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        for name in names:
            self.name(name)

    # ------------------------------------------------------------------------------------------ lines

    def learn(self, raw: str, host: str = "") -> None:
        """Get to know the names of a line; `host` is what the line calls its host."""
        self.line(raw, host)

    def line(self, raw: str, host: str = "") -> str:
        """A log line with its names replaced."""
        if raw.startswith("{"):
            try:
                record = json.loads(raw)
            except ValueError:
                pass
            else:
                return json.dumps(self._record(record), ensure_ascii=False)
        head = f" {host} "
        at = raw.find(head, 0, 120) if host else -1
        if at < 0:
            return self.text(raw)
        return f"{self.text(raw[:at])} {self.name(host)} {self.text(raw[at + len(head) :])}"

    def _record(self, value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: self._record(item, name) for name, item in value.items() if not _JSON_DROPPED.match(name)}
        if isinstance(value, list):
            if key == "MESSAGE" and value and all(isinstance(byte, int) for byte in value):  # not UTF-8
                return self.text(bytes(byte & 255 for byte in value).decode("utf-8", "backslashreplace"))
            return [self._record(item, key) for item in value]
        if isinstance(value, str):
            return self.name(value) if "host" in key.casefold() else self.text(value)
        return value

    def text(self, text: str) -> str:
        """Free text with the names in it replaced."""
        return _PIECES.sub(self._piece, text)

    def _piece(self, found: re.Match[str]) -> str:
        kind = found.lastgroup or ""
        return _HANDLERS[kind](self, found[0])

    # ----------------------------------------------------------------------------------------- pieces

    def _header(self, text: str) -> str:
        lead, colon, value = text.partition(": " if text.startswith("header") else "=")
        return lead + colon + self._all(value, "w")

    def _id(self, text: str) -> str:
        found = re.match(r"([\w-]+[=:] ?<?)(.*?)(>?)\Z", text, re.DOTALL)
        return f"{found[1]}{self.message_id(found[2])}{found[3]}" if found else text

    def _bracket(self, text: str) -> str:
        inner = text[1:-1]
        return text if inner.isdigit() else f"<{self.identifier(inner)}>"

    def _key(self, text: str) -> str:
        """`relay=local` stays; in front of an address in brackets stands a host, whatever it is called."""
        key, _, value = text.partition("=")
        if value.casefold() in VOCABULARY:
            return text
        return f"{key}={self._all(value, 'u' if key in _USERS else 'n')}"

    def _session(self, text: str) -> str:
        program, _, inner = text[:-1].partition("(")
        return text if inner.isdigit() else f"{program}({self.user(inner)})"

    def _local(self, text: str) -> str:
        arrow, _, inner = text.partition(" ")
        return f"{arrow} {self.user(inner)}"

    def _path(self, text: str) -> str:
        return self._all(text, "u", keep=_PATH_WORDS)

    def _free(self, word: str) -> str:
        """A word of free text: replaced where it is known as a name, and is no word of the programs."""
        folded = word.casefold()
        if len(word) < 3 or word.isdigit() or folded not in self._everywhere or folded in VOCABULARY:
            return word
        return self.word(word, "n")

    def _encoded(self, text: str) -> str:
        """An encoded word of a header (RFC 2047), its words replaced; one that cannot be read, as a whole."""
        _, charset, how, data, _ = text.split("?")
        try:
            raw = b64decode(data) if how in "bB" else decodestring(data.replace("_", " ").encode(), header=False)
            plain = raw.decode(charset)
        except (Base64Error, ValueError, LookupError):
            plain = "unreadable"
        shown = self._all(plain, "w").encode("utf-8")
        quoted = "".join(chr(c) if chr(c).isalnum() and c < 128 else "_" if c == 32 else f"={c:02X}" for c in shown)
        return f"=?utf-8?q?{quoted}?="

    # -------------------------------------------------------------------------------------- identifiers

    def identifier(self, text: str) -> str:
        """An address, a host name, an IP address, an ID: all of it is replaced."""
        if "@" in text:
            local, _, domain = text.rpartition("@")
            return f"{self._all(local, 'u')}@{self.name(domain)}"
        return self.name(text)

    def message_id(self, text: str) -> str:
        """A Message-ID without <>; the clock and the queue ID in one that a mail server made stay."""
        local, at, domain = text.rpartition("@")
        return f"{self._all(local, 'm')}{at}{self.name(domain)}" if at else self._all(text, "m")

    def name(self, text: str) -> str:
        """A host name or an IP address."""
        return self._all(text, "n")

    def user(self, text: str) -> str:
        """A login or an address."""
        return self.identifier(text) if "@" in text else self._all(text, "u")

    def words(self, text: str) -> str:
        """Words of a header, as a subject's."""
        return self._all(text, "w")

    def _all(self, text: str, kind: str, keep: frozenset[str] = frozenset()) -> str:
        """A text of which every word is replaced but queue IDs, KEPT and `keep`."""

        def replaced(found: re.Match[str]) -> str:
            piece = found[0]
            if found.lastgroup == "encoded":
                return self._encoded(piece)
            if found.lastgroup in ("v4", "v6"):
                return self.address(piece)
            if found.lastgroup == "queue_id":
                return piece if self._is_id(piece) else _WORD.sub(lambda word: one(word[0], found), piece)
            return one(piece, found)

        def one(word: str, found: re.Match[str]) -> str:
            stamp = kind == "m" and len(word) == 14 and word.isdigit() and text[found.end() : found.end() + 1] == "."
            stays = stamp or self._is_id(word) or word.casefold() in KEPT or word.casefold() in keep
            return word if stays else self.word(word, kind)

        return _INSIDE.sub(replaced, text)

    def _is_id(self, word: str) -> bool:
        return word in self._ids or (word[:1] == "E" and word[1:] in self._ids)

    def word(self, word: str, kind: str) -> str:
        """The pseudonym of a word; `kind` is the letter it begins with: user, name, message ID, word of a header."""
        plain = word.islower() or word.isupper() or word.istitle() or word.isdigit()
        key = word.casefold() if plain else word
        if kind in "un":
            self._everywhere.add(word.casefold())
        known = self._words.get(key)
        if known is None:
            known = self._words[key] = self._next(kind)
        return known

    def _next(self, kind: str) -> str:
        while True:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            name = f"{kind}{self._counts[kind]}x"  # no pseudonym is a part of another one
            if name not in self._taken:
                return name

    def address(self, text: str) -> str:
        """The pseudonym of an IP address; loopback and what is no address stay."""
        lead = text[:5] if text[:5].casefold() == "ipv6:" else ""
        try:
            address = ip_address(text[len(lead) :])
        except ValueError:
            return text
        if address.is_loopback or address.is_unspecified:
            return text
        known = self._addresses.get(str(address))
        if known is None:
            form = "v6" if address.version == 6 else "private" if address.is_private else "public"
            known = self._addresses[str(address)] = self._free_address(form)
        return lead + known

    def _free_address(self, form: str) -> str:
        while True:
            number = self._counts[form] = self._counts.get(form, 0) + 1
            high, low = divmod(number, 250)
            made = {
                "v6": f"2001:db8::{number:x}",
                "private": f"10.{199 + high // 250 % 50}.{high % 250}.{low + 1}",
                "public": f"198.{18 + high // 250 % 2}.{high % 250}.{low + 1}",
            }[form]
            if made not in self._taken:
                return made

    @property
    def counts(self) -> dict[str, int]:
        """How many words and addresses of each kind were replaced."""
        return dict(self._counts)


_INSIDE = re.compile(
    rf"(?P<encoded>{_ENCODED})|(?P<v6>{_V6})|(?P<v4>{_V4})"
    r"|(?P<queue_id>[^\W_]+-[^\W_]+-[^\W_]+)|(?P<word>[^\W_]+)"
)
_HANDLERS: dict[str, Callable[[Pseudonyms, str], str]] = {
    "header": Pseudonyms._header,  # noqa: SLF001 - a table of its own methods
    "id": Pseudonyms._id,  # noqa: SLF001
    "bracket": Pseudonyms._bracket,  # noqa: SLF001
    "encoded": Pseudonyms._encoded,  # noqa: SLF001
    "cert": lambda self, text: text.partition("=")[0] + "=" + self._all(text.partition("=")[2], "w"),
    "v4": Pseudonyms.address,
    "v6": Pseudonyms.address,
    "key": Pseudonyms._key,  # noqa: SLF001
    "address": Pseudonyms.identifier,
    "session": Pseudonyms._session,  # noqa: SLF001
    "local": Pseudonyms._local,  # noqa: SLF001
    "path": Pseudonyms._path,  # noqa: SLF001
    "name": Pseudonyms.name,
    "word": Pseudonyms._free,  # noqa: SLF001
}
