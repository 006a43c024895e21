"""OTLP over HTTP, with protobuf bodies."""

from __future__ import annotations

import gzip
import ssl
from email.utils import parsedate_to_datetime
from http.client import BadStatusLine, HTTPException, RemoteDisconnected
from pathlib import Path
from socket import gaierror
from time import time
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from mailtrace.otlp.endpoint import Endpoint
from mailtrace.otlp.outcome import NAMELESS, SILENT, Outcome, Verdict, accepted

_LATER = frozenset({408, 429, 502, 503, 504})
_DENIED = {
    401: "it wants other credentials (headers)",
    403: "it does not let us (headers)",
    404: "it takes no traces there; is the path right?",
    405: "it takes no traces there; is the path right?",
    407: "the proxy wants credentials",
    415: "it does not read protobuf, or not gzip",
    501: "it takes no traces there; is the path right?",
}
_LONGEST = 1 << 20


class _NoRedirect(HTTPRedirectHandler):
    """Headers with credentials go where the user said and nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        """Leave the answer as it is."""


class Http:
    """Requests to one address, a connection each."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Raises OSError for a certificate's file that cannot be read."""
        self._url = endpoint.url
        self._timeout = endpoint.timeout
        self._gzip = endpoint.gzip
        self._headers = {"content-type": "application/x-protobuf", "user-agent": "mailtrace"}
        self._headers |= {name: value.reveal() for name, value in endpoint.headers.items()}
        if endpoint.gzip:
            self._headers["content-encoding"] = "gzip"
        handlers: list[Any] = [_NoRedirect()]
        if endpoint.tls:
            ca = str(Path(endpoint.ca_file).expanduser()) if endpoint.ca_file else None
            context = ssl.create_default_context(cafile=ca)
            if endpoint.cert_file:
                context.load_cert_chain(Path(endpoint.cert_file).expanduser(), Path(endpoint.key_file).expanduser())
            handlers.append(HTTPSHandler(context=context))
        self._opener = build_opener(*handlers)

    def send(self, body: bytes) -> Outcome:
        """Send one request and wait for the answer."""
        data = gzip.compress(body, compresslevel=1, mtime=0) if self._gzip else body
        request = Request(self._url, data, self._headers, method="POST")  # noqa: S310 - http or https, `Endpoint.of` saw to it
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                return accepted(answer.read(_LONGEST))
        except HTTPError as error:
            with error:
                return _judged(error)
        except ssl.SSLError as error:
            return _untrusted(error)
        except URLError as error:
            return _lost(error.reason)
        except BadStatusLine as error:
            if isinstance(error, RemoteDisconnected):
                return Outcome(Verdict.LATER, str(error))
            return Outcome(Verdict.DENIED, "it speaks no HTTP there; for gRPC leave the path out")
        except (OSError, HTTPException, ValueError) as error:
            return Outcome(Verdict.LATER, f"{type(error).__name__}: {error}")

    def close(self) -> None:
        """Nothing is held."""


def _judged(error: HTTPError) -> Outcome:
    said = f"HTTP {error.code} {error.reason}"
    if error.code in _LATER:
        return Outcome(Verdict.LATER, said, _after(error.headers.get("retry-after", "")))
    if error.code == 413:
        return Outcome(Verdict.SPLIT, said)
    if error.code in _DENIED or 300 <= error.code < 400:
        return Outcome(Verdict.DENIED, f"{_DENIED.get(error.code, 'it sends us elsewhere')}: {said}")
    return Outcome(Verdict.BAD, said)


def _lost(reason: object) -> Outcome:
    if isinstance(reason, ssl.SSLError):
        return _untrusted(reason)
    if isinstance(reason, ConnectionRefusedError):
        return Outcome(Verdict.LATER, SILENT)
    return Outcome(Verdict.LATER, NAMELESS if isinstance(reason, gaierror) else str(reason))


def _after(text: str) -> float:
    """`Retry-After`: seconds, or a date."""
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time())
    except (TypeError, ValueError):
        return 0.0


def _untrusted(error: ssl.SSLError) -> Outcome:
    if isinstance(error, ssl.SSLCertVerificationError):
        return Outcome(Verdict.DENIED, f"its certificate is not trusted: {error.verify_message}; see ca_file")
    if "WRONG_VERSION_NUMBER" in str(error):
        return Outcome(Verdict.DENIED, "it speaks no TLS there; write http:// instead of https://")
    if "CERTIFICATE_REQUIRED" in str(error) or "UNKNOWN_CA" in str(error):
        return Outcome(Verdict.DENIED, f"it does not take our client certificate: {error.reason}")
    return Outcome(Verdict.LATER, str(error))
