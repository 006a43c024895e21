"""The lab's logs, followed as they were written: every copy of its mail is told by one trace, in a real back end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from same import exported, fleet, follow, followed, together
from traces import judge, of_json

from mailtrace.otlp.client import Client
from mailtrace.otlp.endpoint import Endpoint

from .conftest import Lab

if TYPE_CHECKING:
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
