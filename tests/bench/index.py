"""`python -m tests.bench.index`: what mailtrace costs out of an OpenSearch index, beside bare searches of its node.

`--lines N` (default 1,000,000), `--version` of the node (default: the first), `--folder PATH` (default: a temporary
one; logs and node that are there already are used again). Nothing here asserts a time.
"""
# ruff: noqa: RUF001 - the sign for times is what the table means

from __future__ import annotations

import argparse
import gc
import heapq
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from opensearch_node import node as nodes
from opensearch_node import shapes
from opensearch_node.shapes import DATE, EXACT, TEXT

from mailtrace import run_job
from mailtrace.config import OpenSearchConfig
from mailtrace.hosts import HostFacts, Inventory
from mailtrace.model import LogQuery
from mailtrace.notify import Asked
from mailtrace.parsers import make_parser
from mailtrace.sources.opensearch import OpenSearchSource
from mailtrace.sources.opensearch_connection import Connection
from mailtrace.sources.opensearch_pages import PAGE

from . import generate
from .__main__ import HOSTS, best, made, row
from .generate import Sample

INDEX = "mail-1"
WARM_UP = 10
"""Rounds that are not counted: a server's code is slow at first."""
WINDOW = 200_000
"""Lines of the window that is read completely."""
MAPPING = {
    "@timestamp": DATE,
    "message": TEXT,
    "host": {"properties": {"name": EXACT}},
    "log": {"properties": {"syslog": {"properties": {"appname": EXACT, "procid": EXACT}}}},
}


def filled(node: nodes.Node, folder: Path, lines: int) -> Sample:
    """The node's index with generated logs of three hosts; a mail of them."""
    place, sample = made(folder, f"three-{lines}", lambda place: generate.postfix(place, lines, hosts=HOSTS))
    client = node.client()
    if not client.indices.exists(index=INDEX):
        shapes.put(client, INDEX, documents(place), MAPPING)
        client.indices.forcemerge(index=INDEX, params={"max_num_segments": 5})
    client.close()
    return sample


def documents(place: Path) -> Iterator[dict[str, Any]]:
    """The lines as Filebeat would store them: each host ships what it has just logged."""
    logs = [logged(place, host) for host in HOSTS]
    return heapq.merge(*logs, key=itemgetter("@timestamp"))


def logged(place: Path, host: str) -> Iterator[dict[str, Any]]:
    """The lines of one host."""
    make, _ = shapes.SHAPES["ecs"]
    with (place / host / "mail.log").open() as log:
        for text in log:
            framed = shapes.framed_of(text.rstrip("\n"), exims=False)
            assert framed is not None
            yield make(shapes.Line(host, shapes.utc(framed, {}, 2026), *framed[4:], text))


def config(node: nodes.Node, **more: Any) -> dict[str, Any]:
    """A fleet whose logs are in the index."""
    return {
        "method": "opensearch",
        "opensearch_config": {"host": "127.0.0.1", "port": node.port, "index": INDEX, **more},
    }


def trace(node: nodes.Node, **find: Any) -> Any:
    """The trace of one mail, as a user's script asks for it."""
    report = run_job({"version": 1, "kind": "trace", "config": config(node), "find": find, "export": []})
    assert len(report.mails) == 1, [item.problem for item in report.coverage]
    return report


def requests(node: nodes.Node, **find: Any) -> tuple[int, int]:
    """Requests and waves of the trace of one mail."""
    asked: list[object] = []
    request = Connection.request

    def counted(self: Connection, *arguments: Any, **options: Any) -> Any:
        asked.append(arguments)
        return request(self, *arguments, **options)

    Connection.request = counted  # type: ignore[method-assign]
    waves = 0

    def listen(event: object) -> None:
        nonlocal waves
        waves = event.wave if isinstance(event, Asked) else waves

    job = {"version": 1, "kind": "trace", "config": config(node), "find": find, "export": []}
    run_job(job, listener=listen)
    Connection.request = request  # type: ignore[method-assign]
    return len(asked), waves


def bare_terms(client: Any, words: Iterable[str]) -> int:
    """One `terms` query, as a script would ask it."""
    query = {"terms": {"message": [word.lower() for word in words]}}
    found = client.search(index=INDEX, body={"query": query, "size": 1000})
    return len(found["hits"]["hits"])


def connected(node: nodes.Node, words: Iterable[str]) -> int:
    """The same with its connection."""
    client = node.client()
    found = bare_terms(client, words)
    client.close()
    return found


def in_turn(
    works: Mapping[str, Callable[[], Any]], forget: Callable[[], Any], times: int = 60
) -> dict[str, list[float]]:
    """Seconds of each work, sorted: done in turn, many times, so that what else the machine does meets all alike.

    `forget` is called before each: an index that is written to remembers no answers.
    """
    took: dict[str, list[float]] = {name: [] for name in works}
    for number in range(times + WARM_UP):
        for name, work in works.items():
            forget()
            begun = time.perf_counter()
            work()
            if number >= WARM_UP:
                took[name].append(time.perf_counter() - begun)
    return {name: sorted(each) for name, each in took.items()}


def bare_loop(node: nodes.Node, start: float, end: float, size: int) -> int:
    """A window, page by page, without looking at it."""
    client = node.client()
    pit = client.create_pit(index=INDEX, keep_alive="2m")["pit_id"]
    body: dict[str, Any] = {
        "query": {
            "range": {"@timestamp": {"gte": int(start * 1000), "lte": int(end * 1000), "format": "epoch_millis"}}
        },
        "size": size,
        "sort": [{"@timestamp": "asc"}, {"_id" if node.version is nodes.OLD else "_shard_doc": "asc"}],
        "_source": ["@timestamp", "host.name", "log.syslog.appname", "log.syslog.procid", "message"],
        "track_total_hits": False,
        "pit": {"id": pit, "keep_alive": "2m"},
    }
    count = 0
    while True:
        hits = client.search(body=body)["hits"]["hits"]
        count += len(hits)
        if len(hits) < size:
            break
        body["search_after"] = hits[-1]["sort"]
    client.delete_pit(body={"pit_id": [pit]})
    client.close()
    return count


def source(node: nodes.Node) -> OpenSearchSource:
    """The source alone."""
    parser = make_parser()
    access = OpenSearchConfig(host="127.0.0.1", port=node.port, index=INDEX)
    return OpenSearchSource((), lambda _logs: parser, Inventory({h: HostFacts() for h in HOSTS}), access=access)


def read(node: nodes.Node, start: float, end: float) -> int:
    """The window as entries."""
    asked = source(node)
    gc.disable()  # as a run does
    count = sum(1 for _ in asked.query(LogQuery(start=start, end=end)))
    gc.enable()
    asked.close()
    return count


def complete(node: nodes.Node, start: float, end: float) -> None:
    """Every document of the window once, whether a mail server wrote it or not."""
    asked = source(node)
    asked._learn()
    assert asked._pages is not None
    pages = asked._pages.of({"bool": {"filter": []}}, start, end, few=False)
    met = [(hit["_index"], hit["_id"]) for hits in pages for hit in hits]
    asked.close()
    assert len(met) == len(set(met)) == bare_loop(node, start, end, PAGE)


def measure(node: nodes.Node, sample: Sample, lines: int) -> None:
    """All rows."""
    client = node.client()
    day = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(sample.time)), "time_range": "1h"}
    whole, hours = "trace of one mail by message ID in the whole index", "the same in a window of two hours"
    took = in_turn(
        {
            "terms": lambda: bare_terms(client, sample.queue_ids),
            "connected": lambda: connected(node, sample.queue_ids),
            whole: lambda: trace(node, message_id=sample.message_id),
            hours: lambda: trace(node, message_id=sample.message_id, **day),
        },
        lambda: client.indices.clear_cache(index=INDEX, params={"request": "true"}),
    )
    client.close()
    for which, at in (("the quickest", 0), ("the middle one", len(took["terms"]) // 2)):
        terms, connection = took["terms"][at], max(0.0, took["connected"][at] - took["terms"][at])
        row(f"{which} of many: one terms query of a mail's queue IDs", terms * 1000, "ms", terms * 1000)
        for name in (whole, hours):
            row(f"{which}: {name}, less a connection", (took[name][at] - connection) / terms, "× terms", 3)
    asked, waves = requests(node, message_id=sample.message_id)
    row(f"its requests besides one for each of {waves} waves", asked - waves, "requests", 7)
    start = generate.START + 1000
    end = start + WINDOW / generate.LINES_PER_SECOND
    bare_loop(node, start, end, PAGE)
    count = bare_loop(node, start, end, PAGE)
    complete(node, start, end)
    bare = count / best(lambda: bare_loop(node, start, end, PAGE), 3)
    row(f"a window of {count:,} lines by a bare search_after loop", bare, "docs/s", bare, most=False)
    ours = count / best(lambda: read(node, start, end), 3)
    row("the same to log entries", ours / bare, "× bare", 0.8, most=False)


def traced(node: nodes.Node, folder: Path, lines: int) -> None:
    """Continuous tracing of the whole index, and of nothing new: seconds of this process' CPU, not of the node's."""
    from feed import Memory, rounds_of

    place = folder / f"traced-{time.monotonic_ns()}"
    place.mkdir(parents=True)
    access = {"host": "127.0.0.1", "port": node.port, "index": INDEX}
    client = Memory()
    rounds = rounds_of(
        {"method": "opensearch", "opensearch_config": access, "clusters": {"all": list(HOSTS)}}, place, client
    )
    before = time.process_time()
    done = rounds.go()
    rounds.finish()
    rounds.scene.handover.send()
    spent = time.process_time() - before
    assert (done.failed, done.problems) == ("", {}), done
    row("every line of an index to spans that are handed over (one core)", lines / spent, "lines/s", 20_000, most=False)
    rounds.go()
    idle = []
    for _ in range(10):
        before = time.process_time()
        assert rounds.go().lines == 0
        idle.append(time.process_time() - before)
    row("CPU of a round without new lines, the worst of ten", max(idle) * 1000, "ms", 50)
    rounds.scene.state.close()


def main() -> None:
    """Start, fill, measure, stop."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.index", description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--version", choices=[each.name for each in nodes.VERSIONS], default=nodes.OLD.name)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    version = next(each for each in nodes.VERSIONS if each.name == options.version)
    with tempfile.TemporaryDirectory(prefix="mailtrace-bench-") as temporary:
        folder = options.folder or Path(temporary)
        node = nodes.Node(version, folder / f"node-{version.name}-{options.lines}").start()
        try:
            sample = filled(node, folder, options.lines)
            traced(node, folder, options.lines)
            measure(node, sample, options.lines)
        finally:
            node.stop()


if __name__ == "__main__":
    main()
