"""Statistics of a COG's pixels."""

import numpy as np
import pytest
import rasterio

from services.stac.ordered import find_distinct, find_quantiles, order
from services.stac.scan import find_percentiles, measure_bands
from tests.fixtures.made_rasters import hills, write


def test_transparent_pixels_of_five_bands_are_not_measured(tmp_path):
    pixels = hills(200, 6, "uint16", 9_000) + 100
    pixels[:, :, :50] = 0
    pixels[5, :, 50:] = 65_535
    path = write(tmp_path / "drone.tif", pixels, alpha="YES")
    with rasterio.open(path) as cog:
        bands, _, anywhere = measure_bands(cog)
    assert np.array_equal(anywhere, pixels[5] > 0)
    assert bands[0].statistics.minimum >= 100
    assert bands[0].statistics.valid_percent == 75


@pytest.mark.parametrize("collar", [0, -3.4e38, 1e20])
def test_an_undeclared_collar_does_not_affect_the_colours(collar):
    values = np.linspace(40, 41, 1_000)
    values[:300] = collar
    low, high = find_percentiles(order(values))
    assert 40.3 <= low < 40.4 and 40.9 < high <= 41


def test_percentiles_without_a_collar_cover_every_pixel():
    values = np.linspace(40, 41, 1_000)
    assert find_percentiles(values) == pytest.approx((40.02, 40.98))
    assert find_percentiles(np.full(9, 7.0)) == (7, 7)
    assert find_percentiles(np.repeat([0.0, 1.0], 500)) == (0, 1)


def test_complex_rasters_have_the_stac_data_type_and_amplitude_statistics(tmp_path):
    path = write(tmp_path / "slc.tif", (hills(50) * (0.6 + 0.8j)).astype("complex64"))
    with rasterio.open(path) as cog:
        bands, _, anywhere = measure_bands(cog)
    assert bands[0].data_type == "cfloat32" and anywhere.all()
    assert bands[0].statistics.maximum == pytest.approx(hills(50).max(), rel=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32", "float64"])
@pytest.mark.parametrize("count", [1, 2, 999])
def test_ranks_and_distinct_values_are_those_of_numpy(dtype, count):
    values = (np.random.default_rng(count).random((1, count)) * 50).astype(dtype)
    ordered, ranks = order(values), (0, 0.013, 0.5, 0.98, 1)
    assert find_quantiles(ordered, ranks) == pytest.approx(np.quantile(values, ranks))
    assert np.array_equal(find_distinct(ordered), np.unique(values))
