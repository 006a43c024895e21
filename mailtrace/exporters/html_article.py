"""One mail of the page: its head, its recipients, its graph and its waterfall."""

from __future__ import annotations

from mailtrace.exporters.html_graph import picture
from mailtrace.exporters.html_markup import Markup, join, scroll, table, tag
from mailtrace.exporters.html_pack import part
from mailtrace.exporters.html_scene import Scene, chip, chips, names
from mailtrace.exporters.html_waterfall import Waterfall
from mailtrace.graph import MailGraph
from mailtrace.model import Certainty, Mail, Recipient
from mailtrace.report import Report, rfc3339, visible
from mailtrace.story import Story
from mailtrace.wording import FAILED, address, count, peer, size_of, tally

OPEN_TABLE = 8
"""Up to so many recipients the table of recipients is open from the start."""
DRAWN = 60
"""A graph of more hosts is too wide to be read."""


class Article:
    """The mail with that number in the report, counted from 1."""

    def __init__(self, scene: Scene, mail: Mail, number: int) -> None:
        """Nothing is drawn yet."""
        self.scene, self.mail, self.number = scene, mail, number
        self.story = Story(mail, scene.index)
        self.anchors = {hop.id: f"m{number}h{i}" for i, hop in enumerate(mail.hops, 1)}

    def markup(self) -> Markup:
        """The whole article."""
        total, name = len(self.scene.report.mails), f"m{self.number}"
        title = f"Mail {self.number:,} of {total:,}" if total > 1 else "The mail"
        return tag(
            "article",
            tag("h2", title, " ", chips(self.mail.recipients), id=f"{name}t"),
            tag("div", self._head(), part("graph", self._graph()), class_="top"),
            part("recipients", self._recipients()),
            tag("h3", "The way, hop by hop"),
            Waterfall(self.scene, self.story, self.anchors).markup(),
            id=name,
            class_="mail",
            aria_labelledby=f"{name}t",
        )

    def _head(self) -> Markup:
        mail, clock = self.mail, self.scene.clock
        items: list[tuple[str, Markup | str]] = [
            ("because", self._cause()),
            ("from", join(tag("b", address(mail.sender)), tag("span", self._origin(), class_="dim"))),
            ("to", names(mail.recipients)),
            ("subject", mail.subject or ""),
            ("Message-ID", tag("code", mail.message_id) if mail.message_id else tag("i", "none known")),
        ]
        when = tag("time", f"{clock.minute(mail.first)} {clock.zone(mail.first)}", datetime=rfc3339(mail.first))
        size = f", {size_of(mail.size)}" if mail.size is not None else ""
        items.append(("when", join(when, size)))
        return tag("dl", [join(tag("dt", name), tag("dd", value)) for name, value in items if value], class_="head")

    def _cause(self) -> Markup | str:
        said = self.scene.index.cause(self.mail)
        if not said:
            return ""
        number = self.scene.index.numbers.get(self.scene.index.roots[self.mail.hops[0].id].from_)
        return tag("a", said, href=f"#m{number}") if number else said

    def _origin(self) -> str:
        if not self.mail.hops:
            return ""
        hop = self.mail.hops[0]
        if hop.local:
            return f" on {visible(hop.host)} itself" + (f", user {visible(hop.user)}" if hop.user else "")
        client = peer(hop.client.name, hop.client.ip)
        return (f" via {client}" if client else "") + (f", logged in as {visible(hop.user)}" if hop.user else "")

    # ------------------------------------------------------------------ recipients

    def _recipients(self) -> Markup | None:
        rows = self.mail.recipients
        if len(rows) < 2:
            return None
        columns = ("recipient", "outcome", "took", "attempts", "way")
        shown = table(columns, [self._recipient(row, i) for i, row in enumerate(rows)])
        summary = tag("summary", tag("h3", count(len(rows), "recipient")))
        return tag("details", summary, scroll("Recipients", shown), class_="recipients", open=len(rows) <= OPEN_TABLE)

    def _recipient(self, row: Recipient, number: int) -> Markup:
        asked = None
        if row.original_recipient and row.original_recipient.lower() != row.recipient.lower():
            asked = tag("small", f"addressed to {address(row.original_recipient)}")
        way: list[Markup | str] = []
        for hop in self.story.path(row):
            # Of many recipients the names do, and a page to fifty stays small.
            few = len(self.mail.recipients) <= OPEN_TABLE
            link = tag("a", hop.host, href=f"#{self.anchors[hop.id]}", title=hop.queue_id) if few else hop.host
            way += [" → ", link] if way else [link]
        doubt = f" {row.certainty.value}" if row.certainty is not Certainty.PROVEN else ""
        return tag(
            "tr",
            tag("th", tag("span", address(row.recipient), class_="pick", data_r=number), asked, scope="row"),
            tag("td", chip(row.outcome), doubt),
            tag("td", self.story.took(row) or "not known"),
            tag("td", f"{row.attempts:,}", class_="n"),
            tag("td", way or ("refused at the door" if row.outcome == "rejected" else "not known")),
        )

    # ------------------------------------------------------------------ graph

    def _graph(self) -> Markup | None:
        graph = MailGraph.of(Report("", "graph", mails=[self.mail], coverage=self.scene.report.coverage))
        self._refused(graph)
        if not 1 < len(graph.hosts) <= DRAWN:
            return None
        first: dict[str, str] = {}
        for hop in self.mail.hops:
            first.setdefault(hop.host, self.anchors[hop.id])
        ends: dict[str, list[Recipient]] = {}
        for row in self.mail.recipients:
            path = self.story.path(row)
            if path:
                ends.setdefault(path[-1].host, []).append(row)
        drawn = picture(graph, first, {host: tally(rows) for host, rows in ends.items()})
        return scroll("The flow over hosts", drawn, class_="flow")

    def _refused(self, graph: MailGraph) -> None:
        """Add the hand-offs that another host refused, as edges of the style `failed`."""
        drawn = set()
        for row in self.mail.recipients:
            path = self.story.path(row)
            if not path or row.outcome not in (*FAILED, "deferred"):
                continue
            attempts = self.story.attempts(path[-1], None, row)
            if not attempts or not attempts[-1].relay.ip:  # `local` and the like are no hosts
                continue
            one, other = path[-1], self.scene.host(attempts[-1].relay)
            if other and (one.id, other) not in drawn:
                drawn.add((one.id, other))
                graph.hosts.setdefault(other, "dashed")
                graph.add_hop(one.host, other, one.queue_id)
                graph.edges[-1].style = "failed"
