"""Nodata values: which values a data type can hold, their JSON form, and undeclared fills."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.raster.model import Nodata
from services.raster.samples import Sample

# Values that programs write where they have no measurement, besides the ends of each type.
_USUAL_FILLS = (-9999.0, -999.0, -99999.0, -32768.0, -32767.0, -28672.0, 9999.0, 1e20, 9.96921e36)
_HUGE = 1e15
# Share of the raster's border that a fill value covers.
_BORDER_SHARE = 0.3
# A fill value lies farther from all other values than this share of their range.
_GAP = 0.5


@dataclass(frozen=True)
class Fill:
    """A constant that fills the border and that nothing declares as nodata."""

    value: float
    share: float
    """Of all sampled pixels."""


def fits(value: float, dtype: str) -> bool:
    """Whether a pixel of this type can hold the value."""
    kind = np.dtype(dtype)
    if not math.isfinite(value):
        return kind.kind in "fc"
    if kind.kind in "fc":
        parts = np.dtype("float32") if kind.itemsize == 4 or dtype == "complex64" else kind
        return parts.itemsize > 4 or abs(value) <= float(np.finfo(np.float32).max) * (1 + 1e-7)
    if value != int(value):
        return False
    limits = np.iinfo(kind)
    return bool(limits.min <= value <= limits.max)


def in_dtype(value: float, dtype: str) -> float:
    """The value as a pixel of this type holds it: -3.4e38 has other digits in float32."""
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        return int(value)
    if kind.itemsize == 4 or dtype == "complex64":
        limit = float(np.finfo(np.float32).max)
        return float(np.float32(min(max(value, -limit), limit))) if math.isfinite(value) else value
    return float(value)


def as_json(value: float | None) -> Nodata | None:
    """The value, or "nan", "inf", "-inf": JSON has no such numbers."""
    if value is None or math.isfinite(value):
        return value
    if math.isnan(value):
        return "nan"
    return "inf" if value > 0 else "-inf"


def from_json(value: Nodata | None) -> float | None:
    """The number that `as_json` wrote. Integers stay exact."""
    return float(value) if isinstance(value, str) else value


def common(values: Sequence[float | None], dtype: str) -> float | None:
    """The one nodata value of a GeoTIFF with these values per band.

    Floating-point rasters without a value, or with several, get NaN. Integer rasters get the first
    value, or None.
    """
    usable = [value for value in values if value is not None and fits(value, dtype)]
    if np.dtype(dtype).kind in "fc":
        return usable[0] if usable and all(equal(v, usable[0]) for v in usable) else math.nan
    return usable[0] if usable else None


def equal(one: float | None, other: float | None) -> bool:
    """Whether two nodata values mark the same pixels."""
    if one is None or other is None:
        return one is other
    return one == other or (math.isnan(one) and math.isnan(other))


def find_undeclared_fill(samples: Sequence[Sample]) -> Fill | None:
    """The extreme constant that fills the border in every band, if there is one."""
    border = np.concatenate(
        [_columns(s.values, s.border & s.valid.all(axis=0)) for s in samples], 1
    )
    length = sum(int(sample.border.sum()) for sample in samples)
    if border.size == 0 or border.dtype.kind == "c":
        return None
    uniform = border[0][(border == border[0]).all(axis=0)]
    if uniform.size < _BORDER_SHARE * length:
        return None
    values, counts = np.unique(uniform, return_counts=True)
    value, count = values[counts.argmax()], counts.max()
    if count < _BORDER_SHARE * length or not _is_fill(value, samples, count / length):
        return None
    filled = sum(int((s.values == value).all(axis=0).sum()) for s in samples)
    return Fill(value.item(), filled / sum(s.values[0].size for s in samples))


def _columns(values: NDArray[np.generic], chosen: NDArray[np.bool_]) -> NDArray[np.generic]:
    return values[:, chosen]


def _is_fill(value: np.generic, samples: Sequence[Sample], border_share: float) -> bool:
    """Whether the value is extreme enough: at an end of its type, or far from all other values."""
    others = np.concatenate([s.values[s.valid & (s.values != value)].ravel() for s in samples])
    if others.size == 0:
        return False
    number, low, high = float(value), float(others.min()), float(others.max())
    if low <= number <= high:
        return False
    if others.dtype.kind == "u" or len(samples[0].values) > 1:
        return border_share >= 0.5 and number in _collars(others.dtype) and _varied(others)
    gap = low - number if number < low else number - high
    near_low, near_high = np.percentile(others.astype("float64"), (2, 98))
    isolated = gap > _GAP * (near_high - near_low)
    usual = number in _USUAL_FILLS or abs(number) >= _HUGE or number in _ends(others.dtype)
    return bool(isolated and (usual or (number == 0 and _varied(others))))


def _varied(values: NDArray[np.generic]) -> bool:
    """Whether there is more than a handful of classes: a class may well lie along the border."""
    return len(np.unique(values)) > 64


def _collars(dtype: np.dtype) -> tuple[float, ...]:
    return (0.0, *_ends(dtype)) if dtype.kind in "iu" else (0.0, 255.0, 65535.0, *_USUAL_FILLS)


def _ends(dtype: np.dtype) -> tuple[float, ...]:
    if dtype.kind == "f":
        return ()
    limits = np.iinfo(dtype)
    return float(limits.min), float(limits.max)
