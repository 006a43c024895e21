"""One log file, whatever its compression: what it is, and its text in blocks of whole lines.

Files are read, never mapped: a log that is cut short while it is read (logrotate's `copytruncate`) would end a program
that has mapped it, and reading is as quick.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Full, Queue
from typing import Any, NamedTuple

BLOCK = 1 << 18
"""Bytes of text in a block. Block k holds the lines that begin in [k · BLOCK, (k + 1) · BLOCK)."""
CELL = 1 << 16
"""Lines are numbered from the beginning of each cell, so that a line's position can be told without counting all."""
LONGEST_LINE = 1 << 20
"""Of a longer line only so much is read."""
_STEP = 1 << 14
_AHEAD = 4
_PIECE = 1 << 20
_SMALL_STEP = 64
_TAIL = 4096
BUFFER = BLOCK + 1 + _TAIL
"""Bytes of a buffer that `LogFile.block` reads into."""
_HEAD = 1 << 16
_XZ_MEMORY = 1 << 29


class Unreadable(Exception):  # noqa: N818 - it says what the file is
    """Why a file can't be read, and what to do."""


class Block(NamedTuple):
    """Whole lines: `data[start:end]`, the first of which begins at `offset` in the text.

    `data` may be a buffer that the next block overwrites.
    """

    offset: int
    data: bytes | bytearray
    start: int
    end: int

    @property
    def text(self) -> bytes:
        """The lines."""
        return bytes(self.data[self.start : self.end])

    def position(self, at: int) -> int:
        """The position of the line that begins at `data[at]`: ascending, the same in every read."""
        offset = self.offset + at - self.start
        cell = offset - offset % CELL
        return cell + self.data.count(b"\n", self._first(cell), at)

    def cells(self) -> Iterator[tuple[int, bytes]]:
        """The block in parts, each with the position of its first line; lines are numbered on from there."""
        cell = self.offset - self.offset % CELL
        at = self.start
        while at < self.end:
            after = self._first(cell + CELL)
            if after > at:
                yield cell, bytes(self.data[at:after])
            at, cell = after, cell + CELL

    def _first(self, cell: int) -> int:
        """Where in `data` the first line of a cell begins."""
        if cell <= self.offset:
            return self.start
        return self.data.find(b"\n", cell - self.offset + self.start - 1, self.end) + 1 or self.end


Note = Callable[[str, bool], None]
"""Called with a problem and whether data is missing for it."""

MAGIC = {b"\x1f\x8b": "gz", b"\xfd7zXZ\x00": "xz", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zst", b"\x5d\x00\x00": "lzma"}
_REFUSED = {
    b"\x1f\x9d": "packed by compress; unpack it with `uncompress`",
    b"\x04\x22\x4d\x18": "packed by lz4; unpack it with `lz4 -d`",
    b"PK\x03\x04": "a zip archive; unpack it",
    b"7z\xbc\xaf": "a 7-zip archive; unpack it",
    b"LPKSHHRH": "a journal's own file; write `journal`, or read it with `journalctl -o json --file`",
    b"SQLite format 3": "a database, not a log",
    b"\x7fELF": "a program, not a log",
    b"\xff\xfe": "UTF-16 text; convert it with `iconv -f UTF-16 -t UTF-8`",
    b"\xfe\xff": "UTF-16 text; convert it with `iconv -f UTF-16 -t UTF-8`",
}
_TEXT = bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100)) + b"\t\n\r\x0b\x0c\x1b\x00"


@dataclass
class LogFile:
    """An open log. `size` is that of the file when it was opened: what is written later is not read."""

    path: Path
    descriptor: int
    size: int
    modified: float
    kind: str  # plain, gz, xz, bz2, zst, lzma
    note: Note
    start: int = 0  # where in the open file it begins: several may be kept in one
    _long: set[int] = field(default_factory=set)

    @property
    def plain(self) -> bool:
        """Whether any place of the text can be read at once."""
        return self.kind == "plain"

    def close(self) -> None:
        """Let go of the file."""
        os.close(self.descriptor)

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of the file as it is stored; fewer at its end or where it can't be read."""
        try:
            return os.pread(self.descriptor, max(min(size, self.size - offset), 0), self.start + offset)
        except OSError as error:
            self._unread(offset, error)
            return b""

    def expect(self, groups: Sequence[Sequence[int]], size: int) -> None:
        """Nothing to do: any place of a file is near."""

    def _unread(self, offset: int, error: OSError) -> None:
        self.note(f"{self.path}: can't be read from byte {offset} on: {error.strerror}", True)

    def head(self, size: int = _HEAD) -> bytes:
        """The beginning of the text."""
        if self.plain:
            return self.read(0, size)
        text = b""
        with suppress(_CorruptError):  # who reads the text is told
            for piece in _unpacked(self, _STEP, quiet=True):
                text += piece
                if len(text) >= size:
                    break
        return text[:size] or b"".join(_rest(self, 0))[:size]

    def block_count(self) -> int:
        """How many blocks a plain file has."""
        return -(-self.size // BLOCK)

    def block(self, number: int, buffer: bytearray | None = None) -> Block | None:
        """One block of a plain file; None where no line begins in it.

        It is read into `buffer` (of `BUFFER` bytes): fresh memory for every block would cost more than the search.
        """
        low = number * BLOCK
        before = 1 if number else 0  # one byte more, to see whether a line begins at the very start
        buffer = bytearray(BUFFER) if buffer is None else buffer
        data: bytes | bytearray = buffer
        length = self._read_into(buffer, low - before, BLOCK + before + _TAIL)
        limit = min(BLOCK + before, length)
        start = data.find(b"\n", 0, min(BLOCK, length)) + 1 if number else 0
        if number and not start:
            return None
        end = data.find(b"\n", limit - 1, length) + 1
        if not end:
            end = length
            if length > limit and low - before + length < self.size:
                data, end = self._finish(low - before, bytes(data[:length]))
        return Block(low - before + start, data, start, end) if end > start else None

    def _read_into(self, buffer: bytearray, offset: int, size: int) -> int:
        """As `read`, into a buffer; returns how many bytes there were."""
        wanted = max(min(size, self.size - offset), 0)
        try:
            return os.preadv(self.descriptor, [memoryview(buffer)[:wanted]], self.start + offset)
        except OSError as error:
            self._unread(offset, error)
            return 0

    def _finish(self, base: int, data: bytes) -> tuple[bytes, int]:
        """Read on until the last line of a block ends, or is too long."""
        begin = data.rfind(b"\n") + 1
        while len(data) - begin < LONGEST_LINE and (more := self.read(base + len(data), BLOCK)):
            at = more.find(b"\n")
            if at >= 0:
                return data + more[: at + 1], len(data) + at + 1
            data += more
        if len(data) - begin >= LONGEST_LINE:
            self.cut(base + begin)
            data = data[: begin + LONGEST_LINE]
        return data, len(data)

    def cut(self, offset: int) -> None:
        """Say once that a line was too long."""
        if offset not in self._long:
            self._long.add(offset)
            self.note(
                f"{self.path}: the line at byte {offset} is longer than 1 MiB; only its beginning was read", False
            )

    def blocks(self, done: Callable[[int], None] = lambda _count: None) -> Iterator[Block]:
        """All blocks in order; `done` is called with the bytes of the file that were read since the last call."""
        if self.plain:
            buffer = bytearray(BUFFER)
            for number in range(self.block_count()):
                if block := self.block(number, buffer):
                    yield block
                done(min(BLOCK, self.size - number * BLOCK))
            return
        with closing(_ahead(unpacked(self, done))) as pieces:
            yield from _blocks(self, pieces)


def open_log(path: Path, note: Note) -> LogFile:
    """Open a log; raises `Unreadable` with what is wrong and the cure."""
    try:
        # Non-blocking: opening a pipe that nobody writes to would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise Unreadable(_why(path, error)) from None
    except ValueError:  # a NUL in the path
        msg = f"{str(path)!r} is not a path"
        raise Unreadable(msg) from None
    try:
        return opened(path, descriptor, note)
    except Unreadable:
        os.close(descriptor)
        raise


def opened(path: Path, descriptor: int, note: Note, start: int = 0, size: int | None = None) -> LogFile:
    """A log from an open file, or from a part of one."""
    state = os.fstat(descriptor)
    if stat.S_ISDIR(state.st_mode):
        msg = f"{path} is a directory; name the files in it: {path}/*"
        raise Unreadable(msg)
    if stat.S_ISFIFO(state.st_mode) or stat.S_ISSOCK(state.st_mode):
        msg = f"{path} is a pipe, not a file; pipe it in and write - for standard input"
        raise Unreadable(msg)
    if not stat.S_ISREG(state.st_mode):
        msg = f"{path} is a device, not a log"
        raise Unreadable(msg)
    length = state.st_size if size is None else size
    log = LogFile(path, descriptor, length, state.st_mtime, "plain", note, start=start)
    log.kind = _kind(log)
    return log


def _why(path: Path, error: OSError) -> str:
    """An error of the system in words, with the cure."""
    if isinstance(error, FileNotFoundError):
        return f"{path}: no such file"
    if isinstance(error, PermissionError):
        return f"{path}: permission denied; run as a user who may read it (often in the group adm), or with sudo"
    return f"{path}: {error.strerror}"


def _kind(log: LogFile) -> str:
    """The compression, by the first bytes; raises `Unreadable` for what is no log."""
    head = log.read(0, 8192)
    for magic, what in _REFUSED.items():
        if head.startswith(magic):
            msg = f"{log.path} is {what}"
            raise Unreadable(msg)
    for magic, kind in MAGIC.items():
        if head.startswith(magic):
            return kind
    strange = len(head.translate(None, _TEXT))
    zeros = head.lstrip(b"\0").count(b"\0")  # a log that was cut short under its writer begins with zeros
    if strange + zeros > len(head) * 0.3 and not any(map(_readable, head.splitlines())):
        msg = f"{log.path} is binary, not a log"
        raise Unreadable(msg)
    return "plain"


def _readable(line: bytes) -> bool:
    """Whether this can be a line of a log: some length, and text only."""
    return len(line) > 20 and b"\0" not in line and not line.translate(None, _TEXT)


# ------------------------------------------------------------------------------------------ compression


def _decoder(kind: str) -> tuple[Any, Any]:
    """A decompressor of one member or frame, and what it raises."""
    if kind == "gz":
        from isal import isal_zlib

        return isal_zlib.decompressobj(wbits=31), (isal_zlib.error, EOFError)
    if kind in ("xz", "lzma"):
        import lzma

        return lzma.LZMADecompressor(memlimit=_XZ_MEMORY), (lzma.LZMAError, EOFError)
    if kind == "bz2":
        import bz2

        return bz2.BZ2Decompressor(), (OSError, ValueError, EOFError)
    import zstandard

    return zstandard.ZstdDecompressor().decompressobj(), (zstandard.ZstdError, EOFError)


class _CorruptError(Exception):
    """The compressed data is damaged."""


def unpacked(log: LogFile, done: Callable[[int], None]) -> Iterator[bytes]:
    """The text of a compressed log in pieces, as much of it as can be read; the rest is a problem of the log."""
    length = 0
    try:
        for piece in _unpacked(log, _STEP, done=done):
            length += len(piece)
            yield piece
    except _CorruptError as error:
        # What the decompressor had made of the last bytes before it stumbled is lost with its error.
        # Once more in small steps brings most of it back.
        yield from _rest(log, length)
        log.note(f"{log.path}: damaged: {error}; what comes before was read", True)


def _ahead(pieces: Iterator[bytes]) -> Generator[bytes, None, None]:
    """The same pieces, made in a thread of their own while the ones before are searched."""
    ready: Queue[bytes | Exception | None] = Queue(_AHEAD)
    enough = threading.Event()

    def put(item: bytes | Exception | None) -> bool:
        while not enough.is_set():
            try:
                ready.put(item, timeout=0.1)
                return True
            except Full:
                continue
        return False

    def work() -> None:
        try:
            for piece in pieces:
                if not put(piece):
                    return
            put(None)
        except Exception as error:  # noqa: BLE001 - it is raised again where the pieces are wanted
            put(error)

    thread = threading.Thread(target=work, name="mailtrace-unpack", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        enough.set()
        thread.join()


def _rest(log: LogFile, skip: int) -> Iterator[bytes]:
    """The text behind `skip` up to the damage."""
    try:
        for piece in _unpacked(log, _SMALL_STEP, quiet=True):
            if skip < len(piece):
                yield piece[skip:]
            skip = max(skip - len(piece), 0)
    except _CorruptError:
        return


def _unpacked(
    log: LogFile, step: int, *, done: Callable[[int], None] = lambda _count: None, quiet: bool = False
) -> Iterator[bytes]:
    """The text of all members in pieces."""
    magic = next(magic for magic, kind in MAGIC.items() if kind == log.kind)
    decoder, errors = _decoder(log.kind)
    bounded = hasattr(decoder, "needs_input")  # it can be told how much to unpack at a time
    offset = 0
    while raw := log.read(offset, step):
        offset += len(raw)
        more = False
        while raw or more:
            if decoder.eof:
                raw = raw.lstrip(b"\0")  # padding between members
                if not raw:
                    break
                if not raw.startswith(magic[: len(raw)]):
                    if not quiet:
                        log.note(
                            f"{log.path}: what follows the compressed data at byte {offset - len(raw)} is ignored",
                            False,
                        )
                    return
                decoder, _ = _decoder(log.kind)
            try:
                piece = decoder.decompress(raw, _PIECE) if bounded else decoder.decompress(raw)
            except errors as error:
                raise _CorruptError(str(error)) from None
            raw = decoder.unused_data if decoder.eof else b""
            more = bounded and not decoder.eof and not decoder.needs_input
            if piece:
                yield piece
        done(min(step, log.size - offset + step))
    if not decoder.eof and not quiet:
        log.note(f"{log.path}: cut short: the compressed data ends too early; what there is was read", True)


def _blocks(log: LogFile, pieces: Iterator[bytes]) -> Iterator[Block]:
    """Pieces of text as blocks of whole lines, the same that a plain file would give."""
    base, text = 0, b""  # `text` begins at `base`, where a line begins
    skipping = False  # the rest of a line that was too long
    for piece in pieces:
        if skipping:
            at = piece.find(b"\n")
            base += len(piece) if at < 0 else at + 1
            if at < 0:
                continue
            piece, skipping = piece[at + 1 :], False  # noqa: PLW2901 - what is left of it
        text += piece
        while True:
            border = (base // BLOCK + 1) * BLOCK - base
            if len(text) < border:
                break
            end = text.find(b"\n", border - 1) + 1
            if not end:
                begin = text.rfind(b"\n") + 1
                if len(text) - begin >= LONGEST_LINE:
                    log.cut(base + begin)
                    yield Block(base, text, 0, begin + LONGEST_LINE)
                    base, text, skipping = base + len(text), b"", True
                break
            if end - border > LONGEST_LINE and (begin := text.rfind(b"\n", 0, border - 1) + 1) + LONGEST_LINE < end:
                log.cut(base + begin)
                yield Block(base, text, 0, begin + LONGEST_LINE)
            else:
                yield Block(base, text, 0, end)
            base, text = base + end, text[end:]
    if text:
        yield Block(base, text, 0, len(text))
