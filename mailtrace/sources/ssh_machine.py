"""What a machine says of itself, and what its programs say when something cannot be read."""

from __future__ import annotations

import re
from datetime import datetime
from typing import NamedTuple

from mailtrace.sources.ssh_remote import SshError


class Machine(NamedTuple):
    """What a machine says of itself."""

    skew: float = 0.0  # seconds its clock is ahead of ours
    zone: str = ""
    home: str = "/"
    tools: frozenset[str] = frozenset()
    offsets: bool = True  # its grep tells byte offsets (-b)
    greps: bool = True  # its grep can be used at all
    root: bool = False


def zone_told(said: str, offset: str, now: float) -> str:
    """The zone of `$TZ:/etc/localtime's target`, where it agrees with what `date` says, else that offset."""
    from zoneinfo import ZoneInfo

    variable, _, link = said.partition(":")
    plain = f"{offset[:3]}:{offset[3:]}" if re.fullmatch(r"[+-]\d{4}", offset) else ""
    for name in (variable.removeprefix(":"), link.partition("zoneinfo/")[2]):
        try:
            zone = ZoneInfo(name) if name else None
        except (ValueError, OSError, KeyError):
            continue
        if zone is not None and datetime.fromtimestamp(now, zone).strftime("%z") == offset:
            return name
    return plain


def why(path: str, words: str, user: str) -> str:
    """Why something cannot be read, and the cure, from what `tail`, `ls` or sudo says."""
    said = words.rpartition("; ")[2] if "sudo" not in words else words
    if "incorrect password" in words or "Sorry, try again" in words:
        msg = "sudo refused the password; it was tried once. Check sudo_pass (--ask-sudo-pass)"
        raise SshError(msg)
    if "password is required" in words:
        return (
            f"{path}: sudo asks {user} for a password; use --ask-sudo-pass or MAILTRACE_SUDO_PASSWORD, add the sudoers "
            "lines that --plan prints, or let the user read the logs (group adm)"
        )
    if "must have a tty" in words or "terminal is required" in words:
        return f"{path}: sudo wants a terminal; take `requiretty` out of sudoers for {user}"
    if "not in the sudoers" in words or "not allowed to" in words or "may not run" in words:
        return f"{path}: sudo does not allow {user} to read it; add the sudoers lines that --plan prints"
    if "Permission denied" in words:
        return (
            f"{path}: permission denied for {user}; let {user} read it (often the group adm), or set sudo: true and "
            "add the sudoers lines that --plan prints"
        )
    if "No such file" in words:
        return f"{path}: no such file"
    return f"{path}: cannot be read: {said or 'it is not said why'}"
