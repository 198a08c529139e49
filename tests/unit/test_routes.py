"""The declared routes: which are served, their order, and the paths that they match."""

import json

import azure.functions as func
import jsonschema
import pytest

from core.registry import Registry
from jobs import ALL_JOBS
from triggers.api import GROUPS, describe
from triggers.http.job_types import JobTypes
from triggers.http.not_found import NotFound
from triggers.http.openapi import OpenApi

DECLARED = [each for group in (*GROUPS, OpenApi) for each in group.declared()]
[CATCH_ALL] = NotFound.declared()


def find(method, path):
    return [each.name for each in DECLARED if method in each.methods and each.matches(path)]


def test_the_route_that_matches_everything_is_tried_last():
    """Azure matches routes in the order of the function names."""
    names = [each.name for each in DECLARED]
    assert len(set(names)) == len(names)
    assert max([*names, CATCH_ALL.name], key=str.lower) == CATCH_ALL.name
    assert CATCH_ALL.path == "{*path}" and not CATCH_ALL.methods


@pytest.mark.parametrize(
    ("method", "path", "names"),
    [
        ("GET", "jobs", ["list_jobs"]),
        ("HEAD", "/Jobs/", ["list_jobs"]),
        ("POST", "jobs", []),
        ("POST", "jobs/submit/hello_world", ["submit_job"]),
        ("GET", "jobs/0a/tasks", ["list_tasks"]),
        ("GET", "jobs/0a/b/tasks", []),
        ("GET", "jobs//tasks", []),
        ("GET", "ui", ["show_dashboard"]),
        ("GET", "ui/job.js", ["show_dashboard"]),
        ("GET", "uix", []),
        ("GET", "openapi.json", ["get_openapi"]),
        ("GET", "openapi_json", []),
        ("GET", "health/live", ["check_liveness"]),
    ],
)
def test_a_path_finds_its_route(method, path, names):
    assert find(method, path) == names


def test_every_route_with_replies_is_in_the_document_and_no_other():
    document = describe(list(Registry(ALL_JOBS).jobs.values()))
    documented = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    routes = [each for each in DECLARED if each.replies]
    expected = {(each.method, f"/{each.path}") for each in routes if each.name != "submit_job"}
    expected |= {("POST", f"/jobs/submit/{job.job_type}") for job in ALL_JOBS}
    assert documented == expected


def test_every_documented_route_has_a_summary_and_declares_the_parameters_of_its_path():
    for each in DECLARED:
        if not each.replies:
            continue
        in_path = {part[1:-1] for part in each.path.split("/") if part.startswith("{")}
        declared = {parameter.name for parameter in each.parameters if parameter.where == "path"}
        assert declared == in_path, each.name
        assert each.summary or each.name == "submit_job", each.name


def test_optional_parameters_accept_null_and_required_ones_do_not():
    document = describe(list(Registry(ALL_JOBS).jobs.values()))
    schema = document["components"]["schemas"]["ProcessRasterParameters"]
    body = {"blob_name": "a.tif", "container_name": "bronze"}
    optional = dict.fromkeys(set(schema["properties"]) - set(schema["required"]))
    jsonschema.validate(body | optional, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(body | {"blob_name": None}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(body | {"jpeg_quality": 0}, schema)


def test_a_submission_has_the_schema_of_its_job_s_result():
    document = describe(list(Registry(ALL_JOBS).jobs.values()))
    response = document["paths"]["/jobs/submit/process_raster"]["post"]["responses"]["200"]
    [_, more] = response["content"]["application/json"]["schema"]["allOf"]
    assert more["properties"]["result_data"] == {"$ref": "#/components/schemas/ProcessRasterResult"}
    result = document["components"]["schemas"]["ProcessRasterResult"]
    assert {"validation", "cog", "stac", "share_url", "titiler_urls"} <= set(result["properties"])


def test_job_types_describe_their_stages_and_their_result():
    response = JobTypes(Registry(ALL_JOBS)).list_job_types(func.HttpRequest("GET", "/", body=b""))
    types = {each["job_type"]: each for each in json.loads(response.get_body())["job_types"]}
    stages = types["hello_world"]["stages"]
    assert [(each["number"], each["name"], each["parallelism"]) for each in stages] == [
        (1, "greetings", "fan_out"),
        (2, "summary", "single"),
    ]
    assert all(each["description"] for job in types.values() for each in job["stages"])
    jsonschema.validate(
        {"greetings": 0, "first": None, "last": None}, types["hello_world"]["result"]
    )
    assert "share_url" in types["process_raster"]["result"]["required"]
