from __future__ import annotations

import math
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtrace.load.tree import DEEPEST, Node, from_python, from_yaml, scalar, to_yaml
from mailtrace.secret import Secret


def read(text: str) -> tuple[Any, list[str]]:
    """The value of a YAML text, and its problems as `line:col: message`."""
    tree, problems, _ = from_yaml(text.encode(), "f")
    return tree and tree.plain(), [f"{p.line}:{p.col}: {p.message}" for p in problems]


@pytest.mark.parametrize(
    "text, value",
    [
        ("true", True),
        ("false", False),
        ("null", None),
        ("", None),
        ("5", 5),
        ("-0.5e3", -500.0),
        ("yes", "yes"),
        ("no", "no"),
        ("~", "~"),
        ("True", "True"),
        ("22:30", "22:30"),
        ("2026-02-15", "2026-02-15"),
        ("0123", "0123"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        (".5", ".5"),
        ("+5", "+5"),
        (".inf", ".inf"),
        ("1e999", "1e999"),
        ("9" * 5000, "9" * 5000),
        ("\u0661", "\u0661"),
    ],
)
def test_a_scalar_is_json_or_text(text: str, value: object) -> None:
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)


def test_quoted_scalars_are_text() -> None:
    assert read("a: \"5\"\nb: 'true'\nc: !!str 7\nd: ! 8\ne: |\n  9\n") == (
        {"a": "5", "b": "true", "c": "7", "d": "8", "e": "9\n"},
        [],
    )


def test_keys_are_text_as_written() -> None:
    assert read("1: a\ntrue: b\n0x10: c\n'': d\n")[0] == {"1": "a", "true": "b", "0x10": "c", "": "d"}


def test_a_duplicate_key_is_refused_where_it_stands() -> None:
    assert read("a: 1\nb: {c: 1, c: 2}\na: 3\n")[1] == [
        '2:11: the key "c" is here twice; the first is in line 2',
        '3:1: the key "a" is here twice; the first is in line 1',
    ]


def test_anchors_aliases_and_merge_keys_work() -> None:
    text = "base: &b {x: 1, y: [1, 2]}\none: *b\ntwo: {<<: *b, x: 5}\nthree: {<<: [{x: 7}, *b], z: 0}\n"
    assert read(text) == (
        {
            "base": {"x": 1, "y": [1, 2]},
            "one": {"x": 1, "y": [1, 2]},
            "two": {"x": 5, "y": [1, 2]},
            "three": {"x": 7, "y": [1, 2], "z": 0},
        },
        [],
    )


def test_what_is_done_to_one_place_of_an_alias_is_not_done_to_the_other() -> None:
    tree, _, _ = from_yaml(b"a: &x {v: 1}\nb: *x\n", "f")
    assert tree is not None
    tree.at("b", "v").value = 2
    assert tree.plain() == {"a": {"v": 1}, "b": {"v": 2}}
    assert tree.at("b", "v").path == "b.v"


@pytest.mark.parametrize(
    "text, message",
    [
        ("a: &x [*x]", "stands for something that holds itself"),
        ("a: *nope", "alias"),
        ("a: {<<: 5}", "<< takes a mapping"),
        ("a: !!python/object:os.system x", "the tag"),
        ("a: !vault x", "the tag"),
        ("a: !!set {x}", "the tag"),
        ("? [a]\n: b", "a key must be text"),
        ("a: 1\n---\nb: 2", "a second document"),
        ("a: b: c", "YAML: mapping values are not allowed"),
        ("a: [1", "YAML:"),
        ("\ta: 1", "a tab cannot indent"),
        ("a: 'x", "YAML:"),
        ("a: \x01", "U+0001"),
        ("a: \x00", "U+0000"),
        ("%YAML 9.9\n---\na: 1", "YAML"),
        ("", "the file is empty"),
        ("# only a comment\n", "the file is empty"),
    ],
)
def test_what_cannot_be_read_is_one_problem(text: str, message: str) -> None:
    problems = read(text)[1]
    assert len(problems) == 1
    assert message in problems[0]


def test_a_file_that_is_not_utf_8_says_where() -> None:
    _, problems, _ = from_yaml(b"a: 1\nb: caf\xe9\n", "f")
    assert [(p.line, p.col, p.message) for p in problems] == [(2, 7, "the file is not UTF-8")]
    assert from_yaml("a: 1".encode("utf-16"), "f")[1]


def test_a_byte_order_mark_is_no_part_of_the_first_key() -> None:
    assert from_yaml(b"\xef\xbb\xbfa: 1", "f")[0].plain() == {"a": 1}  # type: ignore[union-attr]


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_deep_nesting_is_one_problem(opening: str) -> None:
    assert len(read(opening * 20_000)[1]) == 1


def test_a_bomb_of_aliases_is_one_problem() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    problems = read("\n".join(lines))[1]
    assert len(problems) == 1
    assert "more than" in problems[0]


def test_a_tower_of_aliases_is_one_problem() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [[[[*a{n - 1}]]]]" for n in range(1, 5000)]
    problems = read("\n".join(lines))[1]
    assert len(problems) == 1
    assert "deep" in problems[0]


def test_what_stands_before_a_broken_line_is_kept() -> None:
    tree, problems, stopped = from_yaml(b"kind: trac\nfind:\n  time: [1\nname: x\n", "f")
    assert tree is not None
    assert tree.at("kind").value == "trac"
    assert len(problems) == 1
    assert stopped


def test_every_node_knows_its_line_its_column_and_its_path() -> None:
    tree, _, _ = from_yaml(b"source:\n  - ssh:\n      hosts: [a, b]\n", "job.yaml")
    assert tree is not None
    node = tree.at("source").value[0].at("ssh", "hosts").value[1]
    assert (node.place.file, node.place.line, node.place.col) == ("job.yaml", 3, 18)
    assert node.path == "source[0].ssh.hosts[1]"
    assert node.place.excerpt == "      hosts: [a, b]"


# ------------------------------------------------------------------------------------------- Python


def test_python_values_become_the_same_tree() -> None:
    value = {
        "a": (1, "x"),
        "b": Path("/x"),
        "c": Secret("s"),
        "d": datetime(2025, 7, 21, tzinfo=timezone.utc),
        "e": None,
    }
    tree, problems = from_python(value)
    assert problems == []
    assert tree.plain() == {"a": [1, "x"], "b": "/x", "c": "s", "d": "2025-07-21T00:00:00+00:00", "e": None}


@pytest.mark.parametrize("value", [object(), {1: 2}, {"a": b"x"}, {"a": {1, 2}}, math.nan, {"a": math.inf}, {None: 1}])
def test_what_cannot_stand_in_a_document_is_a_problem(value: object) -> None:
    assert len(from_python(value)[1]) == 1


def test_a_dict_that_holds_itself_is_one_problem() -> None:
    loop: dict[str, Any] = {}
    loop["a"] = loop
    assert len(from_python(loop)[1]) == 1


def test_a_dict_of_shared_lists_is_no_bomb() -> None:
    bomb: list[Any] = ["x"]
    for _ in range(DEEPEST - 5):
        bomb = [bomb, bomb, bomb]
    assert len(from_python(bomb)[1]) == 1


# --------------------------------------------------------------------------------------------- both ways

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(TEXT, JSON, max_size=4))
def test_what_is_written_reads_back_as_the_same(document: dict[str, Any]) -> None:
    tree, problems, _ = from_yaml(to_yaml(document).encode(), "f")
    assert problems == []
    assert tree is not None
    assert tree.plain() == document


@pytest.mark.parametrize(
    "text",
    ["no", "1e5", "0123", "12E3", "true", "null", "${who}", "a: b", "* x", "x" * 300, "é", "-"],
)
def test_a_text_that_looks_like_something_else_stays_a_text(text: str) -> None:
    tree, _, _ = from_yaml(to_yaml({"a": [text]}).encode(), "f")
    assert tree is not None
    assert tree.plain() == {"a": [text]}


YAML_LIKE = st.from_regex(rb"\A[ab:\-\[\]{}&*<!|>'\" \n?,#%]{0,60}\Z")


@given(st.binary(max_size=200) | TEXT.map(str.encode) | YAML_LIKE)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    tree, problems, _ = from_yaml(data, "f")
    assert isinstance(tree, Node) or problems
    assert all(str(problem) for problem in problems)
