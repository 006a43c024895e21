"""An sshd on every host, one key pair for the lab, and the files that a client needs to reach them all.

`reader` may read the logs (group adm); `operator` needs sudo for that, and sudo wants the password.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from .cells import Cells
from .fleet import FLEET, SCRIBE, Host, Stamps

READER, OPERATOR = "reader", "operator"
PASSWORD = "battery staple"  # of both, for logins without the key and for sudo
USERS = {READER: (2100, "/home/reader"), OPERATOR: (2101, "/home/operator")}
_CONFIG = """\
HostKey /etc/ssh/ssh_host_ed25519_key
UsePAM no
PasswordAuthentication yes
KbdInteractiveAuthentication no
AuthorizedKeysFile /etc/ssh/authorized_keys
PermitRootLogin no
PidFile /run/sshd.pid
"""


def make_keys(folder: Path) -> None:
    """The client's key pair in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    key = folder / "id_ed25519"
    if not key.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", key], check=True)


def files(folder: Path) -> dict[str, str]:
    """A host's files by path."""
    crypted = subprocess.run(["openssl", "passwd", "-6", PASSWORD], check=True, capture_output=True, text=True).stdout
    users = {"root": "*", **dict.fromkeys(USERS, crypted.strip())}
    return {
        "/etc/ssh/sshd_config": _CONFIG,
        "/etc/ssh/authorized_keys": (folder / "id_ed25519.pub").read_text(),
        "/etc/shadow": "".join(f"{name}:{word}:20000:0:99999:7:::\n" for name, word in users.items()),
        "/etc/sudoers.d/operator": f"{OPERATOR} ALL=(root) ALL\n",
    }


def start(cells: Cells, host: Host) -> None:
    """Make a host's key and start its sshd."""
    cells.run(host.name, "sh", "-c", "chmod 640 /etc/shadow; chmod 440 /etc/sudoers.d/operator; install -d /run/sshd")
    # A machine that has an sshd has keys of its own, which the hosts must not share.
    cells.run(host.name, "sh", "-c", "rm -f /etc/ssh/ssh_host_*")
    for user, (_, home) in USERS.items():
        cells.run(host.name, "install", "-d", "-o", user, home)
    cells.run(host.name, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/etc/ssh/ssh_host_ed25519_key")
    cells.launch(host.name, "/usr/sbin/sshd")


def write_client(cells: Cells, folder: Path) -> None:
    """What someone has who comes from the partners' network: `known_hosts`, an ssh_config, and mailtrace's config."""
    known = []
    for host in (*FLEET, SCRIBE):
        key = cells.inside(host.name, "/etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2]
        known.append(f"{','.join((host.name, host.fqdn, host.addresses[0]))} {' '.join(key)}\n")
    (folder / "known_hosts").write_text("".join(known))
    (folder / "config").write_text("".join(_entry(host, host, folder) for host in (*FLEET, SCRIBE)))
    # Where the logs are: some hosts' are at the log host's.
    logs = "".join(_entry(host, SCRIBE if host.loghost else host, folder) for host in FLEET)
    (folder / "logs").write_text(logs)
    (folder / "mailtrace.json").write_text(json.dumps(mailtrace_config(folder), indent=1) + "\n")


def _entry(host: Host, machine: Host, folder: Path) -> str:
    return (
        f"Host {host.name} {host.fqdn}\n  HostName {machine.addresses[0]}\n  User {READER}\n"
        f"  IdentityFile {folder / 'id_ed25519'}\n  UserKnownHostsFile {folder / 'known_hosts'}\n"
    )


def mailtrace_config(folder: Path) -> dict[str, Any]:
    """A configuration that tells where the logs are, and nothing else of the hosts."""
    logs = {host.name: {"log_files": [log_of(host) + ("*" if host.rotated else "")]} for host in FLEET}
    access = {"ssh_config_file": str(folder / "logs"), "sudo": False, "hosts": logs}
    return {"method": "ssh", "ssh_config": access}


def log_of(host: Host) -> str:
    """The path of a host's log, on the host that has it."""
    return "/var/log/exim4/mainlog" if host.stamps is Stamps.EXIM and not host.loghost else "/var/log/mail.log"
