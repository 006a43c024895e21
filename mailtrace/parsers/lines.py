"""Lines to entries: the envelope of each line, the grammar of its program.

A log repeats itself: the same stamp, the same host and process in line after line. So the common envelopes (RFC 3164
and rsyslog's ISO 8601) are read once and then recognised by look-up; whatever the look-up does not know takes the slow
way through `envelope`, which teaches it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import cast

from mailtrace.ids import is_postfix
from mailtrace.model import Check, LogEntry, Note, Stamp, Zone
from mailtrace.parsers import amavis, dovecot, exim
from mailtrace.parsers import envelope as env
from mailtrace.parsers.envelope import Framed, Wrapped
from mailtrace.parsers.grammar import UNPARSED, Grammar, Made
from mailtrace.parsers.postfix import DAEMONS, Discard, Postfix

_new = cast("Callable[[type[LogEntry], tuple[object, ...]], LogEntry]", tuple.__new__)

_MEMO = 8192
_PIDS = 1 << 16
_SECONDS = frozenset(f"{second:02}" for second in range(60))
_NULS = re.compile(
    r"(?<!\0)\0+(?=(?:[0-9]{4} )?[A-Z][a-z]{2} {1,2}[0-9]{1,2} [0-9]{2}:|[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:)"
)
"""NULs that a crash left in the middle of a line, before the stamp of another."""
_REPEATED = re.compile(r"message repeated ([0-9]{1,9}) times: \[ ?(.*?)\]?$", re.DOTALL)
_LAST_REPEATED = re.compile(r"last message repeated ([0-9]{1,9}) times?")
_LOST = re.compile(
    r"begin to drop messages due to rate-limiting|([0-9]{1,9}) messages lost due to rate-limiting|"
    r"Suppressed ([0-9]{1,9}) messages"
)
_LONGEST_STAMPED = 4096
"""Characters of a line that hold its stamp and its tag, JSON apart."""


Tag = tuple[str, str, str, "Grammar | None"]
"""Who wrote a line: the host it names, instance, service, grammar. (Unpacked a million times: no NamedTuple.)"""


class LineParser:
    """A `Parser` of the formats it is told, in order, or of all (`auto`).

    `sessions` yields an entry for connections too; they concern no message and cost time.
    """

    def __init__(
        self, formats: Sequence[str] = (), time_format: str = "", *, keep_raw: bool = False, sessions: bool = False
    ) -> None:
        """Raises ValueError for a time format that can't be read back, KeyError for an unknown format."""
        self.unparsed = 0
        self._keep_raw = keep_raw
        self._hint = env.TimeFormat(time_format) if time_format and time_format not in _KNOWN_FORMATS else None
        self._readers = tuple(_READERS[name] for name in formats) or (_auto,)
        self._postfix = Postfix(sessions=sessions)
        self._pieces: dict[str, Wrapped] = {}
        self._cut: dict[str, Framed] = {}
        self._programs: dict[str, tuple[str, str, Grammar | None]] = {}
        self._tags: dict[str, Tag] = {}
        self._seconds: dict[str, float] = {}
        self._minutes: dict[str, float] = {}
        self._pids: dict[str, int] = {}
        self._sessions = sessions
        # The shape of the last stamp: its length, that of the part looked up, where the fraction ends, 10 to the
        # power of its digits (0: none), the kind of zone. The offset's text is looked up with the tag.
        self._shape = (15, 15, 15, 0, Zone.YEARLESS)
        self._offset = ""

    # --------------------------------------------------------------------------------------- the protocol

    def parse(  # noqa: C901, PLR0912, PLR0915 - one loop over every line of a log: a call more is a tenth of its speed
        self, block: bytes, seq: int, host: str | Callable[[str], str]
    ) -> list[LogEntry]:
        """Entries of a block of whole lines (see `model.Parser`)."""
        text = block.decode("utf-8", "surrogateescape")
        if "\r" in text:
            text = text.replace("\r\n", "\n").removesuffix("\r")
        lines = text.split("\n")
        if lines and not lines[-1]:
            lines.pop()
        nuls = "\0" in text
        idle = _IDLE if not self._sessions else frozenset()
        keep = self._keep_raw
        named = host if isinstance(host, str) else None
        names: dict[str, str] = {}
        entries: list[LogEntry] = []
        add = entries.append
        seconds, tags, pids = self._seconds.get, self._tags.get, self._pids.get
        width, start, cut, scale, zone = self._shape
        new, entry_type, unparsed = _new, LogEntry, UNPARSED
        seq -= 1
        for line in lines:
            seq += 1
            head, _, rest = line.partition("]: ")
            if rest[:8] in idle:
                continue
            who, _, number = head[cut:].rpartition("[")
            tag = tags(who)
            time = seconds(head[:start])
            try:
                if tag is None or (nuls and "\0" in line):
                    raise ValueError  # noqa: TRY301 - the slow way, as for a fraction that is no number
                if time is None:
                    time = self._second(head[:start])
                if scale:
                    time += int(head[20:cut]) / scale
                pid = pids(number) or self._pid(number)
            except ValueError:
                entries.extend(self._slow(line, seq, host))
                width, start, cut, scale, zone = self._shape
                continue
            logged, instance, service, grammar = tag
            if grammar is None:
                continue
            made = grammar(service, rest)
            if made is None:
                continue
            if made is unparsed:
                made = self._unknown(service, rest, grammar)
                if made is None:
                    continue
            if named is None:
                name = names.get(logged)
                if name is None:
                    name = names[logged] = host(logged)  # type: ignore[operator]
            else:
                name = named
            queue_id, event = made
            raw = line if keep else ""
            add(
                new(
                    entry_type,
                    (name, time, zone, seq, logged, instance, service, pid, queue_id, event, raw, head[:width]),
                )
            )
        return entries

    def stamp(self, line: bytes) -> Stamp | None:
        """The time of one line, None if it has none."""
        text = line.decode("utf-8", "surrogateescape").strip("\0\r\n")
        if not text:
            return None
        framed = self._framed(text if text[0] == "{" else text[:_LONGEST_STAMPED])
        if isinstance(framed, Framed):
            return Stamp(framed.time, framed.zone)
        if isinstance(framed, Wrapped):
            return framed.stamp
        found = env.any_stamp(text)
        return found[0] if found else None

    # ------------------------------------------------------------------------------------------ one line

    def _slow(self, line: str, seq: int, host: str | Callable[[str], str]) -> list[LogEntry]:
        """Entries of one line, by whatever envelope it has."""
        if "\0" not in line:
            entry = self._entry(line, seq, host)
            return [entry] if entry is not None else []
        made = (self._entry(part, seq, host) for part in _NULS.split(line))
        return [entry for entry in made if entry is not None]

    def _entry(self, line: str, seq: int, host: str | Callable[[str], str]) -> LogEntry | None:
        line = line.strip("\0")
        if not line or line.isspace():
            return None
        found = self._framed(line)
        if found is None:
            if not line.startswith("-- "):  # `-- Boot …`, `-- No entries --`: journalctl's own words
                self.unparsed += 1
            return None
        framed = self._unwrapped(found) if isinstance(found, Wrapped) else found
        if framed is None:
            return None
        instance, service, grammar = self._program(framed.tag)
        if grammar is None:
            return None
        if framed.tag.startswith(_PIECEWISE):
            whole = self._joined(framed)
            if whole is None:
                return None
            framed = whole
        text = framed.text
        made = grammar(service, text)
        if made is UNPARSED:
            made = self._unknown(service, text, grammar)
        if made is None:
            return None
        name = host if isinstance(host, str) else host(framed.host)
        return _new(
            LogEntry,
            (name, framed.time, framed.zone, seq, framed.host, instance, service, framed.pid, made[0], made[1],
             line if self._keep_raw else "", framed.raw_time)
        )  # fmt: skip

    def _unknown(self, service: str, text: str, grammar: Grammar) -> Made | None:
        """A text that its grammar does not know: the syslog daemon's own words, or nothing of ours."""
        repeated = _REPEATED.fullmatch(text) if text.startswith("message repeated ") else None
        if repeated is not None:
            made = grammar(service, repeated[2])
            if made is UNPARSED:
                self.unparsed += 1
                return None
            if made is not None and isinstance(made[1], Check):
                return made[0], made[1]._replace(repeats=int(repeated[1]))
            return made
        last = _LAST_REPEATED.match(text)
        if last is not None:
            return "", Note("repeated", text, number=int(last[1]))
        self.unparsed += 1
        return None

    def _program(self, tag: str) -> tuple[str, str, Grammar | None]:
        found = self._programs.get(tag)
        if found is None:
            if len(self._programs) > _MEMO:
                self._programs.clear()
            found = self._programs[tag] = _program(tag, self._postfix)
        return found

    # ----------------------------------------------------------------------------------------- envelopes

    def _framed(self, line: str) -> Framed | Wrapped | None:
        if self._hint is not None:
            hinted = self._hint(line)
            if hinted is not None:
                hinted_line = _after(line, *hinted)
                if hinted_line is not None:
                    return hinted_line
        for read in self._readers:
            framed = read(line)
            if framed is not None:
                if isinstance(framed, Framed):
                    self._learn(line, framed)
                return framed
        return None

    def _learn(self, line: str, framed: Framed) -> None:
        """Remember the stamp and the tag of a plain line, so that the next one like it is only looked up."""
        raw = framed.raw_time
        width = len(raw)
        if not framed.pid or not line.startswith(raw) or width < 15 or framed.tag.startswith(_PIECEWISE):
            return
        head, bracket, text = line.partition("]: ")
        if not bracket or text != framed.text or not head.endswith(f"{framed.tag}[{framed.pid}"):
            return
        digits = _digits(raw, framed.zone)
        if digits is None:
            return
        start, cut = (19, 20 + digits) if digits else (15, 15)
        shape = (width, start, cut, 10**digits if digits else 0, framed.zone)
        offset = raw[cut:]
        if shape != self._shape or offset != self._offset or len(self._seconds) > _MEMO or len(self._tags) > _MEMO:
            self._shape, self._offset = shape, offset
            self._seconds.clear()
            self._minutes.clear()
            self._tags.clear()
        second = float(math.floor(framed.time))  # the fraction is added again
        self._seconds[raw[:start]] = second
        self._minutes[raw[: start - 2]] = second - int(raw[start - 2 : start])
        instance, service, grammar = self._program(framed.tag)
        self._tags[head[cut:].rpartition("[")[0]] = (framed.host, instance, service, grammar)

    def _second(self, stamp: str) -> float:
        """The time of a stamp whose minute is known. Raises ValueError for one that must be read as a whole."""
        minute, second = self._minutes.get(stamp[:-2]), stamp[-2:]
        if minute is None or second not in _SECONDS:
            raise ValueError
        if len(self._seconds) > _MEMO:
            self._seconds.clear()
        time = self._seconds[stamp] = minute + int(second)
        return time

    def _pid(self, number: str) -> int:
        """A process ID. Raises ValueError for what is none."""
        if not (number.isascii() and number.isdigit()) or len(number) > 10:
            raise ValueError
        if len(self._pids) > _PIDS:
            self._pids.clear()
        pid = self._pids[number] = int(number)
        return pid

    def _joined(self, framed: Framed) -> Framed | None:
        """A line that its program cut for syslog, once its last piece is there; other lines as they are."""
        text = framed.text
        piece = _EXIM_PIECE.match(text)
        if piece is not None:
            number, mark, count = int(piece[1]), piece[2], int(piece[3])
            key = f"{framed.host} {framed.tag} {framed.pid}"
            rest = text[piece.end() :]
            earlier = self._cut.pop(key, None)
            if number > 1:
                if earlier is None:
                    return None
                framed = earlier._replace(text=earlier.text + ("\n" if mark == "\\" else "") + rest)
            else:
                framed = framed._replace(text=rest)
            if number < count:
                self._keep(key, framed)
                return None
            return _syslog(Stamp(framed.time, framed.zone), *framed[2:])
        piece = _AMAVIS_PIECE.match(text)
        if piece is not None:
            key = f"{framed.host} {piece[1]}"
            if piece[2]:
                earlier = self._cut.pop(key, None)
                if earlier is None:
                    return None
                framed = earlier._replace(text=earlier.text[:-3] + text[piece.end() :])
            if framed.text.endswith("...") and len(text) > _AMAVIS_CUT:
                self._keep(key, framed)
                return None
        return framed

    def _keep(self, key: str, framed: Framed) -> None:
        if len(self._cut) > _MEMO:
            self._cut.clear()
        if len(framed.text) < _LONGEST_PIECES:
            self._cut[key] = framed

    def _unwrapped(self, wrapped: Wrapped) -> Framed | None:
        """The line inside a container's log; pieces of it wait for the rest."""
        earlier = self._pieces.pop(wrapped.stream, None)
        if earlier is not None:
            wrapped = wrapped._replace(text=earlier.text + wrapped.text, stamp=earlier.stamp, raw_time=earlier.raw_time)
        if wrapped.partial and len(wrapped.text) < _LONGEST_PIECES:
            if len(self._pieces) > _MEMO:
                self._pieces.clear()
            self._pieces[wrapped.stream] = wrapped
            return None
        framed = _inside(wrapped)
        if framed is None and wrapped.text.strip():
            self.unparsed += 1
        return framed


_LONGEST_PIECES = 1 << 20
_PIECEWISE = ("exim", "amavis")
"""Programs that cut long lines themselves and say so; theirs are never only looked up."""
_EXIM_PIECE = re.compile(r"\[([0-9]{1,3})([/\\])([0-9]{1,3})\] ")
_AMAVIS_PIECE = re.compile(r"(\([0-9]+-[0-9]+(?:-[0-9]+)?\)) (\.\.\.)?")
_AMAVIS_CUT = 900
"""amavis cuts at about 980 characters; a shorter line that ends in dots ends so."""


def _digits(raw: str, zone: Zone) -> int | None:
    """Digits of the fraction of a stamp that can be looked up, 0 for RFC 3164's; None for other stamps."""
    if len(raw) == 15:
        return 0 if zone is Zone.YEARLESS else None
    if raw[4:5] != "-" or raw[19:20] != ".":
        return None
    rest = raw[20:]
    return len(rest) - len(rest.lstrip("0123456789")) or None


_IDLE = frozenset(("connect ", "disconne", "CONNECT ", "PASS OLD", "PASS NEW", "Anonymou", "Untruste"))
"""How the commonest lines begin that concern no message; eight characters."""

_KNOWN_FORMATS = frozenset(
    ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S.%f%z", "%b %d %H:%M:%S")
)
"""Time formats that are read without being told."""


def _program(tag: str, postfix: Postfix) -> tuple[str, str, Grammar | None]:
    """Instance, service and grammar of a tag; no grammar for other programs' lines."""
    instance, slash, service = tag.partition("/")
    if slash and instance and service:
        daemon = service.rpartition("/")[2]
        if daemon in DAEMONS or instance.startswith("postfix"):
            return instance, service, Discard(postfix) if daemon == "discard" else postfix
    elif tag in DAEMONS or tag.startswith("postfix"):
        if tag in DAEMONS and tag != "postfix":
            return "postfix", tag, _bare(postfix)
        return tag, "", postfix
    if tag.startswith("exim"):
        return instance, service, exim.read
    if tag.startswith("amavis"):
        return instance, service, amavis.read
    if tag.startswith("dovecot"):
        return instance, service, dovecot.read
    if tag in ("rsyslogd", "systemd-journald", "journal", "syslog-ng", "rsyslogd-2177"):
        return instance, service, _lost
    if not slash and tag not in _OTHERS:
        return tag, "", _cut(postfix)
    return instance, service, None


_OTHERS = frozenset(
    "CRON cron sshd sudo su kernel systemd systemd-logind dhclient named unbound ntpd chronyd opendkim opendmarc spamd "
    "rspamd clamd freshclam milter-greylist postgrey policyd-spf sendmail sm-mta smtpd-filter fail2ban-server".split()
)
"""Programs whose lines begin with a queue ID, or with anything at all, and are not Postfix'."""


def _cut(postfix: Postfix) -> Grammar:
    """Postfix' grammar for an instance's name without its daemon: RFC 5424's APP-NAME ends at the first slash."""

    def read(service: str, text: str) -> Made | None:
        first = text.partition(": ")[0]
        if first != "NOQUEUE" and not is_postfix(first) and not text.startswith(("proxy-accept", "proxy-reject")):
            return None
        made = postfix(service, text)
        return None if made is UNPARSED else made

    return read


def _bare(postfix: Postfix) -> Grammar:
    """Postfix' grammar for a tag like `smtpd`, which other programs have too: what it does not know is theirs."""

    def read(service: str, text: str) -> Made | None:
        made = postfix(service, text)
        return None if made is UNPARSED else made

    return read


def _lost(service: str, text: str) -> Made | None:
    """The log daemon's own words on what it left out."""
    found = _LOST.search(text)
    if found is None:
        return None
    return "", Note("lost", text, number=int(found[1] or found[2] or 0))


# ------------------------------------------------------------------------------------- formats by name


def _after(line: str, stamp: Stamp, end: int, *, inner: bool = False) -> Framed | None:
    """What stands behind a stamp: another stamp (once), Exim's text, or a syslog head."""
    raw_time = line[:end]
    if line[end : end + 1] == ":":
        end += 1
    pid, text = exim.body(line, end)
    if exim.begins(text):
        return Framed(stamp.time, stamp.zone, raw_time, "", "exim", pid, text)
    if not inner and env.any_stamp(line[end + 1 : end + 80]) is not None:
        return _inside(Wrapped(line[end + 1 :], stamp, raw_time))
    head = env.head(line, end)
    if head is not None:
        host, tag, tag_pid, at = head
        return _syslog(stamp, raw_time, host, tag, tag_pid, line[at:])
    if raw_time[10:11] == " " and raw_time[4:5] == "-":
        return Framed(stamp.time, stamp.zone, raw_time, "", "exim", pid, text)
    return None


def _syslog(stamp: Stamp, raw_time: str, host: str, tag: str, pid: int, text: str) -> Framed:
    """A syslog line; Exim's own stamp inside it leads."""
    if tag.startswith("exim") and text[4:5] == "-" and (inner := env.iso_stamp(text)) is not None:
        own, end = inner
        inner_pid, rest = exim.body(text, end)
        return Framed(own.time, own.zone, text[:end], host, tag, inner_pid or pid, rest)
    return Framed(stamp.time, stamp.zone, raw_time, host, tag, pid, text)


def _inside(wrapped: Wrapped) -> Framed | None:
    """The line in a wrapper; the outer stamp leads where it alone knows its offset."""
    text, stamp = wrapped.text, wrapped.stamp
    inner = _plain(text, inner=True) or env.rfc5424(text)
    if inner is not None:
        host = inner.host or wrapped.host
        if stamp is not None and stamp.zone is Zone.UTC and inner.zone is not Zone.UTC:
            return inner._replace(time=stamp.time, zone=stamp.zone, raw_time=wrapped.raw_time, host=host)
        return inner._replace(host=host)
    if stamp is None:
        return None
    if wrapped.tag:
        return _syslog(stamp, wrapped.raw_time, wrapped.host, wrapped.tag, wrapped.pid, text)
    if exim.begins(text):
        return Framed(stamp.time, stamp.zone, wrapped.raw_time, wrapped.host, "exim", 0, text)
    head = env.head(text, 0)
    if head is None:
        return None
    host, tag, pid, at = head
    return Framed(stamp.time, stamp.zone, wrapped.raw_time, host or wrapped.host, tag, pid, text[at:])


def _stripped(line: str) -> str:
    """A line without priority, octet count, leading facility and leading spaces."""
    pri = env.PRI.match(line)
    if pri is not None:
        return line[pri.end() :]
    if line[:1].islower():
        facility = env.FACILITY.match(line)
        if facility is not None:
            return line[facility.end() :]
    return line


def _plain(line: str, *, inner: bool = False) -> Framed | None:
    """Any line that begins with a stamp; `inner` for one that stands in a wrapper already."""
    line = _stripped(line)
    found = env.any_stamp(line)
    return _after(line, *found, inner=inner) if found is not None else None


def _rfc3164(line: str) -> Framed | None:
    line = _stripped(line)
    found = env.bsd_stamp(line)
    return _after(line, *found) if found is not None else None


def _iso8601(line: str) -> Framed | None:
    line = _stripped(line)
    found = env.iso_stamp(line)
    return _after(line, *found) if found is not None else None


def _rfc5424(line: str) -> Framed | None:
    octets = env.OCTETS.match(line)
    if octets is not None:
        line = line[octets.end() :]
    found = env.rfc5424(line)
    if found is None:
        return None
    return _syslog(Stamp(found.time, found.zone), found.raw_time, found.host, found.tag, found.pid, found.text)


def _rfc5424_or_iso(line: str) -> Framed | None:
    """The seed's `Rfc5424Parser`: the protocol's format, or the ISO 8601 file format that goes by its name."""
    return _rfc5424(line) or _iso8601(line)


def _exim(line: str) -> Framed | None:
    found = env.iso_stamp(line)
    if found is not None:
        stamp, end = found
        pid, text = exim.body(line, end)
        return Framed(stamp.time, stamp.zone, line[:end], "", "exim", pid, text)
    framed = _plain(line)
    return framed if framed is not None and framed.tag.startswith("exim") else None


def _journal(line: str) -> Framed | None:
    if line[:1] == "{":
        record = env.json_object(line)
        return _journal_entry(env.journal(record)) if record is not None else None
    return _plain(line)


def _journal_entry(framed: Framed | None) -> Framed | None:
    """A journal entry; Exim's own stamp in it is no better than the journal's and is taken off."""
    if framed is not None and framed.tag.startswith("exim") and framed.text[4:5] == "-":
        inner = env.iso_stamp(framed.text)
        if inner is not None:
            pid, text = exim.body(framed.text, inner[1])
            return framed._replace(pid=pid or framed.pid, text=text)
    return framed


def _json(line: str) -> Framed | Wrapped | None:
    record = env.json_object(line)
    if record is None:
        return None
    if "MESSAGE" in record:
        return _journal_entry(env.journal(record))
    if "log" in record:
        return env.docker(record)
    return env.export(record)


def _auto(line: str) -> Framed | Wrapped | None:
    """Whatever envelope a line has, told by its first characters."""
    first = line[0]
    if first == "{":
        return _json(line)
    if first == "<":
        return _rfc5424(line) or _plain(line)
    if first.isdigit():
        if " std" in line[:50] and (piece := env.cri(line)) is not None:
            return piece
        return _plain(line) or _rfc5424(line)
    framed = _plain(line)
    if framed is None:
        compose = env.COMPOSE.match(line)
        if compose is not None and compose.end() < len(line):
            return _plain(line[compose.end() :])
    return framed


_READERS: dict[str, Callable[[str], Framed | Wrapped | None]] = {
    "auto": _auto,
    "rfc3164": _rfc3164,
    "rfc5424": _rfc5424_or_iso,
    "iso8601": _iso8601,
    "exim": _exim,
    "journal": _journal,
}
