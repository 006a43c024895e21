"""The recipes that come with mailtrace: what each answers, its variables, and a copy of one to begin a job with."""

from __future__ import annotations

import os
import re
import shlex
import textwrap
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, NamedTuple

from mailtrace.errors import ExportError, RequestError
from mailtrace.keys import keys
from mailtrace.load import at_home, data_folder, no_recipe, read_document, recipe, recipes, to_yaml
from mailtrace.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailtrace.keys import Key

_MODELINE = re.compile(r"# yaml-language-server: \$schema=\S+\n(?:#\n)?")


class Recipe(NamedTuple):
    """A recipe: the question it answers, in a sentence and in a paragraph, and its variables with their defaults."""

    name: str
    title: str
    about: str
    variables: dict[str, str]


def shipped() -> list[Recipe]:
    """All recipes, by name."""
    return [_read(name) for name in recipes()]


def _read(name: str) -> Recipe:
    tree = read_document(data_folder() / "jobs" / f"{name}.yaml")
    variables = tree.at("vars").plain({})
    return Recipe(
        name, tree.at("name").plain(name), _about(text(name)), {key: str(variables[key]) for key in variables}
    )


def text(name: str) -> str:
    """The file of a recipe. Raises `KeyError` with what to say, and the cure."""
    path = recipe(name)
    if path is None:
        raise KeyError(*no_recipe(name))
    return path.read_text(encoding="utf-8")


def _about(source: str) -> str:
    """The first paragraph of the comment at the top."""
    lines = _MODELINE.sub("", source, count=1).splitlines()
    comment: list[str] = []
    for line in lines:
        if not line.startswith("# "):
            break
        comment.append(line[2:])
    return " ".join(comment)


def begun(name: str, path: str) -> str:
    """The text of a new job: a copy of a recipe, or with "" for a name one that shows what can be said.

    `path` is where it will stand, as its own comments call it.
    """
    head = f"# yaml-language-server: $schema={data_folder() / 'schemas' / 'job.schema.json'}\n#\n"
    if not name:
        return head + _template(path)
    body = _MODELINE.sub("", text(name), count=1).replace(f"jobs/{name}.yaml", path)
    # The demo's fleet stays where it was installed.
    folder = data_folder() / "jobs"
    return head + re.sub(
        r"^config: (?=\w)(.*)$", lambda found: f"config: {folder / found[1]}", body, flags=re.MULTILINE
    )


def write(name: str, to: str | None, put: Callable[[str], None]) -> str:
    """Write a new job to a file, never over one, and return its path; to "-" it is `put`, and "" is returned.

    `name` is a recipe's, or ""; `to` is None for the usual name in the working directory. Raises `RequestError` where
    there is no such recipe or there is a file already, `ExportError` where it cannot be written.
    """
    name = name.removeprefix("@")
    if name and recipe(name) is None:
        message, hint = no_recipe(name)
        raise RequestError([Problem(message, hint=hint)])
    path = to if to is not None else f"{name or 'job'}.yaml"
    if path == "-":
        put(begun(name, path))
        return ""
    if not path:
        raise RequestError([Problem("-o needs a file name", hint="-o - is standard output")])
    target = Path(at_home(path))
    if os.path.exists(target):  # noqa: PTH110 - pathlib raises for a name that is too long
        raise RequestError([Problem(f'"{path}" is there already', hint="name another file with -o FILE")])
    try:
        target.parent.mkdir(parents=True, exist_ok=target.parent.is_dir())
        with target.open("x", encoding="utf-8") as file:
            file.write(begun(name, path))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ExportError(f'"{path}" cannot be written: {why.lower()}') from None
    return path


def _template(path: str) -> str:
    """A job that asks for one address, and shows every other key commented out, with its meaning."""
    known = keys("job")
    return _TEMPLATE.format(
        path=path,
        name=to_yaml({"name": PurePath(path).stem if path != "-" else "my job"}).strip(),
        find=_offered(known, "find", {"keywords", "since", "until"}),
        walk=_offered(known, "walk", set()),
        exports=", ".join(_modules(known, "export")),
        expectations="\n#   ".join(textwrap.wrap(", ".join(_modules(known, "expect")), 100)),
    )


def _offered(known: list[Key], section: str, used: set[str]) -> str:
    """The keys of a section with an example each, commented out."""
    own = [key for key in known if key.path.rpartition(".")[0] == section and key.name not in used and key.examples]
    lines = [(f"{key.name}: {key.examples[0]}", re.split(r"[.;] ", key.text)[0].rstrip(".")) for key in own]
    width = max(len(line) for line, _ in lines)
    return "\n".join(f"  # {line:<{width}}  # {meaning}" for line, meaning in lines)


def _modules(known: list[Key], section: str) -> list[str]:
    return [key.name for key in known if key.path.rpartition(".")[0] == section]


_TEMPLATE = """\
# What is asked here, for those who read it later. Run it with:
#
#   mailtrace play {path} -e who=user@example.com
#
# What is commented out can be said too; `mailtrace explain WORD` tells more of each word.
version: 1
kind: trace # or graph
{name}

# Where the logs are: a config.yaml, relative to this file. Without it -c, $MAILTRACE_CONFIG, ./config.yaml or
# ~/.config/mailtrace.yaml; without any of them this machine's own mail log.
# config: config.yaml

vars:
  who: user@example.com # ${{who}} below; -e who=… leads

find: # which mails: all of it must hold
  keywords: ["${{who}}"] # any text of the mail's log lines
  since: 1d ago
  until: now
{find}

# source: # logs other than the config's
#   - files: {{log_files: [mail.log]}}

walk: # how far a mail is followed
{walk}

export: # {exports}
  - timeline: {{}}
  # - json: {{to: out/report.json}}

# What must hold; else the exit code is 1. There are:
#   {expectations}
# expect:
#   - delivered: all
#   - within: 60s
"""


def listed(width: int) -> str:
    """`mailtrace --jobs`: every recipe with what it answers, and how to set its variables."""
    lines: list[str] = []
    for each in shipped():
        lines += [f"@{each.name}: {each.title}", *_indented(each.about, width)]
        lines += [f"    -e {name}={shlex.quote(value)}" for name, value in each.variables.items()]
        lines.append("")
    first = "Play one with: mailtrace play @NAME -e VARIABLE=VALUE …; write a copy to change with: mailtrace new NAME"
    return "\n".join([*lines, *textwrap.wrap(first, width)]) + "\n"


def _indented(words: str, width: int) -> Iterator[str]:
    yield from textwrap.wrap(words, width, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
