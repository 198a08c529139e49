"""Distributions of pixel values that can be merged: a collection has one stretch for all members.

Importing it does not load GDAL.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

from core.models import Record

RANKS = (
    0.0, 0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5,
    0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.975, 0.98, 0.985, 0.99, 0.995, 1.0,
)  # fmt: skip
"""Closest where the stretch begins and ends, at 2 and 98 percent."""
BINS = 4_096


class Distribution(Record):
    """The values of one band at RANKS, over full-resolution pixels."""

    band: int
    pixels: float
    """Valid pixels of the band, estimated where only a part was read."""
    values: tuple[float, ...]


class Range(Record):
    """The values of a band over several rasters."""

    minimum: float
    maximum: float
    p2: float
    p98: float


def pool(read: Callable[[], Iterable[Distribution]]) -> dict[int, Range]:
    """The range of each band over all pixels together, by band.

    Each call of `read` iterates over all distributions again. Memory does not grow with their
    number. Percentiles are exact to about 1 / 4,096 of the range without its tails.
    """
    bands: dict[int, _Band] = {}
    for each in read():
        bands.setdefault(each.band, _Band()).widen(each)
    for each in read():
        bands[each.band].add(each)
    return {number: band.range() for number, band in sorted(bands.items())}


@dataclass
class _Band:
    """The pixels of a band, first their extremes and then their histogram."""

    minimum: float = math.inf
    maximum: float = -math.inf
    low: float = math.inf
    high: float = -math.inf
    changes: list[float] = field(default_factory=lambda: [0.0] * (BINS + 1))
    """The difference of each bin from the one before it."""

    @property
    def bin(self) -> float:
        """The width of a bin; 0 if all pixels have one value."""
        return (self.high - self.low) / BINS

    def widen(self, by: Distribution) -> None:
        self.minimum, self.maximum = (
            min(self.minimum, by.values[0]),
            max(self.maximum, by.values[-1]),
        )
        self.low, self.high = min(self.low, by.values[1]), max(self.high, by.values[-2])

    def add(self, pixels: Distribution) -> None:
        """Spread the pixels between two ranks evenly over their bins. Call `widen` before."""
        for first, last, weight in _segments(pixels):
            begin, end = self._position(first), self._position(last)
            share = weight / (end - begin + 1)
            self.changes[begin] += share
            self.changes[end + 1] -= share

    def range(self) -> Range:
        weights = list(accumulate(self.changes[:-1]))
        p2, p98 = (self.low + self.bin * _find_rank(weights, rank) for rank in (0.02, 0.98))
        return Range(minimum=self.minimum, maximum=self.maximum, p2=p2, p98=p98)

    def _position(self, value: float) -> int:
        if not self.bin:
            return 0
        return min(max(int((value - self.low) / self.bin), 0), BINS - 1)


def _find_rank(weights: Sequence[float], rank: float) -> float:
    """The position, in bins, below which this share of the pixels is."""
    wanted, below = rank * math.fsum(weights), 0.0
    for position, weight in enumerate(weights):
        if weight > 0 and below + weight >= wanted:
            return position + max(wanted - below, 0.0) / weight
        below += weight
    return float(len(weights))


def _segments(of: Distribution) -> Iterable[tuple[float, float, float]]:
    """First value, last value and number of pixels between neighbouring ranks."""
    for (low, first), (high, last) in pairwise(zip(RANKS, of.values, strict=True)):
        yield first, last, (high - low) * of.pixels
