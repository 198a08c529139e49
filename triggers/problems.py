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
    RequestError,
    StateConflict,
    TooLarge,
    Unavailable,
    UnknownJobType,
)
from triggers.bodies import Problem, WrongField

MEDIA_TYPE = "application/problem+json"
STATUS: dict[type[GeolatheError], tuple[int, str]] = {
    InvalidRequest: (422, "A parameter is wrong"),
    UnknownJobType: (404, "There is no such job type"),
    JobNotFound: (404, "There is no such job"),
    ContainerNotFound: (404, "The container does not exist"),
    BlobNotFound: (404, "The blob does not exist"),
    KeyReused: (422, "The key stands for another request"),
    TooLarge: (413, "The request is too large"),
    StateConflict: (409, "The job's state forbids it"),
    RequestError: (400, "The request is wrong"),
    Unavailable: (503, "A part of the service cannot be reached; try again"),
}


def problem(
    error: GeolatheError, kind: str | None = None, status: int | None = None
) -> func.HttpResponse:
    """The response for an error of ours; `kind` and `status` where a standard has its own."""
    usual, title = next(STATUS[each] for each in type(error).__mro__ if each in STATUS)
    status = status or usual
    wrong = error.errors if isinstance(error, InvalidRequest) else None
    body = Problem(
        type=kind or f"urn:geolathe:error:{error.code.lower().replace('_', '-')}",
        title=title,
        status=status,
        code=error.code,
        detail=error.message,
        errors=[WrongField(**each._asdict()) for each in wrong] if wrong else None,
    )
    headers = {"Retry-After": "5"} if status == 503 else {}
    # ASCII only: what a caller sent comes back in it, also half a surrogate pair.
    text = json.dumps(body.model_dump(), default=str)
    return func.HttpResponse(text, status_code=status, mimetype=MEDIA_TYPE, headers=headers)
