"""What the rules ask of the world. infrastructure/ has the adapters, tests the contract."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from core.errors import KeyReused
from core.models import (
    Attempt,
    BlobProperties,
    BlobRef,
    DeadLetter,
    Deployment,
    Event,
    Failure,
    ItemName,
    JobMessage,
    JobRecord,
    JobStatus,
    Json,
    Output,
    OutputTarget,
    StageRecord,
    StateHealth,
    TaskMessage,
    TaskRecord,
    TaskStatus,
    WrittenBlob,
)

AccessTier = Literal["Hot", "Cool", "Cold"]
ItemChange = Literal["created", "updated", "unchanged"]


class BlobStore(Protocol):
    """Blobs by name. A missing one raises BlobNotFound or ContainerNotFound."""

    def properties(self, ref: BlobRef) -> BlobProperties: ...

    def list(self, container: str, prefix: str) -> Iterable[BlobProperties]: ...

    def url(self, ref: BlobRef) -> str:
        """The plain https address, without a signature."""

    def signed_url(self, ref: BlobRef, lifetime: timedelta) -> str:
        """An address anyone can read for `lifetime`. Never stored, queued or logged."""

    def upload_url(self, ref: BlobRef, lifetime: timedelta) -> str:
        """An address anyone can write this blob at, and read nothing, for `lifetime`."""

    def download(self, ref: BlobRef, path: Path) -> None:
        """Write the blob to `path` in blocks; memory stays flat."""

    def upload(
        self,
        ref: BlobRef,
        path: Path,
        *,
        content_type: str,
        access_tier: AccessTier | None = None,
        metadata: dict[str, str] | None = None,
    ) -> BlobProperties:
        """Send the file in blocks, then show it at once: a reader never sees half of it."""

    def replace(
        self,
        ref: BlobRef,
        path: Path,
        etag: str | None,
        *,
        content_type: str,
        access_tier: AccessTier | None = None,
        metadata: dict[str, str] | None = None,
    ) -> BlobProperties:
        """As `upload`, but only over the version with this ETag; None: only a new blob.

        Raises BlobChanged when the blob is at another version, or another writer committed.
        """

    def delete(self, ref: BlobRef, etag: str | None = None) -> bool:
        """Remove the blob and its snapshots, if it still has that ETag.

        False when there was nothing to remove.
        """


class Catalog(Protocol):
    """STAC items in pgSTAC."""

    def put_item(self, item: Json, collection: Json, owner: str | None = None) -> ItemChange:
        """Store the item, its collection when missing, and widen the collection's extent.

        `created` and `updated` are set here. `owner` names the property that tells whose item
        this is; one stored under the same id with another owner: TaskFailed ITEM_ID_TAKEN.
        """

    def get_item(self, collection_id: str, item_id: str) -> Json | None: ...

    def shows(self, collection_id: str | None, href: str) -> bool:
        """Whether an item of the collection, or of any, has an asset at that address."""

    def withdraw(self, collection_id: str, href: str) -> int:
        """Delete the items that have an asset at that address. Returns how many."""

    def delete_item(self, collection_id: str, item_id: str, updated: str, owner: str) -> bool:
        """Remove the item if it was last written at `updated`, and note that in `removals`."""

    def removals(self, collection_id: str, source: str | None = None) -> int:
        """How many items of the collection were deleted before, of all or of one source."""

    def delete_collection_if_empty(self, collection_id: str) -> bool:
        """False when there is none, or when it holds items."""


class RecordOutcome(StrEnum):
    """The outcome of recording an upload: sql/functions/record_output.sql."""

    LIVE = "live"
    SUPERSEDED = "superseded"
    LOST = "lost"


class PublishOutcome(StrEnum):
    """The outcome of publishing outputs: sql/functions/publish_outputs.sql."""

    PUBLISHED = "published"
    SUPERSEDED = "superseded"
    INCOMPLETE = "incomplete"


class Published(NamedTuple):
    """What publishing outputs changed."""

    outcome: PublishOutcome
    superseded_by: str | None = None
    vacated: Sequence[ItemName] = ()
    """Items that have no output left."""


class OutputRegistry(Protocol):
    """Which COGs were written, by which task, from what, and for which item.

    Every method may be called again at any moment and then gives the same answer.
    """

    def reserve_location(self, container: str, locations: Sequence[str], owner: str) -> str | None:
        """The first location that is the owner's or free, which from now on is the owner's.

        None when all belong to others.
        """

    def begin(self, target: OutputTarget, task_id: str, attempt: int) -> int | None:
        """Note that a blob is about to be written. None when the attempt lost its task."""

    def record(
        self, output_id: int, attempt: int | None, written: WrittenBlob, cog: Json | None
    ) -> RecordOutcome:
        """Record what was written. Without an attempt the row is restored from the blob's mark."""

    def get(self, output_id: int) -> Output | None: ...

    def live_at(self, blob: BlobRef) -> Output | None:
        """The output that the blob holds."""

    def published_at(self, container: str, location: str) -> list[Output]:
        """The live outputs of a location that an item references, in the order of their names."""

    def of_request(self, request: str) -> list[Output]:
        """The live outputs of a request whose job has ended."""

    def of_item(self, item: ItemName) -> list[Output]:
        """The outputs of an item whose bytes are still there."""

    def of_source(self, source: str) -> list[Output]:
        """What was made from a source (container/name) and is still there."""

    def of_tasks(self, prefix: str) -> list[Output]:
        """The outputs of the tasks whose ids begin so."""

    def generation(self, request: str) -> int:
        """How many jobs of the request have lost an output since they wrote it."""

    def superseded_by(self, job_id: str) -> str | None:
        """The job that wrote over an output of this job, or replaced it."""

    def publish(self, output_ids: Sequence[int], item: ItemName) -> Published:
        """Make the outputs the assets of an item; Catalog.put_item does it with the item."""

    def supersede(self, output_id: int, *, is_gone: bool) -> bool:
        """Note that an output is not valid any more. True when it was live until now.

        `is_gone` says that its bytes are gone, too.
        """

    def discard(self, output_id: int) -> bool:
        """Supersede an output of a cancelled job, unless an item references it.

        True when the output is discarded, by this call or an earlier one.
        """

    def mark_removed(self, output_id: int) -> None:
        """Note that the bytes of a superseded output are gone."""

    def to_remove(self, grace: timedelta, limit: int) -> list[Output]:
        """Outputs that were superseded at least `grace` ago and may still have their bytes."""

    def to_settle(self, age: timedelta, limit: int) -> list[Output]:
        """Uploads begun at least `age` ago that no running task will record any more."""


class Scratch(Protocol):
    """Local disk for the work of one task."""

    def folder(self, name: str, bytes_needed: int) -> AbstractContextManager[Path]:
        """An empty folder, removed at the end, also after a kill. Raises ScratchFull."""


@dataclass(frozen=True)
class Ports:
    """What handlers and jobs reach the world through."""

    blobs: BlobStore
    catalog: Catalog
    scratch: Scratch
    outputs: OutputRegistry
    deployment: Deployment


class ClaimOutcome(StrEnum):
    """What came of a claim: sql/functions/claim_tasks.sql."""

    CLAIMED = "claimed"
    EARLY = "early"
    LEASED = "leased"
    RUN_ALONE = "run_alone"
    EXHAUSTED = "exhausted"
    FINAL = "final"


class Claim(NamedTuple):
    """The outcome of a claim and the task as it now stands."""

    outcome: ClaimOutcome
    task: TaskRecord


class Completion(NamedTuple):
    """Whether this write closed the task, and the stage as it now stands."""

    applied: bool
    stage: StageRecord


class Done(NamedTuple):
    """An attempt that succeeded, and what it returned."""

    task_id: str
    attempt: int
    result: Json


class HeldTask(NamedTuple):
    """A running task: what the heartbeat writes."""

    task_id: str
    attempt: int
    progress: float
    message: str


class RequestKey(NamedTuple):
    """A caller's Idempotency-Key, and the fingerprint of the request it came with."""

    key: str
    fingerprint: str

    def must_match(self, fingerprint: str) -> None:
        """Raises KeyReused when the key was first seen with another request."""
        if fingerprint != self.fingerprint:
            raise KeyReused(
                f"the Idempotency-Key {self.key!r} came with another request before;"
                " send each new request with a new key"
            )


@dataclass(frozen=True)
class JobFilter:
    """Which jobs a list shows: those that meet every condition. None stated: all of them."""

    statuses: Sequence[JobStatus] = ()
    job_types: Sequence[str] = ()
    created_from: datetime | None = None
    created_until: datetime | None = None
    least_seconds: float | None = None
    """How long it has run, or ran until it ended; a job that has not started has no such time."""
    most_seconds: float | None = None


@dataclass(frozen=True)
class TaskFilter:
    """Which tasks a list has, and how much of each. Without statuses: all tasks."""

    statuses: Sequence[TaskStatus] = ()
    with_results: bool = False
    """Results may be large."""


ALL_TASKS = TaskFilter()


class JobCursor(NamedTuple):
    """The last job of a page."""

    created_at: datetime
    job_id: str


class StateRepository(Protocol):
    """Job, stage and task state. Every method may be called again at any moment."""

    def submit_job(self, job: JobRecord, key: RequestKey | None = None) -> tuple[bool, JobRecord]:
        """Store the job, or find it. True when it is new or runs anew after a failure.

        A key that is known finds its job and changes nothing; KeyReused when it came with
        another request.
        """

    def find_submission(self, key: RequestKey) -> JobRecord | None:
        """The job that a key stands for. Raises KeyReused."""

    def list_jobs(self, wanted: JobFilter, after: JobCursor | None, limit: int) -> list[JobRecord]:
        """Jobs without their results, newest first."""

    def get_job(self, job_id: str) -> JobRecord:
        """Raises JobNotFound."""

    def get_stages(self, job_id: str) -> list[StageRecord]: ...

    def get_stage(self, job_id: str, stage: int) -> StageRecord | None: ...

    def get_tasks(self, job_id: str, stage: int, limit: int) -> list[TaskRecord]:
        """The first `limit` tasks of a stage, in task order."""

    def list_tasks(
        self, job_id: str, after: tuple[int, int], limit: int, wanted: TaskFilter = ALL_TASKS
    ) -> list[TaskRecord]:
        """A job's tasks after (stage, index), in that order. Results only if they are wanted."""

    def attempts(self, task_ids: Sequence[str]) -> list[Attempt]:
        """The attempts of these tasks that did not complete them, in order."""

    def start_stage(
        self,
        job: JobRecord,
        stage: int,
        task_type: str,
        best_effort: bool,
        tasks: Sequence[TaskRecord],
    ) -> bool:
        """Advance the job and store all tasks, in one transaction. True exactly once per run."""

    def queued_tasks(self, job_id: str, stage: int) -> list[str]:
        """The ids of the tasks of a stage that wait for a worker and are due."""

    def results(self, job_id: str, stage: int) -> list[Json]:
        """What the completed tasks of a stage returned, in task order."""

    def first_failure(self, job_id: str, stage: int) -> Failure | None: ...

    def claim_tasks(self, task_ids: Sequence[str], lease: timedelta) -> list[Claim]:
        """A claim for each task that there is; the run of the others is gone."""

    def renew_leases(self, held: Sequence[HeldTask], lease: timedelta) -> set[str]:
        """Renew and store progress. Returns the task ids that are still ours."""

    def complete_task(
        self, task_id: str, attempt: int, result: Json | None, error: Failure | None
    ) -> Completion | None:
        """Close the task if this attempt holds it. None when its run is gone."""

    def complete_tasks(self, done: Sequence[Done]) -> dict[str, Completion]:
        """Close each task that its attempt holds, in one write. Those whose run is gone lack."""

    def retry_task_later(
        self, task_id: str, attempt: int, error: Failure, delay: timedelta
    ) -> bool:
        """Give the task back after a passing fault. False when the claim is gone."""

    def finish_job(
        self, job: JobRecord, status: JobStatus, result: Json | None, error: Failure | None
    ) -> bool:
        """End the job, unless it has moved on since it was read. True exactly once per run."""

    def cancel_job(self, job_id: str) -> JobRecord:
        """Cancel at once. An ended job stays as it is. Raises JobNotFound."""

    def retry_job(self, job_id: str) -> tuple[bool, JobRecord]:
        """Run the failed tasks again. False when the job's state forbids it. Raises JobNotFound."""

    def mark_discarded(self, job: JobRecord, after: timedelta) -> bool:
        """Note that nothing is left of a run that was cancelled at least `after` ago."""

    def reopen_discard(self, job_id: str) -> JobRecord | None:
        """Note that something may be left again. None unless the job is cancelled."""

    def purge_jobs(self, age: timedelta, limit: int) -> list[str]:
        """Delete jobs that ended longer ago than `age`. Returns their ids."""

    def sweep(self, limit: int, grace: timedelta) -> list[JobMessage | TaskMessage]:
        """What is overdue: the messages to send again."""

    def record_dead_letter(self, letter: DeadLetter) -> int:
        """Keep it, once. Returns how many of its queue died alike: same body, same reason."""

    def events(self, job_id: str, after: int, limit: int) -> list[Event]: ...

    def health(self) -> StateHealth: ...


class MessageBus(Protocol):
    """Sends hints. A message may arrive twice, late, or never."""

    def send_jobs(self, messages: Iterable[JobMessage], due: datetime | None = None) -> list[str]:
        """Send in batches, at `due` when it is given. Returns the ids of the messages."""

    def send_tasks(self, messages: Iterable[TaskMessage], due: datetime | None = None) -> None:
        """Send in batches, at `due` when it is given."""
