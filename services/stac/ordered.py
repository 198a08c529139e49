"""Pixel values in ascending order: ranks, extremes and distinct values cost little then."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.integer[Any] | np.floating[Any]]
"""In one dimension, ascending and without NaN."""


def order(values: NDArray[Any]) -> Values:
    """The values in ascending order; of complex ones the amplitudes."""
    real = np.abs(values) if values.dtype.kind == "c" else values
    # numpy sorts integers of 16 bits and less in linear time if asked for a stable order:
    # https://numpy.org/doc/stable/reference/generated/numpy.sort.html
    counted = real.dtype.kind in "iu" and real.dtype.itemsize <= 2
    ordered: Values = np.sort(real, axis=None, kind="stable" if counted else None)
    return ordered


def find_quantiles(ordered: Values, ranks: Iterable[float]) -> tuple[float, ...]:
    """The values at ranks from 0 to 1, interpolated linearly as numpy.quantile does."""
    return tuple(_find_quantile(ordered, rank) for rank in ranks)


def _find_quantile(ordered: Values, rank: float) -> float:
    position = rank * (ordered.size - 1)
    below = int(position)
    above = min(below + 1, ordered.size - 1)
    share = position - below
    return (1 - share) * float(ordered[below]) + share * float(ordered[above])


def drop_filled_ends(ordered: Values) -> Values:
    """The values without a minimum or maximum that fills more than 2 %; empty if these are all."""
    if not ordered.size:
        return ordered
    low, high = find_quantiles(ordered, (0.02, 0.98))
    first, last = ordered[0], ordered[-1]
    start = 0 if low > first else np.searchsorted(ordered, first, "right")
    stop = ordered.size if high < last else np.searchsorted(ordered, last, "left")
    return ordered[start:stop]


def find_distinct(ordered: Values) -> Values:
    """Each value once."""
    return ordered[np.append(True, ordered[1:] != ordered[:-1])] if ordered.size else ordered
