"""Where an answer goes: a file, which it becomes whole or not at all, a device, or a stream."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mailtrace.errors import ExportError
from mailtrace.report import Report

if TYPE_CHECKING:
    from collections.abc import Iterator


def write(exporter: Any, report: Report, to: str, stdout: IO[str]) -> str:
    """Show the report with one exporter, in a file or (`-`) on `stdout`; what it has to say. Raises `ExportError`."""
    binary = getattr(exporter, "binary", False)
    where = "standard output" if to == "-" else to
    try:
        if to == "-":
            said = exporter.export(report, _bytes(stdout) if binary else stdout)
            stdout.flush()
        else:
            with _replacing(Path(to), binary=binary) as stream:
                said = exporter.export(report, stream)
        return str(said or "")
    except BrokenPipeError:
        if to != "-":
            raise ExportError(f"cannot write {where}: its reader has gone") from None
        # Who reads our output has seen enough (`| head`): not an error.
        abandon(stdout)
        return ""
    except OSError as error:
        if to == "-":
            abandon(stdout)
        raise ExportError(f"cannot write {where}: {error.strerror or error}") from None


@contextmanager
def writing(path: str) -> Iterator[IO[str]]:
    """A stream of text that becomes the file at the end, whole or not at all. Raises `ExportError`."""
    try:
        with _replacing(Path(path), binary=False) as stream:
            yield stream
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror or error}") from None


def _bytes(stream: IO[str]) -> Any:
    """The binary side of a text stream. Raises `ExportError` for one that has none (a `StringIO`)."""
    with suppress(AttributeError):
        return stream.buffer  # type: ignore[attr-defined]
    raise ExportError("a picture cannot be written to a stream of text; give the export a file with `to`")


def abandon(stdout: IO[str]) -> None:
    """Let what is left in a stream's buffer go nowhere: Python would complain of it when the program ends."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stdout.fileno())
        os.close(nowhere)
        stdout.flush()


@contextmanager
def _replacing(path: Path, *, binary: bool) -> Iterator[IO[Any]]:
    """A stream whose text becomes the file at the end, whole or not at all; folders are made.

    A device, a pipe and the like is written as it is; a symbolic link stays one.
    """
    target = Path(os.path.realpath(path))
    how: dict[str, Any] = {} if binary else {"encoding": "utf-8", "errors": "backslashreplace", "newline": "\n"}
    mode = "wb" if binary else "w"
    if target.is_dir():
        raise IsADirectoryError(21, "it is a directory")
    if target.exists() and not target.is_file():
        with target.open(mode, **how) as stream:
            yield stream
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", dir=target.parent)
    new = Path(name)
    try:
        with os.fdopen(handle, mode, **how) as stream:
            yield stream
        new.chmod(_mode(target))
        new.replace(target)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise


def _mode(target: Path) -> int:
    """The permissions a file has, or would have if it were made the plain way."""
    with suppress(OSError):
        return stat.S_IMODE(target.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
