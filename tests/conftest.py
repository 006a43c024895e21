"""What every test may ask for: parts of the machine, the demo's fleet."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from opensearch_node import node as nodes
from otelcol import collector as collectors

ROOT = Path(__file__).parents[1]

HOW_TO_GET = {
    "dot": "apt-get install graphviz",
    "zcat": "apt-get install gzip",
    "xz": "apt-get install xz-utils",
    "bzip2": "apt-get install bzip2",
    "zstd": "apt-get install zstd",
    "sshd": "apt-get install openssh-server",
    "ssh": "apt-get install openssh-client",
    "ssh-keygen": "apt-get install openssh-client",
    "postfix": "apt-get install postfix",
    "exim4": "apt-get install exim4-daemon-light",
    "journalctl": "a system with systemd",
    "systemd-journal-remote": "apt-get install systemd-journal-remote",
    "git": "apt-get install git",
    "ip": "apt-get install iproute2",
    "unshare": "apt-get install util-linux",
    "nsenter": "apt-get install util-linux",
    "openssl": "apt-get install openssl",
    "mkfs.ext4": "apt-get install e2fsprogs",
    "gcc": "apt-get install gcc libc6-dev",
    "build": "pip install -e '.[dev]'",
    "opensearchpy": "pip install -e '.[opensearch]'",
    "opentelemetry": "pip install -e '.[tracing]'",
    "root": "run the tests as root",
    "busybox": "apt-get install busybox-static",
    "csh": "apt-get install csh",
    "fish": "apt-get install fish",
    "zsh": "apt-get install zsh",
    "bash": "apt-get install bash",
    "dash": "apt-get install dash",
    "chromium": "apt-get install chromium",
    "playwright": "pip install -e '.[dev]'",
    "nginx": "apt-get install nginx-light",
}
"""Every part a test may need, and how to get it: a program, a Python package, or `root`."""

SYSTEM_FOLDERS = "/usr/sbin:/sbin:/usr/local/sbin:/lib/systemd"
"""Daemons are there; an ordinary user's PATH is not."""


def pytest_configure() -> None:
    """Be the same on every machine: what the tests start hears Ctrl-C, which a shell's background switches off."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.register_profile("no times", deadline=None)  # a machine may be busy
    settings.load_profile("no times")


def pytest_addoption(parser: pytest.Parser) -> None:
    """What takes too long to build for every run is tested on demand."""
    parser.addoption("--jaeger", action="store_true", help="test against a real Jaeger (tests/test_jaeger.py)")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what nobody asked for."""
    return True if collection_path.name == "test_jaeger.py" and not config.getoption("--jaeger") else None


def has(part: str) -> bool:
    """Whether this machine has the part."""
    if part == "root":
        return os.geteuid() == 0
    path = f"{os.environ.get('PATH', os.defpath)}:{SYSTEM_FOLDERS}"
    return shutil.which(part, path=path) is not None or importlib.util.find_spec(part) is not None


def insist(part: str) -> None:
    """Skip the running test where the part is missing; fail it where MAILTRACE_REQUIRE=all says that nothing may be."""
    how = HOW_TO_GET[part]  # a KeyError here: add the part to the list above, with its cure
    if not has(part):
        lack(f"needs {part}: {how}")


def lack(why: str) -> None:
    """Skip the running test, or fail it."""
    if os.environ.get("MAILTRACE_REQUIRE") == "all":
        pytest.fail(f"{why} (MAILTRACE_REQUIRE=all)", pytrace=False)
    pytest.skip(why)


@pytest.fixture
def need() -> Callable[[str], None]:
    """`need("dot")` in a test; for a whole test, `@pytest.mark.needs("dot")`."""
    return insist


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Look at the parts that the test's `needs` marks name."""
    for mark in item.iter_markers("needs"):
        for part in mark.args:
            insist(part)


@pytest.fixture
def jobs() -> Path:
    """The folder of the recipes and the demo."""
    return ROOT / "jobs"


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test sees the config, passwords or colours of whoever runs it."""
    for name in list(os.environ):
        if name.startswith("MAILTRACE_") and name != "MAILTRACE_REQUIRE":
            monkeypatch.delenv(name)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TZ"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path_factory.getbasetemp() / "home"
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("HOME", str(home))


@pytest.fixture(scope="session", params=nodes.VERSIONS, ids=[version.name for version in nodes.VERSIONS])
def search_node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[nodes.Node]:
    """A real OpenSearch node, one for all tests, which run on each version; each test has indices of its own names."""
    version: nodes.Version = request.param
    if not version.fetched():
        lack(f"needs OpenSearch {version.name}: {nodes.HOW_TO_GET}")
    started = nodes.Node(version, tmp_path_factory.mktemp("opensearch")).start()
    yield started
    started.stop()


@pytest.fixture
def make_collector(tmp_path: Path) -> Iterator[Callable[..., collectors.Collector]]:
    """Starts a real OpenTelemetry Collector: `make_collector(receiver=", tls: {…}")`."""
    if not collectors.built():
        lack(f"needs an OpenTelemetry Collector: {collectors.HOW_TO_GET}")
    started: list[collectors.Collector] = []

    def make(**sections: str) -> collectors.Collector:
        folder = tmp_path / f"otelcol{len(started)}"
        folder.mkdir()
        started.append(collectors.Collector(folder, **sections))
        return started[-1].start()

    yield make
    for collector in started:
        collector.kill()


@pytest.fixture(scope="session")
def search_client(search_node: nodes.Node) -> Iterator[Any]:
    """A client of it that may do everything: fills indices, changes settings."""
    found = search_node.client()
    yield found
    found.close()
