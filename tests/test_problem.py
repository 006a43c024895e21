from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtrace.problem import EXCERPT_COLUMNS, Problem, did_you_mean


def test_a_problem_is_printed_with_its_line_and_a_caret_below_its_column() -> None:
    problem = Problem('"knid" is not a key here', "job.yaml", 2, 3, "knid", "  knid: trace", 'did you mean "kind"?')
    assert str(problem).splitlines() == [
        'job.yaml:2:3: "knid" is not a key here; did you mean "kind"?',
        "      knid: trace",
        "      ^",
    ]


def test_a_value_of_a_dict_is_named_by_its_path() -> None:
    assert str(Problem("must be a list", path="source[0].ssh.hosts")) == "source[0].ssh.hosts: must be a list"


def test_a_problem_without_a_place_is_its_message() -> None:
    assert str(Problem("there is no config")) == "there is no config"


def test_a_caret_stays_below_its_column_in_a_long_line() -> None:
    line = "a" * 500 + "X" + "b" * 500
    _, excerpt, caret = str(Problem("no", "f", 1, 501, excerpt=line)).splitlines()
    assert excerpt[len(caret) - 1] == "X"
    assert len(excerpt) <= EXCERPT_COLUMNS + 4


@given(st.text(max_size=300), st.integers(1, 400))
def test_an_excerpt_is_one_printable_line(line: str, col: int) -> None:
    shown = str(Problem("no", "f", 1, col, excerpt=line)).split("\n")
    assert len(shown) in {1, 3}
    assert all(text.isprintable() for text in shown)


@pytest.mark.parametrize(
    "word, known, hint",
    [
        ("keyword", ["keywords", "time"], 'did you mean "keywords"?'),
        ("KIND", ["kind"], 'did you mean "kind"?'),
        ("xyz", ["keywords"], ""),
        ("anything", [], ""),
    ],
)
def test_the_nearest_word_is_proposed_and_only_a_near_one(word: str, known: list[str], hint: str) -> None:
    assert did_you_mean(word, known) == hint
