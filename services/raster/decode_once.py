"""Decodes what is costly to decode once, into a scratch file that is cheap to read in any order.

The warp and the COG driver read a block several times. That is expensive in JPEG 2000, in PNG,
which can only be decoded from its first row, and in NetCDF chunks and strips as large as the image.
A warp of many bands takes a few at a time, and would decode blocks with all bands for each of them.
"""

import rasterio
from rasterio.windows import Window

from core.handler import Report
from services.raster import gdal, nodata
from services.raster.profiles import BLOCK
from services.raster.source import Source
from services.raster.warp import MOST_BYTES_TOGETHER

_COSTLY_DRIVERS = ("JP2OpenJPEG", "PNG", "netCDF")
_COSTLY_BLOCK_BYTES = 16 * 2**20
_READ_BYTES = 64 * 2**20
_FEWEST_ROWS = 16
"""TIFF 6.0, page 67: the height of a tile is a multiple of it."""


def is_costly(source: Source) -> bool:
    """Whether reading a block twice costs more than a scratch copy."""
    return source.driver in _COSTLY_DRIVERS or source.block_bytes > _COSTLY_BLOCK_BYTES


def is_decoded_often(source: Source) -> bool:
    """Whether blocks hold more bands than are warped together."""
    return source.is_pixel_interleaved and source.pixel_bytes > MOST_BYTES_TOGETHER


def decode_once(source: Source, path: str, report: Report) -> None:
    """Copy the pixels, in file order, to a tiled GeoTIFF with the same nodata value or mask.

    Raises TaskFailed PIXELS_UNREADABLE when a pixel cannot be decoded.
    """
    image, rows = source.dataset, _rows_at_once(source)
    with (
        gdal.failing_as("PIXELS_UNREADABLE", f"{source.name} has pixels that cannot be decoded"),
        rasterio.open(path, "w", **_profile(source, rows)) as copy,
    ):
        for row in range(0, image.height, rows):
            window = Window(0, row, image.width, min(rows, image.height - row))
            pixels = image.read(window=window)
            copy.write(pixels.astype(source.dtype, copy=False), window=window)
            if source.has_mask_band:
                copy.write_mask(image.read_masks(1, window=window), window=window)
            report(row / image.height, "decoding")


def _rows_at_once(source: Source) -> int:
    """Fewer than those of a block only where blocks are higher than tiles."""
    rows, row_bytes = BLOCK, source.dataset.width * source.pixel_bytes
    fewest = max(_FEWEST_ROWS, *(height for height, _ in source.dataset.block_shapes))
    while rows // 2 >= fewest and rows * row_bytes > _READ_BYTES:
        rows //= 2
    return rows


def _profile(source: Source, rows: int) -> dict[str, object]:
    image = source.dataset
    values = [v for v in image.nodatavals if v is not None and nodata.fits(v, source.dtype)]
    return {
        "driver": "GTiff",
        "dtype": source.dtype,
        "count": image.count,
        "width": image.width,
        "height": image.height,
        "nodata": values[0] if values else None,
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": rows,
        "interleave": "pixel" if image.count <= 4 else "band",
        "bigtiff": "IF_SAFER",
        "sparse_ok": True,
    }
