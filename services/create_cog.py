"""One COG out of one raster: warped, tiled, with overviews, checked, then shown at once."""

import time
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field

from core.handler import TaskContext
from core.models import BlobProperties, BlobRef, Record
from core.ports import AccessTier
from services import child
from services.cog_ownership import owner_mark, refuse_anothers
from services.fetch import WHOLE_UP_TO_BYTES, Fetched, Wanted, read_source, unchanged
from services.validate_raster import (
    Bounds,
    Nodata,
    RasterFacts,
    RasterType,
    RasterWarning,
    Tier,
    Validity,
)


class CreateCog(Record):
    """The parameters of create_cog. The source, its ETag and its sidecars are in the facts."""

    facts: RasterFacts
    target: BlobRef
    tier: Tier
    target_crs: str = "EPSG:4326"
    """EPSG:n, or native."""
    jpeg_quality: int = Field(default=85, ge=1, le=100)
    in_memory: bool | None = None


class CogFacts(Record):
    """What is known of a COG file wherever it lies."""

    reprojection_performed: bool
    source_crs: str
    target_crs: str
    """EPSG:n where there is a code, otherwise WKT."""
    bounds: Bounds
    """In the COG's CRS."""
    bounds_4326: Bounds
    """West, south, east, north; west is greater than east across the antimeridian (RFC 7946)."""
    transform: tuple[float, float, float, float, float, float]
    """a, b, c, d, e, f of the affine from pixel to CRS: the order of proj:transform."""
    shape: tuple[int, int]
    """Rows, columns."""

    band_count: int
    dtype: str
    nodata: Nodata | None
    validity: Validity
    compression: str
    predictor: int | None
    interleave: Literal["pixel", "band"]
    overviews: tuple[int, ...]
    reproject_resampling: str | None
    """None where no pixel was resampled."""
    overview_resampling: str

    size_bytes: int
    checksum: str
    """SHA-256 as a hexadecimal multihash, as file:checksum wants it."""
    in_memory: bool
    warnings: tuple[RasterWarning, ...] = ()


class Cog(CogFacts):
    """The COG that was made and stored."""

    cog_blob: str
    cog_container: str
    cog_tier: Tier
    storage_tier: Literal["hot", "cool"]
    source_blob: str
    source_container: str
    raster_type: RasterType
    size_mb: float
    etag: str
    last_modified: datetime
    processing_time_seconds: float

    @property
    def blob(self) -> BlobRef:
        return BlobRef(container=self.cog_container, name=self.cog_blob)


class MakeCog(Record):
    """What the child process is asked: the parameters, the source's bytes, a folder to work in."""

    params: CreateCog
    path: str
    folder: str


class MadeCog(CogFacts):
    """What the child process made: a file, and what it knows of it."""

    path: str


CONTENT_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"
MEMORY_BYTES = 1024 * 2**20
SECONDS = 4 * 3_600.0
STORAGE_TIERS: dict[Tier, Literal["hot", "cool"]] = {
    Tier.VISUALIZATION: "hot",
    Tier.ANALYSIS: "hot",
    Tier.ARCHIVE: "cool",
}
_ACCESS_TIERS: dict[Tier, AccessTier] = {
    Tier.VISUALIZATION: "Hot",
    Tier.ANALYSIS: "Hot",
    Tier.ARCHIVE: "Cool",
}
# The warped raster, the COG with its overviews, and the overviews while they are being made.
_SCRATCH_PER_PIXEL_BYTE = 3.5
# LZW at its best. A file that decodes to more has tiles that are not there, nor will be in ours.
_MOST_COMPRESSED = 3_000


def create_cog(params: CreateCog, ctx: TaskContext) -> Cog:
    """Make the COG and store it at the target. Running it again writes the same bytes."""
    started = time.monotonic()
    facts = params.facts
    wanted = Wanted(
        facts.source,
        facts.source_etag,
        facts.sidecars,
        work_bytes=_work_bytes(facts),
        download_below=WHOLE_UP_TO_BYTES,
    )
    made, stored = read_source(ctx, wanted, lambda source: _make_and_store(params, ctx, source))
    return _cog(params, made, stored, time.monotonic() - started)


def _work_bytes(facts: RasterFacts) -> int:
    pixels = min(facts.decoded_bytes, facts.source_size_bytes * _MOST_COMPRESSED)
    return int(pixels * _SCRATCH_PER_PIXEL_BYTE)


def _make_and_store(
    params: CreateCog, ctx: TaskContext, source: Fetched
) -> tuple[MadeCog, BlobProperties]:
    facts = params.facts
    made = child.run(
        "services.raster.cog:make_cog",
        MakeCog(params=params, path=source.path, folder=str(source.work)),
        MadeCog,
        lambda fraction, message: ctx.report(0.9 * fraction, message),
        folder=source.folder,
        memory_bytes=MEMORY_BYTES,
        seconds=SECONDS,
    )
    unchanged(ctx, facts.source, facts.source_etag)
    refuse_anothers(ctx.blobs, params.target, facts.source)
    ctx.report(0.9, "uploading")
    ctx.confirm()
    stored = ctx.blobs.upload(
        params.target,
        Path(made.path),
        content_type=CONTENT_TYPE,
        access_tier=_ACCESS_TIERS[params.tier],
        metadata=owner_mark(ctx, facts.source),
    )
    return made, stored


def _cog(params: CreateCog, made: MadeCog, stored: BlobProperties, seconds: float) -> Cog:
    facts = params.facts
    return Cog(
        **made.model_dump(exclude={"path"}),
        cog_blob=params.target.name,
        cog_container=params.target.container,
        cog_tier=params.tier,
        storage_tier=STORAGE_TIERS[params.tier],
        source_blob=facts.source_blob,
        source_container=facts.source_container,
        raster_type=facts.raster_type.applied_type,
        size_mb=round(made.size_bytes / 2**20, 2),
        etag=stored.etag,
        last_modified=stored.last_modified,
        processing_time_seconds=round(seconds, 2),
    )
