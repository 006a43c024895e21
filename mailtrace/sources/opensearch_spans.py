"""Which hosts an index has, and from when to when."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mailtrace.model import LogQuery
from mailtrace.sources.opensearch_fields import Fields
from mailtrace.sources.opensearch_hits import seconds
from mailtrace.sources.opensearch_query import Clause, in_time

DAY = 86400.0
MOST_HOSTS = 10_000
Span = tuple[float | None, float | None]


class Spans:
    """Which hosts an index has and from when to when, within the time that was asked for."""

    def __init__(self) -> None:
        self.wanted: Span = (0.0, 0.0)
        self.names: dict[str, tuple[float | None, float | None, int]] = {}
        self.complete = False
        self.timeless = 0
        self.asked_end: float | None = None
        self._asked = False
        self._counted: Span | None = None

    def reach(self, query: LogQuery) -> None:
        """A query asks for this time."""
        low, high = self.wanted
        if not self._asked:
            self.asked_end = query.end
            low, high = float("inf"), float("-inf")
        if low is not None and (query.start is None or query.start < low):
            low = None if query.start is None else query.start - DAY
        if high is not None and (query.end is None or query.end > high):
            high = None if query.end is None else query.end + DAY
        self.wanted, self._asked = (low, high), True

    def known(self) -> bool:
        """Whether that time was counted already, or is being counted."""
        if not self._asked:
            self.wanted, self._asked = (None, None), True
        return self._counted == self.wanted

    def begin(self) -> None:
        """That time is being counted."""
        self._counted = self.wanted

    def take(self, aggregations: Mapping[str, Any]) -> None:
        """Read the answer to what `counting` asks."""
        self.names = {}
        self.timeless = int(aggregations.get("timeless", {}).get("doc_count", 0))
        groups = [group for name, group in aggregations.items() if name != "timeless"]
        self.complete = bool(groups)
        for group in groups:
            by = group.get("by", {})
            self.complete &= not by.get("sum_other_doc_count")
            for bucket in by.get("buckets", ()):
                values = {
                    kind: [
                        seconds(told["value"])
                        for key, told in bucket.items()
                        if key.startswith(kind) and isinstance(told, Mapping) and told.get("value") is not None
                    ]
                    for kind in ("min", "max")
                }
                first, last = min(values["min"], default=None), max(values["max"], default=None)
                self.names[str(bucket.get("key"))] = (first, last, int(bucket.get("doc_count", 0)))

    def of(self, host_of: Callable[[str], str]) -> dict[str, tuple[float | None, float | None, int | None]]:
        """The same by the inventory's names; lines only where all of them were counted."""
        out: dict[str, tuple[float | None, float | None, int | None]] = {}
        for name, (first, last, lines) in self.names.items():
            host = host_of(name)
            old = out.get(host, (None, None, 0))
            firsts = [each for each in (first, old[0]) if each is not None]
            lasts = [each for each in (last, old[1]) if each is not None]
            total = None if self.wanted != (None, None) else lines + (old[2] or 0)
            out[host] = (min(firsts, default=None), max(lasts, default=None), total)
        return out


def counting(fields: Fields, start: float | None, end: float | None) -> Clause | None:
    """A search that counts the lines of each host, with the first and the last; None where no field tells the host."""
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
    if not aggs:
        return None
    if start is None and end is None:
        times = [{"exists": {"field": each.name}} for each in fields.timestamp]
        aggs["timeless"] = {"filter": {"bool": {"must_not": times}}}
    query = in_time({"bool": {"filter": []}}, fields.timestamp, start, end)
    return {"size": 0, "query": query, "aggs": aggs, "track_total_hits": False}
