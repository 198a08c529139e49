"""Errors as application/problem+json (RFC 9457), with the field and the value that caused them."""

import json

import azure.functions as func

from core.errors import (
    AssetNotFound,
    BlobNotFound,
    ContainerNotFound,
    GeolatheError,
    InvalidRequest,
    ItemNotFound,
    JobNotFound,
    KeyReused,
    MethodNotAllowed,
    NotReady,
    RequestError,
    RouteNotFound,
    StateConflict,
    TooLarge,
    Unavailable,
    UnknownJobType,
)
from core.models import Failure
from triggers.http.bodies import InvalidField, Problem
from triggers.http.media_types import PROBLEM_JSON

STATUS: dict[type[GeolatheError], tuple[int, str]] = {
    InvalidRequest: (422, "Invalid parameter"),
    UnknownJobType: (404, "Job type not found"),
    JobNotFound: (404, "Job not found"),
    ContainerNotFound: (404, "Container not found"),
    BlobNotFound: (404, "Blob not found"),
    ItemNotFound: (404, "Item not found"),
    AssetNotFound: (404, "Asset not found"),
    RouteNotFound: (404, "Route not found"),
    MethodNotAllowed: (405, "Method not allowed"),
    KeyReused: (422, "Idempotency key already used"),
    TooLarge: (413, "Request body too large"),
    StateConflict: (409, "Not possible in the job's current state"),
    RequestError: (400, "Bad request"),
    NotReady: (503, "Database not ready"),
    Unavailable: (503, "Service temporarily unavailable"),
}


# A failed job is the fault of its input, except for these codes and for unexpected errors.
SERVICE_FAULTS = {
    "INTERNAL_ERROR", "UNEXPECTED_ERROR", "STAGE_FAILED", "LEASE_LOST", "WORKER_LOST",
    "BLOB_CHANGED", "BLOCKS_MISSING", "TIER_MISSING", "TASK_TYPE_NOT_FOUND",
    "SERVICE_UNAVAILABLE", "DISK_FULL", "SCRATCH_TOO_SMALL", "DATABASE_NOT_READY",
    "NOT_STORABLE", "COG_INVALID", "COG_UNREADABLE",
}  # fmt: skip


def build_problem(
    error: GeolatheError, kind: str | None = None, status: int | None = None
) -> func.HttpResponse:
    """The response for an error. A standard may define its own `kind` (type) and `status`."""
    usual, title = next(STATUS[each] for each in type(error).__mro__ if each in STATUS)
    invalid = error.errors if isinstance(error, InvalidRequest) else None
    return _respond(
        Problem(
            type=kind or _kind(error.code),
            title=title,
            status=status or usual,
            code=error.code,
            detail=error.message,
            errors=[InvalidField(**each._asdict()) for each in invalid] if invalid else None,
        )
    )


def build_failure_problem(failure: Failure) -> func.HttpResponse:
    """The response to a request for the results of a job that failed."""
    is_service_fault = failure.code in SERVICE_FAULTS or not failure.code.isupper()
    return _respond(
        Problem(
            type=_kind(failure.code),
            title="Job failed",
            status=500 if is_service_fault else 422,
            code=failure.code,
            detail=failure.message,
        )
    )


def _kind(code: str) -> str:
    return f"urn:geolathe:error:{code.lower().replace('_', '-')}"


def _respond(body: Problem) -> func.HttpResponse:
    headers = {"Retry-After": "5"} if body.status == 503 else {}
    # ASCII only: the problem quotes the request, which may hold half a surrogate pair.
    text = json.dumps(body.model_dump(), default=str)
    return func.HttpResponse(text, status_code=body.status, mimetype=PROBLEM_JSON, headers=headers)
