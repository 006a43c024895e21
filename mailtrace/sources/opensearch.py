"""The source `opensearch`: logs in an index.

The index is asked once what it is (names, field types), then every `LogQuery` becomes as few searches as its limits
allow; what comes back is a superset, filtered here. A window of any size is read completely, page by page. What could
not be read, or only in part, is told by `coverage`, never raised.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mailtrace.model import Coverage, Fleet, HostLogs, LogEntry, LogQuery, Parser, Stamp, Zone
from mailtrace.sources.division import Division
from mailtrace.sources.opensearch_connection import Answer, Connection, Failed, quoted
from mailtrace.sources.opensearch_fields import Fields, asked_for, candidates, resolve
from mailtrace.sources.opensearch_hits import Reader
from mailtrace.sources.opensearch_query import Clause, bodies, sort_of, unsearchable
from mailtrace.sources.opensearch_spans import Spans
from mailtrace.sources.search import Literals
from mailtrace.sources.window import SLACK

if TYPE_CHECKING:
    from mailtrace.config import OpenSearchConfig

SOURCE = "opensearch"
PAGE = 5000
KEEP_ALIVE = "2m"
MOST_HOSTS = 10_000
_LOOPBACK = ("localhost", "127.", "::1", "[::1]")


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
        self._access = access
        self._fleet = fleet
        self._division = Division(hosts, fleet, "")
        self._make_parser = make_parser
        self._names = candidates(access.preset, access.mapping)
        self._connection = Connection(access)
        self._reader: Reader | None = None
        self._fields = Fields()
        self._version = (0, 0)
        self._known = False
        self._asked = 0
        self._problems: dict[str, Coverage] = {}
        self._matched: dict[str, set[int]] = {}
        self._spans = Spans()
        self._trust()

    # -------------------------------------------------------------------------------------- the protocol

    def query(self, query: LogQuery) -> Iterator[LogEntry]:
        """Entries of the lines that answer, by time."""
        try:
            reader = self._learn()
            if reader is None:
                return
            typed, self._asked = self._asked == 0, self._asked + 1
            wide = LogQuery(
                query.hosts,
                query.all_of,
                query.any_of,
                None if query.start is None else query.start - SLACK,
                None if query.end is None else query.end + SLACK,
            )
            self._spans.reach(wide)
            literals = Literals(query)
            without = None if literals else self._others(query.hosts)
            several = bodies(wide, self._fields, typed=typed, without=without)
            seen: set[tuple[str, int]] | None = set() if len(several) > 1 else None
            for body in several:
                for hits in self._pages(body, small=bool(literals)):
                    entries = reader.entries(hits, literals, wide)
                    for entry in entries:
                        self._matched.setdefault(entry.host, set()).add(entry.seq)
                    if seen is not None:
                        entries = [entry for entry in entries if (entry.host, entry.seq) not in seen]
                        seen.update((entry.host, entry.seq) for entry in entries)
                    yield from entries
            self._told_of(reader)
        except Failed as failed:
            self._problem(str(failed))

    def coverage(self) -> list[Coverage]:
        """What was read, one item per host, and one for each problem."""
        out: dict[str, Coverage] = {}
        if self._reader is not None:
            try:
                self._count()
            except Failed as failed:
                self._problem(f"hosts and times of {self._access.index} are not known: {failed}", missing=False)
            for host, (first, last, lines) in sorted(self._spans.of(self._division).items()):
                item = out.setdefault(host, self._item(host))
                item.first, item.last, item.lines = first, last, lines
                item.first_stamp = None if first is None else Stamp(first, Zone.UTC)
                item.last_stamp = None if last is None else Stamp(last, Zone.UTC)
            for host in {*self._matched, *self.hosts}:
                item = out.setdefault(host, self._item(host))
                item.matched = len(self._matched.get(host, ()))
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
        from mailtrace.sources.opensearch_fields import Field

        text = frozenset({"text"})
        shown = Fields(
            (Field(self._names["timestamp"][0], frozenset({"date"})),),
            (Field(self._names["hostname"][0], text),),
            (Field(self._names["service"][0], text),),
            (),
            (Field(self._names["message"][0], text),),
        )
        where = f"{self._connection.where}/{self._access.index}"
        out = [f"GET {where}/_field_caps (field types are asked first; below as if all were text)"]
        for body in bodies(query, shown, typed=True):
            asked = json.dumps({"query": body, "sort": sort_of(shown, "")}, ensure_ascii=False)
            out.append(f"POST {where}/_search {asked}")
        return out

    def check(self) -> list[Coverage]:
        """Verify access, version, index, fields; tell how old the last line is."""
        try:
            if self._learn() is not None:
                self._count()
                last = max((span[1] for span in self._spans.of(self._division).values() if span[1]), default=None)
                version = ".".join(map(str, self._version))
                lag = "no line yet" if last is None else f"last line {max(0.0, time.time() - last):.0f} s ago"
                fields = ", ".join(f"{each.name} ({'/'.join(sorted(each.types))})" for each in self._fields.message)
                item = self._item("")
                item.problem = f"OpenSearch {version}, {lag}, text in {fields}"
                self._problems.setdefault("check", item)
                self._count_unsearchable()
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
        if secret and not access.use_ssl and not all(name.startswith(_LOOPBACK) for name in nodes):
            self._problem(f"{self._connection.where}: the password travels unencrypted (use_ssl)", missing=False)

    def _learn(self) -> Reader | None:
        """Ask the index what it is, once; None where it holds nothing that can be read."""
        if self._known:
            return self._reader
        self._version = self._server_version()
        self._look_for_closed()
        caps = self._ask("GET", "/_field_caps", fields=",".join(asked_for(self._names)), ignore_unavailable="true")
        self._known = True
        if not caps.get("indices"):
            self._problem(f"no index matches {self._access.index} at {self._connection.where}: nothing was read")
            return None
        self._fields = resolve(self._names, caps.get("fields", {}))
        for text in self._fields.problems:
            self._problem(f"{self._access.index}: {text}", missing="no field" not in text or "hostname" not in text)
        if not self._fields.message or not self._fields.timestamp:
            return None
        parser = self._make_parser(HostLogs("", ()))
        self._reader = Reader(self._fields, parser, self._division, self._fleet.find)
        return self._reader

    def _server_version(self) -> tuple[int, int]:
        try:
            number = str(self._connection.request("GET", "/").get("version", {}).get("number", ""))
        except Failed as failed:
            if failed.status != 403:  # a reader may lack the right to ask
                raise
            return (0, 0)
        parts = number.split(".")
        return (
            (int(parts[0]), int(parts[1])) if len(parts) > 1 and parts[0].isdigit() and parts[1].isdigit() else (0, 0)
        )

    def _look_for_closed(self) -> None:
        """A search passes over closed indices of a pattern, and names that don't exist, without a word."""
        for name in filter(None, self._access.index.split(",")):
            if name.startswith("-"):
                continue
            try:
                found = self._connection.request(
                    "GET", f"/_resolve/index/{quoted(name)}", expand_wildcards="open,closed"
                )
            except Failed as failed:
                if failed.status == 404:
                    self._problem(f"there is no index {name} at {self._connection.where}: nothing was read of it")
                elif failed.status not in (400, 403, 405):
                    raise
                continue
            for index in found.get("indices", ()):
                if "closed" in index.get("attributes", ()):
                    self._problem(f"index {index.get('name')} is closed: its lines were not read; open it")

    def _problem(self, text: str, *, missing: bool = True) -> None:
        item = self._item("")
        item.problem, item.missing = text, missing
        self._problems.setdefault(text, item)

    def _item(self, host: str) -> Coverage:
        return Coverage(host, SOURCE, (self._access.index,))

    def _told_of(self, reader: Reader) -> None:
        if reader.timeless:
            self._problem(f"{self._access.index}: documents without a time were left out", missing=False)
        if reader.textless:
            names = " or ".join(each.name for each in self._fields.message)
            self._problem(f"{self._access.index}: some documents have no {names} to be read (_source)", missing=False)

    # ------------------------------------------------------------------------------------------ reading

    def _ask(self, method: str, path: str, body: Any = None, **params: Any) -> Answer:
        return self._connection.request(method, f"/{quoted(self._access.index)}{path}", body, **params)

    def _search(self, body: Clause, *, pit: bool = False) -> Answer:
        """One search, refused where it is not whole; then asked again for what there is, which is told."""
        params: dict[str, Any] = {} if pit else {"ignore_unavailable": "true"}

        def send(partial: str) -> Answer:
            params["allow_partial_search_results"] = partial
            if pit:
                return self._connection.request("POST", "/_search", body, **params)
            return self._ask("POST", "/_search", body, **params)

        try:
            answer = send("false")
        except Failed as failed:
            if failed.status not in (400, 500, 503):
                raise
            answer = send("true")
            self._problem(f"only a part of {self._access.index} could be read: {failed}")
        self._judge(answer)
        return answer

    def _judge(self, answer: Answer) -> None:
        """Tell what an answer leaves out; the status of the request does not."""
        shards = answer.get("_shards", {})
        if answer.get("timed_out"):
            self._problem(f"{self._access.index}: the search was cut off by the server's time limit")
        if shards.get("successful", 0) < shards.get("total", 0):
            gone = shards["total"] - shards.get("successful", 0)
            causes = {str(each.get("reason", {}).get("reason", "")) for each in shards.get("failures", ())}
            why = f": {'; '.join(sorted(causes))}" if any(causes) else ""
            self._problem(f"{gone} of {shards['total']} shards of {self._access.index} did not answer{why}")

    def _body(self, query: Clause, tie: str, **more: Any) -> Clause:
        return {
            "query": query,
            "size": PAGE,
            "sort": sort_of(self._fields, tie),
            "_source": self._fields.names,
            "track_total_hits": False,
            "seq_no_primary_term": True,
            **more,
        }

    def _pages(self, query: Clause, *, small: bool) -> Iterator[Sequence[Mapping[str, Any]]]:
        """The hits of a query, page by page; where few are expected, one request does without a point in time."""
        if small:
            hits = self._search(self._body(query, "")).get("hits", {}).get("hits", [])
            if len(hits) < PAGE:
                yield hits
                return
        tie = "_shard_doc" if self._version >= (3, 3) else "_id"
        try:
            pit = self._point_in_time()
            first = self._page(query, tie, pit, None)
        except Failed as failed:
            if failed.status not in (400, 403, 404, 405, 429):
                raise
            yield from self._scroll(query)
            return
        yield from self._searched_after(query, tie, pit, first)

    def _page(self, query: Clause, tie: str, pit: str, after: Any) -> Answer:
        more: dict[str, Any] = {"pit": {"id": pit, "keep_alive": KEEP_ALIVE}}
        if after is not None:
            more["search_after"] = after
        return self._search(self._body(query, tie, **more), pit=True)

    def _searched_after(
        self, query: Clause, tie: str, pit: str, answer: Answer, met: _Moment | None = None
    ) -> Iterator[Sequence[Mapping[str, Any]]]:
        """The pages of a point in time, the next one asked for while one is worked on."""
        pool = ThreadPoolExecutor(1, thread_name_prefix="mailtrace-opensearch")
        met = met or _Moment()
        try:
            while True:
                hits = answer.get("hits", {}).get("hits", [])
                pit = answer.get("pit_id", pit)
                coming = pool.submit(self._page, query, tie, pit, hits[-1]["sort"]) if len(hits) == PAGE else None
                yield met.new(hits) if tie != "_id" else hits
                if coming is None:
                    return
                try:
                    answer = coming.result()
                except Failed as failed:
                    if failed.status != 404:
                        raise
                    break  # the point in time is gone: a node was restarted, or the reader was slow
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            with suppress(Failed):
                self._connection.request("DELETE", "/_search/point_in_time", {"pit_id": [pit]})
        after = hits[-1]["sort"]
        if tie != "_id":  # counts anew in each point in time: all lines of the last moment come again
            after = [*after[:-1], -1]
        pit = self._point_in_time()
        yield from self._searched_after(query, tie, pit, self._page(query, tie, pit, after), met)

    def _point_in_time(self) -> str:
        params = {"keep_alive": KEEP_ALIVE, "ignore_unavailable": "true", "allow_partial_pit_creation": "true"}
        return str(self._ask("POST", "/_search/point_in_time", **params)["pit_id"])

    def _scroll(self, query: Clause) -> Iterator[Sequence[Mapping[str, Any]]]:
        """The old way, where points in time are refused; it needs nothing to tell equal times apart."""
        body = self._body(query, "", track_total_hits=True)  # a scroll insists
        answer = self._ask(
            "POST", "/_search", body, scroll=KEEP_ALIVE, ignore_unavailable="true", allow_partial_search_results="false"
        )
        try:
            while hits := answer.get("hits", {}).get("hits", []):
                self._judge(answer)
                yield hits
                again = {"scroll": KEEP_ALIVE, "scroll_id": answer["_scroll_id"]}
                answer = self._connection.request("POST", "/_search/scroll", again)
        finally:
            with suppress(Failed, KeyError):
                self._connection.request("DELETE", "/_search/scroll", {"scroll_id": [answer["_scroll_id"]]})

    # --------------------------------------------------------------------------------- hosts and times

    def _others(self, hosts: Sequence[str]) -> Clause | None:
        """Lines of hosts that are known not to be those asked for, where whole hosts are read."""
        if not hosts:
            return None
        self._count()
        field = next((each.exact for each in self._fields.hostname if each.exact), "")
        names = [name for name in self._spans.names if self._fleet.find(name) and self._division(name) not in hosts]
        return {"terms": {field: names}} if field and names and len(self._fields.hostname) == 1 else None

    def _count(self) -> None:
        """First and last line of every host in the time that was asked for, a day around it included."""
        if self._spans.known():
            return
        fields = self._fields
        inner = {
            f"{kind}{number}": {kind: {"field": each.name}}
            for number, each in enumerate(fields.timestamp)
            for kind in ("min", "max")
        }
        aggs: dict[str, Any] = {}
        for number, each in enumerate(fields.hostname):
            if each.exact:
                before = [{"exists": {"field": other.name}} for other in fields.hostname[:number]]
                terms = {"terms": {"field": each.exact, "size": MOST_HOSTS}, "aggs": inner}
                aggs[f"h{number}"] = {"filter": {"bool": {"must_not": before}}, "aggs": {"by": terms}}
        start, end = self._spans.wanted
        query = bodies(LogQuery(start=start, end=end), fields, typed=False)[0]
        if aggs:
            answer = self._search({"size": 0, "query": query, "aggs": aggs, "track_total_hits": False})
            self._spans.take(answer.get("aggregations", {}))
        else:
            self._spans.take({})
            self._problem(
                f"{self._access.index}: the host field has no keyword: what it covers of each host is not known",
                missing=False,
            )

    def _count_unsearchable(self) -> None:
        clause = unsearchable(self._fields)
        if clause is None:
            return
        found = self._ask("POST", "/_count", {"query": clause}, ignore_unavailable="true")
        if count := found.get("count", 0):
            names = ", ".join(each.name for each in self._fields.message)
            self._problem(
                f"{self._access.index}: {count} lines are longer than the index keeps of {names} (ignore_above): each "
                "search reads all of them; map the field as text or wildcard",
                missing=False,
            )


class _Moment:
    """The documents of the last moment that was read, so that none of them is taken twice."""

    def __init__(self) -> None:
        self._time: Any = None
        self._met: set[tuple[str, str]] = set()

    def new(self, hits: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """The hits that were not met yet."""
        out = []
        for hit in hits:
            time, name = hit["sort"][:-1], (hit["_index"], hit["_id"])
            if time != self._time:
                self._time, self._met = time, set()
            if name not in self._met:
                self._met.add(name)
                out.append(hit)
        return out
