"""Whether a band tagged as alpha is transparency or near infrared, and which value is opaque."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.raster.samples import Sample

# Of reflectance, at most this share of the pixels holds the lowest or highest value.
_MOST_EXTREME = 0.05
_FEWEST_VALUES = 24
# Neighbours differ in near infrared as much as in the colours; graded alpha is smoother.
_LEAST_DETAIL = 0.3
_LEAST_NOISE = 0.008
_LEAST_CORRELATION = 0.3


def find_opaque(samples: Sequence[Sample]) -> int | None:
    """The value of opaque pixels in the last band: some write 0 and 1, or 8 bits into 16."""
    values = np.concatenate([sample.values[-1].ravel() for sample in samples])
    values = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    most = float(values.max(initial=0))
    if values.dtype.kind == "f":
        return next((top for top in (1, 255, 65_535) if most <= top), None)
    if most <= 1:
        return 1 if most == 1 else None
    if most <= 255:
        return 255 if values.dtype.itemsize > 1 else None
    return 32_767 if values.dtype == np.int16 else None


def spans_all_opacities(samples: Sequence[Sample]) -> bool:
    """Whether the last band has fully transparent pixels over colours, and fully opaque ones."""
    pixels = np.concatenate([_seen(sample) for sample in samples], axis=1)
    if pixels.shape[1] == 0:
        return False
    values = pixels[-1]
    return bool(values.min() == 0 and values.max() >= (find_opaque(samples) or _top(values)))


def looks_like_reflectance(samples: Sequence[Sample]) -> bool:
    """Whether the last band has the detail of the bands before it, and few extreme values.

    Alpha is clear or opaque in most pixels, or changes smoothly, or is unrelated to the colours.
    Pixels where all bands are 0 do not count: that is how imagery without alpha marks its collar.
    """
    pixels = np.concatenate([_seen(sample) for sample in samples], axis=1)
    if pixels.shape[1] == 0:
        return False
    values = pixels[-1]
    top = find_opaque(samples) or _top(values)
    extreme = float(np.mean((values <= 0) | (values >= top)))
    if extreme > _MOST_EXTREME or len(np.unique(values)) < _FEWEST_VALUES:
        return False
    colors, band = _detail(samples)
    spread = float(np.ptp(np.percentile(values.astype("float64"), (2, 98)))) or 1.0
    noise = float(np.mean(np.abs(band))) / spread
    if not np.any(colors) or not np.any(band):
        return False
    correlation = abs(float(np.corrcoef(colors, band)[0, 1]))
    detailed = np.mean(np.abs(band)) >= _LEAST_DETAIL * np.mean(np.abs(colors))
    return bool(noise >= _LEAST_NOISE and (correlation >= _LEAST_CORRELATION or detailed))


def _top(values: NDArray[np.generic]) -> float:
    return float(np.iinfo(str(values.dtype)).max) if values.dtype.kind in "ui" else 65_535.0


def _seen(sample: Sample) -> NDArray[np.generic]:
    return sample.values[:, (sample.values != 0).any(axis=0)]


def _detail(samples: Sequence[Sample]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Second differences along the rows: of the mean of the colours, and of the last band."""
    colors, band = [], []
    for sample in samples:
        values = sample.values.astype("float64")
        seen = (values != 0).any(axis=0)
        kept = seen[:, 2:] & seen[:, 1:-1] & seen[:, :-2]
        second = np.diff(values, n=2, axis=2)
        colors.append(second[:-1].mean(axis=0)[kept])
        band.append(second[-1][kept])
    return np.concatenate(colors), np.concatenate(band)
