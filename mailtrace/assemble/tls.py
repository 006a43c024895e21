"""Which hand-offs went over TLS, by what a log tells of the connections.

Exim tells it in the message's own line (`X=`, `P=esmtps`), Postfix from 3.11 on in a delivery's (`tls=`). Before,
Postfix says it of a connection only: `TLS connection established` (where `smtpd_tls_loglevel` or `smtp_tls_loglevel` is
1 or more), and in the counters of `disconnect` (`starttls=1`, Postfix 3.0). These lines name process and peer. A
process has one connection at a time: what smtpd took between `connect` and `disconnect` came over it, and a delivery of
smtp took as long as its `delays` say, so that its connection was made within that time.

`plain` is what a log tells to have gone without: counters without `starttls`, Exim's `P=esmtp`, or no line for this
connection in a log that has them for others. Where a log tells neither, nothing is said.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from operator import itemgetter

from mailtrace.assemble.names import loopback
from mailtrace.assemble.stays import Stay, Try
from mailtrace.model import Accepted, Attempt, LogEntry, Session

EXACT = 0.1
"""Seconds by which stamps with a fraction and the two digits of `delays` may differ; whole seconds differ by one."""

_CIPHER = re.compile(r"(\S+) with cipher (\S+)(?: \([0-9/]+ bits\))?")
_STARTED = re.compile(r"\bstarttls=([0-9]+)")
_SECURE = re.compile(r"(?:utf8)?e?smtps", re.IGNORECASE)
_OPEN = re.compile(r"(?:utf8)?e?smtpa?", re.IGNORECASE)
_WRAPPED = re.compile(r"smtps|submissions|465")
"""A service whose every connection begins with TLS, by its customary names."""

Process = tuple[str, int]
"""A host and a process of it."""
Line = tuple[float, Session]
"""A line of a connection, and its stamp."""


def join_tls(sessions: Iterable[tuple[Session, LogEntry]], stays: Iterable[Stay]) -> None:
    """Tell each stay and attempt whether it went over TLS."""
    inward: dict[Process, list[Line]] = defaultdict(list)
    outward: dict[Process, list[Line]] = defaultdict(list)
    telling: set[tuple[str, str]] = set()  # hosts and their programs that log what went over TLS
    for event, entry in sessions:
        if event.what == "tls":
            telling.add((entry.host, _daemon(entry.service, event.direction)))
        lines = inward if event.direction == "in" else outward
        lines[entry.host, entry.pid].append((entry.time, event))
    stays = list(stays)
    telling |= {(stay.host, "exim") for stay in stays if any(_exim(one) and one.attempt.tls for one in stay.tries)}
    for stay in stays:
        accepted, opened = stay.accepted, stay.opened
        if accepted is not None and opened is not None and not (accepted.tls or accepted.local):
            if accepted.protocol:
                tls, stay.plain = _by_protocol(accepted.protocol)
            else:
                logs = (stay.host, _daemon(opened.service, "in")) in telling
                tls, stay.plain = _taken(accepted, opened, inward.get((stay.host, opened.pid), []), logs=logs)
            stay.accepted = accepted._replace(tls=tls)
        for one in stay.tries:
            _sent(one, stay, outward.get((stay.host, one.pid), []), telling)


def _daemon(service: str, direction: str) -> str:
    """The program, smtpd or smtp, also where RFC 5424's APP-NAME ends before it."""
    return service.rpartition("/")[2] or ("smtpd" if direction == "in" else "smtp")


def _exim(one: Try) -> bool:
    return bool(one.attempt.flag)


def _by_protocol(protocol: str) -> tuple[str, bool]:
    """Exim's `P=`: a letter `s` behind smtp is TLS, also where `X=` is not logged."""
    return ("TLS", False) if _SECURE.match(protocol) else ("", _OPEN.fullmatch(protocol) is not None)


def _taken(accepted: Accepted, opened: LogEntry, lines: Sequence[Line], *, logs: bool) -> tuple[str, bool]:
    """How a message came: its TLS, "" where nothing proves any, and whether it came without.

    `lines` are those of its smtpd, `logs` tells whether this one logs TLS. Lines of the same stamp have no order: a
    loghost shuffles them. So of several connections that it may have come over, all must have been the same.
    """
    ip, at = accepted.client.ip, opened.time
    secured = [line for line in lines if line[1].what == "tls" and line[1].peer.ip == ip and line[0] <= at]
    ends = _nearest([(time - at, event) for time, event in lines if event.what == "disconnect" and time >= at], ip)
    started = [int(found[1]) if (found := _STARTED.search(event.text)) else 0 for _, event in ends]
    if any("commands=" not in event.text for _, event in ends):
        started = []
    if started and all(started):
        return _cipher(max(secured, key=itemgetter(0))[1].text) if secured else "STARTTLS", False
    if any(started):
        return "", False
    if started and not (accepted.user or _WRAPPED.search(opened.service)):
        return "", True
    begins = _nearest([(at - time, event) for time, event in lines if event.what == "connect" and time <= at], ip)
    since = at - max((age for age, _event in begins), default=0.0)
    if not begins or any(event.what == "disconnect" and since < time < at for time, event in lines):
        return "", False
    shown = [line for line in secured if line[0] >= since]
    if len(shown) >= len(begins):
        return _cipher(shown[-1][1].text), False
    return "", logs and not shown


def _nearest(lines: list[Line], ip: str) -> list[Line]:
    """The client's lines that may be those of the connection: all of no distance, and the nearest.

    Where the nearest is another client's, the right one is lost, or is among those of no distance.
    """
    here = [line for line in lines if not line[0] and line[1].peer.ip == ip]
    nearest = min((line for line in lines if line[0]), key=itemgetter(0), default=None)
    return [*here, *([nearest] if nearest is not None and nearest[1].peer.ip == ip else [])]


def _sent(one: Try, stay: Stay, lines: Sequence[Line], telling: set[tuple[str, str]]) -> None:
    """Whether an attempt's connection had TLS; `lines` are those of its smtp."""
    attempt = one.attempt
    if attempt.tls or attempt.local or not attempt.relay.ip or attempt.status != "sent" or loopback(attempt.relay):
        return
    if _exim(one):
        one.plain = (stay.host, "exim") in telling
        return
    earliest = one.face - _connected(attempt) - (EXACT if one.face % 1 else 1.0 + EXACT)
    near = [
        (time, event)
        for time, event in lines
        if earliest <= time <= one.face
        and event.peer.ip == attempt.relay.ip
        and event.peer.port in (None, attempt.relay.port)
    ]
    if not near:
        one.plain = (stay.host, _daemon(attempt.transport, "out")) in telling
        return
    time, event = max(near, key=itemgetter(0))
    # Where a connection with TLS was lost, smtp tries again without.
    if not any(pid == one.pid and time <= when <= one.face for when, pid in stay.broken):
        one.attempt = attempt._replace(tls=_cipher(event.text))


def _connected(attempt: Attempt) -> float:
    """Seconds from the first try to connect to the end of an attempt; 5 % more, for they have two digits."""
    if attempt.delays is None:
        return attempt.delay or 0.0
    return 1.05 * (attempt.delays[2] + attempt.delays[3])


def _cipher(text: str) -> str:
    """`TLSv1.3 with cipher NAME (256/256 bits)`, without the keys behind it."""
    found = _CIPHER.match(text)
    return found[0] if found else text[:100] or "TLS"
