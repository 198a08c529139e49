"""How the tile server renders complex pixels."""

import numpy as np
import pytest
import rasterio

from tests.fixtures.made_rasters import hills, write
from tiles.reader import GeotiffReader

COLLAR = 50


@pytest.mark.parametrize("kind", ["nodata", "mask"])
def test_amplitudes_exclude_pixels_without_data(tmp_path, kind):
    pixels = np.full_like(hills(300), 3 - 4j, dtype="complex64")
    pixels[..., :COLLAR] = 0
    path = write(tmp_path / "slc.tif", pixels, **({"nodata": 0} if kind == "nodata" else {}))
    if kind == "mask":
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as raster:
            raster.write_mask(pixels[0] != 0)
    with GeotiffReader(str(path)) as reader:
        seen = reader.preview()
        assert seen.array.mask.mean() == pytest.approx(COLLAR / seen.width, abs=0.01)
        assert np.unique(seen.array.compressed()) == pytest.approx([5.0])
