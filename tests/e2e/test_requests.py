"""Invalid requests: a problem that names the field, and no job."""

import gzip

import pytest

from local.stack.environment import BRONZE
from services.sandbox import landlock


def problem(answer):
    assert answer.headers["content-type"].startswith("application/problem+json")
    body = answer.json()
    assert body["status"] == answer.status_code and body["title"] and body["detail"]
    return body


INVALID = [
    ("circles", {}, 404, "JOB_TYPE_NOT_FOUND", "circles"),
    ("process_raster", {}, 422, "INVALID_PARAMETER", "blob_name: is required"),
    ("process_raster", [1], 422, "INVALID_PARAMETER", "must be a JSON object"),
    (
        "process_raster",
        {"blob_name": "missing.tif", "container_name": BRONZE},
        404,
        "BLOB_NOT_FOUND",
        "missing.tif",
    ),
    (
        "process_raster",
        {"blob_name": "a.tif", "container_name": "nowhere"},
        404,
        "CONTAINER_NOT_FOUND",
        "nowhere",
    ),
    ("hello_world", {"n": "many"}, 422, "INVALID_PARAMETER", "'many'"),
    ("hello_world", {"n": 100_001}, 422, "INVALID_PARAMETER", "100001"),
    ("process_raster", {"blob_name": None}, 422, "INVALID_PARAMETER", "blob_name"),
    ("hello_world", {"n": {"a": [True]}}, 422, "INVALID_PARAMETER", 'got {"a": [true]}'),
    ("hello_world", "n=1", 422, "INVALID_PARAMETER", "JSON object, not a string"),
    ("hello_world", {"m": 1}, 422, "INVALID_PARAMETER", "m: unknown parameter"),
]
RASTER = {"blob_name": "a.tif", "container_name": BRONZE}
INVALID += [
    ("process_raster", RASTER | {field: value}, 422, "INVALID_PARAMETER", field)
    for field, value in [
        ("target_crs", "4326"),
        ("target_crs", "EPSG:abc"),
        ("target_crs", 4326),
        ("jpeg_quality", 0),
        ("jpeg_quality", "85"),
        ("output_tier", "gold"),
        ("raster_type", "picture"),
        ("strict_mode", "yes"),
        ("in_memory", "no"),
        ("collection_id", "../x"),
        ("item_id", "a b"),
        ("output_folder", "../up"),
        ("blob_name", "../secret.tif"),
        ("blob_name", "/vsicurl/http://x/y.tif"),
        ("blob_name", ""),
        ("container_name", "UPPER"),
        ("datetime", "yesterday"),
        ("nodata", "none"),
        ("nodata", True),
        ("nodata", []),
        ("nodata", [0, "x"]),
        ("nodata", {"value": 0}),
        ("surprise", True),
    ]
]


@pytest.mark.parametrize(("job_type", "body", "status", "code", "words"), INVALID)
def test_an_invalid_submission_gets_a_problem(product, job_type, body, status, code, words):
    with product.api as api:
        answer = api.post(f"/jobs/submit/{job_type}", json=body)
    found = problem(answer)
    assert (answer.status_code, found["code"]) == (status, code)
    assert words in found["detail"]


def test_a_body_that_is_not_json_is_refused(product):
    with product.api as api:
        answer = api.post("/jobs/submit/hello_world", content=b"{n: 3}")
    assert answer.status_code == 400 and problem(answer)["code"] == "BODY_NOT_JSON"


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"[" * 100_000, 400, "BODY_NOT_JSON"),
        (b"\xff\xfe{}", 400, "BODY_NOT_JSON"),
        (b" " * (2**20 + 1), 413, "BODY_TOO_LARGE"),
        (b'{"message": "\\u0000"}', 422, "INVALID_PARAMETER"),
        (b'{"message": "\\ud800"}', 422, "INVALID_PARAMETER"),
        (b'{"n": NaN}', 422, "INVALID_PARAMETER"),
        (b'{"n": 1e400}', 422, "INVALID_PARAMETER"),
        (b'{"\\u0000": 1}', 422, "INVALID_PARAMETER"),
        (b"", 400, "BODY_NOT_JSON"),
        (b" \n", 400, "BODY_NOT_JSON"),
        (b'{"n": 1, "n": 2}', 400, "BODY_NOT_JSON"),
        (b"null", 422, "INVALID_PARAMETER"),
        (b"%d" % 10**4299, 422, "INVALID_PARAMETER"),
    ],
)
def test_a_malformed_body_is_refused(product, content, status, code):
    with product.api as api:
        answer = api.post("/jobs/submit/hello_world", content=content)
    assert (answer.status_code, problem(answer)["code"]) == (status, code)
    assert len(answer.content) < 2000 and b": NaN" not in answer.content


def test_a_compressed_body_is_refused(product):
    with product.api as api:
        answer = api.post(
            "/jobs/submit/hello_world",
            content=gzip.compress(b'{"n": 1}'),
            headers={"Content-Encoding": "gzip"},
        )
    assert answer.status_code == 400 and "'gzip'" in problem(answer)["detail"]


def test_at_most_100_invalid_fields_are_listed(product):
    with product.api as api:
        answer = api.post("/jobs/submit/hello_world", json={f"k{n}": n for n in range(20_000)})
    assert answer.status_code == 422 and len(problem(answer)["errors"]) == 100


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "allowed"),
    [
        ("GET", "/nothing", 404, "ROUTE_NOT_FOUND", None),
        ("POST", "/jobs//cancel", 404, "ROUTE_NOT_FOUND", None),
        ("GET", "/jobs/status/", 404, "ROUTE_NOT_FOUND", None),
        ("POST", "/jobs", 405, "METHOD_NOT_ALLOWED", "GET, HEAD"),
        ("PUT", "/jobs/submit/hello_world", 405, "METHOD_NOT_ALLOWED", "POST"),
        ("GET", f"/jobs/{'0' * 64}/cancel", 405, "METHOD_NOT_ALLOWED", "POST"),
        ("PATCH", f"/ogc/jobs/{'0' * 64}", 405, "METHOD_NOT_ALLOWED", "DELETE, GET, HEAD"),
    ],
)
def test_unknown_routes_and_methods_get_a_problem(product, method, path, status, code, allowed):
    with product.api as api:
        answer = api.request(method, path)
        bare = api.request(method, path, headers={"x-functions-key": ""})
    assert (answer.status_code, problem(answer)["code"]) == (status, code)
    assert answer.headers.get("allow") == allowed and bare.status_code == 401


def test_get_routes_answer_head(product):
    with product.api as api:
        for path in ("/health/live", "/jobs", "/ogc", "/ui", "/docs", "/openapi.json"):
            got, head = api.get(path), api.head(path)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-type"] == got.headers["content-type"]


def test_pages_have_one_content_type(product):
    with product.api as api:
        assert api.get("/ui").headers["content-type"] == "text/html; charset=utf-8"
        assert api.get("/ui/api.js").headers["content-type"] == "text/javascript; charset=utf-8"


def test_routes_need_the_function_key_except_live(product):
    with product.api as api:
        for path in ("/health", "/job-types", "/jobs/status/" + "0" * 64):
            assert api.get(path, headers={"x-functions-key": "wrong"}).status_code == 401
        assert api.get("/health/live", headers={"x-functions-key": ""}).status_code == 200


def test_unknown_jobs_are_not_found(product):
    with product.api as api:
        for method, path in [
            ("GET", "/jobs/status/nobody"),
            ("GET", "/jobs/nobody/tasks"),
            ("GET", "/jobs/nobody/events"),
            ("POST", "/jobs/nobody/cancel"),
            ("POST", "/jobs/nobody/retry"),
        ]:
            answer = api.request(method, path)
            assert answer.status_code == 404 and problem(answer)["code"] == "JOB_NOT_FOUND"


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/jobs/status/{id}?wait=soon", "wait"),
        ("/jobs/status/{id}?wait=9000", "wait"),
        ("/jobs/status/{id}?wait=nan", "wait"),
        ("/jobs/status/{id}?wait=1_0", "wait"),
        ("/jobs/status/{id}?wiat=1", "wiat"),
        ("/jobs/{id}/tasks?limit=%EF%BC%91", "limit"),
        ("/jobs/{id}/tasks?offset=1", "offset"),
        ("/jobs/{id}/events?limit=1&limit=2", "limit"),
        ("/jobs?state=failed", "state"),
        ("/ogc/jobs?processId=hello_world", "processId"),
        ("/jobs/{id}/tasks?limit=0", "limit"),
        ("/jobs/{id}/tasks?after=x", "after"),
        ("/jobs/{id}/events?after=-1", "after"),
    ],
)
def test_invalid_query_parameters_are_named(product, path, field):
    job_id = product.submit("hello_world", n=0, message="query")["job_id"]
    with product.api as api:
        answer = api.get(path.format(id=job_id))
    assert answer.status_code == 422 and problem(answer)["errors"][0]["field"] == field


def test_an_ended_job_can_neither_be_cancelled_nor_retried(product):
    job_id = product.run("hello_world", n=0, message="ended")["job_id"]
    with product.api as api:
        for verb in ("cancel", "retry"):
            answer = api.post(f"/jobs/{job_id}/{verb}")
            assert answer.status_code == 409 and problem(answer)["code"] == "STATE_CONFLICT"


def test_job_types_have_stages_schemas_and_an_example(product):
    with product.api as api:
        types = {each["job_type"]: each for each in api.get("/job-types").json()["job_types"]}
    raster = types["process_raster"]
    assert [stage["task_type"] for stage in raster["stages"]] == [
        "validate_raster",
        "encode_window",
        "create_cog",
        "extract_stac_metadata",
    ]
    assert set(raster["parameters"]["required"]) == {"blob_name", "container_name"}
    assert set(types["hello_world"]["example"]) == {"n", "message"}


def test_health_lists_every_part_with_its_latency(product):
    with product.api as api:
        body = api.get("/health").json()
    assert body["status"] == "healthy", body
    assert set(body["parts"]) == {"database", "catalog", "storage", "service_bus", "sandbox"}
    assert body["parts"]["sandbox"]["active"] == (landlock.version() > 0)
    assert all(part["latency_ms"] < 1000 for part in body["parts"].values())
    assert body["parts"]["database"]["dead_letters"] == 0
