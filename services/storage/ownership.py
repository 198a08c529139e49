"""Whose a COG is: a mark in its metadata, so that nobody writes over or removes another's."""

from urllib.parse import quote, unquote

from core.assets import MADE_BY
from core.errors import BlobNotFound, TaskFailed
from core.handler import TaskContext
from core.models import BlobProperties, BlobRef
from core.ports import BlobStore, Ports

MADE_FROM = "geolathe_source"


def owner_mark(ctx: TaskContext, source: BlobRef) -> dict[str, str]:
    """The metadata of a COG: the task that made it, and its source (headers are ASCII)."""
    return {MADE_BY: ctx.task_id, MADE_FROM: quote(str(source))}


def refuse_anothers(blobs: BlobStore, cog: BlobRef, source: BlobRef) -> None:
    """Never write over the COG of another source. Raises TaskFailed OUTPUT_TAKEN."""
    try:
        made_from = blobs.properties(cog).metadata.get(MADE_FROM)
    except BlobNotFound:
        return
    if made_from is not None and made_from != quote(str(source)):
        raise TaskFailed(
            "OUTPUT_TAKEN",
            f"{cog} is the COG of {unquote(made_from)}; choose another output_folder",
        )


def is_ours(found: BlobProperties) -> bool:
    """Whether a task of this product made the blob."""
    return MADE_BY in found.metadata


def discard_cog(cog: BlobRef, collection_id: str, ports: Ports, owner: str) -> None:
    """Remove the blob if a task of `owner` made it and no item of the collection shows it.

    The same name may by now hold the COG of another job: that one stays. An item that shows
    the COG after its removal came from a worker that was late: it goes, too.
    """
    try:
        found = ports.blobs.properties(cog)
    except BlobNotFound:
        ports.catalog.withdraw(collection_id, ports.blobs.url(cog))
        return
    made_by_owner = found.metadata.get(MADE_BY, "").startswith(owner)
    if made_by_owner and not ports.catalog.shows(collection_id, ports.blobs.url(cog)):
        ports.blobs.delete(cog, found.etag)
