"""Which module may import which: the arrows that keep the parts apart, read from the source text."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parents[1] / "mailtrace"

LAYERS = (
    {"start"},
    {"cli"},
    {
        "aggregator",
        "annotations",
        "bundle",
        "completion",
        "console",
        "doctor",
        "explain",
        "interactive",
        "jobtest",
        "manual",
        "recipes",
        "request",
    },
    {"flags"},
    {"run", "tracing"},
    {"case", "nearby"},
    {"keys"},
    {"walk", "load", "eml", "keylist"},
    {"job"},
    {"sources", "parsers", "exporters"},
    {"config", "otlp"},
    {"rows", "story", "remarks", "summary"},
    {"wording"},
    {"output"},
    {"assemble", "clocks", "handoff", "hosts", "report", "graph", "expect", "notify", "patience", "redaction", "shelf"},
    {"model", "pages", "errors", "secret", "problem", "versions", "ids", "times", "codes", "glossary"},
)
"""A module imports from its own layer and from those below it. The package itself (`__init__`) may import all."""

APART = (
    {"sources", "parsers", "exporters"},
    {"job", "sources"},
    {"job", "parsers"},
    {"job", "exporters"},
    {"config", "parsers"},
    {"config", "exporters"},
)
"""Within each of these sets nobody imports anybody, whatever the layers say."""

THIRD_PARTY = {
    "fabric": {"sources.ssh*"},
    "hyperscan": {"sources.search"},
    "invoke": {"cli", "sources.ssh*"},
    "isal": {"sources.logfile", "tracing.packing"},
    "jsonschema": {"load.check"},
    "botocore": {"sources.opensearch_connection"},
    "opensearchpy": {"sources.opensearch*"},
    "google": {"otlp.outcome", "otlp.rpc"},
    "grpc": {"otlp.rpc"},
    "orjson": {"sources.opensearch_connection", "tracing.packing"},
    "opentelemetry": {"otlp.encode", "otlp.outcome", "tracing.*"},
    "paramiko": {"sources.ssh*"},
    "pydot": {"graph"},
    "rich": {"console", "exporters.timeline"},
    "yaml": {"load.tree"},
    "zstandard": {"pages", "sources.logfile"},
}
"""Each library and the modules that may import it; `ssh*` are the modules that together are that source."""

AT_START = {("cli", "invoke")}
"""The only imports of a library outside a function: the program cannot be described without Invoke."""


class Import(NamedTuple):
    """One import: the module it stands in and what it names (`run`, `sources.files`, `yaml`), without `mailtrace.`."""

    module: str
    line: int
    target: str
    own: bool  # of mailtrace
    in_function: bool
    for_types: bool  # under TYPE_CHECKING


def is_type_checking(node: ast.AST) -> bool:
    """Whether a node is `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def named(node: ast.AST, package: list[str]) -> Iterator[str]:
    """The full names that one node imports; `package` is the one its file stands in."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package[: len(package) - node.level + 1] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        yield from (f"{base}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        # the form in which registries name a class that is imported when it is used
        module, colon, name = node.value.partition(":")
        if colon and name.isidentifier() and module.startswith("mailtrace."):
            yield module


def visit(node: ast.AST, module: str, package: list[str], where: tuple[bool, bool]) -> Iterator[Import]:
    """Every import under a node; `where` tells whether it stands in a function, and whether under TYPE_CHECKING."""
    for full in named(node, package):
        top, _, rest = full.partition(".")
        own = top == package[0]
        yield Import(module, getattr(node, "lineno", 0), rest if own else top, own, *where)
    for child in ast.iter_child_nodes(node):
        in_function = where[0] or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        yield from visit(child, module, package, (in_function, where[1] or is_type_checking(child)))


def imports(root: Path) -> Iterator[Import]:
    """Every import of a package, wherever in a file it stands."""
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        module = ".".join(parts if parts[-1] != "__init__" else parts[:-1])
        tree = ast.parse(path.read_text(encoding="utf-8"))
        yield from visit(tree, module, [root.name, *parts[:-1]], (False, False))


def layer(module: str) -> int:
    """How far below the top a module stands."""
    top = module.partition(".")[0]
    for depth, names in enumerate(LAYERS):
        if top in names:
            return depth
    msg = f"{module}: which layer? Add it to LAYERS"
    raise LookupError(msg)


def upward(found: Import) -> bool:
    """Whether an import of our own breaks the arrows."""
    if not found.own or not found.module or found.target == "__version__":
        return False
    here, there = found.module.partition(".")[0], found.target.partition(".")[0]
    if any({here, there} <= apart and here != there for apart in APART):
        return True
    return not any(there in names for names in LAYERS) or layer(there) < layer(here)


def misplaced(found: Import) -> bool:
    """Whether an import of a library stands in a module that must not know it, or outside a function."""
    if found.own or found.target in sys.stdlib_module_names:
        return False
    if not any(fnmatchcase(found.module, allowed) for allowed in THIRD_PARTY.get(found.target, set())):
        return True
    return not (found.in_function or found.for_types or (found.module, found.target) in AT_START)


def circles(found: list[Import], root: Path) -> list[str]:
    """Modules that need each other to be imported, as `a -> b -> a`."""
    modules = {i.module for i in found} | {
        ".".join(p.relative_to(root).with_suffix("").parts) for p in root.rglob("*.py") if p.stem != "__init__"
    }
    needs: dict[str, set[str]] = {}
    for item in found:
        if item.own and item.module and not item.in_function and not item.for_types:
            target = item.target if item.target in modules else item.target.rpartition(".")[0]
            if target and target != item.module:
                needs.setdefault(item.module, set()).add(target)
    rings: list[str] = []

    def walk(trail: list[str]) -> None:
        for target in sorted(needs.get(trail[-1], ())):
            if target == trail[0]:
                rings.append(" -> ".join([*trail, target]))
            elif target not in trail and target > trail[0]:
                walk([*trail, target])

    for module in sorted(needs):
        walk([module])
    return rings


def told(found: Import) -> str:
    """An import as a reader finds it."""
    return f"mailtrace.{found.module}:{found.line} imports {found.target}"


FOUND = list(imports(PACKAGE))


def test_every_module_has_its_layer() -> None:
    modules = {found.module for found in imports(PACKAGE) if found.module}
    modules |= {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")}
    for module in modules - {"__init__", ""}:
        layer(module)


def test_imports_run_downwards_only() -> None:
    assert [told(found) for found in FOUND if upward(found)] == []


def test_a_library_is_imported_in_its_own_module_and_inside_a_function() -> None:
    assert [told(found) for found in FOUND if misplaced(found)] == []


def test_no_modules_need_each_other() -> None:
    assert circles(FOUND, PACKAGE) == []


@pytest.mark.parametrize(
    "path, text",
    [
        ("model.py", "from mailtrace.hosts import Inventory"),
        ("sources/files.py", "from mailtrace.parsers import auto"),
        ("sources/files.py", "from mailtrace import parsers"),
        ("sources/files.py", "import mailtrace.exporters.dot"),
        ("sources/files.py", "from ..parsers import auto"),
        ("parsers/auto.py", "from mailtrace.config import Config"),
        ("exporters/dot.py", "def draw():\n    from mailtrace.walk import walk"),
        ("exporters/dot.py", "PARSERS = {'auto': 'mailtrace.parsers.auto:Auto'}"),
        ("job.py", "from mailtrace.sources.files import Files"),
        ("hosts.py", "from mailtrace.config import Config"),
        ("run.py", "from mailtrace import run_job"),
    ],
)
def test_an_arrow_that_points_up_is_seen(tmp_path: Path, path: str, text: str) -> None:
    file = tmp_path / "mailtrace" / path
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert [found for found in imports(tmp_path / "mailtrace") if upward(found)]


@pytest.mark.parametrize(
    "path, text",
    [
        ("load/tree.py", "import yaml"),
        ("load/tree.py", "class A:\n    import yaml"),
        ("walk.py", "def f():\n    import yaml"),
        ("load/tree.py", "def f():\n    import ruamel.yaml"),
        ("exporters/json.py", "def f():\n    from rich.text import Text"),
    ],
)
def test_a_misplaced_library_is_seen(tmp_path: Path, path: str, text: str) -> None:
    file = tmp_path / "mailtrace" / path
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert [found for found in imports(tmp_path / "mailtrace") if misplaced(found)]


def test_what_is_allowed_is_not_held_against_anyone(tmp_path: Path) -> None:
    root = tmp_path / "mailtrace"
    root.mkdir()
    (root / "__init__.py").write_text("from mailtrace.run import run_job")
    (root / "load").mkdir()
    (root / "load" / "tree.py").write_text("import json\nfrom mailtrace.job import Job\ndef f():\n    import yaml")
    (root / "cli.py").write_text("import invoke\nfrom mailtrace import load")
    found = list(imports(root))
    assert len(found) == 6
    assert not [item for item in found if upward(item) or misplaced(item)]


def test_a_circle_is_seen(tmp_path: Path) -> None:
    root = tmp_path / "mailtrace"
    root.mkdir()
    (root / "a.py").write_text("from mailtrace.b import B")
    (root / "b.py").write_text("from mailtrace import c")
    (root / "c.py").write_text("import mailtrace.a")
    assert circles(list(imports(root)), root) == ["a -> b -> c -> a"]
    (root / "c.py").write_text("def f():\n    import mailtrace.a")
    assert circles(list(imports(root)), root) == []
