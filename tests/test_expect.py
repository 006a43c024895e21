from __future__ import annotations

import pytest
from kit import delivery, hop, link
from kit import mail as a_mail
from kit import report as a_report

from mailtrace.expect import NAMES, OUTCOMES, Expect, Value, compare, judge, may_grow, wanted, wants_tls
from mailtrace.load import schema
from mailtrace.model import Certainty, Mail, Recipient, Step
from mailtrace.report import Report


def row(
    outcome: str,
    seconds: float | None = 1.0,
    path: str = "mx1 filter mail1",
    attempts: int = 1,
    certainty: Certainty = Certainty.PROVEN,
    name: str = "bob@example.com",
) -> Recipient:
    steps = tuple(Step(host, "ID") for host in path.split())
    return Recipient(name, name, outcome, steps, seconds, "full" if outcome == "bounced" else "", attempts, certainty)


def report(*rows: Recipient) -> Report:
    """A report with one mail to these recipients, or with none at all."""
    mails = [Mail("1", "m@x", "a@b", 1, None, [], [], list(rows))] if rows else []
    return Report("", "trace", mails=mails)


def held(found: Report, name: str, value: Value) -> bool:
    return judge(found, [Expect(name, value)])[0].held


@pytest.mark.parametrize(
    "outcomes, value, result",
    [
        ("delivered delivered", "all", True),
        ("delivered relayed", "all", True),
        ("delivered bounced", "all", False),
        ("", "all", False),
        ("delivered bounced", "any", True),
        ("bounced", "any", False),
        ("bounced", "none", True),
        ("delivered bounced", "none", False),
        ("delivered delivered", 2, True),
        ("delivered bounced", ">= 2", False),
        ("delivered bounced", "< 2", True),
    ],
)
def test_delivered_is_all_any_none_or_a_number_of_the_recipients(outcomes: str, value: Value, result: bool) -> None:
    assert held(report(*map(row, outcomes.split())), "delivered", value) is result


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_can_be_expected_not_to_be(outcome: str) -> None:
    assert not held(report(row(outcome)), outcome, "none")
    other = "bounced" if outcome != "bounced" else "held"
    assert held(report(row(other)), outcome, "none")


@pytest.mark.parametrize(
    "rows, result",
    [
        ([row("delivered", 60), row("bounced", 5)], True),
        ([row("delivered", 60.5)], False),
        ([row("delivered", None)], False),
        ([row("deferred", 5)], False),
        ([row("in_transit", 5)], False),
        ([], False),
    ],
)
def test_within_is_about_the_proven_end_of_every_recipient(rows: list[Recipient], result: bool) -> None:
    assert held(report(*rows), "within", 60.0) is result


@pytest.mark.parametrize(
    "name, value, result",
    [
        ("found", True, True),
        ("found", False, False),
        ("count", 1, True),
        ("count", "> 1", False),
        ("recipients", 2, True),
        ("outcome", ("delivered", "relayed"), True),
        ("outcome", ("delivered",), False),
        ("not_found", False, True),
        ("not_found", True, False),
        ("via", (("mx1",), ("filter",)), True),
        ("via", (("mx2", "mx1"),), True),
        ("via", (("mx2",),), False),
        ("via", (("mx1",), ("mx2",)), False),
        ("not_via", (("mx2", "mx3"),), True),
        ("not_via", (("mx2", "filter"),), False),
        ("max_attempts", 2, True),
        ("max_attempts", 1, False),
        ("hops", "<= 3", True),
        ("hops", 2, False),
        ("attempts", "< 3", True),
        ("attempts", 1, False),
        ("certainty", "likely", True),
        ("certainty", "proven", False),
    ],
)
def test_every_recipient_is_held_to_the_expectation(name: str, value: Value, result: bool) -> None:
    rows = row("delivered"), row("relayed", attempts=2, certainty=Certainty.LIKELY)
    assert held(report(*rows), name, value) is result


def test_nothing_found_can_be_what_is_expected() -> None:
    assert held(report(), "found", value=False)
    assert held(report(), "not_found", value=True)
    assert held(report(), "count", 0)
    assert held(report(), "bounced", "none")


def test_the_detail_names_who_broke_the_expectation_and_counts_the_rest() -> None:
    rows = [row("bounced", name=f"u{number}@x") for number in range(9)]
    detail = judge(report(*rows), [Expect("delivered", "all", "delivered: all")])[0]
    assert detail.text == "delivered: all"
    assert detail.detail == "0 of 9: u0@x bounced (full); u1@x bounced (full); u2@x bounced (full); and 6 more"


def test_an_outcome_can_be_expected_of_one_address_by_either_of_its_names() -> None:
    rows = [row("bounced", name="gone@x"), row("delivered", name="bob@x")]
    assert held(report(*rows), "delivered", "BOB@x")
    assert held(report(*rows), "bounced", "<gone@x>")
    assert not held(report(*rows), "delivered", "gone@x")
    assert not held(report(*rows), "delivered", "nobody@x")
    alias = row("delivered", name="bob@x")._replace(original_recipient="sales@x")
    assert held(report(alias), "delivered", "sales@x")


@pytest.mark.parametrize("value, result", [(True, True), (False, False), (1, True), (2, False)])
def test_true_is_any_and_not_the_number_one(value: Value, result: bool) -> None:
    assert held(report(row("bounced"), row("delivered", name="c@x")), "bounced", value) is result


def test_a_mail_that_is_not_there_yet_may_come_but_none_goes_away() -> None:
    one = report(row("delivered")).mails
    assert may_grow([Expect("count", ">= 2")], one)
    assert may_grow([Expect("recipients", 3)], one)
    assert not may_grow([Expect("count", 1), Expect("found", value=True)], one)
    assert not may_grow([Expect("count", 0), Expect("not_found", value=True)], one)


# ------------------------------------------------------------------------------------ TLS


def over_a_network(entry: str, handed: str, stored: str) -> Report:
    """client → mx1 → filter on the same host → mail1 → world; what each side's log says of TLS."""
    mx1 = hop("mx1", "A1", delivery("bob@x", relay="127.0.0.1[127.0.0.1]:10025", reply_id="A2"),
              client="c[192.0.2.1]", tls=entry)  # fmt: skip
    back = hop("mx1", "A2", delivery("bob@x", relay="mail1[10.0.0.2]:25", reply_id="B1", tls=handed),
               client="localhost[127.0.0.1]")  # fmt: skip
    mail1 = hop("mail1", "B1", delivery("bob@x", relay="local"), client="mx1[10.0.0.1]", tls=stored)
    links = [link(mx1, back, to=("bob@x",)), link(back, mail1, to=("bob@x",))]
    return a_report(a_mail([mx1, back, mail1], [row("delivered")], links))


@pytest.mark.parametrize(
    "entry, handed, stored, result",
    [
        ("TLSv1.3", "TLSv1.3", "", True),
        ("TLSv1.3", "", "TLSv1.3", True),
        ("", "TLSv1.3", "TLSv1.3", False),
        ("TLSv1.3", "", "", False),
    ],
)
def test_tls_is_wanted_of_every_step_over_a_network_from_either_log(
    entry: str, handed: str, stored: str, result: bool
) -> None:
    assert held(over_a_network(entry, handed, stored), "tls", value=True) is result


def test_a_step_of_which_no_line_tells_is_not_called_one_without_tls() -> None:
    (came,) = judge(over_a_network("", "TLSv1.3", ""), [Expect("tls", value=True)])
    assert came.detail is not None
    assert came.detail.startswith("c to mx1 (A1): no line tells whether over TLS (with smtp_tls_loglevel = 1, ")


def test_a_step_without_tls_is_named() -> None:
    report = over_a_network("", "TLSv1.3", "")
    report.mails[0].hops[0].plain = True
    (came,) = judge(report, [Expect("tls", value=True)])
    assert came.detail == "c to mx1 (A1): no TLS"


def test_what_one_side_shows_is_not_in_doubt() -> None:
    report = over_a_network("TLSv1.3", "", "")
    report.mails[0].hops[2].plain = True
    (came,) = judge(report, [Expect("tls", value=True)])
    assert came.detail == "mx1 to mail1 (B1): no TLS"


@pytest.mark.parametrize("expect", [Expect("tls", value=True), Expect("every", "TLS*", path="mails.hops.tls")])
def test_what_tells_of_tls_is_read_where_it_is_asked_for(expect: Expect) -> None:
    assert wants_tls([Expect("found", value=True), expect])
    assert not wants_tls([Expect("every", "mx1", path="mails.hops.host")])


# ------------------------------------------------------------------------------------ free comparisons


@pytest.mark.parametrize(
    "value, seen, result",
    [
        ("< 5", 4.5, True),
        ("< 5", 5, False),
        (5, 5.0, True),
        ("10.*", "10.0.0.7", True),
        ("10.*", "192.0.2.1", False),
        ("*QUOTA*", "552 over quota", True),
        ("[ab]", "a", False),
        ("[ab]*", "[ab]x", True),
        (None, None, True),
        (None, "", False),
        ("", None, False),
        (True, True, True),
        (True, 1, False),
        (("a", None), None, True),
        (("a", "b"), "c", False),
        ("x", 1, False),
    ],
)
def test_a_value_is_compared_as_what_it_is(value: Value, seen: object, result: bool) -> None:
    assert wanted(value, seen) is result


@pytest.mark.parametrize(
    "name, path, value, result",
    [
        ("every", "mails.hops.host", ("mx1", "mail1"), True),
        ("every", "mails.hops.host", "mx1", False),
        ("some", "mails.hops.client.ip", "192.0.2.*", True),
        ("some", "mails.hops.client.ip", "198.51.100.*", False),
        ("none", "mails.recipients.outcome", "bounced", True),
        ("none", "mails.hops.deliveries.relay.port", 25, False),
        ("every", "mails.links.certainty", "proven", True),
        ("every", "partial", False, True),
        ("every", "window.start", None, True),
        ("some", "warnings.code", "max-hops", False),
        ("every", "warnings.code", "max-hops", False),
        ("none", "warnings.code", "max-hops", True),
    ],
)
def test_any_value_of_the_report_can_be_compared(name: str, path: str, value: Value, result: bool) -> None:
    assert judge(over_a_network("", "", ""), [Expect(name, value, path=path)])[0].held is result


def test_a_free_comparison_says_what_was_seen() -> None:
    (came,) = judge(over_a_network("", "", ""), [Expect("every", "mx1", path="mails.hops.host")])
    assert came.detail == "2 of 3: mail1 in mx1:postfix:A1"


@pytest.mark.parametrize("text", ["", "x", ">", "> x", "1.5", "-1", "1..5", "=> 3", "9" * 20])
def test_what_is_no_comparison_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a number"):
        compare(text, 1)


def test_the_schema_knows_every_expectation_and_no_other() -> None:
    assert set(schema("job")["$defs"]["expect"]["properties"]) == set(NAMES)
