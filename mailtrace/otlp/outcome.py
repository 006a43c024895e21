"""What may become of a request to an OTLP back end, whichever way it went there."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

SILENT = "nothing listens there; is the back end running?"
NAMELESS = "nobody knows its name"


class Verdict(Enum):
    """What the caller does with a request next."""

    SENT = "sent"  # forget it: the back end has it
    LATER = "later"  # send the same bytes again, after `after` seconds at least
    SPLIT = "split"  # too large: send its halves; what cannot be halved is bad
    BAD = "bad"  # never send it again as it is: halve it to find the bad span, set that aside
    DENIED = "denied"  # nothing will be taken until someone mends credentials, certificates or the address


class Outcome(NamedTuple):
    """What became of one request.

    `after` are seconds that the back end asks for, 0 where it asks for none. `rejected` spans it has dropped for good
    (also with SENT). `message` says why, in words for the user.
    """

    verdict: Verdict
    message: str = ""
    after: float = 0.0
    rejected: int = 0


def accepted(answer: bytes) -> Outcome:
    """What an `ExportTraceServiceResponse` says: all is well, or some spans were dropped."""
    if not answer:
        return Outcome(Verdict.SENT)
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        partial = ExportTraceServiceResponse.FromString(answer).partial_success
    except DecodeError:
        return Outcome(Verdict.DENIED, "the answer is none of an OTLP back end")
    return Outcome(Verdict.SENT, partial.error_message, rejected=max(0, partial.rejected_spans))
