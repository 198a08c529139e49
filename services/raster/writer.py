"""Writing a view as a COG, and making sure that it is one."""

import math
from pathlib import Path
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
# Levels up to this size need no tiles, says rio-cogeo.
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
    """Write the view as a COG. Raises TaskFailed when a source pixel cannot be read."""
    pixels = view.georeference.width * view.georeference.height
    raw = pixels * len(view.bands) * np.dtype(view.dtype).itemsize
    with (
        gdal.failing_as("PIXELS_UNREADABLE", f"{name} has pixels that cannot be decoded"),
        progress.watching_reads(raw),
        rasterio.open(view.xml, driver="VRT") as source,
    ):
        block = block_for(source.width, source.height)
        if settings.interleave == "band":
            _write_by_band(source, output, settings, block)
            return
        options = _cog_options(settings, quality, block)
        rasterio.shutil.copy(source, output, driver="COG", strict=True, **options)


def _cog_options(settings: CogSettings, quality: int, block: int) -> dict[str, Any]:
    """https://gdal.org/en/stable/drivers/raster/cog.html"""
    options: dict[str, Any] = {
        "COMPRESS": settings.compression,
        "BLOCKSIZE": block,
        "BIGTIFF": "IF_SAFER",
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


def _write_by_band(source: Any, output: Path, settings: CogSettings, block: int) -> None:
    """GDAL 3.10's COG driver writes pixel interleave only: go by a tiled GeoTIFF with overviews."""
    staged = output.with_name("staged.tif")
    tiles = {
        "TILED": True,
        "BLOCKXSIZE": block,
        "BLOCKYSIZE": block,
        "INTERLEAVE": "BAND",
        "BIGTIFF": "IF_SAFER",
        "SPARSE_OK": True,
    }
    rasterio.shutil.copy(source, staged, driver="GTiff", strict=True, **tiles)
    with rasterio.open(staged, "r+", driver="GTiff") as image:
        if factors := overview_factors(image.width, image.height, block):
            image.build_overviews(factors, Resampling[settings.overview_resampling])
    compression: dict[str, Any] = {
        "COMPRESS": settings.compression,
        "COPY_SRC_OVERVIEWS": True,
        "NUM_THREADS": gdal.THREADS,
    }
    if settings.compression in _LEVEL:
        compression["ZLEVEL"] = _LEVEL[settings.compression]
    if settings.predictor:
        compression["PREDICTOR"] = settings.predictor
    with rasterio.open(staged, driver="GTiff") as image:
        rasterio.shutil.copy(image, output, driver="GTiff", strict=True, **tiles, **compression)
    staged.unlink()


def overview_factors(width: int, height: int, block: int) -> list[int]:
    """Halves of halves until one tile holds the whole."""
    factors, factor = [], 1
    while max(width, height) / factor > block:
        factor *= 2
        factors.append(factor)
    return factors


def block_for(width: int, height: int) -> int:
    """The side of a tile such that no level of more than 512 pixels is as wide as one tile.

    Validators take such a level for one of strips. Nothing helps the longest of ribbons.
    """
    return next((side for side in BLOCKS if not _looks_striped(width, height, side)), BLOCKS[0])


def _looks_striped(width: int, height: int, side: int) -> bool:
    for factor in (1, *overview_factors(width, height, side)):
        # GDAL's drivers do not agree on how to round a half.
        widths = {width // factor, math.ceil(width / factor)}
        if side in widths and max(side, height // factor) > _UNTILED:
            return True
    return False


def is_full(path: str, band: int) -> bool:
    """Whether the alpha band is opaque everywhere: then there is no need of a mask."""
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


def check(path: Path, name: str) -> None:
    """Raises TaskFailed unless rio-cogeo, warnings included, takes the file for a COG."""
    # What GDAL wrote beside the file, as the format has no place for it, does not go with it.
    path.with_name(f"{path.name}.aux.xml").unlink(missing_ok=True)
    _, errors, warnings = cog_validate(path, strict=True, quiet=True)
    said = "; ".join(error for error in [*errors, *warnings] if not _is_ribbon(path, error))
    if said:
        raise TaskFailed("COG_INVALID", f"the COG made of {name} does not pass validation: {said}")


def _is_ribbon(path: Path, error: str) -> bool:
    """Whether the complaint is of tiles that are as wide as the image, which are no strips."""
    with rasterio.open(path, driver="GTiff") as image:
        rows, columns = image.block_shapes[0]
    return "not tiled" in error and rows == columns
