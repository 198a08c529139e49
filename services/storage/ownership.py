"""Writing, checking and discarding outputs, as the registry of outputs requires it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from core.errors import BlobChanged, TaskFailed, TaskLost, Unavailable
from core.handler import TaskContext
from core.models import BlobProperties, BlobRef, ItemName, Json, Output, OutputTarget
from core.outputs import (
    CHECKSUM,
    OUTPUT,
    TASK,
    find_blob,
    is_stored,
    mark,
    marked_source,
    read_mark,
    remove_output,
    withdraw_output,
)
from core.ports import AccessTier, Block, Ports, RecordOutcome

UPLOADS = 5
"""How often an upload is begun again because another writer came first."""


class OutputFile(NamedTuple):
    """A file that becomes the blob of an output."""

    path: Path
    checksum: str
    content_type: str
    access_tier: AccessTier | None


class StagedOutput(NamedTuple):
    """Blocks that become the blob of an output."""

    stage: Callable[[], Sequence[Block]]
    """Stages the blocks that are not staged, and returns all of them in order."""
    content_type: str
    access_tier: AccessTier | None


class StoredOutput(NamedTuple):
    """An upload that the registry does not know yet."""

    output_id: int
    properties: BlobProperties

    def with_checksum(self, checksum: str) -> "StoredOutput":
        """With the checksum of a blob that was committed before it was known."""
        metadata = self.properties.metadata | {CHECKSUM: checksum}
        return self._replace(properties=self.properties.model_copy(update={"metadata": metadata}))


def store_output(ctx: TaskContext, target: OutputTarget, file: OutputFile) -> StoredOutput:
    """Upload a file over the version of the blob that is there now.

    Raises TaskFailed OUTPUT_TAKEN when the blob is of another source, and OUTPUT_SUPERSEDED when
    a job that started later writes to the same location.
    """

    def upload(output_id: int, replaced: str | None) -> BlobProperties:
        return ctx.blobs.replace(
            target.blob,
            file.path,
            replaced,
            content_type=file.content_type,
            access_tier=file.access_tier,
            metadata=mark(output_id, ctx.task_id, target, replaced, file.checksum),
            confirm=ctx.confirm,
        )

    return _store(ctx, target, file.checksum, upload)


def commit_output(ctx: TaskContext, target: OutputTarget, output: StagedOutput) -> StoredOutput:
    """Commit staged blocks over the version of the blob that is there now.

    An earlier attempt of the task may have done it. Raises TaskFailed as `store_output` does.
    """

    def commit(output_id: int, replaced: str | None) -> BlobProperties:
        blocks = output.stage()
        ctx.confirm()
        return ctx.blobs.commit_blocks(
            target.blob,
            blocks,
            replaced,
            content_type=output.content_type,
            access_tier=output.access_tier,
            metadata=mark(output_id, ctx.task_id, target, replaced, ""),
        )

    return _store(ctx, target, "", commit)


def _store(
    ctx: TaskContext,
    target: OutputTarget,
    checksum: str,
    write: Callable[[int, str | None], BlobProperties],
) -> StoredOutput:
    """Call `write` with the output's id and the ETag to replace, until no other writer is first."""
    for _ in range(UPLOADS):
        output_id = _begin(ctx, target)
        current = find_blob(ctx.blobs, target.blob)
        if current is not None:
            refuse_other_source(current, target.source)
            if _is_same(current, output_id, checksum):
                return StoredOutput(output_id, current)
        try:
            stored = write(output_id, None if current is None else current.etag)
        except BlobChanged:
            continue
        return StoredOutput(output_id, stored)
    raise Unavailable(f"{target.blob}: other tasks wrote it during {UPLOADS} uploads")


def record_output(ctx: TaskContext, stored: StoredOutput, cog: Json) -> None:
    """Make the registry know an upload. Raises TaskLost, and TaskFailed OUTPUT_SUPERSEDED."""
    current = find_blob(ctx.blobs, stored.properties.ref)
    is_current = current is not None and current.etag == stored.properties.etag
    written = read_mark(stored.properties, is_current)
    outcome = ctx.ports.outputs.record(stored.output_id, ctx.attempt, written, cog)
    if outcome is RecordOutcome.LOST:
        raise TaskLost(f"task {ctx.task_id}: attempt {ctx.attempt} lost its claim")
    if outcome is RecordOutcome.SUPERSEDED:
        raise _superseded(stored.properties.ref, None)


def delete_unless_held(ctx: TaskContext, ref: BlobRef) -> None:
    """Delete a blob that was just written if the attempt lost its task. Then raises TaskLost."""
    try:
        ctx.confirm()
    except TaskLost:
        ctx.blobs.delete(ref)
        raise


def refuse_other_source(current: BlobProperties, source: str) -> None:
    """Never write over the COG of another source. Raises TaskFailed OUTPUT_TAKEN."""
    made_from = marked_source(current)
    if made_from is not None and made_from != source:
        raise TaskFailed(
            "OUTPUT_TAKEN",
            f"{current.ref} is the COG of {made_from}; choose another output_folder",
        )


def is_marked(found: BlobProperties) -> bool:
    """Whether a task of this product made the blob."""
    return TASK in found.metadata


def verify_outputs(ports: Ports, request: str) -> None:
    """Make the registry know which outputs of a request were modified or deleted by others.

    Only those of jobs that have ended: while a job runs, its tasks write.
    """
    for output in ports.outputs.of_request(request):
        if not is_stored(output, find_blob(ports.blobs, output.blob)):
            ports.outputs.supersede(output.output_id, is_gone=True)
        elif output.item is not None and _is_missing(output.item, ports):
            ports.outputs.supersede(output.output_id, is_gone=False)


def discard_outputs(ports: Ports, owner: str) -> None:
    """Remove what the tasks whose ids begin with `owner` wrote and did not publish.

    Where that replaced a published COG, the item does not describe the blob any more: the asset is
    taken out of it.

    Rows that are removed already are looked at again: a late worker may have uploaded since.
    """
    for output in ports.outputs.of_tasks(owner):
        if output.is_stale:
            withdraw_output(ports, output)
        if ports.outputs.discard(output.output_id):
            _delete_discarded(ports, output)


def _delete_discarded(ports: Ports, output: Output) -> None:
    """Delete the blob of a discarded output, and withdraw the published one that it replaced."""
    found = find_blob(ports.blobs, output.blob)
    if found is not None and found.metadata.get(OUTPUT) == str(output.output_id):
        ports.blobs.delete(output.blob, found.etag)
    ports.outputs.mark_removed(output.output_id)
    replaced = ports.outputs.live_at(output.blob)
    if replaced is not None and find_blob(ports.blobs, output.blob) is None:
        ports.outputs.supersede(replaced.output_id, is_gone=True)
        withdraw_output(ports, replaced)


def withdraw_upload(ports: Ports, stored: StoredOutput) -> None:
    """Delete an upload that turned out to be invalid before it was recorded."""
    output = ports.outputs.get(stored.output_id)
    if output is not None:
        _delete_discarded(ports, output)


def remove_outputs_of(ports: Ports, item: ItemName) -> list[BlobRef]:
    """Remove the outputs that the item had and that are not live any more. Returns their blobs."""
    superseded = [each for each in ports.outputs.of_item(item) if not each.is_live]
    return [each.blob for each in superseded if remove_output(ports.blobs, ports.outputs, each)]


def _is_missing(item: ItemName, ports: Ports) -> bool:
    return ports.catalog.get_item(item.collection_id, item.item_id) is None


def _begin(ctx: TaskContext, target: OutputTarget) -> int:
    output_id, superseded_by = ctx.ports.outputs.begin(target, ctx.task_id, ctx.attempt)
    if superseded_by is not None:
        raise _superseded(target.blob, superseded_by)
    if output_id is None:
        raise TaskLost(f"task {ctx.task_id}: attempt {ctx.attempt} lost its claim")
    return output_id


def _is_same(current: BlobProperties, output_id: int, checksum: str) -> bool:
    """Whether the blob holds this very file already: the answer to its upload was lost.

    The checksum of staged blocks is not known before the commit, but all attempts of a task make
    the same bytes.
    """
    known = current.metadata.get(OUTPUT), current.metadata.get(CHECKSUM, "")
    return known == (str(output_id), checksum)


def _superseded(blob: BlobRef, job_id: str | None) -> TaskFailed:
    by = f"job {job_id}" if job_id else "another job"
    return TaskFailed(
        "OUTPUT_SUPERSEDED",
        f"{by} wrote {blob} meanwhile; submit the request again to make this output once more",
    )
