"""Mails on disk: what was put there comes back, in order, and a full disk is said."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from stories import read

from mailtrace.errors import DataError
from mailtrace.model import Mail
from mailtrace.report import Report
from mailtrace.shelf import Shelf

LOG = """
    2026-03-09T04:27:02Z mx1 postfix/smtpd[11]: 4fXkSW2mqJz9sRK: client=client.example.net[192.0.2.7]
    2026-03-09T04:27:02Z mx1 postfix/cleanup[12]: 4fXkSW2mqJz9sRK: message-id=<1@example.net>
    2026-03-09T04:27:02Z mx1 postfix/qmgr[13]: 4fXkSW2mqJz9sRK: from=<a\\@\udce9>, size=900, nrcpt=1 (queue active)
    2026-03-09T04:27:03Z mx1 postfix/qmgr[13]: 4fXkSW2mqJz9sRK: removed
"""


def mails(*moments: float) -> list[Mail]:
    (mail,) = read(mx1=LOG.replace("\udce9", "é")).mails
    return [replace(mail, first=moment, id=f"mail at {moment}") for moment in moments]


def told(mails: list[Mail]) -> object:
    return Report("", "trace", mails=mails).to_dict()["mails"]


def test_what_was_put_there_comes_back() -> None:
    put, shelf = mails(3.0, 1.0, 2.0), Shelf()
    for mail in put:
        shelf.put(mail)
    assert len(shelf) == 3
    assert told(list(shelf)) == told(list(shelf)) == told(put), "as often as it is asked for"
    assert told(shelf[1:]) == told(put[1:])
    assert told([shelf[-1]]) == told(put[-1:])
    with pytest.raises(IndexError):
        shelf[3]
    shelf.sort()
    assert [mail.first for mail in shelf] == [1.0, 2.0, 3.0]
    assert shelf[0].first == 1.0


def test_an_empty_one_is_no_mails() -> None:
    assert not Shelf()
    assert list(Shelf()) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a disk that is full")  # noqa: PTH110 - a device
def test_a_full_disk_is_said_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.TemporaryFile", lambda: open("/dev/full", "r+b", buffering=0))  # noqa: SIM115, PTH123
    shelf = Shelf()
    with pytest.raises(DataError, match=r"No space left on device.* TMPDIR"):
        shelf.put(mails(1.0)[0])
