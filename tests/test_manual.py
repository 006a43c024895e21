"""MANUAL.md: complete, and what the program goes by today."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mailtrace import cli, manual
from mailtrace.keys import DOCUMENTS, keys

ROOT = Path(__file__).parents[1]
MANUAL = (ROOT / "MANUAL.md").read_text(encoding="utf-8")


def test_the_manual_is_what_the_program_goes_by() -> None:
    assert manual.manual(cli.described()) == MANUAL, "invoke manual writes it anew"


@pytest.mark.parametrize("task", cli.COMMANDS, ids=lambda task: task.name)
def test_every_command_and_flag_is_in_the_manual(task: cli.Command) -> None:
    assert f"### mailtrace {task.name}\n" in MANUAL
    for flag in task.flags:
        assert re.search(rf"^\| .*`--{flag.name}`.* \| .*\b{task.name}\b.* \|$", MANUAL, re.MULTILINE), flag.name


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_key_of_a_document_is_in_the_manual_with_its_meaning(document: str) -> None:
    rows = [line for line in MANUAL.splitlines() if line.startswith("| `")]
    for key in keys(document):
        assert key.text, f"{document}: {key.path} has no description"
        assert any(line.startswith(f"| `{key.path}` | ") for line in rows), key.path


@pytest.mark.parametrize("title, module", manual.HOW_IT_WORKS)
def test_a_module_that_the_manual_takes_in_explains_something(title: str, module: str) -> None:
    assert len(manual.docstring(module)) > 60
    assert f"### {title}\n" in MANUAL


def test_every_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    width = 0
    for line in MANUAL.splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert width in {0, cells} or not cells, line
        width = cells


def test_a_link_within_the_manual_leads_to_a_heading() -> None:
    heads = {manual._anchor(head) for head in re.findall(r"^#+ (.*)$", MANUAL, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]*)\)", MANUAL)) <= heads
