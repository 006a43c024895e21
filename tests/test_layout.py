"""Where files stand: what the top holds, a test file for every module, and names that say something."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

TOP = {
    ".ci",
    ".gitignore",
    ".pre-commit-config.yaml",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "MANUAL.md",
    "README.md",
    "config.yaml.sample",
    "jobs",
    "mailtrace",
    "pyproject.toml",
    "schemas",
    "tasks.py",
    "tests",
}
"""What may stand at the top of the repository."""

WITHOUT_TEST = {
    "__init__.py": "test_exports.py looks at the public face",
    "model.py": "data without behaviour: every other test uses it",
}
"""Modules without a test file of their own, and why."""

ABOUT_THE_WHOLE = {
    "sources/test_questions.py",
    "sources/test_ssh_faults.py",
    "test_arrows.py",
    "test_corpus.py",
    "test_docs.py",
    "test_exports.py",
    "test_faults.py",
    "test_jaeger.py",
    "test_layout.py",
    "test_library.py",
    "test_recipes.py",
    "test_truth.py",
    "test_wheel.py",
}
"""Tests of no single module."""

VOCABULARIES = {"sources", "parsers", "exporters"}
"""Packages whose every module is a word of the job file, with a test of its own."""

NO_NAME = {"base", "common", "core", "helper", "helpers", "main", "manager", "misc", "tools", "util", "utils"}
"""A module is a noun of mail or of this program; these are none."""


def tracked() -> list[str]:
    """The repository's files, and those that would join it."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


def checkout_only() -> None:
    """A test that asks git can do so in a checkout only."""
    if not (ROOT / ".git").exists():
        pytest.skip("asks git which files belong to the project, and this is no checkout")


def strangers(names: Iterable[str]) -> set[str]:
    """Entries that have no business at the top."""
    return {name.partition("/")[0] for name in names} - TOP


def files_for(module: str) -> list[str]:
    """The test files that a module may have, best first, all as paths within `mailtrace` and `tests`.

    A package is tested under its name, a vocabulary's registry beside its words. The parts of a package that is no
    vocabulary may be tested through its face, and those of a word (`ssh_channel.py`) through the word.
    """
    path = Path(module)
    package = path.parent.name
    whole = str(path.parent.parent / f"test_{package}.py")
    if path.name == "__init__.py":
        return [whole, str(path.parent / "test_registry.py")]
    own = str(path.parent / f"test_{path.name}")
    word = str(path.parent / f"test_{path.stem.partition('_')[0]}.py")  # ssh_channel.py is a part of ssh.py
    return [own, word] if package in {"", *VOCABULARIES} else [own, whole]


def modules() -> list[str]:
    """Every module that holds code, as a path within the package."""
    package = ROOT / "mailtrace"
    return sorted(
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if path.name != "__init__.py" or path.stat().st_size > 0
    )


@pytest.mark.needs("git")
def test_only_what_is_expected_stands_at_the_top() -> None:
    checkout_only()
    assert strangers(tracked()) == set()


def test_a_stranger_at_the_top_is_seen() -> None:
    assert strangers(["README.md", "notes.txt", "mailtrace/cli.py", "scratch/a.py"]) == {"notes.txt", "scratch"}


def test_every_module_has_its_test_file() -> None:
    assert [
        f"mailtrace/{module}: where is tests/{files_for(module)[0]}?"
        for module in modules()
        if module not in WITHOUT_TEST and not any((ROOT / "tests" / test).exists() for test in files_for(module))
    ] == []


def test_every_test_file_has_its_module() -> None:
    tests = ROOT / "tests"
    wanted = {test for module in modules() for test in files_for(module)}
    found = {str(path.relative_to(tests)) for path in tests.rglob("test_*.py")}
    alone = {name for name in found - wanted - ABOUT_THE_WHOLE if not name.startswith(("lab/", "bench/", "typing/"))}
    assert alone == set()


def test_every_exception_is_still_one() -> None:
    assert [name for name in WITHOUT_TEST if not (ROOT / "mailtrace" / name).exists()] == []


def test_names_of_modules_say_something() -> None:
    assert [module for module in modules() if Path(module).stem.strip("_") in NO_NAME] == []


@pytest.mark.needs("git")
def test_nothing_generated_is_kept_in_the_repository() -> None:
    checkout_only()
    assert [name for name in tracked() if name.endswith((".pyc", ".so", ".whl", ".tar.gz", ".egg-info"))] == []


@pytest.mark.needs("git")
def test_ci_and_scripts_can_be_run() -> None:
    checkout_only()
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
