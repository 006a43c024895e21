"""A hit is read as the line it once was, whatever the index makes of it."""

from __future__ import annotations

from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from opensearch_node.shapes import SHAPES, lines

from mailtrace.model import LogEntry, LogQuery, Zone
from mailtrace.parsers import make_parser
from mailtrace.sources.opensearch_fields import ROLES, Field, Fields
from mailtrace.sources.opensearch_hits import Reader, seconds
from mailtrace.sources.search import Literals

TEXT = frozenset({"text"})
FIELDS = Fields(
    (Field("@timestamp", frozenset({"date"})),),
    (Field("host.name", TEXT),),
    (Field("program", TEXT),),
    (Field("pid", TEXT),),
    (Field("message", TEXT),),
)
TIME = 1_767_323_045.123
EVERY = [(Literals(LogQuery()), LogQuery())]
SAID = "4XyZk12QbPz1: removed"


def reader(*formats: str) -> Reader:
    return Reader(FIELDS, make_parser(formats, "", keep_raw=True), lambda name: name.partition(".")[0], lambda _: "")


def read(source: dict[str, Any], query: LogQuery = LogQuery(), made: Reader | None = None) -> list[LogEntry]:  # noqa: B008
    hit = {"_index": "i", "_id": "1", "_seq_no": 5, "sort": [int(TIME * 1000)], "_source": source}
    return (made or reader()).entries([hit], [(Literals(query), query)])


@pytest.mark.parametrize(
    "source",
    [
        {"message": SAID, "host": {"name": "mx1"}, "program": "postfix/qmgr", "pid": "77"},
        {"message": SAID, "host.name": "mx1", "program": "postfix/qmgr", "pid": 77},
        {"message": f" {SAID}\n", "host": {"name": ["mx1"]}, "program": "postfix/qmgr[77]:"},
        {"message": f"postfix/qmgr[77]: {SAID}", "host": {"name": "mx1"}},
        {"message": f"mx1 postfix/qmgr[77]: {SAID}"},
        {"message": f"Jan  2 03:04:05 mx1 postfix/qmgr[77]: {SAID}"},
        {"message": f"Jan  2 03:04:05 mx1 postfix/qmgr[77]: {SAID}", "program": "postfix/qmgr", "host.name": "mx1"},
        {"message": f"<22>1 2026-01-02T03:04:05.123Z mx1 postfix/qmgr 77 - - {SAID}"},
    ],
)
@pytest.mark.parametrize("formats", [(), ("rfc3164",), ("rfc5424",), ("iso8601",)])
def test_all_shapes_are_parsed_alike(source: dict[str, Any], formats: tuple[str, ...]) -> None:
    whole = any(mark in source["message"] for mark in ("Jan", "<22>"))
    if whole and formats:
        return  # a job that names a format means the lines that are whole
    (entry,) = read(source, made=reader(*formats))
    assert (entry.host, entry.instance, entry.service, entry.pid) == ("mx1", "postfix", "qmgr", 77)
    assert (entry.queue_id, entry.zone) == ("4XyZk12QbPz1", Zone.UTC)
    assert entry.time == pytest.approx(TIME, abs=1e-6)


@cache
def rough(shape: str) -> list[LogEntry]:
    """Some lines of the rough fleet, as an index in a shape would answer with them."""
    host, program, pid, text = (
        tuple(Field(name, TEXT) for name in ROLES[shape][role]) for role in ("hostname", "service", "pid", "message")
    )
    time = (Field(ROLES[shape]["timestamp"][0], frozenset({"date"})),)
    make, _ = SHAPES[shape]
    hits = [
        {"_index": "i", "_id": f"{n}", "sort": [int(line.time.timestamp() * 1000)], "_source": make(line)}
        for n, line in enumerate(lines("rough")[::10])
    ]
    return Reader(Fields(time, host, program, pid, text), make_parser(), str, str).entries(hits, EVERY)


def told(entry: LogEntry) -> LogEntry:
    """An entry without what is the line's own where a shape keeps the whole of it."""
    return entry._replace(time=0.0, raw_time="", logged_host="")


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_makes_the_same_entries_of_rough_lines(shape: str) -> None:
    wanted, found = rough("ecs"), rough(shape)
    assert len(wanted) > 2000
    assert [told(each) for each in found] == [told(each) for each in wanted]
    assert [each.time for each in found] == pytest.approx([each.time for each in wanted], rel=0, abs=0.001)


def test_exims_own_lines_are_read_with_and_without_their_stamp() -> None:
    said = "1vFaBS-00006D-0P Completed"
    for text in (said, f"[386] {said}", f"2026-01-02 03:04:05 {said}"):
        for program in ({}, {"program": "exim"}):
            (entry,) = read({"message": text, "host": {"name": "mx1"}} | program)
            assert (entry.host, entry.queue_id) == ("mx1", "1vFaBS-00006D-0P")
            assert entry.time == pytest.approx(TIME, abs=1e-6)


def test_a_line_without_the_literals_is_left_out_whatever_the_server_thinks() -> None:
    source = {"message": SAID, "host": {"name": "mx1"}, "program": "postfix/qmgr"}
    assert read(source, LogQuery(any_of=("xyzk12qb",)))
    assert not read(source, LogQuery(any_of=("xyzk12qc",)))


def test_a_line_of_another_host_is_left_out() -> None:
    source = {"message": SAID, "host": {"name": "mx1.example.com"}, "program": "postfix/qmgr"}
    assert read(source, LogQuery(hosts=("mx1",)))
    assert not read(source, LogQuery(hosts=("mx2",)))


def test_a_document_keeps_its_place_and_two_of_one_moment_have_two() -> None:
    made = reader()
    hits = [
        {
            "_index": "i",
            "_id": str(number),
            "_seq_no": 5,
            "sort": [1],
            "_source": {"message": SAID, "program": "postfix/qmgr"},
        }
        for number in (1, 2, 1)
    ]
    one, two, again = (made.entries([hit], EVERY)[0].seq for hit in hits)
    assert one == again != two


def test_the_ids_that_opensearch_makes_tell_the_order_in_which_lines_came() -> None:
    ids = ("wsljB6IB1wE7Wz6ZwRZ0", "w8ljB6IB1wE7Wz6ZwRZ7", "xMljB6IB1wE7Wz6ZwRZ7")  # of a real node
    seqs = []
    for at, name in enumerate(ids):
        source = {"message": SAID, "program": "postfix/qmgr"}
        hit = {"_index": "i", "_id": name, "_seq_no": 9 - at, "sort": [1], "_source": source}
        seqs += [entry.seq for entry in reader().entries([hit], EVERY)]
    assert seqs == sorted(seqs)
    assert len(seqs) == 3


def test_a_time_is_as_fine_as_the_document_writes_it() -> None:
    (entry,) = read({"message": SAID, "program": "postfix/qmgr", "@timestamp": "2026-01-02T03:04:05.123456Z"})
    assert entry.time == pytest.approx(1_767_323_045.123456, abs=1e-6)


@pytest.mark.parametrize("stamp", ["2026-01-02T04:04:05.123", "2026-01-02 04:04:05.123456"])
def test_a_time_without_a_zone_is_in_the_zone_that_the_config_names(stamp: str) -> None:
    made = Reader(FIELDS, make_parser(), str, str, ZoneInfo("Europe/Berlin"))
    wrong = (TIME + 3600) * 1000  # the index took it for UTC
    source = {"message": SAID, "program": "postfix/qmgr", "@timestamp": stamp}
    (entry,) = made.entries([{"_id": "1", "sort": [wrong], "_source": source}], EVERY)
    assert entry.time == pytest.approx(TIME, abs=1e-3)
    assert made.shift == 3600


def test_a_time_with_a_zone_is_what_it_says_whatever_the_config_names() -> None:
    made = Reader(FIELDS, make_parser(), str, str, ZoneInfo("Europe/Berlin"))
    source = {"message": SAID, "program": "postfix/qmgr", "@timestamp": "2026-01-02T03:04:05.123Z"}
    (entry,) = made.entries([{"_id": "1", "sort": [TIME * 1000], "_source": source}], EVERY)
    assert entry.time == pytest.approx(TIME, abs=1e-3)
    assert made.shift == 0


def test_a_document_without_a_text_is_counted_and_one_without_a_time_left_out() -> None:
    made = reader()
    hits: list[dict[str, Any]] = [
        {"sort": [9_223_372_036_854_775_807], "_source": {"message": SAID}},
        {"sort": [1], "_source": {}},
        {"sort": [1]},
    ]
    assert made.entries(hits, EVERY) == []
    assert made.textless == 2


@pytest.mark.parametrize("text", ["\ud800 x", "a\nb", "\0\0", "{" * 5000, "<22>", "]: " * 50, ""])
def test_whatever_a_document_holds_costs_itself_only(text: str) -> None:
    read({"message": text, "host": {"name": text}, "program": text, "pid": text})


def test_a_moment_is_known_in_whichever_unit_it_is_counted() -> None:
    assert [seconds(1_767_323_045 * unit) for unit in (1, 10**3, 10**6, 10**9)] == [1_767_323_045.0] * 4
