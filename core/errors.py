"""The product's exceptions.

GeolatheError            carries a stable `code` and a message for people
├── RequestError         the caller can correct it: HTTP 4xx; raised in a handler it fails the task
│   ├── NotJson              the body is not JSON
│   ├── TooLarge             the body exceeds the size limit
│   ├── InvalidRequest       fields are missing, unknown or invalid
│   ├── UnknownJobType
│   ├── JobNotFound
│   ├── ContainerNotFound
│   ├── BlobNotFound
│   ├── ItemNotFound
│   ├── AssetNotFound        the item has no such asset, or its file cannot be downloaded
│   ├── RouteNotFound        no route matches the path
│   ├── MethodNotAllowed     the path exists and accepts other methods
│   ├── KeyReused            the Idempotency-Key was used for a different request
│   └── StateConflict        the job's state does not allow the operation
├── BlobChanged          another writer replaced the blob: try again
│   └── BlocksMissing    staged blocks are gone: stage them again
├── TaskFailed           permanent: the task fails at once, without a retry
├── TaskLost             the claim is gone (cancelled, or claimed again): stop, write nothing
├── NotReady             the database lacks the tables or rights of this release
├── Unavailable          the database, the message broker or storage is unreachable: try again
└── ScratchFull          not enough local disk at the moment: try again

Every other exception counts as transient and is retried.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple


class GeolatheError(Exception):
    """An error with a stable code and a message for people."""

    code = "INTERNAL_ERROR"

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code


class RequestError(GeolatheError):
    """The caller can correct the request."""

    code = "BAD_REQUEST"


class NotJson(RequestError):
    """The body is not JSON."""

    code = "BODY_NOT_JSON"


class TooLarge(RequestError):
    """The body exceeds the size limit."""

    code = "BODY_TOO_LARGE"


class FieldError(NamedTuple):
    """An invalid field of a request."""

    field: str
    value: Any
    message: str


class InvalidRequest(RequestError):
    """One or more fields are missing, unknown or invalid."""

    code = "INVALID_PARAMETER"

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = list(errors)
        super().__init__("; ".join(f"{e.field}: {e.message}" for e in self.errors))


class UnknownJobType(RequestError):
    """No job type of that name is registered."""

    code = "JOB_TYPE_NOT_FOUND"


class JobNotFound(RequestError):
    """No job has that id."""

    code = "JOB_NOT_FOUND"


class ContainerNotFound(RequestError):
    """The storage account has no container of that name."""

    code = "CONTAINER_NOT_FOUND"


class BlobChanged(GeolatheError):
    """The blob is not at the version that was to be replaced."""

    code = "BLOB_CHANGED"


class BlocksMissing(BlobChanged):
    """Storage does not have all of the staged blocks: another writer committed, or they expired."""

    code = "BLOCKS_MISSING"


class TierMissing(GeolatheError):
    """An item was described without a tier that was published meanwhile."""

    code = "TIER_MISSING"


class BlobNotFound(RequestError):
    """The container has no blob of that name."""

    code = "BLOB_NOT_FOUND"


class ItemNotFound(RequestError):
    """The collection has no item with that id."""

    code = "ITEM_NOT_FOUND"


class AssetNotFound(RequestError):
    """The item has no such asset, or its file cannot be downloaded."""

    code = "ASSET_NOT_FOUND"


class RouteNotFound(RequestError):
    """No route matches the path."""

    code = "ROUTE_NOT_FOUND"


class MethodNotAllowed(RequestError):
    """The path exists, but not for this method."""

    code = "METHOD_NOT_ALLOWED"


class KeyReused(RequestError):
    """The Idempotency-Key was used before, for a different request."""

    code = "IDEMPOTENCY_KEY_REUSED"


class StateConflict(RequestError):
    """The job's state does not allow the operation."""

    code = "STATE_CONFLICT"


class TaskFailed(GeolatheError):
    """A permanent failure: retrying with the same input cannot help."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message, code)


class TaskLost(GeolatheError):
    """This attempt no longer holds the task."""

    code = "LEASE_LOST"


class Unavailable(GeolatheError):
    """An external service is unreachable."""

    code = "SERVICE_UNAVAILABLE"


class NotReady(GeolatheError):
    """The database lacks tables or rights that this release needs."""

    code = "DATABASE_NOT_READY"


class ScratchFull(GeolatheError):
    """Not enough free space on the local disk."""

    code = "DISK_FULL"
