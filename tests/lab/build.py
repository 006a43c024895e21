"""Makes the hosts and starts them."""

from __future__ import annotations

import concurrent.futures
import functools
import json
import subprocess
import sys
from pathlib import Path

from . import packages, ssh
from .cells import Cells
from .fleet import (
    BRIDGE_ADDRESS,
    DEAD_ADDRESS,
    FLEET,
    INSIDE,
    NETWORK,
    PARTNER_ADDRESSES,
    PARTNERS,
    SCRIBE,
    STUCK,
    Host,
)
from .roles import role, syslog_conf

_HERE = Path(__file__).parent
_PREFIX_LENGTH = int(NETWORK.partition("/")[2])
_SYSTEM_USERS = {  # name: (uid, gid, home)
    "root": (0, 0, "/root"),
    "daemon": (1, 1, "/"),
    "man": (6, 12, "/"),
    "mail": (8, 8, "/var/mail"),
    "sshd": (2001, 65534, "/run/sshd"),
    "postfix": (2002, 2002, "/var/spool/postfix"),
    "dovecot": (2004, 2004, "/"),
    "dovenull": (2005, 2005, "/"),
    "Debian-exim": (2006, 2006, "/var/spool/exim4"),
    "lists": (2007, 2007, "/"),
    "mailbox": (2010, 2010, "/var/mailboxes"),
    "nobody": (65534, 65534, "/"),
}
_GROUPS = {
    "root": 0,
    "daemon": 1,
    "adm": 4,
    "tty": 5,
    "mail": 8,
    "man": 12,
    "postfix": 2002,
    "postdrop": 2003,
    "dovecot": 2004,
    "dovenull": 2005,
    "Debian-exim": 2006,
    "lists": 2007,
    "mailbox": 2010,
    "users": 100,
    "nogroup": 65534,
}
_FIRST_PERSON = 3000


def up(cells: Cells, cache: Path, *, whole_tags: bool) -> None:
    """Build and start all hosts; the unpacked packages stay in `cache` for the next time."""
    layers = packages.unpack(cache)
    cells.folder.mkdir(parents=True, exist_ok=True)
    cells.make_network(f"{BRIDGE_ADDRESS}/{_PREFIX_LENGTH}")
    table = cells.folder / "dns.json"
    table.write_text(json.dumps(_zone()))
    cells.serve_network(sys.executable, str(_HERE / "services" / "dns.py"), BRIDGE_ADDRESS, str(table))
    cells.make_namespace(PARTNERS, list(PARTNER_ADDRESSES), _PREFIX_LENGTH)
    ssh.make_keys(cells.folder / "ssh")
    for host in (SCRIBE, *FLEET):
        cells.make_namespace(host.name, host.addresses, _PREFIX_LENGTH)
    start = functools.partial(_start, cells, layers=layers, whole_tags=whole_tags)
    start(SCRIBE)  # before those whose log it keeps
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        for started in [pool.submit(start, host) for host in FLEET]:
            started.result()
    ssh.write_client(cells, cells.folder / "ssh")


def _zone() -> dict[str, object]:
    """The DNS table (see services/dns.py)."""
    names: dict[str, list[str]] = {"mx.dead.example": [DEAD_ADDRESS]}
    pointers: dict[str, str] = {}
    for host in (*FLEET, SCRIBE):
        names[host.fqdn] = [host.addresses[0]]
        pointers |= {ip: host.pointers.get(ip, host.fqdn) for ip in host.addresses}
        for alias in host.aliases:
            names.setdefault(alias, [host.addresses[0]])
        for ip, name in host.pointers.items():
            names[name] = [ip]
    for ip, name in PARTNER_ADDRESSES.items():
        if name:
            names[name], pointers[ip] = [ip], name
    edges = [(10, "mx-sp.quay.example"), (10, "mx-osl.quay.example")]
    exchangers = dict.fromkeys((*INSIDE, STUCK), edges)
    exchangers |= {
        "far.example": [(10, "mail.far.example")],
        "isle.example": [(5, "mail.isle.example")],
        "dead.example": [(10, "mx.dead.example")],
    }
    return {"a": names, "mx": exchangers, "ptr": pointers}


def _start(cells: Cells, host: Host, layers: dict[str, Path], *, whole_tags: bool) -> None:
    what = role(host)
    upper = cells.path(host.name) / "upper"
    for path, text in {
        "/etc/rsyslog.conf": syslog_conf(host, whole_tags=whole_tags),
        **_system_files(host, what.users),
        **ssh.files(cells.folder / "ssh"),
        **what.files,
    }.items():
        file = upper / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    (upper / "etc/localtime").symlink_to(f"/usr/share/zoneinfo/{host.zone}")
    _give_clock(upper, host)
    spool = _small_spool(cells.path(host.name)) if host.small_spool else None
    cells.start(host.name, [layers["base"], layers["exim" if host.exim else "postfix"]], spool=spool)
    _own_files(cells, host, what.users)
    ssh.start(cells, host)
    for command in what.before:
        cells.run(host.name, *command)
    cells.launch(host.name, "rsyslogd", "-i", "/run/rsyslogd.pid")
    for service in what.services:
        cells.serve(host.name, *service)
    for command in what.start:
        cells.launch(host.name, *command)


def _system_files(host: Host, users: tuple[str, ...]) -> dict[str, str]:
    people = {name: (_FIRST_PERSON + n, 100, f"/home/{name}") for n, name in enumerate(users)}
    people |= {name: (uid, 4 if name == ssh.READER else 100, home) for name, (uid, home) in ssh.USERS.items()}
    passwd = [f"{name}:x:{uid}:{gid}::{home}:/bin/sh" for name, (uid, gid, home) in (_SYSTEM_USERS | people).items()]
    return {
        "/etc/passwd": "".join(f"{line}\n" for line in passwd),
        "/etc/group": "".join(f"{name}:x:{gid}:\n" for name, gid in _GROUPS.items()),
        "/etc/hostname": f"{host.name}\n",
        "/etc/mailname": f"{host.fqdn}\n",
        "/etc/hosts": f"127.0.0.1 localhost\n{host.addresses[0]} {host.fqdn} {host.name}\n",
        "/etc/resolv.conf": f"nameserver {BRIDGE_ADDRESS}\noptions timeout:1\n",
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\n"
        "protocols: files\n",
        "/etc/timezone": f"{host.zone}\n",
        "/var/spool/rsyslog/.keep": "",
    }


def _own_files(cells: Cells, host: Host, users: tuple[str, ...]) -> None:
    """What the packages' own scripts would have set."""
    if not host.exim:
        cells.run(
            host.name,
            "sh",
            "-c",
            "chgrp postdrop /usr/sbin/postdrop /usr/sbin/postqueue && "
            "chmod 2555 /usr/sbin/postdrop /usr/sbin/postqueue && "
            "install -d /var/lib/postfix -o postfix",
        )
    for user in users:
        cells.run(host.name, "install", "-d", "-o", user, "-g", "users", f"/home/{user}")


def _give_clock(upper: Path, host: Host) -> None:
    if not host.clock_offset and not host.clock_steps:
        return
    library = upper / "opt/lab/clock.so"
    library.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [
            "gcc",
            "-shared",
            "-fPIC",
            "-O2",
            f"-DOFFSET={host.clock_offset}",
            f"-DSTEPS={host.clock_steps}",
            "-o",
            library,
            _HERE / "clock.c",
        ],
        check=True,
    )
    (upper / "etc/ld.so.preload").write_text("/opt/lab/clock.so\n")


def _small_spool(folder: Path) -> Path:
    """A file system with few inodes, which are used again and again."""
    image = folder / "spool.img"
    folder.mkdir(parents=True, exist_ok=True)
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-N", "2048", image], check=True)
    return image
