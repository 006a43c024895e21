"""The machine's own `ssh`: for what paramiko lacks, as FIDO keys, GSSAPI, masters that are running already.

One `ssh` logs in and stays, as the master of a control socket; every command is another `ssh` through that socket, and
so is every connection to what lies behind a jump host. A master that the user's own ssh_config has running is used
instead. The settings of config.yaml stand in an ssh_config of ours that includes the user's.
"""

from __future__ import annotations

import glob
import logging
import math
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import weakref
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mailtrace.errors import DataError
from mailtrace.sources.ssh_askpass import AskPass
from mailtrace.sources.ssh_doors import Doors, Shared
from mailtrace.sources.ssh_hostkeys import PORT, SYSTEM_FILES, USER_FILES, KnownHosts, expanded
from mailtrace.sources.ssh_options import Way, hops_of
from mailtrace.sources.ssh_process import Master
from mailtrace.sources.ssh_refusal import cut_off, explained, host_key_notes
from mailtrace.sources.ssh_remote import Session, SshError, persistently

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailtrace.config import SshConfig

logger = logging.getLogger("mailtrace")

_IDLE = 600
"""Seconds after which a master without a command ends: one that we could not end because we were killed."""
_STRICT = {"strict": "yes", "accept-new": "accept-new", "off": "no"}
_LONGEST_SOCKET = 80  # bytes of a socket's path; `ssh` adds some for a moment, and a socket's path has 108
_PID = re.compile(r"pid=(\d+)")


class Client:
    """Logs in to machines with `ssh`."""

    def __init__(self, access: SshConfig) -> None:
        """`access` is the config's section."""
        self._access = access
        self._folder: Path | None = None
        self._lock = threading.Lock()
        self._count = 0
        self._doors = Doors()
        self._jumps = Shared[Master](lambda master: not master.lost)
        self._ways: dict[str, Way] = {}
        self._masters: dict[str, str] = {}  # host → the control socket that the user's ssh_config names
        self._told: set[str] = set()
        self._logins: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def way(self, host: str) -> Way:
        """How `ssh` would get to a host. Raises `DataError` where it would not."""
        known = self._ways.get(host)
        if known is None:
            known = self._ways[host] = self._way(host, ())
        return known

    def connect(self, way: Way) -> Session:
        """A session on a machine. Raises `SshError` with what is wrong and the cure."""
        return Session(self._running(way) or self._master(way, self._gateway(way.jumps)), self._access.timeout)

    def close(self) -> None:
        """End logins that are under way, and delete what was written for `ssh`."""
        self._closed = True
        for process in list(self._logins):
            _end(process)
        for master in self._jumps.all():
            master.close()
        with self._lock:
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    # --------------------------------------------------------------------------------------- what ssh would do

    def _way(self, host: str, above: tuple[str, ...]) -> Way:
        if len(above) > 8 or host in above:
            msg = f"ProxyJump {above[-1]} leads in a circle; mend the ssh_config"
            raise DataError(msg)
        done = self._ask("-G", "--", host)
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.strip()]
            msg = f"ssh_config: {said[0] if said else 'ssh does not say what is wrong with it'}"
            raise DataError(msg, host)
        said_: dict[str, str] = {}
        identities = []
        for line in done.stdout.splitlines():
            word, _, rest = line.partition(" ")
            said_.setdefault(word, rest)
            identities += [rest] if word == "identityfile" else []
        if said_.get("controlpath", "none") != "none":
            self._masters[host] = said_["controlpath"]
        jump, command = said_.get("proxyjump", "none"), said_.get("proxycommand", "none")
        jumps: list[Way] = []
        for number, (user, name, port) in enumerate(hops_of(jump) if jump != "none" else []):
            hop = self._way(name, (*above, host))
            jumps += [*(hop.jumps if number == 0 else ()), hop.alone(user, port)]
        return Way(
            name=host,
            address=said_.get("hostname", host),
            port=int(said_.get("port", PORT)),
            user=said_.get("user", ""),
            identities=expanded(identities),
            jumps=tuple(jumps),
            command="" if command == "none" else command,
            key_name=said_.get("hostkeyalias", ""),
            known_hosts=expanded(
                f"{said_.get('userknownhostsfile', '')} {said_.get('globalknownhostsfile', '')}".split()
            ),
        )

    def _ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        """What `ssh` says without connecting."""
        try:
            return subprocess.run(
                ["ssh", "-F", str(self._config()), "-T", *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                text=True,
                errors="replace",
                timeout=60,
            )
        except OSError:
            msg = "there is no ssh on this machine (ssh_config.transport: openssh); install OpenSSH's client"
            raise DataError(msg) from None
        except subprocess.TimeoutExpired:
            msg = "ssh -G does not end; does the ssh_config run a command (Match exec) that hangs?"
            raise DataError(msg) from None

    # --------------------------------------------------------------------------------------- its configuration

    def _config(self) -> Path:
        with self._lock:
            if self._folder is None:
                folder = Path(tempfile.mkdtemp(prefix="mailtrace-"))
                if len(str(folder)) > _LONGEST_SOCKET - 10:
                    folder.rmdir()
                    folder = Path(tempfile.mkdtemp(prefix="mailtrace-", dir="/tmp"))
                try:
                    (folder / "config").write_text("".join(f"{line}\n" for line in self._settings(folder)))
                except DataError:
                    shutil.rmtree(folder, ignore_errors=True)
                    raise
                self._folder = folder
                weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)  # also where nobody closes us
            return self._folder / "config"

    def _settings(self, folder: Path) -> Iterator[str]:
        """Lines of an ssh_config, in which the first that says something leads."""
        access = self._access
        file = access.ssh_config_file
        own = [f"User {_quoted(access.username)}"] if access.username else []
        own += [f"IdentityFile {_path(access.private_key)}"] if access.private_key else []
        seconds = math.ceil(access.timeout)
        yield "Host *"
        yield from (
            f"StrictHostKeyChecking {_STRICT[access.host_keys]}",
            "UpdateHostKeys no",
            "VerifyHostKeyDNS no",
            f"BatchMode {'no' if access.password or access.passphrase else 'yes'}",
            "NumberOfPasswordPrompts 1",
            f"ConnectTimeout {seconds}",
            "ConnectionAttempts 1",
            f"ServerAliveInterval {seconds}",
            "ServerAliveCountMax 1",
            "Compression yes",
            "ClearAllForwardings yes",
            "ForwardAgent no",
            "ForwardX11 no",
            "PermitLocalCommand no",
            "RemoteCommand none",
            "AddKeysToAgent no",
        )
        if access.host_keys == "off":
            revoked = folder / "revoked"
            known = KnownHosts(access.known_hosts or expanded((*USER_FILES, *SYSTEM_FILES)))
            revoked.write_text("".join(known.revoked()))
            yield f"RevokedHostKeys {_quoted(str(revoked))}"
            yield f"UserKnownHostsFile {_path(str(folder / 'taken'))}"
            yield "GlobalKnownHostsFile /dev/null"
        elif access.known_hosts:
            yield f"UserKnownHostsFile {' '.join(map(_path, access.known_hosts))}"
        yield from () if file else own
        if file:
            if not os.access(file, os.R_OK):
                msg = f"ssh_config_file {file} cannot be read; mend ssh_config.ssh_config_file in the config"
                raise DataError(msg)
            yield f"Include {_quoted(glob.escape(file))}"
        else:
            home = os.path.expanduser("~")  # noqa: PTH111 - Path.home raises where there is none
            yield f'Include {_quoted(glob.escape(home))[:-1]}/.ssh/config"'
            yield "Include /etc/ssh/ssh_config"
        yield "Host *"
        yield from own if file else ()
        if access.known_hosts:
            yield "GlobalKnownHostsFile /dev/null"

    # --------------------------------------------------------------------------------------- logging in

    def _running(self, way: Way) -> Master | None:
        """The master of the user's own that is connected already."""
        socket, named = self._masters.get(way.name), self._ways.get(way.name)
        # A ProxyJump may name another user or port, and so another master.
        if socket is None or (named is not None and (named.user, named.port) != (way.user, way.port)):
            return None
        done = self._ask("-O", "check", "--", way.name)
        found = _PID.search(done.stderr)
        return Master(way.shown, socket, int(found[1]), None) if done.returncode == 0 and found else None

    def _gateway(self, jumps: tuple[Way, ...]) -> Master | None:
        """A master on the last of some jump hosts."""
        return self._jumps.through(jumps, lambda way, before: self._running(way) or self._master(way, before))

    def _master(self, way: Way, gateway: Master | None) -> Master:
        """A master of ours."""

        def log_in() -> Master:
            with nullcontext() if gateway is not None else self._doors.of(way):
                return self._login(way, gateway)

        return persistently(log_in)

    def _login(self, way: Way, gateway: Master | None) -> Master:
        config = self._config()
        with self._lock:
            self._count += 1
            folder = config.parent / str(self._count)
            folder.mkdir(mode=0o700)
        log = folder / "log"
        access = self._access
        asking = AskPass(folder, access.password, access.passphrase) if access.password or access.passphrase else None
        settings = ["ControlMaster=yes", f"ControlPath={folder}/socket", f"ControlPersist={_IDLE}"]
        if gateway is not None:
            settings.append(f"ProxyCommand={gateway.passage}")
        options = [word for option in settings for word in ("-o", option)]
        place = ["-l", way.user, "-p", str(way.port), "--", way.name]  # for a ProxyJump may say so
        command = ["ssh", "-F", str(config), "-v", "-f", "-N", "-T", *options, *place]
        try:
            status = self._run(command, log, asking.environment if asking else {})
        finally:
            if asking is not None:
                asking.close()
        if self._closed and status:
            msg = "stopped"
            raise SshError(msg)
        said = log.read_text(encoding="utf-8", errors="replace")
        if status is None:
            msg = f"timed out: not logged in within {self._longest:g} s; ssh_config.timeout can be longer"
            raise SshError(msg)
        if status:
            if gateway is not None and (reason := cut_off(said, way, gateway.said, lost=gateway.lost)):
                msg = f"the jump host {gateway.name} {reason}"
                raise SshError(msg)
            raise explained(said, way, access)
        for note in host_key_notes(said, access.host_keys):
            self._tell(note)
        check = ["ssh", "-F", "none", "-o", f"ControlPath={folder}/socket", "-O", "check", "--", "master"]
        done = subprocess.run(check, stdin=subprocess.DEVNULL, capture_output=True, check=False, text=True, timeout=60)
        found = _PID.search(done.stderr)
        if found is None:
            msg = f"ssh ended behind the login: {done.stderr.strip()}"
            raise SshError(msg)
        master = Master(way.shown, f"{folder}/socket", int(found[1]), folder)
        if self._closed:  # who wanted it is gone
            master.close()
            msg = "stopped"
            raise SshError(msg)
        return master

    @property
    def _longest(self) -> float:
        """Seconds of a login in all; `ssh` itself counts those of each step, but not of each."""
        return 2 * self._access.timeout + 5

    def _run(self, command: list[str], log: Path, environment: dict[str, str]) -> int | None:
        """The status of a login, None where it took too long."""
        with log.open("wb") as out:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=out,
                env={**os.environ, **environment},
                start_new_session=True,  # a Ctrl-C is ours to handle, and no terminal is there to ask on
            )
        self._logins.add(process)
        try:
            return process.wait(self._longest)
        except subprocess.TimeoutExpired:
            _end(process)
            return None
        finally:
            self._logins.discard(process)

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            logger.warning(text)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a login with all that it started."""
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _path(text: str) -> str:
    """A path where `%` begins a token."""
    return _quoted(text.replace("%", "%%"))


def _quoted(text: str) -> str:
    """A value of an ssh_config; nothing escapes a quotation mark there."""
    if '"' in text or "\n" in text:
        msg = f"ssh cannot be told of {text!r}: a quotation mark or a newline is in it"
        raise DataError(msg)
    return f'"{text}"'
