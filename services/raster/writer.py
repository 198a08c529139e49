"""Writes a view as a COG and validates it."""

import hashlib
import math
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.enums import Resampling
from rasterio.windows import Window
from rio_cogeo.cogeo import cog_validate

from core.errors import TaskFailed
from services.raster import gdal
from services.raster.model import CogSettings
from services.raster.profiles import BLOCK
from services.raster.progress import Stretch
from services.raster.vrt import View

BLOCKS = (BLOCK, 256, 128, 64)
FOUR_TILES_BYTES = 32 * 2**20
"""What the pixels of two by two tiles, which is the smallest window, take in memory at most."""
# rio-cogeo accepts untiled levels up to this size.
_UNTILED = 512
_LEVEL = {"DEFLATE": 6, "ZSTD": 9, "LERC_DEFLATE": 6}


def write(
    view: View,
    output: Path,
    settings: CogSettings,
    quality: int,
    *,
    name: str,
    progress: Stretch,
) -> None:
    """Write the view as a COG. Raises TaskFailed if a source pixel cannot be read."""
    width, height = view.georeference.width, view.georeference.height
    itemsize = np.dtype(view.dtype).itemsize
    raw = width * height * len(view.bands) * itemsize
    block = block_for(width, height, (len(view.bands) + (view.mask is not None)) * itemsize)
    with (
        gdal.failing_as("PIXELS_UNREADABLE", f"{name} has pixels that cannot be decoded"),
        progress.watching_reads(raw),
    ):
        if settings.interleave == "band":
            _write_by_band(view, output, settings, quality, block)
        else:
            _copy(view.xml, output, "COG", _cog_options(settings, quality, block))


def _copy(source: str, path: Path, driver: str, options: dict[str, Any]) -> None:
    with rasterio.open(source) as image:
        rasterio.shutil.copy(image, path, driver=driver, strict=True, BIGTIFF="IF_SAFER", **options)


def _cog_options(settings: CogSettings, quality: int, block: int) -> dict[str, Any]:
    """https://gdal.org/en/stable/drivers/raster/cog.html"""
    options: dict[str, Any] = {
        "COMPRESS": settings.compression,
        "BLOCKSIZE": block,
        "NUM_THREADS": gdal.THREADS,
        "OVERVIEWS": "IGNORE_EXISTING",
        "OVERVIEW_RESAMPLING": settings.overview_resampling.upper(),
        "SPARSE_OK": True,
        "ADD_ALPHA": False,
    }
    if settings.compression in ("JPEG", "WEBP"):
        options["QUALITY"] = quality
    if settings.compression in _LEVEL:
        options["LEVEL"] = _LEVEL[settings.compression]
    if settings.predictor:
        options["PREDICTOR"] = settings.predictor
    return options


def _write_by_band(
    view: View, output: Path, settings: CogSettings, quality: int, block: int
) -> None:
    """Write by way of a tiled GeoTIFF: GDAL 3.10's COG driver has pixel interleave only.

    GDAL averages the bands of such a file from the full size, and its mask from level to level. The
    valid pixels of both agree if each level has exactly half the size of the level below.
    """
    factors = overview_factors(view.georeference.width, view.georeference.height, block)
    has_mask = view.mask is not None and view.mask.form == "mask"
    aligns = has_mask and settings.overview_resampling == "average"
    with TemporaryDirectory(dir=output.parent) as folder:
        staged = Path(folder, "staged.tif")
        first = view.aligned(2 ** len(factors)) if aligns else view
        plain = tile_options(settings, quality, block, compress=False)
        _copy(first.xml, staged, "GTiff", plain)
        if factors:
            with rasterio.open(staged, "r+", driver="GTiff") as image:
                image.build_overviews(factors, Resampling[settings.overview_resampling])
        last = _add_overviews(view.over(str(staged)), len(factors)).xml if aligns else str(staged)
        _copy(last, output, "GTiff", tile_options(settings, quality, block))


def _add_overviews(view: View, levels: int) -> View:
    """The view with the overviews of its source, which are stored as VRTs next to the source."""
    paths = [f"{view.path}.{level}.vrt" for level in range(1, levels + 1)]
    for level, path in enumerate(paths, 1):
        Path(path).write_text(view.overview(level).xml, encoding="utf-8")
    return replace(view, overviews=tuple(paths))


def tile_options(
    settings: CogSettings, quality: int, block: int, *, compress: bool = True
) -> dict[str, Any]:
    """Of GDAL's GeoTIFF driver; with `compress` overviews are copied, too.

    https://gdal.org/en/stable/drivers/raster/gtiff.html#creation-options
    """
    options: dict[str, Any] = {
        "TILED": True,
        "BLOCKXSIZE": block,
        "BLOCKYSIZE": block,
        "INTERLEAVE": settings.interleave.upper(),
        "SPARSE_OK": True,
    }
    if not compress:
        return options
    options |= {
        "COMPRESS": settings.compression,
        "COPY_SRC_OVERVIEWS": True,
        "NUM_THREADS": gdal.THREADS,
    }
    if settings.compression == "JPEG":
        options |= {"PHOTOMETRIC": "YCBCR", "JPEG_QUALITY": quality}
    if settings.compression == "WEBP":
        options |= {"WEBP_LEVEL": quality, "WEBP_LOSSLESS": quality == 100}
    if settings.compression in _LEVEL:
        options["ZLEVEL"] = _LEVEL[settings.compression]
    if settings.predictor:
        options["PREDICTOR"] = settings.predictor
    return options


def overview_factors(width: int, height: int, block: int) -> list[int]:
    """Powers of two, until one tile holds the whole raster."""
    factors, factor = [], 1
    while max(width, height) / factor > block:
        factor *= 2
        factors.append(factor)
    return factors


def block_for(width: int, height: int, pixel_bytes: int) -> int:
    """The tile size: the largest at which four tiles take 32 MB at most, with all bands and mask.

    No level of more than 512 pixels is exactly as wide as one tile, which validators mistake for
    strips. Very long rasters have no such size.
    """
    sides = [side for side in BLOCKS if (2 * side) ** 2 * pixel_bytes <= FOUR_TILES_BYTES]
    sides = sides or [BLOCKS[-1]]
    return next((side for side in sides if not _looks_striped(width, height, side)), sides[0])


def _looks_striped(width: int, height: int, side: int) -> bool:
    for factor in (1, *overview_factors(width, height, side)):
        # GDAL's drivers round halves differently.
        widths = {width // factor, math.ceil(width / factor)}
        if side in widths and max(side, height // factor) > _UNTILED:
            return True
    return False


def is_full(path: str, band: int) -> bool:
    """Whether the alpha band is opaque everywhere, so that no mask is needed."""
    with rasterio.open(path, driver="GTiff") as image:
        for row in range(0, image.height, BLOCK):
            for column in range(0, image.width, BLOCK * 8):
                window = Window(
                    column,
                    row,
                    min(BLOCK * 8, image.width - column),
                    min(BLOCK, image.height - row),
                )
                if not image.read(band, window=window).all():
                    return False
    return True


def checksum(path: Path) -> str:
    """SHA-256 as a hexadecimal multihash, the format of file:checksum."""
    with path.open("rb") as file:
        return f"1220{hashlib.file_digest(file, 'sha256').hexdigest()}"


def check(path: str, name: str) -> None:
    """Validate the COG with rio-cogeo. Raises TaskFailed for errors and warnings alike.

    Of a remote COG only the header is read.
    """
    if not path.startswith("/vsi"):
        # Metadata that GeoTIFF cannot hold would stay behind on the upload.
        Path(f"{path}.aux.xml").unlink(missing_ok=True)
    _, errors, warnings = cog_validate(path, strict=True, quiet=True)
    problems = "; ".join(e for e in [*errors, *warnings] if not _is_ribbon(path, e))
    if problems:
        raise TaskFailed("COG_INVALID", f"the COG made from {name} is not valid: {problems}")


def _is_ribbon(path: str, error: str) -> bool:
    """Whether the error is about tiles that are exactly as wide as the image."""
    with rasterio.open(path, driver="GTiff") as image:
        rows, columns = image.block_shapes[0]
    return "not tiled" in error and rows == columns
