"""OGC API - Processes with a client that is not ours, and by the letter of OGC 18-062r2."""

import time
import uuid

import jsonschema
import pytest
from owslib.ogcapi.processes import Processes

from tests.e2e.test_process_raster import SAMPLE

EXCEPTIONS = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0"
REL = "http://www.opengis.net/def/rel/ogc/1.0"


@pytest.fixture
def ogc(product):
    key = {"x-functions-key": product.environment.keys.function_key}
    return Processes(f"{product.environment.api}/ogc", headers=key)


def ended(ogc, job_id):
    """The status of a job that has ended."""
    for _ in range(300):
        status = ogc._request(path=f"jobs/{job_id}")
        if status["status"] not in ("accepted", "running"):
            return status
        time.sleep(0.2)
    raise AssertionError(status)


def test_the_landing_page_leads_everywhere(ogc, product):
    landing = ogc._request(path="")
    links = {link["rel"]: link["href"] for link in landing["links"]}
    assert {"service-desc", f"{REL}/conformance", f"{REL}/processes", f"{REL}/job-list"} <= set(
        links
    )
    root = product.environment.api.removesuffix("/api")
    with product.api as api:
        assert {api.get(root + href).status_code for href in links.values()} == {200}
    assert {each.rsplit("/", 1)[-1] for each in ogc.conformance()["conformsTo"]} >= {
        "core", "json", "dismiss", "job-list", "ogc-process-description",
    }  # fmt: skip


def test_every_process_has_inputs_with_schemas_and_takes_its_example(ogc, product):
    with product.api as api:
        types = {each["job_type"]: each for each in api.get("/job-types").json()["job_types"]}
    listed = ogc.processes()
    assert {each["id"] for each in listed} == set(types)
    for summary in listed:
        assert {"async-execute", "dismiss"} <= set(summary["jobControlOptions"])
        process = ogc.process(summary["id"])
        assert process["outputs"]["result"]["schema"]
        for name, value in types[summary["id"]]["example"].items():
            jsonschema.validate(value, process["inputs"][name]["schema"])
        wanted = {name for name, each in process["inputs"].items() if each["minOccurs"]}
        assert wanted == set(types[summary["id"]]["parameters"].get("required", ()))


def test_a_client_runs_process_raster_to_its_end(ogc, product):
    source = product.upload(SAMPLE, f"ogc/{uuid.uuid4().hex}.tif")
    accepted = ogc.execute("process_raster", {**source, "output_folder": "ogc"}, async_=True)
    job_id = accepted["jobID"]
    assert accepted["processID"] == "process_raster" and accepted["type"] == "process"
    status = ended(ogc, job_id)
    assert (status["status"], status["progress"]) == ("successful", 100)
    results = next(each["href"] for each in status["links"] if each["rel"] == f"{REL}/results")
    assert results.endswith(f"/jobs/{job_id}/results")
    found = ogc._request(path=f"jobs/{job_id}/results")
    assert found["result"]["value"]["share_url"].startswith("http")
    assert job_id in [each["jobID"] for each in ogc._request(path="jobs")["jobs"]]


def test_an_execution_says_where_its_job_is(product):
    message = uuid.uuid4().hex
    body = {"inputs": {"n": {"value": 1}, "message": message}, "response": "document"}
    with product.api as api:
        answer = api.post("/ogc/processes/hello_world/execution", json=body)
        assert answer.status_code == 201
        assert answer.headers["preference-applied"] == "respond-async"
        root = product.environment.api.removesuffix("/api")
        assert api.get(root + answer.headers["location"]).json()["jobID"] == answer.json()["jobID"]


def test_a_job_is_dismissed_and_has_no_results(ogc, product):
    job_id = ogc.execute("hello_world", {"n": 2000, "message": uuid.uuid4().hex}, async_=True)[
        "jobID"
    ]
    with product.api as api:
        dismissed = api.delete(f"/ogc/jobs/{job_id}")
        assert (dismissed.status_code, dismissed.json()["status"]) == (200, "dismissed")
        again = api.get(f"/ogc/jobs/{job_id}/results")
    assert (again.status_code, again.json()["type"]) == (404, f"{EXCEPTIONS}/result-not-ready")


def test_what_is_not_there_has_the_type_of_the_standard(product):
    with product.api as api:
        process = api.get("/ogc/processes/circles")
        job = api.get(f"/ogc/jobs/{'0' * 64}")
        wrong = api.post("/ogc/processes/hello_world/execution", json={"inputs": {"n": -1}})
    assert (process.status_code, process.json()["type"]) == (404, f"{EXCEPTIONS}/no-such-process")
    assert (job.status_code, job.json()["type"]) == (404, f"{EXCEPTIONS}/no-such-job")
    assert wrong.status_code == 422 and wrong.json()["errors"][0]["field"] == "n"
