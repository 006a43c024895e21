"""`python -m tests.lab up | traffic | down | run`: see README.md."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from . import build, corpus
from .cells import Cells
from .fleet import PARTNERS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    parser.add_argument("--cut-tags", action="store_true", help="the log host names instances, not their daemons")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/mailtrace-lab"), help="where the hosts live")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="build and start the hosts")
    commands.add_parser("down", help="end everything and delete the hosts")
    inside = commands.add_parser("exec", help="run a command on a host")
    inside.add_argument("host")
    inside.add_argument("argv", nargs=argparse.REMAINDER)
    visit = commands.add_parser("visit", help="run a program of the machine's own in the lab's network")
    visit.add_argument("argv", nargs=argparse.REMAINDER)
    for name, does in (("traffic", "send the mails, write logs and truth"), ("run", "up, traffic and down")):
        traffic = commands.add_parser(name, help=does)
        traffic.add_argument("out", type=Path, help="folder of logs, hosts.json and truth.jsonl")
        traffic.add_argument("--seed", type=int, default=1)
        traffic.add_argument("--scale", type=float, default=1.0, help="how often each kind of mail is sent")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("the lab makes namespaces and mounts: run it as root")
    cells = Cells(arguments.folder / "run")
    if arguments.command in ("up", "run"):
        _down(cells)
        try:
            build.up(cells, arguments.folder / "packages", whole_tags=not arguments.cut_tags)
        except BaseException:
            cells.stop()
            raise
    try:
        if arguments.command == "visit":
            sys.exit(subprocess.run([*cells.in_namespace(PARTNERS), *arguments.argv], check=False).returncode)
        if arguments.command == "exec":
            print(cells.run(arguments.host, *arguments.argv), end="")
        if arguments.command in ("traffic", "run"):
            corpus.make(cells, arguments.out, seed=arguments.seed, scale=arguments.scale)
    finally:
        if arguments.command in ("down", "run"):
            _down(cells)


def _down(cells: Cells) -> None:
    cells.stop()
    cells.remove()


main()
