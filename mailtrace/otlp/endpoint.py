"""Where traces go, and how: from what a job or a config says, else from OpenTelemetry's own environment variables.

| option | variables, the first that is set | else |
|---|---|---|
| `endpoint` | `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, `OTEL_EXPORTER_OTLP_ENDPOINT` | `http://localhost:4317` |
| `headers` | `OTEL_EXPORTER_OTLP_TRACES_HEADERS`, `OTEL_EXPORTER_OTLP_HEADERS` | none |
| `ca_file` | `OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE`, `OTEL_EXPORTER_OTLP_CERTIFICATE` | the system's authorities |
| `cert_file` | `…_TRACES_CLIENT_CERTIFICATE`, `…_CLIENT_CERTIFICATE` | none |
| `key_file` | `…_TRACES_CLIENT_KEY`, `…_CLIENT_KEY` | none |
| `compression` | `…_TRACES_COMPRESSION`, `…_COMPRESSION` | `none` |
| `timeout` | `…_TRACES_TIMEOUT`, `…_TIMEOUT`: milliseconds, as the specification has it | 10 seconds |

The endpoint says which protocol is spoken: HTTP with protobuf where it has a path (`/v1/traces` is put behind one that
does not end so) or the port 4318, gRPC else; `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL` and `OTEL_EXPORTER_OTLP_PROTOCOL`
decide for an endpoint that says neither. `https` means TLS.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from mailtrace.secret import Secret

DEFAULT = "http://localhost:4317"
PATH = "/v1/traces"
_PREFIX = "OTEL_EXPORTER_OTLP_"
_HEADER = re.compile(r"[0-9A-Za-z!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\x20-\x7e]*")


@dataclass(frozen=True, slots=True)
class BackEnd:
    """What a job or a config says of a back end; what is empty comes from the environment.

    `addresses` tells how much of an address spans show (`attributes.ADDRESSES`).
    """

    endpoint: str = ""
    headers: Mapping[str, Secret] = field(default_factory=dict)
    timeout: float = 0
    compression: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    addresses: str = "full"

    def options(self) -> dict[str, Any]:
        """The same by name, as `Endpoint.of` reads them."""
        return {each.name: getattr(self, each.name) for each in fields(BackEnd)}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where requests go and how. `http` is HTTP with protobuf instead of gRPC; files are paths, "" for none."""

    url: str = DEFAULT
    headers: Mapping[str, Secret] = field(default_factory=dict)
    timeout: float = 10.0
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    gzip: bool = False
    http: bool = False

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.url.startswith("https:")

    @property
    def target(self) -> str:
        """`host:port`, as gRPC wants it."""
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        host = f"[{host}]" if ":" in host else host
        return f"{host}:{parts.port or (443 if self.tls else 80)}"

    @classmethod
    def of(cls, options: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Endpoint:
        """The endpoint that an `otlp` export's options describe; empty ones are the environment's.

        Raises ValueError for what no request can be sent to, or with.
        """
        env = os.environ if environ is None else environ

        def given(option: str, variable: str) -> str:
            return str(options.get(option) or _first(env, variable))

        url = given("endpoint", "ENDPOINT") or DEFAULT
        where = _checked(url)
        http = where.port == 4318 or where.path not in ("", "/")
        if not http and where.port != 4317:
            http = _first(env, "PROTOCOL").startswith("http/")
        if http:
            path = where.path.rstrip("/")
            path = path if path.endswith(PATH) else path + PATH
            url = where._replace(path=path, fragment="").geturl()
        compression = given("compression", "COMPRESSION") or "none"
        if compression not in ("none", "gzip"):
            raise ValueError(f"compression is none or gzip, not {compression[:20]}")
        cert, key = given("cert_file", "CLIENT_CERTIFICATE"), given("key_file", "CLIENT_KEY")
        if bool(cert) != bool(key):
            raise ValueError("a client certificate needs both cert_file and key_file")
        return cls(
            url=url,
            headers=_headers(options.get("headers") or _read_headers(_first(env, "HEADERS"))),
            timeout=float(options.get("timeout") or 0.0) or _milliseconds(_first(env, "TIMEOUT")) or 10.0,
            ca_file=given("ca_file", "CERTIFICATE"),
            cert_file=cert,
            key_file=key,
            gzip=compression == "gzip",
            http=http,
        )


def _first(env: Mapping[str, str], name: str) -> str:
    return env.get(f"{_PREFIX}TRACES_{name}") or env.get(_PREFIX + name) or ""


def _checked(url: str) -> SplitResult:
    try:
        where = urlsplit(url)
        _ = where.port
    except ValueError as error:
        raise ValueError(f"{_plain(url)} is no address: {error}") from None
    if where.scheme not in ("http", "https") or not where.hostname:
        raise ValueError(f"an endpoint is http://HOST:PORT, or https:// for TLS, not {_plain(url)}")
    if where.username is not None:
        raise ValueError("an endpoint holds no user and password; send them as a header (authorization: Basic …)")
    return where


def _plain(url: str) -> str:
    return ascii(url[:100]) if "@" not in url else "this"


def _milliseconds(text: str) -> float:
    try:
        return max(0.0, float(text) / 1000) if text else 0.0
    except ValueError:
        raise ValueError(f"{_PREFIX}TIMEOUT is a number of milliseconds, not {text[:20]!r}") from None


def _read_headers(text: str) -> dict[str, Secret]:
    """`name=value,…` with %-escapes, as the specification has it."""
    out = {}
    for item in text.split(","):
        name, equals, value = item.partition("=")
        if equals:
            out[unquote(name).strip()] = Secret(unquote(value).strip())
        elif item.strip():
            raise ValueError(f"{_PREFIX}HEADERS is a list of name=value, divided by commas")
    return out


def _headers(headers: Mapping[str, Secret]) -> dict[str, Secret]:
    """The headers, their names in lower case as gRPC wants them; what no request can carry is an error."""
    out = {}
    for name, value in headers.items():
        if not _HEADER.fullmatch(name):
            raise ValueError(f"{name[:40]!r} is no name of a header")
        if not _VALUE.fullmatch(value.reveal()):
            raise ValueError(f"the value of the header {name} has characters that no header can have")
        if value:
            out[name.lower()] = value
    return out
