"""The report against the truth of two real fleets, told where their logs are and nothing else.

No aliases, no addresses, no zones, no clocks; the logs as they are, and with what happens to logs: a host is missing,
lines are lost, a clock is wrong, a zone is another.
"""

from __future__ import annotations

import gzip
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import truth
from truth import Hop, path_of, true_path

from mailtrace.model import Mail, Recipient
from mailtrace.report import Report
from mailtrace.run import run_job

Config = dict[str, Any]
Edit = Callable[[str, str], "str | None"]
"""(host, line) → the line as it is to stand in the log, None to lose it."""

OPEN = ("relayed", "in_transit", "unknown", "deferred", "held")
"""Outcomes that claim no end."""
ISO = re.compile(r"(?P<stamp>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+\d\d:\d\d)")
BSD = re.compile(r"[A-Z][a-z][a-z] [ \d]\d \d\d:\d\d:\d\d")
SPACED = re.compile(r"(?P<stamp>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)")
YEAR = {"fleet": 2026, "rough": 2025}


def trace(config: Config, **find: str) -> Report:
    return run_job({"version": 1, "kind": "trace", "config": config, "find": find, "export": []})


@cache
def whole(name: str) -> Report:
    """The trace of a whole fleet; nobody changes it."""
    return trace(truth.fleet(name))


def rows_of(mails: Iterable[Mail]) -> Counter[tuple[object, ...]]:
    """The rows of mails, as they are compared."""
    return Counter(
        (r.recipient, r.original_recipient, r.outcome, path_of(r)) for mail in mails for r in mail.recipients
    )


# ------------------------------------------------------------------------------------------------ edited logs


def edited(name: str, folder: Path, edit: Edit) -> Config:
    """A fleet whose logs are copies, each line as `edit` gives it back."""
    done: dict[str, str] = {}
    hosts = {}
    for host, files in truth.logs(name).items():
        for file in files:
            if file not in done:
                done[file] = str(_copy(Path(file), host, folder / str(len(done)), edit))
        hosts[host] = {"log_files": [done[file] for file in files]}
    return {"method": "files", "files_config": {"host_config": {"log_files": []}, "hosts": hosts}}


def _copy(file: Path, host: str, folder: Path, edit: Edit) -> Path:
    raw = file.read_bytes()
    packed = file.suffix == ".gz"
    text = (gzip.decompress(raw) if packed else raw).decode("utf-8", "surrogateescape")
    shared = "loghost" in file.parts
    kept = (edit(_writer(line) if shared else host, line) for line in text.split("\n"))
    out = "\n".join(line for line in kept if line is not None).encode("utf-8", "surrogateescape")
    folder.mkdir()
    copy = folder / file.name
    copy.write_bytes(gzip.compress(out, 1) if packed else out)
    return copy


def _writer(line: str) -> str:
    """The host that wrote a line of the loghost's file."""
    return line[16:].partition(" ")[0].partition(".")[0]


def without(gone: str) -> Edit:
    return lambda host, line: None if host == gone else line


def losing(share: float, seed: int) -> Edit:
    dice = random.Random(seed)
    return lambda _host, line: None if dice.random() < share else line


def later(wrong: str, seconds: float) -> Edit:
    """A host whose clock is wrong."""

    def edit(host: str, line: str) -> str:
        if host != wrong:
            return line
        move = timedelta(seconds=seconds)
        line = BSD.sub(lambda m: f"{_bsd(m[0], 2000) + move:%b %e %H:%M:%S}", line, count=1)
        line = ISO.sub(
            lambda m: (datetime.fromisoformat(m[0]) + move).isoformat(timespec="microseconds"), line, count=1
        )
        return SPACED.sub(lambda m: str(datetime.fromisoformat(m[0]) + move), line, count=1)

    return edit


def yearless(moved: str, hours: float, year: int, was: float = 0.0) -> Edit:
    """A host that writes stamps without year and zone, `hours` east of UTC; before, `was` hours east."""
    zone = timezone(timedelta(hours=hours))

    def edit(host: str, line: str) -> str:
        if host != moved or not line:
            return line
        iso, bsd = ISO.search(line), BSD.search(line)
        if not iso and not bsd:
            return line  # one of the broken ones
        if iso:
            utc, found = datetime.fromisoformat(iso[0]), iso
        else:
            assert bsd
            utc = _bsd(bsd[0], year).replace(tzinfo=timezone(timedelta(hours=was)))
            found = bsd
        return f"{line[: found.start()]}{utc.astimezone(zone):%b %e %H:%M:%S}{line[found.end() :]}"

    return edit


def _bsd(stamp: str, year: int) -> datetime:
    return datetime.strptime(f"{year} {stamp}", "%Y %b %d %H:%M:%S")  # noqa: DTZ007 - it has no zone, that is the point


# ------------------------------------------------------------------------------------------ what is false


def false_rows(mails: Iterable[Mail], rows: list[dict[str, Any]], gone: str = "") -> Iterator[tuple[Mail, Recipient]]:
    """Rows that the truth contradicts: a path that no mail took, or an end that did not come.

    `gone` is a host whose log was not read: its hops may be bridged, and a copy that went there has no known end. The
    rough fleet's hosts share their inodes, so that two hops of one mail may have the same short queue ID: where the one
    that an answer means was not read, the other looks like it in every way, and such rows are not judged.
    """
    twins = {hop[1] for row in rows for hop in true_path(row) if hop[0] == gone}
    starts: dict[Hop, list[tuple[dict[str, Any], tuple[Hop, ...]]]] = {}
    for row in rows:
        seen = tuple(hop for hop in true_path(row) if hop[0] != gone)
        for hop in dict.fromkeys(seen):
            starts.setdefault(hop, []).append((row, seen))
    for mail in mails:
        for told in mail.recipients:
            path = path_of(told)
            if any(queue_id in twins for _host, queue_id in path):
                continue
            if path and path[0] in starts and not any(_allows(told, path, *way) for way in starts[path[0]]):
                yield mail, told


def _allows(told: Recipient, path: tuple[Hop, ...], row: dict[str, Any], seen: tuple[Hop, ...]) -> bool:
    at = seen.index(path[0])
    if seen[at : at + len(path)] != path:
        return False
    if told.outcome in OPEN:
        return True
    return true_path(row)[-1] == path[-1] and row["outcome"] == told.outcome


def touched(name: str, gone: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The provable rows of the truth whose path leads through a host, and the others."""
    rows = [row for row in truth.truth(name) if row.get("provable") is not False]
    through = [row for row in rows if any(hop[0] == gone for hop in true_path(row)) or row.get("entry") == gone]
    return through, [row for row in rows if row not in through]


# ------------------------------------------------------------------------------------------------ the tests


def test_of_the_small_fleet_every_row_is_told_but_two_that_no_line_names() -> None:
    # One transaction offered two mails to two recipients each, and the policy server refused them at DATA: Postfix logs
    # such a refusal once, with the first recipient (`… to=<anna@alpha.lab.test> proto=ESMTP …`). No line of any log
    # names the second.
    rows = truth.truth("fleet")
    score = truth.score(whole("fleet").mails, rows)
    assert (score.wanted, score.exact) == (194, 192)
    assert sorted(row["final_recipient"] for row in score.missed) == ["adam@alpha.lab.test", "dora@delta.lab.test"]
    assert {row["scenario"] for row in score.missed} == {"reject_data"}
    assert score.unexplained == []
    assert score.mixed == []


def test_of_the_rough_fleet_every_row_is_told() -> None:
    score = truth.score(whole("rough").mails, truth.truth("rough"))
    assert (score.wanted, score.exact) == (1078, 1078)
    assert score.mixed == []
    assert len(score.unexplained) < 0.005 * score.reported


@pytest.mark.parametrize("name", ["fleet", "rough"])
def test_no_row_contradicts_the_truth(name: str) -> None:
    assert list(false_rows(whole(name).mails, truth.truth(name))) == []


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda row, _other: row._replace(outcome="bounced"), id="outcome"),
        pytest.param(lambda row, _other: row._replace(recipient=f"x{row.recipient}"), id="recipient"),
        pytest.param(lambda row, _other: row._replace(path=row.path[:-1]), id="a hop less at the end"),
        pytest.param(lambda row, _other: row._replace(path=(row.path[0], *row.path[2:])), id="a hop less between"),
        pytest.param(lambda row, _other: row._replace(path=row.path[::-1]), id="order"),
        pytest.param(lambda row, other: row._replace(path=(row.path[0], other.path[-1])), id="another mail's end"),
        pytest.param(lambda _row, _other: None, id="no row"),
    ],
)
def test_the_judge_notices_one_wrong_row(wrong: Callable[[Recipient, Recipient], Recipient | None]) -> None:
    ways = [mail for mail in whole("fleet").mails if len(mail.recipients) == 1 and len(mail.recipients[0].path) > 2]
    ways = [mail for mail in ways if mail.recipients[0].outcome == "delivered"]
    made = wrong(ways[5].recipients[0], ways[11].recipients[0])
    mails = [m if m.id != ways[5].id else replace(m, recipients=[made] if made else []) for m in whole("fleet").mails]
    score = truth.score(mails, truth.truth("fleet"))
    assert score.exact == 191
    assert score.missed
    assert score.unexplained or made is None


def questions(mail: Mail) -> Iterator[dict[str, str]]:
    """All ways to ask for one mail: Message-ID, every queue ID on its way, every recipient."""
    if mail.message_id:
        yield {"message_id": mail.message_id}
    for queue_id in dict.fromkeys(hop.queue_id for hop in mail.hops):
        yield {"queue_id": queue_id}
    for recipient in dict.fromkeys(row.recipient for row in mail.recipients):
        if "@" in recipient:
            yield {"recipient": recipient}


def ask_alone(name: str, mails: int, asks: int, seed: int) -> list[tuple[dict[str, str], object]]:
    """Questions for single mails that were answered otherwise than by the trace of all.

    At the first second of a log, `unknown` or `in_transit` depends on how exactly its clock is known: both say that no
    line tells where the copy is.
    """
    dice = random.Random(seed)
    everything = lost_alike(rows_of(whole(name).mails))
    wrong: list[tuple[dict[str, str], object]] = []
    for mail in dice.sample(whole(name).mails, mails):
        all_ways = list(questions(mail))
        for find in dice.sample(all_ways, min(asks, len(all_ways))):
            got = lost_alike(rows_of(trace(truth.fleet(name), **find).mails))
            missing = lost_alike(rows_of([mail])) - got
            if missing or got - everything:
                wrong.append((find, (missing, got - everything)))
    return wrong


def lost_alike(rows: Counter[tuple[object, ...]]) -> Counter[tuple[object, ...]]:
    alike: Counter[tuple[object, ...]] = Counter()
    for (recipient, original, outcome, path), times in rows.items():
        alike[(recipient, original, "unknown" if outcome == "in_transit" else outcome, path)] += times
    return alike


def test_each_mail_traced_alone_has_the_rows_of_the_trace_of_all() -> None:
    assert ask_alone("fleet", mails=25, asks=3, seed=11) == []


def test_each_mail_of_the_rough_fleet_traced_alone_has_the_rows_of_the_trace_of_all() -> None:
    assert ask_alone("rough", mails=8, asks=1, seed=12) == []


@pytest.mark.slow
@pytest.mark.parametrize("name,mails,asks", [("fleet", 129, 2), ("rough", 20, 1)])
def test_many_mails_traced_alone_have_the_rows_of_the_trace_of_all(name: str, mails: int, asks: int) -> None:
    assert ask_alone(name, mails=mails, asks=asks, seed=13) == []


@pytest.mark.parametrize("gone", sorted(truth.hosts("fleet")))
def test_without_the_log_of_one_host_rows_end_there_and_nothing_false_is_told(gone: str) -> None:
    check_without("fleet", gone, trace(truth.fleet("fleet", without=gone)))


@pytest.mark.parametrize(
    "gone",
    [
        host if host in ("filter2", "exch1", "hub") else pytest.param(host, marks=pytest.mark.slow)
        for host in sorted(truth.hosts("rough"))
    ],
)
def test_the_same_in_the_rough_fleet(gone: str, tmp_path: Path) -> None:
    check_without("rough", gone, trace(edited("rough", tmp_path, without(gone))))


def check_without(name: str, gone: str, report: Report) -> None:
    rows = truth.truth(name)
    through, others = touched(name, gone)
    assert through, "the host has a part in this"
    assert list(false_rows(report.mails, rows, gone)) == []
    assert truth.score(report.mails, rows).mixed == []
    hops = {step.host for mail in report.mails for row in mail.recipients for step in row.path}
    assert gone not in hops
    known = [row["lab_id"] for row in truth.score(whole(name).mails, others).missed]
    assert [row["lab_id"] for row in truth.score(report.mails, others).missed] == known


@pytest.mark.parametrize(
    "name,seed",
    [
        ("fleet", 1),
        ("fleet", 2),
        ("fleet", 3),
        ("rough", 1),
        *(pytest.param("rough", s, marks=pytest.mark.slow) for s in (2, 3)),
    ],
)
def test_with_lines_lost_no_path_mixes_two_mails(name: str, seed: int, tmp_path: Path) -> None:
    report = trace(edited(name, tmp_path, losing(0.05, seed)))
    score = truth.score(report.mails, truth.truth(name))
    assert score.mixed == []
    assert score.exact > 0.6 * score.wanted


def cutting(share: float, seed: int) -> Edit:
    """Some lines end too soon, anywhere behind their stamp."""
    dice = random.Random(seed)
    return lambda _host, line: line[: dice.randint(20, len(line))] if len(line) > 20 and dice.random() < share else line


def unnamed(_host: str, line: str) -> str:
    """Nobody's answer names the queue ID that he gave."""
    line = re.sub(r"status=sent \(250 .*(?:queued as|OK id=).*\)$", "status=sent (250 OK)", line)
    return re.sub(r' C="250 [^"]*id=[^"]*"', ' C="250 OK"', line)


def spaced(_host: str, line: str) -> str:
    """Two spaces behind the tag, as rsyslog writes them with `%syslogtag% %msg%`."""
    return re.sub(r"(?<=[\]a-z]): ", ":  ", line, count=1) if " exim" in line or "[" in line else line


@pytest.mark.parametrize("seed", [1, 2])
def test_lines_that_end_too_soon_tell_nothing_false(seed: int, tmp_path: Path) -> None:
    report = trace(edited("fleet", tmp_path, cutting(0.03, seed)))
    rows = truth.truth("fleet")
    assert list(false_rows(report.mails, rows)) == []
    score = truth.score(report.mails, rows)
    assert score.mixed == []
    assert score.exact > 0.9 * score.wanted


def test_where_no_reply_names_an_id_hosts_are_known_by_what_they_call_themselves(tmp_path: Path) -> None:
    config = edited("fleet", tmp_path, unnamed)
    report = trace(config)
    rows = truth.truth("fleet")
    assert list(false_rows(report.mails, rows)) == []
    score = truth.score(report.mails, rows)
    assert score.mixed == []
    # Four mails of one Message-ID, sender, recipient and size went through the filter at once: which is which?
    unknown = {row["scenario"] for row in score.missed} - {"reject_data"}
    assert unknown == {"dup_msgid"}
    assert {row.outcome for mail in report.mails for row in mail.recipients} & {"in_transit", "relayed"} == set()


def test_a_space_more_behind_the_tag_changes_no_row(tmp_path: Path) -> None:
    assert rows_of(trace(edited("fleet", tmp_path, spaced)).mails) == rows_of(whole("fleet").mails)


@pytest.mark.parametrize("host", ["mx1", "mx2", "filter1", "relay1", "mailbox1", "exim1", "out1"])
@pytest.mark.parametrize("seconds", [95, -95])
def test_a_clock_that_is_wrong_changes_no_row(host: str, seconds: int, tmp_path: Path) -> None:
    report = trace(edited("fleet", tmp_path, later(host, seconds)))
    assert rows_of(report.mails) == rows_of(whole("fleet").mails)


@pytest.mark.parametrize("host", ["hub", pytest.param("filter2", marks=pytest.mark.slow)])
def test_a_wrong_clock_in_the_rough_fleet_changes_no_row(host: str, tmp_path: Path) -> None:
    report = trace(edited("rough", tmp_path, later(host, 95)))
    assert rows_of(report.mails) == rows_of(whole("rough").mails)


@pytest.mark.parametrize("host,hours", [("mx1", 5.5), ("mx1", -8), ("mx2", 9), ("filter1", -5), ("relay1", 5.75)])
def test_stamps_without_year_in_another_zone_change_no_row(host: str, hours: float, tmp_path: Path) -> None:
    report = trace(edited("fleet", tmp_path, yearless(host, hours, YEAR["fleet"])))
    assert rows_of(report.mails) == rows_of(whole("fleet").mails)
    note = next(note for note in report.clocks if note.host == host)
    assert note.offset == hours * 3600
    assert note.proved_by != "machine"


@pytest.mark.parametrize("hours", [5.5, -8])
def test_a_search_that_begins_in_a_zone_that_nothing_proves_finds_the_whole_mail(hours: float, tmp_path: Path) -> None:
    config = edited("fleet", tmp_path, yearless("mx1", hours, YEAR["fleet"]))
    of_mx1 = [mail for mail in whole("fleet").mails if mail.hops and mail.hops[0].host == "mx1"]
    for mail in of_mx1[::9]:
        told = rows_of(trace(config, queue_id=mail.hops[0].queue_id).mails)
        assert rows_of([mail]) <= told


def test_stamps_without_year_in_another_zone_change_no_row_of_the_rough_fleet(tmp_path: Path) -> None:
    report = trace(edited("rough", tmp_path, yearless("mail1", -3, YEAR["rough"], was=5.5)))
    assert rows_of(report.mails) == rows_of(whole("rough").mails)


@pytest.mark.parametrize("name", ["fleet", "rough"])
def test_the_report_is_the_same_byte_for_byte_in_any_order_of_files(name: str) -> None:
    hosts = truth.fleet(name)["files_config"]["hosts"]
    turned = {host: {"log_files": hosts[host]["log_files"][::-1]} for host in reversed(hosts)}
    config = {"method": "files", "files_config": {"host_config": {"log_files": []}, "hosts": turned}}
    assert trace(config).to_json() == whole(name).to_json()


@pytest.mark.parametrize("name", ["fleet", "rough"])
def test_a_refused_recipient_is_a_row_of_its_own_transactions_mail_and_of_no_other(name: str) -> None:
    rows = truth.truth(name)
    where = {path_of(row): mail for mail in whole(name).mails for row in mail.recipients if row.path}
    for refused in (row for row in rows if row["outcome"] == "rejected" and row["original_recipient"]):
        of_it = [row for row in rows if row["lab_id"] == refused["lab_id"] and row["path"]]
        told = [
            mail
            for mail in whole(name).mails
            for row in mail.recipients
            if row.outcome == "rejected" and row.recipient.lower() == refused["final_recipient"].lower()
        ]
        if of_it and refused.get("provable") is not False and true_path(of_it[0]) in where and len(told) == 1:
            assert told[0].id == where[true_path(of_it[0])].id, refused["lab_id"]
        if not of_it:
            assert not any(row.path for mail in told if len(told) == 1 for row in mail.recipients), refused["lab_id"]


def test_a_mail_is_found_whole_by_the_one_recipient_that_was_refused() -> None:
    rows = truth.truth("fleet")
    refused = next(row for row in rows if row["scenario"] == "reject_partial" and row["outcome"] == "rejected")
    wanted = {(row["final_recipient"], row["outcome"]) for row in rows if row["lab_id"] == refused["lab_id"]}
    found = rows_of(trace(truth.fleet("fleet"), recipient=refused["final_recipient"]).mails)
    assert len(wanted) > 1
    assert wanted <= {(row[0], row[2]) for row in found}
