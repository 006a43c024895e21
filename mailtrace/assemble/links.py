"""Which stay follows which: every link with its kind, its evidence and how sure it is.

The strongest evidence is used first, and teaches what the weaker needs: lines that name both IDs, then the reply's ID
(learning names, addresses, zones and skews from the links it proves), then Message-ID or envelope together with
the hosts, recipients and order. Nothing is linked by time alone, and what has two equal candidates is not chosen.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from operator import attrgetter, itemgetter
from statistics import median
from typing import TypeVar

from mailtrace.assemble.names import Names, plain
from mailtrace.assemble.stays import Stay, Try
from mailtrace.clocks import Clocks, nearest_offset
from mailtrace.ids import LONG_LIVED
from mailtrace.model import Certainty, LinkKind, Peer, Stored

PROVEN, LIKELY, AMBIGUOUS = Certainty.PROVEN.value, Certainty.LIKELY.value, Certainty.AMBIGUOUS.value
QUEUE_REPLIES = frozenset({"postfix", "exim", "sendmail"})
"""Kinds of reply whose ID is the queue ID in the other host's log, where that log can be read."""

CLOSE = 5.0  # seconds between two ends of a hand-off, clocks corrected
SKEWED = 2.0  # seconds of a pair's median difference that mean a wrong clock and not a rounded stamp
DAYS = 6 * 86400.0  # longer than any queue keeps a message
GROWTH = 4096  # bytes that one hop adds at most (Received and filter headers)
HEADER = 64  # bytes by which what one way adds differs from mail to mail
MOMENT = 60.0  # seconds between two ends that only their envelope joins
ORDER = 0.5  # seconds by which lines of one host may be out of order
CROWD = 32  # messages alike: of more than that only so many nearest in time are looked at
SAME = 3.0  # seconds within which two lines of one host are about the same moment

Item = TypeVar("Item")

Rank = tuple[int, int, int, int, int]
"""What speaks for the stay that a reply's ID means: Message-ID, place, time, moment, recipient."""


class Linker:
    """Finds the parent of every stay that has one."""

    def __init__(
        self,
        stays: list[Stay],
        names: Names,
        clocks: Clocks,
        stored: Iterable[Stored] = (),
        *,
        judge_clocks: bool = True,
    ) -> None:
        """With `judge_clocks` False the clocks are as they are."""
        self.judge_clocks = judge_clocks
        self.stays = stays
        self.stored: dict[str, list[Stored]] = defaultdict(list)
        for line in stored:
            self.stored[line.session].append(line)
        self.names = names
        self.clocks = clocks
        self.joined: list[Stay] = []  # every stay that has a parent, in the order in which they were found
        self.taught = 0  # so many of them, where the clocks are as they are
        self.by_id: dict[str, list[Stay]] = defaultdict(list)
        self.replied: list[Stay] = []  # whose attempts were answered with a queue ID
        self.crowds: list[list[Stay]] = []  # of one ID each, in the order of time
        self.answered: dict[str, list[Stay]] = defaultdict(list)  # the same by that ID, once it is needed
        self.turned: set[Stay] = set()  # told apart by nothing but their order
        self.naming: list[Stay] = []  # whose lines name another ID on their host
        for stay in stays:
            with_id = self.by_id[stay.queue_id]
            with_id.append(stay)
            if len(with_id) == CROWD + 1:
                self.crowds.append(with_id)
            kinds = {t.reply.kind for t in stay.tries if t.reply is not None}
            if kinds and not kinds.isdisjoint(QUEUE_REPLIES):
                self.replied.append(stay)
            if stay.notices or "forwarded" in kinds or (stay.accepted is not None and stay.accepted.parent):
                self.naming.append(stay)

    def run(self) -> None:
        """Link everything that `date` has dated, strongest evidence first."""
        self.stated()
        self.replies(sure=True)
        if self.settle_clocks():
            self.date()
        self.replies(sure=False)
        if self.settle_clocks():
            self.date()
        self.xforward()
        self.resubmitted()
        self.pairs()
        self.siblings()
        self.gaps()
        self.judge_again()

    def date(self) -> None:
        """Correct the times of all stays by what is known of the clocks."""
        for stay in self.stays:
            stay.date(self.clocks)
        for crowd in self.crowds:
            crowd.sort(key=_first)

    # ------------------------------------------------------------------ lines that name both IDs

    def stated(self) -> None:
        """Links that a program states: notifications, local forwards, requeues, Exim's R=."""
        for stay in self.naming:
            for notice, entry in stay.notices:
                if notice.child:
                    told = self.clocks.utc(stay.host, entry.zone, entry.time)
                    child = self.near(notice.child, stay, told, seq=entry.seq)
                    if child:
                        words = f"{stay.queue_id}: {notice.to} {notice.kind} notification: {notice.child}"
                        self.join(stay, child, LinkKind.BOUNCED, PROVEN, [("notification", words)])
            for attempt in stay.tries:
                if attempt.reply is not None and attempt.reply.kind == "forwarded":
                    child = self.near(attempt.reply.id, stay, attempt.time)
                    if child and self.join(
                        stay, child, LinkKind.FORWARDED, PROVEN, [("forwarded", f"forwarded as {attempt.reply.id}")]
                    ):
                        attempt.target = child
            accepted = stay.accepted
            if accepted is not None and accepted.parent and accepted.parent_kind in ("bounced", "requeued"):
                parent = self.near(accepted.parent, stay, stay.first, before=True)
                if parent:
                    kind = LinkKind.BOUNCED if accepted.parent_kind == "bounced" else LinkKind.REQUEUED
                    words = f"{stay.queue_id} names {accepted.parent}"
                    self.join(parent, stay, kind, PROVEN, [(accepted.parent_kind, words)])

    def near(self, queue_id: str, stay: Stay, time: float, *, before: bool = False, seq: int = 0) -> Stay | None:
        """The lifecycle of an ID on the stay's host that was alive at a moment, or when a line of that second came."""
        found = nearest(self.by_id.get(queue_id, []), time, _first)
        found = [s for s in found if s.host == stay.host and s is not stay]
        if before:
            found = [s for s in found if s.first <= time + SAME]
            return max(found, key=lambda s: s.first, default=None)
        alive = [s for s in found if s.first <= time + SAME and s.last >= time - SAME]
        # what Postfix makes itself (a notice, a local forward) comes from no client
        made = [s for s in alive if s.accepted is None] or alive
        same = [s for s in made if s.instance == stay.instance] or made
        if same:
            return min(same, key=lambda s: (abs(s.first - time), s.head.seq > seq, abs(s.head.seq - seq)))
        return min(found, key=lambda s: abs(s.first - time), default=None)

    # ------------------------------------------------------------------ the reply's ID

    def replies(self, *, sure: bool) -> None:
        """Links by the ID in the SMTP reply. `sure`: only those that need neither names nor clocks."""
        for stay in self.replied:
            answers: dict[str, tuple[Stay, str, list[tuple[str, str]]] | None] = {}
            for attempt in stay.tries:
                reply = attempt.reply
                if reply is None or attempt.target is not None or reply.kind not in QUEUE_REPLIES:
                    continue
                if reply.id not in self.by_id:
                    continue
                if reply.id not in answers:
                    answers[reply.id] = self.answer(stay, attempt, sure=sure)
                answer = answers[reply.id]
                if answer is None:
                    continue
                child, certainty, evidence = answer
                if child.parent is not stay:
                    kind = LinkKind.REINJECTED if child.host == stay.host else LinkKind.RELAYED
                    if not self.join(stay, child, kind, certainty, evidence):
                        continue
                attempt.target = child

    def answer(self, stay: Stay, attempt: Try, *, sure: bool) -> tuple[Stay, str, list[tuple[str, str]]] | None:
        """The one stay that an attempt's reply means, if the evidence singles it out."""
        reply = attempt.reply
        assert reply is not None  # noqa: S101 - the caller looked
        long = bool(LONG_LIVED(reply.id))
        ranked = []
        for other in nearest(self.by_id[reply.id], attempt.time, _first):
            if other is stay or (other.parent is not None and other.parent is not stay):
                continue
            rank = self.rank(stay, attempt, other, long=long)
            if rank is not None:
                ranked.append((rank, other))
        if not ranked:
            return None
        if sure and len(ranked) > 1 and not long:
            return None
        best = max(rank for rank, _other in ranked)
        equal = [other for rank, other in ranked if rank == best]
        child = equal[0] if len(equal) == 1 else self.in_turn(stay, attempt, equal, best)
        if child is None:
            return None
        mid, place, close, _now, overlap = best
        if sure and not mid:
            return None
        if not (mid or place or long or (close and overlap)):
            return None
        evidence = [("reply-id", f"{attempt.attempt.relay.name or 'the relay'} answered: queued as {reply.id}")]
        if mid:
            evidence.append(("message-id", f"same Message-ID <{child.known_id}>"))
        if place:
            relay = attempt.attempt.relay
            evidence.append(("relay", f"relay {relay.name}[{relay.ip}] is {child.host}"))
        certain = long or (child not in self.turned and ((mid and (place or close)) or (place and close)))
        return child, PROVEN if certain else LIKELY, evidence

    def in_turn(self, stay: Stay, attempt: Try, equal: list[Stay], best: Rank) -> Stay | None:
        """Of messages alike that had one ID within moments, the one whose turn an attempt's is, if each has one.

        An ID is free once its message is gone, so that the first answer means the first of them.
        """
        reply = attempt.reply
        assert reply is not None  # noqa: S101 - the caller looked
        if len(equal) > CROWD or len({child.host for child in equal}) > 1:
            return None
        if not self.answered:
            for parent in self.replied:
                for answered in {t.reply.id for t in parent.tries if t.reply is not None}:
                    self.answered[answered].append(parent)
            for parents in self.answered.values():
                parents.sort(key=_first)
        turns = []
        for parent in nearest(self.answered[reply.id], stay.last, _first):
            first = next((t for t in parent.tries if t.reply == reply and t.target is None), None)
            if first is not None and any(self.rank(parent, first, child, long=False) == best for child in equal):
                turns.append((first.time, parent.head.seq, parent))
            if len(turns) > len(equal):
                return None
        turns.sort(key=itemgetter(0, 1))
        certain = all(one[0] < two[0] or one[2].host == two[2].host for one, two in pairwise(turns))
        if not certain or len(turns) < len(equal):
            return None
        self.turned.update(equal)
        equal.sort(key=attrgetter("first", "number"))
        return next((child for turn, child in zip(turns, equal, strict=True) if turn[2] is stay), None)

    def judge_again(self) -> None:
        """Say how sure links by a reply are by all that is known now: they taught names and clocks."""
        for child in self.joined:
            parent = child.parent
            if parent is None or child.certainty != LIKELY or child.evidence[0][0] != "reply-id":
                continue
            attempt = next((t for t in parent.tries if t.target is child and t.reply is not None), None)
            answer = self.answer(parent, attempt, sure=False) if attempt is not None else None
            if answer is not None and answer[0] is child:
                _child, child.certainty, child.evidence = answer

    def rank(self, stay: Stay, attempt: Try, child: Stay, *, long: bool) -> Rank | None:
        """How well a child fits an attempt. None: it contradicts."""
        mids = same_message_id(stay, child)
        if mids is False:
            return None
        place = self.place(stay, attempt, child)
        if place is False and not long:
            return None
        delay = attempt.attempt.delay or 0.0
        distance = child.first - attempt.time
        close = -min(delay, DAYS) - CLOSE <= distance <= CLOSE
        loose = self.clocks.unproved(stay.host) or self.clocks.unproved(child.host)
        if not close and not long and not loose and abs(distance) > DAYS:
            return None
        now = close and not apart(attempt.attempt.delays, attempt.time, child.first)
        overlap = attempt.attempt.recipient.lower() in child.incoming()
        return (1 if mids else 0, 1 if place else 0, 1 if close else 0, 1 if now else 0, 1 if overlap else 0)

    def place(self, stay: Stay, attempt: Try, child: Stay) -> bool | None:
        """Whether the child is where the attempt went: True, False (contradiction), None (nothing known)."""
        relay = attempt.attempt.relay
        if self.names.is_local(relay, stay.host):
            if child.host != stay.host:
                # a filter may answer for the host that it passes the message on to
                return None if relay.port not in (None, 25) else False
            return True
        there = self.names.of(relay)
        if there and child.host not in there:
            return False
        client = child.client
        came = self.names.of(client)
        if came and stay.host not in came and not self.names.is_local(client, child.host):
            return False
        return True if there or came else None

    # ------------------------------------------------------------------ what proven links teach

    def settle_clocks(self) -> bool:
        """Learn names, zones and skews from the links so far; whether any clock moved."""
        if not self.judge_clocks:
            self.teach()
            return False
        pairs = self.meet()
        moved = False
        unproved = frozenset(host for pair in pairs for host in pair if self.clocks.unproved(host))
        for host, seconds in solve(pairs, unproved).items():
            zone = nearest_offset(seconds) if host in unproved else 0
            if zone:
                self.clocks.shift(host, zone)
            if abs(seconds - zone) >= SKEWED:
                self.clocks.skew[host] = self.clocks.skew.get(host, 0.0) + seconds - zone
            moved = True
        for one, other in pairs:
            for host, witness in ((one, other), (other, one)):
                if host in unproved and witness not in unproved:
                    self.clocks.shift(host, 0)  # compared with a sure clock, and put right above if it had to be
        return moved

    def teach(self) -> None:
        """Learn names from the links that are new."""
        new, self.taught = self.joined[self.taught :], len(self.joined)
        for stay, attempt, child in handoffs(new):
            self.names.learn(attempt.attempt.relay, child.host)
            self.names.learn(child.client, stay.host)

    def meet(self) -> dict[tuple[str, str], list[float]]:
        """Learn names from the links so far; by how much each host's clock seems ahead of the one before it."""
        pairs: dict[tuple[str, str], list[float]] = defaultdict(list)
        met: Counter[tuple[Peer, str]] = Counter()
        for stay, attempt, child in handoffs(self.joined):
            met[attempt.attempt.relay, child.host] += 1
            met[child.client, stay.host] += 1
            pairs[(stay.host, child.host)].append(handoff_difference(attempt, child))
        for (peer, host), times in met.items():
            self.names.learn(peer, host, times)
        return pairs

    def timed_hosts(self) -> frozenset[str]:
        """Hosts whose clocks were compared with another's at a hand-off."""
        return frozenset(
            host
            for child in self.joined
            if child.parent is not None and child.kind == LinkKind.RELAYED
            for host in (child.host, child.parent.host)
        )

    # ------------------------------------------------------------------ XFORWARD, filters' own lines

    def xforward(self) -> None:
        """Links that the next queue states itself (orig_queue_id) or the filter between them (amavis)."""
        for stay in [s for s in self.stays if s.filtered or (s.accepted is not None and s.accepted.parent)]:
            for filtered, _entry in stay.filtered:
                for queue_id in filtered.queued_as:
                    child = self.near(queue_id, stay, stay.last)
                    if child and child.parent is None and same_message_id(stay, child) is not False:
                        words = f"{filtered.program}: Queue-ID {stay.queue_id}, queued as {queue_id}"
                        self.join(stay, child, LinkKind.REINJECTED, PROVEN, [("filter", words)])
                        self.point(stay, child)
            accepted = stay.accepted
            if accepted is None or accepted.parent_kind != "xforward" or stay.parent is not None:
                continue
            found = [
                s
                for s in nearest(self.by_id.get(accepted.parent, []), stay.first, _first)
                if s is not stay and s.first <= stay.first + CLOSE and same_message_id(s, stay) is not False
            ]
            here = [s for s in found if s.host == stay.host]
            parent = max(here or found, key=lambda s: s.first, default=None)
            if parent is not None:
                kind = LinkKind.REINJECTED if parent.host == stay.host else LinkKind.RELAYED
                words = f"{stay.queue_id} came with orig_queue_id={accepted.parent}"
                self.join(parent, stay, kind, PROVEN, [("xforward", words)])
                self.point(parent, stay)

    def point(self, parent: Stay, child: Stay) -> None:
        """Say which attempts of the parent led to the child: those whose recipients it took."""
        took = child.incoming()
        for attempt in open_tries(parent):
            if attempt.attempt.recipient.lower() in took:
                attempt.target = child

    # ------------------------------------------------------------------ programs that send again

    def resubmitted(self) -> None:
        """A program or a mailbox's filter that submits the same message anew on its host (same Message-ID)."""
        local = [s for s in self.stays if s.accepted is not None and s.accepted.local and s.message_id and not s.parent]
        wanted = {s.message_id for s in local}
        sources: dict[tuple[str, str], list[Stay]] = defaultdict(list)
        for stay in self.stays if local else ():
            if stay.message_id in wanted and any(kept_here(t) for t in stay.tries):
                sources[(stay.host, stay.message_id or "")].append(stay)
        for child in local:
            found = [
                s
                for s in sources.get((child.host, child.message_id or ""), ())
                if s is not child and s.first <= child.first + SAME and not descends(s, child)
            ]
            if len(found) == 1:
                self.resubmit(found[0], child)

    def resubmit(self, parent: Stay, child: Stay) -> None:
        """Join what a mailbox's filter (Sieve) forwarded, or a program passed back, to where it came from."""
        took = child.incoming()
        handed = [t for t in parent.tries if kept_here(t)]
        through = [t for t in handed if t.attempt.recipient.lower() in took]
        kind = LinkKind.REINJECTED if through else LinkKind.FORWARDED
        evidence = [("message-id", f"submitted on {child.host} with the same Message-ID <{child.known_id}>")]
        forwarded = [t for t in handed if self.sieve_did(t, "forwarded") & took]
        certainty = LIKELY
        if forwarded:
            certainty = PROVEN
            evidence.append(("sieve", f"{forwarded[0].attempt.recipient}: forwarded to {', '.join(sorted(took))}"))
        if not self.join(parent, child, kind, certainty, evidence):
            return
        if not through:
            named = forwarded or handed
            child.through = named[0].attempt.recipient if len(named) == 1 else ""
            through = [t for t in forwarded if not self.sieve_did(t, "stored")]
        for attempt in through:
            attempt.target = child

    def sieve_did(self, attempt: Try, what: str) -> set[str]:
        """Where a mailbox server's own lines say that it put the message of an attempt (mailboxes, addresses)."""
        if attempt.reply is None or attempt.reply.kind != "dovecot":
            return set()
        return {s.where.lower() for s in self.stored.get(attempt.reply.id, ()) if s.what == what}

    # ------------------------------------------------------------------ several facts together

    def pairs(self) -> None:
        """Links without an ID: Message-ID (or, without one, the envelope) with hosts, recipients and order."""
        matcher = Matcher(self)
        matcher.match()

    def siblings(self) -> None:
        """Recipients of one transaction went the same way, also one whose line the next queue lost."""
        for stay in {id(child.parent): child.parent for child in self.joined if child.parent is not None}.values():
            ways: dict[tuple[object, ...], Stay] = {}
            for attempt in stay.tries:
                if attempt.target is not None and lost_lines(attempt.target):
                    ways[transaction(attempt)] = attempt.target
            for attempt in open_tries(stay) if ways else ():
                attempt.target = ways.get(transaction(attempt))

    def gaps(self) -> None:
        """Links over a host that no log covers: what went to it and what came from it."""
        waiting: dict[tuple[str, str], list[tuple[Stay, Try]]] = defaultdict(list)  # by Message-ID and recipient
        taken: dict[tuple[str, str], set[Peer]] = defaultdict(set)  # where those went that did lead somewhere
        for stay in self.stays:
            message_id = stay.known_id or ""
            for attempt in stay.tries if message_id and stay.children else ():
                if attempt.target is not None:
                    taken[message_id, attempt.attempt.recipient.lower()].add(attempt.attempt.relay)
            for attempt in open_tries(stay) if message_id else ():
                if not self.names.is_local(attempt.attempt.relay, stay.host):
                    waiting[message_id, attempt.attempt.recipient.lower()].append((stay, attempt))
        for child in self.stays:
            accepted, known = child.accepted, child.known_id
            if child.parent is not None or not known or accepted is None or accepted.local:
                continue
            ways = [(known, recipient) for recipient in child.incoming()]
            if any(len(waiting.get(way, ())) > CROWD for way in ways):
                continue
            parents = {
                id(stay): stay
                for way in ways
                for stay, attempt in waiting.get(way, ())
                if attempt.target is None
                and child.first >= stay.first - CLOSE
                and same_peer(attempt.attempt.relay, child.client, self.names)
                and not descends(stay, child)
            }
            # What another message of the same ID left over proves nothing.
            others = any(same_peer(relay, child.client, self.names) for way in ways for relay in taken.get(way, ()))
            if len(parents) == 1 and not others:
                parent = next(iter(parents.values()))
                name = child.client.name or child.client.ip
                words = f"same Message-ID and recipients went to {name} and came from it; its log was not read"
                if self.join(parent, child, LinkKind.RELAYED, LIKELY, [("gap", words)]):
                    self.point(parent, child)

    # ------------------------------------------------------------------ the link itself

    def join(self, parent: Stay, child: Stay, kind: LinkKind, certainty: str, evidence: list[tuple[str, str]]) -> bool:
        """Make `child` follow `parent`, unless it has a parent or that would close a ring."""
        if child.parent is parent:
            return True
        if child.parent is not None or parent is child or descends(parent, child):
            return False
        child.parent, child.kind, child.certainty, child.evidence = parent, kind, certainty, evidence
        parent.children = [*parent.children, child]
        self.joined.append(child)
        return True


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


# ---------------------------------------------------------------------------------------------- facts


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


def _first(stay: Stay) -> float:
    return stay.first


def _tried(item: tuple[Stay, Try | None]) -> float:
    stay, attempt = item
    return stay.last if attempt is None else attempt.time


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


_SRS = re.compile(r"^(?:SRS0[=+-]|SRS1[=+-][^@]*==)[^=@]*=[^=@]*=(?P<domain>[^=@]+)=(?P<local>[^@]+)@", re.IGNORECASE)
_BATV = re.compile(r"^prvs=[0-9a-z]+=", re.IGNORECASE)


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


_DONE = frozenset({"sent", "bounced", "expired", "discarded"})


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


def handoffs(joined: Iterable[Stay]) -> Iterator[tuple[Stay, Try, Stay]]:
    """Of stays that have a parent, those that another host handed on: that stay, its first attempt there, the child."""
    for child in joined:
        stay = child.parent
        if stay is not None and child.kind == LinkKind.RELAYED:
            attempt = next((t for t in stay.tries if t.target is child), None)
            if attempt is not None:
                yield stay, attempt, child


def handoff_difference(attempt: Try, child: Stay) -> float:
    """Seconds by which a child's clock is ahead of its parent's, 0 where the stamps allow that they agree."""
    return apart(attempt.attempt.delays, attempt.time, child.first)


def apart(delays: tuple[float, float, float, float] | None, sent: float, taken: float) -> float:
    """Seconds by which the clock that reads `taken` is ahead of the one that reads `sent`, 0 where they may agree.

    The next hop takes a message between the start of the transmission and the parent's `sent` line.
    """
    took = (delays[2] + delays[3]) if delays else 1.0
    late = taken - sent
    if -took - 1.2 <= late <= 1.2:
        return 0.0
    return late + took / 2 if late < 0 else late


def solve(pairs: dict[tuple[str, str], list[float]], unproved: frozenset[str]) -> dict[str, float]:
    """How far each host's clock is ahead of the others', from the differences of pairs.

    The clock that differs from most of its neighbours is the wrong one; it is put right, then the next. Clocks
    whose zone nothing proves go first.
    """
    edges: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (one, other), differences in pairs.items():
        if one == other:
            continue
        middle = median(differences)
        edges[one][other].append(-middle)
        edges[other][one].append(middle)
    ahead: dict[str, float] = {}
    for _ in range(2 * len(edges) + 1):
        votes: dict[str, tuple[bool, float, int, float]] = {}
        for host, others in edges.items():
            off = [median(ds) - ahead.get(host, 0.0) + ahead.get(other, 0.0) for other, ds in others.items()]
            wrong = [d for d in off if abs(d) >= SKEWED]
            if wrong:
                zone = host in unproved and abs(median(wrong)) > SKEWED * 60
                votes[host] = (zone, len(wrong) / len(off), len(wrong), median(wrong))
        if not votes:
            break
        host = max(votes, key=lambda h: (votes[h][:3], h))
        ahead[host] = ahead.get(host, 0.0) + votes[host][3]
    else:
        ahead = one_by_one(edges, unproved)
    return {host: seconds for host, seconds in ahead.items() if abs(seconds) >= SKEWED}


def one_by_one(edges: dict[str, dict[str, list[float]]], unproved: frozenset[str]) -> dict[str, float]:
    """The same where most clocks are wrong, so that voting comes to no end: each by a neighbour that is known already.

    Only differences are known: right is what most of those read whose zone is sure.
    """
    ahead: dict[str, float] = {}
    for start in sorted(edges, key=lambda host: (host in unproved, -len(edges[host]), host)):
        if start in ahead:
            continue
        found = {start: 0.0}
        waiting = [start]
        for host in waiting:
            for other in sorted(edges[host]):
                if other not in found:
                    found[other] = found[host] + median(edges[other][host])
                    waiting.append(other)
        sure = [seconds for host, seconds in found.items() if host not in unproved] or [0.0]
        right = median(sure)
        ahead |= {host: seconds - right for host, seconds in found.items()}
    return ahead
