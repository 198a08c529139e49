"""Take one item out of the catalogue, with the COGs that only it showed."""

from enum import StrEnum

from core.assets import blob_at
from core.errors import BlobNotFound
from core.handler import TaskContext
from core.models import BlobRef, Json, Record
from core.ports import Ports
from services.stac.model import OWNER, StacId
from services.storage.ownership import is_ours


class CogVersion(Record):
    """A COG as it was when its item was to be unpublished. One written since is another."""

    blob: BlobRef
    etag: str


class UnpublishItem(Record):
    """The item as it stood when the job was submitted: what came later is not meant."""

    collection_id: StacId
    item_id: StacId
    updated: str | None
    """When the item was last written; None when there was none."""
    cogs: tuple[CogVersion, ...]
    remove_empty_collection: bool


class ItemOutcome(StrEnum):
    """What became of the item."""

    REMOVED = "removed"
    ALREADY_GONE = "already_gone"
    PUBLISHED_AGAIN = "published_again"


class Unpublished(Record):
    """What is gone, and what is still there."""

    item: ItemOutcome
    removed_cogs: tuple[str, ...]
    kept_cogs: tuple[str, ...]
    collection_removed: bool


def unpublish_item(params: UnpublishItem, ctx: TaskContext) -> Unpublished:
    """Remove the item, then its COGs, then the collection if that is wanted and it is empty.

    In this order a search never finds an item without its files. Whatever is already gone counts
    as done, so an attempt goes on where the one before it died. An item published again since the
    submission is left alone with all it shows.
    """
    ctx.confirm()
    name = params.collection_id, params.item_id
    if params.updated is not None:
        ctx.catalog.delete_item(*name, params.updated, OWNER)
    if ctx.catalog.get_item(*name) is not None:
        kept = tuple(str(cog.blob) for cog in params.cogs)
        return _outcome(ItemOutcome.PUBLISHED_AGAIN, kept=kept)
    kept = tuple(str(cog.blob) for cog in params.cogs if not _removed(cog, ctx))
    return _outcome(
        ItemOutcome.ALREADY_GONE if params.updated is None else ItemOutcome.REMOVED,
        removed=tuple(str(cog.blob) for cog in params.cogs if str(cog.blob) not in kept),
        kept=kept,
        collection_removed=params.remove_empty_collection
        and ctx.catalog.delete_collection_if_empty(params.collection_id),
    )


def cogs_of(item: Json, ports: Ports) -> tuple[CogVersion, ...]:
    """The item's COGs that lie in the silver container and were made by this product.

    An item may also show files of other people, in other places: those are never touched.
    """
    silver = ports.deployment.silver_container
    blobs = (blob_at(asset["href"], silver, ports.blobs) for asset in item["assets"].values())
    found = []
    for blob in dict.fromkeys(filter(None, blobs)):
        try:
            properties = ports.blobs.properties(blob)
        except BlobNotFound:
            continue
        if is_ours(properties):
            found.append(CogVersion(blob=blob, etag=properties.etag))
    return tuple(found)


def _removed(cog: CogVersion, ctx: TaskContext) -> bool:
    """Remove this very version of the COG, unless an item shows it. True when it is gone."""
    ctx.confirm()
    if ctx.catalog.shows(None, ctx.blobs.url(cog.blob)):
        return False
    if ctx.blobs.delete(cog.blob, cog.etag):
        return True
    try:
        return ctx.blobs.properties(cog.blob).etag != cog.etag
    except BlobNotFound:
        return True


def _outcome(
    item: ItemOutcome,
    removed: tuple[str, ...] = (),
    kept: tuple[str, ...] = (),
    collection_removed: bool = False,
) -> Unpublished:
    return Unpublished(
        item=item, removed_cogs=removed, kept_cogs=kept, collection_removed=collection_removed
    )
