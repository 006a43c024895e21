"""Requests to an OpenSearch cluster: retried where that can help, and failures told in words."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from mailtrace.config import OpenSearchConfig

RETRIES = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between two tries of a request that the server is too busy or too broken to answer."""
_BUSY = (429, 502, 503, 504)
Answer = dict[str, Any]


class Failed(Exception):  # noqa: N818 - it is caught here and told in words
    """A request that failed; the text says why, `status` is HTTP's (0: no answer)."""

    def __init__(self, text: str, status: int = 0) -> None:
        self.status = status
        super().__init__(text)


class Connection:
    """Requests to one cluster: retried where that can help, checked for being whole."""

    def __init__(self, access: OpenSearchConfig) -> None:
        """Opens nothing yet."""
        self._access = access
        self._client: Any = None
        self._answered = False
        self.requests = 0
        scheme = "https" if access.use_ssl else "http"
        self._nodes = [_node(name, access.port) for name in access.hosts or (access.host,)]
        self.where = ", ".join(f"{scheme}://{name}:{port}" for name, port in self._nodes)

    def request(self, method: str, path: str, body: Any = None, **params: Any) -> Answer:
        """One request. Raises `Failed`."""
        waits = iter(RETRIES)
        while True:
            try:
                self.requests += 1
                answer = self._open().transport.perform_request(method, path, params=params or None, body=body)
            except Exception as error:  # noqa: BLE001 - the library raises its own, urllib3's and Python's
                failed = self._failed(error)
                wait = next(waits, None)
                retry = failed.status in _BUSY or (failed.status == 0 and self._answered)
                if wait is None or not retry:
                    raise failed from None
                time.sleep(wait)
                continue
            self._answered = True
            if not isinstance(answer, dict):
                raise Failed(f"{self.where} answered {path} with {str(answer)[:80]!r}: is it an OpenSearch server?")
            return answer

    def close(self) -> None:
        """Let go of the connections."""
        if self._client is not None:
            with suppress(Exception):
                self._client.close()
            self._client = None

    def _open(self) -> Any:
        if self._client is None:
            try:
                from opensearchpy import OpenSearch
            except ImportError:
                raise Failed("the package opensearch-py is missing: pip install 'mailtrace[opensearch]'") from None
            access = self._access
            options: dict[str, Any] = {"use_ssl": access.use_ssl, "pool_maxsize": 4}
            if access.use_ssl:
                options |= {"verify_certs": access.verify_certs, "ssl_show_warn": False}
                options["ssl_assert_hostname"] = None if access.verify_certs else False
                paths = {
                    "ca_certs": access.ca_certs,
                    "client_cert": access.client_cert,
                    "client_key": access.client_key,
                }
                for key, path in paths.items():
                    if path and not Path(path).is_file():  # the library would not name it
                        raise Failed(f"opensearch_config.{key}: there is no file {path}", -1)
                    options |= {key: path} if path else {}
            if access.api_key:
                key = access.api_key.reveal()
                kinds = ("Bearer ", "Basic ", "ApiKey ")
                options["headers"] = {"Authorization": key if key.startswith(kinds) else f"ApiKey {key}"}
            elif access.username:
                options["http_auth"] = (access.username, access.password.reveal())
            nodes = [{"host": name, "port": port} for name, port in self._nodes]
            # A node that does not answer is passed over for the next one; waiting is done here.
            options["max_retries"] = len(nodes) - 1
            self._client = OpenSearch(nodes, timeout=access.timeout, retry_on_status=(), **options)
        return self._client

    def _failed(self, error: Exception) -> Failed:
        if isinstance(error, Failed):
            return error
        import opensearchpy.exceptions as theirs

        if isinstance(error, theirs.ConnectionTimeout):
            return Failed(f"{self.where} did not answer within {self._access.timeout:g} s (opensearch_config.timeout)")
        if isinstance(error, theirs.SSLError):
            reason = _reason(error)
            cure = "; does it speak plain http? (use_ssl)" if "WRONG_VERSION" in reason else ""
            cure = "; name its authority in ca_certs" if "unable to get local issuer" in reason else cure
            return Failed(f"{self.where}: no trusted TLS connection: {reason}{cure}", -1)
        if isinstance(error, theirs.ConnectionError):
            reason = _reason(error)
            cure = (
                "; does it speak https? (use_ssl)" if "closed connection" in reason and not self._access.use_ssl else ""
            )
            return Failed(f"{self.where} cannot be reached: {reason}{cure}")
        if isinstance(error, theirs.TransportError) and isinstance(error.status_code, int):
            return self._refused(error, error.status_code)
        return Failed(f"{self.where} gave an answer that cannot be read: {str(error)[:200]}", -1)

    def _refused(self, error: Any, status: int) -> Failed:
        reason = _cause(error)
        if status == 401:
            user = self._access.username
            who = (
                "the API key"
                if self._access.api_key
                else f"the password of {user}"
                if user
                else "anyone without a user"
            )
            return Failed(f"{self.where} refuses {who}", 401)
        if status == 403:
            return Failed(f"{self.where}: {self._access.username or 'nobody'} may not do that: {reason}", 403)
        return Failed(f"{self.where}: {reason} ({status})", status)


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
    text = str(getattr(error, "info", "") or getattr(error, "error", "") or error)
    return text.rpartition(">: ")[2].strip("()' ")[:300] or text[:300]


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
    return str(error.error)[:200]
