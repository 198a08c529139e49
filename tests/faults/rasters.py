"""Small rasters that are processed quickly."""

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from rasterio.transform import Affine, from_origin

SIDE, LARGE_SIDE, TILE_SIDE = 192, 1_300, 48
PIXEL = 10.0
CRS_CODE = 32633
TILES = 4
"""The members of a collection that are valid, in one row."""
VERSIONS = 2
"""How many contents a tile has."""


def make_raster(name: str) -> bytes:
    """An image or an elevation model, determined by its name. A large one is made in windows."""
    bands, dtype = (1, "float32") if name == "dem" else (3, "uint8")
    side = LARGE_SIDE if name == "large" else SIDE
    rows, columns = np.mgrid[0:side, 0:side]
    hills = np.sin(rows / 17) * np.cos(columns / 23) * 100 + 128
    pixels = np.stack([np.roll(hills, 11 * band, axis=1) for band in range(bands)]).astype(dtype)
    return _write(pixels, from_origin(500_000, 5_000_000, PIXEL, PIXEL))


def make_tile(number: int, version: int) -> bytes:
    """A member of a collection."""
    pixels = np.full((3, TILE_SIDE, TILE_SIDE), tile_value(number, version), "uint8")
    pixels[:, ::2] += 1
    return _write(pixels, place_tile(number))


def make_bad_members() -> dict[str, bytes]:
    """Members that cannot become COGs: one without a CRS, and one that is cut off."""
    whole = make_tile(0, 0)
    pixels = np.full((3, TILE_SIDE, TILE_SIDE), 9, "uint8")
    return {
        "bad-crs.tif": _write(pixels, place_tile(0), crs=None),
        "bad-cut.tif": whole[: len(whole) // 2],
    }


def tile_value(number: int, version: int) -> int:
    """The smaller one of the two values of its pixels."""
    return 20 + 24 * (number + TILES * version)


def place_tile(number: int) -> Affine:
    return from_origin(500_000 + number * TILE_SIDE * PIXEL, 5_000_000, PIXEL, PIXEL)


def tile_name(number: int) -> str:
    return f"tile-{number}.tif"


def _write(pixels: NDArray[np.generic], transform: Affine, crs: int | None = CRS_CODE) -> bytes:
    count, height, width = pixels.shape
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", width=width, height=height, count=count, dtype=pixels.dtype,
            tiled=True, crs=None if crs is None else CRS.from_epsg(crs), transform=transform,
        ) as dataset:  # fmt: skip
            dataset.write(pixels)
        return bytes(memory.read())
