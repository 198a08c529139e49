"""The dry run: the facts and estimates of process_raster, without any output."""

from pathlib import Path

import psycopg
import pytest

SAMPLE = Path(__file__).parents[2] / "samples" / "bahamas_landsat7.tif"


@pytest.fixture(scope="module")
def checked(product):
    source = product.upload(SAMPLE, "dry/bahamas.tif")
    job = product.run("validate_raster", **source, output_tier="all")
    assert job["status"] == "completed", job
    return source, job["result_data"]


def test_it_has_the_facts_of_process_raster(checked):
    _, result = checked
    facts = result["facts"]
    assert facts["raster_type"]["applied_type"] == "rgb" and facts["raster_type"]["evidence"]
    assert facts["source_crs"] == "EPSG:32618"
    assert result["tiers"] == ["visualization", "analysis", "archive"]
    assert 0 < result["sampled_share"] <= 1


def test_it_writes_nothing(product, checked):
    assert product.silver("dry/") == []
    with psycopg.connect(product.environment.database_url) as conn:
        catalogued = conn.execute(
            "SELECT count(*) FROM pgstac.items WHERE content::text LIKE '%dry/bahamas%'"
        ).fetchone()
    assert catalogued == (0,)


def test_estimated_sizes_are_close_to_the_real_ones(product, checked):
    """The sample is warped, and larger than the windows that the estimate reads."""
    source, result = checked
    made = product.run("process_raster", **source, output_tier="all", output_folder="dry/out")
    sizes = {cog["cog_tier"]: cog["size_mb"] for cog in made["result_data"]["cogs"]}
    for estimate in result["estimates"]:
        actual = sizes[estimate["tier"]] * 2**20
        assert 0.7 * actual < estimate["size_bytes"] < 1.4 * actual, estimate
        assert estimate["shape"] == next(
            cog["shape"] for cog in made["result_data"]["cogs"]
            if cog["cog_tier"] == estimate["tier"]
        )  # fmt: skip
        assert estimate["scratch_bytes"] > 0 and estimate["seconds"] >= 0


def test_it_fails_with_the_error_of_process_raster(product, tmp_path):
    broken = tmp_path / "broken.tif"
    broken.write_bytes(SAMPLE.read_bytes()[:1000])
    source = product.upload(broken, "dry/broken.tif")
    error = product.run("validate_raster", **source)["error"]
    assert error == product.run("process_raster", **source)["error"] and error["code"]


def test_parameters_without_effect_are_refused(product, checked):
    source, _ = checked
    body = {**source, "output_folder": "x"}
    with product.api as api:
        answer = api.post("/jobs/submit/validate_raster", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "output_folder"
