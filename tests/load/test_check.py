from __future__ import annotations

from typing import Any

import pytest

from mailtrace.load.check import check, data_folder, fill, schema
from mailtrace.load.tree import from_python, from_yaml

RULES: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "default": "x"},
        "many": {"type": "array", "items": {"$ref": "#/$defs/step"}, "default": []},
        "part": {
            "type": "object",
            "default": {},
            "additionalProperties": False,
            "properties": {"size": {"type": "integer", "default": 3, "minimum": 1}, "on": {"type": "boolean"}},
        },
        "open": {"type": "object", "additionalProperties": {"$ref": "#/$defs/one"}, "default": {}},
        "none": {"type": ["string", "null"], "default": None},
    },
    "$defs": {
        "step": {
            "title": "Step",
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": False,
            "properties": {"one": {"$ref": "#/$defs/one"}, "two": {"type": "object"}},
        },
        "one": {
            "type": "object",
            "properties": {"to": {"type": "string", "default": "-"}},
            "additionalProperties": False,
        },
    },
}


def checked(document: Any) -> tuple[Any, list[str]]:
    """What is left of a document, and its problems."""
    tree, _ = from_python(document)
    problems = check(tree, RULES)
    return tree.plain(), [problem.text for problem in problems]


@pytest.mark.parametrize(
    "document, left, message",
    [
        ({"nmae": 1, "name": "a"}, {"name": "a"}, 'nmae: "nmae" is not a key here; did you mean "name"?'),
        ({"name": 5}, {}, 'name: "name" must be text, not 5; put it into quotes'),
        ({"part": {"size": 0}}, {"part": {}}, 'part.size: "size" must be at least 1, not 0'),
        ({"part": []}, {}, 'part: "part" must be a mapping, not a list'),
        ({"part": {"on": "yes"}}, {"part": {}}, 'part.on: "on" must be true or false, not the text "yes"'),
        ({"part": {"on": "\x1b["}}, {"part": {}}, 'part.on: "on" must be true or false, not the text "\\u001b["'),
        (
            {"many": [{"one": {}}, {"tow": {}}, {"two": {}}]},
            {"many": [{"one": {}}, {"two": {}}]},
            'many[1].tow: there is no step "tow"; did you mean "two"?',
        ),
        (
            {"many": ["one"]},
            {"many": []},
            'many[0]: an item of this list must be a mapping, not the text "one"; write "one: {}"',
        ),
    ],
)  # fmt: skip
def test_what_breaks_the_schema_is_said_and_taken_out(document: Any, left: Any, message: str) -> None:
    after, problems = checked(document)
    assert problems == [message]
    assert [x for x in after.get("many", []) if x] == left.get("many", [])
    assert {k: v for k, v in after.items() if k != "many"} == {k: v for k, v in left.items() if k != "many"}


def test_very_many_unknown_keys_are_not_told_one_by_one() -> None:
    left, problems = checked({f"k{number}": 1 for number in range(20_000)})
    assert left == {}
    assert len(problems) == 51
    assert "and 19950 more" in problems[-1]


def test_null_means_not_set() -> None:
    assert checked({"name": None, "part": None, "many": [{"one": None}], "none": None}) == (
        {"part": {}, "many": [{"one": {}}], "none": None},
        [],
    )


def test_a_number_in_a_file_is_text_where_text_is_wanted() -> None:
    tree, _, _ = from_yaml(b"name: 1.50\npart: {size: 4.0}\n", "f")
    assert tree is not None
    assert check(tree, RULES) == []
    assert tree.plain() == {"name": "1.50", "part": {"size": 4}}


def test_defaults_are_filled_in_where_keys_are_fixed() -> None:
    tree, _ = from_python({"many": [{"one": {}}], "open": {"a": {}}})
    fill(tree, RULES, RULES)
    assert tree.plain() == {
        "name": "x",
        "many": [{"one": {"to": "-"}}],
        "part": {"size": 3},
        "open": {"a": {}},
        "none": None,
    }
    assert tree.at("part", "size").origin == "default"
    assert tree.at("many").origin == "job"


@pytest.mark.parametrize("name", ["job", "config", "report", "event"])
def test_every_schema_is_found(name: str) -> None:
    assert schema(name)["type"] == "object"
    assert (data_folder() / "schemas" / f"{name}.schema.json").is_file()


def test_a_schema_is_the_callers_own() -> None:
    schema("job")["properties"].clear()
    assert schema("job")["properties"]
