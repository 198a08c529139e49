"""The kernel of the warp: the same in all of a raster, and as wide as the grids require."""

from math import cos, radians

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS

from services.raster import gdal
from services.raster.georeference import Georeference
from services.raster.grid import Grid, grid_for
from services.raster.vrt import Band, View
from services.raster.warp import Warp, measure_scale, warp
from tests.fixtures.made_rasters import UTM33, photo, write

UTM = CRS.from_epsg(32633)
TURNED = UTM33 @ Affine.rotation(30)


def warped(source, georeference, grid, path, memory, monkeypatch):
    monkeypatch.setattr(gdal, "WARP_MB", memory)
    with rasterio.open(source) as image:
        bands, dtype = [Band(index) for index in image.indexes], image.dtypes[0]
    view = View(str(source), georeference, dtype, bands)
    job = Warp(
        view=view,
        grid=grid,
        path=str(path),
        name=source.name,
        alpha=True,
        alpha_top=255,
        resampling="bilinear" if dtype == "float32" else "cubic",
        unified=True,
        interleave="pixel",
        nodata=None,
        scale=measure_scale(georeference, grid),
    )
    with gdal.environment(str(source), sidecars=False):
        warp(job)
    with rasterio.open(path) as image:
        return image.read()


@pytest.mark.parametrize(("transform", "target"), [(TURNED, None), (UTM33, CRS.from_epsg(4326))])
def test_pixels_do_not_depend_on_the_memory_for_the_warp(tmp_path, monkeypatch, transform, target):
    source = write(tmp_path / "source.tif", photo(1_200), transform=transform)
    georeference = Georeference(UTM, 1_200, 1_200, transform)
    grid = grid_for(georeference, target, "source.tif")
    images = [
        warped(source, georeference, grid, tmp_path / f"{memory}.tif", memory, monkeypatch)
        for memory in (16, 256)
    ]
    assert np.array_equal(*images)


def test_a_warp_agrees_with_the_projection(tmp_path, monkeypatch):
    """The position of each pixel, painted into the source, against pyproj."""
    rows, columns = np.mgrid[0:800, 0:800].astype("float32")
    source = write(tmp_path / "places.tif", np.stack([columns, rows]) + 0.5)
    georeference = Georeference(UTM, 800, 800, UTM33)
    grid = grid_for(georeference, CRS.from_epsg(4326), "places.tif")
    image = warped(source, georeference, grid, tmp_path / "out.tif", 32, monkeypatch)
    back = pyproj.Transformer.from_crs(4326, 32633, always_xy=True)
    row, column = np.mgrid[40 : grid.height - 40 : 7, 40 : grid.width - 40 : 7]
    xs, ys = back.transform(*(grid.transform @ (column + 0.5, row + 0.5)))
    expected = np.stack(~UTM33 @ (xs, ys))
    inside = ((expected > 5) & (expected < 795)).all(axis=0)
    found = image[:2, row, column]
    assert inside.mean() > 0.8
    assert np.abs(found - expected)[:, inside].max() < 0.125  # GDAL's tolerance


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (Affine(10, 0, 5e5, 0, -10, 5.6e6), (0.5, 0.25)),
        (Affine(0, 10, 5e5, 10, 0, 5.6e6), (0.25, 0.5)),
        (Affine(-10, 0, 5e5, 0, 10, 5.6e6), (0.5, 0.25)),
    ],
)
def test_scale_follows_the_rows_and_columns_of_the_source(transform, expected):
    georeference = Georeference(UTM, 400, 300, transform)
    grid = Grid(UTM, Affine(20, 0, 4e5, 0, -40, 5.7e6), 100, 100, resampled=True, warped=True)
    assert measure_scale(georeference, grid) == pytest.approx(expected)


def test_scale_of_a_projection_is_that_of_its_middle():
    """At 52 degrees north a degree of longitude is 0.616 times as long as one of latitude."""
    georeference = Georeference(CRS.from_epsg(4326), 200, 200, Affine(0.01, 0, 14, 0, -0.01, 53))
    grid = Grid(UTM, Affine(1_000, 0, 4e5, 0, -1_000, 6e6), 400, 400, resampled=True, warped=True)
    across, down = measure_scale(georeference, grid)
    assert across == pytest.approx(1.1132 * cos(radians(52)), rel=0.01)
    assert down == pytest.approx(1.1132, rel=0.01)
