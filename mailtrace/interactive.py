"""`mailtrace run`: choose one of the mails found, then follow it hop by hop.

Knows no terminal: it is handed how to say and how to ask.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timezone, tzinfo
from typing import TYPE_CHECKING

from mailtrace.model import LinkKind
from mailtrace.problem import did_you_mean
from mailtrace.report import visible
from mailtrace.wording import no_mail

if TYPE_CHECKING:
    from mailtrace.model import Delivery, Fleet, Hop, Link, Mail, Peer, Recipient
    from mailtrace.report import Report

SHOWN_RECIPIENTS = 3
LEFT = {LinkKind.RELAYED: "relayed", LinkKind.REINJECTED: "through the filter", LinkKind.FORWARDED: "forwarded"}


class Stopped(Exception):  # noqa: N818 - a wish of the user, no error
    """The user has seen enough."""


class Conversation:
    """One look at a report. `say` shows a line, `ask` shows a question and returns the answer.

    Without `ask` nothing is asked: every mail is followed to its end.
    """

    def __init__(
        self,
        report: Report,
        fleet: Fleet,
        say: Callable[[str], None],
        ask: Callable[[str], str] | None,
        zone: tzinfo | None = None,
        start_hosts: Collection[str] = (),
    ) -> None:
        """`zone` is the one that times are shown in, None for the machine's.

        A mail is followed from its first hop on one of the `start_hosts`, else from its first one of all.
        """
        self.report = report
        self.fleet = fleet
        self.say = say
        self.ask = ask
        self.zone = zone
        self.start_hosts = start_hosts

    def talk(self) -> None:
        """List the mails, and follow the one that is chosen."""
        mails = self.report.mails
        if not mails:
            self.say(no_mail(self.report))
            return
        self.say(f"{len(mails)} mail{'s' if len(mails) > 1 else ''} found:")
        self.say("")
        for number, mail in enumerate(mails, 1):
            self.say(self._line(number, mail))
        self.say("")
        try:
            if self.ask is None:
                for mail in mails:
                    self._follow(mail, self._start(mail))
            else:
                self._follow(*self._choose(mails, self.ask))
        except Stopped:
            self.say("Stopped.")

    # ------------------------------------------------------------------------------------ choosing

    def _start(self, mail: Mail) -> Hop | None:
        here = (hop for hop in mail.hops if hop.host in self.start_hosts)
        return next(here, mail.hops[0] if mail.hops else None)

    def _line(self, number: int, mail: Mail) -> str:
        first = self._start(mail)
        where = f"{first.host} {first.queue_id}" if first else "refused at the door"
        to = [row.recipient or row.original_recipient or "?" for row in mail.recipients]
        names = ", ".join(to[:SHOWN_RECIPIENTS]) + (
            f" +{len(to) - SHOWN_RECIPIENTS}" if len(to) > SHOWN_RECIPIENTS else ""
        )
        return visible(f"{number:>4}  {self._time(mail.first)}  {_address(mail.sender)} → {names or '?'}  {where}")

    def _choose(self, mails: Sequence[Mail], ask: Callable[[str], str]) -> tuple[Mail, Hop | None]:
        which = f"1-{len(mails)}, a queue ID" if len(mails) > 1 else "1, a queue ID"
        while True:
            answer = ask(f"Which one? [{which}, n to stop] ").strip()
            if answer.casefold() in ("n", "no", "q", "quit"):
                raise Stopped
            if not answer and len(mails) == 1:
                answer = "1"
            if answer.isdecimal() and 0 < int(answer) <= len(mails):
                mail = mails[int(answer) - 1]
                return mail, self._start(mail)
            for mail in mails:
                for hop in mail.hops:
                    if answer and hop.queue_id == answer:
                        return mail, hop
            self.say(f'There is no mail "{visible(answer)}" in the list.' if answer else "Please choose one.")

    # ----------------------------------------------------------------------------------- following

    def _follow(self, mail: Mail, start: Hop | None) -> None:
        """From hop to hop; where the way divides, the branches left are offered when one has ended."""
        if start is None:
            self._outcomes(mail.recipients, "")
            return
        hops = {hop.id: hop for hop in mail.hops}
        seen: set[str] = set()
        waiting: list[str] = []
        hop: Hop | None = start
        while hop is not None:
            seen.add(hop.id)
            self._show(mail, hop)
            links = [link for link in mail.links if link.from_ == hop.id and link.to in hops and link.to not in seen]
            waiting = [each for each in [*(link.to for link in links), *waiting] if each not in seen]
            waiting = list(dict.fromkeys(waiting))
            hop = self._next(hop, links, waiting, hops)
        self.say("")
        self.say("That is the whole way.")

    def _next(self, hop: Hop, links: list[Link], waiting: list[str], hops: dict[str, Hop]) -> Hop | None:
        if not waiting:
            return None
        nearest = hops[waiting[0]]
        for link in links:
            after = hops[link.to]
            sure = "" if link.certainty.value == "proven" else f" ({link.certainty.value})"
            self.say(visible(f"   next: {after.host} {after.queue_id}, {_kind(link)}{sure}"))
        if not links:
            others = ", ".join(f"{hops[each].host} {hops[each].queue_id}" for each in waiting)
            self.say(visible(f"   ends here; still to see: {others}"))
        if self.ask is None:
            return nearest
        return self._answer(hop, nearest, hops, waiting)

    def _answer(self, hop: Hop, nearest: Hop, hops: dict[str, Hop], waiting: list[str]) -> Hop:
        assert self.ask is not None  # noqa: S101 - the caller's promise
        question = visible(f"Go on to {nearest.host} {nearest.queue_id}? [Y/n/local/<next hop>] ")
        while True:
            answer = self.ask(question).strip()
            word = answer.casefold()
            if word in ("", "y", "yes"):
                return nearest
            if word in ("n", "no", "q", "quit"):
                raise Stopped
            if word == "local":
                local = [hops[each] for each in waiting if hops[each].host == hop.host]
                if local:
                    return local[0]
                self.say(visible(f"There is no further queue ID on {hop.host}."))
                continue
            found = self._named(answer, hops.values(), waiting)
            if found is not None:
                return found

    def _named(self, answer: str, hops: Iterable[Hop], waiting: list[str]) -> Hop | None:
        """The hop on the host that was typed, first one that is still to see; or the one with that queue ID."""
        host = self.fleet.find(answer) or answer
        here = [hop for hop in hops if answer == hop.queue_id or hop.host.casefold() == host.casefold()]
        here.sort(key=lambda hop: waiting.index(hop.id) if hop.id in waiting else len(waiting))
        if here:
            return here[0]
        known = {hop.host for hop in hops} | set(self.fleet.names)
        if self.fleet.find(answer) or host in known:
            self.say(visible(f"This mail was not seen on {host}."))
        else:
            self.say(visible(f'There is no host "{answer}". {did_you_mean(answer, known)}'.rstrip()))
        return None

    # ------------------------------------------------------------------------------------- showing

    def _show(self, mail: Mail, hop: Hop) -> None:
        self.say("")
        self.say(visible(f"{hop.host}  {hop.queue_id}  {self._time(hop.first)}"))
        came = _peer(hop.client) or ("submitted here" if hop.local else "")
        facts = [
            f"from {_address(hop.sender)}" if hop.sender is not None else "",
            f"by {came}" if came else "",
            f"user {hop.user}" if hop.user else "",
            f"{hop.size} bytes" if hop.size is not None else "",
            f"<{hop.message_id}>" if hop.message_id else "",
        ]
        if any(facts):
            self.say(visible("   " + ", ".join(fact for fact in facts if fact)))
        for delivery in hop.deliveries:
            self.say(visible(f"   {self._time(delivery.time)}  {_delivery(delivery)}"))
        if not hop.deliveries:
            self.say("   held" if hop.held else "   no delivery in the log")
        self._outcomes([row for row in mail.recipients if row.path and row.path[-1].hop == hop.id], "   ")

    def _outcomes(self, rows: Iterable[Recipient], indent: str) -> None:
        for row in rows:
            took = f" after {row.seconds:.1f} s" if row.seconds is not None else ""
            why = f": {row.reason}" if row.reason and row.outcome not in ("delivered", "relayed") else ""
            self.say(
                visible(f"{indent}{row.recipient or row.original_recipient} {row.outcome.replace('_', ' ')}{took}{why}")
            )

    def _time(self, time: float) -> str:
        try:
            return f"{datetime.fromtimestamp(time, timezone.utc).astimezone(self.zone):%Y-%m-%d %H:%M:%S}"
        except (OverflowError, ValueError, OSError):
            return "?"


def _address(sender: str | None) -> str:
    return "?" if sender is None else sender or "<>"


def _kind(link: Link) -> str:
    return LEFT.get(link.kind, link.kind.value)


def _peer(peer: Peer) -> str:
    if peer.name and peer.ip:
        return f"{peer.name}[{peer.ip}]"
    return peer.name or peer.ip


def _delivery(delivery: Delivery) -> str:
    to = f" to {_peer(delivery.relay)}" if _peer(delivery.relay) else ""
    return f"{delivery.recipient} {delivery.status}{to}: {delivery.reply}".rstrip(": ")
