"""The HTTP status of a failed job: a fault of its input, or of the service."""

import json
import tomllib

import pytest

from core.models import Failure
from local.stack.environment import ROOT
from triggers.http.problems import SERVICE_FAULTS, build_failure_problem

ADVICE = tomllib.loads((ROOT / "docs" / "errors.toml").read_text())


def respond(code):
    response = build_failure_problem(Failure(code=code, message="reason"))
    body = json.loads(response.get_body())
    assert body["status"] == response.status_code and body["detail"] == "reason"
    return response.status_code, body["type"]


@pytest.mark.parametrize("code", [*sorted(SERVICE_FAULTS), "404", "ServiceBusy"])
def test_a_fault_of_the_service_is_a_500(code):
    assert respond(code)[0] == 500


@pytest.mark.parametrize("code", sorted({*ADVICE["raster"], *ADVICE["request"]} - SERVICE_FAULTS))
def test_a_fault_of_the_input_is_a_422_with_its_code(code):
    assert respond(code) == (422, f"urn:geolathe:error:{code.lower().replace('_', '-')}")


def test_every_service_code_counts_as_a_fault_of_the_service():
    assert set(ADVICE["service"]) <= SERVICE_FAULTS
    assert {code for codes in ADVICE.values() for code in codes} >= SERVICE_FAULTS
