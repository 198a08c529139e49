"""Scans a COG for its item: grid, bands, statistics, classes, colours and footprint."""

import math

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

from services.raster.gdal import environment, failing_as
from services.raster.nodata import as_json
from services.stac.footprint import GRID, Footprint, Mask, trace_footprint
from services.stac.map_links import Color
from services.stac.model import BandScan, BandStatistics, CogScan
from services.stac.ordered import (
    Values,
    drop_filled_ends,
    find_distinct,
    find_quantiles,
    order,
)

SAMPLE = 1024
"""Longest side of the decimated copy that statistics are computed from."""
BLENDED_PIXELS = 2
"""How far a warp or an overview spreads an undeclared fill value into its neighbours."""
MAX_MEASURED_BANDS = 64
MAX_CLASSES = 256
COMPLEX = {"complex64": "cfloat32", "complex128": "cfloat64"}
"""STAC's names of the complex data types."""
METRES_PER_DEGREE = 111_319.490_793


def scan_cog(path: str, fill: float | None = None) -> CogScan:
    """Scan the header and a decimated copy. `path` is anything GDAL opens.

    Pixels that hold `fill` in every band are left out of the statistics.
    """
    with (
        environment(path, sidecars=False),
        failing_as("COG_UNREADABLE", "the COG cannot be read"),
        rasterio.open(path) as cog,
    ):
        bands, classes, valid = measure_bands(cog, fill)
        outline = find_footprint(cog, valid)
        return CogScan(
            shape=cog.shape,
            transform=tuple(cog.transform)[:6],
            bounds=tuple(cog.bounds),
            epsg=find_epsg_code(cog.crs),
            wkt2=cog.crs.to_wkt(version="WKT2_2019"),
            projjson=cog.crs.to_dict(projjson=True),
            gsd=measure_pixel(cog),
            bands=tuple(bands),
            palette=read_palette(cog),
            classes=classes,
            geometry=outline.geometry,
            bbox=outline.bbox,
        )


def measure_bands(
    cog: DatasetReader, fill: float | None = None
) -> tuple[list[BandScan], tuple[int, ...] | None, Mask]:
    """The bands, the classes of the first band, and where any band of the copy is valid."""
    shape = decimate(cog.shape, SAMPLE)
    anywhere = np.zeros(shape, dtype=bool)
    bands: list[BandScan] = []
    classes = None
    opaque, measured = find_opaque(cog, shape), ~find_filled(cog, shape, fill)
    for index in cog.indexes:
        if index > MAX_MEASURED_BANDS:
            bands.append(describe_band(cog, index, None))
            continue
        pixels = cog.read(index, out_shape=shape)
        valid = (cog.read_masks(index, out_shape=shape) > 0) & np.isfinite(pixels) & opaque
        anywhere |= valid
        valid &= measured
        ordered = order(pixels[valid])
        bands.append(describe_band(cog, index, measure(ordered, float(valid.mean()))))
        if index == 1 and pixels.dtype.kind != "c":
            classes = find_classes(ordered)
    return bands, classes, anywhere


def find_opaque(cog: DatasetReader, shape: tuple[int, int]) -> Mask:
    """Where an alpha band is not transparent. GDAL's mask has it for one or three bands only."""
    for index, color in zip(cog.indexes, cog.colorinterp, strict=True):
        if color is ColorInterp.alpha:
            opaque: Mask = cog.read(index, out_shape=shape) > 0
            return opaque
    return np.ones(shape, dtype=bool)


def find_filled(cog: DatasetReader, shape: tuple[int, int], fill: float | None) -> Mask:
    """Where every band holds an undeclared fill value, and the pixels around that blend it in."""
    filled: Mask = np.zeros(shape, dtype=bool)
    if fill is None:
        return filled
    bands = list(range(1, min(cog.count, MAX_MEASURED_BANDS) + 1))
    filled = np.all([cog.read(band, out_shape=shape) == fill for band in bands], axis=0)
    for _ in range(BLENDED_PIXELS):
        grown = filled.copy()
        grown[1:] |= filled[:-1]
        grown[:-1] |= filled[1:]
        filled = grown.copy()
        filled[:, 1:] |= grown[:, :-1]
        filled[:, :-1] |= grown[:, 1:]
    return filled


def decimate(shape: tuple[int, int], longest: int) -> tuple[int, int]:
    """The shape of a copy whose longest side has at most that many pixels."""
    factor = max(1.0, max(shape) / longest)
    return max(1, round(shape[0] / factor)), max(1, round(shape[1] / factor))


def describe_band(cog: DatasetReader, index: int, found: BandStatistics | None) -> BandScan:
    """What the header says about a band, with its statistics."""
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


def measure(ordered: Values, valid_share: float) -> BandStatistics | None:
    """Statistics of the valid values; None if there are none. `valid_share` is from 0 to 1."""
    if not ordered.size:
        return None
    wide = ordered.astype(np.float64)
    p2, p98 = find_percentiles(ordered)
    return BandStatistics(
        minimum=significant(wide[0]),
        maximum=significant(wide[-1]),
        mean=significant(wide.mean()),
        stddev=significant(wide.std()),
        valid_percent=round(100 * valid_share, 3),
        p2=significant(p2),
        p98=significant(p98),
    )


def find_percentiles(ordered: Values) -> tuple[float, float]:
    """The 2nd and 98th percentile, without a minimum or maximum that fills more than 2 %.

    Stretched to an undeclared collar of 0 or -3.4e38, all other values would have one colour.
    """
    inner = drop_filled_ends(ordered)
    low, high = find_quantiles(inner if inner.size else ordered, (0.02, 0.98))
    return low, high


def significant(value: float, digits: int = 7) -> float:
    """The value with the digits that float32 has; more would differ between processors."""
    return float(f"{value:.{digits}g}")


def find_classes(ordered: Values) -> tuple[int, ...] | None:
    """The distinct values if they are whole numbers and few enough for classes."""
    distinct = find_distinct(ordered)
    if not 0 < distinct.size <= MAX_CLASSES or np.any(distinct != np.round(distinct)):
        return None
    return tuple(int(value) for value in distinct)


def find_footprint(cog: DatasetReader, valid: Mask) -> Footprint:
    """The footprint of the valid pixels. A cell of its grid counts if any pixel of it is valid."""
    coarse = decimate(cog.shape, GRID)
    rows, columns = (
        -(-np.arange(cells) * pixels // cells)
        for cells, pixels in zip(coarse, valid.shape, strict=True)
    )
    cells = np.logical_or.reduceat(np.logical_or.reduceat(valid, rows, axis=0), columns, axis=1)
    scale = cog.transform.scale(cog.width / coarse[1], cog.height / coarse[0])
    return trace_footprint(cells, cog.transform @ scale, cog.crs)


def read_palette(cog: DatasetReader) -> dict[int, Color] | None:
    """The colour table of the first band."""
    if cog.colorinterp[0] is not ColorInterp.palette:
        return None
    colors: dict[int, Color] = cog.colormap(1)
    return colors


def find_epsg_code(crs: CRS) -> int | None:
    """The EPSG code of the CRS, if it has one."""
    code = crs.to_epsg(confidence_threshold=70)
    return int(code) if code else None


def measure_pixel(cog: DatasetReader) -> float:
    """The size of a pixel in metres, in the middle of the raster."""
    a, b, _, d, e, _ = tuple(cog.transform)[:6]
    east, north = math.hypot(a, d), math.hypot(b, e)
    if cog.crs.is_geographic:
        middle = (cog.bounds.top + cog.bounds.bottom) / 2
        east *= METRES_PER_DEGREE * math.cos(math.radians(middle))
        north *= METRES_PER_DEGREE
        return significant(math.sqrt(abs(east * north)), 4)
    return significant(math.sqrt(east * north) * cog.crs.linear_units_factor[1], 4)
