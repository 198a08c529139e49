"""The pieces of the OpenAPI document that its paths share."""

from collections.abc import Iterable, Mapping

from pydantic import BaseModel

from core.models import Json
from triggers.http import bodies
from triggers.http.answers import JSON
from triggers.http.problems import MEDIA_TYPE
from triggers.http.queries import LARGEST_PAGE

REFERENCE = "#/components/schemas/{model}"
REASONS = {
    400: "the request cannot be read",
    404: "there is no such thing",
    409: "the job's state forbids it",
    410: "it was dismissed",
    413: "the body is too large",
    422: "a parameter is wrong",
    500: "a fault of the service",
    503: "a part of the service cannot be reached; try again",
}
TEXT: Json = {"type": "string"}
MOMENT: Json = {"type": "string", "format": "date-time"}
JOB_ID: Json = {
    "name": "job_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
}
KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "stands for this request: sent again with it, the request starts nothing anew",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
}
ETAG: Json = {
    "name": "If-None-Match",
    "in": "header",
    "description": "the ETag of the last answer; with `wait`, the answer comes once it differs",
    "schema": TEXT,
}
LIMIT: Json = {
    "name": "limit",
    "in": "query",
    "description": "how many at most",
    "schema": {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": 100},
}
JOB_PLACE: Json = {
    "name": "after",
    "in": "query",
    "description": "the `next` of the page before",
    "schema": {"type": "string", "pattern": "^[0-9]{1,17}-[0-9a-f]{64}$"},
}
ANONYMOUS: Json = {"security": []}
LOCATION: Json = {"Location": {"description": "the job's status", "schema": TEXT}}
LATER: Json = {"Retry-After": {"description": "seconds", "schema": TEXT}}


def operation(
    name: str,
    tag: str,
    summary: str,
    answers: Mapping[int, Json],
    problems: Iterable[int] = (),
    parameters: Iterable[Json] = (),
) -> Json:
    refused = {str(status): problem(status) for status in problems}
    responses = {str(status): answer for status, answer in answers.items()} | refused
    return {
        "operationId": name,
        "tags": [tag],
        "summary": summary,
        "parameters": list(parameters),
        "responses": responses | {"401": {"description": "the function key is missing or wrong"}},
    }


def answer(description: str, *models: type[BaseModel], headers: Json | None = None) -> Json:
    """An answer that is one of the models."""
    schemas = [reference(model) for model in models]
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    return {
        "description": description,
        "headers": headers or {},
        "content": {JSON: {"schema": schema}},
    }


def problem(status: int) -> Json:
    content = {MEDIA_TYPE: {"schema": reference(bodies.Problem)}}
    return {"description": REASONS[status], "content": content}


def reference(model: type[BaseModel]) -> Json:
    return {"$ref": REFERENCE.format(model=model.__name__)}


def query(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "query", "schema": schema, "description": description}
