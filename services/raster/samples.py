"""Pixels from all over an image, at full resolution, for the cost of a few blocks."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from services.raster.gdal import failing_as
from services.raster.source import Source

_WHOLE_UP_TO_PIXELS = 1_500_000
_GRID = 5
_WINDOW = 256


@dataclass(frozen=True)
class Sample:
    """One window of the raster."""

    values: NDArray[np.generic]
    """Bands, rows, columns."""
    valid: NDArray[np.bool_]
    """Which of the values are valid."""
    border: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), dtype=bool))
    """Which pixels lie on the border of the raster. By default the window is the whole raster."""

    def __post_init__(self) -> None:
        if self.border.size == 0:
            object.__setattr__(self, "border", _border(self.values.shape[1:], (0, 0), None))

    def without(self, value: float) -> "Sample":
        """The sample with the pixels that hold this value in every band marked as not valid."""
        return replace(self, valid=self.valid & ~(self.values == value).all(axis=0))


def read_samples(source: Source, bands: list[int], nodata: list[float | None]) -> list[Sample]:
    """Windows on a grid over the image; small images whole. `nodata` has a value per band."""
    dataset = source.dataset
    size = dataset.height, dataset.width
    samples = []
    with failing_as("PIXELS_UNREADABLE", f"{source.name} has pixels that cannot be decoded"):
        for window in windows(*size):
            values = dataset.read(bands, window=window)
            border = _border(values.shape[1:], (window.row_off, window.col_off), size)
            samples.append(Sample(values, find_valid(values, nodata), border))
    return samples


def windows(rows: int, columns: int) -> Iterator[Window]:
    """Windows of one size on a grid over the image; one window for a small image."""
    if rows * columns <= _WHOLE_UP_TO_PIXELS:
        yield Window(0, 0, columns, rows)
        return
    height, width = min(_WINDOW, rows), min(_WINDOW, columns)
    for row in _starts(rows, height):
        for column in _starts(columns, width):
            yield Window(column, row, width, height)


def _starts(length: int, window: int) -> list[int]:
    """Up to _GRID positions: the first and last touch the border, the others start on a block."""
    last = length - window
    steps = np.linspace(0, last, min(_GRID, max(1, length // window)))
    return sorted({last if step == last else int(step) // _WINDOW * _WINDOW for step in steps})


def _border(
    shape: tuple[int, ...], offset: tuple[int, int], size: tuple[int, int] | None
) -> NDArray[np.bool_]:
    """Which pixels of a window lie on the border of a raster of `size` rows and columns."""
    (rows, columns), (top, left) = shape, offset
    height, width = size or (rows, columns)
    border = np.zeros((rows, columns), dtype=bool)
    border[0] |= top == 0
    border[-1] |= top + rows == height
    border[:, 0] |= left == 0
    border[:, -1] |= left + columns == width
    return border


def find_valid(values: NDArray[np.generic], nodata: list[float | None]) -> NDArray[np.bool_]:
    """Which values are neither NaN nor their band's nodata value, compared in their own type."""
    valid = ~np.isnan(values) if values.dtype.kind in "fc" else np.ones(values.shape, dtype=bool)
    for band, value in enumerate(nodata):
        if value is not None and not np.isnan(value):
            valid[band] &= values[band] != np.asarray(value).astype(values.dtype)
    return valid
