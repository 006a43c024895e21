"""One lab for all tests of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from conftest import lack
from opensearch_node import node as nodes

from mailtrace.report import Report
from mailtrace.run import run_job

from .cells import Cells
from .ssh import OPERATOR, PASSWORD, READER

ROOT = Path(__file__).parent.parent.parent
SEED = "5"


@dataclass
class Lab:
    """Hosts that have had their traffic and still run."""

    cells: Cells
    out: Path
    rows: list[dict[str, Any]] = field(default_factory=list)

    def files(self) -> dict[str, Any]:
        """A configuration that tells where the copies of the logs are, and nothing else of the hosts."""
        hosts = json.loads((self.out / "hosts.json").read_text())["hosts"]
        logs = {
            name: {"log_files": [str(self.out / file) for file in host["log_files"]]} for name, host in hosts.items()
        }
        return {"method": "files", "files_config": {"hosts": logs}}

    def ssh(self, user: str = READER, transport: str = "paramiko") -> dict[str, Any]:
        """The same for the logs on the hosts; `operator` needs sudo, and sudo the password."""
        folder = self.cells.folder / "ssh"
        config: dict[str, Any] = json.loads((folder / "mailtrace.json").read_text())
        access = config["ssh_config"]
        access["transport"] = transport
        if user == OPERATOR:
            own = folder / "logs-of-operator"
            own.write_text((folder / "logs").read_text().replace(f"User {READER}", f"User {OPERATOR}"))
            access |= {"ssh_config_file": str(own), "sudo": True, "sudo_pass": PASSWORD}
        return config


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    command = [sys.executable, "-m", "tests.lab", "--folder", str(folder)]
    try:
        subprocess.run([*command, "up"], cwd=ROOT, check=True, timeout=300)
        traffic = ["traffic", str(folder / "out"), "--seed", SEED, "--scale", "0.4"]
        subprocess.run([*command, *traffic], cwd=ROOT, check=True, timeout=420)
        rows = [json.loads(line) for line in (folder / "out" / "truth.jsonl").read_text().splitlines()]
        yield Lab(Cells(folder / "run"), folder / "out", rows)
    finally:
        subprocess.run([*command, "down"], cwd=ROOT, check=False, timeout=120, capture_output=True)


@pytest.fixture(scope="package")
def whole(lab: Lab) -> Report:
    """All mail, from the files."""
    return run_job({"version": 1, "kind": "trace", "config": lab.files(), "find": {}, "export": []})


@pytest.fixture(scope="package")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[nodes.Node]:
    """An OpenSearch of the lab's own: pytest would part these tests by the versions of the whole session's."""
    if not nodes.NEW.fetched():
        lack(f"needs OpenSearch {nodes.NEW.name}: {nodes.HOW_TO_GET}")
    started = nodes.Node(nodes.NEW, tmp_path_factory.mktemp("opensearch")).start()
    yield started
    started.stop()
