"""Finding literals in raw bytes: every search finds the same lines, with hyperscan and without."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtrace.model import LogQuery
from mailtrace.sources.search import FindSearch, HyperscanSearch, Literals, WordSearch, rarest_ends, search_for

SEARCHES = (HyperscanSearch, FindSearch, WordSearch)
letters = st.text("aB1 @<.-é\n", max_size=60)
needles = st.lists(st.text("aAbB1@.-é", min_size=1, max_size=6), min_size=1, max_size=6)


def lines(query: LogQuery, text: str | bytes, *, in_json: bool = False) -> list[bytes]:
    data = text if isinstance(text, bytes) else text.encode()
    return [data[a:b] for a, b in Literals(query, in_json=in_json).lines(data, 0, len(data))]


@pytest.mark.parametrize("kind", SEARCHES)
@given(text=letters, wanted=needles)
def test_every_search_finds_what_a_plain_look_finds(kind: type, text: str, wanted: list[str]) -> None:
    low = text.encode().lower()
    bare = sorted({needle.encode().lower() for needle in wanted})
    expected = {at + len(needle) for needle in bare for at in range(len(low)) if low[at : at + len(needle)] == needle}
    assert set(kind(bare).ends(text.encode(), 0, len(text.encode()))) == expected


@given(text=letters, all_of=st.lists(st.text("aAb1é", min_size=1, max_size=3), max_size=3), any_of=needles)
def test_lines_hold_all_of_these_and_any_of_those(text: str, all_of: list[str], any_of: list[str]) -> None:
    def low(one: str) -> bytes:
        return one.encode().lower()

    expected = [
        line
        for line in text.encode().splitlines(keepends=True)
        if all(low(one) in line.lower() for one in all_of) and any(low(one) in line.lower() for one in any_of)
    ]
    assert lines(LogQuery(all_of=tuple(all_of), any_of=tuple(any_of)), text) == expected


def test_letters_match_in_any_case_but_only_ascii_ones() -> None:
    text = "to=<Jürgen@Example.COM>\nto=<JÜRGEN@example.com>\n"
    assert lines(LogQuery(all_of=("jürgen@example.com",)), text) == ["to=<Jürgen@Example.COM>\n".encode()]


def test_an_empty_literal_is_on_every_line() -> None:
    assert not Literals(LogQuery(all_of=("",), any_of=("", "zzz")))


def test_a_literal_with_a_newline_is_on_no_line() -> None:
    assert lines(LogQuery(any_of=("a\nb",)), "a\nb\n") == []
    assert lines(LogQuery(any_of=("a\nb", "c")), "a\nb\nc\n") == [b"c\n"]


def test_metacharacters_are_letters() -> None:
    assert lines(LogQuery(any_of=(".*", "'; rm -rf /")), "abc\n.*\n'; RM -rf /\n") == [b".*\n", b"'; RM -rf /\n"]


def test_a_part_of_the_data_is_searched_as_if_it_were_all() -> None:
    data = b"xx needle\nneedle one\nno\nneedle two"
    found = Literals(LogQuery(any_of=("needle",))).lines(data, 10, 24)
    assert [data[a:b] for a, b in found] == [b"needle one\n"]


def test_words_that_are_parts_of_longer_words_are_found_without_hyperscan() -> None:
    many = [b"4dhkgx48ltzx4yt", b"abcdef", b"x@y", *(b"none%d" % n for n in range(100))]
    data = b"a 4dhkgX48ltzX4yTz: q\nqqabcdefqq\nX@Y\n"
    assert WordSearch(many).ends(data, 0, len(data)) == [17, 30, 36]


def test_without_hyperscan_the_answer_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    query = LogQuery(all_of=("status",), any_of=tuple(f"id{n:03}" for n in range(50)))
    text = "".join(f"ID{n:03}: Status=sent\nid{n:03}: removed\n" for n in range(0, 100, 7))
    with_it = lines(query, text)
    monkeypatch.setitem(sys.modules, "hyperscan", None)
    assert isinstance(search_for([b"a"]), FindSearch)
    assert isinstance(search_for([b"%d" % n for n in range(9)]), WordSearch)
    assert lines(query, text) == with_it
    assert len(with_it) == 8


@pytest.mark.parametrize("ascii_only", [True, False])
def test_json_lines_are_found_however_they_are_escaped(ascii_only: bool) -> None:
    message = 'from=<jürgen@example.com>, C="250 a/b"'
    text = json.dumps({"log": message}, ensure_ascii=ascii_only) + "\n"
    docker = text.replace("<", "\\u003c").replace(">", "\\u003e")
    for literal in ("<jürgen@example.com>", 'c="250 A/B"'):
        assert lines(LogQuery(any_of=(literal,)), text + docker, in_json=True) == [text.encode(), docker.encode()]


def test_a_journals_message_that_is_an_array_of_bytes_is_found() -> None:
    text = json.dumps({"MESSAGE": list(b"A1B2C3: to=<\xff@example.com>")}) + "\n"
    other = json.dumps({"MESSAGE": list(b"nothing of the kind")}) + "\n"
    assert lines(LogQuery(any_of=("a1b2c3",)), text + other, in_json=True) == [text.encode()]
    assert lines(LogQuery(all_of=("a1b2c3", "example")), text + other, in_json=True) == [text.encode()]


def test_the_rarest_literal_is_searched_for() -> None:
    literals = Literals(LogQuery(all_of=("common", "rare")))
    search = literals.prepare(b"common common common\n")
    assert search.ends(b"rare", 0, 4) == [4]
    assert search.ends(b"common", 0, 6) == []


# ------------------------------------------------------------------------------- many alike literals


@given(
    text=st.text("aB1 @x\n", max_size=200),
    wanted=st.lists(st.text("aB1@x", min_size=9, max_size=14), min_size=2, max_size=8),
)
def test_literals_that_are_cut_are_found_whole(text: str, wanted: list[str]) -> None:
    data = (text + " ".join(wanted[::2]) + text[::-1]).encode()
    low = data.lower()
    bare = sorted({needle.encode().lower() for needle in wanted})
    expected = sorted(
        at + len(needle) for needle in bare for at in range(len(low)) if low[at : at + len(needle)] == needle
    )
    assert HyperscanSearch(bare).ends(data, 0, len(data)) == expected
    # what ends behind the piece that is looked at is not in it
    assert all(end <= len(data) - 3 for end in HyperscanSearch(bare).ends(data, 0, len(data) - 3))


def test_literals_of_one_domain_are_told_apart_by_what_differs() -> None:
    needles = [f"user{number}@example.com".encode() for number in range(1000, 2000)]
    parts = {needle[:cut][-8:] for needle, cut in zip(needles, rarest_ends(needles), strict=True)}
    assert len(parts) == 1000
    assert rarest_ends([b"short", b"@example.com"]) == [5, 12]
