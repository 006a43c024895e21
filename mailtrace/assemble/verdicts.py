"""What became of each recipient: one row per final copy, followed from the first hop to the last."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from mailtrace.assemble.evidence import stored
from mailtrace.assemble.names import Names
from mailtrace.assemble.stays import Stay, Try
from mailtrace.model import Certainty, LinkKind, Recipient, Span, Step

_FINAL = {"sent": 3, "bounced": 2, "expired": 2, "discarded": 2, "rejected": 2, "held": 1, "deferred": 0}
_WORSE = {Certainty.PROVEN: 0, Certainty.LIKELY: 1, Certainty.AMBIGUOUS: 2}
_EXTENSION = re.compile(r"[+-]")
_GIVEN_UP = ("retry timeout exceeded", "have been failing for a long time", "retry time not reached for any host after")
"""How Exim says that a message was tried for as long as its retry rules allow."""


@dataclass(slots=True)
class Context:
    """What a verdict needs besides the stays."""

    names: Names
    own: Callable[[str], bool]
    span: Callable[[], Span]  # asked only where an outcome depends on it


@dataclass(slots=True)
class _Way:
    """One copy on its way: where it has been so far."""

    path: tuple[Step, ...]
    certainty: Certainty
    attempts: int


def rows(root: Stay, context: Context) -> list[Recipient]:
    """All rows of the mail that begins at `root`."""
    out: list[Recipient] = []
    follow(root, None, _Way((), Certainty.PROVEN, 0), root, context, out)
    return out


Handed = list[tuple[str, str]]
"""Recipients that go one way: (address handed on, address first accepted)."""


def follow(stay: Stay, came: Handed | None, way: _Way, root: Stay, context: Context, out: list[Recipient]) -> None:
    """Add the rows of every copy that reached `stay`; `came` are its recipients, None at the root."""
    path = (*way.path, Step(stay.host, stay.queue_id, stay.id))
    certainty = way.certainty
    if stay.parent is not None and way.path and _WORSE[Certainty(stay.certainty)] > _WORSE[certainty]:
        certainty = Certainty(stay.certainty)
    here = _Way(path, certainty, way.attempts)
    again = requeued(stay)
    if again is not None:
        follow(again, came, here, root, context, out)
        return
    onward: dict[int, tuple[Stay, Handed, int]] = {}
    groups = copies(stay)
    origins = assign(groups, came)
    for key, tries in groups.items():
        last = tries[-1]
        first = origins.get(key, "")
        if last.target is None:
            out.append(_row(stay, tries, first, here, root, context))
            continue
        target, handed, attempts = onward.setdefault(id(last.target), (last.target, [], 0))
        handed.append((last.attempt.recipient, first or key[1] or key[0]))
        onward[id(target)] = (target, handed, max(attempts, len(tries)))
    left = unheard(stay, groups, came)
    for target, handed, attempts in onward.values():
        took = target.incoming()
        handed += [pair for pair in left if pair[0].lower() in took]
        left = [pair for pair in left if pair[0].lower() not in took]
        follow(target, handed, _Way(path, certainty, way.attempts + attempts - 1), root, context, out)
    if stay.children:
        silently, left = unlogged(stay, left, came)
        for target, also in [*forwarded(stay, origins), *silently]:
            follow(target, also, here, root, context, out)
    for address, first in left:
        outcome, reason = silent(stay)
        out.append(Recipient(address, first, outcome, path, None, reason, way.attempts, certainty))


def requeued(stay: Stay) -> Stay | None:
    """The stay that took over all of this one (postsuper -r)."""
    if stay.tries or not stay.children:
        return None
    return next((child for child in stay.children if child.kind == LinkKind.REQUEUED), None)


def forwarded(stay: Stay, origins: dict[tuple[str, str], str]) -> list[tuple[Stay, Handed]]:
    """What a mailbox's filter sent on besides what it kept."""
    aimed = {id(t.target) for t in stay.tries}
    return [
        (child, [(address, first_of(origins, child.through)) for address in sorted(child.incoming())])
        for child in stay.children
        if child.kind == LinkKind.FORWARDED and id(child) not in aimed
    ]


def _row(stay: Stay, tries: list[Try], first: str, here: _Way, root: Stay, context: Context) -> Recipient:
    """The row of a copy whose way ends here."""
    last = tries[-1]
    outcome, reason, time = judge(stay, last, context)
    shown, accepted_as = full(last, first)
    seconds = None if time is None else round(max(0.0, time - root.first), 6)
    attempts = here.attempts + len(tries)
    return Recipient(shown, accepted_as, outcome, here.path, seconds, reason, attempts, here.certainty)


def copies(stay: Stay) -> dict[tuple[str, str], list[Try]]:
    """The attempts of each copy, in order: key is (recipient, original)."""
    groups: dict[tuple[str, str], list[Try]] = {}
    for attempt in stay.tries:
        if attempt.attempt.status in ("deliverable", "undeliverable"):
            continue
        key = (attempt.attempt.recipient, attempt.attempt.original)
        groups.setdefault(key, []).append(attempt)
    for tries in groups.values() if len(groups) < len(stay.tries) else ():
        # a copy that was sent and has a continuation outranks a later repetition of the same line
        tries.sort(key=lambda t: (t.time, _FINAL.get(t.attempt.status, 0)))
    return groups


def assign(groups: dict[tuple[str, str], list[Try]], came: Handed | None) -> dict[tuple[str, str], str]:
    """Which first-accepted address each copy of a stay goes back to."""
    if came is None:
        return {key: key[1] or key[0] for key in groups}
    found: dict[tuple[str, str], str] = {}
    by_address: dict[str, str] = {}
    for address, first in came:
        by_address.setdefault(address.lower(), first)
    used = set()
    for key, tries in groups.items():
        for spelling in (key[1], *tries[-1].attempt.parents, key[0]):
            if spelling.lower() in by_address:
                found[key] = by_address[spelling.lower()]
                used.add(spelling.lower())
                break
    missing = [first for address, first in came if address.lower() not in used]
    strangers = [key for key in groups if key not in found]
    if len(missing) == 1 and strangers:
        for key in strangers:
            found[key] = missing[0]
    return found


def first_of(origins: dict[tuple[str, str], str], recipient: str) -> str:
    """The first-accepted address of a recipient of a stay."""
    return next((first for (to, _original), first in origins.items() if to == recipient), recipient)


def unheard(stay: Stay, groups: dict[tuple[str, str], list[Try]], came: Handed | None) -> Handed:
    """Recipients that reached a stay and of which no attempt is logged."""
    listed = stay.accepted.recipients if stay.accepted is not None else ()
    if came is None and groups and not (stay.checks or stay.told or listed):
        return []
    heard = set()
    for (recipient, original), tries in groups.items():
        heard.update({recipient.lower(), original.lower(), *(p.lower() for p in tries[-1].attempt.parents)})
    if came is None:
        told = [c.recipient for c, _ in stay.checks if c.recipient and c.action not in ("reject", "defer")]
        told += stay.told
        wanted = list(dict.fromkeys([*listed, *([] if groups else told)]))
        return [(address, address) for address in wanted if address.lower() not in heard] if stay.whole else []
    if groups and all(address.lower() not in heard for address, _ in came) and len(groups) >= len(came):
        return []  # rewritten on the way: the copies are there under other names
    return [(address, first) for address, first in came if address.lower() not in heard]


def unlogged(stay: Stay, silent_ones: Handed, came: Handed | None) -> tuple[list[tuple[Stay, Handed | None]], Handed]:
    """Continuations whose delivery line is lost, with the recipients that went that way, and who is left."""
    aimed = {id(t.target) for t in stay.tries}
    onward: list[tuple[Stay, Handed | None]] = []
    left = silent_ones
    for child in stay.children:
        if id(child) in aimed or child.kind not in (LinkKind.RELAYED, LinkKind.REINJECTED):
            continue
        took = child.incoming()
        handed = [(address, first) for address, first in left if address.lower() in took or not took]
        left = [pair for pair in left if pair not in handed]
        if came is None and not handed:
            onward.append((child, None))
        elif handed:
            onward.append((child, handed))
    return onward, left


def full(last: Try, first: str) -> tuple[str, str]:
    """The final address, in full where the log has it, and the one it was first accepted for."""
    recipient, original = last.attempt.recipient, last.attempt.original
    if "@" not in recipient:
        local = recipient.lower()
        for address in (*last.attempt.parents, original):
            spelled = address.rpartition("@")[0].lower()
            if spelled == local or _EXTENSION.split(spelled, maxsplit=1)[0] == local:
                recipient = address
                break
    return recipient, first or original or recipient


def judge(stay: Stay, last: Try, context: Context) -> tuple[str, str, float | None]:
    """Outcome, reason and time of a copy whose way ends with this attempt."""
    attempt = last.attempt
    status = attempt.status
    if status == "sent":
        return (*sent(stay, last, context), last.time)
    if status == "deferred":
        for action, entry in reversed(stay.actions):
            time = last.time + (entry.time - last.face if entry.zone is last.zone else 0.0)
            if action.what in ("expired", "force-expired"):
                return "expired", attempt.reply, time
            if action.what == stay.removed_how:
                return "discarded", f"{action.what}; deferred before: {attempt.reply}", time
        state = resting(stay)
        return (state or "deferred"), attempt.reply, last.time
    if status == "bounced" and gave_up(attempt.reply):
        return "expired", attempt.reply, last.time
    return status, attempt.reply, last.time


def gave_up(reply: str) -> bool:
    """Whether Exim bounced a recipient since it had tried long enough."""
    return any(words in reply for words in _GIVEN_UP)


def sent(stay: Stay, last: Try, context: Context) -> tuple[str, str]:
    """What `sent` means where no continuation is known."""
    attempt = last.attempt
    reply = last.reply
    if reply is not None and reply.verdict:
        return reply.verdict, attempt.reply
    if stored(last):
        return "delivered", attempt.reply
    if last.rivals:
        return "unknown", attempt.reply
    if not attempt.relay.name and not attempt.relay.ip:
        return "unknown", attempt.reply  # a line that was cut before it says where
    there = context.names.of(attempt.relay)
    if context.names.is_local(attempt.relay, stay.host):
        there = frozenset({stay.host})
    if not there or not any(context.own(host) for host in there):
        return "relayed", attempt.reply
    covered = [host for host in there if covers(context.span(), host, last.time)]
    return ("in_transit" if covered else "unknown"), attempt.reply


def covers(span: Span, host: str, time: float) -> bool:
    """Whether a host's log covers a moment (with a minute to spare at its end for what is still to come)."""
    seen = span.get(host)
    return seen is not None and seen[0] - 1.0 <= time <= seen[1] + 1.0


def resting(stay: Stay) -> str:
    """`held` where a message lies on hold at the end of its log."""
    state = ""
    if any(check.action == "hold" for check, _entry in stay.checks):
        state = "held"
    for action, _entry in stay.actions:
        if action.what in ("held", "frozen"):
            state = "held"
        elif action.what in ("released", "unfrozen", "requeued"):
            state = ""
    return state


def silent(stay: Stay) -> tuple[str, str]:
    """Outcome of a recipient that a stay accepted and never attempted."""
    for check, _entry in stay.checks:
        if check.action == "discard":
            return "discarded", check.argument or check.text
    if stay.removed_how:
        return "discarded", stay.removed_how
    if stay.removed is None:
        return (resting(stay) or "deferred"), "in the queue, no attempt logged"
    return "unknown", "removed from the queue, and no line tells why"


def refused(text: str, recipient: str, certainty: Certainty) -> Recipient:
    """The row of a recipient that the first own host refused."""
    return Recipient(recipient, recipient, "rejected", (), None, text, 1, certainty)
