"""What it takes to describe the COGs of one raster as a STAC item."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from pydantic import AwareDatetime

from core.handler import TaskContext
from core.models import BlobRef, Record
from services.raster.model import Cog, RasterFacts
from services.sandbox import child
from services.stac.model import Described, DescribeRaster, StacId
from services.storage.naming import locate_cog, make_item_id

READ_LIFETIME = timedelta(hours=1)
MEMORY_BYTES = 768 * 2**20
SECONDS = 900.0


class ItemOrder(Record):
    """An item to make. The COGs are read again for pixels and places."""

    facts: RasterFacts
    collection_id: StacId
    item_id: StacId | None = None
    """Without one: a slug and a hash of the location of the COGs."""
    title: str | None = None
    datetime: AwareDatetime | None = None
    """Goes before every date found in the source."""


def find_published_tiers(
    cogs: tuple[Cog, ...], facts: RasterFacts, ctx: TaskContext
) -> tuple[Cog, ...]:
    """What earlier jobs published at this location from the same version of the source."""
    first = cogs[0]
    location = locate_cog(first.blob.name, first.cog_tier)
    published = ctx.ports.outputs.published_at(first.blob.container, location)
    mine = {cog.blob for cog in cogs}
    return tuple(
        Cog.model_validate(output.cog | {"output_id": output.output_id})
        for output in published
        if output.cog is not None
        and output.source_etag == facts.source_etag
        and output.blob not in mine
    )


def load_describe_raster() -> child.Function[DescribeRaster, Described]:
    """The function that the sandbox runs. Only the child process imports GDAL."""
    from services.stac.describe import describe_raster

    return describe_raster


def request_description(
    order: ItemOrder,
    cogs: tuple[Cog, ...],
    ctx: TaskContext,
    files: Mapping[BlobRef, Path] | None = None,
) -> DescribeRaster:
    """The request to the sandbox. COGs without a local file are read by signed URLs."""
    local, first = files or {}, cogs[0]
    location = locate_cog(first.blob.name, first.cog_tier)
    paths = [
        str(local[cog.blob])
        if cog.blob in local
        else f"/vsicurl/{ctx.blobs.signed_url(cog.blob, READ_LIFETIME)}"
        for cog in cogs
    ]
    return DescribeRaster(
        facts=order.facts,
        cogs=cogs,
        collection_id=order.collection_id,
        item_id=order.item_id or make_item_id(first.blob.container, location),
        title=order.title,
        datetime=order.datetime,
        paths=tuple(paths),
        hrefs=tuple(ctx.blobs.url(cog.blob) for cog in cogs),
        source_href=ctx.blobs.url(order.facts.source),
        titiler_url=ctx.ports.deployment.titiler_url,
        stac_url=ctx.ports.deployment.stac_url,
    )
