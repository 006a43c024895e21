"""Errors, one class for each reaction; the exit code is on the class.

    MailtraceError          70  a bug, where nothing more precise was raised
    ├── RequestError         2  mend the flag, the job or the config: carries every `Problem` found
    ├── DataError            3  give access, or the missing log
    ├── ExportError          4  mend where the result goes
    └── Interrupted        130  stopped from outside (143: terminated)

Anything else that escapes is a bug in mailtrace and exits with 70 too. The text of an error names the thing, the
place and the cure; it is shown to the user as it stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailtrace.problem import Problem


class MailtraceError(Exception):
    """What mailtrace raises on purpose. `exit_code` is the program's for it."""

    exit_code = 70


class RequestError(MailtraceError):
    """The request is wrong; `problems` are all that is wrong with it, in the order of the file."""

    exit_code = 2

    def __init__(self, problems: Iterable[Problem]) -> None:
        """Keep the problems; at least one."""
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__(*self.problems)

    def __str__(self) -> str:
        """Every problem with its excerpt, one after the other."""
        return "\n".join(str(problem) for problem in self.problems)


class DataError(MailtraceError):
    """Data is missing: a host unreachable or refusing us, a file missing or unreadable, a query that failed."""

    exit_code = 3

    def __init__(self, message: str, host: str = "") -> None:
        """`host` is the inventory's name, where the trouble has one."""
        self.host = host
        super().__init__(message)


class ExportError(MailtraceError):
    """A result could not be written or sent."""

    exit_code = 4


class Interrupted(MailtraceError):  # noqa: N818 - an interruption is no error, it only travels like one
    """The run was stopped from outside; what was found so far is still reported."""

    exit_code = 130

    def __init__(self, signal_number: int = 2) -> None:
        """`signal_number` as the kernel counts: 2 is Ctrl-C, 15 is `kill`."""
        self.exit_code = 128 + signal_number
        super().__init__("terminated" if signal_number == 15 else "interrupted")
