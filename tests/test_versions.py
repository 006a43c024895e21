"""`mailtrace --version`: mailtrace, and all that it uses."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from mailtrace import __version__, versions

if TYPE_CHECKING:
    import pytest

PROGRAM = Path(sys.executable).parent / "mailtrace"


def test_every_library_that_the_package_asks_for_is_told_with_its_version() -> None:
    parts = {part.name: part for part in versions.libraries()}
    assert {"fabric", "invoke", "jsonschema", "rich", "opensearch-py", "opentelemetry-sdk"} <= set(parts)
    assert parts["invoke"].version.startswith("2.")
    assert (parts["invoke"].extra, parts["opensearch-py"].extra) == ("", "opensearch")
    assert "pytest" not in parts


def test_the_first_line_is_mailtrace_itself() -> None:
    done = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr, lines[0]) == (0, "", f"mailtrace {__version__}")
    assert any(line.startswith("Python 3.") for line in lines)
    assert any(line.startswith("fabric ") for line in lines)
    assert any(line.startswith("Graphviz ") for line in lines)


def test_what_is_not_installed_is_told_with_what_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", gone)
    monkeypatch.setenv("PATH", os.devnull)
    told = versions.told("1.0")
    assert "opensearch-py is not installed (for reading an index)" in told
    assert "Graphviz is not installed (for pictures)" in told
    assert "invoke is not installed" in told


def test_a_folder_that_nobody_installed_has_no_libraries_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", gone)
    assert versions.libraries() == []
