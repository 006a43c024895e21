"""Whether a server is the one it says it is: known_hosts, read as OpenSSH's sshd(8) describes it.

Markers, comma-separated patterns with `*`, `?` and `!`, `[host]:port`, hashed names. A name that is not in any file is
unknown; a key that differs from the known ones is a changed key. Authorities: see `ssh_certificates`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import threading
from binascii import Error
from collections.abc import Iterable, Sequence
from enum import Enum
from pathlib import Path
from typing import NamedTuple

USER_FILES = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
SYSTEM_FILES = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
PORT = 22


class KnownKey(NamedTuple):
    """One line of a known_hosts file."""

    marker: str  # "", revoked, cert-authority
    names: str
    kind: str
    key: bytes
    file: str
    line: int


class Verdict(Enum):
    """What the files say of a server's key."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    OTHER_KIND = "other kind"  # keys are known, none of this kind
    CHANGED = "changed"
    REVOKED = "revoked"
    AUTHORITY = "authority"  # only a certificate authority is known


class KnownHosts:
    """The keys of some files; a file that is not there holds none."""

    def __init__(self, files: Sequence[str]) -> None:
        """Read nothing yet."""
        self.files = tuple(files)
        self._keys: list[KnownKey] | None = None
        self._lock = threading.Lock()

    def judge(
        self, name: str, port: int, kind: str, key: bytes, *, alias: bool = False
    ) -> tuple[Verdict, KnownKey | None]:
        """What the files say of the key of a server, and the line that says it.

        `name` is the host as it is connected to, or its `HostKeyAlias`, which stands for any port (`alias`).
        """
        lines = self._of(name, port, alias=alias)
        for line in lines:
            if line.marker == "revoked" and line.key == key:
                return Verdict.REVOKED, line
        plain = [line for line in lines if not line.marker]
        for line in plain:
            if line.key == key:
                return Verdict.KNOWN, line
        same = next((line for line in plain if line.kind == kind), None)
        if same is not None:
            return Verdict.CHANGED, same
        if not alias and port != PORT:
            # As OpenSSH: a key known without a port is good on every port.
            for line in self._of(name, PORT):
                if line.key == key and line.marker != "cert-authority":
                    return (Verdict.REVOKED if line.marker else Verdict.KNOWN), line
        if plain:
            return Verdict.OTHER_KIND, plain[0]
        authority = next((line for line in lines if line.marker == "cert-authority"), None)
        return (Verdict.AUTHORITY, authority) if authority is not None else (Verdict.UNKNOWN, None)

    def authorities(self, name: str, port: int, *, alias: bool = False) -> list[bytes]:
        """The keys that may vouch for a server (`@cert-authority`), those that are revoked left out."""
        lines = self._of(name, port, alias=alias)
        lines += self._of(name, PORT) if not alias and port != PORT else []
        revoked = {line.key for line in lines if line.marker == "revoked"}
        return [line.key for line in lines if line.marker == "cert-authority" and line.key not in revoked]

    def revoked(self) -> list[str]:
        """The keys that the files revoke, whatever their names: a line each, `kind key`."""
        with self._lock:
            keys = [key for key in self._load() if key.marker == "revoked"]
        return [f"{key.kind} {base64.b64encode(key.key).decode('ascii')}\n" for key in keys]

    def kinds(self, name: str, port: int, *, alias: bool = False) -> list[str]:
        """The kinds of key that are known of a server: those it should be asked for."""
        lines = self._of(name, port, alias=alias)
        if not lines and not alias and port != PORT:
            lines = self._of(name, PORT)
        return list(dict.fromkeys(line.kind for line in lines if not line.marker))

    def add(self, name: str, port: int, kind: str, key: bytes, *, alias: bool = False) -> str:
        """Learn a new server; returns the file in which it was written, "" where none could be."""
        shown = entry_name(name, port, alias=alias)
        with self._lock:
            self._load().append(KnownKey("", shown, kind, key, "", 0))
        text = f"{shown} {kind} {base64.b64encode(key).decode('ascii')}\n"
        for file in self.files:
            path = Path(file)
            if path.is_relative_to("/etc"):
                continue
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with path.open("a", encoding="utf-8") as stream:
                    stream.write(text)
            except OSError:
                continue
            return file
        return ""

    def _of(self, name: str, port: int, *, alias: bool = False) -> list[KnownKey]:
        wanted = entry_name(name, port, alias=alias)
        with self._lock:
            return [line for line in self._load() if _names(line.names, wanted)]

    def _load(self) -> list[KnownKey]:
        if self._keys is None:
            self._keys = [line for file in self.files for line in _read(file)]
        return self._keys


def entry_name(name: str, port: int, *, alias: bool = False) -> str:
    """How known_hosts spells a server."""
    bare = name.casefold()
    return bare if alias or port == PORT else f"[{bare}]:{port}"


def expanded(files: Iterable[str]) -> tuple[str, ...]:
    """The paths with `~` as the home."""
    return tuple(dict.fromkeys(os.path.expanduser(file) for file in files if file and file != "none"))  # noqa: PTH111


def fingerprint(key: bytes) -> str:
    """As OpenSSH shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode("ascii").rstrip("=")


def _read(file: str) -> list[KnownKey]:
    """The keys of a file; lines that are none are left out."""
    try:
        lines = Path(file).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for number, line in enumerate(lines, 1):
        fields = line.split()
        marker = fields.pop(0)[1:] if fields and fields[0].startswith("@") else ""
        if len(fields) < 3 or fields[0].startswith("#") or marker not in ("", "revoked", "cert-authority"):
            continue
        try:
            key = base64.b64decode(fields[2], validate=True)
        except (Error, ValueError):
            continue
        found.append(KnownKey(marker, fields[0], fields[1], key, file, number))
    return found


def _names(names: str, wanted: str) -> bool:
    """Whether the first field of a line stands for a name."""
    if names.startswith("|1|"):
        return _hashed(names, wanted)
    found = False
    for pattern in names.casefold().split(","):
        negated = pattern.startswith("!")
        if _matches(pattern[negated:], wanted):
            if negated:
                return False
            found = True
    return found


def _matches(pattern: str, name: str) -> bool:
    """Only `*` and `?` are wildcards; the brackets of `[host]:port` are themselves."""
    if "*" not in pattern and "?" not in pattern:
        return pattern == name
    expression = "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern)
    return re.fullmatch(expression, name) is not None


def _hashed(field: str, name: str) -> bool:
    """`|1|salt|hash`: HMAC-SHA1 of the name, keyed with the salt."""
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in field[3:].split("|"))
    except (Error, ValueError):
        return False
    return hmac.compare_digest(hmac.new(salt, name.encode(), hashlib.sha1).digest(), digest)
