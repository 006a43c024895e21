"""Lines to entries: the envelope of each line, the grammar of its program.

A log repeats itself: the same stamp, the same host and process in line after line. So the common envelopes (RFC 3164
and rsyslog's ISO 8601) are read once and then recognised by look-up; whatever the look-up does not know takes the slow
way through `envelope`, which teaches it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from mailtrace.ids import is_postfix
from mailtrace.model import Check, LogEntry, Note, Stamp, Zone
from mailtrace.parsers import amavis, dovecot, exim
from mailtrace.parsers import envelope as env
from mailtrace.parsers.envelope import Framed, Wrapped
from mailtrace.parsers.grammar import UNPARSED, About, Grammar, Made, made_of
from mailtrace.parsers.lives import LifeReader
from mailtrace.parsers.postfix import DAEMONS, Discard, Postfix
from mailtrace.parsers.shape import IDLE, MEMO, Form, Row, Shape, form_of, text_of

_PIDS = 1 << 16
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


_FORMS = 16
"""As many forms of stamps are learnt; a log has one or two."""

Program = tuple[str, str, "Grammar | None", "About | None"]
"""Whose line it is: instance, service, grammar."""


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
        self._programs: dict[str, Program] = {}
        self._pids: dict[str, int] = {"": 0}
        self._idle = () if sessions else IDLE
        self.shape: Shape | None = None  # of the last line that was read as a whole
        self._shapes: dict[Form, Shape] = {}

    # --------------------------------------------------------------------------------------- the protocol

    def parse(self, block: bytes, seq: int, host: str | Callable[[str], str]) -> list[LogEntry]:
        """Entries of a block of whole lines (see `model.Parser`)."""
        text = text_of(block)
        if not text:
            return []
        entries, lines, at = self.begin(text, seq, host)
        shape = self.shape
        if shape is not None and at <= len(text):
            entries += self.read(shape, enumerate(shape.rows(text, at), seq + lines), host)
        return entries

    def read(self, shape: Shape, rows: Iterable[tuple[int, Row]], host: str | Callable[[str], str]) -> list[LogEntry]:
        """Entries of lines of a shape, each with its position."""
        entries: list[LogEntry] = []
        named = host if isinstance(host, str) else None
        names: dict[str, str] = {}
        add = entries.append
        seconds, tags, pids = shape.seconds, shape.tags, self._pids
        scale, zone = shape.scale, shape.zone
        new, entry_type = made_of, LogEntry
        for seq, (raw, stamp, second, fraction, who, number, named_id, rest, other) in rows:
            if not rest:
                if other:
                    entries += self._slow(other, seq, host)
                continue
            try:
                logged, instance, service, grammar, about = tags[who]
                time = seconds[second] if second in seconds else shape.second(second)
            except KeyError:
                entries += self._slow(shape.line(stamp, who, number, named_id, rest), seq, host)
                continue
            if grammar is None:
                continue
            event, queue_id = (about(service, rest) if named_id and about is not None else None), named_id
            if event is None:
                made = self._made(service, shape.text(named_id, rest), grammar)
                if made is None:
                    continue
                queue_id, event = made
            if scale:
                time += int(fraction) / scale
            if named is None:
                name = names.get(logged)
                if name is None:
                    name = names[logged] = host(logged)  # type: ignore[operator]
            else:
                name = named
            pid = pids[number] if number in pids else self._pid(number)
            add(new(entry_type, (name, time, zone, seq, logged, instance, service, pid, queue_id, event, raw, stamp)))
        return entries

    def lives(self, *, relayed: bool) -> LifeReader:
        """A reader that hands over plain messages whole, where no line has to be kept (see `LifeReader`)."""
        return LifeReader(self, relayed=relayed)

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

    def learn(self, line: str) -> None:
        """Learn the stamp and the tag of a line."""
        self._framed(line)

    # ------------------------------------------------------------------------------------------ one line

    def begin(self, text: str, seq: int, host: str | Callable[[str], str]) -> tuple[list[LogEntry], int, int]:
        """Entries of a block's lines up to the first whose shape is known, how many lines that is, where they end."""
        entries: list[LogEntry] = []
        at, lines, nuls = 0, 0, "\0" in text
        while at <= len(text) and (nuls or self.shape is None):
            end = text.find("\n", at)
            end = end if end >= 0 else len(text)
            entries += self._slow(text[at:end], seq + lines, host)
            lines, at = lines + 1, end + 1
        return entries, lines, at

    def _slow(self, line: str, seq: int, host: str | Callable[[str], str]) -> list[LogEntry]:
        """Entries of one line, by whatever envelope it has."""
        if line.partition("]: ")[2].startswith(self._idle):
            return []
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
        instance, service, grammar, _about = self._program(framed.tag)
        if grammar is None:
            return None
        if framed.tag.startswith(_PIECEWISE):
            whole = self._joined(framed)
            if whole is None:
                return None
            framed = whole
        made = self._made(service, framed.text, grammar)
        if made is None:
            return None
        name = host if isinstance(host, str) else host(framed.host)
        return LogEntry(
            name, framed.time, framed.zone, seq, framed.host, instance, service, framed.pid, made[0], made[1],
            line if self._keep_raw else "", framed.raw_time,
        )  # fmt: skip

    def _made(self, service: str, text: str, grammar: Grammar) -> Made | None:
        """What a line tells; None where that is nothing, or nothing that is known."""
        made = grammar(service, text)
        return self._unknown(service, text, grammar) if made is UNPARSED else made

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

    def _program(self, tag: str) -> Program:
        found = self._programs.get(tag)
        if found is None:
            if len(self._programs) > MEMO:
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
        form = form_of(line, framed)
        if form is None:
            return
        shape = self._shapes.get(form)
        if shape is None:
            if len(self._shapes) >= _FORMS:
                return
            shape = self._shapes[form] = Shape(form, keep=self._keep_raw, idle=bool(self._idle))
        who = shape.who(line, framed)
        if who is not None and not (who and framed.tag.startswith(_PIECEWISE)):
            shape.learn(framed, who, (framed.host, *self._program(framed.tag)))
            self.shape = shape

    def _pid(self, number: str) -> int:
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
        if len(self._cut) > MEMO:
            self._cut.clear()
        if len(framed.text) < _LONGEST_PIECES:
            self._cut[key] = framed

    def _unwrapped(self, wrapped: Wrapped) -> Framed | None:
        """The line inside a container's log; pieces of it wait for the rest."""
        earlier = self._pieces.pop(wrapped.stream, None)
        if earlier is not None:
            wrapped = wrapped._replace(text=earlier.text + wrapped.text, stamp=earlier.stamp, raw_time=earlier.raw_time)
        if wrapped.partial and len(wrapped.text) < _LONGEST_PIECES:
            if len(self._pieces) > MEMO:
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


_KNOWN_FORMATS = frozenset(
    ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S.%f%z", "%b %d %H:%M:%S")
)
"""Time formats that are read without being told."""


def _program(tag: str, postfix: Postfix) -> Program:
    """Whose line a tag means; no grammar for other programs' lines."""
    instance, slash, service = tag.partition("/")
    if slash and instance and service:
        daemon = service.rpartition("/")[2]
        if daemon in DAEMONS or instance.startswith("postfix"):
            if daemon == "discard":
                return instance, service, Discard(postfix), None
            return instance, service, postfix, postfix.about
    elif tag in DAEMONS or tag.startswith("postfix"):
        if tag in DAEMONS and tag != "postfix":
            return "postfix", tag, _bare(postfix), None
        return tag, "", postfix, postfix.about
    if tag.startswith("exim"):
        return instance, service, exim.read, exim.about
    if tag.startswith("amavis"):
        return instance, service, amavis.read, None
    if tag.startswith("dovecot"):
        return instance, service, dovecot.read, None
    if tag in ("rsyslogd", "systemd-journald", "journal", "syslog-ng", "rsyslogd-2177"):
        return instance, service, _lost, None
    if not slash and tag not in _OTHERS:
        return tag, "", _cut(postfix), None
    return instance, service, None, None


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
    text = text.lstrip(" ")
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
