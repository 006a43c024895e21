"""A valid config tree → `Config`, with every value that means nothing as a problem."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

from mailtrace import times
from mailtrace.config import (
    Config,
    FilesConfig,
    HostConfig,
    OpenSearchConfig,
    OpenSearchMapping,
    SshConfig,
    Tracing,
)
from mailtrace.hosts import HostFacts, ranges
from mailtrace.load.tree import Node
from mailtrace.problem import Problem, did_you_mean
from mailtrace.secret import Secret

T = TypeVar("T")

METHODS = ("ssh", "opensearch", "files")
SECTIONS = {"ssh": "ssh_config", "opensearch": "opensearch_config", "files": "files_config"}
SECRETS = {
    "MAILTRACE_SSH_PASSWORD": "ssh_config.password",
    "MAILTRACE_SSH_PASSPHRASE": "ssh_config.passphrase",
    "MAILTRACE_SUDO_PASSWORD": "ssh_config.sudo_pass",
    "MAILTRACE_OPENSEARCH_PASSWORD": "opensearch_config.password",
}
"""Passwords of the environment and the keys they are for."""

PRESETS: dict[str, dict[str, str]] = {
    "ecs": {},
    "logstash": {"hostname": "logsource", "service": "program", "facility": "facility_label"},
    "vector": {"timestamp": "timestamp", "hostname": "hostname", "service": "appname", "facility": "facility"},
    "fluent-bit": {"hostname": "host", "service": "ident", "facility": "pri"},
    "rsyslog": {"hostname": "host", "service": "programname", "facility": "facility"},
    "graylog": {
        "timestamp": "timestamp",
        "hostname": "source",
        "service": "application_name",
        "facility": "facility",
    },
    "syslog-ng": {"hostname": "HOST", "service": "PROGRAM", "facility": "FACILITY", "message": "MESSAGE"},
    "data-prepper": {
        "timestamp": "time",
        "hostname": "resource.attributes.host@name",
        "service": "attributes.appname",
        "message": "body",
    },
    "wazuh": {"hostname": "predecoder.hostname", "service": "predecoder.program_name", "message": "full_log"},
}
"""What well-known log shippers call the fields, where that differs from the default."""

_LOG_WORDS = frozenset({"-", "journal"})


class Values:
    """Reads values of a tree and keeps what is wrong with them."""

    def __init__(self, parsers: Iterable[str] = ()) -> None:
        """`parsers` are the names a `log_parser` can have."""
        self.parsers = tuple(parsers)
        self.problems: list[Problem] = []

    def wrong(self, node: Node, message: str, hint: str = "") -> None:
        """Keep a problem."""
        self.problems.append(node.problem(message, hint))

    def tried(self, node: Node, read: Callable[[str], T], default: T) -> T:
        """What a reader makes of a text; what it cannot read is a problem and the default. "" is the default too."""
        if not isinstance(node.value, str) or not node.value:
            return default
        try:
            return read(node.value)
        except ValueError as error:
            message, _, hint = str(error).partition("; ")
            self.wrong(node, message, hint)
            return default

    def zone(self, node: Node) -> str:
        """The name of a time zone."""
        return self.tried(node, lambda text: (times.zone(text), text)[1], "")

    def parser(self, node: Node) -> str:
        """The name of a parser."""
        name = text(node)
        if name and self.parsers and name not in self.parsers:
            known = [other for other in self.parsers if other.lower() == name.lower()]
            hint = f'did you mean "{known[0]}"?' if known else did_you_mean(name, self.parsers)
            self.wrong(node, f'there is no parser "{name[:60]}"', hint or f"there are: {', '.join(self.parsers)}")
            return ""
        return name

    def time_format(self, node: Node) -> str:
        """A format that strptime knows."""
        return self.tried(node, _known_format, "")

    def hosts(self, node: Node) -> tuple[str, ...]:
        """Names of hosts, ranges written out."""
        nodes = node.value if isinstance(node.value, list) else [node] if node.value else []
        none: tuple[str, ...] = ()
        return tuple(dict.fromkeys(name for each in nodes for name in self.tried(each, ranges, none)))


def text(node: Node) -> str:
    """A text; "" where there is none."""
    return node.value if isinstance(node.value, str) else ""


def texts(node: Node) -> tuple[str, ...]:
    """One text or a list of them."""
    if isinstance(node.value, list):
        return tuple(child.value for child in node.value)
    return (node.value,) if isinstance(node.value, str) and node.value else ()


def local_path(path: str, base: Path) -> str:
    """An absolute path on this machine; a relative one is relative to the document's folder."""
    if not path or path in _LOG_WORDS:
        return path
    # `..` stays: taking it out would follow it past symbolic links.
    return str(base / at_home(path))


def at_home(path: str) -> Path:
    """A path with `~` as the user's home; as it is where there is no such user."""
    with suppress(RuntimeError):
        return Path(path).expanduser()
    return Path(path)


def read_config(tree: Node, values: Values, base: Path, path: Path | None, configured: frozenset[str]) -> Config:
    """What a tree that satisfies the schema means. `base` is the folder that relative paths start from."""
    ssh, search, files = (tree.at(SECTIONS[method]) for method in METHODS)
    return Config(
        method=text(tree.at("method")),
        log_level=text(tree.at("log_level")),
        ssh_config=_ssh(ssh, values, base),
        files_config=FilesConfig(_host_config(files.at("host_config"), values, base), _hosts(files, values, base)),
        opensearch_config=_opensearch(search, values, base),
        clusters={name: values.hosts(node) for name, node in (tree.at("clusters").value or {}).items()},
        domain=text(tree.at("domain")),
        hosts=_facts(tree.at("hosts"), values),
        tracing=read_tracing(tree.at("tracing"), base),
        on_unreachable=text(tree.at("on_unreachable")),
        auto_continue=tree.at("auto_continue").value is True,
        path=path,
        configured=configured,
        origins=origins(tree),
    )


def read_tracing(node: Node, base: Path) -> Tracing:
    """How continuous tracing goes round; `base` is the folder that relative paths of PEM files start from."""
    state = text(node.at("state"))
    return Tracing(
        sleep_seconds=node.at("sleep_seconds").plain(Tracing().sleep_seconds),
        hold_rounds=node.at("hold_rounds").plain(Tracing().hold_rounds),
        go_back_seconds=node.at("go_back_seconds").plain(Tracing().go_back_seconds),
        state=str(Path.cwd() / at_home(state)) if state else "",
        endpoint=text(node.at("endpoint")),
        headers={name: Secret(str(child.plain(""))) for name, child in (node.at("headers").value or {}).items()},
        timeout=node.at("timeout").plain(Tracing().timeout),
        compression=text(node.at("compression")),
        ca_file=local_path(text(node.at("ca_file")), base),
        cert_file=local_path(text(node.at("cert_file")), base),
        key_file=local_path(text(node.at("key_file")), base),
        addresses=text(node.at("addresses")) or Tracing().addresses,
    )


def origins(tree: Node) -> dict[str, str]:
    """Every value's path and whose it is: {"walk.max_hops": "command line"}."""
    return {
        node.path: f"{node.place.file}:{node.place.line}" if node.place.line else node.origin
        for node in tree.walk()
        if node.path and not isinstance(node.value, (dict, list))
    }


def _ssh(node: Node, values: Values, base: Path) -> SshConfig:
    return SshConfig(
        username=text(node.at("username")),
        password=Secret(text(node.at("password"))),
        private_key=local_path(text(node.at("private_key")), base),
        passphrase=Secret(text(node.at("passphrase"))),
        sudo_pass=Secret(text(node.at("sudo_pass"))),
        sudo=node.at("sudo").value is not False,
        timeout=node.at("timeout").plain(SshConfig().timeout),
        ssh_config_file=local_path(text(node.at("ssh_config_file")), base),
        known_hosts=tuple(local_path(each, base) for each in texts(node.at("known_hosts"))),
        host_keys=text(node.at("host_keys")),
        transport=text(node.at("transport")),
        forks=node.at("forks").plain(SshConfig().forks),
        host_config=_host_config(node.at("host_config"), values, None),
        hosts=_hosts(node, values, None),
    )


def _opensearch(node: Node, values: Values, base: Path) -> OpenSearchConfig:
    mapping = node.at("mapping")
    preset = PRESETS.get(text(node.at("preset")), {})
    fields = {
        key: preset.get(key, text(child)) if child.origin == "default" else text(child)
        for key, child in (mapping.value or {}).items()
    }
    zone = node.at("time_zone")
    return OpenSearchConfig(
        host=text(node.at("host")),
        port=node.at("port").plain(OpenSearchConfig().port),
        username=text(node.at("username")),
        password=Secret(text(node.at("password"))),
        hosts=texts(node.at("hosts")),
        api_key=Secret(text(node.at("api_key"))),
        ca_certs=local_path(text(node.at("ca_certs")), base),
        client_cert=local_path(text(node.at("client_cert")), base),
        client_key=local_path(text(node.at("client_key")), base),
        aws_region=text(node.at("aws_region")),
        aws_service=text(node.at("aws_service")),
        index=text(node.at("index")),
        use_ssl=node.at("use_ssl").value is True,
        verify_certs=node.at("verify_certs").value is True,
        time_zone=values.zone(zone) or OpenSearchConfig().time_zone,
        own_zone=zone.origin != "default" and bool(zone.value),
        timeout=node.at("timeout").plain(OpenSearchConfig().timeout),
        max_bytes_in_flight=node.at("max_bytes_in_flight").plain(OpenSearchConfig().max_bytes_in_flight),
        preset=text(node.at("preset")),
        mapping=OpenSearchMapping(**fields),
    )


def _host_config(node: Node, values: Values, base: Path | None) -> HostConfig:
    """How logs are read; `base` where their paths are local."""
    files = texts(node.at("log_files"))
    if base is not None:
        files = tuple(local_path(each, base) for each in files)
    return HostConfig(
        log_files=files,
        log_parser=values.parser(node.at("log_parser")) or HostConfig().log_parser,
        time_format=values.time_format(node.at("time_format")),
        time_zone=values.zone(node.at("time_zone")),
    )


def _hosts(section: Node, values: Values, base: Path | None) -> dict[str, HostConfig]:
    """Single hosts, each with what it inherits; a host's own entry leads over a range that it is in."""
    default = _host_config(section.at("host_config"), Values(), base)
    found: dict[str, HostConfig] = {}
    for name, node in _spread(section.at("hosts"), values):
        own = _host_config(node, values, base)
        inherited = found.get(name, default)
        found[name] = HostConfig(
            log_files=own.log_files or inherited.log_files,
            log_parser=own.log_parser if text(node.at("log_parser")) else inherited.log_parser,
            time_format=own.time_format or inherited.time_format,
            time_zone=own.time_zone or inherited.time_zone,
            own_parser=bool(text(node.at("log_parser"))) or inherited.own_parser,
        )
    return found


def _facts(node: Node, values: Values) -> dict[str, HostFacts]:
    found: dict[str, HostFacts] = {}
    for name, said in _spread(node, values):
        before = found.get(name, HostFacts())
        outside = said.at("outside").value
        found[name] = HostFacts(
            aliases=texts(said.at("aliases")) or before.aliases,
            addresses=_addresses(said.at("addresses"), values) or before.addresses,
            time_zone=values.zone(said.at("time_zone")) or before.time_zone,
            outside=before.outside if outside is None else outside,
        )
    return found


def _addresses(node: Node, values: Values) -> tuple[str, ...]:
    """IP addresses in their canonical form."""
    nodes = node.value if isinstance(node.value, list) else [node] if node.value else []
    return tuple(address for each in nodes if (address := values.tried(each, _canonical, "")))


def _canonical(address: str) -> str:
    try:
        return str(ip_address(address.strip().removeprefix("[").removesuffix("]")))
    except ValueError:
        message = f'"{address[:60]}" is not an IP address; names belong under aliases'
        raise ValueError(message) from None


def _spread(node: Node, values: Values) -> list[tuple[str, Node]]:
    """Host by host in the order written, ranges written out; then the entries that name their host themselves."""
    entries: Mapping[str, Node] = node.value if isinstance(node.value, dict) else {}
    names = {key: _range(key, child, values) for key, child in entries.items()}
    several = [(name, entries[key]) for key, found in names.items() if found != (key,) for name in found]
    single = [(key, entries[key]) for key, found in names.items() if found == (key,)]
    order = {name: number for number, name in enumerate(name for found in names.values() for name in found)}
    # Stable: a range's entry stays before the host's own.
    return sorted([*several, *single], key=lambda entry: order[entry[0]])


def _range(key: str, node: Node, values: Values) -> tuple[str, ...]:
    try:
        return ranges(key)
    except ValueError as error:
        message, _, hint = str(error).partition("; ")
        values.problems.append(node.problem(message, hint, at_key=True))
        return ()


def _known_format(given: str) -> str:
    """A strptime format as it is. ValueError for one with a directive that there is not, or with none."""
    try:
        datetime.strptime("", given)  # noqa: DTZ007 - only the format is of interest
    except ValueError as error:
        if "directive" in str(error) or "stray" in str(error):
            message = f'"{given[:60]}" is not a time format; write it as strptime does, "%b %d %H:%M:%S"'
            raise ValueError(message) from None
    except (re.error, KeyError, IndexError, OverflowError):
        message = f'"{given[:60]}" is not a time format; write it as strptime does, "%b %d %H:%M:%S"'
        raise ValueError(message) from None
    return given


def unread(config: Config, tree: Node, method: str) -> list[Problem]:
    """What is missing to read anything by a method: hosts, log files, the index."""
    section = tree.at(SECTIONS[method])
    at = section if section.place.file else tree
    if method == "opensearch":
        search = config.opensearch_config
        lacking = [
            at.problem(f"opensearch_config needs {name}", "see config.yaml.sample")
            for name, value in (("host", search.host or search.hosts), ("index", search.index))
            if not value
        ]
        urls = [
            key for key, names in (("host", (search.host,)), ("hosts", search.hosts)) if any("/" in n for n in names)
        ]
        no_url = "a host is a name or an address, not a URL"
        return lacking + [section.at(key).problem(no_url, "use_ssl says whether it speaks https") for key in urls]
    default = config.host_config(method).log_files
    problems = [
        section.at("hosts", name).problem(f"no log_files for {name}", "set them there or in host_config", at_key=True)
        for name, said in config.section(method).items()
        if not said.log_files
    ]
    hosts = config.inventory_of(method).hosts
    if not hosts and not (method == "files" and default):
        problems.append(at.problem("the config names no host", f"list them under {SECTIONS[method]}.hosts or clusters"))
    elif hosts and not default and not config.section(method):
        problems.append(at.problem(f"{SECTIONS[method]} names no log_files", "set host_config.log_files"))
    return problems


def find_method(tree: Node) -> str:
    """The method of a config that names none: the one whose section is there."""
    there = [method for method in METHODS if tree.get(SECTIONS[method]) is not None]
    return there[0] if there else METHODS[0]
