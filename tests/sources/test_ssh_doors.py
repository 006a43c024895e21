"""Who waits before a server's door, and what is made once for many."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from mailtrace.sources import ssh_doors
from mailtrace.sources.ssh_doors import Doors, Shared
from mailtrace.sources.ssh_options import Way
from mailtrace.sources.ssh_remote import SshError

if TYPE_CHECKING:
    import pytest


def test_names_that_lead_to_one_sshd_have_one_door() -> None:
    doors = Doors()
    assert doors.of(Way("a", "127.0.0.1")) is doors.of(Way("b", "127.1"))
    assert doors.of(Way("a", "127.0.0.1")) is not doors.of(Way("a", "127.0.0.1", 2222))
    assert doors.of(Way("a", "no-such-host.invalid")) is not doors.of(Way("b", "nor-this.invalid"))


def test_what_lies_behind_a_jump_host_or_a_command_has_the_door_of_that() -> None:
    doors = Doors()
    jump = Way("jump", "127.0.0.1")
    assert doors.of(Way("a", "10.0.0.1", jumps=(jump,))) is doors.of(jump)
    assert doors.of(Way("a", "10.0.0.1", command="nc a 22")) is doors.of(Way("b", "10.0.0.2", command="nc b 22"))


def test_a_door_lets_in_fewer_than_an_sshd_begins_to_drop() -> None:
    door = Doors().of(Way("a", "127.0.0.1"))
    taken = 0
    while door.acquire(blocking=False):
        taken += 1
    assert 1 < taken < 10  # of MaxStartups 10:30:100


def together(shared: Shared[int], make: Callable[[], int]) -> list[int | str]:
    """What eight get who want it at the same time."""
    start = threading.Barrier(8)

    def want(_: int) -> int | str:
        start.wait(20)
        try:
            return shared.get("jump", make)
        except SshError as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(want, range(8)))


def test_what_many_want_is_made_once() -> None:
    made: list[int] = []

    def make() -> int:
        made.append(1)
        return len(made)

    shared = Shared[int](lambda _: True)
    assert together(shared, make) == [1] * 8
    assert shared.all() == [1]


def test_a_refusal_is_that_of_all_who_wait_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    def make() -> int:
        tries.append(1)
        msg = "login refused"
        raise SshError(msg)

    shared = Shared[int](lambda _: True)
    assert together(shared, make) == ["login refused"] * 8
    assert len(tries) == 1
    assert shared.all() == []
    monkeypatch.setattr(ssh_doors, "_BELIEVED", 0.0)
    assert shared.get("jump", lambda: 7) == 7


def test_what_is_lost_is_made_anew() -> None:
    lost = {1}
    shared = Shared[int](lambda made: made not in lost)
    assert shared.get("jump", lambda: 1) == 1
    assert shared.get("jump", lambda: 2) == 2
    assert shared.get("jump", lambda: 3) == 2
