"""Describe the COGs of one raster as one STAC item and put it into the catalogue."""

from datetime import timedelta

from pydantic import AwareDatetime, Field

from core.errors import TierMissing, Unavailable
from core.handler import TaskContext
from core.models import Json, Record
from core.ports import ItemChange
from services.raster.model import Cog, RasterFacts
from services.sandbox import child
from services.sandbox.turns import length_of
from services.stac.model import OWNER, Described, DescribeRaster, StacId, preferred
from services.storage.naming import locate_cog, make_item_id

READ_LIFETIME = timedelta(hours=1)
MEMORY_BYTES = 768 * 2**20
SECONDS = 900.0
MERGES = 5
"""How often the item is described again because another tier was published meanwhile."""


class ExtractStac(Record):
    """What the item is made from. The COGs are read again for pixels and places."""

    facts: RasterFacts
    cogs: tuple[Cog, ...] = Field(min_length=1)
    """One for each tier; each becomes an asset of the one item."""
    collection_id: StacId
    item_id: StacId | None = None
    """Without one: a slug and a hash of the location of the COGs."""
    title: str | None = None
    datetime: AwareDatetime | None = None
    """Goes before every date found in the source."""


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
        cogs = preferred((*params.cogs, *_published_tiers(params, ctx)))
        described = child.run(
            load_describe_raster,
            _request_for(params, cogs, ctx),
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


def _published_tiers(params: ExtractStac, ctx: TaskContext) -> tuple[Cog, ...]:
    """What earlier jobs published at this location from the same version of the source."""
    first = params.cogs[0]
    location = locate_cog(first.blob.name, first.cog_tier)
    published = ctx.ports.outputs.published_at(first.blob.container, location)
    mine = {cog.blob for cog in params.cogs}
    return tuple(
        Cog.model_validate(output.cog | {"output_id": output.output_id})
        for output in published
        if output.cog is not None
        and output.source_etag == params.facts.source_etag
        and output.blob not in mine
    )


def load_describe_raster() -> child.Function[DescribeRaster, Described]:
    """The function that the sandbox runs. Only the child process imports GDAL."""
    from services.stac.describe import describe_raster

    return describe_raster


def _request_for(params: ExtractStac, cogs: tuple[Cog, ...], ctx: TaskContext) -> DescribeRaster:
    first = params.cogs[0]
    location = locate_cog(first.blob.name, first.cog_tier)
    signed = [ctx.blobs.signed_url(cog.blob, READ_LIFETIME) for cog in cogs]
    return DescribeRaster(
        facts=params.facts,
        cogs=cogs,
        collection_id=params.collection_id,
        item_id=params.item_id or make_item_id(first.blob.container, location),
        title=params.title,
        datetime=params.datetime,
        paths=tuple(f"/vsicurl/{url}" for url in signed),
        hrefs=tuple(ctx.blobs.url(cog.blob) for cog in cogs),
        source_href=ctx.blobs.url(params.facts.source),
        titiler_url=ctx.ports.deployment.titiler_url,
        stac_url=ctx.ports.deployment.stac_url,
    )
