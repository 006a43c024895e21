"""Which hosts an index has, and from when to when."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mailtrace.model import LogQuery
from mailtrace.sources.opensearch_hits import seconds

DAY = 86400.0
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
        """Read what `opensearch_ends.counted` found."""
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
