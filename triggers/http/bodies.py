"""What every route answers, as models: routes send them, and OpenAPI is made of them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from core.models import Failure, JobRecord, JobStatus, Json, TaskStatus
from core.status import JobView, StageView


def _is_absent(value: Any) -> bool:
    return value is None


class Body(BaseModel):
    """The JSON of an answer."""

    model_config = ConfigDict(extra="forbid", defer_build=True)


JobId = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
SubmitStatus = Literal[
    "created", "queued", "processing", "completed_with_errors", "failed", "cancelled",
    "already_completed",
]  # fmt: skip


class Stage(Body):
    """One stage with its counts."""

    stage: int
    name: str
    task_type: str
    status: Literal[
        "pending", "processing", "completed", "completed_with_errors", "failed", "cancelled"
    ]
    total_tasks: int
    completed_tasks: int
    failed_tasks: int
    cancelled_tasks: int
    progress: float = Field(ge=0, le=1)
    message: str = Field(description="What a running task of the stage says it is doing.")
    started_at: datetime | None
    finished_at: datetime | None


class JobSummary(Body):
    """A job as lists show it."""

    job_id: JobId
    job_type: str
    version: int
    parameters: Json
    status: JobStatus
    run: int = Field(description="Goes up by one each time the job runs again.")
    stage: int = Field(description="The stage that runs, from 1; 0 before the first.")
    total_stages: int
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: Failure | None = Field(None, exclude_if=_is_absent)


class Job(JobSummary):
    """A job with its stages, and its result when it has one."""

    progress: float = Field(ge=0, le=1)
    remaining_seconds: float | None = Field(description="An estimate, while the job runs.")
    discarded_at: datetime | None = Field(description="When nothing was left of a cancelled job.")
    stages: list[Stage]
    result_data: Json | None = Field(None, exclude_if=_is_absent)


class JobList(Body):
    """A page of jobs, newest first."""

    jobs: list[JobSummary]
    next: str | None = Field(
        None, exclude_if=_is_absent, description="`after` of the next page; absent on the last."
    )


class QueueInfo(Body):
    """What was sent."""

    queued: bool
    queue_type: Literal["service_bus"]
    run: int


class Submitted(Body):
    """The answer to a submission."""

    job_id: JobId
    status: SubmitStatus
    job_type: str
    message: str
    parameters: Json = Field(
        description="The parameters with their defaults, and what was learnt of the source."
    )
    queue_info: QueueInfo
    idempotent: bool = Field(description="Whether the job was there before.")
    result_data: Json | None = Field(None, exclude_if=_is_absent)


class Accepted(Body):
    """The answer to a cancel or a retry."""

    job_id: JobId
    status: JobStatus
    run: int


class AttemptBody(Body):
    """An attempt that did not complete its task."""

    attempt: int
    started_at: datetime
    finished_at: datetime
    error: Failure


class Task(Body):
    """A task with the attempts that came to nothing."""

    task_id: str
    stage: int
    task_index: int
    task_type: str
    status: TaskStatus
    attempt: int
    progress: float = Field(ge=0, le=1)
    progress_message: str
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    error: Failure | None
    attempts: list[AttemptBody]


class TaskList(Body):
    """A page of a job's tasks, in order."""

    tasks: list[Task]
    next: str | None = Field(
        None, exclude_if=_is_absent, description="`after` of the next page; absent on the last."
    )


class EventBody(Body):
    """One line of a job's timeline."""

    event_id: int
    job_id: JobId
    task_id: str | None
    at: datetime
    kind: str
    detail: Json


class EventList(Body):
    """A page of a job's timeline, in order."""

    events: list[EventBody]
    next: int | None = Field(
        None, exclude_if=_is_absent, description="`after` of the next page; absent on the last."
    )


class StageName(Body):
    """A stage of a job type."""

    name: str
    task_type: str


class JobType(Body):
    """What can be submitted."""

    job_type: str
    description: str
    version: int
    stages: list[StageName]
    parameters: Json = Field(description="JSON Schema (draft 2020-12) of the parameters.")
    example: Json


class JobTypeList(Body):
    """Everything that can be submitted."""

    job_types: list[JobType]


class Part(BaseModel):
    """One part of the service: its health, its latency, and facts of its own."""

    model_config = ConfigDict(extra="allow")

    status: Literal["healthy", "unhealthy"]
    latency_ms: float
    error: str | None = Field(None, exclude_if=_is_absent)


class Health(Body):
    """The health of the whole: that of its weakest part."""

    status: Literal["healthy", "unhealthy"]
    parts: dict[str, Part]


class Alive(Body):
    """The functions host answers."""

    status: Literal["alive"]


class WrongField(Body):
    """A field of the request that is wrong."""

    field: str
    value: Any
    message: str


class Problem(Body):
    """What is wrong and what to do (RFC 9457). Codes are listed in docs/errors.md."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[WrongField] | None = Field(None, exclude_if=_is_absent)


def describe_job(view: JobView) -> Job:
    """What a caller is told of a job."""
    return Job(
        **job_fields(view.job),
        progress=view.progress,
        remaining_seconds=view.remaining_seconds,
        discarded_at=view.job.discarded_at,
        stages=[_describe_stage(stage) for stage in view.stages],
        result_data=view.job.result,
    )


def job_fields(job: JobRecord) -> Json:
    """What lists and single views show of a job's row."""
    return job.model_dump(include=set(JobSummary.model_fields))


def _describe_stage(stage: StageView) -> Stage:
    return Stage.model_validate(stage.model_dump())
