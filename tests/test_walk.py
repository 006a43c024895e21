"""The walk: finds what the question means, follows it both ways, and asks for nothing twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import truth
from stories import NOW, put_together

from mailtrace.hosts import HostFacts, Inventory
from mailtrace.job import Find, Walk
from mailtrace.model import LogEntry, LogQuery, Mail
from mailtrace.parsers import make_parser
from mailtrace.report import Report
from mailtrace.walk import LATE, NEAR, Memory, Part, Scene, Walked, criteria, first_query, walk

# 01:04:31 mx1 → filter1 (twice) → relay1 → mailbox1, mailbox2: the mail that most tests look for
QUEUE_IDS = ("4jXnlg6dWbzRZ8x", "E4B172FCB7A", "EFF102FC074", "4jXnlg70K4zRbFH", "F10792FC074")
MESSAGE_ID = "472079681.3616de.JavaMail.app@app-1c"


@cache
def lines() -> tuple[tuple[float, LogEntry], ...]:
    """Every line of the small fleet with its moment."""
    found: list[LogEntry] = []
    for host, files in truth.logs("fleet").items():
        with open(files[0], "rb") as stream:  # noqa: PTH123 - a path of the corpus, as text
            found += make_parser(keep_raw=True).parse(stream.read(), 0, host)
    assembly = put_together(found)
    return tuple((assembly.utc(entry), entry) for entry in found)


class Asked:
    """A source over the small fleet that remembers what it was asked."""

    def __init__(self, until: float = float("inf")) -> None:
        self.queries: list[LogQuery] = []
        self.until = until  # no later line has been written yet

    def __call__(self, *queries: LogQuery) -> Iterator[LogEntry]:
        for query in queries:
            yield from self._answers(query)

    def _answers(self, query: LogQuery) -> Iterator[LogEntry]:
        self.queries.append(query)
        all_of = [word.lower() for word in query.all_of]
        any_of = [word.lower() for word in query.any_of]
        for time, entry in lines():
            if time > self.until:
                continue
            raw = entry.raw.lower()
            if query.hosts and entry.host not in query.hosts:
                continue
            if (query.start is not None and time < query.start) or (query.end is not None and time > query.end):
                continue
            if all(word in raw for word in all_of) and (not any_of or any(word in raw for word in any_of)):
                yield entry


def ask(options: Walk | None = None, **find: Any) -> tuple[Walked, Asked]:
    asked = Asked()
    fleet = Inventory({host: HostFacts() for host in truth.hosts("fleet")})
    scene = Scene(asked, fleet, covered=dict, machine="UTC", now=NOW, keep_entries=True)
    return walk(Find(**find), options or Walk(), scene), asked


def ids(found: Walked) -> set[str]:
    return {hop.queue_id for mail in found.mails for hop in mail.hops}


def only(found: Walked) -> Mail:
    assert len(found.mails) == 1, [mail.id for mail in found.mails]
    return found.mails[0]


# -------------------------------------------------------------------------------------- what the question means


@pytest.mark.parametrize(
    "find",
    [
        {"message_id": MESSAGE_ID},
        {"message_id": f"<{MESSAGE_ID}>"},
        {"message_id": MESSAGE_ID.upper()},
        {"keywords": (MESSAGE_ID,)},
        {"keywords": (MESSAGE_ID, "status=sent", "anna@alpha.lab.test")},
        {"any_of": (MESSAGE_ID, "nobody-has-this")},
        *({"queue_id": queue_id} for queue_id in QUEUE_IDS),
    ],
    ids=lambda find: "-".join(map(str, *find.items())),
)
def test_one_mail_is_found_whole_by_whatever_names_it(find: dict[str, Any]) -> None:
    mail = only(ask(**find)[0])
    assert tuple(hop.queue_id for hop in mail.hops) == QUEUE_IDS
    assert [(row.recipient, row.outcome) for row in mail.recipients] == [("anna@alpha.lab.test", "delivered")]


def by(test: str, value: str) -> set[str]:
    """Queue IDs of all mails that truly have it, from the trace of all."""
    mails = put_together(entry for _time, entry in lines()).mails
    found: dict[str, set[str]] = defaultdict(set)
    for mail in mails:
        hops = {hop.queue_id for hop in mail.hops}
        for hop in mail.hops:
            found["client:" + hop.client.name] |= hops
            found["client:" + hop.client.ip] |= hops
            found["sender:" + (hop.sender or "")] |= hops
            for delivery in hop.deliveries:
                found["recipient:" + delivery.recipient] |= hops
                found["recipient:" + delivery.original_recipient] |= hops
        for row in mail.recipients:
            found["recipient:" + row.recipient] |= hops
            found["recipient:" + row.original_recipient] |= hops
    return found[f"{test}:{value}"]


@pytest.mark.parametrize("address", ["anna@alpha.lab.test", "petra@planet.lab.test", "roam2@gamma.lab.test"])
@pytest.mark.parametrize("spelling", ["{}", "<{}>"])
def test_recipient_finds_every_mail_to_an_address_first_or_last(address: str, spelling: str) -> None:
    found, _asked = ask(recipient=spelling.format(address).upper() if spelling == "{}" else spelling.format(address))
    assert by("recipient", address) <= ids(found)


def test_sender_finds_that_senders_mails_and_what_reports_on_them() -> None:
    found, _asked = ask(sender="petra@planet.lab.test")
    assert by("sender", "petra@planet.lab.test") <= ids(found)
    assert {mail.sender for mail in found.mails} <= {"petra@planet.lab.test", ""}


def test_the_empty_sender_finds_bounces() -> None:
    found, _asked = ask(sender="")
    assert found.mails
    assert "" in {mail.sender for mail in found.mails}


def test_client_is_a_name_or_an_address_whole_and_exact() -> None:
    found, _asked = ask(client="exim2.lab.test")
    assert found.mails
    assert ids(found) >= by("client", "exim2.lab.test")
    assert ask(client="xim2.lab")[0].mails == []


def test_subject_is_any_part_in_any_case_where_the_log_has_it() -> None:
    mail = only(ask(subject="TEST 5e61bd")[0])
    assert mail.subject == "test 5e61bd"


def test_sasl_user_of_nobody_finds_nothing() -> None:
    assert ask(sasl_user="nobody")[0].mails == []


def test_several_keys_must_all_hold() -> None:
    assert ids(ask(message_id=MESSAGE_ID, recipient="anna@alpha.lab.test")[0]) == set(QUEUE_IDS)
    assert ask(message_id=MESSAGE_ID, recipient="greta@gamma.lab.test")[0].mails == []


def test_keywords_may_stand_on_different_lines_and_hosts_of_one_mail() -> None:
    # The Subject is a line of the first host only, the mailbox's token one of the last only.
    mail = only(ask(keywords=(QUEUE_IDS[0], QUEUE_IDS[-1]))[0])
    assert tuple(hop.queue_id for hop in mail.hops) == QUEUE_IDS
    assert ask(keywords=(QUEUE_IDS[0], "A9ADD2B2985"))[0].mails == []


def test_a_queue_id_is_exact_in_its_case() -> None:
    assert ask(queue_id=QUEUE_IDS[0].lower())[0].mails == []


@pytest.mark.parametrize("word", ["$(reboot)", "' OR 1=1 --", ".*", "%s", "\x1b[2J", "a\nb", "(((", "\\", "é" * 300])
def test_a_hostile_keyword_is_text_that_nothing_has(word: str) -> None:
    found, asked = ask(keywords=(word,))
    assert found.mails == []
    assert [query.all_of for query in asked.queries] == [(word,)]


def test_nothing_found_is_one_question() -> None:
    found, asked = ask(keywords=("nobody@nowhere.example",))
    assert (found.mails, len(asked.queries)) == ([], 1)


# --------------------------------------------------------------------------------------- where and when it begins


def test_start_host_says_where_the_search_begins_and_not_where_it_ends() -> None:
    found, asked = ask(message_id=MESSAGE_ID, start_host=("relay1",))
    assert asked.queries[0].hosts == ("relay1",)
    assert tuple(hop.queue_id for hop in only(found).hops) == QUEUE_IDS


def test_a_mail_that_never_was_on_the_start_host_is_not_found() -> None:
    assert ask(message_id=MESSAGE_ID, start_host=("exim1",))[0].mails == []


ARRIVED = 1795395871.0  # 01:04:31


def test_a_mail_in_the_window_is_followed_beyond_it() -> None:
    # The loop took 0.8 s; its bounce and the retries of others far longer. The window shows the first second only.
    found, _asked = ask(sender="wolf@world.lab.test", start=1795395855.0, end=1795395856.5)
    mail = next(mail for mail in found.mails if mail.hops[0].queue_id == "8F0A22FCB3F")
    assert mail.last > 1795395858.0
    assert [row.outcome for row in mail.recipients] == ["delivered"]


@pytest.mark.parametrize("window", [(ARRIVED + 30, ARRIVED + 60), (ARRIVED - 60, ARRIVED - 30)])
def test_a_mail_outside_the_window_is_not_found(window: tuple[float, float]) -> None:
    assert ask(message_id=MESSAGE_ID, start=window[0], end=window[1])[0].mails == []


def test_the_first_question_is_bounded_by_the_window_and_has_every_literal() -> None:
    query = first_query(Find(keywords=("a", "b"), start=1.0, end=2.0, start_host=("mx1",)))
    assert (query.hosts, set(query.any_of) | set(query.all_of), query.start, query.end) == (
        ("mx1",),
        {"a", "b"},
        1.0,
        2.0,
    )


def test_an_empty_question_asks_for_every_line_once() -> None:
    found, asked = ask()
    assert asked.queries == [LogQuery()]
    assert len(found.mails) == len(put_together(entry for _time, entry in lines()).mails)


def test_the_empty_sender_is_looked_for_by_what_lines_say() -> None:
    assert [literal for literal, _test in criteria(Find(sender=""))] == ["from=<>"]


# ----------------------------------------------------------------------------------------------------- the waves


def test_a_queue_id_in_the_middle_leads_up_and_down() -> None:
    mail = only(ask(queue_id="EFF102FC074", start_host=("filter1",))[0])
    assert [hop.host for hop in mail.hops] == ["mx2", "filter1", "filter1", "relay1", "mailbox1"]


def test_a_mail_that_bounced_brings_its_bounce_and_the_bounce_its_mail() -> None:
    mails = put_together(entry for _time, entry in lines()).mails
    bounced = next(mail for mail in mails if any(link.kind.value == "bounced" for link in mail.links))
    bounce = next(link.to for link in bounced.links if link.kind.value == "bounced")
    wanted = {bounced.id, bounce}
    assert wanted <= {mail.id for mail in ask(queue_id=bounced.hops[0].queue_id)[0].mails}
    assert wanted <= {mail.id for mail in ask(queue_id=bounce.rpartition(":")[2])[0].mails}


def test_no_question_is_asked_twice() -> None:
    finds: list[dict[str, Any]] = [{"message_id": MESSAGE_ID}, {"recipient": "loopa@alpha.lab.test"}]
    for find in [*finds, {"sender": "wolf@world.lab.test"}]:
        _found, asked = ask(**find)
        assert len(asked.queries) == len(set(asked.queries))
        seen: dict[tuple[str, str], tuple[float, float]] = {}
        for query in asked.queries[1:]:
            assert query.start is not None
            assert query.end is not None
            news = False
            for word in query.any_of:
                for host in query.hosts or ("*",):
                    low, high = seen.get((host, word), (query.end, query.start))
                    news = news or query.start < low or query.end > high
                    seen[(host, word)] = (min(low, query.start), max(high, query.end))
            assert news, query


def test_ten_hops_take_hardly_more_questions_than_three() -> None:
    long, asked_long = ask(queue_id="9786C2B298B")  # a loop of ten hops
    short, asked_short = ask(queue_id="1xVITk-00000b-19")
    assert max(len(row.path) for mail in long.mails for row in mail.recipients) >= 10
    assert short.mails
    assert len(asked_long.queries) <= 2 * len(asked_short.queries) + 10
    assert len(asked_long.queries) <= 40


def test_a_path_longer_than_max_hops_ends_there_with_a_warning() -> None:
    found, _asked = ask(Walk(max_hops=4), queue_id="9786C2B298B", start_host=("mx1",))
    assert [warning.code for warning in found.warnings] == ["max-hops"]
    assert "max_hops" in found.warnings[0].message


def test_within_max_hops_there_is_no_warning() -> None:
    assert ask(queue_id="9786C2B298B")[0].warnings == []


# ------------------------------------------------------------------------------------------ lines without a queue ID


def test_a_refusal_is_found_by_its_own_line() -> None:
    lab_ids = [row["lab_id"] for row in truth.truth("fleet")]
    refused = next(
        row for row in truth.truth("fleet") if row["scenario"] == "reject_edge" and lab_ids.count(row["lab_id"]) == 1
    )
    found, _asked = ask(recipient=refused["final_recipient"])
    assert [(row.recipient, row.outcome, row.path) for row in only(found).recipients] == [
        (refused["final_recipient"], "rejected", ())
    ]


def test_a_refused_recipient_leads_to_the_rest_of_its_transaction() -> None:
    row = next(
        row for row in truth.truth("fleet") if row["scenario"] == "reject_partial" and row["outcome"] == "rejected"
    )
    found, _asked = ask(recipient=row["final_recipient"])
    of_it = [other for other in truth.truth("fleet") if other["lab_id"] == row["lab_id"]]
    assert len(of_it) > 1
    assert {(row["final_recipient"], row["outcome"]) for row in of_it} <= {
        (row.recipient, row.outcome) for mail in found.mails for row in mail.recipients
    }


def test_a_refusal_of_one_own_host_by_another_leads_to_the_mail_whose_attempt_it_was() -> None:
    # Only mx2 is searched, and only two NOQUEUE lines of it have the word; ext1 says whose attempts they were.
    found, _asked = ask(keywords=("Greylisted",), start_host=("mx2",))
    assert {(row.recipient, row.outcome, row.attempts) for mail in found.mails for row in mail.recipients} == {
        ("ben+gle4995d@beta.lab.test", "delivered", 2),
        ("ben+gle81af7@beta.lab.test", "delivered", 2),
    }


def test_a_word_that_only_the_mailbox_servers_line_has_leads_to_the_mail() -> None:
    line = next(entry for _time, entry in lines() if "dovecot" in entry.raw and "msgid=" in entry.raw)
    word = line.raw.partition("dovecot: ")[2][:20]
    assert ask(keywords=(word,))[0].mails


# ------------------------------------------------------------------------------------- asking again


def test_a_later_walk_reads_only_what_came_since_and_answers_as_if_it_had_read_all() -> None:
    fleet = Inventory({host: HostFacts() for host in truth.hosts("fleet")})
    (moment,) = {time for time, entry in lines() if entry.queue_id == QUEUE_IDS[0] and "client=" in entry.raw}
    memory, answers = Memory(), []
    for now in (moment - 0.1, moment + 0.1, moment + 600.0, moment + 1200.0, moment + 4200.0):
        asked = Asked(until=now)
        scene = Scene(asked, fleet, covered=dict, machine="UTC", now=now, keep_entries=True)
        found = walk(Find(message_id=MESSAGE_ID), Walk(), scene, memory)
        answers.append((len(found.mails), [row.outcome for mail in found.mails for row in mail.recipients]))
    assert answers[0] == (0, [])
    assert answers[1][0] == 1
    assert answers[2] == answers[-1] == (1, ["delivered"])
    assert asked.queries
    assert [query for query in asked.queries if query.start is None or query.start < moment + 1200.0 - LATE - 1] == []
    assert tuple(hop.queue_id for hop in only(found).hops) == QUEUE_IDS


# ----------------------------------------------------------------------------------------- a long window


@pytest.mark.parametrize("start_host,most", [((), 2000), (("mx1",), 100)])
def test_a_window_walked_part_by_part_tells_what_one_walk_tells(
    start_host: tuple[str, ...], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> tuple[list[dict[str, Any]], list[Any], int]:
        found, asked = ask(start=ARRIVED - 16, end=ARRIVED + 44, start_host=start_host)
        return Report("", "trace", mails=found.mails).to_dict()["mails"], found.clocks, len(asked.queries)

    mails, clocks, queries = told()
    monkeypatch.setattr("mailtrace.walk.MOST", most)
    monkeypatch.setattr("mailtrace.walk.SHORTEST", 10.0)
    in_parts = told()
    assert in_parts[:2] == (mails, clocks)
    assert in_parts[2] > queries * 2, "in parts"
    assert len(mails) > 50


def test_a_long_window_without_a_mail_says_what_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailtrace.walk.MOST", 0)
    monkeypatch.setattr("mailtrace.walk.SHORTEST", 5.0)
    found, _ = ask(start=ARRIVED - 7200, end=ARRIVED - 7100)
    assert not found.mails
    assert found.begun == []


def test_parts_of_a_window_follow_each_other_over_the_time_that_logs_cover() -> None:
    whole = Part(0.0, 1_000_000.0, first=True, last=True)
    for covered in ({}, {"a": (500_000.0, 600_000.0), "b": (520_000.0, 650_000.0)}, {"a": (2e6, 3e6)}):
        pieces = whole.pieces(covered)
        assert [piece.start for piece in pieces[1:]] == [piece.end for piece in pieces[:-1]]
        assert (pieces[0].start, pieces[-1].end) == (0.0, 1_000_000.0)
        assert all(piece.start < piece.end for piece in pieces)
        assert [piece for piece in pieces if piece.first] == pieces[:1]
        assert [piece for piece in pieces if piece.last] == pieces[-1:]
        moments = [piece.start for piece in pieces[1:]]
        assert [sum(piece.has(moment) for piece in pieces) for moment in (-1.0, *moments, 2e9)] == [1] * 9
    inner = whole.pieces({"a": (500_000.0, 600_000.0)})[1:-1]
    assert all(500_000.0 - NEAR <= piece.start < piece.end <= 600_000.0 + NEAR for piece in inner)
