"""The HTTP face of the orchestrator: submit, watch, cancel, retry, and what can be submitted."""

import asyncio
import json
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

import azure.functions as func
from pydantic import BaseModel

from core.errors import FieldError, GeolatheError, InvalidRequest, NotJson
from core.machine import CoreMachine, Submission
from core.models import Attempt, JobRecord, JobStatus, TaskRecord
from core.status import JobView
from triggers.problems import problem

JSON = "application/json"
POLL_SECONDS = 2
LONGEST_WAIT = 30.0
LARGEST_PAGE = 1000

Endpoint = Callable[[func.HttpRequest], func.HttpResponse]


def blueprint(machine: CoreMachine) -> func.Blueprint:
    """The job routes over a machine."""
    bp = func.Blueprint()

    @bp.route("jobs/submit/{job_type}", methods=["POST"])
    @answering_errors
    def submit_job(req: func.HttpRequest) -> func.HttpResponse:
        submission = machine.submit(req.route_params["job_type"], _body(req))
        return _submitted(submission)

    @bp.route("jobs/status/{job_id}", methods=["GET"])
    async def job_status(req: func.HttpRequest) -> func.HttpResponse:
        try:
            view = await _wait_for_change(machine, req.route_params["job_id"], _wait(req))
        except GeolatheError as error:
            return problem(error)
        headers = {} if view.job.status.is_final else {"Retry-After": str(POLL_SECONDS)}
        return _json(status_body(view), headers=headers)

    @bp.route("jobs/{job_id}/tasks", methods=["GET"])
    @answering_errors
    def job_tasks(req: func.HttpRequest) -> func.HttpResponse:
        after, limit = _cursor(req, "0-0"), _limit(req)
        job_id = machine.state.get_job(req.route_params["job_id"]).job_id
        tasks = machine.state.list_tasks(job_id, after, limit)
        attempts = machine.state.attempts([task.task_id for task in tasks])
        body: dict[str, Any] = {"tasks": [_task_body(task, attempts) for task in tasks]}
        if len(tasks) == limit:
            body["next"] = f"{tasks[-1].stage}-{tasks[-1].task_index}"
        return _json(body)

    @bp.route("jobs/{job_id}/events", methods=["GET"])
    @answering_errors
    def job_events(req: func.HttpRequest) -> func.HttpResponse:
        after, limit = _number(req, "after", 0, 2**62), _limit(req)
        job_id = machine.state.get_job(req.route_params["job_id"]).job_id
        events = machine.state.events(job_id, after, limit)
        body: dict[str, Any] = {"events": [event.model_dump(mode="json") for event in events]}
        if len(events) == limit:
            body["next"] = events[-1].event_id
        return _json(body)

    @bp.route("jobs/{job_id}/cancel", methods=["POST"])
    @answering_errors
    def cancel_job(req: func.HttpRequest) -> func.HttpResponse:
        return _accepted(machine.cancel(req.route_params["job_id"]))

    @bp.route("jobs/{job_id}/retry", methods=["POST"])
    @answering_errors
    def retry_job(req: func.HttpRequest) -> func.HttpResponse:
        return _accepted(machine.retry(req.route_params["job_id"]))

    @bp.route("job-types", methods=["GET"])
    @answering_errors
    def job_types(req: func.HttpRequest) -> func.HttpResponse:
        types = [
            {
                "job_type": job.job_type,
                "description": job.description,
                "version": job.version,
                "stages": [{"name": s.name, "task_type": s.task_type} for s in job.stages],
                "parameters": job.parameters.model_json_schema(),
                "example": job.example,
            }
            for job in machine.registry.jobs.values()
        ]
        return _json({"job_types": types})

    return bp


def answering_errors(endpoint: Endpoint) -> Endpoint:
    """Answer our own errors as problems. Anything else is a fault of ours, and a 500."""

    @wraps(endpoint)
    def answer(req: func.HttpRequest) -> func.HttpResponse:
        try:
            return endpoint(req)
        except GeolatheError as error:
            return problem(error)

    return answer


def status_body(view: JobView) -> dict[str, Any]:
    """What a caller is told of a job."""
    job = view.job
    body = job.model_dump(mode="json", exclude={"result", "error"})
    body["progress"] = view.progress
    body["remaining_seconds"] = view.remaining_seconds
    body["stages"] = [stage.model_dump(mode="json") for stage in view.stages]
    if job.result is not None:
        body["result_data"] = job.result
    if job.error is not None:
        body["error"] = job.error.model_dump()
    return body


async def _wait_for_change(machine: CoreMachine, job_id: str, wait: float) -> JobView:
    """The status as soon as the job's state or progress changes, or when `wait` is over.

    Between looks neither a thread nor a database connection is held.
    """
    until = time.monotonic() + wait
    first = await asyncio.to_thread(machine.status, job_id)
    view = first
    while not view.job.status.is_final and view == first and time.monotonic() < until:
        await asyncio.sleep(min(0.5, max(until - time.monotonic(), 0.01)))
        view = await asyncio.to_thread(machine.status, job_id)
    return view


def _wait(req: func.HttpRequest) -> float:
    text = req.params.get("wait", "0")
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= LONGEST_WAIT:
        message = f"must be a number of seconds from 0 to {LONGEST_WAIT:.0f}, got {text!r}"
        raise InvalidRequest([FieldError("wait", text, message)])
    return seconds


TASK_FIELDS = {
    "task_id", "stage", "task_index", "task_type", "status", "attempt", "progress",
    "progress_message", "created_at", "started_at", "finished_at", "error",
}  # fmt: skip


def _task_body(task: TaskRecord, attempts: list[Attempt]) -> dict[str, Any]:
    """A task, with the attempts that came to nothing."""
    body = task.model_dump(mode="json", include=TASK_FIELDS)
    mine = [attempt for attempt in attempts if attempt.task_id == task.task_id]
    body["attempts"] = [attempt.model_dump(mode="json", exclude={"task_id"}) for attempt in mine]
    return body


def _limit(req: func.HttpRequest) -> int:
    return _number(req, "limit", 100, LARGEST_PAGE, least=1)


def _number(req: func.HttpRequest, name: str, default: int, most: int, least: int = 0) -> int:
    text = req.params.get(name, str(default))
    if not text.isdecimal() or not least <= int(text) <= most:
        message = f"must be a whole number from {least} to {most}, got {text!r}"
        raise InvalidRequest([FieldError(name, text, message)])
    return int(text)


def _cursor(req: func.HttpRequest, default: str) -> tuple[int, int]:
    text = req.params.get("after", default)
    stage, dash, index = text.partition("-")
    if not (dash and stage.isdecimal() and index.isdecimal() and len(text) < 20):
        message = f"must be the `next` of the page before, got {text!r}"
        raise InvalidRequest([FieldError("after", text, message)])
    return int(stage), int(index)


def _body(req: func.HttpRequest) -> Any:
    try:
        return json.loads(req.get_body() or b"null")
    except ValueError as error:
        raise NotJson(f"the body is not JSON: {error}") from None


def _submitted(submission: Submission) -> func.HttpResponse:
    """202 for a job that starts; 200 for one that was there, with its result when it has one."""
    job = submission.job
    body = {
        "job_id": job.job_id,
        "status": _submit_status(submission),
        "job_type": job.job_type,
        "message": _submit_message(submission),
        "parameters": job.parameters,
        "queue_info": {"queued": submission.is_new, "queue_type": "service_bus", "run": job.run},
        "idempotent": not submission.is_new,
    }
    if job.result is not None:
        body["result_data"] = job.result
    status = 202 if submission.is_new else 200
    return _json(body, status, {"Location": _location(job)})


def _submit_status(submission: Submission) -> str:
    if submission.is_new:
        return "created"
    return "already_completed" if submission.job.result is not None else submission.job.status


def _submit_message(submission: Submission) -> str:
    if not submission.is_new:
        return f"This job was submitted before and is {submission.job.status}"
    return "Job created and queued for processing"


def _accepted(job: JobRecord) -> func.HttpResponse:
    body = {"job_id": job.job_id, "status": JobStatus(job.status), "run": job.run}
    return _json(body, 202, {"Location": _location(job)})


def _location(job: JobRecord) -> str:
    return f"/api/jobs/status/{job.job_id}"


def _json(
    body: dict[str, Any] | BaseModel, status: int = 200, headers: dict[str, str] | None = None
) -> func.HttpResponse:
    text = json.dumps(body, default=str)
    return func.HttpResponse(text, status_code=status, headers=headers or {}, mimetype=JSON)
