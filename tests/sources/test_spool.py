"""Texts kept on disk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mailtrace.sources.spool import Spool

if TYPE_CHECKING:
    import pytest


def read(spool: Spool, start: int, size: int) -> bytes:
    descriptor = spool.descriptor
    try:
        return os.pread(descriptor, size, start)
    finally:
        os.close(descriptor)


def test_texts_are_kept_one_behind_the_other() -> None:
    spool = Spool()
    kept = []
    for text in (b"one", b"", b"three"):
        keeping = spool.begin()
        keeping.add(text[:2])
        keeping.add(text[2:])
        kept.append((keeping.done(complete=True), text))
    for one, text in kept:
        assert read(spool, one.start, one.size) == text
    spool.close()


def test_a_text_that_is_given_up_makes_room_for_the_next() -> None:
    spool = Spool()
    keeping = spool.begin()
    busy = spool.busy
    assert busy
    keeping.add(b"given up")
    keeping.drop()
    assert not spool.busy
    again = spool.begin()
    again.add(b"kept")
    assert again.done(complete=False).start == 0
    spool.close()


def test_no_more_is_kept_than_there_is_room() -> None:
    spool = Spool(most=10)
    keeping = spool.begin()
    assert keeping.add_if_room(b"12345678")
    assert not keeping.add_if_room(b"345")
    keeping.drop()
    spool.close()


def test_a_full_disk_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool()
    keeping = spool.begin()

    def full(*_arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    assert not keeping.add_if_room(b"x")
    keeping.drop()
    spool.close()
