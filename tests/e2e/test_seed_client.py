"""The fields that clients of the original process_raster API read are in the responses.

The section numbers are those of its reference. docs/http-differences.md lists the differences.
"""

import re
import uuid

import psycopg
import pytest

from tests.e2e.test_process_raster import SAMPLE

PARAMETERS = {
    "blob_name", "container_name", "raster_type", "output_tier", "target_crs", "input_crs",
    "jpeg_quality", "strict_mode", "in_memory", "collection_id", "item_id", "output_folder",
}  # fmt: skip


@pytest.fixture(scope="module")
def body(product):
    source = product.upload(SAMPLE, f"seed/{uuid.uuid4().hex[:8]}.tif")
    return {**source, "output_tier": "analysis", "output_folder": "cogs/seed", "jpeg_quality": 85}


@pytest.fixture(scope="module")
def submission(product, body):
    with product.api as api:
        headers = {"x-correlation-id": "seed-client"}
        return api.post("/jobs/submit/process_raster", json=body, headers=headers)


@pytest.fixture(scope="module")
def job(product, submission):
    """The status of the completed job."""
    job_id = submission.json()["job_id"]
    product.wait(job_id)
    with product.api as api:
        return api.get(f"/jobs/status/{job_id}?include=stage_results").json()


def test_a_submission_has_the_fields_of_sections_8_and_9(submission, body):
    created = submission.json()
    assert submission.status_code == 202
    assert submission.headers["location"] == f"/api/jobs/status/{created['job_id']}"
    assert re.fullmatch("[0-9a-f]{64}", created["job_id"])
    assert (created["status"], created["job_type"]) == ("created", "process_raster")
    assert created["message"] == "Job created and queued for processing"
    assert created["idempotent"] is False
    assert created["correlation_id"] == submission.headers["x-correlation-id"] == "seed-client"
    assert set(created["parameters"]) >= PARAMETERS
    assert {name: created["parameters"][name] for name in body} == body
    queue = created["queue_info"]
    assert (queue["queued"], queue["queue_type"]) == (True, "service_bus")
    assert (queue["queue_name"], queue["job_id"]) == ("geospatial-jobs", created["job_id"])
    assert queue["message_id"]


def test_a_resubmission_while_the_job_runs_has_the_fields_of_section_6(product):
    inputs = {"n": 20_000, "message": uuid.uuid4().hex}
    job_id = product.submit("hello_world", **inputs)["job_id"]
    again = product.submit("hello_world", **inputs)
    assert (again["job_id"], again["idempotent"]) == (job_id, True)
    assert again["status"] in ("queued", "processing")
    assert again["current_stage"] in (0, 1)
    assert "result_data" not in again
    with product.api as api:
        status = api.get(f"/jobs/status/{job_id}").json()
        api.post(f"/jobs/{job_id}/cancel")
    assert status["status"] in ("queued", "processing")
    assert status["current_stage"] == status["stage"]


def test_a_resubmission_of_a_completed_job_has_the_fields_of_section_6(product, body, job):
    again = product.submit("process_raster", **body)
    assert again["job_id"] == job["job_id"]
    assert (again["status"], again["idempotent"]) == ("already_completed", True)
    assert again["result_data"] == job["result_data"]
    assert again["correlation_id"] == job["correlation_id"] == "seed-client"


def test_the_status_has_the_fields_of_section_7(job, body):
    assert job["job_type"] == "process_raster" and job["status"] == "completed"
    # encode_windows has no tasks for a raster of this size: docs/http-differences.md.
    assert (job["stage"], job["total_stages"]) == (4, 4)
    assert [stage["name"] for stage in job["stages"] if stage["total_tasks"]] == [
        "validate", "create_cog", "create_stac",
    ]  # fmt: skip
    assert set(job["parameters"]) >= PARAMETERS
    assert {"created_at", "updated_at"} <= set(job)
    metadata = job["metadata"]
    assert metadata["description"] and metadata["created_by"]
    assert metadata["blob_name"] == body["blob_name"]
    assert metadata["container_name"] == body["container_name"]
    assert metadata["output_tier"] == "analysis" and metadata["target_crs"] == "EPSG:4326"


def test_the_row_has_the_columns_of_section_7(product, job):
    columns = "job_id, job_type, parameters, status, stage, total_stages, created_at, updated_at"
    with psycopg.connect(product.environment.database_url) as conn:
        query = f"SELECT {columns} FROM app.jobs WHERE job_id = %s"
        row = conn.execute(query, (job["job_id"],)).fetchone()
    assert row[1] == "process_raster" and row[4:6] == (4, 4)


def test_the_first_stage_has_the_result_of_section_11(job, body):
    assert set(job["stage_results"]) == {"1", "2", "3"}
    stage = job["stage_results"]["1"]
    assert stage["success"] is True
    facts = stage["result"]
    assert facts["valid"] is True and facts["source_blob"] == body["blob_name"]
    assert (facts["band_count"], facts["dtype"]) == (3, "uint8")
    assert (facts["source_crs"], facts["crs_source"]) == ("EPSG:32618", "file_metadata")
    assert len(facts["bounds"]) == 4 and len(facts["shape"]) == 2
    assert facts["raster_type"]["detected_type"] == "rgb"
    assert facts["raster_type"]["confidence"]
    settings = facts["raster_type"]["optimal_cog_settings"]
    assert {"compression", "overview_resampling", "reproject_resampling"} <= set(settings)
    assert "analysis" in facts["cog_tiers"]
    assert facts["bit_depth_check"]["efficient"] is True
    assert facts["bit_depth_check"]["current_dtype"] == "uint8"
    assert facts["warnings"] == []


def test_the_second_stage_has_the_result_of_section_12(job, body):
    cog = job["stage_results"]["2"]["result"]
    assert cog["cog_blob"].startswith("cogs/seed/") and cog["cog_container"] == "silver-cogs"
    assert cog["cog_blob"].endswith("_cog_analysis.tif")
    assert (cog["cog_tier"], cog["storage_tier"]) == ("analysis", "hot")
    assert cog["source_blob"] == body["blob_name"]
    assert cog["source_container"] == body["container_name"]
    assert cog["reprojection_performed"] is True
    assert (cog["source_crs"], cog["target_crs"]) == ("EPSG:32618", "EPSG:4326")
    west, south, east, north = cog["bounds_4326"]
    assert -80 < west < east < -76 and 23 < south < north < 26
    assert len(cog["shape"]) == 2 and cog["size_mb"] > 0
    assert cog["compression"] == "DEFLATE" and cog["raster_type"] == "rgb"


def test_the_third_stage_has_the_result_of_section_13(job):
    item = job["stage_results"]["3"]["result"]
    assert item["item_id"] == item["stac_item"]["id"]
    assert item["blob_name"] == job["result_data"]["cog"]["cog_blob"]
    assert item["collection_id"] == item["stac_item"]["collection"]
    assert item["bbox"] == item["stac_item"]["bbox"]
    assert item["inserted_to_pgstac"] is True and item["item_skipped"] is False


def test_the_result_has_the_fields_of_section_16(job, body):
    result = job["result_data"]
    assert result["job_type"] == "process_raster"
    assert result["source_blob"] == body["blob_name"]
    assert result["source_container"] == body["container_name"]
    assert {"warnings", "raster_type", "source_crs", "bit_depth_efficient"} <= set(
        result["validation"]
    )
    assert {"cog_blob", "cog_container", "size_mb", "compression", "reprojection_performed"} <= set(
        result["cog"]
    )
    stac = result["stac"]
    assert {"item_id", "collection_id", "bbox"} <= set(stac)
    assert stac["inserted_to_pgstac"] is True and stac["ready_for_titiler"] is True
    assert result["share_url"] == result["titiler_urls"]["viewer_url"]
    assert len(result["titiler_urls"]) >= 9
    assert result["stages_completed"] == 3 and result["total_tasks_executed"] == 3
    assert result["tasks_by_status"] == {"completed": 3, "failed": 0}


def test_tasks_have_their_results_on_request(product, job):
    with product.api as api:
        path = f"/jobs/{job['job_id']}/tasks"
        plain = api.get(path).json()["tasks"]
        full = api.get(f"{path}?include=results&status=completed").json()["tasks"]
        failed = api.get(f"{path}?status=failed").json()
        unknown = api.get(f"{path}?status=failed,done")
    assert [task["task_type"] for task in full] == [
        "validate_raster", "create_cog", "extract_stac_metadata",
    ]  # fmt: skip
    assert full[2]["result"] == job["stage_results"]["3"]["result"]
    assert all("result" not in task for task in plain)
    assert failed == {"tasks": []} and unknown.status_code == 422


def test_nothing_that_is_stored_or_sent_has_a_signed_url(product, job):
    with psycopg.connect(product.environment.database_url) as conn:
        rows = conn.execute(
            """SELECT to_jsonb(t)::text FROM app.tasks t WHERE job_id = %s
                UNION ALL SELECT to_jsonb(j)::text FROM app.jobs j WHERE job_id = %s""",
            (job["job_id"], job["job_id"]),
        ).fetchall()
    assert len(rows) == 4 and not any("sig=" in row for (row,) in rows)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-correlation-id": "caller-1"}, "caller-1"),
        ({"traceparent": f"00-{'4b' * 16}-{'a1' * 8}-01"}, "4b" * 16),
        ({"x-correlation-id": "first", "traceparent": f"00-{'4b' * 16}-{'a1' * 8}-01"}, "first"),
        ({"traceparent": f"00-{'0' * 32}-{'a1' * 8}-01"}, None),
        ({"x-correlation-id": "two words"}, None),
        ({}, None),
    ],
)
def test_every_response_has_the_correlation_id_of_its_request(product, headers, expected):
    with product.api as api:
        for path in ("/jobs?limit=1", "/jobs?limit=0", "/nothing", "/health/live"):
            given = api.get(path, headers=headers).headers["x-correlation-id"]
            assert given == expected or (expected is None and re.fullmatch("[0-9a-f]{32}", given))
