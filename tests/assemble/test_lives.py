"""Lives: the same mails as from their lines, whatever else is in the logs, and only those stay unread that stand alone."""

# ruff: noqa: E501 - log lines are as long as they are

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from itertools import chain

import pytest
import truth
from stories import NOW

from mailtrace.assemble import assemble
from mailtrace.assemble.lives import in_touch, life_id
from mailtrace.assemble.stays import collect
from mailtrace.clocks import Clocks
from mailtrace.graph import MailGraph
from mailtrace.load import load_job
from mailtrace.model import Life, LogEntry, LogQuery
from mailtrace.parsers.lines import LineParser
from mailtrace.report import Report
from mailtrace.run import sources

MAIL = """\
2026-03-09T04:27:02.100000+01:00 mx1 postfix/smtpd[11]: {id}: client=client.example.net[192.0.2.7]
2026-03-09T04:27:02.200000+01:00 mx1 postfix/cleanup[12]: {id}: message-id=<{mid}>
2026-03-09T04:27:02.300000+01:00 mx1 postfix/qmgr[13]: {id}: from=<a@example.net>, size=900, nrcpt=1 (queue active)
2026-03-09T04:27:03.500000+01:00 mx1 postfix/lmtp[14]: {id}: to=<b@example.com>, orig_to=<all@example.com>, relay={relay}, delay=1.4, delays=0.2/0/0/1.2, dsn=2.0.0, status=sent ({reply})
2026-03-09T04:27:03.600000+01:00 mx1 postfix/qmgr[13]: {id}: removed
"""
OWN, OTHER = "4fXkSW2mqJz9sRK", "4fXkSW9mqJz9sRK"
KEPT = {"id": OWN, "mid": "1@example.net", "relay": "local", "reply": "delivered to mailbox"}
SENT = KEPT | {"relay": "mx2.example.com[192.0.2.9]:25", "reply": f"250 2.0.0 Ok: queued as {OTHER}"}
STAMP = "2026-03-09T04:27:0{}.000000+01:00 {} postfix/"


def lines(text: str, host: str = "mx1", *, whole: bool = True) -> list[LogEntry | Life]:
    if not whole:
        return [*LineParser().parse(text.encode(), 0, host)]
    reader = LineParser().lives(relayed=True)
    reader.parse(f"{STAMP.format(0, host)}master[10]: reload -- version 3.7.11\n".encode(), 0, host)
    return [*reader.parse(text.encode(), 0, host), *reader.rest()]


def touched(*logs: tuple[str, str]) -> list[str]:
    """The queue IDs of the lives of some hosts' lines that may concern another message."""
    entries = chain.from_iterable(lines(text, host) for text, host in logs)
    stays, loose, lives = collect(entries, Clocks(lambda _host: "", near=NOW))
    return in_touch(lives, stays, loose)


NOTHING = STAMP.format(5, "mx1") + "smtpd[77]: "


@pytest.mark.parametrize(
    "mail, other",
    [
        pytest.param(KEPT, NOTHING + f"{OTHER}: client=unknown[203.0.113.5]", id="another message"),
        pytest.param(KEPT, NOTHING + "NOQUEUE: reject: RCPT from unknown[203.0.113.5]: 554 5.7.1 <b@example.com>: no; from=<x@example.org> to=<b@example.com> proto=ESMTP helo=<x>", id="its recipient refused to others"),
        pytest.param(SENT, NOTHING + "NOQUEUE: reject: RCPT from unknown[203.0.113.5]: 554 5.7.1 <q@example.com>: no; from=<x@example.org> to=<q@example.com> proto=ESMTP helo=<x>", id="another recipient refused"),
    ],
)  # fmt: skip
def test_a_message_that_nothing_else_tells_of_stays_unread(mail: dict[str, str], other: str) -> None:
    assert touched((MAIL.format(**mail), "mx1"), (other, "mx1")) == []


@pytest.mark.parametrize(
    "mail, other, host",
    [
        pytest.param(KEPT, MAIL.format(**SENT | {"id": OTHER, "mid": "2@example.net", "reply": f"250 Ok: queued as {OWN}"}), "mx0", id="a reply names it"),
        pytest.param(SENT, MAIL.format(**KEPT | {"id": OTHER, "mid": "2@example.net"}), "mx2", id="its reply names another"),
        pytest.param(SENT, STAMP.format(5, "mx2") + f"smtpd[77]: {OTHER}: client=mx1[192.0.2.7]", "mx2", id="its reply names one that is open"),
        pytest.param(KEPT, MAIL.format(**KEPT | {"id": OTHER, "mid": "1@EXAMPLE.net"}), "mx2", id="its Message-ID comes again"),
        pytest.param(KEPT, STAMP.format(5, "mx2") + f"cleanup[77]: {OTHER}: message-id=<1@exam", "mx2", id="its Message-ID comes again and was cut"),
        pytest.param(KEPT, STAMP.format(5, "mx1") + f"bounce[77]: {OTHER}: sender non-delivery notification: {OWN}", "mx1", id="a notification"),
        pytest.param(KEPT, NOTHING + f"{OTHER}: client=localhost[127.0.0.1], orig_queue_id={OWN}, orig_client=x[192.0.2.7]", "mx1", id="a filter's other side"),
        pytest.param(KEPT, NOTHING + f"proxy-accept: END-OF-MESSAGE: 250 2.0.0 Ok: queued as {OWN}; from=<a@example.net> to=<b@example.com> proto=ESMTP helo=<x>", "mx1", id="a filter before the queue"),
        pytest.param(KEPT, NOTHING + "NOQUEUE: reject: RCPT from client.example.net[192.0.2.7]: 450 4.7.1 <z@example.com>: later; from=<a@example.net> to=<z@example.com> proto=ESMTP helo=<x>", "mx1", id="its client was refused"),
        pytest.param(SENT, NOTHING + "NOQUEUE: reject: RCPT from unknown[203.0.113.5]: 554 5.7.1 <b@example.com>: no; from=<a@example.net> to=<b@example.com> proto=ESMTP helo=<x>", "mx1", id="handed on and refused there"),
        pytest.param(KEPT, STAMP.format(1, "mx0") + f"smtp[77]: {OTHER}: to=<B@example.com>, relay=mx1[192.0.2.1]:25, delay=1, delays=1/0/0/0, dsn=2.0.0, status=sent (250 ok)", "mx0", id="a delivery without a Message-ID"),
    ],
)  # fmt: skip
def test_a_message_that_another_line_may_concern_is_looked_at(mail: dict[str, str], other: str, host: str) -> None:
    assert OWN in touched((MAIL.format(**mail), "mx1"), (other, host))


def test_lines_of_another_file_make_a_life_what_they_tell() -> None:
    """A loghost's copy of the same lines, a line that only the other file has, and the same ID a little later."""
    copy = lines(MAIL.format(**KEPT))
    late = lines(
        STAMP.format(9, "mx1")
        + f"smtp[14]: {OWN}: to=<c@example.com>, relay=none, delay=9, delays=1/2/3/3, dsn=4.4.1, status=deferred (x)"
    )
    for more in (copy, late, [*copy, *copy, *late], lines(MAIL.format(**KEPT).replace("04:27", "04:28"))):
        entries = [*lines(MAIL.format(**KEPT)), *more]
        same(entries, [line for entry in entries for line in (entry.entries() if isinstance(entry, Life) else [entry])])


def test_a_lifes_name_is_its_hops() -> None:
    (life,) = lines(MAIL.format(**KEPT))
    assert isinstance(life, Life)
    (mail,) = assemble([life], machine="UTC", near=NOW).mails
    assert mail.id == mail.hops[0].id == life_id(life)


# ------------------------------------------------------------------------------------------ real fleets


@cache
def real(name: str, *, whole: bool) -> Sequence[LogEntry | Life]:
    (source,) = sources(load_job({"version": 1, "kind": "trace", "config": truth.fleet(name)}))
    found = list(source.query(LogQuery(lives=whole)))
    source.close()
    return found


def told(mails: Sequence[object]) -> object:
    return Report("", "trace", mails=mails).to_dict()["mails"]  # type: ignore[arg-type]


def same(entries: Sequence[LogEntry | Life], plain: Sequence[LogEntry | Life]) -> None:
    one = assemble(entries, machine="UTC", near=NOW, hold=False)
    other = assemble(plain, machine="UTC", near=NOW)
    assert told(one.mails) == told(other.mails)
    assert one.clocks == other.clocks
    assert str(MailGraph.of(Report("", "graph", mails=one.mails))) == str(
        MailGraph.of(Report("", "graph", mails=other.mails))
    )


@pytest.mark.parametrize("name", ["fleet", "rough"])
def test_a_fleet_read_so_tells_the_same(name: str) -> None:
    entries = real(name, whole=True)
    assert sum(isinstance(entry, Life) for entry in entries) > 20
    same(entries, real(name, whole=False))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", ["fleet", "rough"])
def test_parts_of_a_fleet_read_so_tell_the_same(name: str, seed: int) -> None:
    """Some hosts only, and some lines lost: more messages stand alone, and others have lost what told of them."""
    chance = random.Random(seed)
    entries = real(name, whole=True)
    hosts = sorted({entry.host for entry in entries})
    some = set(chance.sample(hosts, chance.randint(1, 4)))
    kept = [
        entry
        for entry in entries
        if entry.host in some and (isinstance(entry, Life) or chance.random() > 0.1 * (seed % 3))
    ]
    chance.shuffle(kept)
    same(kept, [line for entry in kept for line in (entry.entries() if isinstance(entry, Life) else [entry])])
