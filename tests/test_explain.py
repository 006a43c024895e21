"""`mailtrace explain`: everything that a user may have before their eyes, and near words for the rest."""

from __future__ import annotations

import pytest

from mailtrace import cli
from mailtrace.explain import explained, overview
from mailtrace.glossary import GROUPS
from mailtrace.keys import DOCUMENTS, keys


def told(word: str, width: int = 80) -> str:
    return explained(word, cli.described(), width)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_key_is_explained_by_its_path_and_by_its_name(document: str) -> None:
    for key in keys(document)[:: 1 if document == "job" else 5]:
        first = " ".join(key.text.split()[:4])
        assert first in " ".join(told(key.path).split()), key.path
        assert first in " ".join(told(key.name).split()), key.name


@pytest.mark.parametrize("group, word", [(group, word) for group, words in GROUPS.items() for word in words])
def test_every_word_of_an_answer_is_explained(group: str, word: str) -> None:
    assert f"{word} ({group})" in told(word)


@pytest.mark.parametrize("task", cli.COMMANDS, ids=lambda task: task.name)
def test_every_command_and_its_flags_are_explained(task: cli.Command) -> None:
    assert f"{task.name} (command)" in told(task.name)
    for flag in task.flags:
        assert f"--{flag.name}" in told(f"--{flag.name}")


def test_a_reply_is_explained_by_its_codes() -> None:
    said = told("550 5.1.1 <a@example.com>: Recipient address rejected")
    assert "550 (SMTP)" in said
    assert "5.1.1 (SMTP)" in said
    assert "from: RFC 3463" in said


@pytest.mark.parametrize("word", ["exit code 3", "exit 3", "3"])
def test_an_exit_code_is_explained_however_it_is_called(word: str) -> None:
    assert "Data is missing" in told(word)


def test_the_same_option_of_many_exports_is_told_once() -> None:
    assert told("to").count("The file to write") == 1


@pytest.mark.parametrize("word, meant", [("sinc", "since"), ("timline", "timeline"), ("in-transitt", "in_transit")])
def test_a_misspelt_word_leads_to_the_one_that_was_meant(word: str, meant: str) -> None:
    with pytest.raises(LookupError, match=f'did you mean "{meant}"'):
        told(word)


def test_a_word_like_no_other_leads_to_the_list() -> None:
    with pytest.raises(LookupError, match="mailtrace explain, without a word"):
        told("qqqqqqqq")


@pytest.mark.parametrize("width", [50, 80, 110])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    for text in (overview(cli.described(), width), told("hosts", width), told("5.7.1", width)):
        assert [line for line in text.splitlines() if len(line) > width and " " in line.strip()] == []


def test_the_overview_names_every_section_and_module() -> None:
    text = overview(cli.described(), 80)
    for key in keys("job"):
        if key.path.count(".") == 0 or (key.path.split(".")[0] in {"source", "export"} and key.path.count(".") == 1):
            assert key.name in text
