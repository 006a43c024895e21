"""The timeline: what a tired human reads on a terminal. The mails are modelled on real ones."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import T0, any_report, delivery, hop, link, mail, report, row

from mailtrace.exporters.terminal import columns
from mailtrace.exporters.timeline import Timeline
from mailtrace.model import Certainty, ClockNote, Coverage, Expectation, Mail, Warning_
from mailtrace.report import Report

GREY = "host box[10.0.0.9] said: 450 4.2.0 <a@b>: Recipient address rejected: Greylisted (in reply to RCPT TO command)"


def told(made: Report, *, width: int = 80, **options: Any) -> str:
    stream = io.StringIO()
    options.setdefault("time_zone", "UTC")
    Timeline(width=width, **options).export(made, stream)
    return stream.getvalue()


def flat(made: Report, **options: Any) -> str:
    """The timeline with its lines joined, for tests that are not about folding."""
    return re.sub(r"[\s│├└─]+", " ", told(made, **options))


def partial_bounce() -> Report:
    """To three: one delivered, one bounced (the bounce is the second mail), one past a filter that hides its ID."""
    users = ("anna@alpha.example", "ghost@alpha.example", "greta@gamma.example")
    ids = ("DBBB72FCB74", "DC1032FCB76", "DBC7C2FCB75")
    mx = hop(
        "mx2",
        "4jXnlV6MTQzRbF8",
        *(
            delivery(to, relay="filter1[10.0.0.3]:25", reply_id=id_, delay=0.01)
            for to, id_ in zip(users, ids, strict=True)
        ),
        client="client.example[192.0.2.9]",
    )
    filters = [
        hop("filter1", id_, delivery(to, relay="127.0.0.1[127.0.0.1]:10025", delay=0.05))
        for to, id_ in zip(users, ids, strict=True)
    ]
    after = [
        hop("filter1", f"E{i}2942FCB73", delivery(to, relay="relay1[10.0.0.4]:25", delay=0.01))
        for i, to in enumerate(users)
    ]
    said = "host box[10.0.0.9] said: 550 5.1.1 <ghost@alpha.example>: User unknown (in reply to RCPT TO command)"
    last = [
        hop("box", "E85EA2FCB77", delivery(users[0], relay="local", at=0.9, reply="delivered to maildir"), at=0.89),
        hop(
            "relay1",
            "4jXnlV6qCmzRZ6n",
            delivery(users[1], "bounced", "box[10.0.0.9]:25", at=0.967, reply=said),
            at=0.96,
        ),
        hop("exim1", "1xVITm-00000t-36", delivery("greta", relay="", at=0.99), at=0.98, mta="exim", instance="exim"),
    ]
    notice = hop(
        "relay1", "4jXnlV6tN6zRZ7P", delivery("walter@world.example", relay="mx.world[192.0.2.1]:25", at=1), at=0.97
    )
    links = [
        link_
        for i in range(3)
        for link_ in (
            link(mx, filters[i]),
            link(
                filters[i],
                after[i],
                "reinjected",
                "likely" if i == 2 else "proven",
                "message-id: both have m1@example.org",
            ),
            link(after[i], last[i]),
        )
    ]
    outcomes = ("delivered", "bounced", "delivered")
    rows = [
        row(to, outcome, mx, filters[i], after[i], last[i], seconds=0.9, reason=said if outcome == "bounced" else "")
        for i, (to, outcome) in enumerate(zip(users, outcomes, strict=True))
    ]
    first = mail(
        [mx, *filters, *after, *last], rows, [*links, link(last[1], notice, "bounced")], subject="Quarterly figures"
    )
    second = mail(
        [notice], [row("walter@world.example", "relayed", notice, seconds=0.03)], sender="", message_id="m2@relay1"
    )
    return report(first, second)


PARTIAL = """\
── Mail 1 of 2  ✓ 2 delivered  ✗ 1 bounced ─────────────────────────────────────
  from     walter@world.example via client.example [192.0.2.9]
  to       anna@alpha.example, ghost@alpha.example, greta@gamma.example
  subject  Quarterly figures
  id       m1@example.org
  when     2026-11-23 01:04:22 UTC, 2.1 kB

  01:04:22      mx2      4jXnlV6MTQzRbF8     0.01 s
                ├─ anna@alpha.example
  01:04:22      │  filter1  DBBB72FCB74         0.05 s
  01:04:22      │  filter1  E02942FCB73         0.01 s  back from the filter
  01:04:22.890  │  box      E85EA2FCB77         0.01 s
  01:04:22.900  │  ✓ delivered on box after 1 s
                ├─ ghost@alpha.example
  01:04:22      │  filter1  DC1032FCB76         0.05 s
  01:04:22      │  filter1  E12942FCB73         0.01 s  back from the filter
  01:04:22.960  │  relay1   4jXnlV6qCmzRZ6n
  01:04:22.967  │  ✗ bounced by box [10.0.0.9] after 1 s: 550 5.1.1
                │    <ghost@alpha.example>: User unknown
                │    ↳ bounce to walter@world.example: mail 2
                └─ greta@gamma.example
  01:04:22         filter1  DBC7C2FCB75         0.05 s
  01:04:22         filter1  E22942FCB73         0.01 s  back from the filter
                     likely: both have m1@example.org
  01:04:22.980     exim1    1xVITm-00000t-36    0.01 s
  01:04:22.990     ✓ delivered on exim1 after 1 s

── Mail 2 of 2  → 1 relayed ────────────────────────────────────────────────────
           bounce of mail 1
  from     <>
  to       walter@world.example
  id       m2@relay1
  when     2026-11-23 01:04:22 UTC, 2.1 kB

  01:04:22.970  relay1  4jXnlV6tN6zRZ7P
  01:04:23      → relayed to outside host mx.world [192.0.2.1] within a second

Looked at  no log at all
"""


def test_what_is_shared_is_told_once_and_branches_where_ways_part() -> None:
    assert told(partial_bounce()) == PARTIAL


def test_the_same_report_gives_the_same_text() -> None:
    assert told(partial_bounce()) == told(partial_bounce())


def many(own_ids: bool, users: int = 60) -> Mail:
    names = [f"user{i:02}@alpha.example" for i in range(users)]
    mx = hop(
        "mx",
        "AAA",
        *(delivery(to, relay="f[10.0.0.3]:25", reply_id=f"F{i}" if own_ids else "F") for i, to in enumerate(names)),
    )
    if not own_ids:
        box = hop("f", "F", *(delivery(to, relay="local", at=1) for to in names))
        return mail([mx, box], [row(to, "delivered", mx, box, seconds=1.0) for to in names])
    boxes = [hop("f", f"F{i}", delivery(to, relay="local", at=i)) for i, to in enumerate(names)]
    rows = [
        row(
            to,
            "bounced" if i == 7 else "delivered",
            mx,
            boxes[i],
            seconds=float(i),
            reason=f"550 <{to}> unknown" if i == 7 else "",
        )
        for i, to in enumerate(names)
    ]
    return mail([mx, *boxes], rows, [link(mx, box) for box in boxes])


def test_sixty_recipients_on_one_path_are_one_story() -> None:
    text = told(report(many(own_ids=False)))
    assert text.count("delivered on f") == 1
    assert "and 48 others" in flat(report(many(own_ids=False)))
    assert len(text.splitlines()) < 20


def test_sixty_recipients_with_a_queue_id_each_are_one_story_and_the_odd_one_out() -> None:
    text = told(report(many(own_ids=True)))
    assert "59 messages, all alike" in text
    assert "✗ bounced on f" in text
    assert "550 <user07@alpha.example> unknown" in text
    assert len(text.splitlines()) < 32


def test_all_names_everyone_and_every_queue_id() -> None:
    text = flat(report(many(own_ids=True)), all=True)
    assert all(f"user{i:02}@alpha.example" in text for i in range(60))
    assert all(f" F{i} " in text for i in range(60))


def test_recipients_with_the_same_refusal_are_told_together() -> None:
    names = ["a@alpha.example", "b@alpha.example"]
    mx = hop("mx", "AAA", *(delivery(to, "bounced", "box[10.0.0.9]", reply=f"550 <{to}>: unknown") for to in names))
    text = told(report(mail([mx], [row(to, "bounced", mx, reason=f"550 <{to}>: unknown") for to in names])))
    assert text.count("bounced by box [10.0.0.9]: 550 <…>: unknown") == 1


def test_a_refusal_is_told_of_the_host_that_gave_it() -> None:
    names = ["a@alpha.example", "b@beta.example"]
    relays = ["box[10.0.0.9]", "other[10.0.0.8]"]
    both = (delivery(to, "bounced", at, reply="550 no such user") for to, at in zip(names, relays, strict=True))
    mx = hop("mx", "AAA", *both)
    text = told(report(mail([mx], [row(to, "bounced", mx, reason="550 no such user") for to in names])))
    assert text.count("bounced by box [10.0.0.9]: 550 no such user") == 1
    assert text.count("bounced by other [10.0.0.8]: 550 no such user") == 1


def test_of_very_many_branches_those_that_failed_are_told_and_the_rest_counted() -> None:
    names = [f"u{i}@d{i}.example" for i in range(300)]
    mx = hop("mx", "AAA", *(delivery(to, relay=f"d{i}[192.0.2.1]:25", reply=f"{i}") for i, to in enumerate(names)))
    rows = [row(to, "bounced" if i == 299 else "relayed", mx, reason=f"{i}") for i, to in enumerate(names)]
    text = told(report(mail([mx], rows)))
    assert len(text.splitlines()) < 60
    assert "└─ 280 more branches: → 280 relayed  (--all tells all)" in text
    assert "u299@d299.example" in text
    assert told(report(mail([mx], rows)), all=True).count("─ u") == 300


def test_a_log_that_nobody_is_named_for_and_a_mere_note_are_told_as_what_they_are() -> None:
    made = report()
    made.coverage = [
        Coverage("", "files", problem="/nope.log: no such file", missing=True),
        Coverage("mx", "files", problem="a long line was cut"),
    ]
    text = told(made)
    assert "  ✗ /nope.log: no such file" in text
    assert "  ! mx: a long line was cut" in text


def test_a_greylisted_message_says_so_who_did_it_and_when_it_went_on() -> None:
    relay = hop(
        "relay1",
        "AAA",
        delivery("a@b", "deferred", "box[10.0.0.9]:25", at=0.1, reply=GREY),
        delivery("a@b", relay="box[10.0.0.9]:25", at=302.5, delay=302.5),
    )
    box = hop("box", "BBB", delivery("a@b", relay="local", at=303), at=302.4)
    text = flat(report(mail([relay, box], [row("a@b", "delivered", relay, box, seconds=303.0)])))
    assert "5 min 3 s" in text
    assert "… greylisted by box [10.0.0.9]: 450 4.2.0 <a@b>: Recipient address rejected: Greylisted 0" not in text
    assert (
        "… greylisted by box [10.0.0.9]: 450 4.2.0 <a@b>: Recipient address rejected: Greylisted handed on at attempt 2"
        in text
    )
    assert "in reply to" not in text


def test_a_refusal_at_the_door_that_was_repeated_stands_before_the_message() -> None:
    mx = hop(
        "mx",
        "AAA",
        delivery("a@b", "deferred", at=-300, reply="450 Greylisted"),
        delivery("a@b", relay="local", at=0.1),
    )
    text = told(report(mail([mx], [row("a@b", "delivered", mx, attempts=2, certainty=Certainty.LIKELY)])))
    assert text.index("greylisted: 450") < text.index("AAA")
    assert "✓ delivered on mx (likely)" in text


def test_three_failures_are_told_each_and_many_are_counted_by_reason() -> None:
    def stuck(count: int, reasons: int) -> str:
        tries = [
            delivery("a@b", "deferred", "mx.out[192.0.2.1]:25", at=60 * i, reply=f"450 reason {i % reasons}")
            for i in range(count)
        ]
        out = hop("out", "AAA", *tries)
        return flat(report(mail([out], [row("a@b", "deferred", out, attempts=count, reason=tries[-1].reply)])))

    assert stuck(3, 1).count("deferred by mx.out") == 2
    assert "deferred by mx.out [192.0.2.1], again" in stuck(3, 1)
    assert "still queued on out after 3 attempts, mx.out [192.0.2.1] said: 450 reason 0" in stuck(3, 1)
    assert "deferred 18 more times until then, for the same reason" in stuck(20, 1)
    counted = stuck(20, 2)
    assert "deferred 18 more times until then: " in counted
    assert "9 times mx.out [192.0.2.1]: 450 reason 1" in counted


def test_a_slow_stage_says_where_it_waited() -> None:
    out = hop(
        "out", "AAA", delivery("a@b", relay="mx.out[192.0.2.1]:25", at=700, delay=700.0, delays=(0.1, 650.0, 45.0, 4.9))
    )
    text = flat(report(mail([out], [row("a@b", "relayed", out, seconds=700.0)])))
    assert "waited 10 min 50 s in the active queue, 45 s connecting to mx.out, 4.9 s while mx.out took it" in text


def test_a_branch_that_waited_longer_than_the_others_says_so() -> None:
    relay = hop(
        "relay",
        "AAA",
        delivery("a@b", relay="x[10.0.0.8]:25", delay=0.1, at=0.1),
        delivery("c@d", relay="y[10.0.0.9]:25", delay=30.0, delays=(0.1, 0.0, 29.0, 0.9), at=30),
    )
    fast, slow = hop("x", "BBB", delivery("a@b", at=1)), hop("y", "CCC", delivery("c@d", at=31), at=30)
    rows = [row("a@b", "delivered", relay, fast), row("c@d", "delivered", relay, slow)]
    text = flat(report(mail([relay, fast, slow], rows, [link(relay, fast), link(relay, slow)])))
    assert "relay AAA 0.1 s a@b" in text
    assert "c@d handed on, 30 s after it came waited 29 s connecting to y" in text


def test_doubt_is_told_also_where_many_are_told_as_one() -> None:
    mail_ = many(own_ids=True)
    mail_.links = [link_._replace(certainty=Certainty.LIKELY) for link_ in mail_.links]
    mail_.recipients = [row_._replace(certainty=Certainty.LIKELY) for row_ in mail_.recipients]
    assert "59 s (likely)" in flat(report(mail_))


def test_every_equal_candidate_is_shown() -> None:
    hub, one, two = hop("hub", "AAA"), hop("f", "BBB", delivery("a@b", relay="local")), hop("g", "CCC")
    links = [
        link(hub, one, "relayed", "ambiguous", "message-id: same"),
        link(hub, two, "relayed", "ambiguous", "time: near"),
    ]
    text = flat(
        report(mail([hub, one, two], [row("a@b", "delivered", hub, one, certainty=Certainty.AMBIGUOUS)], links))
    )
    assert "ambiguous: same may as well be g CCC: near" in text


def test_two_senders_of_one_message_that_fit_as_well_are_both_shown() -> None:
    one, two, box = hop("hub", "AAA"), hop("hub", "BBB"), hop("box", "CCC", delivery("a@b", relay="local"))
    links = [
        link(one, box, "relayed", "ambiguous", "message-id: same"),
        link(two, box, "relayed", "ambiguous", "time: near"),
    ]
    text = flat(
        report(mail([one, two, box], [row("a@b", "delivered", one, box, certainty=Certainty.AMBIGUOUS)], links))
    )
    assert "may as well come from hub BBB: near" in text


OUTCOMES = [
    ("delivered", "sent", "", "✓ delivered on mx"),
    ("relayed", "sent", "", "→ relayed to outside host next [10.0.0.9]"),
    ("deferred", "deferred", "451 later", "… still queued on mx, next [10.0.0.9] said: 451 later"),
    ("bounced", "bounced", "550 no", "✗ bounced by next [10.0.0.9]: 550 no"),
    ("expired", "expired", "too old", "✗ given up on mx: too old"),
    ("discarded", "discarded", "rule 5", "✗ discarded on mx: rule 5"),
    ("held", "held", "suspicious", "… held on mx: suspicious"),
    ("quarantined", "sent", "INFECTED", "✗ quarantined on mx: INFECTED"),
    ("in_transit", "sent", "", "? in transit: handed to next [10.0.0.9], whose log of that time does not have it"),
    ("unknown", "sent", "", "? unknown: handed to next [10.0.0.9], of which no log was read"),
    ("unknown", "deferred", "", "? unknown on mx"),
    ("rejected", "rejected", "554 spam", "✗ refused on mx: 554 spam"),
]


@pytest.mark.parametrize("outcome, status, reason, words", OUTCOMES)
def test_every_outcome_has_its_words(outcome: str, status: str, reason: str, words: str) -> None:
    mx = hop("mx", "AAA", delivery("a@b", status, "next[10.0.0.9]:25", reply=reason))
    assert words in flat(report(mail([mx], [row("a@b", outcome, mx, reason=reason)])), width=200)


def test_who_was_refused_at_the_door_has_no_path() -> None:
    text = told(report(mail([], [row("a@b", "rejected", reason="554 5.7.1 Access denied")], message_id="", id="x")))
    assert "01:04:22  ✗ refused: 554 5.7.1 Access denied" in text
    assert "no Message-ID known" in text


def test_what_an_alias_made_of_an_address_is_shown_with_it() -> None:
    mx = hop("mx", "AAA", *(delivery(to, original_recipient="staff@b", relay="local") for to in ("a@b", "c@b")))
    rows = [row(to, "delivered", mx, original_recipient="staff@b") for to in ("a@b", "c@b")]
    text = told(report(mail([mx], rows)))
    assert "to       a@b, c@b  addressed to staff@b" in text


def test_a_hop_that_no_path_explains_is_told_all_the_same() -> None:
    mx, odd = (
        hop("mx", "AAA", delivery("a@b", relay="local")),
        hop("mx", "ODD", delivery("x@y", "bounced", reply="why")),
    )
    assert "also seen on mx ODD: bounced why" in told(report(mail([mx, odd], [row("a@b", "delivered", mx)], [])))


def test_the_stamp_of_a_clock_that_is_off_is_shown_beside_the_corrected_time() -> None:
    mx = hop("mx", "AAA", delivery("a@b", relay="local", raw_time="Nov 23 01:14:22"))
    made = report(
        mail([mx], [row("a@b", "delivered", mx)]), clocks=[ClockNote("mx", 0.0, "queue-id", 600.0, "queue-id")]
    )
    assert "its log says Nov 23 01:14:22" in told(made)
    assert "mx is 10 min fast; times here are corrected" in told(made)
    made.clocks = [ClockNote("mx", 3600.0, "queue-id", 0.0, "queue-id")]
    assert "its log says" not in told(made)
    assert "mx: stamps in UTC+1, proved by queue-id" in told(made)


def test_a_zone_that_nothing_proves_is_called_so() -> None:
    made = report(clocks=[ClockNote("mx", 3600.0, "", 0.0, "machine")])
    assert "this machine's zone, for want of proof" in flat(made)


@pytest.mark.parametrize(
    "zone, text",
    [
        ("UTC", "2026-11-23 01:04:22 UTC"),
        ("Europe/Berlin", "2026-11-23 02:04:22 CET (+01:00)"),
        ("Asia/Kolkata", "2026-11-23 06:34:22 IST (+05:30)"),
        ("-03:00", "2026-11-22 22:04:22 -03:00"),
    ],
)
def test_times_are_in_the_zone_asked_for_and_say_which(zone: str, text: str) -> None:
    assert text in told(partial_bounce(), time_zone=zone)


def test_a_mail_over_midnight_shows_the_day() -> None:
    mx = hop("mx", "AAA", delivery("a@b", relay="local", at=90000))
    text = told(report(mail([mx], [row("a@b", "delivered", mx, seconds=90000.0)])))
    assert "\n        01:04:22  mx" in text
    assert "\n  11-24 02:04:22  ✓ delivered on mx after 1 d 1 h" in text


def test_more_than_ten_mails_get_a_line_each_and_how_to_narrow() -> None:
    mails = list(partial_bounce().mails) * 5
    assert "── Mail 10 of 10" in told(report(*mails))
    text = told(report(*mails, *mails[:1]))
    assert "11 mails on 2026-11-23, times in UTC" in text
    assert "01:04:22  walter@world.example → anna@alpha.example +2  ✗ 1 bounced" in re.sub(" {3,}", "  ", text)
    assert "--message-id" in text
    assert "── Mail" not in text
    assert "── Mail 11 of 11" in told(report(*mails, *mails[:1]), all=True)
    assert "4jXnlV6MTQzRbF8" in told(report(*mails, *mails[:1]), width=120)


def test_nothing_found_says_what_was_looked_at() -> None:
    made = report(coverage=[Coverage("mx", "files", ("a",), T0, T0 + 60, 1234, 0)])
    assert told(made) == ("No mail found.\nLooked at  1 log of 1 host, 1,234 lines, 2026-11-23 01:04:22 to 01:05:22\n")


@pytest.mark.parametrize(
    "start, end, zone, words",
    [
        (
            T0,
            T0 + 60,
            "local",
            "mail from 2026-11-23 01:04:22 until 2026-11-23 01:05:22 UTC; times read in this machine's zone",
        ),
        (T0, None, "Europe/Berlin", "mail from 2026-11-23 01:04:22 UTC; times read in Europe/Berlin"),
        (None, T0, "", "mail until 2026-11-23 01:04:22 UTC"),
    ],
)
def test_the_window_is_told_and_how_its_times_were_read(
    start: float | None, end: float | None, zone: str, words: str
) -> None:
    assert f"Asked for  {words}\n" in told(report(start=start, end=end, zone=zone), width=200)
    assert "Asked for" not in told(report())


def test_a_notice_stands_with_those_it_speaks_of() -> None:
    mx = hop(
        "mx",
        "AAA",
        delivery("a@b", relay="local"),
        delivery("c@d", "bounced", reply="550 no"),
        delivery("e@f", "deferred", reply="450 later"),
        delivery("e@f", relay="box[10.0.0.9]:25", at=9000),
    )
    box, notice, delay, sent = hop("box", "BOX", at=9000), hop("mx", "BBB"), hop("mx", "CCC"), hop("mx", "DDD")
    links = [
        link(mx, box),
        link(mx, notice, "bounced", "proven", "notification: AAA: sender non-delivery notification: BBB"),
        link(mx, delay, "bounced", "proven", "notification: AAA: sender delay notification: CCC"),
        link(mx, sent, "bounced", "proven", "notification: AAA: sender success notification: DDD"),
    ]
    rows = [row("a@b", "delivered", mx), row("c@d", "bounced", mx, reason="550 no"), row("e@f", "unknown", mx, box)]
    text = told(report(mail([mx, box], rows, links)))
    _, delivered, bounced, delayed = re.split(r"[├└]─ ", text)
    assert re.findall(r"↳.*", delivered) == ["↳ delivery report: mx DDD"]
    assert re.findall(r"↳.*", bounced) == ["↳ bounce: mx BBB"]
    assert re.findall(r"↳.*", delayed) == ["↳ delay notice: mx CCC"]


def test_a_notice_about_nobody_known_is_told_at_the_end() -> None:
    mx, notice = hop("mx", "AAA", delivery("a@b", relay="local")), hop("mx", "BBB")
    assert "↳ bounce: mx BBB" in told(report(mail([mx], [row("a@b", "delivered", mx)], [link(mx, notice, "bounced")])))


def test_list_mail_is_told_where_it_began_and_where_it_came_from() -> None:
    box = hop("box", "AAA", delivery("list@b", relay="local", reply="delivered to command: /usr/bin/list"))
    sent = hop("box", "BBB", delivery("a@b", relay="local"))
    onward = link(box, sent, "forwarded")
    first = mail([box], [row("list@b", "delivered", box, reason="delivered to command: /usr/bin/list")], [onward])
    text = told(report(first, mail([sent], [row("a@b", "delivered", sent)])))
    assert "✓ delivered on box: delivered to command: /usr/bin/list" in text
    assert "↳ sent on as a mail of its own to a@b: mail 2" in text
    assert "sent on from mail 1" in text


def test_hosts_with_the_same_trouble_share_a_line() -> None:
    bad = [Coverage(f"mx{i}", "files", problem="permission denied", missing=True) for i in range(9)]
    warned = [Warning_("x", "stopped after 30 hops", f"mx{i}") for i in range(2)]
    text = flat(report(coverage=bad, warnings=warned))
    assert "✗ mx0, mx1, mx2 and 6 others: permission denied" in text
    assert "Warning mx0, mx1: stopped after 30 hops" in text


def test_expectations_and_an_interruption_are_told() -> None:
    made = report(
        expectations=[
            Expectation("delivered: all", held=False, detail="1 bounced", place="job.yaml:9:3"),
            Expectation("within: 60s", held=True),
        ]
    )
    made.partial = True
    text = told(made)
    assert text.startswith("Interrupted: this is what was found until then.\n")
    assert "✗ delivered: all; seen: 1 bounced (job.yaml:9:3)" in text
    assert "✓ within: 60s" in text


def test_hostile_text_cannot_reach_the_terminal() -> None:
    nasty = "\x1b[2J\x07\x9b31m\u202ecod\r\n.exe"
    mx = hop(
        nasty,
        nasty,
        delivery(nasty, "bounced", f"{nasty}[{nasty}]", reply=nasty, raw_time=nasty),
        client=nasty,
        user=nasty,
    )
    made = report(
        mail([mx], [row(nasty, "bounced", mx, reason=nasty)], subject=nasty, sender=nasty, message_id=nasty),
        coverage=[Coverage(nasty, "files", problem=nasty)],
        clocks=[ClockNote(nasty, 0.0, "", 99.0, nasty)],
        warnings=[Warning_(nasty, nasty, nasty)],
        expectations=[Expectation(nasty, held=False, detail=nasty)],
    )
    for options in ({}, {"width": 40}, {"all": True}):
        text = told(made, **options)
        assert all(line.isprintable() for line in text.split("\n"))
        assert r"\x1b[2J" in text
    many_ = report(*list(made.mails) * 11)
    assert all(line.isprintable() for line in told(many_).split("\n"))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(32, 160),
    st.sampled_from([partial_bounce(), report(many(own_ids=True)), report(*list(partial_bounce().mails) * 6)]),
)
def test_no_line_is_wider_than_the_terminal(width: int, made: Report) -> None:
    assert max(columns(line) for line in told(made, width=width).splitlines()) <= width


@settings(deadline=None)
@given(any_report(), st.integers(32, 160), st.booleans())
def test_any_report_can_be_told(made: Report, width: int, every: bool) -> None:
    text = told(made, width=width, all=every)
    assert all(line.isprintable() and columns(line) <= width for line in text.split("\n"))
    assert text.endswith("\n")


def test_colour_adds_nothing_but_colour() -> None:
    plain, coloured = told(partial_bounce()), told(partial_bounce(), color="always")
    assert coloured != plain
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain


def test_a_path_that_names_unknown_hops_is_told_as_far_as_it_goes() -> None:
    mx = hop("mx", "AAA", delivery("a@b", relay="local"))
    assert "✓ delivered" in told(report(mail([], [row("a@b", "delivered", mx)], [])))


def test_times_beyond_every_calendar_do_not_stop_the_story() -> None:
    mx = hop("mx", "AAA", delivery("a@b", relay="local", at=1e18))
    assert "delivered on mx" in told(report(mail([mx], [row("a@b", "delivered", mx)], first=1e300)))
