"""Ids in log records: the request, job and task that a record belongs to.

Once installed, every record that is made within `log_context`, also one of a handler or a library,
has the attributes `correlation_id`, `job_id`, `job_type`, `stage`, `task_id` and `attempt` as far
as they are known. Spans have the same attributes: core/telemetry.py.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

Ids = Mapping[str, str | int]

_ids: ContextVar[Ids] = ContextVar("log_ids", default={})  # noqa: B039  never changed


@contextmanager
def log_context(**ids: str | int | None) -> Iterator[None]:
    """Add ids to the records made within the block. An id that is None keeps its outer value."""
    known = {name: value for name, value in ids.items() if value is not None}
    token = _ids.set({**_ids.get(), **known})
    try:
        yield
    finally:
        _ids.reset(token)


def current_ids() -> Ids:
    """The ids of the context."""
    return _ids.get()


class ContextRecord(logging.LogRecord):
    """A log record with the ids of its context."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__dict__.update(_ids.get())


def install_log_context() -> None:
    """Make all log records of this process carry the ids of their context."""
    logging.setLogRecordFactory(ContextRecord)
