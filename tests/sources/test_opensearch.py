"""Logs in a real index: the same answer as from files, whole and honest."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import truth
from opensearch_node import node as nodes
from opensearch_node.shapes import DATE, DYNAMIC, EXACT, SHAPES, TEXT, Document, ingest, lines, put

from mailtrace.config import OpenSearchConfig
from mailtrace.hosts import HostFacts, Inventory
from mailtrace.load import load_job
from mailtrace.model import Coverage, LogEntry, LogQuery
from mailtrace.parsers import make_parser
from mailtrace.report import Report
from mailtrace.run import check, plan, run_job
from mailtrace.sources import opensearch
from mailtrace.sources.opensearch import OpenSearchSource

pytestmark = pytest.mark.slow
START = 1_800_000_000.0


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[nodes.Node]:
    """One node for all tests of this file."""
    if not nodes.fetched():
        pytest.skip("needs an OpenSearch node: python tests/opensearch_node/node.py (a JDK 17 and Maven)")
    started = nodes.Node(tmp_path_factory.mktemp("node")).start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def client(node: nodes.Node) -> Iterator[Any]:
    """Someone who fills indices."""
    found = node.client()
    yield found
    found.close()


def config(node: nodes.Node, index: str, **more: Any) -> dict[str, Any]:
    """A fleet whose logs are in an index."""
    section = {"host": "127.0.0.1", "port": node.port, "index": index, **more}
    return {"method": "opensearch", "opensearch_config": section}


def trace(told: dict[str, Any], **find: Any) -> Report:
    return run_job({"version": 1, "kind": "trace", "config": told, "find": find, "export": []})


def rows(report: Report) -> Counter[tuple[object, ...]]:
    every = (row for mail in report.mails for row in mail.recipients)
    return Counter((row.recipient, row.original_recipient, row.outcome, truth.path_of(row)) for row in every)


@cache
def from_files(corpus: str) -> Counter[tuple[object, ...]]:
    return rows(trace(truth.fleet(corpus)))


@pytest.fixture
def source(node: nodes.Node) -> Iterator[Callable[..., OpenSearchSource]]:
    """Makes sources, and closes them."""
    made: list[OpenSearchSource] = []

    def make(index: str, *hosts: str, **more: Any) -> OpenSearchSource:
        access = OpenSearchConfig(host="127.0.0.1", port=more.pop("port", node.port), index=index, **more)
        fleet = Inventory({host: HostFacts() for host in hosts}, open=not hosts)
        parser = make_parser([], "", keep_raw=True)
        made.append(OpenSearchSource(hosts, lambda _logs: parser, fleet, access=access))
        return made[-1]

    yield make
    for each in made:
        each.close()


def problems(items: list[Coverage]) -> str:
    return "\n".join(item.problem for item in items if item.problem)


def document(number: int, text: str, *, time: float = START, host: str = "mx1", daemon: str = "qmgr") -> Document:
    return {
        "@timestamp": int(time * 1000),
        "host": {"name": host},
        "log": {"syslog": {"appname": f"postfix/{daemon}", "procid": "7"}},
        "message": f"{text}: removed",
        "number": number,
    }


def ids(entries: Iterator[LogEntry]) -> Counter[str]:
    return Counter(entry.queue_id for entry in entries)


# ------------------------------------------------------------------------------------ the same as from files


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_a_fleets_logs_tells_what_its_files_tell(node: nodes.Node, client: Any, shape: str) -> None:
    ingest(client, f"fleet-{shape}", "fleet", shape, shards=2)
    for preset in (shape, "auto"):
        report = trace(config(node, f"fleet-{shape}", preset=preset))
        assert rows(report) == from_files("fleet")
        assert report.exit_code == 0


@pytest.mark.parametrize("shape", ["ecs", "graylog", "wazuh"])
def test_a_rough_fleet_is_told_as_from_its_files(node: nodes.Node, client: Any, shape: str) -> None:
    ingest(client, f"rough-{shape}", "rough", shape)
    told = config(node, f"rough-{shape}", preset=shape) | {"clusters": {"all": list(truth.hosts("rough"))}}
    score = truth.score(trace(told).mails, truth.truth("rough"))
    assert (score.exact, score.mixed) == (score.wanted, [])


def test_indices_of_different_mappings_under_one_pattern_are_read_alike(node: nodes.Node, client: Any) -> None:
    make, _ = SHAPES["ecs"]
    mappings: list[Document] = [{"message": TEXT}, {"message": EXACT}, {"@timestamp": {"type": "date_nanos"}}]
    every = list(lines("fleet"))
    for number, properties in enumerate(mappings):
        some = (make(line) for line in every[number :: len(mappings)])
        put(client, f"mixed-{number}", some, {"@timestamp": DATE} | properties)
    told = config(node, "mixed-*", preset="ecs")
    report = trace(told)
    assert rows(report) == from_files("fleet")
    some_id = next(mail.message_id for mail in report.mails if mail.message_id and len(mail.hops) > 3)
    one = trace(told, message_id=some_id)
    assert rows(one) == rows(trace(truth.fleet("fleet"), message_id=some_id))


@pytest.mark.parametrize(
    "find",
    [
        {"keywords": ["alpha.lab.test"]},
        {"keywords": ["LPHA.lab.te"]},
        {"keywords": ["mx1"]},
        {"recipient": "greta@gamma.lab.test"},
    ],
)
def test_what_is_typed_is_found_wherever_it_stands_in_a_line(
    node: nodes.Node, client: Any, find: dict[str, Any]
) -> None:
    if not client.indices.exists(index="typed"):
        ingest(client, "typed", "fleet", "fluent-bit")
    found, wanted = trace(config(node, "typed", preset="fluent-bit"), **find), trace(truth.fleet("fleet"), **find)
    assert rows(found) == rows(wanted)


# --------------------------------------------------------------------------------------------- completeness


def test_lines_of_one_moment_are_all_read_once(client: Any, source: Callable[..., OpenSearchSource]) -> None:
    documents = (document(n, f"{n:06X}0AB", time=START + n % 3) for n in range(30_000))
    put(client, "moment", documents, {"@timestamp": DATE}, shards=3)
    found = ids(source("moment").query(LogQuery()))
    assert len(found) == 30_000
    assert set(found.values()) == {1}


@pytest.mark.parametrize("mapping", [TEXT, DYNAMIC, {"type": "keyword", "ignore_above": 256}, {"type": "wildcard"}])
def test_a_line_is_found_however_long_it_is(
    client: Any, source: Callable[..., OpenSearchSource], mapping: Document
) -> None:
    index = f"long-{abs(hash(str(mapping)))}"
    lengths = (255, 256, 257, 32_000)
    documents = []
    for number, length in enumerate(lengths):
        text = f"ABCDEF{number}: to=<x@y.example>, relay=y.example[192.0.2.1]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, "
        text += "status=sent ("
        text += "z" * (length - len(text) - 1) + ")"
        documents.append(document(number, "", daemon="smtp") | {"message": text})
    put(client, index, documents, {"@timestamp": DATE, "message": mapping})
    for number, _ in enumerate(lengths):
        made = source(index)
        assert list(ids(made.query(LogQuery(any_of=(f"abcdef{number}",))))) == [f"ABCDEF{number}"]


def test_five_thousand_ids_are_two_requests(client: Any, source: Callable[..., OpenSearchSource]) -> None:
    wanted = tuple(f"{n:05X}0CAFE" for n in range(5000))
    put(client, "many", (document(n, each) for n, each in enumerate(wanted[:4000])), {"@timestamp": DATE})
    made = source("many")
    list(made.query(LogQuery(any_of=("nothing",))))
    before = made._connection.requests
    assert len(ids(made.query(LogQuery(any_of=wanted)))) == 4000
    assert made._connection.requests - before <= 2


# --------------------------------------------------------------------------------------------------- faults


@pytest.fixture
def moments(client: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """An index of six pages of three moments."""
    monkeypatch.setattr(opensearch, "PAGE", 1000)
    if not client.indices.exists(index="pages"):
        documents = (document(n, f"{n:06X}0AB", time=START + n % 3) for n in range(6000))
        put(client, "pages", documents, {"@timestamp": DATE}, shards=2)
    return "pages"


def test_a_point_in_time_that_is_gone_between_pages_costs_nothing(
    client: Any, source: Callable[..., OpenSearchSource], moments: str
) -> None:
    entries = source(moments).query(LogQuery())
    found = Counter(entry.queue_id for entry in islice(entries, 1500))
    client.delete_all_pits()
    found += ids(entries)
    assert (len(found), set(found.values())) == (6000, {1})


def test_where_points_in_time_are_refused_the_window_is_read_all_the_same(
    client: Any, source: Callable[..., OpenSearchSource], moments: str
) -> None:
    limits = {"search.default_keep_alive": "10s", "point_in_time.max_keep_alive": "30s"}  # shorter than is asked for
    client.cluster.put_settings(body={"transient": limits})
    try:
        made = source(moments)
        found = ids(made.query(LogQuery()))
    finally:
        client.cluster.put_settings(body={"transient": dict.fromkeys(limits)})
    assert problems(made.coverage()) == ""
    assert (len(found), set(found.values())) == (6000, {1})


def test_an_index_that_is_deleted_between_pages_is_told(
    client: Any, source: Callable[..., OpenSearchSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opensearch, "PAGE", 100)
    put(client, "gone", (document(n, f"{n:06X}0AB") for n in range(1000)), {"@timestamp": DATE})
    made = source("gone")
    entries = made.query(LogQuery())
    next(entries)
    client.indices.delete(index="gone")
    assert len(list(entries)) < 999
    assert any(item.missing for item in made.coverage())


def test_a_node_that_is_restarted_between_pages_costs_nothing(
    tmp_path: Path, source: Callable[..., OpenSearchSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not nodes.fetched():
        pytest.skip("needs an OpenSearch node: python tests/opensearch_node/node.py (a JDK 17 and Maven)")
    monkeypatch.setattr(opensearch, "PAGE", 1000)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = nodes.Node(tmp_path / "node", f"http.port={port}").start()
    try:
        filler = own.client()
        put(
            filler,
            "restart",
            (document(n, f"{n:06X}0AB", time=START + n % 3) for n in range(4000)),
            {"@timestamp": DATE},
        )
        filler.close()
        entries = source("restart", port=port).query(LogQuery())
        found = Counter(entry.queue_id for entry in islice(entries, 500))
        own.stop()
        own.start()
        found += ids(entries)
    finally:
        own.stop()
    assert (len(found), set(found.values())) == (4000, {1})


# -------------------------------------------------------------------------------------------------- honesty


def test_a_pattern_that_matches_nothing_is_missing_data(node: nodes.Node) -> None:
    report = trace(config(node, "nowhere-*"))
    assert report.exit_code == 3
    assert "no index matches nowhere-*" in problems(report.coverage)


def test_a_name_that_does_not_exist_is_missing_data(node: nodes.Node) -> None:
    report = trace(config(node, "nowhere"))
    assert report.exit_code == 3
    assert "nowhere at" in problems(report.coverage)


def test_a_closed_index_of_a_pattern_is_named(node: nodes.Node, client: Any) -> None:
    for name in ("shut-1", "shut-2"):
        put(client, name, [document(1, "ABC123")], {"@timestamp": DATE})
    client.indices.close(index="shut-1")
    report = trace(config(node, "shut-*"))
    assert report.exit_code == 3
    assert "index shut-1 is closed" in problems(report.coverage)


def test_a_shard_that_does_not_answer_costs_itself_only_and_is_told(node: nodes.Node, client: Any) -> None:
    put(client, "half-1", [document(1, "ABC123")], {"@timestamp": DATE})
    nowhere = {"index.routing.allocation.require.box": "none", "number_of_replicas": 0}
    client.indices.create(index="half-2", body={"settings": nowhere}, params={"wait_for_active_shards": 0})
    report = trace(config(node, "half-*"))
    client.indices.delete(index="half-2")
    assert report.exit_code == 3
    assert "shards of half-*" in problems(report.coverage)


def test_a_server_that_is_not_there_is_named_with_its_port(node: nodes.Node) -> None:
    told = config(node, "x")
    told["opensearch_config"]["port"] = 1
    report = trace(told)
    assert report.exit_code == 3
    assert "http://127.0.0.1:1 cannot be reached" in problems(report.coverage)


def test_a_field_that_the_index_lacks_is_named_with_the_cure(node: nodes.Node, client: Any) -> None:
    put(client, "other", [{"when": "2026-01-01T00:00:00Z", "said": "x"}], {"when": DATE})
    report = trace(config(node, "other"))
    assert report.exit_code == 3
    assert "opensearch_config.mapping" in problems(report.coverage)


def test_each_host_has_its_first_and_last_line(client: Any, source: Callable[..., OpenSearchSource]) -> None:
    documents = [document(n, f"ABC12{n}", time=START + n, host=f"mx{n % 2}.example.com") for n in range(10)]
    put(client, "spans", documents, {"@timestamp": DATE})
    made = source("spans", "mx0.example.com", "mx1.example.com", "mx2.example.com")
    list(made.query(LogQuery()))
    spans = {item.host: (item.first, item.last, item.matched) for item in made.coverage() if item.host}
    assert spans["mx0.example.com"] == (START, START + 8, 5)
    assert spans["mx1.example.com"] == (START + 1, START + 9, 5)
    assert spans["mx2.example.com"] == (None, None, 0)
    assert "no line of mx2.example.com" in problems(made.coverage())


def test_the_window_bounds_what_is_read(client: Any, source: Callable[..., OpenSearchSource]) -> None:
    put(client, "window", [document(n, f"ABC12{n}", time=START + n * 3600) for n in range(10)], {"@timestamp": DATE})
    found = ids(source("window").query(LogQuery(start=START + 3600, end=START + 7200)))
    assert sorted(found) == ["ABC121", "ABC122"]


@pytest.mark.parametrize("word", ["*", 'a" OR "b', '{"match_all": {}}', "?" * 50, "x" * 10_000, "a:b AND c", "\\", "ü"])
def test_what_a_person_types_is_data_only(client: Any, source: Callable[..., OpenSearchSource], word: str) -> None:
    if not client.indices.exists(index="hostile"):
        put(client, "hostile", [document(1, "ABC123")], {"@timestamp": DATE, "message": DYNAMIC})
    for query in (LogQuery(all_of=(word,)), LogQuery(any_of=(word, "zzz"))):
        made = source("hostile")
        assert list(made.query(query)) == []
        assert problems(made.coverage()) == ""


# ------------------------------------------------------------------------------------------- check and plan


def test_check_tells_version_fields_and_the_last_line(node: nodes.Node, client: Any) -> None:
    put(client, "seen", [document(1, "ABC123", host="mx1")], {"@timestamp": DATE})
    found = check(load_job({"version": 1, "kind": "trace", "config": config(node, "seen")}))
    assert f"OpenSearch {client.info()['version']['number'].rpartition('.')[0]}" in problems(found)
    assert "text in message" in problems(found)


def test_plan_shows_the_query_and_opens_nothing() -> None:
    told = {"host": "192.0.2.1", "index": "logs-*"}
    job = {"version": 1, "kind": "trace", "config": {"method": "opensearch", "opensearch_config": told}}
    shown = "\n".join(plan(load_job(job | {"find": {"keywords": ["a@b"]}})))
    assert "POST http://192.0.2.1:9200/logs-*/_search" in shown
    assert '"*a*"' in shown
