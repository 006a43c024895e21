"""A proxy before a node that breaks what it is told to, and remembers what was asked."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any

FOREVER = 1_000_000
SECONDS = 60
"""As long as a slow answer takes, unless the proxy ends before."""


@dataclass
class Fault:
    """What is broken: `kind` is slow, drop (no answer), cut (half of it), status, or doctored.

    The first `after` requests that match `path` pass, `times` of the next are broken.
    """

    kind: str
    path: str = r"/_search$"
    after: int = 0
    times: int = 1
    status: int = 0
    body: str = "<html><head><title>Broken</title></head></html>"
    doctor: Callable[[dict[str, Any]], object] | None = None

    def hits(self, path: str) -> bool:
        """Whether this request is broken; counts it."""
        if not re.search(self.path, path):
            return False
        self.after -= 1
        if self.after >= 0 or self.times <= 0:
            return False
        self.times -= 1
        return True


class Proxy(ThreadingHTTPServer):
    """Passes requests on to the node at `port`."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        """Breaks nothing yet."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.node = port
        self.faults: list[Fault] = []
        self.guard: Callable[[str, str, dict[str, str], bytes], bool] | None = None
        """Whether a request (method, target, headers, body) may pass."""
        self.asked: list[str] = []
        self.sizes: list[int] = []  # bytes of each answer to a search
        self.ended = Event()
        self.lock = Lock()

    def fault(self, asked: str, path: str) -> Fault | None:
        """What is to be broken of a request."""
        with self.lock:
            self.asked.append(asked)
            return next((fault for fault in self.faults if fault.hits(path)), None)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.partition("?")[0]
        fault = self.server.fault(f"{self.command} {path}", path)
        guard = self.server.guard
        if guard is not None and not guard(self.command, self.path, dict(self.headers.items()), body):
            self._answer(403, "text/plain", b"The signature is wrong")
            return
        if fault and fault.kind == "slow":
            self.server.ended.wait(SECONDS)
        if fault and fault.kind in {"slow", "drop"}:
            self._end()
            return
        if fault and fault.kind == "status":
            self._answer(fault.status, "text/html", fault.body.encode())
            return
        onward = HTTPConnection("127.0.0.1", self.server.node, timeout=SECONDS)
        onward.request(self.command, self.path, body, {"Content-Type": "application/json"})
        came = onward.getresponse()
        status, kind, content = came.status, came.getheader("Content-Type", ""), came.read()
        onward.close()
        if fault and fault.doctor:
            answer = json.loads(content)
            fault.doctor(answer)
            content = json.dumps(answer).encode()
        if path.endswith("/_search"):
            self.server.sizes.append(len(content))
        self._answer(status, kind, content, cut=fault is not None and fault.kind == "cut")

    do_GET = do_POST = do_PUT = do_DELETE = _pass  # noqa: N815 - the names that the library calls

    def _answer(self, status: int, kind: str, content: bytes, *, cut: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if status == 429:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self._end()

    def _end(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def breaking(port: int) -> Iterator[Proxy]:
    """A proxy before the node at this port."""
    proxy = Proxy(port)
    thread = Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.ended.set()
        proxy.shutdown()
        proxy.server_close()
