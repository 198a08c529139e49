"""OGC API - Processes, with an independent client and against the text of OGC 18-062r2."""

import time
import uuid
from datetime import datetime, timedelta

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


@pytest.fixture
def api(product):
    with product.api as api:
        yield api


def execute(api, process, inputs, **more):
    return api.post(f"/ogc/processes/{process}/execution", json={"inputs": inputs, **more})


def ended(api, job_id):
    """The status of a job that has ended."""
    for _ in range(300):
        status = api.get(f"/ogc/jobs/{job_id}").json()
        if status["status"] not in ("accepted", "running"):
            return status
        time.sleep(0.2)
    raise AssertionError(status)


def hello(api, **inputs):
    """The status of a new job that has ended."""
    done = execute(api, "hello_world", {"n": 1, "message": uuid.uuid4().hex} | inputs)
    return ended(api, done.json()["jobID"])


def test_the_landing_page_links_to_everything(ogc, product):
    landing = ogc._request(path="")
    links = {link["rel"]: link["href"] for link in landing["links"]}
    assert {"service-desc", f"{REL}/conformance", f"{REL}/processes", f"{REL}/job-list"} <= set(
        links
    )
    root = product.environment.api.removesuffix("/api")
    with product.api as api:
        assert {api.get(root + href).status_code for href in links.values()} == {200}
    assert {each.rsplit("/", 1)[-1] for each in ogc.conformance()["conformsTo"]} == {
        "core", "json", "dismiss", "job-list", "ogc-process-description",
    }  # fmt: skip


def test_every_process_has_input_schemas_that_accept_its_example(ogc, product):
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


def test_a_client_runs_process_raster_to_its_end(ogc, api, product):
    source = product.upload(SAMPLE, f"ogc/{uuid.uuid4().hex}.tif")
    accepted = ogc.execute("process_raster", {**source, "output_folder": "ogc"}, async_=True)
    job_id = accepted["jobID"]
    assert accepted["processID"] == "process_raster" and accepted["type"] == "process"
    status = ended(api, job_id)
    assert (status["status"], status["progress"]) == ("successful", 100)
    results = next(each["href"] for each in status["links"] if each["rel"] == f"{REL}/results")
    assert results.endswith(f"/jobs/{job_id}/results")
    found = ogc._request(path=f"jobs/{job_id}/results")
    assert found["result"]["value"]["share_url"].startswith("http")


def test_an_execution_links_to_its_job(api, product):
    inputs = {"n": {"value": 1, "mediaType": "application/json"}, "message": uuid.uuid4().hex}
    answer = execute(api, "hello_world", inputs)
    assert answer.status_code == 201 and "preference-applied" not in answer.headers
    root = product.environment.api.removesuffix("/api")
    assert api.get(root + answer.headers["location"]).json()["jobID"] == answer.json()["jobID"]
    asked = {"Prefer": "wait=5, respond-async"}
    again = api.post("/ogc/processes/hello_world/execution", json={"inputs": inputs}, headers=asked)
    assert again.headers["preference-applied"] == "respond-async"
    assert again.json()["jobID"] == answer.json()["jobID"]


def test_results_have_the_form_that_their_execution_requested(api):
    """Executions that differ only in the form share a job."""
    inputs = {"n": 2, "message": uuid.uuid4().hex}
    names = [
        execute(api, "hello_world", inputs, **form).json()["jobID"]
        for form in ({}, {"response": "raw"}, {"response": "document"})
    ]
    assert names[0] == names[1] != names[2]
    status = [ended(api, name) for name in names[1:]]
    assert [each["jobID"] for each in status] == names[1:]
    raw, document = (api.get(f"/ogc/jobs/{name}/results") for name in names[1:])
    assert raw.headers["content-type"] == document.headers["content-type"] == "application/json"
    assert document.json() == {"result": {"value": raw.json(), "mediaType": "application/json"}}
    asked = api.get(f"/ogc/jobs/{names[0]}/results?response=document")
    assert asked.status_code == 422 and asked.json()["errors"][0]["field"] == "response"
    assert raw.json() == api.get(f"/jobs/status/{names[0]}").json()["result_data"]


@pytest.mark.parametrize(
    "body",
    [
        {"outputs": {"result": {}}},
        {"outputs": {}},
        {"outputs": {"result": {"transmissionMode": "value"}}},
        {"outputs": {"result": {"format": {"mediaType": "application/json"}}}},
        {"mode": "auto"},
    ],
)
def test_default_options_may_be_given(api, body):
    assert execute(api, "hello_world", {"n": 0}, **body).status_code == 201


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"outputs": {"map": {}}}, "outputs.map.[key]"),
        (
            {"outputs": {"result": {"transmissionMode": "reference"}}},
            "outputs.result.transmissionMode",
        ),
        (
            {"outputs": {"result": {"format": {"mediaType": "image/tiff"}}}},
            "outputs.result.format.mediaType",
        ),
        ({"outputs": {"result": {"colour": 1}}}, "outputs.result.colour"),
        ({"outputs": ["result"]}, "outputs"),
        ({"response": "html"}, "response"),
        ({"mode": "sync"}, "mode"),
        ({"subscriber": {"successUri": "http://127.0.0.1/"}}, "subscriber"),
        ({"inputs": {"n": {"href": "http://127.0.0.1/n.json"}}}, "inputs"),
        ({"inputs": {"message": {"value": "aGk=", "encoding": "base64"}}}, "inputs"),
        ({"inputs": [1]}, "inputs"),
        ({"input": {"n": 1}}, "input"),
    ],
)
def test_unsupported_options_are_refused_by_name(api, body, field):
    answer = api.post("/ogc/processes/hello_world/execution", json=body)
    assert answer.status_code == 422, answer.text
    [wrong] = answer.json()["errors"]
    assert wrong["field"] == field and wrong["message"]


def test_a_job_is_dismissed_and_has_no_results(ogc, api):
    job_id = ogc.execute("hello_world", {"n": 2000, "message": uuid.uuid4().hex}, async_=True)[
        "jobID"
    ]
    early = api.get(f"/ogc/jobs/{job_id}/results")
    assert (early.status_code, early.json()["type"]) == (404, f"{EXCEPTIONS}/result-not-ready")
    for _ in range(2):
        dismissed = api.delete(f"/ogc/jobs/{job_id}")
        assert (dismissed.status_code, dismissed.json()["status"]) == (200, "dismissed")
    late = api.get(f"/ogc/jobs/{job_id}/results")
    assert (late.status_code, late.json()["code"]) == (410, "STATE_CONFLICT")
    assert "dismissed" in late.json()["detail"]


def test_the_results_of_a_failed_job_are_its_error(api, product, tmp_path):
    (tmp_path / "no.tif").write_bytes(b"II*\0" + b"no raster" * 9)
    source = product.upload(tmp_path / "no.tif", f"ogc/{uuid.uuid4().hex}.tif")
    status = ended(api, execute(api, "process_raster", source).json()["jobID"])
    assert status["status"] == "failed"
    links = {link["rel"]: link["href"] for link in status["links"]}
    assert f"{REL}/exceptions" in links and f"{REL}/results" not in links
    answer = api.get(links[f"{REL}/exceptions"].removeprefix("/api"))
    body = answer.json()
    assert answer.status_code == body["status"] == 422
    assert answer.headers["content-type"].startswith("application/problem+json")
    code = api.get(f"/jobs/status/{status['jobID']}").json()["error"]["code"]
    assert body["code"] == code
    assert body["type"] == f"urn:geolathe:error:{code.lower().replace('_', '-')}"
    assert body["detail"] == status["message"]


def test_missing_resources_have_the_problem_types_of_the_standard(api):
    process = api.get("/ogc/processes/circles")
    listed = api.get("/ogc/jobs?processID=hello_world,circles")
    wrong = execute(api, "hello_world", {"n": -1})
    for answer in (process, listed):
        assert (answer.status_code, answer.json()["type"]) == (404, f"{EXCEPTIONS}/no-such-process")
    for name in ("0" * 64, "0" * 64 + "-document", "0" * 64 + "-raw", "F" * 64):
        job = api.get(f"/ogc/jobs/{name}")
        assert (job.status_code, job.json()["type"]) == (404, f"{EXCEPTIONS}/no-such-job")
    assert wrong.status_code == 422 and wrong.json()["errors"][0]["field"] == "n"


def test_processes_are_paged(api):
    everything = api.get("/ogc/processes").json()
    seen, path = [], "/ogc/processes?limit=1"
    while path:
        page = api.get(path).json()
        assert len(page["processes"]) == 1
        seen += page["processes"]
        links = {link["rel"]: link["href"].removeprefix("/api") for link in page["links"]}
        assert links["self"] == path
        path = links.get("next")
    assert seen == everything["processes"]


def test_pages_of_jobs_keep_the_filters(api, product):
    """The pages are followed because other tests submit jobs of the same type meanwhile."""
    mine = [hello(api)["jobID"] for _ in range(3)]
    path = "/ogc/jobs?processID=hello_world&status=successful&limit=2"
    first = api.get(f"{path}&code={product.environment.keys.function_key}").json()
    found, page = [job["jobID"] for job in first["jobs"]], first
    while not {*mine} <= {*found}:
        link = next(link["href"] for link in page["links"] if link["rel"] == "next")
        assert "processID=hello_world" in link and "status=successful" in link
        page = api.get(link.removeprefix("/api")).json()
        assert 0 < len(page["jobs"]) <= 2
        found += [job["jobID"] for job in page["jobs"]]
    assert [job_id for job_id in found if job_id in mine] == mine[::-1]
    assert page is not first and len(set(found)) == len(found)
    assert product.environment.keys.function_key not in str(first)


def test_jobs_are_filtered_as_the_standard_defines(api):
    first, second = hello(api), hello(api)
    running = execute(api, "hello_world", {"n": 3000, "message": uuid.uuid4().hex}).json()["jobID"]

    def found(**filters):
        answer = api.get("/ogc/jobs", params={"limit": 10_000, **filters})
        assert answer.status_code == 200, answer.text
        return [job["jobID"] for job in answer.json()["jobs"]]

    ids = first["jobID"], second["jobID"]
    created = first["created"]
    after = (datetime.fromisoformat(created) + timedelta(microseconds=1)).isoformat()
    assert found(datetime=created) == [ids[0]]
    assert found(datetime=f"{created}/{second['created']}") == [ids[1], ids[0]]
    assert ids[0] not in found(datetime=f"{after}/..") and ids[1] in found(datetime=f"{after}/")
    assert ids[0] in found(datetime=f"../{created}") and ids[1] not in found(datetime=f"/{created}")
    assert {*ids} <= {*found(status="successful,failed", type="process")}
    assert not {*ids} & {*found(status=["accepted", "running"])}
    assert {*ids} <= {*found(processID=["hello_world", "process_raster"])}
    assert not {*ids} & {*found(processID="process_raster")}
    assert {*ids} <= {*found(minDuration=0, maxDuration=3000)}
    assert not {*ids} & {*found(minDuration=3000)}
    api.delete(f"/ogc/jobs/{running}")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("type=wps", "type"),
        ("status=queued", "status"),
        ("datetime=yesterday", "datetime"),
        ("datetime=2026-11-23T18:30:00", "datetime"),
        ("datetime=..", "datetime"),
        ("datetime=2026-11-23T18:30:00Z/2026-11-24T18:30:00Z/..", "datetime"),
        ("minDuration=-1", "minDuration"),
        ("maxDuration=1.5", "maxDuration"),
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("after=x", "after"),
    ],
)
def test_an_invalid_filter_is_refused_by_name(api, query, field):
    answer = api.get(f"/ogc/jobs?{query}")
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == field
