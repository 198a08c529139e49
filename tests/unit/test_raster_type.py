"""Detection of raster types, and the settings of each type."""

import math

import numpy as np
import pytest

from services.raster import bit_depth, nodata, profiles
from services.raster.model import RasterType, Tier
from services.raster.raster_type import Layout, detect
from services.raster.samples import Sample
from tests.fixtures.made_rasters import classes, hills, photo

RGB = ("red", "green", "blue")


def detected(pixels, colors=("gray",), *, palette=False, alpha=None, valid=None, **known):
    layout = Layout(tuple(colors), str(pixels.dtype), palette, alpha, **known)
    valid = np.ones(pixels.shape, dtype=bool) if valid is None else valid
    return detect(layout, [Sample(pixels, valid)])


@pytest.mark.parametrize(
    ("pixels", "colors", "kind", "confidence"),
    [
        (photo(), RGB, "rgb", "VERY_HIGH"),
        (photo().astype("uint16"), ("gray", "undefined", "undefined"), "rgb", "MEDIUM"),
        (photo(bands=4), (*RGB, "undefined"), "nir", "HIGH"),
        (photo(bands=4).astype("uint16"), ("gray",) * 4, "nir", "MEDIUM"),
        (hills(bands=3), ("gray",) * 3, "multispectral", "MEDIUM"),
        (hills(bands=7, dtype="uint16"), ("gray",) * 7, "multispectral", "MEDIUM"),
        (hills(bands=2), ("gray",) * 2, "unknown", "LOW"),
        (hills(), ("gray",), "dem", "MEDIUM"),
        (hills(dtype="int16"), ("gray",), "dem", "MEDIUM"),
        (hills(dtype="uint16"), ("gray",), "continuous", "MEDIUM"),
        (hills(top=0.9), ("gray",), "continuous", "MEDIUM"),
        (hills(top=90_000), ("gray",), "continuous", "MEDIUM"),
        (classes(), ("gray",), "categorical", "HIGH"),
        (classes().astype("float32"), ("gray",), "categorical", "HIGH"),
        (photo(bands=1), ("gray",), "continuous", "MEDIUM"),
        (np.zeros((1, 50, 50), "float32"), ("gray",), "continuous", "LOW"),
    ],
)
def test_the_type_is_detected_from_the_pixels(pixels, colors, kind, confidence):
    found = detected(pixels, colors)
    assert (found.kind, found.confidence) == (kind, confidence)
    assert found.evidence


def shares_of_forest():
    """Patches of 0 and 100 with slopes between."""
    return np.clip(hills(top=300) - 100, 0, 100).astype("uint8")


def test_values_that_change_little_between_patches_are_not_classes():
    assert detected(shares_of_forest()).kind == "continuous"
    assert detected((hills() // 30 * 30).astype("int16")).kind == "dem"


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
def test_a_unit_other_than_length_is_not_elevation(unit, kind):
    assert detected(hills(), unit=unit).kind == kind


def test_time_steps_are_not_spectral_bands():
    series = hills(bands=7)
    assert detected(series[:1], ("gray",) * 7, is_series=True, unit="K").kind == "continuous"
    assert detected(series, ("gray",) * 7).kind == "multispectral"


def test_a_colour_table_means_classes():
    assert detected(photo(bands=1), ("palette",), palette=True).kind == "categorical"


def test_alpha_must_look_like_transparency():
    soft = photo(bands=4)
    assert detected(soft, (*RGB, "alpha"), alpha=4).kind == "nir"
    assert detected(soft, (*RGB, "alpha"), alpha=4).alpha_band is None
    soft[3] = np.where(soft[3] > 90, 255, 0)
    found = detected(soft, (*RGB, "alpha"), alpha=4)
    assert (found.kind, found.alpha_band) == ("rgba", 4)
    grey = detected(soft[[0, 3]], ("gray", "alpha"), alpha=2)
    assert (grey.kind, grey.alpha_band) == ("continuous", 2)


@pytest.mark.parametrize(
    ("dtype", "most", "opaque"),
    [("uint8", 255, None), ("uint8", 1, 1), ("uint16", 65_535, None), ("uint16", 255, 255)],
)
def test_alpha_can_have_a_lower_maximum_than_its_type(dtype: str, most: int, opaque: int | None):
    pixels = photo(bands=4).astype(dtype)
    pixels[3] = np.where(pixels[3] > 90, most, 0)
    found = detected(pixels, (*RGB, "alpha"), alpha=4)
    assert (found.kind, found.alpha_band, found.opaque) == ("rgba", 4, opaque)


def test_invalid_pixels_are_ignored():
    pixels = hills()
    pixels[:, :150] = -9999
    valid = pixels > -9000
    assert detected(pixels, valid=valid).kind == "dem"
    assert detected(pixels, valid=np.zeros_like(valid)).confidence == "LOW"


@pytest.mark.parametrize("kind", RasterType)
@pytest.mark.parametrize("tier", Tier)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64", "complex64"])
def test_every_type_has_settings_for_its_tiers(kind, tier, dtype):
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
        overviews = "nearest" if dtype.startswith("float") else "mode"
        assert settings.overview_resampling == overviews
        assert settings.reproject_resampling == "nearest"
        assert settings.predictor is None


def test_many_bands_are_band_interleaved():
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
        assert f"fit {advice}," in depth.advice


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
def test_nodata_must_fit_the_data_type(value, dtype, fits):
    assert nodata.fits(value, dtype) == fits


def test_nodata_common_to_all_bands():
    assert nodata.common([None, -1, -2], "int16") == -1
    assert nodata.common([-9999], "uint8") is None
    assert math.isnan(nodata.common([], "float32"))
    assert nodata.as_json(math.nan) == "nan"
    assert math.isnan(nodata.from_json("nan"))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64"])
@pytest.mark.parametrize("values", [[0, 1], [1, 2, 3, 4, 5], [0, 30, 60, 90, 120], [7, 8, 99]])
def test_few_values_in_patches_are_classes_in_any_integer_type(dtype, values):
    rng = np.random.default_rng(3)
    pixels = np.kron(rng.choice(values, (10, 10)), np.ones((20, 20), dtype=int))[None]
    assert detected(pixels.astype(dtype)).kind == "categorical"


@pytest.mark.parametrize("name", ["QA_PIXEL", "hls_fmask", "S2_SCL", "crop_class", "parcel"])
def test_names_of_classes_confirm_coarse_steps(name):
    steps = (hills(top=40) // 1).astype("int16")
    assert detected(steps, name=name).kind == "categorical"
    assert detected(steps).alternative == "categorical"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("srtm_dem", "dem"), ("aspect", "continuous"), ("seaice_conc", "continuous")],
)
def test_names_of_surfaces_determine_the_type(name, kind):
    assert detected(hills(), name=name).kind == kind


def test_reflectance_of_modis_is_not_elevation():
    pixels = hills(dtype="int16", top=6_000)
    assert detected(pixels, nodata=-28_672).kind == "continuous"
    assert detected(pixels, scale=0.0001).kind == "continuous"


def test_an_untagged_band_is_alpha_only_if_it_is_clear_and_opaque_in_places():
    pixels = photo(bands=4)
    pixels[3] = np.clip(hills(top=400)[0] - 60, 0, 255)
    colors = (*RGB, "undefined")
    assert detected(pixels, colors, alpha=4, alpha_tagged=False).kind == "rgba"
    pixels[3] = np.clip(pixels[3], 9, 200)
    assert detected(pixels, colors, alpha=4, alpha_tagged=False).kind == "nir"
    assert detected(pixels, colors, alpha=4, alpha_certain=True).kind == "rgba"


@pytest.mark.parametrize("value", [0, 3, 255])
def test_a_constant_picture_is_not_classes(value):
    assert detected(np.full((1, 50, 50), value, "uint8")).kind == "continuous"
