"""Kinds of rasters that users reported as wrong, end to end. Judged by GDAL and Pillow."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.enums import ColorInterp, Resampling
from rasterio.transform import from_origin

from services.raster.model import RasterFacts
from services.stac.describe import name_bands
from services.stac.rendering import build_renderings
from services.stac.scan import scan_cog
from tests.fixtures.made_rasters import photo, write
from tests.fixtures.raster_handlers import RasterHandlers

SIZE = 400
ROWS, COLUMNS = np.mgrid[0:SIZE, 0:SIZE]
RADIUS = np.hypot(ROWS - SIZE / 2, COLUMNS - SIZE / 2)
SOFT = (255 * np.exp(-((RADIUS / 110) ** 2))).astype("uint8")
WAVES = np.sin(COLUMNS / 31) + np.cos(ROWS / 27) + np.sin((COLUMNS + ROWS) / 43)
CLASSES = np.digitize(WAVES, [-1.2, -0.4, 0.4, 1.2])
RGBA = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
DEGREES = {"crs": "EPSG:4326", "transform": from_origin(10, 50, 0.001, 0.001)}


@pytest.fixture(scope="module")
def handlers(azurite, tmp_path_factory) -> Iterator[RasterHandlers]:
    with RasterHandlers.open(
        azurite.connection_string, tmp_path_factory.mktemp("handlers")
    ) as handlers:
        yield handlers


def picture() -> np.ndarray:
    return np.concatenate([photo(SIZE), SOFT[None]])


def write_picture(folder: Path, suffix: str) -> Path:
    """A picture with graded alpha, as a GeoTIFF or as a PNG with a world file."""
    if suffix == ".tif":
        return write(folder / "soft.tif", picture(), colorinterp=RGBA, photometric="RGB", **DEGREES)
    path = folder / "soft.png"
    Image.fromarray(np.moveaxis(picture(), 0, -1)).save(path)
    path.with_suffix(".pgw").write_text("0.001\n0\n0\n-0.001\n10.0005\n49.9995\n")
    return path


@pytest.mark.parametrize("raster_type", ["auto", "rgba"])
@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_graded_alpha_is_kept(handlers, tmp_path, suffix, raster_type):
    path = write_picture(tmp_path, suffix)
    cog = handlers.make(
        path, raster_type=raster_type, input_crs="EPSG:4326" if suffix == ".png" else None
    )
    with handlers.opened(cog) as made:
        assert made.colorinterp[3] is ColorInterp.alpha
        assert np.array_equal(made.read(), picture())


@pytest.mark.parametrize(
    ("dtype", "top"),
    [("float32", 255), ("float32", 1), ("float64", 65_535), ("int16", 255), ("uint16", 65_535)],
)
def test_pictures_of_other_types_are_as_transparent_as_their_alpha(handlers, tmp_path, dtype, top):
    pixels = (picture().astype("float64") * top / 255).astype(dtype)
    path = write(tmp_path / "picture.tif", pixels, colorinterp=RGBA, **DEGREES)
    with handlers.opened(handlers.make(path)) as made:
        assert made.colorinterp[3] is ColorInterp.alpha
        full = np.iinfo(made.dtypes[0]).max
        shown = made.read().astype("float64") / full
        assert shown == pytest.approx(picture() / 255, abs=0.005)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ((1, 21_824, 21_952, 22_280, 23_888), "uint16"),
        ((0, 1024, 2048, 0, 1024), "uint16"),
        ((104_233, 9_001, 577_120, 31, 88_512), "int32"),
        ((1, 2, 3, 4, 5), "float32"),
    ],
)
def test_a_warp_makes_no_new_flags_and_ids(handlers, tmp_path, values, dtype):
    pixels = np.kron(np.array(values)[CLASSES], np.ones((3, 3)))[None].astype(dtype)
    cog = handlers.make(write(tmp_path / "field.tif", pixels), target_crs="EPSG:3857")
    with handlers.opened(cog) as made:
        assert made.overviews(1)
        for factor in (1, *made.overviews(1)):
            found = made.read(
                1,
                masked=True,
                out_shape=(made.height // factor, made.width // factor),
                resampling=Resampling.nearest,
            )
            assert set(np.unique(found.compressed())) == set(values)


def render(handlers: RasterHandlers, path: Path) -> tuple[RasterFacts, dict]:
    facts = handlers.validate(handlers.put(path))
    with handlers.opened(handlers.make_from(facts, tier="analysis")) as made:
        scan = name_bands(scan_cog(made.name), facts)
    looks = build_renderings(
        facts.raster_type.applied_type,
        scan,
        file_name=path.stem,
        is_inverted=facts.is_inverted,
    )
    return facts, looks


@pytest.mark.parametrize(
    ("names", "title", "bands"),
    [
        (("B01", "B02", "B03", "B04", "B08"), "Natural colour", (4, 3, 2)),
        (("SR_B1", "SR_B2", "SR_B3", "SR_B4", "SR_B5"), "Natural colour", (4, 3, 2)),
        ((None,) * 5, "Bands 3, 2, 1", (3, 2, 1)),
    ],
)
def test_names_of_bands_decide_what_is_shown(handlers, tmp_path, names, title, bands):
    pixels = (photo(SIZE, 5).astype("uint16") + 200) * 8
    path = write(tmp_path / "scene.tif", pixels)
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = names
    _, looks = render(handlers, path)
    assert (looks["default"].title, looks["default"].bidx) == (title, bands)


def test_a_scan_that_stores_white_as_zero_is_drawn_in_grey(handlers, tmp_path):
    pixels = photo(SIZE, 1) // 32 * 32
    path = write(tmp_path / "sheet.tif", pixels, photometric="MINISWHITE")
    facts, looks = render(handlers, path)
    assert facts.raster_type.applied_type == "continuous"
    assert (looks["default"].title, looks["default"].colormap_name) == ("Grey", "gray_r")
    with Image.open(path) as judge:
        assert np.array_equal(255 - np.asarray(judge), pixels[0])
