"""A request that fails says where, why and what mends it, and is repeated only where that can help."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from conftest import insist
from opensearch_node.breaking import breaking
from opensearch_node.secured import Secured, secured
from opensearch_node.shapes import DATE, put

from mailtrace.config import OpenSearchConfig
from mailtrace.hosts import Inventory
from mailtrace.load import load_job
from mailtrace.parsers import make_parser
from mailtrace.report import Report
from mailtrace.run import check, run_job
from mailtrace.secret import Secret
from mailtrace.sources import opensearch_connection
from mailtrace.sources.opensearch import OpenSearchSource
from mailtrace.sources.opensearch_connection import Connection, Failed, quoted

if TYPE_CHECKING:
    from opensearch_node import node as nodes

Reply = tuple[int, str, str]
GOOD: Reply = (200, "application/json", '{"ok": true}')

pytestmark = pytest.mark.needs("opensearchpy")


class Server(ThreadingHTTPServer):
    """Answers with what it is told, in order, the last one for ever."""

    replies: list[Reply]
    asked = 0
    retry_after = ""


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
        if self.server.retry_after:
            self.send_header("Retry-After", self.server.retry_after)
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
    assert made.request("GET", "/")["ok"] is True
    made.close()
    assert server.asked == 3


@pytest.mark.parametrize("said, waited", [("7", 7.0), ("0", 1.0), ("soon", 1.0), ("", 1.0)])
def test_a_busy_server_says_when_it_may_be_asked_again(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch, said: str, waited: float
) -> None:
    monkeypatch.setattr(opensearch_connection, "RETRIES", (1.0, 10.0))
    server = serve(refused(429, "busy"), GOOD)
    server.retry_after = said
    made = connection(server)
    waits: list[float] = []
    monkeypatch.setattr(made._closed, "wait", waits.append)
    assert made.request("GET", "/")["ok"] is True
    made.close()
    assert waits == [waited]


@pytest.mark.parametrize("as_date", [False, True])
def test_a_server_that_wants_more_patience_than_there_is_is_given_up_at_once(
    serve: Callable[..., Server], as_date: bool
) -> None:
    server = serve(refused(503, "busy"))
    server.retry_after = formatdate(time.time() + 3600, usegmt=True) if as_date else "3600"
    made = connection(server)
    with pytest.raises(Failed, match=r"busy \(503\); it may be asked again in 3[56]\d\d"):
        made.request("GET", "/")
    made.close()
    assert server.asked == 1


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
    assert made.request("GET", "/")["ok"] is made.request("GET", "/")["ok"] is True
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


def test_a_node_that_is_not_there_is_passed_over(serve: Callable[..., Server]) -> None:
    server = serve(GOOD)
    made = Connection(OpenSearchConfig(hosts=("127.0.0.1:1", f"127.0.0.1:{server.server_port}")))
    assert all(made.request("GET", "/")["ok"] for _ in range(5))
    made.close()
    assert server.asked == 5


@pytest.mark.parametrize("host", ["192.0.2.1", "localhost.example.com", "search:9200"])
def test_a_password_that_would_travel_in_the_open_is_told(host: str) -> None:
    assert "travels unencrypted" in told_of(OpenSearchConfig(hosts=("127.0.0.1", host), username="reader"))
    assert told_of(OpenSearchConfig(hosts=(host,), username="reader", use_ssl=True, verify_certs=True)) == ""
    assert told_of(OpenSearchConfig(hosts=(host,))) == ""


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3:9200", "::1", "[::1]:9200", "localhost:9200"])
def test_a_password_that_stays_on_this_machine_is_no_matter(host: str) -> None:
    assert told_of(OpenSearchConfig(host=host, username="reader")) == ""


def told_of(access: OpenSearchConfig) -> str:
    """What a source says before it is asked anything."""
    source = OpenSearchSource((), lambda _logs: make_parser(), Inventory(), access=access)
    return "\n".join(item.problem for item in source.coverage() if item.problem)


def test_no_secret_is_in_what_went_wrong(serve: Callable[..., Server]) -> None:
    made = connection(serve(refused(401, "x")), password=Secret("hunter22"))
    with pytest.raises(Failed) as caught:
        made.request("GET", "/")
    made.close()
    assert "reader" in str(caught.value)
    assert "hunter22" not in str(caught.value)


def test_a_name_of_an_index_stays_one_part_of_the_path() -> None:
    assert quoted("logs-*,mail/../_all?x=1#y") == "logs-*,mail%2F..%2F_all%3Fx%3D1%23y"


# ------------------------------------------------------------------------------------- TLS, passwords, rights


@pytest.fixture(scope="module")
def guarded(search_node: nodes.Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """An index behind TLS and passwords, with one line in it."""
    if not search_node.version.security:
        insist("nginx")
    with secured(search_node, tmp_path_factory.mktemp("guarded")) as found:
        client = found.client()
        for name in ("logs-mail", "secret-mail"):
            put(client, name, [LINE], {"@timestamp": DATE})
        client.close()
        yield found
        client = found.client()
        client.indices.delete(index="logs-mail,secret-mail")
        client.close()


LINE = {
    "@timestamp": "2026-01-01T00:00:00Z",
    "host": {"name": "mx1"},
    "log": {"syslog": {"appname": "postfix/smtp", "procid": "7"}},
    "message": "ABC123: to=<a@b.example>, relay=b.example[192.0.2.1]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, "
    "status=sent (250 ok)",
}


def trace(access: dict[str, Any], index: str = "logs-mail") -> Report:
    config = {"method": "opensearch", "opensearch_config": {**access, "index": index}}
    return run_job({"version": 1, "kind": "trace", "config": config, "find": {"keywords": ["abc123"]}, "export": []})


def problems(report: Report) -> str:
    return "\n".join(item.problem for item in report.coverage if item.problem)


@pytest.mark.slow
def test_a_reader_with_a_password_reads_through_tls_of_a_private_authority(guarded: Secured) -> None:
    report = trace(guarded.access())
    assert (len(report.mails), problems(report)) == (1, "")


@pytest.mark.slow
def test_a_wrong_password_is_said_and_not_shown(guarded: Secured) -> None:
    report = trace(guarded.access(password="hunter22"))
    assert report.exit_code == 3
    assert "refuses the password of reader" in problems(report)
    assert "hunter22" not in report.to_json()


@pytest.mark.slow
def test_a_certificate_of_an_unknown_authority_is_refused_with_the_cure(guarded: Secured) -> None:
    report = trace(guarded.access(ca_certs=""))
    assert report.exit_code == 3
    assert "name its authority in ca_certs" in problems(report)


@pytest.mark.slow
def test_a_certificate_for_another_name_is_refused(guarded: Secured) -> None:
    report = trace(guarded.access(host="127.0.0.1"))
    assert report.exit_code == 3
    assert "not valid for '127.0.0.1'" in problems(report)


@pytest.mark.slow
def test_a_certificate_that_is_not_checked_is_told(guarded: Secured) -> None:
    report = trace(guarded.access(host="127.0.0.1", ca_certs="", verify_certs=False))
    assert (len(report.mails), report.exit_code) == (1, 0)
    assert "its certificate is not verified" in problems(report)


@pytest.mark.slow
def test_plain_http_to_a_port_that_speaks_tls_is_told_so(guarded: Secured) -> None:
    report = trace(guarded.access(use_ssl=False))
    assert report.exit_code == 3
    assert "use_ssl" in problems(report)


@pytest.mark.slow
def test_tls_to_a_port_that_speaks_plain_http_is_told_so(search_node: nodes.Node, guarded: Secured) -> None:
    report = trace(guarded.access(port=search_node.port))
    assert report.exit_code == 3
    assert "does it speak plain http? (use_ssl)" in problems(report)


@pytest.mark.slow
def test_a_client_certificate_is_shown_to_the_server(guarded: Secured, tmp_path: Path) -> None:
    certificate = guarded.authority.issue_cert("reader.example", common_name="reader")  # Java wants a name
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    shown = {"client_cert": str(tmp_path / "cert.pem"), "client_key": str(tmp_path / "key.pem")}
    report = trace(guarded.access(username="", password="", **shown))
    assert (len(report.mails), problems(report)) == (1, "")


@pytest.mark.slow
def test_who_shows_neither_a_password_nor_a_certificate_is_refused(guarded: Secured) -> None:
    report = trace(guarded.access(username="", password=""))
    assert (report.mails, report.exit_code) == ([], 3)
    assert "refuses anyone without a user" in problems(report)


@pytest.mark.slow
def test_a_client_certificate_of_another_authority_is_refused(guarded: Secured, tmp_path: Path) -> None:
    certificate = trustme.CA().issue_cert("reader.example", common_name="reader")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    report = trace(guarded.access(username="", password="", client_cert=str(tmp_path / "both.pem")))
    assert (report.mails, report.exit_code) == ([], 3)
    assert "certificate" in problems(report)


# ------------------------------------------------------------------------------------------- Amazon's signature


def signature(region: str, service: str, secret: str) -> Callable[[str, str, dict[str, str], bytes], bool]:
    """What verifies a request as Amazon does: from what came over the wire alone."""

    def verified(method: str, target: str, headers: dict[str, str], body: bytes) -> bool:
        told = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/\d{8}/([\w-]+)/(\w+)/aws4_request, "
            r"SignedHeaders=([\w;-]+), Signature=(\w+)",
            headers.get("Authorization", ""),
        )
        if told is None or (told[1], told[2]) != (region, service):
            return False
        lower = {name.lower(): value for name, value in headers.items()}
        signed = {name: lower[name] for name in told[3].split(";")}
        if lower["x-amz-content-sha256"] != hashlib.sha256(body).hexdigest():
            return False
        request = AWSRequest(method=method, url=f"http://{lower['host']}{target}", data=body, headers=signed)
        request.context["timestamp"] = lower["x-amz-date"]
        auth = SigV4Auth(Credentials("AKIDEXAMPLE", secret), service, region)
        return bool(auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request) == told[4])

    return verified


@pytest.fixture
def amazon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials where Amazon's own tools take them from, and no machine of Amazon's to be asked for others."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret/key")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.mark.slow
@pytest.mark.usefixtures("amazon")
@pytest.mark.parametrize("service", ["es", "aoss"])
def test_every_request_is_signed_for_its_region_and_service(
    search_node: nodes.Node, search_client: Any, service: str
) -> None:
    put(search_client, f"signed-{service}", [LINE], {"@timestamp": DATE})
    with breaking(search_node.port) as proxy:
        proxy.guard = signature("eu-central-1", service, "a secret/key")
        access = {"host": "127.0.0.1", "port": proxy.server_port, "aws_region": "eu-central-1", "aws_service": service}
        report = trace(access, f"signed-{service}*,-other*")
        assert (len(report.mails), problems(report)) == (1, "")
        assert len(proxy.asked) > 4
        proxy.guard = signature("eu-central-1", service, "another key")
        report = trace(access, f"signed-{service}")
        assert (report.mails, report.exit_code) == ([], 3)
        assert "AWS of eu-central-1 may not do that: The signature is wrong" in problems(report)
        assert "a secret/key" not in report.to_json()


def test_where_there_are_no_credentials_of_amazons_that_is_said(monkeypatch: pytest.MonkeyPatch, amazon: None) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    made = Connection(OpenSearchConfig(host="127.0.0.1", port=1, aws_region="eu-central-1"))
    with pytest.raises(Failed, match="there are no AWS credentials"):
        made.request("GET", "/")


@pytest.mark.slow
def test_a_reader_without_statistics_and_settings_reads_all_the_same(guarded: Secured) -> None:
    report = trace(guarded.access("blind"))
    assert (len(report.mails), report.exit_code, problems(report)) == (1, 0, "")


@pytest.mark.slow
@pytest.mark.parametrize("user", ["reader", "blind"])
@pytest.mark.parametrize("pattern", ["logs-mail,secret-mail", "logs-*,secret-*"])
def test_indices_that_are_forbidden_are_named_and_the_others_read(guarded: Secured, user: str, pattern: str) -> None:
    report = trace(guarded.access(user), pattern)
    assert (len(report.mails), report.exit_code) == (1, 3)
    assert f"{user} may not read secret-" in problems(report)


@pytest.mark.slow
def test_a_pattern_of_which_the_server_names_no_index_is_told_with_the_cure(guarded: Secured) -> None:
    report = trace(guarded.access(), "*-mail")
    assert report.exit_code == 3
    assert "leave others out" in problems(report)
    assert trace(guarded.access(), "*-mail,-secret-mail").exit_code == 0


@pytest.mark.slow
def test_an_index_that_is_forbidden_as_a_whole_is_said(guarded: Secured) -> None:
    report = trace(guarded.access(), "secret-mail")
    assert (len(report.mails), report.exit_code) == (0, 3)
    assert "reader may not do that" in problems(report)


@pytest.mark.slow
@pytest.mark.parametrize("user", ["reader", "blind"])
def test_check_goes_through_with_as_few_rights_as_reading(guarded: Secured, user: str) -> None:
    config = {"method": "opensearch", "opensearch_config": {**guarded.access(user), "index": "logs-mail"}}
    items = check(load_job({"version": 1, "kind": "trace", "config": config}))
    told = "\n".join(item.problem for item in items)
    assert "1 of the last 1 lines are of a mail server" in told
    assert not any(item.missing for item in items)
