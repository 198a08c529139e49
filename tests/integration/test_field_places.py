"""Georeferencing of unusual rasters: longitudes above 180, rotation, control points; by pyproj."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from pyproj.transformer import TransformerGroup
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS

from core.errors import TaskFailed
from services.raster.coverage import check_coverage
from services.raster.georeference import Georeference
from services.sandbox import child
from services.stac.item import describe_heights
from services.stac.scan import scan_cog
from tests.fixtures.made_rasters import hills, photo, warmth, write, write_netcdf
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
    """An image with one value for each quarter, which identifies the position."""
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
    """Check that the centre of each quarter is where pyproj transforms it to."""
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
def test_the_whole_image_is_kept(handlers, tmp_path, write_source, west, angle, target):
    path = write_source(tmp_path / "field.tif", west, angle)
    cog = handlers.make(path, target_crs=target, raster_type="categorical")
    assert -180 <= cog.bounds_4326[0] <= 180 and -180 <= cog.bounds_4326[2] <= 180
    with handlers.opened(cog) as made:
        assert made.width < 3 * SIZE
        check_quadrants(made, west, angle)


def test_a_transposed_global_raster_starts_at_180_west(handlers, tmp_path):
    """Longitudes from 0 to 360 along the rows, as in arrays in the order longitude, latitude."""
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
    """Half of the result is empty, as if the warp did not find pixels beyond 180."""
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


@pytest.mark.parametrize(
    ("crs", "name", "unit"),
    [
        ("EPSG:6529+6360", "NAVD88 height (ftUS)", "US survey foot"),
        ("EPSG:7415", "NAP height", "metre"),
        ("EPSG:4979", "ellipsoidal height of WGS 84", "metre"),
    ],
)
def test_native_keeps_the_vertical_crs(handlers, tmp_path, crs, name, unit):
    flat = crs == "EPSG:4979"
    grid = Affine(0.001, 0, 10, 0, -0.001, 50) if flat else Affine(10, 0, 2e5, 0, -10, 4e5)
    path = write(tmp_path / "heights.tif", hills(60), crs=crs, transform=grid)
    cog = handlers.make(path, target_crs="native")
    assert (cog.vertical_crs.name, cog.vertical_crs.unit) == (name, unit)
    with handlers.opened(cog) as made, rasterio.open(path) as source:
        kept, given = (
            pyproj.CRS.from_wkt(d.crs.to_wkt(version="WKT2_2019")) for d in (made, source)
        )
        assert [axis.unit_name for axis in kept.axis_info] == [a.unit_name for a in given.axis_info]
        assert len(kept.axis_info) == 3
        assert np.array_equal(made.read(), source.read())


def test_a_rotated_raster_keeps_its_vertical_crs(handlers, tmp_path):
    turned = Affine(8, 6, 120_000, 6, -8, 480_000)
    path = write(tmp_path / "turned.tif", hills(60), crs="EPSG:7415", transform=turned)
    with handlers.opened(handlers.make(path, target_crs="native")) as made:
        assert [part.name for part in pyproj.CRS(made.crs).sub_crs_list][1] == "NAP height"


def test_another_target_reports_the_vertical_crs(handlers, tmp_path):
    grid = Affine(10, 0, 2_000_000, 0, -10, 700_000)
    path = write(tmp_path / "feet.tif", hills(60), crs="EPSG:6529+6360", transform=grid)
    facts = handlers.validate(handlers.put(path))
    [warning] = [one for one in facts.warnings if one.code == "VERTICAL_CRS_DROPPED"]
    assert "NAVD88 height (ftUS)" in warning.message and "US survey foot" in warning.message
    cog = handlers.make_from(facts, tier="analysis")
    assert cog.target_crs == "EPSG:4326" and cog.vertical_crs.code == "EPSG:6360"
    with handlers.opened(cog) as made:
        scan = scan_cog(made.name)
        assert made.crs.to_epsg() == 4326 and made.units == ("US survey foot",)
    heights = describe_heights(facts, scan)
    judge = pyproj.CRS.from_json_dict(heights["proj:projjson"])
    assert [part.to_epsg() for part in judge.sub_crs_list] == [4326, 6360]
    assert heights["geolathe:vertical_unit"] == "US survey foot"


@pytest.mark.parametrize("driver", ["GTiff", "PNG"])
def test_a_prj_file_gives_the_crs(handlers, tmp_path, driver):
    plain = write(tmp_path / "plain.tif", photo(), crs=None, transform=None)
    path = tmp_path / ("map.tif" if driver == "GTiff" else "map.png")
    rasterio.shutil.copy(plain, path, driver=driver)
    path.with_name("map.tfw" if driver == "GTiff" else "map.pgw").write_text(
        "10\n0\n0\n-10\n500005\n5599995\n"
    )
    wkt = pyproj.CRS("EPSG:25833").to_wkt("WKT1_ESRI")
    path.with_suffix(".prj").write_text(wkt)
    facts = handlers.validate(handlers.put(path))
    assert (facts.source_crs, facts.crs_source) == ("EPSG:25833", "file_metadata")
    assert facts.bounds[:2] == (500_000, 5_597_000)
    path.with_suffix(".prj").write_text("http://127.0.0.1/crs")
    with pytest.raises(TaskFailed) as refused:
        handlers.validate(handlers.put(path))
    assert refused.value.code == "SIDECAR_INVALID"


LAT, LON = np.arange(50, 40, -0.5), np.arange(0, 15, 0.5)


@pytest.mark.parametrize(
    "axes",
    [
        {"lat": (LAT, "degrees_north"), "lon": (LON, "degrees_east")},
        {"a": (LAT, "", "latitude"), "b": (LON, "", "longitude")},
        {"latitude": (LAT,), "longitude": (LON,)},
        {"a": (LAT, "degree_N"), "b": (LON, "degreesE")},
        {"nav_lat": (LAT, "degree"), "nav_lon": (LON, "degree")},
    ],
)
def test_axes_of_latitude_and_longitude_are_wgs84(handlers, tmp_path, axes):
    values, _, attributes = warmth()
    path = write_netcdf(tmp_path / "cf.nc", axes, {"tas": (values, tuple(axes), attributes)})
    ref = handlers.put(path)
    facts = handlers.validate(ref)
    assert facts.source_crs == "EPSG:4326" and facts.bounds == (-0.25, 40.25, 14.75, 50.25)
    assert "CRS_ASSUMED" in {warning.code for warning in facts.warnings}
    given = handlers.validate(ref, input_crs="EPSG:4258")
    assert given.source_crs == "EPSG:4258"
    assert "CRS_ASSUMED" not in {warning.code for warning in given.warnings}
    with pytest.raises(TaskFailed) as refused:
        handlers.validate(ref, strict_mode=True)
    assert refused.value.code == "CRS_ASSUMED"


@pytest.mark.parametrize("latitudes", [LAT, LAT[::-1]])
@pytest.mark.parametrize("units", [("degrees_north", "degrees_east"), ("degree_N", "degree_E")])
@pytest.mark.parametrize("dimensions", [("a", "b"), ("b", "a")])
def test_pixels_lie_where_their_axes_say(handlers, tmp_path, latitudes, units, dimensions):
    """GDAL takes the last dimension for x, and knows no axis by the second pair of units."""
    axes = {"a": (latitudes, units[0]), "b": (LON, units[1])}
    values = np.add.outer(latitudes * 10, LON / 10).astype("float32")
    pixels = values if dimensions == ("a", "b") else values.T
    path = write_netcdf(tmp_path / "cf.nc", axes, {"tas": (pixels, dimensions, {})})
    cog = handlers.make(path, raster_type="categorical")
    assert cog.bounds_4326 == pytest.approx((-0.25, 40.25, 14.75, 50.25))
    with handlers.opened(cog) as made:
        found = made.read(1)
        for latitude in (41, 45, 49.5):
            for longitude in (1, 7, 14):
                value = found[made.index(longitude, latitude)]
                assert value == pytest.approx(latitude * 10 + longitude / 10)


@pytest.mark.parametrize(("name", "block"), [("cf.nc", 512), ("cf.h5", 2048)])
def test_a_file_with_a_user_block_is_read(handlers, tmp_path, name, block):
    axes = {"lat": (LAT, "degrees_north"), "lon": (LON, "degrees_east")}
    path = write_netcdf(tmp_path / name, axes, {"tas": warmth()}, userblock_size=block)
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(block) + path.read_bytes()[block:])
    with handlers.opened(handlers.make(path)) as made:
        assert np.array_equal(made.read(1), warmth()[0])
        assert made.bounds == (-0.25, 40.25, 14.75, 50.25)


def test_axes_in_metres_ask_for_a_projected_crs(handlers, tmp_path):
    axes = {
        "y": (np.arange(20)[::-1] * 1_000.0 + 5e6, "m", "projection_y_coordinate"),
        "x": (np.arange(30) * 1_000.0 + 5e5, "m", "projection_x_coordinate"),
    }
    path = write_netcdf(tmp_path / "m.nc", axes, {"tas": (warmth()[0], ("y", "x"), {})})
    with pytest.raises(TaskFailed, match="metres") as refused:
        handlers.validate(handlers.put(path))
    assert refused.value.code == "CRS_MISSING" and "EPSG:4326" not in refused.value.message


def test_a_missing_datum_grid_is_reported(handlers, tmp_path):
    """Without OSTN15, PROJ's most accurate transformation from the British grid has 2 m."""
    grid = Affine(0.1, 0, 624_141, 0, -0.1, 308_479)
    ref = handlers.put(write(tmp_path / "ortho.tif", hills(60), crs="EPSG:27700", transform=grid))
    facts = handlers.validate(ref)
    [warning] = [one for one in facts.warnings if one.code == "DATUM_GRID_MISSING"]
    assert "OSTN15" in warning.message and facts.crs_operation.accuracy == 2
    with pytest.raises(TaskFailed) as refused:
        handlers.validate(ref, strict_mode=True)
    assert refused.value.code == "DATUM_GRID_MISSING"
    assert handlers.validate(ref, strict_mode=True, target_crs="native").crs_operation is None


@pytest.mark.parametrize(("crs", "step"), [("EPSG:27700", 10), ("EPSG:32631", 0.1)])
def test_pixels_larger_than_the_difference_give_no_warning(handlers, tmp_path, crs, step):
    grid = Affine(step, 0, 524_141, 0, -step, 308_479)
    facts = handlers.validate(
        handlers.put(write(tmp_path / "coarse.tif", hills(60), crs=crs, transform=grid))
    )
    assert "DATUM_GRID_MISSING" not in {warning.code for warning in facts.warnings}
    assert facts.crs_operation.accuracy is not None


# ── one operation for grid, bounds and pixels ────────────────────────────────

FAR_AWAY = [
    ("EPSG:8441", 40, -10),
    ("EPSG:5456", 10, 45),
    ("EPSG:5329", 10, 45),
    ("EPSG:5329", 179.99, 1),
    ("EPSG:27200", 165, -36),
]
AT_HOME = [("EPSG:3460", 180, -17), ("EPSG:27700", 1.3, 52.6)]


def operation_named(name: str, source: str, target: str, longitude: float, latitude: float):
    near = pyproj.aoi.AreaOfInterest(
        longitude - 0.05, latitude - 0.05, longitude + 0.05, latitude + 0.05
    )
    group = TransformerGroup(source, target, always_xy=True, area_of_interest=near)
    [found] = [one for one in group.transformers if one.description == name]
    return found


@pytest.mark.filterwarnings("ignore:Best transformation is not available")
@pytest.mark.parametrize("target", ["EPSG:4326", "EPSG:3857"])
@pytest.mark.parametrize("with_points", [False, True])
@pytest.mark.parametrize(("crs", "longitude", "latitude"), FAR_AWAY + AT_HOME)
def test_grid_bounds_and_pixels_use_one_operation(
    handlers, tmp_path, crs, longitude, latitude, with_points, target
):
    """PROJ's operations differ by 20 to 300 m here, and the pixels are 20 m."""
    x, y = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(
        longitude, latitude
    )
    grid = Affine(20, 0, x - 10 * SIZE, 0, -20, y + 10 * SIZE)
    path = write(tmp_path / "far.tif", quadrants(), crs=crs, transform=grid)
    if with_points:
        corners = [(row, col) for row in (0, SIZE) for col in (0, SIZE)]
        path = write(tmp_path / "points.tif", quadrants(), crs=None, transform=None)
        with rasterio.open(path, "r+") as dataset:
            places = [GroundControlPoint(r, c, *(grid @ (c, r))) for r, c in corners]
            dataset.gcps = (places, CRS.from_user_input(crs))
    facts = handlers.validate(handlers.put(path), target_crs=target, raster_type="categorical")
    cog = handlers.make_from(facts, tier="analysis", target_crs=target)
    judge = operation_named(facts.crs_operation.name, crs, target, longitude, latitude)
    with handlers.opened(cog) as made:
        turn = 360 if made.crs.is_geographic else 2 * 20_037_508.342789244
        pixels, valid = made.read(1), made.dataset_mask() > 0
        across, down = [], []
        for row in (0.5, 40.5, 119.5, 120.5, 200.5, 239.5):
            for column in (0.5, 40.5, 119.5, 120.5, 200.5, 239.5):
                found_x, found_y = judge.transform(*(grid @ (column, row)))
                found_x += turn * round((made.bounds.left - found_x) / turn)
                across.append((found_x - made.bounds.left) / made.res[0])
                down.append((made.bounds.top - found_y) / made.res[1])
                at = int(down[-1]), int(across[-1])
                if row in (40.5, 200.5) and column in (40.5, 200.5):
                    assert valid[at] and pixels[at] == quadrants()[0, int(row), int(column)]
        assert -0.5 < min(across) < 3 and made.width - 3 < max(across) < made.width + 0.5
        assert -0.5 < min(down) < 3 and made.height - 3 < max(down) < made.height + 0.5
        outline = scan_cog(made.name).bbox
    assert outline == pytest.approx(facts.bounds_4326, abs=0.0005)


# ── datum grids ──────────────────────────────────────────────────────────────


@pytest.fixture
def ostn15(tmp_path) -> Iterator[Path]:
    """A grid with the name of the British one that moves all places by 3" north and 5" west."""
    folder = tmp_path / "grids"
    folder.mkdir()
    path = folder / "uk_os_OSTN15_NTv2_OSGBtoETRS.tif"
    offsets = np.stack([np.full((40, 40), 3), np.full((40, 40), 5)]).astype("float32")
    corner = Affine(0.5, 0, -9.25, 0, -0.5, 61.25)
    write(path, offsets, crs="EPSG:4277", transform=corner)
    with rasterio.open(path, "r+") as grid:
        grid.update_tags(TYPE="HORIZONTAL_OFFSET", AREA_OR_POINT="Point")
        grid.descriptions = ("latitude_offset", "longitude_offset")
        grid.units = ("arc-second", "arc-second")
        grid.update_tags(2, positive_value="west")
    child.configure(proj_grids=folder)
    yield path
    child.configure(proj_grids=None)


@pytest.mark.parametrize("target", ["EPSG:4326", "EPSG:3857"])
def test_an_installed_datum_grid_is_used(handlers, tmp_path, ostn15, target):
    grid = Affine(0.1, 0, 624_141, 0, -0.1, 308_479)
    path = write(tmp_path / "ortho.tif", quadrants(), crs="EPSG:27700", transform=grid)
    facts = handlers.validate(handlers.put(path), strict_mode=True, target_crs=target)
    assert facts.crs_operation.accuracy == 1 and not facts.crs_operation.missing_grids
    cog = handlers.make_from(facts, tier="analysis", target_crs=target)
    judge = pyproj.Transformer.from_pipeline(
        "proj=pipeline step inv proj=tmerc lat_0=49 lon_0=-2 k=0.9996012717 x_0=400000 "
        f"y_0=-100000 ellps=airy step proj=hgridshift grids={ostn15} "
        + (
            "step proj=unitconvert xy_in=rad xy_out=deg"
            if target == "EPSG:4326"
            else "step proj=webmerc ellps=WGS84"
        )
    )
    corners = [judge.transform(*(grid @ (c, r))) for r in (0, SIZE) for c in (0, SIZE)]
    with handlers.opened(cog) as made:
        assert made.bounds.left == pytest.approx(min(x for x, _ in corners), abs=made.res[0])
        assert made.bounds.top == pytest.approx(max(y for _, y in corners), abs=made.res[1])
        for row, column in ((60.5, 60.5), (60.5, 180.5), (180.5, 60.5), (180.5, 180.5)):
            at = made.index(*judge.transform(*(grid @ (column, row))))
            assert made.read(1)[at] == quadrants()[0, int(row), int(column)]
