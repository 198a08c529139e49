"""The ports of the core. The adapters are in infrastructure/, their tests in tests/contract."""

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from core.errors import GeolatheError, KeyReused
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
    OverviewFile,
    PublishedItem,
    StageRecord,
    StateHealth,
    TaskMessage,
    TaskRecord,
    TaskStatus,
    WrittenBlob,
)
from core.results import TaskResult

AccessTier = Literal["Hot", "Cool", "Cold"]
BLOCK_ID_LENGTH = 41
"""Azure Storage requires ids of one length for all blocks of a blob, also of other uploads."""
ItemChange = Literal["created", "updated", "unchanged"]


class BlobPage(NamedTuple):
    """Some blobs of a listing in the order of their names, and where the next page begins."""

    blobs: Sequence[BlobProperties]
    next_marker: str | None
    """None after the last page. A page that is not the last one may be empty."""
    folders: Sequence[str] = ()
    """The prefixes of the folders among them, which end with a slash, if the listing is not
    recursive."""


class Block(NamedTuple):
    """A part of a blob in Azure Storage. The ids have BLOCK_ID_LENGTH ASCII characters."""

    block_id: str
    size: int
    """In bytes."""


class BlobStore(Protocol):
    """Blobs by name. Methods raise BlobNotFound and ContainerNotFound."""

    def properties(self, ref: BlobRef) -> BlobProperties: ...

    def list(self, container: str, prefix: str) -> Iterable[BlobProperties]: ...

    def list_page(
        self, container: str, prefix: str, marker: str | None, *, limit: int, recursive: bool
    ) -> BlobPage:
        """At most `limit` blobs and folders from a marker of an earlier page, or the beginning.

        Without `recursive`, only blobs whose name has no slash after the prefix.
        """

    def list_root(self, container: str) -> Iterable[BlobProperties]:
        """The blobs outside folders, in the order of their names."""

    def folders(self, container: str) -> Iterable[str]:
        """The prefixes of the folders at the top, which end with a slash."""

    def url(self, ref: BlobRef) -> str:
        """The https URL, without a signature."""

    def signed_url(self, ref: BlobRef, lifetime: timedelta) -> str:
        """A URL that anyone can read for `lifetime`. It must never be stored, queued or logged."""

    def upload_url(self, ref: BlobRef, lifetime: timedelta) -> str:
        """A URL at which anyone can write, but not read, this blob for `lifetime`."""

    def download(self, ref: BlobRef, path: Path) -> None:
        """Write the blob to `path` in blocks, in constant memory."""

    def upload(
        self,
        ref: BlobRef,
        path: Path,
        *,
        content_type: str,
        access_tier: AccessTier | None = None,
        metadata: dict[str, str] | None = None,
    ) -> BlobProperties:
        """Upload the file in blocks and commit them at once: readers never see a part of it."""

    def replace(
        self,
        ref: BlobRef,
        path: Path,
        etag: str | None,
        *,
        content_type: str,
        access_tier: AccessTier | None = None,
        metadata: dict[str, str] | None = None,
        confirm: Callable[[], None] | None = None,
    ) -> BlobProperties:
        """Like `upload`, but only over the version with this ETag; None means only a new blob.

        `confirm` is called when everything is sent and before it becomes visible. Raises
        BlobChanged when the blob is at another version, or another writer committed.
        """

    def stage_block(self, ref: BlobRef, block_id: str, content: bytes) -> None:
        """Send a block that is no part of the blob until `commit_blocks` names it.

        Staging a block again replaces it.
        """

    def staged_blocks(self, ref: BlobRef) -> Sequence[Block]:
        """The blocks that are staged and not committed, in any order."""

    def commit_blocks(
        self,
        ref: BlobRef,
        blocks: Sequence[Block],
        etag: str | None,
        *,
        content_type: str,
        access_tier: AccessTier | None = None,
        metadata: dict[str, str] | None = None,
    ) -> BlobProperties:
        """Make these staged blocks, in this order, the content of the blob.

        They replace the version with this ETag; None means that there is no blob yet. All other
        staged blocks are dropped. Raises BlobChanged when the blob is at another version, and
        BlocksMissing when a block is not staged.
        """

    def discard_blocks(self, ref: BlobRef) -> bool:
        """Drop the staged blocks of a blob that was never committed.

        False, and nothing is done, when the blob has content: storage drops its staged blocks at
        the next commit, or after a week.
        """

    def read(self, ref: BlobRef) -> bytes:
        """The content of a small blob."""

    def write(self, ref: BlobRef, content: bytes) -> None:
        """Write a small blob, over what is there."""

    def delete_folder(self, container: str, prefix: str, kept: Collection[str] = ()) -> int:
        """Delete the blobs whose names begin so, except those named `kept`. Returns their number.

        Several are deleted at a time.
        """

    def delete(self, ref: BlobRef, etag: str | None = None) -> bool:
        """Delete the blob and its snapshots if it still has this ETag.

        False if there was nothing to delete.
        """


class Catalog(Protocol):
    """STAC items in pgSTAC."""

    def put_item(
        self, item: Json, collection: Json, owner: str | None = None, outputs: Sequence[int] = ()
    ) -> ItemChange:
        """Store the item, its collection when missing, and widen the collection's extent.

        `created` and `updated` are set here. `owner` is the property that names the item's owner;
        one stored under the same id with another owner: TaskFailed ITEM_ID_TAKEN. `outputs` are
        its assets: they are published in the same transaction (OutputRegistry.publish), and items
        that have no output left are deleted. One of them is not live any more: TaskFailed
        OUTPUT_SUPERSEDED; the item lacks a published tier of their location: TierMissing.

        A change of an item drops the overview of its collection, which shows its items as they
        were: the asset `overview` is removed from the collection, and its watch ends.
        """

    def put_items(
        self, items: Sequence[PublishedItem], collection: Json, owner: str | None = None
    ) -> list[ItemChange | GeolatheError]:
        """Like `put_item` for items of one collection, in one transaction.

        The outcome of each item is in its place: what changed, or the error for which it is not
        stored. An error of one item does not affect the others.
        """

    def get_item(self, collection_id: str, item_id: str) -> Json | None: ...

    def delete_item(self, collection_id: str, item_id: str, updated: str) -> bool:
        """Remove the item if it was last written at `updated`, and supersede its outputs."""

    def withdraw_output(self, output: Output, href: str) -> bool:
        """Take a stale output, whose asset has this href, out of its item.

        An item without its main asset is removed, and its other outputs are superseded. False if
        the output is not stale any more.
        """

    def get_collection(self, collection_id: str) -> Json | None: ...

    def has_items(self, collection_id: str, items: Sequence[Json]) -> bool:
        """Whether each of these items is stored as it is here, apart from its stamps."""

    def watch_items(self, collection_id: str, watcher: str) -> bool:
        """Watch the items of the collection until one changes. False if there is no collection.

        A watch is a field of the collection. It also ends with the next `watch_items` or
        `update_collection`.
        """

    def update_collection(
        self, collection_id: str, fields: Json, watcher: str | None = None
    ) -> bool:
        """Replace top-level fields of the collection; None removes one. False if there is none.

        With a watcher: also False if its watch has ended, unless the fields are stored already.
        """

    def count_items(self, collection_id: str) -> int:
        """The number of items of the collection; its time grows with them."""

    def list_items(self, collection_id: str, first: str = "", stop: str | None = None) -> list[str]:
        """The ids with first <= id < stop, in the order of their characters' codes."""

    def collection_key(self, collection_id: str) -> int | None:
        """A number that a collection gets when it is created; None when there is none."""

    def delete_collection_if_empty(self, collection_id: str) -> bool:
        """False when there is none, or when it holds items."""


class Begun(NamedTuple):
    """The id of an output whose upload may begin.

    Without an id the attempt lost its task, or a job that started later (`superseded_by`) writes
    to the same location.
    """

    output_id: int | None
    superseded_by: str | None = None


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

    def begin(self, target: OutputTarget, task_id: str, attempt: int) -> Begun:
        """Note that a blob is about to be written."""

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

    def unpublished(self, source: str) -> list[Output]:
        """What ended jobs made from a source (container/name) and did not publish."""

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

        `is_gone` says that its bytes are gone, too: its item is stale then.
        """

    def discard(self, output_id: int) -> bool:
        """Supersede an output of a cancelled job, unless an item references it.

        True when the output is discarded, by this call or an earlier one.
        """

    def mark_removed(self, output_id: int) -> None:
        """Note that the bytes of a superseded output are gone."""

    def live_after(self, container: str, prefix: str, after: str, limit: int) -> list[Output]:
        """Live outputs in the order of their names; without a prefix those outside folders."""

    def folders(self, container: str) -> list[str]:
        """The prefixes of the folders at the top that have live outputs."""

    def is_abandoned(self, output_id: int) -> bool:
        """Whether no task runs that would record this upload."""

    def to_remove(self, grace: timedelta, limit: int) -> list[Output]:
        """Outputs that were superseded at least `grace` ago and may still have their bytes."""

    def to_withdraw(self, grace: timedelta, limit: int) -> list[Output]:
        """Stale outputs that no job will publish.

        Their job has ended, or their bytes have been gone for `grace`.
        """

    def purge(self, age: timedelta, limit: int) -> int:
        """Delete rows of outputs that were removed longer than `age` ago and whose job is deleted.

        Returns their number.
        """

    def to_settle(self, age: timedelta, limit: int) -> list[Output]:
        """Uploads begun at least `age` ago that no running task will record any more."""

    def add_overview(self, name: str, collection_id: str, task_id: str) -> None:
        """Note that the overview of a collection is about to be written, or may yet be named."""

    def recheck_overviews(self, collection_id: str) -> None:
        """Note that the collection names another overview or none."""

    def overviews_to_check(self, grace: timedelta, limit: int) -> list[OverviewFile]:
        """Overviews that were written, or whose collection changed, at least `grace` ago."""

    def keep_overview(self, overview: OverviewFile) -> None:
        """Check it no more until its collection changes. No effect if that has changed since."""

    def forget_overview(self, name: str) -> None:
        """Note that the blob is gone."""


class Scratch(Protocol):
    """Local disk space for the work of a task."""

    def folder(self, name: str, bytes_needed: int) -> AbstractContextManager[Path]:
        """An empty folder, removed at the end, even after a crash.

        Raises ScratchFull, and TaskFailed SCRATCH_TOO_SMALL when the disk could never hold it.
        """


@dataclass(frozen=True)
class Ports:
    """The ports that handlers and jobs use."""

    blobs: BlobStore
    catalog: Catalog
    scratch: Scratch
    outputs: OutputRegistry
    deployment: Deployment


class ClaimOutcome(StrEnum):
    """The outcome of a claim: sql/functions/claim_tasks.sql."""

    CLAIMED = "claimed"
    EARLY = "early"
    LEASED = "leased"
    RUN_ALONE = "run_alone"
    EXHAUSTED = "exhausted"
    FINAL = "final"


class Claim(NamedTuple):
    """The outcome of a claim, and the task after it."""

    outcome: ClaimOutcome
    task: TaskRecord


class Completion(NamedTuple):
    """Whether this write closed the task, and the stage after it."""

    applied: bool
    stage: StageRecord
    released: str | None = None
    """The id of a task of the same stage that was held and may run now."""


class Done(NamedTuple):
    """An attempt that succeeded, and its result."""

    task_id: str
    attempt: int
    result: Json


class HeldTask(NamedTuple):
    """The state of a running task, as the heartbeat stores it."""

    task_id: str
    attempt: int
    progress: float
    message: str


class RequestKey(NamedTuple):
    """An Idempotency-Key, and the fingerprint of its request."""

    key: str
    fingerprint: str

    def must_match(self, fingerprint: str) -> None:
        """Raises KeyReused if the key was first used for a different request."""
        if fingerprint != self.fingerprint:
            raise KeyReused(
                f"Idempotency-Key {self.key!r} was used for a different request;"
                " use a new key for each new request"
            )


@dataclass(frozen=True)
class JobFilter:
    """The conditions that listed jobs must meet, all of them."""

    statuses: Sequence[JobStatus] = ()
    job_types: Sequence[str] = ()
    created_from: datetime | None = None
    created_until: datetime | None = None
    least_seconds: float | None = None
    """Of the duration so far or until the end. Jobs that have not started never match."""
    most_seconds: float | None = None


@dataclass(frozen=True)
class TaskFilter:
    """Which tasks to list, and how much of each. No statuses means all tasks."""

    statuses: Sequence[TaskStatus] = ()
    with_results: bool = False
    """Results may be large."""


ALL_TASKS = TaskFilter()


class JobCursor(NamedTuple):
    """The last job of a page."""

    created_at: datetime
    job_id: str


class StateRepository(Protocol):
    """Job, stage and task state. Every method may be repeated at any time."""

    def submit_job(
        self, job: JobRecord, key: RequestKey | None = None, *, runs_again: bool = False
    ) -> tuple[bool, JobRecord]:
        """Store the job, or find it. True if it is new, or starts again after a failure or cancel.

        With `runs_again`, a completed job starts again, too.

        A known key finds its job and changes nothing. Raises KeyReused.
        """

    def find_submission(self, key: RequestKey) -> JobRecord | None:
        """The job that was submitted with the key. Raises KeyReused."""

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
        """A job's tasks after (stage, index), in that order. Results only on request."""

    def attempts(self, task_ids: Sequence[str]) -> list[Attempt]:
        """The failed and lost attempts of these tasks, in order."""

    def tasks_in_use(self, task_ids: Sequence[str]) -> set[str]:
        """Those of the tasks whose job runs, or failed and may be retried.

        Also those of a cancelled job that has not been discarded yet.
        """

    def start_stage(
        self,
        job: JobRecord,
        stage: int,
        task_type: str,
        best_effort: bool,
        tasks: Sequence[TaskRecord],
        in_flight_limit: int | None = None,
    ) -> bool:
        """Advance the job and store all tasks, in one transaction. True exactly once per run.

        Tasks beyond the limit are held. Each completion of a task releases one of them.
        """

    def queued_tasks(self, job_id: str, stage: int) -> list[str]:
        """The ids of the queued tasks of a stage that are released and due."""

    def results(self, job_id: str, stage: int) -> list[Json]:
        """The results of the completed tasks of a stage, in task order."""

    def results_after(
        self, job_id: str, stage: int, task_index: int, limit: int
    ) -> list[TaskResult]:
        """A page of the results of a stage: of tasks with larger indexes, in task order."""

    def first_failure(self, job_id: str, stage: int) -> Failure | None: ...

    def claim_tasks(self, task_ids: Sequence[str], lease: timedelta) -> list[Claim]:
        """A claim for each task that exists. Those of an earlier run do not exist any more."""

    def renew_leases(self, held: Sequence[HeldTask], lease: timedelta) -> set[str]:
        """Renew the leases and store the progress. Returns the ids of the tasks still held."""

    def complete_task(
        self, task_id: str, attempt: int, result: Json | None, error: Failure | None
    ) -> Completion | None:
        """Close the task if this attempt holds it. None if the task does not exist any more."""

    def complete_tasks(self, done: Sequence[Done]) -> dict[str, Completion]:
        """Close each task that its attempt holds, in one write. By id of the tasks that exist."""

    def retry_task_later(
        self, task_id: str, attempt: int, error: Failure, delay: timedelta
    ) -> bool:
        """Queue the task again after a transient error. False if the attempt lost the task."""

    def finish_job(
        self, job: JobRecord, status: JobStatus, result: Json | None, error: Failure | None
    ) -> bool:
        """End the job, unless it has changed its stage or run since. True exactly once per run."""

    def cancel_job(self, job_id: str) -> JobRecord:
        """Cancel the job at once; an ended job does not change. Raises JobNotFound."""

    def retry_job(self, job_id: str) -> tuple[bool, JobRecord]:
        """Run the failed tasks again. False if the job has none. Raises JobNotFound."""

    def mark_discarded(self, job: JobRecord, after: timedelta) -> bool:
        """Record that the outputs are removed, if the job was cancelled at least `after` ago."""

    def reopen_discard(self, job_id: str) -> JobRecord | None:
        """Record that there may be outputs again. None unless the job is cancelled."""

    def purge_jobs(self, age: timedelta, limit: int) -> list[str]:
        """Delete jobs that ended longer than `age` ago. Returns their ids."""

    def sweep(self, limit: int, grace: timedelta) -> list[JobMessage | TaskMessage]:
        """The messages to send again, of whatever is overdue."""

    def record_dead_letter(self, dead_letter: DeadLetter) -> int:
        """Store it, once. Returns how many of the queue have the same body and reason."""

    def events(self, job_id: str, after: int, limit: int) -> list[Event]: ...

    def health(self) -> StateHealth: ...


class MessageBus(Protocol):
    """Sends messages. A message may arrive twice, late or never."""

    def send_jobs(self, messages: Iterable[JobMessage], due: datetime | None = None) -> list[str]:
        """Send in batches; with `due`, for delivery at that time. Returns the message ids."""

    def send_tasks(self, messages: Iterable[TaskMessage], due: datetime | None = None) -> None:
        """Send in batches; with `due`, for delivery at that time."""
