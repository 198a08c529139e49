"""What can go wrong, and whose turn it then is.

GeolatheError            has a stable `code` and one sentence for people
├── RequestError         the caller can mend it: HTTP 4xx; raised in a handler it ends the task
│   ├── NotJson              the body cannot be read
│   ├── TooLarge             the body is larger than any request needs to be
│   ├── InvalidRequest       a field is wrong; names field, value and cure
│   ├── UnknownJobType
│   ├── JobNotFound
│   ├── ContainerNotFound
│   ├── BlobNotFound
│   ├── NothingHere          no route has that address
│   ├── WrongMethod          the address takes other methods
│   ├── KeyReused            an Idempotency-Key that stands for another request
│   └── StateConflict        the job's state forbids it
├── TaskFailed           this input can never work: the task fails at once, without a retry
├── TaskLost             the claim is gone (cancelled, or another attempt runs): stop, write nothing
├── Unavailable          the database, the bus or storage cannot be reached: try again
└── ScratchFull          the local disk has no room for the work now: try again

Everything else is taken for a passing fault and retried.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple


class GeolatheError(Exception):
    """An error with a stable code and one sentence for people."""

    code = "ERROR"

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code


class RequestError(GeolatheError):
    """The caller can mend it."""

    code = "BAD_REQUEST"


class NotJson(RequestError):
    """The body cannot be read."""

    code = "BODY_NOT_JSON"


class TooLarge(RequestError):
    """The body is larger than any request needs to be."""

    code = "BODY_TOO_LARGE"


class FieldError(NamedTuple):
    """One field of a request that is wrong."""

    field: str
    value: Any
    message: str


class InvalidRequest(RequestError):
    """One or more fields are wrong."""

    code = "INVALID_PARAMETER"

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = list(errors)
        super().__init__("; ".join(f"{e.field}: {e.message}" for e in self.errors))


class UnknownJobType(RequestError):
    """No job of that name is registered."""

    code = "UNKNOWN_JOB_TYPE"


class JobNotFound(RequestError):
    """No job has that id."""

    code = "JOB_NOT_FOUND"


class ContainerNotFound(RequestError):
    """The storage account has no container of that name."""

    code = "CONTAINER_NOT_FOUND"


class BlobNotFound(RequestError):
    """The container has no blob of that name."""

    code = "BLOB_NOT_FOUND"


class NothingHere(RequestError):
    """No route has that address."""

    code = "NOTHING_HERE"


class WrongMethod(RequestError):
    """The address takes other methods."""

    code = "WRONG_METHOD"


class KeyReused(RequestError):
    """The Idempotency-Key stands for another request."""

    code = "IDEMPOTENCY_KEY_REUSED"


class StateConflict(RequestError):
    """The job's state forbids what was asked."""

    code = "STATE_CONFLICT"


class TaskFailed(GeolatheError):
    """This input can never work."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message, code)


class TaskLost(GeolatheError):
    """The task is no longer this worker's."""

    code = "TASK_LOST"


class Unavailable(GeolatheError):
    """A part of the world cannot be reached right now."""

    code = "UNAVAILABLE"


class ScratchFull(GeolatheError):
    """The local disk has no room for the work right now."""

    code = "SCRATCH_FULL"
