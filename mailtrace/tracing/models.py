"""A mail as the back end will see it."""

from __future__ import annotations

from dataclasses import dataclass

from mailtrace.model import ClockNote, Mail
from mailtrace.otlp import identity
from mailtrace.otlp.record import Span
from mailtrace.otlp.spans import spans_of


@dataclass(frozen=True, slots=True)
class EmailTrace:
    """All mails that share a Message-ID: one trace."""

    message_id: str
    mails: tuple[Mail, ...]
    clocks: tuple[ClockNote, ...] = ()

    @property
    def trace_id(self) -> bytes:
        """Its ID, 16 bytes."""
        return identity.trace_id(self.message_id)

    def spans(self) -> tuple[Span, ...]:
        """Its spans, a root for each mail."""
        return tuple(spans_of(self.mails, self.clocks))
