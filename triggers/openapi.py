"""The OpenAPI 3.1 document, made of the models that the routes answer with."""

import json
from collections.abc import Iterable, Mapping
from functools import cache

import azure.functions as func
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from core.job import JobBase
from core.models import JobStatus, Json
from core.uploads import Upload, UploadRequest
from triggers import bodies, ogc
from triggers.answers import JSON
from triggers.problems import MEDIA_TYPE
from triggers.queries import LARGEST_PAGE, LONGEST_WAIT

REFERENCE = "#/components/schemas/{model}"
MODELS: tuple[type[BaseModel], ...] = (
    bodies.Submitted, bodies.Accepted, bodies.Job, bodies.JobList, bodies.TaskList,
    bodies.EventList, bodies.JobTypeList, bodies.Health, bodies.Alive, bodies.Problem,
    Upload, ogc.Landing, ogc.Conformance, ogc.ProcessList, ogc.Process, ogc.StatusInfo,
    ogc.StatusList, ogc.Results,
)  # fmt: skip
REASONS = {
    400: "the request cannot be read",
    404: "there is no such thing",
    409: "the job's state forbids it",
    413: "the body is too large",
    422: "a parameter is wrong",
    503: "a part of the service cannot be reached; try again",
}
TEXT: Json = {"type": "string"}
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
OGC = "OGC API - Processes"
ANONYMOUS: Json = {"security": []}
LOCATION: Json = {"Location": {"description": "the job's status", "schema": TEXT}}
LATER: Json = {"Retry-After": {"description": "seconds", "schema": TEXT}}


def blueprint(jobs: Iterable[JobBase]) -> func.Blueprint:
    """The document's route. It needs no key: it tells what is published anyway."""
    bp = func.Blueprint()
    document = cache(lambda: json.dumps(describe_api(jobs)))

    @bp.route("openapi.json", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
    def openapi(req: func.HttpRequest) -> func.HttpResponse:
        return func.HttpResponse(document(), mimetype=JSON)

    return bp


def describe_api(jobs: Iterable[JobBase]) -> Json:
    """The whole document."""
    jobs = list(jobs)
    key = {"type": "apiKey", "in": "header", "name": "x-functions-key"}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Geolathe",
            "version": "1",
            "summary": "Rasters in blob storage become COGs, STAC items and maps.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/api"}],
        "security": [{"function_key": []}],
        "paths": {
            **_submit_paths(jobs),
            **_job_paths(),
            **_action_paths(),
            **_history_paths(),
            **_upload_paths(),
            **_ogc_paths(jobs),
            **_ogc_job_paths(),
            **_other_paths(),
        },
        "components": {
            "securitySchemes": {"function_key": key},
            "schemas": _schemas(jobs),
        },
    }


def _schemas(jobs: Iterable[JobBase]) -> Json:
    """What goes in, and what comes out."""
    schemas: Json = {}
    for job in jobs:
        schemas |= _parameters(job)
    _, answers = models_json_schema(
        [
            (UploadRequest, "validation"),
            (ogc.Execute, "validation"),
            *((model, "serialization") for model in MODELS),
        ],
        ref_template=REFERENCE,
    )
    return schemas | dict(answers["$defs"])


def _submit_paths(jobs: Iterable[JobBase]) -> Json:
    """One path for each job type, as each takes parameters of its own."""
    return {f"/jobs/submit/{job.job_type}": {"post": _submit(job)} for job in jobs}


def _submit(job: JobBase) -> Json:
    schema = {"$ref": REFERENCE.format(model=_schema_name(job))}
    return _operation(
        f"submit_{job.job_type}",
        "jobs",
        job.description,
        {
            202: _answer("a job that starts", bodies.Submitted, LOCATION | LATER),
            200: _answer("a job that was there before", bodies.Submitted, LOCATION | LATER),
        },
        (400, 404, 413, 422, 503),
        [KEY],
    ) | {
        "requestBody": {
            "required": True,
            "content": {JSON: {"schema": schema, "example": job.example}},
        }
    }


def _job_paths() -> Json:
    states = {"type": "string", "enum": [status.value for status in JobStatus]}
    filters = [
        _query("status", {"type": "array", "items": states}, "of one or several statuses")
        | {"style": "form", "explode": False},
        _query("job_type", TEXT, "of one type"),
        JOB_PLACE,
        LIMIT,
    ]
    seconds = {"type": "number", "minimum": 0, "maximum": LONGEST_WAIT, "default": 0}
    news = {"ETag": {"description": "of this state of the job", "schema": TEXT}, **LATER}
    unchanged = {"description": "as the named ETag says", "headers": news}
    return {
        "/jobs": {
            "get": _operation(
                "list_jobs",
                "jobs",
                "Jobs, newest first",
                {200: _answer("a page", bodies.JobList)},
                (404, 422, 503),
                filters,
            )
        },
        "/jobs/status/{job_id}": {
            "get": _operation(
                "job_status",
                "jobs",
                "A job with its stages, progress and result; `wait` answers when it changes",
                {200: _answer("the job", bodies.Job, news), 304: unchanged},
                (404, 422, 503),
                [JOB_ID, _query("wait", seconds, "seconds to wait for news"), ETAG],
            )
        },
    }


def _action_paths() -> Json:
    accepted = {202: _answer("taken", bodies.Accepted, LOCATION | LATER)}
    return {
        "/jobs/{job_id}/cancel": {
            "post": _operation(
                "cancel_job",
                "jobs",
                "Stop a job at once and remove what it made",
                accepted,
                (404, 409, 503),
                [JOB_ID],
            )
        },
        "/jobs/{job_id}/retry": {
            "post": _operation(
                "retry_job",
                "jobs",
                "Run what failed again",
                accepted,
                (404, 409, 503),
                [JOB_ID],
            )
        },
    }


def _history_paths() -> Json:
    place = {"type": "string", "pattern": "^[0-9]{1,9}-[0-9]{1,9}$"}
    number = {"type": "integer", "minimum": 0, "maximum": 2**62, "default": 0}
    return {
        "/jobs/{job_id}/tasks": {
            "get": _operation(
                "job_tasks",
                "history",
                "A job's tasks, with the attempts that came to nothing",
                {200: _answer("a page", bodies.TaskList)},
                (404, 422, 503),
                [JOB_ID, _query("after", place, "a `next`"), LIMIT],
            )
        },
        "/jobs/{job_id}/events": {
            "get": _operation(
                "job_events",
                "history",
                "A job's timeline",
                {200: _answer("a page", bodies.EventList)},
                (404, 422, 503),
                [JOB_ID, _query("after", number, "a `next`"), LIMIT],
            )
        },
    }


def _upload_paths() -> Json:
    grant = _operation(
        "grant_upload",
        "uploads",
        "An address in storage that can write one blob, for a short time",
        {
            201: _answer("PUT the file there", Upload),
            200: _answer("the same bytes are there already", Upload),
        },
        (400, 404, 413, 422, 503),
    )
    schema = {"$ref": REFERENCE.format(model=UploadRequest.__name__)}
    example = {"name": "folder/raster.tif", "size": 12_345_678}
    body = {"required": True, "content": {JSON: {"schema": schema, "example": example}}}
    return {"/uploads": {"post": grant | {"requestBody": body}}}


def _ogc_paths(jobs: Iterable[JobBase]) -> Json:
    """OGC API - Processes: the same jobs in the words of that standard."""
    process = {
        "name": "process",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "enum": [job.job_type for job in jobs]},
    }
    inputs = {"$ref": REFERENCE.format(model=ogc.Execute.__name__)}
    content = {"schema": inputs, "example": {"inputs": {"n": 3}}}
    taken = {201: _answer("the job's status", ogc.StatusInfo, LOCATION)}
    execute = _operation(
        "ogc_execute", OGC, "Run a process", taken, (400, 404, 413, 422, 503), [process]
    ) | {"requestBody": {"required": True, "content": {JSON: content}}}
    return {
        "/ogc": {"get": _ogc_get("landing", "The landing page", ogc.Landing)},
        "/ogc/conformance": {
            "get": _ogc_get("conformance", "Conformance classes", ogc.Conformance)
        },
        "/ogc/processes": {
            "get": _ogc_get("processes", "The processes", ogc.ProcessList, (422,), [LIMIT])
        },
        "/ogc/processes/{process}": {
            "get": _ogc_get("process", "A process", ogc.Process, (404,), [process])
        },
        "/ogc/processes/{process}/execution": {"post": execute},
    }


def _ogc_job_paths() -> Json:
    one = {200: _answer("the job's status", ogc.StatusInfo)}
    dismiss = _operation("ogc_dismiss", OGC, "Stop a job", one, (404, 409, 503), [JOB_ID])
    return {
        "/ogc/jobs": {
            "get": _ogc_get("jobs", "Jobs", ogc.StatusList, (422, 503), [LIMIT, JOB_PLACE])
        },
        "/ogc/jobs/{job_id}": {
            "get": _ogc_get("job", "A job's status", ogc.StatusInfo, (404, 503), [JOB_ID]),
            "delete": dismiss,
        },
        "/ogc/jobs/{job_id}/results": {
            "get": _ogc_get("results", "A job's results", ogc.Results, (404, 503), [JOB_ID])
        },
    }


def _ogc_get(
    name: str,
    text: str,
    model: type[BaseModel],
    problems: Iterable[int] = (),
    parameters: Iterable[Json] = (),
) -> Json:
    return _operation(f"ogc_{name}", OGC, text, {200: _answer(text, model)}, problems, parameters)


def _other_paths() -> Json:
    types = {200: _answer("all job types", bodies.JobTypeList)}
    health = {
        200: _answer("all is well", bodies.Health),
        503: _answer("a part is not well", bodies.Health),
    }
    alive = {200: _answer("it answers", bodies.Alive)}
    return {
        "/job-types": {
            "get": _operation("job_types", "jobs", "What can be submitted", types, (503,))
        },
        "/health": {"get": _operation("health", "health", "The parts, with latency", health)},
        "/health/live": {
            "get": _operation("live", "health", "A route that touches nothing", alive) | ANONYMOUS
        },
    }


def _operation(
    name: str,
    tag: str,
    summary: str,
    answers: Mapping[int, Json],
    problems: Iterable[int] = (),
    parameters: Iterable[Json] = (),
) -> Json:
    refused = {str(status): _problem(status) for status in problems}
    responses = {str(status): answer for status, answer in answers.items()} | refused
    return {
        "operationId": name,
        "tags": [tag],
        "summary": summary,
        "parameters": list(parameters),
        "responses": responses | {"401": {"description": "the function key is missing or wrong"}},
    }


def _answer(description: str, model: type[BaseModel], headers: Json | None = None) -> Json:
    schema = {"$ref": REFERENCE.format(model=model.__name__)}
    return {
        "description": description,
        "headers": headers or {},
        "content": {JSON: {"schema": schema}},
    }


def _problem(status: int) -> Json:
    schema = {"$ref": REFERENCE.format(model=bodies.Problem.__name__)}
    return {"description": REASONS[status], "content": {MEDIA_TYPE: {"schema": schema}}}


def _query(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _parameters(job: JobBase) -> Json:
    """The schemas of a job's parameters, under names of their own."""
    schema = job.parameters.model_json_schema(ref_template=REFERENCE)
    return {**schema.pop("$defs", {}), _schema_name(job): schema}


def _schema_name(job: JobBase) -> str:
    return "".join(word.title() for word in job.job_type.split("_")) + "Parameters"
