"""Every link of a completed job with the real tile server, and requests that it rejects."""

import io
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from PIL import Image
from rasterio.warp import transform as reproject

from core.models import BlobRef
from tests.fixtures.sample_items import RASTERS, UTM33, SampleItems, write_cog

NINE = {
    "viewer_url", "info_url", "preview_url", "thumbnail_url", "statistics_url", "bounds_url",
    "info_geojson_url", "tilejson_url", "tiles_url_template",
}  # fmt: skip
TWO = {"item_viewer_url", "item_tilejson_url"}


@pytest.fixture(scope="module")
def client() -> httpx.Client:
    with httpx.Client(timeout=60) as client:
        yield client


def get(client: httpx.Client, url: str) -> httpx.Response:
    answer = client.get(url)
    assert answer.status_code == 200, f"{url}: {answer.status_code} {answer.text[:500]}"
    return answer


def picture(answer: httpx.Response) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))


def tile_around(client: httpx.Client, tilejson_url: str, zoom: int) -> np.ndarray:
    """The tile that contains the centre of the raster."""
    tilejson = get(client, tilejson_url).json()
    west, south, east, north = tilejson["bounds"]
    column, row = tile_at((west + east) / 2, (south + north) / 2, zoom)
    url = tilejson["tiles"][0].format(z=zoom, x=column, y=row)
    return picture(get(client, url))


def tile_at(longitude: float, latitude: float, zoom: int) -> tuple[int, int]:
    x = (longitude + 180) / 360
    y = (1 - np.arcsinh(np.tan(np.radians(latitude))) / np.pi) / 2
    return int(x * 2**zoom), int(y * 2**zoom)


@pytest.mark.parametrize("name", RASTERS)
def test_every_link_works(name: str, sample_items: SampleItems, client: httpx.Client):
    found = sample_items(name)
    assert set(found.titiler_urls) == NINE | TWO
    assert found.share_url == found.titiler_urls["viewer_url"]
    for key, url in found.titiler_urls.items():
        if key != "tiles_url_template":
            get(client, url)
    for key in ("tilejson_url", "item_tilejson_url"):
        tile = tile_around(client, found.titiler_urls[key], 11)
        assert len(np.unique(tile.reshape(-1, 4), axis=0)) > 1, f"{name}: {key} is one colour"


@pytest.mark.parametrize("name", RASTERS)
def test_the_links_of_the_item_work(name: str, sample_items: SampleItems, client: httpx.Client):
    item = sample_items(name).stac_item
    get(client, item["assets"]["thumbnail"]["href"])
    links = {link["rel"]: link for link in item["links"]}
    wmts = get(client, links["wmts"]["href"]).text
    assert f"<ows:Identifier>{links['wmts']['wmts:layer']}</ows:Identifier>" in wmts
    assert get(client, links["tilejson"]["href"]).json()["tiles"]


QUARTER_COLORS = {
    "rgb": [(250, 10, 10), (10, 250, 10), (10, 10, 250), (200, 200, 0)],
    "rgba": [(250, 10, 10), (10, 250, 10), (10, 10, 250), None],
    "nir": [(250, 10, 10), (10, 250, 10), (10, 10, 250), (200, 200, 0)],
    "classes": [(230, 0, 0), (0, 160, 0), (0, 0, 220), (240, 240, 0)],
}


@pytest.mark.parametrize("name", QUARTER_COLORS)
def test_colors_are_at_the_right_places(name: str, sample_items: SampleItems, client: httpx.Client):
    found = sample_items(name)
    for key in ("tilejson_url", "item_tilejson_url"):
        tilejson = get(client, found.titiler_urls[key]).json()
        for color, (column, row) in zip(
            QUARTER_COLORS[name], [(150, 150), (450, 150), (150, 450), (450, 450)], strict=True
        ):
            seen = pixel(client, tilejson["tiles"][0], column, row)
            if color is None:
                assert seen[3] == 0
            else:
                # Tiles without transparent pixels are JPEG.
                assert seen.astype(int) == pytest.approx((*color, 255), abs=4)


def pixel(client: httpx.Client, template: str, column: int, row: int) -> np.ndarray:
    """The colour of the map at the location of a pixel of the raster."""
    [x], [y] = reproject(UTM33, "EPSG:4326", [500_000 + 30 * column], [5_500_000 - 30 * row])
    zoom = 12
    tile = tile_at(x, y, zoom)
    image = picture(get(client, template.format(z=zoom, x=tile[0], y=tile[1])))
    size = image.shape[0]
    fx = (x + 180) / 360 * 2**zoom - tile[0]
    fy = (1 - np.arcsinh(np.tan(np.radians(y))) / np.pi) / 2 * 2**zoom - tile[1]
    return image[int(fy * size), int(fx * size)]


@pytest.mark.parametrize("name", ["dem", "rgb16", "multispectral", "continuous"])
def test_stretch_uses_the_whole_range(name: str, sample_items: SampleItems, client: httpx.Client):
    preview = picture(get(client, sample_items(name).titiler_urls["preview_url"]))
    shown = preview[preview[..., 3] > 0][:, :3].astype(int)
    assert shown.max() > 200
    assert shown.min() < 60
    assert max(preview.shape[:2]) == 512


def test_bounds_are_in_degrees(sample_items: SampleItems, client: httpx.Client):
    found = sample_items("dem")
    bounds = get(client, found.titiler_urls["bounds_url"]).json()["bounds"]
    assert bounds == pytest.approx(found.bbox, abs=0.01)


def test_other_renders_are_offered(sample_items: SampleItems, client: httpx.Client, titiler: str):
    found = sample_items("dem")
    url = f"{titiler}/collections/{found.collection_id}/items/{found.item_id}/renders"
    renders = get(client, url).json()["renders"]
    assert set(renders) == {"default", "hillshade"}
    assert all(render["valid"] for render in renders.values())


def test_each_asset_of_an_item_has_a_map(sample_items: SampleItems, client, titiler: str):
    found = sample_items("rgb")
    base = f"{titiler}/collections/{found.collection_id}/items/{found.item_id}/assets"
    assert get(client, f"{base}/data/info").json()["count"] == 3
    assert client.get(f"{base}/nothing/info").status_code == 404


def test_cog_can_be_downloaded(sample_items: SampleItems, client: httpx.Client, titiler: str):
    found = sample_items("rgb")
    path = f"/vsiaz/{sample_items.silver}/{found.blob_name}"
    answer = get(client, f"{titiler}/cog/download?url={quote(path, safe='')}")
    assert answer.content[:4] in (b"II*\0", b"MM\0*")
    assert len(answer.content) == found.stac_item["assets"]["data"]["file:size"]
    assert "attachment" in answer.headers["content-disposition"]


def test_the_plain_url_of_a_blob_is_accepted(sample_items: SampleItems, client, titiler: str):
    href = sample_items("rgb").stac_item["assets"]["data"]["href"]
    assert get(client, f"{titiler}/cog/info?url={quote(href, safe='')}").json()["count"] == 3


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "/etc/passwd",
        "/vsicurl/http://127.0.0.1:1/x.tif",
        "http://169.254.169.254/latest/meta-data",
        "https://example.org/x.tif",
        "/vsiaz/",
        "/vsiaz/{silver}",
        "/vsiaz/{silver}/../{hidden}/secret.tif",
        "/vsiaz/{silver}/./x.tif",
        "/vsiaz/{silver}//x.tif",
        "/vsiaz_streaming/{silver}/x.tif",
        "GTIFF_DIR:1:/vsiaz/{silver}/x.tif",
        "/vsizip//vsiaz/{silver}/x.zip",
        "<VRTDataset rasterXSize='1' rasterYSize='1'/>",
        "{account}/{silver}/../{hidden}/secret.tif",
        "{account}/{silver}/%2e%2e/{hidden}/secret.tif",
        "{account}/{silver}/x.tif?sig=abc",
        "{account}.evil.example.org/{silver}/x.tif",
        "",
    ],
)
def test_only_urls_of_the_storage_account_are_opened(
    url, client, titiler, silver, hidden, sample_items
):
    account = sample_items.blobs.url(BlobRef(container=silver, name="x")).removesuffix(
        f"/{silver}/x"
    )
    asked = url.format(silver=silver, hidden=hidden, account=account)
    for path in ("info", "preview.png", "WebMercatorQuad/map.html", "WMTSCapabilities.xml"):
        answer = client.get(f"{titiler}/cog/{path}", params={"url": asked})
        assert answer.status_code in (400, 403), f"{path} {asked}: {answer.status_code}"
        assert answer.headers["content-type"].startswith("application/problem+json")


def test_other_containers_are_rejected(client, titiler, hidden, sample_items, azurite):
    answer = client.get(f"{titiler}/cog/info", params={"url": f"/vsiaz/{hidden}/secret.tif"})
    assert answer.status_code == 403
    assert hidden in answer.json()["detail"]


def test_references_to_other_files_are_not_followed(client, titiler, sample_items, tmp_path):
    """A blob named .tif can be a VRT that references a local file."""
    trick = tmp_path / "trick.tif"
    trick.write_text(
        "<VRTDataset rasterXSize='1' rasterYSize='1'><VRTRasterBand dataType='Byte' band='1'>"
        "<SimpleSource><SourceFilename>/etc/passwd</SourceFilename></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )
    ref = BlobRef(container=sample_items.silver, name="trick.tif")
    sample_items.blobs.upload(ref, trick, content_type="image/tiff")
    answer = client.get(f"{titiler}/cog/info", params={"url": f"/vsiaz/{ref}"})
    assert answer.status_code == 404
    assert "not recognized" in answer.json()["detail"]


def test_missing_blob_is_not_found(client, titiler, silver):
    answer = client.get(f"{titiler}/cog/info", params={"url": f"/vsiaz/{silver}/nothing.tif"})
    assert answer.status_code == 404


def test_a_changed_blob_is_rendered_with_its_new_content(client, titiler, sample_items, tmp_path):
    """The blob is created after a first request, then replaced; no earlier state is cached."""
    ref = BlobRef(container=sample_items.silver, name="changing.tif")

    def bands():
        return client.get(f"{titiler}/cog/info", params={"url": f"/vsiaz/{ref}"}).json()["count"]

    missing = client.get(f"{titiler}/cog/info", params={"url": f"/vsiaz/{ref}"})
    assert missing.status_code == 404
    for name, count in (("rgb", 3), ("multispectral", 6), ("dem", 1)):
        file = write_cog(tmp_path / f"{name}.tif", name)
        sample_items.blobs.upload(ref, file, content_type="image/tiff")
        assert bands() == count


def test_a_missing_url_parameter_is_named(client, titiler):
    answer = client.get(f"{titiler}/cog/info")
    assert answer.status_code == 422
    assert "url" in answer.text
