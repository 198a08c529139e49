"""Describe the COGs of one raster as one STAC item and put it into the catalogue."""

from pydantic import Field

from core.errors import TierMissing, Unavailable
from core.handler import TaskContext
from core.models import Json, Record
from core.ports import ItemChange
from services.outputs.description import (
    MEMORY_BYTES,
    SECONDS,
    ItemOrder,
    find_published_tiers,
    load_describe_raster,
    request_description,
)
from services.raster.model import Cog
from services.sandbox import child
from services.sandbox.turns import length_of
from services.stac.model import OWNER, Described, preferred

MERGES = 5
"""How often the item is described again because another tier was published meanwhile."""


class ExtractStac(ItemOrder):
    """The parameters of extract_stac_metadata."""

    cogs: tuple[Cog, ...] = Field(min_length=1)
    """One for each tier; each becomes an asset of the one item."""


class StacItem(Record):
    """The stored item, and where people open it."""

    item_id: str
    blob_name: str
    collection_id: str
    bbox: list[float]
    inserted_to_pgstac: bool
    item_skipped: bool
    """True when the catalogue already held this very item."""
    stac_item: Json
    titiler_urls: dict[str, str]
    share_url: str


def extract_stac_metadata(params: ExtractStac, ctx: TaskContext) -> StacItem:
    """Describe the COGs, write the item, store it. Unchanged input changes nothing.

    Tiers that earlier jobs published from the same source at the same location stay in the item.
    Raises TaskFailed ITEM_ID_TAKEN when the item_id belongs to another source, and
    OUTPUT_SUPERSEDED when another job wrote over a COG meanwhile.
    """
    for _ in range(MERGES):
        cogs = preferred((*params.cogs, *find_published_tiers(params.cogs, params.facts, ctx)))
        described = child.run(
            load_describe_raster,
            request_description(params, cogs, ctx),
            Described,
            lambda fraction, message: ctx.report(0.9 * fraction, message),
            folder=None,
            memory_bytes=MEMORY_BYTES,
            seconds=SECONDS,
            network=True,
            length=length_of(params.facts.decoded_bytes),
        )
        ctx.confirm()
        outputs = [cog.output_id for cog in cogs if cog.output_id is not None]
        try:
            change = ctx.catalog.put_item(described.item, described.collection, OWNER, outputs)
        except TierMissing:
            continue
        return _stac_item(params, described, change, ctx)
    raise Unavailable(f"item of {params.cogs[0].blob}: other tiers were published {MERGES} times")


def _stac_item(
    params: ExtractStac, described: Described, change: ItemChange, ctx: TaskContext
) -> StacItem:
    collection_id, item_id = described.item["collection"], described.item["id"]
    stored = ctx.catalog.get_item(collection_id, item_id) or described.item
    return StacItem(
        item_id=item_id,
        blob_name=preferred(params.cogs)[0].blob.name,
        collection_id=collection_id,
        bbox=described.item["bbox"],
        inserted_to_pgstac=True,
        item_skipped=change == "unchanged",
        stac_item=stored,
        titiler_urls=described.titiler_urls,
        share_url=described.titiler_urls["viewer_url"],
    )
