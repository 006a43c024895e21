"""Back ends that take traces in the tests of faults: a real Collector, and one that answers as the dice fall."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

from otelcol.collector import Collector as Real


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Collector(Real):
    """The real Collector, whose spans are text."""

    def __init__(self, folder: Path, grpc: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder, grpc=grpc)

    def start(self) -> Collector:
        """Start it and wait until it listens."""
        super().start()
        return self

    def stop(self) -> None:
        """End it."""
        self.kill()

    def texts(self) -> list[str]:
        """Every span that it stored, with its resource, as text that is the same for the same span."""
        return [
            f"{json.dumps(resource, sort_keys=True)} {json.dumps(span, sort_keys=True)}"
            for resource, span in self.spans()
        ]


class Dice:
    """A back end in this process. `faults` are what it may answer instead of taking a request; it keeps what it took.

    throttle: RESOURCE_EXHAUSTED with the time to wait; away: UNAVAILABLE; partial: takes all spans but the first.
    """

    def __init__(self, faults: tuple[str, ...], seed: int, share: float = 0.5) -> None:
        self.bodies: list[bytes] = []
        self.answered = 0
        self.rejected: list[bytes] = []
        self._dice, self._faults, self._share = random.Random(seed), faults, share
        self._lock = threading.Lock()
        self.port = free_port()
        self._server: Any = None

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Dice:
        """Listen."""
        import grpc

        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        handler: Any = grpc.unary_unary_rpc_method_handler(self._export)
        name = "opentelemetry.proto.collector.trace.v1.TraceService"
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {"Export": handler}),))
        self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()
        return self

    def stop(self) -> None:
        """Listen no more."""
        self._server.stop(0).wait(5)

    def _export(self, body: bytes, context: Any) -> bytes:
        import grpc
        from google.protobuf.any_pb2 import Any as Wrapped
        from google.protobuf.duration_pb2 import Duration
        from google.rpc.error_details_pb2 import RetryInfo
        from google.rpc.status_pb2 import Status
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
            ExportTracePartialSuccess,
            ExportTraceServiceRequest,
            ExportTraceServiceResponse,
        )

        with self._lock:
            fault = self._dice.choice(self._faults) if self._dice.random() < self._share else ""
            self.answered += bool(fault)
        if fault == "throttle":
            wait = RetryInfo(retry_delay=Duration(nanos=200_000_000))
            detail = Wrapped()
            detail.Pack(wait)
            status = Status(code=grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], message="slower", details=[detail])
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "slower")
        if fault == "away":
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        answer = ExportTraceServiceResponse()
        request = ExportTraceServiceRequest.FromString(body)
        if fault == "partial":
            del request.resource_spans[0].scope_spans[0].spans[0]
            answer = ExportTraceServiceResponse(
                partial_success=ExportTracePartialSuccess(rejected_spans=1, error_message="no room for the first")
            )
        with self._lock:
            self.bodies.append(request.SerializeToString())
        return bytes(answer.SerializeToString())

    def texts(self) -> list[str]:
        """Every span that it took, as text."""
        from google.protobuf.json_format import MessageToDict
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        def text(message: Any) -> str:
            return json.dumps(MessageToDict(message), sort_keys=True)

        return [
            f"{text(group.resource)} {text(span)}"
            for body in self.bodies
            for group in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        ]


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own that is soon full. Needs root."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)
