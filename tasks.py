"""The project's tasks, and beside them all commands of mailtrace: `invoke trace …` here is `mailtrace trace …`."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from invoke import Collection, Exit, task

from mailtrace import cli
from mailtrace.manual import manual as whole_manual

if TYPE_CHECKING:
    from invoke import Context

HERE = Path(__file__).parent
PYTHON = sys.executable


@task
def check(c: Context) -> None:
    """Look at the code without running it: ruff, its formatting, mypy."""
    looks = ("ruff check .", "ruff format --check .", "mypy")
    with c.cd(HERE):
        done = [c.run(f"{PYTHON} -m {look}", echo=True, warn=True) for look in looks]
    if not all(done):
        raise Exit(code=1)


@task
def fmt(c: Context) -> None:
    """Format the code and mend what ruff can mend by itself."""
    with c.cd(HERE):
        c.run(f"{PYTHON} -m ruff check --fix-only .", echo=True)
        c.run(f"{PYTHON} -m ruff format .", echo=True)


@task(
    name="test",
    help={
        "args": "what pytest gets, as in --args 'tests/test_job.py -k near'",
        "jaeger": "build a real Jaeger (minutes, 3 GB) and test against it alone",
    },
)
def run_tests(c: Context, args: str = "", jaeger: bool = False) -> None:
    """Run the tests, all of them without --args."""
    with c.cd(HERE):
        if jaeger:
            c.run(f"{PYTHON} tests/otelcol/jaeger.py", echo=True)
            args = f"--jaeger tests/test_jaeger.py {args}"
        c.run(f"{PYTHON} -m pytest {args}", echo=True, pty=sys.stdout.isatty())


@task(help={"args": "what the benchmark gets, as in --args '--lines 1000000'"})
def bench(c: Context, args: str = "") -> None:
    """Measure speed and memory on generated logs, beside grep on the same logs."""
    with c.cd(HERE):
        c.run(f"{PYTHON} -m tests.bench {args}", echo=True, pty=sys.stdout.isatty())


LAB = "Usage: invoke lab up | traffic --out FOLDER | down | run --out FOLDER  [--seed N] [--folder PATH]"


# Invoke takes the `--help` of `invoke lab --help` for the word.
@task(
    positional=["does"],
    help={
        "does": "up: start the hosts; traffic: send the mails; down: end all of it; run: all three",
        "out": "folder for the logs, hosts.json and truth.jsonl",
        "seed": "another seed, other mails",
        "folder": "where the hosts live; two labs need two",
    },
)
def lab(c: Context, does: str, out: str = "", seed: int = 1, folder: str = "") -> None:
    """Send mail through real servers in network namespaces; keep their logs and the truth (as root)."""
    if does in {"--help", "-h"}:
        sys.stdout.write(f"{LAB}\n")
        return
    if does not in {"up", "traffic", "down", "run"} or (does in {"traffic", "run"} and not out):
        raise Exit(LAB, code=2)
    where = f"--folder {shlex.quote(str(Path(folder).absolute()))} " if folder else ""
    command = f"{PYTHON} -m tests.lab {where}{does}"
    if out:
        command += f" --seed {seed} {shlex.quote(str(Path(out).absolute()))}"
    with c.cd(HERE):
        c.run(command, echo=True)


@task(help={"version": "2.19.4 or 3.8.0"})
def opensearch(c: Context, version: str = "3.8.0") -> None:
    """Start an OpenSearch with the demo's logs in it, to try mailtrace on (needs a JDK and Maven)."""
    with c.cd(HERE):
        c.run(f"{PYTHON} -m tests.opensearch_node --version {shlex.quote(version)}", echo=True)


@task
def picture(c: Context) -> None:
    """Draw the README's pictures anew, from what the demo shows (needs Graphviz)."""
    program = str(Path(PYTHON).with_name("mailtrace"))

    def play(*options: str) -> str:
        command = [program, "play", "jobs/demo.yaml", "--utc", *options]
        surroundings = {**os.environ, "COLUMNS": "80", "TZ": "UTC"}
        return subprocess.run(command, cwd=HERE, env=surroundings, check=True, stdout=subprocess.PIPE, text=True).stdout

    play("--set", "export=[{svg: {to: jobs/demo/demo.svg}}]")
    shown = play().partition("\n── Mail 2 of ")[0]  # the README is one page: the first mail tells enough
    readme = HERE / "README.md"
    head, mark, rest = readme.read_text(encoding="utf-8").partition("<!-- demo -->\n```text\n")
    readme.write_text(f"{head}{mark}{shown}```{rest.partition('```')[2]}", encoding="utf-8")


@task
def manual(c: Context) -> None:
    """Write MANUAL.md anew, from its guide, schemas, flags and docstrings."""
    (HERE / "MANUAL.md").write_text(whole_manual(cli.described()), encoding="utf-8")


ns = Collection(check, fmt, run_tests, bench, lab, opensearch, picture, manual)
for command in cli.namespace.tasks.values():
    if command.name not in ns.tasks:  # here `test` is the project's own; `mailtrace test` tests jobs
        ns.add_task(command)
