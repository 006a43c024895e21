"""The source `opensearch`: logs in an index.

The index is asked once what it is (names, field types), then every `LogQuery` becomes as few searches as its limits
allow; what comes back is a superset, filtered here. A window of any size is read completely, page by page. What could
not be read, or only in part, is told by `coverage`, never raised.

A trace costs one search for each wave of the walk, whatever the number of hosts, and seven requests besides: closed
indices, field types and analyzers at first, side by side; beside the searches which hosts there are, from when to when
in all, and the first and last line of each (opensearch_ends.py; more where a host's log begins or ends amid others);
where the question reaches until now, also how late lines come (one more where a field tells when a line came in).
The first search for identifiers goes out beside the first of these, as the index most likely is; where it turns out
to be otherwise it is asked again, so that a trace waits for as many answers one after another as it has waves, or for
one more. A wave that asks for more than 64 things takes a search for each of its windows, and 10,000 queue IDs fit
into one.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime, timezone, tzinfo
from typing import TYPE_CHECKING, Any

from mailtrace.errors import DataError
from mailtrace.model import Coverage, Fleet, HostLogs, LogEntry, LogQuery, Parser, Stamp, Tail, Zone
from mailtrace.sources.division import Division
from mailtrace.sources.opensearch_connection import Connection, Failed, ahead
from mailtrace.sources.opensearch_ends import can_be_counted, counted
from mailtrace.sources.opensearch_fields import Fields, asked_for, candidates, in_other_words, resolve, usual_fields
from mailtrace.sources.opensearch_hits import Reader
from mailtrace.sources.opensearch_index import Index
from mailtrace.sources.opensearch_pages import Pages
from mailtrace.sources.opensearch_query import Clause, bodies, in_time, one_of, sort_of
from mailtrace.sources.opensearch_spans import Spans
from mailtrace.sources.opensearch_state import State, lost_to_patterns, newest_of, newest_time, state_of
from mailtrace.sources.opensearch_tail import OVERLAP, Feed
from mailtrace.sources.search import Literals
from mailtrace.sources.window import SLACK
from mailtrace.times import zone

if TYPE_CHECKING:
    from mailtrace.config import OpenSearchConfig

SOURCE = "opensearch"
TOGETHER = 64
"""As many literals of several questions go into one search; more are asked for question by question."""
_LOOPBACK = re.compile(r"(?:localhost|127(?:\.\d+){3}|\[?::1\]?)(?::\d+)?")


class OpenSearchSource:
    """Logs in an index. `hosts` are those asked for; empty means every host in it."""

    def __init__(
        self,
        hosts: Sequence[str],
        make_parser: Callable[[HostLogs], Parser],
        fleet: Fleet,
        *,
        access: OpenSearchConfig,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """`access` is the config's section; nothing is opened before the first question."""
        self.hosts = tuple(hosts)
        self.go_back = 0.0
        """Seconds that following reaches back for what comes late, where documents are followed by their time."""
        self._access = access
        self._fleet = fleet
        self._division = Division(hosts, fleet, "")
        self._make_parser = make_parser
        self._names = candidates(access.preset, access.mapping)
        self._connection = Connection(access)
        self._index = Index(self._connection, access.index, self._problem)
        self._zone = _zone(access)
        self._reader: Reader | None = None
        self._pages: Pages | None = None
        self._fields = Fields()
        self._known = False
        self._problems: dict[str, Coverage] = {}
        self._matched: dict[str, set[int]] = {}
        self._read: Counter[str] = Counter()
        self._spans = Spans()
        self._counted: Future[Any] | None = None
        self._state: Future[State] | None = None
        self._trust()

    # -------------------------------------------------------------------------------------- the protocol

    def query(self, query: LogQuery) -> Iterator[LogEntry]:
        """Entries of the lines that answer, by time."""
        return self.queries([query])

    def queries(self, several: Sequence[LogQuery]) -> Iterator[LogEntry]:
        """Entries of the lines that answer any of the questions of one wave; one search for those of few literals."""
        counts = {query: len(query.all_of) + len(query.any_of) for query in several}
        small = [query for query, count in counts.items() if count > 0]
        if sum(counts[query] for query in small) > TOGETHER:
            small = []
        for group in filter(None, [small, *([query] for query in counts if query not in small)]):
            try:
                yield from self._entries(group)
            except Failed as failed:
                self._problem(str(failed))

    def _entries(self, group: Sequence[LogQuery]) -> Iterator[LogEntry]:
        wide = [replace(each, start=_moved(each.start, -SLACK), end=_moved(each.end, SLACK)) for each in group]
        asked = [(Literals(each), each) for each in wide]
        few = bool(asked[0][0])
        start, end = _shifted(*_around(wide), self._zone)
        if not self._known and all(each.whole for each in group):
            usual = usual_fields(self._names)
            pages = Pages(self._index, usual, self._access.max_bytes_in_flight)
            self._index.foresee(pages.first(self._searches(wide, usual)[0], start, end))
        reader = self._learn()
        if reader is None or self._pages is None:
            return
        for each in wide:
            self._spans.reach(each)
        self._count_ahead()
        several = self._searches(wide, self._fields, None if few else self._others(group))
        seen: set[tuple[str, int]] | None = set() if len(several) > 1 else None
        for body in several:
            for hits in self._pages.of(body, start, end, few=few):
                entries = reader.entries(hits, asked)
                if seen is not None:
                    entries = [entry for entry in entries if (entry.host, entry.seq) not in seen]
                    seen.update((entry.host, entry.seq) for entry in entries)
                self._note(entries, few=few)
                yield from entries
        if reader.textless:
            names = " or ".join(each.name for each in self._fields.message)
            self._problem(f"{self._access.index}: some documents have no {names} to be read (_source)", missing=False)

    def _searches(self, several: Sequence[LogQuery], fields: Fields, without: Clause | None = None) -> list[Clause]:
        """What finds all that some questions ask: one search for several, each in its own window."""
        if len(several) == 1:
            return bodies(several[0], fields, without=without)
        clauses = [
            in_time(body, fields.timestamp, *_shifted(query.start, query.end, self._zone))
            for query in several
            for body in bodies(query, fields)
        ]
        return [{"bool": {"filter": [one_of(clauses)]}}]

    def _note(self, entries: Sequence[LogEntry], *, few: bool) -> None:
        """Count what answered; lines that several waves find, once."""
        if few:
            for entry in entries:
                self._matched.setdefault(entry.host, set()).add(entry.seq)
        else:
            self._read.update([entry.host for entry in entries])

    def follow(self, places: Mapping[str, Any], since: float | None, now: float) -> list[Tail]:
        """What came to each shard since its place; from `since` on, or all of it, where it has none.

        Raises `DataError` where the index cannot be asked at all.
        """
        try:
            if self._reader is None:
                self._known = False  # there may be one by now
            reader = self._learn()
            if reader is None:
                raise DataError("; ".join(item.problem for item in self._problems.values() if item.missing))
            overlap = max(OVERLAP, self.go_back)
            feed = Feed(self._connection, self._access.index, reader, self._fields, frozenset(self.hosts), overlap)
            return feed.tails(places, since, now)
        except Failed as failed:
            raise DataError(str(failed)) from None

    def coverage(self) -> list[Coverage]:
        """What was read, one item per host, and one for each problem."""
        out: dict[str, Coverage] = {}
        if self._reader is not None:
            self._count()
            self._tell_what_is_late()
            shift = self._reader.shift
            for host, (first, last, lines) in sorted(self._spans.of(self._division).items()):
                item = out.setdefault(host, self._item(host))
                item.lines = lines
                if first is not None and last is not None:
                    item.first, item.last = first - shift, last - shift
                    item.first_stamp, item.last_stamp = Stamp(item.first, Zone.UTC), Stamp(item.last, Zone.UTC)
            for host in {*self._matched, *self._read, *self.hosts}:
                item = out.setdefault(host, self._item(host))
                item.matched = len(self._matched.get(host, ())) + self._read[host]
            for host in self.hosts:
                if out[host].first is None and self._spans.complete:
                    out[host].problem = f"{self._access.index} holds no line of {host} in that time"
            if self._reader.unparsed:
                out.setdefault("", self._item("")).unparsed = self._reader.unparsed  # of no host in particular
        return [*(out[host] for host in sorted(out)), *self._problems.values()]

    def samples(self) -> list[LogEntry]:
        """Nothing: an index keeps its times in UTC."""
        return []

    def plan(self, query: LogQuery) -> list[str]:
        """What would be asked, as if every field were text, without opening anything."""
        shown = usual_fields(self._names)
        where = f"{self._connection.where}/{self._access.index}"
        out = [f"GET {where}/_field_caps (field types are asked first; below as if all were text)"]
        for body in bodies(query, shown):
            timed = in_time(body, shown.timestamp, query.start, query.end)
            asked = json.dumps({"query": timed, "sort": sort_of(shown.timestamp)}, ensure_ascii=False)
            out.append(f"POST {where}/_search {asked}")
        return out

    def check(self) -> list[Coverage]:
        """Verify access, version, index, fields; tell how old the last line is and whether it can be read."""
        try:
            version = self._index.version()
            reader = self._learn()
            if reader is not None:
                state = state_of(self._index, self._fields)
                newest = self._index.search(newest_of(self._fields)).get("hits", {}).get("hits", [])
                lines = sum(1 for _ in reader.entries(newest, [(Literals(LogQuery()), LogQuery())]))
                readable = f"{lines} of the last {len(newest)} lines are of a mail server"
                told = state.told(self._fields, newest_time(newest), readable)
                item = self._item("")
                item.problem = f"OpenSearch {version or 'of unknown version'}, {told}"
                self._problems.setdefault("check", item)
                if newest and not lines:
                    names = " or ".join(each.name for each in self._fields.message)
                    self._problem(
                        f"none of the last {len(newest)} lines of {self._access.index} is a mail server's: "
                        f"is {names} the text, and the index the right one?",
                        missing=False,
                    )
                for text in lost_to_patterns(self._index, self._fields):
                    self._problem(text, missing=False)
        except Failed as failed:
            self._problem(str(failed))
        return self.coverage()

    def close(self) -> None:
        """Let go of the connections."""
        self._connection.close()

    # -------------------------------------------------------------------------------- what the index is

    def _trust(self) -> None:
        access = self._access
        if access.use_ssl and not access.verify_certs:
            self._problem(f"{self._connection.where}: its certificate is not verified (verify_certs)", missing=False)
        nodes = access.hosts or (access.host,)
        secret = access.username or access.api_key
        if secret and not access.use_ssl and not all(map(_LOOPBACK.fullmatch, nodes)):
            self._problem(f"{self._connection.where}: the password travels unencrypted (use_ssl)", missing=False)

    def _learn(self) -> Reader | None:
        """Ask the index what it is, once; None where it holds nothing that can be read."""
        if self._known:
            return self._reader
        absent = ahead(self._index.look_for_absent)
        analyzers = ahead(self._index.analyzers, self._names["message"])
        caps = self._index.field_types(asked_for(self._names))
        told = absent.result()
        self._known = True
        if not self._index.names:
            if not told:
                where = self._connection.where
                self._problem(f"no index matches {self._access.index} at {where}: nothing was read of it")
            return None
        fields = in_other_words(resolve(self._names, caps), analyzers.result())
        self._fields = replace(fields, timestamp=tuple(self._index.counted(each) for each in fields.timestamp))
        for text in self._fields.problems:
            self._problem(f"{self._access.index}: {text}", missing="no field" not in text or "hostname" not in text)
        for name, why in sorted(self._fields.misfits.items()):
            self._problem(f"index {name} was not read: {why}")
        if not self._fields.message or not self._fields.timestamp:
            return None
        if self._fields.misfits:
            self._index.leave_out(tuple(self._fields.misfits))
        parser = self._make_parser(HostLogs("", ()))
        self._reader = Reader(self._fields, parser, self._division, self._fleet.find, self._zone)
        self._pages = Pages(self._index, self._fields, self._access.max_bytes_in_flight)
        return self._reader

    def _problem(self, text: str, *, missing: bool = True) -> None:
        item = self._item("")
        item.problem, item.missing = text, missing
        self._problems.setdefault(text, item)

    def _item(self, host: str) -> Coverage:
        return Coverage(host, SOURCE, (self._access.index,))

    # --------------------------------------------------------------------------------- hosts and times

    def _others(self, group: Sequence[LogQuery]) -> Clause | None:
        """Lines of hosts that are known not to be those asked for, where whole hosts are read."""
        hosts = group[0].hosts
        if len(group) > 1 or not hosts:
            return None
        self._count()
        field = next((each.exact for each in self._fields.hostname if each.exact), "")
        names = [name for name in self._spans.names if self._fleet.find(name) and self._division(name) not in hosts]
        return {"terms": {field: names}} if field and names and len(self._fields.hostname) == 1 else None

    def _count_ahead(self) -> None:
        """Ask for the first and last line of every host while the lines themselves are searched."""
        if self._counted is None and not self._spans.known():
            self._spans.begin()
            if can_be_counted(self._fields):
                self._counted = ahead(counted, self._index, self._fields, *self._spans.wanted)
            else:
                self._spans.take({})
                if self._fields.hostname:
                    text = "the host field has no keyword: what it covers of each host is not known"
                    self._problem(f"{self._access.index}: {text}", missing=False)
        if self._state is None and self._is_recent():
            self._state = ahead(state_of, self._index, self._fields)

    def _count(self) -> None:
        """First and last line of every host in the time that was asked for, a day around it included."""
        self._count_ahead()
        if self._counted is None:
            return
        counting, self._counted = self._counted, None
        try:
            found = counting.result()
        except Failed as failed:
            self._spans.take({})
            self._problem(f"hosts and times of {self._access.index} are not known: {failed}", missing=False)
            return
        self._spans.take(found)
        if self._spans.timeless:
            names = " or ".join(each.name for each in self._fields.timestamp)
            text = f"{self._spans.timeless} documents have no {names}: they were left out"
            self._problem(f"{self._access.index}: {text}", missing=False)

    def _is_recent(self) -> bool:
        """Whether what was asked for may not be all in the index yet."""
        end = self._spans.asked_end
        return end is None or end > time.time() - SLACK

    def _tell_what_is_late(self) -> None:
        if self._state is not None:
            try:
                for text in self._state.result().late():
                    self._problem(f"{self._access.index}: {text}", missing=False)
            except Failed:
                pass  # a reader without the rights: what is late is not known


def _zone(access: OpenSearchConfig) -> tzinfo | None:
    """The zone of times that documents write without one; None for UTC. Graylog writes UTC, without saying so."""
    if not access.own_zone or access.preset == "graylog":
        return None
    found = zone(access.time_zone)
    return None if found is timezone.utc else found


def _moved(time: float | None, by: float) -> float | None:
    return None if time is None else time + by


def _around(several: Sequence[LogQuery]) -> tuple[float | None, float | None]:
    """The window that holds those of all questions."""
    starts, ends = [each.start for each in several], [each.end for each in several]
    return (
        min((each for each in starts if each is not None), default=None) if None not in starts else None,
        max((each for each in ends if each is not None), default=None) if None not in ends else None,
    )


def _shifted(start: float | None, end: float | None, own: tzinfo | None) -> tuple[float | None, float | None]:
    """A window that also has what an index took for UTC, though it is the clock of a zone."""
    if own is None:
        return start, end
    edges = [datetime.fromtimestamp(each, own).utcoffset() for each in (start, end) if each is not None]
    offsets = [0.0, *(each.total_seconds() for each in edges if each is not None)]
    return None if start is None else start + min(offsets), None if end is None else end + max(offsets)
