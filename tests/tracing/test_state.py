"""The state file: all of a change or nothing, and no other program's file."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from mailtrace.errors import DataError
from mailtrace.tracing.state import Head, State, default_path


def head(number: int, **more: object) -> Head:
    made = Head(number, "mx1", 100.0, 1, 1, 5.0, 0.0, {}, finished=False, sent=b"")
    return made._replace(**more)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "state.db"


def test_what_was_kept_is_there_after_it_was_opened_again(path: Path) -> None:
    state = State(path)
    assert state.new
    with state.transaction():
        state.set_place("files:/x", {"offset": 3})
        state.set_marks({"mx1": 7.0})
        state.put([head(1, waits={"mx1": 9.0}, sent=b"12345678")])
        state.put_parts([(1, b"one"), (1, b"two")])
        state.put_keys([(2**62, 1)])
        state.spool([(1.0, 5, b"body")])
        state.count("sent", 5)
    state.close()
    state = State(path)
    assert not state.new
    assert state.places() == {"files:/x": {"offset": 3}}
    assert state.marks() == {"mx1": 7.0}
    assert state.pending(1, 0, 10) == [head(1, waits={"mx1": 9.0}, sent=b"12345678")]
    assert state.parts([1, 2]) == {1: [b"one", b"two"]}
    assert state.find([2**62, 5]) == {2**62: 1}
    assert [(request.spans, request.body) for request in state.next_requests(9)] == [(5, b"body")]
    assert state.counters() == {"sent": 5}
    state.close()


def test_a_transaction_that_fails_changes_nothing(path: Path) -> None:
    state = State(path)

    def change() -> None:
        with state.transaction():
            state.set_place("a", 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change()
    assert state.places() == {}
    state.close()


def test_a_full_disk_changes_nothing(path: Path) -> None:
    state = State(path)
    state._db.execute("PRAGMA max_page_count = 40")  # a disk with little room

    def change() -> None:
        with state.transaction():
            state.set_place("a", 1)
            state.spool([(1.0, 1, b"x" * 1_000_000)])

    with pytest.raises(sqlite3.OperationalError, match="full"):
        change()
    assert state.places() == {}
    state.close()


def test_a_process_that_is_killed_leaves_the_last_transaction(path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from mailtrace.tracing.state import State\n"
        "state = State(Path(sys.argv[1]))\n"
        "with state.transaction(): state.set_place('a', 1)\n"
        "with state.transaction():\n"
        "    state.set_place('a', 2)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert done.returncode == -9
    state = State(path)
    assert state.places() == {"a": 1}
    state.close()


def test_two_groups_become_one(path: Path) -> None:
    state = State(path)
    state.put([head(1), head(2)])
    state.put_parts([(1, b"one"), (2, b"two")])
    state.put_keys([(10, 1), (20, 2)])
    state.merge(2, into=1)
    assert state.parts([1, 2]) == {1: [b"one", b"two"]}
    assert state.find([10, 20]) == {10: 1, 20: 1}
    assert list(state.heads([1, 2])) == [1]
    state.close()


def test_what_ended_long_ago_is_forgotten_and_what_has_something_to_send_is_not(path: Path) -> None:
    state = State(path)
    state.put([head(1, finished=True, waits=None), head(2, finished=True), head(3, waits=None), head(4, last=900.0)])
    state.put([head(5), head(6, waits={"mx1": 1000.0})])
    state.put_parts([(1, b"x")])
    state.put_keys([(10, 1)])
    assert state.forget(500.0, finished=True, most=10) == 1
    assert (state.parts([1]), state.find([10])) == ({}, {})
    assert state.forget(500.0, finished=False, most=10) == 2
    assert list(state.heads([1, 2, 3, 4, 5, 6])) == [2, 4, 5]
    state.close()


@pytest.mark.parametrize("text", ["not a database" * 100, ""])
def test_another_programs_file_is_refused_and_left_alone(path: Path, text: str) -> None:
    path.parent.mkdir()
    if text:
        path.write_text(text, encoding="utf-8")
    else:
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE meta (key, value)")
        other.close()
    before = path.read_bytes()
    with pytest.raises(DataError, match="name another"):
        State(path)
    assert path.read_bytes() == before


def test_addresses_are_private(path: Path) -> None:
    State(path).close()
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_each_config_has_a_state_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    one, other = default_path(Path("/etc/a/config.yaml")), default_path(Path("/etc/b/config.yaml"))
    assert one != other
    assert one.parent == other.parent == tmp_path / "mailtrace"
    assert default_path(None) == tmp_path / "mailtrace" / "tracing.db"
