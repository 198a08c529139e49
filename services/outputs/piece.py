"""Where the pieces and the overview of a collection are stored.

Pieces are deleted when the collection is published, or when its job is cancelled. Those of a job
with failed members stay, because a retry needs them, until a rule of the storage account deletes
them. Neither is an output of an item: the registry of outputs does not have them.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from core.assets import OVERVIEW_ASSET
from core.handler import TaskContext
from core.models import BlobProperties, BlobRef
from core.ports import Ports
from services.outputs.cog import CONTENT_TYPE

PIECES = ".mosaic"
OVERVIEWS = ".overviews"
KEPT_FOR = timedelta(minutes=10)
"""How long an overview stays that a newer one replaces: a tile server may still read it."""
JOB_DIGITS = 32
"""How much of a task id is the same in all runs of its job."""


def store_piece(ctx: TaskContext, file: Path) -> str:
    """Upload a piece under the id of the task, and return the blob's name."""
    name = f"{PIECES}/{ctx.task_id}.tif"
    ref = BlobRef(container=ctx.ports.deployment.silver_container, name=name)
    ctx.confirm()
    ctx.blobs.upload(ref, file, content_type="image/tiff")
    return name


def store_overview(ctx: TaskContext, collection_id: str, file: Path) -> BlobRef:
    """Upload an overview under a new name: readers keep what they have read of the one before."""
    name = f"{OVERVIEWS}/{collection_id}/{ctx.task_id}.tif"
    ref = BlobRef(container=ctx.ports.deployment.silver_container, name=name)
    ctx.confirm()
    ctx.blobs.upload(ref, file, content_type=CONTENT_TYPE)
    return ref


def delete_pieces(ports: Ports, owner: str) -> None:
    """Delete the pieces of the tasks whose ids begin with `owner`."""
    for found in _list(ports, f"{PIECES}/{owner}"):
        ports.blobs.delete(found.ref)


def delete_overviews(
    ports: Ports, collection_id: str, owner: str = "", older_than: timedelta = timedelta(0)
) -> None:
    """Delete the overviews that tasks whose ids begin with `owner` made.

    The one that the collection names stays.
    """
    until = datetime.now(UTC) - older_than
    collection = ports.catalog.get_collection(collection_id) or {}
    current = collection.get("assets", {}).get(OVERVIEW_ASSET, {}).get("href")
    for found in _list(ports, f"{OVERVIEWS}/{collection_id}/{owner}"):
        if ports.blobs.url(found.ref) != current and found.last_modified <= until:
            ports.blobs.delete(found.ref)


def _list(ports: Ports, prefix: str) -> Iterable[BlobProperties]:
    return ports.blobs.list(ports.deployment.silver_container, prefix)
