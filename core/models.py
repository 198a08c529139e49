"""Records, statuses, names of blobs and the two queue messages."""

import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from core.storable import ShortText, StorableText

Json = dict[str, Any]


class Record(BaseModel):
    """An immutable value. Columns and fields it does not know are ignored.

    Its validator is built when it is first needed: no request needs them all.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class JobStatus(StrEnum):
    """Where a job stands. The last four are final."""

    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    COMPLETED_WITH_ERRORS = "completed_with_errors"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self not in (JobStatus.QUEUED, JobStatus.PROCESSING)


class TaskStatus(StrEnum):
    """Where a task stands. The last three are final."""

    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self not in (TaskStatus.QUEUED, TaskStatus.PROCESSING)


class StageStatus(StrEnum):
    """Where a stage stands. All but the first are final."""

    PROCESSING = "processing"
    COMPLETED = "completed"
    COMPLETED_WITH_ERRORS = "completed_with_errors"
    FAILED = "failed"
    CANCELLED = "cancelled"


_CONTAINER = re.compile(r"[a-z0-9](?:-?[a-z0-9]){2,62}")


def _container_name(value: str) -> str:
    if not _CONTAINER.fullmatch(value) or len(value) > 63:
        raise ValueError(
            f"{value!r} is not a container name: 3-63 lower-case letters, digits and single hyphens"
        )
    return value


def _blob_name(value: str) -> str:
    if not value.strip():
        raise ValueError("a blob name must not be empty")
    if len(value) > 1024:
        raise ValueError(f"a blob name has at most 1024 characters, this one {len(value)}")
    if any(ord(char) < 32 or ord(char) == 127 for char in value) or "\\" in value:
        raise ValueError(f"{value!r} has a control character or a backslash")
    if any(part in ("", ".", "..") for part in value.split("/")):
        raise ValueError(f"{value!r} has an empty, '.' or '..' path segment")
    if value.lower().startswith("vsi") and "/" in value and value.split("/")[0].isalpha():
        raise ValueError(f"{value!r} begins like a GDAL virtual path")
    return value


ContainerName = Annotated[str, AfterValidator(_container_name)]
BlobName = Annotated[str, AfterValidator(_blob_name)]


class BlobRef(Record):
    """The name of a blob: parsed once at the door, then handed on whole."""

    container: ContainerName
    name: BlobName

    def __str__(self) -> str:
        return f"{self.container}/{self.name}"


class BlobProperties(Record):
    """What storage says of a blob. The ETag changes whenever its content does."""

    ref: BlobRef
    etag: str
    size: int
    last_modified: datetime
    content_type: str | None = None
    content_md5: str | None = None
    """In Base64, where whoever wrote the blob told it."""
    access_tier: str | None = None
    metadata: dict[str, str] = {}


class Deployment(Record):
    """What the deployment decides and jobs may ask for."""

    silver_container: ContainerName
    default_collection: str
    titiler_url: str
    stac_url: str


class Failure(Record):
    """Why a task or a job failed, in a stable code and one sentence."""

    code: ShortText
    message: ShortText


class JobRecord(Record):
    """One row of app.jobs."""

    job_id: str
    job_type: str
    version: int = 1
    parameters: Json
    status: JobStatus = JobStatus.QUEUED
    run: int = 1
    stage: int = 0
    total_stages: int
    result: Json | None = None
    error: Failure | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    discarded_at: datetime | None = None
    correlation_id: str | None = None
    """Of the request that started the current run."""

    def stage_message(self, stage: int) -> "JobMessage":
        """The message that requests a stage of this run."""
        return JobMessage(
            job_id=self.job_id, run=self.run, stage=stage, correlation_id=self.correlation_id
        )


class Attempt(Record):
    """An attempt that did not complete its task."""

    task_id: str
    attempt: int
    started_at: datetime
    finished_at: datetime
    error: Failure


class StageRecord(Record):
    """One row of app.stages: its counters make last-task detection one comparison."""

    job_id: str
    stage: int
    task_type: str
    status: StageStatus
    best_effort: bool
    total_tasks: int
    open_tasks: int
    failed_tasks: int = 0
    cancelled_tasks: int = 0
    created_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def completed_tasks(self) -> int:
        return self.total_tasks - self.open_tasks - self.failed_tasks - self.cancelled_tasks

    @property
    def is_closed(self) -> bool:
        return self.open_tasks == 0


class TaskRecord(Record):
    """One row of app.tasks. `attempt` fences every write of the worker that claimed it."""

    task_id: str
    job_id: str
    stage: int
    task_index: int
    task_type: str
    parameters: Json
    status: TaskStatus = TaskStatus.QUEUED
    attempt: int = 0
    spent_attempts: int = 0
    attempt_limit: int = 3
    scheduled_at: datetime | None = None
    lease_expires_at: datetime | None = None
    progress: float = 0.0
    progress_message: str = ""
    result: Json | None = None
    error: Failure | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def attempts_left(self) -> int:
        return self.attempt_limit - (self.attempt - self.spent_attempts)


class Event(Record):
    """One line of a job's timeline."""

    event_id: int
    job_id: str
    task_id: str | None
    at: datetime
    kind: str
    detail: Json
    correlation_id: str | None = None


class JobMessage(Record):
    """A hint to look at a job: its stage may be due."""

    job_id: str = Field(pattern="^[0-9a-f]{64}$")
    run: int = Field(ge=1)
    stage: int = Field(ge=1)
    handoffs: int = 0
    """How often hosts that do not know the job type have handed the message off."""
    correlation_id: str | None = None


class TaskMessage(Record):
    """A hint to look at a task: it may be due."""

    task_id: str = Field(pattern="^[0-9a-f]{32}(-[0-9]+){3}$")
    quick: bool = False
    """Which queue carries it: messages of quick tasks are delivered in batches."""
    correlation_id: str | None = None
    """Missing in messages that the sweep sends."""


class OutputTarget(Record):
    """A COG that a task is about to write."""

    blob: BlobRef
    location: str
    """The blob's folder and name without its tier: the tiers of a location share one item."""
    tier: str
    source: str
    """container/name"""
    source_etag: str
    request: str
    """The id of the job that the request has in generation 0."""
    generation: int
    """How many jobs of the same request have lost their outputs before."""


class WrittenBlob(Record):
    """A version of a blob that an upload stored, and the version that it replaced."""

    etag: str
    replaced_etag: str | None
    is_current: bool
    """Whether the blob still had this ETag after the upload."""
    checksum: str
    size: int


class Output(Record):
    """One row of app.outputs: a COG that was written, or is about to be."""

    output_id: int
    container: str
    name: str
    location: str
    tier: str
    source: str
    source_etag: str
    request: str
    generation: int
    job_id: str
    task_id: str
    etag: str | None = None
    checksum: str | None = None
    size: int | None = None
    cog: Json | None = None
    """The result of create_cog; None when the row was restored from the blob's mark."""
    collection_id: str | None = None
    item_id: str | None = None
    begun_at: datetime
    written_at: datetime | None = None
    superseded_at: datetime | None = None
    superseded_by: str | None = None
    removed_at: datetime | None = None
    discarded: bool = False

    @property
    def blob(self) -> BlobRef:
        return BlobRef(container=self.container, name=self.name)

    @property
    def is_live(self) -> bool:
        """Whether the blob holds this output, as far as the registry knows."""
        ended = self.superseded_at or self.removed_at
        return self.written_at is not None and ended is None


class ItemName(Record):
    """The name of a STAC item."""

    collection_id: str
    item_id: str


class DeadLetter(Record):
    """A message that ended in a dead-letter queue, readable or not."""

    queue: str
    message_id: ShortText
    reason: ShortText | None
    description: ShortText | None
    body: StorableText
    job_id: str | None = None
    task_id: str | None = None


class StateHealth(Record):
    """What the tables say of the orchestrator's health. Ages in seconds."""

    open_jobs: int
    oldest_queued_task_age: float | None
    sweep_age: float | None
    last_repaired: int
    total_repaired: int
    dead_letters: int
