"""How far behind an index is, and what of it no search finds.

A line is found only after the next refresh (`index.refresh_interval`), and it comes into the index only when its
shipper sent it. Both are asked where a question reaches until now.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from mailtrace.sources.opensearch_connection import Failed
from mailtrace.sources.opensearch_fields import Fields
from mailtrace.sources.opensearch_hits import seconds
from mailtrace.sources.opensearch_index import Index
from mailtrace.sources.opensearch_pages import NEVER
from mailtrace.sources.opensearch_query import Clause, unsearchable
from mailtrace.wording import duration

SAMPLE = 500
"""Lines that tell how late lines come, and whether they can be read."""
USUAL_REFRESH = 1.0
NOTABLE_LAG = 60.0
_UNITS = {"nanos": 1e-9, "micros": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class State:
    """`refresh`: seconds until a line that is in is found, inf for never by itself, None where that may not be asked.

    `lag`: seconds from a line's own time until it is in the index (the middle one of the newest), None where no field
    tells it.
    """

    refresh: float | None = None
    lag: float | None = None

    def late(self) -> Iterator[str]:
        """What a question that reaches until now may miss."""
        if self.refresh is not None and self.refresh == math.inf:
            yield "lines are found only when someone refreshes the index (index.refresh_interval -1)"
        elif self.refresh is not None and self.refresh > USUAL_REFRESH:
            yield f"lines of the last {self.refresh:g} s may not be found yet (index.refresh_interval)"
        if self.lag is not None and self.lag > NOTABLE_LAG:
            yield f"lines come into the index {duration(self.lag)} late: the newest may be missing"

    def told(self, fields: Fields, last: float | None, readable: str) -> str:
        """All of it, for `--check`; `readable` says how many of the newest lines can be read."""
        parts = ["no line yet" if last is None else f"last line {duration(time.time() - last)} ago, {readable}"]
        if self.refresh is not None:
            parts.append(f"found after {self.refresh:g} s (index.refresh_interval)")
        if self.lag is not None:
            parts.append(f"{duration(self.lag)} from a line's own time into the index")
        roles = {"text": fields.message, "time": fields.timestamp, "host": fields.hostname, "program": fields.service}
        for role, many in roles.items():
            names = " or ".join(f"{each.name} ({'/'.join(sorted(each.types))})" for each in many)
            parts.append(f"{role} in {names or 'the text'}")
        return ", ".join(parts)


def state_of(index: Index, fields: Fields) -> State:
    """Ask for it."""
    return State(_refresh(index), _lag(index, fields))


def interval(text: str) -> float:
    """Seconds of an interval as a setting has it: `30s`; inf for never (`-1`), and for what cannot be read."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(nanos|micros|ms|s|m|h|d)?", text)
    return float(found[1]) * _UNITS[found[2] or "ms"] if found else math.inf


def newest_of(fields: Fields) -> Clause:
    """A search for the newest lines."""
    order = [{each.name: {"order": "desc", "unmapped_type": "date"}} for each in fields.timestamp]
    return {"size": SAMPLE, "sort": order, "_source": fields.names, "track_total_hits": False}


def newest_time(hits: Sequence[Mapping[str, Any]]) -> float | None:
    """When the newest line was written."""
    values = [value for hit in hits[:1] for value in hit["sort"] if value is not None and abs(value) < NEVER]
    return seconds(values[0]) if values else None


def lost_to_patterns(index: Index, fields: Fields) -> Iterator[str]:
    """Lines that are longer than their field is indexed, and what mends it."""
    clause = unsearchable(fields)
    count = clause and index.ask("POST", "/_count", {"query": clause}, ignore_unavailable="true").get("count", 0)
    if count:
        names = ", ".join(each.name for each in fields.message)
        yield (
            f"{index.pattern}: {count} lines are longer than the index keeps of {names} (ignore_above): each search "
            "reads all of them; map the field as text or wildcard"
        )
    odd = [each.name for each in fields.message if not each.in_words]
    if odd:
        yield (
            f"{index.pattern}: {', '.join(odd)} has an analyzer of its own: it is searched by patterns, slowly, and "
            "what the analyzer changes (stems, stop words) is not found; the standard analyzer is quicker and complete"
        )


def _refresh(index: Index) -> float | None:
    try:
        told = index.ask("GET", "/_settings/index.refresh_interval", flat_settings="true", include_defaults="true")
    except Failed:
        return None
    found = []
    for settings in told.values():
        if isinstance(settings, Mapping):
            every = {**settings.get("defaults", {}), **settings.get("settings", {})}
            found.append(interval(str(every.get("index.refresh_interval", "1s"))))
    return max(found, default=None)


def _lag(index: Index, fields: Fields) -> float | None:
    if not fields.ingested or not fields.timestamp:
        return None
    came, written = fields.ingested[0], fields.timestamp[0]
    body = {
        "size": SAMPLE // 10,
        "query": {"bool": {"filter": [{"exists": {"field": each.name}} for each in (came, written)]}},
        "sort": [{each.name: {"order": "desc", "unmapped_type": "date"}} for each in (came, written)],
        "_source": False,
        "track_total_hits": False,
    }
    try:
        hits = index.search(body).get("hits", {}).get("hits", [])
    except Failed:
        return None
    return median(seconds(hit["sort"][0]) - seconds(hit["sort"][1]) for hit in hits) if hits else None
