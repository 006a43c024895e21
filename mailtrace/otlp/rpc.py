"""OTLP over gRPC."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mailtrace.otlp.endpoint import Endpoint
from mailtrace.otlp.outcome import NAMELESS, SILENT, Outcome, Verdict, accepted

METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
SMALL = 64 * 1024
"""Bytes of a request that a back end without resources does not mind for its size."""

_OPTIONS = (
    ("grpc.enable_retries", 0),  # the caller decides
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5000),
    ("grpc.max_send_message_length", -1),
)

_RETRYABLE = frozenset({"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"})
_DENIED = {
    "UNAUTHENTICATED": "it wants other credentials (headers)",
    "PERMISSION_DENIED": "it does not let us (headers)",
    "UNIMPLEMENTED": "it takes no traces over gRPC there",
}
_TROUBLE = (
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is signed by nobody we trust; name the authority with ca_file"),
    ("Hostname Verification", "its certificate is for another name"),
    ("WRONG_VERSION_NUMBER", "it speaks no TLS there; write http:// instead of https://"),
    ("TSI_DATA_CORRUPTED", "it does not take our client certificate; name one it knows with cert_file and key_file"),
    ("CERTIFICATE_REQUIRED", "it wants a client certificate: cert_file and key_file"),
    ("Failed parsing HTTP/2", "it speaks no gRPC there; OTLP over HTTP wants a path: /v1/traces"),
    ("UNKNOWN_CA", "it does not know who signed our client certificate"),
)
"""What gRPC calls UNAVAILABLE though nothing will become available: words of the detail, and the cure."""


_AWAY = (("Connection refused", SILENT), ("address lookup failed", NAMELESS), ("DNS resolution failed", NAMELESS))
"""The same for what may become available."""
_CLOSED_PLAIN = "if it speaks TLS there, write https://"
_CLOSED_TLS = "if it wants a client certificate, name one with cert_file and key_file"


class Rpc:
    """A channel to one back end."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Raises OSError for a certificate's file that cannot be read."""
        quiet()
        import grpc

        self._timeout = endpoint.timeout
        self._plain = not endpoint.tls
        self._metadata = tuple((name, value.reveal()) for name, value in endpoint.headers.items())
        compression = grpc.Compression.Gzip if endpoint.gzip else grpc.Compression.NoCompression
        if endpoint.tls:
            self._channel = grpc.secure_channel(
                endpoint.target, credentials(endpoint), options=_OPTIONS, compression=compression
            )
        else:
            self._channel = grpc.insecure_channel(endpoint.target, options=_OPTIONS, compression=compression)
        self._call: Any = self._channel.unary_unary(METHOD)
        self._error: type[Exception] = grpc.RpcError

    def send(self, body: bytes) -> Outcome:
        """Send one request and wait for the answer."""
        try:
            answer = self._call(body, timeout=self._timeout, metadata=self._metadata)
        except self._error as error:
            return self._judged(error, len(body))
        except ValueError as error:  # the channel is closed
            return Outcome(Verdict.LATER, str(error))
        return accepted(answer)

    def close(self) -> None:
        """Let go of the connection."""
        self._channel.close()

    def _judged(self, error: Any, size: int) -> Outcome:
        code, text = error.code().name, error.details() or ""
        said = f"{code}: {text}"
        if code in _DENIED:
            return Outcome(Verdict.DENIED, f"{_DENIED[code]}: {said}")
        if code == "UNAVAILABLE":
            cure = next((cure for words, cure in _TROUBLE if words in text), "")
            if cure:
                return Outcome(Verdict.DENIED, f"{cure} ({said})")
        asked = retry_after(error)
        if code == "RESOURCE_EXHAUSTED" and asked is None:
            too_large = size > SMALL or "larger than max" in text
            return Outcome(Verdict.SPLIT if too_large else Verdict.LATER, said)
        if code in _RETRYABLE or code == "RESOURCE_EXHAUSTED":
            said = next((told for words, told in _AWAY if words in text), said)
            if "Socket closed" in text:
                said += f" ({_CLOSED_PLAIN if self._plain else _CLOSED_TLS})"
            return Outcome(Verdict.LATER, said, asked or 0.0)
        return Outcome(Verdict.BAD, said)


def retry_after(error: Any) -> float | None:
    """Seconds that a `google.rpc.RetryInfo` in the trailing metadata asks for; None where there is none."""
    found = [value for name, value in error.trailing_metadata() or () if name == "grpc-status-details-bin"]
    if not found:
        return None
    from google.protobuf.message import DecodeError
    from google.rpc.error_details_pb2 import RetryInfo
    from google.rpc.status_pb2 import Status

    try:
        for detail in Status.FromString(found[0]).details:
            info = RetryInfo()
            if detail.Unpack(info):
                return float(max(0.0, info.retry_delay.seconds + info.retry_delay.nanos / 1e9))
    except DecodeError:
        return None
    return None


def quiet() -> None:
    """Keep gRPC, which is not imported yet, from writing to stderr what the outcome says."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def credentials(endpoint: Endpoint) -> Any:
    """The certificates of a connection with TLS. Raises `OSError` for a file that cannot be read."""
    import grpc

    def content(path: str) -> bytes | None:
        return Path(path).expanduser().read_bytes() if path else None

    return grpc.ssl_channel_credentials(
        root_certificates=content(endpoint.ca_file or _system_authorities()),
        private_key=content(endpoint.key_file),
        certificate_chain=content(endpoint.cert_file),
    )


def _system_authorities() -> str:
    """The system's own file of authorities, which has a company's too; gRPC would take one that it brings along."""
    import ssl

    return ssl.get_default_verify_paths().cafile or ""
