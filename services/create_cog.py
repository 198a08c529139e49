"""One COG out of one raster: warped, tiled, with overviews, checked, then shown at once."""

import time
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field

from core.errors import TaskFailed
from core.handler import TaskContext
from core.models import BlobProperties, BlobRef, Record
from core.ports import AccessTier
from services import child
from services.cog_ownership import owner_mark, refuse_anothers
from services.fetch import Fetched, fetched, unchanged
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


class Cog(Record):
    """The COG that was made."""

    cog_blob: str
    cog_container: str
    cog_tier: Tier
    storage_tier: Literal["hot", "cool"]
    source_blob: str
    source_container: str

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
    raster_type: RasterType
    compression: str
    predictor: int | None
    interleave: Literal["pixel", "band"]
    overviews: tuple[int, ...]
    reproject_resampling: str | None
    """None where no pixel was resampled."""
    overview_resampling: str

    size_bytes: int
    size_mb: float
    checksum: str
    """SHA-256 as a hexadecimal multihash, as file:checksum wants it."""
    etag: str
    last_modified: datetime
    processing_time_seconds: float
    in_memory: bool
    warnings: tuple[RasterWarning, ...] = ()

    @property
    def blob(self) -> BlobRef:
        return BlobRef(container=self.cog_container, name=self.cog_blob)


class MakeCog(Record):
    """What the child process is asked: the parameters, the source's bytes, a folder to work in."""

    params: CreateCog
    path: str
    folder: str


class MadeCog(Record):
    """What the child process made: a file, and what it knows of it."""

    path: str
    reprojection_performed: bool
    source_crs: str
    target_crs: str
    bounds: Bounds
    bounds_4326: Bounds
    transform: tuple[float, float, float, float, float, float]
    shape: tuple[int, int]
    band_count: int
    dtype: str
    nodata: Nodata | None
    validity: Validity
    compression: str
    predictor: int | None
    interleave: Literal["pixel", "band"]
    overviews: tuple[int, ...]
    reproject_resampling: str | None
    overview_resampling: str
    size_bytes: int
    checksum: str
    in_memory: bool
    warnings: tuple[RasterWarning, ...] = ()


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


def create_cog(params: CreateCog, ctx: TaskContext) -> Cog:
    """Make the COG and store it at the target. Running it again writes the same bytes."""
    started = time.monotonic()
    try:
        return _create(params, ctx, started, download=False)
    except _RangeFailed:
        return _create(params, ctx, started, download=True)


class _RangeFailed(Exception):
    """Reading by range requests failed: only a local copy tells whether the file is to blame."""


def _create(params: CreateCog, ctx: TaskContext, started: float, *, download: bool) -> Cog:
    facts = params.facts
    with fetched(
        ctx,
        facts.source,
        facts.source_etag,
        facts.sidecars,
        work_bytes=int(facts.decoded_bytes * _SCRATCH_PER_PIXEL_BYTE),
        download=download,
    ) as source:
        made = _made(params, ctx, source)
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
    return _cog(params, made, stored, time.monotonic() - started)


def _made(params: CreateCog, ctx: TaskContext, source: Fetched) -> MadeCog:
    try:
        return child.run(
            "services.raster.cog:make_cog",
            MakeCog(params=params, path=source.path, folder=str(source.folder)),
            MadeCog,
            lambda fraction, message: ctx.report(0.9 * fraction, message),
            memory_bytes=MEMORY_BYTES,
            seconds=SECONDS,
        )
    except TaskFailed as error:
        if source.is_ranged and error.code == "PIXELS_UNREADABLE":
            raise _RangeFailed from error
        raise


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
