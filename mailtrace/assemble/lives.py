"""Lives: which of them concern no other message, so that they need not be looked at to link the rest.

A plain message whose Message-ID nobody else has, whose queue ID nobody else names, that names no ID that is known, and
whose client and recipients are nowhere refused or looked for, has neither a hop before it nor one behind. That is most
of a day's mail on most hosts, and is told from its text; all others become stays.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

from mailtrace.assemble.links import plain_id
from mailtrace.assemble.names import address
from mailtrace.assemble.stays import Loose, Stay
from mailtrace.handoff import reply_id
from mailtrace.model import Life

_TO = re.compile(r"\nto=<([^>]*)>, (?:orig_to=<([^>]*)>)?").findall
_CLIENT = re.compile(r"\nclient=[^\[]*\[([^\]]*)\]").search


def in_touch(lives: Mapping[str, Life], stays: list[Stay], loose: Loose) -> list[str]:
    """The queue IDs of the lives that may have to do with another message."""
    known = {stay.queue_id for stay in stays}
    touched = {queue_id for queue_id in _named(stays, loose) if queue_id in lives}
    clients = {address(check.client.ip) for check, _entry in loose.checks}
    looked_for = _looked_for(stays)
    handed_on = looked_for | _refused(stays, loose)  # what went out may be what another host refused
    shared = _Shared(stays, lives.values())
    for message_id, life in zip(shared.hashes, lives.values(), strict=True):
        queue_id = life.queue_id
        for named in life.named:
            if named in lives:
                touched.update((queue_id, named))
            elif named in known:
                touched.add(queue_id)
        names = looked_for if life.stored else handed_on
        if (
            message_id in shared.among_them
            or (clients and _client(life) in clients)
            or (names and not names.isdisjoint(_recipients(life)))
        ):
            touched.add(queue_id)
    touched |= shared.marked
    return sorted(touched)


def life_id(life: Life) -> str:
    """The hop's id in the report, as a stay's."""
    return f"{life.host}:{life.origin.instance}:{life.queue_id}"


def _message_id(life: Life) -> str:
    """As it is compared: a plain one has neither spaces nor brackets."""
    at = life.text.index("\nmessage-id=<") + 13
    return life.text[at : life.text.index(">\n", at)]


def _client(life: Life) -> str:
    found = _CLIENT(life.text)
    return address(found[1]) if found else ""


def _recipients(life: Life) -> Iterator[str]:
    for recipient, original in _TO(life.text):
        yield recipient.lower()
        yield original.lower()


class _Shared:
    """Which Message-IDs more than one message has, by their hashes.

    Two IDs of one hash only make a message looked at that need not be.
    """

    def __init__(self, stays: Iterable[Stay], lives: Iterable[Life]) -> None:
        self.hashes = array("q")
        self.marked: set[str] = set()
        """Queue IDs of lives whose Message-ID was made of them, or is one whose end was cut off elsewhere."""
        cut = tuple(plain_id(s.message_id) for s in stays if s.message_id and s.message_id.startswith("<"))
        for life in lives:
            made, message_id = life.queue_id, _message_id(life)
            plain = message_id.lower()
            self.hashes.append(hash(plain))
            if made in message_id or plain.startswith(cut):
                self.marked.add(made)
        ordered = sorted(self.hashes)
        self.among_them = {hash(plain_id(stay.message_id)) for stay in stays if stay.message_id}
        self.among_them.update(one for one, other in pairwise(ordered) if one == other)


def _named(stays: Iterable[Stay], loose: Loose) -> set[str]:
    """Every queue ID that a line of another message names."""
    out: set[str] = set()
    for stay in stays:
        out.update(attempt.reply.id for attempt in stay.tries if attempt.reply is not None)
        out.update(notice.child for notice, _entry in stay.notices)
        for filtered, _entry in stay.filtered:
            out.update((filtered.queue_id, *filtered.queued_as))
        if stay.accepted is not None:
            out.add(stay.accepted.parent)
    for proxied, _entry in loose.proxied:
        reply = reply_id(proxied.reply)
        if reply is not None:
            out.add(reply.id)
    return out


def _looked_for(stays: Iterable[Stay]) -> set[str]:
    """Recipients of stays that may belong to a life though they lack its Message-ID: no line of theirs tells one."""
    bare = [stay for stay in stays if not stay.message_id]
    tried = {attempt.attempt.recipient.lower() for stay in bare for attempt in stay.tries}
    return tried.union(*(stay.incoming() for stay in bare))


def _refused(stays: Iterable[Stay], loose: Loose) -> set[str]:
    """Recipients that somebody was refused."""
    checks = [check for check, _entry in loose.checks]
    checks += [check for stay in stays for check, _entry in stay.checks]
    told = [*(check.recipient for check in checks), *(proxied.recipient for proxied, _entry in loose.proxied)]
    return {recipient.lower() for recipient in told if recipient}
