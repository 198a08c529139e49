"""Extents of rasters, and the grids that they are warped to."""

import math

import pyproj
import pytest
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS

from core.errors import TaskFailed
from services.raster import gdal
from services.raster.antimeridian import normalize_longitudes, turn_source
from services.raster.crs import describe_crs, is_earth, parse_crs
from services.raster.extent import geographic_extent
from services.raster.georeference import Georeference
from services.raster.grid import grid_for

WGS84 = CRS.from_epsg(4326)
MERCATOR = CRS.from_epsg(3857)


def at(epsg: int, west: float, north: float, step: float, width: int = 100, height: int = 100):
    grid = Affine(step, 0, west, 0, -step, north)
    return Georeference(CRS.from_epsg(epsg), width, height, grid)


def test_bounds_over_the_antimeridian_have_west_above_east():
    globe = geographic_extent(at(32660, 600_000, 5_700_000, 2_000))
    west, _, east, _ = globe.bounds
    assert globe.crosses
    assert west == pytest.approx(178.4, abs=0.1) and east == pytest.approx(-178.7, abs=0.2)


@pytest.mark.parametrize(("epsg", "pole"), [(3413, 90), (3031, -90)])
def test_a_raster_with_a_pole_spans_all_longitudes(epsg, pole):
    globe = geographic_extent(at(epsg, -1_000_000, 1_000_000, 20_000))
    assert globe.poles == (pole,)
    assert globe.bounds[0] == -180 and globe.bounds[2] == 180
    assert pole in (globe.bounds[1], globe.bounds[3])


def test_a_global_raster_spans_the_globe():
    globe = geographic_extent(at(4326, -180, 90, 1, 360, 180))
    assert globe.bounds == (-180, -90, 180, 90) and not globe.crosses


@pytest.mark.parametrize(
    ("west", "width", "bounds"),
    [(0, 360, (-180, 180)), (300, 50, (-60, -10)), (350, 20, (-10, 10)), (170, 20, (170, -170))],
)
def test_bounds_on_the_globe_count_from_greenwich(west, width, bounds):
    globe = geographic_extent(at(4326, west, 45, 1, width, 30))
    assert (globe.bounds[0], globe.bounds[2]) == pytest.approx(bounds)


@pytest.mark.parametrize(
    ("west", "width", "expected", "rolled"),
    [
        (0, 360, -180, 180),
        (-0.5, 360, -180.5, 180),
        (200, 60, -160, 0),
        (170, 30, 170, 0),
        (-180, 360, -180, 0),
        (-270, 360, -180, 90),
        (10, 60, 10, 0),
    ],
)
def test_longitudes_are_normalized_to_180(west, width, expected, rolled):
    moved, columns = normalize_longitudes(at(4326, west, 45, 1, width, 30))
    assert moved.transform.c == expected
    assert columns % width == rolled % width


def test_same_crs_keeps_the_grid():
    source = at(32633, 500_000, 5_600_000, 10)
    for target in (None, CRS.from_epsg(32633), CRS.from_proj4("+proj=utm +zone=33 +datum=WGS84")):
        grid = grid_for(source, target, "x.tif")
        assert not grid.resampled and not grid.warped
        assert grid.transform == source.transform


def test_rotation_and_south_up_are_warped():
    turned = Georeference(CRS.from_epsg(32633), 100, 100, Affine(8, 6, 500_000, 6, -8, 5_600_000))
    assert turned.kind == "rotated"
    assert grid_for(turned, None, "x.tif").resampled
    south_up = Georeference(
        CRS.from_epsg(32633), 100, 100, Affine(10, 0, 500_000, 0, 10, 5_600_000)
    )
    grid = grid_for(south_up, None, "x.tif")
    assert grid.warped and not grid.resampled
    assert grid.transform == Affine(10, 0, 500_000, 0, -10, 5_601_000)


@pytest.mark.parametrize("target", [WGS84, MERCATOR])
def test_grid_over_the_antimeridian_is_as_narrow_as_the_raster(target):
    source = at(32660, 600_000, 5_700_000, 2_000)
    grid = grid_for(source, target, "x.tif")
    assert grid.width < 3 * source.width
    half = 180 if target is WGS84 else 20_037_508.34
    assert grid.transform.c < half < grid.transform.c + grid.width * grid.transform.a


def test_mercator_ends_before_the_poles():
    grid = grid_for(at(4326, -180, 90, 0.5, 720, 360), MERCATOR, "x.tif")
    top = grid.transform.f
    bottom = top + grid.height * grid.transform.e
    assert top <= 20_037_508.35 and bottom >= -20_037_508.35
    assert math.isclose(top, -bottom, rel_tol=0.02)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (at(4326, 10, 89.9, 0.0001), MERCATOR),
        (at(4326, -180, 89.99, 0.01, 36_000, 10), CRS.from_epsg(3413)),
    ],
)
def test_impossible_targets_are_refused(source, target):
    with pytest.raises(TaskFailed) as refused:
        grid_for(source, target, "x.tif")
    assert refused.value.code == "REPROJECTION_FAILED"


@pytest.mark.parametrize(
    ("text", "flat"),
    [("EPSG:4979", "EPSG:4326"), ("EPSG:9518", "EPSG:4326"), ("EPSG:7415", "EPSG:28992")],
)
def test_heights_are_left_out(text, flat):
    assert describe_crs(parse_crs(text, "input_crs")) == flat


@pytest.mark.parametrize("text", ["EPSG:999999", "unknown", "", 'LOCAL_CS["x",UNIT["metre",1]]'])
def test_unknown_crs_names_the_field(text):
    with pytest.raises(TaskFailed, match="target_crs") as refused:
        parse_crs(text, "target_crs")
    assert refused.value.code == "CRS_INVALID"


def test_crs_of_other_bodies_are_rejected():
    assert all(is_earth(CRS.from_epsg(code)) for code in (4326, 3857, 27700, 2056, 4267))
    assert not is_earth(CRS.from_user_input("IAU_2015:49900"))
    assert not is_earth(CRS.from_proj4("+proj=longlat +R=1737400"))


def test_gdal_messages_contain_no_urls_or_folders():
    address = "/vsicurl/https://account.blob.example/c/a.tif?se=2026&sig=SECRET%3D"
    error = ValueError(f"'{address}' not recognized; /tmp/scratch/task-1/source.tif: broken")
    message = gdal.describe_error(error)
    assert "SECRET" not in message and "scratch" not in message
    assert "source.tif: broken" in message


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("HTTP response code: 503", ConnectionError),
        ("CURL error: Operation timed out", ConnectionError),
        ("TIFFAppendToStrip:Write error at scanline 8", OSError),
        ("No space left on device", OSError),
        ("ZIPDecode:Decoding error at scanline 0", TaskFailed),
        ("HTTP response code: 404", TaskFailed),
    ],
)
def test_network_and_disk_errors_are_transient(message, kind):
    with pytest.raises(kind) as raised, gdal.failing_as("PIXELS_UNREADABLE", "x.tif"):
        raise ValueError(message)
    assert type(raised.value) is kind


@pytest.mark.parametrize(("west", "north"), [(-100_000, 100_000), (300_000, -1_500_000)])
def test_near_a_pole_no_row_is_lost(west, north):
    source = at(3413, west, north, 1_000, 200, 200)
    grid = grid_for(source, WGS84, "x.tif")
    metres = 111_320 * abs(grid.transform.e)
    assert metres == pytest.approx(1_000, rel=0.05)
    assert grid.transform.a > abs(grid.transform.e)
    assert grid.width * grid.height < 5 * 200 * 200


def test_far_from_the_poles_pixels_are_square():
    grid = grid_for(at(32633, 500_000, 7_000_000, 10), WGS84, "x.tif")
    assert grid.transform.a == pytest.approx(-grid.transform.e)


def test_a_full_disk_view_is_kept_to_its_edge():
    seen = CRS.from_proj4("+proj=geos +lon_0=-75 +h=35786023 +ellps=GRS80 +sweep=x")
    disk = Georeference(seen, 271, 271, Affine(40_000, 0, -5_420_000, 0, -40_000, 5_420_000))
    west, south, east, north = geographic_extent(disk).bounds
    assert north > 75 and south < -75 and east - west > 155
    made = grid_for(disk, WGS84, "x.tif").georeference.bounds
    assert made[1] < -75 and made[3] > 75


@pytest.mark.parametrize(
    "place",
    [Affine(1, 0, 0, 0, 1, -90), Affine(1, 0, -180, 0, -1, 90), Affine(0, 1, -180, -1, 0, 90)],
)
def test_a_world_in_mercator_keeps_its_resolution(place):
    sides = (180, 360) if place.a == 0 else (360, 180)
    grid = grid_for(Georeference(WGS84, *sides, place), MERCATOR, "x.tif")
    assert grid.width > 250 and grid.height > 250


@pytest.mark.parametrize("west", [200, -160, 560, -520])
def test_longitudes_of_rotated_rasters_and_control_points_are_moved(west):
    turned = Affine.translation(west, 20) @ Affine.rotation(10) @ Affine.scale(0.01, -0.01)
    rotated = Georeference(WGS84, 400, 400, turned)
    for place in (rotated, Georeference(WGS84, 400, 400, Affine.identity(), rotated.corners)):
        moved, columns = normalize_longitudes(place)
        assert columns == 0 and moved.bounds[0] == pytest.approx(-160)


def test_a_turned_crs_has_the_same_datum():
    """By pyproj: NAD27 differs from WGS 84 by about 170 m on the Aleutian Islands."""
    corners = [(0, 0, 179, 52), (0, 100, 181, 52), (100, 100, 181, 51), (100, 0, 179, 51)]
    points = tuple(GroundControlPoint(row=r, col=c, x=x, y=y) for r, c, x, y in corners)
    nad27 = Georeference(CRS.from_epsg(4267), 100, 100, Affine.identity(), points)
    turned = turn_source(nad27)
    assert [point.x for point in turned.gcps] == [-1, 1, 1, -1]
    judge = pyproj.CRS.from_wkt(turned.crs.to_wkt(version="WKT2_2019"))
    transformer = pyproj.Transformer.from_crs(judge, "EPSG:4267", always_xy=True)
    assert transformer.transform(1, 52) == pytest.approx((-179, 52), abs=1e-9)
    assert judge.datum.name == "North American Datum 1927"
