"""Logging in to real sshd processes: host keys on every hop, keys, passphrases, jump hosts."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mailtrace.config import SshConfig
from mailtrace.sources.ssh import connector_of
from mailtrace.sources.ssh_commands import Command, Filter, journal
from mailtrace.sources.ssh_remote import SshError

from .sshd import PASSWORD, Server, User, made_user, make_key, secret, until

pytestmark = [pytest.mark.needs("root", "sshd", "ssh", "ssh-keygen")]

ECHO = Command("echo mailtrace:begin; echo mailtrace:begin >&2; echo here", ())


def login(access: SshConfig, host: str = "mx1") -> bytes:
    """Log in and run something."""
    connector = connector_of(access)
    try:
        session = connector.connect(connector.way(host))
        try:
            return b"".join(session.start(ECHO.line).blocks())
        finally:
            session.close()
    finally:
        connector.close()


def refusal(access: SshConfig, host: str = "mx1") -> str:
    with pytest.raises(SshError) as caught:
        login(access, host)
    return str(caught.value)


@pytest.fixture(scope="session")
def user(place: Path) -> Iterator[User]:
    with made_user("mt-login", place / "home") as made:
        yield made


@pytest.fixture
def server(started: Callable[..., Server]) -> Server:
    return started()


# ------------------------------------------------------------------------------------------- host keys


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_a_known_host_of_any_kind_of_key_is_logged_in_to(started: Callable[..., Server], user: User, kind: str) -> None:
    assert login(started(kind).access(user)) == b"here\n"


def test_an_unknown_host_is_refused_with_the_step_that_cures_it(server: Server, user: User, tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    access = server.access(user, known_hosts=(str(file),))
    text = refusal(access)
    assert f"`ssh-keyscan -p {server.port} 127.0.0.1 >> {file}`" in text
    command = text.partition("run `")[2].partition("`")[0]
    subprocess.run(command, shell=True, check=True, capture_output=True)
    assert login(access) == b"here\n"


def test_a_changed_key_is_refused_with_what_that_means(server: Server, user: User, place: Path) -> None:
    other = make_key(place / f"other-{time.monotonic_ns()}").with_suffix(".pub").read_text().split()
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {other[0]} {other[1]}\n")
    for host_keys in ("strict", "accept-new"):
        text = refusal(server.access(user, host_keys=host_keys))
        assert "host key changed" in text
        assert "ssh-keygen -R '[127.0.0.1]:" in text
        assert f"{server.known_hosts}:1" in text


def test_a_revoked_key_is_refused_whatever_is_configured(server: Server, user: User) -> None:
    known = server.known_hosts.read_text()
    server.known_hosts.write_text(f"{known}@revoked * {known.partition(' ')[2]}")
    for host_keys in ("strict", "accept-new", "off"):
        assert "@revoked" in refusal(server.access(user, host_keys=host_keys))


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_an_authority_is_believed(started: Callable[..., Server], user: User, place: Path, kind: str) -> None:
    server = certified(started(kind), place, kind)
    assert login(server.access(user)) == b"here\n"


@pytest.mark.parametrize(
    "wrong, why",
    [
        ({"names": "mx9.example.com"}, "for mx9.example.com"),
        ({"valid": "-2h:-1h"}, "not valid now"),
        ({"valid": "+1h:+2h"}, "not valid now"),
        ({"host": False}, "a user's"),
        ({"other": True}, "another authority"),
        ({"revoked": True}, "revoked"),
        ({"shown": False}, "it shows none"),
    ],
)
def test_a_certificate_that_does_not_fit_is_none(
    started: Callable[..., Server], user: User, place: Path, wrong: dict[str, Any], why: str
) -> None:
    server = certified(started(), place, **wrong)
    text = refusal(server.access(user))
    if server.transport == "paramiko" and why != "revoked":
        assert why in text
    assert "host key" in text or "No ED25519 host key" in text


def certified(
    server: Server,
    place: Path,
    kind: str = "ed25519",
    *,
    names: str = "127.0.0.1,other",
    valid: str = "-1h:+1h",
    host: bool = True,
    other: bool = False,
    revoked: bool = False,
    shown: bool = True,
) -> Server:
    """A server whose key an authority has signed, which is all that known_hosts has."""
    authority = make_key(place / f"authority-{time.monotonic_ns()}", kind)
    server.stop()
    more = [*(["-h"] if host else []), *(["-n", names] if names else [])]
    sign = ["ssh-keygen", "-q", "-s", str(authority), "-I", "x", *more, "-V", valid, str(server.folder / "host.pub")]
    subprocess.run(sign, check=True)
    if shown:
        server.settings["HostCertificate"] = str(server.folder / "host-cert.pub")
    server.start()
    if other:
        authority = make_key(place / f"authority-{time.monotonic_ns()}", kind)
    key = authority.with_suffix(".pub").read_text()
    server.known_hosts.write_text(f"@cert-authority * {key}" + (f"@revoked * {key}" if revoked else ""))
    return server


def test_a_server_with_several_keys_is_asked_for_the_one_that_is_known(
    started: Callable[..., Server], user: User, place: Path
) -> None:
    more = make_key(place / f"rsa-{time.monotonic_ns()}", "rsa")
    server = started(HostKeyAlgorithms="ssh-ed25519,rsa-sha2-512")
    server.stop()
    key = more.with_suffix(".pub").read_text().split()
    server.settings["HostKey"] = f"{server.folder / 'host'}\nHostKey {more}"
    server.start()
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {key[0]} {key[1]}\n")
    assert login(server.access(user)) == b"here\n"


def test_accept_new_writes_the_key_down_and_off_does_not(server: Server, user: User, tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    assert login(server.access(user, known_hosts=(str(file),), host_keys="off")) == b"here\n"
    assert not file.exists()
    assert login(server.access(user, known_hosts=(str(file),), host_keys="accept-new")) == b"here\n"
    assert login(server.access(user, known_hosts=(str(file),))) == b"here\n"


def test_an_alias_of_the_ssh_config_names_the_key(server: Server, user: User) -> None:
    server.known_hosts.write_text(f"the-alias {server.known_hosts.read_text().partition(' ')[2]}")
    access = server.access(user)
    assert "host key unknown" in refusal(access)
    with Path(access.ssh_config_file).open("a") as config:
        config.write("  HostKeyAlias the-alias\n")
    assert login(access) == b"here\n"


def test_the_known_hosts_of_the_ssh_config_are_read(server: Server, user: User) -> None:
    access = replace(server.access(user), known_hosts=())
    with Path(access.ssh_config_file).open("a") as config:
        config.write(f"  UserKnownHostsFile {server.known_hosts}\n")
    assert login(access) == b"here\n"


# ------------------------------------------------------------------------------------------- jump hosts


def jumping(server: Server, user: User, *jumps: Server) -> SshConfig:
    """Access to a server through others, each known."""
    access = server.access(user)
    names = [f"jump{number}" for number in range(len(jumps))]
    blocks = [
        f"Host {name}\n  HostName 127.0.0.1\n  Port {jump.port}\n" for name, jump in zip(names, jumps, strict=True)
    ]
    text = f"Host mx1\n  ProxyJump {','.join(names)}\n  HostName 127.0.0.1\n  Port {server.port}\n"
    Path(access.ssh_config_file).write_text("".join(blocks) + text)
    return replace(access, known_hosts=tuple(str(one.known_hosts) for one in (server, *jumps)))


def test_a_chain_of_jump_hosts_is_passed(started: Callable[..., Server], user: User) -> None:
    server, one, two = started(), started(), started()
    assert login(jumping(server, user, one, two)) == b"here\n"
    assert "Accepted publickey" in one.log
    assert "Accepted publickey" in two.log


def behind(jump: Server, user: User, servers: list[Server]) -> SshConfig:
    """Access to some servers, each by a name of its own, through one."""
    access = jump.access(user)
    blocks = [f"Host jump\n  HostName 127.0.0.1\n  Port {jump.port}\n"]
    for number, server in enumerate(servers):
        blocks.append(f"Host mx{number}\n  ProxyJump jump\n  HostName 127.0.0.1\n  Port {server.port}\n")
    Path(access.ssh_config_file).write_text("".join(blocks))
    return replace(access, known_hosts=tuple(str(one.known_hosts) for one in (jump, *servers)))


def at_once(access: SshConfig, count: int) -> list[str]:
    """What some machines say, or why they don't, logged in to at the same time."""
    connector = connector_of(access)
    start = threading.Barrier(count)

    def say(number: int) -> str:
        way = connector.way(f"mx{number}")
        start.wait(20)
        try:
            session = connector.connect(way)
        except SshError as error:
            return str(error)
        said = b"".join(session.start(ECHO.line).blocks()).decode()
        session.close()
        return said

    try:
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(say, range(count)))
    finally:
        connector.close()


def test_a_jump_host_is_logged_in_to_once_for_all_behind_it(started: Callable[..., Server], user: User) -> None:
    jump, servers = started(MaxStartups="1", MaxSessions="1"), [started() for _ in range(3)]
    assert at_once(behind(jump, user, servers), 3) == ["here\n"] * 3
    assert jump.told("Accepted publickey") == 1


def test_a_password_that_a_jump_host_refuses_is_sent_there_once(started: Callable[..., Server], user: User) -> None:
    jump, servers = started(), [started() for _ in range(3)]
    access = replace(behind(jump, user, servers), private_key="", password=secret("not it"))
    said = at_once(access, 3)
    assert len(set(said)) == 1
    assert said[0].startswith(f"the jump host {user.name}@127.0.0.1:{jump.port}: login as {user.name} refused")
    assert jump.told("Failed password") == 1


def test_what_a_jump_host_cannot_reach_is_told_apart(started: Callable[..., Server], user: User) -> None:
    jump, servers = started(), [started() for _ in range(3)]
    for server in servers[1:]:
        server.stop()
    said = at_once(behind(jump, user, servers), 3)
    assert said[0] == "here\n"
    for text, server in zip(said[1:], servers[1:], strict=True):
        assert f"does not connect to 127.0.0.1:{server.port}" in text


def test_a_jump_host_that_was_lost_is_logged_in_to_again(started: Callable[..., Server], user: User) -> None:
    jump, server = started(), started()
    connector = connector_of(behind(jump, user, [server]))
    way = connector.way("mx0")
    try:
        connector.connect(way).close()
        jump.stop()
        jump.start()
        session = connector.connect(way)
        assert b"".join(session.start(ECHO.line).blocks()) == b"here\n"
        session.close()
    finally:
        connector.close()


def test_every_jump_hosts_key_is_checked(started: Callable[..., Server], user: User) -> None:
    server, one, two = started(), started(), started()
    access = jumping(server, user, one, two)
    for left_out in (server, one, two):
        files = tuple(str(each.known_hosts) for each in (server, one, two) if each is not left_out)
        text = refusal(replace(access, known_hosts=files))
        assert "host key unknown" in text
        assert str(left_out.port) in text


def test_a_jump_host_that_may_not_forward_is_told(started: Callable[..., Server], user: User) -> None:
    server, one = started(), started(AllowTcpForwarding="no")
    assert "does not connect to 127.0.0.1" in refusal(jumping(server, user, one))


def test_a_proxy_command_is_run_by_a_shell(server: Server, user: User) -> None:
    access = server.access(user)
    python = (
        "import os,socket,sys,threading;s=socket.create_connection((sys.argv[1],int(sys.argv[2])));"
        "threading.Thread(target=lambda:[s.sendall(b) for b in iter(lambda:os.read(0,65536),b'')],daemon=True).start();"
        "[os.write(1,b) for b in iter(lambda:s.recv(65536),b'')]"
    )
    with Path(access.ssh_config_file).open("a") as config:
        config.write(f'  ProxyCommand python3 -c "{python}" %h %p 2>/dev/null\n')
    assert login(access) == b"here\n"


# ------------------------------------------------------------------------------------------- logging in


def test_a_password_logs_in_without_a_key(server: Server, user: User) -> None:
    assert login(server.access(user, private_key="", password=secret(PASSWORD))) == b"here\n"


def test_the_password_follows_a_key_that_is_refused(server: Server, user: User, place: Path) -> None:
    other = make_key(place / f"other-{time.monotonic_ns()}")
    assert login(server.access(user, private_key=str(other), password=secret(PASSWORD))) == b"here\n"


def test_a_key_and_then_the_password_where_both_are_wanted(started: Callable[..., Server], user: User) -> None:
    server = started(AuthenticationMethods="publickey,password")
    assert login(server.access(user, password=secret(PASSWORD))) == b"here\n"
    assert "after the key the server wants password" in refusal(server.access(user))


def test_a_passphrase_opens_a_key(started: Callable[..., Server], user: User, place: Path) -> None:
    closed = make_key(place / f"closed-{time.monotonic_ns()}", passphrase="open sesame")
    server = started(AuthorizedKeysFile=f"{closed}.pub")
    access = server.access(user, private_key=str(closed))
    assert "MAILTRACE_SSH_PASSPHRASE" in refusal(access)
    wrong = refusal(replace(access, passphrase=secret("not sesame")))
    assert "passphrase" in wrong
    assert "sesame" not in wrong
    assert login(replace(access, passphrase=secret("open sesame"))) == b"here\n"


def test_the_agents_keys_are_offered(server: Server, user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    said = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    variables = dict(part.split("=", 1) for line in said.splitlines() for part in [line.split(";")[0]] if "=" in part)
    monkeypatch.setenv("SSH_AUTH_SOCK", variables["SSH_AUTH_SOCK"])
    try:
        subprocess.run(["ssh-add", "-q", server.client], check=True, capture_output=True)
        assert login(server.access(user, private_key="")) == b"here\n"
    finally:
        subprocess.run(["kill", variables["SSH_AGENT_PID"]], check=True)


def test_nothing_to_log_in_with_is_told(server: Server, user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("HOME", "/nowhere")
    assert "there is no key and no password" in refusal(server.access(user, private_key=""))


def test_a_name_that_does_not_resolve_is_told(server: Server, user: User) -> None:
    access = server.access(user)
    Path(access.ssh_config_file).write_text("")
    assert "does not resolve" in refusal(access, "no-such-host.invalid")


# ------------------------------------------------------------------------------------------- ending


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_a_command_that_says_nothing_is_ended_with_all_that_it_started(
    server: Server, place: Path, shell: str, need: Callable[[str], None]
) -> None:
    need(shell)
    with made_user("mt-ending", place / f"ending-{shell}", shell=f"/bin/{shell}") as someone:
        connector = connector_of(server.access(someone))
        session = connector.connect(connector.way("mx1"))
        said: list[str] = []

        def read() -> None:
            try:
                list(session.start(journal(["-f"], Filter(), sudo="").line.replace("journalctl -f", SILENT)).blocks())
            except SshError as error:
                said.append(str(error))

        reading = threading.Thread(target=read)
        reading.start()
        until(lambda: running(someone, "sleep") >= 2)
        until(lambda: any(remote._group for remote in list(session._running)))  # and we know what to end
        session.stop()
        reading.join(20)
        until(lambda: not running(someone, "sleep"))
        session.close()
        connector.close()
        assert len(said) == 1


SILENT = "sleep 31.4159 | sleep 31.4159 | cat"


def running(user: User, word: str = "") -> int:
    found = subprocess.run(["ps", "-u", user.name, "-o", "args="], check=False, capture_output=True, text=True).stdout
    return sum(word in line for line in found.splitlines())
