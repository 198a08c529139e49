"""Footprints: across 180 degrees, around poles, of scattered pixels, with few vertices."""

import numpy as np
import pytest
import shapely
from affine import Affine
from rasterio.crs import CRS
from shapely.geometry import Point, shape

from services.stac.footprint import MAX_VERTICES, trace_footprint

EVERYWHERE = np.ones((100, 200), dtype=bool)


def outline(valid, transform: Affine, crs: str):
    found = trace_footprint(valid, transform, CRS.from_user_input(crs))
    area = shape(found.geometry)
    assert area.is_valid
    for polygon in getattr(area, "geoms", [area]):
        assert polygon.exterior.is_ccw, "RFC 7946 winds exterior rings counterclockwise"
        west, south, east, north = polygon.bounds
        assert -180 <= west <= east <= 180
        assert -90 <= south <= north <= 90
    return area, found.bbox


def test_geographic_raster_is_its_box():
    area, bbox = outline(EVERYWHERE, Affine(0.1, 0, 10, 0, -0.1, 50), "EPSG:4326")
    assert bbox == [10, 40, 30, 50]
    assert shapely.get_num_coordinates(area) == 5


def test_south_up_raster_is_the_same_box():
    _, bbox = outline(EVERYWHERE, Affine(0.1, 0, 10, 0, 0.1, 40), "EPSG:4326")
    assert bbox == [10, 40, 30, 50]


def test_whole_world_is_one_polygon():
    area, bbox = outline(EVERYWHERE, Affine(1.8, 0, -180, 0, -1.8, 90), "EPSG:4326")
    assert area.geom_type == "Polygon"
    assert bbox == [-180, -90, 180, 90]


def test_grid_of_points_ends_at_the_pole():
    _, bbox = outline(EVERYWHERE, Affine(0.1, 0, 10, 0, -0.1, 90.05), "EPSG:4326")
    assert bbox[3] == 90


@pytest.mark.parametrize("west", [175.0, -185.0])
def test_degrees_beyond_180_are_split(west: float):
    area, bbox = outline(EVERYWHERE, Affine(0.05, 0, west, 0, -0.05, 50), "EPSG:4326")
    assert area.geom_type == "MultiPolygon"
    assert bbox == [175, 45, -175, 50]
    assert area.area == pytest.approx(50)


def test_projected_raster_over_180_is_split():
    area, bbox = outline(EVERYWHERE, Affine(1000, 0, 650_000, 0, -1000, 5_800_000), "EPSG:32660")
    assert area.geom_type == "MultiPolygon"
    assert bbox[0] > 170
    assert bbox[2] < -170
    assert area.contains(Point(179.9, 52))
    assert area.contains(Point(-179.9, 52))


@pytest.mark.parametrize(("crs", "latitude"), [("EPSG:3413", 90), ("EPSG:3031", -90)])
def test_pole_inside_is_covered(crs: str, latitude: int):
    square = np.ones((200, 200), dtype=bool)
    area, bbox = outline(square, Affine(10_000, 0, -1e6, 0, -10_000, 1e6), crs)
    assert (bbox[0], bbox[2]) == (-180, 180)
    assert latitude in (bbox[1], bbox[3])
    for longitude in (-179, -90, 0, 90, 179):
        assert area.contains(Point(longitude, np.sign(latitude) * 85))
        assert not area.contains(Point(longitude, 0))


def test_hole_and_collar_are_left_out():
    valid = np.zeros((100, 200), dtype=bool)
    valid[20:80, 20:180] = True
    valid[40:60, 80:120] = False
    area, bbox = outline(valid, Affine(0.1, 0, 0, 0, -0.1, 10), "EPSG:4326")
    assert bbox == [2, 2, 18, 8]
    assert area.area == pytest.approx(16 * 6 - 4 * 2)


def test_scattered_pixels_have_few_vertices():
    valid = np.random.default_rng(1).random((512, 512)) > 0.5
    area, _ = outline(valid, Affine(0.01, 0, 0, 0, -0.01, 10), "EPSG:4326")
    assert shapely.get_num_coordinates(area) <= MAX_VERTICES
    assert area.area > 0.9 * 5.12**2


def test_a_single_pixel_has_a_footprint():
    valid = np.zeros((512, 512), dtype=bool)
    valid[100, 200] = True
    area, _ = outline(valid, Affine(0.01, 0, 0, 0, -0.01, 10), "EPSG:4326")
    assert area.contains(Point(2.005, 8.995))
    assert area.area < 0.01


def test_without_valid_pixels_the_footprint_is_the_whole_raster():
    _, bbox = outline(~EVERYWHERE, Affine(0.1, 0, 10, 0, -0.1, 50), "EPSG:4326")
    assert bbox == [10, 40, 30, 50]


def test_rotated_raster_is_not_its_box():
    area, bbox = outline(EVERYWHERE, Affine(0.1, 0.1, 0, 0.1, -0.1, 0), "EPSG:4326")
    box = shapely.box(*bbox)
    assert area.area < 0.6 * box.area


def test_corners_off_the_projection_are_left_out():
    """A full disk of a geostationary satellite, whose corners are outside the Earth."""
    crs = "+proj=geos +h=35785831 +lon_0=0 +sweep=y +datum=WGS84"
    rows, columns = np.indices((200, 200)) - 99.5
    disk = np.hypot(rows, columns) < 90
    area, bbox = outline(disk, Affine(55_000, 0, -5.5e6, 0, -55_000, 5.5e6), crs)
    assert bbox[0] < -50
    assert bbox[2] > 50
    assert area.contains(Point(0, 0))
