"""YAML with positions → variables → schema → Job or Config, or every problem at once.

What can go wrong is collected from all stages, syntax to names, of the job and of its config; `RequestError` carries
all of it. Nothing else is raised, whatever the file or the dict holds.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from mailtrace.config import Config
from mailtrace.errors import RequestError
from mailtrace.job import Job
from mailtrace.load.check import Schema, below, check, data_folder, fill, resolve, rules_of, schema
from mailtrace.load.fleet import SECRETS, Values, at_home, find_method, read_config, unread
from mailtrace.load.jobtest import ENDINGS as TEST_ENDINGS
from mailtrace.load.jobtest import JobTest, read_test
from mailtrace.load.overrides import Override, override, read_sets, read_variables
from mailtrace.load.parents import inherit, no_recipe, recipe, recipes, shown_path
from mailtrace.load.question import Around, read_job
from mailtrace.load.tree import MOST_BYTES, Node, from_python, from_yaml, name_paths, to_yaml
from mailtrace.load.variables import Broken, Variables, literal
from mailtrace.problem import Problem, did_you_mean
from mailtrace.secret import Redactor, Secret

__all__ = [
    "PRECEDENCE",
    "ConfigLike",
    "Document",
    "JobLike",
    "at_home",
    "data_folder",
    "find_config",
    "lint",
    "lintable",
    "literal",
    "load_config",
    "load_job",
    "load_test",
    "no_recipe",
    "read_document",
    "recipe",
    "recipes",
    "schema",
    "to_yaml",
]

Document = Mapping[str, Any]
ConfigLike = str | Path | Document | Config | None
JobLike = str | Path | Document | Job

PRECEDENCE = {"default": 0, "config": 1, "environment": 2, "job": 3, "command line": 4}
"""Whose value counts where several give one: the highest. `Node.origin` is one of these."""

DEFAULT_EXPORT = {"trace": "timeline", "graph": "dot", "tracing": "otlp"}
ENTRY_POINTS = {"source": "mailtrace.sources", "parse": "mailtrace.parsers", "export": "mailtrace.exporters"}

_RELATIVE = "the path is relative to the job file"
_SECRET_KEY = re.compile(r"\b(?:password|passphrase|sudo_pass|authorization)\b", re.IGNORECASE)
_JOB_KEYS = frozenset({"version", "kind", "extends", "vars", "find", "source", "parse", "walk", "export", "expect"})
_CONFIG_KEYS = frozenset({"method", "ssh_config", "opensearch_config", "files_config", "clusters", "domain", "hosts"})


class _Read(NamedTuple):
    """A config that was read, and the tree that it came from."""

    config: Config
    tree: Node


def find_config() -> Path | None:
    """The config that is meant where none is named: $MAILTRACE_CONFIG, ./config.yaml, ~/.config/mailtrace.yaml.

    $MAILTRACE_CONFIG counts also where there is no such file: silently taking another would answer for another fleet.
    """
    named = os.environ.get("MAILTRACE_CONFIG")
    if named:
        return at_home(named)
    places = [Path("config.yaml")]
    places.append(at_home("~/.config/mailtrace.yaml"))
    return next((place for place in places if place.is_file()), None)


def load_config(config_path: ConfigLike = None, *, secrets: Mapping[str, str] | None = None) -> Config:
    """Load a config from a file or a mapping; None takes `find_config()`.

    `secrets` are passwords of the command line: {"ssh_config.password": …, "ssh_config.sudo_pass": …,
    "opensearch_config.password": …}. Raises `RequestError` with every problem.
    """
    if isinstance(config_path, Config):
        return config_path
    problems: list[Problem] = []
    source = find_config() if config_path is None else config_path
    if source is None:
        raise RequestError([_no_config()])
    read = _config(source, problems, _overrides(secrets), {})
    if problems or read is None:
        raise RequestError(_sorted(problems))
    return read.config


def load_job(
    job: JobLike,
    *,
    variables: Mapping[str, str] | Sequence[str] = (),
    sets: Mapping[str, Any] | Sequence[str] = (),
    config: ConfigLike = None,
    limit: Sequence[str] = (),
    secrets: Mapping[str, str] | None = None,
    now: float | None = None,
) -> Job:
    """Load a job from a file or a mapping.

    `"@name"` is a recipe that comes with mailtrace. `variables` are `-e`: {"who": "x@y"} or ["who=x@y"]; `sets` are
    `--set`: {"walk.max_hops": 5} or ["walk.max_hops=5"], those under `config.` reach into the config; `config` is `-c`
    and leads over the job's own;
    `limit` are hosts and clusters; `now` (UTC seconds) is the moment that "2h ago" counts from, by default the real
    one. A `Job` is returned as it is. Raises `RequestError` with every problem of the job and of its config.
    """
    if isinstance(job, Job):
        return job
    problems: list[Problem] = []
    if isinstance(job, str) and job.startswith("@"):
        found = recipe(job[1:])
        if found is None:
            message, hint = no_recipe(job[1:])
            raise RequestError([Problem(message, hint=hint)])
        job = found
    given = read_variables(variables, problems)
    values = [*read_sets(sets, problems), *_overrides(secrets, "config.")]
    loaded = _job(job, problems, given, values, config, list(limit), linting=False, now=now)
    if problems or loaded is None:
        raise RequestError(_sorted(problems))
    return loaded


def lint(paths: Iterable[str | Path]) -> list[Problem]:
    """Every problem of these jobs, tests and configs (folders: all *.yaml and *.yml in them), without running them.

    A job that names no config is read with the one that `find_config` has; without one its hosts are not checked.
    """
    problems: list[Problem] = []
    for path in paths:
        files = lintable(path)
        if not files:
            problems.append(Problem("there is no *.yaml in this folder", str(path)))
        for file in files:
            tree, found = _open(file, "job")
            if tree is not None and file.name.endswith(TEST_ENDINGS):
                problems += [*found, *load_test(file)[1]]
            elif tree is not None and _is_config(tree):
                read = _config(file, problems, [], {})
                problems += unread(read.config, read.tree, read.config.method) if read else []
            elif tree is None:
                problems += found
            else:
                _job(file, problems, {}, [], None, [], linting=True)
    return _sorted(problems)


def load_test(path: str | Path) -> tuple[JobTest | None, list[Problem]]:
    """A NAME.test.yaml with the job it plays, or every problem of both and of the config."""
    tree, problems = _open(path, "job")
    if tree is None or not _mapping(tree, "test", problems) or problems:
        return None, problems
    if "job" not in tree.value and {"kind", "find", "method"} & set(tree.value):
        return None, [tree.problem("this is no test: a test names its job under job:", "mailtrace play runs a job")]
    try:
        test, problems = read_test(tree, Path(path), load_job)
    except OSError as error:
        return None, [Problem(str(error), str(path))]
    return test, _sorted(problems)


def lintable(path: str | Path) -> list[Path]:
    """What `lint` reads: a file, or all YAML files of a folder and of those below it that are not hidden."""
    if not os.path.isdir(path):  # noqa: PTH112 - pathlib raises for a name that is too long
        return [Path(path)]
    found: list[Path] = []
    for folder, folders, names in os.walk(path):  # what goes away meanwhile, or may not be read, is left out
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(folder, name) for name in names if name.endswith((".yaml", ".yml")) and name[0] != "."]
    return sorted(file for file in found if file.is_file())


# -------------------------------------------------------------------------------------------- documents


def _sorted(problems: Iterable[Problem]) -> list[Problem]:
    """By file, as they came, and by line; each once."""
    unique = list(dict.fromkeys(problems))
    files = {problem.file: number for number, problem in reversed(list(enumerate(unique)))}
    return sorted(unique, key=lambda problem: (files[problem.file], problem.line, problem.col))


def _open(source: Any, origin: str) -> tuple[Node | None, list[Problem]]:
    """The tree of a file, with problems. None where nothing of it can be used."""
    try:
        path = Path(source)
        with path.open("rb") as file:
            # One byte more than is allowed tells that it is too large, also of a file without an end.
            data = file.read(MOST_BYTES + 1)
            size = os.fstat(file.fileno()).st_size
    except TypeError:
        return None, [Problem(f"a {origin} is a path or a mapping, not a {type(source).__name__}")]
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        return None, [Problem(f"cannot be read: {why.lower()}", str(source))]
    if len(data) > MOST_BYTES:
        size = max(size, len(data))
        most = f"a job or config has {MOST_BYTES // 1024 // 1024} MB at most"
        return None, [Problem(f"the file is too large: {size / 1e6:.0f} MB", str(source), hint=most)]
    tree, problems, stopped = from_yaml(data, str(source), origin=origin)
    if tree is not None and stopped:
        _cut(tree, stopped)
    return tree, _hidden(problems, [])


def _cut(tree: Node, line: int) -> None:
    """Take out what stands where the file could not be read: it may be half of what was meant."""
    if isinstance(tree.value, dict):
        tree.value = {key: child for key, child in tree.value.items() if child.place.line < line}
    elif isinstance(tree.value, list):
        tree.value = [child for child in tree.value if child.place.line < line]
    for child in tree.children():
        _cut(child, line)


def _overrides(secrets: Mapping[str, str] | None, prefix: str = "") -> list[Override]:
    """Passwords of the command line as overrides of the config."""
    return [Override(f"{prefix}{path}", literal(value), "password") for path, value in (secrets or {}).items() if value]


def _no_config() -> Problem:
    return Problem("there is no config", hint="name one with -c or config:, or write ./config.yaml")


def _mapping(tree: Node, what: str, problems: list[Problem]) -> bool:
    """Whether a document is a mapping; a problem where it is not."""
    if isinstance(tree.value, dict):
        return True
    if problems:  # it could not be read to its end
        return False
    kind = "a list" if isinstance(tree.value, list) else "empty" if tree.value is None else "a single value"
    problems.append(tree.problem(f"a {what} is a mapping of keys to values; this is {kind}"))
    return False


def _config(source: Any, problems: list[Problem], overrides: list[Override], given: Mapping[str, str]) -> _Read | None:
    """A config from a file or a mapping; None where it has problems."""
    before = len(problems)
    if isinstance(source, Mapping):
        tree, found = from_python(source, origin="job")
        base, path = Path.cwd(), None
        problems += found
    else:
        opened, found = _open(source, "config")
        problems += found
        if opened is None:
            return None
        tree, path = opened, Path(source)
        base = Path.cwd() / path.parent
    if not _mapping(tree, "config", problems):
        return None
    secrets = _secret_texts(tree, "config")
    problems += Variables(given, {}, os.environ, own=False).fill(tree)
    read = _read_config(tree, problems, overrides, base, path)
    problems[before:] = _hidden(problems[before:], secrets)
    return read if len(problems) == before else None


def _read_config(
    tree: Node, problems: list[Problem], overrides: list[Override], base: Path, path: Path | None
) -> _Read:
    """A config from a tree with its variables put in."""
    configured = frozenset(tree.value)
    for name, key in SECRETS.items():
        section, _, last = key.partition(".")
        there = tree.at(section, last)
        # A password of the environment leads over config.yaml, not over what a job says.
        beaten = not there.value or PRECEDENCE["environment"] > PRECEDENCE[there.origin]
        if beaten and os.environ.get(name):
            override(tree, Override(key, literal(os.environ[name]), f"${name}", "environment"), problems)
    for each in overrides:
        override(tree, each, problems)
    problems += Variables({}, {}, os.environ, own=False).fill(_fresh(tree))
    name_paths(tree, tree.path)
    rules = rules_of("config")
    tree.drop_broken()
    problems += check(tree, rules)
    if tree.get("method") is None:
        tree.value["method"] = Node(find_method(tree), origin="default")
    fill(tree, rules, rules)
    name_paths(tree)
    values = Values(_words("parse", rules_of("job")))
    config = read_config(tree, values, base, path, configured)
    problems += values.problems
    return _Read(config, tree)


def _fresh(tree: Node) -> Node:
    """The values that overrides brought, as a tree of their own: the others have their variables already."""
    brought = {"command line", "environment"}
    return Node([node for node in tree.walk() if node.origin in brought and node.template is None])


def _words(section: str, rules: Schema) -> list[str]:
    """The names of the modules of a section: ours, from the schema, and other packages'."""
    return [*rules["$defs"][section]["properties"], *_others(section)]


@lru_cache(maxsize=len(ENTRY_POINTS))
def _others(section: str) -> tuple[str, ...]:
    """The names of other packages' modules of a section. Asking the installed packages takes a while."""
    from importlib.metadata import entry_points

    return tuple(point.name for point in entry_points(group=ENTRY_POINTS[section]))


@cache
def _job_rules() -> Schema:
    """The job's schema with the modules of other packages, and without the config's, which is checked by itself."""
    rules = schema("job")
    rules["properties"]["config"] = {}
    for section in ENTRY_POINTS:
        known = rules["$defs"][section]["properties"]
        for name in _others(section):
            known.setdefault(name, {"title": name, "type": "object"})
    return rules


def _job(
    source: Any,
    problems: list[Problem],
    given: Mapping[str, str],
    sets: list[Override],
    config: ConfigLike,
    limit: list[str],
    *,
    linting: bool,
    now: float | None = None,
) -> Job | None:
    """A job and its config, with every problem of both."""
    is_file = not isinstance(source, Mapping)
    opened, found = _open(source, "job") if is_file else from_python(source)
    problems += found
    if opened is None or not _mapping(opened, "job", problems):
        return None
    tree = opened
    path = Path(source) if is_file else None
    base = Path.cwd() / path.parent if path else Path.cwd()
    problems += inherit(tree, base, _variables(tree, given), _read_parent, path)
    for each in sets:
        if not each.path.startswith("config."):
            override(tree, each, problems)
    name_paths(tree)
    rules = _job_rules()
    variables = _variables(tree, given)
    secrets = _secret_texts(tree, "job")
    if is_file:
        problems += _literal_secrets(tree, rules, variables)
    problems += variables.fill(tree)
    problems += _misspelt(tree, given)
    inner = [Override(each.path[7:], *each[1:]) for each in sets if each.path.startswith("config.")]
    read = _config_of(tree, problems, inner, config, base, given, linting=linting)
    tree.drop_broken()
    problems += check(tree, rules)
    kind = tree.at("kind").value or "trace"
    if not tree.at("export").value:
        tree.value["export"], _ = from_python([{DEFAULT_EXPORT[kind]: {}}], origin="default")
    fill(tree, rules, rules)
    name_paths(tree)
    values = Values(_words("parse", rules))
    ours = frozenset(rules_of("job")["$defs"]["export"]["properties"])
    moment = time.time() if now is None else now
    fleet, fleet_tree = read or (None, Node({}))
    around = Around(fleet, fleet_tree, base, path, moment, limit, ours, played=now)
    loaded = read_job(tree, values, around)
    problems += values.problems
    problems[:] = _hidden(problems, secrets)
    return loaded


def _read_parent(path: Path) -> tuple[Node | None, list[Problem]]:
    return _open(path, "job")


def read_document(path: str | Path) -> Node:
    """A job file with what it extends, as it is written: variables and defaults are not put in.

    Raises `RequestError` where it, or a parent, cannot be read.
    """
    tree, problems = _open(path, "job")
    if tree is not None and _mapping(tree, "job", problems):
        file = Path(path)
        problems += inherit(tree, Path.cwd() / file.parent, _variables(tree, {}), _read_parent, file)
    if tree is None or problems:
        raise RequestError(_sorted(problems))
    return tree


def _variables(tree: Node, given: Mapping[str, str]) -> Variables:
    node = tree.at("vars")
    defined = node.value if isinstance(node.value, dict) else {}
    return Variables(given, {name: child.copy() for name, child in defined.items()}, os.environ)


def _misspelt(tree: Node, given: Mapping[str, str]) -> list[Problem]:
    """Variables of the command line that nothing in the job asks for, and that are nearly called like one of it.

    Any other may be for another of several jobs.
    """
    node = tree.at("vars")
    defined = node.value if isinstance(node.value, dict) else {}
    asked = "".join(each.template for each in tree.walk() if each.template is not None)
    strangers = [name for name in given if name not in defined and f"${{{name}}}" not in asked]
    near = {name: did_you_mean(name, defined.keys() - given.keys()) for name in strangers}
    return [Problem(f"there is no variable {name[:60]}", path="-e", hint=hint) for name, hint in near.items() if hint]


def _config_of(
    tree: Node,
    problems: list[Problem],
    overrides: list[Override],
    config: ConfigLike,
    base: Path,
    given: Mapping[str, str],
    *,
    linting: bool,
) -> _Read | None:
    """The config of a job: of the command line, the job's own, or the one that is found."""
    own = tree.value.pop("config", None)
    if isinstance(config, Config):
        return _Read(config, Node({}))
    if config is not None:
        return _config(config, problems, overrides, given)
    if own is not None and isinstance(own.value, dict):
        own = own.copy()
        before = len(problems)
        read = _read_config(own, problems, overrides, base, None)
        return read if len(problems) == before else None
    if own is not None and isinstance(own.value, str) and own.value:
        return _config_file(own, problems, overrides, base)
    if own is not None and own.value not in (None, ""):
        problems.append(own.problem('"config" is the path of a config, or a mapping'))
        return None
    if own is not None and own.broken:
        return None
    found = find_config()
    if found is not None:
        return _config(found, problems, overrides, given)
    alone = {name for step in tree.at("source").children() if isinstance(step.value, dict) for name in step.value}
    if alone == {"files"} or overrides:
        before = len(problems)
        read = _read_config(Node({}, path="config"), problems, overrides, base, None)
        return read if len(problems) == before else None
    if not linting:
        problems.append(_no_config())
    return None


def _config_file(own: Node, problems: list[Problem], overrides: list[Override], base: Path) -> _Read | None:
    """The config whose path the job gives."""
    try:
        path = base / at_home(own.value)
        folder, there = path.is_dir(), path.exists()  # a pipe is as good as a file: -c <(decrypt config.yaml)
    except (OSError, ValueError):
        folder = there = False
    if folder or not there:
        what = f'"{own.value[:200]}" is a folder' if folder else f'there is no config "{own.value[:200]}"'
        problems.append(own.problem(what, "" if own.value.startswith(("/", "~")) else _RELATIVE))
        return None
    return _config(shown_path(path), problems, overrides, {})


def _is_config(tree: Node) -> bool:
    """Whether a document is a config rather than a job, by its keys."""
    keys = set(tree.value) if isinstance(tree.value, dict) else set()
    return len(keys & _CONFIG_KEYS) > len(keys & _JOB_KEYS)


# ---------------------------------------------------------------------------------------------- secrets


def _literal_secrets(tree: Node, rules: Schema, variables: Variables) -> list[Problem]:
    """Secrets that are written into a job file, also into a fleet in it: they would go into version control."""
    config = tree.get("config")
    fleet = rules_of("config")
    nodes = [*_secret_nodes(tree, rules, rules)]
    if config is not None and isinstance(config.value, dict):
        nodes += _secret_nodes(config, fleet, fleet)
    problems = []
    names = {key.replace(".", " "): name for name, key in SECRETS.items()}
    for node in nodes:
        if node.origin != "job" or node.value in (None, "") or isinstance(node.value, (dict, list)):
            continue
        try:
            written = not isinstance(node.value, str) or variables.text(node.value).literal
        except Broken:
            continue  # said where the variables are put in
        if written:
            key = " ".join(re.findall(r"\w+", node.path)[-2:])
            hint = f"write ${{env:{names.get(key, 'NAME')}}}"
            problem = node.problem("a secret does not belong into a job", hint)
            problems.append(replace(problem, excerpt=""))
    return problems


def _secret_texts(tree: Node, name: str) -> list[str]:
    """Every text that stands where the schema wants a secret, also of a wrong type."""
    rules = rules_of(name)
    nodes = list(_secret_nodes(tree, rules, rules))
    config = tree.get("config")
    texts = _secret_texts(config, "config") if name == "job" and config is not None else []
    scalars = (each for node in nodes for each in node.walk() if not isinstance(each.value, (dict, list)))
    return texts + [each.raw or str(each.value) for each in scalars if each.value not in (None, "")]


def _hidden(problems: list[Problem], secrets: list[str]) -> list[Problem]:
    """Problems that show no secret: neither in their words nor in a line that holds one."""
    redactor = Redactor(map(Secret, secrets))
    return [
        replace(
            problem,
            message=redactor.redact(problem.message),
            excerpt="" if _holds_secret(problem.excerpt, secrets) else problem.excerpt,
        )
        for problem in problems
    ]


def _holds_secret(line: str, secrets: list[str]) -> bool:
    """Whether a line has a secret in it, or a key of one: in a file that cannot be read it may be cut."""
    return bool(_SECRET_KEY.search(line)) or any(secret in line for secret in secrets)


def _secret_nodes(node: Node, rules: Schema, root: Schema) -> Iterable[Node]:
    """The values that the schema calls `writeOnly`."""
    rules = resolve(rules, root)
    if rules.get("writeOnly"):
        yield node
    elif isinstance(node.value, dict):
        for key, child in node.value.items():
            yield from _secret_nodes(child, below(rules, key, root), root)
    elif isinstance(node.value, list):
        for child in node.value:
            yield from _secret_nodes(child, rules.get("items", {}), root)
