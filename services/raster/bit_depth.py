"""Advice on data types that are wider than the values need."""

from collections.abc import Sequence

import numpy as np

from services.raster.model import BitDepth
from services.raster.samples import Sample

_SMALLER = ("uint8", "int8", "uint16", "int16", "uint32", "int32")


def check(dtype: str, samples: Sequence[Sample]) -> BitDepth:
    """Name the smallest type that holds the sampled values. Other pixels may need a wider one."""
    kind = np.dtype(dtype)
    values = np.concatenate([sample.values[sample.valid].ravel() for sample in samples])
    if values.size == 0 or kind.kind == "c":
        return BitDepth(efficient=kind.itemsize < 8, current_dtype=dtype)
    smaller = _smallest(values, kind)
    if smaller is None:
        return BitDepth(efficient=True, current_dtype=dtype)
    saved = 1 - np.dtype(smaller).itemsize / kind.itemsize
    return BitDepth(
        efficient=False,
        current_dtype=dtype,
        advice=f"the sampled values fit {smaller}, which needs {saved:.0%} less storage",
    )


def _smallest(values: np.ndarray, kind: np.dtype) -> str | None:
    """The smallest type that holds the values, or None if it is the present one."""
    low, high = values.min().item(), values.max().item()
    if kind.kind == "f" and not np.all(values == np.round(values)):
        return "float32" if kind.itemsize > 4 else None
    for name in _SMALLER:
        limits = np.iinfo(name)
        if limits.min <= low and high <= limits.max:
            return name if np.dtype(name).itemsize < kind.itemsize else None
    return None
