"""Whose fault a failed job is, as the results route of OGC API - Processes tells it."""

import json
import tomllib

import pytest

from core.models import Failure
from local.stack.environment import ROOT
from triggers.http.problems import SERVICE_FAULTS, build_failure_problem

ADVICE = tomllib.loads((ROOT / "docs" / "errors.toml").read_text())


def told(code):
    answer = build_failure_problem(Failure(code=code, message="no use"))
    body = json.loads(answer.get_body())
    assert body["status"] == answer.status_code and body["detail"] == "no use"
    return answer.status_code, body["type"]


@pytest.mark.parametrize("code", [*sorted(SERVICE_FAULTS), "404", "ServiceBusy"])
def test_what_the_service_did_wrong_is_a_500(code):
    assert told(code)[0] == 500


@pytest.mark.parametrize("code", sorted({*ADVICE["raster"], *ADVICE["request"]} - SERVICE_FAULTS))
def test_what_is_wrong_with_the_input_is_a_422_that_names_it(code):
    assert told(code) == (422, f"urn:geolathe:error:{code.lower().replace('_', '-')}")


def test_every_fault_of_the_service_is_known_as_such():
    assert set(ADVICE["service"]) <= SERVICE_FAULTS
    assert {code for codes in ADVICE.values() for code in codes} >= SERVICE_FAULTS
