"""The OpenAPI 3.1 document, generated from the declared routes and their models."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

import azure.functions as func
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from core.job import JobBase
from core.models import Json
from triggers.http.bodies import Problem
from triggers.http.correlation import CORRELATION_ID
from triggers.http.correlation import HEADER as CORRELATION_HEADER
from triggers.http.media_types import JSON, PROBLEM_JSON
from triggers.http.parameters import JOB_TYPE, TEXT, Parameter, enumerate_values
from triggers.http.route import Reply, RequestBody, Route, Routes, route
from triggers.http.schemas import describe_input

REFERENCE = "#/components/schemas/{model}"
PROBLEMS = {
    400: "The request cannot be read",
    404: "Not found",
    409: "Not possible in the job's current state",
    410: "The job was dismissed",
    413: "The body is too large",
    422: "A parameter is invalid",
    500: "The job failed because of the service",
    503: "A part of the service cannot be reached; try again after Retry-After seconds",
}
HEADERS = {
    "Location": "URL of the job's status",
    "Retry-After": "Seconds to wait before the next request",
    "ETag": "Identifies this state of the job",
    CORRELATION_HEADER: "The correlation id of the request",
}


class OpenApi(Routes):
    """The route of the document. It needs no key: the document contains no data."""

    def __init__(self, groups: Sequence[type[Routes]], jobs: Sequence[JobBase]) -> None:
        self.document = cache(lambda: json.dumps(describe_api(groups, jobs)))

    @route("GET", "openapi.json", anonymous=True)
    def get_openapi(self, req: func.HttpRequest) -> func.HttpResponse:
        return func.HttpResponse(self.document(), mimetype=JSON)


def describe_api(groups: Iterable[type[Routes]], jobs: Sequence[JobBase]) -> Json:
    """The whole document."""
    documented = [
        (group.tag, each) for group in groups for each in group.declared() if each.replies
    ]
    paths: Json = {}
    for tag, each in documented:
        for path, operation in _describe_route(tag, each, jobs):
            paths.setdefault(path, {})[str(each.method).lower()] = operation
    key = {"type": "apiKey", "in": "header", "name": "x-functions-key"}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Geolathe",
            "version": "1",
            "summary": "Turns rasters in blob storage into COGs, STAC items and maps.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/api"}],
        "security": [{"function_key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"function_key": key},
            "schemas": _describe_models([each for _, each in documented], jobs),
        },
    }


def _describe_route(tag: str, each: Route, jobs: Sequence[JobBase]) -> Iterator[tuple[str, Json]]:
    """The paths of a route with its operation: one, or one for every job type."""
    path = "/" + re.sub(r"\{\*(\w+)\}", r"{\1}", each.path)
    if JOB_TYPE not in each.parameters:
        yield path, _describe_operation(tag, each, jobs)
        return
    for job in jobs:
        operation = _describe_operation(tag, each, jobs) | {
            "operationId": f"{each.name.removesuffix('_job')}_{job.job_type}",
            "summary": job.description,
        }
        operation["requestBody"]["content"][JSON] = {
            "schema": {"$ref": REFERENCE.format(model=f"{_prefix(job)}Parameters")},
            "example": job.example,
        }
        for status in each.replies:
            _describe_result(operation["responses"][str(status)], job)
        yield path.replace("{job_type}", job.job_type), operation


def _describe_operation(tag: str, each: Route, jobs: Sequence[JobBase]) -> Json:
    problems = {str(status): _describe_problem(status) for status in each.problems}
    replies = {str(status): _describe_reply(reply) for status, reply in each.replies.items()}
    refused = {} if each.anonymous else {"401": {"description": "Missing or invalid function key"}}
    described = [*each.parameters, CORRELATION_ID]
    operation = {
        "operationId": each.name,
        "tags": [tag],
        "summary": each.summary,
        "parameters": [_describe_parameter(p, jobs) for p in described if p is not JOB_TYPE],
        "responses": replies | problems | refused,
    }
    if each.body is not None:
        operation["requestBody"] = {"required": True, "content": {JSON: _describe_body(each.body)}}
    return operation | ({"security": []} if each.anonymous else {})


def _describe_body(body: RequestBody) -> Json:
    if body.model is None:
        return {}
    example = {} if body.example is None else {"example": body.example}
    return {"schema": _refer_to(body.model), **example}


def _describe_parameter(parameter: Parameter, jobs: Sequence[JobBase]) -> Json:
    schema = parameter.schema
    if parameter.is_job_type:
        schema = enumerate_values(job.job_type for job in jobs)
    described: Json = {
        "name": parameter.name,
        "in": parameter.where,
        "description": parameter.description,
        "schema": {"type": "array", "items": schema} if parameter.is_list else schema,
    }
    if parameter.where == "path":
        described["required"] = True
    if parameter.is_list:
        described |= {"style": "form", "explode": False}
    return described


def _describe_reply(reply: Reply) -> Json:
    headers = (*reply.headers, CORRELATION_HEADER)
    described: Json = {
        "description": reply.description,
        "headers": {name: {"description": HEADERS[name], "schema": TEXT} for name in headers},
    }
    if reply.models:
        schemas = [_refer_to(model) for model in reply.models]
        schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
        described["content"] = {JSON: {"schema": schema}}
    return described


def _describe_problem(status: int) -> Json:
    content = {PROBLEM_JSON: {"schema": _refer_to(Problem)}}
    return {"description": PROBLEMS[status], "content": content}


def _describe_models(routes: Sequence[Route], jobs: Iterable[JobBase]) -> Json:
    """The schemas of all bodies: parameters of jobs, other requests, and responses."""
    schemas: Json = {}
    for job in jobs:
        schemas |= _describe_job_models(job)
    sent = [model for each in routes for reply in each.replies.values() for model in reply.models]
    received = [each.body.model for each in routes if each.body and each.body.model]
    for model in dict.fromkeys(received):
        schema = describe_input(model, REFERENCE)
        schemas |= {**schema.pop("$defs", {}), model.__name__: schema}
    modes: dict[type[BaseModel], JsonSchemaMode]
    modes = dict.fromkeys([*sent, Problem], "serialization")
    _, generated = models_json_schema(list(modes.items()), ref_template=REFERENCE)
    return schemas | dict(generated["$defs"])


def _refer_to(model: type[BaseModel]) -> Json:
    return {"$ref": REFERENCE.format(model=model.__name__)}


def _describe_result(response: Json, job: JobBase) -> None:
    """Add the schema of the job type's result to a response that may have one."""
    result = {"$ref": REFERENCE.format(model=f"{_prefix(job)}Result")}
    content = response["content"][JSON]
    content["schema"] = {
        "allOf": [content["schema"], {"properties": {"result_data": result}}],
    }


def _describe_job_models(job: JobBase) -> Json:
    """The schemas of a job type's parameters and result, whose names begin with the job type."""
    reference = REFERENCE.format(model=_prefix(job) + "{model}")
    parameters = describe_input(job.parameters, reference)
    result = job.result_model().model_json_schema(ref_template=reference, mode="serialization")
    shared = parameters.pop("$defs", {}) | result.pop("$defs", {})
    named = shared | {"Parameters": parameters, "Result": result}
    return {_prefix(job) + name: schema for name, schema in named.items()}


def _prefix(job: JobBase) -> str:
    return "".join(word.title() for word in job.job_type.split("_"))
