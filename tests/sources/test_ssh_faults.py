"""What can be in the way over SSH, each tried for real: far hosts, IPv6, questions, journals, full disks, Ctrl-C."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mailtrace.config import SshConfig
from mailtrace.model import LogQuery
from mailtrace.sources.ssh import SshSource

from .sshd import PASSWORD, Server, Slowly, User, made_user, secret, until
from .test_ssh import at, ids, line, log, problems, source, write

pytestmark = [pytest.mark.needs("root", "sshd", "ssh", "ssh-keygen")]

JOURNAL_MAKER = "systemd-journal-remote"


def through(server: Server, user: User, port: int, **more: object) -> SshConfig:
    """Access to a server by another port."""
    access = server.access(user, **more)
    key = server.known_hosts.read_text().partition(" ")[2]
    known = server.folder / "known-by-alias"
    known.write_text(f"the-server {key}")
    Path(access.ssh_config_file).write_text(f"Host *\n  HostName 127.0.0.1\n  Port {port}\n  HostKeyAlias the-server\n")
    return replace(access, known_hosts=(str(known),))


# ------------------------------------------------------------------------------------------- far away


def test_a_host_that_is_far_away_is_read(server: Server, reader: User, folder: Path) -> None:
    path = write(folder, "mail.log", log(at(1), 20_000))
    with Slowly(server.port, 0.1) as slow:
        made = source(through(server, reader, slow.port), path)
        assert ids(made.query(LogQuery(any_of=("0000000042",), start=at(1), end=at(1, 200)))) == ["0000000042"]
        assert problems(made) == []
        made.close()


def test_a_host_that_is_too_far_away_for_the_timeout_is_told(server: Server, reader: User, folder: Path) -> None:
    path = write(folder, "mail.log", log(at(1), 10))
    with Slowly(server.port, 1.0) as slow:
        made = source(through(server, reader, slow.port, timeout=1.0), path)
        assert ids(made.query(LogQuery())) == []
        [problem] = problems(made)
        assert problem.startswith("timed out")
        assert "ssh_config.timeout" in problem
        made.close()


def test_twenty_hosts_are_read_at_once_and_one_that_is_down_costs_itself(
    started: Callable[..., Server], reader: User, folder: Path, client: Path, place: Path, transport: str
) -> None:
    servers = {f"mx{number:02}": started() for number in range(1, 21)}
    servers["mx13"].stop()
    logs = {host: [write(folder, f"{host}.log", log(at(1), 10, host))] for host in servers}
    config = "".join(f"Host {host}\n  HostName 127.0.0.1\n  Port {one.port}\n" for host, one in servers.items())
    (folder / "config").write_text(config)
    (folder / "known").write_text("".join(one.known_hosts.read_text() for one in servers.values()))
    access = servers["mx01"].access(
        reader, known_hosts=(str(folder / "known"),), ssh_config_file=str(folder / "config"), timeout=20.0
    )
    made = source(access, logs)
    found = list(made.query(LogQuery(any_of=("0000000004",))))
    assert sorted(entry.host for entry in found) == sorted(set(servers) - {"mx13"})
    assert [item.host for item in made.coverage() if item.missing] == ["mx13"]
    made.close()


def test_an_address_of_version_6_is_logged_in_to_also_as_a_jump_host(
    started: Callable[..., Server], reader: User, folder: Path
) -> None:
    one, two = (started(ListenAddress="::1") for _ in range(2)) if _has_six() else pytest.skip("no IPv6 loopback")
    path = write(folder, "mail.log", log(at(1), 10))
    access = one.access(reader)
    known = folder / "known"
    known.write_text("".join(each.known_hosts.read_text().replace("127.0.0.1", "::1") for each in (one, two)))
    (folder / "config").write_text(
        f"Host mx1\n  HostName ::1\n  Port {one.port}\n  ProxyJump {reader.name}@[::1]:{two.port}\n"
    )
    made = source(replace(access, known_hosts=(str(known),), ssh_config_file=str(folder / "config")), path)
    assert len(ids(made.query(LogQuery()))) == 10, problems(made)
    assert f"through {reader.name}@[::1]:{two.port}" in made.plan(LogQuery())[0]
    made.close()


def _has_six() -> bool:
    return (
        Path("/proc/net/if_inet6").exists()
        and "00000000000000000000000000000001" in Path("/proc/net/if_inet6").read_text()
    )


def test_a_server_that_asks_questions_gets_the_password_once(
    started: Callable[..., Server], reader: User, folder: Path
) -> None:
    own = started(UsePAM="yes", KbdInteractiveAuthentication="yes", PasswordAuthentication="no")
    path = write(folder, "mail.log", log(at(1), 10))
    right = own.access(reader, private_key="", password=secret(PASSWORD), timeout=10.0)
    made = source(right, path)
    assert len(ids(made.query(LogQuery()))) == 10, problems(made)
    assert own.told("Accepted keyboard-interactive") == 1
    made.close()
    wrong = source(replace(right, password=secret("not it at all")), path)
    assert ids(wrong.query(LogQuery())) == []
    assert "refused" in problems(wrong)[0]
    assert "not it at all" not in problems(wrong)[0]
    wrong.close()
    assert own.told("Failed keyboard-interactive") == 1


# ------------------------------------------------------------------------------------------- what is there


def journal_entry(moment: float, name: str, text: str, **more: str) -> str:
    fields = {
        "__CURSOR": f"s=1;i={int(moment * 1e6):x}",
        "__REALTIME_TIMESTAMP": str(int(moment * 1e6)),
        "__MONOTONIC_TIMESTAMP": str(int((moment % 1e6) * 1e6)),
        "_BOOT_ID": "0" * 31 + "1",
        "_HOSTNAME": "mx1",
        "SYSLOG_IDENTIFIER": name,
        "SYSLOG_PID": "7",
        "MESSAGE": text,
        **more,
    }
    return "".join(f"{key}={value}\n" for key, value in fields.items()) + "\n"


def add_to(journal: Path, text: str) -> None:
    """Let a real journal take entries in."""
    maker = shutil.which(JOURNAL_MAKER, path=f"{os.environ['PATH']}:/lib/systemd:/usr/lib/systemd") or ""
    subprocess.run([maker, "-o", str(journal), "-"], input=text.encode(), check=True, capture_output=True)
    journal.chmod(0o644)


@pytest.fixture
def journal(folder: Path, need: Callable[[str], None]) -> Path:
    """A folder with a real journal, and a `journalctl` that reads just that."""
    need("journalctl")
    need(JOURNAL_MAKER)
    text = "".join(
        journal_entry(at(1, n), "postfix/cleanup", f"{n:010X}: message-id=<{n}@x.example>", SYSLOG_FACILITY="2")
        for n in range(500)
    )
    text += journal_entry(at(1, 600), "kernel", "000000002A is no mail", SYSLOG_FACILITY="0")
    text += journal_entry(
        at(1, 601), "postfix/cleanup", "FEED000001: message-id=<o@x.example>", _SYSTEMD_UNIT="postfix@-.service"
    )
    (folder / "journal").mkdir(mode=0o755)
    add_to(folder / "journal" / "mail.journal", text)
    (folder / "bin").mkdir(mode=0o755)
    wrapper = folder / "bin" / "journalctl"
    real = shutil.which("journalctl")
    wrapper.write_text(f'#!/bin/sh\necho "$@" >>{folder}/asked\nexec {real} --directory={folder}/journal "$@"\n')
    wrapper.chmod(0o755)
    (folder / "asked").touch(0o666)
    (folder / "asked").chmod(0o666)
    return folder


def test_a_real_journal_is_read_with_its_window_and_units_and_filtered_there(
    started: Callable[..., Server], reader: User, journal: Path
) -> None:
    own = started(SetEnv=f"PATH={journal}/bin:/usr/bin:/bin")
    made = source(own.access(reader), "journal")
    query = LogQuery(any_of=("000000002a", "0000000100", "feed000001"), start=at(1), end=at(1, 700))
    found = list(made.query(query))
    assert ids(found) == ["000000002A", "0000000100", "FEED000001"]
    assert found[0].time == at(1, 42)
    assert made.traffic.lines == 3
    assert f"--since=@{int(at(1)) - 120}" in (journal / "asked").read_text()
    assert "SYSLOG_FACILITY=2" in (journal / "asked").read_text()
    assert ids(made.query(replace(query, start=at(1, 500)))) == ["FEED000001"]
    assert problems(made) == []
    [item] = [item for item in made.check() if not item.problem]
    assert item.first == at(1, 601)
    made.close()


def test_a_journal_that_may_not_be_read_is_told(started: Callable[..., Server], reader: User, journal: Path) -> None:
    (journal / "journal").chmod(0o700)
    own = started(SetEnv=f"PATH={journal}/bin:/usr/bin:/bin")
    made = source(own.access(reader), "journal")
    assert ids(made.query(LogQuery())) == []
    assert [item.missing for item in made.coverage() if item.problem] == [True]
    made.close()


def followed(made: SshSource, places: dict[str, Any], most: int | None = None) -> list[str]:
    """The queue IDs that came since, up to so many, and their places into `places`; `problem` is what went wrong."""
    out = []
    for tail in made.follow(places, None, time.time()):
        place = None
        for entry, mark in tail:
            out.append(entry.queue_id)
            place = tail.place(mark)
            if len(out) == most:
                break
        else:
            place = tail.place()
        if tail.problem:
            out.append(tail.problem)
        else:
            places[tail.name] = json.loads(json.dumps(place))
    return out


def test_a_real_journal_is_followed_line_by_line_whatever_its_clock_does(
    started: Callable[..., Server], reader: User, journal: Path
) -> None:
    own = started(SetEnv=f"PATH={journal}/bin:/usr/bin:/bin")
    places: dict[str, Any] = {}
    made = source(own.access(reader), "journal")
    every = [*(f"{n:010X}" for n in range(500)), "FEED000001"]
    assert followed(made, places, 200) == every[:200]
    made.close()
    made = source(own.access(reader), "journal")  # another process goes on from there
    assert followed(made, places) == every[200:]
    assert followed(made, places) == []
    later = journal_entry(at(1, 602), "postfix/cleanup", "FEED000002: message-id=<p@x.example>", SYSLOG_FACILITY="2")
    back = journal_entry(at(1, 3), "postfix/cleanup", "FEED000003: message-id=<q@x.example>", SYSLOG_FACILITY="2")
    add_to(journal / "journal" / "mail.journal", later + back)
    assert followed(made, places) == ["FEED000002", "FEED000003"]
    assert made.traffic.lines < 520
    asked = (journal / "asked").read_text().splitlines()[-1]
    assert "--cursor=s=" in asked
    assert "--since" not in asked
    made.close()


def test_a_journal_that_cannot_be_followed_is_told_and_keeps_its_place(
    started: Callable[..., Server], reader: User, journal: Path
) -> None:
    own = started(SetEnv=f"PATH={journal}/bin:/usr/bin:/bin")
    places: dict[str, Any] = {}
    made = source(own.access(reader), "journal")
    followed(made, places)
    kept = dict(places)
    wrapper = journal / "bin" / "journalctl"
    text = wrapper.read_text()
    wrapper.write_text("#!/bin/sh\necho 'Failed to open files' >&2\nexit 1\n")
    assert followed(made, places) == ["journal: Failed to open files"]
    assert places == kept
    wrapper.write_text(text)
    assert followed(made, places) == []
    made.close()


def test_nothing_is_written_on_the_server(server: Server, place: Path, folder: Path) -> None:
    """A user who can write no byte to any file, with a temporary folder that is none."""
    path = write(folder, "mail.log", log(at(1), 20_000) + line(at(2), "FEED000001", "it's\n".strip()))
    with made_user("mt-full", place / "full", shell="/bin/bash") as user:
        (user.home / ".bashrc").write_text("ulimit -f 0; export TMPDIR=/proc/nowhere\n")
        made = source(server.access(user), path)
        many = tuple(f"{n:010X}" for n in range(2000))
        assert len(ids(made.query(LogQuery(any_of=many, start=at(1), end=at(1, 30_000))))) == 2000
        assert ids(made.query(LogQuery(any_of=("feed000001",)))) == ["FEED000001"]
        assert problems(made) == []
        made.close()


def own_grep(folder: Path, script: str) -> Path:
    """A grep of the server's own, in a folder of its own."""
    (folder / "bin").mkdir(mode=0o755)
    grep = folder / "bin" / "grep"
    grep.write_text(f"#!/bin/sh\n{script}\n")
    grep.chmod(0o755)
    return grep


def test_a_grep_that_tells_where_the_match_begins_is_not_believed(
    started: Callable[..., Server], reader: User, folder: Path
) -> None:
    """Some versions of BSD's grep have such a `-b`; the line's place is counted in lines then."""
    # -o: the match's own place
    grep = own_grep(folder, 'case $1 in -ab*) set -- -o "$@";; esac\nexec /usr/bin/grep "$@"')
    path = write(folder, "mail.log", log(at(1), 2000))
    own = started(SetEnv=f"PATH={grep.parent}:/usr/bin:/bin")
    made = source(own.access(reader), path)
    found = list(made.query(LogQuery(any_of=("0000000042",))))
    assert ids(found) == ["0000000042"]
    assert problems(made) == []
    made.close()


# ------------------------------------------------------------------------------------------- Ctrl-C


def test_ctrl_c_ends_the_remote_commands_and_tells_what_was_found(
    started: Callable[..., Server], reader: User, folder: Path
) -> None:
    """The server's grep tells its lines so slowly that it runs for hours unless it is ended."""
    slowly = 'while IFS= read -r line; do printf "%s\\n" "$line" || exit 1; sleep 0.05; done'
    grep = own_grep(folder, f'/usr/bin/grep "$@" | {slowly}')
    access = started(SetEnv=f"PATH={grep.parent}:/usr/bin:/bin").access(reader)
    path = write(folder, "mail.log", log(at(1), 20_000))
    config = folder / "config.json"
    reach = {
        "username": access.username,
        "private_key": access.private_key,
        "known_hosts": list(access.known_hosts),
        "ssh_config_file": access.ssh_config_file,
        "transport": access.transport,
        "sudo": False,
        "hosts": {"mx1": {"log_files": [path]}},
    }
    config.write_text(json.dumps({"method": "ssh", "ssh_config": reach}))
    program = Path(sys.executable).with_name("mailtrace")
    job = [str(program), "trace", "-c", str(config), "-k", "message-id", "--format", "json"]
    with subprocess.Popen(job, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as process:
        until(lambda: bool(_remote(grep)))
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(out)["version"] == 1
    until(lambda: not _remote(grep))


def _remote(program: Path) -> list[str]:
    """The processes on the server that run a program of its own."""
    found = subprocess.run(["ps", "-eo", "args"], check=True, capture_output=True, text=True).stdout
    return [line for line in found.splitlines() if line.startswith(f"/bin/sh {program}")]
