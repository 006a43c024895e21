"""Following a real index: every document once, however late, and the mails of a fleet as traces."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest
from opensearch_node.shapes import SHAPES, lines

from mailtrace.config import OpenSearchConfig
from mailtrace.hosts import Inventory
from mailtrace.parsers import make_parser
from mailtrace.sources import opensearch_tail
from mailtrace.sources.opensearch import OpenSearchSource
from mailtrace.sources.opensearch_connection import Failed
from mailtrace.sources.opensearch_fields import Fields

if TYPE_CHECKING:
    from opensearch_node import node as nodes

pytestmark = pytest.mark.slow
START = 1_800_000_000.0


def document(number: int, moment: float | None = None) -> dict[str, Any]:
    at = datetime.fromtimestamp(START + number / 10 if moment is None else moment, timezone.utc).isoformat()
    return {
        "@timestamp": at,
        "host": {"name": "mx1"},
        "log": {"syslog": {"appname": "postfix/cleanup", "procid": "1"}},
        "message": f"{number:010X}: message-id=<{number}@x.example>",
    }


class Followed:
    """An index that is followed, by another process in each round."""

    def __init__(self, node: nodes.Node, client: Any, name: str, **settings: Any) -> None:
        self.node, self.client, self.name = node, client, name
        self.places: dict[str, Any] = {}
        self.requests = 0
        client.indices.create(
            index=name, body={"settings": {"number_of_shards": 3, "number_of_replicas": 0, **settings}}
        )

    def put(self, documents: Iterable[dict[str, Any]]) -> None:
        """Index documents, without a refresh."""
        body = [each for source in documents for each in ({"index": {"_index": self.name}}, source)]
        assert not self.client.bulk(body=body)["errors"]

    def round(self, since: float | None = None) -> list[int]:
        access = OpenSearchConfig(host="127.0.0.1", port=self.node.port, index=self.name)
        source = OpenSearchSource((), lambda _logs: make_parser(), Inventory({}, open=True), access=access)
        found = []
        for tail in source.follow(self.places, since, time.time()):
            found += [int(entry.queue_id, 16) for entry, _mark in tail]
            assert tail.problem == ""
            self.places[tail.name] = json.loads(json.dumps(tail.place()))
        source.close()
        return found


@pytest.fixture
def followed(
    search_node: nodes.Node, search_client: Any, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Followed]]:
    made: list[Followed] = []

    def make(**settings: Any) -> Followed:
        made.append(Followed(search_node, search_client, f"tail-{time.monotonic_ns()}", **settings))
        return made[-1]

    yield make
    for each in made:
        search_client.indices.delete(index=each.name)


def test_every_document_comes_once_also_one_whose_time_is_long_past(followed: Callable[..., Followed]) -> None:
    index = followed()
    index.put(document(number) for number in range(2000))
    assert sorted(index.round()) == list(range(2000))
    index.put(document(number) for number in range(2000, 2100))
    index.put(document(number, START - 9e6) for number in range(2100, 2150))
    assert sorted(index.round()) == list(range(2000, 2150))
    assert index.round() == []


def test_a_deleted_or_overwritten_document_does_not_stop_the_rest(followed: Callable[..., Followed]) -> None:
    index = followed()
    index.put(document(number) for number in range(100))
    index.client.indices.refresh(index=index.name)
    hits = index.client.search(index=index.name, body={"size": 10, "sort": ["_doc"]})["hits"]["hits"]
    for hit in hits:
        index.client.delete(index=index.name, id=hit["_id"])
    gone = {int(hit["_source"]["message"].partition(":")[0], 16) for hit in hits}
    assert sorted(index.round()) == sorted(set(range(100)) - gone)
    index.put(document(number) for number in range(100, 120))
    assert sorted(index.round()) == list(range(100, 120))


def test_what_is_not_refreshed_yet_is_left_to_a_later_round(
    followed: Callable[..., Followed], monkeypatch: pytest.MonkeyPatch
) -> None:
    index = followed(refresh_interval="30s")
    index.put(document(number) for number in range(50))
    monkeypatch.setattr(opensearch_tail, "PATIENCE", 0.5)
    assert index.round() == []
    index.client.indices.refresh(index=index.name)
    assert sorted(index.round()) == list(range(50))


def test_what_a_slow_refresh_has_not_shown_yet_is_not_taken_for_deleted(
    followed: Callable[..., Followed], monkeypatch: pytest.MonkeyPatch
) -> None:
    index = followed(refresh_interval="1h", number_of_shards=1)
    monkeypatch.setattr(opensearch_tail.Feed, "_intervals", lambda _feed: {})  # as if it were refreshed each second
    monkeypatch.setattr(opensearch_tail, "MARGIN", -0.8)
    monkeypatch.setattr(opensearch_tail, "PATIENCE", 0.5)
    index.put(document(number) for number in range(50))
    index.client.indices.refresh(index=index.name)
    assert sorted(index.round()) == list(range(50))
    with monkeypatch.context() as busy:
        written = written_to_all_the_time(index, 50, busy)
        for _ in range(3):
            assert index.round() == []
            time.sleep(0.3)
    index.client.indices.refresh(index=index.name)
    assert sorted(index.round()) == list(range(50, written[-1]))


def test_a_hole_is_passed_over_as_soon_as_what_came_behind_it_can_be_found(
    followed: Callable[..., Followed], monkeypatch: pytest.MonkeyPatch
) -> None:
    index = followed(refresh_interval="1h", number_of_shards=1)
    index.put(document(number) for number in range(50))
    index.client.indices.refresh(index=index.name)
    assert sorted(index.round()) == list(range(50))
    monkeypatch.setattr(opensearch_tail.Feed, "_intervals", lambda _feed: {})
    monkeypatch.setattr(opensearch_tail, "PATIENCE", 0.0)
    [hit] = index.client.search(index=index.name, body={"size": 1})["hits"]["hits"]
    index.client.delete(index=index.name, id=hit["_id"])
    index.put([document(50)])
    index.client.indices.refresh(index=index.name)
    assert index.round() == [], "it may be a document that cannot be found yet"
    index.put([document(51)])
    index.client.indices.refresh(index=index.name)
    monkeypatch.setattr(opensearch_tail, "MARGIN", -1.0)
    written_to_all_the_time(index, 52, monkeypatch)
    assert index.round() == [50], "51 was numbered after the hole, and can be found"


def written_to_all_the_time(index: Followed, number: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Whenever its numbers are asked for, one more has been written, and not been refreshed; all of them so far."""
    written = [number]

    def shards(feed: opensearch_tail.Feed, ask: Any = opensearch_tail.Feed.shards) -> Any:
        index.put([document(written[-1])])
        written.append(written[-1] + 1)
        return ask(feed)

    monkeypatch.setattr(opensearch_tail.Feed, "shards", shards)
    return written


def test_a_first_reading_begins_where_it_is_told(followed: Callable[..., Followed]) -> None:
    index = followed()
    index.put(document(number) for number in range(500))
    index.client.indices.refresh(index=index.name)
    found = index.round(since=START + 40)
    assert set(range(400, 500)) <= set(found)
    index.put([document(500)])
    assert index.round(since=START + 40) == [500]


def test_an_index_that_comes_later_is_followed_too(followed: Callable[..., Followed]) -> None:
    index = followed()
    index.put([document(1)])
    pattern, index.name = index.name, f"{index.name}*"
    assert index.round() == [1]
    index.client.indices.create(index=f"{pattern}-new")
    index.client.index(index=f"{pattern}-new", body=document(2))
    assert index.round() == [2]
    index.client.indices.delete(index=f"{pattern}-new")
    index.name = pattern


class Recovering:
    """A node of whose three shards the second has not recovered yet; the third is of an index that is gone."""

    def request(self, _method: str, path: str, _body: Any = None, **_params: str) -> dict[str, Any]:
        if path.endswith("/_stats/docs"):
            copies = [{"routing": {"primary": True}, "seq_no": {"global_checkpoint": 7, "max_seq_no": 7}}]
            return {"indices": {"logs": {"uuid": "U", "shards": {"0": copies, "1": []}}}}
        return {"logs": {"settings": {"index.uuid": "U"}}} if path.endswith("index.uuid") else {}


def test_a_shard_that_has_not_recovered_is_a_problem_and_not_silent() -> None:
    reader: Any = None
    feed = opensearch_tail.Feed(Recovering(), "logs", reader, Fields(), frozenset())  # type: ignore[arg-type]
    read = {"last": 7, "seen": []}
    places = {f"opensearch:{name}": read for name in ("logs:U:0", "logs:U:1", "gone:V:0", "logs:OLDER:0", "other")}
    assert [(tail.name, tail.problem) for tail in feed.tails(places, None, START)] == [
        ("opensearch:logs:U:1", "logs: shard 1 cannot be read yet")
    ]


def refused(_feed: Any) -> Any:
    raise Failed("no permissions for [indices:monitor/stats]", 403)


def test_without_the_right_to_ask_for_numbers_documents_are_followed_by_their_time(
    followed: Callable[..., Followed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opensearch_tail.Feed, "shards", refused)
    index = followed()
    now = time.time() - 100
    index.put(document(number, now + number / 100) for number in range(2000))
    index.client.indices.refresh(index=index.name)
    assert sorted(index.round()) == list(range(2000))
    index.put(document(number, now - 60) for number in range(2000, 2050))
    index.put(document(number, now + 30 + number / 100) for number in range(2050, 2100))
    index.client.indices.refresh(index=index.name)
    assert sorted(index.round()) == list(range(2000, 2100))
    assert index.round() == []


def test_what_does_not_tell_when_it_was_taken_in_is_followed_by_its_own_time(
    followed: Callable[..., Followed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opensearch_tail.Feed, "shards", refused)
    monkeypatch.setattr(opensearch_tail, "PAGE", 100)
    index = followed()
    now = time.time() - 100
    met: list[int] = []
    for first in (0, 1000):
        some = [document(number, now + number / 100) for number in range(first, first + 500)]
        for number, each in enumerate(some):
            if number % 2:
                each["event"] = {"ingested": datetime.fromtimestamp(now + 50 + first / 100, timezone.utc).isoformat()}
        index.put(some)
        index.client.indices.refresh(index=index.name)
        met += index.round()
        assert index.round() == []
    assert sorted(met) == [*range(500), *range(1000, 1500)]


def test_an_idle_round_asks_twice(followed: Callable[..., Followed], monkeypatch: pytest.MonkeyPatch) -> None:
    index = followed()
    index.put(document(number) for number in range(10))
    index.round()
    access = OpenSearchConfig(host="127.0.0.1", port=index.node.port, index=index.name)
    source = OpenSearchSource((), lambda _logs: make_parser(), Inventory({}, open=True), access=access)
    source.follow(index.places, None, time.time())
    asked: list[str] = []
    real = source._connection.request

    def counted(method: str, path: str, *args: Any, **params: Any) -> Any:
        asked.append(path)
        return real(method, path, *args, **params)

    monkeypatch.setattr(source._connection, "request", counted)
    assert source.follow(index.places, None, time.time()) == []
    assert len(asked) <= 3, asked
    source.close()


def test_a_fleet_s_mails_become_the_traces_of_its_truth(
    search_node: nodes.Node, search_client: Any, tmp_path: Any
) -> None:
    import truth
    from feed import Memory, rounds_of
    from traces import judge

    make, properties = SHAPES["ecs"]
    name = f"fleet-{time.monotonic_ns()}"
    body = {"settings": {"number_of_shards": 2, "number_of_replicas": 0}, "mappings": {"properties": properties}}
    search_client.indices.create(index=name, body=body)
    documents = [make(line) for line in sorted(lines("fleet"), key=lambda line: line.time)]
    config = {
        "method": "opensearch",
        "opensearch_config": {"host": "127.0.0.1", "port": search_node.port, "index": name},
        "clusters": {"all": list(truth.hosts("fleet"))},
    }
    client = Memory()
    rounds = rounds_of(config, tmp_path, client)
    for at in range(0, len(documents), 500):
        bulk = [each for one in documents[at : at + 500] for each in ({"index": {"_index": name}}, one)]
        assert not search_client.bulk(body=bulk, refresh="true")["errors"]
        done = rounds.go()
        assert (done.problems, done.failed) == ({}, "")
    rounds.finish()
    rounds.scene.handover.send()
    found = judge(client.got(), truth.truth("fleet"))
    assert (found.wrong, found.twice, found.orphans) == ([], [], [])
    assert found.right == found.wanted > 180
    search_client.indices.delete(index=name)
