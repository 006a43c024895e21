"""Handing requests over to the back end: from the spool, oldest first, until it has them.

What a back end cannot take now is sent again, the same bytes, with longer and longer pauses and without an end; what is
too large is halved; what it refuses for good is halved until the bad span is found, and that is set aside. Where
nothing at all is taken it is not the spans that are bad, and none is set aside: an address that is not a back end's,
or a proxy that answers in its place, costs time and no span. The spool has a cap: when it is reached the oldest go,
counted and said.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from mailtrace.otlp.encode import split
from mailtrace.otlp.outcome import Outcome, Verdict
from mailtrace.tracing.state import Request, State

if TYPE_CHECKING:
    from mailtrace.otlp.client import Client

MOST_BYTES = 1 << 30
"""Bytes of requests that may wait; more, and the oldest go."""
MOST_AGE = 7 * 86400.0
"""Seconds that a request may wait."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
MANY = 8
"""Refusals with nothing taken in between after which each further attempt waits."""
_AT_ONCE = 8

Say = Callable[[str], None]
_TROUBLES = {
    Verdict.LATER: "traces wait",
    Verdict.DENIED: "the back end refuses us",
    Verdict.BAD: "the back end refuses all that it is sent",
}


class Handover:
    """Empties a state's spool into a client."""

    def __init__(
        self,
        state: State,
        client: Client,
        say: Say,
        waiting: Callable[[], AbstractContextManager[None, bool | None]] = nullcontext,
    ) -> None:
        """`say` is told what one should know, once for each trouble; `waiting` lets a signal end a wait."""
        self._state = state
        self._client = client
        self._say = say
        self._while_waiting = waiting
        self._pause = 0.0
        self._not_before = 0.0
        self._refusals = 0  # since something was taken
        self._proved = False  # whether something was taken since a span was refused
        self.trouble = ""
        self.waiting, self.bytes, self.oldest = state.spooled()

    @property
    def wait(self) -> float | None:
        """Seconds until the next attempt, None where nothing waits."""
        return max(0.0, self._not_before - time.monotonic()) if self.waiting else None

    def add(self, requests: list[tuple[int, bytes]], now: float) -> None:
        """Put requests into the spool: their spans, their bytes. Within the caller's transaction."""
        self._state.spool((now, spans, body) for spans, body in requests)

    def turn_to(self, client: Client) -> None:
        """Send to another back end from now on."""
        self._client.close()
        self._client = client
        self._pause = self._not_before = 0.0

    def close(self) -> None:
        """Let go of the back end."""
        self._client.close()

    def refresh(self) -> None:
        """See anew what waits: after a transaction, whether it held or not."""
        self.waiting, self.bytes, self.oldest = self._state.spooled()

    def send(self, stopped: Callable[[], bool] = lambda: False, *, at_once: bool = False) -> None:
        """Send what waits, until it is empty, the back end wants a pause, or `stopped`; `at_once` after a pause too."""
        self._trim()
        while self.waiting and not stopped() and (at_once or time.monotonic() >= self._not_before):
            requests = self._state.next_requests(_AT_ONCE)
            if not requests:
                self.refresh()
                return
            for request in requests:
                if stopped() or not self._send(request):
                    return

    def _send(self, request: Request) -> bool:
        """Send one request; whether to go on with the next."""
        outcomes: list[Outcome] = []
        with self._while_waiting():
            outcomes.append(self._client.send(request.body))
        if not outcomes:  # a signal came; the request stays where it is
            return False
        outcome = outcomes[0]
        verdict = outcome.verdict
        if verdict is Verdict.SENT:
            self._sent(request, outcome)
        elif verdict in (Verdict.LATER, Verdict.DENIED):
            self._later(outcome)
            return False
        else:
            self._refused(request, outcome)
            if verdict is Verdict.BAD and self._refusals > MANY:
                self._later(outcome)
                return False
        return True

    def _sent(self, request: Request, outcome: Outcome) -> None:
        with self._state.transaction():
            self._state.drop(request.id)
            self._state.count("sent", request.spans - outcome.rejected)
            self._state.count("rejected", outcome.rejected)
        self._done(request)
        self._refusals, self._proved = 0, True
        if outcome.rejected:
            self._say(f"the back end dropped {outcome.rejected} of {request.spans} spans: {outcome.message}")
        if self.trouble:
            self.trouble = ""
            self._say("the back end takes traces again")
        self._pause = 0.0

    def _later(self, outcome: Outcome) -> None:
        self._pause = min(max(FIRST_PAUSE, self._pause * 2), LONGEST_PAUSE)
        self._not_before = time.monotonic() + max(self._pause, outcome.after)
        if outcome.message != self.trouble:
            self.trouble = outcome.message
            self._say(f"{_TROUBLES[outcome.verdict]}: {outcome.message}")

    def _refused(self, request: Request, outcome: Outcome) -> None:
        """Two requests for one; a single span that is refused while others are taken is set aside."""
        halves = split(request.body) if request.spans > 1 else []
        large = outcome.verdict is Verdict.SPLIT
        aside = len(halves) < 2 and (self._proved or large)
        if not large:
            self._refusals, self._proved = self._refusals + 1, False
        now = time.time()
        with self._state.transaction():
            self._state.drop(request.id)
            if len(halves) > 1:
                self._state.count("halved")
                self._state.spool((request.made, half.spans, half.body) for half in halves)
            elif aside:
                self._state.set_aside(now, request.spans, outcome.message, request.body)
                self._state.count("aside", request.spans)
            else:  # behind all others, which tell whether it is this one
                self._state.spool([(request.made, request.spans, request.body)])
        if aside:
            self._done(request)
            self._say(f"a span was refused and set aside: {outcome.message}")
        else:
            self.refresh()

    def _done(self, request: Request) -> None:
        self.waiting -= request.spans
        self.bytes -= len(request.body)

    def _trim(self) -> None:
        """Let the oldest go where the spool is full or they are too old."""
        dropped = 0
        old = time.time() - MOST_AGE
        while self.bytes > MOST_BYTES or (self.oldest is not None and self.oldest < old and self.waiting):
            for request in self._state.next_requests(1):
                with self._state.transaction():
                    self._state.drop(request.id)
                    self._state.count("dropped", request.spans)
                dropped += request.spans
            self.refresh()
        if dropped:
            self._say(f"{dropped} spans waited too long or were too many: the oldest are dropped")
