"""YAML with positions → variables → schema → Job or Config, or every problem at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Union

from mailtrace.config import Config
from mailtrace.job import Job
from mailtrace.problem import Problem

Document = Mapping[str, Any]
ConfigLike = Union[str, Path, Document, Config, None]
JobLike = Union[str, Path, Document, Job]


def find_config() -> Path | None:
    """The config that is meant where none is named: $MAILTRACE_CONFIG, ./config.yaml, ~/.config/mailtrace.yaml."""
    raise NotImplementedError


def load_config(config_path: ConfigLike = None, *, secrets: Mapping[str, str] | None = None) -> Config:
    """Load a config from a file or a mapping; None takes `find_config()`.

    `secrets` are passwords of the command line: {"ssh_config.password": …, "ssh_config.sudo_pass": …,
    "opensearch_config.password": …}. Raises `RequestError` with every problem.
    """
    raise NotImplementedError


def load_job(
    job: JobLike,
    *,
    variables: Mapping[str, str] | Sequence[str] = (),
    sets: Mapping[str, Any] | Sequence[str] = (),
    config: ConfigLike = None,
    limit: Sequence[str] = (),
    secrets: Mapping[str, str] | None = None,
) -> Job:
    """Load a job from a file or a mapping.

    `variables` are `-e`: {"who": "x@y"} or ["who=x@y"]; `sets` are `--set`: {"walk.max_hops": 5} or
    ["walk.max_hops=5"]; `config` is `-c` and leads over the job's own; `limit` are hosts and clusters.
    Raises `RequestError` with every problem of the job and of its config.
    """
    raise NotImplementedError


def lint(paths: Iterable[str | Path]) -> list[Problem]:
    """Every problem of these jobs and configs (directories: their *.yaml and *.yml), without running them."""
    raise NotImplementedError


def to_yaml(document: Document) -> str:
    """A job or config as YAML that reads back as the same, for `--print-job`."""
    raise NotImplementedError


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema `job`, `config`, `report` or `event`, from the wheel or the checkout."""
    raise NotImplementedError
