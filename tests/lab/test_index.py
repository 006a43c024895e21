"""The lab's logs out of an index are told as out of files."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import pytest
from opensearch_node.shapes import SHAPES, lines_of, put

from mailtrace.report import Report

from .conftest import Lab
from .test_fleet import judge, rows_of, trace

if TYPE_CHECKING:
    from opensearch_node import node as nodes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs("root", "ip", "unshare", "nsenter", "openssl", "ssh", "ssh-keygen", "mkfs.ext4", "gcc"),
]


@pytest.mark.parametrize("shape", ["ecs", "graylog"])
def test_every_copy_is_told_out_of_an_index(lab: Lab, whole: Report, node: nodes.Node, shape: str) -> None:
    hosts = json.loads((lab.out / "hosts.json").read_text())["hosts"]
    logs = {name: [str(lab.out / file) for file in host["log_files"]] for name, host in hosts.items()}
    year = datetime.fromtimestamp(max(mail.last for mail in whole.mails), timezone.utc).year
    make, properties = SHAPES[shape]
    client = node.client()
    put(client, f"lab-{shape}", (make(line) for line in lines_of(logs, hosts, year)), properties)
    client.close()
    access = {"host": "127.0.0.1", "port": node.port, "index": f"lab-{shape}", "preset": "auto"}
    report = trace({"method": "opensearch", "opensearch_config": access, "clusters": {"all": list(hosts)}})
    judge(report, lab.rows)
    assert rows_of(*report.mails) == rows_of(*whole.mails)
    assert [item.problem for item in report.coverage if item.missing] == []
