"""Following an index: what came since, each document once, also one whose time is long past.

Every shard numbers what is written to it (`_seq_no`), so that its numbers behind the last one read are what is new,
whatever times the documents have. A deleted or overwritten document leaves a hole in the numbers for ever, and a new
one can be found only after the next refresh: a range of numbers is taken when it is whole, or when its end was known
before the last refresh. So it was where a document can be found whose number was given after that; where no number was
given since, the time of a refresh is waited for. The primary term, which grows when a node restarts, is no part of a
place.

Where the right to ask for the numbers is missing (`indices:monitor/stats`), documents are followed by the time at which
they were taken in, where the index keeps it, else by their own time: each round reaches back, and remembers which of
those documents it has had. What is later than that is lost to it.
"""

from __future__ import annotations

from array import array
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from time import monotonic, sleep
from typing import Any, NamedTuple

from mailtrace.errors import DataError
from mailtrace.model import LogEntry, Tail
from mailtrace.sources.following import Broken
from mailtrace.sources.opensearch_connection import Answer, Connection, Failed, quoted
from mailtrace.sources.opensearch_fields import Fields
from mailtrace.sources.opensearch_hits import Reader
from mailtrace.sources.opensearch_query import Clause, sort_of
from mailtrace.sources.opensearch_state import interval

SOURCE = "opensearch"
PAGE, SMALL_PAGE = 5000, 1000
FEW = 8
"""So many shards are read in large pages; of more, each one's page waits in memory."""
MARGIN = 5.0
"""Seconds behind the refresh interval after which what was written can be found, where nothing was written since."""
LONGEST_REFRESH = 600.0
"""The same, where more was written since and cannot be found either: on a very busy server."""
PATIENCE = 7.0
"""Seconds to wait for a refresh within a round; a longer one is left to the next round."""
OVERLAP = 600.0
"""Seconds that a round reaches back at least where documents are followed by their time."""
_KNOWN = 8
_DAY = 86400.0


class Shard(NamedTuple):
    """One shard: its index, that index' ID, its number, seconds to a refresh.

    Of the numbers that it gives to documents `last` is the one up to which all are written, `top` the latest.
    """

    name: str
    uuid: str
    number: int
    last: int
    top: int
    refresh: float


class End(NamedTuple):
    """An end of a shard's numbers that was seen: its `last` and `top` then, and when that was (machine's clock)."""

    last: int
    at: float
    top: int


@dataclass(frozen=True)
class Feed:
    """An index that is followed. `hosts` are those whose lines count, none for all."""

    connection: Connection
    pattern: str
    reader: Reader
    fields: Fields
    hosts: frozenset[str]
    overlap: float = OVERLAP

    def tails(self, places: Mapping[str, Any], since: float | None, now: float) -> list[Tail]:
        """One for each shard with something new. Raises `Failed`, or `DataError` where the way of following is lost."""
        by_time = f"{SOURCE}:{self.pattern}"
        if by_time in places:
            return [TimeTail(self, by_time, places[by_time], since, now)]
        try:
            shards = list(self.shards())
        except Failed as failed:
            if failed.status != 403:
                raise
            if any(name.startswith(f"{SOURCE}:") for name in places):
                raise DataError(f"{self.pattern}: its numbers may no longer be asked for: {failed}") from None
            return [TimeTail(self, by_time, None, since, now)]
        new = [shard for shard in shards if shard.last > _reached(places.get(_name(shard)))]
        page = PAGE if len(new) <= FEW else SMALL_PAGE
        tails: list[Tail] = [ShardTail(self, shard, places.get(_name(shard)), since, now, page) for shard in new]
        listed = {_name(shard) for shard in shards}
        missing = [name for name in places if name.startswith(f"{SOURCE}:") and name not in listed]
        return [*tails, *self._recovering(missing)]

    def _recovering(self, missing: Sequence[str]) -> Iterator[Tail]:
        """Shards that were read before and tell nothing now, though their index is there: their node is starting.

        They are not silent: who has not heard from them must not take their mails for complete.
        """
        if not missing:
            return
        where = f"/{quoted(self.pattern)}/_settings/index.uuid"
        try:
            told = self.connection.request("GET", where, flat_settings="true", expand_wildcards="open")
        except Failed as failed:
            if failed.status != 403:
                raise
            return
        there = {(index, each.get("settings", {}).get("index.uuid")) for index, each in told.items()}
        for name in missing:
            _source, *shard = name.split(":")
            if tuple(shard[:-1]) in there:
                yield Broken(name, f"{shard[0]}: shard {shard[-1]} cannot be read yet")

    def shards(self) -> Iterator[Shard]:
        """Every shard of the pattern."""
        where = quoted(self.pattern)
        told = self.connection.request("GET", f"/{where}/_stats/docs", level="shards", expand_wildcards="open")
        intervals = self._intervals()
        for index, stats in told.get("indices", {}).items():
            for number, copies in stats.get("shards", {}).items():
                numbers = [copy["seq_no"] for copy in copies if copy.get("routing", {}).get("primary")]
                last = numbers[0]["global_checkpoint"] if numbers else -1
                if last >= 0:
                    top = numbers[0].get("max_seq_no", last)
                    refresh = intervals.get(index, 1.0)
                    yield Shard(index, stats.get("uuid", index), int(number), last, top, refresh)

    def _intervals(self) -> dict[str, float]:
        """Seconds between two refreshes, of the indices that set them; never is a day."""
        try:
            told = self.connection.request(
                "GET", f"/{quoted(self.pattern)}/_settings/index.refresh_interval", flat_settings="true"
            )
        except Failed:
            return {}
        return {
            index: min(_DAY, interval(str(each.get("settings", {}).get("index.refresh_interval", "1s"))))
            for index, each in told.items()
            if isinstance(each, dict)
        }

    def clock(self) -> str:
        """The field that documents are followed by where their numbers may not be asked for."""
        return next((each.name for each in self.fields.ingested if each.is_date), self.fields.timestamp[0].name)

    def search(self, index: str, body: dict[str, Any], **params: Any) -> Answer:
        """One search, whole or not at all."""
        whole = {"allow_partial_search_results": "false", **params}
        answer = self.connection.request("POST", f"/{quoted(index)}/_search", body, **whole)
        if answer.get("timed_out"):
            raise Failed(f"{index}: the search was cut off by the server's time limit")
        return answer

    def entries(self, hits: Sequence[dict[str, Any]]) -> Iterator[tuple[Mapping[str, Any], LogEntry]]:
        """Entries of hits that were sorted by something before their time, each with its hit.

        That something is the hit's `first` from then on, and no longer the first of its `sort`.
        """
        for hit in hits:
            hit["first"], *hit["sort"] = hit["sort"]
        found = self.reader.with_hits(hits)
        return ((hit, entry) for hit, entry in found if entry.host in self.hosts) if self.hosts else found


def _name(shard: Shard) -> str:
    return f"{SOURCE}:{shard.name}:{shard.uuid}:{shard.number}"


def _reached(place: Any) -> int:
    return int(place["last"]) if place else -1


class ShardTail:
    """A shard's documents behind a place, in the order of their numbers.

    A place is the last number that was read, and the ends that were seen since, each with when that was.
    """

    def __init__(self, feed: Feed, shard: Shard, place: Any, since: float | None, now: float, page: int) -> None:
        """`since` is where a first reading begins (UTC seconds), `now` the machine's clock."""
        self.name = _name(shard)
        self.problem = ""
        self.lines = 0
        self.unproved = ()  # an index keeps its times in UTC
        self._feed, self._shard = feed, shard
        self._since, self._now, self._page_size = since, now, page
        self._last = _reached(place)
        self._first = place is None
        self._born = monotonic()
        seen = [
            End(int(last), float(at), int(top[0] if top else last)) for last, at, *top in (place or {}).get("seen", ())
        ]
        self._seen = [each for each in seen if each.last > self._last]
        if not self._seen or self._seen[-1].last < shard.last:
            self._seen.append(End(shard.last, now, shard.top))

    def __iter__(self) -> Iterator[tuple[LogEntry, int]]:
        """New entries, each with its number."""
        try:
            if self._first and self._since is not None:
                self._last = self._before(self._since)
            end, answer = self._whole()
            while answer is not None:
                hits = answer["hits"]["hits"]
                if not hits:
                    break
                self.lines += len(hits)
                after = hits[-1]["sort"]
                for hit, entry in self._feed.entries(hits):
                    yield entry, hit["first"]
                self._last = after[0]
                answer = self._page(end, after) if len(hits) == self._page_size else None
            self._last = max(self._last, end)
        except Failed as failed:
            self.problem = str(failed)

    def place(self, mark: int | None = None) -> dict[str, Any]:
        """The place behind a document, or behind all that was read."""
        last = self._last if mark is None else mark
        return {"last": last, "seen": [each for each in self._seen if each.last > last][-_KNOWN:]}

    def _whole(self) -> tuple[int, Answer | None]:
        """An end up to which every document can be found, and the first page; the place and None if there is none."""
        while True:
            end = self._seen[-1].last
            answer = self._page(end, None)
            if answer["hits"]["total"]["value"] == end - self._last:
                return end, answer
            due = self._shard.refresh + MARGIN
            known = self._refreshed(due)
            if known is not None:
                return known, answer if known == end else self._page(known, None)
            if due > PATIENCE or monotonic() - self._born > PATIENCE + MARGIN:
                return self._last, None
            sleep(0.3)

    def _refreshed(self, due: float) -> int | None:
        """The last end that was seen before some refresh began: all documents up to it can be found."""
        passed = self._now + monotonic() - self._born
        ends = [end for end in self._seen if not 0 <= passed - end.at < due]
        if not ends:
            return None
        newest = self._number({"match_all": {}}, "desc")
        sure = [end.last for end in ends if newest > end.top or not 0 <= passed - end.at < LONGEST_REFRESH]
        latest = ends[-1]
        if sure[-1:] != [latest.last] and self._top() == latest.top:  # nothing was numbered since
            return latest.last
        return sure[-1] if sure else None

    def _top(self) -> int:
        """The latest number by now, -1 where the shard tells none."""
        return next((shard.top for shard in self._feed.shards() if _name(shard) == self.name), -1)

    def _number(self, query: Clause, order: str) -> int:
        """The number of the first (`asc`) or last document that a query finds, -1 where it finds none."""
        body = {"query": query, "sort": [{"_seq_no": order}], "size": 1, "_source": False}
        hits = self._search(body)["hits"]["hits"]
        return int(hits[0]["sort"][0]) if hits else -1

    def _page(self, end: int, after: Sequence[Any] | None) -> Answer:
        body: dict[str, Any] = {
            "query": {"range": {"_seq_no": {"gt": self._last, "lte": end}}},
            "sort": [{"_seq_no": "asc"}, *sort_of(self._feed.fields.timestamp)],
            "size": self._page_size,
            "_source": self._feed.fields.names,
            "track_total_hits": after is None,
            "seq_no_primary_term": True,
        }
        if after is not None:
            body["search_after"] = after
        return self._search(body)

    def _search(self, body: dict[str, Any]) -> Answer:
        # One copy of the shard answers all of them: another may have been refreshed at another time.
        return self._feed.search(self._shard.name, body, preference=f"_shards:{self._shard.number}|_primary")

    def _before(self, since: float) -> int:
        """The last number before the first document of a time; of what is there, where there is none."""
        name = self._feed.fields.timestamp[0].name
        window = {"range": {name: {"gte": round(since * 1000), "format": "epoch_millis"}}}
        first = self._number(window, "asc")
        return first - 1 if first >= 0 else self._number({"match_all": {}}, "desc")


class TimeTail:
    """Documents by their time. A place is the latest time that was seen and the documents of the time before it."""

    def __init__(self, feed: Feed, name: str, place: Any, since: float | None, now: float) -> None:
        """As for a shard."""
        self.name = name
        self.problem = ""
        self.lines = 0
        self.unproved = ()  # an index keeps its times in UTC
        self._feed = feed
        self._start = since if place is None else float(place["time"]) - feed.overlap
        self._time: float = -1e18 if place is None else float(place["time"])
        self._met = dict(_unpacked(place["ids"], place["times"])) if place else {}
        self._now = now

    def __iter__(self) -> Iterator[tuple[LogEntry, tuple[float, int]]]:
        """New entries, each with its time and how many documents were met by then."""
        own = self._feed.fields.timestamp[0].name
        try:
            clock = self._feed.clock()
            for hits in self._pages(clock, ""):
                yield from self._entries(hits)
            # Sorting puts them last and cannot go on behind the first page of them: they are asked for alone.
            for hits in self._pages(own, clock) if clock != own else ():
                yield from self._entries(hits)
        except Failed as failed:
            self.problem = str(failed)

    def _entries(self, hits: Sequence[dict[str, Any]]) -> Iterator[tuple[LogEntry, tuple[float, int]]]:
        """Entries of those documents that were not met before."""
        new = [hit for hit in hits if _digest(hit) not in self._met]
        self.lines += len(new)
        upto, at = 0, {hit["_id"]: number for number, hit in enumerate(new)}
        for hit, entry in self._feed.entries(new):
            self._meet(new[upto : at[hit["_id"]] + 1])
            upto = max(upto, at[hit["_id"]] + 1)
            yield entry, (self._time, len(self._met))
        self._meet(new[upto:])

    def place(self, mark: tuple[float, int] | None = None) -> dict[str, Any]:
        """The place behind a document, or behind all that was read."""
        time, count = (self._time, len(self._met)) if mark is None else mark
        met = [each for each in list(self._met.items())[:count] if each[1] >= time - 2 * self._feed.overlap]
        if mark is None:
            self._met = dict(met)
        ids, times = array("Q", (key for key, _ in met)), array("d", (at for _, at in met))
        return {
            "time": time,
            "ids": b64encode(ids.tobytes()).decode("ascii"),
            "times": b64encode(times.tobytes()).decode("ascii"),
        }

    def _meet(self, hits: Sequence[Mapping[str, Any]]) -> None:
        for hit in hits:
            time = float(hit["fields"]["at"][0]) / 1000 if "fields" in hit else self._now
            self._met[_digest(hit)] = time
            # A clock that is ahead must not make the rest look late.
            self._time = max(self._time, min(time, self._now))

    def _pages(self, name: str, without: str) -> Iterator[list[dict[str, Any]]]:
        """All documents since the start by a field that tells a time, those that have no field `without`."""
        fields = self._feed.fields
        filters: list[Clause] = [{"exists": {"field": name}}]
        if self._start is not None:
            filters = [{"range": {name: {"gte": round(self._start * 1000), "format": "epoch_millis"}}}]
        body: dict[str, Any] = {
            "query": {"bool": {"filter": filters, "must_not": [{"exists": {"field": without}}] if without else []}},
            "sort": [{name: {"order": "asc", "unmapped_type": "date"}}, *sort_of(fields.timestamp), {"_id": "asc"}],
            "size": PAGE,
            "_source": fields.names,
            "docvalue_fields": [{"field": name, "format": "epoch_millis"}],
            "track_total_hits": False,
            "seq_no_primary_term": True,
        }
        while True:
            hits = self._feed.search(self._feed.pattern, body, ignore_unavailable="true")["hits"]["hits"]
            for hit in hits:
                hit["fields"] = {"at": hit.get("fields", {}).get(name, [self._now * 1000])}
            more = len(hits) == PAGE
            if more:
                body["search_after"] = list(hits[-1]["sort"])
            yield hits
            if not more:
                return


def _digest(hit: Mapping[str, Any]) -> int:
    """What a document is remembered by."""
    name = f"{hit['_index']}\0{hit['_id']}".encode("utf-8", "replace")
    return int.from_bytes(blake2b(name, digest_size=8).digest(), "little")


def _unpacked(ids: str, times: str) -> Iterator[tuple[int, float]]:
    keys, moments = array("Q"), array("d")
    keys.frombytes(b64decode(ids))
    moments.frombytes(b64decode(times))
    return zip(keys, moments, strict=True)
