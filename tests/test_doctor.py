"""`mailtrace doctor`: what is wrong is told in a line, with its cure and its exit code."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest

from mailtrace import doctor
from mailtrace.doctor import Finding, findings
from mailtrace.load import load_job
from mailtrace.model import ClockNote, Coverage
from mailtrace.versions import Part

PROGRAM = Path(sys.executable).parent / "mailtrace"


def line(ago: float, queue_id: str = "4bcXyz1Rqpz9vZ", host: str = "mx1") -> str:
    """A line of so many seconds ago."""
    stamp = datetime.fromtimestamp(time.time() - ago, timezone.utc).isoformat(timespec="seconds")
    return f"{stamp} {host} postfix/qmgr[9]: {queue_id}: removed\n"


def examine(folder: Path, *arguments: str, config: str = "") -> tuple[int, list[str]]:
    if config:
        (folder / "config.yaml").write_text(config)
    command = [str(PROGRAM), "doctor", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


FILES = """\
method: files
files_config: {hosts: {mx1: {log_files: [mx1.log]}, mx2: {log_files: [mx2.log]}}}
clusters: {mx: [mx1, mx2]}
"""


def test_where_all_is_well_every_line_says_so(tmp_path: Path) -> None:
    for host in ("mx1", "mx2"):
        (tmp_path / f"{host}.log").write_text(line(7300, host=host) + line(330, host=host))
    code, lines = examine(tmp_path, config=FILES)
    assert code == 0
    assert [said for said in lines if not said.startswith(("ok ", "warn  Graphviz", "warn  op"))] == []
    told = "\n".join(lines)
    assert "config: config.yaml: method files" in told
    assert "names: 2 hosts, 1 cluster" in told
    assert "access mx1: ok (" in told
    assert "last day mx2: begins 2 h ago, last line 6 min ago" in told


def test_a_log_that_is_missing_is_exit_code_3(tmp_path: Path) -> None:
    (tmp_path / "mx1.log").write_text(line(60))
    code, lines = examine(tmp_path, config=FILES)
    assert code == 3
    assert any(said.startswith("fail  access mx2: ") and "no such file" in said for said in lines)
    assert any(said.startswith("ok    last day mx1: ") for said in lines)


def test_a_log_that_has_gone_silent_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "mx1.log").write_text(line(5 * 86400))
    (tmp_path / "mx2.log").write_text("")
    os.utime(tmp_path / "mx1.log", (time.time() - 5 * 86400,) * 2)
    code, lines = examine(tmp_path, config=FILES)
    assert code == 0
    silent = [said for said in lines if said.startswith("warn  last day mx")]
    assert len(silent) == 2
    assert all("is this the log that the server writes?" in said for said in silent)


def test_every_problem_of_the_config_is_a_line_and_exit_code_2(tmp_path: Path) -> None:
    code, lines = examine(tmp_path, config="methd: files\nlog_level: LOUD\n")
    assert code == 2
    assert 'fail  config: config.yaml:1:1: "methd" is not a key here; did you mean "method"?' in lines
    assert any(said.startswith("fail  config: config.yaml:2:12: ") for said in lines)


def test_without_config_and_logs_the_cure_is_told(tmp_path: Path) -> None:
    code, lines = examine(tmp_path, "-c", "nope.yaml")
    assert code == 2
    assert any(said.startswith("fail  config: ") and "nope.yaml" in said for said in lines)


def test_logs_can_be_named_without_a_config(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(line(30))
    code, lines = examine(tmp_path, "--log", "mx1=a.log")
    assert code == 0
    assert any(said.startswith("ok    last day mx1: ") for said in lines)


def test_a_host_that_cannot_be_reached_is_told_with_its_cure(tmp_path: Path) -> None:
    code, lines = examine(
        tmp_path, config="ssh_config: {username: nobody, timeout: 3, hosts: {'127.0.0.1:1': {log_files: [mail.log]}}}\n"
    )
    assert code == 3
    assert any(said.startswith("fail  access ") for said in lines)


def test_a_password_is_in_no_line(tmp_path: Path) -> None:
    config = "opensearch_config: {host: 127.0.0.1, port: 1, index: x, username: u, password: hunter2hunter2}\n"
    code, lines = examine(tmp_path, config=config)
    assert code == 3
    assert "hunter2" not in "\n".join(lines)


@pytest.mark.parametrize(
    "clock, level, said",
    [
        (ClockNote("a", None, "", 0.0, "ids"), "ok", "carry their zone"),
        (ClockNote("a", 7200.0, "ids", 0.0, "ids"), "ok", "+2 h from UTC, proved by ids"),
        (
            ClockNote("a", 0.0, "", 0.0, "assumed"),
            "warn",
            "nothing in the log proves; if that is wrong: hosts: {a: ",
        ),
        (ClockNote("a", None, "", 95.2, "ids"), "warn", "95 s ahead of the others"),
        (ClockNote("a", None, "", -7.0, "ids"), "warn", "7 s behind the others"),
    ],
)
def test_clocks_are_told(clock: ClockNote, level: str, said: str) -> None:
    line = str(doctor._clock(clock))
    assert line.startswith(f"{level:<5} clock a: ")
    assert said in line.replace("behind of", "behind")


def test_a_log_with_a_problem_is_a_warning() -> None:
    item = Coverage("mx1", "files", first=0.0, last=1000.0, problem="is cut")
    assert str(doctor._covered(item, 1060.0)) == "warn  last day mx1: is cut"


def test_a_library_that_is_missing_is_told_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "libraries", lambda: [Part("opensearch-py", "", "opensearch"), Part("rich", "")])
    monkeypatch.setattr(doctor, "graphviz", lambda: Part("Graphviz", ""))
    told = [str(found) for found in doctor._parts()]
    assert (
        "warn  opensearch-py: not installed: reading an index needs it; pip install -e '.[opensearch]' in the checkout"
        in told
    )
    assert "warn  rich: not installed: mailtrace needs it; install mailtrace again" in told
    assert "warn  Graphviz: not installed: pictures (.svg, .png) need it; apt-get install graphviz" in told


def test_no_export_and_no_expectation_of_the_job_is_run(tmp_path: Path) -> None:
    (tmp_path / "mx1.log").write_text(line(60))
    job = load_job(
        {
            "config": {
                "method": "files",
                "files_config": {"hosts": {"mx1": {"log_files": [str(tmp_path / "mx1.log")]}}},
            },
            "export": [{"json": {"to": str(tmp_path / "out.json")}}],
            "expect": [{"count": 5}],
        }
    )
    assert all(isinstance(found, Finding) and found.code in (0, None) for found in findings(lambda: job))
    assert not (tmp_path / "out.json").exists()
