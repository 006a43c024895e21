"""Which stay follows which: every link with its kind, its evidence and how sure it is.

The strongest evidence is used first, and teaches what the weaker needs: lines that name both IDs, then the reply's ID
(learning names, addresses, zones and skews from the links it proves), then Message-ID or envelope together with
the hosts, recipients and order. Nothing is linked by time alone, and what has two equal candidates is not chosen.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise
from operator import attrgetter, itemgetter

from mailtrace.assemble.evidence import (
    CLOSE,
    CROWD,
    DAYS,
    LIKELY,
    PROVEN,
    QUEUE_REPLIES,
    began,
    descends,
    kept_here,
    lost_lines,
    nearest,
    open_tries,
    same_message_id,
    same_peer,
    transaction,
)
from mailtrace.assemble.matcher import Matcher
from mailtrace.assemble.names import Names
from mailtrace.assemble.skew import SKEWED, apart, handoff_difference, handoffs, solve
from mailtrace.assemble.stays import Stay, Try
from mailtrace.clocks import Clocks, nearest_offset
from mailtrace.ids import LONG_LIVED
from mailtrace.model import LinkKind, Peer, Stored

SAME = 3.0  # seconds within which two lines of one host are about the same moment
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
            crowd.sort(key=began)

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
        found = nearest(self.by_id.get(queue_id, []), time, began)
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
        for other in nearest(self.by_id[reply.id], attempt.time, began):
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
                parents.sort(key=began)
        turns = []
        for parent in nearest(self.answered[reply.id], stay.last, began):
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
                for s in nearest(self.by_id.get(accepted.parent, []), stay.first, began)
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
