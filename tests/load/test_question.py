from __future__ import annotations

import os
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from mailtrace.errors import RequestError
from mailtrace.expect import Expect
from mailtrace.job import Export, FilesSource, Job, OpenSearchSource, Parse, SshSource, Walk
from mailtrace.load import load_job
from mailtrace.model import HostLogs
from mailtrace.secret import Secret

FLEET: dict[str, Any] = {
    "method": "files",
    "files_config": {
        "hosts": {
            "mx1": {"log_files": ["/logs/mx1"]},
            "mx2": {"log_files": ["/logs/mx2"], "log_parser": "exim"},
            "mail": {"log_files": ["/logs/mail"]},
        }
    },
    "clusters": {"mx": ["mx1", "mx2"]},
}


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("MAILTRACE_")]:
        monkeypatch.delenv(name)


def load(config: dict[str, Any] | None = None, limit: tuple[str, ...] = (), **job: Any) -> Job:
    return load_job({"config": config or FLEET, **job}, limit=limit)


def problems(config: dict[str, Any] | None = None, limit: tuple[str, ...] = (), **job: Any) -> list[str]:
    with pytest.raises(RequestError) as caught:
        load(config, limit, **job)
    return [problem.text for problem in caught.value.problems]


def utc(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=timezone.utc).timestamp()


def hosts(job: Job) -> list[str]:
    return [host for source in job.source for host in source.hosts]


# ------------------------------------------------------------------------------------------- windows


@pytest.mark.parametrize(
    "find, window",
    [
        ({}, (None, None)),
        ({"time": "2025-07-21 10:00"}, ("2025-07-21 09:00", "2025-07-21 11:00")),
        ({"time": "2025-07-21 10:00", "time_range": "10h"}, ("2025-07-21 00:00", "2025-07-21 20:00")),
        ({"since": "2025-07-21", "until": "2025-07-21 12:00"}, ("2025-07-21 00:00", "2025-07-21 12:00")),
        ({"until": "2025-07-21 12:00"}, (None, "2025-07-21 12:00")),
    ],
)
def test_the_window_is_time_and_range_or_since_and_until(
    find: dict[str, str], window: tuple[str | None, str | None]
) -> None:
    found = load(find={**find, "time_zone": "UTC"}).find
    assert (found.start, found.end) == tuple(each and utc(each) for each in window)


def test_since_alone_is_until_now() -> None:
    found = load(find={"since": "2h ago"}).find
    assert found.start is not None
    assert found.end is not None
    assert found.end - found.start == pytest.approx(7200)
    assert found.end == pytest.approx(time.time(), abs=60)


@pytest.mark.parametrize(
    "find, message",
    [
        ({"time_range": "1h"}, "find.time_range: time_range without time"),
        ({"time": "now", "since": "now"}, "find.time: time together with since or until"),
        ({"time": "now", "time_range": "0s"}, "find.time_range: time_range must be longer"),
        ({"since": "now", "until": "1h ago"}, "find.until: the window ends before it starts"),
        ({"since": "2999-01-01"}, "find.since: the window ends before it starts; since is in the future"),
    ],
)
def test_a_window_that_means_nothing_is_a_problem(find: dict[str, str], message: str) -> None:
    said = problems(find=find)
    assert len(said) == 1
    assert said[0].startswith(message)


def test_times_are_in_the_jobs_zone_else_in_the_indexs() -> None:
    search = {"opensearch_config": {"host": "h", "index": "i", "time_zone": "+05:00"}}
    assert load(search, find={"since": "2025-07-21 10:00"}).find.start == utc("2025-07-21 05:00")
    assert load(search, find={"since": "2025-07-21 10:00", "time_zone": "+01:00"}).find.start == utc("2025-07-21 09:00")
    assert load(find={}).find.zone == "local"


# -------------------------------------------------------------------------------------------- find


def test_ids_and_addresses_come_without_angle_brackets() -> None:
    found = load(find={"message_id": "<a@b>", "sender": "<>", "recipient": "<x@y>", "client": "[192.0.2.1]"}).find
    assert (found.message_id, found.sender, found.recipient, found.client) == ("a@b", "", "x@y", "192.0.2.1")


def test_no_sender_is_not_the_null_sender() -> None:
    assert load().find.sender is None
    assert load(find={"sender": ""}).find.sender == ""


def test_one_keyword_needs_no_list() -> None:
    assert load(find={"keywords": "a b", "any_of": ["c", "d"]}).find.keywords == ("a b",)


@pytest.mark.parametrize("find", [{"keywords": ["a\nb"]}, {"keywords": "a\0"}, {"subject": "a\rb"}])
def test_what_no_log_line_can_hold_is_a_problem(find: dict[str, Any]) -> None:
    assert "which no log line has" in problems(find=find)[0]


def test_an_empty_keyword_is_a_problem() -> None:
    assert problems(find={"keywords": [""]}) == ["find.keywords[0]: an item of this list must not be empty"]


def test_a_number_as_a_keyword_is_the_text_as_written(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("find: {keywords: [12345, 1.50, 3E45678901], queue_id: 123456}\nname: 2025\n")
    job = load_job(path, config=FLEET)
    assert job.find.keywords == ("12345", "1.50", "3E45678901")
    assert job.find.queue_id == "123456"
    assert job.name == "2025"


def test_a_variable_can_be_a_number_where_one_is_wanted() -> None:
    assert load(vars={"hops": 5}, walk={"max_hops": "${hops}"}).walk == Walk(5)
    assert problems(vars={"hops": "x"}, walk={"max_hops": "${hops}"}) == [
        'walk.max_hops: "max_hops" must be a whole number, not the text "x"'
    ]


# ------------------------------------------------------------------------------------------ sources


def test_without_a_source_the_method_and_all_its_hosts_are_read() -> None:
    job = load()
    assert isinstance(job.source[0], FilesSource)
    assert hosts(job) == ["mx1", "mx2", "mail"]


def test_a_source_reads_the_hosts_it_names() -> None:
    assert hosts(load(source=[{"files": {"hosts": ["mx"]}}])) == ["mx1", "mx2"]
    assert hosts(load(source=[{"files": {"hosts": "mail"}}])) == ["mail"]


def test_limit_narrows_every_source() -> None:
    assert hosts(load(limit=("mx",))) == ["mx1", "mx2"]
    assert hosts(load(limit=("mx2",), find={"start_host": "mx"})) == ["mx2"]
    assert load(limit=("mx2",), find={"start_host": "mx"}).find.start_host == ("mx2",)
    assert "no host is left" in problems(limit=("mail",), source=[{"files": {"hosts": "mx"}}])[0]
    assert problems(limit=("mial",)) == [
        '--limit: there is no host or cluster "mial" in the config; did you mean "mail"?'
    ]


def test_a_start_host_outside_the_scope_joins_it_with_a_warning() -> None:
    job = load(source=[{"files": {"hosts": ["mx"]}}], find={"start_host": "mail"})
    assert hosts(job) == ["mx1", "mx2", "mail"]
    assert [(warning.code, warning.host) for warning in job.warnings] == [("start-host-joins", "mail")]
    assert load(find={"start_host": "mail"}).warnings == ()


def test_logs_of_the_job_itself_may_be_of_hosts_that_the_config_does_not_know() -> None:
    job = load(source=[{"files": {"hosts": ["new"], "log_files": ["x.log"], "time_zone": "UTC"}}])
    assert job.source == (FilesSource((HostLogs("new", (str(Path.cwd() / "x.log"),), time_zone="UTC"),)),)
    assert job.inventory.find("new") == "new"
    assert not job.inventory.open


def test_logs_of_nobody_belong_to_whom_their_lines_name() -> None:
    job = load(source=[{"files": {"log_files": ["-"]}}], find={"start_host": "whoever"})
    assert job.source == (FilesSource((HostLogs("", ("-",)),)),)
    assert job.find.start_host == ("whoever",)


def test_host_configs_logs_are_read_beside_those_of_the_hosts() -> None:
    config = {"files_config": {"host_config": {"log_files": ["/all"]}, "hosts": {"a": {"log_files": ["/a"]}}}}
    assert [(log.host, log.log_files) for log in load(config).source[0].logs] == [("a", ("/a",)), ("", ("/all",))]  # type: ignore[union-attr]


def test_a_hosts_own_parser_leads_over_the_jobs_and_that_over_the_defaults() -> None:
    config = {**FLEET, "files_config": {**FLEET["files_config"], "host_config": {"log_parser": "rfc5424"}}}

    def parsers(job: Job) -> list[str]:
        return [log.log_parser for log in job.source[0].logs]  # type: ignore[union-attr]

    assert parsers(load(config)) == ["rfc5424", "exim", "rfc5424"]
    job = load(config, parse=[{"iso8601": {"time_format": "%Y"}}, {"auto": {}}])
    assert parsers(job) == ["", "exim", ""]
    assert job.parse == (Parse("iso8601", "%Y"), Parse("auto"))
    assert load().parse == (Parse("auto"),)


@pytest.mark.parametrize(
    "config, message",
    [
        ({}, "names no host"),
        ({"ssh_config": {"hosts": {"a": {}}}}, "no log_files for a"),
        ({"clusters": {"c": ["a"]}}, "names no log_files"),
        ({"opensearch_config": {"host": "h"}}, "needs index"),
        ({"opensearch_config": {"index": "i"}}, "needs host"),
        ({"opensearch_config": {"host": "http://x:9200", "index": "i"}}, "not a URL"),
        ({"method": "files"}, "names no host"),
    ],
)
def test_a_config_that_leaves_nothing_to_read_is_a_problem(config: dict[str, Any], message: str) -> None:
    said = problems({"log_level": "INFO", **config})
    assert len(said) == 1
    assert message in said[0]


def test_several_sources_may_be_of_several_methods() -> None:
    config = {
        **FLEET,
        "ssh_config": {"username": "u", "host_config": {"log_files": ["/l"]}},
        "opensearch_config": {"host": "h", "index": "i"},
    }
    sources = [{"files": {"hosts": "mx1"}}, {"ssh": {"hosts": "mx2"}}, {"opensearch": {"hosts": "mail", "index": "x"}}]
    job = load(config, source=sources)
    assert [type(source) for source in job.source] == [FilesSource, SshSource, OpenSearchSource]
    assert hosts(job) == ["mx1", "mx2", "mail"]
    assert isinstance(job.source[1], SshSource)
    assert job.source[1].access.username == "u"
    assert job.source[1].logs == (HostLogs("mx2", ("/l",)),)
    assert isinstance(job.source[2], OpenSearchSource)
    assert job.source[2].access.index == "x"


def test_an_outside_host_is_read_only_where_its_log_is_given() -> None:
    config = {
        "ssh_config": {"host_config": {"log_files": ["/l"]}, "hosts": {"a": {}, "b": {}}},
        "hosts": {"b": {"outside": True}, "c": {"outside": True}},
    }
    assert hosts(load(config)) == ["a", "b"]


def test_tracing_reads_the_index_where_there_is_one() -> None:
    config = {**FLEET, "opensearch_config": {"host": "h", "index": "i"}}
    job = load(config, kind="tracing")
    assert isinstance(job.source[0], OpenSearchSource)
    assert [warning.code for warning in job.warnings] == ["tracing-reads-opensearch"]
    assert isinstance(load(kind="tracing").source[0], FilesSource)


# ------------------------------------------------------------------------------------------- answer


def test_without_an_export_the_kind_says_what_is_shown() -> None:
    assert [export.name for export in load().export] == ["timeline"]
    assert load().export[0].options == {"all": False, "time_zone": "local", "color": "auto", "width": 0}
    assert load(kind="graph").export == (Export("dot", "-", {}),)
    assert load(kind="tracing").export[0].options["endpoint"] == ""


def test_where_traces_go_is_the_export_s_then_the_config_s() -> None:
    told = {"endpoint": "http://a:4317", "headers": {"x": "hunter2"}, "ca_file": "ca.pem", "addresses": "hash"}
    config = {**FLEET, "tracing": told}
    mine = load(config, export=[{"otlp": {"endpoint": "http://b:4317", "cert_file": "c.pem", "key_file": "k.pem"}}])
    options = mine.export[0].options
    assert (options["endpoint"], options["addresses"], options["timeout"]) == ("http://b:4317", "hash", 0)
    assert options["headers"] == {"x": Secret("hunter2")}
    assert (options["ca_file"], options["key_file"]) == (str(Path.cwd() / "ca.pem"), str(Path.cwd() / "k.pem"))
    assert mine.redactor.redact("hunter2") == "****"


@pytest.mark.parametrize("endpoint", ["localhost:4317", "ftp://a", "http://me:hunter2@a:4317"])
def test_an_endpoint_that_is_none_is_a_problem_that_keeps_its_password(endpoint: str) -> None:
    (problem,) = problems(export=[{"otlp": {"endpoint": endpoint}}])
    assert "endpoint" in problem
    assert "hunter2" not in problem


def test_headers_of_an_export_are_secrets() -> None:
    job = load(export=[{"otlp": {"headers": {"authorization": "hunter2"}}}])
    assert job.export[0].options["headers"] == {"authorization": Secret("hunter2")}
    assert job.redactor.redact("Bearer hunter2") == "Bearer ****"


@pytest.mark.parametrize(
    "job, message",
    [
        ({"kind": "tracing", "find": {"keywords": ["x"]}}, "a tracing job has no find"),
        ({"kind": "trace", "tracing": {"hold_rounds": 1}}, "a trace job has no tracing"),
        ({"kind": "tracing", "export": [{"json": {}}]}, "needs an otlp export"),
        ({"export": [{"json": {"to": "out/"}}]}, "is a folder"),
        ({"parse": [{"auto": {"time_format": "%Q"}}]}, "is not a time format"),
        ({"walk": {"max_age": "soon"}}, "is not a duration"),
        ({"walk": {"max_hops": 0}}, "must be at least 1, not 0"),
        ({"find": {"start_host": "mx["}}, "is not a range"),
        ({"find": {"start_host": "nowhere"}}, "there are: mx, mx1, mx2, mail"),
        ({"version": 2}, '"version" must be 1'),
        ({"expect": [{"via": "mx3"}]}, 'there is no host or cluster "mx3"'),
        ({"expect": [{"outcome": "deliverd"}]}, 'did you mean "delivered"?'),
        ({"expect": [{"hops": "few"}]}, "is not a number or a comparison"),
        ({"expect": [{"found": True, "count": 1}]}, "one key names the expectation"),
        ({"expect": [{}]}, "which expectation?"),
        ({"source": ["files"]}, 'write "files: {}"'),
        ({"source": [{"files": {"log_files": ["x"], "log_parser": "exmi"}}]}, 'did you mean "exim"?'),
    ],
)
def test_a_value_that_means_nothing_is_one_problem(job: dict[str, Any], message: str) -> None:
    said = problems(**job)
    assert len(said) == 1
    assert message in said[0]


def test_a_range_of_unknown_hosts_is_not_told_host_by_host() -> None:
    said = problems(find={"start_host": "web[1:9999]"})
    assert len(said) == 4
    assert said[3] == 'find.start_host: and 9996 more hosts of "web[1:9999]" are not in the config'


def test_expectations_are_read() -> None:
    job = load(
        expect=[{"delivered": "all"}, {"within": "1m"}, {"via": ["mx", "mail"]}, {"found": False}, {"count": ">= 2"}]
    )
    assert job.expect == (
        Expect("delivered", "all", "delivered: all", place="expect[0].delivered"),
        Expect("within", 60.0, "within: 1m", place="expect[1].within"),
        Expect("via", (("mx1", "mx2"), ("mail",)), "via: mx, mail", place="expect[2].via"),
        Expect("found", value=False, text="found: false", place="expect[3].found"),
        Expect("count", ">= 2", "count: >= 2", place="expect[4].count"),
    )


def test_a_free_comparison_is_one_expectation_for_each_path_of_the_report() -> None:
    job = load(expect=[{"every": {"mails.hops.client.ip": ["10.*", None], "mails.size": "< 9"}}])
    assert job.expect == (
        Expect("every", ("10.*", None), "every mails.hops.client.ip: 10.*, null", "mails.hops.client.ip",
               'expect[0].every."mails.hops.client.ip"'),
        Expect("every", "< 9", "every mails.size: < 9", "mails.size", 'expect[0].every."mails.size"'),
    )  # fmt: skip


@pytest.mark.parametrize(
    "path, said",
    [
        ("mails.recipient.outcome", 'mails has no "recipient"; did you mean "recipients"?'),
        ("mails.hops.client", '"mails.hops.client" is not a value but holds several; there are: name, ip, port'),
        ("mails.id.x", 'mails.id has no "x"'),
        ("hops", 'the report has no "hops"'),
    ],
)
def test_a_path_that_the_report_does_not_have_is_a_problem(path: str, said: str) -> None:
    assert [said in str(problem) for problem in problems(expect=[{"some": {path: 1}}])] == [True]
