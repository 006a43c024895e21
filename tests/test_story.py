"""What a mail's story is made of; how it is drawn is each exporter's test."""

from __future__ import annotations

from hypothesis import given
from kit import any_report, delivery, hop, link, mail, report, row

from mailtrace.model import Hop, Mail
from mailtrace.report import Report
from mailtrace.story import BRANCHES, Index, Story, notice, readdressed, refusal, said, slowness

GREY = "host box[10.0.0.9] said: 450 4.2.0 <a@b>: Greylisted (in reply to RCPT TO command)"


def story(made: Mail, *others: Mail, everything: bool = False) -> Story:
    return Story(made, Index(report(made, *others)), everything=everything)


def fork(users: int) -> tuple[Hop, list[Hop], Mail]:
    """One host passes a mail on in as many messages as it has recipients."""
    names = [f"user{i}@a.example" for i in range(users)]
    mx = hop("mx", "AAA", *(delivery(name, relay="box[10.0.0.9]:25", reply_id=f"B{i}") for i, name in enumerate(names)))
    boxes = [hop("box", f"B{i}", delivery(name, at=1), at=1) for i, name in enumerate(names)]
    rows = [row(name, "delivered", mx, box, seconds=1) for name, box in zip(names, boxes, strict=True)]
    return mx, boxes, mail([mx, *boxes], rows, [link(mx, box) for box in boxes])


def test_recipients_go_together_until_their_ways_part() -> None:
    _, _, made = fork(3)
    told = story(made)
    assert [len(group) for group in told.groups(made.recipients, 0)] == [3]
    assert [len(group) for group in told.groups(made.recipients, 1)] == [1, 1, 1]


def test_many_messages_that_differ_in_queue_ids_only_are_one_group_unless_everything_is_told() -> None:
    _, _, made = fork(5)
    (group,) = story(made).groups(made.recipients, 1)
    assert story(made).ways(group, 1) == 5
    assert len(story(made, everything=True).groups(made.recipients, 1)) == 5


def test_of_too_many_branches_those_that_failed_are_told_first() -> None:
    _, _, made = fork(BRANCHES + 5)
    bad = made.recipients[-1] = made.recipients[-1]._replace(outcome="bounced")
    told, left = story(made).told([[item] for item in made.recipients])
    assert [bad] in told
    assert (len(told), len(left)) == (BRANCHES, 5)


def test_a_recipient_s_attempts_are_its_own() -> None:
    mx, boxes, made = fork(3)
    told = story(made)
    assert [d.recipient for d in told.attempts(mx, boxes[1], made.recipients[1])] == ["user1@a.example"]
    assert told.after(made.recipients[1], 0) is boxes[1]
    assert told.after(made.recipients[1], 1) is None


def test_a_failure_is_told_by_who_refused_and_why() -> None:
    one = delivery("a@b", "deferred", "box[10.0.0.9]:25", reply=GREY)
    assert refusal(one) == ("greylisted by box [10.0.0.9]", "450 4.2.0 <a@b>: Greylisted")
    assert said("connection timed out", one) == ("box [10.0.0.9]", "connection timed out")
    assert refusal(delivery("a@b", "deferred", reply="disk full")) == ("deferred", "disk full")


def test_where_a_slow_delivery_waited_is_told() -> None:
    one = delivery("a@b", relay="box[10.0.0.9]:25", delays=(0.1, 30.0, 1.0, 0.2))
    assert slowness(one) == "waited 30 s in the active queue, 1 s connecting to box"
    assert slowness(delivery("a@b")) == ""


def test_a_bounce_is_told_at_both_ends() -> None:
    mx = hop("mx", "AAA", delivery("a@b", "bounced", reply="no such user"))
    back = hop("mx", "BBB", delivery("walter@world.example", relay="out[1.2.3.4]:25"), at=1)
    first = mail([mx], [row("a@b", "bounced", mx)], [link(mx, back, "bounced")])
    second = mail([back], [row("walter@world.example", "relayed", back)], [])
    told = story(first, second)
    (caused,) = told.notices(mx, None, first.recipients[0])
    assert told.caused(caused) == ("bounce to walter@world.example", 2)
    assert told.index.cause(second) == "bounce of mail 1"
    assert told.index.cause(first) == ""
    assert notice(caused) == "bounce"


def test_a_hop_is_named_also_where_it_is_another_mail_s() -> None:
    _, boxes, made = fork(1)
    other = mail([hop("mx9", "ZZZ")], [])
    told = story(made, other)
    assert told.named(boxes[0].id) == ("box", "B0", "")
    assert told.named("mx9:postfix:ZZZ") == ("mx9", "ZZZ", " of mail 2")
    assert told.named("gone:postfix:YYY") == ("gone", "YYY", "")


def test_an_address_that_an_alias_changed_is_seen() -> None:
    mx = hop("mx", "AAA")
    assert readdressed([row("a@b", "delivered", mx, original_recipient="all@b")])
    assert not readdressed([row("a", "delivered", mx, original_recipient="A@b")])


@given(any_report())
def test_every_recipient_of_any_mail_has_an_ending_in_plain_text(made: Report) -> None:
    index = Index(made)
    for one in made.mails:
        told = Story(one, index)
        for item in one.recipients:
            assert told.ending([item])[1].isprintable()
