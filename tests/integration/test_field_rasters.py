"""Rasters as they occur in practice: climate grids, NetCDF variants, locations and masks."""

from collections.abc import Iterator

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS

from core.errors import TaskFailed
from tests.fixtures.made_rasters import (
    DEGREES,
    hills,
    photo,
    warmth,
    write,
    write_netcdf,
)
from tests.fixtures.raster_handlers import RasterHandlers


@pytest.fixture(scope="module")
def handlers(azurite, tmp_path_factory) -> Iterator[RasterHandlers]:
    with RasterHandlers.open(
        azurite.connection_string, tmp_path_factory.mktemp("handlers")
    ) as handlers:
        yield handlers


def refusal(handlers: RasterHandlers, path, **params) -> TaskFailed:
    with pytest.raises(TaskFailed) as refused:
        handlers.make(path, **params)
    return refused.value


@pytest.mark.parametrize("step", [2.5, 0.25])
def test_grids_of_points_reach_half_a_cell_beyond_the_poles(handlers, tmp_path, step):
    columns, rows = round(360 / step), round(180 / step) + 1
    pixels = hills(columns)[:, :rows]
    grid = Affine(step, 0, -step / 2, 0, -step, 90 + step / 2)
    path = write(tmp_path / "reanalysis.tif", pixels, crs="EPSG:4326", transform=grid)
    facts = handlers.validate(handlers.put(path))
    assert facts.bounds_4326 == (-180, -90, 180, 90)
    with handlers.opened(handlers.make_from(facts, tier="analysis")) as made:
        assert np.array_equal(made.read(1), np.roll(pixels[0], columns // 2, axis=1))
        assert made.bounds.left == -180 - step / 2


def control_points(places) -> list[GroundControlPoint]:
    return [GroundControlPoint(row=r, col=c, x=x, y=y) for r, c, x, y in places]


def write_with_points(path, places):
    write(path, photo(), crs=None, transform=None)
    with rasterio.open(path, "r+") as dataset:
        dataset.gcps = (control_points(places), CRS.from_epsg(4326))
    return path


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_control_points_can_cross_the_antimeridian(handlers, tmp_path):
    corners = [(0, 0, 179, 50), (0, 300, -178, 50), (300, 300, -178, 47), (300, 0, 179, 47)]
    cog = handlers.make(write_with_points(tmp_path / "orbit.tif", corners))
    assert cog.bounds_4326 == pytest.approx((179, 47, -178, 50), abs=0.02)
    with handlers.opened(cog) as made:
        assert made.dataset_mask().mean() > 250


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_duplicate_control_points_are_accepted(handlers, tmp_path):
    corners = [(0, 0, 10, 50), (0, 300, 12, 50.1), (300, 300, 12.1, 48), (300, 0, 10.1, 48.1)]
    cog = handlers.make(write_with_points(tmp_path / "twice.tif", corners + corners[:2]))
    assert cog.bounds_4326 == pytest.approx((10, 48, 12.1, 50.1), abs=0.02)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_collinear_control_points_are_rejected(handlers, tmp_path):
    line = [(0, 0, 10, 50), (100, 100, 11, 49), (200, 200, 12, 48)]
    for places in (line, line[:1]):
        refused = refusal(handlers, write_with_points(tmp_path / "line.tif", places))
        assert refused.code == "NOT_GEOREFERENCED" and "control points" in refused.message


def test_a_degenerate_geotransform_is_rejected(handlers, tmp_path):
    flat = Affine(10, 0, 500_000, 0, 0, 5_600_000)
    path = write(tmp_path / "flat.tif", hills(), transform=flat)
    assert refusal(handlers, path).code == "NOT_GEOREFERENCED"


def test_a_crs_that_geotiff_cannot_store_is_rejected_with_an_alternative(handlers, tmp_path):
    turned = (
        "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39.25 +lon_0=18 +R=6371229 "
        "+to_meter=0.0174532925199433"
    )
    grid = Affine(0.1, 0, -5, 0, -0.1, 5)
    path = write(tmp_path / "turned.tif", hills(100), crs=turned, transform=grid)
    refused = refusal(handlers, path, target_crs="native")
    assert refused.code == "REPROJECTION_FAILED" and "target_crs" in refused.message
    assert handlers.make(path).target_crs == "EPSG:4326"


def test_geographic_coordinates_without_a_datum_are_accepted(handlers, tmp_path):
    path = write_netcdf(tmp_path / "model.nc", DEGREES, {"tas": warmth()})
    with handlers.opened(handlers.make(path)) as made:
        assert np.array_equal(made.read(1), warmth()[0])
        assert made.bounds.left == -0.25 and made.bounds.top == 50.25


def test_the_only_georeferenced_variable_is_selected(handlers, tmp_path):
    axes = DEGREES | {"cell": (np.arange(4), "1")}
    flags = np.ones((4, 4), "int32"), ("cell", "cell"), {}
    path = write_netcdf(tmp_path / "flags.nc", axes, {"tas": warmth(), "flags": flags})
    facts = handlers.validate(handlers.put(path), input_crs="EPSG:4326")
    assert facts.subdataset == "tas" and set(facts.subdatasets) == {"tas", "flags"}
    variables = {"tas": warmth(), "flags": flags, "pr: 1h": warmth()}
    several = write_netcdf(tmp_path / "several.nc", axes, variables)
    refused = refusal(handlers, several)
    assert refused.code == "SUBDATASET_REQUIRED"
    assert set(refused.message.partition("It has ")[2].split(", ")) == {"tas", "pr: 1h"}
    assert handlers.make(several, subdataset="pr: 1h", input_crs="EPSG:4326").band_count == 1


def test_a_variable_with_several_times_is_rendered_one_time_at_a_time(handlers, tmp_path):
    axes = DEGREES | {"time": (np.arange(3), "hours since 2020-05-06 12:00")}
    path = write_netcdf(tmp_path / "series.nc", axes, {"tas": warmth(3)})
    facts = handlers.validate(handlers.put(path), input_crs="EPSG:4326")
    assert facts.band_count == 3 and facts.raster_type.detected_type == "continuous"
    assert facts.acquired.isoformat() == "2020-05-06T12:00:00+00:00"


def test_the_smallest_integer_can_be_the_nodata_value(handlers, tmp_path):
    values = np.arange(600).reshape(20, 30)
    values[:5] = -(2**63)
    counts = {"counts": (values, ("lat", "lon"), {"_FillValue": np.int64(-(2**63))})}
    cog = handlers.make(
        write_netcdf(tmp_path / "counts.nc", DEGREES, counts), input_crs="EPSG:4326"
    )
    with handlers.opened(cog) as made:
        assert made.nodata == -(2**63)
        assert np.array_equal(made.dataset_mask() > 0, values >= 0)


def test_variables_without_georeferencing_are_not_offered_as_a_choice(handlers, tmp_path):
    axes = {"cell": (np.arange(4), "1")}
    flags = np.ones((4, 4), "int32"), ("cell", "cell"), {}
    path = write_netcdf(tmp_path / "mesh.nc", axes, {"faces": flags, "edges": flags})
    refused = refusal(handlers, path)
    assert refused.code == "NOT_GEOREFERENCED" and "faces" in refused.message


def latitudes_of_each_pixel() -> dict:
    rows, columns = np.mgrid[0:20, 0:30]
    dimensions = ("y", "x")
    return {
        "lat": (60 - rows * 0.1 + columns * 0.01, dimensions, {"units": "degrees_north"}),
        "lon": (10 + columns * 0.1, dimensions, {"units": "degrees_east"}),
    }


def test_coordinates_per_pixel_next_to_a_grid_are_accepted(handlers, tmp_path):
    axes = {
        "y": (np.arange(20)[::-1] * 1_000.0 + 5e6, "m", "projection_y_coordinate"),
        "x": (np.arange(30) * 1_000.0 + 5e5, "m", "projection_x_coordinate"),
    }
    values = warmth()[0]
    projected = {"grid_mapping": "utm", "coordinates": "lat lon"}
    variables = {
        "tas": (values, ("y", "x"), projected),
        "utm": (np.int32(0), (), {"crs_wkt": CRS.from_epsg(32633).to_wkt()}),
        **latitudes_of_each_pixel(),
    }
    cog = handlers.make(write_netcdf(tmp_path / "grid.nc", axes, variables), target_crs="native")
    assert cog.source_crs == "EPSG:32633"
    with handlers.opened(cog) as made:
        assert np.array_equal(made.read(1), values)


def test_a_swath_is_rejected_with_the_reason(handlers, tmp_path):
    axes = {"y": (np.arange(20), ""), "x": (np.arange(30), "")}
    swath = {"tas": (warmth()[0], ("y", "x"), {"coordinates": "lat lon"})}
    variables = swath | latitudes_of_each_pixel()
    refused = refusal(
        handlers, write_netcdf(tmp_path / "swath.nc", axes, variables), subdataset="tas"
    )
    assert refused.code == "NOT_GEOREFERENCED" and "-geoloc" in refused.message


def test_pages_of_a_tiff_are_chosen_by_number(handlers, tmp_path):
    pages = tmp_path / "pages.tif"
    for number, size in enumerate((200, 100), 1):
        page = write(tmp_path / f"page{number}.tif", hills(size))
        rasterio.shutil.copy(page, pages, driver="GTiff", APPEND_SUBDATASET=number > 1)
    facts = handlers.validate(handlers.put(pages))
    assert facts.shape == (200, 200) and facts.subdatasets == ("1", "2")
    assert handlers.validate(handlers.put(pages), subdataset="2").shape == (100, 100)


@pytest.mark.parametrize("driver", ["GTiff", "PNG"])
def test_a_mask_takes_precedence_over_nodata(handlers, tmp_path, driver):
    mask = np.zeros((300, 300), "uint8")
    mask[:, 100:] = 255
    pixels = photo(bands=1)
    pixels[:, :50, 200:] = 7
    plain = write(tmp_path / "plain.tif", pixels, nodata=7)
    path = tmp_path / f"masked.{driver.lower()}"
    rasterio.shutil.copy(plain, path, driver=driver)
    sidecar = write(path.with_name(path.name + ".msk"), mask[None])
    with rasterio.open(sidecar, "r+") as flags:
        flags.update_tags(INTERNAL_MASK_FLAGS_1="2")
    cog = handlers.make(path, target_crs="native")
    with handlers.opened(cog) as made:
        assert np.array_equal(made.dataset_mask(), mask)
        assert np.array_equal(made.read(), pixels)


def test_an_invalid_scale_is_ignored(handlers, tmp_path):
    path = write(tmp_path / "scaled.tif", hills(dtype="int16"))
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (float("nan"),), (float("inf"),)
    with handlers.opened(handlers.make(path)) as made:
        assert (made.scales, made.offsets) == ((1.0,), (0.0,))
