"""What a row of the waterfall opens to: facts about a hop, why it follows the one before, its attempts and lines."""

from __future__ import annotations

from collections.abc import Sequence

from mailtrace.exporters.html_lanes import STAGES
from mailtrace.exporters.html_markup import Markup, join, scroll, table, tag
from mailtrace.exporters.html_pack import part
from mailtrace.exporters.html_scene import Times
from mailtrace.model import Certainty, Delivery, Hop, Link
from mailtrace.remarks import grouped
from mailtrace.report import visible
from mailtrace.story import Story
from mailtrace.wording import address, count, duration, peer, size_of

SHOWN = 50
"""Of more attempts than this that differ, so many are shown, and how many are left out is said."""
LINES = 200
"""The same for log lines."""


def evidence(
    story: Story, times: Times, hop: Hop, link: Link | None, attempts: Sequence[Delivery], *, lines: bool
) -> Markup:
    """All of it for one hop."""
    return tag(
        "div",
        part("facts", facts(hop, times)),
        part("proof", proof(story, link)),
        part("attempts", tried(attempts, times)),
        part("lines", raw(hop) if lines else None),
        class_="more",
    )


def facts(hop: Hop, times: Times) -> Markup:
    """Who gave the message to this host, and how."""
    known: list[tuple[str, str | Markup]] = [
        ("instance", hop.instance if hop.instance not in ("postfix", "exim") else ""),
        ("program", hop.mta.capitalize()),
        ("from", peer(hop.client.name, hop.client.ip)),
        ("HELO", hop.helo),
        ("user" if hop.local else "logged in as", hop.user),
        ("TLS", hop.tls),
        ("size", size_of(hop.size) if hop.size is not None else ""),
        ("seen", join(times.of(hop.first), " to ", times.of(hop.last))),
        ("its first line's stamp", hop.raw_first),
        ("queue", "" if hop.removed else ("held" if hop.held else "no line says that it was left")),
    ]
    return tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in known if value], class_="facts")


def proof(story: Story, link: Link | None) -> Markup | None:
    """Why this hop follows the one before it."""
    if link is None:
        return None
    host, queue_id, of = story.named(link.from_)
    sure = link.certainty
    tone = "good" if sure is Certainty.PROVEN else "open"
    head = tag(
        "p",
        tag("span", sure.value, class_=f"chip plain {tone}"),
        f" {link.kind.value} from ",
        tag("b", host),
        " ",
        tag("code", queue_id),
        of,
    )
    said = [tag("li", tag("span", fact.kind, class_="dim"), " ", fact.text) for fact in link.evidence]
    return tag("div", head, tag("ul", said) if said else None, class_="proof")


def tried(attempts: Sequence[Delivery], times: Times) -> Markup | None:
    """The attempts as a table; those that differ in nothing but their recipient are one row."""
    if not attempts:
        return None
    groups = list(grouped(attempts, _apart_from_recipient).values())
    before: set[str] = set()
    rows = []
    for group in groups[:SHOWN]:
        rows.append(_attempt(group, times, again=group[0].recipient in before))
        before.update(one.recipient for one in group)
    left = sum(map(len, groups[SHOWN:]))
    more = tag("p", f"and {count(left, 'more attempt')}", class_="dim") if left else None
    columns = ("time", "recipient", "status", "to", "took", "reply")
    return scroll("Attempts", table(columns, rows, count(len(attempts), "attempt")), more, class_="tries")


def _apart_from_recipient(one: Delivery) -> Delivery:
    """What the attempts of one transaction have in common: their lines are written within milliseconds."""
    return one._replace(recipient="", original_recipient="", time=round(one.time, 1), raw_time="")


def _attempt(group: Sequence[Delivery], times: Times, *, again: bool) -> Markup:
    one = group[0]
    to = peer(one.relay.name, one.relay.ip) + (f":{one.relay.port}" if one.relay.port else "")
    via = tag("small", one.transport + (f", {one.tls}" if one.tls else ""))
    took: list[Markup | str] = [duration(one.delay)] if one.delay is not None else []
    if one.delays is not None:
        first = "until this attempt" if again else STAGES["before"]
        stages = (first, STAGES["queue"], STAGES["connect"], STAGES["send"])
        told = [f"{words} {duration(s)}" for words, s in zip(stages, one.delays, strict=True) if s]
        took.append(tag("small", ", ".join(told)))
    tone = {"sent": "good", "deferred": "open", "held": "open"}.get(one.status, "bad")
    said = [tag("code", one.dsn), " "] if one.dsn and not one.reply.startswith(one.dsn) else []
    return tag(
        "tr",
        tag("td", times.of(one.time)),
        tag("td", _recipients(group)),
        tag("td", tag("span", one.status, class_=f"chip plain {tone}")),
        tag("td", to or ("here" if one.local else "nowhere"), via),
        tag("td", took),
        tag("td", *said, one.reply),
    )


def _recipients(group: Sequence[Delivery]) -> Markup | str:
    one = group[0]
    if len(group) > 1:
        listed = ", ".join(address(each.recipient) for each in group)
        return tag("details", tag("summary", count(len(group), "recipient")), listed)
    if one.original_recipient.lower() in ("", one.recipient.lower()):
        return address(one.recipient)
    return join(address(one.recipient), tag("small", f"addressed to {address(one.original_recipient)}"))


def raw(hop: Hop) -> Markup | None:
    """The log's own lines."""
    lines = [visible(entry.raw) for entry in hop.entries if entry.raw]
    if not lines:
        return None
    left = len(lines) - LINES
    more = tag("p", f"and {count(left, 'more line')}", class_="dim") if left > 0 else None
    name = f"{count(len(lines), 'log line')} of {visible(hop.host)}"
    shown = tag("pre", [tag("code", line) for line in lines[:LINES]])
    return tag("section", tag("h4", name), scroll(name, shown, class_="lines"), more)
