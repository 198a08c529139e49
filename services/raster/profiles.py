"""Compression, predictor, interleave and resampling for each raster type and tier."""

from dataclasses import dataclass

import numpy as np

from services.raster.model import CogSettings, RasterType, Tier

BLOCK = 512
BAND_INTERLEAVED_FROM = 5
PICTURES = (RasterType.RGB, RasterType.RGBA)
"""A pixel of these is empty only when all its bands are."""


@dataclass(frozen=True)
class Resampling:
    """Resampling methods, by their GDAL names."""

    overview: str
    reproject: str


RESAMPLING: dict[RasterType, Resampling] = {
    RasterType.RGB: Resampling("average", "cubic"),
    RasterType.RGBA: Resampling("average", "cubic"),
    RasterType.DEM: Resampling("average", "bilinear"),
    RasterType.CONTINUOUS: Resampling("average", "bilinear"),
    RasterType.CATEGORICAL: Resampling("mode", "nearest"),
    RasterType.MULTISPECTRAL: Resampling("average", "bilinear"),
    RasterType.NIR: Resampling("average", "cubic"),
    RasterType.UNKNOWN: Resampling("nearest", "nearest"),
}

_LOSSLESS = {Tier.ANALYSIS: "DEFLATE", Tier.ARCHIVE: "LZW"}


def stored_dtype(dtype: str, *, palette: bool, picture_top: int | None = None) -> str:
    """The COG's data type. GDAL has colour tables and alpha for unsigned integers only."""
    if picture_top is not None:
        return "uint8" if picture_top == 255 else "uint16"
    return "uint8" if palette and dtype == "int8" else dtype


def why_not(tier: Tier, kind: RasterType, dtype: str) -> str | None:
    """The reason why the tier cannot hold such a raster, or None if it can."""
    if tier is not Tier.VISUALIZATION:
        return None
    if kind not in PICTURES:
        return (
            f"visualization holds pictures (rgb, rgba), not {kind}: "
            "analysis is lossless and TiTiler renders it"
        )
    if dtype != "uint8":
        return f"JPEG and WebP hold 8 bits, not {dtype}: use analysis"
    return None


def settings(
    tier: Tier, kind: RasterType, dtype: str, bands: int, *, palette: bool = False
) -> CogSettings:
    """How the COG is written. `bands` includes alpha."""
    compression = _choose_compression(tier, kind)
    resampling = RESAMPLING[kind]
    overview = "nearest" if _loses_mask(resampling.overview, dtype) else resampling.overview
    return CogSettings(
        compression=compression,
        predictor=_choose_predictor(compression, kind, dtype, palette),
        interleave="band" if bands >= BAND_INTERLEAVED_FROM else "pixel",
        overview_resampling=overview,
        reproject_resampling=resampling.reproject,
    )


def _loses_mask(overview: str, dtype: str) -> bool:
    """Whether GDAL's overviews have valid pixels where the raster has none.

    GDAL 3.10 takes NaN for a class in mode overviews, and ignores nodata in 64-bit integers.
    """
    return dtype in ("int64", "uint64") or (overview == "mode" and np.dtype(dtype).kind == "f")


def _choose_compression(tier: Tier, kind: RasterType) -> str:
    if tier is not Tier.VISUALIZATION:
        return _LOSSLESS[tier]
    return "WEBP" if kind is RasterType.RGBA else "JPEG"


def _choose_predictor(compression: str, kind: RasterType, dtype: str, palette: bool) -> int | None:
    """Class numbers compress better without a predictor."""
    if compression not in ("DEFLATE", "LZW", "ZSTD") or palette:
        return None
    if kind in (RasterType.CATEGORICAL, RasterType.UNKNOWN):
        return None
    sort = np.dtype(dtype).kind
    return {"f": 3, "u": 2, "i": 2}.get(sort)
