"""A real Jaeger for tests and trials: what a back end makes of late, repeated and orphaned spans.

`python tests/otelcol/jaeger.py` builds it with Go into `lib/` beside this file (git ignores it): six minutes and 3 GB
of Go's caches the first time. No part of CI: `invoke test --jaeger`. Module v1.76.0 is the program that calls itself
2.13.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

if __name__ == "__main__":
    import sys

    sys.path.insert(0, str(Path(__file__).parents[1]))

from otelcol.collector import BINARY, free_port, go

JAEGER = BINARY.parent / "jaeger"
HOW_TO_GET = "python tests/otelcol/jaeger.py (needs Go's module proxy, 3 GB and some minutes)"
MODULE = "github.com/jaegertracing/jaeger"
VERSION = "v1.76.0"

# No `batch` processor: it acknowledges before anything is stored. Without `enable_tracing: false` it traces itself.
CONFIG = """\
service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces: {{receivers: [otlp], exporters: [jaeger_storage_exporter]}}
  telemetry: {{metrics: {{level: none}}, logs: {{level: warn}}}}
extensions:
  jaeger_storage:
    backends:
      store:
        badger: {{directories: {{keys: {folder}/k, values: {folder}/v}}, ephemeral: false, ttl: {{spans: 87600h}}}}
  jaeger_query:
    storage: {{traces: store}}
    enable_tracing: false
    max_clock_skew_adjust: 0s
    http: {{endpoint: "127.0.0.1:{http}"}}
    grpc: {{endpoint: "127.0.0.1:{grpc}"}}
receivers:
  otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{port}"}}}}}}
exporters:
  jaeger_storage_exporter: {{trace_storage: store}}
"""


def build() -> None:
    """Make the program. Raises `CalledProcessError` where Go cannot."""
    folder = BINARY.parent / "jaeger-source"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    program = go()

    def run(*words: str) -> str:
        return subprocess.run([program, *words], cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout

    run("mod", "init", "jaeger-test")
    run("get", f"{MODULE}@{VERSION}")
    # Some checksums that it needs are in its own go.sum only.
    own = Path(run("list", "-m", "-f", "{{.Dir}}", MODULE).strip()) / "go.sum"
    (folder / "go.sum").write_bytes(own.read_bytes())
    run("get", "-tool", f"{MODULE}/cmd/jaeger@{VERSION}")
    run("build", "-trimpath", "-ldflags", "-s -w", "-o", str(JAEGER), f"{MODULE}/cmd/jaeger")


class Jaeger:
    """The process, and its API."""

    def __init__(self, folder: Path) -> None:
        self.port, self.http, grpc = free_port(), free_port(), free_port()
        self.folder = folder
        (folder / "jaeger.yaml").write_text(CONFIG.format(folder=folder, port=self.port, http=self.http, grpc=grpc))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Jaeger:
        with (self.folder / "jaeger.log").open("a") as log:
            self.process = subprocess.Popen(
                [JAEGER, "--config", self.folder / "jaeger.yaml"], stdout=log, stderr=subprocess.STDOUT
            )
        end = time.monotonic() + 30
        while time.monotonic() < end and self.process.poll() is None:
            with suppress(URLError, ConnectionError):
                self.ask("/api/v3/services")
                return self
            time.sleep(0.05)
        self.kill()
        raise RuntimeError((self.folder / "jaeger.log").read_text())

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)

    def ask(self, path: str, **query: str) -> Any:
        """An answer of the API."""
        url = f"http://127.0.0.1:{self.http}{path}" + (f"?{urlencode(query)}" if query else "")
        with urlopen(url, timeout=10) as answer:
            return json.load(answer)

    def trace(self, trace: str, **query: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """The spans of a trace with their resources, as OTLP/JSON; [] where there is none."""
        try:
            found = self.ask(f"/api/v3/traces/{trace}", **query)["result"]["resourceSpans"]
        except HTTPError as error:
            if error.code == 404:
                return []
            raise
        return [
            ({item["key"]: item["value"] for item in group["resource"]["attributes"]}, span)
            for group in found
            for scope in group["scopeSpans"]
            for span in scope.get("spans", ())
        ]


if __name__ == "__main__":
    if not JAEGER.exists():
        build()
    print(JAEGER)
