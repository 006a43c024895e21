"""What a mail is as spans: told by a few lines of log each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import any_report
from stories import entries, put_together
from stories import hosts as inventory

from mailtrace.assemble import Assembly
from mailtrace.hosts import HostFacts
from mailtrace.model import ClockNote
from mailtrace.otlp.encode import encode
from mailtrace.otlp.identity import attempt_id, handoff_id, hop_id, nameless_trace_id, trace_id
from mailtrace.otlp.record import CLIENT, INTERNAL, PRODUCER, SERVER, Span
from mailtrace.otlp.spans import spans_of


def log(host: str, text: str) -> str:
    """Lines of a host's Postfix, each with its time on the third of February 2026; what is indented goes on a line."""
    lines = text.strip().replace("\n    ", " ").splitlines()
    days = (line if line[10:11] == "T" else f"2026-02-03T{line}" for line in lines)
    return "".join(f"{time}+00:00 {host} postfix/{rest}\n" for time, _, rest in (day.partition(" ") for day in days))


MX = log(
    "mx",
    """
10:00:00.100000 smtpd[1]: AAAAA11111: client=out.example.net[192.0.2.9]
10:00:00.110000 cleanup[2]: AAAAA11111: message-id=<m1@example.net>
10:00:00.120000 qmgr[3]: AAAAA11111: from=<ann@example.net>, size=700, nrcpt=2 (queue active)
10:00:00.200000 smtp[4]: AAAAA11111: to=<bob@example.com>, relay=box.example.com[192.0.2.2]:25,
    delay=0.1, delays=0.02/0.01/0.03/0.04, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as BBBBB22222)
10:00:00.200100 smtp[4]: AAAAA11111: to=<eve@example.com>, relay=box.example.com[192.0.2.2]:25,
    delay=0.1, delays=0.02/0.01/0.03/0.04, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as BBBBB22222)
10:00:00.200200 qmgr[3]: AAAAA11111: removed
""",
)
BOX = log(
    "box",
    """
10:00:00.170000 smtpd[1]: BBBBB22222: client=mx.example.com[192.0.2.1]
10:00:00.175000 cleanup[2]: BBBBB22222: message-id=<m1@example.net>
10:00:00.180000 qmgr[3]: BBBBB22222: from=<ann@example.net>, size=900, nrcpt=2 (queue active)
10:00:00.300000 local[5]: BBBBB22222: to=<bob@example.com>, relay=local,
    delay=0.13, delays=0.01/0.01/0/0.11, dsn=2.0.0, status=sent (delivered to mailbox)
10:00:00.310000 local[6]: BBBBB22222: to=<eve@example.com>, relay=local,
    delay=0.14, delays=0.01/0.01/0/0.12, dsn=2.0.0, status=sent (delivered to mailbox)
10:00:00.310100 qmgr[3]: BBBBB22222: removed
""",
)
TRACE = trace_id("m1@example.net")
FLEET = inventory(mx=HostFacts(addresses=("192.0.2.1",)), box=HostFacts(addresses=("192.0.2.2",)))


def read(**logs: str) -> Assembly:
    return put_together(entries(**logs), FLEET)


def spans(assembly: Assembly, **more: Any) -> list[Span]:
    return list(spans_of(assembly.mails, assembly.clocks, **more))


def tree(found: Iterable[Span]) -> list[str]:
    """Each span under its parent, as `host name status`, two blanks a step; stages are left out."""
    below: dict[bytes, list[Span]] = {}
    for span in found:
        below.setdefault(span.parent_id, []).append(span)

    def lines(parent: bytes, depth: int) -> list[str]:
        out = []
        for span in sorted(below.get(parent, ()), key=lambda s: (s.start, s.end, s.span_id)):
            if span.name not in ("in_qmgr", "before_qmgr", "conn_setup", "transmission"):
                status = span.facts.get("email.delivery.status", "")
                out.append(f"{'  ' * depth}{span.host} {span.name} {status}".rstrip())
                out += lines(span.span_id, depth + 1)
        return out

    return lines(b"", 0)


def whole_seconds(text: str) -> str:
    """The same lines with BSD's stamps."""
    return "".join(f"Feb  3 {line[11:19]} {line[33:]}" for line in text.splitlines(keepends=True))


def named(found: Iterable[Span], name: str, host: str = "") -> Span:
    (span,) = [span for span in found if span.name == name and host in ("", span.host)]
    return span


def upto(text: str, lines: int) -> str:
    return "".join(text.splitlines(keepends=True)[:lines])


def without(text: str, words: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if words not in line)


# --------------------------------------------------------------------------------------------- the shape


def test_a_mail_over_two_hosts_is_one_trace_and_every_transaction_one_span() -> None:
    found = spans(read(mx=MX, box=BOX))
    assert tree(found) == [
        "mx smtp receive",
        "  mx queue wait",
        "  mx smtp deliver sent",
        "    box smtp receive",
        "      box queue wait",
        "      box mail deliver sent",
        "      box mail deliver sent",
    ]
    assert {span.trace_id for span in found} == {TRACE}


def test_kinds_are_those_of_the_model() -> None:
    found = spans(read(mx=MX, box=BOX))
    kinds = {"smtp receive": SERVER, "smtp deliver": CLIENT, "mail deliver": INTERNAL, "queue wait": INTERNAL}
    assert all(span.kind == kinds.get(span.name, INTERNAL) for span in found)


def test_the_next_reception_lies_within_its_hand_off() -> None:
    found = spans(read(mx=MX, box=BOX))
    handoff, reception = named(found, "smtp deliver"), named(found, "smtp receive", "box")
    assert handoff.start <= reception.start < reception.end <= handoff.end
    assert reception.parent_id == handoff.span_id == handoff_id(TRACE, "BBBBB22222")
    assert (reception.far, handoff.far) == (True, False)


def test_stages_are_parts_of_what_they_are_stages_of() -> None:
    found = spans(read(mx=MX))
    by_id = {span.span_id: span for span in found}
    stages = [span for span in found if span.name in ("in_qmgr", "conn_setup", "transmission")]
    assert [span.name for span in stages] == ["in_qmgr", "conn_setup", "transmission"]
    for stage in stages:
        whole = by_id[stage.parent_id]
        assert whole.start <= stage.start < stage.end <= whole.end
    setup, sending = stages[1:]
    assert (setup.end - setup.start, setup.end) == (30_000_000, sending.start)


def test_recipients_of_a_transaction_are_in_its_span() -> None:
    handoff = named(spans(read(mx=MX)), "smtp deliver")
    assert handoff.facts["email.to.address"] == ("bob@example.com", "eve@example.com")


# --------------------------------------------------------------------------------- the same in every run


def test_either_host_s_lines_alone_give_the_same_spans() -> None:
    together = set(spans(read(mx=MX, box=BOX)))
    apart = set(spans(read(mx=MX))) | set(spans(read(box=BOX), awaits=lambda _hop, _before: True))
    assert apart == together


def test_a_hop_from_whose_client_nothing_will_come_is_a_root() -> None:
    found = spans(read(box=BOX))
    assert not named(found, "smtp receive").parent_id


def test_what_is_settled_does_not_change_when_more_lines_come() -> None:
    everything = set(spans(read(mx=MX, box=BOX)))
    lines = [line for text in (MX, BOX) for line in text.strip().splitlines()]
    for hidden in range(len(lines)):
        seen = {"mx": [], "box": []}  # type: dict[str, list[str]]
        for line in sorted(lines, key=lambda line: line[:32])[: hidden + 1]:
            seen[line.split()[1]].append(line)
        logs = {host: "\n".join(some) for host, some in seen.items() if some}
        for span in spans(read(**logs), awaits=lambda hop, _before: hop.host == "box"):
            last = max(line[:32] for line in seen[span.host])
            if span.settles < 1770112800 + float(last[17:26]):
                assert span in everything


def test_order_of_lines_does_not_matter() -> None:
    lines = entries(mx=MX, box=BOX)
    forward, backward = put_together(lines), put_together(list(reversed(lines)))
    assert sorted(spans(forward)) == sorted(spans(backward))


def test_ids_follow_the_published_formulas() -> None:
    found = spans(read(mx=MX, box=BOX))
    assert named(found, "smtp receive", "mx").span_id == hop_id(TRACE, "mx", "AAAAA11111")
    stamps = ["2026-02-03T10:00:00.300000+00:00", "2026-02-03T10:00:00.310000+00:00"]
    to = ["bob@example.com", "eve@example.com"]
    wanted = {attempt_id(TRACE, "box", "BBBBB22222", [r], at) for r, at in zip(to, stamps, strict=True)}
    assert {span.span_id for span in found if span.name == "mail deliver"} == wanted


# ------------------------------------------------------------------------------------- piece by piece


class Loop:
    """Sends what is new, as continuous tracing does."""

    def __init__(self) -> None:
        self.sent: dict[bytes, bytes] = {}
        self.spans: list[Span] = []

    def round(self, *, awaits: bool = False, **logs: Any) -> list[Span]:
        new = spans(read(**logs), sent=self.sent, awaits=lambda _hop, before: awaits and before is None)
        self.sent |= {key: span.span_id for span in new for key in span.keys}
        self.spans += new
        return new


def test_what_was_sent_is_not_made_again() -> None:
    loop = Loop()
    loop.round(mx=MX)
    new = loop.round(mx=MX, box=BOX)
    assert {span.host for span in new} == {"box"}
    assert set(loop.spans) == set(spans(read(mx=MX, box=BOX), sent={}))
    assert loop.round(mx=MX, box=BOX) == []


def test_a_recipient_that_comes_late_has_a_span_of_its_own_below_the_hand_off() -> None:
    loop = Loop()
    loop.round(mx=without(MX, "eve@"))
    (late,) = [span for span in loop.round(mx=MX) if span.name == "smtp deliver"]
    assert late.parent_id == handoff_id(TRACE, "BBBBB22222")
    assert late.facts["email.to.address"] == ("eve@example.com",)
    assert loop.round(mx=MX) == []


def test_a_recipient_whose_line_comes_much_later_has_the_same_span_whenever_it_is_read() -> None:
    deferred = log(
        "mx",
        """
10:00:00.210000 smtp[4]: AAAAA11111: to=<eve@example.com>, relay=none,
    delay=0.1, delays=0.02/0.01/0.07/0, dsn=4.4.1, status=deferred (connect to box.example.com: timed out)
""",
    )
    late = MX.replace("10:00:00.2001", "10:05:00.2001").replace("10:00:00.2002", "10:05:00.2002")
    lines = [*upto(late, 4).splitlines(keepends=True), deferred, *late.splitlines(keepends=True)[4:]]
    whole = spans(read(mx="".join(lines)), sent={})
    loop = Loop()
    for end in range(4, len(lines) + 1):
        loop.round(mx="".join(lines[:end]))
    assert sorted(loop.spans) == sorted(whole)
    handed = [span for span in whole if span.name == "smtp deliver"]
    assert [span.facts["email.delivery.status"] for span in handed] == ["sent", "deferred", "sent"]
    assert handed[2].parent_id == handed[0].span_id == handoff_id(TRACE, "BBBBB22222")
    assert handed[2].facts["email.delivery.attempt"] == 2
    assert handed[2].start > handed[1].end


NO_ID = MX.replace("250 2.0.0 Ok: queued as BBBBB22222", "250 ok")


def test_where_a_reply_names_no_id_assembling_tells_the_parent() -> None:
    found = spans(read(mx=NO_ID, box=BOX))
    assert named(found, "smtp receive", "box").parent_id == named(found, "smtp deliver").span_id
    assert named(found, "smtp receive", "box").facts["mailtrace.certainty"] == "likely"


@pytest.mark.parametrize("first", ["mx", "box"])
def test_without_an_id_whichever_host_comes_first_no_span_is_an_orphan_or_twice(first: str) -> None:
    loop = Loop()
    logs: dict[str, Any] = {"mx": NO_ID, "box": BOX}
    some: dict[str, Any] = {first: logs[first]}
    loop.round(awaits=first == "box", **some)
    loop.round(**logs)
    ids = [span.span_id for span in loop.spans]
    assert len(ids) == len(set(ids))
    assert {span.parent_id for span in loop.spans} - {b""} <= set(ids)
    assert tree(loop.spans)[:4] == [
        "mx smtp receive",
        "  mx queue wait",
        "  mx smtp deliver sent",
        "    box smtp receive",
    ]


# ---------------------------------------------------------------------------------- what becomes of a mail

DEFERRED = log(
    "mx",
    """
10:00:00.100000 smtpd[1]: AAAAA11111: client=out.example.net[192.0.2.9]
10:00:00.110000 cleanup[2]: AAAAA11111: message-id=<m1@example.net>
10:00:00.120000 qmgr[3]: AAAAA11111: from=<ann@example.net>, size=700, nrcpt=1 (queue active)
10:00:01.200000 smtp[4]: AAAAA11111: to=<bob@example.com>, relay=box.example.com[192.0.2.2]:25,
    delay=1.1, delays=0.02/0.01/1/0.07, dsn=4.2.0, status=deferred (host box.example.com[192.0.2.2] said: 450 4.2.0
    try again (in reply to RCPT TO command))
10:05:00.500000 smtp[4]: AAAAA11111: to=<bob@example.com>, relay=box.example.com[192.0.2.2]:25,
    delay=300, delays=300/0.1/0.03/0.04, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as BBBBB22222)
10:05:00.500200 qmgr[3]: AAAAA11111: removed
""",
)


def test_a_deferral_is_an_error_and_the_wait_for_the_next_attempt_follows_it() -> None:
    found = spans(read(mx=DEFERRED))
    assert tree(found) == [
        "mx smtp receive",
        "  mx queue wait",
        "  mx smtp deliver deferred",
        "  mx queue wait",
        "  mx smtp deliver sent",
    ]
    failed, went = (span for span in found if span.name == "smtp deliver")
    _, waited = (span for span in found if span.name == "queue wait")
    assert failed.error == "host box.example.com[192.0.2.2] said: 450 4.2.0 try again (in reply to RCPT TO command)"
    assert failed.facts["error.type"] == "4.2.0"
    assert [event.name for event in failed.events] == ["email.deferred"]
    assert (waited.start, waited.end) == (failed.end, went.start)
    assert (failed.facts["email.delivery.attempt"], went.facts["email.delivery.attempt"]) == (1, 2)
    assert not went.error


def test_a_deferred_mail_is_visible_at_once() -> None:
    found = spans(read(mx=upto(DEFERRED, 4)))
    assert set(found) < set(spans(read(mx=DEFERRED)))
    assert max(span.settles for span in found) < 1770112820


BOUNCED = log(
    "mx",
    """
10:00:00.100000 smtpd[1]: AAAAA11111: client=out.example.net[192.0.2.9]
10:00:00.110000 cleanup[2]: AAAAA11111: message-id=<m1@example.net>
10:00:00.120000 qmgr[3]: AAAAA11111: from=<ann@example.net>, size=700, nrcpt=1 (queue active)
10:00:01.200000 smtp[4]: AAAAA11111: to=<bob@example.com>, relay=box.example.com[192.0.2.2]:25,
    delay=1.1, delays=0.02/0.01/1/0.07, dsn=5.1.1, status=bounced (host box.example.com[192.0.2.2] said: 550 5.1.1
    no such user (in reply to RCPT TO command))
10:00:01.210000 cleanup[2]: CCCCC33333: message-id=<20260203100001.CCCCC33333@mx.example.com>
10:00:01.220000 bounce[6]: AAAAA11111: sender non-delivery notification: CCCCC33333
10:00:01.230000 qmgr[3]: CCCCC33333: from=<>, size=2700, nrcpt=1 (queue active)
10:00:01.240000 qmgr[3]: AAAAA11111: removed
10:00:02.240000 smtp[4]: CCCCC33333: to=<ann@example.net>, relay=out.example.net[192.0.2.9]:25,
    delay=1, delays=0.02/0.01/0.5/0.5, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as DDDDD44444)
""",
)


def test_a_notice_is_a_trace_of_its_own_with_a_link_to_what_it_reports_on() -> None:
    found = spans(read(mx=BOUNCED))
    notice = named(found, "mail submit")
    assert notice.trace_id == trace_id("20260203100001.CCCCC33333@mx.example.com")
    assert (notice.parent_id, notice.kind) == (b"", PRODUCER)
    (link,) = notice.links
    assert (link.trace_id, link.span_id) == (TRACE, hop_id(TRACE, "mx", "AAAAA11111"))
    assert link.attributes == (("link.relation", "bounce_of"),)


def test_a_bounce_is_an_error_of_the_attempt_and_the_reception_stays_as_it_was() -> None:
    found = [span for span in spans(read(mx=BOUNCED)) if span.trace_id == TRACE]
    assert [span.name for span in found if span.error] == ["smtp deliver"]
    assert named(found, "smtp deliver").facts["error.type"] == "5.1.1"


def test_a_queue_that_gives_up_is_a_span() -> None:
    lines = upto(DEFERRED, 4) + log(
        "mx",
        """
2026-02-08T10:00:00.100000 qmgr[3]: AAAAA11111: from=<ann@example.net>, status=expired, returned to sender
2026-02-08T10:00:00.200000 qmgr[3]: AAAAA11111: removed
""",
    )
    expired = named(spans(read(mx=lines)), "mail expire")
    assert expired.parent_id == hop_id(TRACE, "mx", "AAAAA11111")
    assert expired.facts["email.to.address"] == ("bob@example.com",)
    assert (expired.facts["error.type"], bool(expired.error)) == ("expired", True)


HELD = log(
    "mx",
    """
10:00:00.100000 smtpd[1]: AAAAA11111: client=out.example.net[192.0.2.9]
10:00:00.110000 cleanup[2]: AAAAA11111: hold: header Subject: now from out.example.net[192.0.2.9];
    from=<ann@example.net> to=<bob@example.com> proto=ESMTP helo=<out>: to be looked at
10:00:00.110000 cleanup[2]: AAAAA11111: message-id=<m1@example.net>
""",
)
RELEASED = log(
    "mx",
    """
10:08:00.100000 postsuper[9]: AAAAA11111: released from hold
10:08:00.120000 qmgr[3]: AAAAA11111: from=<ann@example.net>, size=700, nrcpt=2 (queue active)
10:08:00.200000 smtp[4]: AAAAA11111: to=<bob@example.com>, relay=box.example.com[192.0.2.2]:25,
    delay=480, delays=480/0.01/0.03/0.04, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as BBBBB22222)
10:08:00.200200 qmgr[3]: AAAAA11111: removed
""",
)
REQUEUED = log("mx", "10:08:00.100000 postsuper[9]: AAAAA11111: requeued")
DELETED = log("mx", "10:08:00.100000 postsuper[9]: AAAAA11111: removed")


@pytest.mark.parametrize("later", [RELEASED, REQUEUED, DELETED])
def test_what_a_reception_says_of_a_message_on_hold_does_not_change_with_what_is_done_to_it_later(later: str) -> None:
    (before,) = spans(read(mx=HELD))
    assert ([event.name for event in before.events], before.facts["email.from.address"]) == (
        ["email.held"],
        "ann@example.net",
    )
    assert before.settles < 1770112810  # it is shown soon
    assert named(spans(read(mx=HELD + later)), "smtp receive")[:14] == before[:14]


def test_what_is_done_to_a_message_in_its_queue_is_a_span_of_its_own() -> None:
    assert tree(spans(read(mx=HELD + RELEASED))) == [
        "mx smtp receive",
        "  mx queue wait",
        "  mx mail release",
        "  mx smtp deliver sent",
    ]
    assert tree(spans(read(mx=HELD + REQUEUED))) == ["mx smtp receive", "  mx mail requeue"]
    assert tree(spans(read(mx=HELD + DELETED))) == ["mx smtp receive", "  mx mail remove discarded"]
    stopped = upto(DEFERRED, 4) + log("mx", "10:20:00.100000 postsuper[9]: AAAAA11111: placed on hold")
    assert "  mx mail hold held" in tree(spans(read(mx=stopped)))


def test_a_message_that_is_deleted_while_it_was_deferred_ends_there() -> None:
    found = named(spans(read(mx=upto(DEFERRED, 4) + DELETED)), "mail remove")
    assert found.facts["email.to.address"] == ("bob@example.com",)
    assert (found.facts["mailtrace.action"], found.facts["email.delivery.status"]) == ("deleted", "discarded")
    assert found.start == 1770113280_100000000


def test_a_local_forward_is_a_hand_off_on_one_host() -> None:
    lines = without(BOX, "eve@").replace("(delivered to mailbox)", "(forwarded as EEEEE55555)") + log(
        "box",
        """
10:00:00.250000 cleanup[2]: EEEEE55555: message-id=<m1@example.net>
10:00:00.260000 qmgr[3]: EEEEE55555: from=<ann@example.net>, size=1000, nrcpt=1 (queue active)
""",
    )
    found = spans(read(box=lines))
    forwarded, submitted = named(found, "mail deliver"), named(found, "mail submit")
    assert submitted.parent_id == forwarded.span_id == handoff_id(TRACE, "EEEEE55555")
    assert (submitted.kind, submitted.far) == (PRODUCER, False)
    assert forwarded.start <= submitted.start < submitted.end <= forwarded.end


def test_a_permanent_refusal_at_the_door_is_a_trace_of_one_failed_span_and_a_temporary_one_is_none() -> None:
    line = log(
        "mx",
        """10:00:00.100000 smtpd[1]: NOQUEUE: reject: RCPT from out.example.net[192.0.2.9]: {} <bob@example.com>: no;
    from=<ann@example.net> to=<bob@example.com> proto=ESMTP helo=<out>""",
    )
    (refused,) = spans(read(mx=line.format("550 5.1.1")))
    assert (refused.name, refused.host, refused.facts["error.type"]) == ("smtp receive", "mx", "5.1.1")
    assert (refused.parent_id, bool(refused.error)) == (b"", True)
    assert spans(read(mx=line.format("450 4.2.0"))) == []


def test_what_is_discarded_at_the_entry_says_so() -> None:
    lines = upto(MX, 1) + log(
        "mx",
        """
10:00:00.110000 cleanup[2]: AAAAA11111: discard: header X-Spam: yes from out.example.net[192.0.2.9];
    from=<ann@example.net> to=<bob@example.com> proto=ESMTP helo=<out>: unwanted
""",
    )
    (span,) = spans(read(mx=lines))
    assert [event.name for event in span.events] == ["email.discarded"]
    assert span.trace_id == nameless_trace_id("mx", "AAAAA11111", "2026-02-03T10:00:00")
    assert span.settles < 1770112810


def test_a_queue_id_that_comes_again_in_one_trace_is_another_span() -> None:
    again = MX.replace("10:00:00", "10:20:00")
    found = spans(read(mx=MX + again))
    receptions = [span.span_id for span in found if span.name == "smtp receive"]
    assert receptions == [
        hop_id(TRACE, "mx", "AAAAA11111"),
        hop_id(TRACE, "mx", "AAAAA11111", "2026-02-03T10:20:00"),
    ]
    assert len({span.span_id for span in found}) == len(found)


def test_copies_of_a_message_that_were_given_one_id_have_spans_of_the_same_ids_exported_and_followed() -> None:
    mx, box = without(MX, "eve@"), without(BOX, "eve@")
    mx += mx.replace("10:00:0", "10:00:3").replace("AAAAA11111", "AAAAA33333")
    box += box.replace("10:00:0", "10:00:3")
    found = read(mx=mx, box=box)
    exported, followed = spans(found), spans(found, sent={})
    assert [span.span_id for span in exported] == [span.span_id for span in followed]
    handed = [span.span_id for span in exported if span.name == "smtp deliver"]
    assert len(set(handed)) == 2
    assert handoff_id(TRACE, "BBBBB22222") in handed
    received = [span.parent_id for span in exported if span.name == "smtp receive" and span.host == "box"]
    assert received == handed


def test_one_recipient_twice_in_one_second_is_two_spans() -> None:
    again = without(BOX, "eve@").replace("to=<bob@example.com>", "to=<bob@example.com>, orig_to=<b@example.com>")
    twice = whole_seconds(without(BOX, "eve@") + upto(without(again, "removed"), 4).splitlines(keepends=True)[-1])
    found = [span for span in spans(read(box=twice)) if span.name == "mail deliver"]
    assert len({span.span_id for span in found}) == len(found) == 2


def test_a_raw_stamp_is_told_where_it_was_corrected() -> None:
    assert "mailtrace.raw_time" not in named(spans(read(mx=MX)), "smtp receive").facts
    local = whole_seconds(MX)
    assert named(spans(read(mx=local)), "smtp receive").facts["mailtrace.raw_time"] == "Feb  3 10:00:00"


def test_addresses_are_shown_as_the_caller_wants() -> None:
    assert "@example.com" in repr(spans(read(mx=MX)))
    shown = [span.facts for span in spans(read(mx=MX), addresses="none")]
    assert not any("bob" in repr(facts) or "ann@" in repr(facts) for facts in shown)


# --------------------------------------------------------------------------------------------- always


@settings(max_examples=30)  # each is a whole report
@given(any_report(), st.sampled_from(["full", "domain", "hash", "none"]))
def test_any_mails_give_spans_that_any_back_end_takes(report: Any, addresses: str) -> None:
    found = list(spans_of(report.mails, report.clocks, addresses=addresses, sent={}, awaits=lambda _hop, _before: True))
    for span in found:
        assert 0 <= span.start < span.end < 1 << 63
        assert (len(span.trace_id), len(span.span_id), len(span.parent_id)) in ((16, 8, 8), (16, 8, 0))
    assert sum(request.spans for request in encode(found)) == len(found)


def test_a_mail_of_no_hops_and_no_refusal_has_no_span() -> None:
    assert spans(read(mx="")) == []


def off_by(seconds: float, text: str) -> str:
    """The same lines on a clock that is ahead, within the minute."""
    return "".join(
        f"{line[:17]}{float(line[17:26]) + seconds:09.6f}{line[26:]}" for line in text.splitlines(keepends=True)
    )


@pytest.mark.parametrize("wrong, right", [("box", "mx"), ("mx", "box")])
def test_a_clock_that_is_known_to_be_wrong_is_as_wrong_as_the_hand_off_shows(wrong: str, right: str) -> None:
    logs = {"mx": MX, "box": BOX}
    straight = spans(read(**logs))
    # Its error has grown by half a second since it was learnt.
    assembly = read(**{wrong: off_by(0.5, logs[wrong]), right: logs[right]})
    note = ClockNote(wrong, None, "stamp", 7.0, "hand-offs")
    found = list(spans_of(assembly.mails, [note]))
    handoff, reception = named(found, "smtp deliver"), named(found, "smtp receive", "box")
    assert handoff.start <= reception.start < reception.end <= handoff.end
    assert named(found, "smtp receive", right) == named(straight, "smtp receive", right)
    moved = [span for span in found if span.host == wrong]
    assert {span.settles for span in moved} == {
        span.settles for span in spans_of(assembly.mails, ()) if span.host == wrong
    }


def test_a_clock_that_nobody_found_wrong_is_left_alone() -> None:
    assembly = read(mx=MX, box=off_by(0.5, BOX))
    plain = list(spans_of(assembly.mails, ()))
    assert (
        named(plain, "smtp receive", "box").start
        == named(spans(read(mx=MX, box=BOX)), "smtp receive", "box").start + 500_000_000
    )
