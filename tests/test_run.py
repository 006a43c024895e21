"""run_job: from a job to its report, its files and its exit code."""

from __future__ import annotations

import io
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kit import DEMO, demo

from mailtrace import notify, run_job
from mailtrace.errors import DataError, Interrupted, RequestError
from mailtrace.load import load_job, schema
from mailtrace.model import Coverage, HostLogs, LogEntry, LogQuery
from mailtrace.report import Report
from mailtrace.run import Stop, check, checked, gather, plan, steps
from mailtrace.sources import SOURCES

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
    assert names[:2] == ["step_started", "asked"]
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


def test_a_check_tells_from_when_to_when_a_log_goes_and_by_which_clock() -> None:
    item = Coverage("mx1", "ssh", ("/a", "/b"), first=0.0, last=60.0, clock="clock right, zone UTC")
    assert checked(item, "UTC") == (
        "ok (/a, /b); 1970-01-01 00:00:00 +0000 to 1970-01-01 00:01:00 +0000; clock right, zone UTC"
    )
    assert checked(Coverage("mx1", "ssh", ("/a",), problem="no such file", missing=True)) == "no such file"


def test_what_is_wrong_on_many_hosts_is_told_in_one_line() -> None:
    hosts = {f"mx{n}": {"log_files": ["/nope/mail.log"]} for n in range(5)}
    heard: list[notify.Event] = []
    config = {"method": "ssh", "ssh_config": {"ssh_config_file": "/nope/ssh_config", "hosts": hosts}}
    run_job({"version": 1, "kind": "trace", "config": config, "find": {"keywords": ["x"]}}, listener=heard.append)
    told = [event for event in heard if isinstance(event, notify.Warning) and event.code == "missing-data"]
    assert [event.message.partition(" ")[0] for event in told] == ["5"]
    assert told[0].message.endswith("(mx0, mx1, mx2 …)")


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


# ------------------------------------------------------------------------------------------- waiting

ARRIVES = """\
{t}:01Z mx1 postfix/smtpd[1]: 4bcXyz1Rqpz9vZ: client=c[192.0.2.1]
{t}:01Z mx1 postfix/cleanup[2]: 4bcXyz1Rqpz9vZ: message-id=<probe@ci>
{t}:01Z mx1 postfix/qmgr[3]: 4bcXyz1Rqpz9vZ: from=<ci@example.org>, size=9, nrcpt=1 (queue active)
"""
LEAVES = """\
{t}:02Z mx1 postfix/local[4]: 4bcXyz1Rqpz9vZ: to=<bob@example.com>, relay=local, delay=1, delays=1/0/0/0, dsn=2.0.0, \
status=sent (delivered to maildir)
{t}:02Z mx1 postfix/qmgr[3]: 4bcXyz1Rqpz9vZ: removed
"""


def probe(log: Path, wait: str, **sections: Any) -> dict[str, Any]:
    """A job that waits for a test mail."""
    config = {"method": "files", "files_config": {"hosts": {"mx1": {"log_files": [str(log)]}}}}
    find = {"message_id": "probe@ci", "since": "10m ago"}
    return {"version": 1, "kind": "trace", "config": config, "find": find, "wait": wait, **sections}


class Growing:
    """A log to which the next piece is added whenever the run waits."""

    def __init__(self, log: Path, *pieces: str) -> None:
        self.log, self.pieces = log, list(pieces)
        self.waited: list[notify.Waiting] = []
        self.log.write_text("")
        self.grow()

    def grow(self) -> None:
        if self.pieces:
            now = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(time.time() - 60))
            with self.log.open("a") as file:
                file.write(self.pieces.pop(0).format(t=now))

    def hear(self, event: notify.Event) -> None:
        if isinstance(event, notify.Waiting):
            self.waited.append(event)
            self.grow()


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailtrace.patience.FIRST_PAUSE", 0.01)


@pytest.mark.usefixtures("no_pause")
def test_a_job_that_waits_ends_when_every_fate_is_final(tmp_path: Path) -> None:
    log = Growing(tmp_path / "mail.log", "", ARRIVES, LEAVES)
    report = run_job(probe(log.log, "5m", expect=[{"delivered": "bob@example.com"}]), listener=log.hear)
    assert report.exit_code == 0
    assert [(event.mails, event.open) for event in log.waited] == [(0, 0), (1, 1)]
    assert [row.outcome for mail in report.mails for row in mail.recipients] == ["delivered"]


@pytest.mark.usefixtures("no_pause")
def test_a_mail_that_never_comes_is_not_found_when_the_time_is_over(tmp_path: Path) -> None:
    log = Growing(tmp_path / "mail.log", "")
    assert run_job(probe(log.log, "100ms"), listener=log.hear).exit_code == 1
    report = run_job(probe(log.log, "100ms", expect=[{"not_found": True}]), listener=log.hear)
    assert report.exit_code == 0


@pytest.mark.usefixtures("no_pause")
def test_what_is_still_open_when_the_time_is_over_is_said(tmp_path: Path) -> None:
    log = Growing(tmp_path / "mail.log", ARRIVES)
    report = run_job(probe(log.log, "100ms"), listener=log.hear)
    assert "wait-over" in [warning.code for warning in report.warnings]


def test_a_wait_that_is_interrupted_reports_what_was_found(tmp_path: Path) -> None:
    log, stop = Growing(tmp_path / "mail.log", ARRIVES), Stop()

    def hear(event: notify.Event) -> None:
        if isinstance(event, notify.Waiting):
            stop.signal = signal.SIGINT  # as a handler would have it, just before the pause

    report = run_job(probe(log.log, "5m"), listener=hear, stop=stop)
    assert (report.exit_code, report.partial, len(report.mails)) == (130, True, 1)


def test_a_window_that_ends_now_ends_when_the_waiting_does() -> None:
    waiting, asking = load_job(probe(Path("x"), "10m")), load_job(probe(Path("x"), ""))
    assert waiting.find.end is not None
    assert asking.find.end is not None
    assert waiting.find.end - asking.find.end == pytest.approx(600, abs=60)
    fixed = {"message_id": "x", "since": "2026-01-01T00:00Z", "until": "2026-01-02T00:00Z"}
    assert load_job({**probe(Path("x"), "10m"), "find": fixed}).find.end == 1767312000.0


def test_standard_input_cannot_be_waited_for() -> None:
    with pytest.raises(RequestError, match="standard input cannot be read again"):
        run_job(probe(Path("-"), "10m"))


# -------------------------------------------------------------------------------------------- many keys


def test_all_keys_of_a_file_are_followed_in_one_walk_and_told_apart(tmp_path: Path) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text(
        "anna@alpha.lab.test\nna@alpha.lab.test\n<cd89d0641fb9239974cb@mail.example.net>\n4jXnlg6dWbzRZ8x\n"
    )
    report = run_job(demo(find={"keys_from": str(keys)}))
    alone = {key: ids_of(run_job(demo(find={field: key}))) for field, key in (
        ("recipient", "anna@alpha.lab.test"), ("message_id", "cd89d0641fb9239974cb@mail.example.net"),
        ("queue_id", "4jXnlg6dWbzRZ8x"))}  # fmt: skip
    found = {key: set(mails) for key, mails in report.keys.items()}
    assert found["na@alpha.lab.test"] == set()
    for key, mails in alone.items():
        assert found[key] <= mails  # the bounces of a mail are found with it, but do not have the key
        assert found[key]
    assert ids_of(report) == set.union(*alone.values())
    assert report.to_dict()["keys"][1] == {"key": "na@alpha.lab.test", "mails": []}


def ids_of(report: Report) -> set[str]:
    return {mail.id for mail in report.mails}


def test_keys_narrow_what_else_is_asked_for(tmp_path: Path) -> None:
    keys = tmp_path / "keys.csv"
    keys.write_text("name,email\nAnna,anna@alpha.lab.test\nNo,nobody@nowhere.test\n")
    both = run_job(demo(find={"sender": "wolf@world.lab.test", "keys_from": str(keys), "keys_column": "email"}))
    assert len(both.mails) < len(run_job(demo(find={"sender": "wolf@world.lab.test"})).mails)
    assert all(mails for key, mails in both.keys.items() if key.startswith("anna"))


def test_keys_that_cannot_be_read_are_a_request_error_and_a_plan_reads_none(tmp_path: Path) -> None:
    find = {"keys_from": str(tmp_path / "nope")}
    with pytest.raises(RequestError, match="nope cannot be read"):
        run_job(demo(find=find))
    assert any("nope" in line for line in plan(load_job(demo(find=find))))


def test_a_thousand_texts_are_one_question(tmp_path: Path) -> None:
    words = [f"nobody{number}@nowhere.test" for number in range(1000)]
    assert ids_of(run_job(demo(find={"any_of": [*words, "4jXnlg6dWbzRZ8x"]}))) == ids_of(
        run_job(demo(find={"any_of": ["4jXnlg6dWbzRZ8x"]}))
    )


# -------------------------------------------------------------------------------------- a message in hand


def test_a_bounce_in_hand_finds_its_mail_and_marks_what_only_its_headers_tell() -> None:
    job = demo(find={"eml": str(DEMO / "bounce.eml")})
    report = run_job(job)
    assert report.exit_code == 0
    assert {row.outcome for mail in report.mails for row in mail.recipients} == {"delivered", "bounced"}
    returned, bounce = report.headers
    assert [hop.hop.rpartition(":")[2] for hop in returned.hops] == [
        "",
        "4jXnlV6MTQzRbF8",
        "DC1032FCB76",
        "E92FD2FCB74",
        "4jXnlV6qCmzRZ6n",
    ]
    assert all(hop.hop for hop in bounce.hops)
    told = report.to_dict()["headers"][0]["hops"][0]
    assert (told["host"], told["hop"], told["client"]["ip"]) == ("client.lab.test", None, "192.0.2.40")
    # the window is that of the headers
    assert report.start is not None
    assert report.start < 1795395861 < (report.end or 0)


def test_a_message_that_no_log_knows_is_not_found_and_its_headers_are_told_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "x.eml"
    path.write_text("Received: from a by b.example with ESMTP id 4bcXyz1Rqpz9vZ; Mon, 23 Nov 2026 01:04:22 +0000\n\n")
    report = run_job(demo(find={"eml": str(path)}))
    assert (report.exit_code, report.mails) == (1, [])
    assert [hop.host for hop in report.headers[0].hops] == ["b.example"]


def test_a_message_is_one_of_several_things_that_must_hold() -> None:
    find = {"eml": str(DEMO / "bounce.eml"), "recipient": "anna@alpha.lab.test"}
    assert run_job(demo(find=find)).mails
    assert not run_job(demo(find={**find, "recipient": "nobody@alpha.lab.test"})).mails
