"""One log file, whatever its compression and whatever is wrong with it."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailtrace.sources import logfile
from mailtrace.sources.logfile import BLOCK, CELL, LONGEST_LINE, LogFile, Unreadable, open_log

PACK: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gz": gzip.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
    "bz2": bz2.compress,
    "zst": lambda data: zstandard.ZstdCompressor().compress(data),
}


class Notes:
    def __init__(self) -> None:
        self.texts: list[str] = []
        self.missing = False

    def __call__(self, text: str, missing: bool) -> None:
        self.texts.append(text)
        self.missing = self.missing or missing


@pytest.fixture
def notes() -> Notes:
    return Notes()


def opened(folder: Path, data: bytes, notes: Notes) -> LogFile:
    path = folder / "log"
    path.write_bytes(data)
    return open_log(path, notes)


def text(log: LogFile) -> bytes:
    return b"".join(block.text for block in log.blocks())


def numbered(count: int) -> bytes:
    draw = random.Random(count)
    return b"".join(b"%d %s\n" % (n, b"x" * draw.randrange(200)) for n in range(count))


def positions(log: LogFile) -> Iterator[tuple[int, bytes]]:
    """Every line with the position that a search would give it."""
    for block in log.blocks():
        at = block.start
        while at < block.end:
            end = block.data.find(b"\n", at, block.end) + 1 or block.end
            yield block.position(at), bytes(block.data[at:end])
            at = end


@pytest.mark.parametrize("kind", PACK)
def test_the_compression_is_told_by_the_bytes_not_the_name(tmp_path: Path, notes: Notes, kind: str) -> None:
    data = numbered(20_000)
    log = opened(tmp_path, PACK[kind](data), notes)
    assert log.kind == kind
    assert text(log) == data
    assert log.head(100) == data[:100]
    assert notes.texts == []


@pytest.mark.parametrize("kind", ["gz", "xz", "bz2", "zst"])
def test_members_one_behind_the_other_are_one_text(tmp_path: Path, notes: Notes, kind: str) -> None:
    pack = PACK[kind]
    assert text(opened(tmp_path, pack(b"one\n") + pack(b"two\n") + pack(b""), notes)) == b"one\ntwo\n"
    assert notes.texts == []


@pytest.mark.parametrize("kind", ["gz", "xz", "bz2", "zst"])
def test_a_truncated_log_yields_what_it_has(tmp_path: Path, notes: Notes, kind: str) -> None:
    data = os.urandom(1 << 19).hex().encode()
    data = b"\n".join(data[at : at + 100] for at in range(0, len(data), 100))
    packed = PACK[kind](data)
    found = text(opened(tmp_path, packed[: len(packed) // 2], notes))
    assert data.startswith(found)
    # bzip2 gives whole blocks of 900 kB only.
    assert len(found) > len(data) // 3 or kind == "bz2"
    assert notes.missing
    assert "cut short" in notes.texts[0]


def test_a_damaged_gzip_yields_what_comes_before_the_damage(tmp_path: Path, notes: Notes) -> None:
    data = numbered(3000)
    packed = bytearray(gzip.compress(data))
    middle = len(packed) * 3 // 4
    packed[middle : middle + 40] = b"\xff" * 40
    found = text(opened(tmp_path, bytes(packed), notes))
    assert found[: len(data) // 2] == data[: len(data) // 2]
    assert notes.missing
    assert "damaged" in notes.texts[0]


def test_a_wrong_checksum_loses_no_line(tmp_path: Path, notes: Notes) -> None:
    data = numbered(3000)
    packed = bytearray(gzip.compress(data))
    packed[-8] ^= 0xFF
    assert text(opened(tmp_path, bytes(packed), notes)).startswith(data[: len(data) * 9 // 10])
    assert notes.missing


def test_padding_is_ignored_and_rubbish_behind_a_gzip_is_noted(tmp_path: Path, notes: Notes) -> None:
    packed = gzip.compress(b"one\n")
    assert text(opened(tmp_path, packed + b"\0" * 512, notes)) == b"one\n"
    assert notes.texts == []
    assert text(opened(tmp_path, packed + b"rubbish", notes)) == b"one\n"
    assert "is ignored" in notes.texts[0]
    assert not notes.missing


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    lengths=st.lists(st.integers(0, 90), max_size=60),
    ends=st.booleans(),
    sizes=st.sampled_from([(16, 8), (64, 16), (32, 32)]),
)
def test_blocks_hold_every_line_once_and_number_it_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lengths: list[int], ends: bool, sizes: tuple[int, int]
) -> None:
    monkeypatch.setattr(logfile, "BLOCK", sizes[0])
    monkeypatch.setattr(logfile, "CELL", sizes[1])
    monkeypatch.setattr(logfile, "_TAIL", 4)
    monkeypatch.setattr(logfile, "BUFFER", sizes[0] + 5)
    data = b"\n".join(b"x" * length for length in lengths) + (b"\n" if ends and lengths else b"")
    notes = Notes()
    plain = opened(tmp_path, data, notes)
    assert text(plain) == data
    places = list(positions(plain))
    assert [place for place, _ in places] == sorted({place for place, _ in places})
    # Read as a whole, cell by cell, each line gets the number that it gets when it is found alone.
    counted = [
        (first + number, line)
        for block in plain.blocks()
        for first, cell in block.cells()
        for number, line in enumerate(cell.splitlines(keepends=True))
    ]
    assert counted == places
    plain.close()
    if data:
        packed = opened(tmp_path, gzip.compress(data), notes)
        assert list(positions(packed)) == places
        packed.close()


def test_a_line_of_megabytes_costs_itself_only(tmp_path: Path, notes: Notes) -> None:
    data = b"first\n" + b"x" * (3 * LONGEST_LINE) + b"\nlast\n"
    for kind in ("plain", "gz"):
        lines = [line for _, line in positions(opened(tmp_path, PACK[kind](data), notes))]
        assert lines[0] == b"first\n"
        assert lines[-1] == b"last\n"
        assert len(lines) == 3
        assert LONGEST_LINE <= len(lines[1]) <= LONGEST_LINE + BLOCK
    assert "longer than 1 MiB" in notes.texts[0]
    assert not notes.missing


def test_a_log_that_was_emptied_under_its_writer_begins_with_zeros(tmp_path: Path, notes: Notes) -> None:
    log = opened(tmp_path, b"\0" * 100_000 + b"a line\nanother\n", notes)
    assert text(log).endswith(b"a line\nanother\n")


def test_a_log_is_read_to_where_it_ended_when_it_was_opened(tmp_path: Path, notes: Notes) -> None:
    log = opened(tmp_path, b"one\n", notes)
    with (tmp_path / "log").open("ab") as file:
        file.write(b"two\n")
    assert text(log) == b"one\n"


def test_a_log_that_shrinks_while_it_is_read_ends_there(tmp_path: Path, notes: Notes) -> None:
    log = opened(tmp_path, numbered(50_000), notes)
    blocks = log.blocks()
    next(blocks)
    os.truncate(tmp_path / "log", 10)
    assert list(blocks) == []


def test_a_log_that_vanishes_is_read_on(tmp_path: Path, notes: Notes) -> None:
    log = opened(tmp_path, b"one\n", notes)
    (tmp_path / "log").unlink()
    assert text(log) == b"one\n"


@pytest.mark.parametrize(
    "head,why",
    [
        (b"\x1f\x9d\x90abc", "uncompress"),
        (b"PK\x03\x04....", "zip"),
        (b"LPKSHHRH....", "journalctl"),
        (b"\xff\xfeM\0a\0r\0", "UTF-16"),
        (b"SQLite format 3\0", "database"),
        (bytes(range(1, 32)) * 40, "binary"),
        (b"\x01\0\0\0\x02\0\0\0" * 40, "binary"),
    ],
)
def test_what_is_no_log_is_refused_with_the_cure(tmp_path: Path, notes: Notes, head: bytes, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        opened(tmp_path, head, notes)


def test_text_in_another_encoding_is_still_text(tmp_path: Path, notes: Notes) -> None:
    data = "Jän  1 00:00:00 höst postfix\n".encode("latin-1") * 10
    assert text(opened(tmp_path, data, notes)) == data


def test_directories_pipes_devices_and_missing_files_are_refused(tmp_path: Path, notes: Notes) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, why in (
        (tmp_path, r"is a directory; name the files in it: .*/\*"),
        (tmp_path / "pipe", "is a pipe"),
        (Path("/dev/null"), "is a device"),
        (tmp_path / "none", "no such file"),
        (tmp_path / "a\0b", "not a path"),
    ):
        with pytest.raises(Unreadable, match=why):
            open_log(path, notes)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_says_who_may(tmp_path: Path, notes: Notes) -> None:
    path = tmp_path / "log"
    path.touch(mode=0o000)
    with pytest.raises(Unreadable, match="permission denied; run as"):
        open_log(path, notes)


def test_cells_are_parts_of_blocks() -> None:
    assert BLOCK % CELL == 0
