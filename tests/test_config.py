from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from mailtrace.config import (
    DEFAULT_PARSER,
    DEFAULT_TIME_FORMAT,
    Config,
    FilesConfig,
    HostConfig,
    OpenSearchConfig,
    OpenSearchMapping,
    SshConfig,
    Tracing,
)
from mailtrace.hosts import HostFacts
from mailtrace.load import lint, load_config, schema

ROOT = Path(__file__).parents[1]
RULES = schema("config")
INTERNAL = {"own_parser", "own_zone", "path", "configured", "origins"}
"""Fields that are no options: what the loader found out."""


def options(*path: str) -> dict[str, Any]:
    found = RULES
    for step in path:
        found = found[step]
    return dict(found["properties"])


@pytest.mark.parametrize(
    "kind, properties",
    [
        (Config, options()),
        (SshConfig, options("properties", "ssh_config")),
        (FilesConfig, options("properties", "files_config")),
        (OpenSearchConfig, options("properties", "opensearch_config")),
        (OpenSearchMapping, options("properties", "opensearch_config", "properties", "mapping")),
        (Tracing, options("properties", "tracing")),
        (HostFacts, options("properties", "hosts", "additionalProperties")),
        (HostConfig, options("$defs", "ssh_host")),
        (HostConfig, options("$defs", "files_host")),
    ],
)
def test_the_schema_and_the_dataclass_have_the_same_options_and_defaults(kind: Any, properties: dict[str, Any]) -> None:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    assert set(fields) - INTERNAL == set(properties)
    made = kind()
    for name, rules in properties.items():
        value = getattr(made, name)
        if isinstance(value, (str, int, float, bool)):
            assert value == rules["default"], name


def test_every_field_of_the_schemas_is_explained() -> None:
    for name in ("job", "config"):
        missing: list[str] = []
        _unexplained(schema(name), name, missing)
        assert missing == []


def _unexplained(rules: Any, path: str, missing: list[str]) -> None:
    if not isinstance(rules, dict):
        return
    for name, below in rules.get("properties", {}).items():
        wanted = ("title", "description", "default", "examples")
        missing += [f"{path}.{name}: {word}" for word in wanted if word not in below]
    for name, below in rules.items():
        for part, inner in below.items() if name in {"properties", "$defs"} else [(name, below)]:
            _unexplained(inner, f"{path}.{part}", missing)


@pytest.mark.parametrize("name", ["job", "config"])
def test_defaults_and_examples_satisfy_the_schema(name: str) -> None:
    from jsonschema import Draft202012Validator

    rules = schema(name)
    if name == "job":
        rules["properties"]["config"] = {}
    Draft202012Validator.check_schema(rules)
    wrong: list[str] = []
    _against_itself(rules, rules, wrong)
    assert wrong == []


def _against_itself(rules: Any, root: dict[str, Any], wrong: list[str]) -> None:
    from jsonschema import Draft202012Validator

    if isinstance(rules, list):
        for below in rules:
            _against_itself(below, root, wrong)
    if not isinstance(rules, dict):
        return
    if "title" in rules and isinstance(rules["title"], str):
        validator = Draft202012Validator({**rules, "$defs": root["$defs"]})
        values = [v for v in [*rules.get("examples", []), rules.get("default")] if v is not None and v != ""]
        one_key = rules.get("minProperties") == 1
        wrong += [f"{rules['title']}: {v!r}" for v in values if not validator.is_valid(v) and not (one_key and v == {})]
    for name, below in rules.items():
        if name not in {"examples", "default", "enum"}:
            _against_itself(below, root, wrong)


def test_the_sample_explains_every_key_once_and_has_no_problem() -> None:
    sample = ROOT / "config.yaml.sample"
    if not sample.exists():
        pytest.skip("no checkout")
    assert [str(problem) for problem in lint([sample])] == []
    text = sample.read_text()
    keys = re.findall(r"^ *([a-z_]+):", text, re.MULTILINE)
    known: list[str] = []
    for section in (RULES, *RULES["properties"].values()):
        known += section.get("properties", {})
    known += [*RULES["$defs"]["ssh_host"]["properties"], *options("properties", "hosts", "additionalProperties")]
    known += options("properties", "opensearch_config", "properties", "mapping")
    assert set(known) - set(keys) == set()
    assert load_config(sample).inventory.expand(["everything"])[0] == (
        "mx01.example.com",
        "mx02.example.com",
        "mail.example.com",
    )


# ------------------------------------------------------------------------------- the seed's examples

SEED_SSH = """\
method: ssh
ssh_config:
  username: username
  password: ""
  private_key: /path/to/private.key
  sudo_pass: ""
  sudo: true
  timeout: 10
  ssh_config_file: ~/.ssh/config
  host_config:
    log_files:
      - /var/log/mail.log
    # log_parser: SyslogParser  # Optional - auto-detects format by default
    time_format: "%Y-%m-%dT%H:%M:%S"
  hosts:
    another.mailserver.example.com:
      log_parser: Rfc3164Parser  # Force BSD syslog format if needed
      time_format: "%b %d %H:%M:%S"
"""
SEED_LOGHOST = """\
ssh_config:
  username: default_user
  private_key: ~/.ssh/id_rsa
  ssh_config_file: ~/.ssh/config
  sudo_pass: "mypassword"
  host_config:
    log_files:
      - /var/log/mail.log
    time_format: "%Y-%m-%dT%H:%M:%S"
  hosts:
    mx.example.com:
      log_files:
        - /var/log/mx/mail.log
    mailer.example.com:
      log_files:
        - /var/log/mailer/mail.log
      log_parser: Rfc3164Parser
      time_format: "%b %d %H:%M:%S"
"""
SEED_OPENSEARCH = """\
method: opensearch
clusters:
  mail-cluster:
    - smtp-relay-1.example.com
    - smtp-relay-2.example.com
    - mail-delivery.example.com
opensearch_config:
  host: "localhost"
  port: 9200
  username: "admin"
  password: ""
  index: "mailtrace-logs-*"
  use_ssl: true
  verify_certs: false
  time_zone: "+00:00"
  timeout: 10
  mapping:
    facility: "log.syslog.facility.name"
    hostname: "host.name"
    message: "message"
    timestamp: "@timestamp"
    service: "log.syslog.appname"
tracing:
  sleep_seconds: 60
  hold_rounds: 2
  go_back_seconds: 10
"""


def loaded(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return load_config(path)


def test_the_seeds_ssh_example_loads_unchanged(tmp_path: Path) -> None:
    config = loaded(tmp_path, SEED_SSH)
    assert config.ssh_config.username == "username"
    assert config.ssh_config.sudo is True
    other = config.ssh_config.hosts["another.mailserver.example.com"]
    assert other.log_files == ("/var/log/mail.log",)
    assert other.log_parser == "Rfc3164Parser"
    assert other.time_format == "%b %d %H:%M:%S"


def test_the_seeds_loghost_example_loads_unchanged(tmp_path: Path) -> None:
    config = loaded(tmp_path, SEED_LOGHOST)
    assert config.method == "ssh"
    assert config.ssh_config.private_key == str(Path("~/.ssh/id_rsa").expanduser())
    mx = config.logs_of("mx.example.com")
    assert (mx.log_files, mx.time_format, mx.log_parser) == (("/var/log/mx/mail.log",), "%Y-%m-%dT%H:%M:%S", "")
    assert config.logs_of("mailer.example.com").log_parser == "Rfc3164Parser"
    assert config.logs_of("unlisted.example.com").log_files == ("/var/log/mail.log",)


def test_the_seeds_opensearch_example_loads_unchanged(tmp_path: Path) -> None:
    config = loaded(tmp_path, SEED_OPENSEARCH)
    assert config.opensearch_config.mapping == OpenSearchMapping()
    assert config.opensearch_config.own_zone
    assert config.inventory.names[0] == "smtp-relay-1.example.com"
    assert len(config.inventory.clusters["mail-cluster"]) == 3
    assert config.tracing == Tracing(sleep_seconds=60, hold_rounds=2, go_back_seconds=10)


# ------------------------------------------------------------------------------------------- meaning


def test_hosts_inherit_every_key_that_they_do_not_set() -> None:
    section = {
        "host_config": {"log_files": ["/d"], "log_parser": "exim", "time_format": "%d", "time_zone": "UTC"},
        "hosts": {"a": {"log_files": ["/a"]}, "b": {"time_zone": "+02:00"}, "c": {}},
    }
    hosts = load_config({"ssh_config": section}).ssh_config.hosts
    assert hosts["a"] == HostConfig(("/a",), "exim", "%d", "UTC")
    assert hosts["b"] == HostConfig(("/d",), "exim", "%d", "+02:00")
    assert hosts["c"] == HostConfig(("/d",), "exim", "%d", "UTC")


def test_a_range_of_hosts_gives_each_its_settings_and_a_hosts_own_entry_leads() -> None:
    hosts = {"mx2": {"log_files": ["/own"]}, "mx[1:3]": {"log_files": ["/all"], "time_zone": "UTC"}}
    config = load_config({"ssh_config": {"hosts": hosts}})
    assert {name: said.log_files for name, said in config.ssh_config.hosts.items()} == {
        "mx1": ("/all",),
        "mx2": ("/own",),
        "mx3": ("/all",),
    }
    assert config.logs_of("mx2").time_zone == "UTC"


def test_a_host_and_its_name_with_the_domain_are_one_in_the_first_spelling() -> None:
    config = load_config(
        {
            "domain": "example.com",
            "ssh_config": {"hosts": {"mx1": {"log_files": ["/x"]}}},
            "clusters": {"mx": ["MX1.example.com", "mx2.example.com"]},
            "hosts": {"mx2": {"time_zone": "UTC"}},
        }
    )
    assert config.inventory.names == ("mx1", "mx2.example.com")
    assert config.inventory.zone("mx2.example.com") == "UTC"
    assert config.logs_of("mx1.example.com").log_files == ("/x",)
    assert config.logs_of("mx2.example.com").time_zone == "UTC"


def test_what_is_not_configured_is_empty_for_the_source() -> None:
    config = load_config({"ssh_config": {"hosts": {"a": {"log_files": "/x"}}}})
    assert config.ssh_config.hosts["a"] == HostConfig(("/x",), DEFAULT_PARSER, DEFAULT_TIME_FORMAT)
    assert dataclasses.astuple(config.logs_of("a")) == ("a", ("/x",), "", "", "")


@pytest.mark.parametrize(
    "sections, method",
    [
        (["opensearch_config"], "opensearch"),
        (["files_config"], "files"),
        (["files_config", "ssh_config"], "ssh"),
        ([], "ssh"),
    ],
)
def test_the_method_is_the_one_that_is_configured(sections: list[str], method: str) -> None:
    assert load_config({section: {} for section in sections}).method == method


def test_a_file_that_several_hosts_share_opens_the_inventory() -> None:
    own = {"a": {"log_files": ["/a"]}, "b": {"log_files": ["/b"]}}
    assert not load_config({"files_config": {"hosts": own}}).inventory.open
    shared = {"host_config": {"log_files": ["/all"]}, "hosts": {"a": {}, "b": {}}}
    assert load_config({"files_config": shared}).inventory.open


def test_logs_that_no_host_inherits_are_nobodys() -> None:
    loose = {"host_config": {"log_files": ["/all"]}, "hosts": {"a": {"log_files": ["/a"]}}}
    assert load_config({"files_config": loose}).loose_logs == ("/all",)
    assert load_config({"files_config": {**loose, "hosts": {"a": {}}}}).loose_logs == ()


def test_outside_hosts_are_known_but_not_the_fleets() -> None:
    config = load_config({"ssh_config": {"hosts": {"a": {"log_files": "x"}}}, "hosts": {"b": {"outside": True}}})
    assert [config.inventory.own(host) for host in ("a", "b", "c")] == [True, False, False]
    assert config.inventory.find("b") == "b"
