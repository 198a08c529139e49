"""One COG out of one raster: warped, tiled, with overviews, checked, then shown at once."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from core.handler import TaskContext
from core.models import BlobRef, Record
from services.validate_raster import Bounds, Nodata, RasterFacts, RasterType, RasterWarning, Tier


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
    validity: Literal["all", "nodata", "mask", "alpha"]
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
    validity: Literal["all", "nodata", "mask", "alpha"]
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


def create_cog(params: CreateCog, ctx: TaskContext) -> Cog:
    """Make the COG and store it at the target. Running it again writes the same bytes."""
    raise NotImplementedError
