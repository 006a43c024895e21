"""The commands that run on a server: what they are, how they are quoted, and what sudo must allow for them.

Every command is `exec sh -c 'SCRIPT' mailtrace ARGUMENTS`. The scripts are constant texts of POSIX sh, put together
from the few below; paths, keywords and numbers are arguments only. The login shell, which may be fish or csh, sees
nothing but quoted words. All of them only read.

Written for GNU, BusyBox and BSD tools: `grep -a -F -i -e` and, where it is of use, `-b`, which is believed only if it
tells where the line begins (some BSD greps tell where the match does: lines are counted there instead, as with
BusyBox); `tail -c +N`, `head -c N`, `ls -lniL`. `hello` asks whether each of them does what is wanted. Tried with GNU's
and BusyBox's; FreeBSD's are played by scripts that refuse what its manual pages don't have, and its `-b` by GNU's `-o`.

Marks on standard error tell how a part ended (`mailtrace:part=0`), that sudo is about to run, and sudo's prompt.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mailtrace.sources.journal import MAIL

BEGIN = "mailtrace:begin"
STATUS = "mailtrace:"
SUDO = "mailtrace:sudo"
PROMPT = "mailtrace:password:"

ASKING = f"-S -p {PROMPT}"
SILENT = "-n"
"""What `sudo` is told: to ask for the password, or to fail where it would. "" as a `sudo` below means none."""

MOST = 90_000
"""Bytes of one command: Linux takes arguments of 128 KiB each, and the login shell has the whole as one."""
MANY = 4_000
"""Bytes of literals beyond which they go through standard input."""

_SOME = 20  # lines that may hold a host's name without being its own
_END = 1 << 18

UNPACK = {"gz": "gzip -cd", "xz": "xz -cd", "lzma": "xz -cd", "bz2": "bzip2 -cd", "zst": "zstd -cdq"}
"""What unpacks a log."""
_TOOLS = {"gz": "gzip", "xz": "xz", "lzma": "xz", "bz2": "bzip2", "zst": "zstd"}

# A profile's settings must not change what ls and grep print, nor where they are found.
_START = (
    f"unset TIME_STYLE QUOTING_STYLE BLOCK_SIZE LS_BLOCK_SIZE GREP_OPTIONS GZIP; LC_ALL=C; export LC_ALL; "
    f"PATH=$PATH:/usr/local/bin:/usr/bin:/bin; echo {BEGIN}; echo {BEGIN} >&2; echo {STATUS}group=$$ >&2; "
)
_AS_USER = 'r() { tail -c "+$2" "$1"; }; l() { ls -lniL "$1"; }; '
# What the user may read is read as the user; sudo is for the rest, and not for what is not there at all.
_WITH_SUDO = (
    f's() {{ echo {SUDO} >&2; sudo _OPTIONS_ "$@"; }}; '
    'n() { case "$(ls -d "$1" 2>&1)" in *"No such file"*) return 0;; *) return 1;; esac; }; '
    'r() { if [ -r "$1" ] || n "$1"; then tail -c "+$2" "$1"; else s tail -c "+$2" "$1"; fi; }; '
    'l() { if { [ -r "$1" ] && [ -x "$1" ]; } || n "$1"; then ls -lniL "$1"; else s ls -lniL "$1"; fi; }; '
)


class Command(NamedTuple):
    """A script, its arguments, and what it reads on standard input."""

    script: str
    arguments: tuple[str, ...] = ()
    text: bytes = b""

    @property
    def line(self) -> str:
        """What the login shell is given."""
        return quoted(["exec", "sh", "-c", self.script, "mailtrace", *self.arguments])


def quoted(words: Sequence[str]) -> str:
    """Words as a command line that every login shell reads alike.

    csh and fish differ from sh in what `!`, a backslash and a newline mean within quotes, and in what they make of
    bytes that are no text: a command that has any of these is written in octal, which `printf` turns back.
    """
    line = shlex.join(words)
    if not re.search(r"[^\x20-\x7e]|[!\\]", line):
        return line
    raw = line.encode("utf-8", "surrogateescape")
    coded = "".join(
        chr(byte) if re.match(rb"[A-Za-z0-9 ._/:=+,-]", bytes([byte])) else f"\\0{byte:03o}" for byte in raw
    )
    return f"exec sh -c 'eval \"$(printf %b \"$1\")\"' mailtrace '{coded}'"


def hello() -> Command:
    """What the machine says of itself: its clock, its zone, its tools."""
    tools = " ".join(sorted(set(_TOOLS.values())))
    script = (
        _START + 'echo "date $(date "+%s %z")"; echo "zone $TZ:$(readlink /etc/localtime)"; echo "home $(pwd)"; '
        f"for t in {tools} journalctl sudo grep tail head ls; do "
        'if command -v $t >/dev/null 2>&1; then echo "tool $t"; fi; done; '
        # Some tell where the match begins, not its line (BSD's, at times): those count lines instead.
        'echo "grep $( (echo a; echo bx) | grep -abFi -e X 2>/dev/null)"; '
        'echo "plain $(echo x | grep -anFi -e X 2>/dev/null)"; '
        'echo "cut $(echo abcd | tail -c +2 2>/dev/null | head -c 2 2>/dev/null)"; '
        'echo "uid $(id -u)"'
    )
    return Command(script)


def list_(folders: Sequence[str], *, sudo: str) -> Command:
    """The files of folders, one after the other; a folder may hold wildcards, which the remote side resolves."""
    script = (
        _begin(sudo=sudo)
        + f'f() {{ echo "folder $1"; l "$1/"; echo "{STATUS}list=$?" >&2; }}; IFS=; '
        + 'for p in "$@"; do case "$p" in *[*?[]*) for d in $p; do f "$d"; done;; *) f "$p";; esac; done'
    )
    return Command(script, tuple(folders))


class Piece(NamedTuple):
    """A part of a file to fetch: `size` bytes of its text from `offset` on (0 for the first byte)."""

    path: str
    kind: str
    offset: int
    size: int


def pieces(wanted: Iterable[Piece], mark: str, *, sudo: str) -> Command:
    """Several pieces of files; behind each stands a line with the mark."""
    cases = "".join(
        f'{kind}) {{ r "$1" 1; echo "{STATUS}read=$?" >&2; }} | {unpack} 2>/dev/null | head -c "$4";; '
        for kind, unpack in UNPACK.items()
    )
    script = (
        _begin(sudo=sudo)
        + "m=$1; shift; while [ $# -gt 3 ]; do case $2 in "
        + cases
        # `tail` may complain that `head` has had enough.
        + f'*) {{ r "$1" "$3"; echo "{STATUS}read=$?" >&2; }} | head -c "$4";; '
        + 'esac; echo; echo "$m"; shift 4; done'
    )
    arguments = [mark]
    for piece in wanted:
        arguments += [piece.path, piece.kind, str(piece.offset + 1), str(piece.size)]
    return Command(script, tuple(arguments))


class Filter(NamedTuple):
    """How lines are chosen on the far side: each set of literals is one `grep` (any of them, all sets)."""

    sets: tuple[tuple[str, ...], ...] = ()
    numbered: bool = False  # grep has no -b: lines are numbered instead


def lines(path: str, kind: str, low: int, high: int | None, chosen: Filter, *, sudo: str) -> Command:
    """The lines in [low, high) of a file that pass a filter, each with its byte offset behind `low` (or its number).

    First comes a line that tells which file it is.
    """
    script = [_begin(sudo=sudo), 'echo "file $(ls -dlniL "$1" 2>/dev/null)"; ']
    arguments = [path, str(low + 1), str(-1 if high is None else max(high - low, 0)), str(low)]
    many = sum(len(text) + 8 for texts in chosen.sets for text in texts) > MANY
    text = b""
    patterns: list[str] = []
    for number, texts in enumerate(chosen.sets):
        if many:
            joined = "\n".join(texts).encode("utf-8", "surrogateescape")
            script.append(f"p{number}=$(head -c {len(joined)}); ")
            text += joined
            patterns.append(f'-e "$p{number}"')
        else:
            names = []
            for literal in texts:
                arguments.append(literal)
                names.append(f'-e "${{{len(arguments)}}}"')
            patterns.append(" ".join(names))
    if chosen.numbered and kind == "plain":
        script.append('echo "before $(r "$1" 1 | head -c "$4" | wc -l)"; ')
    pipeline = [f'{{ r "$1" {"$2" if kind == "plain" else "1"}; echo "{STATUS}read=$?" >&2; }}']
    if kind in UNPACK:
        pipeline.append(f'{{ {UNPACK[kind]}; echo "{STATUS}unpack=$?" >&2; }}')
    elif high is not None:
        pipeline.append('head -c "$3"')
    for number, each in enumerate(patterns):
        pipeline.append(f"grep -a{('n' if chosen.numbered else 'b') if number == 0 else ''}Fi {each}")
    script.append(" | ".join(pipeline))
    return Command("".join(script), tuple(arguments), text)


def met(path: str, kind: str, size: int, hosts: Sequence[Sequence[str]], mark: str, *, sudo: str) -> Command:
    """Some first and some last lines that hold any of a host's spellings, host by host; behind each stands the mark."""
    arguments = [path, mark, str(max(size - _END, 0) + 1)]
    unpack = f" | {UNPACK[kind]} 2>/dev/null" if kind in UNPACK else ""
    script = [_begin(sudo=sudo), 'w() { r "$f" "$1"', unpack, "; }; f=$1; m=$2; e=$3; "]
    for spellings in hosts:
        names = []
        for spelling in spellings:
            arguments.append(spelling)
            names.append(f'-e "${{{len(arguments)}}}"')
        grep = f"grep -aFi {' '.join(names)}"
        last = f"w 1 | {grep} | tail -n {_SOME}"
        if kind not in UNPACK:
            last = f'x=$(w "$e" | {grep} | tail -n {_SOME}); if [ -z "$x" ]; then x=$({last}); fi; printf "%s" "$x"'
        script.append(f'w 1 | {grep} | head -n {_SOME}; echo; echo "$m"; {last}; echo; echo "$m"; ')
    return Command("".join(script), tuple(arguments))


def journal(arguments: Sequence[str], chosen: Filter, *, sudo: str) -> Command:
    """The journal, filtered. `arguments` are journalctl's."""
    how = f"echo {SUDO} >&2; sudo {sudo} " if sudo else ""
    words = list(arguments)
    script = [_START, f'{{ {how}journalctl {" ".join(_word(word) for word in words)}; echo "{STATUS}read=$?" >&2; }}']
    patterns: list[str] = []
    for texts in chosen.sets:
        names = []
        for literal in texts:
            patterns.append(literal)
            names.append(f'-e "${{{len(patterns)}}}"')
        script.append(f" | grep -aFi {' '.join(names)}")
    return Command("".join(script), tuple(patterns))


def sudoers(user: str, folders: Iterable[str], paths: Iterable[str]) -> list[str]:
    """Lines for sudoers that allow just these commands: sudo 1.9.10 and later, whose arguments can be expressions."""
    allow = f"{user} ALL=(root) NOPASSWD: /usr/bin"
    rotated = "([.-][0-9A-Za-z.:_-]+)?"
    return [
        *(f"{allow}/ls -lniL {_escaped(folder)}" for folder in folders),
        *(f"{allow}/tail ^-c \\+[0-9]+ {_expression(path)}{rotated}$" for path in paths),
    ]


def sudoers_journal(user: str) -> str:
    """As `sudoers`, for the journal."""
    words = r"/usr/bin/journalctl ^-o json --no-pager --all( --(since|cursor)=[@0-9A-Za-z;=]+)?( --until=@[0-9]+)?"
    matches = " ".join(_expression(word) for word in MAIL)
    return f"{user} ALL=(root) NOPASSWD: {words} {matches}( -n 1)?$"


def _begin(*, sudo: str) -> str:
    return _START + (_WITH_SUDO.replace("_OPTIONS_", sudo) if sudo else _AS_USER)


def _word(word: str) -> str:
    """A word of ours, in quotes where it is a cursor of the journal."""
    if not re.fullmatch(r"[A-Za-z0-9@=._/:+-]+|--cursor=[A-Za-z0-9=;]+", word):
        msg = f"not a plain word: {word!r}"
        raise ValueError(msg)
    return f"'{word}'" if ";" in word else word


def _escaped(text: str) -> str:
    """As sudoers wants it: what means something there has a backslash."""
    return re.sub(r"([ ,:=\\*?\[\]!#])", r"\\\1", text)


def _expression(path: str) -> str:
    """A path as an extended regular expression, wildcards of the configuration within one folder."""
    out = ""
    for character in path:
        if character == "*":
            out += "[^/ ]*"
        elif character == "?":
            out += "[^/ ]"
        elif re.match(r"[A-Za-z0-9/_-]", character):
            out += character
        else:
            out += f"[{character}]" if character not in "^\\[]" else f"\\{character}"
    return out
