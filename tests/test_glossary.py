"""The glossary: every word that an answer may hold."""

from __future__ import annotations

import re
from pathlib import Path

from mailtrace import errors, glossary
from mailtrace.expect import OUTCOMES
from mailtrace.load import schema
from mailtrace.model import Certainty, LinkKind

PACKAGE = Path(__file__).parents[1] / "mailtrace"


def test_every_outcome_certainty_and_link_has_its_meaning() -> None:
    assert list(glossary.OUTCOMES) == list(OUTCOMES)
    assert list(glossary.CERTAINTIES) == [word.value for word in Certainty]
    assert list(glossary.LINKS) == [word.value for word in LinkKind]


def test_every_status_of_the_report_has_its_meaning() -> None:
    statuses = schema("report")["$defs"]["delivery"]["properties"]["status"]["enum"]
    assert list(glossary.STATUSES) == statuses


def test_every_warning_that_is_given_has_its_meaning() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    given = set(re.findall(r'Warning_\(\s*"([a-z-]+)"', sources))
    assert given
    assert given - set(glossary.WARNINGS) == set()


def test_every_hint_has_its_meaning() -> None:
    codes = schema("report")["properties"]["hints"]["items"]["properties"]["code"]["enum"]
    assert set(glossary.HINTS) == set(codes)
    given = set(re.findall(r'Hint\(\s*"([a-z-]+)"', (PACKAGE / "nearby.py").read_text(encoding="utf-8")))
    assert given == set(codes)


def test_every_exit_code_has_its_meaning() -> None:
    raised = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    assert raised <= set(glossary.EXIT_CODES)
    assert set(glossary.EXIT_CODES) == {0, 1, 2, 3, 4, 70, 130, 143}
