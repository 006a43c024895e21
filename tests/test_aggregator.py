"""The library of the first mailtrace: its functions, word for word, over the demo's fleet."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mailtrace import (
    MailGraph,
    do_trace,
    load_config,
    query_logs_by_keywords,
    select_aggregator,
    trace_mail_flow,
    trace_mail_flow_to_file,
)
from mailtrace.aggregator import LocalFiles, OpenSearch, SSHHost
from mailtrace.errors import RequestError
from mailtrace.model import LogQuery

DEMO = Path(__file__).parents[1] / "jobs" / "demo"
SCRIPT = """
from mailtrace import (
    load_config,
    select_aggregator,
    trace_mail_flow_to_file,
    query_logs_by_keywords,
)

# Load configuration
config = load_config('config.yaml')

# Select the appropriate aggregator (SSHHost or OpenSearch)
aggregator_class = select_aggregator(config)

# Example 1: Trace mail flow and save to file
trace_mail_flow_to_file(
    config=config,
    aggregator_class=aggregator_class,
    start_host='mx1',
    keywords=['wolf@world.lab.test'],
    time='2026-11-23T01:04:25Z',
    time_range='10h',
    output_file='mail_trace.dot'  # Optional: omit or use None for stdout
)

# Example 2: Query logs by keywords only
logs_by_id = query_logs_by_keywords(
    config=config,
    aggregator_class=aggregator_class,
    start_host='mx1',
    keywords=['wolf@world.lab.test'],
    time='2026-11-23T01:04:25Z',
    time_range='10h'
)

# Process the results
for mail_id, (host, log_entries) in logs_by_id.items():
    print(f"Mail ID: {mail_id} (from {host})")
    for entry in log_entries:
        print(f"  {entry}")
"""
"""The manual's example, with a host and a time that are there."""
TYPED = """
from mailtrace import Report, do_trace, lint, load_job, run_job, trace_mail_flow, MailGraph, __version__
from mailtrace.errors import RequestError

graph = MailGraph()
graph.add_hop("mx1", "hub", "4bXyZ1")
trace_mail_flow("4bXyZ1", aggregator_class, config, "mx1", graph)
graph.to_dot()
queue_id, next_host = do_trace("4bXyZ1", aggregator_class("mx1", config))
report: Report = run_job({"version": 1, "kind": "trace"}, variables={"who": "x"})
codes: list[int] = [run_job(load_job("job.yaml")).exit_code, len(report.to_json()), len(__version__)]
problems: list[str] = [str(problem) for problem in lint(["jobs"])]
for mail in report.mails:
    hosts: list[str] = [hop.host for hop in mail.hops]
"""
WRONG = """
from mailtrace import run_job

report: int = run_job("job.yaml")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The demo's fleet in a folder of its own."""
    for file in DEMO.iterdir():
        (tmp_path / file.name).symlink_to(file)
    return tmp_path


def test_the_example_of_the_manual_runs_as_it_stands(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Mail ID: A264B2B2943 (from mx1)\n  LogEntry(host='mx1'" in done.stdout
    dot = (folder / "mail_trace.dot").read_text()
    assert dot.startswith("digraph {")
    assert '"mx1" -> "filter1"' in dot


def test_a_user_s_script_type_checks(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT + TYPED)
    (tmp_path / "wrong.py").write_text(WRONG)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file="]
    done = subprocess.run(
        [*command, "script.py", "wrong.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    (said,) = done.stdout.splitlines() or [done.stderr]
    assert said.startswith("wrong.py:4: error: Incompatible types in assignment")
    assert '"Report"' in said


def test_the_class_follows_the_config_s_method() -> None:
    def method(name: str) -> object:
        index = {"host": "h", "username": "u", "index": "i"}
        logs = {"hosts": {"a": {"log_files": ["/var/log/mail.log"]}}}
        ssh = {"username": "u", **logs}
        config = {"method": name, "ssh_config": ssh, "opensearch_config": index, "files_config": logs}
        return select_aggregator(load_config(config))

    assert [method(name) for name in ("ssh", "opensearch", "files")] == [SSHHost, OpenSearch, LocalFiles]


def test_an_aggregator_reads_its_own_host_s_lines() -> None:
    config = load_config(DEMO / "config.yaml")
    entries = LocalFiles("mx1", config).query_by(LogQuery(any_of=("A264B2B2943",)))
    assert entries
    assert {entry.host for entry in entries} == {"mx1"}
    assert all("A264B2B2943" in entry.raw for entry in entries)
    assert {entry.host for entry in LocalFiles("mx", config).query_by(LogQuery())} == {"mx1", "mx2"}


def test_an_aggregator_of_a_host_that_nobody_configured_is_refused() -> None:
    with pytest.raises(RequestError, match='no host or cluster "mx9"'):
        LocalFiles("mx9", load_config(DEMO / "config.yaml"))


def test_keywords_give_queue_ids_with_their_host_and_entries() -> None:
    config = load_config(DEMO / "config.yaml")
    found = query_logs_by_keywords(config, LocalFiles, "mx", ["WOLF@world", "albert"], "2026-11-23T01:04:25Z", "3s")
    assert set(found) >= {"A264B2B2943"}
    host, entries = found["A264B2B2943"]
    assert host == "mx1"
    assert [entry.time for entry in entries] == sorted(entry.time for entry in entries)
    assert {host for host, _ in found.values()} <= {"mx1", "mx2"}
    assert query_logs_by_keywords(config, LocalFiles, "mx", ["there-is-no-such-text"]) == {}


def test_a_mail_is_followed_into_a_graph() -> None:
    config = load_config(DEMO / "config.yaml")
    graph = MailGraph()
    trace_mail_flow("A264B2B2943", LocalFiles, config, "mx1", graph)
    text = str(graph)
    assert '"mx1" -> "filter1" [key=0, label="A264B2B2943"]' in text
    assert '"relay1" -> "mailbox2"' in text


def test_the_flow_goes_to_stdout_where_no_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    config = load_config(DEMO / "config.yaml")
    trace_mail_flow_to_file(config, LocalFiles, "mx1", ["A264B2B2943"])
    out, err = capsys.readouterr()
    assert out.startswith("digraph {")
    assert err == ""


def test_the_next_hop_is_what_one_host_s_lines_tell() -> None:
    config = load_config(DEMO / "config.yaml")
    assert do_trace("A264B2B2943", LocalFiles("mx1", config)) == ("A30122FC074", "filter1")
    assert do_trace("A30122FC074", LocalFiles("filter1", config)) == ("AD9412FC0B4", "filter1")
    assert do_trace("AED082FC0B4", LocalFiles("mailbox1", config)) == (None, None)
    assert do_trace("NOSUCHID", LocalFiles("mx1", config)) == (None, None)


def test_a_source_that_is_not_installed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from mailtrace import sources

    monkeypatch.delitem(sources.SOURCES, "opensearch", raising=False)
    config = load_config({"method": "opensearch", "opensearch_config": {"host": "h", "username": "u", "index": "i"}})
    with pytest.raises(RequestError, match="cannot be read by opensearch"):
        OpenSearch("", config).query_by(LogQuery())
