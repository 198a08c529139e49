"""What a COG's pixels and header say: places, bands, statistics, colours, the footprint."""

import math

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

from core.models import Json, Record
from services.raster.gdal import environment, failing_as
from services.raster.model import Nodata
from services.raster.nodata import as_json
from services.stac.footprint import GRID, Footprint, Mask, footprint
from services.stac.map_links import Color

SAMPLE = 1024
"""Longest side of the sample that statistics come from: an overview, a megapixel a band."""
CACHE_BYTES = 64 * 1024 * 1024
"""rasterio takes a whole number for bytes, where GDAL itself would take it for megabytes."""
MAX_MEASURED_BANDS = 64
MAX_CLASSES = 256
COMPLEX = {"complex64": "cfloat32", "complex128": "cfloat64"}
"""As STAC names them."""
METRES_PER_DEGREE = 111_319.490_793


class BandStatistics(Record):
    """Over the valid pixels of the sample."""

    minimum: float
    maximum: float
    mean: float
    stddev: float
    valid_percent: float
    p2: float
    p98: float


class BandScan(Record):
    """One band of the COG."""

    index: int
    data_type: str
    color: str
    description: str | None
    unit: str | None
    scale: float
    offset: float
    nodata: Nodata | None
    statistics: BandStatistics | None
    """None without a valid pixel in the sample."""


class CogScan(Record):
    """One COG."""

    shape: tuple[int, int]
    transform: tuple[float, ...]
    bounds: tuple[float, float, float, float]
    epsg: int | None
    wkt2: str
    projjson: Json | None
    gsd: float
    """Metres on the ground that a pixel covers in the middle of the raster."""
    bands: tuple[BandScan, ...]
    palette: dict[int, Color] | None
    classes: tuple[int, ...] | None
    """The values of a band of few whole numbers, in order."""
    geometry: Json
    bbox: list[float]


def scan_cog(path: str) -> CogScan:
    """Read the header and a decimated copy. `path` is anything GDAL opens."""
    with (
        environment(path, sidecars=False),
        rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES),
        failing_as("COG_UNREADABLE", "the COG cannot be read"),
        rasterio.open(path) as cog,
    ):
        bands, classes, valid = measured(cog)
        outline = outlined(cog, valid)
        return CogScan(
            shape=cog.shape,
            transform=tuple(cog.transform)[:6],
            bounds=tuple(cog.bounds),
            epsg=epsg_code(cog.crs),
            wkt2=cog.crs.to_wkt(version="WKT2_2019"),
            projjson=cog.crs.to_dict(projjson=True),
            gsd=ground_sample_distance(cog),
            bands=tuple(bands),
            palette=palette(cog),
            classes=classes,
            geometry=outline.geometry,
            bbox=outline.bbox,
        )


def measured(cog: DatasetReader) -> tuple[list[BandScan], tuple[int, ...] | None, Mask]:
    """The bands, the classes of the first, and where any band of the sample is valid."""
    shape = decimated(cog.shape, SAMPLE)
    anywhere = np.zeros(shape, dtype=bool)
    bands: list[BandScan] = []
    classes = None
    opaque = seen_through_alpha(cog, shape)
    for index in cog.indexes:
        if index > MAX_MEASURED_BANDS:
            bands.append(band_scan(cog, index, None))
            continue
        pixels = cog.read(index, out_shape=shape)
        valid = (cog.read_masks(index, out_shape=shape) > 0) & np.isfinite(pixels) & opaque
        anywhere |= valid
        bands.append(band_scan(cog, index, statistics(pixels[valid], valid)))
        if index == 1:
            classes = distinct_values(pixels[valid])
    return bands, classes, anywhere


def seen_through_alpha(cog: DatasetReader, shape: tuple[int, int]) -> Mask:
    """Where an alpha band is not clear. GDAL makes a mask of it beside one or three bands only."""
    for index, color in zip(cog.indexes, cog.colorinterp, strict=True):
        if color is ColorInterp.alpha:
            opaque: Mask = cog.read(index, out_shape=shape) > 0
            return opaque
    return np.ones(shape, dtype=bool)


def decimated(shape: tuple[int, int], longest: int) -> tuple[int, int]:
    factor = max(1.0, max(shape) / longest)
    return max(1, round(shape[0] / factor)), max(1, round(shape[1] / factor))


def band_scan(cog: DatasetReader, index: int, found: BandStatistics | None) -> BandScan:
    at = index - 1
    return BandScan(
        index=index,
        data_type=COMPLEX.get(cog.dtypes[at], cog.dtypes[at]),
        color=cog.colorinterp[at].name,
        description=cog.descriptions[at],
        unit=cog.units[at],
        scale=cog.scales[at],
        offset=cog.offsets[at],
        nodata=as_json(cog.nodatavals[at]),
        statistics=found,
    )


def statistics(values: NDArray[np.generic], valid: Mask) -> BandStatistics | None:
    """Of the absolute values where they are complex, as the map shows them. None for no values."""
    if values.size == 0:
        return None
    wide = (np.abs(values) if values.dtype.kind == "c" else values).astype(np.float64)
    p2, p98 = percentiles(wide)
    return BandStatistics(
        minimum=significant(wide.min()),
        maximum=significant(wide.max()),
        mean=significant(wide.mean()),
        stddev=significant(wide.std()),
        valid_percent=round(100 * float(valid.mean()), 3),
        p2=significant(p2),
        p98=significant(p98),
    )


def percentiles(values: NDArray[np.float64]) -> tuple[float, float]:
    """The 2nd and the 98th, without a least or greatest value that fills more than that.

    A collar of 0 or -3.4e38 that no file declares would leave one colour to all else.
    """
    low, high = np.percentile(values, (2, 98))
    least, greatest = values.min(), values.max()
    inner = values[((values > least) | (low > least)) & ((values < greatest) | (high < greatest))]
    if inner.size:
        low, high = np.percentile(inner, (2, 98))
    return float(low), float(high)


def significant(value: float, digits: int = 7) -> float:
    """As many digits as a float32 has: more would differ between processors."""
    return float(f"{value:.{digits}g}")


def distinct_values(values: NDArray[np.generic]) -> tuple[int, ...] | None:
    """The classes of a band of whole numbers, None where there are too many to be classes."""
    if values.dtype.kind not in "iu":
        return None
    distinct = np.unique(values)
    return tuple(int(v) for v in distinct) if 0 < distinct.size <= MAX_CLASSES else None


def outlined(cog: DatasetReader, valid: Mask) -> Footprint:
    """The footprint of a mask as large as the sample. A cell counts when any of it is valid."""
    coarse = decimated(cog.shape, GRID)
    rows = np.arange(valid.shape[0]) * coarse[0] // valid.shape[0]
    columns = np.arange(valid.shape[1]) * coarse[1] // valid.shape[1]
    cells = np.zeros(coarse, dtype=bool)
    np.logical_or.at(cells, (rows[:, None], columns[None, :]), valid)
    scale = cog.transform.scale(cog.width / coarse[1], cog.height / coarse[0])
    return footprint(cells, cog.transform @ scale, cog.crs)


def palette(cog: DatasetReader) -> dict[int, Color] | None:
    """The colour table of the first band."""
    if cog.colorinterp[0] is not ColorInterp.palette:
        return None
    colors: dict[int, Color] = cog.colormap(1)
    return colors


def epsg_code(crs: CRS) -> int | None:
    """The code of a CRS that is exactly that one."""
    code = crs.to_epsg(confidence_threshold=70)
    return int(code) if code else None


def ground_sample_distance(cog: DatasetReader) -> float:
    """The size of a pixel in metres, in the middle of the raster."""
    a, b, _, d, e, _ = tuple(cog.transform)[:6]
    east, north = math.hypot(a, d), math.hypot(b, e)
    if cog.crs.is_geographic:
        middle = (cog.bounds.top + cog.bounds.bottom) / 2
        east *= METRES_PER_DEGREE * math.cos(math.radians(middle))
        north *= METRES_PER_DEGREE
        return significant(math.sqrt(abs(east * north)), 4)
    return significant(math.sqrt(east * north) * cog.crs.linear_units_factor[1], 4)
