"""The indices of a pattern as one: what they are, and searches of them.

A cluster is silent about much that it leaves out: closed indices of a pattern, shards that do not answer, a search that
ran out of time, a pattern that matches nothing. Each is looked for here and told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from mailtrace.sources.opensearch_connection import Answer, Connection, Failed, ahead, quoted
from mailtrace.sources.opensearch_fields import Field, per_second

LONGEST_PATH = 3500
"""Characters of a list of indices: the server takes request lines of 4,096."""
Tell = Callable[..., None]


class Index:
    """The indices of a pattern. `tell(text, missing=…)` hears of what can't be read."""

    def __init__(self, connection: Connection, pattern: str, tell: Tell) -> None:
        self._connection = connection
        self._tell = tell
        self._partial = False
        self._shards = 0
        self._foreseen: tuple[str, Any, Future[Answer]] | None = None
        self.pattern = pattern
        self.target = pattern  # the pattern without the indices that have to be left out
        self.names: list[str] = []
        self.denied: list[str] = []

    # ------------------------------------------------------------------------------------------- learning

    def version(self) -> str:
        """The server's version, "" where it does not say (a reader may lack the right, a service may not have it)."""
        try:
            return str(self._connection.request("GET", "/").get("version", {}).get("number", ""))
        except Failed as failed:
            if failed.status not in (403, 404):
                raise
            return ""

    def field_types(self, names: Sequence[str]) -> Mapping[str, Any]:
        """Field → type → `{"aggregatable", "indices", …}`; `names` are then the indices, none where none matches."""
        try:
            found = self._field_types(self.target, names)
        except Failed as failed:
            if failed.status != 403:
                raise
            self._leave_out_denied(failed)
            found = self._field_types(self.target, names)
        self.names = [str(name) for name in found.get("indices", ())]
        fields: Mapping[str, Any] = found.get("fields", {})
        return fields

    def _field_types(self, target: str, names: Sequence[str]) -> Answer:
        return self.ask("GET", "/_field_caps", target=target, fields=",".join(names), ignore_unavailable="true")

    def analyzers(self, names: Sequence[str]) -> Mapping[str, Any]:
        """How fields are mapped, as `_mapping/field` tells it; empty where that may not be asked."""
        try:
            return self.ask("GET", f"/_mapping/field/{quoted(','.join(names))}", ignore_unavailable="true")
        except Failed:
            return {}

    def counted(self, time: Field) -> Field:
        """A time that is kept as a number, with the unit it counts in, which its last value shows."""
        if not time.is_number:
            return time
        latest = {"size": 1, "sort": [{time.name: "desc"}], "query": {"exists": {"field": time.name}}, "_source": False}
        hits = self.search(latest).get("hits", {}).get("hits", [])
        return time._replace(per_second=per_second(hits[0]["sort"][0])) if hits else time

    def leave_out(self, names: Sequence[str]) -> None:
        """Search without some of the indices from now on."""
        gone = set(names)
        self.names = [name for name in self.names if name not in gone]
        if "*" in self.target:
            self.target = ",".join([self.target, *(f"-{name}" for name in sorted(gone))])
        else:
            self.target = ",".join(self.names)

    def look_for_absent(self) -> bool:
        """Name closed indices, names that don't exist and patterns without match: a search passes over them silently.

        Returns whether there were any.
        """
        told = False
        for part in filter(None, self.pattern.split(",")):
            if part.startswith("-"):
                continue
            try:
                found = self._resolved(part, "open,closed")
            except Failed as failed:
                if failed.status not in (400, 403, 404, 405):
                    raise
                if "no such index" not in str(failed):  # a right is lacking, or a service that has no such request
                    continue
                found = {}
            if not any(found.get(kind) for kind in ("indices", "aliases", "data_streams")):
                self._tell(f"no index matches {part} at {self._connection.where}: nothing was read of it")
                told = True
            for index in found.get("indices", ()):
                if "closed" in index.get("attributes", ()):
                    self._tell(f"index {index.get('name')} is closed: its lines were not read; open it")
                    told = True
        return told

    def _resolved(self, part: str, kinds: str) -> Answer:
        return self._connection.request("GET", f"/_resolve/index/{quoted(part)}", expand_wildcards=kinds)

    # ---------------------------------------------------------------------------- indices that are forbidden

    def _leave_out_denied(self, refused: Failed) -> None:
        """Find out which of the indices may be read. Raises `refused` where none may, or that can't be known."""
        names: list[str] = []
        for part in filter(None, self.pattern.split(",")):
            try:
                found = self._resolved(part, "open")
            except Failed:
                names.append(part)
                continue
            backing = {name for each in found.get("data_streams", ()) for name in each.get("backing_indices", ())}
            inside = [str(each["name"]) for each in found.get("indices", ()) if each["name"] not in backing]
            streams = [str(each["name"]) for each in found.get("data_streams", ())]
            names += [*inside, *streams] if "*" in part else [part]
        names = [name for name in dict.fromkeys(names) if not name.startswith((".", "-"))]
        allowed = self._allowed(names) if len(names) > 1 else []
        if not allowed and "*" in self.pattern:  # the server does not say which of its indices it refuses
            cure = "name only indices that it may read in opensearch_config.index, or leave others out (`*,-NAME`)"
            raise Failed(f"{refused}; {cure}", refused.status)
        if not allowed:
            raise refused
        self.denied = [name for name in names if name not in allowed]
        self._tell(f"{self._connection.user} may not read {', '.join(self.denied)}: its lines are missing")
        excluded = ",".join([self.pattern, *(f"-{name}" for name in self.denied)])
        self.target = excluded if "*" in self.pattern else ",".join(allowed)
        try:
            self._field_types(self.target, ["_id"])
        except Failed:
            self.target = ",".join(allowed)
            if len(self.target) > LONGEST_PATH:
                raise refused from None

    def _allowed(self, names: Sequence[str]) -> list[str]:
        """Those that may be read, found by halving."""
        try:
            self._field_types(",".join(names), ["_id"])
        except Failed as failed:
            if failed.status == 404:
                return list(names)  # it is named elsewhere
            if failed.status != 403:
                raise
            half = len(names) // 2
            return [] if not half else self._allowed(names[:half]) + self._allowed(names[half:])
        return list(names)

    # ------------------------------------------------------------------------------------------ searching

    def ask(self, method: str, path: str, body: Any = None, *, target: str = "", **params: Any) -> Answer:
        """One request about the indices."""
        return self._connection.request(method, f"/{quoted(target or self.target)}{path}", body, **params)

    def foresee(self, body: Any) -> None:
        """Begin a search that is likely to be asked for, while it is learnt what the index is."""
        self._foreseen = self.target, body, ahead(self._search, body)

    def search(self, body: Any) -> Answer:
        """One search, refused where it is not whole; then asked again for what there is, which is told."""
        if not self._partial:
            try:
                answer = self._begun(body) or self._search(body)
            except Failed as failed:
                if failed.status not in (400, 500, 503):
                    raise
                self._partial = True  # a later search would only wait for the same
                self._tell(f"only a part of {self.pattern} could be read: {failed}")
        if self._partial:
            answer = self._search(body, partial="true")
        self._judge(answer)
        return answer

    def _begun(self, body: Any) -> Answer | None:
        """The answer to the search that was foreseen, if it is this one."""
        begun = self._foreseen
        if begun is None or begun[:2] != (self.target, body):
            return None
        self._foreseen = None
        return begun[2].result()

    def _search(self, body: Any, partial: str = "false") -> Answer:
        return self.ask("POST", "/_search", body, allow_partial_search_results=partial, ignore_unavailable="true")

    def _judge(self, answer: Answer) -> None:
        """Tell what an answer leaves out; the status of the request does not."""
        shards = answer.get("_shards", {})
        total, good = shards.get("total", 0), shards.get("successful", 0)
        if answer.get("timed_out"):
            self._tell(f"{self.pattern}: the search was cut off by the server's time limit")
        if good < total:
            causes = {str(each.get("reason", {}).get("reason", "")) for each in shards.get("failures", ())}
            why = f": {'; '.join(sorted(causes))}" if any(causes) else ""
            self._tell(f"{total - good} of {total} shards of {self.pattern} did not answer{why}")
        if total < self._shards:
            self._tell(f"an index of {self.pattern} vanished while it was read: its other lines are missing")
        self._shards = max(total, self._shards)
