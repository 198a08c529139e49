"""Which bands, ranges and colours make a good picture of a raster of each type."""

import colorsys
import re
from collections.abc import Sequence

from services.raster.model import RasterType
from services.stac.map_links import Color, Rendering
from services.stac.scan import BandScan, CogScan

NAMES = {
    "red": re.compile(r"(?<![a-z])red(?![a-z]|[\s_-]*edge)|^r$", re.IGNORECASE),
    "green": re.compile(r"(?<![a-z])green(?![a-z])|^g$", re.IGNORECASE),
    "blue": re.compile(r"(?<![a-z])blue(?![a-z])|^b$", re.IGNORECASE),
}
LISTED_CLASSES = 64
"""More colours than this make an address longer than browsers and proxies take."""


def renderings(raster_type: RasterType, cog: CogScan) -> dict[str, Rendering]:
    """The default picture by the name `default`, and others worth a look."""
    looks = {"default": rendering(raster_type, cog)}
    if raster_type is RasterType.DEM:
        looks["hillshade"] = Rendering(title="Hillshade", bidx=(1,), algorithm="hillshade")
    if raster_type is RasterType.NIR and len(cog.bands) >= 4:
        looks["infrared"] = infrared(cog)
    if has_faint_alpha(cog):
        return {name: look.model_copy(update={"nodata": 0.0}) for name, look in looks.items()}
    return looks


def has_faint_alpha(cog: CogScan) -> bool:
    """Whether 16 bits of alpha hold what 8 would: TiTiler takes 255 of 65,535 for transparent."""
    return any(
        band.color == "alpha"
        and band.data_type == "uint16"
        and band.statistics is not None
        and band.statistics.maximum <= 255
        for band in cog.bands
    )


def infrared(cog: CogScan) -> Rendering:
    """Plants in red: near infrared, red and green. The fourth band is the infrared one."""
    red, green, _ = natural_color(cog.bands) or (1, 2, 3)
    shown = (4, red, green)
    ranges = tuple(stretch(cog.bands[index - 1]) for index in shown)
    return Rendering(title="Near infrared", bidx=shown, rescale=ranges)


def rendering(raster_type: RasterType, cog: CogScan) -> Rendering:
    """The default picture: what the share link and the item's `renders` carry."""
    if cog.palette is not None:
        return Rendering(title="Classes", bidx=(1,), palette=used_colors(cog, cog.palette))
    if raster_type is RasterType.CATEGORICAL:
        return classes(cog)
    if raster_type is RasterType.DEM:
        return ramp(cog, "terrain")
    if raster_type in COMPOSITES or natural_color(cog.bands) is not None:
        return composite(raster_type, cog)
    if cog.bands[0].data_type == "uint8":
        return Rendering(title="Grey", bidx=(1,), rescale=(stretch(cog.bands[0]),))
    return ramp(cog, "viridis")


COMPOSITES = {RasterType.RGB, RasterType.RGBA, RasterType.NIR, RasterType.MULTISPECTRAL}


def composite(raster_type: RasterType, cog: CogScan) -> Rendering:
    """Three bands as red, green and blue. Bytes of a photograph are shown as they are."""
    if len(cog.bands) < 3:
        return Rendering(title="Grey", bidx=(1,), rescale=(stretch(cog.bands[0]),))
    bidx = natural_color(cog.bands) or usual_order(raster_type, len(cog.bands))
    shown = [cog.bands[index - 1] for index in bidx]
    photograph = raster_type in {RasterType.RGB, RasterType.RGBA, RasterType.NIR}
    if photograph and all(band.data_type == "uint8" for band in shown) and is_bright(shown):
        return Rendering(title="Natural colour", bidx=bidx)
    ranges = tuple(stretch(band) for band in shown)
    return Rendering(title="Natural colour", bidx=bidx, rescale=ranges)


def is_bright(bands: Sequence[BandScan]) -> bool:
    """Whether bytes use more than five of their bits: with fewer all would be black."""
    return any(band.statistics is None or band.statistics.p98 >= 32 for band in bands)


def natural_color(bands: Sequence[BandScan]) -> tuple[int, ...] | None:
    """The bands that say they are red, green and blue, by colour or by description."""
    found = []
    for name, pattern in NAMES.items():
        named = [b.index for b in bands if b.color == name]
        described = [b.index for b in bands if pattern.search(b.description or "")]
        choice = (named or described)[:1]
        if not choice:
            return None
        found += choice
    return tuple(found)


def usual_order(raster_type: RasterType, count: int) -> tuple[int, ...]:
    """Scanners are stored from blue to red; Sentinel-2's stack has the coastal band before."""
    if raster_type is not RasterType.MULTISPECTRAL:
        return (1, 2, 3)
    return (4, 3, 2) if count >= 12 else (3, 2, 1)


def ramp(cog: CogScan, name: str) -> Rendering:
    """One band through a continuous colour ramp."""
    return Rendering(
        title="Values", bidx=(1,), rescale=(stretch(cog.bands[0]),), colormap_name=name
    )


def used_colors(cog: CogScan, palette: dict[int, Color]) -> dict[int, Color]:
    """The colours of values that occur or that somebody chose: a table is filled up with black."""
    seen = set(cog.classes or ())
    return {value: c for value, c in palette.items() if value in seen or any(c[:3])}


def classes(cog: CogScan) -> Rendering:
    """Classes without a colour table get colours that neighbours do not share."""
    if cog.classes is None or len(cog.classes) > LISTED_CLASSES:
        return ramp(cog, "viridis")
    colors = {value: class_color(i) for i, value in enumerate(cog.classes)}
    return Rendering(title="Classes", bidx=(1,), colormap=colors)


def class_color(position: int) -> Color:
    """Hues a golden angle apart: any two in a row differ clearly, however many there are."""
    hue = position * 0.618_033_988_75 % 1.0
    lightness = (0.45, 0.6, 0.35)[position % 3]
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.65)
    return round(red * 255), round(green * 255), round(blue * 255), 255


def stretch(band: BandScan) -> tuple[float, float]:
    """From the 2nd to the 98th percentile; wider where they are one value."""
    if band.statistics is None:
        return 0.0, 1.0
    for low, high in (
        (band.statistics.p2, band.statistics.p98),
        (band.statistics.minimum, band.statistics.maximum),
    ):
        if low < high:
            return low, high
    value = band.statistics.minimum
    return value - 1.0, value + 1.0
