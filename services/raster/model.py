"""The vocabulary of rasters and COGs that handlers, raster and STAC code share.

Importing it does not load GDAL.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from core.models import BlobRef, Json, Record
from services.raster.windows.plan import WindowPlan

Bounds = tuple[float, float, float, float]


def _restore_float(value: object) -> object:
    """PostgreSQL's jsonb returns -3.4e38 as an integer of 39 digits, which NumPy cannot take."""
    return float(value) if isinstance(value, int) and abs(value) > 2**64 else value


Nodata = Annotated[int | float | Literal["nan", "inf", "-inf"], BeforeValidator(_restore_float)]
NodataChoice = Nodata | tuple[Nodata, ...] | None
"""One nodata value for all bands, or one per band. None: the file's own."""
Validity = Literal["all", "nodata", "mask", "alpha"]
"""What separates valid pixels from others."""


class RasterType(StrEnum):
    """The meaning of the pixels. It determines resampling, compression and rendering."""

    RGB = "rgb"
    RGBA = "rgba"
    DEM = "dem"
    CATEGORICAL = "categorical"
    MULTISPECTRAL = "multispectral"
    NIR = "nir"
    CONTINUOUS = "continuous"
    UNKNOWN = "unknown"


class Tier(StrEnum):
    """The use a COG is made for."""

    VISUALIZATION = "visualization"
    ANALYSIS = "analysis"
    ARCHIVE = "archive"


RasterTypeChoice = Literal[
    "auto", "rgb", "rgba", "dem", "categorical", "multispectral", "nir", "continuous"
]
TierChoice = Literal["visualization", "analysis", "archive", "all"]


class ReadingOptions(Record):
    """How to interpret a source raster, and what it is inspected for."""

    input_crs: str | None = None
    raster_type: RasterTypeChoice = "auto"
    output_tier: TierChoice = "analysis"
    target_crs: str = "EPSG:4326"
    strict_mode: bool = False
    subdataset: str | None = None
    nodata: NodataChoice = None
    """Used instead of the file's nodata values."""


class InspectionOptions(ReadingOptions):
    """A version of a source raster and how to interpret it."""

    source: BlobRef
    source_etag: str
    sidecars: tuple[BlobRef, ...] = ()


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
    """The type the pixels look like, and the type that is used."""

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
    """GDAL's colour interpretation, except that near infrared tagged as alpha is "nir"."""
    description: str | None = None
    common_name: str | None = None
    """The common name of a spectral band in STAC's eo extension."""
    unit: str | None = None
    scale: float = 1.0
    offset: float = 0.0
    nodata: Nodata | None = None
    """The nodata value that applies: the caller's or the file's, if the data type can hold it."""
    tags: dict[str, str] = Field(default_factory=dict)


class VerticalCrs(Record):
    """The vertical part of a CRS: what heights refer to."""

    name: str
    code: str | None = None
    """Of EPSG or another authority."""
    unit: str
    """As PROJ names it, such as "US survey foot"."""
    projjson: Json | None = None
    """None for ellipsoidal heights, which are no CRS by themselves."""


class CrsOperation(Record):
    """How PROJ gets from the CRS of the source to that of the COG."""

    name: str
    accuracy: float | None
    """In metres; None where PROJ does not know it."""
    better_accuracy: float | None = None
    """In metres, of an operation that needs the missing grids."""
    missing_grids: tuple[str, ...] = ()


class RasterFacts(Record):
    """Everything the later stages need to know about the source."""

    valid: bool = True
    source: BlobRef
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
    suspected_nodata: Nodata | None = None
    """A constant that fills the border although nothing declares it. Statistics leave it out."""
    alpha_opaque: int | None = None
    """The value of opaque pixels in the alpha band, if it is less than the data type's maximum."""
    picture_top: int | None = None
    """Full intensity in a picture of floats or signed integers, which is stored unsigned."""
    is_inverted: bool = False
    """Whether 0 is white."""
    has_palette: bool = False

    source_crs: str
    """EPSG:n where there is a code, otherwise WKT."""
    crs_source: Literal["file_metadata", "user_override"]
    vertical_crs: VerticalCrs | None = None
    crs_operation: CrsOperation | None = None
    """None with target_crs native."""
    georeference: Literal["affine", "rotated", "gcps"]
    bounds: Bounds
    """In the source's CRS."""
    bounds_4326: Bounds
    """West, south, east, north; west is greater than east across the antimeridian (RFC 7946)."""

    raster_type: DetectedType
    cog_tiers: tuple[Tier, ...]
    windows: dict[Tier, WindowPlan] = Field(default_factory=dict)
    """The tiers whose COGs many tasks make, each a window; all others are made by one task."""
    tiers_not_applicable: dict[Tier, str] = Field(default_factory=dict)
    bit_depth_check: BitDepth
    acquired: datetime | None = None
    """TIFFTAG_DATETIME, or the NetCDF file's time."""
    tags: dict[str, str] = Field(default_factory=dict)
    categories: dict[int, str] = Field(default_factory=dict)
    """Names of the classes of the first band, by value."""
    warnings: tuple[RasterWarning, ...] = ()


class WindowSizes(Record):
    """When and how COGs are made in windows."""

    from_bytes: int
    """The decoded size of a COG from which on it is made in windows."""
    window_bytes: int
    """What the pixels of a window may take in memory."""


class InspectRaster(Record):
    """A request to the sandbox: inspect the raster at `path`."""

    options: InspectionOptions
    windows: WindowSizes | None = None
    """None where the source cannot be read in parts."""
    path: str
    """A local file, or a signed /vsicurl/ address; never stored."""
    stored_bytes: int
    last_modified: datetime


class CogFacts(Record):
    """What is known about a COG file, wherever it is stored."""

    reprojection_performed: bool
    source_crs: str
    target_crs: str
    """EPSG:n where there is a code, otherwise WKT."""
    vertical_crs: VerticalCrs | None = None
    """What heights in the COG refer to, whether or not its CRS says so."""
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
    """None if no pixel was resampled."""
    overview_resampling: str

    size_bytes: int
    checksum: str
    """SHA-256 as a hexadecimal multihash, the format of file:checksum."""
    in_memory: bool
    warnings: tuple[RasterWarning, ...] = ()


class Cog(CogFacts):
    """A COG in blob storage."""

    blob: BlobRef
    cog_tier: Tier
    storage_tier: Literal["hot", "cool"]
    source: BlobRef
    raster_type: RasterType
    size_mb: float
    etag: str
    last_modified: datetime
    processing_time_seconds: float
    output_id: int | None = None
    """Its row in the registry of outputs."""


class MakeCog(Record):
    """A request to the sandbox: make one COG from the raster at `path`."""

    facts: RasterFacts
    tier: Tier
    target_crs: str
    """EPSG:n, or native."""
    jpeg_quality: int = 85
    in_memory: bool | None = None
    path: str
    """A local file, or a signed /vsicurl/ address; never stored."""
    folder: str
    """Where the COG and temporary files are written."""
    pad: bool = False
    """Repeat the outermost pixels once, so that no gap is left between rasters that touch."""


class MadeCog(CogFacts):
    """A COG file written by the sandbox."""

    path: str


class EncodeSamples(Record):
    """A request to the sandbox: estimate the COGs of the raster at `path`."""

    facts: RasterFacts
    tiers: tuple[Tier, ...]
    target_crs: str
    """EPSG:n, or native."""
    jpeg_quality: int
    path: str
    """A local file, or a signed /vsicurl/ address; never stored."""
    folder: str
    """Where temporary files are written."""


class CogEstimate(Record):
    """What the COG of one tier would be."""

    tier: Tier
    compression: str
    shape: tuple[int, int]
    """Rows, columns."""
    size_bytes: int
    seconds: float
    """On a machine as busy as this one is now, without transfers."""
    scratch_bytes: int = 0
    """Scratch disk that making it needs."""


class Estimates(Record):
    """The COGs of each applicable tier."""

    cogs: tuple[CogEstimate, ...]
    sampled_share: float
    """Share of the source's pixels that the estimates come from, 0 to 1."""
