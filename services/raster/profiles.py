"""What each type of raster asks for in each tier, as data."""

from dataclasses import dataclass

import numpy as np

from services.raster.model import CogSettings, RasterType, Tier

BLOCK = 512
BAND_INTERLEAVED_FROM = 5


@dataclass(frozen=True)
class Resampling:
    """How pixels of a type are resampled."""

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


def why_not(tier: Tier, kind: RasterType, dtype: str) -> str | None:
    """Why the tier cannot hold such a raster. None when it can."""
    if tier is not Tier.VISUALIZATION:
        return None
    if kind not in (RasterType.RGB, RasterType.RGBA):
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
    """How the COG is written. `bands` counts alpha."""
    compression = _compression(tier, kind)
    resampling = RESAMPLING[kind]
    return CogSettings(
        compression=compression,
        predictor=_predictor(compression, kind, dtype, palette),
        interleave="band" if bands >= BAND_INTERLEAVED_FROM else "pixel",
        overview_resampling=resampling.overview,
        reproject_resampling=resampling.reproject,
    )


def _compression(tier: Tier, kind: RasterType) -> str:
    if tier is not Tier.VISUALIZATION:
        return _LOSSLESS[tier]
    return "WEBP" if kind is RasterType.RGBA else "JPEG"


def _predictor(compression: str, kind: RasterType, dtype: str, palette: bool) -> int | None:
    """Differences pay for smooth values; class numbers compress better as they are."""
    if compression not in ("DEFLATE", "LZW", "ZSTD") or palette:
        return None
    if kind in (RasterType.CATEGORICAL, RasterType.UNKNOWN):
        return None
    sort = np.dtype(dtype).kind
    return {"f": 3, "u": 2, "i": 2}.get(sort)
