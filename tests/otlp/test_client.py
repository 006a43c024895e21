"""What becomes of a request: each answer of a back end has its verdict."""

from __future__ import annotations

import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from receiver import SERVICE, Answer, Receiver, over_grpc, over_http, partial

from mailtrace.otlp.client import Client
from mailtrace.otlp.encode import encode
from mailtrace.otlp.endpoint import Endpoint
from mailtrace.otlp.outcome import NAMELESS, SILENT, Outcome, Verdict
from mailtrace.otlp.record import Span
from mailtrace.secret import Secret

SENT, LATER, SPLIT, BAD, DENIED = Verdict
BODY = next(encode([Span(bytes(15) + b"\1", bytes(7) + b"\1", b"", "mx1", "smtp receive", 2, 1, 2)])).body


def send(receiver: Receiver, body: bytes = BODY, **options: Any) -> Outcome:
    with closing(Client(Endpoint.of({"endpoint": receiver.endpoint, **options}, {}))) as client:
        return client.send(body)


@pytest.fixture(name="http")
def _http() -> Iterator[Receiver]:
    with over_http() as receiver:
        yield receiver


@pytest.fixture(name="rpc")
def _rpc() -> Iterator[Receiver]:
    with over_grpc() as receiver:
        yield receiver


@pytest.fixture(name="either", params=["rpc", "http"])
def _either(request: pytest.FixtureRequest) -> Receiver:
    found: Receiver = request.getfixturevalue(request.param)
    return found


def test_what_is_taken_is_sent(either: Receiver) -> None:
    assert send(either) == Outcome(SENT)
    assert either.bodies == [BODY]


def test_a_packed_request_is_the_same(either: Receiver) -> None:
    assert send(either, compression="gzip") == Outcome(SENT)
    assert either.bodies == [BODY]


def test_headers_go_along(either: Receiver) -> None:
    send(either, headers={"Authorization": Secret("Bearer t0ken")})
    assert either.headers["authorization"] == "Bearer t0ken"


def test_dropped_spans_are_counted_and_sent(either: Receiver) -> None:
    either.answers.append(partial(3, "too\nold \x1b[31m"))
    assert send(either) == Outcome(SENT, r"too old \x1b[31m", rejected=3)


@pytest.mark.parametrize(
    "code, retry, verdict",
    [
        ("UNAVAILABLE", None, LATER),
        ("UNAVAILABLE", 7.5, LATER),
        ("CANCELLED", None, LATER),
        ("DEADLINE_EXCEEDED", None, LATER),
        ("ABORTED", None, LATER),
        ("OUT_OF_RANGE", None, LATER),
        ("DATA_LOSS", None, LATER),
        ("RESOURCE_EXHAUSTED", 2.0, LATER),
        ("RESOURCE_EXHAUSTED", None, LATER),
        ("INVALID_ARGUMENT", None, BAD),
        ("INTERNAL", None, BAD),
        ("UNKNOWN", None, BAD),
        ("UNAUTHENTICATED", None, DENIED),
        ("PERMISSION_DENIED", None, DENIED),
        ("UNIMPLEMENTED", None, DENIED),
    ],
)
def test_each_code_has_its_verdict(rpc: Receiver, code: str, retry: float | None, verdict: Verdict) -> None:
    rpc.answers.append(Answer(code, "because", retry))
    outcome = send(rpc)
    assert (outcome.verdict, outcome.after) == (verdict, retry or 0.0)
    assert rpc.endpoint in outcome.message
    assert f"{code}: because" in outcome.message


@pytest.mark.parametrize(
    "code, retry, verdict",
    [(429, 3, LATER), (502, None, LATER), (503, None, LATER), (504, None, LATER), (413, None, SPLIT), (400, None, BAD),
     (500, None, BAD), (401, None, DENIED), (403, None, DENIED), (404, None, DENIED), (302, None, DENIED)],
)  # fmt: skip
def test_each_status_has_its_verdict(http: Receiver, code: int, retry: float | None, verdict: Verdict) -> None:
    http.answers.append(Answer(code, "http://127.0.0.1:1/" if code == 302 else "", retry))
    outcome = send(http)
    assert (outcome.verdict, outcome.after) == (verdict, retry or 0.0)
    assert f"HTTP {code}" in outcome.message
    assert http.calls == 1


def test_large_requests_are_halved_where_resources_are_exhausted(rpc: Receiver) -> None:
    large = next(encode([Span(bytes(16), bytes(8), b"", "mx1", "x" * 70_000, 2, 1, 2)])).body
    rpc.answers.append(Answer("RESOURCE_EXHAUSTED", "no room"))
    assert send(rpc, large).verdict is SPLIT


def test_more_than_a_back_end_reads_is_halved(rpc: Receiver) -> None:
    large = next(encode([Span(bytes(16), bytes(8), b"", "mx1", "x" * (4 << 20), 2, 1, 2)])).body
    assert send(rpc, large).verdict is SPLIT


def test_nobody_there_is_later(unused: int) -> None:
    for path in ("", "/v1/traces"):
        with closing(Client(Endpoint.of({"endpoint": f"http://127.0.0.1:{unused}{path}", "timeout": 2}, {}))) as client:
            assert client.send(BODY) == Outcome(LATER, f"{client.endpoint.url}: {SILENT}")


@pytest.mark.parametrize("path", ["", "/v1/traces"])
def test_a_name_that_nobody_knows_is_said(path: str) -> None:
    with closing(Client(Endpoint.of({"endpoint": f"http://nowhere.invalid{path}", "timeout": 5}, {}))) as client:
        assert client.send(BODY) == Outcome(LATER, f"{client.endpoint.url}: {NAMELESS}")


def test_the_wrong_protocol_is_said(rpc: Receiver, http: Receiver) -> None:
    http.path, rpc.path = "", "/v1/traces"
    for receiver, words in ((http, "/v1/traces"), (rpc, "leave the path out")):
        outcome = send(receiver)
        assert outcome.verdict is DENIED
        assert words in outcome.message


def test_silence_is_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        for path in ("", "/v1/traces"):
            options = {"endpoint": f"http://127.0.0.1:{port}{path}", "timeout": 0.3}
            with closing(Client(Endpoint.of(options, {}))) as client:
                assert client.send(BODY).verdict is LATER


def test_a_back_end_that_comes_back_is_found_again() -> None:
    with over_grpc() as first:
        client = Client(Endpoint.of({"endpoint": first.endpoint}, {}))
        assert client.send(BODY).verdict is SENT
    assert client.send(BODY).verdict is LATER
    client.close()
    with over_grpc() as second:
        again = Client(Endpoint.of({"endpoint": second.endpoint}, {}))
        assert again.send(BODY).verdict is SENT
        again.close()


@pytest.fixture(name="unused")
def _unused() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


# ---------------------------------------------------------------------------------------------- TLS


@pytest.fixture(name="pki", scope="module")
def _pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem; server.pem and server.key for 127.0.0.1; client.*; other.pem, an authority that nobody here knows."""
    folder = tmp_path_factory.mktemp("pki")
    authority, other = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    other.cert_pem.write_to_path(folder / "other.pem")
    for name, cert in (
        ("server", authority.issue_cert("127.0.0.1", "localhost")),
        ("client", authority.issue_cert("mailtrace@example.com")),
        ("foreign", other.issue_cert("mailtrace@example.com")),
        ("elsewhere", authority.issue_cert("elsewhere.example.com")),
    ):
        cert.private_key_pem.write_to_path(folder / f"{name}.key")
        (folder / f"{name}.pem").write_bytes(b"".join(blob.bytes() for blob in cert.cert_chain_pems))
    return folder


@pytest.fixture(name="tls")
def _tls(pki: Path) -> Iterator[Callable[..., int]]:
    """Starts a gRPC back end with a certificate, wanting one of the client's on demand; answers its port."""
    servers = []

    def start(name: str = "server", *, mutual: bool = False) -> int:
        def taken(_body: bytes, _context: Any) -> bytes:
            return b""

        pair = ((pki / f"{name}.key").read_bytes(), (pki / f"{name}.pem").read_bytes())
        roots = (pki / "ca.pem").read_bytes() if mutual else None
        handler = grpc.method_handlers_generic_handler(SERVICE, {"Export": grpc.unary_unary_rpc_method_handler(taken)})
        server = grpc.server(ThreadPoolExecutor(2))
        server.add_generic_rpc_handlers((handler,))
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair], roots, mutual))
        server.start()
        servers.append(server)
        return int(port)

    yield start
    for server in servers:
        server.stop(None).wait()


def secure(port: int, pki: Path, scheme: str = "https", **files: str) -> Outcome:
    options = {key: str(pki / name) for key, name in files.items()}
    with closing(
        Client(Endpoint.of({"endpoint": f"{scheme}://127.0.0.1:{port}", "timeout": 5, **options}, {}))
    ) as client:
        return client.send(BODY)


def test_a_certificate_of_a_known_authority_is_trusted(tls: Callable[..., int], pki: Path) -> None:
    assert secure(tls(), pki, ca_file="ca.pem").verdict is SENT


def test_a_client_shows_its_certificate(tls: Callable[..., int], pki: Path) -> None:
    port = tls(mutual=True)
    assert secure(port, pki, ca_file="ca.pem", cert_file="client.pem", key_file="client.key").verdict is SENT


@pytest.mark.parametrize(
    "server, files, words",
    [
        ("server", {}, "ca_file"),
        ("server", {"ca_file": "other.pem"}, "ca_file"),
        ("elsewhere", {"ca_file": "ca.pem"}, "another name"),
    ],
)
def test_a_certificate_that_does_not_fit_is_said_at_once(
    tls: Callable[..., int], pki: Path, server: str, files: dict[str, str], words: str
) -> None:
    outcome = secure(tls(server), pki, **files)
    assert outcome.verdict is DENIED
    assert words in outcome.message


@pytest.mark.parametrize("files", [{}, {"cert_file": "foreign.pem", "key_file": "foreign.key"}])
def test_a_client_certificate_that_is_wanted_is_said(tls: Callable[..., int], pki: Path, files: dict[str, str]) -> None:
    outcome = secure(tls(mutual=True), pki, ca_file="ca.pem", **files)
    assert outcome.verdict in (DENIED, LATER)  # gRPC tells a refused certificate from a lost connection by chance
    assert "cert_file" in outcome.message


def test_tls_where_none_is_spoken_is_said(rpc: Receiver, pki: Path) -> None:
    outcome = secure(rpc.port, pki, ca_file="ca.pem")
    assert outcome.verdict is DENIED
    assert "http://" in outcome.message


def test_no_tls_where_it_is_spoken_is_hinted_at(tls: Callable[..., int], pki: Path) -> None:
    outcome = secure(tls(), pki, "http")
    assert outcome.verdict is LATER
    assert "https://" in outcome.message


@pytest.mark.parametrize("name", ["ca_file", "cert_file"])
def test_a_file_that_is_not_there_is_said(rpc: Receiver, tmp_path: Path, name: str) -> None:
    files = {name: str(tmp_path / "gone.pem"), **({"key_file": "k"} if name == "cert_file" else {})}
    for path in ("", "/v1/traces"):
        with closing(Client(Endpoint.of({"endpoint": f"https://127.0.0.1:{rpc.port}{path}", **files}, {}))) as client:
            outcome = client.send(BODY)
        assert outcome.verdict is DENIED
        assert "No such file" in outcome.message


def test_http_trusts_as_grpc_does(pki: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "server.pem", pki / "server.key")
    with over_http() as receiver, socket.create_server(("127.0.0.1", 0)) as outer:
        stop = threading.Event()

        def relay() -> None:
            """Take connections, speak TLS on them and pass what is said to the plain back end."""
            outer.settimeout(0.1)
            while not stop.is_set():
                try:
                    raw, _ = outer.accept()
                except TimeoutError:
                    continue
                try:
                    with (
                        context.wrap_socket(raw, server_side=True) as near,
                        socket.create_connection(("127.0.0.1", receiver.port)) as far,
                    ):
                        near.settimeout(2)
                        said = near.recv(65536)
                        while BODY[-20:] not in said:
                            said += near.recv(65536)
                        far.sendall(said)
                        while data := far.recv(65536):
                            near.sendall(data)
                except OSError:
                    continue

        thread = threading.Thread(target=relay)
        thread.start()
        try:
            url = f"https://127.0.0.1:{outer.getsockname()[1]}/v1/traces"
            verdicts = []
            for files in ({"ca_file": str(pki / "ca.pem")}, {"ca_file": str(pki / "other.pem")}, {}):
                client = Client(Endpoint.of({"endpoint": url, "timeout": 5, **files}, {}))
                verdicts.append(client.send(BODY).verdict)
        finally:
            stop.set()
            thread.join()
    assert verdicts == [SENT, DENIED, DENIED]


def test_words_of_a_back_end_are_cut_and_harmless(rpc: Receiver) -> None:
    rpc.answers.append(Answer("INVALID_ARGUMENT", "x\x1b]0;" + "y" * 5000))
    message = send(rpc).message
    assert len(message) < 500
    assert "\x1b" not in message


def test_a_library_that_is_missing_is_said(rpc: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)
    outcome = send(rpc)
    assert outcome.verdict is DENIED
    assert "pip install -e '.[tracing]'" in outcome.message
