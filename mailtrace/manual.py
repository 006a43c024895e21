"""MANUAL.md: the guide, and what the program itself goes by: schemas, flags, the glossary, docstrings that explain.

`invoke manual` writes it; a test fails where it is stale.
"""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from mailtrace.glossary import GROUPS
from mailtrace.keys import DOCUMENTS, keys
from mailtrace.load import schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mailtrace.flags import Described, Flag
    from mailtrace.keys import Key

HOW_IT_WORKS = (
    ("How a mail is followed", "walk"),
    ("How hops are linked", "assemble.links"),
    ("What a reply tells of the next hop", "handoff"),
    ("Refusals", "assemble.refusals"),
    ("TLS", "assemble.tls"),
    ("Clocks", "clocks"),
    ("Clocks inside IDs", "ids"),
    ("Names of hosts", "assemble.names"),
    ("Times and zones, as they are written", "times"),
    ("Variables", "load.variables"),
    ("Values of the command line", "load.overrides"),
    ("The timeline", "exporters.timeline"),
    ("Case bundles", "exporters.bundle"),
    ("Pseudonyms", "redaction"),
    ("Opening a case bundle", "bundle"),
    ("Jobs that extend others", "load.parents"),
    ("Tests of jobs", "jobtest"),
    ("Completion", "completion"),
    ("Local files", "sources.files"),
    ("Over SSH: the commands", "sources.ssh_commands"),
    ("Over SSH: host keys", "sources.ssh_hostkeys"),
    ("Over SSH: where settings come from", "sources.ssh_options"),
    ("OpenSearch", "sources.opensearch"),
    ("OpenSearch: fields", "sources.opensearch_fields"),
    ("OpenSearch: queries", "sources.opensearch_query"),
    ("Formats of log lines", "parsers.envelope"),
    ("Postfix", "parsers.postfix"),
    ("Exim", "parsers.exim"),
    ("SMTP status codes", "codes"),
    ("Traces: what a mail is as spans", "otlp.spans"),
    ("Traces: IDs", "otlp.identity"),
    ("Traces: times", "otlp.moments"),
    ("Traces: attributes", "otlp.attributes"),
    ("Traces: back ends", "otlp.endpoint"),
    ("Traces: what becomes of a request", "otlp.client"),
    ("Events of a run", "notify"),
    ("Errors and exit codes, in Python", "errors"),
)
"""Module docstrings that explain a format, a formula or a rule to users: the heading, and the module."""

WORDS = {
    "outcome": "What became of one final copy of a mail: one row for each.",
    "certainty": "How sure a link is. Nothing is ever linked by time alone.",
    "link": "Why one hop follows another.",
    "status": "How one delivery attempt ended.",
    "warning": "What the report warns of.",
    "hint": "Where nothing was found, the report's `hints` say why that may be, or what is near.",
    "exit code": "Where several apply, the first of 143, 130, 70, 2, 4, 3, 1, 0 counts.",
}
"""What the glossary's groups are about."""


def manual(commands: Iterable[Described]) -> str:
    """The whole manual as Markdown."""
    parts = [*_head(), guide(), *_commands(commands), *_words()]
    for document in DOCUMENTS:
        parts += _document(document)
    parts += _how_it_works()
    return "\n".join(parts).rstrip("\n") + "\n"


def _head() -> Iterator[str]:
    yield "# mailtrace: the manual\n"
    yield "The [README](README.md) is where to begin; this is where to look things up."
    yield "`mailtrace explain WORD` shows any entry of it in the terminal.\n"
    yield "<!-- Written by `invoke manual` from guide.md, schemas, flags and docstrings: mend those, not this. -->\n"
    chapters = re.findall(r"^### (.*)$", guide(), flags=re.MULTILINE)
    yield f"- [Guide](#guide): {', '.join(f'[{title}](#{_anchor(title)})' for title in chapters)}"
    sections = ("Commands", "Words and exit codes", *map(_title, DOCUMENTS), "How it works")
    yield from (f"- [{title}](#{_anchor(title)})" for title in sections)
    yield ""


def guide() -> str:
    """The part that a human wrote: a chapter for each thing that one does with mailtrace."""
    return Path(__file__).with_name("guide.md").read_text(encoding="utf-8")


def _anchor(title: str) -> str:
    kept = "".join(c for c in title.lower() if c.isalnum() or c in " -_")
    return kept.replace(" ", "-")


def _commands(commands: Iterable[Described]) -> Iterator[str]:
    commands = list(commands)
    yield "## Commands\n"
    yield "In the checkout, `invoke COMMAND` is the same as `mailtrace COMMAND`.\n"
    for command in commands:
        yield f"### mailtrace {command.name}\n"
        yield f"{command.summary}\n"
        yield "```sh\n" + "\n".join((f"{command.usage}\n", *command.examples)) + "\n```\n"
    yield "### Flags\n"
    yield "A flag means the same in every command that has it.\n"
    groups: dict[str, dict[Flag, list[str]]] = {}
    for command in commands:
        for group in command.groups:
            for flag in group.flags:
                groups.setdefault(group.title, {}).setdefault(flag, []).append(command.name)
    for title, table in groups.items():
        yield f"| {title} | | |\n|---|---|---|"
        yield from (_flag(flag, names) for flag, names in table.items())
        yield ""


def _flag(flag: Flag, commands: list[str]) -> str:
    shown = ", ".join(f"`{spelling}`" for spelling in reversed(flag.spellings))
    value = f" {flag.value}" if flag.value else ""
    again = " (may be repeated)" if flag.many and "repeated" not in flag.help else ""
    return f"| {shown}{_cell(value)} | {_cell(flag.help)}{again} | {', '.join(commands)} |"


def _words() -> Iterator[str]:
    yield "## Words and exit codes\n"
    for group, words in GROUPS.items():
        yield f"### {group.capitalize()}\n"
        if group in WORDS:
            yield f"{WORDS[group]}\n"
        yield f"| {group} | |\n|---|---|"
        yield from (f"| {word} | {_cell(meaning)} |" for word, meaning in words.items())
        yield ""


def _title(document: str) -> str:
    called = DOCUMENTS[document]
    return called if "." in called else called.partition(" ")[2].capitalize() if " " in called else called


def _document(document: str) -> Iterator[str]:
    found = keys(document)
    yield f"## {_title(document)}\n"
    yield f"{schema(document).get('description', '')} (`schemas/{document}.schema.json`)\n"
    yield "| key | | type, default | for example |\n|---|---|---|---|"
    yield from map(_row, found)
    yield ""


def _row(key: Key) -> str:
    default = "" if key.default is None else f"; default `{_code(key.default)}`"
    # A list of choices that the type already gives says more than an example.
    kind = ", ".join(f"`{choice}`" for choice in key.choices) or key.type
    examples = "" if key.choices else "<br>".join(f"`{_code(example)}`" for example in key.examples[:2])
    return f"| `{key.path}` | {_cell(key.text)} | {kind}{default} | {examples} |"


def _how_it_works() -> Iterator[str]:
    yield "## How it works\n"
    for title, module in HOW_IT_WORKS:
        yield f"### {title}\n"
        yield f"{docstring(module)}\n"
        yield f"(`mailtrace/{module.replace('.', '/')}`)\n"


def docstring(module: str) -> str:
    """What a module says of itself, read from its source: nothing is imported. "" for a module that says nothing."""
    path = Path(__file__).parent.joinpath(*module.split("."))
    file = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return "\n\n".join(_paragraph(part) for part in text.split("\n\n"))


def _paragraph(text: str) -> str:
    """A paragraph as Markdown: what is indented or drawn is shown as it stands."""
    drawn = any(line.startswith("    ") or "──" in line for line in text.splitlines())
    return f"```text\n{textwrap.dedent(text)}\n```" if drawn else text


def _cell(text: str) -> str:
    """Text in a table; what looks like HTML is no HTML."""
    plain = text.replace("|", "\\|").replace("\n", " ")
    return "`".join(part if number % 2 else part.replace("<", "&lt;") for number, part in enumerate(plain.split("`")))


def _code(text: str) -> str:
    return text.replace("|", "\\|").replace("`", "'")
