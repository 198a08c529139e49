"""The correlation id of a request: the caller's, or a new one."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from uuid import uuid4

import azure.functions as func

from triggers.http.parameters import Parameter

HEADER = "x-correlation-id"
CORRELATION_ID = Parameter(
    HEADER,
    "header",
    {"type": "string"},
    "Identifies the request in logs. Without it, `traceparent`'s trace id or a new id is used.",
)
_ID = re.compile(r"[\x21-\x7e]{1,128}")
_TRACE_PARENT = re.compile(
    r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}.*"
)
_current: ContextVar[str] = ContextVar("correlation_id")


def get_correlation_id() -> str:
    """The id of the request that is being answered."""
    return _current.get()


@contextmanager
def correlate(req: func.HttpRequest) -> Iterator[str]:
    """Use the request's correlation id within the block."""
    token = _current.set(_read(req))
    try:
        yield _current.get()
    finally:
        _current.reset(token)


def _read(req: func.HttpRequest) -> str:
    """The id in `x-correlation-id`, else the trace id in `traceparent`, else a new one.

    A header that is not valid is ignored, as https://www.w3.org/TR/trace-context/#traceparent-header
    asks for: a bad id must never make a good request fail.
    """
    given: str = req.headers.get(HEADER, "")
    if _ID.fullmatch(given):
        return given
    trace = _TRACE_PARENT.fullmatch(req.headers.get("traceparent", ""))
    return trace[1] if trace else uuid4().hex


def read_traceparent(req: func.HttpRequest) -> str | None:
    """The caller's `traceparent`; None without a valid one."""
    given: str = req.headers.get("traceparent", "")
    return given if _TRACE_PARENT.fullmatch(given) else None
