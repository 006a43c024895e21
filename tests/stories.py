"""Lines of logs → mails, for tests that tell a story in a few lines of several hosts."""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import dedent

from mailtrace.assemble import Assembly, assemble
from mailtrace.hosts import HostFacts, Inventory
from mailtrace.model import LogEntry, Mail
from mailtrace.parsers import make_parser

NOW = 1795500000.0  # 2026-11-24, after all lines whose year nothing proves


def entries(**logs: str) -> list[LogEntry]:
    """The entries of each host's log; `_` in a keyword is `-` in the host's name."""
    found: list[LogEntry] = []
    for host, text in logs.items():
        lines = dedent(text).strip("\n").encode()
        found += make_parser(keep_raw=True).parse(lines, 0, host.replace("_", "-"))
    return found


def read(**logs: str) -> Assembly:
    """The mails of some hosts' lines, nothing configured."""
    return put_together(entries(**logs))


def put_together(lines: Iterable[LogEntry], inventory: Inventory | None = None) -> Assembly:
    return assemble(lines, inventory, machine="UTC", near=NOW, keep_entries=True)


def hosts(**facts: HostFacts) -> Inventory:
    """A configuration that knows these hosts."""
    return Inventory({name.replace("_", "-"): fact for name, fact in facts.items()})


def rows(assembly: Assembly) -> list[str]:
    """Every row, sorted: `recipient outcome path`."""
    return sorted(
        " ".join([row.recipient, row.outcome, *(f"{step.host}:{step.queue_id}" for step in row.path)])
        for mail in assembly.mails
        for row in mail.recipients
    )


def links(assembly: Assembly) -> list[str]:
    """Every link once, sorted: `from kind to certainty`; a hop is its host and queue ID."""
    return sorted(
        {
            f"{_short(link.from_)} {link.kind.value} {_short(link.to)} {link.certainty.value}"
            for mail in assembly.mails
            for link in mail.links
        }
    )


def _short(hop: str) -> str:
    """`host:ID` of a hop's id; `#2` stays."""
    host, _instance, queue_id = hop.split(":")
    return f"{host}:{queue_id}"


def evidence(assembly: Assembly, to: str) -> list[str]:
    """The kinds of evidence for the link to a queue ID."""
    return [
        fact.kind
        for mail in assembly.mails
        for link in mail.links
        for fact in link.evidence
        if link.to.endswith(f":{to}")
    ]


def only(assembly: Assembly) -> Mail:
    """The one mail."""
    assert len(assembly.mails) == 1, [mail.id for mail in assembly.mails]
    return assembly.mails[0]
