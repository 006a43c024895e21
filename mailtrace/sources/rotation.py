"""Which files a configured path stands for: globs, and the rotated siblings of a log."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePath

_MAGIC = re.compile(r"[*?[]")
# logrotate (plain, dateext, dateformat), newsyslog, savelog, cronolog and postlogd: a number or a date.
_MARK = r"[.-](?:old|\d[\dT:_.-]*)"
_PACKED = r"(?:\.(?:gz|bz2|xz|lzma|zst|lz4|Z))?"


def is_glob(pattern: str) -> bool:
    """Whether a path holds wildcards."""
    return _MAGIC.search(pattern) is not None


def expand(pattern: str, base: Path) -> list[Path]:
    """The paths that a path or glob stands for, sorted; a path without wildcards (or that exists as it is) is itself.

    `~` is the user's home, relative paths are relative to `base`. `**` stands for any depth of folders and never
    follows links, so that a loop of them ends. Hidden files only match patterns that begin with a dot.
    """
    whole = base / os.path.expanduser(pattern)  # noqa: PTH111 - Path.expanduser raises for an unknown user
    if not is_glob(str(whole)) or os.path.lexists(whole):
        return [whole]
    root, *parts = whole.parts
    return sorted(set(_matches(Path(root), parts)))


def _matches(folder: Path, parts: list[str]) -> Iterator[Path]:
    """All files below `folder` that the rest of a pattern matches."""
    part, *rest = parts
    if not is_glob(part):
        path = folder / part
        if rest:
            yield from _matches(path, rest)
        elif path.exists():
            yield path
        return
    if part == "**":
        for below in _folders(folder):
            yield from _matches(below, rest or ["*"])
        return
    for name in _names(folder):
        if fnmatchcase(name, part) and (not name.startswith(".") or part.startswith(".")):
            path = folder / name
            if rest:
                if path.is_dir():
                    yield from _matches(path, rest)
            elif not path.is_dir():
                yield path


def _folders(folder: Path) -> Iterator[Path]:
    """A folder and all below it, without following links."""
    for path, below, _files in os.walk(folder):
        below[:] = sorted(name for name in below if not name.startswith("."))
        yield Path(path)


def _names(folder: Path) -> list[str]:
    """The names in a folder, none where it can't be read."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - names are all that is needed
    except OSError:
        return []


def siblings(path: Path) -> list[Path]:
    """The rotated logs of a log that are there: see `rotated`."""
    return [path.with_name(name) for name in rotated(path.name, _names(path.parent))]


def rotated(log: str, names: Iterable[str]) -> list[str]:
    """Of the names in a folder the rotated logs of `mail.log`: `mail.log.1`, `mail.log-20260101.xz`, `mail-2026.log`.

    By name only, in the order given; their order in time is told by their stamps.
    """
    name = PurePath(log)
    patterns = [re.escape(log) + _MARK + _PACKED]
    if name.suffix:  # logrotate's `extension .log`
        patterns.append(re.escape(name.stem) + _MARK + re.escape(name.suffix) + _PACKED)
    shape = re.compile("|".join(patterns))
    return [other for other in names if other != log and shape.fullmatch(other)]
