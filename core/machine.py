"""CoreMachine: the entry points of the orchestrator, each safe to repeat at any time.

    submit           validate, store the job (or find it)    -> send the job message for stage 1
    job message n    advance the job: core/advancement.py    -> send task messages, or stage n + 1
    task messages    run the tasks: core/execution.py        -> advance the job after a stage's last
    sweep            find whatever is overdue                -> send its message again

PostgreSQL holds the state; a message is only a hint. Every entry point writes state first and sends
messages afterwards, and sends them again when it is repeated. A trigger settles its message only
after the entry point has returned.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from core.advancement import JobAdvancer
from core.errors import StateConflict
from core.execution import TaskRunner
from core.lease import Leases
from core.models import (
    DeadLetter,
    JobMessage,
    JobRecord,
    JobStatus,
    Priority,
    TaskMessage,
)
from core.outputs import SETTLE_AFTER, remove_superseded, settle_uploads, withdraw_stale
from core.overviews import remove_unused_overviews
from core.ports import JobCursor, JobFilter, MessageBus, Ports, RequestKey, StateRepository
from core.registry import Registry
from core.shares import DEFAULT_LIMITS, FlightLimits
from core.status import JobView, view_job
from core.telemetry import annotate, operation, traceparent
from core.validation import validate_body

logger = logging.getLogger(__name__)


class Submission(NamedTuple):
    """The job of a submission. `is_new`: this call stored it or started it again."""

    is_new: bool
    job: JobRecord
    message_id: str | None
    """The id of the message that this call sent for the job, if it is queued."""


class CoreMachine:
    """Accepts jobs and handles the messages that move them forward."""

    def __init__(
        self,
        registry: Registry,
        state: StateRepository,
        bus: MessageBus,
        ports: Ports,
        leases: Leases,
        limits: FlightLimits = DEFAULT_LIMITS,
    ) -> None:
        self._registry = registry
        self._state = state
        self._bus = bus
        self._ports = ports
        self._jobs = JobAdvancer(registry, state, bus, ports, leases.lease, limits)
        self._tasks = TaskRunner(registry, state, bus, ports, leases, self._jobs)

    def submit(
        self,
        job_type: str,
        body: Any,
        key: str | None = None,
        correlation_id: str | None = None,
        priority: Priority = Priority.NORMAL,
    ) -> Submission:
        """Store a job and request its first stage, or find an equal one. Raises RequestError.

        A request repeated with the same `key` always finds the job of the first request, even if
        that job failed or its source has changed since. Messages, events and log records of the run
        that this call starts carry the `correlation_id`. A job that is found keeps its priority.
        """
        job = self._registry.job(job_type)
        annotate(job_type=job_type)
        request = RequestKey(key, _fingerprint(job_type, body)) if key else None
        known = self._state.find_submission(request) if request else None
        if known is not None:
            return self._submitted(False, known)
        prepared = job.prepare(validate_body(job.parameters, body), self._ports)
        is_new, record = self._state.submit_job(
            JobRecord(
                job_id=job.job_id(prepared),
                job_type=job_type,
                version=job.version,
                parameters=prepared.model_dump(mode="json"),
                total_stages=len(job.stages),
                correlation_id=correlation_id,
                priority=priority,
                traceparent=traceparent(),
            ),
            request,
            runs_again=job.runs_again,
        )
        return self._submitted(is_new, record)

    def process_job_message(self, message: JobMessage) -> None:
        """Advance a job to the stage that the message names, if that stage is next."""
        self._jobs.process_message(message)

    def process_tasks(self, messages: Sequence[TaskMessage]) -> None:
        """Run the tasks that are due and not running elsewhere."""
        self._tasks.process_messages(messages)

    def record_dead_letter(self, dead_letter: DeadLetter) -> None:
        """Keep a message that was dead-lettered; fail its job once no retry can help."""
        self._jobs.record_dead_letter(dead_letter)

    def sweep(self, limit: int, grace: timedelta) -> int:
        """Send overdue messages again. Returns their number."""
        with operation("sweep"):
            overdue = self._state.sweep(limit, grace)
            self._bus.send_jobs([m for m in overdue if isinstance(m, JobMessage)])
            self._bus.send_tasks([m for m in overdue if isinstance(m, TaskMessage)])
        if overdue:
            logger.warning("sweep: %d overdue messages sent again", len(overdue))
        return len(overdue)

    def purge(self, age: timedelta, limit: int) -> int:
        """Delete jobs that ended, and rows of outputs removed, longer than `age` ago.

        Returns the number of jobs.
        """
        purged = self._state.purge_jobs(age, limit)
        if purged:
            logger.info("purged %d jobs that ended more than %s ago", len(purged), age)
        outputs = self._ports.outputs.purge(age, limit)
        if outputs:
            logger.info("purged %d outputs that were removed more than %s ago", outputs, age)
        return len(purged)

    def clean_outputs(self, grace: timedelta, limit: int) -> int:
        """Remove outputs that were superseded at least `grace` ago, and settle lost uploads.

        Returns how many were removed. Until then readers of the old files can finish. Items that
        do not describe their COGs any more are withdrawn, and overviews that no collection names
        are deleted.
        """
        blobs, outputs = self._ports.blobs, self._ports.outputs
        settle_uploads(blobs, outputs, SETTLE_AFTER, limit)
        withdraw_stale(self._ports, grace, limit)
        remove_unused_overviews(self._ports, self._state, grace, limit)
        return remove_superseded(blobs, outputs, grace, limit)

    def list_jobs(self, wanted: JobFilter, after: JobCursor | None, limit: int) -> list[JobRecord]:
        """Jobs without their results, newest first. Raises UnknownJobType."""
        for job_type in wanted.job_types:
            self._registry.job(job_type)
        return self._state.list_jobs(wanted, after, limit)

    def status(self, job_id: str) -> JobView:
        """A job with its stages. Raises JobNotFound."""
        job = self._state.get_job(job_id)
        return view_job(self._registry, self._state, self._ports.outputs, job)

    def cancel(self, job_id: str) -> JobRecord:
        """Cancel a job at once. Raises JobNotFound and StateConflict."""
        job = self._state.cancel_job(job_id)
        if job.status is not JobStatus.CANCELLED:
            raise StateConflict(f"job {job_id} is already {job.status} and cannot be cancelled")
        self._bus.send_jobs([job.stage_message(job.stage + 1)])
        return job

    def retry(self, job_id: str) -> JobRecord:
        """Run the failed tasks of an ended job again. Raises JobNotFound and StateConflict."""
        retried, job = self._state.retry_job(job_id)
        if not retried:
            raise StateConflict(f"job {job_id} is {job.status}: there is nothing to retry")
        self._bus.send_jobs([job.stage_message(max(job.stage, 1))])
        return job

    def _submitted(self, is_new: bool, record: JobRecord) -> Submission:
        """Send the first message of a queued job, even if found: an earlier one may be lost."""
        annotate(job_id=record.job_id)
        if record.status is not JobStatus.QUEUED:
            return Submission(is_new, record, None)
        [message_id] = self._bus.send_jobs([record.stage_message(1)])
        return Submission(is_new, record, message_id)


def _fingerprint(job_type: str, body: Any) -> str:
    """Equal for equal requests; the order of keys and white space do not matter."""
    text = json.dumps([job_type, body], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
