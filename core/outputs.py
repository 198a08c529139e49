"""Keeping the blobs of outputs and their registry in agreement.

The metadata of a COG is its mark: it names the row of the registry, so a row whose worker was lost
between the upload and its recording is completed from the blob.
"""

import logging
from datetime import timedelta
from urllib.parse import quote, unquote

from core.errors import BlobNotFound
from core.models import BlobProperties, BlobRef, Output, OutputTarget, WrittenBlob
from core.ports import BlobStore, OutputRegistry, Ports

logger = logging.getLogger(__name__)

TASK = "geolathe_task"
"""The metadata of a blob that names the task that wrote it."""
SOURCE = "geolathe_source"
OUTPUT = "geolathe_output"
REPLACED = "geolathe_replaced"
CHECKSUM = "geolathe_checksum"
SETTLE_AFTER = timedelta(minutes=2)
"""How long an upload may be under way before the registry asks for its task."""


def mark(
    output_id: int, task_id: str, target: OutputTarget, replaced: str | None, checksum: str
) -> dict[str, str]:
    """The metadata of an output. Names are quoted, for headers are ASCII."""
    return {
        TASK: task_id,
        SOURCE: quote(target.source),
        OUTPUT: str(output_id),
        REPLACED: replaced or "",
        CHECKSUM: checksum,
    }


def marked_source(found: BlobProperties) -> str | None:
    """The source (container/name) of a COG that this product made; None for any other blob."""
    source = found.metadata.get(SOURCE)
    return None if source is None else unquote(source)


def read_mark(found: BlobProperties, is_current: bool = True) -> WrittenBlob:
    """What the upload of a marked blob stored."""
    return WrittenBlob(
        etag=found.etag,
        replaced_etag=found.metadata.get(REPLACED) or None,
        is_current=is_current,
        checksum=found.metadata.get(CHECKSUM, ""),
        size=found.size,
    )


def find_blob(blobs: BlobStore, ref: BlobRef) -> BlobProperties | None:
    """The blob's properties; None when there is no such blob."""
    try:
        return blobs.properties(ref)
    except BlobNotFound:
        return None


def is_stored(output: Output, found: BlobProperties | None) -> bool:
    """Whether the blob holds this output."""
    if found is None:
        return False
    if output.etag is not None:
        return found.etag == output.etag
    return found.metadata.get(OUTPUT) == str(output.output_id)


def remove_output(blobs: BlobStore, outputs: OutputRegistry, output: Output) -> bool:
    """Delete the blob of a superseded output with its snapshots, if it still holds that output.

    True when its bytes are gone. Safe to repeat: the row is marked after the deletion.
    """
    found = find_blob(blobs, output.blob)
    if found is not None and is_stored(output, found):
        if not blobs.delete(output.blob, found.etag):
            return False
        logger.info("removed %s, output %d", output.blob, output.output_id)
    outputs.mark_removed(output.output_id)
    return True


def remove_superseded(
    blobs: BlobStore, outputs: OutputRegistry, grace: timedelta, limit: int
) -> int:
    """Remove what was superseded at least `grace` ago. Returns how many outputs that were."""
    return sum(remove_output(blobs, outputs, output) for output in outputs.to_remove(grace, limit))


def withdraw_output(ports: Ports, output: Output) -> bool:
    """Take a stale output out of its item. False if it is not stale any more."""
    return ports.catalog.withdraw_output(output, ports.blobs.url(output.blob))


def withdraw_stale(ports: Ports, grace: timedelta, limit: int) -> int:
    """Take out of the catalogue what does not describe its blob and will not be published again.

    Returns how many outputs that were.
    """
    return sum(withdraw_output(ports, each) for each in ports.outputs.to_withdraw(grace, limit))


def settle_uploads(blobs: BlobStore, outputs: OutputRegistry, age: timedelta, limit: int) -> int:
    """Complete from its mark, or drop, each row whose worker was lost during the upload."""
    lost = outputs.to_settle(age, limit)
    for output in lost:
        found = find_blob(blobs, output.blob)
        if found is not None and is_stored(output, found):
            outputs.record(output.output_id, None, read_mark(found), None)
        else:
            outputs.mark_removed(output.output_id)
    return len(lost)
