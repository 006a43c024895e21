"""Many mails, a row each: complete and readable as it is; a script adds sorting, searching and opening a story."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mailtrace.exporters.html_markup import Markup, tag
from mailtrace.exporters.html_scene import Scene, chip
from mailtrace.exporters.terminal import shorten
from mailtrace.model import Mail
from mailtrace.report import visible
from mailtrace.wording import OUTCOMES, address, count, duration, tally

REASON = 150
"""Letters of a reason before its middle is left out; the story has all."""
NAMED = 30
"""Recipients, hosts, queue IDs of one mail that its row names; the story has all."""
COLUMNS = ("when", "from", "to", "way", "outcome", "took")

_RANK = {name: i for i, name in enumerate(OUTCOMES)}


def mails_table(scene: Scene, *, packed: bool) -> Iterator[Markup]:
    """The table of a report's mails, piece by piece; `packed`, its rows open in place."""
    mails = scene.report.mails
    rows = [row for mail in mails for row in mail.recipients]
    yield Markup('<section id="mails" aria-labelledby="mailst">')
    yield tag("h2", count(len(mails), "mail"), id="mailst")
    yield _controls(tally(rows))
    attribute = " data-packed" if packed else ""
    yield Markup(f'<table class="mails"{attribute}>')
    yield tag("caption", f"In order of first sight, times in {scene.clock.zone(mails[0].first)}")
    yield tag("thead", tag("tr", [tag("th", name, scope="col") for name in COLUMNS]))
    yield Markup("<tbody>")
    for number, mail in enumerate(mails, 1):
        yield _row(scene, mail, number)
    yield Markup('</tbody></table><p id="more"></p></section>')


def _controls(outcomes: Sequence[tuple[str, int]]) -> Markup:
    """What a script makes usable; without one it is not shown."""
    buttons = [
        tag("button", chip(name, number), type="button", aria_pressed="false", data_o=name) for name, number in outcomes
    ]
    search = tag(
        "input",
        type="search",
        id="q",
        placeholder="address, host, queue ID, words …",
        autocomplete="off",
        spellcheck="false",
        aria_controls="mails",
    )
    return tag(
        "div",
        tag("label", "Search ", search),
        tag("div", buttons, role="group", aria_label="Show only", class_="only"),
        tag("p", id="shown", role="status"),
        class_="controls",
        hidden=True,
    )


def _row(scene: Scene, mail: Mail, number: int) -> Markup:
    outcomes = tally(mail.recipients)
    worst = max((_RANK.get(name, len(_RANK)) for name, _ in outcomes), default=-1)
    seconds = max((row.seconds for row in mail.recipients if row.seconds is not None), default=None)
    to = _few((address(row.recipient) for row in mail.recipients), ", ")
    hosts = _few((visible(hop.host) for hop in mail.hops), " → ")
    ids = _few((visible(hop.queue_id) for hop in mail.hops), " ")
    reasons = [
        shorten(visible(row.reason), REASON)
        for row in mail.recipients
        if row.reason and row.outcome not in ("delivered", "relayed")
    ]
    attempts = max((row.attempts for row in mail.recipients), default=0)
    tries = tag("small", f"{attempts:,} attempts") if attempts > 1 else None
    when = scene.clock.minute(mail.first)
    said = [chip(name, many if many > 1 or len(outcomes) > 1 else 0) for name, many in outcomes]
    row = tag(
        "tr",
        tag("td", tag("a", when, href=f"#m{number}")),
        tag("td", address(mail.sender), tag("small", mail.message_id) if mail.message_id else None),
        tag("td", to or "nobody known", tag("small", mail.subject) if mail.subject else None),
        tag("td", hosts, tag("small", ids) if ids else None),
        tag("td", said, tag("small", _few(reasons, " · ")) if reasons else None, data_v=worst),
        tag(
            "td",
            duration(seconds) if seconds is not None else "?",
            tries,
            data_v=round(seconds, 3) if seconds is not None else -1,
        ),
    )
    return Markup(row.replace("</td>", "").replace("</tr>", "\n"))  # HTML may leave them out: a tenth of the row


def _few(words: Iterable[str], between: str) -> str:
    """Different words in a row, up to so many that a row stays one."""
    known = list(dict.fromkeys(words))
    more = f"{between}and {count(len(known) - NAMED, 'other')}" if len(known) > NAMED else ""
    return between.join(known[:NAMED]) + more
