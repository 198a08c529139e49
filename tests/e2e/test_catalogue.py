"""The STAC item of a raster that is processed again, changed, and processed once more."""

import shutil

import httpx
import rasterio

from tests.e2e.test_process_raster import SAMPLE


def test_the_item_follows_its_source(product, tmp_path):
    changed = tmp_path / "changed.tif"
    shutil.copy(SAMPLE, changed)
    with rasterio.open(changed, "r+") as raster:
        raster.write(255 - raster.read())

    def item(**parameters):
        job = product.run("process_raster", **source, collection_id="e2e-again", **parameters)
        stac = job["result_data"]["stac"]
        home = f"{product.environment.stac}/collections/{stac['collection_id']}/items"
        listed = httpx.get(home).json()["features"]
        assert [one["id"] for one in listed] == [stac["item_id"]]
        return httpx.get(f"{home}/{stac['item_id']}").json(), job["job_id"]

    source = product.upload(SAMPLE, "catalogue/bahamas.tif")
    first, job = item()
    assert item() == (first, job)
    again, other_job = item(strict_mode=True)
    assert other_job != job and again == first

    product.upload(changed, "catalogue/bahamas.tif")
    second, _ = item()
    assert second["properties"]["created"] == first["properties"]["created"]
    assert second["properties"]["updated"] > first["properties"]["updated"]
    of = "geolathe:source_etag"
    assert second["properties"][of] != first["properties"][of]
    checksums = [one["assets"]["data"]["file:checksum"] for one in (first, second)]
    assert checksums[0] != checksums[1]
    assert item(strict_mode=True)[0] == second
