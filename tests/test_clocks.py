"""Year, zone and DST are read from the clocks inside IDs."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from mailtrace.clocks import Clocks, in_year, nearest_offset, prove, zone_info
from mailtrace.model import Accepted, Attempt, Event, LogEntry, MessageId, Zone


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()


def entry(time: str, event: Event, *, queue_id: str = "", zone: Zone = Zone.YEARLESS, host: str = "mx") -> LogEntry:
    stamp = utc(time) if zone is not Zone.YEARLESS else utc("2000" + time[4:])
    return LogEntry(host, stamp, zone, 0, host, "postfix", "cleanup", 1, queue_id, event)


def made(local: str, message_id: str, **more: str) -> LogEntry:
    """A Message-ID that Postfix made itself: its UTC clock beside the stamp of the line."""
    queue_id = message_id.partition(".")[2].partition("@")[0]
    return entry(local, MessageId(message_id), queue_id=queue_id)


def clocks(*entries: LogEntry, zone: str = "UTC", near: str = "2026-06-01T00:00:00") -> Clocks:
    learnt = Clocks(lambda _host: zone, near=utc(near))
    for one in entries:
        learnt.observe(one)
    return learnt


def test_a_message_id_of_the_host_itself_proves_year_and_zone() -> None:
    line = made("2020-06-03T12:40:59", "20200603104059.A48191855DA0@mail.example.com")
    learnt = clocks(line)
    assert learnt.utc("mx", Zone.YEARLESS, line.time) == utc("2020-06-03T10:40:59")
    note = learnt.notes()[0]
    assert (note.offset, note.year_from, note.proved_by) == (7200.0, "ids", "ids")


def test_a_long_queue_id_proves_them_too() -> None:
    # 4PbC4z6W5Q is 2023-03-13T23:08:35.916938Z
    line = entry("2023-03-14T00:08:35", Accepted(), queue_id="4PbC4z6W5Qz3tG3")
    assert clocks(line).utc("mx", Zone.YEARLESS, line.time) == utc("2023-03-13T23:08:35")


def test_a_reply_that_nobody_confirms_does_not_overrule_the_configured_zone() -> None:
    gmail = Attempt("a@example.org", "", "sent", reply="250 2.0.0 OK  1370843019 l7si764411eey.60 - gsmtp")
    line = entry("2013-06-10T07:43:40", gmail, queue_id="6A3F73FC075", zone=Zone.LOCAL)
    assert clocks(line, zone="UTC").utc("mx", Zone.LOCAL, line.time) == line.time
    twice = [line, line._replace(time=line.time + 2)]
    reply = "250 2.0.0 OK  1370843021 l7si764411eey.61 - gsmtp"
    twice[1] = twice[1]._replace(event=gmail._replace(reply=reply))
    assert clocks(*twice, zone="UTC").utc("mx", Zone.LOCAL, line.time) == line.time - 7200


def test_new_year_lies_between_two_stamps_of_a_log_without_a_year() -> None:
    old = made("2025-12-31T23:59:50", "20251231235950.AAAAA1855DA0@mail.example.com")
    new = made("2026-01-01T00:00:10", "20260101000010.BBBBB1855DA0@mail.example.com")
    learnt = clocks(old, new)
    assert learnt.utc("mx", Zone.YEARLESS, old.time) == utc("2025-12-31T23:59:50")
    assert learnt.utc("mx", Zone.YEARLESS, new.time) == utc("2026-01-01T00:00:10")


def test_the_year_of_one_side_of_new_year_tells_that_of_the_other() -> None:
    old = made("2025-12-31T23:59:50", "20251231235950.AAAAA1855DA0@mail.example.com")
    new = made("2026-01-01T00:00:10", "20260101000010.BBBBB1855DA0@mail.example.com")
    for known, other, year in ((old, new, 2026), (new, old, 2025)):
        moment = utc(f"{year}{'-01-01T00:00:10' if other is new else '-12-31T23:59:50'}")
        assert clocks(known).utc("mx", Zone.YEARLESS, other.time) == moment


def test_summer_time_ends_within_a_log() -> None:
    before = made("2025-10-25T12:00:00", "20251025100000.AAAAA1855DA0@mail.example.com")
    after = made("2025-10-27T12:00:00", "20251027110000.BBBBB1855DA0@mail.example.com")
    learnt = clocks(before, after)
    assert learnt.utc("mx", Zone.YEARLESS, before.time) == utc("2025-10-25T10:00:00")
    assert learnt.utc("mx", Zone.YEARLESS, after.time) == utc("2025-10-27T11:00:00")


def test_a_stamp_that_carries_its_offset_needs_no_proof() -> None:
    line = entry("2025-10-25T12:00:00", Accepted(), queue_id="4PbC4z6W5Qz3tG3", zone=Zone.UTC)
    assert clocks(line, zone="Asia/Kolkata").utc("mx", Zone.UTC, line.time) == line.time


@pytest.mark.parametrize(
    "zone,local,true",
    [
        ("Europe/Berlin", "2026-01-15T12:00:00", "2026-01-15T11:00:00"),
        ("Europe/Berlin", "2025-07-15T12:00:00", "2025-07-15T10:00:00"),
        ("+05:30", "2026-01-15T12:00:00", "2026-01-15T06:30:00"),
        ("-0300", "2026-01-15T12:00:00", "2026-01-15T15:00:00"),
    ],
)
def test_without_proof_the_configured_zone_is_read(zone: str, local: str, true: str) -> None:
    assert clocks(zone=zone).utc("mx", Zone.LOCAL, utc(local)) == utc(true)


def test_a_year_that_nothing_proves_is_the_latest_that_is_not_in_the_future() -> None:
    learnt = clocks(near="2026-01-02T00:00:00")
    assert learnt.utc("mx", Zone.YEARLESS, utc("2000-12-31T10:00:00")) == utc("2025-12-31T10:00:00")
    assert learnt.utc("mx", Zone.YEARLESS, utc("2000-01-01T10:00:00")) == utc("2026-01-01T10:00:00")


def test_an_id_days_older_than_its_line_is_no_clock() -> None:
    line = made("2026-06-03T12:40:59", "20200501104059.A48191855DA0@mail.example.com")
    learnt = clocks(line)
    assert not learnt.clock("mx", Zone.YEARLESS).proved_by


def test_a_hand_off_shifts_only_a_zone_that_nothing_proves() -> None:
    proved = made("2020-06-03T12:40:59", "20200603104059.A48191855DA0@mail.example.com")
    learnt = clocks(proved)
    learnt.utc("other", Zone.LOCAL, 0.0)
    for host in ("mx", "other"):
        learnt.shift(host, 3600)
    assert learnt.utc("mx", Zone.YEARLESS, proved.time) == utc("2020-06-03T10:40:59")
    assert learnt.utc("other", Zone.LOCAL, 7200.0) == 3600.0
    assert {note.host: note.proved_by for note in learnt.notes()} == {"mx": "ids", "other": "hand-offs"}


def test_skew_is_taken_off() -> None:
    learnt = clocks()
    learnt.skew["mx"] = 600.0
    assert learnt.utc("mx", Zone.UTC, 1000.0) == 400.0


def test_a_sample_tells_a_log_s_offset() -> None:
    lines = [made(f"2020-06-03T12:40:5{n}", f"2020060310405{n}.A48191855DA{n}@mail.example.com") for n in range(4)]
    offset = prove(lines, "UTC", utc("2026-01-01T00:00:00"))
    assert (offset.slack, offset.proved_by) == (0.0, "ids")
    assert lines[0].time - offset.seconds == utc("2020-06-03T10:40:50")


def test_a_sample_that_proves_nothing_leaves_the_widest_slack() -> None:
    offset = prove(
        [entry("2020-06-03T12:40:59", MessageId("x@y"), queue_id="A48191855DA0")], "", utc("2020-07-01T00:00:00")
    )
    assert offset.slack >= 14 * 3600
    assert not offset.proved_by


def test_leap_day_in_a_year_without_one_is_the_first_of_march() -> None:
    leap = utc("2000-02-29T10:00:00")
    assert in_year(leap, 2024) == utc("2024-02-29T10:00:00")
    assert in_year(leap, 2025) == utc("2025-03-01T10:00:00")


def test_offsets_are_those_of_zones_in_use() -> None:
    assert nearest_offset(600) == 0
    assert nearest_offset(19800 - 40) == 19800
    assert nearest_offset(20690) == 20700
    assert zone_info("") is None
