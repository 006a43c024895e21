"""Orphans and open attempts, paired by several facts together: where no reply names the next queue ID."""

from __future__ import annotations

from collections import Counter, defaultdict
from statistics import median
from typing import TYPE_CHECKING

from mailtrace.assemble.evidence import (
    CLOSE,
    CROWD,
    DAYS,
    GROWTH,
    LIKELY,
    MOMENT,
    QUEUE_REPLIES,
    bare,
    begins_after,
    descends,
    infer,
    lost_lines,
    nearest,
    open_tries,
    recipients_fit,
    same_envelope,
    same_message_id,
    shrinks,
)
from mailtrace.assemble.stays import Stay, Try
from mailtrace.model import LinkKind

if TYPE_CHECKING:
    from mailtrace.assemble.links import Linker


HEADER = 64  # bytes by which what one way adds differs from mail to mail
Choice = tuple[tuple[int, ...], Stay, list[Try]]
"""A possible parent: what speaks for it (compared as it stands), the stay, and the attempts that it would explain."""


class Matcher:
    """Pairs orphans with open attempts by several facts together, one to one."""

    def __init__(self, linker: Linker) -> None:
        self.linker = linker
        self.names = linker.names
        self.growth: dict[tuple[str, str], float] = {}
        self.lags: dict[tuple[str, str], float] = {}
        self.copies: Counter[tuple[str, str]] = Counter()
        self.timed: frozenset[str] = frozenset()
        # Of whom not all candidates were looked at; True where some of those have its Message-ID.
        self.crowded: dict[Stay, bool] = {}
        self.openers: list[Stay] = []  # with attempts that led nowhere, or lost lines
        self.orphans: list[Stay] = []
        self.alone = True  # only messages whose Message-ID no other shares, for now

    def match(self) -> None:
        """Settle what is the only choice, which leaves others with one choice, and so on; the rest is ambiguous.

        Messages whose Message-ID no other shares come first: they teach the clocks, and how each way between two hosts
        usually takes and adds.
        """
        infer(self.linker.joined)
        self.openers = [s for s in self.linker.stays if (open_tries(s) or lost_lines(s)) and s.whole]
        self.orphans = [s for s in self.linker.stays if self.is_orphan(s)] if self.openers else []
        if not self.orphans:
            return
        for stay in self.linker.stays:
            if stay.known_id:
                self.copies[(stay.host, stay.known_id)] += 1
        self.timed = self.linker.timed_hosts()
        self.rounds(*self.pool())
        if self.linker.settle_clocks():
            self.linker.date()
        self.timed = self.linker.timed_hosts()
        self.learn_ways()
        self.alone = False
        pending, found = self.pool()
        for _ in (False, True):
            pending = self.rounds(pending, found)
            infer(self.linker.joined)
            self.learn_ways()
        for child in pending:
            choices = self.best(child, found[id(child)])
            child.rivals = sorted((parent for _rank, parent, _tries in choices), key=lambda s: (s.first, s.id))
            for _rank, _parent, tries in choices:
                for attempt in tries:
                    attempt.rivals = True

    def pool(self) -> tuple[list[Stay], dict[int, list[tuple[Stay, Try | None]]]]:
        """The orphans that have candidates, and the candidates."""
        index = self.open_index()
        open_ids = {key[1] for key in index if len(key) == 2}
        bare = any(len(key) > 2 for key in index)
        found = {}
        for stay in self.orphans:
            if stay.parent is None and (bare or not stay.known_id or stay.known_id in open_ids):
                candidates = self.candidates(stay, index)
                if candidates:
                    found[id(stay)] = candidates
        return [s for s in self.orphans if id(s) in found], found

    def rounds(self, pending: list[Stay], found: dict[int, list[tuple[Stay, Try | None]]]) -> list[Stay]:
        """Settle round by round; what is left has no, or no single, best choice."""
        while True:
            live = [(child, self.best(child, found[id(child)])) for child in pending]
            claims: dict[int, list[tuple[tuple[int, ...], Stay, bool]]] = defaultdict(list)
            for child, choices in live:
                for rank, parent, tries in choices:
                    for slot in tries or (parent,):
                        claims[id(slot)].append((rank, child, len(choices) == 1))
            rest = []
            for child, choices in live:
                if self.singled(child, choices) and not self.contested(child, choices[0], claims):
                    self.settle(child, choices[0])
                elif choices:
                    rest.append(child)
            if len(rest) == len(pending):
                return rest
            pending = rest

    def is_orphan(self, stay: Stay) -> bool:
        """A stay that some other stay may have led to."""
        if stay.parent is not None or not stay.whole:
            return False
        accepted = stay.accepted
        return accepted is None or not accepted.local

    def open_index(self) -> dict[tuple[object, ...], list[tuple[Stay, Try | None]]]:
        """Attempts that led nowhere yet and stays with lost lines, under all that a child can find them by.

        By recipient and Message-ID; where one side has no Message-ID, by recipient and minute; by Message-ID alone for
        children whose own attempts are lost (`unheard`), and for stays whose own are (`lost`). A reply that names a
        queue ID says where the message is, though that ID's lines may not be at hand.
        """
        index: dict[tuple[object, ...], list[tuple[Stay, Try | None]]] = defaultdict(list)
        for stay in self.openers:
            known = stay.known_id
            for attempt in open_tries(stay):
                if attempt.reply is not None and attempt.reply.kind in QUEUE_REPLIES:
                    continue
                recipient, minute = attempt.attempt.recipient.lower(), int(attempt.time // MOMENT)
                index[(recipient, minute)].append((stay, attempt))
                if known:
                    index[(recipient, known)].append((stay, attempt))
                    index[("unheard", known)].append((stay, attempt))
                else:
                    index[(recipient, minute, "bare")].append((stay, attempt))
            if known and lost_lines(stay):
                index[("lost", known)].append((stay, None))
        for some in index.values():
            if len(some) > CROWD:
                some.sort(key=_tried)
        return index

    def candidates(
        self, child: Stay, index: dict[tuple[object, ...], list[tuple[Stay, Try | None]]]
    ) -> list[tuple[Stay, Try | None]]:
        """All open attempts (or stays with lost lines) that do not contradict a child."""
        known, minute, took = child.known_id, int(child.first // MOMENT), child.incoming()
        minutes = (minute - 1, minute, minute + 1)
        keys: list[tuple[object, ...]]
        if known:
            keys = [(recipient, known) for recipient in took]
            keys += [(recipient, at, "bare") for recipient in took for at in minutes]
            keys += [("lost", known)] if took else [("lost", known), ("unheard", known)]
        else:
            keys = [(recipient, at) for recipient in took for at in minutes]
        hits = [key for key in keys if key in index]
        if not hits:
            return []
        found: dict[tuple[int, int], tuple[Stay, Try | None]] = {}
        for key in sorted(hits, key=str):
            some = nearest(index[key], child.first, _tried)
            if len(some) < len(index[key]):
                self.crowded[child] = self.crowded.get(child, False) or known in key
            for stay, attempt in some:
                if stay is not child and self.fits(stay, attempt, child):
                    found[(id(stay), id(attempt))] = (stay, attempt)
        return list(found.values())

    def fits(self, stay: Stay, attempt: Try | None, child: Stay) -> bool:
        """Whether Message-ID or envelope, hosts, recipients and order allow that a child came from a stay."""
        mids = same_message_id(stay, child)
        if mids is False or not self.hosts_fit(stay, attempt, child, sure=mids is None):
            return False
        if mids is None and not same_envelope(stay, attempt, child):
            return False
        shared = self.shared(stay, child)
        if (self.alone and (shared or mids is None)) or not recipients_fit(stay, attempt, child, shared=shared):
            return False
        return self.order_fits(stay, attempt, child, shared=shared)

    def shared(self, stay: Stay, child: Stay) -> bool:
        """Whether other messages on the parent's host have the same Message-ID, or this one has none."""
        known = child.known_id
        if not known:
            return True
        return self.copies[(stay.host, known)] > (2 if stay.host == child.host else 1)

    def order_fits(self, stay: Stay, attempt: Try | None, child: Stay, *, shared: bool) -> bool:
        """Whether a child came after its parent, no later than messages on this way do."""
        if stay.host != child.host and not {stay.host, child.host} <= self.timed:
            return True
        if not begins_after(stay, child) or child.first > stay.first + DAYS:
            return False
        if attempt is None:
            return True
        lag = child.first - attempt.time
        if stay.host != child.host:
            return -(attempt.attempt.delay or 0.0) - CLOSE <= lag <= CLOSE
        usual = self.lags.get((stay.host, child.host))
        return not shared or usual is None or lag <= max(CLOSE, 3 * usual)

    def hosts_fit(self, stay: Stay, attempt: Try | None, child: Stay, *, sure: bool) -> bool:
        """Whether the relay that a stay names and the client that a child names allow the pair.

        Between two hosts at least one of the names must be known to mean the other, or look as if. `sure`: that is not
        enough, and on one host too the client must be known.
        """
        client = child.client if child.accepted else None
        here = client is not None and self.names.is_local(client, child.host)
        came = self.names.of(client) if client is not None and not here else frozenset()
        if here and stay.host != child.host:
            return False
        if came and stay.host not in came:
            return False
        if attempt is None:
            return (here or bool(came)) and not shrinks(stay, child)
        relay = attempt.attempt.relay
        to_self = self.names.is_local(relay, stay.host)
        if to_self or here:
            return to_self and stay.host == child.host and (here or (client is None and not sure))
        there = self.names.of(relay)
        if there and child.host not in there:
            return False
        if there or came:
            return True
        # With the same Message-ID a name that begins as the host's does is enough.
        alike = self.names.alike(relay, child.host) or (client is not None and self.names.alike(client, stay.host))
        return alike and not sure

    def best(self, child: Stay, candidates: list[tuple[Stay, Try | None]]) -> list[Choice]:
        """The best of the candidates that are still open, one item a parent."""
        by_parent: dict[int, tuple[Stay, list[Try]]] = {}
        for stay, attempt in candidates:
            if (attempt is not None and attempt.target is not None) or descends(stay, child):
                continue
            tries = by_parent.setdefault(id(stay), (stay, []))[1]
            if attempt is not None:
                tries.append(attempt)
        choices = [
            (self.rank(stay, tries, child), stay, tries)
            for stay, tries in by_parent.values()
            if tries or lost_lines(stay)
        ]
        most = max((rank for rank, _stay, _tries in choices), default=())
        return [choice for choice in choices if choice[0] == most]

    def rank(self, stay: Stay, tries: list[Try], child: Stay) -> tuple[int, ...]:
        """What speaks for a parent: Message-ID, attempts, all recipients, no others, sender, the usual growth."""
        took = child.incoming()
        handed = {t.attempt.recipient.lower() for t in tries}
        subset = bool(took) and took <= handed
        whole = subset and len(took) == len({t.attempt.recipient.lower() for t in open_tries(stay)})
        mid = same_message_id(stay, child)
        sender = stay.sender is not None and child.sender is not None and bare(stay.sender) == bare(child.sender)
        return (bool(mid), bool(tries), subset, whole, sender, self.grows(stay, child))

    def grows(self, stay: Stay, child: Stay) -> bool:
        """Whether a child is larger than its parent by what this way usually adds."""
        if stay.size is None or child.size is None:
            return False
        grown = child.size - stay.size
        usual = self.growth.get((stay.host, child.host))
        return 0 <= grown <= GROWTH if usual is None else abs(grown - usual) <= HEADER

    def learn_ways(self) -> None:
        """What each way between two hosts usually adds to a message (its Received header), and how long it takes."""
        grown: dict[tuple[str, str], list[int]] = defaultdict(list)
        for child in self.linker.joined:
            parent = child.parent
            if parent is None or child.kind not in (LinkKind.RELAYED, LinkKind.REINJECTED):
                continue
            way = (parent.host, child.host)
            if parent.size is not None and child.size is not None:
                grown[way].append(child.size - parent.size)
            if not self.shared(parent, child):
                for attempt in parent.tries:
                    if attempt.target is child:
                        self.lags[way] = max(self.lags.get(way, 0.0), child.first - attempt.time)
        self.growth = {way: median(sizes) for way, sizes in grown.items()}

    def singled(self, child: Stay, choices: list[Choice]) -> bool:
        """Whether there is one choice, and none among those not looked at: they are apart by clocks that agree."""
        if len(choices) != 1:
            return False
        rank, parent, _tries = choices[0]
        unseen = child in self.crowded and (self.crowded[child] or not rank[0])
        return not unseen or {child.host, parent.host} <= self.timed

    def contested(
        self, child: Stay, choice: Choice, claims: dict[int, list[tuple[tuple[int, ...], Stay, bool]]]
    ) -> bool:
        """Whether another orphan has as good a right to the same attempts, and no other choice."""
        rank, parent, tries = choice
        return any(
            other is not child and their_rank >= rank and (only or their_rank > rank)
            for slot in tries or (parent,)
            for their_rank, other, only in claims[id(slot)]
        )

    def settle(self, child: Stay, choice: Choice) -> None:
        """Link a pair that is the only choice."""
        rank, parent, tries = choice
        if any(t.target is not None for t in tries):
            return
        kind = LinkKind.REINJECTED if parent.host == child.host else LinkKind.RELAYED
        evidence = []
        if rank[0]:
            evidence.append(("message-id", f"same Message-ID <{child.known_id}>"))
        if tries:
            some = ", ".join(sorted(t.attempt.recipient for t in tries)[:3])
            evidence.append(("recipient", f"same recipients: {some}"))
        if child.accepted is not None:
            client = child.client
            evidence.append(("client", f"{child.host} took it from {client.name}[{client.ip}]"))
        if self.linker.join(parent, child, kind, LIKELY, evidence):
            for attempt in tries:
                attempt.target = child


def _tried(item: tuple[Stay, Try | None]) -> float:
    stay, attempt = item
    return stay.last if attempt is None else attempt.time
