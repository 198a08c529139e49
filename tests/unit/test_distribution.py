"""The stretch of a collection: percentiles of all pixels, from distributions of the members."""

import numpy as np
import pytest

from services.stac.distribution import RANKS, Distribution, pool


def measure(values: np.ndarray, band: int = 1, share: float = 1.0) -> Distribution:
    return Distribution(
        band=band, pixels=values.size / share, values=tuple(map(float, np.quantile(values, RANKS)))
    )


@pytest.mark.parametrize("seed", range(4))
def test_pooled_percentiles_are_those_of_all_pixels(seed):
    rng = np.random.default_rng(seed)
    parts = [
        rng.normal(rng.uniform(0, 3_000), rng.uniform(5, 200), rng.integers(1_000, 40_000))
        for _ in range(30)
    ]
    [found] = pool(lambda: map(measure, parts)).values()
    every = np.concatenate(parts)
    p2, p98 = np.percentile(every, (2, 98))
    tolerance = 0.005 * (p98 - p2)
    assert found.p2 == pytest.approx(p2, abs=tolerance)
    assert found.p98 == pytest.approx(p98, abs=tolerance)
    assert (found.minimum, found.maximum) == (every.min(), every.max())


def test_large_members_count_more():
    small, large = np.linspace(0, 1, 100), np.linspace(1_000, 1_001, 100)
    parts = [measure(small), measure(large, share=0.001)]
    assert pool(lambda: parts)[1].p2 > 999


def test_bytes_are_exact_to_one():
    rng = np.random.default_rng(1)
    parts = [rng.integers(low, low + 60, 10_000) for low in (10, 40, 150)]
    found = pool(lambda: map(measure, parts))[1]
    p2, p98 = np.percentile(np.concatenate(parts), (2, 98))
    assert found.p2 == pytest.approx(p2, abs=1) and found.p98 == pytest.approx(p98, abs=1)


def test_each_band_has_a_range_of_its_own():
    parts = [measure(np.arange(100.0), band=3), measure(np.arange(100.0) + 500, band=1)]
    found = pool(lambda: parts)
    assert list(found) == [1, 3]
    assert found[3].p98 < 100 < 500 <= found[1].p2


def test_one_value_is_a_range_without_width():
    found = pool(lambda: [measure(np.full(50, 7.0))])[1]
    assert (found.p2, found.p98, found.minimum, found.maximum) == (7, 7, 7, 7)


def test_no_pixels_have_no_range():
    assert pool(lambda: []) == {}
