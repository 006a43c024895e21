"""Which logs a configuration names."""

from __future__ import annotations

from pathlib import Path

from mailtrace.hosts import Inventory
from mailtrace.model import HostLogs, LogQuery
from mailtrace.parsers import make_parser
from mailtrace.sources.catalog import Catalog, Log
from mailtrace.sources.division import Division


def catalog(base: Path, *logs: HostLogs) -> Catalog:
    return Catalog(
        logs,
        lambda path, name: Log(path, name.pattern, list(name.hosts), make_parser()),
        lambda hosts, nobody: Division(hosts, Inventory(), nobody),
        base,
    )


def named(made: Catalog, query: LogQuery) -> dict[str, list[str]]:
    return {path.name: log.hosts for log, path in made.chosen(query)}


def test_a_file_belongs_to_all_that_name_it_however_they_do(tmp_path: Path) -> None:
    (tmp_path / "mail.log").touch()
    (tmp_path / "link").symlink_to("mail.log")
    made = catalog(tmp_path, HostLogs("a", ("mail.log",)), HostLogs("b", ("mail.*",)), HostLogs("c", ("link",)))
    assert named(made, LogQuery()) == {"mail.log": ["a", "b", "c"]}


def test_siblings_belong_to_the_hosts_of_their_log(tmp_path: Path) -> None:
    for name in ("a.log", "a.log.1", "b.log", "b.log.1.gz"):
        (tmp_path / name).touch()
    made = catalog(tmp_path, HostLogs("a", ("a.log",)), HostLogs("b", ("b.log",)))
    assert named(made, LogQuery()) == {"a.log": ["a"], "b.log": ["b"]}
    assert named(made, LogQuery(start=0.0)) == {"a.log": ["a"], "a.log.1": ["a"], "b.log": ["b"], "b.log.1.gz": ["b"]}


def test_only_logs_that_may_answer_are_chosen(tmp_path: Path) -> None:
    for name in ("a.log", "shared.log", "any.log"):
        (tmp_path / name).touch()
    logs = (HostLogs("a", ("a.log",)), HostLogs("b", ("shared.log",)), HostLogs("c", ("shared.log",)))
    made = catalog(tmp_path, *logs)
    assert list(named(made, LogQuery(hosts=("a",)))) == ["a.log"]
    assert list(named(made, LogQuery(hosts=("c",)))) == ["shared.log"]
    assert list(named(made, LogQuery(hosts=("nobody",)))) == ["shared.log"]
    made = catalog(tmp_path, *logs, HostLogs("", ("any.log",)))
    assert list(named(made, LogQuery(hosts=("a",)))) == ["a.log", "any.log"]


def test_a_problem_is_told_once_for_each_host(tmp_path: Path) -> None:
    made = catalog(tmp_path, HostLogs("a", ("none",)), HostLogs("b", ("none",)))
    for _ in range(3):
        made.chosen(LogQuery())
    assert [(item.host, item.missing) for item in made.problems.values()] == [("a", True), ("b", True)]
