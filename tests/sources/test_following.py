"""Following local logs: every line once, whatever rotation does to them."""

from __future__ import annotations

import gc
import gzip
import json
import os
import random
import shutil
import time
import weakref
from pathlib import Path
from typing import Any

import pytest

from mailtrace.hosts import HostFacts, Inventory
from mailtrace.model import HostLogs
from mailtrace.parsers import make_parser
from mailtrace.sources.files import FilesSource

T0 = 1_780_000_000


def line(number: int, host: str = "mx1") -> str:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(T0 + number))
    return f"{stamp}+00:00 {host} postfix/cleanup[1]: {number:010X}: message-id=<{number}@x.example>\n"


def lines(first: int, last: int) -> str:
    return "".join(map(line, range(first, last)))


def append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as log:
        log.write(text)


class Follower:
    """Follows logs round by round, as another process each time; `numbers` are the lines of all rounds."""

    def __init__(self, folder: Path, *patterns: str, since: float | None = None) -> None:
        self.folder, self.patterns, self.since = folder, patterns or ("mail.log",), since
        self.places: dict[str, Any] = {}
        self.numbers: list[int] = []
        self.problems: list[str] = []

    def round(self, stop_after: int | None = None) -> list[int]:
        """What is new; with `stop_after`, only so many lines are read of each log before the process dies."""
        fleet = Inventory({"mx1": HostFacts()})
        source = FilesSource(
            [HostLogs("mx1", self.patterns)], lambda _logs: make_parser(), fleet, base=self.folder, now=time.time()
        )
        found: list[int] = []
        self.problems = []
        for tail in source.follow(self.places, self.since, time.time()):
            marked = None
            for number, (entry, mark) in enumerate(tail):
                if stop_after is not None and number == stop_after:
                    break
                found.append(int(entry.queue_id, 16))
                marked = mark
            else:
                marked = None
            self.problems += [tail.problem] if tail.problem else []
            if marked is not None:
                self.places[tail.name] = json.loads(json.dumps(tail.place(marked)))
            elif not tail.problem and stop_after != 0:
                self.places[tail.name] = json.loads(json.dumps(tail.place()))
        source.close()
        self.numbers += found
        return found


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of ten lines."""
    path = tmp_path / "mail.log"
    append(path, lines(0, 10))
    return path


def test_a_round_reads_what_came_since_the_last(log: Path) -> None:
    follower = Follower(log.parent)
    assert follower.round() == list(range(10))
    assert follower.round() == []
    append(log, lines(10, 13))
    assert follower.round() == [10, 11, 12]


def test_a_line_is_read_when_it_is_whole(log: Path) -> None:
    follower = Follower(log.parent)
    append(log, line(10)[:-20])
    assert follower.round()[-1] == 9
    append(log, line(10)[-20:] + line(11))
    assert follower.round() == [10, 11]


def test_a_renamed_log_is_read_to_its_end_and_then_the_new_one(log: Path) -> None:
    follower = Follower(log.parent)
    follower.round()
    append(log, lines(10, 12))
    log.rename(log.parent / "mail.log.1")
    append(log, lines(12, 14))
    assert follower.round() == [10, 11, 12, 13]


def test_a_log_that_is_written_to_after_its_renaming_is_followed_for_a_while(log: Path) -> None:
    follower = Follower(log.parent)
    follower.round()
    old = log.parent / "mail.log.1"
    log.rename(old)
    append(log, lines(12, 13))
    assert follower.round() == [12]
    append(old, lines(10, 12))
    append(log, lines(13, 14))
    assert follower.round() == [10, 11, 13]


def copied_and_cut_short(log: Path) -> Follower:
    """Who read ten lines of a log; then two more came, and logrotate's `copytruncate`."""
    follower = Follower(log.parent)
    follower.round()
    append(log, lines(10, 12))
    shutil.copy(log, log.parent / "mail.log.1")
    os.truncate(log, 0)
    return follower


def test_a_log_that_is_copied_and_cut_short_is_read_on_in_its_copy(log: Path) -> None:
    follower = copied_and_cut_short(log)
    append(log, lines(12, 14))
    assert follower.round() == [10, 11, 12, 13]
    assert follower.round() == []


def test_a_log_that_grew_beyond_its_old_length_after_it_was_cut_short_is_known_to_be_another(log: Path) -> None:
    follower = copied_and_cut_short(log)
    append(log, lines(12, 60))
    assert follower.round() == list(range(10, 60))


def test_rotated_and_compressed_logs_are_read_after_a_long_stop(log: Path) -> None:
    follower = Follower(log.parent)
    follower.round()
    folder = log.parent
    append(log, lines(10, 12))
    (folder / "mail.log.3.gz").write_bytes(gzip.compress(log.read_bytes()))
    (folder / "mail.log.2.gz").write_bytes(gzip.compress(lines(12, 15).encode()))
    (folder / "mail.log.1").write_text(lines(15, 17), encoding="utf-8")
    log.unlink()
    append(log, lines(17, 18))
    for age, name in ((300, "mail.log.3.gz"), (200, "mail.log.2.gz"), (100, "mail.log.1")):
        os.utime(folder / name, (time.time() + 1000 - age, time.time() + 1000 - age))
    assert follower.round() == list(range(10, 18))
    assert follower.round() == []


def test_what_was_read_is_not_read_again_when_it_is_compressed_later(log: Path) -> None:
    follower = Follower(log.parent)
    follower.round()
    log.rename(log.parent / "mail.log.1")
    append(log, lines(10, 12))
    old = log.parent / "mail.log.1"
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    assert follower.round() == [10, 11]
    (log.parent / "mail.log.2.gz").write_bytes(gzip.compress(old.read_bytes()))  # its time is now
    old.unlink()
    append(log, lines(12, 13))
    assert follower.round() == [12]


def test_a_log_that_went_before_it_was_read_is_told(log: Path) -> None:
    follower = Follower(log.parent)
    follower.round()
    log.unlink()
    append(log, lines(20, 22))
    assert follower.round() == [20, 21]
    assert "rotated away" in follower.problems[0]


def test_a_missing_log_is_told_and_read_when_it_comes(tmp_path: Path) -> None:
    follower = Follower(tmp_path)
    assert follower.round() == []
    assert "no such file" in follower.problems[0]
    append(tmp_path / "mail.log", lines(0, 2))
    assert follower.round() == [0, 1]


def test_a_glob_follows_each_log_and_what_rotation_makes_of_it_once(log: Path) -> None:
    (log.parent / "mail.log.1").write_text(lines(100, 103), encoding="utf-8")
    os.utime(log.parent / "mail.log.1", (time.time() - 9000, time.time() - 9000))
    append(log.parent / "mail-b.log", lines(200, 202))
    follower = Follower(log.parent, "mail*")
    assert sorted(follower.round()) == [*range(10), 100, 101, 102, 200, 201]
    assert follower.round() == []
    append(log, lines(10, 11))
    assert follower.round() == [10]


def test_a_first_reading_reaches_into_rotated_logs_as_far_as_it_is_told(log: Path) -> None:
    old = log.parent / "mail.log.1"
    old.write_text(lines(100, 103), encoding="utf-8")
    os.utime(old, (time.time() - 1000, time.time() - 1000))
    assert len(Follower(log.parent).round()) == 10
    assert len(Follower(log.parent, since=time.time() - 2000).round()) == 13
    assert len(Follower(log.parent, since=time.time() - 500).round()) == 10


def test_no_line_is_lost_or_doubled_whatever_happens_to_the_log_and_the_process(tmp_path: Path) -> None:
    dice = random.Random(6)
    log, follower, written = tmp_path / "mail.log", Follower(tmp_path), 0
    log.touch()
    follower.round()
    rotations = 0
    for _ in range(120):
        more = dice.randrange(1, 30)
        append(log, lines(written, written + more))
        written += more
        what = dice.choice(("read", "read", "die", "rename", "copy", "compress", "nothing"))
        if what == "read":
            follower.round()
        elif what == "die":
            follower.round(stop_after=dice.randrange(0, 20))
        elif what in ("rename", "copy"):
            rotations += 1
            old = tmp_path / f"mail.log-{20260000 + rotations}"
            if what == "rename":
                log.rename(old)
                log.touch()
            else:
                shutil.copy2(log, old)
                os.truncate(log, 0)
        elif what == "compress":
            for old in [path for path in tmp_path.glob("mail.log-*") if path.suffix != ".gz"]:
                packed = old.with_name(old.name + ".gz")
                packed.write_bytes(gzip.compress(old.read_bytes()))
                shutil.copystat(old, packed)
                old.unlink()
    follower.round()
    assert sorted(follower.numbers) == list(range(written))


def test_who_follows_for_months_remembers_the_files_of_today_alone(tmp_path: Path) -> None:
    parsers: weakref.WeakSet[Any] = weakref.WeakSet()

    def parser(_logs: HostLogs) -> Any:
        parsers.add(made := make_parser())
        return made

    log, places = tmp_path / "mail.log", dict[str, Any]()
    source = FilesSource(
        [HostLogs("mx1", ("mail.log",))], parser, Inventory({"mx1": HostFacts()}), base=tmp_path, now=time.time()
    )
    found = 0
    for day in range(30):
        append(log, lines(10 * day, 10 * day + 10))
        for tail in source.follow(places, None, time.time()):
            found += sum(1 for _ in tail)
            places[tail.name] = tail.place()
        log.rename(tmp_path / f"mail.log-{day:08}")
    gc.collect()
    assert found == 300
    assert len(parsers) < 5
    source.close()
