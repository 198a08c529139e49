"""Downloads of assets: a redirect to a signed URL, or the URL as JSON."""

import hashlib

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.e2e.test_process_raster import SAMPLE


@pytest.fixture(scope="module")
def stac(product):
    """The names of a published item."""
    source = product.upload(SAMPLE, "assets/bahamas.tif")
    job = product.run("process_raster", **source, collection_id="e2e-assets")
    assert job["status"] == "completed", job
    return job["result_data"]


@pytest.fixture
def item(product, stac):
    names = stac["stac"]
    path = f"/collections/{names['collection_id']}/items/{names['item_id']}"
    return httpx.get(product.environment.stac + path).json()


@pytest.fixture
def path(stac, item):
    [key] = [key for key, each in item["assets"].items() if "data" in each.get("roles", ())]
    return f"/items/{stac['stac']['collection_id']}/{stac['stac']['item_id']}/assets/{key}"


def test_an_asset_redirects_to_its_file_in_the_private_container(product, item, path):
    asset = item["assets"][path.rsplit("/", 1)[-1]]
    assert httpx.get(asset["href"]).status_code in (401, 403, 404, 409)
    with product.api as api:
        response = api.get(path)
    assert (response.status_code, response.headers["cache-control"]) == (302, "no-store")
    file = httpx.get(response.headers["location"])
    assert file.status_code == 200 and file.content[:4] == b"II*\0"
    assert len(file.content) == asset["file:size"]
    assert asset["file:checksum"].endswith(hashlib.sha256(file.content).hexdigest())


@pytest.mark.parametrize(
    ("query", "accept"), [("?format=json", "*/*"), ("", "text/html;q=0.5, application/json")]
)
def test_the_url_is_returned_as_json_on_request(product, stac, path, query, accept):
    with product.api as api:
        response = api.get(path + query, headers={"Accept": accept})
    body = response.json()
    assert response.status_code == 200 and response.headers["cache-control"] == "no-store"
    assert body["blob_name"] == stac["cog"]["cog_blob"]
    assert body["item_id"] == stac["stac"]["item_id"]
    file = httpx.get(body["url"])
    assert len(file.content) == body["size"]
    assert body["checksum"].endswith(hashlib.sha256(file.content).hexdigest())
    assert httpx.put(body["url"], content=b"", headers={"x-ms-blob-type": "BlockBlob"}).is_error


def test_what_does_not_exist_is_named(product, path):
    _, _, collection, item, _, key = path.split("/")
    with product.api as api:
        for wrong, code, name in [
            (f"/items/{collection}/nothing/assets/{key}", "ITEM_NOT_FOUND", "'nothing'"),
            (f"/items/nowhere/{item}/assets/{key}", "ITEM_NOT_FOUND", "'nowhere'"),
            (f"/items/{collection}/{item}/assets/nothing", "ASSET_NOT_FOUND", key),
            (f"/items/{collection}/{item}/assets/thumbnail", "ASSET_NOT_FOUND", "href"),
        ]:
            response = api.get(wrong)
            assert (response.status_code, response.json()["code"]) == (404, code)
            assert name in response.json()["detail"]
        assert api.get(f"{path}?format=xml").status_code == 422
        assert api.get(path, headers={"x-functions-key": "wrong"}).status_code == 401


def test_files_that_the_product_did_not_write_are_not_signed(product, item, stac):
    """Items may also reference other files, in the same container and elsewhere."""
    collection = stac["stac"]["collection_id"]
    with product.storage as storage:
        foreign = storage.get_blob_client("silver-cogs", "assets/foreign.tif")
        foreign.upload_blob(b"from another writer", overwrite=True)
    elsewhere = foreign.url.replace("silver-cogs", "bronze-rasters")
    assets = {"near": {"href": foreign.url}, "far": {"href": elsewhere}}
    with psycopg.connect(product.environment.database_url) as conn:
        conn.execute("SET search_path TO pgstac, public")
        # Of no raster type, so that searches of other tests do not find it.
        properties = {**item["properties"], "geolathe:raster_type": None}
        stored = Jsonb({**item, "id": "foreign", "assets": assets, "properties": properties})
        conn.execute("SELECT pgstac.create_item(%s)", (stored,))
    with product.api as api:
        for key, reason in (("near", "not written by"), ("far", "not a file in 'silver-cogs'")):
            response = api.get(f"/items/{collection}/foreign/assets/{key}")
            assert response.json()["code"] == "ASSET_NOT_FOUND"
            assert reason in response.json()["detail"]
