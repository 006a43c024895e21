"""Logs in a real index: the same answer as from files, whole and honest."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import truth
from opensearch_node import node as nodes
from opensearch_node.__main__ import ROOT, TEMPLATE, demo
from opensearch_node.__main__ import config as demo_config
from opensearch_node.breaking import FOREVER, Fault, Proxy, breaking
from opensearch_node.shapes import DATE, DYNAMIC, EXACT, SHAPES, TEXT, Document, add, ingest, lines, put

from mailtrace.config import OpenSearchConfig
from mailtrace.hosts import HostFacts, Inventory
from mailtrace.load import load_job
from mailtrace.model import Coverage, LogEntry, LogQuery
from mailtrace.notify import Asked
from mailtrace.parsers import make_parser
from mailtrace.report import Report
from mailtrace.run import check, plan, run_job
from mailtrace.sources import opensearch_connection, opensearch_ends, opensearch_pages
from mailtrace.sources.opensearch import OpenSearchSource
from mailtrace.sources.opensearch_ends import counted, counting

pytestmark = pytest.mark.slow
START = 1_800_000_000.0
on_one_version = pytest.mark.parametrize(
    "search_node", [nodes.NEW], indirect=True, scope="session", ids=[nodes.NEW.name]
)
"""For what no version of the server has a part in: how lines are read, what a proxy breaks, how pages go on."""


@pytest.fixture(name="node")
def _node(search_node: nodes.Node) -> nodes.Node:
    return search_node


@pytest.fixture(name="client")
def _client(search_client: Any) -> Any:
    return search_client


def config(node: nodes.Node | Proxy, index: str, **more: Any) -> dict[str, Any]:
    """A fleet whose logs are in an index."""
    port = node.server_port if isinstance(node, Proxy) else node.port
    section = {"host": "127.0.0.1", "port": port, "index": index, **more}
    return {"method": "opensearch", "opensearch_config": section}


def trace(told: dict[str, Any], **find: Any) -> Report:
    return run_job({"version": 1, "kind": "trace", "config": told, "find": find, "export": []})


def rows(report: Report) -> Counter[tuple[object, ...]]:
    every = (row for mail in report.mails for row in mail.recipients)
    return Counter((row.recipient, row.original_recipient, row.outcome, truth.path_of(row)) for row in every)


def from_files(corpus: str, **find: Any) -> Counter[tuple[object, ...]]:
    return _from_files(corpus, json.dumps(find))


@cache
def _from_files(corpus: str, find: str) -> Counter[tuple[object, ...]]:
    return rows(trace(truth.fleet(corpus), **json.loads(find)))


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


def pages(made: OpenSearchSource) -> Iterator[Any]:
    """All documents, as they come."""
    made._learn()
    assert made._pages is not None
    return made._pages.of({"bool": {"filter": []}}, None, None, few=False)


def ids(entries: Iterator[LogEntry]) -> Counter[str]:
    return Counter(entry.queue_id for entry in entries)


def fleet_in(client: Any, shape: str) -> str:
    """The index that has the fleet's logs in a shape, made once."""
    index = f"fleet-{shape}"
    if not client.indices.exists(index=index):
        ingest(client, index, "fleet", shape, shards=2)
    return index


# ------------------------------------------------------------------------------------ the same as from files


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_a_fleets_logs_tells_what_its_files_tell(node: nodes.Node, client: Any, shape: str) -> None:
    index = fleet_in(client, shape)
    for preset in (shape, "auto"):
        report = trace(config(node, index, preset=preset))
        assert rows(report) == from_files("fleet")
        assert report.exit_code == 0


@on_one_version
@pytest.mark.parametrize("shape", ["ecs", "rsyslog", "graylog", "wazuh"])  # the others are read as `ecs` is
def test_a_rough_fleet_is_told_as_from_its_files(node: nodes.Node, client: Any, shape: str) -> None:
    index = f"rough-{shape}"
    ingest(client, index, "rough", shape)
    told = config(node, index, preset=shape) | {"clusters": {"all": list(truth.hosts("rough"))}}
    score = truth.score(trace(told).mails, truth.truth("rough"))
    client.indices.delete(index=index)
    assert (score.exact, score.mixed) == (score.wanted, [])


def test_indices_of_different_mappings_under_one_pattern_are_read_alike(node: nodes.Node, client: Any) -> None:
    make, _ = SHAPES["ecs"]
    mappings: list[Document] = [{"message": TEXT}, {"message": EXACT}, {"@timestamp": {"type": "date_nanos"}}]
    for number, properties in enumerate(mappings):
        some = map(make, lines("fleet")[number :: len(mappings)])
        put(client, f"mixed-{number}", some, {"@timestamp": DATE} | properties)
    told = config(node, "mixed-*", preset="ecs")
    report = trace(told)
    assert rows(report) == from_files("fleet")
    some_id = next(mail.message_id for mail in report.mails if mail.message_id and len(mail.hops) > 3)
    one = trace(told, message_id=some_id)
    assert rows(one) == from_files("fleet", message_id=some_id)


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
    index = fleet_in(client, "fluent-bit")
    assert rows(trace(config(node, index, preset="fluent-bit"), **find)) == from_files("fleet", **find)


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
    made.coverage()  # which is asked for beside
    before = made._connection.requests
    assert len(ids(made.query(LogQuery(any_of=wanted, whole=True)))) == 4000
    assert made._connection.requests - before <= 2


# --------------------------------------------------------------------------------------------------- faults


@pytest.fixture
def moments(client: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """An index of six pages of three moments."""
    monkeypatch.setattr(opensearch_pages, "PAGE", 1000)
    if not client.indices.exists(index="pages"):
        documents = (document(n, f"{n:06X}0AB", time=START + n % 3) for n in range(6000))
        put(client, "pages", documents, {"@timestamp": DATE}, shards=2)
    return "pages"


def test_no_context_of_the_cluster_is_needed(
    client: Any, source: Callable[..., OpenSearchSource], moments: str
) -> None:
    from opensearchpy.exceptions import TransportError

    client.cluster.put_settings(body={"transient": {"search.max_open_scroll_context": 0}})
    try:
        with pytest.raises(TransportError, match="too many Point In Time contexts"):
            _ = [client.create_pit(index=moments, keep_alive="1m") for _ in range(400)]
        with pytest.raises(TransportError, match="too many scroll contexts"):
            client.search(index=moments, params={"scroll": "1m"})
        made = source(moments)
        found = ids(made.query(LogQuery()))
    finally:
        client.delete_all_pits()
        client.cluster.put_settings(body={"transient": {"search.max_open_scroll_context": None}})
    assert (len(found), set(found.values()), problems(made.coverage())) == (6000, {1}, "")


def test_documents_of_one_moment_that_have_the_same_id_in_two_indices_are_all_read(
    client: Any, source: Callable[..., OpenSearchSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opensearch_pages, "PAGE", 100)
    for name, first in (("twin-1", "A"), ("twin-2", "B")):
        put(client, name, (), {"@timestamp": DATE})
        every = (document(n, f"{first}{n:06X}0AB") for n in range(350))
        add(client, name, every, (f"n{n}" for n in range(350)))
    found = ids(source("twin-*").query(LogQuery()))
    assert (len(found), set(found.values())) == (700, {1})


@pytest.mark.parametrize("pattern", ["gone-1,gone-2", "gone-*"])
def test_an_index_that_is_deleted_between_pages_is_told_and_the_other_read(
    client: Any, source: Callable[..., OpenSearchSource], monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    monkeypatch.setattr(opensearch_pages, "PAGE", 100)
    for index, first in (("gone-1", "A"), ("gone-2", "B")):
        every = (document(n, f"{first}{n:06X}0AB", time=START + n) for n in range(500))
        put(client, index, every, {"@timestamp": DATE})
    made = source(pattern)
    entries = made.query(LogQuery())
    found = [next(entries).queue_id]
    client.indices.delete(index="gone-1")
    found += [entry.queue_id for entry in entries]
    client.indices.delete(index="gone-2")
    assert len([each for each in found if each.startswith("B")]) == 500
    assert len(found) < 1000
    assert "gone-" in problems(made.coverage())
    assert any(item.missing for item in made.coverage())


@pytest.fixture
def proxy(node: nodes.Node) -> Iterator[Proxy]:
    with breaking(node.port) as found:
        yield found


PASSING = {
    "slow": Fault("slow", after=2),
    "cut": Fault("cut", after=2),
    "dropped": Fault("drop", after=2),
    "storm": Fault("status", status=429, after=2, times=3, body="Too Many Requests"),
    "bad gateway": Fault("status", status=502, after=2),
    "unavailable": Fault("status", status=503, after=2, times=2),
    "gateway timeout": Fault("status", status=504, after=2),
    "at first": Fault("status", path="_field_caps$", status=503),
}


@on_one_version
@pytest.mark.parametrize("fault", PASSING)
def test_what_breaks_for_a_moment_costs_nothing(
    proxy: Proxy, source: Callable[..., OpenSearchSource], moments: str, fault: str
) -> None:
    proxy.faults = [replace(PASSING[fault])]
    made = source(moments, port=proxy.server_port, timeout=3 if fault == "slow" else 30)
    found = ids(made.query(LogQuery()))
    assert (len(found), set(found.values()), problems(made.coverage())) == (6000, {1}, "")
    assert proxy.faults[0].times == 0


LASTING = {
    "did not answer within 2 s (opensearch_config.timeout)": Fault("slow", after=2, times=FOREVER),
    "broke off an answer: IncompleteRead": Fault("cut", after=2, times=FOREVER),
    "broke off an answer: Remote end closed connection": Fault("drop", after=2, times=FOREVER),
    "Too Many Requests (429)": Fault("status", status=429, after=2, times=FOREVER, body="Too Many Requests"),
    "Bad Gateway (502)": Fault("status", status=502, after=2, times=FOREVER, body="<title>Bad Gateway</title>"),
    "the search was cut off by the server's time limit": Fault(
        "doctored", after=2, times=FOREVER, doctor=lambda answer: answer.update(timed_out=True)
    ),
    "1 of 2 shards of pages did not answer": Fault(
        "doctored", after=2, times=FOREVER, doctor=lambda answer: answer["_shards"].update(successful=1)
    ),
}


@on_one_version
@pytest.mark.parametrize("problem", LASTING)
def test_what_stays_broken_is_missing_data_and_what_was_read_is_kept(
    proxy: Proxy, client: Any, moments: str, monkeypatch: pytest.MonkeyPatch, problem: str
) -> None:
    monkeypatch.setattr(opensearch_connection, "RETRIES", (0.0,) * 9)
    proxy.faults = [replace(LASTING[problem])]
    report = trace(config(proxy, moments, timeout=2 if "within" in problem else 30))
    assert problem in problems(report.coverage)
    assert report.exit_code == 3
    assert sum(item.matched or 0 for item in report.coverage) >= 1000  # the first page


@on_one_version
def test_no_more_bytes_are_on_their_way_than_allowed(
    client: Any, proxy: Proxy, source: Callable[..., OpenSearchSource]
) -> None:
    pad = "x" * 2000
    every = (document(n, "", time=START + n) | {"message": f"{n:06X}0AB: removed {pad}"} for n in range(3000))
    put(client, "bytes", every, {"@timestamp": DATE})
    most = 1_000_000
    made = source("bytes", port=proxy.server_port, max_bytes_in_flight=most)
    found = Counter(hit["_id"] for hits in pages(made) for hit in hits)
    assert (len(found), set(found.values())) == (3000, {1})
    assert sum(proxy.sizes) > 6 * most
    assert max(sum(pair) for pair in zip(proxy.sizes, proxy.sizes[1:], strict=False)) <= most
    assert max(proxy.sizes) > most / 3  # and no smaller pages than need be


def test_a_trace_costs_one_search_for_each_wave_and_seven_requests_besides(
    node: nodes.Node, client: Any, proxy: Proxy
) -> None:
    waves = set()
    job = {"version": 1, "kind": "trace", "config": config(proxy, fleet_in(client, "ecs"), preset="ecs"), "export": []}
    listen = lambda event: waves.add(event.wave) if isinstance(event, Asked) else None  # noqa: E731
    report = run_job({**job, "find": {"recipient": "greta@gamma.lab.test"}}, listener=listen)
    assert rows(report) == from_files("fleet", recipient="greta@gamma.lab.test")
    assert len(waves) > 3
    assert len(proxy.asked) <= len(waves) + 7, proxy.asked


def test_each_question_of_a_wave_keeps_its_hosts_and_its_window(
    client: Any, source: Callable[..., OpenSearchSource]
) -> None:
    documents = [
        document(n, f"ABC12{n % 3}", time=START + 3600 * (n // 3), host=f"mx{n % 2}.example.com") for n in range(18)
    ]
    put(client, "wave", documents, {"@timestamp": DATE})
    made = source("wave", "mx0.example.com", "mx1.example.com")
    list(made.query(LogQuery(any_of=("nothing",))))
    made.coverage()  # which is asked for beside
    before = made._connection.requests
    asked = (
        LogQuery(("mx0.example.com",), any_of=("ABC120",), end=START + 60, whole=True),
        LogQuery(("mx1.example.com",), any_of=("ABC121", "ABC122"), start=START + 7200, end=START + 7300, whole=True),
        LogQuery((), ("ABC122",), ("removed",), START + 18000),
    )
    found = list(made.queries(asked))
    assert made._connection.requests - before == 1
    alone = [entry for query in asked for entry in source("wave", *made.hosts).query(query)]
    assert sorted((e.host, e.queue_id, e.time) for e in found) == sorted((e.host, e.queue_id, e.time) for e in alone)
    assert len(found) == 3


def lines_of_hosts(*spans: tuple[str, float, float, int]) -> Iterator[dict[str, Any]]:
    """So many lines of each host, from one second to another."""
    for host, first, last, count in spans:
        for n in range(count):
            yield document(n, f"{n:05X}0CAFE", time=START + first + (last - first) * n / max(count - 1, 1), host=host)


HOSTS_OF_ALL_TIMES = [
    ("all", 0, 86400, 600), ("late", 50000, 86400, 40), ("short", 30000, 30010, 3), ("gone", 0, 700, 30),
    ("once", 43200, 43200, 1),
]  # fmt: skip


@pytest.mark.parametrize("kind", ["date", "date_nanos", "long"])
def test_the_first_and_the_last_line_of_each_host_are_those_that_counting_all_lines_finds(
    client: Any, source: Callable[..., OpenSearchSource], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(opensearch_ends, "_FEW", 10)
    hosts = {"@timestamp": {"type": kind}, "host": {"properties": {"name": EXACT}}}
    put(client, f"ends-{kind}", lines_of_hosts(*HOSTS_OF_ALL_TIMES), hosts)
    made = source(f"ends-{kind}")
    made._learn()

    def told(aggregations: Mapping[str, Any], *, all_lines: bool) -> list[tuple[Any, ...]]:
        buckets = [bucket for group in aggregations.values() for bucket in group.get("by", {}).get("buckets", ())]
        return sorted(
            (b["key"], b["min0"]["value"], b["max0"]["value"], *([b["doc_count"]] * all_lines)) for b in buckets
        )

    met = 0
    for first, last in [(None, None), (600, None), (None, 50100), (29000, 31000), (90000, None), (700.5, 42000)]:
        window = (None if first is None else START + first, None if last is None else START + last)
        whole = window == (None, None)
        wanted = told(made._index.search(counting(made._fields, *window))["aggregations"], all_lines=whole)
        assert told(counted(made._index, made._fields, *window), all_lines=whole) == wanted
        met += len(wanted)
    assert met > 12


def test_a_stray_line_of_another_century_does_not_make_all_be_counted(
    client: Any, source: Callable[..., OpenSearchSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opensearch_ends, "_FEW", 50)
    hosts = {"@timestamp": DATE, "host": {"properties": {"name": EXACT}}}
    usual = lines_of_hosts(*((f"mx{n}", n, 86400 - n, 400) for n in range(8)))
    stray = [document(1, "AAAA10CAFE", time=0.5, host="mx1"), document(2, "AAAA20CAFE", time=4.1e9, host="mx2")]
    put(client, "stray", [*usual, *stray], hosts)
    made = source("stray")
    made._learn()
    before = made._connection.requests
    found = counted(made._index, made._fields, None, None)
    assert made._connection.requests - before <= 8
    wanted = made._index.search(counting(made._fields, None, None))["aggregations"]
    ends = [
        sorted((b["key"], b["min0"]["value"], b["max0"]["value"]) for b in each["h0"]["by"]["buckets"])
        for each in (found, wanted)
    ]
    assert ends[0] == ends[1]


def test_hosts_in_several_fields_and_lines_without_a_time_are_all_counted(
    client: Any, source: Callable[..., OpenSearchSource]
) -> None:
    documents = [*lines_of_hosts(("mx1", 0, 500, 20)), document(3, "AAAA10CAFE") | {"host": {"hostname": "mx2"}}]
    for each in ({**documents[0]}, {**documents[1]}):
        each.pop("@timestamp")
        documents.append(each)
    properties = {"name": EXACT, "hostname": EXACT}
    put(client, "several", documents, {"@timestamp": DATE, "host": {"properties": properties}})
    made = source("several")
    list(made.query(LogQuery(any_of=("AAAA10CAFE",))))
    hosts = {item.host: item.lines for item in made.coverage() if item.host}
    assert hosts == {"mx1": 22, "mx2": 1}
    assert "2 documents have no @timestamp: they were left out" in " ".join(i.problem for i in made.coverage())


@on_one_version
def test_a_node_that_is_restarted_between_pages_costs_nothing(
    node: nodes.Node, tmp_path: Path, source: Callable[..., OpenSearchSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opensearch_pages, "PAGE", 1000)
    monkeypatch.setattr(opensearch_connection, "RETRIES", (1.0,) * 300)  # a busy machine starts a node slowly
    own = nodes.Node(node.version, tmp_path / "node").start()
    own.settings = (f"http.port={own.port}",)
    try:
        filler = own.client()
        put(
            filler,
            "restart",
            (document(n, f"{n:06X}0AB", time=START + n % 3) for n in range(4000)),
            {"@timestamp": DATE},
        )
        filler.close()
        entries = source("restart", port=own.port).query(LogQuery())
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


@pytest.mark.parametrize("absent", ["typo", "typo-*"])
def test_a_part_of_the_pattern_that_matches_nothing_is_missing_data(node: nodes.Node, client: Any, absent: str) -> None:
    if not client.indices.exists(index="present"):
        put(client, "present", [document(1, "ABC123")], {"@timestamp": DATE})
        client.indices.put_alias(index="present", name="present-alias")
    report = trace(config(node, f"present-alias,{absent}"))
    assert report.exit_code == 3
    assert (
        problems(report.coverage)
        == f"no index matches {absent} at http://127.0.0.1:{node.port}: nothing was read of it"
    )
    assert sum(item.matched for item in report.coverage) == 1


def test_a_closed_index_of_a_pattern_is_named(node: nodes.Node, client: Any) -> None:
    for name in ("shut-1", "shut-2"):
        put(client, name, [document(1, "ABC123")], {"@timestamp": DATE})
    client.indices.close(index="shut-1")
    report = trace(config(node, "shut-*"))
    assert report.exit_code == 3
    assert "index shut-1 is closed" in problems(report.coverage)


def test_a_shard_that_does_not_answer_costs_itself_only_and_is_told(
    node: nodes.Node, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opensearch_connection, "RETRIES", (0.0,) * 9)
    put(client, "half-1", [document(1, "ABC123")], {"@timestamp": DATE})
    nowhere = {"index.routing.allocation.require.box": "none", "number_of_replicas": 0}
    client.indices.create(index="half-2", body={"settings": nowhere}, params={"wait_for_active_shards": 0})
    report = trace(config(node, "half-*"))
    client.indices.delete(index="half-2")
    assert report.exit_code == 3
    assert "shards of half-*" in problems(report.coverage)


def test_an_index_that_cannot_answer_the_search_costs_itself_only_and_is_told(node: nodes.Node, client: Any) -> None:
    line = document(1, "", daemon="cleanup") | {"message": "ABC123: message-id=<one.two@mx.example>"}
    put(client, "wordy-1", [line], {"@timestamp": DATE})
    put(client, "wordy-2", [line], {"@timestamp": DATE, "message": TEXT | {"index_options": "docs"}})  # no phrases
    report = trace(config(node, "wordy-*"), message_id="one.two@mx.example")
    assert report.exit_code == 3
    assert "1 of 2 shards of wordy-* did not answer" in problems(report.coverage)
    assert "position" in problems(report.coverage)
    assert sum(item.matched for item in report.coverage) == 2  # the other by its queue ID


@pytest.mark.parametrize(
    "interval, told", [("30s", "last 30 s may not be found yet"), ("-1", "only when someone refreshes"), (None, "")]
)
def test_what_may_not_be_in_the_index_yet_is_told_where_a_question_reaches_until_now(
    node: nodes.Node, client: Any, interval: str | None, told: str
) -> None:
    index = f"late-{interval or 'usual'}"
    now = time.time()
    every = [document(n, f"ABC12{n}", time=now - n) for n in range(9)]
    came = [each | {"event": {"ingested": each["@timestamp"] + 300_000}} for each in every]
    put(client, index, came if interval else every, {"@timestamp": DATE, "event": {"properties": {"ingested": DATE}}})
    client.indices.put_settings(index=index, body={"index": {"refresh_interval": interval}})
    report = trace(config(node, index))
    said = problems(report.coverage)
    assert told in said
    assert ("lines come into the index 5 min late" in said) is bool(interval)
    assert not any(item.missing for item in report.coverage)
    assert problems(trace(config(node, index), until="2h ago").coverage) == ""
    checked = problems(check(load_job({"version": 1, "kind": "trace", "config": config(node, index)})))
    assert ("5 min from a line's own time into the index" in checked) is bool(interval)


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


@pytest.mark.parametrize("unit", [1, 1000, 1_000_000, 1_000_000_000])
def test_a_time_that_is_kept_as_a_number_is_asked_for_in_its_own_unit(
    client: Any, source: Callable[..., OpenSearchSource], monkeypatch: pytest.MonkeyPatch, unit: int
) -> None:
    monkeypatch.setattr(opensearch_pages, "PAGE", 100)
    every = (document(n, f"ABC{n:03}") | {"@timestamp": int((START + n // 2) * unit)} for n in range(700))
    put(client, f"unit-{unit}", every, {"@timestamp": {"type": "long"}})
    found = ids(source(f"unit-{unit}").query(LogQuery(start=START + 200, end=START + 225)))
    assert sorted(found) == [f"ABC{n:03}" for n in range(160, 692)]
    assert set(found.values()) == {1}


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
    assert "text in message (text), time in @timestamp (date), host in host.name (text), " in problems(found)


def test_check_tells_which_fields_of_which_shipper_were_found(node: nodes.Node, client: Any) -> None:
    make, properties = SHAPES["graylog"]
    put(client, "checked", (make(line) for line in islice(lines("fleet"), 200)), properties)
    found = check(load_job({"version": 1, "kind": "trace", "config": config(node, "checked", preset="auto")}))
    assert "text in message (text), time in timestamp (date), host in source (text), " in problems(found)


def test_plan_shows_the_query_and_opens_nothing() -> None:
    told = {"host": "192.0.2.1", "index": "logs-*"}
    job = {"version": 1, "kind": "trace", "config": {"method": "opensearch", "opensearch_config": told}}
    shown = "\n".join(plan(load_job(job | {"find": {"keywords": ["a@b"]}})))
    assert "POST http://192.0.2.1:9200/logs-*/_search" in shown
    assert '"*a*"' in shown


# ------------------------------------------------------------------------------------------- more of both


@on_one_version
def test_a_large_window_is_read_completely_out_of_order_over_indices_an_alias_and_a_stream(
    client: Any, source: Callable[..., OpenSearchSource]
) -> None:
    if not client.indices.exists(index="spread-1"):
        several = [
            [document(n, f"{n:06X}0AB", time=START + (n * 7919 % 30_000) / 20) for n in range(k, 30_000, 3)]
            for k in range(3)
        ]
        for number in (0, 1):
            put(client, f"spread-{number}", several[number], {"@timestamp": DATE}, shards=2)
        client.indices.put_alias(index="spread-1", name="spread-alias")
        body = {
            "index_patterns": ["spread-stream"],
            "data_stream": {},
            "template": {"mappings": {"properties": {"@timestamp": DATE}}},
        }
        client.indices.put_index_template(name="spread", body=body)
        add(client, "spread-stream", several[2])
    found = ids(source("spread-0,spread-alias,spread-stream").query(LogQuery()))
    assert (len(found), set(found.values())) == (30_000, {1})
    wanted = tuple(f"{n:06X}0AB" for n in range(9000))
    found = ids(source("spread-0,spread-alias,spread-stream").query(LogQuery(any_of=wanted, whole=True)))
    assert (sorted(found), set(found.values())) == (sorted(wanted), {1})


def test_an_index_whose_time_is_no_date_is_named_and_the_others_read(
    client: Any, source: Callable[..., OpenSearchSource]
) -> None:
    put(client, "odd-1", [document(1, "ABC123")], {"@timestamp": DATE})
    put(client, "odd-2", [document(2, "ABC123")], {"@timestamp": {"type": "keyword"}})
    made = source("odd-*")
    assert ids(made.query(LogQuery())) == {"ABC123": 1}
    assert "index odd-2 was not read: field @timestamp is keyword" in problems(made.coverage())


def test_the_demo_out_of_an_index_is_the_demo_out_of_files(node: nodes.Node, client: Any) -> None:
    make, _ = SHAPES["ecs"]
    put(client, "mailtrace-logs-demo", (make(line) for line in demo()), TEMPLATE)
    fleet = demo_config(node.port)
    found = trace(fleet)
    files = run_job({"version": 1, "kind": "trace", "config": str(ROOT / "jobs/demo/config.yaml"), "export": []})
    assert rows(found) == rows(files)


@pytest.mark.parametrize("analyzer", ["whitespace", "simple", "english", "keyword"])
def test_a_text_that_is_taken_apart_in_another_way_is_searched_by_patterns(
    client: Any, source: Callable[..., OpenSearchSource], analyzer: str
) -> None:
    index = f"analyzed-{analyzer}"
    put(client, index, [document(1, "ABC123")], {"@timestamp": DATE, "message": {"type": "text", "analyzer": analyzer}})
    found = list(ids(source(index).query(LogQuery(any_of=("ABC123", "zz9"), whole=True))))
    assert found == (["ABC123"] if analyzer != "simple" else [])  # `simple` keeps no digits
