"""Annotations for CI servers."""

from __future__ import annotations

import pytest
from kit import report

from mailtrace.annotations import lines
from mailtrace.model import Coverage, Expectation

GITHUB = {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": "/repo"}
GITLAB = {
    "GITLAB_CI": "true",
    "CI_PROJECT_DIR": "/repo",
    "CI_PROJECT_URL": "https://g.example/x",
    "CI_COMMIT_SHA": "c0",
}


def broken(number: int = 1, detail: str = "0 of 1", place: str = "/repo/jobs/a.yaml:9:3") -> list[Expectation]:
    return [Expectation("delivered: all", held=False, detail=detail, place=place)] * number


def test_nothing_is_said_where_all_is_well_or_no_ci_is_known() -> None:
    assert lines(report(expectations=[Expectation("found: true", held=True)]), "", GITHUB) == []
    assert lines(report(expectations=broken()), "", {}) == []
    assert lines(report(expectations=broken()), "", {"GITHUB_ACTIONS": "false"}) == []


def test_github_is_told_the_line_of_the_job() -> None:
    said = lines(report(name="a: b, c", expectations=broken()), "", GITHUB)
    assert said == ["::error file=jobs/a.yaml,line=9,col=3,title=a%3A b%2C c::expected delivered: all; seen: 0 of 1"]


def test_gitlab_gets_a_link_to_it() -> None:
    (said,) = lines(report(expectations=broken()), "", GITLAB)
    assert "https://g.example/x/-/blob/c0/jobs/a.yaml#L9 expected delivered: all; seen: 0 of 1" in said


@pytest.mark.parametrize("environ", [GITHUB, GITLAB])
def test_ten_are_shown_and_the_others_counted(environ: dict[str, str]) -> None:
    said = lines(report(expectations=broken(13)), "", environ)
    assert len(said) == 11
    assert "and 3 more" in said[-1]
    assert len(lines(report(expectations=broken(10)), "", environ)) == 10


@pytest.mark.parametrize("environ", [GITHUB, GITLAB])
@pytest.mark.parametrize("text", ["a\n::error::b", "a\r\n::set-output name=x::y", "\x1b[2J", "%0A::error::"])
def test_log_text_gives_no_commands(environ: dict[str, str], text: str) -> None:
    (said,) = lines(report(expectations=broken(detail=text)), "", environ)
    assert "\n" not in said
    assert "\r" not in said
    assert "[2J" not in said or "\x1b[2J" not in said
    assert "%0A::" not in said or environ is GITLAB


def test_nothing_found_and_missing_data_are_told_too() -> None:
    assert lines(report(exit_code=1), "a.yaml", GITHUB) == [
        "::error file=a.yaml,line=1,col=1,title=a test::no mail was found"
    ]
    lost = Coverage("mx1", "ssh", problem="no route", missing=True)
    assert lines(report(exit_code=3, coverage=[lost]), "", GITHUB) == ["::error title=a test::mx1: no route"]
    assert lines(report(exit_code=0, coverage=[lost]), "", GITHUB) == []
