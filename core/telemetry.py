"""Spans and measurements of what the product does, for whatever records them.

The core and the adapters name operations and measurements here; `install_telemetry` connects a
recorder. Without one nothing is recorded. A span continues a trace by its `traceparent`
(https://www.w3.org/TR/trace-context/), which messages and jobs carry.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal, Protocol

from core.log_context import Ids, current_ids, log_context

Kind = Literal["server", "consumer", "producer", "client", "internal"]
Measure = Literal["task.duration", "task.retries", "blob.read", "blob.written"]


class Telemetry(Protocol):
    """Where spans and measurements go."""

    def span(
        self, name: str, kind: Kind, parent: str | None, attributes: Ids
    ) -> AbstractContextManager[None]:
        """Record the block as a span below `parent`, or below the current span without one."""

    def annotate(self, attributes: Ids) -> None:
        """Add attributes to the current span."""

    def traceparent(self) -> str | None:
        """The current span, as a header; None outside of a span."""

    def measure(self, name: Measure, value: float, attributes: Ids) -> None:
        """Record one value."""


class NoTelemetry:
    """Records nothing."""

    def span(
        self, name: str, kind: Kind, parent: str | None, attributes: Ids
    ) -> AbstractContextManager[None]:
        return nullcontext()

    def annotate(self, attributes: Ids) -> None:
        pass

    def traceparent(self) -> str | None:
        return None

    def measure(self, name: Measure, value: float, attributes: Ids) -> None:
        pass


_installed: Telemetry = NoTelemetry()


def install_telemetry(telemetry: Telemetry) -> None:
    """Send the spans and measurements of this process there."""
    global _installed
    _installed = telemetry


@contextmanager
def operation(
    name: str, kind: Kind = "internal", parent: str | None = None, **ids: str | int | None
) -> Iterator[None]:
    """Record the block as a span. Its log records and all spans within carry the ids, too."""
    with log_context(**ids), _installed.span(name, kind, parent, current_ids()):
        yield


def is_traced() -> bool:
    """Whether there is a span that another one could belong to."""
    return _installed.traceparent() is not None


def annotate(**ids: str | int | None) -> None:
    """Add ids to the current span that were not known when it began."""
    _installed.annotate({name: value for name, value in ids.items() if value is not None})


def traceparent() -> str | None:
    """The current span, for a message or a job; None when nothing is recorded."""
    return _installed.traceparent()


def continue_trace(stored: str | None) -> str | None:
    """The current span if it belongs to the trace of `stored`, else `stored`.

    A timer or a request of another user may act on a job. What follows belongs to the job's trace.
    """
    current = _installed.traceparent()
    if stored is None or current is None:
        return stored or current
    return current if _trace_id(current) == _trace_id(stored) else stored


def measure(name: Measure, value: float, **attributes: str | int | None) -> None:
    """Record one value; attributes that are None are left out."""
    _installed.measure(name, value, {k: v for k, v in attributes.items() if v is not None})


@contextmanager
def timed(name: Measure, attributes: Mapping[str, str]) -> Iterator[None]:
    """Measure the duration of the block in seconds."""
    start = time.perf_counter()
    try:
        yield
    finally:
        measure(name, time.perf_counter() - start, **attributes)


def _trace_id(header: str) -> str:
    return header[3:35]
