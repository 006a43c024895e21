"""`mailtrace explain WORD`: what a key, a module, a flag, an outcome, a warning or a status code means."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, NamedTuple

from mailtrace.codes import codes
from mailtrace.glossary import GROUPS
from mailtrace.keys import DOCUMENTS, keys
from mailtrace.problem import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mailtrace.flags import Described
    from mailtrace.keys import Key


class Topic(NamedTuple):
    """Something that can be explained: what it is called and where, in a paragraph, and facts about it."""

    name: str
    where: str
    text: str
    facts: tuple[tuple[str, str], ...] = ()

    @property
    def words(self) -> set[str]:
        """Everything by which it can be asked for: `find.since` and `since`."""
        parts = _plain(self.name).split(".")
        return {".".join(parts[at:]) for at in range(len(parts))}


def explained(word: str, commands: Iterable[Described], width: int) -> str:
    """The explanation of a word, of a code or of a whole SMTP reply.

    Raises `LookupError` with what was perhaps meant, where there is none.
    """
    known = [*_words(), *_commands(commands), *_keys()]
    asked = _plain(word)
    found = [topic for topic in known if asked in topic.words]
    found += [
        Topic(code.code, "SMTP", f"{code.title}. {code.meaning}", (("from", code.source),)) for code in codes(word)
    ]
    if not found:
        found = [topic for part in asked.split() for topic in known if part in topic.words and len(part) > 2]
    if not found:
        near = did_you_mean(asked, {name for topic in known for name in topic.words})
        raise LookupError(near or "mailtrace explain, without a word, tells what there is")
    return "\n".join(_shown(topic, width) for topic in _merged(found))


def overview(commands: Iterable[Described], width: int) -> str:
    """What can be explained, in the order in which a newcomer meets it."""
    known = keys("job")
    sections = [key for key in known if "." not in key.path]
    lines = ["A job file has these sections and keys:", ""]
    lines += [line for key in sections for line in _row(key.path, key.text, width)]
    for section, what in (
        ("source", "Sources"),
        ("parse", "Parsers"),
        ("export", "Exports"),
        ("expect", "Expectations"),
    ):
        modules = [key.name for key in known if key.path.startswith(f"{section}.") and key.path.count(".") == 1]
        lines += ["", *textwrap.wrap(f"{what}: {', '.join(modules)}", width, subsequent_indent="  ")]
    for group, words in GROUPS.items():
        lines += ["", *textwrap.wrap(f"{group.capitalize()}: {', '.join(words)}", width, subsequent_indent="  ")]
    listed = f"Commands: {', '.join(command.name for command in commands)}"
    lines += ["", *textwrap.wrap(listed, width, subsequent_indent="  "), "", "Try mailtrace explain with:", ""]
    lines += ["  find.since", "  in_transit", "  ssh_config", "  5.7.1"]
    return "\n".join(lines) + "\n"


def _plain(word: str) -> str:
    """A word as it is compared: `--time-range` and `time_range` are one, and so are `exit code 3` and `3`."""
    plain = re.sub(r"\s+", " ", word.strip().lstrip("-").replace("-", "_").casefold()).strip(": ")
    return re.sub(r"^exit (?:code )?(?=\d)", "", plain)


def _words() -> Iterator[Topic]:
    for group, words in GROUPS.items():
        yield Topic(group, "the report", f"One of: {', '.join(words)}.")
        for word, meaning in words.items():
            yield Topic(word, group, meaning)


def _commands(commands: Iterable[Described]) -> Iterator[Topic]:
    flags: dict[tuple[str, str, str], list[str]] = {}
    for command in commands:
        yield Topic(command.name, "command", command.summary, tuple(("for example", line) for line in command.examples))
        for group in command.groups:
            for flag in group.flags:
                short = f"-{flag.short}, " if flag.short else ""
                shown = f"{short}--{flag.name} {flag.value}".rstrip()
                flags.setdefault((flag.name, shown, flag.help), []).append(command.name)
    for (name, shown, text), names in flags.items():
        yield Topic(name, "flag", f"{shown}: {text}", (("of", ", ".join(names)),))


def _keys() -> Iterator[Topic]:
    for document, called in DOCUMENTS.items():
        found = keys(document)
        for key in found:
            inside = [below.name for below in found if below.path.rpartition(".")[0] == key.path]
            yield Topic(key.path, f"key of {called}", key.text, tuple(_facts(key, inside)))


def _facts(key: Key, inside: list[str]) -> Iterator[tuple[str, str]]:
    yield "type", key.type
    if key.choices:
        yield "one of", ", ".join(key.choices)
    if key.default is not None:
        yield "default", key.default
    if inside:
        yield "has", ", ".join(inside)
    yield from (("for example", f"{key.name}: {example}") for example in key.examples)


def _merged(topics: Iterable[Topic]) -> list[Topic]:
    """Topics that say the same in several places (`to` of every export) as one."""
    places: dict[tuple[str, str, tuple[tuple[str, str], ...]], list[str]] = {}
    for topic in topics:
        own = (topic.where, topic.text, tuple(fact for fact in topic.facts if fact[0] != "for example"))
        places.setdefault(own, []).append(topic.name)
    first = {(topic.where, topic.name): topic for topic in reversed(list(topics))}
    return [
        first[where, names[0]]._replace(name=", ".join(dict.fromkeys(names))) for (where, _, _), names in places.items()
    ]


def _shown(topic: Topic, width: int) -> str:
    out = textwrap.wrap(f"{topic.name} ({topic.where})", width, subsequent_indent="  ")
    out += textwrap.wrap(topic.text, width, initial_indent="  ", subsequent_indent="  ")
    for label, value in topic.facts:
        out += textwrap.wrap(
            value, width, initial_indent=f"  {label}: ", subsequent_indent="    ", break_on_hyphens=False
        )
    return "\n".join(out) + "\n"


def _row(name: str, text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=f"  {name:<15} ", subsequent_indent=" " * 18)
