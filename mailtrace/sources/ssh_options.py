"""How each host is reached: config.yaml and ssh_config together.

Without `ssh_config_file` the user's and the system's ssh_config are read, as `ssh` does, and what config.yaml sets
leads. With it only that file is read, as by `ssh -F`, and what it says leads for hostname, user, port and identity
file. `Include` is done here, for paramiko's reader does not know it.
"""

from __future__ import annotations

import getpass
import glob
import os
import re
import shlex
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mailtrace.errors import DataError
from mailtrace.sources.ssh_hostkeys import PORT, SYSTEM_FILES, USER_FILES, expanded

if TYPE_CHECKING:
    from mailtrace.config import SshConfig

_DEEPEST = 16
_MOST_JUMPS = 8
_DEFAULT_KEYS = ("id_rsa", "id_ecdsa", "id_ed25519")


@dataclass(frozen=True, slots=True)
class Way:
    """How to get to one machine. `jumps` come first, in the order in which they are passed."""

    name: str
    address: str
    port: int = PORT
    user: str = ""
    identities: tuple[str, ...] = ()
    only_identities: bool = False
    agent: bool = True
    jumps: tuple[Way, ...] = ()
    command: str = ""  # ProxyCommand
    key_name: str = ""  # HostKeyAlias
    known_hosts: tuple[str, ...] = ()

    @property
    def machine(self) -> tuple[object, ...]:
        """The same for every name of one machine and one user on it."""
        # Behind a jump host the same address may be another machine.
        return (self.address.casefold(), self.port, self.user, self.command, tuple(jump.machine for jump in self.jumps))

    def alone(self, user: str = "", port: int | None = None) -> Way:
        """As a jump host: without the way to it, and with what a ProxyJump says of it."""
        return replace(self, jumps=(), user=user or self.user, port=port or self.port)

    @property
    def shown(self) -> str:
        """As `ssh` would be told."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        port = "" if self.port == PORT else f":{self.port}"
        return f"{self.user}@{host}{port}"


class Options:
    """What config.yaml and ssh_config say of hosts."""

    def __init__(self, access: SshConfig) -> None:
        """Read nothing yet."""
        self._access = access
        self._lock = threading.Lock()
        self._parsed: Any = None

    def way(self, host: str) -> Way:
        """How to get to a host. Raises `DataError` for an ssh_config that cannot be read."""
        return self._way(host, "", None, 0)

    def _way(self, host: str, user: str, port: int | None, depth: int) -> Way:
        """`user` and `port` are those that a ProxyJump names."""
        access = self._access
        said = self._lookup(host)
        leads = bool(access.ssh_config_file)
        in_file = said.get("user", "")
        configured = (in_file or access.username) if leads else (access.username or in_file)
        jumps, command = self._proxy(said, depth)
        return Way(
            name=host,
            address=said.get("hostname") or host,
            port=port or int(said.get("port") or PORT),
            user=user or configured or _myself(),
            identities=self._identities(said, leads=leads),
            only_identities=said.get("identitiesonly", "no") == "yes",
            agent=said.get("identityagent", "") != "none",
            jumps=jumps,
            command=command,
            key_name=said.get("hostkeyalias", ""),
            known_hosts=self._known_hosts(said),
        )

    def _identities(self, said: dict[str, Any], *, leads: bool) -> tuple[str, ...]:
        files = [file for file in said.get("identityfile", []) if file.casefold() != "none"]
        own = [self._access.private_key] if self._access.private_key else []
        chosen = (files or own) if leads else (own or files)
        if chosen or "identityfile" in said:
            return expanded(chosen)
        return tuple(file for name in _DEFAULT_KEYS if Path(file := str(_home(".ssh", name))).is_file())

    def _known_hosts(self, said: dict[str, Any]) -> tuple[str, ...]:
        own = list(self._access.known_hosts)
        users, systems = said.get("userknownhostsfile"), said.get("globalknownhostsfile")
        files = [*own, *shlex.split(users or ""), *shlex.split(systems or "")]
        if not own and users is None:
            files += USER_FILES
        if not own and systems is None:
            files += SYSTEM_FILES
        return expanded(files)

    def _proxy(self, said: dict[str, Any], depth: int) -> tuple[tuple[Way, ...], str]:
        """The jump hosts, or the command, through which a host is reached."""
        jump = said.get("proxyjump") or ""
        if jump and jump.casefold() != "none":
            if depth >= _MOST_JUMPS:
                msg = f"ProxyJump {jump} leads in a circle; mend the ssh_config"
                raise DataError(msg)
            ways: list[Way] = []
            for number, (user, host, port) in enumerate(hops_of(jump)):
                way = self._way(host, user, port, depth + 1)
                # Only the first jump host may need another one to be reached.
                ways += [*way.jumps, way.alone()] if number == 0 else [way.alone()]
            return tuple(ways), ""
        command = said.get("proxycommand") or ""
        return (), "" if command.casefold() == "none" else command

    def _lookup(self, host: str) -> dict[str, Any]:
        from paramiko import ConfigParseError, SSHException

        with self._lock:
            if self._parsed is None:
                self._parsed = self._parse()
            try:
                return dict(self._parsed.lookup(host))
            except (ConfigParseError, SSHException, ValueError, KeyError) as error:
                msg = f"ssh_config: what it says of this host cannot be read: {error}"
                raise DataError(msg, host) from None

    def _parse(self) -> Any:
        from paramiko import ConfigParseError, SSHConfig

        file = self._access.ssh_config_file
        if file and not os.access(file, os.R_OK):
            msg = f"ssh_config_file {file} cannot be read; mend ssh_config.ssh_config_file in the config"
            raise DataError(msg)
        parsed = SSHConfig()
        for path in [file] if file else [str(_home(".ssh", "config")), "/etc/ssh/ssh_config"]:
            try:
                parsed.parse(text_of(path).splitlines(keepends=True))
            except ConfigParseError as error:
                msg = f"{path} is not an ssh_config: {error}"
                raise DataError(msg) from None
        return parsed


def hops_of(jump: str) -> list[tuple[str, str, int | None]]:
    """The hosts of a ProxyJump, in the order in which they are passed."""
    return [jump_host(spec.strip()) for spec in jump.split(",")]


def jump_host(spec: str) -> tuple[str, str, int | None]:
    """User, host and port of one ProxyJump: `[user@]host[:port]`, or as an `ssh://` URI."""
    rest = spec.removeprefix("ssh://").rstrip("/")
    user, _, rest = rest.rpartition("@")
    found = re.fullmatch(r"\[(?P<six>[^]]+)\](?::(?P<port>\d+))?|(?P<host>[^:]+):(?P<port2>\d+)|(?P<bare>.+)", rest)
    if found is None:
        return user, rest, None
    port = found["port"] or found["port2"]
    return user, found["six"] or found["host"] or found["bare"], int(port) if port else None


def text_of(path: str, depth: int = 0) -> str:
    """An ssh_config with what it includes in place; "" where there is none.

    An included file may hold `Host` lines of its own: behind it the block that stood around it begins again.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    out: list[str] = []
    block = "Host *"
    for line in lines:
        word, _, rest = line.strip().replace("=", " ", 1).partition(" ")
        if word.casefold() in ("host", "match"):
            block = line
        if word.casefold() != "include" or depth >= _DEEPEST:
            out.append(line)
            continue
        for pattern in shlex.split(rest):
            base = Path("/etc/ssh") if path.startswith("/etc/ssh/") else _home(".ssh")
            for file in sorted(glob.glob(str(base / os.path.expanduser(pattern)))):  # noqa: PTH111, PTH207 - any glob
                out += [text_of(file, depth + 1), block]
    return "\n".join(out) + "\n"


def _home(*parts: str) -> Path:
    return Path(os.path.expanduser("~"), *parts)  # noqa: PTH111 - Path.home raises where there is none


def _myself() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "root"
