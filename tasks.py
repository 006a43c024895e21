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


@task(name="test", help={"args": "what pytest gets, as in --args 'tests/test_job.py -k near'"})
def run_tests(c: Context, args: str = "") -> None:
    """Run the tests, all of them without --args."""
    with c.cd(HERE):
        c.run(f"{PYTHON} -m pytest {args}", echo=True, pty=sys.stdout.isatty())


@task(help={"args": "what the benchmark gets, as in --args '--lines 1000000'"})
def bench(c: Context, args: str = "") -> None:
    """Measure speed and memory on generated logs, beside grep on the same logs."""
    with c.cd(HERE):
        c.run(f"{PYTHON} -m tests.bench {args}", echo=True, pty=sys.stdout.isatty())


# No positional: Invoke would take the `--help` of `invoke lab --help` for the folder, and start the lab.
@task(help={"out": "folder for the logs, hosts.json and truth.jsonl", "seed": "another seed, other mails"})
def lab(c: Context, out: str = "", seed: int = 1) -> None:
    """Send mail through real servers in network namespaces; keep their logs and the truth (as root)."""
    if not out:
        msg = "where to? invoke lab --out FOLDER"
        raise Exit(msg, code=2)
    with c.cd(HERE):
        c.run(f"{PYTHON} -m tests.lab run --seed {seed} {shlex.quote(str(Path(out).absolute()))}", echo=True)


@task
def picture(c: Context) -> None:
    """Draw the README's pictures anew, from what the demo shows (needs Graphviz)."""
    program = str(Path(PYTHON).with_name("mailtrace"))

    def play(*options: str) -> str:
        command = [program, "play", "jobs/demo.yaml", "--utc", *options]
        surroundings = {**os.environ, "COLUMNS": "80", "TZ": "UTC"}
        return subprocess.run(command, cwd=HERE, env=surroundings, check=True, stdout=subprocess.PIPE, text=True).stdout

    play("--set", "export=[{svg: {to: jobs/demo/demo.svg}}]")
    shown = play()
    readme = HERE / "README.md"
    head, mark, rest = readme.read_text(encoding="utf-8").partition("<!-- demo -->\n```text\n")
    readme.write_text(f"{head}{mark}{shown}```{rest.partition('```')[2]}", encoding="utf-8")


ns = Collection(check, fmt, run_tests, bench, lab, picture)
for command in cli.namespace.tasks.values():
    ns.add_task(command)
