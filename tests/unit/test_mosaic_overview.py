"""Overviews made from pieces, compared with GDAL's warp of all members at once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.warp import transform
from rio_cogeo.cogeo import cog_validate

from core.errors import TaskFailed
from services.raster.model import RasterType
from services.raster.mosaic import paste
from services.raster.mosaic.grid import plan_overview
from services.raster.mosaic.model import OverviewGrid, PasteOverview, PlacedPiece
from services.raster.mosaic.paste import paste_overview
from services.raster.mosaic.piece import make_piece
from tests.fixtures.surveys import (
    HALF_WORLD,
    SIDE,
    bounds_4326,
    inside,
    surface,
    survey,
    warp_survey,
    write_member,
)

PALETTE = {1: (230, 0, 0, 255), 2: (0, 160, 0, 255), 7: (240, 240, 0, 255)}
RGBA = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]


def make(
    members: list[Path], kind: RasterType, folder: Path, grid: OverviewGrid | None = None
) -> tuple[OverviewGrid, Path]:
    """The overview of the members, the first on top."""
    grid = grid or plan_overview(map(bounds_4326, members))
    pieces = []
    for number, member in enumerate(members):
        out = folder / f"piece_{number}.tif"
        piece = make_piece(member, grid, kind, out)
        if piece is None:
            assert not out.exists()
            continue
        assert piece.size_bytes == out.stat().st_size
        pieces.append(PlacedPiece(path=str(out), **piece.model_dump()))
    request = PasteOverview(grid=grid, pieces=pieces, raster_type=kind, folder=str(folder))
    made = paste_overview(request, lambda fraction, message="": None)
    assert made.shape == (grid.height, grid.width)
    assert made.max_zoom == grid.zoom
    assert made.size_bytes == Path(made.path).stat().st_size
    assert cog_validate(made.path, strict=True)[0]
    return grid, Path(made.path)


def warp_all(
    grid: OverviewGrid, whole: NDArray[Any], resampling: Resampling, **options: Any
) -> NDArray[Any]:
    """GDAL's warp of the undivided survey to the grid."""
    size = 2 * HALF_WORLD / (256 * 2**grid.zoom)
    left, top = grid.column * size - HALF_WORLD, HALF_WORLD - grid.row * size
    bounds = (left, top - grid.height * size, left + grid.width * size, top)
    shape = (grid.height, grid.width)
    return warp_survey(whole, bounds, shape, resampling=resampling, **options)


def test_a_picture_has_no_hole_and_no_seam(tmp_path):
    whole = (surface(3 * SIDE, 2 * SIDE, 3) * 200 + 20).astype("uint8")
    grid, path = make(survey(tmp_path, whole), RasterType.RGB, tmp_path)
    expected = warp_all(grid, whole, Resampling.average)
    with rasterio.open(path) as overview:
        assert overview.compression.name == "jpeg"
        assert [color.name for color in overview.colorinterp] == ["red", "green", "blue"]
        assert overview.overviews(1)
        seen, valid = overview.read(), overview.dataset_mask() > 0
        assert overview.crs == CRS.from_epsg(3857)
    assert np.array_equal(valid, expected[0] > 0)
    differences = np.abs(seen.astype(int) - expected)[:, inside(valid)]
    # JPEG, and averages of overviews instead of pixels.
    assert differences.max() <= 12
    assert differences.mean() < 1.5


def test_masked_pixels_are_empty(tmp_path):
    whole = (surface(2 * SIDE, SIDE, 3) * 200 + 20).astype("uint8")
    mask = np.full(whole.shape[1:], 255, "uint8")
    mask[100:250, 200:600] = 0
    grid, path = make(survey(tmp_path, whole, mask=mask), RasterType.RGB, tmp_path)
    weights = warp_all(grid, (mask[None] > 0).astype("float32") + 1, Resampling.average)[0]
    with rasterio.open(path) as overview:
        valid = overview.dataset_mask() > 0
    assert not valid[weights == 0].any()
    assert not valid[inside(weights == 1)].any()
    assert valid[weights > 1.01].all()


def test_a_dem_keeps_values_nodata_and_unit(tmp_path):
    whole = (surface(2 * SIDE, 2 * SIDE) * 900).astype("float32")
    whole[:, :, 500:560] = -9999
    members = survey(tmp_path, whole, nodata=-9999.0)
    for member in members:
        with rasterio.open(member, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as raster:
            raster.units, raster.scales, raster.descriptions = ("m",), (0.5,), ("height",)
    grid, path = make(members, RasterType.DEM, tmp_path)
    expected = warp_all(grid, whole, Resampling.average, src_nodata=-9999.0, dst_nodata=-9999.0)[0]
    with rasterio.open(path) as overview:
        assert (overview.dtypes[0], overview.nodata) == ("float32", -9999.0)
        assert (overview.units, overview.scales) == (("m",), (0.5,))
        assert overview.descriptions == ("height",)
        assert overview.compression.name == "deflate"
        seen = overview.read(1)
    assert np.array_equal(seen == -9999, expected == -9999)
    # The COG's own overviews round the average of four to three pixels at its edge.
    assert np.abs(seen - expected)[expected != -9999].max() < 20
    assert np.abs(seen - expected)[inside(expected != -9999)].mean() < 1


def test_classes_keep_palette_and_numbers(tmp_path):
    rng = np.random.default_rng(3)
    patches = rng.choice([1, 2, 7], (16, 16)).astype("uint8")
    whole = np.kron(patches, np.ones((SIDE // 8, SIDE // 8), "uint8"))[None]
    grid, path = make(survey(tmp_path, whole, palette=PALETTE), RasterType.CATEGORICAL, tmp_path)
    expected = warp_all(grid, whole, Resampling.mode)[0]
    with rasterio.open(path) as overview:
        assert {key: overview.colormap(1)[key] for key in PALETTE} == PALETTE
        assert overview.colorinterp[0] is ColorInterp.palette
        seen, valid = overview.read(1), overview.dataset_mask() > 0
    assert np.array_equal(valid, expected > 0)
    assert set(np.unique(seen[valid])) <= set(PALETTE)
    assert (seen == expected)[valid].mean() > 0.98


def test_alpha_stays_alpha(tmp_path):
    whole = (surface(2 * SIDE, SIDE, 4) * 200 + 20).astype("uint8")
    whole[3] = 255
    whole[:, :120, :150] = 0
    grid, path = make(survey(tmp_path, whole, colorinterp=RGBA), RasterType.RGBA, tmp_path)
    expected = warp_all(grid, whole, Resampling.average)
    with rasterio.open(path) as overview:
        assert list(overview.colorinterp) == RGBA
        alpha = overview.read(4)
    assert set(np.unique(alpha)) == {0, 255}
    assert np.array_equal(alpha > 0, expected[3] > 0)


def test_many_bands_keep_their_order(tmp_path):
    whole = (surface(2 * SIDE, SIDE, 6) * 9000 + 100).astype("uint16")
    grid, path = make(survey(tmp_path, whole), RasterType.MULTISPECTRAL, tmp_path)
    expected = warp_all(grid, whole, Resampling.average)
    with rasterio.open(path) as overview:
        seen = overview.read()
        valid = overview.dataset_mask() > 0
    assert np.abs(seen.astype(int) - expected)[:, inside(expected[0] > 0)].max() < 200
    assert np.array_equal(valid, expected[0] > 0)


def test_the_first_piece_wins(tmp_path):
    """The second member is below the first, and visible where the first is masked."""
    newest = np.full((3, SIDE, SIDE), 200, "uint8")
    hole = np.full((SIDE, SIDE), 255, "uint8")
    hole[100:300, 100:300] = 0
    oldest = np.full((3, SIDE, SIDE), 50, "uint8")
    folders = [tmp_path / "newest", tmp_path / "oldest"]
    for folder in folders:
        folder.mkdir()
    members = [
        write_member(folders[0], newest, 0, 0, mask=hole),
        write_member(folders[1], oldest, 150, 0),
    ]
    _, path = make(members, RasterType.RGB, tmp_path)
    with rasterio.open(path) as overview:

        def at(column, row):
            xs, ys = transform(
                "EPSG:32633", "EPSG:3857", [500_000 + 2 * column], [5_500_000 - 2 * row]
            )
            [values] = overview.sample([(xs[0], ys[0])], masked=True)
            return values.tolist()

        assert at(330, 350) == pytest.approx([200] * 3, abs=3)
        assert at(250, 200) == pytest.approx([50] * 3, abs=3)
        assert at(500, 200) == pytest.approx([50] * 3, abs=3)
        assert at(120, 200) == [None] * 3


@pytest.mark.parametrize(
    ("crs", "corner"),
    [
        ("EPSG:32660", (819_000, 8_000_000, 2)),
        ("EPSG:4326", (179.995, -17.0, 2e-5)),
        ("EPSG:3857", (20_037_000, -1_900_000, 2)),
    ],
)
def test_members_across_the_antimeridian(tmp_path, crs, corner):
    """The grid is where pyproj says, on both sides of the antimeridian."""
    whole = (surface(2 * SIDE, SIDE, 3) * 200 + 20).astype("uint8")
    if crs == "EPSG:32660":
        [x], _ = transform("EPSG:4326", crs, [180.0], [-17.0])
        corner = (x - SIDE * 2, 8_120_000, 2)
    members = survey(tmp_path, whole, crs=crs, corner=corner)
    x, y, size = corner
    columns, rows = np.array([100, 300, 450, 700]), np.array([80, 200, 150, 300])
    lons, lats = transform(crs, "EPSG:4326", x + columns * size, y - rows * size)
    grid = plan_overview(
        [(min(np.mod(lons, 360)), min(lats), max(np.mod(lons, 360)) - 360, max(lats))]
    )
    _, path = make(members, RasterType.RGB, tmp_path, grid)
    world = 256 * 2**grid.zoom
    assert grid.column + grid.width > world
    with rasterio.open(path) as overview:
        seen = overview.read(masked=True)
        for lon, lat, column, row in zip(lons, lats, columns, rows, strict=True):
            px = int((lon % 360 + 180) / 360 * world - grid.column)
            sine = np.arcsinh(np.tan(np.radians(lat)))
            py = int((1 - sine / np.pi) / 2 * world - grid.row)
            if 0 <= px < grid.width and 0 <= py < grid.height:
                assert seen[:, py, px].tolist() == pytest.approx(
                    whole[:, row, column].tolist(), abs=12
                )


def test_what_is_held_does_not_grow_with_the_pieces_or_the_grid(tmp_path, monkeypatch):
    """The pixels in memory are bounded, whatever the overview's size."""
    whole = (surface(3 * SIDE, 3 * SIDE, 3) * 200 + 20).astype("uint8")
    members = survey(tmp_path, whole)
    monkeypatch.setattr(paste, "HELD_BYTES", 1)
    sizes = []
    real = np.zeros

    def counted(shape, *rest, **options):
        sizes.append(np.prod(shape))
        return real(shape, *rest, **options)

    monkeypatch.setattr(paste.np, "zeros", counted)
    _, path = make(members, RasterType.RGB, tmp_path)
    assert max(sizes) == 3 * 512 * 512
    with rasterio.open(path) as overview:
        assert overview.width * overview.height > 512 * 512


def test_a_member_without_valid_pixels_has_no_piece(tmp_path):
    empty = write_member(tmp_path, np.full((1, SIDE, SIDE), -9999, "float32"), 0, 0, nodata=-9999.0)
    grid = plan_overview([bounds_4326(empty)])
    assert make_piece(empty, grid, RasterType.DEM, tmp_path / "piece.tif") is None
    assert not (tmp_path / "piece.tif").exists()


def test_a_damaged_member_is_named(tmp_path):
    member = write_member(tmp_path, (surface(SIDE, SIDE) * 900).astype("float32"), 0, 0)
    grid = plan_overview([bounds_4326(member)])
    content = member.read_bytes()
    member.write_bytes(content[: len(content) // 2])
    with pytest.raises(TaskFailed, match=r"0_0\.tif cannot be resampled") as failed:
        make_piece(member, grid, RasterType.DEM, tmp_path / "piece.tif")
    assert failed.value.code == "PIXELS_UNREADABLE"
