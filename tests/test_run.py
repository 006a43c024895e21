"""run_job: from a job to its report, its files and its exit code."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailtrace import notify, run_job
from mailtrace.errors import DataError, ExportError, Interrupted, RequestError
from mailtrace.load import load_job, schema
from mailtrace.model import Coverage, HostLogs, LogEntry, LogQuery
from mailtrace.run import Stop, check, gather, plan, steps
from mailtrace.sources import SOURCES

DEMO = Path(__file__).parents[1] / "jobs" / "demo"
WINDOW = {"time": "2026-11-23T01:04:24Z", "time_range": "3s"}


def demo(**sections: Any) -> dict[str, Any]:
    """A job over the demo's fleet."""
    find = {"sender": "wolf@world.lab.test", **WINDOW}
    return {"version": 1, "kind": "trace", "config": str(DEMO / "config.yaml"), "find": find, **sections}


NOTHING = {"keywords": ["there-is-no-such-text"]}


def test_a_mapping_exports_what_it_names_and_nothing_else(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    report = run_job(demo())
    assert report.mails
    assert report.exit_code == 0
    run_job(demo(export=[{"json": {"to": str(tmp_path / "a" / "x.json")}}]))
    assert json.loads((tmp_path / "a" / "x.json").read_text()) == report.to_dict()
    assert capfd.readouterr() == ("", "")


def test_minus_is_the_stream_that_was_handed_over(capfd: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    report = run_job(demo(export=[{"json": {}}]), stdout=stream)
    assert json.loads(stream.getvalue()) == report.to_dict()
    assert capfd.readouterr() == ("", "")


def test_a_job_file_a_mapping_and_a_loaded_job_are_run_alike() -> None:
    loaded = load_job(demo())
    assert run_job(loaded, stdout=io.StringIO()).to_dict()["mails"] == run_job(demo()).to_dict()["mails"]


def test_a_wrong_job_is_a_request_error_that_names_the_path() -> None:
    with pytest.raises(RequestError, match=r"find\.keyword"):
        run_job(demo(find={"keyword": "x"}))


def test_a_source_that_is_not_installed_is_a_request_error_that_names_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(SOURCES, "opensearch", raising=False)
    config = {"method": "opensearch", "opensearch_config": {"host": "h", "username": "u", "index": "i"}}
    with pytest.raises(RequestError, match=r"by opensearch.*reads files"):
        run_job({"version": 1, "kind": "trace", "config": config})


def test_an_exporter_that_is_not_there_is_a_request_error_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    from mailtrace import exporters

    monkeypatch.delitem(exporters.EXPORTERS, "svg")
    with pytest.raises(RequestError, match="svg"):
        run_job(demo(source=[{"files": {"log_files": ["/nope.log"]}}], export=[{"svg": {}}]))


@pytest.mark.parametrize(
    "sections, code",
    [
        ({}, 0),
        ({"find": NOTHING}, 1),
        ({"expect": [{"delivered": "none"}]}, 1),
        ({"expect": [{"found": True}]}, 0),
        ({"find": NOTHING, "expect": [{"found": False}]}, 0),
        ({"find": NOTHING, "expect": [{"count": 0}, {"bounced": "none"}]}, 0),
        ({"find": NOTHING, "expect": [{"bounced": "none"}]}, 1),
        ({"find": NOTHING, "expect": [{"found": False}, {"delivered": "all"}]}, 1),
        ({"expect": [{"found": False}]}, 1),
        ({"source": [{"files": {"log_files": ["/nope.log"]}}]}, 3),
        ({"source": [{"files": {"log_files": ["/nope.log"]}}], "on_unreachable": "warn"}, 1),
        ({"source": [{"files": {}}, {"files": {"log_files": ["/nope.log"]}}], "on_unreachable": "warn"}, 0),
        ({"export": [{"json": {"to": "/proc/nope/x"}}]}, 4),
        ({"export": [{"json": {"to": "/proc/nope/x"}}], "find": NOTHING}, 4),
        ({"export": [{"json": {"to": "/proc/nope/x"}}], "source": [{"files": {"log_files": ["/nope.log"]}}]}, 4),
    ],
)
def test_the_exit_code_is_the_first_that_applies(sections: dict[str, Any], code: int) -> None:
    assert run_job(demo(**sections)).exit_code == code


def test_an_export_that_fails_does_not_keep_the_others(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    report = run_job(demo(export=[{"json": {"to": str(folder)}}, {"json": {"to": str(tmp_path / "x.json")}}]))
    assert (tmp_path / "x.json").stat().st_size
    assert [warning.code for warning in report.warnings if warning.code == "export-failed"] == ["export-failed"]
    assert str(folder) in report.warnings[-1].message


def test_nothing_found_without_a_window_says_that_rotated_logs_were_not_read() -> None:
    text = "only the logs named were read; --since reaches rotated ones"
    assert [warning.message for warning in run_job(demo(find=NOTHING)).warnings] == [text]
    assert run_job(demo(find={**NOTHING, "since": "2026-11-01"})).warnings == []
    assert run_job(demo()).warnings == []


def test_exporters_run_also_when_data_is_missing(tmp_path: Path) -> None:
    source = [{"files": {}}, {"files": {"log_files": ["/nope.log"]}}]
    report = run_job(demo(source=source, export=[{"json": {"to": str(tmp_path / "x.json")}}]))
    assert report.exit_code == 3
    written = json.loads((tmp_path / "x.json").read_text())
    assert written["mails"]
    assert any("/nope.log" in item.get("problem", "") for item in written["coverage"])


# --------------------------------------------------------------------------------------------- writing


def test_a_file_is_replaced_whole_and_keeps_its_permissions(tmp_path: Path) -> None:
    target, link = tmp_path / "x.json", tmp_path / "link.json"
    target.write_text("before")
    target.chmod(0o600)
    link.symlink_to(target)
    run_job(demo(export=[{"json": {"to": str(link)}}]))
    assert link.is_symlink()
    assert json.loads(target.read_text())
    assert target.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.json", "x.json"]


def test_what_fails_half_way_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mailtrace.exporters.json import Json

    def half(_self: object, _report: object, stream: io.TextIOBase) -> None:
        stream.write("{")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Json, "export", half)
    (tmp_path / "x.json").write_text("before")
    report = run_job(demo(export=[{"json": {"to": str(tmp_path / "x.json")}}]))
    assert report.exit_code == 4
    assert "No space left" in report.warnings[-1].message
    assert (tmp_path / "x.json").read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_device_is_written_as_it_is() -> None:
    assert run_job(demo(export=[{"json": {"to": "/dev/null"}}])).exit_code == 0
    assert run_job(demo(export=[{"json": {"to": "/dev/full"}}])).exit_code == 4
    assert not Path("/dev/null").is_file()


@pytest.mark.needs("dot")
def test_a_picture_goes_to_the_bytes_of_a_stream() -> None:
    raw = io.BytesIO()
    run_job(demo(kind="graph", export=[{"png": {}}]), stdout=io.TextIOWrapper(raw))
    assert raw.getvalue().startswith(b"\x89PNG")
    report = run_job(demo(kind="graph", export=[{"png": {}}]), stdout=io.StringIO())
    assert report.exit_code == ExportError.exit_code


def test_a_reader_that_has_seen_enough_is_no_failure() -> None:
    code = (
        "import sys; from mailtrace import run_job; import json\n"
        "report = run_job(json.loads(sys.argv[1]))\n"
        "print(report.exit_code, file=sys.stderr)"
    )
    job = json.dumps(demo(export=[{"json": {}}]))
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", code, job], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "0\n")


# ---------------------------------------------------------------------------------------------- events


def test_the_events_of_a_run_are_those_of_the_schema() -> None:
    from jsonschema import Draft202012Validator

    heard: list[notify.Event] = []
    report = run_job(
        demo(expect=[{"delivered": "all"}], export=[{"json": {"to": "/proc/nope/x"}}]), listener=heard.append
    )
    validator = Draft202012Validator(schema("event"))
    for event in heard:
        validator.validate(event.to_dict())
    names = [event.to_dict()["event"] for event in heard if not isinstance(event, notify.Progress)]
    assert names[:2] == ["step_started", "step_finished"]
    assert names[-1] == "report_done"
    assert names.count("mail_found") == len(report.mails)
    assert names.count("expectation") == 1
    began = [event.step for event in heard if isinstance(event, notify.StepStarted)]
    assert began == ["walk", "export json"]
    ended = {event.step: event.ok for event in heard if isinstance(event, notify.StepFinished)}
    assert ended == {"walk": True, "export json": False}
    assert "warning" in names


def test_steps_have_the_names_of_the_plan() -> None:
    job = load_job(demo(export=[{"timeline": {}}, {"dot": {"to": "x.dot"}}]))
    assert steps(job) == ["source files", "walk", "export timeline", "export dot"]
    assert [line for line in plan(job) if not line.startswith(" ")] == steps(job)


def test_a_plan_and_a_check_say_which_logs_they_mean(tmp_path: Path) -> None:
    job = load_job(demo(source=[{"files": {"hosts": ["mx1"]}}, {"files": {"log_files": [str(tmp_path / "nope")]}}]))
    assert any("mx1" in line and "mx1.log" in line for line in plan(job))
    checked = {item.names[0]: item.missing for item in check(job)}
    assert checked == {str(DEMO / "mx1.log"): False, str(tmp_path / "nope"): True}


# --------------------------------------------------------------------------------- sources that fail


class Stubborn:
    """Someone else's source: gives some entries, then fails, or waits until somebody interrupts it."""

    def __init__(self, hosts: tuple[str, ...], make_parser: Any, fleet: object, **options: object) -> None:
        self.hosts = hosts
        self.parser = make_parser(HostLogs("mx1", ()))
        self.how = options["how"]

    def query(self, query: LogQuery) -> Iterator[LogEntry]:
        lines = [line for line in (DEMO / "mx1.log").read_bytes().splitlines(keepends=True) if b"A264B2B2943" in line]
        yield from self.parser.parse(b"".join(lines), 0, "mx1")
        if self.how == "fails":
            raise DataError("mx1: it went away; bring it back", "mx1")
        if self.how in ("interrupted", "terminated"):
            number = 2 if self.how == "interrupted" else 15
            STOP[0](number)

    def coverage(self) -> list[Coverage]:
        return []

    def samples(self) -> list[LogEntry]:
        return []

    def plan(self, query: LogQuery) -> list[str]:
        return []

    def check(self) -> list[Coverage]:
        raise DataError("mx1: it went away; bring it back", "mx1")

    def close(self) -> None:
        raise RuntimeError("cannot be closed")


STOP = [Stop()]


@pytest.fixture
def stubborn(monkeypatch: pytest.MonkeyPatch) -> None:
    from mailtrace import run, sources

    monkeypatch.setattr(
        run, "source_class", lambda word: Stubborn if word == "stubborn" else sources.source_class(word)
    )
    STOP[0] = Stop()


def with_stubborn(how: str) -> Any:
    from dataclasses import replace

    from mailtrace.job import OtherSource

    job = load_job(demo(find={"keywords": ["A264B2B2943"]}))
    return replace(job, source=(OtherSource("stubborn", (), {"how": how}),), export=())


def test_a_source_that_fails_costs_itself_only(stubborn: None) -> None:
    report = run_job(with_stubborn("fails"))
    assert report.mails
    assert report.exit_code == DataError.exit_code
    assert [(item.host, item.missing) for item in report.coverage if item.problem] == [("mx1", True)]
    assert [item.missing for item in check(with_stubborn("fails"))] == [True]


@pytest.mark.parametrize("how, code", [("interrupted", 130), ("terminated", 143)])
def test_what_came_before_an_interruption_is_reported(stubborn: None, how: str, code: int) -> None:
    report = run_job(with_stubborn(how), stop=STOP[0])
    assert report.partial
    assert report.mails
    assert report.exit_code == code
    assert Interrupted(code - 128).exit_code == code


def test_an_interruption_that_nobody_listens_for_is_the_caller_s(
    stubborn: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> Iterator[LogEntry]:
        raise KeyboardInterrupt

    monkeypatch.setattr(Stubborn, "query", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_job(with_stubborn("x"))


def test_the_second_signal_stops_at_once() -> None:
    stop = Stop()
    stop(15)
    assert stop.signal == 15
    with pytest.raises(KeyboardInterrupt):
        stop(2)
    assert stop.signal == 15


def test_entries_are_kept_where_somebody_wants_them() -> None:
    job = load_job(demo())
    assert all(hop.entries for mail in gather(job, keep_entries=True).mails for hop in mail.hops)
    assert not any(hop.entries for mail in gather(job).mails for hop in mail.hops)
