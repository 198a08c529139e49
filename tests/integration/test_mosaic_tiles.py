"""The map of a collection with the real tile server, judged by GDAL's warp of the whole survey."""

import io
import itertools
import json

import httpx
import morecantile
import numpy as np
import psycopg
import pytest
import rasterio
from PIL import Image
from rasterio.enums import Resampling
from rasterio.warp import transform, transform_bounds

from core.models import PublishedItem
from services.raster.model import RasterType
from services.stac.mosaic import order_on_map
from tests.fixtures.mosaics import make_overview
from tests.fixtures.surveys import (
    CORNER,
    HALF_WORLD,
    SIDE,
    inside,
    surface,
    survey,
    warp_survey,
    write_member,
)

TMS = morecantile.tms.get("WebMercatorQuad")
RGB = "data|bidx=1,2,3"
COLUMNS, ROWS = 3, 2


@pytest.fixture(scope="module")
def client() -> httpx.Client:
    with httpx.Client(timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def whole() -> np.ndarray:
    """A picture without edges, so that the same place looks the same at all resolutions."""
    return (surface(COLUMNS * SIDE, ROWS * SIDE, 3) * 200 + 20).astype("uint8")


@pytest.fixture(scope="module")
def members(whole, tmp_path_factory) -> list:
    return survey(tmp_path_factory.mktemp("survey"), whole)


@pytest.fixture(scope="module")
def bounds() -> tuple[float, ...]:
    """Of the whole survey, in degrees."""
    x, y, size = CORNER
    right, bottom = x + COLUMNS * SIDE * size, y - ROWS * SIDE * size
    return transform_bounds("EPSG:32633", "EPSG:4326", x, bottom, right, y)


class Tiles:
    """Requests the tiles of one collection."""

    def __init__(self, client: httpx.Client, titiler: str, collection_id: str) -> None:
        self.client = client
        self.base = f"{titiler}/collections/{collection_id}"

    def get(self, path: str, **query) -> httpx.Response:
        return self.client.get(f"{self.base}/{path}", params={"assets": RGB} | query)

    def tile(self, tile: morecantile.Tile, **query) -> httpx.Response:
        return self.get(f"tiles/WebMercatorQuad/{tile.z}/{tile.x}/{tile.y}", **query)

    def pixels(self, tile: morecantile.Tile, **query) -> np.ndarray:
        """The tile as rows, columns, RGBA; transparent if there is none."""
        answer = self.tile(tile, **query)
        size = query.get("tilesize", 256)
        if answer.status_code == 204:
            return np.zeros((size, size, 4), "uint8")
        assert answer.status_code == 200, f"{answer.url}: {answer.text[:500]}"
        return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))


@pytest.fixture
def tiles(client, titiler, mosaics):
    """The tiles of a new collection."""

    def catalogued(members, **fields) -> Tiles:
        return Tiles(client, titiler, mosaics.add(members, **fields))

    return catalogued


def warp_to(tile: morecantile.Tile, whole: np.ndarray, **options) -> np.ndarray:
    return warp_survey(whole, tuple(TMS.xy_bounds(tile)), (256, 256), **options)


def tile_at(longitude: float, latitude: float, zoom: int) -> morecantile.Tile:
    return TMS.tile(longitude, latitude, zoom)


def solid(path, color: tuple[int, int, int], around: tuple[float, ...]):
    """A picture of one colour over these bounds in degrees, in Web Mercator."""
    left, bottom, right, top = transform_bounds("EPSG:4326", "EPSG:3857", *around)
    size = (right - left) / 400
    rows = int(np.ceil((top - bottom) / size))
    pixels = np.ones((3, rows, 400), "uint8") * np.array(color, "uint8")[:, None, None]
    path.mkdir()
    return write_member(path, pixels, 0, 0, crs="EPSG:3857", corner=(left, top, size))


@pytest.mark.parametrize("zoom", [11, 13, 14, 15, 16, 17])
@pytest.mark.parametrize("with_overview", [True, False])
def test_tiles_show_the_survey_without_a_hole(
    zoom, with_overview, tiles, mosaics, members, whole, bounds, tmp_path
):
    fields = {}
    if with_overview:
        path, maxzoom = make_overview(members, RasterType.RGB, tmp_path)
        fields["assets"] = mosaics.overview(path, maxzoom)
    mosaic = tiles(members, **fields)
    # The pixels of some COGs are read from their overviews, which are averages.
    resampling = Resampling.average if zoom < 16 else Resampling.nearest
    for tile in TMS.tiles(*bounds, zooms=zoom):
        expected = warp_to(tile, whole, resampling=resampling)
        seen = mosaic.pixels(tile)
        full = expected.min(axis=0) > 0
        assert seen[..., 3][inside(full)].all(), f"hole in {tile}"
        assert not seen[..., 3][inside(~full, 3)].any(), f"pixels outside of the survey in {tile}"
        off = np.abs(seen[..., :3].astype(int) - np.moveaxis(expected, 0, -1))[inside(full, 3)]
        if off.size:
            assert off.max() <= 40
            assert off.mean() < 5


def test_tiles_of_512_pixels_use_the_level_of_their_pixels(
    tiles, mosaics, members, bounds, tmp_path
):
    """The overview, which is red here, has the pixels of zoom 14."""
    red = solid(tmp_path / "red", (250, 0, 0), bounds)
    mosaic = tiles(members, assets=mosaics.overview(red, 14))
    centre = (bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2

    def is_red(zoom: int, size: int) -> bool:
        seen = mosaic.pixels(tile_at(*centre, zoom), tilesize=size)
        return bool((seen[..., 0] > 200).any() and (seen[..., 1][seen[..., 3] > 0] < 20).all())

    assert is_red(14, 256)
    assert is_red(13, 512)
    assert is_red(12, 1024)
    assert not is_red(15, 256)
    assert not is_red(14, 512)


def test_pictures_of_a_box_use_the_level_of_their_pixels(tiles, mosaics, members, bounds, tmp_path):
    red = solid(tmp_path / "red", (250, 0, 0), bounds)
    mosaic = tiles(members, assets=mosaics.overview(red, 14))
    area = ",".join(map(str, bounds))
    for size, from_overview in ((100, True), (900, False)):
        for query in ({"max_size": size}, {"width": size, "height": size}):
            answer = mosaic.get(f"bbox/{area}.png", **query)
            seen = np.asarray(Image.open(io.BytesIO(answer.content)))
            assert max(seen.shape) == size
            assert (seen[seen.shape[0] // 2, seen.shape[1] // 2, 1] < 20) == from_overview


def test_other_assets_and_other_selections_do_not_use_the_overview(
    tiles, mosaics, members, bounds, tmp_path
):
    red = solid(tmp_path / "red", (250, 0, 0), bounds)
    mosaic = tiles(members, assets=mosaics.overview(red, 14))
    tile = tile_at((bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2, 13)
    assert mosaic.pixels(tile)[..., 1].max() < 20
    assert mosaic.pixels(tile, pixel_selection="highest")[..., 1].max() > 20
    assert mosaic.tile(tile, assets="other").status_code == 404


def test_an_overview_that_is_gone_is_replaced_by_the_items(
    tiles, mosaics, members, bounds, tmp_path
):
    red = solid(tmp_path / "red", (250, 0, 0), bounds)
    assets = mosaics.overview(red, 14)
    mosaic = tiles(members, assets=assets)
    tile = tile_at((bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2, 13)
    assert mosaic.pixels(tile)[..., 1].max() < 20
    mosaics.remove(assets["overview"]["href"])
    answer = mosaic.tile(tile)
    assert answer.headers["cache-control"] != "no-store"
    assert mosaic.pixels(tile)[..., 1].max() > 20


def test_a_missing_blob_is_a_gap(tiles, mosaics, members, bounds):
    mosaic = tiles(members)
    mosaics.remove(mosaics.href(mosaic.base.split("/")[-1], 0))
    over_all = tile_at((bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2, 13)
    answer = mosaic.tile(over_all)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "image/png"
    x, y, size = CORNER
    for column, row, there in ((100, 100, False), (SIDE + 100, 100, True), (100, SIDE + 100, True)):
        [lon], [lat] = transform("EPSG:32633", "EPSG:4326", [x + column * size], [y - row * size])
        tile = tile_at(lon, lat, 18)
        answer = mosaic.tile(tile)
        assert answer.status_code == (200 if there else 204)
        assert (answer.headers["cache-control"] == "no-store") == (not there)
        assert mosaic.get(f"point/{lon},{lat}").status_code == 200


def test_overlaps_show_the_newest_item_unless_another_is_selected(tiles, tmp_path):
    colors = [(90, 90, 90), (200, 20, 90), (20, 200, 90)]
    members = []
    for number, color in enumerate(colors):
        folder = tmp_path / str(number)
        folder.mkdir()
        pixels = np.ones((3, SIDE, SIDE), "uint8") * np.array(color, "uint8")[:, None, None]
        members.append(write_member(folder, pixels, 0, 0))
    mosaic = tiles(members)
    x, y, _ = CORNER
    [lon], [lat] = transform("EPSG:32633", "EPSG:4326", [x + 300], [y - 300])
    tile = tile_at(lon, lat, 17)

    def middle(**query):
        return mosaic.pixels(tile, **query)[128, 128, :3].astype(int).tolist()

    assert middle() == pytest.approx(colors[0], abs=3)
    assert middle(pixel_selection="highest") == pytest.approx((200, 200, 90), abs=3)
    assert middle(pixel_selection="lowest") == pytest.approx((20, 20, 90), abs=3)
    assert middle(items_limit=1) == pytest.approx(colors[0], abs=3)
    answer = mosaic.tile(tile, pixel_selection="highest", items_limit=2)
    assert answer.status_code == 400
    assert "more than items_limit=2 items" in answer.json()["detail"]


def test_items_are_in_the_order_of_overviews(tiles, mosaics, members):
    """By time, whatever its offset and precision, then by id as characters are coded."""
    times = [
        ("a", {"datetime": "2026-06-01T12:00:00Z"}),
        ("b", {"datetime": "2026-06-01T12:00:00.500000Z"}),
        ("c", {"datetime": "2026-06-01T13:30:00+02:00"}),
        ("d", {"datetime": "2026-06-01T02:30:00-10:00"}),
        ("e", {"datetime": None, "start_datetime": "2026-06-01T00:00:00Z",
               "end_datetime": "2026-06-30T23:59:59Z"}),
        ("B", {"datetime": "2026-06-01T12:00:00Z"}),
        ("a-1", {"datetime": "2026-06-01T12:00:00Z"}),
        ("a.1", {"datetime": "2026-06-01T12:00:00Z"}),
    ]  # fmt: skip
    mosaic = tiles(members[:1])
    collection_id = mosaic.base.rpartition("/")[2]
    [stored] = mosaics.catalog.list_items(collection_id)
    item = mosaics.catalog.get_item(collection_id, stored)
    items = [item | {"id": name, "properties": found} for name, found in times]
    collection = mosaics.catalog.get_collection(collection_id)
    published = [PublishedItem(item=each, outputs=()) for each in items]
    mosaics.catalog.put_items(published, collection)
    mosaics.catalog.delete_item(collection_id, stored, item["properties"]["updated"])
    lon, lat = members_centre(members[0])
    found = [each["name"] for each in mosaic.get(f"point/{lon},{lat}").json()["assets"]]
    newest = sorted(items, key=order_on_map, reverse=True)
    assert found == [each["id"] for each in newest] == ["d", "b", "a.1", "a-1", "a", "B", "c", "e"]


def test_more_items_than_the_limit_are_an_error_and_not_a_hole(tiles, members, bounds):
    mosaic = tiles(members)
    tile = tile_at((bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2, 13)
    answer = mosaic.tile(tile, items_limit=2)
    assert answer.status_code == 400
    assert "zoom in" in answer.json()["detail"]
    assert mosaic.tile(tile, items_limit=6).status_code == 200
    assert mosaic.tile(tile, items_limit=0).status_code == 422


CLUSTERS = (("EPSG:32633", (500_000, 5_500_000, 200)), ("EPSG:32753", (500_000, 7_500_000, 200)))
ACROSS, PIXELS = 9, 32


def grey_of(number: int) -> int:
    return 60 + 2 * number


@pytest.fixture(scope="module")
def clusters(tmp_path_factory) -> tuple[list, list[tuple[float, float, int]]]:
    """81 members in Europe and 81 in Australia, and the middle in degrees and grey of each."""
    folder, members, middles = tmp_path_factory.mktemp("clusters"), [], []
    for crs, corner in CLUSTERS:
        x, y, size = corner
        (folder / crs[-5:]).mkdir()
        for number in range(ACROSS**2):
            row, column = divmod(number, ACROSS)
            pixels = np.full((3, PIXELS, PIXELS), grey_of(number), "uint8")
            place = column * PIXELS, row * PIXELS
            members.append(write_member(folder / crs[-5:], pixels, *place, crs=crs, corner=corner))
            easting = x + (column + 0.5) * PIXELS * size
            northing = y - (row + 0.5) * PIXELS * size
            [[lon], [lat]] = transform(crs, "EPSG:4326", [easting], [northing])
            middles.append((lon, lat, grey_of(number)))
    return members, middles


@pytest.fixture(scope="module")
def far_apart(client, titiler, mosaics, clusters, tmp_path_factory) -> Tiles:
    """A collection of clusters that are far apart, whose overview is therefore coarse."""
    path, maxzoom = make_overview(clusters[0], RasterType.RGB, tmp_path_factory.mktemp("overview"))
    assert maxzoom <= 7
    return Tiles(client, titiler, mosaics.add(clusters[0], assets=mosaics.overview(path, maxzoom)))


def assert_all_shown(mosaic: Tiles, middles, zoom: int, **query) -> None:
    """Each member has its grey in its middle."""
    pictures = {}
    for lon, lat, grey in middles:
        tile = tile_at(lon, lat, zoom)
        if tile not in pictures:
            pictures[tile] = mosaic.pixels(tile, **query).astype(int)
        column, row = pixel_in_tile(lon, lat, zoom)
        *color, alpha = pictures[tile][row, column]
        assert alpha == 255 and color == pytest.approx([grey] * 3, abs=8), (tile, lon, lat)


@pytest.mark.parametrize("zoom", [6, 7, 8, 9, 10, 12])
def test_clusters_far_apart_have_no_hole_at_any_zoom(far_apart, clusters, zoom):
    assert_all_shown(far_apart, clusters[1], zoom)


def test_the_overview_is_enlarged_where_too_many_items_meet(far_apart, clusters):
    assert_all_shown(far_apart, clusters[1], 10, items_limit=10)
    lon, lat, _ = clusters[1][40]
    answer = far_apart.tile(tile_at(lon, lat, 10), items_limit=10, pixel_selection="highest")
    assert answer.status_code == 400 and "items_limit=10" in answer.json()["detail"]


def test_a_dem_has_one_stretch(tiles, bounds, tmp_path):
    """Values increase from west to east across all members, and so does the grey."""
    ramp = np.tile(np.linspace(100, 900, COLUMNS * SIDE), (ROWS * SIDE, 1))[None].astype("float32")
    ramp[0, 200:260, :] = -9999
    mosaic = tiles(survey(tmp_path, ramp, nodata=-9999.0))
    for tile in TMS.tiles(*bounds, zooms=14):
        expected = warp_to(
            tile, ramp, resampling=Resampling.average, src_nodata=-9999.0, dst_nodata=0
        )[0]
        seen = mosaic.pixels(tile, assets="data|bidx=1", rescale="100,900")
        there = inside(expected > 0)
        assert seen[..., 3][there].all()
        grey = (expected - 100) / 800 * 255
        assert np.abs(seen[..., 0] - grey)[there].max(initial=0) < 8


def test_classes_have_the_colours_of_their_palette(tiles, bounds, tmp_path):
    palette = {1: (230, 0, 0, 255), 2: (0, 160, 0, 255)}
    halves = np.ones((1, SIDE, 2 * SIDE), "uint8")
    halves[..., SIDE:] = 2
    mosaic = tiles(survey(tmp_path, halves, palette=palette))
    colormap = json.dumps({key: list(color) for key, color in palette.items()})
    x, y, size = CORNER
    for column, number in ((100, 1), (SIDE + 100, 2)):
        [lon], [lat] = transform("EPSG:32633", "EPSG:4326", [x + column * size], [y - 200])
        seen = mosaic.pixels(tile_at(lon, lat, 18), assets="data|bidx=1", colormap=colormap)
        assert seen[128, 128, :3].astype(int).tolist() == pytest.approx(palette[number][:3], abs=3)


def test_members_in_different_zones_join(tiles, tmp_path):
    """Two members on either side of 12 degrees east, each in the UTM zone of its side."""
    pixels = np.full((3, SIDE, SIDE), 120, "uint8")
    members = []
    for crs, side in (("EPSG:32632", -1), ("EPSG:32633", 0)):
        folder = tmp_path / crs[-5:]
        folder.mkdir()
        [x], [y] = transform("EPSG:4326", crs, [12.0], [50.0])
        corner = (x + side * SIDE * 2 - 60 * (2 * side + 1), y, 2)
        members.append(write_member(folder, pixels, 0, 0, crs=crs, corner=corner))
    mosaic = tiles(members)
    seen = mosaic.pixels(tile_at(12.0, 49.9965, 17))
    assert seen[..., 3].all()
    assert seen[..., 0].astype(int).ravel().tolist() == pytest.approx([120] * 256 * 256, abs=3)


@pytest.mark.parametrize("with_overview", [True, False])
def test_members_across_the_antimeridian(with_overview, tiles, mosaics, tmp_path):
    """One raster in UTM and one in degrees, both across 180, above each other."""
    pixels = np.full((3, SIDE, SIDE), 120, "uint8")
    folders = [tmp_path / "utm", tmp_path / "degrees"]
    for folder in folders:
        folder.mkdir()
    [x], [y] = transform("EPSG:4326", "EPSG:32660", [180.0], [-17.0])
    members = [
        write_member(
            folders[0], pixels, 0, 0, crs="EPSG:32660", corner=(x - SIDE, y, 2)
        ),
        write_member(
            folders[1], pixels, 0, 0, crs="EPSG:4326",
            corner=(180 - SIDE * 1e-5, -17.0 + SIDE * 2e-5, 2e-5),
        ),
    ]  # fmt: skip
    fields = {}
    if with_overview:
        path, _ = make_overview(members, RasterType.RGB, tmp_path)
        with rasterio.open(path) as overview:
            assert overview.bounds.right > HALF_WORLD
        fields["assets"] = mosaics.overview(path, 16)
    mosaic = tiles(members, **fields)
    for lon, lat in itertools.product((179.9985, -179.9985), (-17.002, -16.9965)):
        seen = mosaic.pixels(tile_at(lon, lat, 16))
        column, row = pixel_in_tile(lon, lat, 16)
        assert seen[row, column].astype(int).tolist() == pytest.approx((120, 120, 120, 255), abs=4)


def pixel_in_tile(lon: float, lat: float, zoom: int) -> tuple[int, int]:
    [x], [y] = transform("EPSG:4326", "EPSG:3857", [lon], [lat])
    box = TMS.xy_bounds(tile_at(lon, lat, zoom))
    width, height = box.right - box.left, box.top - box.bottom
    return int((x - box.left) / width * 256), int((box.top - y) / height * 256)


def test_full_tiles_are_jpeg_and_others_png(tiles, members, bounds):
    mosaic = tiles(members)
    lon, lat = (bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2
    assert mosaic.tile(tile_at(lon, lat, 17)).headers["content-type"] == "image/jpeg"
    assert mosaic.tile(tile_at(lon, lat, 12)).headers["content-type"] == "image/png"


def test_the_other_routes_describe_the_collection(tiles, members, bounds):
    render = {"assets": ["data"], "bidx": [1, 2, 3], "rescale": [[0, 255]], "minmax_zoom": [9, 17]}
    mosaic = tiles(members, renders={"default": render})
    tilejson = mosaic.get("WebMercatorQuad/tilejson.json").json()
    assert (tilejson["minzoom"], tilejson["maxzoom"]) == (9, 17)
    assert tilejson["bounds"] == pytest.approx(bounds, abs=1e-6)
    assert "default" in tilejson["raster_layers"]
    info = mosaic.get("info").json()
    assert info["bounds"] == pytest.approx(bounds, abs=1e-6)
    assert mosaic.get("WebMercatorQuad/map.html").status_code == 200
    wmts = mosaic.get("WMTSCapabilities.xml")
    assert wmts.status_code == 200
    assert f"{mosaic.base}/tiles/WebMercatorQuad" in wmts.text
    lon, lat = (bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2
    point = mosaic.get(f"point/{lon},{lat}").json()
    assert len(point["assets"][0]["values"]) == 3
    area = {
        "type": "Feature", "properties": {},
        "geometry": {"type": "Polygon", "coordinates": [[
            [lon, lat], [lon + 0.004, lat], [lon + 0.004, lat + 0.002], [lon, lat],
        ]]},
    }  # fmt: skip
    answer = mosaic.client.post(f"{mosaic.base}/statistics", params={"assets": RGB}, json=area)
    assert answer.status_code == 200
    assert 20 <= answer.json()["properties"]["statistics"]["b1"]["mean"] <= 220


def test_bad_requests_are_explained(tiles, mosaics, members, hidden, client, titiler):
    mosaic = tiles(members[:1])
    assert Tiles(client, titiler, "no-such").tile(morecantile.Tile(0, 0, 0)).status_code == 404
    assert mosaic.get("bbox/15.1,49,15,50.png").status_code == 400
    unnamed = client.get(f"{mosaic.base}/tiles/WebMercatorQuad/17/0/0")
    assert unnamed.status_code == 422
    by_name = mosaic.tile(tile_at(*members_centre(members[0]), 17), assets="data|bands=red")
    assert (by_name.status_code, "bidx" in by_name.text) == (400, True)
    assert mosaic.get("members", bbox="1,2,3").status_code == 400
    assert mosaic.get("members", after="nonsense").status_code == 400
    forbidden = Tiles(client, titiler, mosaics.add(members[:1], container=hidden))
    answer = forbidden.tile(tile_at(*members_centre(members[0]), 17))
    assert answer.status_code == 403
    assert hidden in answer.json()["detail"]


def members_centre(path) -> tuple[float, float]:
    with rasterio.open(path) as raster:
        return raster.lnglat()


def test_members_are_listed_by_page_and_by_place(tiles, members):
    mosaic = tiles(members)
    listed, query = [], {"limit": 4}
    while query:
        page = mosaic.get("members", **query).json()
        listed += page["features"]
        query = {"limit": 4, "after": page["next"]} if "next" in page else None
    assert [feature["properties"]["title"] for feature in listed] == [p.stem for p in members]
    assert listed[0]["properties"]["datetime"].startswith("2026-06-01")
    lon, lat = members_centre(members[2])
    [found] = mosaic.get("members", bbox=f"{lon},{lat},{lon},{lat}").json()["features"]
    assert found["properties"]["title"] == members[2].stem
    assert found["geometry"]["type"] == "MultiPolygon"


def test_nothing_is_written(tiles, members, bounds, catalogue_url):
    mosaic = tiles(members)

    def written():
        with psycopg.connect(catalogue_url) as conn:
            return conn.execute(
                "SELECT (SELECT count(*) FROM pgstac.searches),"
                " (SELECT count(*) FROM pgstac.search_wheres)"
            ).fetchone()

    before = written()
    for tile in TMS.tiles(*bounds, zooms=14):
        mosaic.pixels(tile)
    assert written() == before
