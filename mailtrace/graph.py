"""The flow of mail over hosts as a directed graph, and its form in Graphviz' language.

Nodes are hosts, an edge is a hand-off, labelled with the queue ID on the host that it leaves; a second queue ID on the
same host is an edge from the host to itself.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, Union

from mailtrace.assemble.mails import Mails
from mailtrace.model import Certainty, Delivery, Hop, Link, LinkKind, Mail
from mailtrace.report import visible

if TYPE_CHECKING:
    from mailtrace.report import Report

Target = Union[str, "os.PathLike[str]", TextIO, None]

NAMED = 3
"""A merged edge names its queue IDs up to so many …"""
FEW = 10
"""… in a graph of up to so many mails; in a larger one only the numbers can be read."""
Ways = dict[tuple[str, str], str | tuple[str, str, str]]
"""By both hops the style of a link; by the hop and what was answered a hand-off to a host without a log: from which
host, the queue ID there, the other host's name."""
_OPEN_ENDED = ("relayed", "in_transit", "unknown")
"""Outcomes of mail that was handed to a host without a hop of its own."""


@dataclass(slots=True)
class Edge:
    """Hand-offs between two hosts; one, unless parallel ones were merged. `style` is Graphviz' ("" for solid).

    `named` tells whether the label of several may name them.
    """

    from_host: str
    to_host: str
    queue_ids: list[str] = field(default_factory=list)
    style: str = ""
    named: bool = True

    @property
    def label(self) -> str:
        """The queue ID, or the number of messages and, where they are few, their queue IDs."""
        times = Counter(self.queue_ids)
        names = [name if count == 1 else f"{name} ({count:,} copies)" for name, count in times.items()]
        if len(names) == 1:
            return names[0]
        count = f"{len(self.queue_ids):,} messages"
        return "\n".join([count, *names]) if self.named and len(names) <= NAMED else count


class MailGraph:
    """Hosts and the hand-offs between them, in the order in which they were added."""

    def __init__(self) -> None:
        """An empty graph, which is a valid one."""
        self.hosts: dict[str, str] = {}  # name → Graphviz style, "" for hosts whose log was read
        self.edges: list[Edge] = []

    @classmethod
    def of(cls, report: Report) -> MailGraph:
        """The graph of a report's mails.

        Of one mail every hand-off is an edge; of several, parallel edges are merged and counted. A host that took mail
        and has no log here (outside the fleet, or not covered) has a dashed border; a link that is one of several
        equal candidates is a dashed edge, one to a bounce message a dotted one.
        """
        graph = cls()
        ends: dict[str, tuple[str, str]] = {}  # of hops that are linked: host and queue ID
        ways: Ways = {}
        mails = report.mails
        for mail in mails.moved() if isinstance(mails, Mails) else mails:  # once: they may be made anew each time
            if isinstance(mail, str):
                graph.hosts.setdefault(mail, "")
                continue
            for hop in mail.hops:
                graph.hosts.setdefault(hop.host, "")
            if mail.links:
                ends.update((hop.id, (hop.host, hop.queue_id)) for hop in mail.hops)
                for link in mail.links:  # one between two mails may stand in both and is drawn once
                    ways.setdefault((link.from_, link.to), _link_style(link))
            ways.update(_handed_out(mail))
        known = {name.lower(): name for name in (*(item.host for item in report.coverage), *graph.hosts)}
        graph._draw(ways, ends, known, merge=len(report.mails) > 1, named=len(report.mails) <= FEW)
        return graph

    def _draw(
        self, ways: Ways, ends: dict[str, tuple[str, str]], known: dict[str, str], *, merge: bool, named: bool
    ) -> None:
        merged: dict[tuple[str, str, str], Edge] = {}
        for (one, other), way in ways.items():
            if isinstance(way, str):
                if one not in ends or other not in ends:
                    continue
                (host, queue_id), to, style = ends[one], ends[other][0], way
            else:
                host, queue_id, name = way
                to, style = known.get(name.lower(), name), ""
            self.hosts.setdefault(to, "dashed")
            edge = merged.get((host, to, style)) if merge else None
            if edge is None:
                edge = merged[host, to, style] = self._edge(host, to, style)
                edge.named = named
            edge.queue_ids.append(queue_id)

    def add_hop(self, from_host: str, to_host: str, queue_id: str) -> None:
        """Add a hand-off from a host to another, or to itself, of the message with this queue ID on `from_host`."""
        self.hosts.setdefault(from_host, "")
        self.hosts.setdefault(to_host, "")
        self._edge(from_host, to_host, "").queue_ids.append(queue_id)

    def _edge(self, from_host: str, to_host: str, style: str) -> Edge:
        self.edges.append(Edge(from_host, to_host, style=style))
        return self.edges[-1]

    def to_dot(self, path: Target = None) -> None:
        """Write the graph in Graphviz' language to a file, or to a stream; None and "-" are standard output.

        Raises `OSError` when the file can't be written.
        """
        if path is None or path == "-":
            sys.stdout.write(str(self))
        elif isinstance(path, (str, os.PathLike)):
            Path(path).write_text(str(self), encoding="utf-8")
        else:
            path.write(str(self))

    def __str__(self) -> str:
        """The graph in Graphviz' language. Every name is quoted: hosts have dots, some are called `node`."""
        import pydot

        dot = pydot.Dot("", graph_type="digraph")
        for host, style in self.hosts.items():
            dot.add_node(pydot.Node(quoted(host), **_style(style)))
        for key, edge in enumerate(self.edges):
            ends = quoted(edge.from_host), quoted(edge.to_host)
            dot.add_edge(pydot.Edge(*ends, key=key, label=quoted(edge.label), **_style(edge.style)))
        lines = (line.rstrip() for line in dot.to_string().splitlines())
        return "".join(f"{line}\n" for line in lines if line)


def quoted(text: str) -> str:
    """A name or label as a string of Graphviz' language that shows just this text, line breaks included."""
    lines = (visible(line).replace("\\", "\\\\").replace('"', '\\"') for line in text.split("\n"))
    return '"' + "\\n".join(lines) + '"'


def _style(style: str) -> dict[str, Any]:
    return {"style": style} if style else {}


def _link_style(link: Link) -> str:
    if link.certainty is Certainty.AMBIGUOUS:
        return "dashed"
    return "dotted" if link.kind is LinkKind.BOUNCED else ""


def _handed_out(mail: Mail) -> Ways:
    """The hand-offs to hosts that have no hop here, each message once."""
    linked = {(link.from_, recipient) for link in mail.links for recipient in link.recipients}
    if not any(
        d.status == "sent" and not d.local and (hop.id, d.recipient) not in linked
        for hop in mail.hops
        for d in hop.deliveries
    ):
        return {}
    out: Ways = {}
    hops = {hop.id: hop for hop in mail.hops}
    sent: dict[str, dict[str, Delivery]] = {}
    for row in mail.recipients:
        hop = hops.get(row.path[-1].hop) if row.path and row.outcome in _OPEN_ENDED else None
        if hop is None:
            continue
        if hop.id not in sent:
            sent[hop.id] = _last_sent(hop)
        last = sent[hop.id]
        mine = [last[name] for name in {row.recipient.lower(), row.original_recipient.lower()} if name in last]
        delivery = max(mine or last.values(), key=lambda d: d.time, default=None)
        if delivery is None or delivery.local:
            continue
        name = delivery.relay.name or delivery.relay.ip
        if name:
            out.setdefault(
                (hop.id, f"{name.lower()} {delivery.reply_id or delivery.reply}"), (hop.host, hop.queue_id, name)
            )
    return out


def _last_sent(hop: Hop) -> dict[str, Delivery]:
    """By each name of a recipient, its last delivery that went out."""
    out: dict[str, Delivery] = {}
    for delivery in hop.deliveries:
        if delivery.status == "sent":
            for name in (delivery.recipient.lower(), delivery.original_recipient.lower()):
                if name not in out or out[name].time < delivery.time:
                    out[name] = delivery
    return out
