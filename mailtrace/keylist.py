"""A list of keys in a file: addresses, Message-IDs, queue IDs, one a line, or a column of a CSV file.

Blank lines and lines that begin with `#` are left out, `<>` around a key and a name before it too. A file is CSV where
a column is named, or where its first line has several cells: then the column is the one called so, or the only one
with a name of `NAMES`; where every cell of the first line is an address, all cells are keys.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from mailtrace.errors import RequestError
from mailtrace.problem import Problem, did_you_mean

MOST_BYTES = 64 * 1024 * 1024
MOST_KEYS = 200_000
NAMES = (
    "key",
    "address",
    "email",
    "e-mail",
    "mail",
    "recipient",
    "sender",
    "message_id",
    "message-id",
    "messageid",
    "queue_id",
    "queue id",
    "qid",
)
"""What a column of keys is called."""

_BETWEEN = ",;\t"
_ANGLED = re.compile(r"[^<>]*<([^<>\s]+)>\s*[,;]?")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


def read_bytes(path: str, what: str, most: int = MOST_BYTES, *, cut: bool = False) -> bytes:
    """What a file that a question names holds; `-` is standard input. Raises `RequestError` for one that cannot be.

    Of one that is larger than `most` bytes, so many and one more are read where it may be `cut`.
    """
    try:
        if path == "-":
            data = sys.stdin.buffer.read(most + 1)
        else:
            with Path(path).open("rb") as file:
                data = file.read(most + 1)
    except (OSError, ValueError, AttributeError) as error:
        why = (getattr(error, "strerror", None) or str(error)).lower()
        raise _wrong(what, f"{_named(path)} cannot be read: {why}") from None
    if len(data) > most and not cut:
        raise _wrong(what, f"{_named(path)} is larger than {most // 1024 // 1024} MB")
    return data


def decoded(data: bytes) -> str:
    """Bytes as text, whatever their encoding: UTF-8, UTF-16 with a mark; what is neither is Latin-1."""
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def read_keys(path: str, column: str = "") -> tuple[str, ...]:
    """The keys of a file, each once, in its order. Raises `RequestError`."""
    text = decoded(read_bytes(path, "keys_from"))
    if "\0" in text:
        raise _wrong("keys_from", f"{_named(path)} is no text", "save the list as text or CSV, not compressed")
    lines = [line for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.lstrip().startswith("#")]
    if not lines:
        raise _wrong("keys_from", f"{_named(path)} holds no key", "one a line, or a CSV file")
    cells = _cells(lines, column, path)
    found = dict.fromkeys(key for cell in cells if (key := bare(cell)))
    if not found:
        raise _wrong("keys_from", f"{_named(path)} holds no key", "one a line, or a CSV file")
    if len(found) > MOST_KEYS:
        raise _wrong("keys_from", f"{_named(path)} holds {len(found):,} keys, and {MOST_KEYS:,} is the most")
    return tuple(found)


def bare(cell: str) -> str:
    """A key without what stands around it: `"Bob" <bob@example.com>,` is `bob@example.com`."""
    cell = _UNPRINTABLE.sub(" ", cell).strip().strip(_BETWEEN).strip()
    angled = _ANGLED.fullmatch(cell)
    return angled[1] if angled else cell.strip("\"'<>")


def _cells(lines: list[str], column: str, path: str) -> Iterable[str]:
    between = max(_BETWEEN, key=lines[0].count)
    if not column and between not in lines[0]:
        return lines
    rows = csv.reader(io.StringIO("\n".join(lines)), delimiter=between, skipinitialspace=True)
    try:
        head, *rest = rows
    except csv.Error as error:
        raise _wrong("keys_from", f"{_named(path)} is no CSV: {error}") from None
    if not column and all("@" in cell for cell in head if cell.strip()):
        return [cell for row in (head, *rest) for cell in row]
    number = _number(head, column, path)
    return [row[number] for row in rest if number < len(row)]


def _number(head: list[str], column: str, path: str) -> int:
    """Which column of a CSV file the keys are."""
    names = [cell.strip().casefold() for cell in head]
    if column:
        if column.strip().casefold() in names:
            return names.index(column.strip().casefold())
        hint = did_you_mean(column, head) or f"there are: {', '.join(head)}"
        raise _wrong("keys_column", f'{_named(path)} has no column "{column[:60]}"', hint[:300])
    usual = [number for number, name in enumerate(names) if name in NAMES]
    if len(usual) == 1:
        return usual[0]
    there = ", ".join(head[number] for number in usual) if usual else ", ".join(head)
    raise _wrong("keys_from", f"which column of {_named(path)}?", f"say keys_column; there are: {there[:300]}")


def _named(path: str) -> str:
    return "standard input" if path == "-" else path


def _wrong(key: str, message: str, hint: str = "") -> RequestError:
    return RequestError([Problem(message, path=f"find.{key}", hint=hint)])
