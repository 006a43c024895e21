"""Where reading goes on in a log that is rotated: which file is which."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from mailtrace.sources.resume import Place, Seen, resume

NOW = 1_780_000_000.0


def head(text: str, length: int) -> str:
    return blake2b(text[:length].encode()).hexdigest() if len(text) >= length else ""


@dataclass
class File:
    """A file with a text."""

    ident: str
    text_: str
    modified: float = NOW
    live: bool = True
    plain: bool = True

    @property
    def size(self) -> int:
        return len(self.text_)

    def head(self, length: int) -> str:
        return head(self.text_, length)


def seen(ident: str, text: str, at: float = NOW - 100) -> Seen:
    return Seen(ident, len(text), min(len(text), 20), head(text, min(len(text), 20)), at)


def found(place: Place, *files: File, since: float | None = None) -> list[tuple[str, int]]:
    return [(file.ident, was.offset) for file, was in resume(place, files, since, frozenset()).files]


def test_a_log_is_known_again_by_inode_and_beginning() -> None:
    assert found(Place((seen("1", "a" * 30),)), File("1", "a" * 50)) == [("1", 30)]


def test_a_reused_inode_is_another_file() -> None:
    place = Place((seen("1", "a" * 30),))
    assert found(place, File("1", "b" * 50)) == [("1", 0)]
    assert resume(place, [File("1", "b" * 50)], None, frozenset()).lost


def test_a_copy_is_known_by_its_beginning_and_comes_first() -> None:
    files = File("1", "b" * 10), File("2", "a" * 40, live=False, modified=NOW - 5)
    assert found(Place((seen("1", "a" * 30),)), *files) == [("2", 30), ("1", 0)]


def test_what_is_older_than_the_last_reading_is_not_new() -> None:
    place = Place((seen("1", "a" * 30, NOW - 100),))
    files = File("1", "a" * 30), File("2", "old" * 9, live=False, modified=NOW - 5000)
    assert found(place, *files) == [("1", 30)]


def test_a_first_reading_begins_with_the_log_itself_unless_it_reaches_back() -> None:
    files = File("1", "b" * 10), File("2", "a" * 40, live=False, modified=NOW - 50)
    assert found(Place(), *files) == [("1", 0)]
    assert found(Place(), *files, since=NOW - 60) == [("2", 0), ("1", 0)]


def test_a_place_is_the_same_after_it_was_written_down() -> None:
    place = Place((seen("1", "a" * 30),), ((20, "x"),))
    assert Place.of(place.data()) == place
    assert Place.of(None) == Place()


def test_a_renamed_log_is_watched_for_an_hour_and_then_remembered() -> None:
    old, live = seen("1", "a" * 30, NOW - 60), seen("2", "b" * 30)
    assert Place().after([old, live], NOW).files == (old, live)
    later = Place().after([old, live], NOW + 7200)
    assert (later.files, later.done) == ((live,), ((old.length, old.head),))
