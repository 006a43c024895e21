"""The hosts of the lab, who lives on them, and which address stands for which others.

partners ─► sp1 ─► washer ─(filter)─► washer ─┐
far ──────► osl1 ─────────────────────────────┴► core[core-in] ─(filter)─► core[core-out]
core[core-out] ─► agora (quay, lists) | coral (reef) | walrus (arctic) | tern (dune) | gull (the world)
dock (587, 465, AUTH; a blind copy of all) ─► core-in | gull        gull ─► far | core-in (bounces)
narwhal (programs) ─► far (by MX) | core-in                          agora, coral, tern ─► core-in
walrus ─► narwhal (what leaves arctic)                               far ─► sp1, osl1 (by MX)
core, dock, narwhal ─► scribe (log host)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

NETWORK = "10.99.0.0/24"
BRIDGE_ADDRESS = "10.99.0.1"  # the DNS server's, too
DEAD_ADDRESS = "10.99.0.250"  # nothing answers there
SCRIBE_ADDRESS = "10.99.0.23"


class Stamps(str, Enum):
    """How a host's log writes the time."""

    BSD = "BSD (no year, no zone)"
    ISO = "ISO 8601 (microseconds, zone)"
    RFC5424 = "RFC 5424"
    EXIM = "Exim mainlog (local time, no zone)"


@dataclass(frozen=True, slots=True)
class Host:
    """One host: what a reader of its logs may know, and what the lab needs to build it.

    `clock_offset` is in seconds (positive: fast); `clock_steps`: how many values the microseconds of its clock take,
    with `small_spool` (a file system of its own, whose inode numbers are few) that makes short queue IDs come again.
    """

    name: str
    role: str
    fqdn: str
    addresses: tuple[str, ...]
    zone: str = "UTC"
    stamps: Stamps = Stamps.BSD
    long_ids: bool = False
    exim: bool = False
    loghost: bool = False
    outside: bool = False
    aliases: tuple[str, ...] = ()
    syslog_names: tuple[str, ...] = ("postfix",)
    clock_offset: int = 0
    clock_steps: int = 0
    small_spool: bool = False
    rotated: bool = False
    pointers: dict[str, str] = field(default_factory=dict)  # addresses whose reverse name is not the fqdn


FLEET: tuple[Host, ...] = (
    Host(
        "sp1",
        "edge: filter before the queue, HOLD",
        "mx-sp.quay.example",
        ("10.99.0.11",),
        "America/Sao_Paulo",
        rotated=True,
    ),
    Host(
        "osl1",
        "edge: greylisting, recipient_bcc_maps",
        "mx-osl.quay.example",
        ("10.99.0.12",),
        "Europe/Oslo",
        Stamps.ISO,
        long_ids=True,
    ),
    Host(
        "washer",
        "content filter with reinjection (two queue IDs per mail)",
        "washer.quay.example",
        ("10.99.0.13",),
        stamps=Stamps.ISO,
    ),
    Host(
        "core",
        "two Postfix instances, a filter between them",
        "core-in.quay.example",
        ("10.99.0.14", "10.99.0.15"),
        loghost=True,
        aliases=("core-out.quay.example", "inbound.quay.example"),
        syslog_names=("core-in", "core-out"),
        pointers={"10.99.0.14": "inbound.quay.example", "10.99.0.15": "core-out.quay.example"},
    ),
    Host("agora", "local(8): aliases, lists, a list manager", "agora.quay.example", ("10.99.0.16",), "Asia/Kolkata"),
    Host(
        "coral",
        "mailboxes by Dovecot LMTP, Sieve redirects",
        "coral.quay.example",
        ("10.99.0.17",),
        "Europe/Oslo",
        Stamps.ISO,
        long_ids=True,
    ),
    Host(
        "walrus",
        "Exim: mailboxes, aliases",
        "walrus.arctic.example",
        ("10.99.0.18",),
        "America/Sao_Paulo",
        Stamps.EXIM,
        exim=True,
    ),
    Host(
        "narwhal",
        "Exim, logs to syslog: mail of programs, what leaves arctic",
        "narwhal.arctic.example",
        ("10.99.0.19",),
        exim=True,
        loghost=True,
        syslog_names=("exim",),
    ),
    Host(
        "dock",
        "submission with TLS and AUTH, always_bcc",
        "dock.quay.example",
        ("10.99.0.20",),
        stamps=Stamps.RFC5424,
        long_ids=True,
        loghost=True,
        syslog_names=("postfix", "postfix/submission", "postfix/smtps"),
    ),
    Host(
        "gull",
        "to the world; its short queue IDs come again",
        "gull.quay.example",
        ("10.99.0.21",),
        "Asia/Kolkata",
        clock_steps=8,
        small_spool=True,
        rotated=True,
    ),
    Host(
        "tern",
        "mailboxes (virtual); its clock is wrong",
        "tern.dune.example",
        ("10.99.0.22",),
        stamps=Stamps.ISO,
        clock_offset=437,
    ),
    Host(
        "far",
        "the world",
        "mail.far.example",
        ("10.99.0.30",),
        stamps=Stamps.ISO,
        long_ids=True,
        outside=True,
        aliases=("mail.isle.example",),
    ),
)
SCRIBE = Host(
    "scribe", "log host of core, narwhal and dock", "scribe.quay.example", (SCRIBE_ADDRESS,), stamps=Stamps.RFC5424
)
PARTNERS = "partners"  # a network without a mail server, where the traffic comes from
PARTNER_ADDRESSES: dict[str, str] = {  # address: its reverse name, "" for none
    "10.99.0.201": "mail.partner.example",
    "10.99.0.202": "smtp-out.far.example",
    "10.99.0.203": "",
    "10.99.0.204": "bulk7.sender.example",
    "10.99.0.205": "app1.quay.example",
    "10.99.0.206": "laptop.dhcp.quay.example",
}
BY_NAME: dict[str, Host] = {host.name: host for host in (*FLEET, SCRIBE)}

MAILBOXES: dict[str, tuple[str, ...]] = {  # domain: local parts
    "quay.example": ("ada", "bo", "cy", "dag", "eve", "flo", "gus", "hal"),
    "reef.example": (
        "ivy",
        "jon",
        "kim",
        "lea",
        "archive",
        "second",
        "hop",
        "away",
        *(f"u{n:02}" for n in range(1, 41)),
    ),
    "arctic.example": ("nan", "ole", "pia", "quin", "ros"),
    "dune.example": ("tao", "uma", "vic", "wes", "xia.long-name_with.parts"),
    "far.example": ("sid", "tess", "ugo", "vera", "grey1", "grey2", "grey3", "list-bounces"),
    "isle.example": ("greta", "hans", "inga", "o'hara", "a=b", "very.common", "søren"),
}
HOME: dict[str, str] = {
    "quay.example": "agora",
    "reef.example": "coral",
    "arctic.example": "walrus",
    "dune.example": "tern",
    "far.example": "far",
    "isle.example": "far",
    "lists.quay.example": "agora",
}
INSIDE = ("quay.example", "reef.example", "arctic.example", "dune.example", "lists.quay.example")
GHOSTS = ("ghost1", "ghost2", "ghost3")  # the edges accept them in every domain inside, their homes don't know them
LOST = "lost@reef.example"  # Postfix accepts it, LMTP refuses it
STUCK = "moss.example"  # inside by the transport map; nothing answers: deferred to the end
DEAD = "dead.example"  # an MX that doesn't answer: expires at gull
NOTICES = "second@reef.example"  # who hears of double bounces
BCC = "archive@reef.example"
BCC_OF = "jon@reef.example"  # osl1 sends a copy of his mail to BCC

# What local(8), Exim's aliases and Sieve make of an address; one step.
ALIASES: dict[str, tuple[str, ...]] = {
    "team@quay.example": ("ada@quay.example", "bo@quay.example", "ivy@reef.example", "nan@arctic.example"),
    "list-news@quay.example": (
        "cy@quay.example",
        "dag@quay.example",
        "kim@reef.example",
        "tess@far.example",
        "ghost1@reef.example",
    ),
    "chain1@quay.example": ("chain2@arctic.example",),
    "chain2@arctic.example": ("chain3@quay.example",),
    "chain3@quay.example": ("tao@dune.example",),
    "abroad@quay.example": ("vera@far.example",),
    "gone@arctic.example": ("sid@far.example",),
    "crew@arctic.example": ("nan@arctic.example", "ole@arctic.example", "lea@reef.example", "eve@quay.example"),
    "hop@reef.example": ("flo@quay.example",),
    "away@reef.example": ("inga@isle.example",),
    "broken@quay.example": ("nobody-here@far.example",),
    "ping@quay.example": ("pong@arctic.example",),
    "pong@arctic.example": ("ping@quay.example",),
}
VIRTUAL = {"info@reef.example": ("ivy@reef.example", "u02@reef.example")}  # by core-in's virtual_alias_maps
LIST_MANAGER = "talk@lists.quay.example"
LIST_MEMBERS = ("gus@quay.example", "uma@dune.example", "u01@reef.example", "ugo@far.example")


def finals(address: str) -> frozenset[str]:
    """Every address that mail for `address` may end at, itself included."""
    seen: set[str] = set()
    todo = [address.lower()]
    while todo:
        one = todo.pop()
        if one not in seen:
            seen.add(one)
            local, _, domain = one.partition("@")
            todo += (*ALIASES.get(one, ()), *VIRTUAL.get(one, ()))
            if "+" in local:
                todo.append(f"{local.partition('+')[0]}@{domain}")
    return frozenset(seen)
