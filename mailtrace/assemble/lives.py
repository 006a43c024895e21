"""Lives: which of them concern no other message, so that they need not be looked at to link the rest.

A plain message whose Message-ID nobody else has, whose queue ID nobody else names, that names no ID that is known, and
whose client and recipients are nowhere refused or looked for, has neither a hop before it nor one behind. That is most
of a day's mail on most hosts, and is told from its text; all others become stays.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby, pairwise

from mailtrace.assemble.evidence import plain_id
from mailtrace.assemble.stays import Loose, Stay
from mailtrace.handoff import reply_id
from mailtrace.hosts import address
from mailtrace.model import Life
from mailtrace.pages import Page


def in_touch(lives: Mapping[str, Life], stays: list[Stay], loose: Loose) -> list[str]:
    """The queue IDs of the lives that may have to do with another message.

    What is compared are hashes first: two of one only make a message looked at that need not be.
    """
    known = {stay.queue_id for stay in stays}
    touched = {queue_id for queue_id in _named(stays, loose) if queue_id in lives}
    touched.update(_cut_off(stays, lives.values()))
    message_ids = _shared(stays, lives.values())
    clients = {hash(address(check.client.ip)) for check, _entry in loose.checks}
    looked_for = _looked_for(stays)
    handed_on = looked_for | _refused(stays, loose)  # what went out may be what another host refused
    for page, some in groupby(lives.values(), key=_page):
        for life in some:
            queue_id, at = life.queue_id, life.at
            for named in life.named:
                if named in lives:
                    touched.update((queue_id, named))
                elif named in known:
                    touched.add(queue_id)
            if (
                page.message_ids[at] in message_ids
                or page.clients[at] in clients
                or not (looked_for if life.stored else handed_on).isdisjoint(page.recipients(at))
            ):
                touched.add(queue_id)
    return sorted(touched)


def life_id(life: Life) -> str:
    """The hop's id in the report, as a stay's."""
    return f"{life.host}:{life.origin.instance}:{life.queue_id}"


def _page(life: Life) -> Page:
    return life.page


def _message_id(life: Life) -> str:
    """As it is compared: a plain one has neither spaces nor brackets."""
    at = life.text.index("\nmessage-id=<") + 13
    return life.text[at : life.text.index(">\n", at)].lower()


def _shared(stays: Iterable[Stay], lives: Iterable[Life]) -> set[int]:
    """Hashes of the Message-IDs that a stay has, or more than one life."""
    ordered = array("q")
    for page, some in groupby(lives, key=_page):
        ordered.extend(page.message_ids[life.at] for life in some)
    found = {hash(plain_id(stay.message_id)) for stay in stays if stay.message_id}
    found.update(one for one, other in pairwise(sorted(ordered)) if one == other)
    return found


def _cut_off(stays: Iterable[Stay], lives: Iterable[Life]) -> Iterator[str]:
    """Queue IDs of lives whose Message-ID begins as one whose end was cut off."""
    cut = tuple(plain_id(s.message_id) for s in stays if s.message_id and s.message_id.startswith("<"))
    if cut:
        for life in lives:
            if _message_id(life).startswith(cut):
                yield life.queue_id


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


def _looked_for(stays: Iterable[Stay]) -> set[int]:
    """Recipients of stays that may belong to a life though they lack its Message-ID: no line of theirs tells one."""
    bare = [stay for stay in stays if not stay.message_id]
    tried = {attempt.attempt.recipient.lower() for stay in bare for attempt in stay.tries}
    return {hash(recipient) for recipient in tried.union(*(stay.incoming() for stay in bare))}


def _refused(stays: Iterable[Stay], loose: Loose) -> set[int]:
    """Recipients that somebody was refused."""
    checks = [check for check, _entry in loose.checks]
    checks += [check for stay in stays for check, _entry in stay.checks]
    told = [*(check.recipient for check in checks), *(proxied.recipient for proxied, _entry in loose.proxied)]
    return {hash(recipient.lower()) for recipient in told if recipient}
