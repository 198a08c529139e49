"""What a raster is: read its facts, refuse what can never become a good COG."""

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import Field

from core.handler import TaskContext
from core.models import BlobRef, Record
from services import child
from services.fetch import SAMPLED_FROM_BYTES, Fetched, Wanted, read_source

Bounds = tuple[float, float, float, float]
Nodata = float | Literal["nan", "inf", "-inf"]
Validity = Literal["all", "nodata", "mask", "alpha"]
"""What tells valid pixels from others."""


class RasterType(StrEnum):
    """What the pixels mean. It decides resampling, compression and rendering."""

    RGB = "rgb"
    RGBA = "rgba"
    DEM = "dem"
    CATEGORICAL = "categorical"
    MULTISPECTRAL = "multispectral"
    NIR = "nir"
    CONTINUOUS = "continuous"
    UNKNOWN = "unknown"


class Tier(StrEnum):
    """What a COG is for."""

    VISUALIZATION = "visualization"
    ANALYSIS = "analysis"
    ARCHIVE = "archive"


RasterTypeChoice = Literal[
    "auto", "rgb", "rgba", "dem", "categorical", "multispectral", "nir", "continuous"
]
TierChoice = Literal["visualization", "analysis", "archive", "all"]


class ValidateRaster(Record):
    """The parameters of validate_raster."""

    source: BlobRef
    source_etag: str
    sidecars: tuple[BlobRef, ...] = ()
    input_crs: str | None = None
    raster_type: RasterTypeChoice = "auto"
    output_tier: TierChoice = "analysis"
    target_crs: str = "EPSG:4326"
    strict_mode: bool = False
    subdataset: str | None = None


class RasterWarning(Record):
    """Something worth knowing that does not stop the work."""

    code: str
    message: str


class CogSettings(Record):
    """How pixels of this type are best stored and resampled."""

    compression: str
    predictor: int | None
    interleave: Literal["pixel", "band"]
    overview_resampling: str
    reproject_resampling: str


class DetectedType(Record):
    """The type that the pixels show, and the type that the work goes by."""

    detected_type: RasterType
    confidence: Literal["VERY_HIGH", "HIGH", "MEDIUM", "LOW"]
    evidence: tuple[str, ...]
    applied_type: RasterType
    """The caller's raster_type where given and possible, otherwise the detected one."""
    optimal_cog_settings: CogSettings


class BitDepth(Record):
    """Whether the data type is wider than the values need."""

    efficient: bool
    current_dtype: str
    advice: str | None = None


class BandFacts(Record):
    """One band of the source."""

    index: int
    dtype: str
    color: str
    """GDAL's colour interpretation, mended: a near infrared tagged alpha reads "nir"."""
    description: str | None = None
    unit: str | None = None
    scale: float = 1.0
    offset: float = 0.0
    nodata: Nodata | None = None


class RasterFacts(Record):
    """What the later stages go by."""

    valid: bool = True
    source_blob: str
    source_container: str
    source_etag: str
    source_size_bytes: int
    source_last_modified: datetime
    sidecars: tuple[BlobRef, ...] = ()
    driver: str
    subdataset: str | None = None
    subdatasets: tuple[str, ...] = ()
    """The names of the raster variables of a NetCDF file."""

    band_count: int
    dtype: str
    shape: tuple[int, int]
    """Rows, columns."""
    decoded_bytes: int
    bands: tuple[BandFacts, ...]
    nodata: Nodata | None = None
    validity: Validity
    alpha_opaque: int | None = None
    """What opaque pixels hold in the alpha band, where its type could hold more."""
    has_palette: bool = False

    source_crs: str
    """EPSG:n where there is a code, otherwise WKT."""
    crs_source: Literal["file_metadata", "user_override"]
    georeference: Literal["affine", "rotated", "gcps"]
    bounds: Bounds
    """In the source's CRS."""
    bounds_4326: Bounds
    """West, south, east, north; west is greater than east across the antimeridian (RFC 7946)."""

    raster_type: DetectedType
    cog_tiers: tuple[Tier, ...]
    tiers_not_applicable: dict[Tier, str] = Field(default_factory=dict)
    bit_depth_check: BitDepth
    acquired: datetime | None = None
    """TIFFTAG_DATETIME, or the NetCDF file's time."""
    tags: dict[str, str] = Field(default_factory=dict)
    warnings: tuple[RasterWarning, ...] = ()

    @property
    def source(self) -> BlobRef:
        return BlobRef(container=self.source_container, name=self.source_blob)


class InspectRaster(Record):
    """What the child process is asked: the parameters, and where the bytes are."""

    params: ValidateRaster
    path: str
    stored_bytes: int
    last_modified: datetime


MEMORY_BYTES = 768 * 2**20
SECONDS = 180.0


def validate_raster(params: ValidateRaster, ctx: TaskContext) -> RasterFacts:
    """Raises TaskFailed for what can never become a good COG."""
    wanted = Wanted(
        params.source,
        params.source_etag,
        params.sidecars,
        work_bytes=0,
        download_below=SAMPLED_FROM_BYTES,
    )
    return read_source(ctx, wanted, lambda source: _inspect(params, ctx, source))


def _inspect(params: ValidateRaster, ctx: TaskContext, source: Fetched) -> RasterFacts:
    request = InspectRaster(
        params=params,
        path=source.path,
        stored_bytes=source.properties.size,
        last_modified=source.properties.last_modified,
    )
    return child.run(
        "services.raster.facts:inspect",
        request,
        RasterFacts,
        ctx.report,
        folder=source.folder,
        memory_bytes=MEMORY_BYTES,
        seconds=SECONDS,
    )
