"""What the shell offers behind `mailtrace …`: commands, flags, recipes and jobs, hosts, variables, words to explain.

A shell calls `mailtrace --complete -- WORD…` with the words typed so far, the program's name first and the one under
the cursor last, "" where nothing of it is typed; each line of the answer is a candidate for that word. No line at all
means that files are wanted, which shells know better. A candidate that ends with `=` or `/` is not the end of a word.
"""

from __future__ import annotations

import contextlib
import os
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from mailtrace.errors import MailtraceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mailtrace.flags import Described, Flag

MOST = 500
"""Candidates are for reading; of a fleet of thousands this many."""

BASH = r"""
_mailtrace() {
    local IFS=$'\n'
    COMPREPLY=( $(mailtrace --complete -- "${COMP_WORDS[@]:0:COMP_CWORD+1}" 2>/dev/null) )
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=/] ]] && compopt -o nospace
    return 0
}
complete -o bashdefault -o default -F _mailtrace mailtrace
"""

ZSH = r"""
#compdef mailtrace
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
_mailtrace() {
    local -a found
    found=( ${(f)"$(mailtrace --complete -- "${(@Q)words[1,CURRENT]}" 2>/dev/null)"} )
    if (( $#found )); then
        compadd -- ${found:#*[=/]}
        compadd -S '' -- ${(M)found:#*[=/]}
    else
        _files
    fi
}
compdef _mailtrace mailtrace
"""

FISH = r"""
function __mailtrace_candidates
    set -l found (mailtrace --complete -- (commandline -opc) (commandline -ct) 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete --command mailtrace --no-files --arguments '(__mailtrace_candidates)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
HOW = {
    "bash": 'add to ~/.bashrc: eval "$(mailtrace --print-completion-script bash)"',
    "zsh": 'add to ~/.zshrc: eval "$(mailtrace --print-completion-script zsh)"',
    "fish": "add to ~/.config/fish/config.fish: mailtrace --print-completion-script fish | source",
}


def script(shell: str) -> str:
    """What a shell must read to complete mailtrace's words. Raises `KeyError` for a shell that nobody knows."""
    return f"# {HOW[shell]}\n{SCRIPTS[shell].lstrip()}"


def candidates(words: Sequence[str], commands: Iterable[Described], core: Iterable[str]) -> list[str]:
    """Candidates for the last of the words; [] where the shell's own files are wanted. Never raises."""
    with contextlib.suppress(MailtraceError, OSError, ValueError, LookupError):
        return _candidates(list(words[1:]) or [""], {command.name: command for command in commands}, list(core))
    return []


def _candidates(words: list[str], commands: dict[str, Described], core: list[str]) -> list[str]:
    *before, last = words
    if before[-1:] == ["@"]:  # bash takes @name for two words, and puts the second one behind the first
        return [name[1:] for name in _recipes(f"@{last}") if name.startswith(f"@{last}")]
    if not before:
        return _fitting([*(core if last.startswith("-") else ()), *commands], last)
    command = commands.get(before[0])
    if command is None:
        return _fitting(commands, last) if before == ["--help"] else []
    flags = {spelling: flag for group in command.groups for flag in group.flags for spelling in flag.spellings}
    if before[-1] == "=" and len(before) > 1:  # and --flag=value for three
        before.pop()
    elif last == "=":
        return []
    flag = flags.get(before[-1])
    if flag is not None and flag.value and len(before) > 1:
        return _values(flag, before, last)
    name, equals, value = last.partition("=")
    if equals and name in flags:
        return [f"{name}={found}" for found in _values(flags[name], before, value)]
    if last.startswith("-"):
        return _fitting([spelling for spelling in flags if len(spelling) > 2], last)
    return _strays(command.name, last, before)


def _fitting(names: Iterable[str], last: str) -> list[str]:
    return sorted({name for name in names if name.startswith(last)})[:MOST]


# ---------------------------------------------------------------------------------------------- values


def _values(flag: Flag, before: list[str], last: str) -> list[str]:
    """Candidates for what stands behind a flag."""
    made = VALUES.get(flag.name)
    return made(before, last) if made else []


def _strays(command: str, last: str, before: list[str]) -> list[str]:
    """Candidates for a word without a flag."""
    if command == "explain":
        return _words(last)
    if command in ("lint", "test"):
        return _files(last)
    if command == "new":
        return [] if "/" in last else _fitting([*_recipe_names()], last.removeprefix("@"))
    return _jobs(before, last)


def _jobs(before: list[str], last: str) -> list[str]:
    return [*_recipes(last), *_files(last)]


def _recipes(last: str) -> list[str]:
    at = "@" if last.startswith("@") else ""
    return [at + name for name in _fitting(_recipe_names(), last[len(at) :])]


def _recipe_names() -> list[str]:
    from mailtrace.load import recipes

    return recipes()


def _files(last: str) -> list[str]:
    """YAML files and folders; those that are hidden only where a dot is typed."""
    folder, name = os.path.split(last)
    home = os.path.expanduser(folder)  # noqa: PTH111 - as the shell does
    found = []
    for entry in os.scandir(home or "."):
        if entry.name.startswith(name) and (name or not entry.name.startswith(".")):
            path = os.path.join(folder, entry.name)  # noqa: PTH118 - as it was typed
            if entry.is_dir():
                found.append(f"{path}/")
            elif entry.name.endswith((".yaml", ".yml")):
                found.append(path)
    return sorted(found)[:MOST]


def _hosts(before: list[str], last: str) -> list[str]:
    """Hosts and clusters of the config that is meant; behind a comma the next of a list."""
    from mailtrace.load import find_config, load_config

    named = next((value for flag, value in pairwise(before) if flag in ("-c", "--config-path")), None)
    path = Path(named).expanduser() if named else find_config()
    if path is None:
        return []
    config = load_config(path)
    known = {*config.clusters, *config.inventory.names}
    listed, comma, begun = last.rpartition(",")
    return [f"{listed}{comma}{name}" for name in _fitting(known, begun)]


def _variables(before: list[str], last: str) -> list[str]:
    """The variables of the job that is named."""
    from mailtrace.load import read_document
    from mailtrace.request import job_file

    for word in before[1:]:
        with contextlib.suppress(MailtraceError, OSError, ValueError):
            path = job_file(word)
            if Path(path).is_file():
                return _fitting([f"{name}=" for name in read_document(path).at("vars").plain({})], last)
    return []


def _keys(before: list[str], last: str) -> list[str]:
    from mailtrace.keys import keys

    return _fitting([f"{key.path}=" for key in keys("job") if key.type not in {"mapping", "list"}], last)


def _words(last: str) -> list[str]:
    from mailtrace.glossary import GROUPS
    from mailtrace.keys import DOCUMENTS, keys

    paths = (key.path for document in DOCUMENTS for key in keys(document))
    return _fitting([*paths, *(word for words in GROUPS.values() for word in words)], last)


def _exporters(before: list[str], last: str) -> list[str]:
    from mailtrace.exporters import EXPORTERS

    return _fitting(EXPORTERS, last)


def _zones(before: list[str], last: str) -> list[str]:
    from zoneinfo import available_timezones

    return _fitting(available_timezones(), last)


def _levels(before: list[str], last: str) -> list[str]:
    return _fitting(("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"), last)


VALUES: dict[str, Callable[[list[str], str], list[str]]] = {
    "job": _jobs,
    "config-path": lambda _, last: _files(last),
    "start-host": _hosts,
    "limit": _hosts,
    "var": _variables,
    "set": _keys,
    "format": _exporters,
    "tz": _zones,
    "log-level": _levels,
}
"""Who knows the values of a flag; of any other they are files, or nobody's to guess."""
