"""What went wrong, where the reader of a CI run sees it: beside the job's line in a merge request.

GitHub reads workflow commands out of a step's output (docs.github.com, "Workflow commands for GitHub Actions"): in the
message `%`, CR and LF are escaped, in its properties `:` and `,` too; of each kind it shows ten a step. GitLab reads no
such commands: there each is a red line of the job's log with a link to the line of the job file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from mailtrace.errors import DataError
from mailtrace.report import visible

if TYPE_CHECKING:
    from mailtrace.report import Report

MOST = 10
"""So many are shown one by one; GitHub would drop the others without a word."""

_PLACE = re.compile(r"(?P<file>.+):(?P<line>\d+):(?P<col>\d+)", re.DOTALL)


class _Note(NamedTuple):
    """One thing that went wrong, and where the job asks for it."""

    text: str
    place: str = ""


def lines(report: Report, job: str, environ: Mapping[str, str]) -> list[str]:
    """The lines to print for this run: none where all is well, or where no CI is known.

    `job` is the path of the job file, "" where there is none; `environ` tells which CI this is.
    """
    notes = _notes(report, job)
    if not notes:
        return []
    more = len(notes) - MOST
    if environ.get("GITHUB_ACTIONS") == "true":
        shown = [_github(note, report.name, environ) for note in notes[:MOST]]
        return shown + ([f"::notice::{_escaped(_more(more))}"] if more > 0 else [])
    if environ.get("GITLAB_CI") == "true":
        shown = [_gitlab(note, environ) for note in notes[:MOST]]
        return shown + ([f"\x1b[0;31m{_more(more)}\x1b[0m"] if more > 0 else [])
    return []


def _more(number: int) -> str:
    return f"mailtrace: and {number} more went wrong; the log above tells all"


def _notes(report: Report, job: str) -> list[_Note]:
    broken = [came for came in report.expectations if not came.held]
    out = [_Note(f"expected {came.text}; seen: {came.detail}", came.place) for came in broken]
    if not report.mails and not out and report.exit_code == 1:
        out.append(_Note("no mail was found", f"{job}:1:1" if job else ""))
    lost = [item for item in report.coverage if item.missing and report.exit_code == DataError.exit_code]
    return out + [_Note(f"{item.host}: {item.problem}" if item.host else item.problem) for item in lost]


def _github(note: _Note, title: str, environ: Mapping[str, str]) -> str:
    properties = {"title": title or "mailtrace"}
    if found := _PLACE.fullmatch(note.place):
        file = _below(found["file"], environ.get("GITHUB_WORKSPACE", ""))
        properties = {"file": file, "line": found["line"], "col": found["col"], **properties}
    said = ",".join(f"{key}={_escaped(value, ':,')}" for key, value in properties.items())
    return f"::error {said}::{_escaped(note.text)}"


def _gitlab(note: _Note, environ: Mapping[str, str]) -> str:
    where = ""
    if found := _PLACE.fullmatch(note.place):
        file = _below(found["file"], environ.get("CI_PROJECT_DIR", ""))
        where = f"{visible(file)}:{found['line']}: "
        project, commit = environ.get("CI_PROJECT_URL"), environ.get("CI_COMMIT_SHA")
        if project and commit and not file.startswith(("/", "..")):
            where = f"{project}/-/blob/{commit}/{visible(file)}#L{found['line']} "
    return f"\x1b[0;31;1mERROR\x1b[0;31m {where}{visible(note.text)}\x1b[0m"


def _below(file: str, folder: str) -> str:
    """A file as the checkout names it."""
    full = os.path.abspath(file)  # noqa: PTH100 - links stay as they are
    inside = folder and full.startswith(folder.rstrip("/") + "/")
    return os.path.relpath(full, folder) if inside else file


def _escaped(text: str, also: str = "") -> str:
    """Text in which nothing ends the command or begins another."""
    shown = visible(text).replace("%", "%25")
    for letter in also:
        shown = shown.replace(letter, f"%{ord(letter):02X}")
    return shown
