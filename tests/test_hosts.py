from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtrace.hosts import MOST_NAMES, HostFacts, Inventory, ranges
from mailtrace.model import Fleet

FLEET = Inventory(
    {
        "mx1": HostFacts(("smtp-vip.example.com",), ("192.0.2.1", "2001:db8::1"), "Europe/Berlin"),
        "MX2.example.com": HostFacts(addresses=("192.0.2.2",)),
        "partner.example.net": HostFacts(outside=True),
    },
    {"mx": ("mx1", "mx2"), "all": ("mx", "partner.example.net", "all"), "mx1.example.com": ("mx1",)},
    "example.com",
)


@pytest.mark.parametrize(
    "name, host",
    [
        ("mx1", "mx1"),
        ("MX1.Example.COM.", "mx1"),
        ("mx2", "MX2.example.com"),
        ("mx2.example.com", "MX2.example.com"),
        ("smtp-vip", "mx1"),
        ("192.0.2.1", "mx1"),
        ("[192.0.2.2]", "MX2.example.com"),
        ("::ffff:192.0.2.2", "MX2.example.com"),
        ("2001:DB8:0:0::1", "mx1"),
        ("[IPv6:2001:db8::1]", "mx1"),
        ("partner", ""),
        ("mx3", ""),
        ("192.0.2.3", ""),
        ("", ""),
    ],
)
def test_a_host_is_found_by_every_spelling_of_its_names_and_addresses(name: str, host: str) -> None:
    assert FLEET.find(name) == host


def test_a_name_that_two_hosts_share_belongs_to_neither() -> None:
    fleet = Inventory({"a": HostFacts(("vip",)), "b": HostFacts(("vip",))})
    assert fleet.find("vip") == ""


def test_a_hosts_own_name_leads_over_anothers_alias() -> None:
    fleet = Inventory({"a": HostFacts(("b",)), "b": HostFacts()})
    assert fleet.find("b") == "b"


def test_the_fleet_is_what_is_not_outside() -> None:
    assert [name for name in FLEET.names if FLEET.own(name)] == ["mx1", "MX2.example.com"]
    assert not FLEET.own("mx3")
    assert FLEET.zone("mx1") == "Europe/Berlin"
    assert FLEET.zone("mx3") == ""


def test_an_inventory_is_a_fleet() -> None:
    fleet: Fleet = FLEET
    assert fleet.domain == "example.com"


@pytest.mark.parametrize(
    "names, hosts, unknown",
    [
        (["mx"], ("mx1", "MX2.example.com"), ()),
        (["MX"], ("mx1", "MX2.example.com"), ()),
        (["mx2", "mx"], ("MX2.example.com", "mx1"), ()),
        (["all"], ("mx1", "MX2.example.com", "partner.example.net"), ()),
        (["mx[1:2]"], ("mx1", "MX2.example.com"), ()),
        (["mx[1:3]"], ("mx1", "MX2.example.com"), ("mx3",)),
        (["mx1.example.com"], ("mx1",), ()),
        ([], (), ()),
    ],
)
def test_names_of_hosts_clusters_and_ranges_become_hosts(
    names: list[str], hosts: tuple[str, ...], unknown: tuple[str, ...]
) -> None:
    assert FLEET.expand(names) == (hosts, unknown)


def test_a_near_match_may_be_a_cluster() -> None:
    clusters = {"mx-cluster": ("mx1",)}
    assert Inventory({"mx1": HostFacts()}, clusters).near("mx-clutser") == 'did you mean "mx-cluster"?'


@pytest.mark.parametrize(
    "pattern, names",
    [
        ("mx", ("mx",)),
        ("mx[1:3]", ("mx1", "mx2", "mx3")),
        ("mx[08:10].a", ("mx08.a", "mx09.a", "mx10.a")),
        ("[a:c]x", ("ax", "bx", "cx")),
        ("a[1:2]b[1:2]", ("a1b1", "a1b2", "a2b1", "a2b2")),
        ("[2001:db8::1]", ("[2001:db8::1]",)),
    ],
)
def test_a_range_stands_for_its_names(pattern: str, names: tuple[str, ...]) -> None:
    assert ranges(pattern) == names


@pytest.mark.parametrize("pattern", ["mx[", "mx]", "mx[1:", "mx[3:1]", "mx[1-3]", "mx[a:3]", "mx[1:3]x[", "mx[a:C]"])
def test_a_broken_range_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="range"):
        ranges(pattern)


@pytest.mark.parametrize("pattern", ["mx[1:99999999999999999999]", "a[1:200]b[1:200]", f"x[1:{MOST_NAMES + 1}]"])
def test_a_range_of_too_many_hosts_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="more than"):
        ranges(pattern)


@given(st.text(max_size=30) | st.from_regex(r"\A[a-c\[\]:0-9]{0,20}\Z"))
def test_any_pattern_is_read_or_refused(pattern: str) -> None:
    with suppress(ValueError):
        assert len(ranges(pattern)) <= MOST_NAMES


@given(st.text(max_size=40))
def test_any_name_can_be_asked_for(name: str) -> None:
    assert FLEET.find(name) in {"", *FLEET.names}
