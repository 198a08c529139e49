"""The API against its own OpenAPI document.

A few requests are generated for each operation; `--api-cases 1000` generates a thousand for each.
"""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from core.registry import Registry
from jobs import ALL_JOBS
from triggers.api import describe

DOCUMENT = describe(list(Registry(ALL_JOBS).jobs.values()))
OPERATIONS = [
    (method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods
]
CHECKS = [
    status_code_conformance, content_type_conformance,
    response_headers_conformance, response_schema_conformance,
]  # fmt: skip
EMPTY = ("", [], {}, [""])


def can_be_invalid(operation):
    """Whether an operation can get an invalid request; any header is a valid correlation id."""
    names = [each["name"] for each in operation["parameters"]]
    return names != ["x-correlation-id"] or "requestBody" in operation


GENERATED = [
    pytest.param(method, path, mode, id=f"{method} {path} {mode.value}")
    for method, path in OPERATIONS
    for mode in GenerationMode
    if mode.is_positive or can_be_invalid(DOCUMENT["paths"][path][method.lower()])
]


@pytest.fixture(scope="module")
def described(product):
    """The document that the running app serves without a key."""
    with product.api as api:
        response = api.get("/openapi.json", headers={"x-functions-key": ""})
    assert response.json() == DOCUMENT
    return schemathesis.openapi.from_dict(DOCUMENT)


@pytest.fixture(scope="module")
def known_jobs(product):
    """Ids of jobs in several states: random ids would match no job."""
    done = product.run("hello_world", n=2, message="described")["job_id"]
    cancelled = product.submit("hello_world", n=1, message="cancelled")["job_id"]
    with product.api as api:
        api.post(f"/jobs/{cancelled}/cancel")
    return [done, cancelled]


@pytest.mark.parametrize(("method", "path", "mode"), GENERATED)
def test_every_response_conforms_to_the_document(
    product, described, known_jobs, api_cases, method, path, mode
):
    operation = described[path][method]
    headers = {"x-functions-key": product.environment.keys.function_key}
    cases = operation.as_strategy(generation_mode=mode)

    @settings(
        max_examples=api_cases,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases, st.sampled_from([None, *known_jobs]))
    def check(case, job_id):
        if job_id and "job_id" in case.path_parameters:
            case.path_parameters["job_id"] = job_id
        # The Functions host leaves such parameters out, as if they were not there.
        assume(not any(value in EMPTY for value in (case.query or {}).values()))
        limit_work(case)
        # On a busy machine, /health may answer 503 for a moment.
        checks = CHECKS + [not_a_server_error] * (path != "/health")
        checks += [negative_data_rejection] * ("submit" in path)
        case.call_and_validate(
            base_url=product.environment.api, headers=headers, checks=checks, timeout=20
        )

    check()


def limit_work(case):
    """Prevent valid requests from waiting long or creating a hundred thousand tasks."""
    query, body = case.query or {}, case.body
    if isinstance(body, dict) and isinstance(body.get("inputs"), dict):
        body = body["inputs"]
    if isinstance(query.get("wait"), int | float) and query["wait"] > 0:
        query["wait"] = min(query["wait"], 0.1)
    if isinstance(body, dict) and type(body.get("n")) is int and 3 < body["n"] <= 100_000:
        body["n"] = 3


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_the_document_says_which_routes_need_a_key(product, described, method, path):
    anonymous = DOCUMENT["paths"][path][method.lower()].get("security") == []
    with product.api as api:
        response = api.request(
            method,
            path.replace("{job_id}", "0" * 64).replace("{process}", "none"),
            headers={"x-functions-key": "wrong"},
        )
    assert (response.status_code != 401) == anonymous
