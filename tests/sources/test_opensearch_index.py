"""Searches of a pattern's indices: whole, or said to be parts; one that was foreseen is not asked twice."""

from __future__ import annotations

from typing import Any, cast

import pytest

from mailtrace.sources.opensearch_connection import Connection, Failed
from mailtrace.sources.opensearch_index import Index

BODY = {"query": {"bool": {"filter": [{"term": {"a": "b"}}]}}}


class Server:
    """Answers every search with its number, or refuses one that has to be whole."""

    def __init__(self, refusal: int = 0) -> None:
        self.refusal = refusal
        self.asked: list[Any] = []

    def request(self, _method: str, _path: str, body: Any = None, **params: str) -> dict[str, Any]:
        self.asked.append(body)
        if self.refusal and params["allow_partial_search_results"] == "false":
            raise Failed("a shard is missing", self.refusal)
        return {"number": len(self.asked), "_shards": {"total": 2, "successful": 2 - bool(self.refusal)}}


def index(server: Server) -> tuple[Index, list[str]]:
    told: list[str] = []
    return Index(cast("Connection", server), "logs-*", lambda text, **_: told.append(text)), told


def answered(made: Index) -> None:
    """Wait for what was foreseen, which nobody else waits for."""
    assert made._foreseen is not None
    made._foreseen[2].result()


def test_a_search_that_was_foreseen_is_asked_once_and_anew_when_it_is_wanted_again() -> None:
    server = Server()
    made, told = index(server)
    made.foresee(BODY)
    assert made.search(dict(BODY))["number"] == 1
    assert made.search(dict(BODY))["number"] == 2
    assert told == []


def test_another_search_than_the_foreseen_one_is_asked_itself() -> None:
    server = Server()
    made, _ = index(server)
    made.foresee(BODY)
    answered(made)
    assert made.search({"query": {"match_all": {}}})["number"] == 2


def test_what_was_foreseen_of_more_indices_than_may_be_read_is_not_taken() -> None:
    server = Server()
    made, _ = index(server)
    made.foresee(BODY)
    answered(made)
    made.leave_out(["logs-1"])
    made.search(BODY)
    assert server.asked == [BODY, BODY]


@pytest.mark.parametrize("foreseen", [False, True])
def test_what_cannot_be_had_whole_is_asked_for_in_part_and_told(foreseen: bool) -> None:
    server = Server(503)
    made, told = index(server)
    if foreseen:
        made.foresee(BODY)
    assert made.search(BODY)["number"] == 2
    assert told == ["only a part of logs-* could be read: a shard is missing", "1 of 2 shards of logs-* did not answer"]


@pytest.mark.parametrize("foreseen", [False, True])
def test_a_refusal_is_a_refusal(foreseen: bool) -> None:
    made, _ = index(Server(403))
    if foreseen:
        made.foresee(BODY)
    with pytest.raises(Failed, match="a shard is missing"):
        made.search(BODY)
