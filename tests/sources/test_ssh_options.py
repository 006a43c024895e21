"""How a host is reached, by config.yaml and ssh_config; where it can, `ssh -G` decides."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mailtrace.config import SshConfig
from mailtrace.errors import DataError
from mailtrace.sources.ssh_options import Options, Way, jump_host


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    return tmp_path


def way(home: Path, text: str, host: str = "mx1", *, given: bool = False, **more: object) -> Way:
    path = home / ".ssh" / "config"
    path.write_text(text)
    access = SshConfig(ssh_config_file=str(path) if given else "", **more)  # type: ignore[arg-type]
    return Options(access).way(host)


def test_without_any_ssh_config_the_config_is_all(home: Path) -> None:
    found = Options(SshConfig(username="me", private_key="/key")).way("mx1")
    assert (found.address, found.port, found.user, found.identities) == ("mx1", 22, "me", ("/key",))
    assert found.known_hosts[0] == f"{home}/.ssh/known_hosts"


TEXT = "Host mx1\n  HostName 10.0.0.1\n  Port 2222\n  User theirs\n  IdentityFile /theirs\n"


def test_what_the_config_sets_leads_over_the_users_ssh_config(home: Path) -> None:
    found = way(home, TEXT, username="mine", private_key="/mine")
    assert (found.address, found.port, found.user, found.identities) == ("10.0.0.1", 2222, "mine", ("/mine",))


def test_what_the_config_does_not_set_is_the_ssh_configs(home: Path) -> None:
    found = way(home, TEXT)
    assert (found.user, found.identities) == ("theirs", ("/theirs",))


def test_a_given_ssh_config_file_leads(home: Path) -> None:
    found = way(home, TEXT, username="mine", private_key="/mine", given=True)
    assert (found.address, found.port, found.user, found.identities) == ("10.0.0.1", 2222, "theirs", ("/theirs",))
    other = way(home, TEXT, "mx2", username="mine", private_key="/mine", given=True)
    assert (other.address, other.port, other.user, other.identities) == ("mx2", 22, "mine", ("/mine",))


def test_includes_are_read_where_they_stand(home: Path) -> None:
    (home / ".ssh" / "more").mkdir()
    (home / ".ssh" / "more" / "a").write_text("Host mx1\n  Port 2201\nHost mx2\n  Port 2202\n")
    text = "Host mx*\n  Include more/*\n  User theirs\nInclude none\nHost *\n  Port 2299\n"
    assert (way(home, text, "mx1").port, way(home, text, "mx2").port) == (2201, 2202)
    assert (way(home, text, "mx3").port, way(home, text, "mx3").user) == (2299, "theirs")


def test_jump_hosts_are_passed_in_their_order(home: Path) -> None:
    text = (
        "Host mx1\n  ProxyJump a,joe@b:2222,ssh://c:2223\nHost a\n  HostName 10.0.0.9\n  User first\n  ProxyJump z\n"
        "Host z\n  HostName 10.0.0.8\n"
    )
    found = way(home, text, username="")
    assert [(jump.address, jump.port) for jump in found.jumps] == [
        ("10.0.0.8", 22),
        ("10.0.0.9", 22),
        ("b", 2222),
        ("c", 2223),
    ]
    assert (found.jumps[1].user, found.jumps[2].user) == ("first", "joe")


def test_a_circle_of_jump_hosts_is_told(home: Path) -> None:
    with pytest.raises(DataError, match="circle"):
        way(home, "Host mx1 a\n  ProxyJump a\n")


def test_proxies_can_be_switched_off(home: Path) -> None:
    found = way(home, "Host mx1\n  ProxyJump none\n  ProxyCommand none\n")
    assert (found.jumps, found.command) == ((), "")


def test_names_of_one_machine_are_one(home: Path) -> None:
    text = "Host mx1 mx2\n  HostName loghost\nHost mx3\n  HostName loghost\n  User other\n"
    assert way(home, text, "mx1").machine == way(home, text, "mx2").machine
    assert way(home, text, "mx1").machine != way(home, text, "mx3").machine


def test_known_hosts_of_the_config_stand_for_the_default_ones(home: Path) -> None:
    assert way(home, "", known_hosts=("/mine",)).known_hosts == ("/mine",)
    text = "Host mx1\n  UserKnownHostsFile ~/a /b\n  HostKeyAlias same\n"
    found = way(home, text)
    assert found.known_hosts[:2] == (f"{home}/a", "/b")
    assert "/etc/ssh/ssh_known_hosts" in found.known_hosts
    assert found.key_name == "same"


def test_an_ssh_config_that_is_not_there_is_told(home: Path) -> None:
    with pytest.raises(DataError, match="/nowhere/config cannot be read"):
        Options(SshConfig(ssh_config_file="/nowhere/config")).way("mx1")


@pytest.mark.parametrize(
    "spec, expected",
    [
        ("host", ("", "host", None)),
        ("me@host:22", ("me", "host", 22)),
        ("me@dom@host", ("me@dom", "host", None)),
        ("[::1]:22", ("", "::1", 22)),
        ("::1", ("", "::1", None)),
        ("ssh://me@host:99/", ("me", "host", 99)),
    ],
)
def test_a_jump_host_is_read_as_ssh_does(spec: str, expected: tuple[str, str, int | None]) -> None:
    assert jump_host(spec) == expected


@pytest.mark.needs("ssh-keygen")
@pytest.mark.parametrize("host", ["mx1", "mx2.example.com", "other"])
def test_ssh_itself_says_the_same(home: Path, host: str) -> None:
    text = (
        "Host mx* !mx9\n  User a\n  Port 2200\nMatch host *.example.com\n  HostName %h\n  User b\n"
        "Host other\n  HostName=10.1.1.1\n  Port=77\nHost *\n  User last\n"
    )
    found = way(home, text, host)
    path = home / ".ssh" / "config"
    said = subprocess.run(["ssh", "-G", "-F", path, host], capture_output=True, text=True, check=True).stdout
    theirs = dict(line.split(" ", 1) for line in said.splitlines() if " " in line)
    assert (found.address, found.port, found.user) == (theirs["hostname"], int(theirs["port"]), theirs["user"])
