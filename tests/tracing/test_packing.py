"""Entries in the state file: what comes out is what went in."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from mailtrace.model import LogEntry, Zone
from mailtrace.parsers import make_parser
from mailtrace.tracing import packing
from mailtrace.tracing.packing import KINDS, PLAIN, pack, quickest, unpack

LOGS = sorted((Path(__file__).parents[2] / "jobs" / "demo").glob("*.log"))


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.stem)
def test_entries_come_out_as_they_went_in(log: Path) -> None:
    parser = make_parser(keep_raw=False)
    entries = [entry._replace(zone=Zone.UTC) for entry in parser.parse(log.read_bytes(), 0, log.stem)]
    assert entries
    found = unpack(pack(entries))
    assert found == entries
    assert [type(entry.event) for entry in found] == [type(entry.event) for entry in entries]


def test_bytes_that_are_no_text_come_through() -> None:
    stamp = b"2026-11-23T01:04:22+00:00 mx1 "
    line = stamp + b"postfix/qmgr[1]: 4F1A2B3C4D: from=<\xff\xfe@x>, size=1, nrcpt=1 (queue active)\n"
    [entry] = make_parser().parse(line, 0, "mx1")
    assert unpack(pack([entry])) == [entry]


def test_each_codec_reads_what_the_other_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [entry._replace(zone=Zone.UTC) for entry in make_parser().parse(LOGS[0].read_bytes(), 0, "mx1")]
    quick = pack(entries)
    assert quickest() is not PLAIN
    monkeypatch.setattr(packing, "quickest", lambda: PLAIN)
    plain = pack(entries)
    assert unpack(quick) == unpack(plain) == entries
    monkeypatch.undo()
    assert unpack(plain) == entries


def test_a_number_of_any_length_comes_through() -> None:
    line = b"2026-11-23T01:04:22+00:00 mx1 postfix/qmgr[1]: 4F1A2B3C4D: removed\n"
    entries = [*make_parser().parse(line, 0, "mx1")]
    entries = [entries[0]._replace(seq=seq) for seq in (0, (1 << 63) - 1, 1 << 63, 1 << 90)]
    assert unpack(pack(entries)) == entries


def test_every_kind_of_event_has_its_number_for_ever() -> None:
    names = [kind.__name__ for kind in KINDS]
    assert names == [
        *("Accepted", "MessageId", "Queued", "Attempt", "Notified", "Removed", "Action", "Check", "Proxied"),
        *("Filtered", "Stored", "Note", "Session"),
    ]


def test_what_is_damaged_is_an_error_and_runs_nothing() -> None:
    with pytest.raises(zlib.error):
        unpack(b"cos\nsystem\n(S'true'\ntR.")
    assert unpack(pack([])) == list[LogEntry]()
