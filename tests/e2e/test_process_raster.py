"""process_raster through every part of the product, from the upload to the tiles."""

import io
import shutil
from pathlib import Path

import httpx
import numpy as np
import psycopg
import pyproj
import pytest
import rasterio
from PIL import Image

SAMPLE = Path(__file__).parents[2] / "samples" / "bahamas_landsat7.tif"


@pytest.fixture(scope="module")
def done(product):
    """The completed job of the sample raster."""
    source = product.upload(SAMPLE, "e2e/bahamas.tif")
    job = product.run("process_raster", **source, output_folder="e2e/out")
    assert job["status"] == "completed", job
    return job


def test_the_result_has_the_documented_fields(done):
    result = done["result_data"]
    assert set(result) >= {
        "job_type", "source_blob", "source_container", "validation", "cog", "stac", "share_url",
        "titiler_urls", "stages_completed", "total_tasks_executed", "tasks_by_status",
    }  # fmt: skip
    assert result["validation"]["raster_type"] == "rgb"
    assert result["validation"]["source_crs"] == "EPSG:32618"
    assert result["cog"]["cog_blob"] == "e2e/out/e2e/bahamas_cog_analysis.tif"
    assert result["cog"]["reprojection_performed"] is True
    assert result["stac"]["inserted_to_pgstac"] is True
    assert result["share_url"] == result["titiler_urls"]["viewer_url"]
    assert set(result["titiler_urls"]) >= {
        "viewer_url", "preview_url", "thumbnail_url", "tilejson_url", "tiles_url_template",
        "info_url", "info_geojson_url", "statistics_url", "bounds_url",
    }  # fmt: skip


def test_every_link_works(done):
    urls = dict(done["result_data"]["titiler_urls"])
    template = urls.pop("tiles_url_template")
    for name, url in urls.items():
        assert httpx.get(url, timeout=60).status_code == 200, (name, url)
    z, x, y = tile_at(-77.75, 24.2, 9)
    assert httpx.get(template.format(z=z, x=x, y=y), timeout=60).status_code == 200


def test_a_tile_shows_the_source_at_the_right_place(done):
    """Compare pixels of a tile with the source, using pyproj."""
    template = done["result_data"]["titiler_urls"]["tiles_url_template"]
    z, x, y = tile_at(-77.75, 24.2, 9)
    answer = httpx.get(template.format(z=z, x=x, y=y), timeout=60)
    tile = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"), dtype=int)
    assert tile.std() > 10
    wanted = source_in_tile(z, x, y, tile.shape[0])
    agree = np.abs(tile - wanted).max(axis=2) <= 40
    assert agree.mean() > 0.9


def test_the_catalogue_has_the_item(product, done):
    stac = done["result_data"]["stac"]
    url = f"{product.environment.stac}/collections/{stac['collection_id']}/items/{stac['item_id']}"
    item = httpx.get(url).json()
    assert item["bbox"] == pytest.approx(stac["bbox"])
    assert item["properties"]["proj:code"] == "EPSG:4326"


def test_an_equal_submission_is_the_same_job_and_a_changed_file_a_new_one(product, done, tmp_path):
    source = {"container_name": "bronze-rasters", "blob_name": "e2e/bahamas.tif"}
    again = product.submit("process_raster", **source, output_folder="e2e/out")
    assert again["job_id"] == done["job_id"] and again["status"] == "already_completed"
    assert again["result_data"] == done["result_data"]

    source = product.upload(SAMPLE, "e2e/changing.tif")
    first = product.run("process_raster", **source)
    changed = tmp_path / "changed.tif"
    shutil.copy(SAMPLE, changed)
    with rasterio.open(changed, "r+") as raster:
        raster.write(255 - raster.read())
    product.upload(changed, "e2e/changing.tif")
    second = product.run("process_raster", **source)
    assert second["status"] == "completed" and second["job_id"] != first["job_id"]
    checksums = [job["result_data"]["cog"]["checksum"] for job in (first, second)]
    assert checksums[0] != checksums[1]
    assert second["result_data"]["stac"]["item_id"] == first["result_data"]["stac"]["item_id"]


def test_all_tiers_make_one_item_with_an_asset_each(product):
    source = product.upload(SAMPLE, "e2e/all.tif")
    job = product.run("process_raster", **source, output_tier="all", collection_id="e2e-all")
    result = job["result_data"]
    tiers = {cog["cog_tier"]: cog for cog in result["cogs"]}
    assert set(tiers) == {"visualization", "analysis", "archive"}
    assert (tiers["archive"]["storage_tier"], tiers["visualization"]["compression"]) == (
        "cool",
        "JPEG",
    )
    assert [stage["total_tasks"] for stage in job["stages"]] == [1, 0, 3, 1]


def test_a_raster_without_crs_fails_and_leaves_nothing(product, tmp_path):
    bare = tmp_path / "bare.tif"
    with rasterio.open(
        bare, "w", driver="GTiff", width=32, height=32, count=1, dtype="uint8",
        transform=rasterio.Affine(2, 0, 10, 0, -2, 90),
    ) as raster:  # fmt: skip
        raster.write(np.arange(1024, dtype="uint8").reshape(1, 32, 32))
    source = product.upload(bare, "e2e/bare.tif")
    job = product.run(
        "process_raster", **source, output_folder="e2e/bare", collection_id="e2e-bare"
    )
    assert job["status"] == "failed" and job["error"]["code"] == "CRS_MISSING"
    assert "input_crs" in job["error"]["message"]
    assert product.silver("e2e/bare") == []
    with psycopg.connect(product.environment.database_url) as conn:
        found = conn.execute("SELECT count(*) FROM pgstac.items WHERE collection = 'e2e-bare'")
        assert found.fetchone() == (0,)


def test_a_failed_job_is_resubmitted_with_the_missing_parameter(product, tmp_path):
    bare = tmp_path / "given.tif"
    with rasterio.open(
        bare, "w", driver="GTiff", width=64, height=64, count=1, dtype="float32",
        transform=rasterio.Affine(30, 0, 500_000, 0, -30, 4_000_000),
    ) as raster:  # fmt: skip
        raster.write(np.random.default_rng(1).random((1, 64, 64), dtype="float32") * 100)
    source = product.upload(bare, "e2e/given.tif")
    assert product.run("process_raster", **source)["status"] == "failed"
    job = product.run("process_raster", **source, input_crs="EPSG:32618")
    assert job["status"] == "completed", job["error"]


def tile_at(lon, lat, z):
    """The XYZ tile that contains a place: https://wiki.openstreetmap.org/wiki/Slippy_map_tilenames."""
    n = 2**z
    y = (1 - np.arcsinh(np.tan(np.radians(lat))) / np.pi) / 2 * n
    return z, int((lon + 180) / 360 * n), int(y)


def source_in_tile(z, x, y, size):
    """The source's pixels at the centres of the pixels of a tile; black outside."""
    edge = 20037508.342789244
    step = 2 * edge / 2**z / size
    xs = -edge + (x * size + np.arange(size) + 0.5) * step
    ys = edge - (y * size + np.arange(size) + 0.5) * step
    gx, gy = np.meshgrid(xs, ys)
    with rasterio.open(SAMPLE) as raster:
        pixels = raster.read()
        to_source = pyproj.Transformer.from_crs(3857, 32618, always_xy=True)
        columns, rows = ~raster.transform * np.array(to_source.transform(gx, gy))
    columns, rows = np.floor(columns).astype(int), np.floor(rows).astype(int)
    inside = (columns >= 0) & (columns < pixels.shape[2]) & (rows >= 0) & (rows < pixels.shape[1])
    found = np.zeros((size, size, 3), dtype=int)
    found[inside] = pixels[:, rows[inside], columns[inside]].T
    return found
