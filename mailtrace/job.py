"""What a job means: the question, where the lines come from, how they are read, what is done with the answer.

Everything is resolved here: hosts are the inventory's, times UTC, paths absolute, defaults filled in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mailtrace.config import Config, OpenSearchConfig, SshConfig, Tracing
from mailtrace.expect import Expect
from mailtrace.hosts import Inventory
from mailtrace.model import HostLogs, Letter, Warning_
from mailtrace.secret import Redactor, Secret

Option = str | int | float | bool | tuple[str, ...] | Mapping[str, Secret] | None


@dataclass(frozen=True, slots=True)
class Find:
    """The question: which mails. Empty means every mail of the window.

    `start_host` are inventory hosts (clusters expanded), () for every host in scope. `start`/`end` are UTC seconds,
    None for an open end; `zone` is what times without a zone were read in ("local" for the machine's).
    IDs and addresses come without <>.
    """

    start_host: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    any_of: tuple[str, ...] = ()
    keys_from: str = ""  # a file of keys, absolute, or "-"; read when the job runs
    keys_column: str = ""
    keys: tuple[str, ...] = ()  # what that file holds
    eml: str = ""  # a message in hand, absolute, or "-"; read when the job runs
    letter: Letter | None = None  # what it tells
    message_id: str = ""
    sender: str | None = None  # "" is the null sender of bounces
    recipient: str = ""
    queue_id: str = ""
    subject: str = ""
    client: str = ""
    sasl_user: str = ""
    start: float | None = None
    end: float | None = None
    zone: str = "local"


@dataclass(frozen=True, slots=True)
class FilesSource:
    """`files`: local logs. `logs` with host "" belong to whom their lines name."""

    logs: tuple[HostLogs, ...]
    name: str = "files"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts whose logs they are, each once."""
        return tuple(dict.fromkeys(log.host for log in self.logs if log.host))


@dataclass(frozen=True, slots=True)
class SshSource:
    """`ssh`: logs on the servers."""

    logs: tuple[HostLogs, ...]
    access: SshConfig
    name: str = "ssh"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts to ask, each once."""
        return tuple(dict.fromkeys(log.host for log in self.logs))


@dataclass(frozen=True, slots=True)
class OpenSearchSource:
    """`opensearch`: logs in an index. Empty `hosts` means every host in it."""

    hosts: tuple[str, ...]
    access: OpenSearchConfig
    name: str = "opensearch"


@dataclass(frozen=True, slots=True)
class OtherSource:
    """A source of someone else's package (entry point `mailtrace.sources`), with its options as written."""

    name: str
    hosts: tuple[str, ...]
    options: Mapping[str, Option]


Source = FilesSource | SshSource | OpenSearchSource | OtherSource


@dataclass(frozen=True, slots=True)
class Parse:
    """One parser to try: its name in the registry and its options (`time_format`)."""

    name: str
    time_format: str = ""


@dataclass(frozen=True, slots=True)
class Walk:
    """Bounds of the walk: hops of one path, and seconds before and after the mails found."""

    max_hops: int = 30
    max_age: float = 5 * 86400


@dataclass(frozen=True, slots=True)
class Export:
    """One exporter: its name in the registry, where it writes, and its own options, by keyword.

    `to` is "-" for stdout, else an absolute path. `otlp` writes to no stream.
    """

    name: str
    to: str = "-"
    options: Mapping[str, Option] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a tracing job is limited to: one round, and the lines between two moments (UTC seconds)."""

    once: bool = False
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job, ready to run. `path` is its file, None for a dict.

    `now` (UTC seconds) is the moment it is played at, None for the real one. `origins` tells for every value where it
    came from: {"walk.max_hops": "command line"}.
    """

    kind: str = "trace"
    name: str = ""
    config: Config = field(default_factory=Config)
    inventory: Inventory = field(default_factory=Inventory)
    find: Find = field(default_factory=Find)
    source: tuple[Source, ...] = ()
    parse: tuple[Parse, ...] = (Parse("auto"),)
    walk: Walk = field(default_factory=Walk)
    export: tuple[Export, ...] = ()
    expect: tuple[Expect, ...] = ()
    wait: float = 0.0  # seconds to ask again until every fate is final
    tracing: Tracing = field(default_factory=Tracing)
    bounds: Bounds = field(default_factory=Bounds)
    on_unreachable: str = "fail"
    path: Path | None = None
    now: float | None = None
    warnings: tuple[Warning_, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Every secret of the job and its config."""
        options = (option for export in self.export for option in export.options.values())
        own = (secret for option in options if isinstance(option, Mapping) for secret in option.values())
        return (*self.config.secrets, *filter(None, own))

    @property
    def redactor(self) -> Redactor:
        """Takes the job's secrets out of any text."""
        return Redactor(self.secrets)
