"""What config.yaml means: the fleet, how its logs are reached and how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mailtrace.hosts import HostFacts, Inventory
from mailtrace.model import HostLogs
from mailtrace.secret import Redactor, Secret


@dataclass(frozen=True, slots=True)
class HostConfig:
    """How the logs of a host are read; what a host does not set is inherited from `host_config`.

    `own_parser` tells that the host itself names its `log_parser`, which then leads over the job's `parse`.
    """

    log_files: tuple[str, ...] = ()
    log_parser: str = "SyslogParser"
    time_format: str = "%Y-%m-%d %H:%M:%S"
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
    forks: int = 10
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
    """`opensearch_config`: logs in an index."""

    host: str = ""
    port: int = 9200
    username: str = ""
    password: Secret = field(default_factory=Secret)
    index: str = ""
    use_ssl: bool = False
    verify_certs: bool = False
    time_zone: str = "+00:00"
    own_zone: bool = False  # whether the config sets `time_zone`
    timeout: float = 10
    preset: str = ""
    mapping: OpenSearchMapping = field(default_factory=OpenSearchMapping)


@dataclass(frozen=True, slots=True)
class Tracing:
    """`tracing`: how `mailtrace tracing` goes round. `state` is a file's absolute path, "" for none."""

    sleep_seconds: float = 60
    hold_rounds: int = 2
    go_back_seconds: float = 10
    state: str = ""


@dataclass(frozen=True, slots=True)
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

    @property
    def inventory(self) -> Inventory:
        """The hosts of the method's section and of the clusters."""
        raise NotImplementedError

    def logs_of(self, host: str, method: str = "") -> HostLogs:
        """Where the logs of one host are and how they are read, by the section of `method` (default: the config's).

        A host that the section does not name has `host_config` as it stands.
        """
        raise NotImplementedError

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Every secret that is set."""
        ssh = self.ssh_config
        return tuple(s for s in (ssh.password, ssh.passphrase, ssh.sudo_pass, self.opensearch_config.password) if s)

    @property
    def redactor(self) -> Redactor:
        """Takes this config's secrets out of any text."""
        return Redactor(self.secrets)
