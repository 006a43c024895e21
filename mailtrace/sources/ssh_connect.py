"""Logging in: Fabric makes the connection, through jump hosts where there are some; every hop's host key is checked.

A jump host is logged in to once for all that lie behind it. Each hop has a configuration and a set of arguments of its
own, so that no key of one host is offered to another.
"""

from __future__ import annotations

import logging
import shlex
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mailtrace.sources import ssh_certificates
from mailtrace.sources.ssh_channel import Connection
from mailtrace.sources.ssh_doors import Doors, Shared
from mailtrace.sources.ssh_hostkeys import PORT, KnownHosts, Verdict, entry_name, fingerprint
from mailtrace.sources.ssh_options import Options, Way
from mailtrace.sources.ssh_refusal import login_refused
from mailtrace.sources.ssh_remote import DroppedError, Session, SshError, persistently

if TYPE_CHECKING:
    from mailtrace.config import SshConfig
    from mailtrace.secret import Secret

logger = logging.getLogger("mailtrace")

_KEEP_ALIVE = 15


class Connector:
    """Logs in to machines."""

    def __init__(self, access: SshConfig) -> None:
        """`access` is the config's section."""
        self._access = access
        self._options = Options(access)
        self._known: dict[tuple[str, ...], KnownHosts] = {}
        self._doors = Doors()
        self._jumps = Shared[Any](lambda connection: connection.transport.is_active())
        self._told: set[str] = set()

    def way(self, host: str) -> Way:
        """How to get to a host. Raises `DataError` for an ssh_config that cannot be read."""
        return self._options.way(host)

    def connect(self, way: Way) -> Session:
        """A session on a machine. Raises `SshError` with what is wrong and the cure."""
        _quiet()
        return self._session(self._reached(way, self._jumps.through(way.jumps, self._reached)))

    def close(self) -> None:
        """Log out of the jump hosts."""
        for connection in self._jumps.all():
            _log_out(connection)

    def _session(self, connection: Any) -> Session:
        link = Connection(connection.transport, self._access.timeout, lambda: _log_out(connection))
        return Session(link, self._access.timeout)

    def _reached(self, way: Way, gateway: Any) -> Any:
        """A connection to a hop of the way, through what leads to the one before."""
        return persistently(lambda: self._hop(way, gateway))

    def _hop(self, way: Way, gateway: Any) -> Any:
        """One hop of the way, logged in to. Raises `SshError` and `DroppedError`."""
        with nullcontext() if gateway is not None else self._doors.of(way):
            return self._log_in(way, gateway)

    def _log_in(self, way: Way, gateway: Any) -> Any:
        import fabric
        import paramiko

        timeout = self._access.timeout
        known = self._hosts(way)
        arguments: dict[str, Any] = {
            "timeout": timeout,
            "banner_timeout": timeout,
            "auth_timeout": timeout,
            "channel_timeout": timeout,
            "compress": True,
            "transport_factory": _transport_factory(known, way),
            "auth_strategy": _Login(way, self._access),
        }
        if gateway is None:
            arguments["sock"] = _command(way) if way.command else _socket(way, timeout)
        config = fabric.Config(ssh_config=paramiko.SSHConfig(), lazy=True)
        connection = fabric.Connection(
            way.address, user=way.user, port=way.port, gateway=gateway, config=config, connect_kwargs=arguments
        )
        connection.client.set_missing_host_key_policy(_Policy(lambda key: self._judge(way, known, key)))
        try:
            connection.open()
        except BaseException as error:
            connection.client.close()
            _close(arguments.get("sock"))
            self._explain(error, way, gateway)
            raise
        connection.transport.set_keepalive(_KEEP_ALIVE)
        return connection

    def _explain(self, error: BaseException, way: Way, gateway: Any) -> None:
        """Raise what an error means; return where it means nothing to us, or says so itself."""
        import paramiko

        timeout = f"{self._access.timeout:g} s; ssh_config.timeout can be longer"
        if isinstance(error, (SshError, DroppedError)):
            return
        if gateway is not None and (text := self._cut_off(error, way, gateway)):
            shown = Way("", gateway.host, gateway.port, gateway.user).shown
            raise SshError(f"the jump host {shown} {text}") from None
        if isinstance(error, paramiko.ProxyCommandFailure):
            raise SshError(f"ProxyCommand failed: {_first_line(error)}; try it in a shell") from None
        if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
            raise SshError(f"no common SSH algorithms: {error}; update its sshd") from None
        if isinstance(error, (TimeoutError, socket.timeout)):
            raise SshError(f"timed out: no answer to SSH within {timeout}") from None
        if isinstance(error, (EOFError, OSError, paramiko.SSHException)):
            text = _first_line(error)
            if "No existing session" in text:  # what paramiko says where the keys were not agreed on in time
                raise SshError(f"timed out: not logged in within {timeout}") from None
            if "banner" in text or isinstance(error, (EOFError, OSError)) or "negotiation" in text:
                if way.command:
                    raise SshError("ProxyCommand brought no SSH server's answer; try it in a shell") from None
                raise DroppedError(text or "no banner") from None
            raise SshError(text) from None

    def _cut_off(self, error: BaseException, way: Way, gateway: Any) -> str:
        """What a jump host has to do with an error, "" if nothing."""
        import paramiko

        there = f"{way.address}:{way.port}"
        if isinstance(error, paramiko.ChannelException):
            return f"does not connect to {there}: {error.text}"
        text = str(error)
        if "Timeout opening channel" in text and self._session(gateway).answers():  # else it is closed
            return f"does not connect to {there} within {self._access.timeout:g} s; ssh_config.timeout can be longer"
        if not gateway.transport.is_active():
            return f"was lost before we were logged in to {there}"
        # Where several are refused at once paramiko keeps the reason of one.
        return f"does not connect to {there}" if "Unable to open channel" in text else ""

    # --------------------------------------------------------------------------------------- host keys

    def _hosts(self, way: Way) -> KnownHosts:
        return self._known.setdefault(way.known_hosts, KnownHosts(way.known_hosts))

    def _judge(self, way: Way, known: KnownHosts, key: Any) -> None:
        """Raise `SshError` for a server that is not the one we know."""
        alias = bool(way.key_name)
        name = way.key_name or way.address
        blob, kind = key.asbytes(), key.get_name()
        verdict, line = known.judge(name, way.port, kind, blob, alias=alias)
        shown = entry_name(name, way.port, alias=alias)
        print_ = f"{kind} {fingerprint(blob)}"
        if verdict is Verdict.KNOWN:
            return
        if verdict is Verdict.REVOKED and line is not None:
            msg = f"host key refused: the key {print_} of {shown} is marked @revoked in {line.file}:{line.line}"
            raise SshError(msg)
        certificate = getattr(key.public_blob, "key_blob", b"") if key.public_blob else b""
        authorities = known.authorities(name, way.port, alias=alias)
        doubt = ssh_certificates.doubt(certificate, authorities, name, time.time()) if certificate else "it shows none"
        if authorities and not doubt:
            return
        if self._access.host_keys == "off":
            self._tell(f"{shown}: the host key {print_} is not checked (ssh_config.host_keys: off)")
            return
        if verdict is Verdict.CHANGED and line is not None:
            msg = (
                f"host key changed: {shown} shows {print_}, {line.file}:{line.line} knows another one. Someone may be "
                "listening in on you, or the host has a new key. If its administrator confirms that key, remove the "
                f"old one with `ssh-keygen -R {shlex.quote(shown)} -f {shlex.quote(line.file)}` and add the new one"
            )
            raise SshError(msg)
        if self._access.host_keys == "accept-new":
            file = known.add(name, way.port, kind, blob, alias=alias)
            where = f"added to {file}" if file else "not written to any known_hosts"
            self._tell(f"{shown}: new host key {print_} accepted, {where} (ssh_config.host_keys: accept-new)")
            return
        raise SshError(_cure(way, known, verdict, shown, print_, doubt))

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            logger.warning(text)


class _Policy:
    """What paramiko asks about a server whose key it does not know: all of them, for it is told none."""

    def __init__(self, judge: Callable[[Any], None]) -> None:
        self._judge = judge

    def missing_host_key(self, _client: Any, _name: str, key: Any) -> None:
        """Raise to refuse."""
        self._judge(key)


def _cure(way: Way, known: KnownHosts, verdict: Verdict, shown: str, print_: str, doubt: str) -> str:
    """What an unknown key means, and the step that makes it known."""
    file = next((file for file in known.files if not file.startswith("/etc/")), "~/.ssh/known_hosts")
    port = "" if way.port == PORT else f" -p {way.port}"
    scan = f"ssh-keyscan{port} {shlex.quote(way.address)} >> {shlex.quote(file)}"
    if way.jumps or way.command:
        scan = f"ssh {shlex.quote(way.name)}` once, or `{scan}"
    checked = f"compare the fingerprint, then run `{scan}`"
    if way.key_name:
        checked = f"compare the fingerprint, then add its key under the HostKeyAlias {way.key_name} to {file}"
    if verdict is Verdict.AUTHORITY:
        return (
            f"host key unknown: {shown} is to have a certificate of a @cert-authority, and {doubt}; it shows {print_}: "
            f"{checked}"
        )
    if verdict is Verdict.OTHER_KIND:
        return f"host key unknown: {shown} shows {print_}, known_hosts has only keys of another kind; {checked}"
    return f"host key unknown: {shown} is not in known_hosts and shows {print_}; {checked}"


def _transport_factory(known: KnownHosts, way: Way) -> Callable[..., Any]:
    """Transports that ask the server first for the kinds of key that are known of it."""
    import paramiko

    kinds = known.kinds(way.key_name or way.address, way.port, alias=bool(way.key_name))
    first = [wanted for kind in kinds for wanted in _spellings(kind)]

    class Certified(paramiko.Transport):  # type: ignore[misc]
        """Asks for certificates first."""

        @property
        def preferred_keys(self) -> tuple[str, ...]:
            return tuple(sorted(super().preferred_keys, key=lambda kind: not kind.endswith(ssh_certificates.SUFFIX)))

    vouched = known.authorities(way.key_name or way.address, way.port, alias=bool(way.key_name))

    def make(sock: Any, **more: Any) -> Any:
        transport = (Certified if vouched else paramiko.Transport)(sock, **more)
        transport.daemon = True
        options = transport.get_security_options()
        theirs = tuple(options.key_types)
        options.key_types = [*(kind for kind in first if kind in theirs), *(k for k in theirs if k not in first)]
        return transport

    return make


def _spellings(kind: str) -> tuple[str, ...]:
    """The algorithms of a key: an RSA key signs with several."""
    return ("rsa-sha2-512", "rsa-sha2-256") if kind == "ssh-rsa" else (kind,)


def _socket(way: Way, timeout: float) -> socket.socket:
    """A connection to the first machine of a way."""
    try:
        made = socket.create_connection((way.address, way.port), timeout)
        # Questions and answers are small: each would wait for the acknowledgement of the one before.
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made
    except TimeoutError:
        raise SshError(f"timed out: no connection within {timeout:g} s; ssh_config.timeout can be longer") from None
    except socket.gaierror as error:
        raise SshError(
            f"the name {way.address} does not resolve ({error.strerror}); set HostName in the ssh_config"
        ) from None
    except (OSError, UnicodeError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        hint = "; is sshd running there, and on that port?" if isinstance(error, ConnectionRefusedError) else ""
        raise SshError(f"no connection to port {way.port}: {reason}{hint}") from None


def _command(way: Way) -> Any:
    """The connection that a ProxyCommand makes, run by a shell as `ssh` does."""
    import paramiko

    return paramiko.ProxyCommand(shlex.join(["/bin/sh", "-c", f"exec {way.command}"]))


def _log_out(connection: Any) -> None:
    transport = connection.transport
    with suppress(Exception):
        connection.close()
    _close(connection.connect_kwargs.get("sock"), transport)


def _close(sock: Any, transport: Any = None) -> None:
    """Let go of a connection, and of the process that made it."""
    if sock is None:
        return
    if transport is not None:
        transport.join(2)  # its thread reads from the process, and ends it
    with suppress(Exception):  # a ProxyCommand that has ended cannot be ended
        sock.close()
    process = getattr(sock, "process", None)
    if process is not None:
        with suppress(Exception):
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            with suppress(OSError):
                stream.close()


# ------------------------------------------------------------------------------------------- logging in


class _Login:
    """Proves who we are: keys of files and of the agent, then the password, once."""

    def __init__(self, way: Way, access: SshConfig) -> None:
        self._way = way
        self._password: Secret = access.password
        self._passphrase: Secret = access.passphrase
        self._tried: list[str] = []
        self._notes: list[str] = []
        self._agent: Any = None

    def authenticate(self, transport: Any) -> None:
        """Log in. Raises `SshError`."""
        try:
            self._authenticate(transport)
        finally:
            if self._agent is not None:
                self._agent.close()

    def _authenticate(self, transport: Any) -> None:
        import paramiko

        further: list[str] | None = None  # what the server wants besides a key it has accepted
        allowed: list[str] = []
        try:
            for label, key in self._keys():
                self._tried.append(label)
                try:
                    further = transport.auth_publickey(self._way.user, key)
                except paramiko.BadAuthenticationType as error:
                    allowed = error.allowed_types
                    break
                except paramiko.AuthenticationException:
                    continue
                if not further:
                    return
                break
            if self._password and self._by_password(transport, further or allowed):
                return
        except (paramiko.SSHException, EOFError, OSError) as error:
            if isinstance(error, paramiko.BadAuthenticationType):
                allowed = error.allowed_types
            elif not isinstance(error, paramiko.AuthenticationException):
                self._notes.append(_first_line(error) or "the server closed the connection")
        raise SshError(self._refusal(further, allowed))

    def _keys(self) -> Iterator[tuple[str, Any]]:
        """Every key to offer, with what to call it: those named, by the agent where it has them, then the agent's."""
        held = self._agent_keys()
        for file in self._way.identities:
            public = _public(file)
            by_agent = held.pop(public, None) if public else None
            if by_agent is not None:
                yield f"key {file} of the agent", by_agent
                continue
            key = self._load(file)
            if key is not None:
                held.pop(key.asbytes(), None)
                yield f"key {file}", key
        if not self._way.only_identities:
            for key in held.values():
                yield "a key of the agent", key

    def _agent_keys(self) -> dict[bytes, Any]:
        import paramiko

        if not self._way.agent:
            return {}
        try:
            self._agent = paramiko.Agent()
            return {key.asbytes(): key for key in self._agent.get_keys()}
        except (paramiko.SSHException, OSError, EOFError):
            return {}

    def _load(self, file: str) -> Any:
        """The key in a file, None (and a note) where it cannot be used."""
        import paramiko

        passphrase = self._passphrase.reveal() or None
        try:
            return paramiko.PKey.from_path(file, passphrase.encode() if passphrase else None)
        except FileNotFoundError:
            self._notes.append(f"there is no key {file}")
        except PermissionError:
            self._notes.append(f"the key {file} may not be read by you")
        except Exception as error:  # noqa: BLE001 - what cryptography raises differs from release to release
            text = _first_line(error).casefold()
            if "password" in text or "passphrase" in text or "encrypted" in text or "decrypt" in text:
                self._notes.append(
                    f"the passphrase of the key {file} is wrong"
                    if passphrase
                    else f"the key {file} has a passphrase: add it to the agent, or set MAILTRACE_SSH_PASSPHRASE"
                )
            elif passphrase:
                self._notes.append(f"the key {file} cannot be read; is its passphrase right?")
            else:
                self._notes.append(f"{file} is not a private key that can be used here")
        return None

    def _by_password(self, transport: Any, allowed: list[str]) -> bool:
        """Log in with the password; it is sent once."""
        import paramiko

        self._tried.append("the password")
        password = self._password.reveal()
        if not allowed or "password" in allowed:
            try:
                transport.auth_password(self._way.user, password, fallback=False)
            except paramiko.BadAuthenticationType as error:
                if "keyboard-interactive" not in error.allowed_types:
                    raise
            else:
                return True
        answered: list[str] = []

        def answer(_title: str, _text: str, prompts: list[tuple[str, bool]]) -> list[str]:
            hidden = [prompt for prompt, echo in prompts if not echo]
            if answered and hidden:  # asked again: it was wrong, and a second try could lock the account
                msg = "the password was refused"
                raise paramiko.AuthenticationException(msg)
            answered.extend(hidden)
            return ["" if echo else password for _, echo in prompts]

        return not transport.auth_interactive(self._way.user, answer)

    def _refusal(self, further: list[str] | None, allowed: list[str]) -> str:
        kinds = f"the server accepts {', '.join(allowed)}" if allowed else ""
        return login_refused(self._way.user, self._tried, self._notes, wants=further or (), kinds=kinds)


def _public(file: str) -> bytes:
    """The public half beside a key, b"" if there is none."""
    import base64

    try:
        return base64.b64decode(Path(f"{file}.pub").read_text(encoding="utf-8").split()[1])
    except (OSError, ValueError, IndexError):
        return b""


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0][:300]


def _quiet() -> None:
    """Paramiko reports every lost connection, with a traceback; what matters of it is told by us."""
    library = logging.getLogger("paramiko")
    if library.level == logging.NOTSET:
        library.setLevel(logging.CRITICAL + 1)
