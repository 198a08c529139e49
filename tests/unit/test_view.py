"""Views over a source, read by GDAL."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import Resampling

from services.raster.georeference import Georeference
from services.raster.grid import grid_for
from services.raster.vrt import Band, Mask, View
from tests.fixtures.made_rasters import hills, write

UTM = CRS.from_epsg(32633)
PLACE = Affine(10, 0, 4e5, 0, -10, 5.7e6)


def make_view(path, pixels, **options):
    write(path, pixels, crs=UTM, transform=PLACE)
    bands = [Band(source=n) for n in range(1, 1 + len(options.pop("bands", pixels)))]
    height, width = pixels.shape[1:]
    return View(str(path), Georeference(UTM, width, height, PLACE), "uint8", bands, **options)


def pad(view):
    copy = Path(view.path).with_suffix(".vrt")
    copy.write_text(view.xml)
    return view.padded(str(copy))


def read(view):
    with rasterio.open(view.xml, driver="VRT") as dataset:
        return dataset.read(), dataset.transform


@pytest.mark.parametrize("roll", [0, 5])
def test_a_padded_view_repeats_the_outermost_pixels(tmp_path, roll):
    pixels = hills(12, 2, "uint8", 200)[:, :7]
    view = make_view(tmp_path / "source.tif", pixels, roll=roll)
    found, transform = read(pad(view))
    rolled = np.roll(pixels, -roll, axis=2)
    assert np.array_equal(found, np.pad(rolled, ((0, 0), (1, 1), (1, 1)), mode="edge"))
    assert transform == PLACE @ Affine.translation(-1, -1)


def test_a_padded_view_keeps_alpha_and_nodata(tmp_path):
    pixels = hills(6, 3, "uint8", 200)
    pixels[2] = np.where(np.arange(6) < 3, 0, 255)
    view = make_view(
        tmp_path / "source.tif", pixels, bands=pixels[:2], mask=Mask(("3",), "alpha", opaque=255)
    )
    found, _ = read(pad(view))
    assert np.array_equal(found[2], np.pad(pixels[2], 1, mode="edge"))
    with rasterio.open(pad(make_view(tmp_path / "b.tif", pixels, nodata=0)).xml) as dataset:
        assert dataset.nodata == 0


@pytest.mark.parametrize("roll", [0, 5])
@pytest.mark.parametrize("options", [{"nodata": 7}, {"mask": Mask(("mask,1",), "mask")}])
def test_an_aligned_view_ends_with_empty_pixels(tmp_path, roll, options):
    pixels = hills(13, 2, "uint8", 200)[:, :10]
    view = make_view(tmp_path / "source.tif", pixels, roll=roll, **options)
    with rasterio.open(view.aligned(8).xml, driver="VRT") as dataset:
        found, valid, transform = dataset.read(), dataset.dataset_mask(), dataset.transform
    assert found.shape == (2, 16, 16)
    assert transform == PLACE
    assert np.array_equal(found[:, :10, :13], np.roll(pixels, -roll, axis=2))
    assert valid[:10, :13].all()
    assert np.count_nonzero(valid) == 10 * 13


def test_a_view_over_a_larger_copy_is_its_corner(tmp_path):
    pixels = hills(16, 2, "uint8", 200)
    valid = np.arange(16) < 9
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        view = make_view(tmp_path / "copy.tif", pixels, mask=Mask(("1",), "mask"))
        with rasterio.open(view.path, "r+") as copy:
            copy.write_mask(np.broadcast_to(valid, (16, 16)))
            copy.build_overviews([2, 4], Resampling.nearest)
    place = replace(view.georeference, width=15, height=11)
    view = replace(view, georeference=place).over(view.path)
    small = tmp_path / "overview.vrt"
    small.write_text(view.overview(2).xml)
    view = replace(view, overviews=(str(small),))
    with rasterio.open(view.xml) as dataset:
        assert dataset.overviews(1) == [4]
        assert np.array_equal(dataset.read(), pixels[:, :11, :15])
        assert np.array_equal(dataset.dataset_mask() > 0, [valid[:15]] * 11)
    with rasterio.open(view.xml, OVERVIEW_LEVEL=0) as overview:
        assert np.array_equal(overview.read(), pixels[:, :11:4, :15:4])
        assert np.array_equal(overview.dataset_mask() > 0, [valid[:15:4]] * 3)


def test_padded_control_points_stay_in_place():
    points = tuple(
        GroundControlPoint(row, column, *(PLACE @ (column, row)))
        for row, column in ((0, 0), (0, 90), (90, 0), (90, 90))
    )
    place = Georeference(UTM, 90, 90, Affine.identity(), points)
    moved = place.padded
    assert np.allclose(moved.xy(np.array([1.0]), np.array([1.0])), [[4e5], [5.7e6]])


@pytest.mark.parametrize(
    ("west", "north", "is_padded"), [(10, 50, True), (-180, 50, False), (10, 90, False)]
)
def test_padding_stays_within_the_world(west, north, is_padded):
    source = Georeference(CRS.from_epsg(4326), 40, 40, Affine(0.5, 0, west, 0, -0.5, north))
    grid = grid_for(source, CRS.from_epsg(3857), "source.tif", pad=True)
    assert grid.padded is is_padded
    plain = grid_for(source, CRS.from_epsg(3857), "source.tif")
    assert (grid.width > plain.width) is is_padded


@pytest.mark.parametrize(
    ("epsg", "east", "north", "is_padded"),
    [
        (32660, 833_960, 5_000, True),
        (32660, 833_977, 5_000, False),
        (3413, 400, 0, False),
        (3413, -5_000, 0, True),
    ],
)
def test_padding_reaches_no_pole_and_not_across_180_degrees(epsg, east, north, is_padded):
    place = Affine(10, 0, east - 400, 0, -10, north)
    source = Georeference(CRS.from_epsg(epsg), 40, 40, place)
    assert grid_for(source, CRS.from_epsg(4326), "a.tif", pad=True).padded is is_padded


def test_copied_pixels_are_not_padded():
    source = Georeference(UTM, 40, 40, PLACE)
    assert grid_for(source, None, "source.tif", pad=True) == grid_for(source, None, "source.tif")
