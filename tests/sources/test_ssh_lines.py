"""Which literals grep is told, and how lines are cut from blocks."""

from __future__ import annotations

from mailtrace.model import LogQuery
from mailtrace.sources.ssh_lines import LITERALS, filters, literal_sets, split


def test_lines_are_cut_from_blocks_and_a_long_one_is_cut_short() -> None:
    assert list(split([b"a\nb", b"c\n", b"\nd"])) == [b"a", b"bc", b"", b"d"]
    long = [b"x" * (1 << 19)] * 4 + [b"y\nz\n"]
    assert [line[:1] for line in split(long)] == [b"x", b"z"]


def test_the_cheapest_set_comes_first_and_what_no_line_can_hold_ends_the_search() -> None:
    query = LogQuery(all_of=("a",), any_of=("x", "y", "z"))
    assert literal_sets(query, in_json=False) == (("a",), ("x", "y", "z"))
    assert literal_sets(LogQuery(all_of=("a\nb",)), in_json=False) is None
    assert literal_sets(LogQuery(any_of=("a\nb", "c")), in_json=False) == (("c",),)


def test_more_literals_than_one_grep_takes_are_divided() -> None:
    many = tuple(f"{n:050}" for n in range(LITERALS // 25))
    made = list(filters((many,), numbered=False))
    assert len(made) > 1
    assert [literal for one in made for literal in one.sets[0]] == list(many)
