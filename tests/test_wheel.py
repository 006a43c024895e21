"""The wheel: built, installed alone into an empty environment, and used from a folder that is not the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = [pytest.mark.slow, pytest.mark.needs("build")]


def called(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A program's end, with all it said where it failed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAILTRACE_", "PYTHON"))}
    return subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, check=False)


def must(*command: str | Path, cwd: Path) -> str:
    """What a program prints that has to succeed."""
    done = called(*command, cwd=cwd)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


# Session scope: built once, and before any test's HOME is set aside, so that pip finds its owner's settings.
@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel built from it."""
    folder = tmp_path_factory.mktemp("dist")
    must(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="session")
def wheel(dist: Path) -> Path:
    """The wheel."""
    (found,) = dist.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment that holds the wheel and what it asks for, nothing else."""
    home = tmp_path_factory.mktemp("venv")
    must(sys.executable, "-m", "venv", home, cwd=home)
    must(home / "bin" / "pip", "install", "-q", wheel, cwd=home)
    return home / "bin"


def in_wheel(wheel: Path) -> set[str]:
    """The files of the wheel, without its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def files(folder: str, *, below: str = "") -> set[str]:
    """The files of a folder of the checkout, as they are called in the wheel."""
    paths = (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {f"{below}{path.relative_to(ROOT)}" for path in paths}


def test_the_wheel_has_every_module_and_all_that_is_read_at_run_time(wheel: Path) -> None:
    data = "mailtrace/_data/"
    wanted = files("mailtrace") | files("schemas", below=data) | files("jobs", below=data)
    assert in_wheel(wheel) == wanted | {f"{data}config.yaml.sample"}


def test_the_sdist_has_what_builds_and_tests_and_nothing_else(dist: Path) -> None:
    (found,) = dist.glob("*.tar.gz")
    with tarfile.open(found) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tops = {name.partition("/")[0] for name in names}
    wanted = {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "tasks.py", "config.yaml.sample", "PKG-INFO"}
    assert wanted | {"mailtrace", "schemas", "jobs", "tests"} <= tops
    assert not tops & {".venv", "dist", "build", ".git", ".mypy_cache", "out"}
    assert not [name for name in names if name.endswith(".pyc")]


def test_the_installed_program_plays_the_demo_from_anywhere(installed: Path, tmp_path: Path) -> None:
    (demo,) = installed.parent.rglob("_data/jobs/demo.yaml")
    done = called(installed / "mailtrace", "play", demo, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "bianca+glm65713@beta.lab.test" in done.stdout


def test_the_installed_program_finds_its_schemas(installed: Path, tmp_path: Path) -> None:
    recipes = next(installed.parent.rglob("_data/jobs"))
    must(installed / "mailtrace", "lint", recipes, cwd=tmp_path)
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("version: 1\nkind: trace\nfindd: {}\n")
    done = called(installed / "mailtrace", "lint", wrong, cwd=tmp_path)
    assert done.returncode == 2
    assert "wrong.yaml:3:1" in done.stdout + done.stderr


def test_what_is_optional_is_not_needed(installed: Path, tmp_path: Path) -> None:
    listed = must(installed / "pip", "list", "--format=freeze", cwd=tmp_path)
    assert "opentelemetry" not in listed
    assert "opensearch" not in listed
    assert "pytest" not in listed
    must(installed / "mailtrace", "--list", cwd=tmp_path)
    must(installed / "python", "-c", "from mailtrace import *", cwd=tmp_path)
