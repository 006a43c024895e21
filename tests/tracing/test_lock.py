"""One instance for each state."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailtrace.errors import RequestError
from mailtrace.tracing.lock import locked


def test_a_second_instance_is_told_who_holds_the_state(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    with locked(state), pytest.raises(RequestError, match=r"in use by process \d+"), locked(state):
        pass
    with locked(state):
        pass
