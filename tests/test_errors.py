from __future__ import annotations

import pytest

from mailtrace.errors import DataError, ExportError, Interrupted, MailtraceError, RequestError
from mailtrace.problem import Problem


@pytest.mark.parametrize(
    "error, code",
    [
        (MailtraceError("x"), 70),
        (RequestError([Problem("x")]), 2),
        (DataError("x"), 3),
        (ExportError("x"), 4),
        (Interrupted(), 130),
        (Interrupted(15), 143),
    ],
)
def test_every_error_carries_its_exit_code(error: MailtraceError, code: int) -> None:
    assert error.exit_code == code


def test_a_request_error_prints_every_problem() -> None:
    error = RequestError(Problem(f"wrong {number}", "job.yaml", number, 1, excerpt="x") for number in (1, 2))
    assert str(error) == "job.yaml:1:1: wrong 1\n    x\n    ^\njob.yaml:2:1: wrong 2\n    x\n    ^"
    assert [problem.line for problem in error.problems] == [1, 2]


def test_a_data_error_knows_its_host() -> None:
    assert DataError("refused", "mx1").host == "mx1"
    assert str(DataError("refused", "mx1")) == "refused"
