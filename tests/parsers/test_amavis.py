"""amavis' summary lines: real ones, and file names and subjects that their senders chose."""

# ruff: noqa: E501 - log lines are as long as they are

from __future__ import annotations

import time

from mailtrace.model import Filtered
from mailtrace.parsers import make_parser
from mailtrace.parsers.amavis import read
from mailtrace.parsers.grammar import UNPARSED

PASSED = (
    "(02279-04) Passed CLEAN {RelayedOpenRelay}, [1.2.3.4]:6101 [1.2.3.4] <user@sender.com> -> <invalid@example.com>,<b@x>, "
    "Queue-ID: 4AA091855DA0, Message-ID: <ca10035e@mail.sender.com>, mail_id: 6aLEkMwQa8H2, Hits: -, size: 888, "
    "queued_as: 776E41855DB2/A48191855DA0, 80 ms"
)


def filtered(text: str) -> Filtered:
    made = read("", text)
    assert made is not None
    assert made is not UNPARSED
    assert isinstance(made[1], Filtered)
    assert made[0] == made[1].queue_id
    return made[1]


def test_a_summary_names_the_id_before_and_the_ids_after() -> None:
    assert filtered(PASSED) == Filtered(
        "amavis",
        "Passed CLEAN",
        "4AA091855DA0",
        ("776E41855DB2", "A48191855DA0"),
        "ca10035e@mail.sender.com",
        "user@sender.com",
        ("invalid@example.com", "b@x"),
        888,
    )


def test_an_old_summary_has_no_queue_id() -> None:
    found = filtered(
        "(30897-02) Passed BAD-HEADER, <> -> <postmaster>, quarantine: badh-le5gjszxowBk, mail_id: le5gjszxowBk, "
        "Hits: -1.76, queued_as: 079474CE44, 39505 ms"
    )
    assert (found.queue_id, found.sender, found.queued_as) == ("", "", ("079474CE44",))


def test_names_of_banned_files_are_their_sender_s_text() -> None:
    found = filtered(
        "(351462-17) Blocked BANNED (.exe,a, <x> -> <y>, Queue-ID: AAAAAA, b).scr) {DiscardedInbound,Quarantined}, "
        "[212.227.15.19]:46759 [35.188.35.122] ESMTP/ESMTP <s@gmx.de> -> <r@x>, Queue-ID: 4PbC4x469Jz3tBr, size: 1"
    )
    assert (found.verdict, found.queue_id, found.sender, found.recipients) == (
        "Blocked BANNED",
        "4PbC4x469Jz3tBr",
        "s@gmx.de",
        ("r@x",),
    )


def test_a_subject_cannot_add_fields() -> None:
    found = filtered(PASSED.replace(", 80 ms", ', Subject: "x, Queue-ID: BBBBBB, queued_as: CCCCCC, size: 1", 80 ms'))
    assert (found.queue_id, found.queued_as[0], found.size) == ("4AA091855DA0", "776E41855DB2", 888)


def test_other_lines_are_passed_over() -> None:
    assert read("", "(11205-08) V5iNwvibD8Ch FWD from <a@b> -> <c@d>, BODY=7BIT 250 2.0.0 Ok") is None
    assert read("", "starting. /usr/sbin/amavisd at amavis1") is None


def test_a_summary_nobody_can_read_is_counted() -> None:
    assert read("", "(1-2) Passed CLEAN nonsense") is UNPARSED


def test_what_amavis_cut_is_joined_by_its_id() -> None:
    recipients = ",".join(f"<u{n:03}@omega.example>" for n in range(60))
    text = f"Passed CLEAN {{RelayedInbound}}, [10.0.0.1]:3 <s@x> -> {recipients}, Queue-ID: 49D5B9DA716, queued_as: 70E1E9DA748, 9 ms"
    lines = (
        f"Nov  2 15:29:14 a amavis[33]: (00033-04) {text[:960]}...\n"
        "Nov  2 15:29:14 b amavis[33]: (00033-04) ...not of this host\n"
        f"Nov  2 15:29:14 a amavis[33]: (00033-04) ...{text[960:]}\n"
    )
    parser = make_parser()
    (entry,) = parser.parse(lines.encode(), 0, "h")
    assert isinstance(entry.event, Filtered)
    assert entry.queue_id == "49D5B9DA716"
    assert len(entry.event.recipients) == 60
    assert parser.unparsed == 0


def test_a_megabyte_of_hostile_file_names_costs_no_more_than_its_length() -> None:
    start = time.process_time()
    read("", "(1-2) Blocked BANNED (" + "), <" * 250_000)
    read("", "(1-2) Blocked BANNED (x) {y}, <a> -> " + '<"' * 250_000)
    assert time.process_time() - start < 2
