from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtrace.load.overrides import Override, override, read_sets, read_variables
from mailtrace.load.tree import from_python
from mailtrace.problem import Problem


def after(sets: list[str], document: dict[str, Any]) -> tuple[Any, list[str]]:
    """The document with these `--set` put in, and the problems."""
    problems: list[Problem] = []
    tree, _ = from_python(document)
    for each in read_sets(sets, problems):
        override(tree, each, problems)
    return tree.plain(), [str(problem) for problem in problems]


@pytest.mark.parametrize(
    "said, document",
    [
        ("walk.max_hops=5", {"walk": {"max_hops": 5}}),
        ("name=a b", {"name": "a b"}),
        ("name=", {"name": ""}),
        ("name=a=b", {"name": "a=b"}),
        ("name=true", {"name": True}),
        ("name=no", {"name": "no"}),
        ('name="5"', {"name": "5"}),
        ("name='x'", {"name": "x"}),
        ('name="half', {"name": '"half'}),
        ("find.keywords=[a, b]", {"find": {"keywords": ["a", "b"]}}),
        ('export=[{json: {to: "-"}}]', {"export": [{"json": {"to": "-"}}]}),
        ('x="\\ud83d\\ude00"', {"x": "\N{GRINNING FACE}"}),
        ('hosts."mx1.example.com".outside=true', {"hosts": {"mx1.example.com": {"outside": True}}}),
    ],
)
def test_a_value_is_set_under_its_path(said: str, document: dict[str, Any]) -> None:
    assert after([said], {}) == (document, [])


def test_items_of_lists_are_set_and_added() -> None:
    document = {"export": [{"dot": {"to": "a"}}]}
    assert after(["export[0].dot.to=b", "export[1].json.to=-"], document) == (
        {"export": [{"dot": {"to": "b"}}, {"json": {"to": "-"}}]},
        [],
    )


def test_the_last_of_several_counts() -> None:
    assert after(["a=1", "a=2"], {"a": 0}) == ({"a": 2}, [])


@pytest.mark.parametrize(
    "said, message",
    [
        ("walk", "--set: "),
        ("=5", "is not a path"),
        (".a=5", "is not a path"),
        ("a..b=5", "is not a path"),
        ("a[x]=5", "is not a path"),
        ("list[3]=x", "there is no item 3 to set"),
        ("text.a=x", 'there is no key "a" to set'),
        ("list.a=x", 'there is no key "a" to set'),
        ("a=[1", "YAML"),
    ],
)
def test_what_cannot_be_set_is_a_problem(said: str, message: str) -> None:
    _, problems = after([said], {"list": [], "text": "x"})
    assert len(problems) == 1
    assert message in problems[0]


def test_values_may_also_come_from_python() -> None:
    problems: list[Problem] = []
    tree, _ = from_python({})
    for each in read_sets({"find.keywords": ["a"], "walk.max_hops": 3}, problems):
        override(tree, each, problems)
    assert tree.plain() == {"find": {"keywords": ["a"]}, "walk": {"max_hops": 3}}
    assert {node.origin for node in tree.at("find").walk()} == {"command line"}


def test_variables_are_name_and_value() -> None:
    problems: list[Problem] = []
    assert read_variables(["who=a=b", "who=c", "x="], problems) == {"who": "c", "x": ""}
    assert read_variables({"who": "a"}, problems) == {"who": "a"}
    assert problems == []


@pytest.mark.parametrize("said", ["who", "a b=c", "=x", "1=x"])
def test_what_sets_no_variable_is_a_problem(said: str) -> None:
    problems: list[Problem] = []
    read_variables([said], problems)
    assert len(problems) == 1


@given(st.text(max_size=30) | st.from_regex(r"\A[ab.\[\]0-9\"=]{0,15}\Z"))
def test_any_override_is_put_in_or_refused(said: str) -> None:
    after([said], {"a": {"b": [1]}, "b": [[]]})
    problems: list[Problem] = []
    tree, _ = from_python({})
    override(tree, Override(said, 1, "x"), problems)
    assert tree.value or problems
