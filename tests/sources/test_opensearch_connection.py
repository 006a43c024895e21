"""A request that fails says where, why and what mends it, and is repeated only where that can help."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from mailtrace.config import OpenSearchConfig
from mailtrace.secret import Secret
from mailtrace.sources import opensearch_connection
from mailtrace.sources.opensearch_connection import Connection, Failed, quoted

Reply = tuple[int, str, str]
GOOD: Reply = (200, "application/json", '{"ok": true}')

pytestmark = pytest.mark.needs("opensearchpy")


class Server(ThreadingHTTPServer):
    """Answers with what it is told, in order, the last one for ever."""

    replies: list[Reply]
    asked = 0


class Handler(BaseHTTPRequestHandler):
    """Takes any request."""

    server: Server

    def do_GET(self) -> None:
        status, kind, text = self.server.replies[min(self.server.asked, len(self.server.replies) - 1)]
        self.server.asked += 1
        if status == 0:  # breaks off
            self.connection.close()
            return
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text.encode()) + (50 if kind == "cut" else 0)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Starts servers, and stops them."""
    started: list[Server] = []

    def start(*replies: Reply) -> Server:
        server = Server(("127.0.0.1", 0), Handler)
        server.replies = list(replies)
        Thread(target=server.serve_forever, daemon=True).start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opensearch_connection, "RETRIES", (0.0, 0.0, 0.0))


def connection(server: Server, **more: object) -> Connection:
    access = OpenSearchConfig(host="127.0.0.1", port=server.server_port, username="reader", **more)  # type: ignore[arg-type]
    return Connection(access)


def refused(status: int, reason: str) -> Reply:
    told = {"error": {"type": "t", "reason": reason}, "status": status}
    return status, "application/json", json.dumps(told)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_server_is_asked_again(serve: Callable[..., Server], status: int) -> None:
    server = serve(refused(status, "busy"), refused(status, "busy"), GOOD)
    made = connection(server)
    assert made.request("GET", "/") == {"ok": True}
    made.close()
    assert server.asked == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_refusal_is_not_asked_again(serve: Callable[..., Server], status: int) -> None:
    server = serve(refused(status, "no permissions for that"))
    made = connection(server)
    with pytest.raises(Failed) as caught:
        made.request("GET", "/x")
    made.close()
    assert (server.asked, caught.value.status) == (1, status)
    assert f"127.0.0.1:{server.server_port}" in str(caught.value)


def test_a_connection_that_breaks_off_after_it_worked_is_made_anew(serve: Callable[..., Server]) -> None:
    server = serve(GOOD, (0, "", ""), GOOD)
    made = connection(server)
    assert made.request("GET", "/") == made.request("GET", "/") == {"ok": True}
    made.close()


@pytest.mark.parametrize("reply", [(200, "text/html", "<html>Log in</html>"), (200, "application/json", "[]x")])
def test_an_answer_that_is_none_is_a_failure(serve: Callable[..., Server], reply: Reply) -> None:
    made = connection(serve(reply))
    with pytest.raises(Failed):
        made.request("GET", "/")
    made.close()


def test_a_server_that_stays_busy_is_given_up(serve: Callable[..., Server]) -> None:
    server = serve(refused(503, "all shards failed"))
    made = connection(server)
    with pytest.raises(Failed, match="all shards failed"):
        made.request("GET", "/")
    made.close()
    assert server.asked == 4


def test_no_secret_is_in_what_went_wrong(serve: Callable[..., Server]) -> None:
    made = connection(serve(refused(401, "x")), password=Secret("hunter22"))
    with pytest.raises(Failed) as caught:
        made.request("GET", "/")
    made.close()
    assert "reader" in str(caught.value)
    assert "hunter22" not in str(caught.value)


def test_a_name_of_an_index_stays_one_part_of_the_path() -> None:
    assert quoted("logs-*,mail/../_all?x=1#y") == "logs-*,mail%2F..%2F_all%3Fx%3D1%23y"
