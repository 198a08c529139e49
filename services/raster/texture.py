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
    known = np.unique(values)
    low, high = (float(v) for v in np.percentile(values.astype("float64"), (2, 98)))
    pairs = np.concatenate([_neighbours(sample, band) for sample in samples], axis=1)
    steps = np.abs(pairs[0].astype("float64") - pairs[1].astype("float64"))
    differ = steps > 0
    ranks = np.abs(np.diff(np.searchsorted(known, pairs[:, differ]).astype(int), axis=0))
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


def _neighbours(sample: Sample, band: int) -> NDArray[np.generic]:
    """Pairs of valid pixels side by side or one above the other, as two rows of values."""
    values, valid = sample.values[band], sample.valid[band]
    across = valid[:, 1:] & valid[:, :-1]
    down = valid[1:] & valid[:-1]
    first = np.concatenate([values[:, :-1][across], values[:-1][down]])
    second = np.concatenate([values[:, 1:][across], values[1:][down]])
    return np.stack([first, second])
