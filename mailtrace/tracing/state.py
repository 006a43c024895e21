"""The state of continuous tracing: one SQLite file that a crash at any moment leaves whole.

It holds how far each log was read, the lines of the mails that may still go on, which of their spans were handed over,
and the requests that the back end has not taken yet. All of it changes in one transaction, so that a line is either
read and kept, or not read. What a crash makes mailtrace do again, it does from the same data, with the same result.

    place   how far a log is read          met    documents of an index that were read in the overlap
    mail    a group of lines               part   its entries, as they came
    key     what its lines have in common  mark   the time that each host's log has reached
    spool   requests to be sent            aside  spans that a back end refuses for good
    counter what was done since the file was made
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from mailtrace.errors import DataError

VERSION = 1
"""Of the file's tables; a file of another version is refused, not guessed at."""

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE place (name TEXT PRIMARY KEY, place TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE met (name TEXT, id TEXT, time REAL NOT NULL, PRIMARY KEY (name, id)) WITHOUT ROWID;
CREATE TABLE mark (host TEXT PRIMARY KEY, time REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE mail (
  id INTEGER PRIMARY KEY, host TEXT NOT NULL, last REAL NOT NULL, size INTEGER NOT NULL, round INTEGER NOT NULL,
  read REAL NOT NULL, looked REAL NOT NULL, waits TEXT NOT NULL, finished INTEGER NOT NULL, sent BLOB NOT NULL
);
CREATE INDEX mail_pending ON mail (id) WHERE waits != '';
CREATE INDEX mail_last ON mail (last);
CREATE INDEX mail_open ON mail (last) WHERE finished = 0;
CREATE TABLE part (id INTEGER PRIMARY KEY, mail INTEGER NOT NULL, entries BLOB NOT NULL);
CREATE INDEX part_mail ON part (mail);
CREATE TABLE key (hash INTEGER PRIMARY KEY, mail INTEGER NOT NULL);
CREATE INDEX key_mail ON key (mail);
CREATE TABLE spool (
  id INTEGER PRIMARY KEY AUTOINCREMENT, made REAL NOT NULL, spans INTEGER NOT NULL, request BLOB NOT NULL
);
CREATE TABLE aside (id INTEGER PRIMARY KEY, made REAL NOT NULL, spans INTEGER, reason TEXT NOT NULL, request BLOB);
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
_MANY = 500  # values in one question


class Head(NamedTuple):
    """What is known of a group of lines without reading them.

    `last` is the time of its latest line, on `host`; `size` its lines; `round` and `read` (machine's clock) when the
    last of them was read; `looked` the log's time when it was last assembled, 0 for never. `waits` tells from which
    time on of which host's log it has more to send ({host: time}); None: nothing to send. `sent` tells of the spans
    that were handed over: of each of their keys its length, the key, the span's ID.
    """

    id: int
    host: str
    last: float
    size: int
    round: int
    read: float
    looked: float
    waits: dict[str, float] | None
    finished: bool
    sent: bytes


class Request(NamedTuple):
    """A serialized request that waits to be sent."""

    id: int
    made: float
    spans: int
    body: bytes


def default_path(config: Path | None) -> Path:
    """Where the state is kept if nobody says: `$XDG_STATE_HOME/mailtrace/`, a file for each config."""
    from hashlib import blake2b

    home = os.environ.get("XDG_STATE_HOME") or ""
    base = Path(home) if home.startswith("/") else Path.home() / ".local" / "state"
    name = "tracing"
    if config is not None:
        whole = str(config.absolute())
        name = f"{config.stem}-{blake2b(os.fsencode(whole), digest_size=4).hexdigest()}"
    return base / "mailtrace" / f"{name}.db"


class State:
    """The open file. Changes are made within `transaction`."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open the file, or make it. Raises `DataError` with the cure."""
        self.path = path
        self.new = not path.exists()
        try:
            if read_only:
                self._db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
            else:
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))  # mail addresses are private
                self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA busy_timeout = 5000")
            self._db.execute("PRAGMA cache_size = -16000")
            self.new = self._open(read_only=read_only)
            if not read_only:
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = NORMAL")
        except (OSError, sqlite3.Error) as error:
            raise DataError(f"state {path}: {_why(error)}") from None

    def _open(self, *, read_only: bool) -> bool:
        """Make the tables, or see that they are ours; whether they are new."""
        tables = self._db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'meta'").fetchone()[0]
        if not tables and not read_only:
            with self.transaction():
                for statement in filter(str.strip, _TABLES.split(";\n")):
                    self._db.execute(statement)
                self._db.execute("INSERT INTO meta VALUES ('version', ?)", (str(VERSION),))
            return True
        row = self._db.execute("SELECT value FROM meta WHERE key = 'version'").fetchone() if tables else None
        if row is None or row[0] != str(VERSION):
            what = f"is of version {row[0]}" if row else "is not one of mailtrace's"
            raise DataError(f"state {self.path} {what}; this mailtrace reads version {VERSION}: name another file")
        return False

    def close(self) -> None:
        """Close the file."""
        with suppress(sqlite3.Error):
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing of what is done inside."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    # ------------------------------------------------------------------------------------------ places

    def places(self) -> dict[str, Any]:
        """How far each log is read, by its name: what its source wrote there."""
        return {name: json.loads(place) for name, place in self._db.execute("SELECT name, place FROM place")}

    def set_place(self, name: str, place: Any) -> None:
        """A log was read so far."""
        self._db.execute("INSERT OR REPLACE INTO place VALUES (?, ?)", (name, json.dumps(place)))

    def met(self, name: str, ids: Sequence[str]) -> set[str]:
        """Those of some documents that were read already."""
        found: set[str] = set()
        for some in _some(ids):
            marks = ",".join("?" * len(some))
            rows = self._db.execute(f"SELECT id FROM met WHERE name = ? AND id IN ({marks})", (name, *some))  # noqa: S608
            found.update(row[0] for row in rows)
        return found

    def meet(self, name: str, documents: Iterable[tuple[str, float]], forget: float) -> None:
        """Remember documents and their times; forget those before a time."""
        rows = [(name, key, time) for key, time in documents]
        self._db.executemany("INSERT OR REPLACE INTO met VALUES (?, ?, ?)", rows)
        self._db.execute("DELETE FROM met WHERE name = ? AND time < ?", (name, forget))

    def marks(self) -> dict[str, float]:
        """The time that each host's log has reached."""
        return dict(self._db.execute("SELECT host, time FROM mark"))

    def set_marks(self, marks: Mapping[str, float]) -> None:
        """Logs have reached these times."""
        self._db.executemany("INSERT OR REPLACE INTO mark VALUES (?, ?)", marks.items())

    # ------------------------------------------------------------------------------------------- mails

    def find(self, keys: Iterable[int]) -> dict[int, int]:
        """The groups that have these keys."""
        found: dict[int, int] = {}
        for some in _some(list(keys)):
            marks = ",".join("?" * len(some))
            found.update(self._db.execute(f"SELECT hash, mail FROM key WHERE hash IN ({marks})", some))  # noqa: S608
        return found

    def heads(self, ids: Iterable[int]) -> dict[int, Head]:
        """What is known of some groups."""
        found: dict[int, Head] = {}
        for some in _some(list(ids)):
            marks = ",".join("?" * len(some))
            rows = self._db.execute(f"SELECT * FROM mail WHERE id IN ({marks})", some)  # noqa: S608
            found.update((row[0], _head(row)) for row in rows)
        return found

    def pending(self, last_round: int, after: int, most: int) -> list[Head]:
        """Groups with something to send whose last line came in that round or before, by number, above `after`."""
        rows = self._db.execute(
            "SELECT * FROM mail WHERE waits != '' AND round <= ? AND id > ? ORDER BY id LIMIT ?",
            (last_round, after, most),
        )
        return [_head(row) for row in rows]

    def wake(self, host: str) -> None:
        """Groups that wait for a host's log wait no longer."""
        self._db.execute(
            "UPDATE mail SET waits = '{}' WHERE waits != '' AND EXISTS "
            "(SELECT 1 FROM json_each(waits) WHERE json_each.key = ?)",
            (host,),
        )

    def next_mail(self) -> int:
        """A number that no group has."""
        return int(self._db.execute("SELECT coalesce(max(id), 0) + 1 FROM mail").fetchone()[0])

    def put(self, heads: Iterable[Head]) -> None:
        """Keep what is known of groups."""
        rows = [
            (*head[:7], json.dumps(head.waits) if head.waits else "" if head.waits is None else "{}", *head[8:])
            for head in heads
        ]
        self._db.executemany("INSERT OR REPLACE INTO mail VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def put_parts(self, parts: Iterable[tuple[int, bytes]]) -> None:
        """Keep more entries of groups."""
        self._db.executemany("INSERT INTO part (mail, entries) VALUES (?, ?)", parts)

    def put_keys(self, keys: Iterable[tuple[int, int]]) -> None:
        """Groups have keys (key, group)."""
        self._db.executemany("INSERT OR REPLACE INTO key VALUES (?, ?)", keys)

    def parts(self, mails: Iterable[int]) -> dict[int, list[bytes]]:
        """The entries of groups, in the order in which they came."""
        found: dict[int, list[bytes]] = {}
        for some in _some(list(mails)):
            marks = ",".join("?" * len(some))
            rows = self._db.execute(f"SELECT mail, entries FROM part WHERE mail IN ({marks}) ORDER BY id", some)  # noqa: S608
            for mail, entries in rows:
                found.setdefault(mail, []).append(entries)
        return found

    def merge(self, mail: int, into: int) -> None:
        """Two groups are one; what is known of it is for the caller to `put`."""
        self._db.execute("UPDATE part SET mail = ? WHERE mail = ?", (into, mail))
        self._db.execute("UPDATE key SET mail = ? WHERE mail = ?", (into, mail))
        self._db.execute("DELETE FROM mail WHERE id = ?", (mail,))

    def forget(self, before: float, *, finished: bool, most: int) -> int:
        """Forget groups (those that are finished, or those that are not) whose last line is older; how many.

        None is forgotten that was not looked at since its last line: old lines come where a log is read for the first
        time.
        """
        which = "finished = 1 AND waits = ''" if finished else "finished = 0 AND waits != '{}'"
        ids = self._db.execute(f"SELECT id FROM mail WHERE last < ? AND {which} LIMIT ?", (before, most)).fetchall()  # noqa: S608
        for table, column in (("part", "mail"), ("key", "mail"), ("mail", "id")):
            self._db.executemany(f"DELETE FROM {table} WHERE {column} = ?", ids)  # noqa: S608
        return len(ids)

    # ------------------------------------------------------------------------------------------- spool

    def spool(self, requests: Iterable[tuple[float, int, bytes]]) -> None:
        """Requests to be sent: when they were made, their spans, their bytes."""
        self._db.executemany("INSERT INTO spool (made, spans, request) VALUES (?, ?, ?)", requests)

    def next_requests(self, most: int, after: int = 0) -> list[Request]:
        """The oldest requests that wait."""
        rows = self._db.execute(
            "SELECT id, made, spans, request FROM spool WHERE id > ? ORDER BY id LIMIT ?", (after, most)
        )
        return [Request(*row) for row in rows]

    def drop(self, request: int) -> None:
        """A request is done with."""
        self._db.execute("DELETE FROM spool WHERE id = ?", (request,))

    def spooled(self) -> tuple[int, int, float | None]:
        """What waits: spans, bytes, and when the oldest was made."""
        row = self._db.execute(
            "SELECT coalesce(sum(spans), 0), coalesce(sum(length(request)), 0), min(made) FROM spool"
        )
        spans, size, oldest = row.fetchone()
        return int(spans), int(size), oldest

    def set_aside(self, made: float, spans: int, reason: str, body: bytes) -> None:
        """Keep what a back end refuses for good, to be looked at; the newest thousand."""
        self._db.execute(
            "INSERT INTO aside (made, spans, reason, request) VALUES (?, ?, ?, ?)", (made, spans, reason, body)
        )
        self._db.execute("DELETE FROM aside WHERE id <= (SELECT max(id) FROM aside) - 1000")

    # ---------------------------------------------------------------------------------------- counters

    def count(self, name: str, number: int = 1) -> None:
        """Add to a counter."""
        if number:
            self._db.execute(
                "INSERT INTO counter VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
                (name, number),
            )

    def counters(self) -> dict[str, int]:
        """All counters."""
        return dict(self._db.execute("SELECT name, value FROM counter"))

    def set_meta(self, key: str, value: str) -> None:
        """Keep a fact."""
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def meta(self) -> dict[str, str]:
        """All facts."""
        return dict(self._db.execute("SELECT key, value FROM meta"))

    def mails(self) -> tuple[int, int, int]:
        """Groups in the file: all, those that go on, those with something to send. Counted in indexes: it is cheap."""
        [row] = self._db.execute(
            "SELECT (SELECT count(*) FROM mail), (SELECT count(*) FROM mail WHERE finished = 0), "
            "(SELECT count(*) FROM mail WHERE waits != '')"
        )
        return int(row[0]), int(row[1]), int(row[2])

    def under_way(self) -> int:
        """Groups that go on."""
        return int(self._db.execute("SELECT count(*) FROM mail WHERE finished = 0").fetchone()[0])


def _head(row: tuple[Any, ...]) -> Head:
    waits = json.loads(row[7]) if row[7] else None
    return Head(row[0], row[1], row[2], row[3], row[4], row[5], row[6], waits, bool(row[8]), row[9])


def _some(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for at in range(0, len(values), _MANY):
        yield values[at : at + _MANY]


def _why(error: Exception) -> str:
    """What is wrong with a file, and the cure."""
    text = str(getattr(error, "strerror", "") or error)
    if isinstance(error, sqlite3.DatabaseError) and "not a database" in text:
        return "it is not a state file; name another"
    if "readonly" in text or "Permission denied" in text or "unable to open" in text:
        return f"{text}; name a file that may be written with tracing.state"
    return text
