"""A fleet of real mail hosts, and mailtrace tells what became of every copy of its mail: from files and over SSH."""

from __future__ import annotations

import json
import os
import pty
import random
import re
import subprocess
import sys
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from truth import path_of, score

from mailtrace.eml import letter_of
from mailtrace.model import Mail
from mailtrace.report import Report
from mailtrace.run import run_job

from .conftest import SEED, Lab
from .ends import copies, hops, protocols
from .fleet import FLEET, PARTNERS
from .ssh import OPERATOR, READER
from .truth import notice_in

PROGRAM = Path(sys.executable).with_name("mailtrace")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs("root", "ip", "unshare", "nsenter", "openssl", "ssh", "ssh-keygen", "mkfs.ext4", "gcc"),
]


def trace(config: dict[str, Any], **find: Any) -> Report:
    return run_job({"version": 1, "kind": "trace", "config": config, "find": find, "export": []})


def judge(report: Report, rows: list[dict[str, Any]]) -> None:
    result = score(list(report.mails), rows)
    assert not result.mixed
    assert [(row["scenario"], row["final_recipient"], row["path"]) for row in result.missed] == []
    assert result.exact == result.wanted > 200
    assert len(result.unexplained) < 0.02 * result.reported


def rows_of(*mails: Mail) -> Counter[tuple[object, ...]]:
    rows = (row for mail in mails for row in mail.recipients)
    return Counter((row.recipient, row.original_recipient, row.outcome, path_of(row)) for row in rows)


def test_every_copy_of_a_real_fleet_s_mail_is_told(lab: Lab, whole: Report) -> None:
    judge(whole, lab.rows)


def test_a_step_is_said_to_have_had_tls_or_none_as_its_received_header_says(lab: Lab) -> None:
    job = {"version": 1, "kind": "trace", "config": lab.files(), "find": {}, "expect": [{"tls": True}]}
    told = {(hop.host, hop.queue_id): hop for mail in run_job(job).mails for hop in mail.hops if not hop.local}
    seen: Counter[tuple[bool, str]] = Counter()
    for copy in copies(lab.cells):
        for where, secured in protocols(copy.message).items():
            if where in told:
                hop = told[where]
                seen[secured, "tls" if hop.tls else "plain" if hop.plain else ""] += 1
    assert seen[True, "tls"] > 20
    assert seen[False, "plain"] > 100
    assert seen[True, "plain"] == seen[False, "tls"] == 0
    assert seen[True, ""] + seen[False, ""] < 0.05 * sum(seen.values())


def test_a_bounce_that_a_real_server_wrote_leads_to_the_mail_it_is_about(lab: Lab, whole: Report) -> None:
    by_hop = {(hop.host, hop.queue_id): mail.id for mail in whole.mails for hop in mail.hops}
    wrong, writers = [], Counter[str]()
    for copy in copies(lab.cells):
        notice = notice_in(copy.message)
        if notice is None or not hops(notice.about):
            continue
        letter = letter_of(copy.data)
        failed = {one.recipient.lower() for one in notice.failures if one.action == "failed"}
        meant = {by_hop.get(hop) for hop in hops(notice.about)} - {None}
        found = {mail.id for mail in whole.mails for hop in mail.hops if hop.message_id in letter.message_ids}
        found |= {mail for (_, queue_id), mail in by_hop.items() if queue_id in dict(letter.queue_ids)}
        writers["Exim" if copy.message.get("X-Failed-Recipients") else "Postfix"] += 1
        if not (meant and meant <= found and failed <= {address.lower() for address in letter.recipients}):
            wrong.append((copy.mailbox, copy.message["Message-Id"], meant - found, failed, letter))
    assert wrong == []
    assert set(writers) == {"Exim", "Postfix"}


@pytest.mark.parametrize("user,transport", [(READER, "paramiko"), (OPERATOR, "paramiko"), (OPERATOR, "openssh")])
def test_over_ssh_every_copy_is_told_too(lab: Lab, user: str, transport: str) -> None:
    with lab.cells.visiting(PARTNERS):
        report = trace(lab.ssh(user, transport))
    judge(report, lab.rows)
    assert [item.problem for item in report.coverage if item.missing] == []


@pytest.mark.parametrize("host", [host.name for host in FLEET])
def test_over_ssh_a_mail_is_told_whole_from_any_host_that_had_it(lab: Lab, whole: Report, host: str) -> None:
    """One mail of each host here; MAILTRACE_LAB_MAILS=1000 asks for that many."""
    had = [(mail, hop) for mail in whole.mails for hop in mail.hops if hop.host == host]
    everything = rows_of(*whole.mails)
    most = min(int(os.environ.get("MAILTRACE_LAB_MAILS", "1")), len(had))
    wrong = []
    with lab.cells.visiting(PARTNERS):
        for mail, hop in random.Random(int(SEED)).sample(had, most):
            told = rows_of(*trace(lab.ssh(), queue_id=hop.queue_id, start_host=[host]).mails)
            if rows_of(mail) - told or told - everything:
                wrong.append((hop.queue_id, rows_of(mail) - told, told - everything))
    assert wrong == []


def test_over_ssh_run_goes_hop_by_hop_where_each_mail_went(lab: Lab) -> None:
    mails: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in lab.rows:
        mails[row["lab_id"]].append(row)
    plain = [
        rows
        for rows in mails.values()
        if all(row["kind"] == "mail" and row["outcome"] == "delivered" and row["message_id"] for row in rows)
        and len({row["path"][0]["queue_id"] for row in rows}) == 1
        and sum(row["message_id"] == rows[0]["message_id"] for row in lab.rows) == len(rows)
    ]
    config = lab.cells.folder / "config.json"
    config.write_text(json.dumps(lab.ssh()))

    def followed(rows: list[dict[str, Any]]) -> str:
        first = rows[0]["path"][0]
        question = ("-h", first["host"], "--queue-id", first["queue_id"])
        with lab.cells.visiting(PARTNERS):
            return at_a_terminal(str(PROGRAM), "run", "-c", str(config), *question)

    chosen = random.Random(int(SEED)).sample(plain, 3)
    with ThreadPoolExecutor(3) as pool:
        every = list(pool.map(followed, chosen))
    for rows, shown in zip(chosen, every, strict=True):
        hops = set(re.findall(r"^(\S+)  (\S+)  \d{4}-\d\d-\d\d ", shown, re.MULTILINE))
        assert hops == {(step["host"], step["queue_id"]) for row in rows for step in row["path"]}, shown
        assert "That is the whole way." in shown


def at_a_terminal(*command: str) -> str:
    """What a program shows to someone who presses Enter at each question."""
    master, slave = pty.openpty()
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True) as process:
        os.close(slave)
        shown = ""
        asked = 0
        while True:
            try:
                block = os.read(master, 65536)
            except OSError:  # the other end is closed
                break
            if not block:
                break
            shown += block.decode().replace("\r\n", "\n")
            questions = len(re.findall(r"\? \[[^\]]*\] |Which.*\? ?", shown))
            while asked < questions:
                os.write(master, b"\n")
                asked += 1
        os.close(master)
        assert process.wait(60) == 0, shown
    return shown
