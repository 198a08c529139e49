"""How the values of one band are distributed and how neighbours differ."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from services.raster.samples import Sample


@dataclass(frozen=True)
class Texture:
    """Measurements on the valid pixels of one band."""

    distinct: int
    whole: bool
    """Whether every value is a whole number."""
    low: float
    """The 2nd percentile."""
    high: float
    """The 98th percentile."""
    minimum: float
    maximum: float
    spacing: float
    """The common difference of all distinct values, or 0 if they are not evenly spaced."""
    equal_neighbours: float
    """Share of neighbours with the same value."""
    step: float
    """Mean difference of neighbours, over the range from the 2nd to the 98th percentile."""
    jumps: float
    """Share of differing neighbours with at least one other occurring value between theirs."""
    leap: float
    """Median distance of differing neighbours in the order of values, over their number."""
    wraps: float
    """Share of neighbours that differ by more than half of the range."""


def measure(samples: Sequence[Sample], band: int = 0) -> Texture | None:
    """The texture of one band of the samples. None if no sampled pixel is valid.

    Complex pixels are measured by amplitude.
    """
    samples = [_real(sample) for sample in samples]
    values = np.concatenate([s.values[band][s.valid[band]].ravel() for s in samples])
    if values.size == 0:
        return None
    known, order = np.unique(values, return_inverse=True)
    numbers = known.astype("float64")
    low, high = (float(v) for v in np.percentile(values.astype("float64"), (2, 98)))
    valid = [sample.valid[band] for sample in samples]
    first, second = np.concatenate(_pair_neighbours(order, valid), axis=1)
    steps = np.abs(numbers[first] - numbers[second])
    differ = steps > 0
    ranks = np.abs(first[differ] - second[differ])
    extent = float(known[-1]) - float(known[0])
    return Texture(
        distinct=len(known),
        whole=bool(np.all(known == np.round(known))),
        low=low,
        high=high,
        minimum=float(known[0]),
        maximum=float(known[-1]),
        spacing=_spacing(known),
        equal_neighbours=float(np.mean(~differ)) if steps.size else 1.0,
        step=float(np.mean(steps)) / (high - low) if steps.size and high > low else 0.0,
        jumps=float(np.mean(ranks > 1)) if ranks.size else 0.0,
        leap=float(np.median(ranks)) / len(known) if ranks.size else 1.0,
        wraps=float(np.mean(steps > extent / 2)) if steps.size and extent else 0.0,
    )


def _real(sample: Sample) -> Sample:
    is_complex = np.iscomplexobj(sample.values)
    return replace(sample, values=np.abs(sample.values)) if is_complex else sample


def _spacing(known: NDArray[np.generic]) -> float:
    gaps = np.diff(known.astype("float64"))
    return float(gaps[0]) if gaps.size and np.all(gaps == gaps[0]) else 0.0


def _pair_neighbours(
    order: NDArray[np.intp], masks: Sequence[NDArray[np.bool_]]
) -> list[NDArray[np.intp]]:
    """Pairs of valid pixels side by side or one above the other, as two rows for each mask.

    `order` has the place of each valid pixel in the order of values, mask by mask.
    """
    pairs = []
    for valid in masks:
        here, order = np.split(order, [np.count_nonzero(valid)])
        places = np.zeros(valid.shape, np.intp)
        places[valid] = here
        across = valid[:, 1:] & valid[:, :-1]
        down = valid[1:] & valid[:-1]
        first = np.concatenate([places[:, :-1][across], places[:-1][down]])
        second = np.concatenate([places[:, 1:][across], places[1:][down]])
        pairs.append(np.stack([first, second]))
    return pairs
