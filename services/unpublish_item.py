"""Take one item out of the catalogue, with the COGs that only it showed."""

from enum import StrEnum

from core.assets import blob_at
from core.handler import TaskContext
from core.models import BlobRef, ItemName, Json, Record
from core.outputs import find_blob
from core.ports import Ports
from services.stac.model import StacId
from services.storage.ownership import is_marked, remove_outputs_of


class CogVersion(Record):
    """A COG as it was when its item was to be unpublished. One written since is another."""

    blob: BlobRef
    etag: str


class UnpublishItem(Record):
    """The item as it stood when the job was submitted: later versions are not meant."""

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
    as done, so an attempt continues where the one before it stopped. An item published again since
    the submission is left alone with all its assets.
    """
    ctx.confirm()
    name = ItemName(collection_id=params.collection_id, item_id=params.item_id)
    if params.updated is not None:
        ctx.catalog.delete_item(name.collection_id, name.item_id, params.updated)
    if ctx.catalog.get_item(name.collection_id, name.item_id) is not None:
        kept = tuple(str(cog.blob) for cog in params.cogs)
        return _outcome(ItemOutcome.PUBLISHED_AGAIN, kept=kept)
    remove_outputs_of(ctx.ports, name)
    kept = tuple(str(cog.blob) for cog in params.cogs if not remove_cog(cog, name, ctx))
    return _outcome(
        ItemOutcome.ALREADY_GONE if params.updated is None else ItemOutcome.REMOVED,
        removed=tuple(str(cog.blob) for cog in params.cogs if str(cog.blob) not in kept),
        kept=kept,
        collection_removed=params.remove_empty_collection
        and ctx.catalog.delete_collection_if_empty(params.collection_id),
    )


def describe_item(name: ItemName, ports: Ports, remove_empty_collection: bool) -> UnpublishItem:
    """The item as it stands now, with its COGs."""
    item = ports.catalog.get_item(name.collection_id, name.item_id)
    cogs = {cog.blob: cog for cog in ([] if item is None else _marked_assets(item, ports))}
    for output in ports.outputs.of_item(name):
        if output.is_live and output.etag is not None:
            cogs[output.blob] = CogVersion(blob=output.blob, etag=output.etag)
    return UnpublishItem(
        collection_id=name.collection_id,
        item_id=name.item_id,
        updated=None if item is None else item["properties"].get("updated", ""),
        cogs=tuple(cogs[blob] for blob in sorted(cogs, key=str)),
        remove_empty_collection=remove_empty_collection,
    )


def _marked_assets(item: Json, ports: Ports) -> list[CogVersion]:
    """The item's COGs in the silver container that carry this product's mark.

    An item may also show files of other people, in other places: those are never touched.
    """
    silver = ports.deployment.silver_container
    blobs = (blob_at(asset["href"], silver, ports.blobs) for asset in item["assets"].values())
    known = (find_blob(ports.blobs, blob) for blob in dict.fromkeys(filter(None, blobs)))
    return [
        CogVersion(blob=found.ref, etag=found.etag)
        for found in known
        if found is not None and is_marked(found)
    ]


def remove_cog(cog: CogVersion, name: ItemName | None, ctx: TaskContext) -> bool:
    """Remove this version of the COG, unless an item other than `name` has it.

    True when it is gone.
    """
    ctx.confirm()
    live = ctx.ports.outputs.live_at(cog.blob)
    if live is not None and live.etag == cog.etag:
        if live.item not in (None, name):
            return False
        ctx.ports.outputs.supersede(live.output_id, is_gone=False)
    if not ctx.blobs.delete(cog.blob, cog.etag):
        found = find_blob(ctx.blobs, cog.blob)
        if found is not None and found.etag == cog.etag:
            return False
    if live is not None and live.etag == cog.etag:
        ctx.ports.outputs.mark_removed(live.output_id)
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
