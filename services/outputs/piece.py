"""Where the pieces and the overview of a collection are stored.

Pieces are deleted when the collection is published, or when its job is cancelled. Those that a
retry needs stay, until a rule of the storage account deletes them. An overview that no collection
names is removed by the timer (core/overviews.py). Neither is an output of an item: the registry of
outputs does not have them.
"""

from collections.abc import Collection, Iterable
from pathlib import Path

from core.assets import OVERVIEW_ASSET, WATCH
from core.handler import TaskContext
from core.models import BlobProperties, BlobRef
from core.overviews import OVERVIEWS, name_overview
from core.ports import Ports
from services.outputs.cog import CONTENT_TYPE
from services.storage.naming import PIECES
from services.storage.ownership import delete_unless_held


def store_piece(ctx: TaskContext, file: Path) -> str:
    """Upload a piece, and return the blob's name."""
    name = f"{PIECES}{ctx.task_id}-{ctx.attempt}.tif"
    ref = BlobRef(container=ctx.ports.deployment.silver_container, name=name)
    _upload(ctx, ref, file, "image/tiff")
    return name


def store_overview(ctx: TaskContext, collection_id: str, file: Path) -> BlobRef:
    """Upload an overview under a new name: readers keep what they have read of the one before."""
    name = name_overview(collection_id, ctx.task_id, ctx.attempt)
    ctx.ports.outputs.add_overview(name, collection_id, ctx.task_id)
    ref = BlobRef(container=ctx.ports.deployment.silver_container, name=name)
    _upload(ctx, ref, file, CONTENT_TYPE)
    return ref


def _upload(ctx: TaskContext, ref: BlobRef, file: Path, content_type: str) -> None:
    """Upload under a name of this attempt alone. An attempt that lost its task leaves nothing."""
    ctx.confirm()
    ctx.blobs.upload(ref, file, content_type=content_type)
    delete_unless_held(ctx, ref)


def delete_pieces(ports: Ports, owner: str, kept: Collection[str] = ()) -> None:
    """Delete the pieces of the tasks whose ids begin with `owner`, except those named `kept`."""
    ports.blobs.delete_folder(ports.deployment.silver_container, f"{PIECES}{owner}", kept)


def discard_overviews(ports: Ports, collection_id: str, owner: str) -> None:
    """Delete the overviews that tasks whose ids begin with `owner` made, unless they are shown.

    The ids of their collections begin with `collection_id`. The watch of these tasks ends first, so
    that a late one cannot publish what is deleted.
    """
    for found in _list(ports, f"{OVERVIEWS}{collection_id}"):
        _, name, file = found.ref.name.split("/")
        if not file.startswith(owner):
            continue
        _end_watch(ports, name, owner)
        if ports.blobs.url(found.ref) != _find_current(ports, name):
            ports.blobs.delete(found.ref)


def _end_watch(ports: Ports, collection_id: str, owner: str) -> None:
    collection = ports.catalog.get_collection(collection_id) or {}
    watcher: str = collection.get(WATCH, "")
    if watcher.startswith(owner):
        ports.catalog.update_collection(collection_id, {}, watcher)


def _find_current(ports: Ports, collection_id: str) -> str | None:
    """The address of the overview that the collection names."""
    collection = ports.catalog.get_collection(collection_id) or {}
    href: str | None = collection.get("assets", {}).get(OVERVIEW_ASSET, {}).get("href")
    return href


def _list(ports: Ports, prefix: str) -> Iterable[BlobProperties]:
    return ports.blobs.list(ports.deployment.silver_container, prefix)
