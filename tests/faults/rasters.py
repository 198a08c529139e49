"""Small rasters that are processed quickly."""

import numpy as np
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

SIDE = 192


def make_raster(name: str) -> bytes:
    """An image or an elevation model, determined by its name."""
    bands, dtype = (3, "uint8") if name == "rgb" else (1, "float32")
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    hills = np.sin(rows / 17) * np.cos(columns / 23) * 100 + 128
    pixels = np.stack([np.roll(hills, 11 * band, axis=1) for band in range(bands)]).astype(dtype)
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", width=SIDE, height=SIDE, count=bands, dtype=dtype,
            crs=CRS.from_epsg(32633), transform=from_origin(500_000, 5_000_000, 10, 10),
        ) as dataset:  # fmt: skip
            dataset.write(pixels)
        return bytes(memory.read())
