"""The lab's logs, followed as they were written: every copy of its mail is told by one trace, in a real back end."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from feed import Memory, rounds_of, went
from opensearch_node.shapes import SHAPES, Line, lines_of
from same import called, exported, fleet, follow, followed, together
from traces import judge, of_json

from mailtrace.otlp.client import Client
from mailtrace.otlp.endpoint import Endpoint

from .conftest import SEED, Lab

if TYPE_CHECKING:
    from opensearch_node import node as nodes
    from otelcol.collector import Collector

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs("root", "ip", "unshare", "nsenter", "openssl", "ssh", "ssh-keygen", "mkfs.ext4", "gcc"),
]


def known(lab: Lab) -> dict[str, Any]:
    hosts: dict[str, Any] = json.loads((lab.out / "hosts.json").read_text())["hosts"]
    return hosts


def test_the_spans_are_the_export_s_in_however_many_rounds_the_lines_come(lab: Lab, tmp_path: Path) -> None:
    facts = known(lab)
    logs = together(lab.out, facts, tmp_path / "logs")
    wanted = sorted(exported(fleet(logs)))
    assert len(wanted) > 3000
    for rounds in (1, 150):
        assert sorted(followed(logs, facts, tmp_path / str(rounds), rounds)) == wanted


@pytest.mark.parametrize("late", ["", "core", "sp1"])
def test_every_copy_is_one_trace_in_a_real_back_end_whichever_host_comes_late(
    lab: Lab, tmp_path: Path, make_collector: Callable[..., Collector], late: str
) -> None:
    facts = known(lab)
    collector = make_collector()
    client = Client(Endpoint.of({"endpoint": collector.endpoint}, {}))
    follow(together(lab.out, facts, tmp_path / "logs"), facts, tmp_path / "late", 40, client, late)
    client.close()
    found = judge([of_json(*each) for each in collector.spans()], lab.rows)
    assert (found.wrong, found.twice, found.orphans) == ([], [], [])
    assert found.right == found.wanted > 200


def as_shipped(lines: list[Line], chance: random.Random) -> list[Line]:
    """Lines in the order in which an index gets them: each host's in batches, some of which come a minute late."""
    came: dict[tuple[str, float], float] = {}
    order: list[tuple[float, int, Line]] = []
    for line in sorted(lines, key=lambda line: line.time):
        batch = line.host, line.time.timestamp() // 2
        if batch not in came:
            late = chance.uniform(5, 60) if chance.random() < 0.05 else chance.expovariate(1 / 3)
            came[batch] = line.time.timestamp() + 2 + late
        order.append((came[batch], len(order), line))
    return [line for _time, _number, line in sorted(order)]


def test_every_copy_is_one_trace_out_of_an_index_that_gets_some_lines_late(
    lab: Lab, node: nodes.Node, tmp_path: Path
) -> None:
    facts = known(lab)
    logs = {name: [str(lab.out / file) for file in host["log_files"]] for name, host in facts.items()}
    lines = list(lines_of(logs, facts, datetime.now(timezone.utc).year))
    make, properties = SHAPES["ecs"]
    client, memory = node.client(), Memory()
    settings = {"number_of_shards": 2, "number_of_replicas": 0}
    client.indices.create(index="late", body={"settings": settings, "mappings": {"properties": properties}})
    access = {"host": "127.0.0.1", "port": node.port, "index": "late"}
    clusters = {"all": list(facts)}
    config = {"method": "opensearch", "opensearch_config": access, "clusters": clusters, "hosts": called(facts)}
    rounds = rounds_of(config, tmp_path, memory)
    documents = [make(line) for line in as_shipped(lines, random.Random(int(SEED)))]
    for at in range(0, len(documents), 300):
        bulk = [each for one in documents[at : at + 300] for each in ({"index": {"_index": "late"}}, one)]
        assert not client.bulk(body=bulk, refresh="true")["errors"]
        went(rounds.go())
    rounds.finish()
    rounds.scene.handover.send()
    client.close()
    found = judge(memory.got(), lab.rows)
    assert (found.twice, found.orphans) == ([], [])
    # gull's stamps tell the second; lines of two messages with one queue ID in it, out of order, cannot be told apart.
    assert [fault for fault in found.wrong if "gull" not in fault] == []
    assert len(found.wrong) <= 3
    assert found.right > 200
