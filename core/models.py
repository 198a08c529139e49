"""Records, statuses, names of blobs, and the messages of the queues."""

import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from core.storable import ShortText, StorableText
from core.telemetry import continue_trace

Json = dict[str, Any]


class Record(BaseModel):
    """An immutable value. Unknown columns and fields are ignored.

    Its validator is built on first use, because no process uses all models.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class JobStatus(StrEnum):
    """The status of a job. The last four are final."""

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
    """The status of a task. The last three are final."""

    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self not in (TaskStatus.QUEUED, TaskStatus.PROCESSING)


class StageStatus(StrEnum):
    """The status of a stage. All but the first are final."""

    PROCESSING = "processing"
    COMPLETED = "completed"
    COMPLETED_WITH_ERRORS = "completed_with_errors"
    FAILED = "failed"
    CANCELLED = "cancelled"


CONTAINER_PATTERN = re.compile(r"[a-z0-9](?:-?[a-z0-9]){2,62}")


def _container_name(value: str) -> str:
    if not CONTAINER_PATTERN.fullmatch(value) or len(value) > 63:
        raise ValueError(
            f"invalid container name {value!r}:"
            " use 3 to 63 lower-case letters, digits and single hyphens"
        )
    return value


def _blob_name(value: str) -> str:
    if not value.strip():
        raise ValueError("blob name is empty")
    if len(value) > 1024:
        raise ValueError(f"blob name has {len(value)} characters; at most 1024 are allowed")
    if any(ord(char) < 32 or ord(char) == 127 for char in value) or "\\" in value:
        raise ValueError(f"blob name {value!r} contains a control character or a backslash")
    if any(part in ("", ".", "..") for part in value.split("/")):
        raise ValueError(f"blob name {value!r} contains an empty, '.' or '..' path segment")
    if value.lower().startswith("vsi") and "/" in value and value.split("/")[0].isalpha():
        raise ValueError(f"blob name {value!r} starts like a GDAL virtual path")
    return value


ContainerName = Annotated[str, AfterValidator(_container_name)]
BlobName = Annotated[str, AfterValidator(_blob_name)]


class BlobRef(Record):
    """The name of a blob. Parsed once at the edge, then passed on as a whole."""

    container: ContainerName
    name: BlobName

    def __str__(self) -> str:
        return f"{self.container}/{self.name}"


class BlobProperties(Record):
    """The properties of a blob in storage. The ETag changes with the content."""

    ref: BlobRef
    etag: str
    size: int
    last_modified: datetime
    content_type: str | None = None
    content_md5: str | None = None
    """In Base64; None if the writer did not set it."""
    access_tier: str | None = None
    metadata: dict[str, str] = {}


class Deployment(Record):
    """Settings of the deployment that jobs use."""

    silver_container: ContainerName
    default_collection: str
    titiler_url: str
    stac_url: str
    windows_from_mb: int = 200
    """The decoded size of a COG from which on many tasks make it."""
    window_mb: int = 64
    """What the pixels of one such task take in memory."""


class Failure(Record):
    """Why a task or job failed: a stable code and a message."""

    code: ShortText
    message: ShortText


class Priority(StrEnum):
    """The share of the workers that a job gets while others run, too."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


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
    priority: Priority = Priority.NORMAL
    traceparent: str | None = None
    """The span of that request; None when it was not recorded."""

    def stage_message(self, stage: int) -> "JobMessage":
        """The message that requests a stage of this run."""
        return JobMessage(
            job_id=self.job_id,
            run=self.run,
            stage=stage,
            correlation_id=self.correlation_id,
            traceparent=continue_trace(self.traceparent),
        )


class Attempt(Record):
    """An attempt that failed or lost its worker."""

    task_id: str
    attempt: int
    started_at: datetime
    finished_at: datetime
    error: Failure


class StageRecord(Record):
    """One row of app.stages. Its counters make the detection of the last task one comparison."""

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
    """One row of app.tasks. `attempt` is the fence: writes of older attempts change nothing."""

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
    """When it is due. None while it is held: its stage has enough tasks in flight."""
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
    """An entry of a job's timeline."""

    event_id: int
    job_id: str
    task_id: str | None
    at: datetime
    kind: str
    detail: Json
    correlation_id: str | None = None


class JobMessage(Record):
    """A hint that a stage of a job may be due."""

    job_id: str = Field(pattern="^[0-9a-f]{64}$")
    run: int = Field(ge=1)
    stage: int = Field(ge=1)
    handoffs: int = 0
    """How often hosts that do not know the job type have handed the message off."""
    correlation_id: str | None = None
    traceparent: str | None = None
    """The span that sent the message."""


class TaskMessage(Record):
    """A hint that a task may be due."""

    task_id: str = Field(pattern="^[0-9a-f]{32}(-[0-9]+){3}$")
    quick: bool = False
    """Which queue carries it: messages of quick tasks are delivered in batches."""
    job_type: str | None = None
    correlation_id: str | None = None
    traceparent: str | None = None
    """The span that sent the message."""


class OverviewFile(Record):
    """A stored overview of a collection."""

    name: str
    """Of its blob in the silver container."""
    collection_id: str
    task_id: str
    """The task that wrote it."""
    changed_at: datetime
    """When it was written, or the collection's overview changed."""


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


class ItemName(Record):
    """The name of a STAC item."""

    collection_id: str
    item_id: str


class PublishedItem(Record):
    """A STAC item to store, and the ids of the outputs that are its assets."""

    item: Json
    outputs: tuple[int, ...] = ()


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
    is_stale: bool = False
    """Whether its item describes other bytes than the blob holds."""

    @property
    def blob(self) -> BlobRef:
        return BlobRef(container=self.container, name=self.name)

    @property
    def item(self) -> ItemName | None:
        """The item that references it."""
        if self.collection_id is None or self.item_id is None:
            return None
        return ItemName(collection_id=self.collection_id, item_id=self.item_id)

    @property
    def is_live(self) -> bool:
        """Whether the blob holds this output, as far as the registry knows."""
        ended = self.superseded_at or self.removed_at
        return self.written_at is not None and ended is None


class DeadLetter(Record):
    """A message from a dead-letter queue, or one that is invalid."""

    queue: str
    message_id: ShortText
    reason: ShortText | None
    description: ShortText | None
    body: StorableText
    job_id: str | None = None
    task_id: str | None = None


class StateHealth(Record):
    """The health of the orchestrator, from its tables. Ages are in seconds."""

    open_jobs: int
    oldest_queued_task_age: float | None
    sweep_age: float | None
    last_repaired: int
    total_repaired: int
    dead_letters: int
