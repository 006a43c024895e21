"""From running hosts to a corpus: traffic, quiet queues, then logs, hosts.json and truth.jsonl."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .cells import Cells
from .ends import waiting
from .fleet import DEAD_ADDRESS, FLEET, PARTNERS, STUCK, Host, Stamps
from .ssh import log_of
from .traffic import Session, Writer
from .truth import Sent, Truth, sent

_SENDER = Path(__file__).parent / "services" / "sender.py"
_ACTIONS = {"hold_release": ("-H",), "hold_requeue": ("-r",), "hold_delete": ("-d",)}
_SPAN = 45.0  # seconds of traffic at scale 1
_QUIET, _PATIENCE = 5.0, 180.0  # seconds without a moving message; seconds to wait for that
_LASTING = (f"@{STUCK}", "@dead.example")  # recipients that are deferred to the end; at gull they expire


def make(cells: Cells, out: Path, *, seed: int, scale: float) -> None:
    """One corpus in `out`."""
    started = time.time()
    span = _SPAN * max(0.5, scale)  # shorter, and the mails that wait for something would be all that is left
    sessions = list(Writer(seed, span).sessions(scale))
    print(f"{sum(len(one.mails) for one in sessions)} mails in {len(sessions)} sessions", flush=True)
    rotation = threading.Timer(span / 2, _rotate, [cells])
    rotation.start()
    replies = _send(cells, sessions)
    rotation.join()
    mails = sent(sessions, replies)
    _administer(cells, mails)
    _wait(cells)
    truth = Truth(mails)
    truth.read(cells)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    truth.write(out / "truth.jsonl")
    _compress(cells)
    _write_logs(cells, out, started)
    for fault in (*truth.missing(), *truth.unread):
        print(f"without a row: {fault}", file=sys.stderr)
    print(f"{len(truth.rows)} rows after {time.time() - started:.0f} s")


def _send(cells: Cells, sessions: Sequence[Session]) -> list[dict[str, Any]]:
    told, heard = cells.folder / "sessions.json", cells.folder / "replies.json"
    if told.exists():
        raise RuntimeError("these hosts have had their traffic: `down` and `up` first, so that logs and truth agree")
    told.write_text(json.dumps([one.as_dict() for one in sessions if not one.local]))
    sender = subprocess.Popen([*cells.in_namespace(PARTNERS), sys.executable, str(_SENDER), str(told), str(heard)])
    start = time.monotonic()
    for one in sorted((one for one in sessions if one.local), key=lambda one: one.at):
        time.sleep(max(0.0, start + one.at - time.monotonic()))
        for mail in one.mails:
            cells.run(
                one.entry,
                "sendmail",
                "-i",
                "-f",
                mail.sender,
                "--",
                *mail.recipients,
                text=mail.content.replace("\r\n", "\n"),
            )
    if sender.wait():
        raise RuntimeError("the sending program failed")
    replies: list[dict[str, Any]] = json.loads(heard.read_text())
    return replies


def _administer(cells: Cells, mails: Mapping[str, Sent]) -> None:
    """What an administrator does with held mail."""
    for one in mails.values():
        for option in _ACTIONS.get(one.mail.scenario, ()):
            for queue_id in one.queue_ids:
                cells.run(one.entry, "postsuper", option, queue_id)


def _wait(cells: Cells) -> None:
    """Until nothing moves any more."""
    end, quiet_since = time.monotonic() + _PATIENCE, time.monotonic()
    while time.monotonic() < end:
        moving = [
            one
            for one in waiting(cells)
            if one.queue not in ("hold", "frozen")
            and (one.host == "gull" or not all(address.endswith(_LASTING) for address in one.recipients))
        ]
        if moving:
            quiet_since = time.monotonic()
        elif time.monotonic() - quiet_since > _QUIET:
            return
        time.sleep(1)
    print("queues are not quiet", file=sys.stderr)


def _rotate(cells: Cells) -> None:
    """As logrotate does: rename, then tell the daemon."""
    for host in FLEET:
        if host.rotated:
            cells.run(
                host.name, "sh", "-c", "mv /var/log/mail.log /var/log/mail.log.1 && kill -HUP $(cat /run/rsyslogd.pid)"
            )


def _compress(cells: Cells) -> None:
    """As logrotate does with what it rotated the time before."""
    for host in FLEET:
        if host.rotated:
            cells.run(host.name, "gzip", "/var/log/mail.log.1")


def _write_logs(cells: Cells, out: Path, started: float) -> None:
    hosts: dict[str, Any] = {}
    for host in FLEET:
        where, path = "scribe" if host.loghost else host.name, log_of(host)
        folder = out / "logs" / where
        folder.mkdir(parents=True, exist_ok=True)
        files = []
        for name in (f"{path}.1.gz", path):
            file = cells.inside(where, name)
            if file.exists():
                files.append(Path(shutil.copyfile(file, folder / file.name)).relative_to(out).as_posix())
        hosts[host.name] = _described(host, files)
    described = {"started": started, "dead": DEAD_ADDRESS, "hosts": hosts}
    (out / "hosts.json").write_text(json.dumps(described, indent=1) + "\n")


def _described(host: Host, files: list[str]) -> dict[str, Any]:
    stamps = Stamps.RFC5424 if host.loghost else host.stamps
    return {
        "fqdn": host.fqdn,
        "log_hostname": host.name,
        "log_files": files,
        "log_file": Path(files[-1]).name,
        "aliases": [host.fqdn, *host.aliases],
        "ip": host.addresses[0],
        "addresses": list(host.addresses),
        "mta": "Exim 4.96" if host.exim else "Postfix 3.7",
        "log_format": stamps.value,
        "time_zone": host.zone,
        "clock_skew_s": host.clock_offset,
        "long_queue_ids": host.long_ids,
        "syslog_name": ", ".join(host.syslog_names),
        "outside": host.outside,
        "role": host.role,
    }
