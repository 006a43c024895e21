"""What was typed, in the words of a job."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from mailtrace import flags
from mailtrace.errors import RequestError
from mailtrace.request import as_sets, document, files_config, own_logs, settings, split_hosts

NOTHING: dict[str, Any] = {
    flag.key: [] if flag.many else None for group in flags.TRACE for flag in group.flags if flag.value
}


def typed(**given: Any) -> dict[str, Any]:
    return {**NOTHING, **given}


def test_every_flag_of_a_question_is_a_key_of_find() -> None:
    given = typed(**{flag.key: ["x"] if flag.many else "x" for flag in flags.ASK.flags})
    values = settings("trace", given, job=True)
    files = {name: str(Path.cwd() / "x") for name in ("find.keys_from", "find.eml")}
    assert values == {f"find.{flag.find}": ["x"] if flag.many else "x" for flag in flags.ASK.flags} | files


def test_the_null_sender_is_a_question_too() -> None:
    assert settings("trace", typed(sender=""), job=True) == {"find.sender": ""}


@pytest.mark.parametrize("name", ["message_id", "queue_id", "recipient", "subject", "client", "sasl_user"])
@pytest.mark.parametrize("value", ["", "<>", " "])
def test_an_empty_question_is_not_a_question_for_everything(name: str, value: str) -> None:
    with pytest.raises(RequestError, match="is empty"):
        settings("trace", {name: value}, job=False)


def test_a_command_line_without_an_export_has_its_command_s() -> None:
    assert settings("trace", typed(), job=False)["export"] == [{"timeline": {}}]
    assert settings("graph", typed(), job=False)["export"] == [{"dot": {"to": "-"}}]


def test_a_job_keeps_its_export_where_none_is_typed() -> None:
    assert "export" not in settings("trace", typed(), job=True)


def test_traces_are_sent_beside_what_is_shown() -> None:
    sent = {"otlp": {"endpoint": "http://a:4317"}}
    assert settings("trace", typed(otel_endpoint="http://a:4317"), job=False)["export"] == [{"timeline": {}}, sent]
    only = typed(otel_endpoint="http://a:4317", format="otlp")
    assert settings("trace", only, job=False)["export"] == [sent]
    assert settings("trace", typed(format="otlp"), job=False)["export"] == [{"otlp": {}}]


def test_traces_are_no_file() -> None:
    with pytest.raises(RequestError, match="not written but sent; name the back end with --otel-endpoint"):
        settings("trace", typed(format="otlp", output="x.bin"), job=False)


@pytest.mark.parametrize(
    "name, word",
    [("a.dot", "dot"), ("a.gv", "dot"), ("A.SVG", "svg"), ("a.png", "png"), ("a.b.json", "json"), ("a.html", "html"),
     ("a.txt", "timeline")],
)  # fmt: skip
def test_the_ending_says_what_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, word: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings("trace", typed(output=name), job=False)["export"] == [{word: {"to": str(tmp_path / name)}}]


def test_the_format_leads_over_the_ending() -> None:
    assert settings("trace", typed(output="/x/a.dot", format="json"), job=True)["export"] == [
        {"json": {"to": "/x/a.dot"}}
    ]
    assert settings("graph", typed(output="-"), job=True)["export"] == [{"dot": {"to": "-"}}]
    assert settings("trace", typed(format="json"), job=True)["export"] == [{"json": {"to": "-"}}]


def test_the_job_of_a_command_line_has_the_sections_of_a_job_file() -> None:
    values = settings("trace", typed(key=["a", "b"], since="2h ago"), job=False)
    assert document("trace", values, "/etc/mailtrace.yaml") == {
        "version": 1,
        "kind": "trace",
        "config": "/etc/mailtrace.yaml",
        "find": {"keywords": ["a", "b"], "since": "2h ago"},
        "export": [{"timeline": {}}],
    }


def test_values_are_set_as_json() -> None:
    assert as_sets({"find.keywords": ['a"b'], "find.sender": ""}) == ['find.keywords=["a\\"b"]', 'find.sender=""']


# -------------------------------------------------------------------------------------------- whose logs


def test_a_log_is_of_the_host_before_its_equals_sign(tmp_path: Path) -> None:
    config = files_config([f"mx1={tmp_path}/a", f"mx1={tmp_path}/b", f"{tmp_path}/c", "-"])
    assert config == {
        "method": "files",
        "files_config": {
            "host_config": {"log_files": [f"{tmp_path}/c", "-"]},
            "hosts": {"mx1": {"log_files": [f"{tmp_path}/a", f"{tmp_path}/b"]}},
        },
    }


def test_a_file_with_an_equals_sign_in_its_name_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b.log").touch()
    assert files_config(["a=b.log"])["files_config"] == {"host_config": {"log_files": [str(tmp_path / "a=b.log")]}}
    assert files_config(["/x/y=z.log"])["files_config"] == {"host_config": {"log_files": ["/x/y=z.log"]}}


@pytest.mark.parametrize("name", ["mainlog", "mainlog.1", "mainlog.2.gz", "main.log", "exim_mainlog"])
def test_an_exim_log_is_of_its_folder_s_host_for_its_lines_name_none(tmp_path: Path, name: str) -> None:
    hosts = files_config([f"/srv/logs/exim1/{name}", f"/var/log/exim4/{name}"])["files_config"]["hosts"]
    assert hosts == {
        "exim1": {"log_files": [f"/srv/logs/exim1/{name}"]},
        socket.gethostname(): {"log_files": [f"/var/log/exim4/{name}"]},
    }


def test_a_log_without_a_path_is_refused() -> None:
    with pytest.raises(RequestError, match="no path"):
        files_config(["mx1="])


@pytest.mark.parametrize(
    "there, read",
    [
        (["mail.log", "syslog"], ["mail.log"]),
        (["maillog", "messages"], ["maillog"]),
        (["mail.log", "exim4/mainlog"], ["mail.log", "exim4/mainlog"]),
        (["messages"], ["messages"]),
        (["exim/main.log"], ["exim/main.log"]),
        (["exim/mainlog", "maillog"], ["maillog", "exim/mainlog"]),
        ([], []),
    ],
)
def test_a_server_s_own_logs_are_where_its_system_has_them(tmp_path: Path, there: list[str], read: list[str]) -> None:
    for name in there:
        file = tmp_path / "var" / "log" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert own_logs(str(tmp_path)) == [str(tmp_path / "var" / "log" / name) for name in read]


def test_a_system_that_logs_to_the_journal_only_is_read_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run/systemd/journal").mkdir(parents=True)
    (tmp_path / "journalctl").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert own_logs(str(tmp_path)) == ["journal"]


def test_hosts_are_parted_by_commas() -> None:
    assert split_hosts(["mx1,mx2", "hub"]) == ["mx1", "mx2", "hub"]
