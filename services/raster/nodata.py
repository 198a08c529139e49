"""Nodata values: which are usable, how JSON writes them, and what a file without one gets."""

import math
from collections.abc import Sequence

import numpy as np

from services.raster.model import Nodata


def fits(value: float, dtype: str) -> bool:
    """Whether a pixel of this type can hold the value at all."""
    kind = np.dtype(dtype)
    if kind.kind in "fc":
        return True
    if not math.isfinite(value) or value != int(value):
        return False
    limits = np.iinfo(kind)
    return bool(limits.min <= value <= limits.max)


def as_json(value: float | None) -> Nodata | None:
    """JSON has no NaN: STAC and we write it as a word."""
    if value is None or math.isfinite(value):
        return value
    if math.isnan(value):
        return "nan"
    return "inf" if value > 0 else "-inf"


def from_json(value: Nodata | None) -> float | None:
    return None if value is None else float(value)


def common(values: Sequence[float | None], dtype: str) -> float | None:
    """The one value that a GeoTIFF can name. NaN for floats that name none."""
    usable = [value for value in values if value is not None and fits(value, dtype)]
    if usable:
        return usable[0]
    return math.nan if np.dtype(dtype).kind == "f" else None


def equal(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return one == other or (math.isnan(one) and math.isnan(other))
