"""What is in the folders of a machine, as `ls -lni` tells it in the C locale (alike on Linux and the BSDs)."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import NamedTuple

from mailtrace.sources import ssh_commands

_DAY = 86400.0
_LISTED = re.compile(
    rb"\s*(?P<inode>\d+)\s+(?P<kind>[-bcdlps])\S*\s+\d+\s+\S+\s+\S+\s+(?P<size>\d+)\s+"
    rb"(?P<month>[A-Z][a-z]{2})\s+(?P<day>\d+)\s+(?P<when>\d+:\d+|\d{4})\s(?P<name>.*)"
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Listed(NamedTuple):
    """One file of a folder."""

    path: str
    inode: int
    size: int
    modified: float  # give or take a day: ls tells neither zone nor seconds
    kind: str


def kind_by_name(name: str) -> str:
    """How a file is packed, by its name's ending."""
    suffix = name.rpartition(".")[2]
    return suffix if suffix in ssh_commands.UNPACK else "plain"


def below(folder: str, pattern: str) -> bool:
    """Whether a folder is one that a pattern with wildcards stands for."""
    one, other = PurePosixPath(folder).parts, PurePosixPath(pattern).parts
    return len(one) == len(other) and all(fnmatchcase(a, b) for a, b in zip(one, other, strict=True))


def listed(line: bytes, folder: str, now: float, *, whole: bool = False) -> Listed | None:
    """A line of `ls -lni`; None for others (`total 12`, devices, names that break lines)."""
    found = _LISTED.fullmatch(line)
    if found is None:
        return None
    name = found["name"].decode("utf-8", "surrogateescape")
    modified = _modified(found["month"].decode(), int(found["day"]), found["when"].decode(), now)
    path = name if whole else str(PurePosixPath(folder) / name)
    return Listed(path, int(found["inode"]), int(found["size"]), modified, found["kind"].decode())


def _modified(month: str, day: int, when: str, now: float) -> float:
    """A moment as `ls` writes it, read as UTC: a day more or less is no matter."""
    today = datetime.fromtimestamp(now, timezone.utc)
    year = today.year if ":" in when else int(when)
    with suppress(ValueError):
        moment = datetime(year, _MONTHS.index(month) + 1, day, 12, tzinfo=timezone.utc)
        if ":" in when and moment > today + timedelta(days=2):
            moment = moment.replace(year=year - 1)
        return min(moment.timestamp() + _DAY / 2, now)
    return now
