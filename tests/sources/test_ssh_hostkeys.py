"""known_hosts as OpenSSH reads it; what ssh-keygen finds in a file decides."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mailtrace.sources.ssh_hostkeys import KnownHosts, Verdict, fingerprint

KEY = b"\0\0\0\x0bssh-ed25519\0\0\0 " + b"k" * 32
OTHER = b"\0\0\0\x0bssh-ed25519\0\0\0 " + b"o" * 32
ED = "ssh-ed25519"


def text(key: bytes) -> str:
    import base64

    return base64.b64encode(key).decode()


def known(tmp_path: Path, *lines: str) -> KnownHosts:
    path = tmp_path / "known_hosts"
    path.write_text("".join(f"{line}\n" for line in lines))
    return KnownHosts([str(tmp_path / "none"), str(path)])


def verdict(hosts: KnownHosts, name: str = "mx1.example.com", port: int = 22, key: bytes = KEY) -> Verdict:
    return hosts.judge(name, port, ED, key)[0]


@pytest.mark.parametrize(
    "names, name, port",
    [
        ("mx1.example.com", "mx1.example.com", 22),
        ("mx1.example.com", "MX1.Example.com", 22),
        ("mx1,mx1.example.com,10.0.0.1", "10.0.0.1", 22),
        ("*.example.com", "mx1.example.com", 22),
        ("mx?.example.com", "mx1.example.com", 22),
        ("[mx1.example.com]:2222", "mx1.example.com", 2222),
        ("[*.example.com]:2222", "mx1.example.com", 2222),
        ("mx1.example.com", "mx1.example.com", 2222),  # a key known without a port is good on every port
        ("2001:db8::1", "2001:db8::1", 22),
    ],
)
def test_a_name_that_a_line_stands_for_is_known(tmp_path: Path, names: str, name: str, port: int) -> None:
    assert verdict(known(tmp_path, f"{names} {ED} {text(KEY)} comment"), name, port) is Verdict.KNOWN


@pytest.mark.parametrize(
    "names, name, port",
    [
        ("mx2.example.com", "mx1.example.com", 22),
        ("*.example.com,!mx1.example.com", "mx1.example.com", 22),
        ("[mx1.example.com]:2222", "mx1.example.com", 22),
        ("[mx1.example.com]:2222", "mx1.example.com", 2223),
        ("mx1xexample.com", "mx1.example.com", 22),
        ("#mx1.example.com", "mx1.example.com", 22),
    ],
)
def test_a_name_that_no_line_stands_for_is_unknown(tmp_path: Path, names: str, name: str, port: int) -> None:
    assert verdict(known(tmp_path, f"{names} {ED} {text(KEY)}"), name, port) is Verdict.UNKNOWN


def test_another_key_of_the_same_kind_is_a_changed_one(tmp_path: Path) -> None:
    found, line = known(tmp_path, "", f"mx1 {ED} {text(OTHER)}").judge("mx1", 22, ED, KEY)
    assert found is Verdict.CHANGED
    assert line is not None
    assert line.line == 2


def test_one_right_key_among_several_is_enough(tmp_path: Path) -> None:
    assert verdict(known(tmp_path, f"mx1 {ED} {text(OTHER)}", f"mx1 {ED} {text(KEY)}"), "mx1") is Verdict.KNOWN


def test_a_key_of_another_kind_only_is_told_apart(tmp_path: Path) -> None:
    assert verdict(known(tmp_path, f"mx1 ssh-rsa {text(OTHER)}"), "mx1") is Verdict.OTHER_KIND


def test_a_revoked_key_is_refused_though_another_line_knows_it(tmp_path: Path) -> None:
    lines = (f"mx1 {ED} {text(KEY)}", f"@revoked * {ED} {text(KEY)}")
    assert verdict(known(tmp_path, *lines), "mx1") is Verdict.REVOKED
    assert verdict(known(tmp_path, *lines), "mx1", key=OTHER) is Verdict.CHANGED


def test_a_certificate_authority_is_no_key(tmp_path: Path) -> None:
    assert verdict(known(tmp_path, f"@cert-authority *.example.com {ED} {text(KEY)}")) is Verdict.AUTHORITY


def test_an_alias_stands_for_every_port(tmp_path: Path) -> None:
    hosts = known(tmp_path, f"alias {ED} {text(KEY)}")
    assert hosts.judge("alias", 2222, ED, KEY, alias=True)[0] is Verdict.KNOWN


@pytest.mark.needs("ssh-keygen")
def test_hashed_names_are_known(tmp_path: Path) -> None:
    hosts = known(tmp_path, f"mx1.example.com {ED} {text(KEY)}", f"[mx1.example.com]:2222 {ED} {text(OTHER)}")
    path = tmp_path / "known_hosts"
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", path], check=True, capture_output=True)
    assert "mx1" not in path.read_text()
    assert verdict(hosts) is Verdict.KNOWN
    assert verdict(hosts, port=2222, key=OTHER) is Verdict.KNOWN
    assert verdict(hosts, "mx2.example.com") is Verdict.UNKNOWN


def test_broken_lines_are_left_out(tmp_path: Path) -> None:
    lines = ("mx1", f"mx1 {ED}", f"mx1 {ED} ***", "@what mx1 a b", "|1|x|y a b", f"mx1 {ED} {text(KEY)}")
    assert verdict(known(tmp_path, *lines), "mx1") is Verdict.KNOWN


def test_a_new_key_is_written_to_the_users_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "known_hosts"
    hosts = KnownHosts(["/etc/ssh/ssh_known_hosts", str(path)])
    assert hosts.add("mx1", 2222, ED, KEY) == str(path)
    assert path.read_text() == f"[mx1]:2222 {ED} {text(KEY)}\n"
    assert verdict(hosts, "mx1", 2222) is Verdict.KNOWN


@pytest.mark.needs("ssh-keygen")
def test_fingerprints_are_those_of_openssh(tmp_path: Path) -> None:
    path = tmp_path / "key.pub"
    path.write_text(f"{ED} {text(KEY)}\n")
    said = subprocess.run(["ssh-keygen", "-lf", path], capture_output=True, text=True, check=True).stdout
    assert fingerprint(KEY) == said.split()[1]
