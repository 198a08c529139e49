"""The type of a raster: from its header, the names in it, and samples of its pixels."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from services.raster import names
from services.raster.alpha import find_opaque, looks_like_reflectance, spans_all_opacities
from services.raster.model import RasterType
from services.raster.samples import Sample
from services.raster.texture import Texture, measure

Confidence = Literal["VERY_HIGH", "HIGH", "MEDIUM", "LOW"]
Verdict = tuple[RasterType, Confidence, tuple[str, ...]]

MOST_CLASSES = 256
ELEVATIONS = (-12_000.0, 9_000.0)
# Classes lie in patches: at least this share of neighbours is equal.
_PATCHY = 0.35
_LARGE_PATCHES = 0.8
# Up to this many values are classes even if neighbouring patches differ by one step only, as in a
# coarse surface.
_FEW = 16
_JUMPY = 0.25
_SMOOTH = 0.1
# From patch to patch, shares and coarse elevations change by less than this part of all values.
_GRADED = 0.08
_MODIS_FILL = -28_672.0
_LENGTH = re.compile(r"(us survey )?(m|met(re|er)s?|ft|foot|feet)", re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """What the header says about the bands."""

    colors: tuple[str, ...]
    """GDAL's colour interpretations."""
    dtype: str
    has_palette: bool
    alpha_band: int | None
    """The band that is taken for alpha unless it looks like reflectance."""
    alpha_tagged: bool = True
    """Whether the file calls it alpha."""
    alpha_certain: bool = False
    """Whether the format or the caller leaves no doubt about the alpha band."""
    is_spectral: bool = False
    """Whether names or wavelengths of the bands are those of a sensor."""
    is_series: bool = False
    """Whether the bands are one variable at several times or levels."""
    unit: str | None = None
    """Of the first band."""
    scale: float = 1.0
    """Of the first band."""
    nodata: float | None = None
    """Of the first band."""
    is_inverted: bool = False
    """Whether 0 is white, as in scans."""
    name: str = ""
    """The file's name, the variable's and the description of the first band."""

    @property
    def bands(self) -> int:
        return len(self.colors)


@dataclass(frozen=True)
class Detection:
    """The type, the confidence in it, and the evidence."""

    kind: RasterType
    confidence: Confidence
    evidence: tuple[str, ...]
    alpha_band: int | None = None
    """The band that is transparency."""
    opaque: int | None = None
    """The value of opaque pixels, if it is less than the maximum of the data type."""
    alternative: RasterType | None = None
    """The other type that the pixels could have in a close call."""


def detect(layout: Layout, samples: Sequence[Sample]) -> Detection:
    """Determine the type. `samples` start with the first band and end with the alpha band."""
    alpha, opaque, evidence = _find_alpha(layout, samples)
    colors = layout.bands - (1 if alpha else 0)
    if colors == 1 or layout.is_series:
        texture = None if layout.has_palette else measure(samples)
        kind, confidence, why = _judge_single(layout, texture)
        other = _alternative(layout, texture, kind)
    else:
        kind, confidence, why = _judge_several(layout, samples, colors, alpha)
        other = None
    return Detection(kind, confidence, (*why, *evidence), alpha, opaque, other)


def _alternative(layout: Layout, texture: Texture | None, kind: RasterType) -> RasterType | None:
    """The other type where a band of few values could be classes or a coarse surface."""
    known = layout.has_palette or layout.is_inverted or names.CLASSES.search(layout.name)
    if known or layout.bands > 1:
        return None
    if texture is None or texture.distinct <= 2 or texture.equal_neighbours < _PATCHY:
        return None
    few = texture.whole and texture.distinct <= MOST_CLASSES
    if kind is RasterType.CATEGORICAL:
        return RasterType.CONTINUOUS if texture.jumps < _JUMPY and texture.distinct > 8 else None
    return RasterType.CATEGORICAL if few else None


def _find_alpha(
    layout: Layout, samples: Sequence[Sample]
) -> tuple[int | None, int | None, tuple[str, ...]]:
    """The alpha band, unless it looks like reflectance: NAIP tags its near infrared as alpha."""
    band = layout.alpha_band
    if band is None:
        return None, None, ()
    if not layout.alpha_certain and layout.bands == 4 and looks_like_reflectance(samples):
        return None, None, (f"band {band} looks like near infrared, not like alpha",)
    if not (layout.alpha_certain or layout.alpha_tagged or spans_all_opacities(samples)):
        return None, None, ()
    opaque = find_opaque(samples)
    scale = f", opaque at {opaque}" if opaque else ""
    return band, opaque, (f"band {band} is transparency{scale}",)


def _judge_several(
    layout: Layout, samples: Sequence[Sample], colors: int, alpha: int | None
) -> Verdict:
    tagged = {"red", "green", "blue"} <= set(layout.colors)
    what = f"{colors} {layout.dtype} bands" + (" and alpha" if alpha else "")
    if not tagged and not alpha and _are_classes(layout, samples):
        return RasterType.CATEGORICAL, "MEDIUM", (f"{what} of few values in patches",)
    if colors == 3 and _is_picture(layout, samples, alpha):
        kind = RasterType.RGBA if alpha else RasterType.RGB
        if tagged and (layout.alpha_tagged or not alpha):
            return kind, "VERY_HIGH", (f"{what}, tagged red, green and blue",)
        return kind, "MEDIUM", (what,)
    if colors == 4 and layout.dtype in ("uint8", "uint16"):
        sure: Confidence = "HIGH" if tagged else "MEDIUM"
        return RasterType.NIR, sure, (f"{what}: red, green, blue and near infrared",)
    if colors >= 3:
        known: Confidence = "HIGH" if layout.is_spectral else "MEDIUM"
        return RasterType.MULTISPECTRAL, known, (what + _sensor(colors),)
    return RasterType.UNKNOWN, "LOW", (what,)


def _is_picture(layout: Layout, samples: Sequence[Sample], alpha: int | None) -> bool:
    """Whether the values can be colours. Other than 8 and 16 bit unsigned ones need alpha."""
    if layout.dtype in ("uint8", "uint16"):
        return True
    if alpha is None or np.dtype(layout.dtype).kind not in "fi":
        return False
    return find_picture_top(samples) is not None


def find_picture_top(samples: Sequence[Sample]) -> int | None:
    """The value of full intensity in colours and alpha: 1, 255, 65535, or None if neither fits."""
    values = [sample.values[np.isfinite(sample.values)] for sample in samples]
    low = min((float(part.min()) for part in values if part.size), default=0.0)
    high = max((float(part.max()) for part in values if part.size), default=0.0)
    if low < 0:
        return None
    tops = (1, 255, 65_535) if samples[0].values.dtype.kind == "f" else (255, 65_535)
    return next((top for top in tops if high <= top), None)


def _are_classes(layout: Layout, samples: Sequence[Sample]) -> bool:
    """Whether every sampled band looks like classes, and the names do not say otherwise."""
    if layout.is_spectral or names.SPECTRAL.search(layout.name):
        return False
    textures = [measure(samples, band) for band in range(len(samples[0].values))]
    known = [texture for texture in textures if texture is not None]
    if not known or not all(_is_classes(layout, texture) for texture in known):
        return False
    several = max(texture.distinct for texture in known) > 2
    small = all(texture.maximum <= 255 for texture in known)
    return bool(names.CLASSES.search(layout.name)) or (several and small)


def _sensor(bands: int) -> str:
    if 7 <= bands <= 11:
        return ", as many as Landsat has"
    return ", as many as Sentinel-2 has" if bands in (12, 13) else ""


def _judge_single(layout: Layout, texture: Texture | None) -> Verdict:
    if layout.has_palette:
        return RasterType.CATEGORICAL, "VERY_HIGH", ("1 band with a colour table",)
    if np.dtype(layout.dtype).kind == "c":
        return RasterType.UNKNOWN, "LOW", (f"1 {layout.dtype} band",)
    if texture is None:
        return RasterType.CONTINUOUS, "LOW", ("no valid pixel in the samples",)
    if texture.distinct == 1 and not names.CLASSES.search(layout.name):
        return RasterType.CONTINUOUS, "LOW", (f"every sampled pixel is {texture.low:g}",)
    if _is_grey_picture(layout, texture):
        return RasterType.CONTINUOUS, "MEDIUM", (f"1 {layout.dtype} band of grey levels",)
    if _is_named_class(layout, texture) or _is_classes(layout, texture):
        return RasterType.CATEGORICAL, _rate_classes(layout, texture), _describe_classes(texture)
    return _judge_surface(layout, texture)


def _is_grey_picture(layout: Layout, texture: Texture) -> bool:
    """A scan with 0 as white, or 8 bits reduced to evenly spaced grey levels from dark to light."""
    if names.CLASSES.search(layout.name) or texture.distinct <= 2:
        return False
    if layout.is_inverted or names.PICTURE.search(layout.name):
        return layout.dtype in ("uint8", "uint16")
    levels = texture.spacing >= 8 and texture.distinct >= 6 and texture.maximum >= 192
    return layout.dtype == "uint8" and levels and texture.jumps < 0.05


def _is_named_class(layout: Layout, texture: Texture) -> bool:
    """Whether a name announces classes, flags or ids and the values are whole numbers."""
    if not texture.whole or not names.CLASSES.search(layout.name):
        return False
    other = names.ELEVATION.search(layout.name) or names.OTHER_SURFACE.search(layout.name)
    return texture.equal_neighbours >= _PATCHY and (not other or texture.jumps >= _JUMPY)


def _is_classes(layout: Layout, texture: Texture) -> bool:
    if texture.distinct <= 2:
        return texture.whole or texture.equal_neighbours >= _PATCHY
    named = names.ELEVATION.search(layout.name) or names.OTHER_SURFACE.search(layout.name)
    if texture.equal_neighbours < _PATCHY or (named and not names.CLASSES.search(layout.name)):
        return False
    large = texture.equal_neighbours >= _LARGE_PATCHES
    if not texture.whole:
        return large and texture.distinct <= _FEW
    if texture.distinct <= _FEW:
        return True
    if texture.leap < _GRADED:
        return False
    if texture.distinct > MOST_CLASSES:
        return large and texture.jumps >= 0.5
    return texture.jumps >= _JUMPY


def _rate_classes(layout: Layout, texture: Texture) -> Confidence:
    named = names.CLASSES.search(layout.name) and texture.distinct <= _FEW
    if texture.equal_neighbours >= 0.5 and (named or texture.jumps >= _JUMPY):
        return "HIGH" if texture.distinct <= 64 else "MEDIUM"
    return "MEDIUM"


def _describe_classes(texture: Texture) -> tuple[str, ...]:
    numbers = "whole values" if texture.whole else "values"
    return (
        f"1 band with {texture.distinct} {numbers}, "
        f"{texture.equal_neighbours:.0%} of neighbours are equal",
    )


def _judge_surface(layout: Layout, texture: Texture) -> Verdict:
    """Elevations are signed or float, smooth, and between sea floor and summit."""
    why = (
        f"1 {layout.dtype} band, {texture.low:g} to {texture.high:g}, neighbours differ by "
        f"{texture.step:.1%} of the range",
    )
    if layout.unit and not _LENGTH.fullmatch(layout.unit.strip()):
        return RasterType.CONTINUOUS, "HIGH", (f"1 {layout.dtype} band in {layout.unit}",)
    plausible = ELEVATIONS[0] <= texture.low and texture.high <= ELEVATIONS[1]
    if names.OTHER_SURFACE.search(layout.name):
        return RasterType.CONTINUOUS, "MEDIUM", why
    if names.ELEVATION.search(layout.name) and plausible and texture.step < _SMOOTH:
        return RasterType.DEM, "HIGH", (*why, "named as elevations")
    tall = texture.high - texture.low >= 2
    signed = np.dtype(layout.dtype).kind in "if" and layout.dtype != "int8"
    if not (signed and plausible and tall) or _is_measured_otherwise(layout, texture):
        return RasterType.CONTINUOUS, "MEDIUM", why
    return RasterType.DEM, "MEDIUM", why


def _is_measured_otherwise(layout: Layout, texture: Texture) -> bool:
    """Whether the range is that of percentages, angles, grey levels or scaled reflectance."""
    if layout.nodata == _MODIS_FILL or (layout.scale != 1.0 and not layout.unit):
        return True
    low, high = texture.minimum, texture.maximum
    percent = low == 0 and 99.5 <= high <= 100
    compass = -1 <= low < 5 and 355 < high <= 360 and texture.wraps > 0.0005
    grey = 0 <= low < 16 and 240 <= high <= 255 and texture.whole
    shade = low >= 0 and 200 <= high <= 255 and texture.step >= 0.03
    return percent or compass or grey or shade
