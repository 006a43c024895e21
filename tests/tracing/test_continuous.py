"""Rounds: the same spans, byte for byte, however the lines come in."""

from __future__ import annotations

import json
import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import truth
from feed import Memory, begin, pieces, rounds_of, run
from same import exported, fleet
from traces import SECOND, Judgement, judge

from mailtrace.errors import DataError
from mailtrace.otlp.outcome import Outcome, Verdict
from mailtrace.sources.following import LogTail
from mailtrace.tracing.state import State

DEMO = {path.stem: path for path in sorted((Path(__file__).parents[2] / "jobs" / "demo").glob("*.log"))}
Spans = list[tuple[str, bytes]]


@pytest.fixture(name="whole", scope="module")
def _whole(tmp_path_factory: pytest.TempPathFactory) -> Spans:
    """The spans of the demo, read in one round."""
    return run(DEMO, tmp_path_factory.mktemp("whole"), 1).spans()


def test_every_span_is_sent_once(whole: Spans) -> None:
    assert len(whole) > 2000
    assert Counter(whole).most_common(1)[0][1] == 1


def traces(name: str, folder: Path, learnt: dict[str, str]) -> tuple[Judgement, dict[str, str]]:
    """What a new state that was told what another has learnt makes of a fleet, and what it learns."""
    client = Memory()
    folder.mkdir()
    state = State(folder / "state.db")
    with state.transaction():
        for fact, value in learnt.items():
            state.set_meta(fact, value)
    state.close()
    rounds = rounds_of(truth.fleet(name), folder, client)
    rounds.go()
    rounds.finish()
    rounds.scene.handover.send()
    known = {fact: value for fact, value in rounds.scene.state.meta().items() if fact in ("skews", "names")}
    rounds.scene.state.close()
    return judge(client.got(), truth.truth(name)), known


@pytest.mark.parametrize("name, missed", [("fleet", 0), ("rough", 1)])
def test_mails_become_the_traces_of_the_truth(tmp_path: Path, name: str, missed: int) -> None:
    found, learnt = traces(name, tmp_path / "first", {})
    assert (found.twice, found.orphans) == ([], [])
    # A clock that is ten minutes fast is known only when most of that fleet's mails are read.
    assert found.right >= found.wanted - missed > 180, found.wrong
    if missed:
        found, _learnt = traces(name, tmp_path / "second", learnt)
        assert (found.wrong, found.twice, found.orphans) == ([], [], [])


@pytest.mark.parametrize("hold", [0, 2, 10])
@pytest.mark.parametrize("rounds", [3, 40])
def test_the_spans_are_the_same_in_any_number_of_rounds_and_with_any_hold(
    whole: Spans, tmp_path: Path, rounds: int, hold: int
) -> None:
    assert sorted(run(DEMO, tmp_path, rounds, hold=hold).spans()) == sorted(whole)


@pytest.mark.parametrize("hold", [0, 2])
def test_the_spans_are_the_same_where_each_round_is_another_process(whole: Spans, tmp_path: Path, hold: int) -> None:
    assert sorted(run(DEMO, tmp_path, 25, hold=hold, restart=True).spans()) == sorted(whole)


@pytest.mark.parametrize("rounds", [2, 30])
def test_the_spans_are_the_export_s_where_stamps_have_neither_year_nor_zone(tmp_path: Path, rounds: int) -> None:
    east = {"relay1": 5.5, "mx2": -5.0}  # hours
    logs = {host: tmp_path / f"{host}.bsd" for host in DEMO}
    for host, path in DEMO.items():
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines(keepends=True)
        text = "".join(without_zone(line, east.get(host, 0.0)) for line in lines)
        logs[host].write_text(text, encoding="utf-8", errors="surrogateescape")
    wanted = exported(fleet(logs))
    assert len(wanted) > 2000
    assert sorted(run(logs, tmp_path / "many", rounds, now=START).spans()) == sorted(wanted)


START = datetime(2026, 11, 23, 2, tzinfo=timezone.utc).timestamp()
"""Soon after the demo's last line."""


def without_zone(line: str, east: float) -> str:
    """A line with BSD's stamp in a zone so many hours east, where it had one with a zone."""
    stamp, _, rest = line.partition(" ")
    try:
        at = datetime.fromisoformat(stamp)
    except ValueError:
        return line
    if at.tzinfo is None:
        return line
    return f"{at.astimezone(timezone(timedelta(hours=east))):%b %e %H:%M:%S} {rest}"


def test_a_refusal_too_is_in_the_zone_that_its_host_turned_out_to_write_in(tmp_path: Path) -> None:
    log, client = tmp_path / "mx1.log", Memory()
    said = "550 5.1.1 <n@y>: Recipient address rejected: unknown; from=<a@x> to=<n@y> proto=ESMTP helo=<c>"
    log.write_text(f"Nov 23 01:04:22 mx1 postfix/smtpd[9]: NOQUEUE: reject: RCPT from c[192.0.2.9]: {said}\n")
    state = State(tmp_path / "state.db")
    with state.transaction():
        state.set_meta("skews", json.dumps({"zones": {"mx1": -3 * 3600.0}}))
    rounds = begin(state, {"mx1": log}, client, now=START)
    rounds.go()
    rounds.finish()
    rounds.scene.handover.send()
    [span] = client.got()
    assert span.start == datetime(2026, 11, 23, 4, 4, 22, tzinfo=timezone.utc).timestamp() * SECOND


REFUSED = (
    "{} mx1 postfix/smtpd[9]: NOQUEUE: reject: RCPT from c[192.0.2.9]: 550 5.1.1 <n@y>: Recipient address rejected: "
    "unknown; from=<a@x> to=<n@y> proto=ESMTP helo=<c>\n"
)


def handed_on(number: int) -> tuple[str, str]:
    """A mail that mx1, whose stamps have no zone, hands to mx2, whose stamps have: the lines of each."""
    one, other, second = f"{number}AB3498D61{number}", f"{number}CD3498D62{number}", f"{10 + number}"
    at, sure = f"Nov 23 04:05:{second} mx1 postfix", f"2026-11-23T01:05:{second}+00:00 mx2 postfix"
    head = "{0}/smtpd[1]: {1}: client={2}\n{0}/cleanup[2]: {1}: message-id=<m{3}@x>\n"
    head += "{0}/qmgr[3]: {1}: from=<a@x>, size=700, nrcpt=1 (queue active)\n"
    sent = "{0}/{4}[4]: {1}: to=<b@y>, relay={2}, delay=0.1, delays=0.1/0/0/0, dsn=2.0.0, status=sent ({3})\n"
    sent += "{0}/qmgr[3]: {1}: removed\n"
    mx1 = head.format(at, one, "c[192.0.2.9]", number)
    mx1 += sent.format(at, one, "mx2[192.0.2.2]:25", f"250 2.0.0 Ok: queued as {other}", "smtp")
    mx2 = head.format(sure, other, "mx1[192.0.2.1]", number)
    mx2 += sent.format(sure, other, "local", "delivered to mailbox", "local")
    return mx1, mx2


def test_what_comes_of_a_host_whose_zone_nothing_tells_yet_waits_for_hand_offs_to_tell_it(tmp_path: Path) -> None:
    logs, client = {host: tmp_path / f"{host}.log" for host in ("mx1", "mx2")}, Memory()
    logs["mx1"].write_text(REFUSED.format("Nov 23 04:04:22"))
    logs["mx2"].write_text(handed_on(0)[1].replace("01:05", "01:01"))
    state = State(tmp_path / "state.db")
    rounds = begin(state, logs, client, now=START)
    rounds.go()
    with logs["mx1"].open("a") as log:
        log.write("Nov 23 04:04:59 mx1 postfix/qmgr[3]: 0FF3498D610: removed\n")  # its log has moved on
    rounds.go()
    rounds.scene.handover.send()
    assert not [span for span in client.got() if span.host == "mx1"]
    for number in range(1, 9):
        for log_, lines in zip(logs.values(), handed_on(number), strict=True):
            with log_.open("a") as log:
                log.write(lines)
    for host, stamp in (("mx1", "Nov 23 04:06:22"), ("mx2", "2026-11-23T01:06:22+00:00")):
        with logs[host].open("a") as log:
            log.write(f"{stamp} {host} postfix/qmgr[3]: 0EE3498D610: removed\n")
    for _ in range(3):
        rounds.go()
    rounds.scene.handover.send()
    refused = next(span for span in client.got() if span.attributes.get("email.delivery.status") == "rejected")
    assert refused.start == datetime(2026, 11, 23, 1, 4, 22, tzinfo=timezone.utc).timestamp() * SECOND


def test_a_host_that_is_alone_waits_for_nobody_to_tell_its_zone(tmp_path: Path) -> None:
    log, client = tmp_path / "mx1.log", Memory()
    log.write_text(REFUSED.format("Nov 23 01:04:22") + REFUSED.format("Nov 23 01:05:22"))
    rounds = begin(State(tmp_path / "state.db"), {"mx1": log}, client, now=START)
    rounds.go()
    rounds.scene.handover.send()
    assert len(client.got()) == 1


def test_a_host_that_comes_late_is_in_the_same_traces_without_a_span_lost_or_doubled(
    whole: Spans, tmp_path: Path
) -> None:
    found = run(DEMO, tmp_path, 20, delay=["relay1"]).spans()
    assert Counter(map(key, found)).most_common(1)[0][1] == 1
    missing = {key(span) for span in whole} - {key(span) for span in found}
    assert missing == set()


def key(span: tuple[str, bytes]) -> tuple[str, bytes, bytes]:
    """Host, trace and span of a span's bytes."""
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    read = Span.FromString(span[1])
    return span[0], read.trace_id, read.span_id


@pytest.mark.parametrize("seed", [7, 9])
def test_the_order_in_which_lines_come_loses_and_doubles_nothing(whole: Spans, tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    shuffled = {}
    for host, path in DEMO.items():
        lines = path.read_bytes().splitlines(keepends=True)
        order = sorted(range(len(lines)), key=lambda at: at + dice.uniform(0, 20))
        shuffled[host] = tmp_path / f"shuffled-{host}"
        shuffled[host].write_bytes(b"".join(lines[at] for at in order))
    found = run(shuffled, tmp_path / "fed", 50).spans()
    assert Counter(map(key, found)).most_common(1)[0][1] == 1
    assert told(found) == told(whole)


def told(spans: Spans) -> Counter[tuple[str, ...]]:
    """Which message each host took, and what it did with it for each recipient: whatever span tells of it."""
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    out: Counter[tuple[str, ...]] = Counter()
    for host, body in spans:
        span = Span.FromString(body)
        facts = {each.key: each.value for each in span.attributes}
        queue_id = facts["email.local_id"].string_value if "email.local_id" in facts else ""
        if span.name in ("smtp receive", "mail submit"):
            out[host, queue_id, span.trace_id.hex()] += 1
        elif "email.delivery.status" in facts:
            for recipient in facts["email.to.address"].array_value.values:
                out[host, queue_id, recipient.string_value, facts["email.delivery.status"].string_value] += 1
    return out


def test_a_full_disk_costs_a_round_and_nothing_else(whole: Spans, tmp_path: Path) -> None:
    logs = {host: tmp_path / f"{host}.log" for host in DEMO}
    for path in logs.values():
        path.touch()
    state, client = State(tmp_path / "state.db"), Memory()
    rounds = begin(state, logs, client)
    failed = 0
    for number, piece in enumerate(pieces(DEMO, 12)):
        for host, text in piece.items():
            with logs[host].open("ab") as log:
                log.write(text)
        pages = state._db.execute("PRAGMA page_count").fetchone()[0]
        state._db.execute(f"PRAGMA max_page_count = {pages + 2 if number % 3 == 1 else 1 << 30}")
        failed += bool(rounds.go().failed)
    state._db.execute("PRAGMA max_page_count = 1073741823")
    assert failed
    rounds.go()
    rounds.finish()
    rounds.scene.handover.send()
    assert sorted(client.spans()) == sorted(whole)
    state.close()


def test_what_the_back_end_does_not_take_now_is_sent_later_and_in_another_process(whole: Spans, tmp_path: Path) -> None:
    away = Memory(lambda _body: Outcome(Verdict.LATER, "away"))
    run(DEMO, tmp_path, 4, client=away)
    assert away.spans() == []
    state, client = State(tmp_path / "state.db"), Memory()
    assert state.spooled()[0] == len(whole)
    rounds = begin(state, {host: tmp_path / f"{host}.log" for host in DEMO}, client)
    rounds.go()
    assert sorted(client.spans()) == sorted(whole)
    state.close()


def test_an_idle_round_writes_and_sends_nothing_new(tmp_path: Path) -> None:
    run(DEMO, tmp_path, 1)
    state, client = State(tmp_path / "state.db"), Memory()
    rounds = begin(state, {host: tmp_path / f"{host}.log" for host in DEMO}, client)
    rounds.go()
    before = state._db.total_changes
    done = rounds.go()
    assert (done.lines, done.spans, client.bodies) == (0, 0, [])
    assert state._db.total_changes - before < 40
    state.close()


def test_a_mail_that_never_ends_is_forgotten_and_counted(tmp_path: Path) -> None:
    log = tmp_path / "mx1.log"
    line = "2026-11-{day:02}T01:04:22+00:00 mx1 postfix/qmgr[1]: {id}: from=<a@x>, size=1, nrcpt=1 (queue active)\n"
    log.write_text(line.format(day=1, id="4F1A2B3C4D"), encoding="utf-8")
    state = State(tmp_path / "state.db")
    rounds = begin(state, {"mx1": log}, Memory())
    rounds.go()
    assert state.mails()[1] == 1
    with log.open("a", encoding="utf-8") as more:
        more.write(line.format(day=20, id="4F1A2B3C4E"))
    rounds.go()
    assert state.counters()["forgotten"] == 1
    assert state.mails()[1] == 1
    state.close()


@pytest.mark.parametrize("hold", [0, 2])
def test_a_first_reading_of_weeks_forgets_no_mail_before_it_was_sent(tmp_path: Path, hold: int) -> None:
    log = tmp_path / "mx1.log"
    log.write_text("".join(whole_mail(day) for day in range(1, 29)), encoding="utf-8")
    state, client = State(tmp_path / "state.db"), Memory()
    rounds = begin(state, {"mx1": log}, client, hold)
    for _ in range(hold + 2):
        rounds.go()
    rounds.finish()
    rounds.scene.handover.send()
    receptions = [span for span in client.got() if span.name == "smtp receive"]
    assert len(receptions) == 28
    state.close()


@pytest.mark.parametrize("silent", [True, False])
def test_what_a_log_passes_over_is_waited_for_two_minutes_whether_it_goes_on_or_not(
    tmp_path: Path, silent: bool
) -> None:
    def removed(host: str, clock: str) -> str:
        return f"2026-11-23T{clock}+00:00 {host} postfix/qmgr[3]: 0FF3498D610: removed\n"

    logs, client = {host: tmp_path / f"{host}.log" for host in ("mx1", "mx2")}, Memory()
    logs["mx1"].write_text(removed("mx1", "01:05:30"))
    logs["mx2"].write_text(handed_on(1)[1] + removed("mx2", "01:05:45"))
    rounds = begin(State(tmp_path / "state.db"), logs, client, now=START)
    rounds.go()
    rounds._began += 60.0 if silent else 0.0
    rounds.go()
    rounds.scene.handover.send()
    assert client.got() == [], "mx1 does not tell what it handed on: a line of it may be late"
    rounds._began += 100.0 if silent else 0.0
    if not silent:
        with logs["mx1"].open("a") as log:
            log.write(removed("mx1", "01:07:30"))
    rounds.go()
    rounds.scene.handover.send()
    assert [span.host for span in client.got() if span.name == "smtp receive"] == ["mx2"]


@pytest.mark.parametrize("fails", ["source", "log"])
def test_a_log_that_cannot_be_read_for_long_is_not_taken_for_one_that_is_silent(
    whole: Spans, tmp_path: Path, fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = {host: tmp_path / f"{host}.log" for host in DEMO}
    state, client = State(tmp_path / "state.db"), Memory()
    rounds = begin(state, logs, client)
    for number, piece in enumerate(pieces(DEMO, 9)):
        if number % 3 == 1:
            with monkeypatch.context() as broken:
                if fails == "source":
                    broken.setattr(rounds.sources["files"], "follow", away)
                else:
                    broken.setattr(LogTail, "__iter__", away)
                rounds._began += 600.0  # ten minutes pass
                assert rounds.go().problems
            assert not rounds.go().problems  # what was to be written meanwhile is not there yet
        write(logs, piece)
        rounds.go()
    rounds.finish()
    rounds.scene.handover.send()
    assert sorted(client.spans()) == sorted(whole)
    state.close()


def write(logs: dict[str, Path], piece: dict[str, bytes]) -> None:
    for host, text in piece.items():
        with logs[host].open("ab") as log:
            log.write(text)


def away(*_: object) -> Iterator[Any]:
    """What fails when it is read."""
    yield from failed()


def failed() -> Iterator[Any]:
    raise DataError("no answer")


def whole_mail(day: int) -> str:
    """A mail that came and went on a day."""
    start, queue_id = f"2026-11-{day:02}T01:04:22+00:00 mx1 postfix/", f"4F1A2B3C{day:02}"
    return "".join(
        f"{start}{text}\n"
        for text in (
            f"smtpd[9]: {queue_id}: client=c[192.0.2.9]",
            f"cleanup[8]: {queue_id}: message-id=<{day}@x>",
            f"qmgr[1]: {queue_id}: from=<a@x>, size=1, nrcpt=1 (queue active)",
            f"local[3]: {queue_id}: to=<b@y>, relay=local, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (delivered)",
            f"qmgr[1]: {queue_id}: removed",
        )
    )


def test_a_state_that_cannot_be_written_ends_a_round_with_the_reason(tmp_path: Path) -> None:
    log = tmp_path / "mx1.log"
    log.write_bytes(DEMO["mx1"].read_bytes())
    state = State(tmp_path / "state.db")
    rounds = begin(state, {"mx1": log}, Memory())
    other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    state._db.execute("PRAGMA busy_timeout = 10")
    other.execute("BEGIN IMMEDIATE")
    assert "locked" in rounds.go().failed
    other.execute("ROLLBACK")
    other.close()
    assert not rounds.go().failed
    state.close()
