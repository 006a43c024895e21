"""A fleet of real mail hosts, and mailtrace tells what became of every copy of its mail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from truth import score

from mailtrace.run import run_job

ROOT = Path(__file__).parent.parent.parent
SEED = "5"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lab's logs and truth, made now: `OUT` of `python -m tests.lab run OUT`."""
    folder = tmp_path_factory.mktemp("lab")
    out = folder / "out"
    lab = [sys.executable, "-m", "tests.lab", "--folder", str(folder / "hosts")]
    try:
        subprocess.run([*lab, "run", str(out), "--seed", SEED, "--scale", "0.4"], cwd=ROOT, check=True, timeout=420)
    finally:
        subprocess.run([*lab, "down"], cwd=ROOT, check=False, timeout=120, capture_output=True)
    return out


def where_the_logs_are(out: Path) -> dict[str, Any]:
    """A configuration that tells nothing else: no names, addresses, zones or clocks."""
    hosts = json.loads((out / "hosts.json").read_text())["hosts"]
    logs = {host: {"log_files": [str(out / file) for file in facts["log_files"]]} for host, facts in hosts.items()}
    return {"method": "files", "files_config": {"hosts": logs}}


@pytest.mark.slow
@pytest.mark.needs("root", "ip", "unshare", "nsenter", "openssl", "ssh-keygen", "mkfs.ext4", "gcc")
def test_every_copy_of_a_real_fleet_s_mail_is_told(fleet: Path) -> None:
    rows = [json.loads(line) for line in (fleet / "truth.jsonl").read_text().splitlines()]
    report = run_job({"version": 1, "kind": "trace", "config": where_the_logs_are(fleet), "export": []})
    result = score(report.mails, rows)
    assert not result.mixed
    assert [(row["scenario"], row["final_recipient"], row["path"]) for row in result.missed] == []
    assert result.exact == result.wanted > 200
    assert len(result.unexplained) < 0.02 * result.reported
