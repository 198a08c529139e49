"""Pixels from all over an image, at full resolution, for the price of a few blocks."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from services.raster.gdal import failing_as
from services.raster.nodata import fits
from services.raster.source import Source

_WHOLE = 1_500_000
_GRID = 5
_WINDOW = 256


@dataclass(frozen=True)
class Sample:
    """One window: bands first, and for each band which pixels are valid."""

    values: NDArray[np.generic]
    valid: NDArray[np.bool_]


def read(source: Source, bands: list[int]) -> list[Sample]:
    """Windows on a grid over the whole image; small images whole."""
    dataset = source.dataset
    nodata = [dataset.nodatavals[band - 1] for band in bands]
    samples = []
    with failing_as("PIXELS_UNREADABLE", f"{source.name} has pixels that cannot be decoded"):
        for window in _windows(dataset.height, dataset.width):
            values = dataset.read(bands, window=window)
            samples.append(Sample(values, _valid(values, nodata)))
    return samples


def _windows(rows: int, columns: int) -> Iterator[Window]:
    if rows * columns <= _WHOLE:
        yield Window(0, 0, columns, rows)
        return
    height, width = min(_WINDOW, rows), min(_WINDOW, columns)
    for row in _starts(rows, height):
        for column in _starts(columns, width):
            yield Window(column, row, width, height)


def _starts(length: int, window: int) -> list[int]:
    """Up to _GRID places, on block borders where there is room."""
    steps = np.linspace(0, length - window, min(_GRID, max(1, length // window)))
    return sorted({int(step) // _WINDOW * _WINDOW for step in steps})


def _valid(values: NDArray[np.generic], nodata: list[float | None]) -> NDArray[np.bool_]:
    valid = np.ones(values.shape, dtype=bool)
    if values.dtype.kind in "fc":
        valid &= ~np.isnan(values)
    for index, empty in enumerate(nodata):
        if empty is not None and not np.isnan(empty) and fits(empty, str(values.dtype)):
            valid[index] &= values[index] != np.asarray(empty).astype(values.dtype)
    return valid
