"""NAME.test.yaml → `JobTest`, or every problem at once: of the test, of the job it plays, of that job's config."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mailtrace import times
from mailtrace.errors import RequestError
from mailtrace.load.check import Schema, below, check, fill, resolve, rules_of, schema
from mailtrace.load.tree import Node, name_paths
from mailtrace.problem import Problem, did_you_mean

if TYPE_CHECKING:
    from mailtrace.job import Job

ENDINGS = (".test.yaml", ".test.yml")
"""What the name of a test ends with."""

MATCHERS = {"array": frozenset({"includes", "count"}), "string": frozenset({"contains"})}
"""Mappings that stand for a list or a text of the report."""


@dataclass(frozen=True, slots=True)
class JobTest:
    """A job to play, with what must come of it: an exit code, and parts of the report as plain data."""

    path: Path
    name: str
    job: Job
    exit_code: int
    report: dict[str, Any]


def read_test(tree: Node, path: Path, load: Callable[..., Job]) -> tuple[JobTest | None, list[Problem]]:
    """A test from its document; `load` is `load_job`. None where anything is wrong."""
    rules = schema("test")
    rules["properties"]["config"] = {}
    problems = check(tree, rules)
    fill(tree, rules, rules)
    name_paths(tree)
    problems += _unknown(tree.at("report"), rules_of("report"), rules_of("report"))
    now = _now(tree.at("now"), problems)
    config = _config(tree, path.parent, problems)
    if problems:
        return None, problems
    named = tree.at("job").value
    job = named if named.startswith("@") else str(path.parent / named)
    try:
        variables = {name: node.raw or str(node.value) for name, node in (tree.at("vars").value or {}).items()}
        loaded = load(job, variables=variables, sets=tree.at("set").plain({}), config=config, now=now)
    except RequestError as error:
        return None, list(error.problems)
    wanted = tree.at("report").plain({})
    return JobTest(path, tree.at("name").plain("") or str(path), loaded, tree.at("exit_code").value, wanted), []


def _now(node: Node, problems: list[Problem]) -> float | None:
    if not node.value:
        return None
    try:
        return times.moment(node.value, time.time(), times.zone(""))
    except ValueError as error:
        problems.append(node.problem(str(error)))
        return None


def _config(tree: Node, folder: Path, problems: list[Problem]) -> Any:
    """What leads over the job's own config: None for nothing."""
    config, logs = tree.at("config"), tree.at("logs")
    if config.value and logs.value:
        problems.append(logs.problem("config and logs both say where the lines are", "write one of them"))
    if isinstance(config.value, str) and config.value:
        return str(folder / config.value)
    if config.value:
        return _beside(config.plain(), folder)
    if not logs.value:
        return None
    if isinstance(logs.value, dict):
        hosts = {host: {"log_files": _paths(files.plain(), folder)} for host, files in logs.value.items()}
        return {"method": "files", "files_config": {"host_config": {"log_files": []}, "hosts": hosts}}
    return {"method": "files", "files_config": {"host_config": {"log_files": _paths(logs.plain(), folder)}}}


def _beside(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A config that is written into a test: its logs are beside the test."""
    files = config.get("files_config")
    sections = [files.get("host_config"), *(files.get("hosts") or {}).values()] if isinstance(files, dict) else []
    for section in sections:
        if isinstance(section, dict) and section.get("log_files"):
            section["log_files"] = _paths(section["log_files"], folder)
    return config


def _paths(files: str | list[str], folder: Path) -> list[str]:
    return [str(folder.absolute() / file) for file in ([files] if isinstance(files, str) else files)]


def _unknown(node: Node, rules: Schema, root: Schema) -> list[Problem]:
    """Keys that no report has: a misspelt one would never be found."""
    rules = resolve(rules, root)
    kinds = rules.get("type", ())
    if isinstance(node.value, list):
        return [problem for item in node.value for problem in _unknown(item, rules.get("items", {}), root)]
    if not isinstance(node.value, dict):
        return []
    matcher = MATCHERS["array"] if kinds == "array" else MATCHERS["string"] if "object" not in kinds else frozenset()
    if matcher:
        items = _unknown(node.at("includes"), {"type": "array", "items": rules.get("items", {})}, root)
        return [*_strangers(node, matcher), *items]
    known = rules.get("properties", {})
    inside = [(child, below(rules, key, root)) for key, child in node.value.items() if key in known]
    return [*_strangers(node, known), *(problem for child, own in inside for problem in _unknown(child, own, root))]


def _strangers(node: Node, known: Any) -> list[Problem]:
    listed = sorted(known)
    return [
        child.problem(
            f'"{key[:60]}" is not in a report here',
            did_you_mean(key, listed) or f"there are: {', '.join(listed)}",
            at_key=True,
        )
        for key, child in node.value.items()
        if key not in known
    ]
