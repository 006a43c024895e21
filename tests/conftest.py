"""What every test may ask for: parts of the machine, the demo's fleet."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

HOW_TO_GET = {
    "dot": "apt-get install graphviz",
    "zcat": "apt-get install gzip",
    "xz": "apt-get install xz-utils",
    "bzip2": "apt-get install bzip2",
    "zstd": "apt-get install zstd",
    "sshd": "apt-get install openssh-server",
    "ssh-keygen": "apt-get install openssh-client",
    "postfix": "apt-get install postfix",
    "exim4": "apt-get install exim4-daemon-light",
    "journalctl": "a system with systemd",
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
    "bash": "apt-get install bash",
    "dash": "apt-get install dash",
}
"""Every part a test may need, and how to get it: a program, a Python package, or `root`."""

SYSTEM_FOLDERS = "/usr/sbin:/sbin:/usr/local/sbin"
"""Daemons are there; an ordinary user's PATH is not."""


def has(part: str) -> bool:
    """Whether this machine has the part."""
    if part == "root":
        return os.geteuid() == 0
    path = f"{os.environ.get('PATH', os.defpath)}:{SYSTEM_FOLDERS}"
    return shutil.which(part, path=path) is not None or importlib.util.find_spec(part) is not None


def insist(part: str) -> None:
    """Skip the running test where the part is missing; fail it where MAILTRACE_REQUIRE=all says that nothing may be."""
    how = HOW_TO_GET[part]  # a KeyError here: add the part to the list above, with its cure
    if has(part):
        return
    why = f"needs {part}: {how}"
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
