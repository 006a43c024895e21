"""Finding literals in raw bytes, before anything is decoded or parsed.

Hyperscan finds any number of literals in one pass at about the speed of `grep -F` for one. Where it is not installed,
a few literals are looked for one after the other and many through the words of the text, so that the cost does not
grow with their number.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from mailtrace.model import LogQuery

Data = bytes | bytearray

FEW = 4
"""Up to so many literals, one `find` each is cheaper than taking the text apart into words."""
TOLD_APART = 8
"""Bytes at the end of a literal by which Hyperscan tells it from others."""
SHORTEST_WORD = 4
"""A literal whose longest word is shorter is looked for on its own: too many words of the text would be candidates."""

_WORD = re.compile(rb"[0-9a-z]+")
# journalctl writes a message that is not UTF-8 as an array of its bytes.
_BYTE_ARRAYS = (b'"message":[', b'"message" : [', b'"message": [')


class Search(Protocol):
    """Finds the places where any of some literals stands."""

    def ends(self, data: Data, start: int, end: int) -> list[int]:
        """Offsets just behind each hit in data[start:end], ascending, counted from `start`."""


class HyperscanSearch:
    """All literals in one pass."""

    def __init__(self, needles: Iterable[bytes]) -> None:
        """Compile; raises `ImportError` or `hyperscan.HyperscanError` where that is not possible.

        `needles` are in lower case.
        """
        import hyperscan

        self._needles = list(needles)
        self._cuts = rarest_ends(self._needles)
        expressions = [needle[:cut] for needle, cut in zip(self._needles, self._cuts, strict=True)]
        self._database: Any = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        self._database.compile(
            expressions=expressions,
            ids=list(range(len(expressions))),
            elements=len(expressions),
            flags=hyperscan.HS_FLAG_CASELESS,
            literal=True,
        )
        self._new_scratch = hyperscan.Scratch
        self._of_thread = threading.local()  # a scratch serves one scan at a time

    def ends(self, data: Data, start: int, end: int) -> list[int]:
        """As in `Search`."""
        scratch = getattr(self._of_thread, "scratch", None)
        if scratch is None:
            scratch = self._of_thread.scratch = self._new_scratch(self._database)
        found: list[tuple[int, int]] = []
        add = found.append
        self._database.scan(
            memoryview(data)[start:end],
            match_event_handler=lambda number, _from, to, _flags, _context: add((to, number)),
            scratch=scratch,
        )
        out: list[int] = []
        for to, number in found:
            rest = self._needles[number][self._cuts[number] :]
            last = start + to + len(rest)
            if not rest or (last <= end and data[start + to : last].lower() == rest):
                out.append(last - start)
        out.sort()
        return out


def rarest_ends(needles: list[bytes]) -> list[int]:
    """For each literal the end of a part that is enough to look for.

    Hyperscan tells literals apart by their last eight bytes: a thousand that all end in `@example.com` make it stop at
    every address of that domain, and take ten times as long. So each is cut where its last eight bytes are rarest
    among all of them; what stands behind is compared where the part was found.
    """
    common = Counter([needle[at - TOLD_APART : at] for needle in needles for at in range(TOLD_APART, len(needle) + 1)])

    def cut(needle: bytes) -> int:
        best, fewest = len(needle), len(needles) * len(needle) + 1
        for at in range(len(needle), TOLD_APART - 1, -1):
            often = common[needle[at - TOLD_APART : at]]
            if often < fewest:
                best, fewest = at, often
                if often == 1:
                    break
        return best

    return [cut(needle) for needle in needles]


class FindSearch:
    """One literal after the other: for a few of them."""

    def __init__(self, needles: Iterable[bytes]) -> None:
        """`needles` are in lower case."""
        self._needles = tuple(needles)

    def ends(self, data: Data, start: int, end: int) -> list[int]:
        """As in `Search`."""
        low = data[start:end].lower()
        return sorted(end for needle in self._needles for end in _ends(low, needle))


class WordSearch:
    """Many literals through the words of the text: the cost does not depend on how many there are.

    A literal can only stand where its longest word does, whole or as a part of a longer word; only the few literals
    whose word was seen are looked for.
    """

    def __init__(self, needles: Iterable[bytes]) -> None:
        """`needles` are in lower case."""
        self._by_word: dict[bytes, list[bytes]] = {}
        self._always: list[bytes] = []
        for needle in needles:
            word = max(_WORD.findall(needle), key=len, default=b"")
            if len(word) < SHORTEST_WORD:
                self._always.append(needle)
            else:
                self._by_word.setdefault(word, []).append(needle)
        self._lengths = sorted({len(word) for word in self._by_word})

    def ends(self, data: Data, start: int, end: int) -> list[int]:
        """As in `Search`."""
        low = data[start:end].lower()
        seen: set[bytes] = set()
        if self._lengths:
            for word in set(_WORD.findall(low)):
                seen.update(self._inside(word))
        needles = [needle for word in seen for needle in self._by_word[word]]
        return sorted(end for needle in (*self._always, *needles) for end in _ends(low, needle))

    def _inside(self, word: bytes) -> Iterable[bytes]:
        """The literals' words that are this word or a part of it."""
        known = self._by_word
        for length in self._lengths:
            if length > len(word):
                return
            for start in range(len(word) - length + 1):
                if (part := word[start : start + length]) in known:
                    yield part


def _ends(low: Data, needle: bytes) -> Iterable[int]:
    """Offsets behind each place of one needle."""
    at = low.find(needle)
    while at >= 0:
        yield at + len(needle)
        at = low.find(needle, at + 1)


def search_for(needles: Iterable[bytes]) -> Search:
    """The quickest search for these literals that this machine has."""
    distinct = sorted({needle.lower() for needle in needles})
    try:
        import hyperscan
    except ImportError:
        return FindSearch(distinct) if len(distinct) <= FEW else WordSearch(distinct)
    try:
        return HyperscanSearch(distinct)
    except hyperscan.HyperscanError:  # a literal beyond its limits
        return FindSearch(distinct) if len(distinct) <= FEW else WordSearch(distinct)


class Literals:
    """The literals of a query, ready to find the lines that answer it.

    Letters match in any case (ASCII); everything else byte for byte, as UTF-8. `in_json`: the lines are JSON, where
    a literal may be written with escapes.
    """

    def __init__(self, query: LogQuery, *, in_json: bool = False) -> None:
        """Prepare; the search itself is chosen when the first text is seen."""
        self._query = query
        self._in_json = in_json
        # No line holds a newline, but a place where one is found may: it has to be looked at again.
        newline = any("\n" in text for text in (*query.all_of, *query.any_of))
        self._search: Search | None = None
        anything = not query.any_of or "" in query.any_of
        self._verify = in_json or newline or len({*query.all_of} - {""}) + (not anything) > 1

    @cached_property
    def _all_of(self) -> list[tuple[bytes, ...]]:
        spell = json_spellings if self._in_json else plain_spelling
        return [spell(text) for text in dict.fromkeys(self._query.all_of) if text]

    @cached_property
    def _any_of(self) -> list[tuple[bytes, ...]]:
        spell = json_spellings if self._in_json else plain_spelling
        return [] if "" in self._query.any_of else [spell(text) for text in dict.fromkeys(self._query.any_of)]

    def __bool__(self) -> bool:
        return bool(self._all_of or self._any_of)

    def prepare(self, sample: bytes) -> Search:
        """Choose what to search for: what is rarest in a sample of the text; the rest is checked on its lines."""
        if self._search is not None:
            return self._search
        choices = list(self._all_of)
        if self._any_of:
            choices.append(tuple(needle for spellings in self._any_of for needle in spellings))
        searches: list[tuple[int, int, int, Search]] = []
        for needles in choices:
            # A long literal is rarer than a short one where the sample holds neither.
            search = search_for((*needles, *_BYTE_ARRAYS) if self._in_json else needles)
            hits = len(search.ends(sample, 0, len(sample))) if len(choices) > 1 else 0
            searches.append((hits, -min(map(len, needles)), len(searches), search))
        self._search = min(searches)[3]
        return self._search

    def lines(self, data: Data, start: int, end: int) -> list[tuple[int, int]]:
        """Start and end (behind the newline) of every line in data[start:end] that answers."""
        search = self._search or self.prepare(bytes(data[start:end]))
        found: list[tuple[int, int]] = []
        line_end = start
        for hit in search.ends(data, start, end):
            last = start + hit - 1
            if last < line_end:
                continue
            line_start = data.rfind(b"\n", line_end, last) + 1 or line_end
            line_end = data.find(b"\n", last, end) + 1 or end
            if not self._verify or self.answers(bytes(data[line_start:line_end])):
                found.append((line_start, line_end))
        return found

    def answers(self, line: bytes) -> bool:
        """Whether a line holds all of `all_of` and any of `any_of`."""
        low = line.lower()
        if self._in_json and any(mark in low for mark in _BYTE_ARRAYS):
            low += b" " + byte_array(line).lower()
        if not all(any(needle in low for needle in spellings) for spellings in self._all_of):
            return False
        return not self._any_of or any(needle in low for spellings in self._any_of for needle in spellings)


def plain_spelling(text: str) -> tuple[bytes, ...]:
    """The bytes of a literal in a plain log."""
    return (text.encode("utf-8", "surrogateescape").lower(),)


def json_spellings(text: str) -> tuple[bytes, ...]:
    r"""The ways in which writers of JSON spell a literal.

    journalctl leaves UTF-8 as it is, others escape it; Docker writes `<`, `>` and `&` as `\u003c`; some escape `/`.
    """
    spellings = [text]
    for ascii_only in (False, True):
        escaped = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        in_go = escaped.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
        spellings += [escaped, in_go, escaped.replace("/", "\\/")]
    return tuple(dict.fromkeys(one.encode("utf-8", "surrogateescape").lower() for one in spellings))


def byte_array(line: bytes) -> bytes:
    """The bytes of a journal's MESSAGE that is written as an array, b"" if it is not."""
    try:
        message = json.loads(line)["MESSAGE"]
        return bytes(message) if isinstance(message, list) else b""
    except (ValueError, KeyError, TypeError, RecursionError):
        return b""
