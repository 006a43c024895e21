"""Status codes: each that is registered, and what can be said of one that is not."""

from __future__ import annotations

import pytest

from mailtrace.codes import BASIC, DETAILS, codes


def told(text: str) -> list[str]:
    return [code.code for code in codes(text)]


def test_a_whole_reply_is_explained_by_its_codes() -> None:
    basic, enhanced = codes("host mx.example.com[192.0.2.7] said: 550 5.1.1 <x@example.com>: User unknown")
    assert (basic.code, basic.source) == ("550", "RFC 5321")
    assert (enhanced.code, enhanced.title) == ("5.1.1", "Bad destination mailbox address")
    assert "no such mailbox" in enhanced.meaning
    assert "gives up" in enhanced.meaning


@pytest.mark.parametrize("detail", sorted(DETAILS))
@pytest.mark.parametrize("kind", ["4", "5", "X"])
def test_every_registered_code_has_title_meaning_and_source(kind: str, detail: str) -> None:
    (code,) = codes(f"{kind}.{detail}")
    assert code.code == f"{kind}.{detail}"
    assert code.title == DETAILS[detail][0]
    assert len(code.meaning) > 5
    assert code.source == f"RFC {DETAILS[detail][2]}"


@pytest.mark.parametrize("basic", sorted(BASIC))
def test_every_basic_code_is_one(basic: str) -> None:
    assert told(basic) == [basic]


def test_a_temporary_failure_is_told_from_a_permanent_one() -> None:
    assert "tries again" in codes("4.2.2")[0].meaning
    assert "gives up" in codes("5.2.2")[0].meaning
    assert "tries again" not in codes("X.2.2")[0].meaning


def test_a_code_that_nobody_registered_is_explained_by_its_numbers() -> None:
    (code,) = codes("5.7.999")
    assert "Registered by nobody" in code.meaning
    assert "a rule" in code.meaning
    assert codes("5.7")[0].title == "Security or policy"
    assert codes("559")[0].source == "RFC 5321"


@pytest.mark.parametrize("text", ["10.5.1.1", "192.0.2.1", "4.9.9", "599", "1234", "v2.1.0.3", "", "2550", "5.1.1.1"])
def test_what_is_no_code_is_not_taken_for_one(text: str) -> None:
    assert told(text) == []
