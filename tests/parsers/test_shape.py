"""The shape of a log's lines: what is learnt from one of them is true of the others, and of no more than those."""

from __future__ import annotations

import pytest

from mailtrace.model import LogEntry
from mailtrace.parsers.lines import LineParser

QUEUED = "670FCA58C8: removed"
FORMS = [
    "Mar  9 04:27:{:02} mx1 postfix/qmgr[7]: " + QUEUED,
    "Mar  9 04:27:{:02} mx1 mail.info postfix/qmgr[7]: " + QUEUED,
    "Mar  9 04:27:{:02} postfix/qmgr[7]: " + QUEUED,
    "2023-03-14T00:00:{:02}.185246+01:00 mx1 postfix/qmgr[7]: " + QUEUED,
    "2023-03-14T00:00:{:02}.185Z mx1 postfix/qmgr[7]: " + QUEUED,
    "2023-03-14T00:00:{:02}+01:00 mx1 postfix/qmgr[7]: " + QUEUED,
    "2023-03-14 00:00:{:02} 1pbsHm-0006A7-Ub Completed",
    "2023-03-14 00:00:{:02}.123 +0100 [17] 1pbsHm-0006A7-Ub Completed",
]


def read(parser: LineParser, *lines: str) -> list[LogEntry]:
    """The entries of a block of lines."""
    return list(parser.parse("".join(f"{line}\n" for line in lines).encode(), 0, lambda name: name or "-"))


@pytest.mark.parametrize("form", FORMS)
def test_the_next_line_of_a_form_is_taken_apart_at_once(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parser = LineParser()
    first = read(parser, form.format(1))
    expected = read(LineParser(), form.format(2))
    monkeypatch.setattr(parser, "_slow", lambda *_: pytest.fail("read as a whole"))
    assert read(parser, form.format(2)) == expected
    assert expected[0].time - first[0].time == pytest.approx(1)


@pytest.mark.parametrize("form", FORMS)
def test_a_second_that_no_clock_shows_is_not_made_up(form: str) -> None:
    parser = LineParser()
    assert len(read(parser, form.format(1), form.format(2))) == 2
    assert read(parser, form.format(75)) == read(LineParser(), form.format(75))


def test_lines_of_several_forms_in_one_log_are_all_read() -> None:
    lines = [form.format(second) for second in range(20) for form in FORMS]
    alone = [entry for line in lines for entry in read(LineParser(), line)]
    together = read(LineParser(), *lines)
    assert [entry._replace(seq=0) for entry in together] == alone
    assert [entry.seq for entry in together] == list(range(len(lines)))


def test_more_forms_than_any_log_has_are_still_read() -> None:
    lines = [f"2023-03-14T00:00:01.5{hour:+03}:{minute:02} mx1 postfix/qmgr[7]: {QUEUED}"
             for hour in range(-12, 15) for minute in (0, 30)]  # fmt: skip
    assert len(read(LineParser(), *lines, *lines)) == 2 * len(lines)


def test_what_stands_in_a_text_is_not_taken_for_a_tag() -> None:
    parser = LineParser()
    read(parser, FORMS[0].format(1))
    lines = ["Mar  9 04:27:02 mx1 x: postfix/qmgr[7]: " + QUEUED, "Mar  9 04:27:02 mx1 postfix/qmgr: x[7]: " + QUEUED]
    for line in lines:
        assert read(parser, line) == read(LineParser(), line)


def test_a_host_that_was_turned_away_is_exims_whatever_it_calls_itself() -> None:
    line = "2023-03-14 00:00:01 H=x ({}) [192.0.2.7] F=<a@b.example> rejected RCPT <c@d.example>: no"
    for name in ("y", "a-name-of-thirty-characters-xx"):
        (entry,) = read(LineParser(), line.format(name))
        assert entry.event[0] == "reject"
