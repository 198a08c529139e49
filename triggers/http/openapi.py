"""The OpenAPI 3.1 document, made of the models that the routes answer with."""

import json
from collections.abc import Iterable
from functools import cache

import azure.functions as func
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from core.job import JobBase
from core.models import JobStatus, Json
from core.uploads import Upload, UploadRequest
from triggers.http import bodies
from triggers.http.answers import JSON, READ
from triggers.http.operations import (
    ANONYMOUS,
    ETAG,
    JOB_ID,
    JOB_PLACE,
    KEY,
    LATER,
    LIMIT,
    LOCATION,
    MOMENT,
    REFERENCE,
    TEXT,
    answer,
    operation,
    query,
    reference,
)
from triggers.http.queries import LONGEST_WAIT
from triggers.ogc import bodies as ogc
from triggers.ogc.openapi import ogc_paths

MODELS: tuple[type[BaseModel], ...] = (
    bodies.Submitted, bodies.Accepted, bodies.Job, bodies.JobList, bodies.TaskList,
    bodies.EventList, bodies.JobTypeList, bodies.Health, bodies.Alive, bodies.Problem,
    Upload, ogc.Landing, ogc.Conformance, ogc.ProcessList, ogc.Process, ogc.StatusInfo,
    ogc.StatusList, ogc.Results, ogc.RawResults,
)  # fmt: skip


def blueprint(jobs: Iterable[JobBase]) -> func.Blueprint:
    """The document's route. It needs no key: it tells what is published anyway."""
    bp = func.Blueprint()
    document = cache(lambda: json.dumps(describe_api(jobs)))

    @bp.route("openapi.json", methods=READ, auth_level=func.AuthLevel.ANONYMOUS)
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
            **ogc_paths(jobs),
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
    return operation(
        f"submit_{job.job_type}",
        "jobs",
        job.description,
        {
            202: answer("a job that starts", bodies.Submitted, headers=LOCATION | LATER),
            200: answer("a job that was there before", bodies.Submitted, headers=LOCATION | LATER),
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
        query("status", {"type": "array", "items": states}, "of one or several statuses")
        | {"style": "form", "explode": False},
        query("job_type", {"type": "array", "items": TEXT}, "of one or several types")
        | {"style": "form", "explode": False},
        query("created_from", MOMENT, "created at that moment or later"),
        query("created_until", MOMENT, "created at that moment or earlier"),
        JOB_PLACE,
        LIMIT,
    ]
    seconds = {"type": "number", "minimum": 0, "maximum": LONGEST_WAIT, "default": 0}
    news = {"ETag": {"description": "of this state of the job", "schema": TEXT}, **LATER}
    unchanged = {"description": "as the named ETag says", "headers": news}
    return {
        "/jobs": {
            "get": operation(
                "list_jobs",
                "jobs",
                "Jobs, newest first",
                {200: answer("a page", bodies.JobList)},
                (404, 422, 503),
                filters,
            )
        },
        "/jobs/status/{job_id}": {
            "get": operation(
                "job_status",
                "jobs",
                "A job with its stages, progress and result; `wait` answers when it changes",
                {200: answer("the job", bodies.Job, headers=news), 304: unchanged},
                (404, 422, 503),
                [JOB_ID, query("wait", seconds, "seconds to wait for news"), ETAG],
            )
        },
    }


def _action_paths() -> Json:
    accepted = {202: answer("taken", bodies.Accepted, headers=LOCATION | LATER)}
    return {
        "/jobs/{job_id}/cancel": {
            "post": operation(
                "cancel_job",
                "jobs",
                "Stop a job at once and remove what it made",
                accepted,
                (404, 409, 503),
                [JOB_ID],
            )
        },
        "/jobs/{job_id}/retry": {
            "post": operation(
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
            "get": operation(
                "job_tasks",
                "history",
                "A job's tasks, with the attempts that came to nothing",
                {200: answer("a page", bodies.TaskList)},
                (404, 422, 503),
                [JOB_ID, query("after", place, "a `next`"), LIMIT],
            )
        },
        "/jobs/{job_id}/events": {
            "get": operation(
                "job_events",
                "history",
                "A job's timeline",
                {200: answer("a page", bodies.EventList)},
                (404, 422, 503),
                [JOB_ID, query("after", number, "a `next`"), LIMIT],
            )
        },
    }


def _upload_paths() -> Json:
    grant = operation(
        "grant_upload",
        "uploads",
        "An address in storage that can write one blob, for a short time",
        {
            201: answer("PUT the file there", Upload),
            200: answer("the same bytes are there already", Upload),
        },
        (400, 404, 413, 422, 503),
    )
    example = {"name": "folder/raster.tif", "size": 12_345_678}
    content = {JSON: {"schema": reference(UploadRequest), "example": example}}
    body = {"required": True, "content": content}
    return {"/uploads": {"post": grant | {"requestBody": body}}}


def _other_paths() -> Json:
    types = {200: answer("all job types", bodies.JobTypeList)}
    health = {
        200: answer("all is well", bodies.Health),
        503: answer("a part is not well", bodies.Health),
    }
    alive = {200: answer("it answers", bodies.Alive)}
    return {
        "/job-types": {
            "get": operation("job_types", "jobs", "What can be submitted", types, (503,))
        },
        "/health": {"get": operation("health", "health", "The parts, with latency", health)},
        "/health/live": {
            "get": operation("live", "health", "A route that touches nothing", alive) | ANONYMOUS
        },
    }


def _parameters(job: JobBase) -> Json:
    """The schemas of a job's parameters, under names of their own."""
    schema = job.parameters.model_json_schema(ref_template=REFERENCE)
    return {**schema.pop("$defs", {}), _schema_name(job): schema}


def _schema_name(job: JobBase) -> str:
    return "".join(word.title() for word in job.job_type.split("_")) + "Parameters"
