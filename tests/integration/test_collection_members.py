"""Members of each kind through the whole job, judged by GDAL, pyproj and numpy."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.transform import Affine, from_origin
from rasterio.warp import reproject, transform
from rio_cogeo.cogeo import cog_validate

from core.models import BlobRef, Json
from tests.fixtures.catalogue import Catalogue, open_catalogue
from tests.fixtures.made_rasters import hills, write

SIZE, PIXEL = 64, 10.0
UTM = "EPSG:32633"
CORNER = (500_000.0, 5_500_000.0)


@pytest.fixture
def catalogue(azurite, pool, tmp_path):
    with open_catalogue(azurite.connection_string, pool, tmp_path) as catalogue:
        yield catalogue


def place_of(column: int, row: int = 0) -> Affine:
    """The transform of a tile, counted from the corner of the survey."""
    return from_origin(
        CORNER[0] + column * SIZE * PIXEL, CORNER[1] - row * SIZE * PIXEL, PIXEL, PIXEL
    )


def put(catalogue: Catalogue, name: str, pixels: NDArray[Any], **profile: Any) -> None:
    palette = profile.pop("palette", None)
    path = write(catalogue.folder / Path(name).name, pixels, **profile)
    if palette:
        with rasterio.open(path, "r+") as raster:
            raster.write_colormap(1, palette)
    catalogue.put(path, f"in/{name}")


def run(catalogue: Catalogue, **parameters: Any) -> Json:
    """The result of a job over the folder, and the collection that it made."""
    wanted = {"container_name": catalogue.bronze, "prefix": "in/", "collection_id": "survey"}
    result = catalogue.run("process_raster_collection", **wanted | parameters).result
    assert result["has_overview"]
    return result


def fetch(catalogue: Catalogue, href: str) -> Path:
    """A local copy of a COG of the silver container."""
    name = href.partition(f"/{catalogue.silver}/")[2]
    path = catalogue.folder / name.replace("/", "_")
    catalogue.blobs.download(BlobRef(container=catalogue.silver, name=name), path)
    assert cog_validate(path, strict=True)[0]
    return path


def stored(catalogue: Catalogue) -> Json:
    return catalogue.catalog.get_collection("survey")


def fetch_overview(catalogue: Catalogue) -> Path:
    return fetch(catalogue, stored(catalogue)["assets"]["overview"]["href"])


def fetch_members(catalogue: Catalogue, key: str = "data") -> dict[str, Path]:
    """Local copies of an asset of all items, by the names of their sources."""
    found = {}
    for item_id in catalogue.catalog.list_items("survey"):
        item = catalogue.catalog.get_item("survey", item_id)
        source = item["properties"]["geolathe:source"].rpartition("/")[2]
        found[source] = fetch(catalogue, item["assets"][key]["href"])
    return found


def values_at(path: Path, crs: str, *places: tuple[float, float]) -> list[list[int] | None]:
    """The bands at places in a CRS; None where the raster is empty or ends."""
    with rasterio.open(path) as raster:
        pixels, mask = raster.read(), raster.dataset_mask()
        found: list[list[int] | None] = []
        for x, y in places:
            [[x], [y]] = transform(crs, raster.crs, [x], [y])
            row, column = raster.index(x, y)
            inside = 0 <= row < raster.height and 0 <= column < raster.width
            shown = inside and mask[row, column]
            found.append(pixels[:, row, column].tolist() if shown else None)
    return found


def test_classes_keep_their_palette(catalogue):
    palette = {1: (230, 0, 0, 255), 2: (0, 160, 0, 255), 7: (240, 240, 0, 255)}
    patches = np.random.default_rng(3).choice([1, 2, 7], (8, 16)).astype("uint8")
    whole = np.kron(patches, np.ones((SIZE // 8, SIZE // 8), "uint8"))[None]
    for column in (0, 1):
        part = whole[..., column * SIZE : (column + 1) * SIZE]
        put(catalogue, f"{column}.tif", part, crs=UTM, transform=place_of(column), palette=palette)
    result = run(catalogue, target_crs="native")
    assert [group["structure"]["has_palette"] for group in result["groups"]] == [True]
    for column in (0, 1):
        with rasterio.open(fetch_members(catalogue)[f"{column}.tif"]) as cog:
            assert cog.colorinterp[0] is ColorInterp.palette
            assert {key: cog.colormap(1)[key] for key in palette} == palette
            assert np.array_equal(cog.read(), whole[..., column * SIZE : (column + 1) * SIZE])
    with rasterio.open(fetch_overview(catalogue)) as overview:
        assert {key: overview.colormap(1)[key] for key in palette} == palette
    middles = [(c * 8 + 4, r * 8 + 4) for c in range(16) for r in range(8)]
    seen = values_at(fetch_overview(catalogue), UTM, *(place_of(0) * middle for middle in middles))
    assert seen == [[whole[0, row, column]] for column, row in middles]
    [colors] = parse_qs(urlsplit(result["share_url"]).query)["colormap"]
    assert all(f'"{key}"' in colors for key in palette)


def test_heights_have_one_stretch_and_keep_their_gaps(catalogue):
    """Each tile has other heights; one has a hole, and one is flat water."""
    whole = np.concatenate([hills(SIZE) / 9 + 300 * n for n in range(3)], axis=2)
    whole[0, 20:40, 100:120] = -9999
    for column in range(3):
        part = whole[..., column * SIZE : (column + 1) * SIZE].astype("float32")
        place = {"crs": UTM, "transform": place_of(column), "nodata": -9999}
        put(catalogue, f"{column}.tif", part, **place)
    result = run(catalogue, raster_type="dem", target_crs="native")
    render = stored(catalogue)["renders"]["default"]
    assert render["colormap_name"] == "terrain"
    valid = whole[whole != -9999]
    [[low, high]] = render["rescale"]
    assert [low, high] == pytest.approx(
        np.percentile(valid, [2, 98]), abs=float(np.ptp(valid)) * 0.01
    )
    assert parse_qs(urlsplit(result["share_url"]).query)["colormap_name"] == ["terrain"]
    with rasterio.open(fetch_overview(catalogue)) as overview:
        seen, expected = overview.read(1), np.full(overview.shape, -9999, "float32")
        assert overview.dtypes[0] == "float32"
        found = overview.read_masks(1) > 0
        reproject(
            whole.astype("float32"), expected, src_transform=place_of(0), src_crs=UTM,
            src_nodata=-9999, dst_nodata=-9999, dst_transform=overview.transform,
            dst_crs=overview.crs, resampling=Resampling.average,
        )  # fmt: skip
    assert np.array_equal(found, expected != -9999)
    # Members are averaged one by one, so pixels on a joint of two have one of the two values.
    off = np.abs(seen - expected)[found]
    assert np.median(off) < 1 and (off > 15).mean() < 0.05


def test_all_tiers_are_assets_of_one_item(catalogue):
    pixels = {f"{n}.tif": hills(SIZE, 3, "uint8", 200) + 20 + n for n in range(2)}
    for number, (name, values) in enumerate(pixels.items()):
        put(catalogue, name, values, crs=UTM, transform=place_of(number))
    wanted = {"output_tier": "all", "raster_type": "rgb", "target_crs": "native"}
    result = run(catalogue, **wanted)
    assert (result["items"], result["members"]["published"]) == (2, 2)
    for item_id in catalogue.catalog.list_items("survey"):
        assets = catalogue.catalog.get_item("survey", item_id)["assets"]
        assert {"data", "visualization", "archive"} <= set(assets)
    for key, tolerance in (("data", 0), ("archive", 0), ("visualization", 12)):
        for name, path in fetch_members(catalogue, key).items():
            with rasterio.open(path) as cog:
                off = np.abs(cog.read().astype(int) - pixels[name])
            assert off.max() <= tolerance
    assert len(catalogue.live()) == 6
    again = run(catalogue, **wanted)
    assert (again["members"]["reused"], again["members"]["unchanged"]) == (2, 2)


def test_zones_and_both_sides_of_the_antimeridian_are_one_map(catalogue):
    """A raster in the last zone, one in the first, and one in degrees across 180."""
    [west], [north] = transform("EPSG:4326", "EPSG:32660", [179.99], [-17.0])
    [east], _ = transform("EPSG:4326", "EPSG:32601", [-179.99], [-17.0])
    degree = 0.01 / SIZE
    places = {
        "west.tif": ("EPSG:32660", from_origin(west - SIZE * PIXEL, north, PIXEL, PIXEL), 60),
        "east.tif": ("EPSG:32601", from_origin(east, north, PIXEL, PIXEL), 120),
        "across.tif": ("EPSG:4326", from_origin(179.995, -17.0, degree, degree), 180),
    }
    for name, (crs, place, grey) in places.items():
        put(catalogue, name, np.full((3, SIZE, SIZE), grey, "uint8"), crs=crs, transform=place)
    run(catalogue, raster_type="rgb")
    [box] = stored(catalogue)["extent"]["spatial"]["bbox"]
    assert box[0] == -180 and box[2] == 180
    path = fetch_overview(catalogue)
    with rasterio.open(path) as overview:
        assert overview.width < 2_000, "it spans a part of the world only"
        half = 20_037_508.342789244
        for crs, place, grey in places.values():
            corners = [place * (column, row) for column in (8, 56) for row in (8, 56)]
            lons, lats = transform(crs, "EPSG:4326", *zip(*corners, strict=True))
            xs, ys = transform("EPSG:4326", "EPSG:3857", lons, lats)
            xs = [x + 2 * half if x < 0 else x for x in xs]
            seen = list(overview.sample(zip(xs, ys, strict=True), masked=True))
            assert [each.tolist() for each in seen] == [pytest.approx([grey] * 3, abs=4)] * 4


def test_zones_join_without_a_gap(catalogue):
    """Neighbours at 12 degrees east, each in the zone of its side."""
    for name, crs, side in (("a.tif", "EPSG:32632", -1), ("b.tif", "EPSG:32633", 0)):
        [x], [y] = transform("EPSG:4326", crs, [12.0], [50.0])
        place = from_origin(x + (side * SIZE - 4) * PIXEL, y, PIXEL, PIXEL)
        width = SIZE + 8
        grey = np.full((3, SIZE, width), 120, "uint8")
        put(catalogue, name, grey, crs=crs, transform=place)
    run(catalogue, raster_type="rgb")
    lons = np.linspace(11.995, 12.005, 41)
    seen = values_at(fetch_overview(catalogue), "EPSG:4326", *((lon, 49.9975) for lon in lons))
    assert seen == [pytest.approx([120] * 3, abs=4)] * 41


def test_the_newest_is_on_top(catalogue):
    """By the dates in the names, not by the names."""
    greys = {"b_20230401.tif": 60, "a_20240102.tif": 120, "c_20221231.tif": 180}
    for name, grey in greys.items():
        place = place_of(0) * Affine.translation(0 if grey > 60 else SIZE // 2, 0)
        put(catalogue, name, np.full((3, SIZE, SIZE), grey, "uint8"), crs=UTM, transform=place)
    run(catalogue, raster_type="rgb")
    middles = [place_of(0) * (SIZE * share, SIZE / 2) for share in (0.25, 0.75, 1.25)]
    [left, middle, right] = values_at(fetch_overview(catalogue), UTM, *middles)
    assert left == middle == pytest.approx([120] * 3, abs=4)
    assert right == pytest.approx([60] * 3, abs=4)


def find_gaps(paths: Iterable[Path], places: NDArray[np.float64], level: int | None) -> int:
    """How many places, as rows of longitude and latitude, are empty in every raster."""
    lons, lats = places
    shown = np.zeros(lons.size, bool)
    options = {} if level is None else {"overview_level": level}
    for path in paths:
        with rasterio.open(path, **options) as raster:
            valid = raster.dataset_mask() > 0
            columns, rows = (
                np.floor(each).astype(int) for each in ~raster.transform * (lons, lats)
            )
            inside = (
                (columns >= 0) & (columns < raster.width) & (rows >= 0) & (rows < raster.height)
            )
            shown[inside] |= valid[rows[inside], columns[inside]]
    return int((~shown).sum())


def along_joints(across: int, down: int, size: int) -> NDArray[np.float64]:
    """Longitudes and latitudes within a pixel of the joints between tiles of the survey."""
    generator = np.random.default_rng(5)
    count = 4_000
    near = generator.integers(1, max(across, 2), count) * size + generator.uniform(-1, 1, count)
    far = generator.uniform(1, max(across, down) * size - 1, count)
    columns, rows = np.where(generator.random(count) < 0.5, (near, far), (far, near))
    kept = (columns < across * size - 1) & (rows < down * size - 1)
    places = place_of(0) * (columns[kept], rows[kept])
    return np.array(transform(UTM, "EPSG:4326", *places))


@pytest.mark.parametrize("kind", ["rgb", "rgba", "dem", "categorical"])
def test_tiles_that_touch_leave_no_gap(catalogue, kind):
    """Each is resampled to a grid of its own, and the grids do not fit each other."""
    count = {"rgb": 3, "rgba": 4}.get(kind, 1)
    dtype = "float32" if kind == "dem" else "uint8"
    options = {"dem": {"nodata": -9999}, "categorical": {"nodata": 255}}.get(kind, {})
    for column, row in np.ndindex(3, 3):
        pixels = hills(SIZE, count, dtype, 100) + np.array(20 * column + row, dtype)
        if kind == "rgba":
            pixels[3] = 255
        if kind == "categorical":
            pixels = np.full_like(pixels, 1 + column + 3 * row)
        place = place_of(int(column), int(row))
        put(catalogue, f"{column}-{row}.tif", pixels, crs=UTM, transform=place, **options)
    run(catalogue, raster_type=kind)
    members = fetch_members(catalogue)
    assert find_gaps(members.values(), along_joints(3, 3, SIZE), None) == 0


def test_overviews_of_tiles_that_touch_leave_no_gap(catalogue):
    size = 1_300
    for column in range(2):
        place = place_of(0) * Affine.translation(column * size, 0)
        pixels = hills(size, 3, "uint8", 100) + np.uint8(50 * column)
        put(catalogue, f"{column}.tif", pixels, crs=UTM, transform=place)
    run(catalogue, raster_type="rgb")
    paths = list(fetch_members(catalogue).values())
    places = along_joints(2, 1, size)
    with rasterio.open(paths[0]) as raster:
        levels = [None, *range(len(raster.overviews(1)))]
    assert len(levels) > 2
    assert {level: find_gaps(paths, places, level) for level in levels} == dict.fromkeys(levels, 0)
