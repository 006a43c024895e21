"""`extends: PATH` in a job: one parent, which may have one of its own. `@NAME` is a recipe that comes with mailtrace.

Mappings are merged key by key, the child's values lead, lists and everything else are replaced; `null` unsets what the
parent has. Values keep the place they were written in, so that a problem in the parent names the parent's line.
Relative paths stay relative to the file they stand in.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from mailtrace.load.check import data_folder
from mailtrace.load.fleet import at_home
from mailtrace.load.tree import Node
from mailtrace.load.variables import Broken, Variables
from mailtrace.problem import Problem, did_you_mean

MOST = 20
"""Generations of parents; more is no inheritance that anybody could follow."""

PATHS = (
    ("config",),
    ("source", "*", "files", "log_files"),
    ("config", "files_config", "host_config", "log_files"),
    ("config", "files_config", "hosts", "*", "log_files"),
    ("config", "ssh_config", "private_key"),
    ("config", "ssh_config", "known_hosts"),
    ("config", "ssh_config", "ssh_config_file"),
)
"""Where a job names files to read; `*` is any key or item."""

_NO_FILES = frozenset({"", "-", "journal"})

Open = Callable[[Path], tuple[Node | None, list[Problem]]]
"""Reads a job file; None where nothing of it can be used."""


def recipes() -> list[str]:
    """The names of the recipes that come with mailtrace."""
    return sorted(path.stem for path in (data_folder() / "jobs").glob("*.yaml"))


def recipe(name: str) -> Path | None:
    """The file of a recipe that comes with mailtrace; None where there is none of that name."""
    return data_folder() / "jobs" / f"{name}.yaml" if name in recipes() else None


def no_recipe(name: str) -> tuple[str, str]:
    """What to say of a recipe that there is not, and the cure."""
    return f'there is no recipe "{name[:60]}"', did_you_mean(name, recipes()) or f"there are: {', '.join(recipes())}"


def inherit(tree: Node, base: Path, variables: Variables, read: Open, file: Path | None = None) -> list[Problem]:
    """Merge the parents of a job into its tree; what `extends` says is taken out of it."""
    seen = [os.path.realpath(file)] if file else []
    return _inherit(tree, base, variables, read, seen)


def _inherit(tree: Node, base: Path, variables: Variables, read: Open, seen: list[str]) -> list[Problem]:
    node = tree.value.pop("extends", None)
    if node is None or node.value in (None, ""):
        return []
    if not isinstance(node.value, str):
        return [node.problem('"extends" is the path of one job, or @ and the name of a recipe')]
    try:
        said = variables.text(node.value).text
    except Broken as broken:
        return [node.problem(str(broken), broken.hint)]
    path = recipe(said[1:]) if said.startswith("@") else base / at_home(said)
    if path is None:
        return [node.problem(*no_recipe(said[1:]))]
    real = os.path.realpath(path)
    if real in seen:
        ring = " → ".join(Path(each).name for each in [*seen[seen.index(real) :], real])
        return [node.problem(f"the job extends itself: {ring}")]
    if len(seen) >= MOST:
        return [node.problem(f"more than {MOST} jobs extend one another")]
    return _merge_parent(tree, node, said, path, variables, read, [*seen, real])


def _merge_parent(
    tree: Node, node: Node, said: str, path: Path, variables: Variables, read: Open, seen: list[str]
) -> list[Problem]:
    """Read one parent, with its own parents, and put what it has below the child."""
    parent, problems = read(shown_path(path))
    if parent is None and all(not problem.line for problem in problems):
        why = next((problem.message for problem in problems), "it is empty")
        hint = "" if said.startswith(("/", "~", "@")) else "the path is relative to the job file"
        return [node.problem(f'the parent "{said[:200]}": {why}', hint)]
    if parent is None or not isinstance(parent.value, dict):
        what = [] if problems else [node.problem(f'the parent "{said[:200]}" is no mapping of keys to values')]
        return [*problems, *what]
    folder = path.parent
    problems += _inherit(parent, folder, variables, read, seen)
    for place in PATHS:
        _rebase(parent, place, folder)
    tree.value = merged(parent, tree).value
    return problems


def merged(parent: Node, child: Node) -> Node:
    """The child, with what the parent has and the child does not say."""
    if not (isinstance(parent.value, dict) and isinstance(child.value, dict)):
        return child
    for key, below in parent.value.items():
        own = child.value.get(key)
        child.value[key] = below if own is None else merged(below, own)
    return child


def _rebase(node: Node, place: tuple[str, ...], folder: Path) -> None:
    """Make relative paths absolute; what begins with a variable is taken to be so."""
    if place:
        below = node.value.items() if isinstance(node.value, dict) else enumerate(node.children())
        for key, child in below:
            if place[0] in ("*", key):
                _rebase(child, place[1:], folder)
    elif isinstance(node.value, list):
        for child in node.value:
            _rebase(child, (), folder)
    elif isinstance(node.value, str) and not node.value.startswith(("/", "~", "${")) and node.value not in _NO_FILES:
        node.value = os.path.normpath(folder / node.value)


def shown_path(path: Path) -> Path:
    """A path as a reader wants it: without `x/../`, relative where it is below the working directory."""
    plain = os.path.normpath(path)
    here = str(Path.cwd())
    return Path(os.path.relpath(plain, here) if plain.startswith(here + os.sep) else plain)
