"""JSON bodies of requests and responses, as models. OpenAPI is generated from them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from core.models import Failure, JobRecord, JobStatus, Json, Priority, TaskStatus
from core.status import JobView, StageView


class Body(BaseModel):
    """A JSON object with known fields only."""

    model_config = ConfigDict(extra="forbid", defer_build=True)


def is_none(value: Any) -> bool:
    """For `exclude_if`: a field without a value is left out of the JSON."""
    return value is None


def absent(description: str | None = None) -> Any:
    """A field that is left out of the JSON when it has no value."""
    return Field(None, exclude_if=is_none, description=description)


NEXT_PAGE = "Value of `after` for the next page; absent on the last page."
JobId = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
SubmitStatus = Literal[
    "created", "queued", "processing", "completed_with_errors", "failed", "cancelled",
    "already_completed",
]  # fmt: skip


class Stage(Body):
    """A stage of a job with its task counts."""

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
    message: str = Field(description="Progress message of a running task of this stage.")
    started_at: datetime | None
    finished_at: datetime | None


class StageResult(Body):
    """The result of a stage with a single task."""

    success: Literal[True] = True
    result: Json


class JobSummary(Body):
    """A job as lists show it."""

    job_id: JobId
    job_type: str
    version: int
    parameters: Json
    status: JobStatus
    run: int = Field(description="Incremented each time the job runs again.")
    stage: int = Field(description="The current stage, from 1; 0 before the first.")
    total_stages: int
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    correlation_id: str | None = Field(description="Of the request that started this run.")
    priority: Priority = Field(description="Share of the workers while other jobs run, too.")
    error: Failure | None = absent()


class Job(JobSummary):
    """A job with its stages and, once it has completed, its result."""

    progress: float = Field(ge=0, le=1)
    remaining_seconds: float | None = Field(description="Estimate, while the job is running.")
    discarded_at: datetime | None = Field(
        description="When the outputs of a cancelled job had been removed."
    )
    current_stage: int | None = absent("The current stage of a running job, as `stage`.")
    superseded_by: JobId | None = Field(
        None, description="The job that has since overwritten an output of this one."
    )
    metadata: Json = Field(
        description="The job type's description and name, and the main parameters."
    )
    stages: list[Stage]
    stage_results: dict[str, StageResult] | None = absent(
        "Results of completed stages with a single task, with `include=stage_results`, by their"
        " number among the stages that had tasks."
    )
    result_data: Json | None = absent()


class JobList(Body):
    """A page of jobs, newest first."""

    jobs: list[JobSummary]
    next: str | None = absent(NEXT_PAGE)


class QueueInfo(Body):
    """The message that was sent for a job."""

    queued: bool = Field(description="Whether this request queued the job.")
    queue_type: Literal["service_bus"]
    queue_name: str
    message_id: str | None = Field(description="Id of the message, if this request sent one.")
    job_id: JobId
    run: int


class Submitted(Body):
    """The response to a submission."""

    job_id: JobId
    status: SubmitStatus
    job_type: str
    message: str
    parameters: Json = Field(
        description="The parameters with their defaults and with what was found at submission,"
        " such as the ETag of the source."
    )
    queue_info: QueueInfo
    idempotent: bool = Field(description="Whether the job existed before this request.")
    correlation_id: str | None = Field(description="Of the request that started this run.")
    current_stage: int | None = absent("The current stage of an existing job that is running.")
    result_data: Json | None = absent("The result, if the job has already completed.")


class Accepted(Body):
    """The response to a cancel or a retry."""

    job_id: JobId
    status: JobStatus
    run: int


class AttemptBody(Body):
    """An attempt that failed."""

    attempt: int
    started_at: datetime
    finished_at: datetime
    error: Failure


class Task(Body):
    """A task with its failed attempts."""

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
    result: Json | None = absent("What the task returned, with `include=results`.")


class TaskList(Body):
    """A page of a job's tasks, by stage and index."""

    tasks: list[Task]
    next: str | None = absent(NEXT_PAGE)


class EventBody(Body):
    """An entry of a job's timeline."""

    event_id: int
    job_id: JobId
    task_id: str | None
    at: datetime
    kind: str
    detail: Json
    correlation_id: str | None = Field(description="Of the request that started the run.")


class EventList(Body):
    """A page of a job's timeline, oldest first."""

    events: list[EventBody]
    next: int | None = absent(NEXT_PAGE)


class StageType(Body):
    """A stage of a job type."""

    number: int = Field(ge=1)
    name: str
    task_type: str
    description: str
    parallelism: Literal["single", "fan_out"]


class JobType(Body):
    """A type of job that can be submitted."""

    job_type: str
    description: str
    version: int
    stages: list[StageType]
    parameters: Json = Field(description="JSON Schema (draft 2020-12) of the parameters.")
    result: Json = Field(description="JSON Schema (draft 2020-12) of `result_data`.")
    example: Json


class JobTypeList(Body):
    """All types of job that can be submitted."""

    job_types: list[JobType]


class Part(BaseModel):
    """A part of the service: its health, its latency and facts about it."""

    model_config = ConfigDict(extra="allow")

    status: Literal["healthy", "unhealthy"]
    latency_ms: float
    error: str | None = absent()


class Health(Body):
    """The health of the service. It is unhealthy if one of its parts is."""

    status: Literal["healthy", "unhealthy"]
    parts: dict[str, Part]


class Alive(Body):
    """The functions host responds."""

    status: Literal["alive"]


class InvalidField(Body):
    """A field of the request that is invalid."""

    field: str
    value: Any
    message: str


class Problem(Body):
    """What is wrong and what to do (RFC 9457). docs/errors.md lists the codes."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[InvalidField] | None = absent()


def describe_job(view: JobView, metadata: Json) -> Job:
    """The job as its status route shows it."""
    return Job(
        **select_job_fields(view.job),
        progress=view.progress,
        remaining_seconds=view.remaining_seconds,
        discarded_at=view.job.discarded_at,
        current_stage=None if view.job.status.is_final else view.job.stage,
        metadata=metadata,
        superseded_by=view.superseded_by,
        stages=[_describe_stage(stage) for stage in view.stages],
        result_data=view.job.result,
    )


def select_job_fields(job: JobRecord) -> Json:
    """The fields of a job's row that lists and single views show."""
    return job.model_dump(include=set(JobSummary.model_fields))


def _describe_stage(stage: StageView) -> Stage:
    return Stage.model_validate(stage.model_dump())
