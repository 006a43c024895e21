"""The source `files` as a whole, with the real parser: which lines come back, and what the coverage says."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailtrace.hosts import HostFacts, Inventory
from mailtrace.model import Coverage, HostLogs, LogEntry, LogQuery, MessageId
from mailtrace.parsers import make_parser
from mailtrace.sources import files
from mailtrace.sources.files import FilesSource

NOW = datetime(2026, 6, 1, tzinfo=timezone.utc).timestamp()
DAY = 86400.0


def at(day: float, second: float = 0.0) -> float:
    """A moment of January 2026; day 1 is the first."""
    return datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp() + (day - 1) * DAY + second


def iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="microseconds")


def bsd(moment: float) -> str:
    return datetime.fromtimestamp(moment, timezone.utc).strftime("%b %e %H:%M:%S")


def line(moment: float, queue_id: str, host: str = "mx1", *, stamp: Any = iso) -> str:
    return f"{stamp(moment)} {host} postfix/cleanup[1]: {queue_id}: message-id=<{queue_id}@example.com>\n"


def log(start: float, count: int, host: str = "mx1", *, step: float = 1.0, stamp: Any = iso) -> str:
    return "".join(line(start + n * step, f"{n:010X}", host, stamp=stamp) for n in range(count))


def source(base: Path, *logs: HostLogs, hosts: Iterable[str] = (), **more: Any) -> FilesSource:
    names = dict.fromkeys([*(log.host for log in logs if log.host), *hosts])
    fleet = Inventory({name: HostFacts() for name in names})
    return FilesSource(logs, lambda _logs: make_parser(), fleet, base=base, now=more.pop("now", NOW), **more)


def of(base: Path, *patterns: str, host: str = "mx1", **more: Any) -> FilesSource:
    return source(base, HostLogs(host, patterns), **more)


def ids(entries: Iterable[LogEntry]) -> list[str]:
    return [entry.queue_id for entry in entries]


def problems(made: FilesSource) -> list[Coverage]:
    return [item for item in made.coverage() if item.problem]


# ------------------------------------------------------------------------------------------- one log


def test_only_lines_with_the_literals_come_back(tmp_path: Path) -> None:
    (tmp_path / "mail.log").write_text(log(at(1), 100))
    made = of(tmp_path, "mail.log")
    found = list(made.query(LogQuery(all_of=("MESSAGE-ID",), any_of=("0000000005", "000000004f@Example.com"))))
    assert ids(found) == ["0000000005", "000000004F"]
    assert found[0].event == MessageId("0000000005@example.com")
    (item,) = made.coverage()
    assert (item.host, item.first, item.last, item.matched, item.problem) == ("mx1", at(1), at(1, 99), 2, "")


def test_asking_again_does_not_count_again(tmp_path: Path) -> None:
    (tmp_path / "mail.log").write_text(log(at(1), 10) + f"{iso(at(1))} mx1 postfix/qmgr[1]: 0000000001: gibberish\n")
    made = of(tmp_path, "mail.log")
    for _ in range(3):
        list(made.query(LogQuery(any_of=("0000000001",))))
    assert [(item.matched, item.unparsed) for item in made.coverage()] == [(2, 1)]


def test_no_literals_are_every_line(tmp_path: Path) -> None:
    (tmp_path / "mail.log").write_text(log(at(1), 5000))
    made = of(tmp_path, "mail.log")
    everything = list(made.query(LogQuery()))
    assert len(everything) == 5000
    assert [item.lines for item in made.coverage()] == [5000]
    assert list(made.query(LogQuery(any_of=("example",)))) == everything


def test_a_long_log_is_searched_in_order_by_several_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mail.log").write_text(log(at(1), 60_000))
    monkeypatch.setattr(files, "_THREADS", 3)
    monkeypatch.setattr(files, "_SEGMENT", 2)
    monkeypatch.setattr(files, "_WORTH_THREADS", 2)
    done: list[tuple[int, int]] = []
    made = of(tmp_path, "mail.log", progress=lambda part, whole: done.append((part, whole)))
    assert ids(made.query(LogQuery(any_of=("7@",)))) == [f"{n:010X}" for n in range(60_000) if n % 16 == 7]
    size = (tmp_path / "mail.log").stat().st_size
    assert done[-1] == (size, size)
    assert done == sorted(done)


def test_a_query_that_is_given_up_leaves_nothing_running(tmp_path: Path) -> None:
    (tmp_path / "mail.log").write_text(log(at(1), 60_000))
    (tmp_path / "old.gz").write_bytes(gzip.compress(log(at(1), 60_000, "mx2").encode()))
    made = of(tmp_path, "mail.log", "old.gz")
    for _ in range(3):
        entries = made.query(LogQuery(any_of=("0@",)))
        next(entries)
        del entries
    assert len(list(made.query(LogQuery(any_of=("0@",))))) == 7500
    made.close()


@pytest.mark.parametrize("packed", [False, True])
def test_strange_bytes_cost_their_line_only(tmp_path: Path, packed: bool) -> None:
    text = (
        line(at(1), "AAAAAAAAA1").encode()
        + b"\0\0\0\n\n\r\n\xff\xfe\xfd junk \x80\n"
        + b"x" * 3_000_000
        + b"\n"
        + line(at(1, 1), "AAAAAAAAA2").replace("\n", "\r\n").encode()
        + b"\0\0\0"
        + line(at(1, 2), "AAAAAAAAA3").encode()
        + line(at(1, 3), "AAAAAAAAA4").encode()[:-20]
    )
    (tmp_path / "mail.log").write_bytes(gzip.compress(text) if packed else text)
    made = of(tmp_path, "mail.log")
    everything = ids(made.query(LogQuery()))
    assert [one for one in everything if one in ("AAAAAAAAA1", "AAAAAAAAA2")] == ["AAAAAAAAA1", "AAAAAAAAA2"]
    assert set(ids(made.query(LogQuery(any_of=("aaaaaaaaa",))))) == set(everything)
    assert [item.missing for item in problems(made)] == [False]


def test_positions_rise_through_the_files_of_a_log(tmp_path: Path) -> None:
    (tmp_path / "mail.log.2.gz").write_bytes(gzip.compress(log(at(1), 3000).encode()))
    (tmp_path / "mail.log.1").write_text(log(at(2), 3000))
    (tmp_path / "mail.log").write_text(log(at(3), 3000))
    found = list(of(tmp_path, "mail.log*").query(LogQuery()))
    assert [entry.seq for entry in found] == sorted({entry.seq for entry in found})
    assert [entry.time for entry in found] == sorted(entry.time for entry in found)


# ------------------------------------------------------------------------------------------- windows


@pytest.mark.parametrize("stamp", [iso, bsd])
@pytest.mark.parametrize("packed", [False, True])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=10)
@given(start=st.integers(-5000, 20_000), length=st.integers(0, 10_000))
def test_a_window_holds_all_its_lines_and_few_others(
    tmp_path: Path, stamp: Any, packed: bool, start: int, length: int
) -> None:
    path = tmp_path / f"{stamp.__name__}{packed}.log"
    if not path.exists():
        text = log(at(1), 8000, step=2, stamp=stamp).encode()
        path.write_bytes(gzip.compress(text) if packed else text)
    made = of(tmp_path, path.name, machine_zone="UTC")
    made._settings["mx1"] = HostLogs("mx1", (), time_zone="UTC")
    window = LogQuery(start=at(1, start), end=at(1, start + length))
    got = [int(one, 16) for one in ids(made.query(window))]
    wanted = [n for n in range(8000) if start <= 2 * n <= start + length]
    slack = 120 if stamp is iso else 120 + 3600
    assert set(wanted) <= set(got)
    assert got == [n for n in range(8000) if start - slack <= 2 * n <= start + length + slack]
    # What was unpacked once is there for the next wave, with the same positions.
    assert list(made.query(window)) == list(of(tmp_path, path.name, machine_zone="UTC").query(window)) or stamp is bsd
    made.close()


def test_a_zone_that_ids_prove_needs_no_configuration(tmp_path: Path) -> None:
    shift = 9 * 3600.0

    def made_by_postfix(moment: float) -> str:
        stamp = time.strftime("%Y%m%d%H%M%S", time.gmtime(moment))
        queue_id = f"{int(moment) % 0xFFFFFFFFF:09X}A"
        message_id = f"{stamp}.{queue_id}@mx1.example.com"
        return f"{bsd(moment + shift)} mx1 postfix/cleanup[1]: {queue_id}: message-id=<{message_id}>\n"

    (tmp_path / "mail.log").write_text("".join(made_by_postfix(at(1, n * 10)) for n in range(20_000)))
    made = of(tmp_path, "mail.log", machine_zone="UTC")
    found = list(made.query(LogQuery(start=at(2), end=at(2, 600))))
    assert len(found) == 61 + 24
    (item,) = made.coverage()
    assert (item.first, item.last) == (at(1), at(1, 199_990))


def test_a_year_that_nothing_proves_is_that_of_the_window(tmp_path: Path) -> None:
    (tmp_path / "mail.log").write_text(log(at(1), 100, stamp=bsd))
    made = of(tmp_path, "mail.log", machine_zone="UTC", now=at(1) + 5 * 366 * DAY)
    assert len(list(made.query(LogQuery(start=at(1), end=at(2))))) == 100


def test_lines_that_came_late_to_a_loghost_are_in_their_window(tmp_path: Path) -> None:
    lines = [line(at(1, n), f"{n:010X}", "ab"[n % 2]) for n in range(40_000)]
    late = line(at(1, 20_000), "FFFFFFFFFF", "a")
    lines.insert(20_500, late)
    (tmp_path / "mail.log").write_text("".join(lines))
    made = source(tmp_path, HostLogs("a", ("mail.log",)), HostLogs("b", ("mail.log",)))
    assert "FFFFFFFFFF" in ids(made.query(LogQuery(start=at(1, 19_990), end=at(1, 20_010))))


# ------------------------------------------------------------------------------- which files are read


def rotated(folder: Path) -> None:
    (folder / "mail.log").write_text(line(at(10), "AAAAAAAA10") + line(at(10.9), "AAAAAAAA11"))
    (folder / "mail.log.1").write_text(line(at(9), "AAAAAAAA09"))
    (folder / "mail.log.2.gz").write_bytes(gzip.compress(line(at(8), "AAAAAAAA08").encode()))
    (folder / "mail.log-20260107.gz").write_bytes(gzip.compress(line(at(7), "AAAAAAAA07").encode()))
    for name in ("mail.log", "mail.log.1", "mail.log.2.gz"):  # copied: the times of the files tell nothing
        os.utime(folder / name, (NOW, NOW))


def test_without_a_window_only_what_is_named_is_read(tmp_path: Path) -> None:
    rotated(tmp_path)
    assert ids(of(tmp_path, "mail.log").query(LogQuery())) == ["AAAAAAAA10", "AAAAAAAA11"]
    assert ids(of(tmp_path, "mail.log*").query(LogQuery())) == [f"AAAAAAAA{n:02}" for n in (7, 8, 9, 10, 11)]


def test_a_window_reads_the_rotated_logs_that_it_reaches(tmp_path: Path) -> None:
    rotated(tmp_path)
    made = of(tmp_path, "mail.log")
    assert ids(made.query(LogQuery(start=at(7.5), end=at(9.5)))) == ["AAAAAAAA08", "AAAAAAAA09"]
    read = {Path(name).name for item in made.coverage() for name in item.names}
    assert "mail.log" not in read
    assert {"mail.log.1", "mail.log.2.gz"} <= read
    assert len(ids(made.query(LogQuery(start=at(1))))) == 5


def test_a_log_that_is_missing_while_its_rotated_one_is_there_says_so(tmp_path: Path) -> None:
    rotated(tmp_path)
    (tmp_path / "mail.log").unlink()
    made = of(tmp_path, "mail.log")
    assert list(made.query(LogQuery())) == []
    (item,) = problems(made)
    assert item.missing
    assert "no such file; there is mail.log-20260107.gz: name it, or give a window" in item.problem
    assert ids(made.query(LogQuery(start=at(8.5), end=at(12)))) == ["AAAAAAAA09"]


def test_a_file_found_twice_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "mail.log").write_text(log(at(1), 5))
    (tmp_path / "link.log").symlink_to("mail.log")
    os.link(tmp_path / "mail.log", tmp_path / "hard.log")
    assert len(list(of(tmp_path, "*.log", "mail.log", "link.log").query(LogQuery()))) == 5


def test_a_file_that_repeats_another_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "mail.log").write_text(log(at(1), 3000))
    shutil.copy(tmp_path / "mail.log", tmp_path / "mail.log.1")
    (tmp_path / "mail.log.1.gz").write_bytes(gzip.compress(log(at(1), 3000).encode()))
    (tmp_path / "begun.log").write_text(log(at(1), 2000))
    (tmp_path / "other.log").write_text(log(at(1), 2999) + line(at(2), "BBBBBBBBBB"))
    assert len(list(of(tmp_path, "mail.log*", "begun.log").query(LogQuery()))) == 3000
    assert len(list(of(tmp_path, "mail.log*", "other.log").query(LogQuery()))) == 6000


def test_a_log_that_grows_between_two_questions_is_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "mail.log").write_text(log(at(1), 5))
    made = of(tmp_path, "mail.log")
    list(made.query(LogQuery()))
    with (tmp_path / "mail.log").open("a") as file:
        file.write(line(at(1, 60), "BBBBBBBBBB"))
    assert ids(made.query(LogQuery(any_of=("BBBBBBBBBB",)))) == ["BBBBBBBBBB"]
    assert made.coverage()[0].last == at(1, 60)


# --------------------------------------------------------------------------------- hosts of a loghost


def shared(folder: Path, *hosts: str) -> FilesSource:
    text = "".join(
        line(at(1, n), f"{n:010X}", ("mx1", "mx2.lab.test", "stranger", "MX1.lab.test")[n % 4]) for n in range(4000)
    )
    (folder / "mail.log").write_text(text)
    return source(folder, *(HostLogs(host, ("mail.log",)) for host in hosts))


def test_a_log_named_for_several_hosts_is_divided_by_the_names_in_its_lines(tmp_path: Path) -> None:
    made = shared(tmp_path, "mx1", "mx2")
    found = list(made.query(LogQuery()))
    assert len(found) == 4000
    assert {(entry.logged_host, entry.host) for entry in found} == {
        ("mx1", "mx1"),
        ("mx2.lab.test", "mx2"),
        ("stranger", "stranger"),
        ("MX1.lab.test", "mx1"),
    }
    coverage = {item.host: item for item in made.coverage()}
    assert {host: item.matched for host, item in coverage.items()} == {"mx1": 2000, "mx2": 1000, "stranger": 1000}
    assert (coverage["mx2"].first, coverage["mx2"].last) == (at(1, 1), at(1, 3997))


def test_a_log_named_for_one_host_is_that_hosts(tmp_path: Path) -> None:
    assert {entry.host for entry in shared(tmp_path, "mx1").query(LogQuery())} == {"mx1"}


def test_only_the_hosts_that_are_asked_for_come_back(tmp_path: Path) -> None:
    made = shared(tmp_path, "mx1", "mx2")
    assert {entry.host for entry in made.query(LogQuery(hosts=("mx2",)))} == {"mx2"}
    assert {entry.host for entry in made.query(LogQuery(hosts=("stranger",)))} == {"stranger"}
    assert list(shared(tmp_path, "mx1").query(LogQuery(hosts=("mx2",)))) == []


def test_a_host_without_a_line_in_the_file_is_told_so(tmp_path: Path) -> None:
    made = shared(tmp_path, "mx1", "mx2", "mx3")
    list(made.query(LogQuery(any_of=("0000000001",))))
    (item,) = problems(made)
    assert (item.host, item.first, item.missing) == ("mx3", None, False)
    assert "holds no mail line of mx3" in item.problem


def test_a_log_that_nobody_named_a_host_for_is_its_lines_hosts(tmp_path: Path) -> None:
    made = shared(tmp_path, "")
    assert made.hosts == ()
    hosts = {entry.host for entry in made.query(LogQuery())}
    assert hosts == {"mx1", "mx2.lab.test", "stranger", "MX1.lab.test"}


def test_lines_without_a_host_in_an_unnamed_log_are_its_folders(tmp_path: Path) -> None:
    (tmp_path / "exim1").mkdir()
    text = "2026-01-01 00:00:00 1vbcDE-000001-0A <= a@example.com H=x [192.0.2.1] P=esmtp S=1 id=1@example.com\n"
    (tmp_path / "exim1" / "mainlog").write_text(text)
    made = of(tmp_path, "exim1/mainlog", host="")
    assert [entry.host for entry in made.query(LogQuery())] == ["exim1"]
    assert [item.host for item in made.coverage()] == ["exim1"]


# -------------------------------------------------------------------------------- what can't be read


def test_what_cannot_be_read_is_a_problem_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "mail.log").write_text(log(at(1), 5))
    (tmp_path / "bad.gz").write_bytes(gzip.compress(log(at(2), 500).encode())[:1000])
    os.mkfifo(tmp_path / "pipe")
    made = of(tmp_path, "mail.log", "bad.gz", "pipe", "none.log", "no*ne", ".")
    assert len(list(made.query(LogQuery()))) > 5
    texts = "\n".join(item.problem for item in problems(made))
    for why in ("cut short", "is a pipe", "none.log: no such file", "no file matches", "is a directory"):
        assert why in texts
    assert all(item.missing for item in problems(made))
    assert len(problems(made)) == 5
    list(made.query(LogQuery()))
    assert len(problems(made)) == 5


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstandard.compress])
@pytest.mark.parametrize("asked", [LogQuery(), LogQuery(any_of=("example",)), LogQuery(start=at(1), end=at(2))])
def test_a_compressed_log_that_gives_nothing_says_why(
    tmp_path: Path, pack: Callable[[bytes], bytes], asked: LogQuery
) -> None:
    data = pack(os.urandom(300).hex().encode())
    for name, kept in (("cut", data[:14]), ("bad", data[:14] + b"\xff" * 300), ("empty", pack(b""))):
        (tmp_path / name).write_bytes(kept)
        made = of(tmp_path, name)
        assert list(made.query(asked)) == []
        assert any(item.missing for item in made.coverage()) is (name != "empty"), name


def test_what_holds_no_stamp_is_told_to_be_no_log(tmp_path: Path) -> None:
    (tmp_path / "some.log").write_text("one line of a letter, none of a log\n" * 1000)
    for host in ("mx1", ""):
        for literals in ((), ("letter",), ("missing",)):
            made = of(tmp_path, "some.log", host=host)
            assert list(made.query(LogQuery(any_of=literals))) == []
            assert [(item.host, item.missing) for item in problems(made)] == [(host, True)]


def test_a_log_that_was_just_rotated_is_no_news(tmp_path: Path) -> None:
    (tmp_path / "mail.log").touch()
    (tmp_path / "mail.log.1").write_text(log(at(1), 5))
    made = of(tmp_path, "mail.log*")
    assert len(list(made.query(LogQuery()))) == 5
    assert problems(made) == []


def test_a_log_whose_lines_name_nobody_covers_its_folders_host(tmp_path: Path) -> None:
    (tmp_path / "exim1").mkdir()
    text = "2026-01-01 00:00:0{0} 1rK8Vt-0000000001a-0aBc <= a@b.example U=root P=local S=400\n"
    (tmp_path / "exim1" / "mainlog").write_text("".join(text.replace("{0}", str(second)) for second in (1, 5)))
    made = of(tmp_path, "*/mainlog", host="")
    assert {entry.host for entry in made.query(LogQuery(any_of=("example",)))} == {"exim1"}
    assert [(item.host, item.problem, item.last and item.last - (item.first or 0)) for item in made.coverage()] == [
        ("exim1", "", 4.0)
    ]


def test_an_empty_log_is_told_to_be_empty(tmp_path: Path) -> None:
    (tmp_path / "mail.log").touch()
    for host in ("mx1", ""):
        made = of(tmp_path, "mail.log", host=host)
        assert list(made.query(LogQuery())) == []
        assert [(item.host, item.missing) for item in problems(made)] == [(host, False)]
        assert problems(made)[0].problem.endswith("mail.log: is empty")


def test_a_line_that_nobody_understands_brings_no_host_into_the_world(tmp_path: Path) -> None:
    strange = "2026-01-01T00:00:00+00:00 mx2 postfix/smtp[1]: AAAAAAAAAA: something quite new\n"
    (tmp_path / "all.log").write_text(log(at(1), 5) + strange)
    made = of(tmp_path, "all.log", host="")
    assert len(list(made.query(LogQuery(any_of=("AAAAAAAAAA", "0000000001"))))) == 1
    assert [(item.host, item.unparsed, item.problem) for item in made.coverage()] == [("mx1", 1, "")]


def test_check_opens_and_reads_the_beginning(tmp_path: Path) -> None:
    (tmp_path / "mail.log").write_text(log(at(1), 5))
    found = of(tmp_path, "mail.log", "none.log").check()
    assert [(item.names[0].rpartition("/")[2], bool(item.problem)) for item in found] == [
        ("mail.log", False),
        ("none.log", True),
    ]


def test_plan_opens_nothing(tmp_path: Path) -> None:
    made = of(tmp_path, "none.log", "-", "journal")
    assert made.plan(LogQuery(start=1e9, end=2e9)) == [
        f"mx1: read {tmp_path}/none.log, and its rotated siblings where the window reaches them",
        "mx1: read standard input",
        (
            "mx1: journalctl -o json --no-pager --all --since=@999999880 --until=@2000000121 SYSLOG_FACILITY=2 + "
            "_SYSTEMD_UNIT=postfix.service _SYSTEMD_UNIT=postfix@-.service _SYSTEMD_UNIT=exim4.service "
            "_SYSTEMD_UNIT=exim.service _SYSTEMD_UNIT=dovecot.service"
        ),
    ]
    assert made.coverage() == []


# ------------------------------------------------------------------------------ standard input, journal


class Input:
    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)

    def isatty(self) -> bool:
        return False


@pytest.mark.parametrize("packed", [False, True])
def test_standard_input_is_read_once_and_asked_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    text = log(at(1), 20_000).encode()
    monkeypatch.setattr(sys, "stdin", Input(gzip.compress(text) if packed else text))
    made = of(tmp_path, "-")
    assert len(list(made.query(LogQuery()))) == 20_000
    assert len(list(made.query(LogQuery(start=at(1, 1000), end=at(1, 1100))))) == 101 + 240
    assert [item.names for item in made.coverage()] == [("-",)]
    made.close()


def test_a_terminal_is_no_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    made = of(tmp_path, "-")
    assert list(made.query(LogQuery())) == []
    assert "pipe a log into it" in problems(made)[0].problem


def test_json_of_the_journal_is_searched_in_a_file_too(tmp_path: Path) -> None:
    text = (
        '{"__REALTIME_TIMESTAMP":"1767225600000000","_HOSTNAME":"mx1","SYSLOG_IDENTIFIER":"postfix/cleanup",'
        '"SYSLOG_PID":"1","MESSAGE":"AAAAAAAAA1: message-id=<\\u00fc\\"x@example.com>"}\n'
    )
    (tmp_path / "journal.json").write_text(text * 2)
    made = of(tmp_path, "journal.json")
    assert len(list(made.query(LogQuery(any_of=('ü"x@EXAMPLE',))))) == 2
