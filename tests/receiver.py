"""An OTLP back end in this process that answers as a test wants: any code, RetryInfo, partial success."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"


@dataclass
class Answer:
    """A refusal: a gRPC code's name or an HTTP status, its words, seconds of RetryInfo or Retry-After."""

    code: str | int
    text: str = ""
    retry: float | None = None


def partial(rejected: int, message: str) -> ExportTraceServiceResponse:
    """An answer that drops some spans."""
    return ExportTraceServiceResponse(
        partial_success=ExportTracePartialSuccess(rejected_spans=rejected, error_message=message)
    )


Reply = Answer | ExportTraceServiceResponse | Callable[[ExportTraceServiceRequest], Answer | None] | None


@dataclass
class Receiver:
    """What came, and what is answered: `answers` one after the other, then all is well."""

    port: int = 0
    path: str = ""
    answers: deque[Reply] = field(default_factory=deque)
    always: Reply = None
    taken: list[ExportTraceServiceRequest] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    calls: int = 0
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"

    @property
    def spans(self) -> list[tuple[str, Span]]:
        """Every span that was taken, with its host."""
        return [
            (host_of(group.resource), span)
            for request in self.taken
            for group in request.resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        ]

    @property
    def names(self) -> list[str]:
        return [span.name for _, span in self.spans]

    def answer(self, body: bytes) -> Answer | ExportTraceServiceResponse:
        self.calls += 1
        request = ExportTraceServiceRequest.FromString(body)
        reply = self.answers.popleft() if self.answers else self.always
        if callable(reply):
            reply = reply(request)
        if isinstance(reply, Answer):
            return reply
        self.taken.append(request)
        self.bodies.append(body)
        return reply or ExportTraceServiceResponse()


def spans_in(request: ExportTraceServiceRequest) -> list[Span]:
    return [span for group in request.resource_spans for scope in group.scope_spans for span in scope.spans]


def host_of(resource: Any) -> str:
    return next(str(item.value.string_value) for item in resource.attributes if item.key == "host.name")


@contextmanager
def over_grpc(*answers: Reply) -> Iterator[Receiver]:
    """A receiver that speaks gRPC."""
    receiver = Receiver(answers=deque(answers))

    def export(body: bytes, context: grpc.ServicerContext) -> bytes:
        receiver.headers = {name: value for name, value in context.invocation_metadata() if isinstance(value, str)}
        reply = receiver.answer(body)
        if isinstance(reply, Answer):
            if reply.retry is not None:
                context.set_trailing_metadata((("grpc-status-details-bin", _details(reply)),))
            context.abort(grpc.StatusCode[str(reply.code)], reply.text)
        assert isinstance(reply, ExportTraceServiceResponse)
        return reply.SerializeToString()

    handler = grpc.method_handlers_generic_handler(SERVICE, {"Export": grpc.unary_unary_rpc_method_handler(export)})
    server = grpc.server(ThreadPoolExecutor(4), options=(("grpc.max_receive_message_length", 4 << 20),))
    server.add_generic_rpc_handlers((handler,))
    receiver.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield receiver
    finally:
        server.stop(None).wait()


def _details(answer: Answer) -> bytes:
    packed = Packed()
    seconds = answer.retry or 0.0
    packed.Pack(RetryInfo(retry_delay=Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))))
    return bytes(Status(code=grpc.StatusCode[str(answer.code)].value[0], details=[packed]).SerializeToString())


@contextmanager
def over_http(*answers: Reply) -> Iterator[Receiver]:
    """A receiver that speaks HTTP."""
    receiver = Receiver(path="/v1/traces", answers=deque(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            import gzip

            receiver.headers = {name.lower(): value for name, value in self.headers.items()} | {":path": self.path}
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            reply = receiver.answer(body)
            data = b"" if isinstance(reply, Answer) else reply.SerializeToString()
            self.send_response(int(reply.code) if isinstance(reply, Answer) else 200)
            if isinstance(reply, Answer) and reply.retry is not None:
                self.send_header("Retry-After", str(reply.retry))
            if isinstance(reply, Answer) and reply.text:
                self.send_header("Location", reply.text)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the parent's name for it
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
