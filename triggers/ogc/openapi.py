"""OGC API - Processes in the OpenAPI document: the same jobs in the words of that standard."""

from collections.abc import Iterable
from typing import get_args

from pydantic import BaseModel

from core.job import JobBase
from core.models import Json
from triggers.http.answers import JSON
from triggers.http.operations import (
    JOB_ID,
    JOB_PLACE,
    LIMIT,
    LOCATION,
    TEXT,
    answer,
    operation,
    query,
    reference,
)
from triggers.ogc import bodies as ogc

TAG = "OGC API - Processes"
PAGE: Json = LIMIT | {"schema": LIMIT["schema"] | {"maximum": ogc.LARGEST_LIMIT}}
EXECUTION: Json = JOB_ID | {
    "schema": {"type": "string", "pattern": ogc.EXECUTION_ID},
    "description": f"a job's id; with {ogc.DOCUMENT} its results come as a document, else raw",
}


def ogc_paths(jobs: Iterable[JobBase]) -> Json:
    """All paths of it."""
    names = [job.job_type for job in jobs]
    process = {
        "name": "process",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "enum": names},
    }
    place = query("after", {"type": "string", "enum": names}, "as in the link to the next page")
    return {
        "/ogc": {"get": _get("landing", "The landing page", ogc.Landing)},
        "/ogc/conformance": {"get": _get("conformance", "Conformance classes", ogc.Conformance)},
        "/ogc/processes": {
            "get": _get("processes", "The processes", ogc.ProcessList, (422,), [PAGE, place])
        },
        "/ogc/processes/{process}": {
            "get": _get("process", "A process", ogc.Process, (404,), [process])
        },
        "/ogc/processes/{process}/execution": {"post": _execute(process)},
        **_job_paths(),
    }


def _execute(process: Json) -> Json:
    taken = {201: answer("the job's status", ogc.StatusInfo, headers=LOCATION)}
    content = {JSON: {"schema": reference(ogc.Execute), "example": {"inputs": {"n": 3}}}}
    problems = (400, 404, 413, 422, 503)
    return operation("ogc_execute", TAG, "Run a process", taken, problems, [process]) | {
        "requestBody": {"required": True, "content": content}
    }


def _job_paths() -> Json:
    one = {200: answer("the job's status", ogc.StatusInfo)}
    results = {200: answer("the results, raw or as a document", ogc.RawResults, ogc.Results)}
    no_results = (404, 410, 422, 500, 503)
    return {
        "/ogc/jobs": {
            "get": _get("jobs", "Jobs", ogc.StatusList, (404, 422, 503), list(_filters()))
        },
        "/ogc/jobs/{job_id}": {
            "get": _get("job", "A job's status", ogc.StatusInfo, (404, 422, 503), [EXECUTION]),
            "delete": operation(
                "ogc_dismiss", TAG, "Stop a job", one, (404, 409, 422, 503), [EXECUTION]
            ),
        },
        "/ogc/jobs/{job_id}/results": {
            "get": operation(
                "ogc_results", TAG, "A job's results", results, no_results, [EXECUTION]
            )
        },
    }


def _filters() -> Iterable[Json]:
    states = {"type": "string", "enum": list(get_args(ogc.Status))}
    seconds = {"type": "integer", "minimum": 0, "maximum": ogc.LONGEST_RUN}
    yield query("type", _listed({"type": "string", "enum": ["process"]}), "created by a process")
    yield query("processID", _listed(TEXT), "of one or several processes")
    yield query("status", _listed(states), "of one or several statuses")
    yield query("datetime", TEXT, "created at that moment, or in that interval")
    yield query("minDuration", seconds, "running for so many seconds, or having run so long")
    yield query("maxDuration", seconds, "no longer than that")
    yield from (JOB_PLACE, PAGE)


def _listed(items: Json) -> Json:
    return {"type": "array", "items": items}


def _get(
    name: str,
    text: str,
    model: type[BaseModel],
    problems: Iterable[int] = (),
    parameters: Iterable[Json] = (),
) -> Json:
    return operation(f"ogc_{name}", TAG, text, {200: answer(text, model)}, problems, parameters)
