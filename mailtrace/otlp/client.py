"""Requests to an OTLP back end, and what became of each.

The caller waits and sends again as the verdict says; nothing is retried here. Verdicts follow OTLP's specification
("Failures"), with two differences: certificates that don't fit, which gRPC reports as a back end that is away, are said
at once, and a back end whose resources are exhausted is sent less before it is left in peace.
"""

from __future__ import annotations

from typing import Protocol

from mailtrace.otlp.endpoint import Endpoint
from mailtrace.otlp.outcome import Outcome, Verdict
from mailtrace.report import visible

MOST = 400
"""Characters of a back end's words that are passed on."""
_FILES = "see ca_file, cert_file and key_file"


class Wire(Protocol):
    """One way to speak OTLP."""

    def send(self, body: bytes) -> Outcome:
        """Send one request and wait for the answer. Never raises, but for signals."""

    def close(self) -> None:
        """Let go of the connection."""


class Client:
    """Sends requests; one connection, opened with the first. Safe to use from several threads."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Nothing is opened yet."""
        self.endpoint = endpoint
        self._wire: Wire | None = None

    def send(self, body: bytes) -> Outcome:
        """Send one request and wait for the answer, `endpoint.timeout` seconds at most. Never raises."""
        try:
            if self._wire is None:
                self._wire = _wire(self.endpoint)
            outcome = self._wire.send(body)
        except ImportError as error:
            return Outcome(
                Verdict.DENIED, f"{error.name} is not installed; pip install -e '.[tracing]' in the checkout"
            )
        except OSError as error:
            outcome = Outcome(
                Verdict.DENIED, f"{error.filename or 'a certificate'}: {error.strerror or error}; {_FILES}"
            )
        except ValueError as error:
            outcome = Outcome(Verdict.DENIED, f"{error}; {_FILES}")
        words = visible(" ".join(outcome.message.split()))[:MOST]
        told = words if outcome.verdict is Verdict.SENT else f"{self.endpoint.url}: {words}"
        return outcome._replace(message=told if words else "")

    def close(self) -> None:
        """Let go of the connection; the next request opens another."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()


def _wire(endpoint: Endpoint) -> Wire:
    if endpoint.http:
        from mailtrace.otlp.http import Http

        return Http(endpoint)
    from mailtrace.otlp.rpc import Rpc

    return Rpc(endpoint)
