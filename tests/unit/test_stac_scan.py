"""What is measured of a COG's pixels."""

import numpy as np
import rasterio

from services.stac.scan import measured
from tests.fixtures.made_rasters import hills, write


def test_clear_pixels_beside_five_bands_are_not_measured(tmp_path):
    pixels = hills(200, 6, "uint16", 9_000) + 100
    pixels[:, :, :50] = 0
    pixels[5, :, 50:] = 65_535
    path = write(tmp_path / "drone.tif", pixels, alpha="YES")
    with rasterio.open(path) as cog:
        bands, _, anywhere = measured(cog)
    assert np.array_equal(anywhere, pixels[5] > 0)
    assert bands[0].statistics.minimum >= 100
    assert bands[0].statistics.valid_percent == 75
