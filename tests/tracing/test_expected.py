"""What other hosts' logs may still tell, by how far they have come."""

from __future__ import annotations

from pathlib import Path

import pytest
from kit import T0, hop, link

from mailtrace.assemble.names import Names
from mailtrace.hosts import HostFacts, Inventory
from mailtrace.model import Hop, Mail, Peer
from mailtrace.tracing.expected import QUIET, SHUFFLED, Expected
from mailtrace.tracing.skews import Skews
from mailtrace.tracing.state import State

MX = hop("mx", "AAAAA11111", message_id="m1@x")
BOX = hop("box", "BBBBB22222", at=1.0, until=2.0, client="mx.example.com[192.0.2.1]", message_id="m1@x")
OTHER = hop("other", "CCCCC33333", message_id="m1@x")


def mail(*hops: Hop, links: tuple[tuple[Hop, Hop], ...] = ()) -> Mail:
    ways = [link(*each, certainty="likely") for each in links]
    return Mail(hops[0].id, hops[0].message_id, None, None, None, list(hops), ways, [])


@pytest.fixture(name="expected")
def _expected(tmp_path: Path) -> tuple[Expected, dict[str, float], Names]:
    marks: dict[str, float] = {"mx": T0, "box": T0 + 100}
    fleet = Inventory({host: HostFacts() for host in ("mx", "box", "other")})
    names = Names(fleet, marks)
    names.learn(Peer("mx.example.com", "192.0.2.1", None), "mx")
    return Expected(names, fleet, marks, Skews(State(tmp_path / "state.db")), frozenset({"other"})), marks, names


def test_a_host_may_tell_as_long_as_its_log_has_not_come_so_far(
    expected: tuple[Expected, dict[str, float], Names],
) -> None:
    known, marks, _names = expected
    assert known.awaits(BOX, None)
    assert known.awaits(BOX, OTHER), "a bridge over a host whose log is behind"
    assert not known.awaits(BOX, MX)
    marks["mx"] = T0 + 1.0 + QUIET
    assert not known.awaits(BOX, None)
    assert not known.awaits(BOX, OTHER)


def test_what_a_log_that_has_come_so_far_does_not_tell_may_be_late(
    expected: tuple[Expected, dict[str, float], Names],
) -> None:
    known, marks, _names = expected
    come = marks.__getitem__
    assert known.senders([mail(BOX)], come) == {}, "its log is behind: its lines are to come"
    marks["mx"] = T0 + 1.0 + QUIET
    assert known.senders([mail(BOX)], come) == {"mx": T0 + 1.0 + SHUFFLED}
    assert known.senders([mail(OTHER, BOX, links=((OTHER, BOX),))], come) == {"mx": T0 + 1.0 + SHUFFLED}
    assert known.senders([mail(MX, BOX, links=((MX, BOX),))], come) == {}
    marks["mx"] = T0 + 1.0 + SHUFFLED
    assert known.senders([mail(BOX)], come) == {}


def test_a_mail_without_a_message_id_waits_for_the_host_it_came_from(
    expected: tuple[Expected, dict[str, float], Names],
) -> None:
    known, marks, _names = expected
    come = marks.__getitem__
    nameless = hop("box", "BBBBB22222", at=1.0, client="mx.example.com[192.0.2.1]")
    assert known.senders([mail(nameless)], come) == {"mx": T0 + 1.0 + QUIET}


def test_who_is_not_known_and_who_is_not_followed_tells_nothing(
    expected: tuple[Expected, dict[str, float], Names],
) -> None:
    known, _marks, names = expected
    assert not known.awaits(hop("box", "B", client="mail.example.net[192.0.2.9]"), None)
    names.learn(Peer("gone.example.com", "", None), "gone")
    assert not known.awaits(hop("box", "B", client="gone.example.com[192.0.2.7]"), None)
    names.learn(Peer("other.example.com", "", None), "other")
    assert known.awaits(hop("box", "B", client="other.example.com[192.0.2.8]"), None), "followed, and silent yet"
