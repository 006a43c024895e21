from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtrace.errors import RequestError
from mailtrace.load import load_job
from mailtrace.load.tree import from_python
from mailtrace.load.variables import LONGEST, Broken, Variables, literal

ENVIRONMENT = {"HOST": "mx1", "EMPTY": "", "PASSWORD": "s3cret"}


def variables(given: dict[str, str] | None = None, **defined: Any) -> Variables:
    return Variables(given or {}, from_python(defined)[0].value, ENVIRONMENT)


@pytest.mark.parametrize(
    "template, text",
    [
        ("${who}", "a@b"),
        ("<${who}>, ${who}", "<a@b>, a@b"),
        ("${copy}!", "a@b!"),
        ("${number}", "5"),
        ("${flag}", "true"),
        ("${env:HOST}.example.com", "mx1.example.com"),
        ("${env:HOST:-other}", "mx1"),
        ("${env:NOPE:-other}", "other"),
        ("${env:EMPTY:-other}", "other"),
        ("${env:EMPTY}", ""),
        ("${env:NOPE:-}", ""),
        ("$${who}", "${who}"),
        ("$$${who}", "$${who}"),
        ("costs 5$ or $5, {who}", "costs 5$ or $5, {who}"),
    ],
)
def test_variables_are_put_in(template: str, text: str) -> None:
    known = variables(who="a@b", copy="${who}", number=5, flag=True)
    assert known.text(template).text == text


def test_the_command_line_leads_over_the_job() -> None:
    known = variables({"who": "x"}, who="a", other="${who}")
    assert known.text("${who} ${other}").text == "x x"


def test_a_value_is_never_read_for_variables_again() -> None:
    assert variables({"who": "${env:PASSWORD}"}).text("${who}").text == "${env:PASSWORD}"


@pytest.mark.parametrize(
    "template, message, hint",
    [
        ("${woh}", "there is no variable woh", 'did you mean "who"?'),
        ("${xyz}", "there is no variable xyz", "-e"),
        ("${env:NOPE}", "the environment has no NOPE", "${env:NOPE:-default}"),
        ("${}", "not a variable", "${name}"),
        ("${a b}", "not a variable", "${name}"),
        ("${env:}", "not a variable", "${env:NAME}"),
        ("${who", "never closed", "$${"),
        ("${one}", "needs itself: one → two → one", ""),
        ("${file:/etc/passwd}", "not a variable", "${name}"),
    ],
)
def test_what_cannot_be_put_in_says_why(template: str, message: str, hint: str) -> None:
    known = variables(who="a@b", one="${two}", two="${one}")
    with pytest.raises(Broken, match=r".") as caught:
        known.text(template)
    assert message in str(caught.value)
    assert hint in caught.value.hint


def test_a_bomb_of_variables_is_refused() -> None:
    defined: dict[str, Any] = {"v0": "x" * 1000, **{f"v{n}": f"${{v{n - 1}}}" * 10 for n in range(1, 30)}}
    with pytest.raises(Broken, match="too long"):
        variables(None, **defined).text("${v29}")


def test_a_long_chain_of_variables_is_refused() -> None:
    defined: dict[str, Any] = {"v0": "x", **{f"v{n}": f"${{v{n - 1}}}" for n in range(1, 3000)}}
    with pytest.raises(Broken, match="too many"):
        variables(None, **defined).text("${v2999}")


@pytest.mark.parametrize(
    "template, is_literal",
    [
        ("hunter2", True),
        ("${env:PASSWORD}", False),
        ("x${env:PASSWORD}", True),
        ("${env:PASSWORD}x", True),
        ("${env:NOPE:-hunter2}", True),
        ("${env:NOPE:-}", False),
        ("${written}", True),
        ("${taken}", False),
        ("${given}", False),
        ("$${", True),
    ],
)
def test_it_is_known_whether_a_text_is_written_in_the_document(template: str, is_literal: bool) -> None:
    known = variables({"given": "x"}, written="hunter2", taken="${env:PASSWORD}")
    assert known.text(template).literal is is_literal


def test_only_texts_are_filled_and_keys_are_not() -> None:
    tree, _ = from_python({"${who}": ["${who}", 5, {"a": "$${who}"}]})
    assert variables(who="x").fill(tree) == []
    assert tree.plain() == {"${who}": ["x", 5, {"a": "${who}"}]}


def test_a_text_that_cannot_be_filled_is_taken_out_and_said_once() -> None:
    tree, _ = from_python({"a": "${nope}", "b": ["${nope}", "x"]})
    problems = variables().fill(tree)
    tree.drop_broken()
    assert [problem.path for problem in problems] == ["a", "b[0]"]
    assert tree.plain() == {"b": ["x"]}


@given(st.text(max_size=30) | st.from_regex(r"\A[${}a:\-]{0,12}\Z"))
def test_a_literal_text_means_itself(text: str) -> None:
    assert variables().text(literal(text)).text == text


@given(st.text(max_size=40) | st.from_regex(r"\A[${}env:A\-]{0,20}\Z"))
def test_any_text_is_filled_or_refused(text: str) -> None:
    with suppress(Broken):
        assert len(variables(a="b").text(text).text) <= LONGEST


def test_a_misspelt_variable_of_the_command_line_is_told() -> None:
    job = {"config": {"files_config": {"host_config": {"log_files": ["a"]}}}, "vars": {"recipient": "a@example.com"}}
    with pytest.raises(RequestError, match=r'-e: there is no variable recipent; did you mean "recipient"\?'):
        load_job(job, variables=["recipent=b@example.com"])
    # What this job does not know at all may be for another one that is played with it.
    assert load_job(job, variables=["message_id=x", "recipient=b@example.com"]).kind == "trace"
