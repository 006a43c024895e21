"""Where traces go: options first, then OpenTelemetry's variables, then the default."""

from __future__ import annotations

from typing import Any

import pytest

from mailtrace.otlp.endpoint import Endpoint
from mailtrace.secret import Secret


def of(env: dict[str, str] | None = None, **options: Any) -> Endpoint:
    return Endpoint.of(options, env or {})


def test_nothing_said_is_the_collector_on_this_machine() -> None:
    assert of() == Endpoint("http://localhost:4317")
    assert (of().target, of().tls, of().http, of().timeout) == ("localhost:4317", False, False, 10.0)


def test_an_option_leads_over_the_traces_variable_and_that_over_the_general_one() -> None:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://b:4317"}
    assert of(env, endpoint="http://a:4317").url == "http://a:4317"
    assert of(env).url == "http://b:4317"
    del env["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]
    assert of(env).url == "http://c:4317"


@pytest.mark.parametrize(
    "url, http, sent",
    [
        ("http://a:4317", False, "http://a:4317"),
        ("https://a", False, "https://a"),
        ("http://a:4318", True, "http://a:4318/v1/traces"),
        ("https://a/otlp", True, "https://a/otlp/v1/traces"),
        ("https://a/v1/traces", True, "https://a/v1/traces"),
        ("http://[::1]:4318/", True, "http://[::1]:4318/v1/traces"),
    ],
)
def test_the_endpoint_says_which_protocol_is_spoken(url: str, http: bool, sent: str) -> None:
    assert (of(endpoint=url).http, of(endpoint=url).url) == (http, sent)


def test_a_variable_decides_for_an_endpoint_that_says_nothing() -> None:
    env = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    assert of(env, endpoint="https://a").url == "https://a/v1/traces"
    assert not of(env, endpoint="https://a:4317").http
    assert not of({**env, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, endpoint="https://a").http


@pytest.mark.parametrize(
    "url, target",
    [("https://a", "a:443"), ("http://a", "a:80"), ("https://[2001:db8::1]:4317", "[2001:db8::1]:4317")],
)
def test_a_target_has_a_port(url: str, target: str) -> None:
    assert of(endpoint=url).target == target


def test_headers_of_the_environment_are_read_as_the_specification_has_them() -> None:
    env = {"OTEL_EXPORTER_OTLP_HEADERS": "Api-Key=a%20b%3D, x=1,"}
    assert of(env).headers == {"api-key": Secret("a b="), "x": Secret("1")}
    assert of(env, headers={"Authorization": Secret("Bearer t")}).headers == {"authorization": Secret("Bearer t")}


def test_the_environment_counts_milliseconds() -> None:
    env = {"OTEL_EXPORTER_OTLP_TIMEOUT": "2500"}
    assert of(env).timeout == 2.5
    assert of(env, timeout=3).timeout == 3.0


def test_files_and_compression_come_from_the_environment_too() -> None:
    env = {
        "OTEL_EXPORTER_OTLP_CERTIFICATE": "ca.pem",
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": "c.pem",
        "OTEL_EXPORTER_OTLP_CLIENT_KEY": "k.pem",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
    }
    found = of(env)
    assert (found.ca_file, found.cert_file, found.key_file, found.gzip) == ("ca.pem", "c.pem", "k.pem", True)
    assert not of(env, compression="none").gzip


@pytest.mark.parametrize(
    "options, words",
    [
        ({"endpoint": "localhost:4317"}, "http://HOST:PORT"),
        ({"endpoint": "http://"}, "http://HOST:PORT"),
        ({"endpoint": "http://a:b"}, "no address"),
        ({"endpoint": "http://me:hunter2@a:1"}, "holds no user"),
        ({"compression": "zip"}, "none or gzip"),
        ({"cert_file": "c.pem"}, "both cert_file and key_file"),
        ({"headers": {"a b": Secret("x")}}, "no name of a header"),
        ({"headers": {"a": Secret("x\r\ny: z")}}, "no header can have"),
    ],
)
def test_what_no_request_can_be_sent_with_is_said(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as failed:
        of(**options)
    assert "hunter2" not in str(failed.value)


@pytest.mark.parametrize("name, text", [("TIMEOUT", "soon"), ("HEADERS", "hunter2")])
def test_a_broken_variable_is_said_by_its_name(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"OTEL_EXPORTER_OTLP_{name}") as failed:
        of({f"OTEL_EXPORTER_OTLP_{name}": text})
    assert "hunter2" not in str(failed.value)
