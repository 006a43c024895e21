"""What is wrong with a request, and where: `file:line:col: message`, the line itself, and what was perhaps meant."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

EXCERPT_COLUMNS = 100


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a job, a config, a flag or a dict.

    `line` and `col` count from 1 and are 0 where the value came from no file; `path` names it then
    (`source[0].ssh.hosts`). `excerpt` is the line as it stands in the file, `hint` the cure.
    """

    message: str
    file: str = ""
    line: int = 0
    col: int = 0
    path: str = ""
    excerpt: str = ""
    hint: str = ""

    @property
    def place(self) -> str:
        """Where it is: `job.yaml:3:7`, else the file, else the path, else nothing."""
        if self.line:
            return f"{self.file}:{self.line}:{self.col}"
        return ": ".join(part for part in (self.file, self.path) if part)

    @property
    def text(self) -> str:
        """The first line of the printed form: place, message and hint."""
        said = f"{self.message}; {self.hint}" if self.hint else self.message
        return f"{self.place}: {said}" if self.place else said

    def __str__(self) -> str:
        """`file:line:col: message`, then the line with a caret below the column."""
        if not self.excerpt.strip():
            return self.text
        line, caret = _around(self.excerpt, self.col - 1)
        return f"{self.text}\n    {line}\n    {caret}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean "…"?` for the known word nearest to a misspelt one, else ""."""
    by_folded = {name.casefold(): name for name in known}
    near = get_close_matches(word.casefold()[:200], by_folded, n=1, cutoff=0.6)
    return f'did you mean "{by_folded[near[0]]}"?' if near else ""


def _around(line: str, col: int) -> tuple[str, str]:
    """A printable piece of a line that holds a column, and a caret below that column."""
    start = max(0, col - EXCERPT_COLUMNS // 2) if len(line) > EXCERPT_COLUMNS else 0
    piece = line[start : start + EXCERPT_COLUMNS].rstrip()
    shown = "".join(c if c.isprintable() else " " if c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in piece)
    return shown, " " * min(max(col - start, 0), len(shown)) + "^"
