"""What is known of one log on a machine, learnt from small pieces of it: kind, first and last stamp, clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from mailtrace.model import LogQuery, Zone
from mailtrace.sources.catalog import Log
from mailtrace.sources.dating import Dating
from mailtrace.sources.logfile import MAGIC
from mailtrace.sources.ssh_commands import Piece
from mailtrace.sources.ssh_listing import kind_by_name
from mailtrace.sources.window import Places, first_stamp, last_stamp, sample_places, samples

HEAD = 4096
"""Bytes that are looked at of a log's beginning and of its end."""
_PROBE = 512
_SAMPLE_PLACES, _SAMPLE_SIZE = 16, 2048
_FEW_PLACES, _FEW_SIZE = 5, 6144  # of a log in which a zone changes once at most; sudo is started for each place
_ONE_CLOCK = 90 * 86400.0  # seconds in which a zone changes its offset once at most

Fetch = Callable[[Sequence[Piece]], dict[Piece, bytes]]
"""Fetches pieces of files; those that cannot be read are left out."""


@dataclass(eq=False)
class RemoteLog(Log):
    """One log on the machine."""

    inode: int = 0
    kind: str = "plain"
    tail: bytes = b""
    sampled: dict[int, bytes] = field(default_factory=dict)
    probed: dict[int, bytes] = field(default_factory=dict)
    looked: bool = False

    def __post_init__(self) -> None:
        """As of any log, with smaller pieces."""
        self.places = Places(self.parser, _PROBE)

    def forget(self) -> None:
        """Its file is another one by now: what was seen of it no longer holds."""
        self.looked, self.clock = False, None
        self.sampled, self.probed = {}, {}
        self.places = Places(self.parser, _PROBE)


class RemoteText:
    """A remote log as a text of which any place can be read."""

    def __init__(self, log: RemoteLog, fetch: Fetch) -> None:
        """`fetch` gets what is not here."""
        self.cache = log.probed
        self._log = log
        self._fetch = fetch

    @property
    def size(self) -> int:
        """As it was listed."""
        return self._log.size

    def read(self, offset: int, size: int) -> bytes:
        """One place, from what was fetched if it is there."""
        size = min(size, self.size - offset)
        known = self.cache.get(offset)
        if known is None or len(known) < size:
            piece = Piece(str(self._log.path), "plain", offset, size)
            known = self.cache[offset] = self._fetch([piece]).get(piece, b"")
        return known[:size]

    def expect(self, groups: Sequence[Sequence[int]], size: int) -> None:
        """Fetch the places of all groups of which the first is not here; the others are for the steps behind it."""
        needed = [place for group in groups if group and group[0] not in self.cache for place in group]
        wanted = self.pieces([place for place in dict.fromkeys(needed) if place not in self.cache], size)
        self.cache |= {piece.offset: text for piece, text in self._fetch(wanted).items()}

    def pieces(self, places: Iterable[int], size: int) -> list[Piece]:
        """What to fetch for some places."""
        return [Piece(str(self._log.path), "plain", place, min(size, self.size - place)) for place in places]


class Learning:
    """Learns what is not known of logs."""

    def __init__(self, fetch: Fetch, dating: Dating) -> None:
        """`fetch` gets pieces, many at once; `dating` makes clocks of them."""
        self._fetch = fetch
        self._dating = dating

    def look(self, logs: Sequence[RemoteLog], query: LogQuery) -> None:
        """Learn what is not known of some logs: what they are, their first and last stamps, what their stamps mean."""
        new = [log for log in logs if not log.looked]
        grown = [log for log in logs if log.looked and log.kind == "plain" and not log.ended]
        wanted: list[Piece] = []
        for log in new:
            log.kind = kind_by_name(log.path.name)
            wanted.append(Piece(str(log.path), log.kind, 0, HEAD))
            if log.kind != "plain":
                wanted.append(Piece(str(log.path), "plain", 0, 8))
        wanted += [_tail(log) for log in [*new, *grown] if log.kind == "plain"]
        got = self._fetch(wanted)
        again = []
        for log in new:
            stored = got.get(Piece(str(log.path), "plain", 0, 8 if log.kind != "plain" else HEAD), b"")
            kind = next((kind for magic, kind in MAGIC.items() if stored.startswith(magic)), "plain")
            if stored and kind != log.kind:
                log.kind = kind
                again.append(log)
        if again:
            got |= self._fetch([Piece(str(log.path), log.kind, 0, HEAD) for log in again])
            got |= self._fetch([_tail(log) for log in again if log.kind == "plain"])
        for log in new:
            self._learn(log, got)
        for log in grown:
            log.last, log.ended = last_stamp(got.get(_tail(log), b""), log.parser) or log.last, True
        self._date([log for log in logs if log.head], query)

    def _learn(self, log: RemoteLog, got: dict[Piece, bytes]) -> None:
        """Take in a log's beginning and end."""
        log.plain = log.kind == "plain"
        log.head = got.get(Piece(str(log.path), log.kind, 0, HEAD), b"")
        log.in_json = log.head.lstrip(b"\0 \t\r\n\xef\xbb\xbf").startswith(b"{")
        log.first = first_stamp(log.head, log.parser)
        tail = got.get(_tail(log), b"") if log.plain else b""
        log.tail = tail
        log.last, log.ended = last_stamp(tail, log.parser) or log.first, log.plain
        log.looked = bool(log.head) or log.size == 0
        log.read = log.read or log.size == 0

    def _date(self, logs: Sequence[RemoteLog], query: LogQuery) -> None:
        """Give logs their clocks; samples of all that need them are fetched at once."""
        texts: dict[RemoteLog, RemoteText] = {}
        undated = []
        for log in logs:
            near = self._dating.near(log, query)
            if log.clock is None or (log.near != near and not log.clock.proved()):
                if self._ends_prove(log, near):
                    continue
                undated.append((log, near))
                if log.division is not None or log.first is None or log.first.zone is not Zone.UTC:
                    texts[log] = RemoteText(log, self._fetch)
        wanted = []
        for log, text in texts.items():
            if log.sampled:
                continue
            if log.plain:
                places, size = _sampling(log)
                small = log.size <= places * size
                wanted += text.pieces([0] if small else sample_places(log, places, size), log.size if small else size)
            else:
                wanted.append(_beginning(log))
        got = self._fetch(wanted)
        for log, near in undated:
            text = texts.get(log) or RemoteText(log, self._fetch)
            if not log.sampled and log.plain:
                log.sampled = {piece.offset: data for piece, data in got.items() if piece.path == str(log.path)}
            elif not log.sampled:
                log.sampled = {0: got.get(_beginning(log), log.head)}
            text.cache.update(log.sampled)
            self._dating.learn(log, near, lambda log=log, text=text: self._sample(log, text))  # type: ignore[misc]

    def _ends_prove(self, log: RemoteLog, near: float) -> bool:
        """Whether what is here of a log, its beginning and its end, makes its clock sure."""
        if log.division is not None or not log.plain or log.first is None or log.last is None:
            return False
        begin = log.head[: log.head.rfind(b"\n") + 1]
        end = log.tail[log.tail.find(b"\n") + 1 :]
        if not begin or not end or not 0 <= log.last.time - log.first.time < _ONE_CLOCK:
            return False
        ends = [(0, begin), (log.size - len(end), end)] if log.size > len(begin) + len(end) else [(0, begin)]
        self._dating.learn(log, near, lambda: ends)
        return log.clock is not None and log.clock.proved()

    def _sample(self, log: RemoteLog, text: RemoteText) -> Iterator[tuple[int, bytes]]:
        if not log.plain:
            beginning = text.cache[0]
            return iter([(0, beginning[: beginning.rfind(b"\n") + 1])])
        return samples(text, *_sampling(log))


def _sampling(log: RemoteLog) -> tuple[int, int]:
    """At how many places a log is sampled, and how much is read at each."""
    short = log.first is not None and log.last is not None and 0 <= log.last.time - log.first.time < _ONE_CLOCK
    return (_FEW_PLACES, _FEW_SIZE) if short else (_SAMPLE_PLACES, _SAMPLE_SIZE)


def _tail(log: RemoteLog) -> Piece:
    """The end of a plain log."""
    return Piece(str(log.path), "plain", max(0, log.size - HEAD), HEAD)


def _beginning(log: RemoteLog) -> Piece:
    """What is sampled of a compressed log, which cannot be looked at in several places."""
    return Piece(str(log.path), log.kind, 0, _SAMPLE_PLACES * _SAMPLE_SIZE * 2)
