"""All hits of a query, page by page, however many there are.

Each page is a search of its own, from the millisecond in which the page before it ended, without the documents of that
moment that were met already: those are named in the search. A moment of many documents is read by their numbers in
their shards (`_seq_no`) instead, which only as many documents have in common as there are shards, so that what is named
does not grow. So the cluster holds nothing open for us: there is no context to be refused, to run out or to be lost
with a node, and no `_id` is loaded into its memory to tell equal times apart (a scroll that is sorted by time is no way
either: it skips documents of equal times where its pages meet; seen with 2.19.4: 9 of 202,754 at pages of 100).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from mailtrace.sources.opensearch_connection import Failed, ahead
from mailtrace.sources.opensearch_fields import Fields
from mailtrace.sources.opensearch_index import Index
from mailtrace.sources.opensearch_query import Clause, in_moment, in_time, sort_of, without

PAGE = 5000
SMALLEST_PAGE = 1
LARGE = 32 * 1024
"""Bytes of a hit, as long as none is known."""
FEW = 1000
"""So many hits tell whether whole documents are worth it; more of one moment are read by their numbers."""
WORTH = 1.3
"""Whole documents may be larger by this factor than the fields of them that are read."""
NEVER = 9_000_000_000_000_000_000
"""Above this: the time of a document without one, by which it is sorted last."""
Hits = Sequence[Mapping[str, Any]]


class Pages:
    """Reads the hits of queries; `most_bytes` bounds what is on its way at once (two pages)."""

    def __init__(self, index: Index, fields: Fields, most_bytes: int) -> None:
        self._index = index
        self._fields = fields
        self._most = most_bytes
        self._size: float = LARGE  # bytes of a hit, as far as is known
        self._bare: float | None = None  # the same, of the fields that are read alone
        self._whole: bool | None = None  # whether documents come whole; None: not tried yet

    def of(self, query: Clause, start: float | None, end: float | None, *, few: bool) -> Iterator[Hits]:
        """The hits of a query in a window. `few` are expected: usually one request is all, for all time fields."""
        if few:
            body = self.first(query, start, end)
            hits = self._hits(self._index.search(body))
            if len(hits) < body["size"]:
                yield hits
                return
        for number in range(len(self._fields.timestamp)):
            yield from self._by_time(query, number, start, end)

    def first(self, query: Clause, start: float | None, end: float | None) -> Clause:
        """The search for a few hits: of whole documents, as few are not worth taking apart."""
        times = self._fields.timestamp
        return self._body(in_time(query, times, start, end), sort_of(times), self._page(), whole=True)

    # ------------------------------------------------------------------------------------- in some order

    def _by_time(self, query: Clause, number: int, start: float | None, end: float | None) -> Iterator[Hits]:
        """The hits that have this time field and none of those before it."""
        before, field = self._fields.timestamp[:number], self._fields.timestamp[number]

        def time_of(hit: Mapping[str, Any]) -> float:
            value: float = hit["sort"][number]
            return value // 1_000_000 if field.in_nanos and value < NEVER else value

        def page(place: _Place, size: int) -> list[Any]:
            timed = in_time(query, (field,), start, end, low=place.number, before=before)
            hits = self._search(without(timed, place.documents), sort_of((field,)), size)
            for hit in hits if number else ():
                hit["sort"][:0] = [None] * number
            return hits

        def moment(time: float, met: Mapping[str, set[str]]) -> Iterator[Hits]:
            def part(place: _Place, size: int) -> list[Any]:
                timed = in_moment(query, field, time, before=before, low=place.number)
                hits = self._search(without(timed, place.documents), [{"_seq_no": "asc"}, *sort_of((field,))], size)
                for hit in hits:
                    hit["sort"][:1] = [None] * number
                return hits

            for hits in self._read(part, _Place(itemgetter("_seq_no"))):
                yield [hit for hit in hits if hit["_id"] not in met.get(hit["_index"], ())]

        return self._read(page, _Place(time_of), moment)

    def _read(
        self,
        page: Callable[[_Place, int], list[Any]],
        place: _Place,
        moment: Callable[[float, Mapping[str, set[str]]], Iterator[Hits]] | None = None,
    ) -> Iterator[Hits]:
        """Page after page; what has one number in common with too many others to be named is read by `moment`."""
        asked = self._page()
        hits = page(place, asked)
        while True:
            fresh = place.fresh(hits)
            if len(hits) < asked or place.number >= NEVER:
                yield fresh
                return
            asked = self._page()
            if moment is not None and place.met > FEW:
                yield fresh
                yield from moment(place.number, place.documents)
                place.move_on()
                hits = page(place, asked)
            else:
                coming = ahead(page, place, asked)
                yield fresh
                hits = coming.result()

    # ------------------------------------------------------------------------------------------- one page

    def _page(self) -> int:
        """Hits in a page, so that two of them keep to the bytes allowed; a small one while their size is unknown."""
        return int(max(SMALLEST_PAGE, min(PAGE, self._most / 2 / self._size)))

    def _search(self, query: Clause, order: Sequence[Any], size: int) -> list[Any]:
        """One page.

        To take the fields that are read out of its documents costs the server a quarter of its time. So the second page
        is asked for with whole documents, and where they are hardly larger, all later ones are.
        """
        tries = self._whole is None and self._bare is not None and size >= FEW
        hits = self._hits(self._index.search(self._body(query, order, size, whole=self._whole or tries)))
        if len(hits) >= FEW:
            if self._bare is None:
                self._bare = self._size
            elif self._whole is None:
                self._whole = self._size < WORTH * self._bare
        return hits

    def _body(self, query: Clause, order: Sequence[Any], size: int, *, whole: bool) -> Clause:
        return {
            "query": query,
            "size": size,
            "sort": order,
            "_source": True if whole else self._fields.names,
            "track_total_hits": False,
            "seq_no_primary_term": True,
        }

    def _hits(self, answer: Mapping[str, Any]) -> list[Any]:
        """The hits of an answer; learns how large they are."""
        hits: list[Any] = answer.get("hits", {}).get("hits", [])
        if hits:
            self._size = max(answer.get("bytes", 0) / len(hits), 1.0)
        return hits


class _Place:
    """How far a reading has come: the number of the last document, and the documents that have it."""

    def __init__(self, number_of: Callable[[Mapping[str, Any]], float]) -> None:
        self.number = float("-inf")
        self.documents: dict[str, set[str]] = {}  # index → `_id`
        self._number_of = number_of

    @property
    def met(self) -> int:
        """How many documents have the number, of those that were read."""
        return sum(map(len, self.documents.values()))

    def move_on(self) -> None:
        """All documents of the number were read."""
        self.number, self.documents = self.number + 1, {}

    def fresh(self, hits: list[Any]) -> list[Any]:
        """The hits of a page that were not met before; those of its last number are remembered."""
        if not hits:
            return hits
        fresh = [hit for hit in hits if hit["_id"] not in self.documents.get(hit["_index"], ())]
        if not fresh:  # the server does not leave out what it is asked to: better this than for ever
            raise Failed("a page of the index holds nothing but what was read before: the rest was not read")
        last = self._number_of(hits[-1])
        if last != self.number:
            self.number, self.documents = last, {}
        for hit in reversed(hits):
            if self._number_of(hit) != last:
                break
            self.documents.setdefault(hit["_index"], set()).add(hit["_id"])
        return fresh
