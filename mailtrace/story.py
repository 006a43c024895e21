"""The story of a mail, before anybody draws it: which recipients go together how far, what each hop tried for them,
and how it ended, in words.

A story is a tree. What its recipients share is told once, and it branches where their ways part: a writer asks for the
`groups` of its recipients after their first `depth` hops. One group goes on together; several are branches.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import pairwise

from mailtrace.model import Certainty, Delivery, Hop, Link, LinkKind, Mail, Recipient
from mailtrace.report import Report, visible
from mailtrace.wording import FAILED, GOOD, SLOW, address, count, duration, greylisted, outcome, peer

ALIKE = 4
"""More branches than this that differ in nothing but their queue IDs are told as one."""
BRANCHES = 20
"""Where a way parts into more, so many branches are told, those that failed before others."""
TOLD = 2
"""Of more further failures than this, the reasons are counted instead."""

KINDS = {
    LinkKind.REINJECTED: "back from the filter",
    LinkKind.FORWARDED: "forwarded",
    LinkKind.REQUEUED: "requeued",
    LinkKind.BOUNCED: "bounce",
}
"""What is said of a hop that did not simply come from the one before."""

_SAID = re.compile(
    r"host (?P<name>[^\s\[]*)\[(?P<ip>[^\]]*)\](?::\d+)? (?:said|refused to talk to me): (?P<text>.*)", re.DOTALL
)
_IN_REPLY = re.compile(r" \(in reply to [^()]{1,60}( command)?\)?$")
_PLAIN_SUCCESS = re.compile(
    r"|delivered to (maildir|mailbox|file.*)|(\d{3} )?.*\b(saved|queued|ok|accepted)\b.*", re.IGNORECASE
)


class Index:
    """What the mails of a report are to each other."""

    def __init__(self, report: Report) -> None:
        """Of all its mails, in order."""
        self.mails = report.mails
        self.numbers = {hop.id: i for i, mail in enumerate(report.mails, 1) for hop in mail.hops}
        self.causes: dict[str, list[Link]] = {}  # hop → bounces and list mail that it caused, which are other mails
        self.roots: dict[str, Link] = {}  # hop → the link from what caused it
        for mail in report.mails:
            for link in mail.links:
                if self.numbers.get(link.from_) != self.numbers.get(link.to) or link.kind is LinkKind.BOUNCED:
                    known = self.causes.setdefault(link.from_, [])
                    if all(link.to != other.to for other in known):
                        known.append(link)
                    self.roots[link.to] = link

    def cause(self, mail: Mail) -> str:
        """What a mail was sent because of, as `bounce of mail 1`; "" where it came by itself."""
        link = self.roots.get(mail.hops[0].id) if mail.hops else None
        if link is None or self.numbers.get(link.from_) == self.numbers.get(mail.hops[0].id):
            return ""
        what = "sent on from" if link.kind is LinkKind.FORWARDED else f"{notice(link)} of"
        number = self.numbers.get(link.from_)
        return f"{what} " + (
            f"mail {number}" if number else f"{visible(link.from_.rpartition(':')[2])}, which is not shown"
        )


class Story:
    """One mail. With `everything`, no branches are told as one and none is left out."""

    def __init__(self, mail: Mail, index: Index, *, everything: bool = False) -> None:
        """Of a mail of the report that the index is of."""
        self.mail, self.index, self.everything = mail, index, everything
        self.hops = {hop.id: hop for hop in mail.hops}
        self.into: dict[str, list[Link]] = {}
        self.out: dict[str, list[Link]] = {}
        for link in mail.links:
            self.into.setdefault(link.to, []).append(link)
            self.out.setdefault(link.from_, []).append(link)
        self._by_queue_id = {(hop.host, hop.queue_id): hop for hop in reversed(mail.hops)}
        self._tried: dict[str, _Tried] = {}
        self._paths = {id(row): self._path(row) for row in mail.recipients}

    # ------------------------------------------------------------------ ways

    def path(self, row: Recipient) -> list[Hop]:
        """The hops of a recipient's way, those that are known."""
        return self._paths[id(row)]

    def _path(self, row: Recipient) -> list[Hop]:
        found = (self.hops.get(step.hop) or self._by_queue_id.get((step.host, step.queue_id)) for step in row.path)
        return [hop for hop in found if hop is not None]

    def after(self, row: Recipient, depth: int) -> Hop | None:
        """The hop that follows the one at `depth` on a recipient's way."""
        path = self.path(row)
        return path[depth + 1] if depth + 1 < len(path) else None

    def link(self, before: Hop | None, hop: Hop) -> Link | None:
        """Why a hop follows another."""
        if before is None:
            return None
        return next((link for link in self.into.get(hop.id, ()) if link.from_ == before.id), None)

    def groups(self, rows: Sequence[Recipient], depth: int) -> list[list[Recipient]]:
        """Rows that go on together, in order; where many go on alike, those that differ in queue IDs only."""
        groups = _grouped(rows, lambda row: self.goes_to(row, depth))
        if len(groups) <= ALIKE or self.everything:
            return groups
        out: dict[Hashable, list[list[Recipient]]] = {}
        for group in groups:
            shapes = {self._shape(row, depth) for row in group}
            out.setdefault(shapes.pop() if len(shapes) == 1 else id(group), []).append(group)
        merged: list[list[Recipient]] = []
        for same in out.values():
            if len(same) > ALIKE:
                merged.append([row for group in same for row in group])
            else:
                merged += same
        return merged

    def told(self, groups: list[list[Recipient]]) -> tuple[list[list[Recipient]], list[list[Recipient]]]:
        """The branches to tell, and those to count."""
        if self.everything or len(groups) <= BRANCHES:
            return groups, []
        order = sorted(groups, key=lambda group: all(outcome(row.outcome).tone == GOOD for row in group))
        told = {id(group) for group in order[:BRANCHES]}
        return [group for group in groups if id(group) in told], [group for group in groups if id(group) not in told]

    def ways(self, group: Sequence[Recipient], depth: int) -> int:
        """How many messages a group is; more than one that differ in their queue IDs only are told as one."""
        return len({self.goes_to(row, depth) for row in group})

    def goes_to(self, row: Recipient, depth: int) -> Hashable:
        """What follows a recipient's first `depth` hops, a hop or an end; the same for those who go on together."""
        path = self.path(row)
        return path[depth].id if depth < len(path) else self._end(row)

    def _end(self, row: Recipient) -> Hashable:
        reason, other = "", ("", "")
        if row.outcome != "delivered":
            reason, other = self._impersonal(row.reason, row), self._other_side(row)
        return (row.outcome, reason, other, row.attempts, row.certainty)

    def _other_side(self, row: Recipient) -> tuple[str, str]:
        """Name and address of who had the last word."""
        path = self.path(row)
        attempts = self.attempts(path[-1], None, row) if path else []
        return (attempts[-1].relay.name, attempts[-1].relay.ip) if attempts else ("", "")

    def _shape(self, row: Recipient, depth: int) -> Hashable:
        return (tuple(hop.host for hop in self.path(row)[depth:]), self._end(row))

    def leftovers(self) -> list[Hop]:
        """Hops that no recipient's path explains: nothing that was found goes untold."""
        told = {hop.id for path in self._paths.values() for hop in path}
        alternatives = {
            end for link in self.mail.links if link.certainty is Certainty.AMBIGUOUS for end in (link.from_, link.to)
        }
        return [hop for hop in self.mail.hops if hop.id not in told and hop.id not in alternatives]

    # ------------------------------------------------------------------ attempts

    def attempts(self, hop: Hop, after: Hop | None, row: Recipient) -> list[Delivery]:
        """The attempts of a hop that this copy went through, in order of time."""
        tried = self._tried.get(hop.id)
        if tried is None:
            tried = self._tried[hop.id] = _Tried(hop)
        link = self.link(hop, after) if after else None
        recipient, original = _folded(row.recipient), _folded(row.original_recipient)
        also = [_folded(address) for address in link.recipients] if link else []
        names = (
            tried.by_name.get(recipient)
            or tried.by_name.get(recipient.partition("@")[0])
            # Exim logs only the local part of a local delivery; here the whole address is there and the row has less
            or ("@" not in recipient and tried.by_local_part.get(recipient))
            or (after is not None and tried.by_reply_id.get(after.queue_id))
            or _first(tried.by_name, [recipient, original, *also])
            or _first(tried.by_original, [recipient, original, *also])
            or (tried.only if len(tried.only) == 1 else ())
        )
        return sorted((d for name in names or () for d in tried.by_exact_name[name]), key=lambda d: d.time)

    def quickest(self, hop: Hop, rows: Sequence[Recipient], depth: int) -> float | None:
        """How many seconds the first of these recipients' copies stayed at a hop."""
        stays: list[float] = []
        for group in _grouped(rows, lambda row: self.goes_to(row, depth + 1)):
            done = sent(self.attempts(hop, self.after(group[0], depth), group[0]))
            seconds = stay(hop, done) if done else None
            if seconds is not None:
                stays.append(seconds)
        return min(stays, default=None)

    def failures(self, hop: Hop, after: Hop | None, row: Recipient) -> list[Delivery]:
        """What went wrong on the way to the next hop or the end: the attempts before the last word."""
        failed = [d for d in self.attempts(hop, after, row) if d.status == "deferred" and not early(d, hop)]
        return failed[:-1] if after is None and row.outcome == "deferred" else failed  # the last one is the outcome

    def alike(self, one: Delivery, other: Delivery, row: Recipient) -> bool:
        """Whether two attempts failed for one reason."""
        return self._reason(one, row) == self._reason(other, row)

    def repeated(self, again: Sequence[Delivery], first: Delivery, row: Recipient) -> list[str]:
        """Failures after the first one, by reason: a headline, and where they differ the most common reasons."""
        reasons = Counter(self._reason(one, row) for one in again)
        head = f"deferred {len(again):,} more times until then"
        if set(reasons) == {self._reason(first, row)}:
            return [f"{head}, for the same reason"]
        told = [
            f"{times:,} times {f'{who}: ' if who else ''}{visible(text)}"
            for (who, text), times in reasons.most_common(TOLD)
        ]
        rest = [f"and {count(len(reasons) - TOLD, 'other reason')}"] if len(reasons) > TOLD else []
        return [f"{head}:", *told, *rest]

    def _reason(self, one: Delivery, row: Recipient) -> tuple[str, str]:
        """Who refused an attempt and the words, without the recipient's address."""
        who, text = said(one.reply, one)
        return who, self._impersonal(text, row)

    def _impersonal(self, text: str, row: Recipient) -> str:
        """A reply without the recipient it is about, so that the same reply to several can be told once."""
        for name in (row.recipient, row.original_recipient):
            if name:
                text = re.sub(re.escape(name), "…", text, flags=re.IGNORECASE)
        return text

    # ------------------------------------------------------------------ doubt

    def doubtful(self, path: Sequence[Hop]) -> bool:
        """Whether a way has a link that is not proved."""
        links = (self.link(one, other) for one, other in pairwise(path))
        return any(link is not None and link.certainty is not Certainty.PROVEN for link in links)

    def why(self, link: Link) -> str:
        """The evidence, without repeating the Message-ID that the mail's head has."""
        known = f" <{self.mail.message_id}>"
        return "; ".join(visible(fact.text.replace(known, "")) for fact in link.evidence)

    def alternatives(self, link: Link) -> list[tuple[str, str, Link]]:
        """What else an ambiguous link may be: words, the other hop's id, its link."""
        if link.certainty is not Certainty.AMBIGUOUS:
            return []
        ahead = [other for other in self.out.get(link.from_, ()) if other.to != link.to]
        back = [other for other in self.into.get(link.to, ()) if other.from_ != link.from_]
        return [
            *(("may as well be", other.to, other) for other in ahead if other.certainty is Certainty.AMBIGUOUS),
            *(
                ("may as well come from", other.from_, other)
                for other in back
                if other.certainty is Certainty.AMBIGUOUS
            ),
        ]

    def named(self, hop_id: str) -> tuple[str, str, str]:
        """Host and queue ID of a hop, and ` of mail 3` where it is another mail's."""
        hop = self.hops.get(hop_id)
        if hop is not None:
            return visible(hop.host), visible(hop.queue_id), ""
        number = self.index.numbers.get(hop_id)
        of = f" of mail {number}" if number else ""
        return visible(hop_id.partition(":")[0]), visible(hop_id.rpartition(":")[2]), of

    # ------------------------------------------------------------------ outcomes

    def ending(self, rows: Sequence[Recipient], *, alone: bool = True) -> tuple[float, str]:
        """When and how it ended, in words; what follows their first `: ` is the other side's.

        `alone` unless this stands for many messages whose hops are not told.
        """
        row = rows[0]
        path = self.path(row)
        hop = path[-1] if path else None
        attempts = self.attempts(hop, None, row) if hop else []
        last = attempts[-1] if attempts else None
        text = self._words(rows, hop, last)
        if row.certainty is not Certainty.PROVEN and not (alone and self.doubtful(path)):
            text += f" ({row.certainty.value})"
        time = last.time if last else (hop.last if hop else self.mail.first)
        if not alone:
            time = max((self.path(r)[-1].last for r in rows if self.path(r)), default=time)
        return time, text

    def _words(self, rows: Sequence[Recipient], hop: Hop | None, last: Delivery | None) -> str:
        row = rows[0]
        reason = row.reason or (last.reply if last else "")
        if len(rows) > 1:
            reason = self._impersonal(reason, row)
        who, text = said(reason, last)
        host = f" on {visible(hop.host)}" if hop else ""
        tail = f": {visible(text)}" if text else ""
        took = self._took(rows, last)
        after = f" {took}" if took else ""
        tries = f" after {count(row.attempts, 'attempt')}" if row.attempts > 1 else ""
        to = (peer(last.relay.name, last.relay.ip) if last else "") or "the next host"
        words = {
            "delivered": f"delivered{host}{after}" + ("" if _PLAIN_SUCCESS.fullmatch(text) else tail),
            "relayed": f"relayed to outside host {to}{after}" + tail,
            "deferred": f"still queued{host}{tries or after}" + (f", {who} said" if who else "") + tail,
            "bounced": f"bounced{f' by {who}' if who else host}{after}{tail}",
            "expired": f"given up{host}{after or tries}{tail}",
            "rejected": f"refused{f' by {who}' if who and not hop else host}{tail}",
            "discarded": f"discarded{host}{tail}",
            "held": f"held{host}{tail}",
            "quarantined": f"quarantined{host}{tail}",
            "in_transit": f"in transit: handed to {to}, whose log of that time does not have it",
            "unknown": f"unknown: handed to {to}, of which no log was read",
        }
        if row.outcome == "unknown" and (last is None or last.status != "sent"):
            return f"unknown{host}{tail}"
        return words.get(row.outcome, f"{visible(row.outcome)}{host}{tail}")

    def took(self, row: Recipient) -> str:
        """How long it took one recipient's copy, as `after 5.8 s` or `within a second`; "" where that is not known."""
        path = self.path(row)
        attempts = self.attempts(path[-1], None, row) if path else []
        return self._took([row], attempts[-1] if attempts else None)

    def _took(self, rows: Sequence[Recipient], last: Delivery | None) -> str:
        """How long it took, no finer than the stamps are."""
        seconds = sorted(row.seconds for row in rows if row.seconds is not None)
        if not seconds:
            return ""
        path = self.path(rows[0])
        if (path and whole(path[0].first)) or (last is not None and whole(last.time)):
            seconds = [float(round(value)) for value in seconds]
            if not seconds[-1]:
                return "within a second"
        if not round(seconds[0], 2) and round(seconds[-1], 2):
            return f"within {duration(seconds[-1])}"
        low, high = duration(seconds[0]), duration(seconds[-1])
        return f"after {high}" if low == high else f"after {low} to {high}"

    def notices(self, hop: Hop, after: Hop | None, row: Recipient) -> list[Link]:
        """The messages that a hop caused on behalf of this recipient: a bounce, a notice of delay, list mail."""
        return [
            link
            for link in self.index.causes.get(hop.id, ())
            if self._concerns(link, hop, after, row) or (after is None and not self._concerns_any(link, hop))
        ]

    def caused(self, link: Link) -> tuple[str, int | None]:
        """What a hop caused, as `bounce to a@b`, and the mail's number where it is another one of the report."""
        what = notice(link) if link.kind is LinkKind.BOUNCED else "sent on as a mail of its own"
        number = self.index.numbers.get(link.to)
        if number is None or link.to in self.hops:
            return what, None
        to = ", ".join(address(row.recipient) for row in self.index.mails[number - 1].recipients[:2])
        return f"{what} to {to}" if to else what, number

    def _concerns(self, link: Link, hop: Hop, after: Hop | None, row: Recipient) -> bool:
        what = notice(link)
        if what == "delay notice":
            return any(d.status == "deferred" for d in self.attempts(hop, after, row))
        if what == "delivery report":
            return row.outcome in ("delivered", "relayed")
        return after is None and row.outcome in FAILED

    def _concerns_any(self, link: Link, hop: Hop) -> bool:
        """Whether the message speaks of any recipient that came to the hop."""
        for row in self.mail.recipients:
            path = self.path(row)
            if hop in path:
                after = path[path.index(hop) + 1 :]
                if self._concerns(link, hop, after[0] if after else None, row):
                    return True
        return False


def readdressed(rows: Sequence[Recipient]) -> bool:
    """Whether all of these were addressed to one address that an alias, a list or a map changed."""
    return len({row.original_recipient for row in rows}) == 1 and all(
        row.original_recipient and not _same(row.recipient, row.original_recipient) for row in rows
    )


def refusal(one: Delivery) -> tuple[str, str]:
    """An attempt that has to be repeated: `greylisted by mx`, and the other side's words ("" if it said none)."""
    who, text = said(one.reply, one)
    word = "greylisted" if greylisted(one.reply) else "deferred"
    return f"{word} by {who}" if who else word, visible(text)


def slowness(done: Delivery) -> str:
    """Which of its stages a slow delivery waited in; "" where the log does not tell."""
    if done.delays is None:
        return ""
    to = peer(done.relay.name, "") or "the next host"
    parts = (
        "before the queue manager took it",
        "in the active queue",
        f"connecting to {to}",
        f"while {to} took it",
    )
    told = [f"{duration(s)} {what}" for s, what in zip(done.delays, parts, strict=True) if s >= SLOW / 10]
    return "waited " + ", ".join(told) if told else ""


def said(reply: str, delivery: Delivery | None) -> tuple[str, str]:
    """Who refused, and the words, out of a reply or error. The words are as the log has them."""
    reply = _IN_REPLY.sub("", reply)
    match = _SAID.match(reply)
    if match:
        return peer(match["name"], match["ip"]), match["text"]
    if delivery is not None and not delivery.local and (delivery.relay.name or delivery.relay.ip):
        return peer(delivery.relay.name, delivery.relay.ip), reply
    return "", reply


def whole(time: float) -> bool:
    """Whether a stamp seems to have no fraction: what lies between two of them is known to the second only."""
    return time == int(time)


def sent(attempts: Sequence[Delivery]) -> Delivery | None:
    """The attempt that passed the message on."""
    return next((d for d in reversed(attempts) if d.status == "sent"), None)


def stay(hop: Hop, done: Delivery) -> float | None:
    """Seconds between a message's arrival and its handing on; None where the log can't tell so little."""
    if done.delay is not None:
        return done.delay
    seconds = done.time - hop.first
    return None if seconds < 1 and (whole(done.time) or whole(hop.first)) else max(0.0, seconds)


def notice(link: Link) -> str:
    """What the message is that a link leads to, as the log's words for it tell."""
    words = " ".join(fact.text for fact in link.evidence)
    if " delay " in words:
        return "delay notice"
    return "delivery report" if " success " in words else "bounce"


def early(attempt: Delivery, hop: Hop) -> bool:
    """Whether an attempt came before the message did: a refusal at the door that the client took for a `later`."""
    return attempt.status != "sent" and attempt.time < hop.first


def _folded(address: str) -> str:
    return address.strip("<>").lower()


def _same(one: str, other: str) -> bool:
    """Whether two addresses are one; Exim logs only the local part of a local delivery."""
    one, other = _folded(one), _folded(other)
    if one == other:
        return True
    return ("@" not in one or "@" not in other) and one.partition("@")[0] == other.partition("@")[0] != ""


def _grouped(rows: Iterable[Recipient], key: Callable[[Recipient], Hashable]) -> list[list[Recipient]]:
    out: dict[Hashable, list[Recipient]] = {}
    for row in rows:
        out.setdefault(key(row), []).append(row)
    return list(out.values())


class _Tried:
    """A hop's attempts by what can be known of a recipient, since a mail may have thousands."""

    def __init__(self, hop: Hop) -> None:
        self.by_exact_name: dict[str, list[Delivery]] = {}
        self.by_name: dict[str, dict[str, None]] = {}
        self.by_local_part: dict[str, dict[str, None]] = {}
        self.by_original: dict[str, dict[str, None]] = {}
        self.by_reply_id: dict[str, dict[str, None]] = {}
        for one in hop.deliveries:
            self.by_exact_name.setdefault(one.recipient, []).append(one)
            name, original = _folded(one.recipient), _folded(one.original_recipient)
            self.by_name.setdefault(name, {})[one.recipient] = None
            self.by_local_part.setdefault(name.partition("@")[0], {})[one.recipient] = None
            if original:
                self.by_original.setdefault(original, {})[one.recipient] = None
            if one.reply_id:
                self.by_reply_id.setdefault(one.reply_id, {})[one.recipient] = None
        self.only = list(self.by_exact_name)


def _first(index: dict[str, dict[str, None]], names: Iterable[str]) -> list[str]:
    """Everything that an index has of these names."""
    return list(dict.fromkeys(found for name in names for found in index.get(name, ())))
