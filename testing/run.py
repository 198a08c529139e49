"""Running one job from its submission to its end."""

from collections.abc import Mapping
from dataclasses import dataclass

from core.job import JobBase
from core.models import Attempt, Failure, JobStatus, Json, TaskRecord
from core.ports import Ports
from testing.blobs import MemoryBlobs
from testing.harness import JobHarness, memory_ports


@dataclass(frozen=True)
class JobRun:
    """A job that has ended, and the tasks of its stages."""

    status: JobStatus
    result: Json | None
    error: Failure | None
    tasks: Mapping[str, list[TaskRecord]]
    """By the name of the stage. A stage that was not reached is missing."""
    failed_attempts: Mapping[str, list[Attempt]]
    """By the name of the stage: attempts that ended in a retry."""
    blobs: MemoryBlobs | None
    """The blobs as the job left them, unless it ran with other ports."""


def run_job(
    job_type: type[JobBase],
    parameters: Json,
    *,
    blobs: Mapping[str, bytes] | None = None,
    ports: Ports | None = None,
) -> JobRun:
    """Run a job on the in-memory adapters, with retries but without their delays.

    `blobs` are the contents of storage by name, such as `bronze-rasters/name.tif`. Jobs that need
    other adapters get their own `ports`. Raises RequestError if the submission is rejected.
    """
    storage = None if ports else MemoryBlobs(blobs)
    harness = JobHarness([job_type], ports=ports or memory_ports(storage))
    job = harness.run(job_type.job_type, **parameters)
    state = harness.state
    tasks: dict[str, list[TaskRecord]] = {}
    failed: dict[str, list[Attempt]] = {}
    for row in state.get_stages(job.job_id):
        name = job_type.stages[row.stage - 1].name
        tasks[name] = state.get_tasks(job.job_id, row.stage, row.total_tasks)
        failed[name] = state.attempts([task.task_id for task in tasks[name]])
    return JobRun(job.status, job.result, job.error, tasks, failed, storage)
