"""Bisection, whatever stands at the place where it looks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest

from mailtrace.clocks import Clocks
from mailtrace.parsers import make_parser
from mailtrace.sources.logfile import LogFile, open_log
from mailtrace.sources.window import LogClock, Places, last_stamp, samples

BASE = datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp()
RUBBISH: dict[str, Callable[[int], bytes]] = {
    "nothing": lambda _n: b"",
    "lines without a stamp": lambda n: b"\tcontinued\n" * (n % 7),
    "long rubbish": lambda n: b"\xff\0" * 40_000 + b"\n" if n % 400 == 0 else b"",
    "now and then a line of another year": lambda n: (
        b"2031-01-01T00:00:00+00:00 mx1 postfix/qmgr[1]: AAAAAAAAAA: removed\n" if n % 500 == 0 else b""
    ),
}


def written(n: int) -> bytes:
    stamp = datetime.fromtimestamp(BASE + n, timezone.utc).isoformat()
    return f"{stamp} mx1 postfix/qmgr[1]: {n:010X}: removed\n".encode()


def clock() -> LogClock:
    return LogClock(Clocks(lambda _host: "UTC", near=BASE), "mx1", lambda _host: True)


@pytest.fixture
def log(tmp_path: Path) -> Callable[[bytes], LogFile]:
    def make(data: bytes) -> LogFile:
        (tmp_path / "log").write_bytes(data)
        return open_log(tmp_path / "log", lambda _text, _missing: None)

    return make


@pytest.mark.parametrize("kind", RUBBISH)
@pytest.mark.parametrize("start,end", [(0, 10), (7000, 7000), (5000, 12_000), (19_990, 30_000), (-50, -10)])
def test_every_line_of_the_window_is_between_the_bounds(
    log: Callable[[bytes], LogFile], kind: str, start: int, end: int
) -> None:
    data = b"".join(written(n) + RUBBISH[kind](n) for n in range(20_000))
    file = log(data)
    low, high = Places(make_parser()).bounds(file, clock(), BASE + start, BASE + end)
    for n in {max(start, 0), min(max(end, 0), 19_999), (max(start, 0) + min(end, 19_999)) // 2}:
        if start <= n <= end:
            assert low <= data.index(written(n)) < high
    if kind == "nothing":
        assert high - low < (end - start) * 80 + 5 * (1 << 16)


def test_an_open_end_is_the_files(log: Callable[[bytes], LogFile]) -> None:
    file = log(b"".join(map(written, range(5000))))
    assert Places(make_parser()).bounds(file, clock(), None, None) == (0, file.size)
    assert Places(make_parser()).bounds(file, clock(), BASE + 2500, None)[1] == file.size


def test_a_log_without_stamps_is_read_whole(log: Callable[[bytes], LogFile]) -> None:
    file = log(b"no stamp at all\n" * 50_000)
    assert Places(make_parser()).bounds(file, clock(), BASE, BASE + 1) == (0, file.size)


def test_samples_are_whole_lines_from_all_over_the_log(log: Callable[[bytes], LogFile]) -> None:
    data = b"".join(map(written, range(20_000)))
    taken = list(samples(log(data), 16, 4096))
    assert len(taken) == 16
    assert all(data[offset : offset + len(lines)] == lines for offset, lines in taken)
    assert all(line.endswith(b"removed") for _, lines in taken for line in lines.splitlines())
    assert taken[0][0] == 0
    assert taken[-1][1].endswith(written(19_999))


def test_the_last_stamp_is_behind_no_rubbish() -> None:
    found = last_stamp(written(5) + b"rubbish\n\0", make_parser())
    assert found is not None
    assert found.time == BASE + 5
