"""Publishing, unpublishing and publishing a raster again; its source is kept."""

from pathlib import Path

import httpx

SAMPLE = Path(__file__).parents[2] / "samples" / "bahamas_landsat7.tif"


def test_published_unpublished_and_published_again(product):
    source = product.upload(SAMPLE, "unpublish/bahamas.tif")
    wanted = source | {"collection_id": "e2e-unpublish", "output_folder": "gone"}
    first = product.run("process_raster", **wanted)
    assert first["status"] == "completed", first
    name = {"item_id": first["result_data"]["stac"]["item_id"], "collection_id": "e2e-unpublish"}
    asked = name | {"remove_empty_collection": True}

    done = product.run("unpublish_raster", **asked)
    cog = first["result_data"]["cog"]
    assert done["result_data"] == {
        "job_type": "unpublish_raster",
        **name,
        "item": "removed",
        "removed_cogs": [f"{cog['cog_container']}/{cog['cog_blob']}"],
        "kept_cogs": [],
        "collection_removed": True,
    }
    assert product.silver("gone/") == []
    collection = f"{product.environment.stac}/collections/e2e-unpublish"
    assert httpx.get(collection).status_code == 404
    assert httpx.get(first["result_data"]["titiler_urls"]["info_url"]).status_code >= 400
    again = product.run("unpublish_raster", **asked)
    assert again["status"] == "completed"
    assert again["result_data"]["item"] == "already_gone"
    assert product.submit("unpublish_raster", **asked)["job_id"] == again["job_id"]

    back = product.run("process_raster", **wanted)
    assert back["status"] == "completed" and back["job_id"] != first["job_id"]
    assert back["result_data"]["cog"]["checksum"] == cog["checksum"]
    for link in ("preview_url", "item_viewer_url"):
        url = back["result_data"]["titiler_urls"][link]
        assert httpx.get(url, timeout=60).status_code == 200, url
    assert httpx.get(f"{collection}/items/{name['item_id']}").status_code == 200
    assert product.submit("process_raster", **wanted)["job_id"] == back["job_id"]

    gone_again = product.run("unpublish_raster", **asked)
    assert gone_again["result_data"]["item"] == "removed"
    assert product.silver("gone/") == []
