"""Requests to an OpenSearch cluster: retried where that can help, and failures told in words."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from threading import Event, Lock, Thread, local
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from mailtrace.config import OpenSearchConfig

RETRIES = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0, 8.0)
"""Seconds between two tries of a request that the server is too busy to answer, or that a restart breaks off."""
FEW = 4
"""Tries where shards do not answer: those of a node that restarts come back soon, others do not."""
_BUSY = (429, 502, 503, 504)
_BROKEN_OFF = ("without response", "reset by peer", "Broken pipe")
_OBJECT = re.compile(r"^HTTPS?Connection\(.*?\): ")
Answer = dict[str, Any]


class Failed(Exception):  # noqa: N818 - it is caught here and told in words
    """A request that failed; the text says why.

    `status` is HTTP's (0: no answer), `tries` how often to try again, `after` seconds before which the server does not
    want to hear of it again.
    """

    def __init__(self, text: str, status: int = 0, tries: int = 0, after: float = 0.0) -> None:
        self.status = status
        self.tries = tries
        self.after = after
        super().__init__(text)


class Connection:
    """Requests to one cluster: retried where that can help, checked for being whole."""

    def __init__(self, access: OpenSearchConfig) -> None:
        """Opens nothing yet."""
        self._access = access
        self._client: Any = None
        self._opening = Lock()
        self._closed = Event()
        self._answered = False
        self._heard = local()  # what came with the last refusal
        self.requests = 0
        scheme = "https" if access.use_ssl else "http"
        self._nodes = [_node(name, access.port) for name in access.hosts or (access.host,)]
        self.where = ", ".join(f"{scheme}://{name}:{port}" for name, port in self._nodes)

    @property
    def user(self) -> str:
        """Who asks."""
        access = self._access
        key = "the API key" if access.api_key else "the client certificate" if access.client_cert else "nobody"
        return access.username or (f"AWS of {access.aws_region}" if access.aws_region else key)

    def request(self, method: str, path: str, body: Any = None, **params: Any) -> Answer:
        """One request; the answer has its size as `bytes` too. Raises `Failed`."""
        tried = 0
        while True:
            try:
                self.requests += 1
                answer = self._open().transport.perform_request(method, path, params=params or None, body=body)
            except Exception as error:  # noqa: BLE001 - the library raises its own, urllib3's and Python's
                failed = self._failed(error)
                waits = RETRIES[tried : failed.tries] if failed.tries > 0 else ()
                if not waits or failed.after > sum(waits) or self._closed.wait(max(waits[0], failed.after)):
                    raise failed from None
                tried += 1
                continue
            self._answered = True
            if not isinstance(answer, dict):
                raise Failed(f"{self.where} answered {path} with {str(answer)[:80]!r}: is it an OpenSearch server?")
            return answer

    def close(self) -> None:
        """Let go of the connections; what waits for one gives up."""
        with self._opening:
            self._closed.set()
            client, self._client = self._client, None
        if client is not None:
            with suppress(Exception):
                client.close()

    def _open(self) -> Any:
        with self._opening:
            if self._closed.is_set():  # a request that was begun ahead, and is no longer waited for
                raise Failed(f"{self.where}: nothing more is asked", -1)
            if self._client is None:
                try:
                    from opensearchpy import OpenSearch
                except ImportError:
                    text = "the package opensearch-py is missing: pip install -e '.[opensearch]' in the checkout"
                    raise Failed(text, -1) from None
                nodes = [{"host": name, "port": port} for name, port in self._nodes]
                options = {"timeout": self._access.timeout, "pool_maxsize": 4, **self._tls(), **self._credentials()}
                # A node that does not answer is passed over for the next one; waiting is done here.
                options |= {"max_retries": len(nodes) - 1, "retry_on_status": (), "serializer": _sized()}
                options["connection_class"] = _heard(self._heard)
                self._client = OpenSearch(nodes, **options)
            return self._client

    def _tls(self) -> dict[str, Any]:
        access = self._access
        options: dict[str, Any] = {"use_ssl": access.use_ssl}
        if not access.use_ssl:
            return options
        options |= {"verify_certs": access.verify_certs, "ssl_show_warn": False}
        options["ssl_assert_hostname"] = None if access.verify_certs else False
        for key in ("ca_certs", "client_cert", "client_key"):
            path = getattr(access, key)
            if path and not Path(path).is_file():  # the library would not name it
                raise Failed(f"opensearch_config.{key}: there is no file {path}", -1)
            options |= {key: path} if path else {}
        return options

    def _credentials(self) -> dict[str, Any]:
        access = self._access
        if access.aws_region:
            return {"http_auth": self._signer()}
        if access.api_key:
            key = access.api_key.reveal()
            kinds = ("Bearer ", "Basic ", "ApiKey ")
            return {"headers": {"Authorization": key if key.startswith(kinds) else f"ApiKey {key}"}}
        return {"http_auth": (access.username, access.password.reveal())} if access.username else {}

    def _signer(self) -> Any:
        """What signs requests for Amazon's service, with the credentials that its own tools would take."""
        from opensearchpy import Urllib3AWSV4SignerAuth

        try:
            from botocore.session import Session
        except ImportError:
            raise Failed("opensearch_config.aws_region needs the package botocore: pip install botocore", -1) from None
        found = Session().get_credentials()
        if found is None:
            raise Failed(
                "opensearch_config.aws_region: there are no AWS credentials (AWS_ACCESS_KEY_ID, AWS_PROFILE)", -1
            )
        return Urllib3AWSV4SignerAuth(found, self._access.aws_region, self._access.aws_service)

    def _failed(self, error: Exception) -> Failed:
        if isinstance(error, Failed):
            return error
        import opensearchpy.exceptions as theirs

        if isinstance(error, theirs.ConnectionTimeout):
            text = f"{self.where} did not answer within {self._access.timeout:g} s (opensearch_config.timeout)"
            return Failed(text, 0, int(self._answered))
        if isinstance(error, theirs.SSLError):
            reason = _reason(error)
            cure = "; does it speak plain http? (use_ssl)" if "WRONG_VERSION" in reason else ""
            cure = "; name its authority in ca_certs" if "unable to get local issuer" in reason else cure
            return Failed(f"{self.where}: no trusted TLS connection: {reason}{cure}", -1)
        if isinstance(error, theirs.ConnectionError):
            reason = _reason(error)
            tries = len(RETRIES) * self._answered
            if "more expected" in reason or (self._answered and any(mark in reason for mark in _BROKEN_OFF)):
                return Failed(f"{self.where} broke off an answer: {reason}", 0, tries)
            silent = "without response" in reason and not self._access.use_ssl
            cure = "; does it speak https? (use_ssl)" if silent else ""
            return Failed(f"{self.where} cannot be reached: {reason}{cure}", 0, tries)
        if isinstance(error, theirs.TransportError) and isinstance(error.status_code, int):
            return self._refused(error, error.status_code)
        return Failed(f"{self.where} gave an answer that cannot be read: {str(error)[:200]}", -1)

    def _refused(self, error: Any, status: int) -> Failed:
        reason = _cause(error)
        if status == 401:
            password = self._access.username and not (self._access.api_key or self._access.aws_region)
            who = f"the password of {self.user}" if password else self.user
            return Failed(f"{self.where} refuses {'anyone without a user' if who == 'nobody' else who}", 401)
        if status == 403:
            return Failed(f"{self.where}: {self.user} may not do that: {reason}", 403)
        cure = "; does it speak https? (use_ssl)" if "HTTPS port" in reason else ""
        kind = error.error if isinstance(error.error, str) else ""
        tries = len(RETRIES) * (status in _BUSY)
        tries = FEW if tries and kind == "search_phase_execution_exception" and status == 503 else tries
        after = _seconds_until(getattr(self._heard, "retry_after", "")) if tries else 0.0
        later = f"; it may be asked again in {after:g} s" if after else ""
        return Failed(f"{self.where}: {reason} ({status}){cure}{later}", status, tries, after)


def ahead(work: Callable[..., Any], *arguments: Any) -> Future[Any]:
    """The result of some work that is begun now, in a thread that nobody waits for when the program ends."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(work(*arguments))
        except BaseException as error:  # noqa: BLE001 - whoever asks for the result gets it
            future.set_exception(error)

    Thread(target=run, name="mailtrace-opensearch", daemon=True).start()
    return future


def _heard(told: local) -> Any:
    """The library's connection, which tells of a refusal's headers only here: `told.retry_after` of this thread."""
    from opensearchpy import Urllib3HttpConnection

    class Heard(Urllib3HttpConnection):
        def get_response_headers(self, response: Any) -> Any:
            headers = super().get_response_headers(response)
            told.retry_after = headers.get("retry-after", "")
            return headers

    return Heard


def _seconds_until(text: str) -> float:
    """What `Retry-After` asks for (RFC 9110, 10.2.3): seconds, or a date; 0 where it is neither."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, round(parsedate_to_datetime(text).timestamp() - time.time(), 1))
    except ValueError:
        return 0.0


def _sized() -> Any:
    """A decoder of answers that says how long they were."""
    from opensearchpy.serializer import JSONSerializer

    class Sized(JSONSerializer):
        def loads(self, s: str) -> Any:
            answer = _decoded(s) or super().loads(s)
            if isinstance(answer, dict):
                answer["bytes"] = len(s)
            return answer

    return Sized()


def _decoded(text: str) -> Any:
    """Quickly decoded JSON; None where the quick decoder is not there, or where it is too strict (half characters)."""
    try:
        import orjson

        return orjson.loads(text)
    except (ImportError, ValueError):
        return None


def _node(name: str, port: int) -> tuple[str, int]:
    """Name and port of `name`, `name:port`, `2001:db8::1` or `[2001:db8::1]:port`."""
    host, colon, number = name.rpartition(":")
    if colon and number.isdigit() and (":" not in host or host.endswith("]")):
        return host, int(number)
    return (f"[{name}]" if ":" in name and not name.startswith("[") else name), port


def quoted(name: str) -> str:
    """An index, an alias or a pattern as a part of a path."""
    return quote(name, safe="*,-_.<>{}")


def _reason(error: Any) -> str:
    """The innermost reason of a connection's failure, without addresses of objects."""
    inner: object = error.info
    while isinstance(inner, Exception) and inner.args and isinstance(inner.args[-1], Exception):
        inner = inner.args[-1]
    text = str(inner or error.error or error)
    return _OBJECT.sub("", text.rpartition(">: ")[2]).strip("' ")[:300] or text[:300]


def _cause(error: Any) -> str:
    """Why the server refused, as it says it."""
    info = error.info if isinstance(error.info, Mapping) else {}
    told = info.get("error", {})
    if isinstance(told, Mapping):
        deeper: object = told.get("caused_by") or next(iter(told.get("root_cause") or ()), None)
        failures = [each.get("reason", {}) for each in told.get("failed_shards", ()) if isinstance(each, Mapping)]
        reasons = [told.get("reason"), *(each.get("reason") for each in failures if isinstance(each, Mapping))]
        reasons.append(deeper.get("reason") if isinstance(deeper, Mapping) else None)
        words = [str(reason) for reason in dict.fromkeys(reasons) if reason]
        if words:
            return ": ".join(words)[:400]
    page = re.search(r"<title>(.*?)</title>", str(error.error), re.DOTALL)  # of a proxy before the server
    return (page[1].strip() if page else str(error.error))[:200]
