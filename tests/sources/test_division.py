"""Whose line it is."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from mailtrace.hosts import HostFacts, Inventory
from mailtrace.sources.division import Division, owner, same_label


@pytest.mark.parametrize(
    "name,host",
    [
        ("mx1", "mx1"),
        ("MX1.lab.test", "mx1"),
        ("mx2", "mx2.lab.test"),
        ("mx2.other.test", "mx2.other.test"),
        ("alias", "mx1"),
        ("twin", "twin"),
        ("stranger.lab.test", "stranger.lab.test"),
        ("elsewhere", "elsewhere"),
        ("", "mx1"),
    ],
)
def test_a_name_is_the_inventorys_host_or_a_host_of_its_own(name: str, host: str) -> None:
    fleet = Inventory(
        {
            "mx1": HostFacts(aliases=("alias",)),
            "mx2.lab.test": HostFacts(),
            "twin.a.test": HostFacts(),
            "twin.b.test": HostFacts(),
            "elsewhere": HostFacts(),
        }
    )
    assert Division(("mx1", "mx2.lab.test", "twin.a.test", "twin.b.test"), fleet, "mx1")(name) == host


def test_the_hosts_of_the_file_lead_over_others_of_the_same_label() -> None:
    fleet = Inventory({"mx.a.test": HostFacts(), "mx.b.test": HostFacts()})
    assert Division(("mx.a.test", "other"), fleet, "other")("mx") == "mx.a.test"


def test_two_full_names_are_two_hosts() -> None:
    assert not same_label("mx.a.test", "mx.b.test")
    assert same_label("mx.a.test", "MX")


def test_it_remembers_the_names_of_a_host_and_lines_without_one() -> None:
    division = Division(("mx1", "b"), Inventory({"mx1": HostFacts()}), "b")
    assert (division("mx1.lab.test"), division("mx1"), division.nameless) == ("mx1", "mx1", False)
    assert sorted(division.names("mx1")) == ["mx1", "mx1.lab.test"]
    division("")
    assert division.nameless


@pytest.mark.parametrize(
    "path,host",
    [("/data/logs/exim1/mainlog", "exim1"), ("/var/log/exim4/mainlog", ""), ("-", ""), ("/mainlog", "")],
)
def test_a_log_that_names_no_host_is_its_folders_or_this_machines(path: str, host: str) -> None:
    assert owner(Path(path)) == (host or socket.gethostname())
