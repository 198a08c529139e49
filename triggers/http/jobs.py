"""Jobs over HTTP: submit, list, watch, cancel and retry."""

import asyncio
import hashlib
import time
from typing import NamedTuple, get_args

import azure.functions as func

from core.errors import GeolatheError
from core.machine import CoreMachine, Submission
from core.models import JobRecord
from triggers.http.answers import READ, answering_errors, json_answer, json_body
from triggers.http.bodies import (
    Accepted,
    Job,
    JobList,
    JobSummary,
    QueueInfo,
    SubmitStatus,
    Submitted,
    describe_job,
    job_fields,
)
from triggers.http.problems import problem
from triggers.http.queries import (
    job_cursor,
    job_filter,
    job_id,
    only,
    page_size,
    request_key,
    spell_cursor,
    wait_seconds,
)
from triggers.http.single_flight import SingleFlight

POLL_SECONDS = 2
ANY = "W/*"
FIRST_LOOK_SECONDS, LAST_LOOK_SECONDS = 0.05, 0.5


class Look(NamedTuple):
    """A job as it was, and the tag of that (RFC 9110, section 8.8.3)."""

    job: Job
    etag: str


def blueprint(machine: CoreMachine) -> func.Blueprint:
    """The job routes over a machine."""
    bp = func.Blueprint()
    flight = SingleFlight(lambda watched: _look(machine, watched))

    @bp.route("jobs/submit/{job_type}", methods=["POST"])
    @answering_errors
    def submit_job(req: func.HttpRequest) -> func.HttpResponse:
        key, body = request_key(req), json_body(req)
        return _submitted(machine.submit(req.route_params["job_type"], body, key))

    @bp.route("jobs", methods=READ)
    @answering_errors
    def list_jobs(req: func.HttpRequest) -> func.HttpResponse:
        return json_answer(_page(machine, req))

    @bp.route("jobs/status/{job_id}", methods=READ)
    async def job_status(req: func.HttpRequest) -> func.HttpResponse:
        try:
            return await _status(flight, req)
        except GeolatheError as error:
            return problem(error)

    @bp.route("jobs/{job_id}/cancel", methods=["POST"])
    @answering_errors
    def cancel_job(req: func.HttpRequest) -> func.HttpResponse:
        return _accepted(machine.cancel(job_id(req)))

    @bp.route("jobs/{job_id}/retry", methods=["POST"])
    @answering_errors
    def retry_job(req: func.HttpRequest) -> func.HttpResponse:
        return _accepted(machine.retry(job_id(req)))

    return bp


def _page(machine: CoreMachine, req: func.HttpRequest) -> JobList:
    only(req, "status", "job_type", "created_from", "created_until", "after", "limit")
    limit = page_size(req)
    jobs = machine.list_jobs(job_filter(req), job_cursor(req), limit)
    return JobList(
        jobs=[JobSummary.model_validate(job_fields(job)) for job in jobs],
        next=spell_cursor(jobs[-1]) if len(jobs) == limit else None,
    )


async def _status(flight: SingleFlight[Look], req: func.HttpRequest) -> func.HttpResponse:
    only(req, "wait")
    known = _etags(req)
    job, etag = await _wait_for_change(flight, job_id(req), known, wait_seconds(req))
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if not job.status.is_final:
        headers["Retry-After"] = str(POLL_SECONDS)
    if etag in known or ANY in known:
        return func.HttpResponse(status_code=304, headers=headers)
    return json_answer(job, headers=headers)


async def _wait_for_change(
    flight: SingleFlight[Look], watched: str, known: set[str], wait: float
) -> Look:
    """The job and its ETag as soon as it differs from what the caller knows, or after `wait`.

    A caller that names no ETag knows what the first look shows. Reads become rarer, and between
    them neither a thread nor a database connection is held.
    """
    until, pause = time.monotonic() + wait, FIRST_LOOK_SECONDS
    while True:
        job, etag = await flight.get(watched)
        known = known or {etag}
        left = until - time.monotonic()
        if not {etag, ANY} & known or job.status.is_final or left <= 0:
            return Look(job, etag)
        await asyncio.sleep(min(pause, left))
        pause = min(pause * 1.5, LAST_LOOK_SECONDS)


def _look(machine: CoreMachine, watched: str) -> Look:
    """The job and its ETag, a weak one: the estimate of the remaining time does not count."""
    job = describe_job(machine.status(watched))
    text = job.model_dump_json(exclude={"remaining_seconds"})
    return Look(job, f'W/"{hashlib.sha256(text.encode()).hexdigest()[:32]}"')


def _etags(req: func.HttpRequest) -> set[str]:
    """If-None-Match, compared weakly: RFC 9110, section 13.1.2. `*` is ANY."""
    named = req.headers.get("If-None-Match", "").split(",")
    return {f"W/{tag.strip().removeprefix('W/')}" for tag in named if tag.strip()}


def _submitted(submission: Submission) -> func.HttpResponse:
    """202 for a job that starts; 200 for one that was there, with its result when it has one."""
    job = submission.job
    body = Submitted(
        job_id=job.job_id,
        status=_submit_status(submission),
        job_type=job.job_type,
        message=_submit_message(submission),
        parameters=job.parameters,
        queue_info=QueueInfo(queued=submission.is_new, queue_type="service_bus", run=job.run),
        idempotent=not submission.is_new,
        result_data=job.result,
    )
    headers = {"Location": _location(job)}
    if not job.status.is_final:
        headers["Retry-After"] = str(POLL_SECONDS)
    return json_answer(body, 202 if submission.is_new else 200, headers)


def _submit_status(submission: Submission) -> SubmitStatus:
    if submission.is_new:
        return "created"
    if submission.job.result is not None:
        return "already_completed"
    return next(known for known in get_args(SubmitStatus) if known == submission.job.status)


def _submit_message(submission: Submission) -> str:
    if not submission.is_new:
        return f"This job was submitted before and is {submission.job.status}"
    return "Job created and queued for processing"


def _accepted(job: JobRecord) -> func.HttpResponse:
    body = Accepted(job_id=job.job_id, status=job.status, run=job.run)
    return json_answer(body, 202, {"Location": _location(job), "Retry-After": str(POLL_SECONDS)})


def _location(job: JobRecord) -> str:
    return f"/api/jobs/status/{job.job_id}"
