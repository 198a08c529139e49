"""Jobs: submit, list, watch, cancel and retry."""

import asyncio
import hashlib
import time
from typing import NamedTuple, get_args

import azure.functions as func

from core.machine import CoreMachine, Submission
from core.models import JobRecord, Json
from core.ports import StateRepository
from core.registry import Registry
from triggers.http import bodies, parameters
from triggers.http.bodies import Job, SubmitStatus, describe_job, select_job_fields
from triggers.http.correlation import get_correlation_id
from triggers.http.payloads import read_json, respond
from triggers.http.route import Reply, RequestBody, Routes, route
from triggers.http.single_flight import SingleFlight
from triggers.http.stage_results import describe_result

RETRY_AFTER_SECONDS = 2
METADATA_PARAMETERS = ("blob_name", "container_name", "output_tier", "target_crs")
ANY = "W/*"
FIRST_POLL_SECONDS, LAST_POLL_SECONDS = 0.05, 0.5


class Snapshot(NamedTuple):
    """A job and the ETag of this state of it (RFC 9110, section 8.8.3)."""

    job: Job
    etag: str


class Jobs(Routes):
    """The job routes over a machine."""

    tag = "jobs"

    def __init__(
        self, machine: CoreMachine, state: StateRepository, registry: Registry, queue_name: str
    ) -> None:
        self.machine = machine
        self.state = state
        self.registry = registry
        self.queue_name = queue_name
        self.snapshots = SingleFlight(self._take_snapshot)

    @route(
        "POST",
        "jobs/submit/{job_type}",
        replies={
            202: Reply(
                "The job was created, or runs again after it failed",
                (bodies.Submitted,),
                headers=("Location", "Retry-After"),
            ),
            200: Reply(
                "The job existed before",
                (bodies.Submitted,),
                headers=("Location", "Retry-After"),
            ),
        },
        problems=(400, 404, 413, 422, 503),
        parameters=(parameters.JOB_TYPE, parameters.PRIORITY, parameters.IDEMPOTENCY_KEY),
        body=RequestBody(model=None),
    )
    def submit_job(self, req: func.HttpRequest) -> func.HttpResponse:
        key, body = parameters.read_idempotency_key(req), read_json(req)
        job_type, correlation_id = req.route_params["job_type"], get_correlation_id()
        priority = parameters.read_priority(req)
        submission = self.machine.submit(job_type, body, key, correlation_id, priority)
        return _respond_to_submission(submission, self.queue_name)

    @route(
        "GET",
        "jobs",
        "List jobs, newest first",
        {200: Reply("A page of jobs", (bodies.JobList,))},
        problems=(404, 422, 503),
        parameters=(
            parameters.STATUS,
            parameters.JOB_TYPES,
            parameters.CREATED_FROM,
            parameters.CREATED_UNTIL,
            parameters.AFTER_JOB,
            parameters.LIMIT,
        ),
    )
    def list_jobs(self, req: func.HttpRequest) -> func.HttpResponse:
        limit = parameters.read_page_size(req)
        wanted, after = parameters.read_job_filter(req), parameters.read_job_cursor(req)
        jobs = self.machine.list_jobs(wanted, after, limit)
        return respond(
            bodies.JobList(
                jobs=[bodies.JobSummary.model_validate(select_job_fields(job)) for job in jobs],
                next=parameters.format_job_cursor(jobs[-1]) if len(jobs) == limit else None,
            )
        )

    @route(
        "GET",
        "jobs/status/{job_id}",
        "Get a job with its stages, progress and result, on request as soon as it changes",
        {
            200: Reply("The job", (bodies.Job,), headers=("ETag", "Retry-After")),
            304: Reply("The job still has the given ETag", headers=("ETag", "Retry-After")),
        },
        problems=(404, 422, 503),
        parameters=(
            parameters.JOB_ID,
            parameters.WAIT,
            parameters.INCLUDE_STAGE_RESULTS,
            parameters.IF_NONE_MATCH,
        ),
    )
    async def get_job_status(self, req: func.HttpRequest) -> func.HttpResponse:
        known, included = _read_etags(req), parameters.read_names(req, "include", ["stage_results"])
        job, etag = await self._wait_for_change(
            parameters.read_job_id(req), known, parameters.read_wait(req)
        )
        headers = {"ETag": etag, "Cache-Control": "no-cache"}
        if not job.status.is_final:
            headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        if etag in known or ANY in known:
            return func.HttpResponse(status_code=304, headers=headers)
        if included:
            job = await asyncio.to_thread(self._add_stage_results, job)
        return respond(job, headers=headers)

    @route(
        "POST",
        "jobs/{job_id}/cancel",
        "Cancel a job and remove its outputs",
        {202: Reply("The job is cancelled", (bodies.Accepted,), ("Location", "Retry-After"))},
        problems=(404, 409, 503),
        parameters=(parameters.JOB_ID,),
    )
    def cancel_job(self, req: func.HttpRequest) -> func.HttpResponse:
        return _respond_to_change(self.machine.cancel(parameters.read_job_id(req)))

    @route(
        "POST",
        "jobs/{job_id}/retry",
        "Run the failed tasks of a job again",
        {202: Reply("The job runs again", (bodies.Accepted,), ("Location", "Retry-After"))},
        problems=(404, 409, 503),
        parameters=(parameters.JOB_ID,),
    )
    def retry_job(self, req: func.HttpRequest) -> func.HttpResponse:
        return _respond_to_change(self.machine.retry(parameters.read_job_id(req)))

    async def _wait_for_change(self, job_id: str, known: set[str], wait: float) -> Snapshot:
        """The job as soon as it differs from the known ETags, or after `wait` seconds.

        Without a known ETag, the first snapshot is the one to differ from. Polls become less
        frequent, and between them no thread or database connection is held.
        """
        deadline, pause = time.monotonic() + wait, FIRST_POLL_SECONDS
        while True:
            job, etag = await self.snapshots.get(job_id)
            known = known or {etag}
            left = deadline - time.monotonic()
            if not {etag, ANY} & known or job.status.is_final or left <= 0:
                return Snapshot(job, etag)
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.5, LAST_POLL_SECONDS)

    def _take_snapshot(self, job_id: str) -> Snapshot:
        """The ETag is weak: it ignores the estimate of the remaining time."""
        view = self.machine.status(job_id)
        job = describe_job(view, self._describe_metadata(view.job))
        text = job.model_dump_json(exclude={"remaining_seconds"})
        return Snapshot(job, f'W/"{hashlib.sha256(text.encode()).hexdigest()[:32]}"')

    def _describe_metadata(self, job: JobRecord) -> Json:
        definition = self.registry.jobs.get(job.job_type)
        known: Json = {}
        if definition is not None:
            known = {"description": definition.description, "created_by": type(definition).__name__}
        shown = [name for name in METADATA_PARAMETERS if name in job.parameters]
        return known | {name: job.parameters[name] for name in shown}

    def _add_stage_results(self, job: Job) -> Job:
        """Numbers the stages that have tasks: those that a job did not need are left out."""
        needed = [stage for stage in job.stages if stage.total_tasks]
        found = {
            str(number): describe_result(result)
            for number, stage in enumerate(needed, 1)
            if stage.completed_tasks == stage.total_tasks == 1
            for result in self.state.results(job.job_id, stage.stage)
        }
        return job.model_copy(update={"stage_results": found})


def _read_etags(req: func.HttpRequest) -> set[str]:
    """If-None-Match for a weak comparison (RFC 9110, section 13.1.2). `*` becomes ANY."""
    named = req.headers.get("If-None-Match", "").split(",")
    return {f"W/{tag.strip().removeprefix('W/')}" for tag in named if tag.strip()}


def _respond_to_submission(submission: Submission, queue_name: str) -> func.HttpResponse:
    """202 for a job that starts; 200 for an existing one, with its result if it has completed."""
    job = submission.job
    body = bodies.Submitted(
        job_id=job.job_id,
        status=_submit_status(submission),
        job_type=job.job_type,
        message=_submit_message(submission),
        parameters=job.parameters,
        queue_info=bodies.QueueInfo(
            queued=submission.is_new,
            queue_type="service_bus",
            queue_name=queue_name,
            message_id=submission.message_id,
            job_id=job.job_id,
            run=job.run,
        ),
        idempotent=not submission.is_new,
        correlation_id=job.correlation_id,
        current_stage=None if submission.is_new or job.status.is_final else job.stage,
        result_data=job.result,
    )
    headers = {"Location": _location(job)}
    if not job.status.is_final:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return respond(body, 202 if submission.is_new else 200, headers)


def _submit_status(submission: Submission) -> SubmitStatus:
    if submission.is_new:
        return "created"
    if submission.job.result is not None:
        return "already_completed"
    return next(known for known in get_args(SubmitStatus) if known == submission.job.status)


def _submit_message(submission: Submission) -> str:
    if not submission.is_new:
        return f"This job was submitted before; its status is {submission.job.status}"
    return "Job created and queued for processing"


def _respond_to_change(job: JobRecord) -> func.HttpResponse:
    body = bodies.Accepted(job_id=job.job_id, status=job.status, run=job.run)
    headers = {"Location": _location(job), "Retry-After": str(RETRY_AFTER_SECONDS)}
    return respond(body, 202, headers)


def _location(job: JobRecord) -> str:
    return f"/api/jobs/status/{job.job_id}"
