"""The `otlp` export: each mail as an OpenTelemetry trace, sent to a back end."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any, ClassVar

from mailtrace.errors import ExportError
from mailtrace.otlp.client import Client
from mailtrace.otlp.encode import Request, encode, split
from mailtrace.otlp.endpoint import BackEnd, Endpoint
from mailtrace.otlp.outcome import Outcome, Verdict
from mailtrace.otlp.spans import spans_of
from mailtrace.report import Report

PATIENCE = 10.0
"""Seconds in all that a back end which is away is waited for."""
MANY = 20
"""Refused requests after which a back end that took nothing is asked no more."""


@dataclass(frozen=True, slots=True)
class Otlp(BackEnd):
    """Traces to a back end; what is empty comes from the environment (otlp/endpoint.py)."""

    binary: ClassVar[bool] = False

    def export(self, report: Report, stream: Any) -> str:
        """Send the report's mails; nothing is written to the stream. Raises `ExportError` for what was not taken."""
        try:
            endpoint = Endpoint.of(self.options())
        except ValueError as error:
            raise ExportError(f"cannot send traces: {error}") from None
        sending = _Sending(Client(endpoint))
        try:
            for request in encode(spans_of(report.mails, report.clocks, addresses=self.addresses)):
                sending.send(request)
        finally:
            sending.client.close()
        if sending.lost:
            raise ExportError(f"{sending.lost} of {sending.spans} spans were not taken: {sending.why}")
        return f"{sending.spans} spans sent to {endpoint.url}" if sending.spans else "no spans to send"


class _Sending:
    """Sends requests one after the other, with a little patience."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.left = PATIENCE
        self.spans = self.lost = 0
        self.taken = self.refused = 0  # requests
        self.why = ""

    def send(self, request: Request) -> None:
        """Send one request whole or in parts; count what is refused. Raises `ExportError` where nothing is taken."""
        self.spans += request.spans
        waiting = deque([request])
        while waiting:
            part = waiting.popleft()
            outcome = self._patiently(part)
            self.taken += outcome.verdict is Verdict.SENT
            self.refused += outcome.verdict is Verdict.BAD
            if self.refused > MANY and not self.taken:
                raise ExportError(f"cannot send traces, nothing is taken: {outcome.message}")
            if outcome.verdict is Verdict.SENT:
                self._lose(outcome.rejected, outcome.message)
            elif part.spans > 1:
                waiting.extendleft(reversed(split(part.body)))
            else:
                self._lose(part.spans, outcome.message)

    def _patiently(self, request: Request) -> Outcome:
        pause = 0.5
        while True:
            outcome = self.client.send(request.body)
            if outcome.verdict is Verdict.DENIED:
                raise ExportError(f"cannot send traces: {outcome.message}")
            if outcome.verdict is not Verdict.LATER:
                return outcome
            wait = max(pause, outcome.after)
            if wait > self.left:
                raise ExportError(f"cannot send traces: {outcome.message}; tried for {PATIENCE - self.left:.0f} s")
            time.sleep(wait)
            self.left -= wait
            pause *= 2

    def _lose(self, spans: int, why: str) -> None:
        if spans:
            self.lost += spans
            self.why = self.why or why
