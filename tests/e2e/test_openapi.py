"""The API against its own description: what it says of itself is so, whatever is asked.

A few requests for each operation by default; `--api-cases 1000` draws a thousand for each.
"""

import ast

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
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
from local.stack.environment import ROOT
from services import ALL_HANDLERS
from triggers.http.openapi import describe_api

DOCUMENT = describe_api(Registry(ALL_JOBS, ALL_HANDLERS).jobs.values())
OPERATIONS = [
    (method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods
]
CHECKS = [
    status_code_conformance, content_type_conformance,
    response_headers_conformance, response_schema_conformance,
]  # fmt: skip
PAGES = {"/openapi.json", "/docs", "/ui/{*path}", "/{*path}"}
# Nothing can be wrong with a request that takes nothing.
ASKED = [
    pytest.param(method, path, mode, id=f"{method} {path} {mode.value}")
    for method, path in OPERATIONS
    for mode in GenerationMode
    if mode.is_positive or DOCUMENT["paths"][path][method.lower()]["parameters"]
]


@pytest.fixture(scope="module")
def described(product):
    """The document that the running app shows to anybody."""
    with product.api as api:
        answer = api.get("/openapi.json", headers={"x-functions-key": ""})
    assert answer.json() == DOCUMENT
    return schemathesis.openapi.from_dict(DOCUMENT)


@pytest.fixture(scope="module")
def known_jobs(product):
    """Ids of jobs in several states: random ones find nothing."""
    done = product.run("hello_world", n=2, message="described")["job_id"]
    failed = product.submit("hello_world", n=1, message="cancelled")["job_id"]
    with product.api as api:
        api.post(f"/jobs/{failed}/cancel")
    return [done, failed]


@pytest.mark.parametrize(("method", "path", "mode"), ASKED)
def test_every_answer_is_as_described(
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
        tame(case)
        # A loaded machine may be unhealthy for a moment, and says so.
        checks = CHECKS + [not_a_server_error] * (path != "/health")
        checks += [negative_data_rejection] * ("submit" in path)
        case.call_and_validate(
            base_url=product.environment.api, headers=headers, checks=checks, timeout=20
        )

    check()


def tame(case):
    """Neither hours of waiting nor a hundred thousand tasks for a request that is right."""
    query, body = case.query or {}, case.body
    if isinstance(body, dict) and isinstance(body.get("inputs"), dict):
        body = body["inputs"]
    if isinstance(query.get("wait"), int | float) and query["wait"] > 0:
        query["wait"] = min(query["wait"], 0.1)
    if isinstance(body, dict) and type(body.get("n")) is int and 3 < body["n"] <= 100_000:
        body["n"] = 3


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_route_wants_the_key_that_the_document_says(product, described, method, path):
    anonymous = DOCUMENT["paths"][path][method.lower()].get("security") == []
    with product.api as api:
        answer = api.request(
            method,
            path.replace("{job_id}", "0" * 64).replace("{process}", "none"),
            headers={"x-functions-key": "wrong"},
        )
    assert (answer.status_code != 401) == anonymous


def test_every_route_is_described():
    described = {path for _, path in OPERATIONS if not path.startswith("/jobs/submit/")}
    assert set(routes().values()) == described | {"/jobs/submit/{job_type}"} | PAGES


def test_the_route_that_takes_the_rest_is_looked_at_last():
    """Azure looks at routes in the order of their functions' names."""
    *_, last = sorted(routes())
    assert routes()[last] == "/{*path}"


def routes():
    """Every route by the name of its function."""
    return {
        function.name: "/" + str(ast.literal_eval(decorator.args[0]))
        for file in (ROOT / "triggers").rglob("*.py")
        for function in ast.walk(ast.parse(file.read_text()))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for decorator in function.decorator_list
        if isinstance(decorator, ast.Call) and getattr(decorator.func, "attr", "") == "route"
    }
