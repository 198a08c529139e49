"""Jobs over HTTP: submit, watch, cancel and retry."""

import asyncio
import time
from typing import Any

import azure.functions as func

from core.errors import FieldError, GeolatheError, InvalidRequest
from core.machine import CoreMachine, Submission
from core.models import JobRecord, JobStatus
from core.status import JobView
from triggers.answers import answering_errors, json_answer, json_body
from triggers.problems import problem

POLL_SECONDS = 2
LONGEST_WAIT = 30.0


def blueprint(machine: CoreMachine) -> func.Blueprint:
    """The job routes over a machine."""
    bp = func.Blueprint()

    @bp.route("jobs/submit/{job_type}", methods=["POST"])
    @answering_errors
    def submit_job(req: func.HttpRequest) -> func.HttpResponse:
        submission = machine.submit(req.route_params["job_type"], json_body(req))
        return _submitted(submission)

    @bp.route("jobs/status/{job_id}", methods=["GET"])
    async def job_status(req: func.HttpRequest) -> func.HttpResponse:
        try:
            view = await _wait_for_change(machine, req.route_params["job_id"], _wait(req))
        except GeolatheError as error:
            return problem(error)
        headers = {} if view.job.status.is_final else {"Retry-After": str(POLL_SECONDS)}
        return json_answer(status_body(view), headers=headers)

    @bp.route("jobs/{job_id}/cancel", methods=["POST"])
    @answering_errors
    def cancel_job(req: func.HttpRequest) -> func.HttpResponse:
        return _accepted(machine.cancel(req.route_params["job_id"]))

    @bp.route("jobs/{job_id}/retry", methods=["POST"])
    @answering_errors
    def retry_job(req: func.HttpRequest) -> func.HttpResponse:
        return _accepted(machine.retry(req.route_params["job_id"]))

    return bp


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
    while _is_as_before(view, first) and time.monotonic() < until:
        await asyncio.sleep(min(0.5, max(until - time.monotonic(), 0.01)))
        view = await asyncio.to_thread(machine.status, job_id)
    return view


def _is_as_before(view: JobView, before: JobView) -> bool:
    """Whether there is nothing new to tell of a job that goes on."""
    same = (view.job.status, view.job.stage, view.progress) == (
        before.job.status,
        before.job.stage,
        before.progress,
    )
    return same and not view.job.status.is_final


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
    return json_answer(body, status, {"Location": _location(job)})


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
    return json_answer(body, 202, {"Location": _location(job)})


def _location(job: JobRecord) -> str:
    return f"/api/jobs/status/{job.job_id}"
