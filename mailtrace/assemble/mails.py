"""Stays → mails: what the report tells of each, in order of first sight.

A day has a million mails, and most readers go through them once: a mail is made when it is looked at, and most of it
when that is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, cast

from mailtrace.assemble.lives import life_id
from mailtrace.assemble.refusals import Door, Turned
from mailtrace.assemble.stays import Stay, Try, stays_of
from mailtrace.assemble.verdicts import Context, refused, rows
from mailtrace.clocks import Clocks
from mailtrace.model import (
    Certainty,
    Check,
    Delivery,
    Evidence,
    Hop,
    Life,
    Link,
    LinkKind,
    LogEntry,
    Mail,
    Recipient,
    Remade,
)

_AT_ONCE = 5.0
"""Seconds in which a message that is not on hold is taken up by the queue manager."""


class Mails(Remade[Stay | Life | Door]):
    """All mails in order of first sight; each is made anew whenever it is looked at."""

    def __init__(self, stays: list[Stay], alone: list[Life], turned: Turned, context: Context, clocks: Clocks) -> None:
        """Of stays that are linked, of lives that concern no other, and of what was turned away."""
        self._turned, self._context, self._stays, self._clocks = turned, context, stays, clocks
        again = {key for key, _recipient in turned.retried}

        def first(root: Stay | Life | Door) -> float:
            if isinstance(root, Life):
                return clocks.utc(root.origin.host, root.origin.zone, root.first)
            if isinstance(root, Door):
                return root.refusals[0].time
            return mail_of(root, turned, context).first if id(root) in again else root.first

        self._roots: list[Stay | Life | Door] = [*alone, *filter(_is_root, stays), *turned.doors]
        self._roots.sort(key=first)
        # Names only where moments do not decide: a million of them would take more room than what they name.
        at = 0
        for _moment, some in groupby(self._roots[:], key=first):
            same = list(some)
            if len(same) > 1:
                self._roots[at : at + len(same)] = sorted(same, key=_name)
            at += len(same)

    def moved(self) -> Iterator[Mail | str]:
        """The mails that came in; of one that was stored on the host that took it only the host."""
        for root in self._roots:
            if isinstance(root, Life) and root.stored:
                yield root.origin.host
            elif not isinstance(root, Door):
                yield from self._made([root])

    def _made(self, roots: Sequence[Stay | Life | Door]) -> Iterator[Mail]:
        """The mails that begin so. Lives are read together, which costs half as much."""
        read = stays_of(root for root in roots if isinstance(root, Life))
        stays = {(stay.host, stay.queue_id): stay for stay in read}
        for stay in stays.values():
            stay.date(self._clocks)
        for root in roots:
            if isinstance(root, Door):
                yield _turned_away(root)
            else:
                stay = stays[root.host, root.queue_id] if isinstance(root, Life) else root
                yield mail_of(stay, self._turned, self._context)

    def linked(self) -> Iterable[Mail]:
        """The mails that have links to other mails, and these: bounces and what they report on, equal candidates."""
        roots: dict[int, Stay] = {}
        for stay in self._stays:
            if stay.kind == LinkKind.BOUNCED or stay.rivals:
                reported = [stay.parent] if stay.parent is not None else []
                for root in map(_root, (stay, *reported, *stay.rivals)):
                    roots[id(root)] = root
        return self._made([root for root in roots.values() if _is_root(root)])

    def held(self) -> list[Mail]:
        """The mails, made once and for all: what is known of names may grow after this."""
        made = list(self)
        for mail in made:
            _ = mail.recipients
        return made

    def refusals(self) -> dict[str, list[LogEntry]]:
        """The lines that refused a recipient of a mail, now or at an earlier attempt, by the mail's id."""
        found: dict[str, list[LogEntry]] = {}
        ids = {id(stay): stay.id for stay in self._stays}
        for key, refusals in self._turned.of.items():
            found.setdefault(ids[key], []).extend(refusal.entry for refusal, _certainty in refusals)
        for (key, _recipient), again in self._turned.retried.items():
            found.setdefault(ids[key], []).extend(refusal.entry for refusal in again)
        for refusal, stay in self._turned.far_ends:
            if stay is not None:
                found.setdefault(_root(stay).id, []).append(refusal.entry)
        for door in self._turned.doors:
            found[_door_id(door)] = [refusal.entry for refusal in door.refusals]
        return found


def _name(root: Stay | Life | Door) -> str:
    """The id of the mail that begins so."""
    if isinstance(root, Life):
        return life_id(root)
    return _door_id(root) if isinstance(root, Door) else root.id


def _root(stay: Stay) -> Stay:
    """Where the mail of a stay begins."""
    while stay.parent is not None and stay.kind != LinkKind.BOUNCED:
        stay = stay.parent
    return stay


def _is_root(stay: Stay) -> bool:
    """Whether a mail begins here: nothing led to it, or it reports on another (a bounce)."""
    if not stay.whole and stay.accepted is None and not stay.checks:
        return False  # only a filter's or a queue tool's line names this ID
    return stay.parent is None or stay.kind == LinkKind.BOUNCED


def mail_of(root: Stay, turned: Turned, context: Context) -> Mail:
    """The mail that begins at a stay, with what was refused of it."""
    plain = not turned.concern(root)
    if plain and not root.children and root.parent is None and not root.rivals:
        return _Plain.of([root], [], context)
    stays = _travel(root)
    links = [_link(stay.parent, stay) for stay in stays if stay.parent is not None]
    for stay in stays:
        if stay.children:
            links.extend(_link(stay, child) for child in stay.children if child.kind == LinkKind.BOUNCED)
        if not stay.rivals:
            continue
        links.extend(
            Link(rival.id, stay.id, LinkKind.RELAYED if rival.host != stay.host else LinkKind.REINJECTED,
                 Certainty.AMBIGUOUS, (Evidence("candidates", f"{len(stay.rivals)} messages fit equally well"),))
            for rival in stay.rivals
        )  # fmt: skip
    mail = _Plain.of(stays, links, context)
    if not plain:
        _add_refusals(mail, root, turned)
    return mail


class _Plain(Mail):
    """A mail whose rows are worked out when somebody wants to see them."""

    __slots__ = ("context", "refused", "root")
    context: Context
    refused: list[Recipient]
    root: Stay

    @classmethod
    def of(cls, stays: list[Stay], links: list[Link], context: Context) -> _Plain:
        """Of its stays in travel order."""
        mail, root = cls.__new__(cls), stays[0]
        mail.root, mail.context, mail.refused = root, context, []
        mail.id, mail.links, mail.hops = root.id, links, [_hop(stay) for stay in stays]
        mail.first, mail.last, mail.message_id = root.first, root.last, root.message_id or ""
        mail.sender, mail.size, mail.subject = root.sender, root.size, root.subject
        for stay in stays[1:]:
            mail.last = max(mail.last, stay.last)
            if stay.message_id and (not mail.message_id or (_cut(mail.message_id) and not _cut(stay.message_id))):
                mail.message_id = stay.message_id
            mail.sender = stay.sender if mail.sender is None else mail.sender
            mail.size = stay.size if mail.size is None else mail.size
            mail.subject = stay.subject if mail.subject is None else mail.subject
        return mail

    def __getattr__(self, name: str) -> Any:  # only what is not there yet is looked for here
        if name != "recipients":
            raise AttributeError(name)
        self.recipients = rows(self.root, self.context)
        return self.recipients


def _cut(message_id: str) -> bool:
    """Whether the end of a Message-ID is missing in the log."""
    return message_id.startswith("<")


def _add_refusals(mail: _Plain, root: Stay, turned: Turned) -> None:
    """Add what was refused in a mail's transaction, and the attempts that were refused for now."""
    for refusal, certainty in turned.of.get(id(root), ()):
        check = refusal.check
        row = refused(_words(check), check.recipient or "", certainty)
        mail.recipients.append(row)
        mail.refused.append(row)
    for at, row in enumerate(mail.recipients):
        again = turned.retried.get((id(root), row.original_recipient.lower()))
        if again:
            mail.recipients[at] = row._replace(attempts=row.attempts + sum(r.times for r in again))
            mail.first = min(mail.first, *(r.time for r in again))


def _travel(root: Stay) -> list[Stay]:
    """The stays of one mail, a hop before those that follow it, otherwise by time."""
    out, waiting = [], [root]
    while waiting:
        if len(waiting) > 1:
            waiting.sort(key=lambda s: (s.first, s.id), reverse=True)
        stay = waiting.pop()
        out.append(stay)
        if stay.children:
            waiting.extend(child for child in stay.children if child.kind != LinkKind.BOUNCED)
    return out


def _link(parent: Stay, child: Stay) -> Link:
    through = tuple(dict.fromkeys(t.attempt.recipient for t in parent.tries if t.target is child))
    evidence = tuple(Evidence(kind, text) for kind, text in child.evidence)
    return Link(parent.id, child.id, LinkKind(child.kind), Certainty(child.certainty), evidence, through)


def _hop(stay: Stay) -> Hop:
    accepted = stay.accepted
    held, taken, sender = False, stay.taken, stay.sender
    for check, _entry in stay.checks:
        if check.action == "hold":
            held = True
            sender = check.sender if sender is None else sender
    if held and taken is not None and taken - stay.first > _AT_ONCE:
        taken = None  # the queue manager's line tells of its release
    return Hop(  # by position: this is done for every message of a day
        stay.id,
        stay.host,
        stay.instance,
        stay.queue_id,
        "exim" if "-" in stay.queue_id else "postfix",
        stay.first,
        stay.last,
        stay.client,
        accepted.helo if accepted else "",
        accepted.user if accepted else "",
        bool(accepted and accepted.local),
        accepted.tls if accepted else "",
        stay.message_id or "",
        sender,
        stay.size,
        stay.subject,
        stay.removed is not None,
        held,
        taken,
        stay.expired,
        stay.head.raw_time,
        [_delivery(t) for t in stay.tries],
        stay.entries,
        stay.plain,
        stay.done,
    )


def _delivery(attempt: Try) -> Delivery:
    event, reply = attempt.attempt, attempt.reply
    return _new(  # as a tuple: this is done for every attempt of a day
        Delivery,
        (
            event.recipient,
            event.original or event.recipient,
            event.status,
            event.relay,
            event.reply,
            reply.id if reply is not None else "",
            event.dsn,
            event.delay,
            event.delays,
            event.tls,
            attempt.time,
            attempt.raw_time,
            event.transport,
            event.local,
            attempt.plain,
        ),
    )


_new = cast("Callable[[type[Delivery], tuple[object, ...]], Delivery]", tuple.__new__)


def _turned_away(door: Door) -> Mail:
    first = door.refusals[0]
    recipients = [
        refused(_words(r.check), r.check.recipient or "", Certainty.PROVEN)._replace(attempts=r.times)
        for r in door.refusals
    ]  # fmt: skip
    return Mail(
        id=_door_id(door),
        message_id="",
        sender=first.check.sender,
        size=None,
        subject=None,
        hops=[],
        links=[],
        recipients=recipients,
        first=first.time,
        last=door.refusals[-1].time,
    )


def _door_id(door: Door) -> str:
    first = door.refusals[0]
    return f"{first.host}:{first.entry.instance}:NOQUEUE:{first.entry.pid}@{first.time:.6f}:{first.check.recipient}"


def _words(check: Check) -> str:
    """A refusal's reply in full; its text may hold the codes already."""
    if check.text.startswith(check.code or check.dsn):
        return check.text
    return " ".join(part for part in (check.code, check.dsn, check.text) if part)
