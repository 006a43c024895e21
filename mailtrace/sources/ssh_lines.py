"""Which lines are asked for, as grep is told, and how they come: blocks to lines, entries to chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from mailtrace.model import LogEntry, LogQuery
from mailtrace.sources.logfile import LONGEST_LINE
from mailtrace.sources.search import json_spellings
from mailtrace.sources.ssh_commands import Filter

T = TypeVar("T")

_CHUNK = 500  # entries that are handed on at once
LITERALS = 90_000
"""Bytes of literals of one grep."""
_BYTE_ARRAY = '"MESSAGE":['


def literal_sets(query: LogQuery, *, in_json: bool) -> tuple[tuple[str, ...], ...] | None:
    """The literals for grep: lines hold one of every set. None: no line can answer."""
    sets: list[tuple[str, ...]] = []
    groups: list[tuple[str, ...]] = [(text,) for text in dict.fromkeys(query.all_of) if text]
    if query.any_of and "" not in query.any_of:
        groups.append(tuple(dict.fromkeys(query.any_of)))
    for group in groups:
        possible = [text for text in group if "\n" not in text]
        if not possible:
            return None
        spelled: list[str] = []
        for text in possible:
            # An argument holds no NUL; the line itself is looked at when it is here.
            pieces = [max(text.split("\0"), key=len)]
            if in_json:
                pieces = [one.decode("utf-8", "surrogateescape") for one in json_spellings(pieces[0])]
            spelled += pieces
        if in_json:
            spelled.append(_BYTE_ARRAY)
        if "" in spelled:
            continue
        sets.append(tuple(dict.fromkeys(spelled)))
    # The set that is cheapest to look for comes first: it sees every line, those behind it only what is left.
    return tuple(sorted(sets, key=lambda texts: (sum(map(len, texts)) > LITERALS, len(texts)), reverse=False))


def unlike(query: LogQuery) -> bool:
    """Whether grep may find lines that do not answer."""
    return any("\0" in text for text in (*query.all_of, *query.any_of))


def filters(sets: tuple[tuple[str, ...], ...], *, numbered: bool) -> Iterator[Filter]:
    """One filter, or several where the literals are too many for one grep."""
    if not sets:
        yield Filter((), numbered)
        return
    largest = max(range(len(sets)), key=lambda at: sum(map(len, sets[at])))
    for some in batches(sets[largest], LITERALS, lambda text: len(text.encode("utf-8", "surrogateescape")) + 1):
        yield Filter((*sets[:largest], tuple(some), *sets[largest + 1 :]), numbered)


def batches(items: Iterable[T], most: int, cost: Callable[[T], int]) -> Iterator[list[T]]:
    """Items in groups that cost no more than `most`, or are one."""
    group: list[T] = []
    total = 0
    for item in items:
        if group and total + cost(item) > most:
            yield group
            group, total = [], 0
        group.append(item)
        total += cost(item)
    if group:
        yield group


def chunks(entries: Iterable[LogEntry]) -> Iterator[list[LogEntry]]:
    """Entries, some at a time."""
    chunk: list[LogEntry] = []
    for entry in entries:
        chunk.append(entry)
        if len(chunk) >= _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def split(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines of blocks; of a line that is too long only the beginning."""
    tail = b""
    skipping = False
    for block in blocks:
        *full, rest = (tail + block).split(b"\n")
        if full and skipping:
            full, skipping = full[1:], False
        yield from full
        tail = b"" if skipping else rest
        if len(tail) > LONGEST_LINE:
            yield tail[:LONGEST_LINE]
            tail, skipping = b"", True
    if tail:
        yield tail
