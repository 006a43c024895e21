"""Where mails ended: mailboxes, programs, queues. Everything here is read from messages, nothing from logs."""

from __future__ import annotations

import email
import email.message
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .cells import Cells
from .fleet import BY_NAME, FLEET, HOME, LIST_MANAGER, MAILBOXES, Host

Message = email.message.Message
Hop = tuple[str, str]  # host, queue ID

_POSTFIX_HOP = re.compile(r"\bby (\S+) \(Postfix[^)]*\)(?:\s+with \S+)?\s+id (\w+)")
_EXIM_HOP = re.compile(
    r"\bby (\S+)\s+with \S+(?:\s+\([^)]*\))*?\s+\(Exim [^)]*\)\s+(?:\(envelope-from [^)]*\)\s+)?id (\S+?)[;\s]"
)
_NAMES = {name: host.name for host in FLEET for name in (host.fqdn, *host.aliases)}
_MULTI = {"core": ("/etc/postfix", "/etc/postfix-out")}


@dataclass(frozen=True, slots=True)
class Copy:
    """A message that arrived: in whose mailbox, on which host."""

    mailbox: str
    host: str
    message: Message
    data: bytes


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message in a queue, its recipients that are still to be served; `queue`: active, deferred, hold, …"""

    host: str
    queue_id: str
    queue: str
    sender: str
    recipients: tuple[str, ...]
    instance: str = ""  # Postfix's configuration folder


def hops(message: Message) -> list[Hop]:
    """The queues that a message went through, first one first, from its `Received:` headers."""
    found: list[Hop] = []
    for value in reversed(message.get_all("Received") or []):
        line = " ".join(str(value).split()) + " "
        if match := _POSTFIX_HOP.search(line) or _EXIM_HOP.search(line):
            found.append((_NAMES[match[1].lower()], match[2]))
    return found


_PROTOCOL = re.compile(r"\bwith (?:UTF8)?(E?SMTPS?)A?\b", re.IGNORECASE)


def protocols(message: Message) -> dict[Hop, bool]:
    """The queues that a message came to by SMTP, and whether over TLS: `ESMTPS` in its `Received:` header."""
    found: dict[Hop, bool] = {}
    for value in message.get_all("Received") or []:
        line = " ".join(str(value).split()) + " "
        match, protocol = _POSTFIX_HOP.search(line) or _EXIM_HOP.search(line), _PROTOCOL.search(line)
        if match and protocol:
            found[_NAMES[match[1].lower()], match[2]] = protocol[1].upper().endswith("S")
    return found


def parse(data: bytes) -> Message:
    """A message whose headers may hold UTF-8 (RFC 6532)."""
    return email.message_from_string(data.decode("utf-8", "replace"))


def copies(cells: Cells) -> Iterator[Copy]:
    """Every message in a mailbox, given to a program, or posted to the list manager."""
    for domain, people in MAILBOXES.items():
        host = HOME[domain]
        for person in people:
            folder = f"/home/{person}/Maildir" if host == "agora" else f"/var/mailboxes/{domain}/{person}"
            for file in _files(cells.inside(host, f"{folder}/new"), cells.inside(host, f"{folder}/cur")):
                data = file.read_bytes()
                yield Copy(f"{person}@{domain}", host, parse(data), data)
    for address, folder in (("desk@quay.example", "/var/lib/desk"), (LIST_MANAGER, "/var/lib/lists/postings")):
        for file in _files(cells.inside("agora", folder)):
            data = file.read_bytes()
            yield Copy(address, "agora", parse(data), data)


def _files(*folders: Path) -> list[Path]:
    return sorted(file for folder in folders if folder.is_dir() for file in folder.iterdir())


def waiting(cells: Cells) -> list[Waiting]:
    """What is in the queues."""
    found: list[Waiting] = []
    for host in FLEET:
        if host.exim:
            found += _exim_queue(cells, host)
        else:
            for folder in _MULTI.get(host.name, ("/etc/postfix",)):
                found += _postfix_queue(cells, host, folder)
    return found


def _postfix_queue(cells: Cells, host: Host, folder: str) -> Iterator[Waiting]:
    for line in cells.run(host.name, "postqueue", "-c", folder, "-j").splitlines():
        one = json.loads(line)
        people = tuple(person["address"] for person in one["recipients"])
        sender = "" if one["sender"] == "MAILER-DAEMON" else one["sender"]
        yield Waiting(host.name, one["queue_id"], one["queue_name"], sender, people, folder)


_EXIM_ENTRY = re.compile(r"^\s*\S+\s+\S+\s+(\S+-\S+-\S+)\s+<(.*?)>(.*)$")


def _exim_queue(cells: Cells, host: Host) -> Iterator[Waiting]:
    for block in cells.run(host.name, "exim4", "-bpru").split("\n\n"):
        lines = [line for line in block.splitlines() if line.strip()]
        if lines and (match := _EXIM_ENTRY.match(lines[0])):
            queue = "frozen" if "frozen" in match[3] else "deferred"
            people = tuple(line.strip() for line in lines[1:])
            yield Waiting(host.name, match[1], queue, match[2], people)


def content(cells: Cells, one: Waiting) -> Message:
    """A queued message's headers and body."""
    if BY_NAME[one.host].exim:
        text = _unlocked(cells, one)
    else:
        text = cells.run(one.host, "postcat", "-c", one.instance, "-hbq", one.queue_id)
    return parse(text.encode("utf-8", "surrogateescape"))


def _unlocked(cells: Cells, one: Waiting, tries: int = 40) -> str:
    """An Exim message, which can't be read while a delivery is tried."""
    for _ in range(tries):
        try:
            return cells.run(one.host, "exim4", "-Mvc", one.queue_id)
        except RuntimeError:
            time.sleep(0.5)
    raise RuntimeError(f"{one.host}: {one.queue_id} stays locked")
