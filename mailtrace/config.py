"""What config.yaml means: the fleet, how its logs are reached and how they are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from mailtrace.hosts import HostFacts, Inventory, folded
from mailtrace.model import HostLogs
from mailtrace.otlp.endpoint import BackEnd
from mailtrace.secret import Redactor, Secret

DEFAULT_PARSER = "SyslogParser"
DEFAULT_TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
"""The form that is configured where nobody configured one; the parsers know it without being told."""


@dataclass(frozen=True, slots=True)
class HostConfig:
    """How the logs of a host are read; what a host does not set is inherited from `host_config`.

    `own_parser` tells that the host itself names its `log_parser`, which then leads over the job's `parse`.
    """

    log_files: tuple[str, ...] = ()
    log_parser: str = DEFAULT_PARSER
    time_format: str = DEFAULT_TIME_FORMAT
    time_zone: str = ""
    own_parser: bool = False


@dataclass(frozen=True, slots=True)
class FilesConfig:
    """`files_config`: logs in local files. Paths are absolute."""

    host_config: HostConfig = field(default_factory=HostConfig)
    hosts: Mapping[str, HostConfig] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SshConfig:
    """`ssh_config`: logs on the servers. Local paths are absolute, `log_files` are the remote side's."""

    username: str = ""
    password: Secret = field(default_factory=Secret)
    private_key: str = ""
    passphrase: Secret = field(default_factory=Secret)
    sudo_pass: Secret = field(default_factory=Secret)
    sudo: bool = True
    timeout: float = 10
    ssh_config_file: str = ""
    known_hosts: tuple[str, ...] = ()
    host_keys: str = "strict"
    transport: str = "paramiko"
    forks: int = 8
    host_config: HostConfig = field(default_factory=HostConfig)
    hosts: Mapping[str, HostConfig] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OpenSearchMapping:
    """The index's field for each thing mailtrace reads; `preset` fills those that are not set."""

    facility: str = "log.syslog.facility.name"
    hostname: str = "host.name"
    message: str = "message"
    timestamp: str = "@timestamp"
    service: str = "log.syslog.appname"


@dataclass(frozen=True, slots=True)
class OpenSearchConfig:
    """`opensearch_config`: logs in an index. Local paths are absolute."""

    host: str = ""
    port: int = 9200
    username: str = ""
    password: Secret = field(default_factory=Secret)
    hosts: tuple[str, ...] = ()  # several nodes: name or name:port
    api_key: Secret = field(default_factory=Secret)
    ca_certs: str = ""
    client_cert: str = ""
    client_key: str = ""
    aws_region: str = ""
    aws_service: str = "es"
    index: str = ""
    use_ssl: bool = False
    verify_certs: bool = False
    time_zone: str = "+00:00"
    own_zone: bool = False  # whether the config sets `time_zone`
    timeout: float = 10
    max_bytes_in_flight: int = 64 * 1024 * 1024
    preset: str = ""
    mapping: OpenSearchMapping = field(default_factory=OpenSearchMapping)


@dataclass(frozen=True, slots=True)
class Tracing(BackEnd):
    """`tracing`: how `mailtrace tracing` goes round, and where traces go that no job sends elsewhere.

    `state` and the PEM files are absolute paths, "" for none.
    """

    sleep_seconds: float = 60
    hold_rounds: int = 2
    go_back_seconds: float = 10
    state: str = ""


@dataclass(frozen=True)
class Config:
    """The fleet. `path` is the file it came from, None for a mapping; `configured` the sections it really has."""

    method: str = "ssh"
    log_level: str = "WARNING"
    ssh_config: SshConfig = field(default_factory=SshConfig)
    files_config: FilesConfig = field(default_factory=FilesConfig)
    opensearch_config: OpenSearchConfig = field(default_factory=OpenSearchConfig)
    clusters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    domain: str = ""
    hosts: Mapping[str, HostFacts] = field(default_factory=dict)
    tracing: Tracing = field(default_factory=Tracing)
    on_unreachable: str = "fail"
    auto_continue: bool = False
    path: Path | None = None
    configured: frozenset[str] = frozenset()
    origins: Mapping[str, str] = field(default_factory=dict)  # "ssh_config.username" → "config.yaml:3"

    @cached_property
    def inventory(self) -> Inventory:
        """The hosts of the method's section, of the clusters and of `hosts`."""
        return self.inventory_of(self.method)

    def inventory_of(self, *methods: str) -> Inventory:
        """The hosts of these methods' sections, of the clusters and of `hosts`; the first spelling of each counts."""
        first: dict[str, str] = {}
        named = [name for method in methods for name in self.section(method)]
        members = [name for cluster in self.clusters.values() for name in cluster]
        clusters = {name.casefold() for name in self.clusters}
        # A member that is a cluster's name is that cluster, unless a section or `hosts` has a host of that name.
        members = [name for name in members if name.casefold() not in clusters]
        for name in (*named, *members, *self.hosts):
            first.setdefault(self._bare(name), name)
        facts = {name: HostFacts(time_zone=self._section_zone(name, methods)) for name in first.values()}
        for name, said in self.hosts.items():
            host = first[self._bare(name)]
            facts[host] = replace(said, time_zone=said.time_zone or facts[host].time_zone)
        return Inventory(facts, self.clusters, self.domain, self._is_open(methods, facts))

    def section(self, method: str) -> Mapping[str, HostConfig]:
        """The hosts that the section of a method names."""
        if method == "ssh":
            return self.ssh_config.hosts
        return self.files_config.hosts if method == "files" else {}

    def host_config(self, method: str) -> HostConfig:
        """How the logs of a host are read that the section of a method does not name."""
        return (self.files_config if method == "files" else self.ssh_config).host_config

    def logs_of(self, host: str, method: str = "") -> HostLogs:
        """Where the logs of one host are and how they are read, by the section of `method` (default: the config's).

        A host that the section does not name has `host_config` as it stands. Parser and format that are not
        configured are "".
        """
        method = method or self.method
        said = self._sections.get(method, {}).get(self._bare(host)) or self.host_config(method)
        return HostLogs(
            host=host,
            log_files=said.log_files,
            log_parser="" if said.log_parser == DEFAULT_PARSER and not said.own_parser else said.log_parser,
            time_format="" if said.time_format == DEFAULT_TIME_FORMAT else said.time_format,
            time_zone=said.time_zone or self._zones.get(self._bare(host), ""),
        )

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Every secret that is set."""
        ssh, search = self.ssh_config, self.opensearch_config
        headers = self.tracing.headers.values()
        every = (ssh.password, ssh.passphrase, ssh.sudo_pass, search.password, search.api_key, *headers)
        return tuple(secret for secret in every if secret)

    @property
    def redactor(self) -> Redactor:
        """Takes this config's secrets out of any text."""
        return Redactor(self.secrets)

    @cached_property
    def _sections(self) -> dict[str, dict[str, HostConfig]]:
        """Method → host without domain → what its section says."""
        return {
            method: {self._bare(name): said for name, said in reversed(list(self.section(method).items()))}
            for method in ("ssh", "files")
        }

    @cached_property
    def _zones(self) -> dict[str, str]:
        """Host without domain → the zone that `hosts` gives it."""
        return {self._bare(name): facts.time_zone for name, facts in self.hosts.items()}

    def _bare(self, name: str) -> str:
        """A name without case and domain: N and N.domain are one host."""
        domain = folded(self.domain).lstrip(".")
        bare = folded(name)
        return bare[: -len(domain) - 1] if domain and bare.endswith("." + domain) else bare

    def _section_zone(self, name: str, methods: tuple[str, ...]) -> str:
        for method in methods:
            if method in {"ssh", "files"}:
                said = self.section(method).get(name, self.host_config(method))
                if said.time_zone:
                    return said.time_zone
        return ""

    def _is_open(self, methods: tuple[str, ...], hosts: Mapping[str, HostFacts]) -> bool:
        """Whether the logs may hold hosts that are not configured: an index without hosts, a file of several hosts."""
        if "opensearch" in methods and not hosts:
            return True
        if "files" not in methods:
            return False
        files = self.files_config
        shared = Counter(path for said in files.hosts.values() for path in set(said.log_files))
        return bool(self.loose_logs) or any(times > 1 for times in shared.values())

    @property
    def loose_logs(self) -> tuple[str, ...]:
        """Local logs that no host has: those of `host_config` where every host has its own, or where there is none."""
        files = self.files_config
        default = files.host_config.log_files
        named = {self._bare(name) for name in files.hosts}
        # A host that only a cluster or `hosts` names has the default logs.
        others = [name for cluster in self.clusters.values() for name in cluster] + [
            name for name, facts in self.hosts.items() if not facts.outside
        ]
        inherited = any(said.log_files == default for said in files.hosts.values()) or any(
            self._bare(name) not in named for name in others if name not in self.clusters
        )
        return () if inherited else default
