"""The HTTP side: POST /v1/traces, /v1/metrics and /v1/logs with protobuf bodies."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from local.emulators.otlp.store import Span, SpanStore

logger = logging.getLogger(__name__)

TYPE = "application/x-protobuf"
TRACES, ACCEPTED = "/v1/traces", ("/v1/traces", "/v1/metrics", "/v1/logs")


class Receiver(ThreadingHTTPServer):
    """Stores spans. Metrics and log records are accepted and dropped."""

    daemon_threads = True

    def __init__(self, port: int, store: SpanStore) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.store = store


class _Handler(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path not in ACCEPTED:
            return self._respond(404)
        if self.headers.get("Content-Type") != TYPE:
            return self._respond(415)
        try:
            if self.path == TRACES:
                self.server.store.add(read_spans(body))
        except DecodeError as error:
            logger.warning("%s: %s", self.path, error)
            return self._respond(400)
        return self._respond(200)

    def _respond(self, status: int) -> None:
        """An empty protobuf message is an empty body."""
        self.send_response(status)
        self.send_header("Content-Type", TYPE)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged."""


def read_spans(body: bytes) -> Iterator[Span]:
    """The spans of an export request. Raises DecodeError."""
    request = ExportTraceServiceRequest.FromString(body)
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                attributes = {each.key: _value(each.value) for each in span.attributes}
                yield Span(
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    name=span.name,
                    started=span.start_time_unix_nano,
                    ended=span.end_time_unix_nano,
                    is_error=span.status.code == Status.STATUS_CODE_ERROR,
                    job_id=str(attributes.get("job_id", "")),
                    attributes=json.dumps(attributes),
                )


def _value(value: AnyValue) -> str | int | float | bool:
    """A scalar; arrays and maps, which the product does not use, as text."""
    kind = value.WhichOneof("value")
    if kind in ("string_value", "int_value", "double_value", "bool_value"):
        scalar: str | int | float | bool = getattr(value, kind)
        return scalar
    return str(value)
