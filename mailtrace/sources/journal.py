"""The systemd journal, through `journalctl -o json`."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from typing import IO

from mailtrace.sources.logfile import BLOCK, Block, Note

MAIL = (
    "SYSLOG_FACILITY=2",
    "+",
    "_SYSTEMD_UNIT=postfix.service",
    "_SYSTEMD_UNIT=postfix@-.service",
    "_SYSTEMD_UNIT=exim4.service",
    "_SYSTEMD_UNIT=exim.service",
    "_SYSTEMD_UNIT=dovecot.service",
)
"""What of the journal is mail: the facility that the daemons log with, or (where they write to their standard output)
their unit. Matches that every journalctl knows; those of one field are alternatives."""
_HINT = "run as a member of the group systemd-journal, or with sudo"


def command(start: float | None, end: float | None, cursor: str = "") -> list[str]:
    """The command that prints a window of the journal, oldest first; with a `cursor` from that line on instead.

    `--all`: journalctl writes fields of more than 4096 bytes as null otherwise.
    """
    arguments = ["journalctl", "-o", "json", "--no-pager", "--all"]
    if cursor:
        arguments.append(f"--cursor={cursor}")
    elif start is not None:
        arguments.append(f"--since=@{int(start)}")
    if end is not None:
        arguments.append(f"--until=@{int(end) + 1}")
    return [*arguments, *MAIL]


def shown(start: float | None, end: float | None) -> str:
    """The command as one would type it."""
    return shlex.join(command(start, end))


def blocks(start: float | None, end: float | None, note: Note, cursor: str = "") -> Iterator[Block]:
    """The journal's lines in blocks of whole lines. What goes wrong is noted."""
    with tempfile.TemporaryFile() as errors:
        process = None
        empty = True
        try:
            process = subprocess.Popen(
                command(start, end, cursor), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
            )
            if process.stdout is not None:
                for block in _blocks(process.stdout):
                    empty = False
                    yield block
            process.wait()
        except OSError as error:
            note(f"journal: journalctl can't be run: {error.strerror}; name the log files instead", True)
            return
        finally:
            if process is not None:
                _end(process)
        errors.seek(0)
        said = " ".join(errors.read(2000).decode("utf-8", "replace").split())
        _judge(process.returncode, said, note, empty=empty)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop a journalctl that is still writing: its reader has had enough."""
    if process.poll() is None:
        process.kill()
    if process.stdout is not None:
        process.stdout.close()
    process.wait()


def _judge(code: int, said: str, note: Note, *, empty: bool) -> None:
    """What journalctl's end and its words mean."""
    if code:
        note(f"journal: journalctl ended with {code}: {said or 'it does not say why'}", True)
    elif empty and said and not said.startswith("-- No entries"):
        note(f"journal: {said}; {_HINT}", True)
    elif "Hint:" in said:
        note(f"journal: only this user's own messages could be read; {_HINT}", True)


def _blocks(stream: IO[bytes]) -> Iterator[Block]:
    """Standard output, cut at line ends."""
    offset, text = 0, b""
    while piece := stream.read(BLOCK):
        text += piece
        end = text.rfind(b"\n") + 1
        if end:
            yield Block(offset, text, 0, end)
            offset, text = offset + end, text[end:]
    if text:
        yield Block(offset, text, 0, len(text))
