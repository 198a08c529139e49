"""Telling types from pixels, and what each type asks for."""

import math

import numpy as np
import pytest

from services.raster import bit_depth, nodata, profiles
from services.raster.model import RasterType, Tier
from services.raster.raster_type import Detection, Layout, detect
from services.raster.samples import Sample
from tests.fixtures.made_rasters import classes, hills, photo

RGB = ("red", "green", "blue")


def told(pixels, colors=("gray",), *, palette=False, alpha=None, valid=None, **known) -> Detection:
    layout = Layout(tuple(colors), str(pixels.dtype), palette, alpha, **known)
    valid = np.ones(pixels.shape, dtype=bool) if valid is None else valid
    return detect(layout, [Sample(pixels, valid)])


@pytest.mark.parametrize(
    ("pixels", "colors", "kind", "confidence"),
    [
        (photo(), RGB, "rgb", "VERY_HIGH"),
        (photo().astype("uint16"), ("gray", "undefined", "undefined"), "rgb", "HIGH"),
        (photo(bands=4), (*RGB, "undefined"), "nir", "HIGH"),
        (photo(bands=4).astype("uint16"), ("gray",) * 4, "nir", "MEDIUM"),
        (hills(bands=3), ("gray",) * 3, "multispectral", "HIGH"),
        (hills(bands=7, dtype="uint16"), ("gray",) * 7, "multispectral", "HIGH"),
        (hills(bands=2), ("gray",) * 2, "unknown", "LOW"),
        (hills(), ("gray",), "dem", "HIGH"),
        (hills(dtype="int16"), ("gray",), "dem", "HIGH"),
        (hills(dtype="uint16"), ("gray",), "continuous", "MEDIUM"),
        (hills(top=0.9), ("gray",), "continuous", "MEDIUM"),
        (hills(top=90_000), ("gray",), "continuous", "MEDIUM"),
        (classes(), ("gray",), "categorical", "HIGH"),
        (classes().astype("float32"), ("gray",), "categorical", "HIGH"),
        (photo(bands=1), ("gray",), "continuous", "MEDIUM"),
        (np.zeros((1, 50, 50), "float32"), ("gray",), "continuous", "LOW"),
    ],
)
def test_type_follows_the_pixels(pixels, colors, kind, confidence):
    found = told(pixels, colors)
    assert (found.kind, found.confidence) == (kind, confidence)
    assert found.evidence


def shares_of_forest():
    """Patches of 0 and 100 with slopes between."""
    return np.clip(hills(top=300) - 100, 0, 100).astype("uint8")


def test_numbers_that_change_little_from_patch_to_patch_are_no_classes():
    assert told(shares_of_forest()).kind == "continuous"
    assert told((hills() // 30 * 30).astype("int16")).kind == "dem"


@pytest.mark.parametrize(
    ("unit", "kind"),
    [
        (None, "dem"),
        ("m", "dem"),
        ("US survey foot", "dem"),
        ("K", "continuous"),
        ("%", "continuous"),
    ],
)
def test_a_unit_that_is_no_length_is_no_elevation(unit, kind):
    assert told(hills(), unit=unit).kind == kind


def test_times_of_one_variable_are_no_spectrum():
    series = hills(bands=7)
    assert told(series[:1], ("gray",) * 7, is_series=True, unit="K").kind == "continuous"
    assert told(series, ("gray",) * 7).kind == "multispectral"


def test_a_colour_table_goes_before_everything():
    assert told(photo(bands=1), ("palette",), palette=True).kind == "categorical"


def test_alpha_must_look_like_transparency():
    soft = photo(bands=4)
    assert told(soft, (*RGB, "alpha"), alpha=4).kind == "nir"
    assert told(soft, (*RGB, "alpha"), alpha=4).alpha_band is None
    soft[3] = np.where(soft[3] > 90, 255, 0)
    found = told(soft, (*RGB, "alpha"), alpha=4)
    assert (found.kind, found.alpha_band) == ("rgba", 4)
    grey = told(soft[[0, 3]], ("gray", "alpha"), alpha=2)
    assert (grey.kind, grey.alpha_band) == ("continuous", 2)


@pytest.mark.parametrize(
    ("dtype", "most", "opaque"),
    [("uint8", 255, None), ("uint8", 1, 1), ("uint16", 65_535, None), ("uint16", 255, 255)],
)
def test_alpha_may_use_less_than_its_type_holds(dtype: str, most: int, opaque: int | None):
    pixels = photo(bands=4).astype(dtype)
    pixels[3] = np.where(pixels[3] > 90, most, 0)
    found = told(pixels, (*RGB, "alpha"), alpha=4)
    assert (found.kind, found.alpha_band, found.opaque) == ("rgba", 4, opaque)


def test_empty_pixels_tell_nothing():
    pixels = hills()
    pixels[:, :150] = -9999
    valid = pixels > -9000
    assert told(pixels, valid=valid).kind == "dem"
    assert told(pixels, valid=np.zeros_like(valid)).confidence == "LOW"


@pytest.mark.parametrize("kind", RasterType)
@pytest.mark.parametrize("tier", Tier)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64", "complex64"])
def test_every_type_has_settings_in_every_tier_that_takes_it(kind, tier, dtype):
    reason = profiles.why_not(tier, kind, dtype)
    picture = kind in ("rgb", "rgba") and dtype == "uint8"
    assert (reason is None) == (tier != "visualization" or picture)
    if reason:
        return
    settings = profiles.settings(tier, kind, dtype, 4)
    lossy = tier == "visualization"
    expected = "WEBP" if kind == "rgba" else "JPEG"
    assert settings.compression == (expected if lossy else profiles._LOSSLESS[tier])
    if settings.predictor == 3:
        assert dtype.startswith("float")
    if kind == "categorical":
        assert settings.overview_resampling == "mode"
        assert settings.reproject_resampling == "nearest"
        assert settings.predictor is None


def test_many_bands_are_stored_one_after_the_other():
    interleaves = [
        profiles.settings(Tier.ANALYSIS, RasterType.MULTISPECTRAL, "uint16", bands).interleave
        for bands in (3, 4, 5, 12)
    ]
    assert interleaves == ["pixel", "pixel", "band", "band"]


@pytest.mark.parametrize(
    ("values", "dtype", "advice"),
    [
        ([0, 255], "uint8", None),
        ([0, 255], "uint16", "uint8"),
        ([-5, 300], "int32", "int16"),
        ([1.0, 2.0], "float32", "uint8"),
        ([1.5, 2.0], "float32", None),
        ([1.5, 2.0], "float64", "float32"),
        ([0, 2**40], "int64", None),
    ],
)
def test_bit_depth_advice(values, dtype, advice):
    pixels = np.array(values, dtype=dtype).reshape(1, 1, -1)
    depth = bit_depth.check(dtype, [Sample(pixels, np.ones(pixels.shape, dtype=bool))])
    assert depth.efficient == (advice is None)
    if advice:
        assert f"fit {advice}:" in depth.advice


@pytest.mark.parametrize(
    ("value", "dtype", "fits"),
    [
        (-9999, "uint8", False),
        (255, "uint8", True),
        (0.5, "int16", False),
        (math.nan, "int16", False),
        (math.nan, "float32", True),
        (-3.4e38, "float32", True),
    ],
)
def test_nodata_has_to_fit(value, dtype, fits):
    assert nodata.fits(value, dtype) == fits


def test_nodata_common_to_all_bands():
    assert nodata.common([None, -1, -2], "int16") == -1
    assert nodata.common([-9999], "uint8") is None
    assert math.isnan(nodata.common([], "float32"))
    assert nodata.as_json(math.nan) == "nan"
    assert math.isnan(nodata.from_json("nan"))
