"""Where reading goes on in a log that is rotated while it is followed.

A file is known again by its inode and by its beginning: a log that was renamed keeps both, one that was copied and cut
short (logrotate's `copytruncate`) or compressed keeps its beginning under another inode. What is new beside the log
since it was last read is read from its beginning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

HEAD = 512
"""Bytes at the beginning of a file that tell it from others; the stamp of its first line is among them."""
GROWS = 3600.0
"""Seconds for which a log that was renamed may still be written to."""
_REMEMBERED = 64


class Candidate(Protocol):
    """A file that may be the log, or what rotation made of it."""

    @property
    def ident(self) -> str:
        """What the machine tells files apart by: device and inode."""

    @property
    def size(self) -> int:
        """Its bytes, packed or not."""

    @property
    def modified(self) -> float:
        """When it was last written, UTC seconds."""

    @property
    def live(self) -> bool:
        """Whether it is the log itself and not a rotated one."""

    @property
    def plain(self) -> bool:
        """Whether it is not packed."""

    def head(self, length: int) -> str:
        """The fingerprint of the first bytes of its text, "" where it has fewer or can't be read."""


class Seen(NamedTuple):
    """How far one file was read: its text up to `offset`; `head` is the fingerprint of its first `length` bytes."""

    ident: str
    offset: int
    length: int
    head: str
    modified: float


class Place(NamedTuple):
    """How far a log was read: the files that may still grow, the log itself last, and the beginnings of the others.

    `assumed` tells of each host in it that writes no zone whether nothing proved it when the host was first read; it is
    then read so for ever, whatever is proved later: hand-offs show how far it is off, and would be wrong afterwards.
    """

    files: tuple[Seen, ...] = ()
    done: tuple[tuple[int, str], ...] = ()
    assumed: Mapping[str, bool] = {}

    @classmethod
    def of(cls, data: Any) -> Place:
        """A place as it was written to the state; an empty one where there is none."""
        if not data:
            return cls()
        return cls(
            tuple(Seen(*each) for each in data["files"]), tuple((n, head) for n, head in data["done"]), data["assumed"]
        )

    def data(self) -> dict[str, Any]:
        """The place as JSON keeps it."""
        return {"files": self.files, "done": self.done, "assumed": dict(self.assumed)}

    def after(self, files: Sequence[Seen], now: float) -> Place:
        """The place when files were read so far, oldest first; what cannot grow any more is only remembered."""
        live = files[-1:]
        young = [file for file in files[:-1] if 0 <= now - file.modified < GROWS]
        old = [(file.length, file.head) for file in files[:-1] if file not in young and file.length]
        done = tuple(dict.fromkeys([*self.done, *old]))[-_REMEMBERED:]
        return Place((*young, *live), done, self.assumed)


class Resumed(NamedTuple):
    """The files to read and what was read of each, oldest first; whether the rest of one that was read is gone."""

    files: list[tuple[Any, Seen]]
    lost: bool


def resume(place: Place, there: Sequence[Candidate], since: float | None, named: frozenset[str]) -> Resumed:
    """Where reading goes on.

    `since` (UTC seconds) is how far back a first reading reaches into rotated files, None: not at all but for those
    that are `named` (their idents).
    """
    rest = list(there)
    found: list[tuple[Candidate, Seen]] = []
    lost = False
    for seen in place.files:
        match = _match(seen, rest)
        if match is not None:
            found.append((match, seen))
            rest.remove(match)
        elif seen.length and seen is place.files[-1]:
            lost = True
    last = max((seen.modified for seen in place.files), default=None)
    for file in rest:
        if last is None:
            wanted = file.live or file.ident in named or (since is not None and file.modified >= since)
        else:
            wanted = file.live or (file.modified >= last and not any(file.head(n) == head for n, head in place.done))
        if wanted:
            found.append((file, Seen(file.ident, 0, 0, "", file.modified)))
    found.sort(key=lambda item: (item[0].live, item[0].modified))
    return Resumed(found, lost)


def _match(seen: Seen, files: Sequence[Candidate]) -> Candidate | None:
    """The file that was seen: by its inode, else by its beginning; one that is shorter now is another."""
    for same in (True, False):
        for file in files:
            if (file.ident == seen.ident) is not same:
                continue
            if same and file.size == seen.offset and file.modified == seen.modified:
                return file  # nothing has happened to it
            if file.plain and file.size < seen.offset:
                continue
            if (not seen.length and same) or (seen.length and file.head(seen.length) == seen.head):
                return file
    return None
