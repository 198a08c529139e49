"""Describe the COGs of one raster as one STAC item and put it into the catalogue."""

from datetime import timedelta

from pydantic import AwareDatetime, Field

from core.handler import TaskContext
from core.models import Json, Record
from services.raster.model import Cog, RasterFacts
from services.sandbox import child
from services.stac.model import OWNER, Described, DescribeRaster, StacId, preferred

READ_LIFETIME = timedelta(hours=1)
MEMORY_BYTES = 768 * 2**20
SECONDS = 900.0


class ExtractStac(Record):
    """What the item is made from. The COGs are read again for pixels and places."""

    facts: RasterFacts
    cogs: tuple[Cog, ...] = Field(min_length=1)
    """One for each tier; each becomes an asset of the one item."""
    collection_id: StacId
    item_id: StacId | None = None
    """Without one: a slug of the source's name and a hash of its path."""
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
    """Look at the COGs, write the item, store it. Unchanged input changes nothing.

    An item_id that belongs to another source: TaskFailed ITEM_ID_TAKEN.
    """
    described = child.run(
        load_describe_raster,
        request_for(params, ctx),
        Described,
        lambda fraction, message: ctx.report(0.9 * fraction, message),
        folder=None,
        memory_bytes=MEMORY_BYTES,
        seconds=SECONDS,
    )
    ctx.confirm()
    change = ctx.catalog.put_item(described.item, described.collection, OWNER)
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


def load_describe_raster() -> child.Function[DescribeRaster, Described]:
    """The function that the sandbox runs. Only the child process imports GDAL."""
    from services.stac.describe import describe_raster

    return describe_raster


def request_for(params: ExtractStac, ctx: TaskContext) -> DescribeRaster:
    cogs = preferred(params.cogs)
    signed = [ctx.blobs.signed_url(cog.blob, READ_LIFETIME) for cog in cogs]
    return DescribeRaster(
        facts=params.facts,
        cogs=cogs,
        collection_id=params.collection_id,
        item_id=params.item_id,
        title=params.title,
        datetime=params.datetime,
        paths=tuple(f"/vsicurl/{url}" for url in signed),
        hrefs=tuple(ctx.blobs.url(cog.blob) for cog in cogs),
        source_href=ctx.blobs.url(params.facts.source),
        titiler_url=ctx.ports.deployment.titiler_url,
        stac_url=ctx.ports.deployment.stac_url,
    )
