"""The exports that show the flow as a graph: `dot`, and its pictures `svg` and `png`, which Graphviz draws."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import Any, ClassVar

from mailtrace.errors import ExportError
from mailtrace.graph import MailGraph
from mailtrace.report import Report

TIMEOUT = 120
"""Seconds that Graphviz may take: a fleet's day takes one or two."""
LOOK = (
    "-Grankdir=LR",
    "-Gfontname=sans-serif",
    "-Gnodesep=0.4",
    "-Gpad=0.2",
    "-Nfontname=sans-serif",
    "-Nshape=box",
    "-Nstyle=rounded",
    "-Nheight=0.4",
    "-Ncolor=#44546a",
    "-Efontname=monospace",
    "-Efontsize=10",
    "-Ecolor=#44546a",
    "-Earrowsize=0.7",
)
"""How pictures look. It is no part of the DOT text, whose reader has a taste of his own."""


@dataclass(frozen=True, slots=True)
class Dot:
    """The flow in Graphviz' language."""

    binary: ClassVar[bool] = False

    def export(self, report: Report, stream: Any) -> None:
        """Write the graph to a text stream."""
        MailGraph.of(report).to_dot(stream)


@dataclass(frozen=True, slots=True)
class Svg:
    """The flow as a scalable picture."""

    binary: ClassVar[bool] = True

    def export(self, report: Report, stream: Any) -> None:
        """Write the picture to a binary stream. Raises `ExportError` where Graphviz can't draw it."""
        stream.write(_draw(report, "svg"))


@dataclass(frozen=True, slots=True)
class Png:
    """The flow as a picture of pixels."""

    binary: ClassVar[bool] = True

    def export(self, report: Report, stream: Any) -> None:
        """Write the picture to a binary stream. Raises `ExportError` where Graphviz can't draw it."""
        stream.write(_draw(report, "png"))


def _draw(report: Report, form: str) -> bytes:
    cure = "install graphviz (apt install graphviz, brew install graphviz) or write .dot"
    try:
        done = subprocess.run(
            ["dot", f"-T{form}", *LOOK],
            input=str(MailGraph.of(report))
            .replace("digraph {", 'digraph "mail flow" {', 1)
            .encode(),  # the SVG's title
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
    except FileNotFoundError:
        raise ExportError(f"cannot draw {form}: the program `dot` is not there; {cure}") from None
    except OSError as error:
        raise ExportError(f"cannot draw {form}: `dot` does not start: {error.strerror or error}; {cure}") from None
    except subprocess.TimeoutExpired:
        raise ExportError(f"cannot draw {form}: `dot` took over {TIMEOUT} s; narrow the search or write .dot") from None
    if done.returncode or not done.stdout:
        said = done.stderr.decode("utf-8", "backslashreplace").strip() or f"exit code {done.returncode}"
        raise ExportError(f"cannot draw {form}: `dot` failed: {said[:500]}; write .dot instead")
    return done.stdout
