"""Whole messages read at one go: all that a log has of a plain one, handed over as a `Life`.

Most of a day's messages came from a client, went to their recipients and left the queue, and nothing else is said of
them. Where every mail is asked for, reading each of their lines would cost more than all the rest. So the lines of a
queue ID are gathered from the client's on, and when the queue manager removes the message one expression looks whether
they are just those. The lines of all others are read one by one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from mailtrace.handoff import reply_id
from mailtrace.hosts import address
from mailtrace.ids import reply_time
from mailtrace.model import Life, LogEntry, Origin, Zone
from mailtrace.pages import Page
from mailtrace.parsers.grammar import made_of
from mailtrace.parsers.postfix import Postfix
from mailtrace.parsers.shape import text_of

if TYPE_CHECKING:
    from mailtrace.parsers.lines import LineParser
    from mailtrace.parsers.shape import Row, Shape, Tag

_LINES = 100
"""Lines of a message that are gathered at most."""
_OPEN = 50_000
"""Messages that are gathered at once; of more than that, as of a hostile log, the lines are read one by one."""
_ORIGINS = 65_536
_SURE = 1800.0
"""Seconds of a message in which no clock without a zone was put back and came to the same hour again."""
_STRANGE: Tag = ("", "", "", None, None)

_NUMBER = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_PLAIN = re.compile(
    r"client=[^][\s]*\[([^][\s]*)\]\n"
    r"message-id=<([^<>\s]+)>\n"
    r'from=<[^<>"\n]*>, size=[0-9]{1,18}, nrcpt=([0-9]{1,9}) \(queue active\)\n'
    r'(?:to=<([^<>"\n]+)>, (?:orig_to=<([^<>"\n]*)>, )?relay=([^,\n]+), (?:conn_use=[0-9]+, )?'
    rf"delay={_NUMBER}, delays={_NUMBER}/{_NUMBER}/{_NUMBER}/{_NUMBER}, dsn=2\.[0-9]+\.[0-9]+, "
    r"status=sent \(([^\n]*)\)\n)+"
    r"removed"
).fullmatch
"""What stands behind the queue ID in the lines of a plain message."""

_SENT = re.compile(r"to=<([^>]*)>, (?:orig_to=<([^>]*)>, )?relay=([^,\n]+), .* status=sent \((.*)\)").findall
"""Recipient, original one, relay and reply of each."""
_ONE = 5
"""Lines of a message to one recipient."""

Lines = list[tuple[int, "Row"]]
"""Rows of a log, each with its position."""


class LifeReader:
    """A `Parser`'s `parse` that hands over plain messages whole."""

    def __init__(self, parser: LineParser, *, relayed: bool) -> None:
        """Of a parser that keeps no lines; `relayed` tells whether messages that another host gave an ID are meant too.

        Where that host's log is read as well, such a message is likely to be linked, for which its lines are needed.
        """
        self._parser = parser
        self._relayed = relayed
        self._shape: Shape | None = None
        self._open: dict[str, Lines] = {}
        self._page = Page()
        self._host: str | Callable[[str], str] = ""
        self._origins: dict[tuple[str, ...], Origin | None] = {}  # by the tags of a message's lines

    def parse(self, block: bytes, seq: int, host: str | Callable[[str], str]) -> list[LogEntry | Life]:
        """Entries of a block of whole lines (see `model.Parser`), and the plain messages that end in it."""
        text = text_of(block)
        if not text:
            return []
        out: list[LogEntry | Life] = self.rest() if self._parser.shape is not self._shape or host != self._host else []
        self._host = host
        entries, lines, at = self._parser.begin(text, seq, host)
        out += entries
        shape = self._shape = self._parser.shape
        if shape is None or at > len(text):
            return out
        if not shape.form.words or len(self._open) > _OPEN:
            out += self.rest()
            out += self._parser.read(shape, enumerate(shape.rows(text, at), seq + lines), host)
            return out
        return self._gather(shape, shape.rows(text, at), seq + lines, out)

    def rest(self) -> list[LogEntry | Life]:
        """Entries of all lines that wait for the end of their message."""
        waiting = [line for lines in self._open.values() for line in lines]
        self._open.clear()
        self._origins.clear()
        return [] if self._shape is None else [*self._parser.read(self._shape, waiting, self._host)]

    def _gather(self, shape: Shape, rows: list[Row], seq: int, out: list[LogEntry | Life]) -> list[LogEntry | Life]:
        """Put each line to the others of its message; what is read one by one is read at the end."""
        gathered, loose = self._open, []
        seq -= 1
        for row in rows:
            seq += 1
            text = row[7]
            if row[6]:
                lines = gathered.get(row[6])
                if lines is not None:
                    lines.append((seq, row))
                    if text == "removed" or len(lines) > _LINES:
                        del gathered[row[6]]
                        life = self._life(shape, lines)
                        if life is not None:
                            out.append(life)
                        else:
                            loose += lines
                    continue
                if text[:7] == "client=":
                    gathered[row[6]] = [(seq, row)]
                    continue
            elif not text and not row[8]:
                continue  # it concerns no message
            loose.append((seq, row))
        out += self._parser.read(shape, loose, self._host)
        return out

    def _life(self, shape: Shape, lines: Lines) -> Life | None:
        """A message of which these are all lines, if it is a plain one."""
        rows = [row for _seq, row in lines]
        text = "\n".join([row[7] for row in rows])
        plain = _PLAIN(text)
        if plain is None or "]: " in text or "\0" in text:
            return None
        client, message_id, nrcpt = plain.group(1, 2, 3)
        if int(nrcpt) > len(rows) - 4 or rows[0][6] in message_id:
            return None
        tags = tuple([row[4] for row in rows])
        origin = self._origins[tags] if tags in self._origins else self._origin(shape, rows, tags)
        if origin is None:
            return None
        stamps = [row[1] for row in rows]
        try:
            first, last = self._time(shape, rows[0]), self._time(shape, rows[-1])
            if not self._in_order(shape, rows, stamps):
                return None
        except KeyError:
            return None
        if shape.zone is not Zone.UTC and last - first > _SURE:
            return None
        whole = "\n".join([*stamps, *[row[5] for row in rows], text])
        sent = [plain.group(4, 5, 6, 7)] if len(rows) == _ONE else _SENT(text)
        if shape.zone is not Zone.UTC and any(reply_time(reply) is not None for *_rest, reply in sent):
            return None  # it tells of this log's clock
        named, stored = _onward(sent)
        if named and not self._relayed:
            return None
        page = self._page
        if page.full:
            page = self._page = Page()
        people = [hash(one[0].lower()) for one in sent]
        people += [hash(one[1].lower()) for one in sent if one[1]]
        at = page.add(whole, lines[0][0], last, hash(message_id.lower()), hash(address(client)), people)
        life: Life = made_of(Life, (origin, rows[0][6], first, page, at, named, stored))
        return life

    def _in_order(self, shape: Shape, rows: list[Row], stamps: list[str]) -> bool:
        """Whether lines stand in the order of their times: within a minute it is that of their stamps."""
        minute = shape.form.start - 2
        if stamps[0][:minute] == stamps[-1][:minute] and sorted(stamps) == stamps:
            return True
        times = [self._time(shape, row) for row in rows]
        return sorted(times) == times

    def _time(self, shape: Shape, row: Row) -> float:
        """The moment of a line; `KeyError` where its stamp can't be read."""
        second = row[2]
        try:
            time = shape.seconds[second] if second in shape.seconds else shape.second(second)
        except KeyError:
            self._learn(shape, row)
            time = shape.seconds[second]
        return time + int(row[3]) / shape.scale if shape.scale else time

    def _learn(self, shape: Shape, row: Row) -> None:
        """Have the stamp and the tag of a line learnt."""
        self._parser.learn(shape.line(row[1], row[4], row[5], row[6], row[7]))

    def _origin(self, shape: Shape, rows: list[Row], tags: tuple[str, ...]) -> Origin | None:
        """Whose lines with these tags are; None where they are not all one Postfix' on one host."""
        for row in rows:
            if row[4] not in shape.tags:
                self._learn(shape, row)
        if len(self._origins) > _ORIGINS:
            self._origins.clear()
        known = {shape.tags.get(tag, _STRANGE) for tag in tags}
        heads = {tag[:2] for tag in known}
        if len(heads) > 1 or not all(_plain_service(tag[2], tag[4]) for tag in known):
            self._origins[tags] = None
            return None
        ((logged, instance),) = heads
        host = self._host if isinstance(self._host, str) else self._host(logged)
        found = Origin(host, logged, instance, shape.zone, partial(_read, self._parser, shape, host, tags))
        self._origins[tags] = found
        return found


def _read(parser: LineParser, shape: Shape, host: str, tags: tuple[str, ...], lives: Sequence[Life]) -> list[LogEntry]:
    """Entries of all lines of lives of one origin."""
    start = shape.form.start
    fraction = slice(start + 1, start + 1 + shape.form.digits)
    lines: Lines = []
    for life in lives:
        fields = life.text.split("\n")
        count = len(tags)
        rows = zip(fields[:count], tags, fields[count : 2 * count], fields[2 * count :], strict=True)
        lines += [
            (seq, ("", stamp, stamp[:start], stamp[fraction], who, number, life.queue_id, rest, ""))
            for seq, (stamp, who, number, rest) in enumerate(rows, life.seq)
        ]
    return parser.read(shape, lines, host)


def _onward(sent: Iterable[tuple[str, ...]]) -> tuple[tuple[str, ...], bool]:
    """The IDs that replies name, and whether each copy ended on this host, of what was sent."""
    named: tuple[str, ...] = ()
    stored = True
    for _recipient, _original, relay, reply in sent:
        stored = stored and "[" not in relay
        if not reply.startswith("delivered "):
            told = reply_id(reply)
            if told is not None and told.id:
                named = (*named, told.id)
                stored = stored and told.kind != "forwarded"
    return named, stored


def _plain_service(service: str, about: object) -> bool:
    """Whether a line is Postfix' and no administrator's tool wrote it."""
    owner = getattr(about, "__self__", None)
    return isinstance(owner, Postfix) and not service.endswith("postsuper")
