"""Whether a warp kept the picture: sampled pixels of the source must be valid in the result."""

from collections.abc import Callable

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader
from rasterio.windows import Window

from core.errors import TaskFailed
from services.raster.crs import WEB_MERCATOR, Points, describe_crs
from services.raster.georeference import Georeference
from services.raster.grid import MERCATOR_EDGE
from services.raster.operation import transform_from

SAMPLES_PER_SIDE = 16
MOST_LOST = 0.02
"""Share of the sampled valid pixels that may be missing: edges are resampled."""
_FEWEST_SAMPLES = 8
_READ_WHOLE_PIXELS = 4 * 2**20
"""Up to this size one read of all pixels costs less than one for each sample."""

Mask = NDArray[np.bool_]


def check_coverage(
    view: str, where: Georeference, result: str, target: Georeference, name: str
) -> None:
    """Raises TaskFailed COVERAGE_LOST where pixels of the source are missing in the result.

    `view` and `result` are the source and the warped file, as GDAL opens them. Pixels that the
    target CRS cannot hold, such as the poles in Web Mercator, do not count.
    """
    columns, rows = _sample_pixels(where.width, where.height)
    xs, ys = transform_from(where, target.crs, *where.xy(columns + 0.5, rows + 0.5))
    reachable = np.isfinite(xs) & np.isfinite(ys)
    if target.crs == WEB_MERCATOR:
        reachable &= np.abs(ys) < MERCATOR_EDGE
    if target.crs.is_geographic:
        reachable &= np.abs(ys) <= 90
    with rasterio.open(view) as source:
        expected = reachable & _valid_at(source, columns, rows, np.all)
    if expected.sum() < _FEWEST_SAMPLES:
        return
    column, row = ~target.transform @ (_near(xs[expected], target), ys[expected])
    with rasterio.open(result) as warped:
        kept = _valid_at(warped, np.floor(column), np.floor(row), np.any)
    lost = 1 - float(kept.mean())
    if lost > MOST_LOST:
        raise TaskFailed(
            "COVERAGE_LOST",
            f"{name}: the warp to {describe_crs(target.crs)[:80]} would lose {lost:.0%} of the "
            "picture: choose another target_crs, or native",
        )


def _sample_pixels(width: int, height: int) -> tuple[Points, Points]:
    """Row by row, so that a strip of the file is read once."""
    along = (np.arange(SAMPLES_PER_SIDE) + 0.5) / SAMPLES_PER_SIDE
    columns, rows = np.meshgrid(np.floor(along * width), np.floor(along * height))
    return columns.ravel(), rows.ravel()


def _near(xs: Points, target: Georeference) -> Points:
    """Eastings within half a turn of the target's middle: the map repeats itself there."""
    turn = 2 * MERCATOR_EDGE if target.crs == WEB_MERCATOR else 360.0
    if not (target.crs.is_geographic or target.crs == WEB_MERCATOR):
        return xs
    west, _, east, _ = target.bounds
    return xs - turn * np.round((xs - (west + east) / 2) / turn)


def _valid_at(
    dataset: DatasetReader, columns: Points, rows: Points, combine: Callable[[Mask], np.bool_]
) -> Mask:
    """Whether all, or any, of the three by three pixels around each place are valid."""
    found = np.zeros(columns.size, dtype=bool)
    is_small = dataset.width * dataset.height <= _READ_WHOLE_PIXELS
    whole = _read_valid(dataset, None) if is_small else None
    for number, (column, row) in enumerate(zip(columns, rows, strict=True)):
        left, top = max(0, int(column) - 1), max(0, int(row) - 1)
        right, bottom = min(dataset.width, int(column) + 2), min(dataset.height, int(row) + 2)
        if left < right and top < bottom:
            if whole is None:
                part = _read_valid(dataset, Window(left, top, right - left, bottom - top))
            else:
                part = whole[top:bottom, left:right]
            found[number] = bool(combine(part))
    return found


def _read_valid(dataset: DatasetReader, window: Window | None) -> Mask:
    """From the alpha band where there is one: GDAL ignores it next to more than three bands."""
    if dataset.colorinterp[-1] is ColorInterp.alpha:
        valid: Mask = dataset.read(dataset.count, window=window) > 0
    else:
        valid = dataset.read_masks(1, window=window) > 0
    return valid
