"""What only the machine's own `ssh` does: masters, questions, its own configuration."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mailtrace.config import SshConfig
from mailtrace.errors import DataError
from mailtrace.secret import Secret
from mailtrace.sources.ssh_askpass import AskPass
from mailtrace.sources.ssh_client import Client
from mailtrace.sources.ssh_commands import Command
from mailtrace.sources.ssh_options import Way
from mailtrace.sources.ssh_remote import SshError

from .sshd import Server, User

pytestmark = [pytest.mark.needs("root", "sshd", "ssh", "ssh-keygen")]

HERE = Command("echo mailtrace:begin; echo mailtrace:begin >&2; echo here", ())


@pytest.fixture(scope="session")
def transport() -> str:
    return "openssh"


def way_of(access: SshConfig) -> Way:
    client = Client(access)
    try:
        return client.way("mx1")
    finally:
        client.close()


def asked(asking: AskPass, question: str) -> tuple[int, str]:
    done = subprocess.run(
        [asking.environment["SSH_ASKPASS"], question], check=False, capture_output=True, text=True, timeout=10
    )
    return done.returncode, done.stdout


def test_each_question_is_answered_once_and_only_what_is_asked_for(tmp_path: Path) -> None:
    asking = AskPass(tmp_path, Secret("pw"), Secret("phrase"))
    try:
        assert asked(asking, "a@b's password: ") == (0, "pw\n")
        assert asked(asking, "a@b's password: ") == (1, "")
        assert asked(asking, "Enter passphrase for key '/k': ") == (0, "phrase\n")
        assert asked(asking, "Are you sure you want to continue connecting (yes/no)? ") == (1, "")
        assert asked(asking, "Enter PIN for ED25519-SK key /k: ") == (1, "")
        assert asked(asking, "(a@b) Verification code: ") == (1, "")
    finally:
        asking.close()


def test_a_question_for_which_there_is_no_secret_has_no_answer(tmp_path: Path) -> None:
    asking = AskPass(tmp_path, Secret(""), Secret("phrase"))
    try:
        assert asked(asking, "a@b's password: ") == (1, "")
    finally:
        asking.close()


def test_no_secret_is_in_what_is_written_for_ssh(tmp_path: Path) -> None:
    asking = AskPass(tmp_path, Secret("very secret"), Secret("very secret"))
    asking.close()
    text = "".join(file.read_text() for file in tmp_path.iterdir() if file.is_file())
    assert text
    assert "very secret" not in text + str(asking.environment)


def test_what_is_written_for_ssh_is_ours_only_and_goes_with_the_connection(server: Server, reader: User) -> None:
    client = Client(server.access(reader))
    session = client.connect(client.way("mx1"))
    folder = client._folder
    assert folder is not None
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    session.close()
    client.close()
    assert not folder.exists()
    until = time.monotonic() + 30
    while _masters(folder) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _masters(folder)


def _masters(folder: Path) -> list[str]:
    found = subprocess.run(["ps", "-eo", "args"], check=True, capture_output=True, text=True).stdout
    return [line for line in found.splitlines() if str(folder) in line]


def test_a_master_that_runs_already_is_used_and_left_running(
    started: Callable[..., Server], reader: User, place: Path
) -> None:
    own = started()
    access = own.access(reader)
    socket = place / "own-master"
    with Path(access.ssh_config_file).open("a") as config:
        config.write(f"  ControlPath {socket}\n  UserKnownHostsFile {own.known_hosts}\n")
    options = ["-F", access.ssh_config_file, "-l", reader.name, "-i", str(own.client), "-o", "BatchMode=yes"]
    subprocess.run(["ssh", *options, "-M", "-N", "-f", "mx1"], check=True, stderr=subprocess.DEVNULL)
    try:
        client = Client(access)
        session = client.connect(client.way("mx1"))
        assert b"".join(session.start(HERE.line).blocks()) == b"here\n"
        session.close()
        client.close()
        assert own.told("Accepted publickey") == 1
        assert socket.exists()
    finally:
        subprocess.run(["ssh", *options, "-O", "exit", "mx1"], check=True, stderr=subprocess.DEVNULL)


def test_what_ssh_makes_of_its_configuration_is_what_counts(server: Server, reader: User, place: Path) -> None:
    access = server.access(reader)
    marker = place / "in-the-office"
    Path(access.ssh_config_file).write_text(
        f'Match exec "test -e {marker}"\n  Port 2200\nHost jump\n  HostName 192.0.2.1\n'
        "Host mx1\n  HostName 192.0.2.9\n  ProxyJump other@jump:2222\n"
    )
    way = way_of(access)
    assert (way.address, way.port, way.user) == ("192.0.2.9", 22, reader.name)
    assert [hop.shown for hop in way.jumps] == ["other@192.0.2.1:2222"]
    marker.touch()
    assert way_of(access).port == 2200


def test_names_of_files_mean_themselves(server: Server, reader: User, place: Path) -> None:
    odd = place / "o%h [x]*? $HOME"
    odd.mkdir(exist_ok=True)
    key = Path(shutil.copy(server.client, odd / "key %d"))
    key.chmod(0o600)
    known = Path(shutil.copy(server.known_hosts, odd / "known %u"))
    config = Path(shutil.copy(server.access(reader).ssh_config_file, odd / "config"))
    access = server.access(reader, private_key=str(key), known_hosts=(str(known),), ssh_config_file=str(config))
    client = Client(access)
    session = client.connect(client.way("mx1"))
    assert b"".join(session.start(HERE.line).blocks()) == b"here\n"
    session.close()
    client.close()


@pytest.mark.parametrize("text", ['x"\nProxyCommand touch it', 'a"b', "a\nb"])
def test_what_would_break_out_of_its_line_is_refused(
    server: Server, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for field in ("username", "private_key", "ssh_config_file"):
        with pytest.raises(DataError):
            way_of(server.access("x", **{field: text}))
    assert not [*tmp_path.glob("mailtrace-*")]


def test_a_host_that_looks_like_an_option_is_none(server: Server, reader: User, place: Path) -> None:
    client = Client(server.access(reader))
    with pytest.raises((DataError, SshError)):
        client.connect(client.way(f"-oProxyCommand=touch {place}/pwned"))
    client.close()
    assert not (place / "pwned").exists()


def test_a_configuration_that_ssh_refuses_is_told(server: Server, reader: User) -> None:
    access = server.access(reader)
    Path(access.ssh_config_file).write_text("NoSuchThing yes\n")
    with pytest.raises(DataError, match=r"(?i)nosuchthing"):
        way_of(access)


def test_a_machine_without_ssh_is_told(server: Server, reader: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(DataError, match="there is no ssh on this machine"):
        way_of(server.access(reader))
