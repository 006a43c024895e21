"""The whole way from a file or a dict to a job, a config, or every problem."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mailtrace.errors import RequestError
from mailtrace.job import FilesSource, Job, OpenSearchSource, SshSource
from mailtrace.load import PRECEDENCE, find_config, lint, load_config, load_job, schema

FLEET: dict[str, Any] = {
    "method": "files",
    "files_config": {"hosts": {"mx1": {"log_files": ["/logs/mx1"]}, "mx2": {"log_files": ["/logs/mx2"]}}},
    "clusters": {"mx-cluster": ["mx1", "mx2"]},
}

EVERYTHING_WRONG = """\
kind: trac
nmae: x
config: nowhere.yaml
vars: {who: a@b, who: c}
find:
  start_host: mx1
  keywords: ["${woh}", 12345, yes]
  time: 25 o'clock
  time_range: 10
source:
  - sssh: {hosts: [a]}
  - ssh: {hosst: [a]}
walk: {max_hops: abc, max_age: 5 fortnights}
export:
  - timeline:
  - json: {entries: maybe}
  - dot: {to: "out/${up}.dot"}
  - otlp: {headers: {authorization: hunter2}}
expect:
  - delivered: al
  - within: soon
"""


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No config but the test's own, no password of the user's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in [name for name in os.environ if name.startswith("MAILTRACE_")]:
        monkeypatch.delenv(name)


def problems_of(job: Any, **options: Any) -> list[str]:
    """The problems of a job, without their excerpts."""
    with pytest.raises(RequestError) as caught:
        load_job(job, **options)
    return [problem.text for problem in caught.value.problems]


def written(tmp_path: Path, text: str, name: str = "job.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path.relative_to(tmp_path)


def logs(job: Job) -> dict[str, tuple[str, ...]]:
    """Host → log files of a job's sources."""
    return {log.host: log.log_files for s in job.source if isinstance(s, (FilesSource, SshSource)) for log in s.logs}


# ------------------------------------------------------------------------------------- all at once


def test_every_problem_is_reported_in_one_run(tmp_path: Path) -> None:
    said = problems_of(written(tmp_path, EVERYTHING_WRONG), variables=["up=../../x"])
    for line, words in [
        ("1:7", '"kind" must be one of trace, graph, tracing, not "trac"; did you mean "trace"?'),
        ("2:1", '"nmae" is not a key here; did you mean "name"?'),
        ("3:9", 'there is no config "nowhere.yaml"'),
        ("4:18", 'the key "who" is here twice'),
        ("7:14", 'there is no variable woh; did you mean "who"?'),
        ("8:9", '"25 o\'clock" is not a time'),
        ("9:15", 'has no unit: write "10s"'),
        ("11:5", 'there is no source "sssh"; did you mean "ssh"?'),
        ("12:11", '"hosst" is not a key of "ssh"; did you mean "hosts"?'),
        ("13:18", '"max_hops" must be a whole number, not the text "abc"'),
        ("13:32", '"5 fortnights" is not a duration'),
        ("16:21", '"entries" must be true or false'),
        ("17:15", "leaves out/"),
        ("18:37", "a secret does not belong into a job"),
        ("20:16", 'did you mean "all"?'),
        ("21:13", '"soon" is not a duration'),
    ]:
        assert [text for text in said if text.startswith(f"job.yaml:{line}: ") and words in text], words
    assert len(said) == 16


def test_a_syntax_error_does_not_hide_the_problems_before_it(tmp_path: Path) -> None:
    said = problems_of(written(tmp_path, "kind: trac\nconfig: nowhere.yaml\nfind:\n  keywords: [a\n  time: x\n"))
    assert any("job.yaml:1:7" in text for text in said)
    assert any("job.yaml:2:9" in text for text in said)
    assert any("YAML" in text for text in said)


def test_problems_of_the_job_and_of_its_config_come_together(tmp_path: Path) -> None:
    written(tmp_path, "method: sssh\n", "config.yaml")
    said = problems_of(written(tmp_path, "config: config.yaml\nkind: trac\n"))
    assert [text.partition(":")[0] for text in said] == ["config.yaml", "job.yaml"] or [
        text.partition(":")[0] for text in said
    ] == ["job.yaml", "config.yaml"]


def test_a_dicts_problems_name_their_path() -> None:
    said = problems_of({"config": FLEET, "source": [{"files": {"hosts": ["mx1", "mx3"]}}]})
    assert said == ['source[0].files.hosts[1]: there is no host or cluster "mx3" in the config; did you mean "mx2"?']


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "the file is empty"),
        ("- a\n- b\n", "this is a list"),
        ("just text", "this is a single value"),
        ("null", "this is empty"),
        ("a: 1\n" * 2_000_000, "the file is too large: 10 MB"),
        ("[" * 100_000, "deep"),
        ("a: \x00", "U+0000"),
    ],
    ids=["empty", "list", "text", "null", "large", "deep", "NUL"],
)
def test_a_hopeless_file_is_one_clear_problem(tmp_path: Path, text: str, message: str) -> None:
    said = problems_of(written(tmp_path, text))
    assert len(said) == 1
    assert message in said[0]


@pytest.mark.parametrize("thing", [[], None, 5])
def test_what_is_no_job_at_all_is_one_clear_problem(thing: Any) -> None:
    with pytest.raises(RequestError, match=f"a path or a mapping, not a {type(thing).__name__}"):
        load_job(thing)


def test_what_is_no_file_is_one_clear_problem(tmp_path: Path) -> None:
    assert problems_of("nowhere.yaml") == ["nowhere.yaml: cannot be read: no such file or directory"]
    assert problems_of(tmp_path) == [f"{tmp_path}: cannot be read: is a directory"]
    assert len(problems_of("a\0b")) == 1
    assert len(problems_of("x" * 999)) == 1


def test_an_endless_file_is_one_clear_problem() -> None:
    assert "too large" in problems_of("/dev/zero")[0]


# ------------------------------------------------------------------------------------- where it counts


def test_precedence_is_default_then_config_then_job_then_command_line(tmp_path: Path) -> None:
    assert sorted(PRECEDENCE, key=lambda origin: PRECEDENCE[origin]) == [
        "default",
        "config",
        "environment",
        "job",
        "command line",
    ]
    assert load_job({"config": FLEET}).on_unreachable == "fail"
    warn = {**FLEET, "on_unreachable": "warn", "tracing": {"hold_rounds": 7}}
    assert load_job({"config": warn}).on_unreachable == "warn"
    assert load_job({"config": warn, "on_unreachable": "fail"}).on_unreachable == "fail"
    assert load_job({"config": FLEET, "on_unreachable": "fail"}, sets=["on_unreachable=warn"]).on_unreachable == "warn"
    job = load_job({"kind": "tracing", "config": warn, "tracing": {"sleep_seconds": 5}})
    assert (job.tracing.sleep_seconds, job.tracing.hold_rounds, job.tracing.go_back_seconds) == (5, 7, 10)


def test_the_origin_of_every_value_is_known(tmp_path: Path) -> None:
    written(tmp_path, "method: files\nfiles_config: {hosts: {a: {log_files: x}}}\n", "fleet.yaml")
    path = written(tmp_path, "config: fleet.yaml\nname: n\nwalk:\n  max_age: 1d\n")
    origins = load_job(path, sets=["walk.max_hops=5"]).origins
    assert origins["walk.max_hops"] == "command line"
    assert origins["walk.max_age"] == "job.yaml:4"
    assert origins["kind"] == "default"
    assert origins["config.method"] == "fleet.yaml:1"


def test_the_command_line_reaches_into_the_config() -> None:
    job = load_job({"config": {**FLEET, "method": "files"}}, sets=["config.ssh_config.timeout=3", "config.domain=x.y"])
    assert job.config.ssh_config.timeout == 3
    assert job.config.domain == "x.y"


def test_the_config_of_the_command_line_leads_over_the_jobs(tmp_path: Path) -> None:
    written(tmp_path, "files_config: {hosts: {other: {log_files: x}}}\n", "other.yaml")
    assert load_job({"config": FLEET}, config="other.yaml").inventory.names == ("other",)


def test_a_config_is_found_in_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_config() is None
    home = tmp_path / "home" / ".config"
    home.mkdir(parents=True)
    (home / "mailtrace.yaml").write_text("{}")
    assert find_config() == home / "mailtrace.yaml"
    written(tmp_path, "{}", "config.yaml")
    assert find_config() == Path("config.yaml")
    monkeypatch.setenv("MAILTRACE_CONFIG", "elsewhere.yaml")
    assert find_config() == Path("elsewhere.yaml")


def test_without_a_config_a_job_says_how_to_name_one() -> None:
    assert problems_of({"find": {"keywords": ["x"]}}) == [
        "there is no config; name one with -c or config:, or write ./config.yaml"
    ]


def test_a_job_that_names_its_logs_needs_no_config() -> None:
    job = load_job({"source": [{"files": {"log_files": ["mail.log"]}}]})
    assert logs(job) == {"": (str(Path.cwd() / "mail.log"),)}
    assert job.inventory.open


def test_passwords_come_from_the_environment_and_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = {"ssh_config": {"password": "", "hosts": {"a": {"log_files": ["x"]}}}}
    monkeypatch.setenv("MAILTRACE_SSH_PASSWORD", "env$${x}")
    monkeypatch.setenv("MAILTRACE_SUDO_PASSWORD", "sudo")
    config = load_config(fleet, secrets={"ssh_config.sudo_pass": "typed ${x}"})
    assert config.ssh_config.password.reveal() == "env$${x}"
    assert config.ssh_config.sudo_pass.reveal() == "typed ${x}"
    assert "typed" not in repr(config)
    assert config.redactor.redact("typed ${x}") == "****"
    assert (
        load_job({"config": fleet}, secrets={"ssh_config.password": "typed"}).config.ssh_config.password.reveal()
        == "typed"
    )


def test_a_password_of_the_environment_leads_over_the_files_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, "ssh_config: {password: file, hosts: {a: {log_files: x}}}", "fleet.yaml")
    assert load_config(path).ssh_config.password.reveal() == "file"
    monkeypatch.setenv("MAILTRACE_SSH_PASSWORD", "environment")
    assert load_config(path).ssh_config.password.reveal() == "environment"
    fleet = {"ssh_config": {"password": "dict", "hosts": {"a": {"log_files": ["x"]}}}}
    assert load_config(fleet).ssh_config.password.reveal() == "dict"


# --------------------------------------------------------------------------------------------- secrets


@pytest.mark.parametrize(
    "value, refused",
    [
        ("hunter2", True),
        ('"x${env:PW}"', True),
        ('"${env:PW:-hunter2}"', True),
        ('"${pw}"', True),
        ("12345", True),
        ('"${env:PW}"', False),
        ('"${from_env}"', False),
        ('"${typed}"', False),
        ('""', False),
    ],
)
def test_a_secret_written_into_a_job_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, refused: bool
) -> None:
    monkeypatch.setenv("PW", "good")
    path = written(
        tmp_path,
        "vars: {pw: hunter2, from_env: '${env:PW}'}\nconfig:\n  method: ssh\n  ssh_config:\n"
        f"    hosts: {{a: {{log_files: x}}}}\n    password: {value}\n",
    )
    if refused:
        said = problems_of(path, variables=["typed=x"])
        assert said == ["job.yaml:6:15: a secret does not belong into a job; write ${env:MAILTRACE_SSH_PASSWORD}"]
        with pytest.raises(RequestError) as caught:
            load_job(path, variables=["typed=x"])
        assert "hunter2" not in str(caught.value)
        assert "12345" not in str(caught.value)
    else:
        load_job(path, variables=["typed=x"])


def test_a_config_and_a_dict_may_hold_a_secret(tmp_path: Path) -> None:
    fleet = {"ssh_config": {"password": "hunter2", "hosts": {"a": {"log_files": ["x"]}}}}
    assert load_job({"config": fleet}).config.ssh_config.password.reveal() == "hunter2"
    written(tmp_path, "ssh_config: {password: hunter2, hosts: {a: {log_files: x}}}", "fleet.yaml")
    job = load_job(written(tmp_path, "config: fleet.yaml"))
    assert [secret.reveal() for secret in job.secrets] == ["hunter2"]


def test_no_problem_shows_a_secret(tmp_path: Path) -> None:
    path = written(tmp_path, "method: sssh\nssh_config: {password: [hunter2], timeout: x}", "fleet.yaml")
    with pytest.raises(RequestError) as caught:
        load_config(path)
    assert "timeout" in str(caught.value)
    assert "hunter2" not in str(caught.value)


# ----------------------------------------------------------------------------------------------- paths


def test_input_paths_are_relative_to_their_file_and_output_paths_to_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    written(tmp_path, "files_config: {hosts: {a: {log_files: [logs/a, /b, -, journal]}}}", "jobs/fleet.yaml")
    path = written(tmp_path, "config: fleet.yaml\nexport: [{json: {to: out/x.json}}]", "jobs/job.yaml")
    job = load_job(path)
    assert logs(job) == {"a": (str(tmp_path / "jobs/logs/a"), "/b", "-", "journal")}
    assert job.export[0].to == str(tmp_path / "out/x.json")


@pytest.mark.parametrize(
    "to, value, allowed",
    [
        ("out/${who}.dot", "a", True),
        ("out/${who}.dot", "a/b", True),
        ("out/${who}.dot", "../x", False),
        ("out/${who}.dot", "a/../../x", False),
        ("out/m-${who}.dot", "/../../x", False),
        ("out/${who}", "..", False),
        ("out/${who}", ".", False),
        ("${who}.dot", "a", True),
        ("${who}.dot", "../a", False),
        ("${who}.dot", "/etc/a", False),
        ("../${who}.dot", "a", True),
        ("../${who}.dot", "../a", False),
        ("/tmp/${who}.dot", "a", True),
        ("/tmp/${who}.dot", "../etc/a", False),
        ("out/${who}/../../${who}", "a", False),
    ],
)
def test_a_variable_cannot_lead_out_of_the_folder_before_it(to: str, value: str, allowed: bool) -> None:
    job = {"config": FLEET, "export": [{"dot": {"to": to}}]}
    if allowed:
        assert Path(load_job(job, variables={"who": value}).export[0].to).is_absolute()
    else:
        assert "leaves" in problems_of(job, variables={"who": value})[0]


# ------------------------------------------------------------------------------------------------ lint


def test_lint_looks_at_jobs_and_configs_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "job.yaml").write_text("kind: trac\n")
    (tmp_path / "in" / "deep" / "config.yml").write_text("method: sssh\n")
    (tmp_path / "in" / "good.yaml").write_text("find: {start_host: somewhere}\n")
    (tmp_path / "in" / ".hidden.yaml").write_text("[")
    said = [problem.text for problem in lint([tmp_path / "in"])]
    assert len(said) == 2
    assert {text.partition(":")[0] for text in said} == {
        str(tmp_path / "in/job.yaml"),
        str(tmp_path / "in/deep/config.yml"),
    }


def test_lint_of_nothing_is_a_problem(tmp_path: Path) -> None:
    assert len(lint([tmp_path / "nowhere.yaml"])) == 1
    assert len(lint([tmp_path])) == 1
    assert lint([]) == []


def test_lint_checks_the_names_of_hosts_where_there_is_a_config(tmp_path: Path) -> None:
    written(tmp_path, "files_config: {hosts: {mx1: {log_files: x}}}", "config.yaml")
    path = written(tmp_path, "find: {start_host: mx2}")
    assert [p.message for p in lint([path])] == ['there is no host or cluster "mx2" in the config']


# -------------------------------------------------------------------------------------------- anything


def _words(rules: Any) -> list[str]:
    """Every key of a schema."""
    found: list[str] = []
    if isinstance(rules, dict):
        for name, below in rules.items():
            if name == "properties":
                found += below
            found += _words(below)
    return found


def _trees(names: list[str]) -> st.SearchStrategy[Any]:
    keys = st.sampled_from(names) | st.text(max_size=5)
    odd = st.sampled_from(
        ["${who}", "${", "..", "~x/y", "mx[1:3]", "mx[", "mx1", "mx-cluster", "10h", "now", "-", "%b %d", "", "\ud800"]
    )
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | odd | st.binary(max_size=3)
    return st.recursive(
        leaves,
        lambda below: st.lists(below, max_size=4) | st.dictionaries(keys, below, max_size=5),
        max_leaves=25,
    )


ALL_WORDS = _words(schema("job")) + _words(schema("config"))
SECTIONS = ["find", "source", "parse", "walk", "export", "expect", "tracing", "config", "vars"]


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(st.sampled_from(SECTIONS), _trees(ALL_WORDS), max_size=6) | _trees(ALL_WORDS))
def test_any_dict_is_a_job_or_problems(document: Any) -> None:
    try:
        load_job(document if isinstance(document, dict) else {"find": document})
    except RequestError as refused:
        error = refused
    else:
        return
    assert error.problems
    assert str(error)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(st.sampled_from(list(schema("config")["properties"])), _trees(ALL_WORDS), max_size=6))
def test_any_dict_is_a_config_or_problems(document: dict[str, Any]) -> None:
    try:
        config = load_config(document)
    except RequestError as refused:
        problems = refused.problems
    else:
        problems = ()
        for method in ("ssh", "files"):
            names = list(config.inventory.names)
            assert [config.logs_of(host, method).host for host in names] == names
    assert all(str(problem) for problem in problems)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=300) | _trees(ALL_WORDS).map(repr).map(lambda text: text.encode("utf-8", "replace")))
@example(b"config: {files_config: {hosts: {? [] : }}}")
def test_any_bytes_are_a_job_or_problems(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(data)
    with suppress(RequestError):
        load_job(path)
    assert isinstance(lint([path]), list)


def test_an_opensearch_config_without_hosts_means_every_host_of_the_index() -> None:
    job = load_job({"config": {"opensearch_config": {"host": "h", "index": "i"}}, "find": {"start_host": "anything"}})
    assert isinstance(job.source[0], OpenSearchSource)
    assert job.source[0].hosts == ()
    assert job.find.start_host == ("anything",)
