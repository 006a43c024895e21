"""The first and the last line of every host in an index, without reading what lies between.

Counting each host's lines with their first and last looks at every document of the time that is asked for: some 75 ms a
million. Which hosts there are an index knows at once, and so the first and last time of all (but not both in one
search). The hosts' own are then looked for from both ends of the time inwards, in stretches that grow until every host
is met in both. Where documents tell their host or time by several fields, all are counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mailtrace.sources.opensearch_fields import Field, Fields
from mailtrace.sources.opensearch_index import Index
from mailtrace.sources.opensearch_query import Clause, in_time, one_of, sort_of

MOST_HOSTS = 10_000
_GAPS = 2
"""Gaps that are stepped over: a stray line of 1970 or 2099 is far from all others."""
_FEW, _LEAST, _WIDER = 5000, 1 / 1024, 16
"""Lines in about the first stretch; which part of the time it is at least; how many times wider the next ones reach."""
_Aggregations = Mapping[str, Any]


def can_be_counted(fields: Fields) -> bool:
    """Whether a field tells whole host names."""
    return any(each.exact for each in fields.hostname)


def counted(index: Index, fields: Fields, start: float | None, end: float | None) -> _Aggregations:
    """Hosts in a window (UTC seconds), as `counting` would tell them, where they can be counted. Raises `Failed`.

    Lines are counted, and those without a time, only where there is no window.
    """
    lines = _lines(index, fields.hostname[0])
    window = _window(index, fields.timestamp, start, end) if lines else None
    if lines is None or (lines and window is None):
        aggregations: _Aggregations = index.search(counting(fields, start, end)).get("aggregations", {})
        return aggregations
    ends, timeless = _Ends(lines), 0
    if window is not None and window[0] <= window[1]:
        timeless = ends.look(index, fields, window, timeless=start is None and end is None)
    buckets = [bucket for bucket in map(ends.bucket, lines) if "min0" in bucket]
    return {"h0": {"by": {"buckets": buckets}}, "timeless": {"doc_count": timeless}}


def counting(fields: Fields, start: float | None, end: float | None) -> Clause:
    """A search that counts the lines of each host, with the first and the last."""
    inner = _least_and_most(fields.timestamp)
    aggs: dict[str, Any] = {}
    for number, each in enumerate(fields.hostname):
        if each.exact:
            before = [{"exists": {"field": other.name}} for other in fields.hostname[:number]]
            aggs[f"h{number}"] = {"filter": {"bool": {"must_not": before}}, "aggs": {"by": _by(each, inner)}}
    if start is None and end is None:
        aggs["timeless"] = {"filter": _without_time(fields.timestamp)}
    query = in_time({"bool": {"filter": []}}, fields.timestamp, start, end)
    return {"size": 0, "query": query, "aggs": aggs, "track_total_hits": False}


def _lines(index: Index, host: Field) -> dict[str, int] | None:
    """All lines of each host, without looking at documents; None where some do not have their host in this field."""
    if not host.exact:
        return None
    answer = index.search({"size": 0, "aggs": {"by": _by(host)}, "track_total_hits": True})
    by, total = answer.get("aggregations", {}).get("by", {}), answer.get("hits", {}).get("total", {}).get("value", -1)
    lines = {str(bucket["key"]): int(bucket["doc_count"]) for bucket in by.get("buckets", ())}
    return lines if sum(lines.values()) == total else None


def _window(index: Index, times: Sequence[Field], start: float | None, end: float | None) -> tuple[float, float] | None:
    """From when to when there may be lines in a window; None where some have their time in another field."""
    ends = _least_and_most(times)
    told = index.search({"size": 0, "aggs": ends, "track_total_hits": False}).get("aggregations", {})
    values = {name: told.get(name, {}).get("value") for name in ends}
    first, last = values.pop("min0"), values.pop("max0")
    if first is None or last is None or any(value is not None for value in values.values()):
        return None
    unit = times[0].per_second
    low, high = first / unit - 1.0, last / unit + 1.0  # an index may keep finer times than it tells
    return low if start is None else max(start, low), high if end is None else min(end, high)


class _Ends:
    """The first and the last line of each of some hosts, as far as they are known (as the index writes times)."""

    def __init__(self, lines: Mapping[str, int]) -> None:
        self.lines = lines
        self.known: dict[str, dict[str, float]] = {"min0": {}, "max0": {}}

    def bucket(self, host: str) -> dict[str, Any]:
        """A host's bucket of an aggregation."""
        values = {kind: {"value": found[host]} for kind, found in self.known.items() if host in found}
        return {"key": host, "doc_count": self.lines[host], **values}

    def look(self, index: Index, fields: Fields, window: tuple[float, float], *, timeless: bool) -> int:
        """Look from both ends of a window inwards; how many documents have no time, where that is asked."""
        low, high = left, right = window
        part = max(_LEAST, _FEW / max(sum(self.lines.values()), 1))
        wide = (high - low) * part
        without, gaps = 0, _GAPS
        missing: set[str] | None = None
        while missing is None or missing:
            sides = {"min0": (left, min(left + wide, high)), "max0": (max(right - wide, low), right)}
            body = _stretches(fields, sides, self._some(missing), timeless=timeless and missing is None)
            told = index.search(body).get("aggregations", {})
            without += int(told.get("timeless", {}).get("doc_count", 0))
            for kind, found in self.known.items():
                for bucket in told.get(kind, {}).get("by", {}).get("buckets", ()):
                    if bucket[kind].get("value") is not None:
                        found.setdefault(str(bucket["key"]), bucket[kind]["value"])
            if left + wide >= high and right - wide <= low:
                break
            missing = {host for host in self.lines if any(host not in found for found in self.known.values())}
            left, right = min(left + wide, high), max(right - wide, low)
            gap = False
            if missing and gaps:
                gaps -= 1
                first, last = _edge(index, fields, (left, high), "asc"), _edge(index, fields, (low, right), "desc")
                gap = first - left > wide or right - last > wide
                left, right = max(left, first - 0.001), min(right, last + 0.001)
            wide = (right - left) * part if gap and right > left else wide * _WIDER
        return without

    def _some(self, hosts: set[str] | None) -> set[str] | None:
        """The hosts, None where they are all: nothing need be picked out then."""
        return hosts if hosts is not None and len(hosts) < len(self.lines) else None


def _edge(index: Index, fields: Fields, window: tuple[float, float], order: str) -> float:
    """The time of the first (`asc`) or last line in a window; its other end where there is none."""
    query = in_time({"bool": {"filter": []}}, fields.timestamp, *window)
    sort = [{name: {**how, "order": order}} for each in sort_of(fields.timestamp) for name, how in each.items()]
    hits = index.search({"size": 1, "query": query, "sort": sort, "_source": False, "track_total_hits": False})
    unit = 1e9 if fields.timestamp[0].in_nanos else fields.timestamp[0].per_second
    found = [hit["sort"][0] / unit for hit in hits.get("hits", {}).get("hits", ())]
    return found[0] if found else window[order == "asc"]


def _stretches(
    fields: Fields, sides: Mapping[str, tuple[float, float]], hosts: set[str] | None, *, timeless: bool
) -> Clause:
    """A search for the first lines in one stretch of time, and the last in another, of some hosts (None: of all)."""
    host, time = fields.hostname[0], fields.timestamp[0]
    windows = {kind: in_time({"bool": {"filter": []}}, fields.timestamp, *side) for kind, side in sides.items()}
    aggs: dict[str, Any] = {
        kind: {"filter": window, "aggs": {"by": _by(host, {kind: {kind[:3]: {"field": time.name}}})}}
        for kind, window in windows.items()
    }
    wanted = list(windows.values())
    if timeless:
        without = _without_time(fields.timestamp)
        aggs["timeless"] = {"filter": without}
        wanted.append(without)
    filters: list[Clause] = [one_of(wanted)]
    if hosts is not None:
        filters.append({"terms": {host.exact: sorted(hosts)}})
    return {"size": 0, "query": {"bool": {"filter": filters}}, "aggs": aggs, "track_total_hits": False}


def _least_and_most(times: Sequence[Field]) -> dict[str, Clause]:
    return {f"{kind}{n}": {kind: {"field": each.name}} for n, each in enumerate(times) for kind in ("min", "max")}


def _by(host: Field, aggs: Mapping[str, Any] | None = None) -> Clause:
    terms: Clause = {"terms": {"field": host.exact, "size": MOST_HOSTS}}
    return {**terms, "aggs": aggs} if aggs else terms


def _without_time(times: Sequence[Field]) -> Clause:
    return {"bool": {"must_not": [{"exists": {"field": each.name}} for each in times]}}
