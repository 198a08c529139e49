"""Which bands, ranges and colours show a raster of each type."""

import colorsys
import re
from collections.abc import Sequence

from core.assets import MAIN_ASSET
from core.models import Json
from services.raster.band_names import BandLabel, find_common_names
from services.raster.model import RasterType
from services.stac.map_links import LONG_COLORS, Color, Rendering
from services.stac.model import BandScan, BandSet

LISTED_CLASSES = 256
"""URLs with more colours than this are too long for browsers and proxies."""
PICTURES = {RasterType.RGB, RasterType.RGBA, RasterType.NIR}
COMPOSITES = PICTURES | {RasterType.MULTISPECTRAL}
NATURAL = "Natural colour"
INFRARED = "Colour infrared"
FLAT_RANGE = 8
"""Bytes whose percentiles differ by less are drawn as they are: stretching shows only noise."""
_INFRARED_FILE = re.compile(r"(?<![a-z])(cir|false[_ -]?colou?r)(?![a-z])", re.IGNORECASE)


def build_renderings(
    raster_type: RasterType, cog: BandSet, *, file_name: str = "", is_inverted: bool = False
) -> dict[str, Rendering]:
    """The renderings by name. Links show `default`."""
    looks = {"default": render_default(raster_type, cog, file_name, is_inverted=is_inverted)}
    if raster_type is RasterType.DEM:
        looks["hillshade"] = Rendering(title="Hillshade", bidx=(1,), algorithm="hillshade")
    if raster_type is RasterType.NIR and len(cog.bands) >= 4:
        looks["infrared"] = render_infrared(cog)
    if has_faint_alpha(cog):
        return {name: look.model_copy(update={"nodata": 0.0}) for name, look in looks.items()}
    return looks


def has_faint_alpha(cog: BandSet) -> bool:
    """Whether 16 bit alpha holds 8 bit values: TiTiler takes 255 of 65,535 for transparent."""
    return any(
        band.color == "alpha"
        and band.data_type == "uint16"
        and band.statistics is not None
        and band.statistics.maximum <= 255
        for band in cog.bands
    )


def render_infrared(cog: BandSet) -> Rendering:
    """Near infrared, red and green as red, green and blue, which shows plants in red."""
    named = find_bands(cog.bands, "nir", "red", "green")
    red, green, _ = find_natural_color(cog.bands) or (1, 2, 3)
    return render_stretched(cog, named or (4, red, green), INFRARED)


def render_default(
    raster_type: RasterType, cog: BandSet, file_name: str = "", *, is_inverted: bool = False
) -> Rendering:
    """The default rendering."""
    if cog.palette is not None:
        return Rendering(title="Classes", bidx=(1,), palette=keep_used_colors(cog, cog.palette))
    if raster_type is RasterType.CATEGORICAL:
        return render_classes(cog)
    if raster_type is RasterType.DEM:
        return render_ramp(cog, "terrain")
    if raster_type in COMPOSITES or find_natural_color(cog.bands) is not None:
        return render_composite(raster_type, cog, file_name)
    if cog.bands[0].data_type in ("uint8", "uint16") and not cog.bands[0].unit:
        return render_grey(cog, is_inverted=is_inverted)
    return render_ramp(cog, "viridis")


def render_grey(cog: BandSet, *, is_inverted: bool = False) -> Rendering:
    """One band from black to white, or from white to black as in scans that store 0 for white."""
    band = cog.bands[0]
    flat = band.data_type == "uint8" and is_flat(band)
    ranges = () if flat else (choose_range(band),)
    ramp_name = "gray_r" if is_inverted else None
    return Rendering(title="Grey", bidx=(1,), rescale=ranges, colormap_name=ramp_name)


def is_flat(band: BandScan) -> bool:
    """Whether the values are constant or nearly so."""
    found = band.statistics
    return found is not None and found.p98 - found.p2 < FLAT_RANGE


def render_composite(raster_type: RasterType, cog: BandSet, file_name: str = "") -> Rendering:
    """Three bands as red, green and blue. Bytes of a picture are not stretched."""
    if len(cog.bands) < 3:
        return render_grey(cog)
    bidx, title = choose_bands(raster_type, cog, file_name)
    shown = [cog.bands[index - 1] for index in bidx]
    plain = raster_type in PICTURES and all(band.data_type == "uint8" for band in shown)
    if plain and (is_bright(shown) or all(is_flat(band) for band in shown)):
        return Rendering(title=title, bidx=bidx)
    return render_stretched(cog, bidx, title)


def choose_bands(
    raster_type: RasterType, cog: BandSet, file_name: str
) -> tuple[tuple[int, ...], str]:
    """The bands to show, and the title. Bands that nothing names are titled by their numbers."""
    if bidx := find_natural_color(cog.bands):
        called_infrared = _INFRARED_FILE.search(file_name) and bidx == (1, 2, 3)
        return bidx, INFRARED if called_infrared else NATURAL
    if bidx := find_bands(cog.bands, "nir", "red", "green"):
        return bidx, INFRARED
    bidx = guess_order(raster_type, len(cog.bands))
    return bidx, f"Bands {', '.join(map(str, bidx))}"


def render_stretched(cog: BandSet, bidx: tuple[int, ...], title: str) -> Rendering:
    """Three bands, each stretched to its own range."""
    ranges = tuple(choose_range(cog.bands[index - 1]) for index in bidx)
    return Rendering(title=title, bidx=bidx, rescale=ranges)


def is_bright(bands: Sequence[BandScan]) -> bool:
    """Whether bytes use more than five of their bits; with fewer, the picture would be black."""
    return any(band.statistics is None or band.statistics.p98 >= 32 for band in bands)


def find_natural_color(bands: Sequence[BandScan]) -> tuple[int, ...] | None:
    """The red, green and blue bands, if names, wavelengths or colour tags tell which they are."""
    return find_bands(bands, "red", "green", "blue")


def find_bands(bands: Sequence[BandScan], *wanted: str) -> tuple[int, ...] | None:
    """The numbers of the bands with these common names. None unless all are there."""
    named = find_names(bands)
    found = [_position(named, name) for name in wanted]
    return None if None in found else tuple(bands[at].index for at in found if at is not None)


def _position(named: Sequence[str | None], name: str) -> int | None:
    """The position of a common name. The narrow near infrared serves where there is no other."""
    choices = ("nir", "nir08") if name == "nir" else (name,)
    return next((named.index(choice) for choice in choices if choice in named), None)


def find_names(bands: Sequence[BandScan]) -> tuple[str | None, ...]:
    """The common names from the source, or else from what the COG says."""
    if any(band.common_name for band in bands):
        return tuple(band.common_name for band in bands)
    return find_common_names([BandLabel(band.description, band.color) for band in bands])


def guess_order(raster_type: RasterType, count: int) -> tuple[int, ...]:
    """Sensors' bands are stored from blue to red; Sentinel-2 has a coastal band before blue."""
    if raster_type is not RasterType.MULTISPECTRAL:
        return (1, 2, 3)
    return (4, 3, 2) if count >= 12 else (3, 2, 1)


def render_ramp(cog: BandSet, name: str) -> Rendering:
    """One band through a continuous colour map."""
    return Rendering(
        title="Values", bidx=(1,), rescale=(choose_range(cog.bands[0]),), colormap_name=name
    )


def keep_used_colors(cog: BandSet, palette: dict[int, Color]) -> dict[int, Color]:
    """The colours of values that occur, and all but black, which fills unused entries."""
    seen = set(cog.classes or ())
    return {value: c for value, c in palette.items() if value in seen or any(c[:3])}


def render_classes(cog: BandSet) -> Rendering:
    """A distinct colour for each class."""
    if cog.classes is None or len(cog.classes) > LISTED_CLASSES:
        return render_ramp(cog, "viridis")
    colors = choose_class_colors(len(cog.classes))
    colormap = dict(zip(cog.classes, colors, strict=True))
    return Rendering(title="Classes", bidx=(1,), colormap=colormap)


def choose_class_colors(count: int) -> list[Color]:
    """Distinct colours, with hues a golden angle apart so that neighbours differ clearly."""
    if count <= LONG_COLORS:
        return [choose_class_color(position) for position in range(count)]
    colors: dict[Color, None] = {}
    position = 0
    while len(colors) < count:
        red, green, blue, alpha = choose_class_color(position)
        colors[round(red / 17) * 17, round(green / 17) * 17, round(blue / 17) * 17, alpha] = None
        position += 1
    return list(colors)


def choose_class_color(position: int) -> Color:
    """The colour at a position of the sequence."""
    hue = position * 0.618_033_988_75 % 1.0
    lightness = (0.45, 0.6, 0.35)[position % 3]
    saturation = (0.65, 0.9, 0.4)[position // LONG_COLORS % 3]
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, saturation)
    return round(red * 255), round(green * 255), round(blue * 255), 255


def choose_range(band: BandScan) -> tuple[float, float]:
    """From the 2nd to the 98th percentile, or a wider range if these are equal."""
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


def describe_rendering(look: Rendering) -> Json:
    """One entry of the render extension. `asset_bidx` is how TiTiler reads `bidx` there."""
    entry: Json = {"title": look.title, "assets": [MAIN_ASSET]}
    if look.bidx:
        entry["bidx"] = list(look.bidx)
        entry["asset_bidx"] = [f"{MAIN_ASSET}|{','.join(map(str, look.bidx))}"]
    if look.rescale:
        entry["rescale"] = [list(pair) for pair in look.rescale]
    if look.colormap_name is not None:
        entry["colormap_name"] = look.colormap_name
    colors = look.colormap or look.palette
    if colors is not None:
        entry["colormap"] = {str(value): list(color) for value, color in colors.items()}
    if look.nodata is not None:
        entry["nodata"] = look.nodata
    if look.algorithm is not None:
        entry["algorithm"] = look.algorithm
    return entry
