"""Which versions of what are here: mailtrace, Python, the libraries it asks for, Graphviz."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from importlib import metadata
from typing import NamedTuple

EXTRAS = {"opensearch": "reading an index", "tracing": "sending traces to OpenTelemetry"}
"""What the optional libraries are for, by the extra that brings them."""

GRAPHVIZ = "apt-get install graphviz"


class Part(NamedTuple):
    """A program or library: `version` is "" where it is not installed, `extra` the one that brings it."""

    name: str
    version: str
    extra: str = ""


def libraries() -> list[Part]:
    """The libraries that the installed package asks for; those of the development extra are left out."""
    try:
        wanted = metadata.requires("mailtrace") or []
    except metadata.PackageNotFoundError:  # run from a folder that nobody installed
        return []
    found: dict[str, Part] = {}
    for line in wanted:
        name = re.split(r"[^\w.-]", line, maxsplit=1)[0]
        extra = re.search(r"extra == ['\"]([\w-]+)", line)
        if name != "mailtrace" and (extra is None or extra[1] in EXTRAS):
            found.setdefault(name, Part(name, _installed(name), extra[1] if extra else ""))
    return sorted(found.values())


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def graphviz() -> Part:
    """Graphviz' dot, which draws pictures."""
    if shutil.which("dot") is None:
        return Part("Graphviz", "")
    try:
        said = subprocess.run(["dot", "-V"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return Part("Graphviz", "")
    found = re.search(r"version ([\d.]+)", said.stderr + said.stdout)
    return Part("Graphviz", found[1] if found else "of unknown version")


def told(version: str) -> list[str]:
    """`mailtrace --version`: a line for each part."""
    lines = [f"mailtrace {version}", f"Python {platform.python_version()} on {platform.system()}"]
    for part in (*libraries(), graphviz()):
        what = f" (for {EXTRAS[part.extra]})" if part.extra else " (for pictures)" if part.name == "Graphviz" else ""
        lines.append(f"{part.name} {part.version or 'is not installed' + what}")
    return lines
