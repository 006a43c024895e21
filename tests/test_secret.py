from __future__ import annotations

import logging
import pickle
import traceback

import pytest

from mailtrace.secret import HIDDEN, Redactor, Secret

VALUE = "correct horse battery"


def test_a_secret_is_shown_nowhere() -> None:
    secret = Secret(VALUE)
    shown = [
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret!r:>40}",
        f"{secret}",
        f"{[secret]}",
        f"{ ({'a': secret}) }",
    ]
    record = logging.LogRecord("x", 10, "f", 1, "%s", (secret,), None)
    shown.append(record.getMessage())
    shown += traceback.format_exception(ValueError(secret))
    assert [text for text in shown if VALUE in text] == []
    assert str(secret) == HIDDEN


def test_a_secret_gives_its_value_only_when_asked() -> None:
    assert Secret(VALUE).reveal() == VALUE


def test_an_empty_secret_is_unset() -> None:
    assert not Secret("")
    assert Secret("x")
    assert str(Secret("")) == ""


def test_a_secret_equals_its_like_and_no_text() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


def test_a_secret_can_be_neither_joined_nor_pickled() -> None:
    with pytest.raises(TypeError):
        "".join([Secret(VALUE)])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        "x" + Secret(VALUE)  # type: ignore[operator]
    with pytest.raises(TypeError):
        pickle.dumps(Secret(VALUE))


def test_known_secrets_are_taken_out_of_any_text() -> None:
    redactor = Redactor([Secret(VALUE), Secret("hunter2!")])
    assert redactor.redact(f"login {VALUE} failed, {VALUE!r}; hunter2!") == "login **** failed, '****'; ****"


def test_the_longer_of_two_secrets_goes_first() -> None:
    assert Redactor([Secret("pass"), Secret("password")]).redact("my password") == "my ****"


def test_the_lines_of_a_key_are_hidden_one_by_one() -> None:
    key = Secret("BEGIN KEY\nabcdefgh\nEND KEY")
    assert Redactor([key]).redact("key: abcdefgh") == "key: ****"


def test_a_very_short_secret_does_not_blot_out_the_text() -> None:
    assert Redactor([Secret("a"), Secret("")]).redact("a mail") == "a mail"
