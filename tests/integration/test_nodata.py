"""Which pixels are valid: NaN, nodata of the file or the parameter, undeclared fill values."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.transform import from_origin

from core.errors import TaskFailed
from tests.fixtures.made_rasters import hills, photo, write
from tests.fixtures.raster_handlers import RasterHandlers

SIDE = 640  # large enough for an overview
ROWS, COLUMNS = np.mgrid[0:SIDE, 0:SIDE]
OUTSIDE = np.hypot(ROWS - SIDE / 2, COLUMNS - SIDE / 2) > SIDE * 0.42
CLASSES = 1 + np.digitize(np.sin(ROWS / 90) + np.cos(COLUMNS / 80), [-1, 0, 1])
DEGREES = {"crs": "EPSG:4326", "transform": from_origin(10, 50, 0.001, 0.001)}


@pytest.fixture(scope="module")
def handlers(azurite, tmp_path_factory) -> Iterator[RasterHandlers]:
    with RasterHandlers.open(
        azurite.connection_string, tmp_path_factory.mktemp("handlers")
    ) as handlers:
        yield handlers


def codes(facts) -> set[str]:
    return {warning.code for warning in facts.warnings}


def valid_shares(made: rasterio.DatasetReader) -> list[float]:
    """GDAL's share of valid pixels at full size and in each overview."""
    shapes = [made.shape] + [
        (made.height // factor, made.width // factor) for factor in made.overviews(1)
    ]
    return [float(np.mean(made.read_masks(1, out_shape=shape) > 0)) for shape in shapes]


def in_disk(pixels: NDArray[Any], outside: float) -> NDArray[Any]:
    return np.where(OUTSIDE, outside, pixels)[None]


@pytest.mark.parametrize("target", ["native", "EPSG:3857"])
@pytest.mark.parametrize("nodata", [None, np.nan, -9999])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
def test_nan_is_never_valid(handlers, tmp_path, dtype, nodata, target):
    if dtype == "complex64" and nodata == -9999:
        pytest.skip("a complex raster keeps its declared nodata")
    pixels = in_disk(hills(SIDE)[0], np.nan).astype(dtype)
    path = write(tmp_path / "disk.tif", pixels, nodata=nodata, **DEGREES)
    with handlers.opened(handlers.make(path, target_crs=target)) as made:
        inside = 1 - OUTSIDE.mean()
        assert valid_shares(made) == pytest.approx([inside] * len(valid_shares(made)), abs=0.01)


def test_nan_of_half_precision_floats_is_not_valid(handlers, tmp_path):
    pixels = in_disk(hills(SIDE)[0], np.nan).astype("float32")
    path = write(tmp_path / "half.tif", pixels, nbits=16, **DEGREES)
    with handlers.opened(handlers.make(path, target_crs="native")) as made:
        assert np.array_equal(made.read_masks(1) > 0, ~OUTSIDE)


@pytest.mark.parametrize("target", ["native", "EPSG:3857"])
@pytest.mark.parametrize("nodata", [None, np.nan, -1])
def test_overviews_of_float_classes_keep_the_mask(handlers, tmp_path, nodata, target):
    outside = np.nan if nodata is None else nodata
    path = write(
        tmp_path / "classes.tif", in_disk(CLASSES, outside).astype("float32"),
        nodata=nodata, **DEGREES,
    )  # fmt: skip
    facts = handlers.validate(handlers.put(path))
    assert facts.raster_type.applied_type == "categorical"
    with handlers.opened(handlers.make(path, target_crs=target)) as made:
        full, *overviews = valid_shares(made)
        assert full == pytest.approx(1 - OUTSIDE.mean(), abs=0.01)
        assert overviews == pytest.approx([full] * len(overviews), abs=0.01)
        coarse = made.read(1, masked=True, out_shape=(100, 100), resampling=Resampling.nearest)
        assert set(np.unique(coarse.compressed())) == {1, 2, 3, 4}


@pytest.mark.parametrize("target", ["native", "EPSG:3857"])
@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("uint32", 4_000_000_000), ("int32", 2**31 - 100), ("int64", 2**40), ("int64", -(2**40))],
)
def test_values_near_nodata_are_valid(handlers, tmp_path, dtype, nodata, target):
    pixels = in_disk(nodata + CLASSES * 7, nodata).astype(dtype)
    path = write(tmp_path / "near.tif", pixels, nodata=nodata, **DEGREES)
    with handlers.opened(handlers.make(path, target_crs=target)) as made:
        full, *overviews = valid_shares(made)
        assert full == pytest.approx(1 - OUTSIDE.mean(), abs=0.01)
        assert overviews == pytest.approx([full] * len(overviews), abs=0.01)
        values = made.read(1)[made.read_masks(1) > 0]
        assert set(np.unique(values)) == {nodata + 7 * k for k in (1, 2, 3, 4)}


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32"])
def test_nodata_from_the_parameter_is_not_blended_into_the_edge(handlers, tmp_path, dtype):
    pixels = in_disk(300 + hills(SIDE, top=60)[0], -9999).astype(dtype)
    path = write(tmp_path / "fill.tif", pixels)
    cog = handlers.make(path, nodata=-9999)
    with handlers.opened(cog) as made:
        valid = made.dataset_mask() > 0
        assert 0.3 < valid.mean() < 0.6
        assert made.read(1)[valid].min() >= 300
        assert made.nodata == -9999


def test_the_nodata_parameter_overrides_the_file(handlers, tmp_path):
    pixels = in_disk(hills(SIDE)[0], -9999).astype("float32")
    path = write(tmp_path / "wrong.tif", pixels, nodata=0)
    with handlers.opened(handlers.make(path, nodata=-9999, target_crs="native")) as made:
        assert made.nodata == -9999
        assert np.array_equal(made.read_masks(1) > 0, ~OUTSIDE)


def test_nodata_can_be_nan_or_differ_per_band(handlers, tmp_path):
    pixels = hills(100, 2, "float32")
    pixels[0, :10], pixels[1, 20:30] = -1, -2
    path = write(tmp_path / "two.tif", pixels, nodata=5)
    with handlers.opened(handlers.make(path, nodata=(-1, -2), target_crs="native")) as made:
        assert not made.read_masks(1)[:10].any() and made.read_masks(1)[10:].all()
        assert not made.read_masks(2)[20:30].any() and made.read_masks(2)[:20].all()
    with handlers.opened(handlers.make(path, nodata="nan", target_crs="native")) as made:
        assert np.isnan(made.nodata) and made.dataset_mask().all()


def test_nodata_becomes_the_mask_of_a_jpeg(handlers, tmp_path):
    pixels = photo(SIDE)
    pixels[:, OUTSIDE] = 0
    path = write(tmp_path / "collar.tif", pixels, photometric="RGB")
    cog = handlers.make(path, nodata=0, tier="visualization", target_crs="native")
    with handlers.opened(cog) as made:
        assert np.mean((made.dataset_mask() > 0) == ~OUTSIDE) > 0.999


@pytest.mark.parametrize(
    ("nodata", "code", "words"),
    [
        (300, "NODATA_OUT_OF_RANGE", ("300", "uint8")),
        (0.5, "NODATA_OUT_OF_RANGE", ("0.5", "uint8")),
        ("nan", "NODATA_OUT_OF_RANGE", ("nan", "uint8")),
        ((1, 2), "NODATA_BAND_COUNT", ("2 values", "3 band")),
    ],
)
def test_nodata_that_does_not_fit_is_rejected(handlers, tmp_path, nodata, code, words):
    path = write(tmp_path / "photo.tif", photo())
    with pytest.raises(TaskFailed) as refused:
        handlers.validate(handlers.put(path), nodata=nodata)
    assert refused.value.code == code
    assert all(word in refused.value.message for word in words)


@pytest.mark.parametrize(
    ("dtype", "fill", "bands"),
    [
        ("float32", -9999, 1),
        ("float32", float(np.float32(-3.4e38)), 1),
        ("float32", float(np.float32(1e20)), 1),
        ("int16", -32768, 1),
        ("uint16", 65535, 1),
        ("uint8", 0, 1),
        ("uint8", 255, 3),
        ("uint8", 0, 3),
    ],
)
def test_an_undeclared_fill_value_is_detected_and_excluded(handlers, tmp_path, dtype, fill, bands):
    pixels = 20 + hills(SIDE, bands, "float32", 200)
    pixels[:, OUTSIDE] = fill
    facts = handlers.validate(handlers.put(write(tmp_path / "fill.tif", pixels.astype(dtype))))
    [warning] = [w for w in facts.warnings if w.code == "NODATA_SUSPECTED"]
    assert f"{fill:.7g}" in warning.message
    assert f"{OUTSIDE.mean():.1%}" in warning.message
    assert facts.suspected_nodata == fill
    assert f" {fill:g} to" not in str(facts.raster_type.evidence)


@pytest.mark.parametrize(
    ("pixels", "profile"),
    [
        (hills(), {}),
        (photo(), {}),
        (in_disk(hills(SIDE)[0], -9999).astype("float32"), {"nodata": -9999}),
        (in_disk(CLASSES, 0).astype("uint8"), {}),
        (np.full((1, 50, 50), 7, "uint8"), {}),
    ],
)
def test_a_declared_or_ordinary_border_is_not_a_fill_value(handlers, tmp_path, pixels, profile):
    facts = handlers.validate(handlers.put(write(tmp_path / "plain.tif", pixels, **profile)))
    assert "NODATA_SUSPECTED" not in codes(facts)


@pytest.mark.parametrize("value", [np.nan, -9999])
def test_a_raster_without_valid_pixels_gets_a_warning(handlers, tmp_path, value):
    path = write(tmp_path / "empty.tif", np.full((1, 50, 50), value, "float32"), nodata=-9999)
    assert "NO_VALID_PIXELS" in codes(handlers.validate(handlers.put(path)))
