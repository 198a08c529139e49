"""Small rasters that are processed quickly."""

import numpy as np
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

SIDE, LARGE_SIDE = 192, 1_300


def make_raster(name: str) -> bytes:
    """An image or an elevation model, determined by its name. A large one is made in windows."""
    bands, dtype = (1, "float32") if name == "dem" else (3, "uint8")
    side = LARGE_SIDE if name == "large" else SIDE
    rows, columns = np.mgrid[0:side, 0:side]
    hills = np.sin(rows / 17) * np.cos(columns / 23) * 100 + 128
    pixels = np.stack([np.roll(hills, 11 * band, axis=1) for band in range(bands)]).astype(dtype)
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", width=side, height=side, count=bands, dtype=dtype, tiled=True,
            crs=CRS.from_epsg(32633), transform=from_origin(500_000, 5_000_000, 10, 10),
        ) as dataset:  # fmt: skip
            dataset.write(pixels)
        return bytes(memory.read())
