"""The grid of an overview, judged by pyproj."""

import itertools
import math

import pytest
from pyproj import Transformer

from services.raster.mosaic.grid import has_room, place_on, plan_overview

MERCATOR = Transformer.from_crs("EPSG:4326", "EPSG:3857", always_xy=True)
HALF_WORLD = 20_037_508.342789244


def lattice(west, south, step, columns, rows, side=None):
    """Square members in rows and columns, `step` degrees apart."""
    side = side or step
    for column, row in itertools.product(range(columns), range(rows)):
        left, bottom = west + column * step, south + row * step
        yield left, bottom, left + side, bottom + side


def pixel(grid, longitude, latitude):
    """A place in pixels of the grid."""
    x, y = MERCATOR.transform(longitude, latitude)
    size = 2 * HALF_WORLD / (256 * 2**grid.zoom)
    return (x + HALF_WORLD) / size - grid.column, (HALF_WORLD - y) / size - grid.row


def test_grid_encloses_the_members_on_the_blocks_of_the_world():
    grid = plan_overview(lattice(14.0, 50.0, 0.005, 20, 10))
    left, top = pixel(grid, 14.0, 50.05)
    right, bottom = pixel(grid, 14.1, 50.0)
    assert 0 <= left < 256
    assert 0 <= top < 256
    assert grid.width - 1 < right <= grid.width
    assert grid.height - 1 < bottom <= grid.height
    assert grid.column % 256 == grid.row % 256 == 0


def test_a_tile_above_the_overview_meets_few_members():
    """A member is at least half as wide as a tile of the zoom, so at most 3 x 3 meet in one."""
    grid = plan_overview(lattice(14.0, 0.0, 0.005, 30, 30))
    west, _ = pixel(grid, 14.0, 0.0)
    east, _ = pixel(grid, 14.005, 0.0)
    assert 128 <= east - west < 256


@pytest.mark.parametrize(("across", "longest"), [(100, 8_192), (101, 16_384)])
def test_longest_side_is_limited(across, longest):
    grid = plan_overview(lattice(0.0, 0.0, 0.1, across, 100, side=0.0005))
    assert longest / 2 < max(grid.width, grid.height) <= longest


def test_bounds_are_read_once():
    """Bounds may come from a cursor over 100,000 members."""
    source = lattice(14.0, 50.0, 0.005, 5, 5)
    plan_overview(source)
    assert next(source, None) is None


def test_across_the_antimeridian_the_grid_continues_beyond_the_world():
    members = [*lattice(179.8, -17.0, 0.1, 2, 2), (179.95, -17.0, -179.95, -16.9)]
    members += lattice(-180.0, -17.0, 0.1, 2, 2)
    grid = plan_overview(members)
    world = 256 * 2**grid.zoom
    west, _ = pixel(grid, 179.8, -17.0)
    east, _ = pixel(grid, -179.8, -17.0)
    assert 0 <= west < 256
    assert grid.column + grid.width > world
    assert grid.width - 1 < east + world <= grid.width
    places = [place_on(grid, bounds) for bounds in members]
    assert None not in places
    assert len({place[0] for place in places}) == 5


def test_members_all_around_the_globe_use_the_usual_longitudes():
    grid = plan_overview(lattice(-180.0, -80.0, 20.0, 18, 8))
    assert grid.column == 0
    assert grid.width == 256 * 2**grid.zoom


def test_latitudes_end_where_the_map_does():
    grid = plan_overview([(-180.0, -90.0, 180.0, 90.0)])
    assert (grid.row, grid.height) == (0, 256 * 2**grid.zoom)
    assert place_on(grid, (0.0, 86.0, 10.0, 90.0)) is None


def test_a_place_outside_the_grid_is_none():
    grid = plan_overview(lattice(14.0, 50.0, 0.005, 3, 3))
    assert place_on(grid, (20.0, 50.0, 21.0, 51.0)) is None
    assert place_on(grid, (13.0, 49.0, 15.0, 51.0)) == (0, 0, grid.width, grid.height)


def test_a_point_does_not_need_an_infinite_zoom():
    assert plan_overview([(14.0, 50.0, 14.0, 50.0)]).zoom == 24


def test_no_members_have_no_grid():
    with pytest.raises(ValueError, match="at least one member"):
        plan_overview([])


def test_mean_of_sizes_is_not_decided_by_one_large_member():
    small = list(lattice(14.0, 0.0, 0.005, 10, 10))
    assert plan_overview([*small, (13.9, -0.1, 14.2, 0.2)]).zoom >= plan_overview(small).zoom - 1
    assert math.isfinite(plan_overview(small).zoom)


def test_a_grid_has_room_for_what_it_was_planned_for():
    grid = plan_overview([(10.0, 50.0, 10.01, 50.01), (10.01, 50.0, 10.02, 50.01)])
    pixel = 360 / grid.world
    assert has_room(grid, (10.01, 50.0, 10.02 + pixel, 50.01))
    east = (grid.column + grid.width) * pixel - 180
    assert not has_room(grid, (10.01, 50.0, east + 10 * pixel, 50.01))
    assert not has_room(grid, (-170.0, 50.0, -169.99, 50.01))
    assert not has_room(grid, (10.0, 51.0, 10.01, 51.01))


@pytest.mark.parametrize("bounds", [(179.0, -10.0, -179.0, 10.0), (-180.0, -80.0, 180.0, 80.0)])
def test_a_grid_has_room_for_members_around_the_world(bounds):
    assert has_room(plan_overview([bounds]), bounds)
    assert has_room(plan_overview([bounds, (-1.0, -10.0, 1.0, 10.0), (90, 0, 91, 1)]), bounds)
