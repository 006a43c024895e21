"""Text on a terminal: hostile characters, columns, folding, colour."""

from __future__ import annotations

import io
import os
import pty

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtrace.exporters.terminal import NARROWEST, WIDTH, Screen, Span, columns, fold, shorten, visible


class Latin(io.StringIO):
    encoding = "ascii"


def folded(text: str, width: int) -> list[str]:
    return ["".join(span.text for span in line) for line in fold([Span(text)], width)]


@pytest.mark.parametrize(
    "text, shown",
    [
        ("anna@alpha.example", "anna@alpha.example"),
        ("Grüße 日本語", "Grüße 日本語"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\x9b31m", r"\x9b31m"),
        ("a\tb\r\nc\x00", r"a\tb\r\nc\x00"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("\u2066x\u2069", r"\u2066x\u2069"),
        ("a\u2028b", r"a\u2028b"),
        ("\udcff", r"\udcff"),
        ("\ufeff\u200b", r"\ufeff\u200b"),
    ],
)
def test_what_would_act_on_a_terminal_is_shown_instead(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_nothing_unprintable_is_left(text: str) -> None:
    assert visible(text).isprintable()


@pytest.mark.parametrize("text, wide", [("abc", 3), ("日本", 4), ("e\u0301", 1), ("✓─", 2), ("", 0)])
def test_columns_are_the_terminal_s(text: str, wide: int) -> None:
    assert columns(text) == wide


@given(st.text(alphabet=" ab日\u0301✓", max_size=60), st.integers(2, 30))
def test_folding_loses_nothing_but_spaces_and_keeps_the_width(text: str, width: int) -> None:
    lines = folded(text, width)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(columns(line) <= width for line in lines)


def test_lines_break_at_spaces_and_long_words_where_they_must() -> None:
    assert folded("alpha beta gamma", 10) == ["alpha beta", "gamma"]
    assert folded("abcdefghijkl mn", 5) == ["abcde", "fghij", "kl mn"]
    assert folded("ab  cd", 20) == ["ab  cd"]


def test_a_fold_keeps_the_styles_of_its_parts() -> None:
    lines = list(fold([Span("one ", "bold"), Span("two three", "dim")], 7))
    assert lines == [[Span("one ", "bold"), Span("two", "dim")], [Span("three", "dim")]]


@given(st.text(alphabet="ab日", max_size=40), st.integers(0, 20))
def test_shortened_text_fits(text: str, width: int) -> None:
    assert columns(shorten(text, width)) <= width
    assert shorten(text, 200) == text


def test_what_is_cut_from_the_middle_leaves_a_mark() -> None:
    assert shorten("walter@world.example", 12) == "walter@…mple"


def written(screen_of: io.StringIO, *, color: str = "auto", width: int = 40, spans: list[Span] | None = None) -> str:
    Screen(screen_of, color, width).line(spans or [Span("✓ fine", "green"), Span(" …")], [Span("│ ")])
    return screen_of.getvalue()


def test_no_colour_goes_to_what_is_no_terminal() -> None:
    assert written(io.StringIO()) == "│ ✓ fine …\n"


def test_colour_is_switched_on_and_off() -> None:
    assert written(io.StringIO(), color="always") == "│ \x1b[32m✓ fine\x1b[0m …\n"
    assert written(io.StringIO(), color="never") == "│ ✓ fine …\n"


@pytest.mark.parametrize(
    "variable, value, colour",
    [("X", "", True), ("NO_COLOR", "1", False), ("NO_COLOR", "", True), ("TERM", "dumb", False)],
)
def test_a_terminal_gets_colour_unless_it_is_unwanted(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, colour: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(variable, value)
    main, side = pty.openpty()
    with os.fdopen(side, "w", encoding="utf-8") as stream:
        assert Screen(stream).color is colour
    os.close(main)


def test_an_encoding_without_lines_and_marks_gets_ascii() -> None:
    text = written(Latin(), spans=[Span("✓ é → …")])
    assert text == "| + \\xe9 > ~\n"


def test_the_width_is_the_one_asked_for_or_the_environment_s(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Screen(io.StringIO()).width == WIDTH
    monkeypatch.setenv("COLUMNS", "73")
    assert Screen(io.StringIO()).width == 73
    assert Screen(io.StringIO(), width=50).width == 50
    assert Screen(io.StringIO(), width=3).width == NARROWEST


def test_no_line_ends_in_spaces() -> None:
    assert written(io.StringIO(), spans=[Span("a  "), Span("   ")]) == "│ a\n"


def test_what_does_not_fit_stands_under_its_own_mark() -> None:
    stream = io.StringIO()
    Screen(stream, width=32).line([Span("one two three four five six seven")], [Span("├─ ")], [Span("│    ")])
    assert stream.getvalue() == "├─ one two three four five six\n│    seven\n"
