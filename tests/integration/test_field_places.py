"""Places that lost pixels: longitudes beyond 180, rotation and control points. Judged by pyproj."""

from collections.abc import Iterator

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS

from core.errors import TaskFailed
from services.raster.coverage import check_coverage
from services.raster.georeference import Georeference
from tests.fixtures.made_rasters import write
from tests.fixtures.raster_handlers import RasterHandlers

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
SIZE, STEP = 240, 0.01


@pytest.fixture(scope="module")
def handlers(azurite, tmp_path_factory) -> Iterator[RasterHandlers]:
    with RasterHandlers.open(
        azurite.connection_string, tmp_path_factory.mktemp("handlers")
    ) as handlers:
        yield handlers


def quadrants():
    """A value for each quarter of the picture, so that a place in it is known by its value."""
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] * 2 // SIZE
    return (50 + 60 * rows + 30 * columns)[None].astype("uint8")


def affine(west: float, angle: float) -> Affine:
    return Affine.translation(west, -16) @ Affine.rotation(angle) @ Affine.scale(STEP, -STEP)


def write_rotated(path, west, angle=0.0):
    return write(path, quadrants(), crs="EPSG:4326", transform=affine(west, angle))


def write_with_points(path, west, angle=0.0):
    write(path, quadrants(), crs=None, transform=None)
    places = [(row, col) for row in (0, SIZE // 2, SIZE) for col in (0, SIZE // 2, SIZE)]
    points = []
    for row, col in places:
        x, y = affine(west, angle) @ (col, row)
        points.append(GroundControlPoint(row=row, col=col, x=x, y=y))
    with rasterio.open(path, "r+") as dataset:
        dataset.gcps = (points, CRS.from_epsg(4326))
    return path


def check_quadrants(made, west, angle):
    """The middle of each quarter is where pyproj puts it."""
    transformer = pyproj.Transformer.from_crs("EPSG:4326", made.crs.to_wkt(), always_xy=True)
    pixels, valid = made.read(1), made.dataset_mask() > 0
    for row in (SIZE // 4, 3 * SIZE // 4):
        for column in (SIZE // 4, 3 * SIZE // 4):
            longitude, latitude = affine(west, angle) @ (column, row)
            turns = (0, 360, -360) if made.crs.is_geographic else (0,)
            places = []
            for turn in turns:
                x, y = transformer.transform(longitude, latitude)
                places.append(~made.transform @ (x + turn, y))
            if made.crs.to_epsg() == 3857:
                wide = 2 * 20_037_508.342789244
                x, y = transformer.transform(longitude, latitude)
                places += [~made.transform @ (x + turn, y) for turn in (wide, -wide)]
            inside = [(c, r) for c, r in places if 0 <= c < made.width and 0 <= r < made.height]
            assert len(inside) == 1
            at = int(inside[0][1]), int(inside[0][0])
            assert valid[at] and pixels[at] == quadrants()[0, row, column]


@pytest.mark.parametrize("write_source", [write_rotated, write_with_points])
@pytest.mark.parametrize(("west", "angle"), [(178.8, 0), (178.8, 20), (200, 20), (-181.2, -10)])
@pytest.mark.parametrize("target", ["EPSG:4326", "EPSG:3857", "EPSG:3832"])
def test_the_whole_picture_is_kept(handlers, tmp_path, write_source, west, angle, target):
    path = write_source(tmp_path / "field.tif", west, angle)
    cog = handlers.make(path, target_crs=target, raster_type="categorical")
    assert -180 <= cog.bounds_4326[0] <= 180 and -180 <= cog.bounds_4326[2] <= 180
    with handlers.opened(cog) as made:
        assert made.width < 3 * SIZE
        check_quadrants(made, west, angle)


def test_a_transposed_world_is_placed_from_180_west(handlers, tmp_path):
    """Longitudes from 0 to 360 along the rows, as of arrays in the order longitude, latitude."""
    pixels = np.repeat(np.arange(360, dtype="float32")[:, None], 180, axis=1)[None]
    path = write(
        tmp_path / "world.tif", pixels, crs="EPSG:4326", transform=Affine(0, 1, 0, -1, 0, 90)
    )
    cog = handlers.make(path)
    with handlers.opened(cog) as made:
        assert made.bounds[:] == pytest.approx((-180, -90, 180, 90))
        row = made.read(1)[90]
        assert row[10] == pytest.approx(190, abs=1) and row[350] == pytest.approx(170, abs=1)


def test_a_warp_that_loses_a_part_fails(tmp_path):
    """Half of the result is empty, as after a warp that does not find pixels beyond 180."""
    grid = Affine(STEP, 0, 10, 0, -STEP, 50)
    pixels = quadrants()
    source = write(tmp_path / "source.tif", pixels, crs="EPSG:4326", transform=grid, nodata=0)
    pixels[:, :, SIZE // 2 :] = 0
    result = write(tmp_path / "half.tif", pixels, crs="EPSG:4326", transform=grid, nodata=0)
    place = Georeference(CRS.from_epsg(4326), SIZE, SIZE, grid)
    check_coverage(str(source), place, str(source), place, "x.tif")
    with pytest.raises(TaskFailed, match="50%") as failed:
        check_coverage(str(source), place, str(result), place, "x.tif")
    assert failed.value.code == "COVERAGE_LOST"
