"""What a server refused without taking it: whose attempt it was, or a mail of its own.

A refusal of one own host by another is the far end of a delivery attempt that the other host logs itself. A
temporary one that the same client later repeats with success (greylisting) is an earlier attempt of that mail. What
is left was turned away at the door: a mail with an empty path.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from mailtrace.assemble.evidence import CLOSE, bare, open_tries
from mailtrace.assemble.names import Names, loopback
from mailtrace.assemble.stays import Loose, Stay, Try
from mailtrace.clocks import Clocks
from mailtrace.handoff import reply_id
from mailtrace.hosts import address
from mailtrace.model import Certainty, Check, LogEntry, Peer, Proxied

TRANSACTION = 30.0
"""Seconds between the refusal of one recipient and the acceptance of another in one SMTP transaction, at most."""
PAUSE = 2.0
"""Seconds between one recipient of a transaction and the next; a client that stays away longer has come anew."""
RETRY = 5 * 86400.0
"""Seconds after which a client does not come back for a message that was refused for now."""


class Refusal(NamedTuple):
    """One refused recipient; `times` where the same line came again in the session."""

    host: str
    time: float
    check: Check
    entry: LogEntry
    times: int = 1
    until: float = 0.0  # the last refusal that followed in its session without a pause, 0 for itself


class Door(NamedTuple):
    """A mail that was turned away: its refusals, all of one transaction."""

    refusals: tuple[Refusal, ...]


class Turned:
    """What became of all refusals."""

    def __init__(self) -> None:
        self.doors: list[Door] = []
        self.of: dict[int, list[tuple[Refusal, Certainty]]] = defaultdict(list)  # id(stay) → refused in its transaction
        self.retried: dict[tuple[int, str], list[Refusal]] = defaultdict(list)  # (id(stay), recipient) → greylisted
        self.far_ends: list[
            tuple[Refusal, Stay | None]
        ] = []  # with the stay whose attempt it was, where its line is there

    def concern(self, stay: Stay) -> bool:
        """Whether anything was refused of a stay's mail."""
        if id(stay) in self.of:
            return True
        return bool(self.retried) and any((id(stay), to) in self.retried for to in stay.incoming())


REFUSALS = ("reject", "defer")


def join_sessions(loose: Loose, stays: list[Stay], clocks: Clocks) -> None:
    """Give stays what was logged of them before they had a queue ID, or by the process in front of them.

    Postfix logs what it decides at the first RCPT (hold, filter, redirect …) under NOQUEUE, and a before-queue
    filter's outer process names the inner queue ID in its reply.
    """
    decided = [(check, entry) for check, entry in loose.checks if check.action not in REFUSALS]
    entries = _entries(stays, {address(check.client.ip) for check, _entry in decided}) if decided else {}
    for check, entry in decided:
        refusal = Refusal(entry.host, clocks.utc(entry.host, entry.zone, entry.time), check, entry)
        owner = _transaction(refusal, stays_by_session(entries, refusal))
        if owner is not None:
            owner.checks = [*owner.checks, (check, entry)]
    by_id: dict[tuple[str, str], list[Stay]] = defaultdict(list)
    for stay in stays if loose.proxied else ():
        by_id[(stay.host, stay.queue_id)].append(stay)
    for proxied, entry in loose.proxied:
        reply = reply_id(proxied.reply) if proxied.accepted else None
        time = clocks.utc(entry.host, entry.zone, entry.time)
        near = [s for s in by_id.get((entry.host, reply.id), ()) if abs(s.first - time) <= TRANSACTION] if reply else []
        if near and proxied.recipient:
            inner = min(near, key=lambda s: abs(s.first - time))
            inner.told = [*inner.told, proxied.recipient]


def sort_out(loose: Loose, stays: list[Stay], names: Names, clocks: Clocks) -> Turned:
    """Put every refusal where it belongs."""
    turned = Turned()
    doors: list[Refusal] = []
    checks = [(check, entry) for check, entry in loose.checks if check.action in REFUSALS]
    checks += [(_as_check(proxied), entry) for proxied, entry in loose.proxied if not proxied.accepted]
    under_ids = [stay for stay in stays if stay.checks and stay.parent is None]
    if not (checks or under_ids):
        return turned
    refusals = _gather(checks, clocks)
    told = [refusal.check for refusal in refusals] + [check for stay in under_ids for check, _entry in stay.checks]
    recipients = {check.recipient.lower() for check in told if check.recipient}
    attempts, handed = _attempts(stays, recipients), _handed_on(stays, recipients)
    between = _passing_on(stays) if handed else frozenset()
    entries = _entries(stays, {address(refusal.check.client.ip) for refusal in refusals})
    for refusal in refusals:
        check = refusal.check
        if check.recipient is None:
            continue
        far, whose = _far_end(refusal, attempts, names)
        if far or _came_through(refusal, handed, between):
            turned.far_ends.append((refusal, whose))
            continue
        owner = _transaction(refusal, stays_by_session(entries, refusal))
        if owner is not None and check.action != "defer":
            turned.of[id(owner)].append((refusal, Certainty.LIKELY))
            continue
        later = _later(refusal, entries) if check.action == "defer" else None
        if later is not None:
            turned.retried[(id(later), check.recipient.lower())].append(refusal)
        elif owner is not None:
            turned.of[id(owner)].append((refusal, Certainty.LIKELY))
        else:
            doors.append(refusal)
    for stay in under_ids:
        _own_checks(stay, turned, attempts, names, clocks)
    turned.doors = _doors(doors)
    return turned


def _as_check(proxied: Proxied) -> Check:
    """A before-queue filter's refusal."""
    action = "defer" if proxied.reply.startswith("4") else "reject"
    return Check(
        action,
        "END-OF-MESSAGE",
        sender=proxied.sender,
        recipient=proxied.recipient or None,
        helo=proxied.helo,
        code=proxied.reply[:3],
        text=proxied.reply,
    )


def _gather(loose: list[tuple[Check, LogEntry]], clocks: Clocks) -> list[Refusal]:
    """Refusals in order, the same one in the same session counted."""
    found: dict[tuple[object, ...], Refusal] = {}
    for check, entry in loose:
        time = clocks.utc(entry.host, entry.zone, entry.time)
        same = check if check.repeats == 1 else check._replace(repeats=1)
        key = (entry.host, entry.pid, entry.service, int(time), same)
        before = found.get(key)
        if before is not None:
            found[key] = before._replace(times=before.times + check.repeats, time=min(time, before.time))
        else:
            found[key] = Refusal(entry.host, time, check, entry, check.repeats)
    return _in_a_row(sorted(found.values(), key=lambda r: (r.time, r.host, r.entry.seq)))


def _in_a_row(refusals: list[Refusal]) -> list[Refusal]:
    """Each refusal with the end of the row of refusals that it stands in."""
    out: list[Refusal] = []
    after: dict[tuple[object, ...], Refusal] = {}
    for refusal in reversed(refusals):
        key = (refusal.host, refusal.entry.pid, refusal.check.client.ip, refusal.check.sender)
        following = after.get(key)
        if following is not None and following.time - refusal.time <= PAUSE:
            refusal = refusal._replace(until=following.until)  # noqa: PLW2901 - the same refusal, completed
        else:
            refusal = refusal._replace(until=refusal.time)  # noqa: PLW2901 - the same
        after[key] = refusal
        out.append(refusal)
    return out[::-1]


Attempts = dict[tuple[str, str], list[tuple[float, Stay]]]


def _attempts(stays: list[Stay], recipients: set[str]) -> Attempts:
    """The unsuccessful attempts for these recipients by (host, recipient): when, and of which stay."""
    found: Attempts = defaultdict(list)
    for stay in stays:
        for attempt in stay.tries:
            if attempt.attempt.status != "sent":
                recipient = attempt.attempt.recipient.lower()
                if recipient in recipients:
                    found[(stay.host, recipient)].append((attempt.time, stay))
    return found


def _entries(stays: list[Stay], clients: set[str]) -> dict[tuple[str, str], list[Stay]]:
    """Stays by (host, client address), of these clients."""
    found: dict[tuple[str, str], list[Stay]] = defaultdict(list)
    for stay in stays:
        if stay.client.ip:
            client = address(stay.client.ip)
            if client in clients:
                found[(stay.host, client)].append(stay)
    for group in found.values():
        group.sort(key=lambda s: s.first)
    return found


def stays_by_session(entries: dict[tuple[str, str], list[Stay]], refusal: Refusal) -> list[Stay]:
    """Stays that the same process took from the same client."""
    group = entries.get((refusal.host, address(refusal.check.client.ip)), ())
    return [s for s in group if s.head.pid == refusal.entry.pid]


def _far_end(refusal: Refusal, attempts: Attempts, names: Names) -> tuple[bool, Stay | None]:
    """Whether the client is a host whose own log tells of this attempt, and whose attempt it was."""
    client = refusal.check.client
    recipient = (refusal.check.recipient or "").lower()
    hosts = frozenset({refusal.host}) if loopback(client) else names.of(client)
    for host in hosts:
        if host not in names.hosts:
            continue
        near = [(abs(time - refusal.time), stay.id, stay) for time, stay in attempts.get((host, recipient), ())]
        away, _id, whose = min(near, key=lambda item: item[:2], default=(CLOSE * 3, "", None))
        if away <= CLOSE * 2:
            return True, whose
        if not loopback(client):
            return True, None
    return False, None


Clients = frozenset[str]


def _passing_on(stays: list[Stay]) -> Clients:
    """Clients that brought mails which our hosts had handed to somebody else: hosts between ours."""
    ids = {stay.known_id for stay in stays if stay.known_id and open_tries(stay)}
    return frozenset(
        address(stay.client.ip)
        for stay in stays
        if stay.parent is None and stay.known_id in ids and stay.client.ip
        and not open_tries(stay)
    )  # fmt: skip


def _handed_on(stays: list[Stay], recipients: set[str]) -> dict[str, list[tuple[Stay, Try]]]:
    """What was handed for these recipients to hosts whose log does not show it, by recipient."""
    found: dict[str, list[tuple[Stay, Try]]] = defaultdict(list)
    for stay in stays:
        for attempt in open_tries(stay):
            recipient = attempt.attempt.recipient.lower()
            if recipient in recipients:
                found[recipient].append((stay, attempt))
    return found


def _came_through(refusal: Refusal, handed: dict[str, list[tuple[Stay, Try]]], entries: Clients) -> bool:
    """Whether the client has this mail from one of our hosts: its own log, were it read, would tell the attempt.

    It is the address that the mail was handed to, or one that no mail enters from.
    """
    check = refusal.check
    if check.sender is None or not check.recipient:
        return False
    sender, ip = bare(check.sender), address(check.client.ip)
    return any(
        -RETRY <= attempt.time - refusal.time <= CLOSE
        and stay.sender is not None
        and bare(stay.sender) == sender
        and (address(attempt.attempt.relay.ip) == ip or ip in entries)
        for stay, attempt in handed.get(check.recipient.lower(), ())
    )


def _transaction(refusal: Refusal, stays: list[Stay]) -> Stay | None:
    """The stay of the same SMTP transaction: same process, client and sender, the next one accepted."""
    sender = refusal.check.sender
    after: list[tuple[float, int, Stay]] = []
    for stay in stays:
        head = stay.head
        late = stay.first - refusal.time
        if stay.first - max(refusal.until, refusal.time) > PAUSE:
            continue
        if not 0 <= late <= TRANSACTION or (late == 0 and head.seq < refusal.entry.seq) or stay.parent is not None:
            continue
        if sender is not None and stay.sender is not None and bare(sender) != bare(stay.sender):
            continue
        after.append((stay.first, head.seq, stay))
    return min(after, key=lambda item: item[:2])[2] if after else None


def _later(refusal: Refusal, entries: dict[tuple[str, str], list[Stay]]) -> Stay | None:
    """The stay in which the same client brought the same mail again."""
    check = refusal.check
    for stay in entries.get((refusal.host, address(check.client.ip)), ()):
        if not 0 <= stay.first - refusal.time <= RETRY or not stay.whole:
            continue
        if check.sender is not None and stay.sender is not None and check.sender.lower() != stay.sender.lower():
            continue
        if check.recipient is not None and check.recipient.lower() in stay.incoming():
            return stay
    return None


def _own_checks(stay: Stay, turned: Turned, attempts: Attempts, names: Names, clocks: Clocks) -> None:
    """Refusals that a stay logged under its own queue ID."""
    if stay.parent is not None:
        return
    for check, entry in stay.checks:
        if check.action not in REFUSALS or check.recipient is None:
            continue
        client = check.client if check.client != Peer() else stay.client
        time = clocks.utc(entry.host, entry.zone, entry.time)
        refusal = Refusal(stay.host, time, check._replace(client=client), entry)
        far, whose = _far_end(refusal, attempts, names)
        if far:
            turned.far_ends.append((refusal, whose))
        else:
            turned.of[id(stay)].append((refusal, Certainty.PROVEN))


def _doors(refusals: list[Refusal]) -> list[Door]:
    """One door for each transaction: same process, client and sender within seconds."""
    groups: dict[tuple[object, ...], list[Refusal]] = {}
    out: list[list[Refusal]] = []
    for refusal in refusals:
        check = refusal.check
        key = (refusal.host, refusal.entry.pid, refusal.entry.service, check.client.ip, check.client.port, check.sender)
        group = groups.get(key)
        known = group is not None and any(check.recipient == r.check.recipient for r in group)
        if group is None or known or refusal.time - group[-1].time > CLOSE:
            group = groups[key] = []
            out.append(group)
        group.append(refusal)
    return [Door(tuple(group)) for group in out]
