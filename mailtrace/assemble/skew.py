"""How far the clocks of hosts are apart, by the two ends of the hand-offs between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from statistics import median

from mailtrace.assemble.stays import Stay, Try
from mailtrace.model import LinkKind

SKEWED = 2.0  # seconds of a pair's median difference that mean a wrong clock and not a rounded stamp


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
