"""Decoding once what is costly to decode, into a scratch file that is cheap to read anywhere.

Warp and COG driver come back to a block several times. That is dear in JPEG 2000, in PNG (which
only decodes from its first row) and in NetCDF chunks and strips as large as the image.
"""

import rasterio
from rasterio.windows import Window

from core.handler import Report
from services.raster import gdal, nodata
from services.raster.profiles import BLOCK
from services.raster.source import Source

_COSTLY_DRIVERS = ("JP2OpenJPEG", "PNG", "netCDF")
_COSTLY_BLOCK_BYTES = 16 * 2**20


def is_costly(source: Source) -> bool:
    return source.driver in _COSTLY_DRIVERS or source.block_bytes > _COSTLY_BLOCK_BYTES


def decode_once(source: Source, path: str, report: Report) -> None:
    """Copy the pixels, in their order, to a tiled GeoTIFF. Its nodata makes the same mask."""
    image = source.dataset
    with (
        gdal.failing_as("PIXELS_UNREADABLE", f"{source.name} has pixels that cannot be decoded"),
        rasterio.open(path, "w", **_profile(source)) as copy,
    ):
        for row in range(0, image.height, BLOCK):
            window = Window(0, row, image.width, min(BLOCK, image.height - row))
            copy.write(image.read(window=window).astype(source.dtype, copy=False), window=window)
            if source.has_mask_band:
                copy.write_mask(image.read_masks(1, window=window), window=window)
            report(row / image.height, "decoding")


def _profile(source: Source) -> dict[str, object]:
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
        "blockysize": BLOCK,
        "interleave": "pixel" if image.count <= 4 else "band",
        "bigtiff": "IF_SAFER",
        "sparse_ok": True,
    }
