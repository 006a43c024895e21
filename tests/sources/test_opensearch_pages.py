"""Pages of hits that stand alone, and what they make of servers that do otherwise than asked."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest

from mailtrace.sources.opensearch_connection import Failed
from mailtrace.sources.opensearch_fields import Field, Fields
from mailtrace.sources.opensearch_index import Index
from mailtrace.sources.opensearch_pages import FEW, LARGE, PAGE, Pages

TIMES = Fields(timestamp=(Field("@timestamp", frozenset({"date"})),))
EVERYTHING: dict[str, Any] = {"bool": {"filter": []}}


class Server:
    """Answers searches out of `documents` of so many bytes each, `many` in a moment; `deaf`: it leaves nothing out."""

    def __init__(self, documents: int, size: int, *, many: int = 7, deaf: bool = False, shards: int = 3) -> None:
        self.hits: list[dict[str, Any]] = [
            {"_index": "i", "_id": f"{n}", "_seq_no": n // shards, "at": 9 + n // many} for n in range(documents)
        ]
        self.size = size
        self.deaf = deaf
        self.asked: list[dict[str, Any]] = []

    def search(self, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(body)
        inner = body["query"]["bool"]
        met = {
            name
            for clause in inner.get("must_not", ())
            for each in clause["bool"]["filter"]
            for name in each.get("ids", {}).get("values", ())
        }
        found = [hit for hit in self.hits if self.deaf or hit["_id"] not in met]
        for name, bounds in (each for clause in inner["filter"] for each in clause["range"].items()):
            key = "at" if name == "@timestamp" else name
            found = [hit for hit in found if bounds["gte"] <= hit[key] < bounds.get("lt", math.inf)]
        order = [{"@timestamp": "at"}.get(key, key) for each in body["sort"] for key in each]
        found = sorted(found, key=lambda hit: [hit[key] for key in order])[: body["size"]]
        hits = [{**hit, "sort": [hit[key] for key in order], "_source": {}} for hit in found]
        return {"hits": {"hits": hits}, "bytes": self.size * len(hits)}


def ids(server: Server, most: int = 64 << 20) -> list[str]:
    found = Pages(cast("Index", server), TIMES, most).of(EVERYTHING, None, None, few=False)
    return [hit["_id"] for hits in found for hit in hits if hit["sort"] == [hit["at"]]]


@pytest.mark.parametrize("many", [1, 7, 6000, 20_000])
def test_pages_begin_small_grow_to_what_is_allowed_and_miss_nothing(many: int) -> None:
    server = Server(20_000, 200, many=many)
    assert sorted(ids(server), key=int) == [str(n) for n in range(20_000)]
    assert [body["size"] for body in server.asked][:2] == [(64 << 20) // 2 // LARGE, PAGE]


@pytest.mark.parametrize("shards", [1, 300])
def test_no_more_documents_are_named_than_there_are_shards_or_few(shards: int) -> None:
    server = Server(20_000, 200, many=20_000, shards=shards)
    assert sorted(ids(server), key=int) == [str(n) for n in range(20_000)]
    named = [len(str(body["query"]).split("ids")[-1].split(",")) for body in server.asked]
    assert max(named) <= max(shards, FEW)
    assert len(server.asked) < 20_000 / PAGE + 5


@pytest.mark.parametrize("count", [3, FEW])
def test_few_hits_are_one_search_for_whole_documents(count: int) -> None:
    server = Server(count, 200)
    found = list(Pages(cast("Index", server), TIMES, 64 << 20).of(EVERYTHING, None, None, few=True))
    assert [len(hits) for hits in found] == [count]
    assert [body["_source"] for body in server.asked] == [True]


def test_large_documents_come_few_at_a_time() -> None:
    server = Server(100, 100_000)
    assert len(ids(server, 1_000_000)) == 100
    assert {body["size"] for body in server.asked[1:]} == {5}


def test_whole_documents_are_asked_for_where_they_are_hardly_larger_and_pages_tell() -> None:
    server = Server(20_000, 200)
    ids(server)
    sources = [body["_source"] for body in server.asked]
    assert (sources[0], set(sources[1:])) == (["@timestamp"], {True})
    small = Server(FEW, 100_000)
    ids(small, 1_000_000)
    assert all(body["_source"] == ["@timestamp"] for body in small.asked)


def test_a_server_that_brings_again_what_was_read_is_given_up() -> None:
    with pytest.raises(Failed, match="nothing but what was read before"):
        ids(Server(3, 200, deaf=True), 1)
