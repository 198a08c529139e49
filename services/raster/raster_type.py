"""What the pixels mean, told from bands, colours and samples of the whole image."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from services.raster.model import RasterType
from services.raster.samples import Sample

Confidence = Literal["VERY_HIGH", "HIGH", "MEDIUM", "LOW"]

ALPHA_EXTREMES = 0.9
CLASS_LIMIT = 256
CLASS_SPAN = 2_000
ELEVATIONS = (-12_000.0, 9_000.0)
_SMOOTH = 0.1
_PATCHY = 0.35
_GRADED = 0.08
_LENGTH = re.compile(r"(us survey )?(m|met(re|er)s?|ft|foot|feet)", re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """What the header says of the bands."""

    colors: tuple[str, ...]
    dtype: str
    has_palette: bool
    alpha_band: int | None
    """The band tagged alpha."""
    is_series: bool = False
    """Whether the bands are one variable at several times or levels."""
    unit: str | None = None
    """Of the first band."""

    @property
    def bands(self) -> int:
        return len(self.colors)


@dataclass(frozen=True)
class Detection:
    """The type, how sure we are, and why."""

    kind: RasterType
    confidence: Confidence
    evidence: tuple[str, ...]
    alpha_band: int | None = None
    """The band that really is transparency."""
    opaque: int | None = None
    """What its opaque pixels hold, where the type could hold more."""


@dataclass(frozen=True)
class Texture:
    """How the values of one band lie beside each other."""

    distinct: int
    integers: bool
    low: float
    """The 2nd percentile."""
    high: float
    """The 98th percentile."""
    span: float
    """Greatest less least value."""
    equal_neighbours: float
    """Share of neighbours with the same value."""
    step: float
    """Mean difference of neighbours, over the range from p2 to p98."""
    unit_steps: float
    """Share of differing neighbours that differ by one."""
    leap: float = 1.0
    """Median difference of differing neighbours, over the span."""


def detect(layout: Layout, samples: Sequence[Sample]) -> Detection:
    """The type of the raster. `samples` hold the first band and, if tagged so, alpha last."""
    alpha, opaque, evidence = _real_alpha(layout, samples)
    colors = layout.bands - (1 if alpha else 0)
    if colors == 1 or layout.is_series:
        kind, confidence, why = _single_band(layout, samples)
    else:
        kind, confidence, why = _several_bands(layout, colors, alpha)
    return Detection(kind, confidence, (*why, *evidence), alpha, opaque)


def _real_alpha(
    layout: Layout, samples: Sequence[Sample]
) -> tuple[int | None, int | None, tuple[str, ...]]:
    """NAIP's near infrared is tagged alpha: transparency keeps to the ends of its range."""
    if layout.alpha_band is None:
        return None, None, ()
    values = np.concatenate([sample.values[-1].ravel() for sample in samples])
    opaque = _opaque(values)
    top = opaque or (float(np.iinfo(values.dtype).max) if values.dtype.kind in "ui" else 1.0)
    extreme = float(np.mean((values <= 0.02 * top) | (values >= 0.98 * top)))
    few = len(np.unique(values)) <= 4
    if few or extreme >= ALPHA_EXTREMES:
        scale = f", opaque at {opaque}" if opaque else ""
        return layout.alpha_band, opaque, (f"band {layout.alpha_band} is transparency{scale}",)
    told = (
        f"band {layout.alpha_band} is tagged alpha, but only {extreme:.0%} of it is clear or opaque"
    )
    return None, None, (f"{told}: taken for near infrared",)


def _opaque(values: NDArray[np.generic]) -> int | None:
    """Some write 0 and 1, or 8 bits into 16: opaque is less than GDAL takes for opaque."""
    if values.dtype.kind not in "ui":
        return None
    most = int(values.max(initial=0))
    if most == 1:
        return 1
    return 255 if 1 < most <= 255 and values.dtype.itemsize > 1 else None


def _several_bands(
    layout: Layout, colors: int, alpha: int | None
) -> tuple[RasterType, Confidence, tuple[str, ...]]:
    small = layout.dtype in ("uint8", "uint16")
    tagged = {"red", "green", "blue"} <= set(layout.colors)
    what = f"{colors} {layout.dtype} bands" + (" and alpha" if alpha else "")
    if colors == 3 and small:
        kind = RasterType.RGBA if alpha else RasterType.RGB
        if tagged:
            return kind, "VERY_HIGH", (f"{what}, tagged red, green and blue",)
        return kind, "HIGH", (what,)
    if colors == 4 and small:
        sure: Confidence = "HIGH" if tagged else "MEDIUM"
        return RasterType.NIR, sure, (f"{what}: red, green, blue and near infrared",)
    if colors >= 3:
        return RasterType.MULTISPECTRAL, "HIGH", (what + _sensor(colors),)
    return RasterType.UNKNOWN, "LOW", (what,)


def _sensor(bands: int) -> str:
    if 7 <= bands <= 11:
        return ", as many as Landsat has"
    return ", as many as Sentinel-2 has" if bands in (12, 13) else ""


def _single_band(
    layout: Layout, samples: Sequence[Sample]
) -> tuple[RasterType, Confidence, tuple[str, ...]]:
    if layout.has_palette:
        return RasterType.CATEGORICAL, "VERY_HIGH", ("1 band with a colour table",)
    if np.dtype(layout.dtype).kind == "c":
        return RasterType.UNKNOWN, "LOW", (f"1 {layout.dtype} band",)
    texture = measure(samples)
    if texture is None:
        return RasterType.CONTINUOUS, "LOW", ("no valid pixel in the samples",)
    if texture.distinct == 1 and np.dtype(layout.dtype).kind == "f":
        return RasterType.CONTINUOUS, "LOW", (f"every sampled pixel is {texture.low:g}",)
    if _is_classes(texture):
        return RasterType.CATEGORICAL, _class_confidence(texture), _class_evidence(texture)
    return _surface(layout, texture)


def _is_classes(texture: Texture) -> bool:
    if not texture.integers or texture.distinct >= CLASS_LIMIT or texture.span > CLASS_SPAN:
        return False
    if texture.distinct <= 2:
        return True
    patchy = texture.equal_neighbours >= _PATCHY
    stepwise = texture.unit_steps >= 0.8 and texture.distinct > 6
    # Shares of forest and coarse elevations lie in patches too, but from patch to patch they
    # change little; the numbers of classes jump.
    graded = texture.leap < _GRADED and texture.distinct > 8
    return patchy and not stepwise and not graded


def _class_confidence(texture: Texture) -> Confidence:
    return "HIGH" if texture.distinct <= 64 and texture.equal_neighbours >= 0.5 else "MEDIUM"


def _class_evidence(texture: Texture) -> tuple[str, ...]:
    return (
        f"1 band with {texture.distinct} whole values in patches: "
        f"{texture.equal_neighbours:.0%} of neighbours are equal",
    )


def _surface(layout: Layout, texture: Texture) -> tuple[RasterType, Confidence, tuple[str, ...]]:
    """Elevations are signed or float, smooth, and lie between sea floor and summit."""
    dtype = layout.dtype
    if layout.unit and not _LENGTH.fullmatch(layout.unit.strip()):
        return RasterType.CONTINUOUS, "HIGH", (f"1 {dtype} band in {layout.unit}",)
    smooth = texture.step < _SMOOTH
    plausible = ELEVATIONS[0] <= texture.low and texture.high <= ELEVATIONS[1]
    tall = texture.high - texture.low >= 2
    why = (
        f"1 {dtype} band, {texture.low:g} to {texture.high:g}, neighbours differ by "
        f"{texture.step:.1%} of the range",
    )
    if dtype.startswith("uint") or dtype == "int8" or not plausible or not tall:
        return RasterType.CONTINUOUS, "MEDIUM", why
    return RasterType.DEM, "HIGH" if smooth else "MEDIUM", why


def measure(samples: Sequence[Sample]) -> Texture | None:
    """The texture of the first band. None when no sampled pixel is valid."""
    values = np.concatenate([s.values[0][s.valid[0]].ravel() for s in samples])
    if values.size == 0:
        return None
    wide = values.astype("float64")
    low, high = (float(v) for v in np.percentile(wide, (2, 98)))
    steps = np.concatenate([_neighbour_steps(sample) for sample in samples])
    differing = steps[steps > 0]
    spread = high - low
    return Texture(
        distinct=len(np.unique(values)),
        integers=bool(np.all(wide == np.round(wide))),
        low=low,
        high=high,
        span=float(np.ptp(wide)),
        equal_neighbours=float(np.mean(steps == 0)) if steps.size else 1.0,
        step=float(np.mean(steps)) / spread if steps.size and spread > 0 else 0.0,
        unit_steps=float(np.mean(differing == 1)) if differing.size else 0.0,
        leap=float(np.median(differing) / np.ptp(wide)) if differing.size else 1.0,
    )


def _neighbour_steps(sample: Sample) -> NDArray[np.float64]:
    values, valid = sample.values[0].astype("float64"), sample.valid[0]
    across = np.abs(np.diff(values, axis=1))[valid[:, 1:] & valid[:, :-1]]
    down = np.abs(np.diff(values, axis=0))[valid[1:] & valid[:-1]]
    return np.concatenate([across, down])
