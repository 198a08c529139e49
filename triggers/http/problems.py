"""Errors as application/problem+json (RFC 9457), naming the field and the value."""

import json

import azure.functions as func

from core.errors import (
    BlobNotFound,
    ContainerNotFound,
    GeolatheError,
    InvalidRequest,
    JobNotFound,
    KeyReused,
    MethodNotAllowed,
    RequestError,
    RouteNotFound,
    StateConflict,
    TooLarge,
    Unavailable,
    UnknownJobType,
)
from core.models import Failure
from triggers.http.bodies import Problem, WrongField

MEDIA_TYPE = "application/problem+json"
STATUS: dict[type[GeolatheError], tuple[int, str]] = {
    InvalidRequest: (422, "A parameter is wrong"),
    UnknownJobType: (404, "There is no such job type"),
    JobNotFound: (404, "There is no such job"),
    ContainerNotFound: (404, "The container does not exist"),
    BlobNotFound: (404, "The blob does not exist"),
    RouteNotFound: (404, "Route not found"),
    MethodNotAllowed: (405, "Method not allowed"),
    KeyReused: (422, "The key stands for another request"),
    TooLarge: (413, "The request is too large"),
    StateConflict: (409, "The job's state forbids it"),
    RequestError: (400, "The request is wrong"),
    Unavailable: (503, "A part of the service cannot be reached; try again"),
}


# A failed job's reason is that of its input, but for these and what no handler foresaw.
OUR_FAULTS = {
    "ERROR", "UNEXPECTED_ERROR", "STAGE_FAILED", "TASK_LOST", "WORKER_LOST", "UNKNOWN_TASK_TYPE",
    "UNAVAILABLE", "SCRATCH_FULL", "NOT_STORABLE", "COG_INVALID", "COG_UNREADABLE",
}  # fmt: skip


def problem(
    error: GeolatheError, kind: str | None = None, status: int | None = None
) -> func.HttpResponse:
    """The response for an error of ours; `kind` and `status` where a standard has its own."""
    usual, title = next(STATUS[each] for each in type(error).__mro__ if each in STATUS)
    wrong = error.errors if isinstance(error, InvalidRequest) else None
    return _answer(
        Problem(
            type=kind or _kind(error.code),
            title=title,
            status=status or usual,
            code=error.code,
            detail=error.message,
            errors=[WrongField(**each._asdict()) for each in wrong] if wrong else None,
        )
    )


def failure_problem(failure: Failure) -> func.HttpResponse:
    """The response of a job that failed to whoever asks for its results."""
    ours = failure.code in OUR_FAULTS or not failure.code.isupper()
    return _answer(
        Problem(
            type=_kind(failure.code),
            title="The job failed",
            status=500 if ours else 422,
            code=failure.code,
            detail=failure.message,
        )
    )


def _kind(code: str) -> str:
    return f"urn:geolathe:error:{code.lower().replace('_', '-')}"


def _answer(body: Problem) -> func.HttpResponse:
    headers = {"Retry-After": "5"} if body.status == 503 else {}
    # ASCII only: what a caller sent comes back in it, also half a surrogate pair.
    text = json.dumps(body.model_dump(), default=str)
    return func.HttpResponse(text, status_code=body.status, mimetype=MEDIA_TYPE, headers=headers)
