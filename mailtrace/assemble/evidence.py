"""What tells of two stays, or of an attempt and a stay, whether one can follow the other: questions about their lines.

`links` asks them where a reply or a line names the next queue ID, `matcher` where none does.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import TypeVar

from mailtrace.assemble.names import Names, plain
from mailtrace.assemble.stays import Stay, Try
from mailtrace.model import Certainty, LinkKind, Peer

PROVEN, LIKELY, AMBIGUOUS = Certainty.PROVEN.value, Certainty.LIKELY.value, Certainty.AMBIGUOUS.value
QUEUE_REPLIES = frozenset({"postfix", "exim", "sendmail"})
"""Kinds of reply whose ID is the queue ID in the other host's log, where that log can be read."""
CLOSE = 5.0  # seconds between two ends of a hand-off, clocks corrected
DAYS = 6 * 86400.0  # longer than any queue keeps a message
GROWTH = 4096  # bytes that one hop adds at most (Received and filter headers)
MOMENT = 60.0  # seconds between two ends that only their envelope joins
ORDER = 0.5  # seconds by which lines of one host may be out of order
CROWD = 32  # messages alike: of more than that only so many nearest in time are looked at
Item = TypeVar("Item")
_SRS = re.compile(r"^(?:SRS0[=+-]|SRS1[=+-][^@]*==)[^=@]*=[^=@]*=(?P<domain>[^=@]+)=(?P<local>[^@]+)@", re.IGNORECASE)
_BATV = re.compile(r"^prvs=[0-9a-z]+=", re.IGNORECASE)
_DONE = frozenset({"sent", "bounced", "expired", "discarded"})


def same_message_id(one: Stay, other: Stay) -> bool | None:
    """Whether two stays have one Message-ID; None where one of them is not known, empty, or the other's beginning."""
    mine, theirs = one.known_id, other.known_id
    if not mine or not theirs:
        return None
    if mine == theirs:
        return True
    mine, theirs = plain_id(mine), plain_id(theirs)
    if mine == theirs:
        return True
    return None if mine.startswith(theirs) or theirs.startswith(mine) else False  # one may be cut


def nearest(items: list[Item], time: float, when: Callable[[Item], float]) -> list[Item]:
    """Those that are nearest to a moment, of more than a crowd of items, which are in the order of time."""
    if len(items) <= CROWD:
        return items
    at = bisect_left(items, time, key=when)
    return items[max(0, at - CROWD // 2) : at + CROWD // 2]


def began(stay: Stay) -> float:
    """When it came in: what `nearest` goes by."""
    return stay.first


def plain_id(message_id: str) -> str:
    """A Message-ID as it is compared between programs that log it differently."""
    return re.sub(r"\s+", "", message_id).strip("<>").lower()


def whole_id(stay: Stay) -> bool:
    """Whether a stay's Message-ID is known to its end: one that was cut has an opening bracket only."""
    return bool(stay.known_id) and not stay.known_id.startswith("<")  # type: ignore[union-attr]


def lacks_id(stay: Stay) -> bool:
    """Whether a stay has a Message-ID, and its lines do not tell it, or not to its end."""
    return stay.known_id is None or stay.known_id.startswith("<")


def infer(joined: Iterable[Stay]) -> None:
    """Give stays whose message-id line is lost, or was cut, the Message-ID of the hops that they are linked with."""
    linked = {id(stay): stay for child in joined for stay in (child, child.parent) if stay is not None}
    if not any(lacks_id(stay) for stay in linked.values()):
        return
    for stay in [stay for stay in linked.values() if whole_id(stay)]:
        waiting = [stay]
        while waiting:
            at = waiting.pop()
            near = [child for child in at.children if child.kind != LinkKind.BOUNCED]
            if at.parent is not None and at.kind != LinkKind.BOUNCED:
                near.append(at.parent)
            for other in near:
                if lacks_id(other):
                    other.inferred = stay.known_id
                    waiting.append(other)


def bare(sender: str) -> str:
    """An envelope sender without what forwarders and signers add to it (SRS, BATV)."""
    found = _SRS.match(sender)
    if found:
        return f"{found['local']}@{found['domain']}".lower()
    return _BATV.sub("", sender).lower()


def same_envelope(stay: Stay, attempt: Try | None, child: Stay) -> bool:
    """Without a Message-ID on both sides: sender, size and moment must agree (the recipient does already)."""
    if attempt is None or stay.sender is None or child.sender is None or bare(stay.sender) != bare(child.sender):
        return False
    if stay.size is not None and child.size is not None and not 0 <= child.size - stay.size <= GROWTH:
        return False
    return abs(child.first - attempt.time) <= MOMENT


def transaction(attempt: Try) -> tuple[object, ...]:
    """What the recipients of one SMTP transaction have in common in the log."""
    event = attempt.attempt
    return event.relay, event.reply, event.delays, event.delay, attempt.pid, attempt.face


def stored(attempt: Try) -> bool:
    """Whether an attempt that was `sent` went to a mailbox or a program: by its transport, or by who answered."""
    event, reply = attempt.attempt, attempt.reply
    if event.local or (reply is not None and reply.kind in ("dovecot", "cyrus")):
        return True
    return "lmtp" in event.transport and (reply is None or reply.kind not in QUEUE_REPLIES)


def kept_here(attempt: Try) -> bool:
    """Whether an attempt gave the message to a mailbox or a program of its host, with no known continuation."""
    return attempt.target is None and attempt.attempt.status == "sent" and stored(attempt)


def open_tries(stay: Stay) -> list[Try]:
    """Attempts that handed the message on and have no known continuation."""
    return [t for t in stay.tries if t.target is None and t.attempt.status == "sent" and not t.attempt.local]


def recipients_fit(stay: Stay, attempt: Try | None, child: Stay, *, shared: bool) -> bool:
    """Whether the recipients allow that a child came from a stay.

    Where several messages share the Message-ID (or none has one), most that the child took must have been the
    parent's (not all: lines may be lost); leaving one parent over is no proof then.
    """
    took, given = child.incoming(), expected(stay)
    if shared:
        return 2 * len(took & given) > len(took)
    return not took or not given or bool(took & given) or attempt is not None


def expected(stay: Stay) -> set[str]:
    """The addresses that a stay can have handed on: its own attempts', and what the hop before gave it."""
    given = {t.attempt.recipient.lower() for t in stay.tries}
    if stay.parent is not None and lost_lines(stay):
        given |= {t.attempt.recipient.lower() for t in stay.parent.tries if t.target is stay}
    return given


def missing(stay: Stay) -> int:
    """How many recipients of a stay have no final delivery line."""
    if stay.nrcpt is None:
        return 1 if stay.removed is not None and not stay.tries else 0
    done = 0
    for attempt in stay.tries:
        if attempt.attempt.status in _DONE:
            done += 1
    return stay.nrcpt - done if done < stay.nrcpt else 0


def lost_lines(stay: Stay) -> bool:
    """Whether a stay's own lines show that some of its delivery lines are missing."""
    return missing(stay) > 0


def shrinks(stay: Stay, child: Stay) -> bool:
    """Whether a child is smaller than its parent: every hop adds its header, and few take something away."""
    return stay.size is not None and child.size is not None and child.size < stay.size


def begins_after(stay: Stay, child: Stay) -> bool:
    """Whether a child begins no earlier than its parent: on one host by one clock, if its coming is logged."""
    exact = stay.host == child.host and stay.accepted is not None
    return child.first >= stay.first - (ORDER if exact else CLOSE)


def descends(stay: Stay, ancestor: Stay) -> bool:
    """Whether `stay` is `ancestor` or follows it."""
    at: Stay | None = stay
    while at is not None:
        if at is ancestor:
            return True
        at = at.parent
    return False


def same_peer(relay: Peer, client: Peer, names: Names) -> bool:
    """Whether what one host calls its relay is what another calls its client."""
    if relay.ip and relay.ip == client.ip:
        return True
    if relay.name and plain(relay.name) == plain(client.name) and plain(relay.name) != "unknown":
        return True
    there, came = names.of(relay), names.of(client)
    return bool(there & came)
