"""Processes against the published schemas of OGC API - Processes 1.0."""

from typing import Literal

import jsonschema
import pytest
from pydantic import BaseModel, ConfigDict

from core.job import JobBase, stage
from core.registry import Registry
from jobs import ALL_JOBS
from services.greet import Greet
from triggers.ogc.bodies import describe_process

# A schema is a schema object of OpenAPI 3.0, which has only these keywords and six types.
WORDS = {
    "title", "multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum",
    "maxLength", "minLength", "pattern", "maxItems", "minItems", "uniqueItems", "maxProperties",
    "minProperties", "required", "enum", "type", "not", "allOf", "oneOf", "anyOf", "items",
    "properties", "additionalProperties", "description", "format", "default", "nullable",
    "readOnly", "writeOnly", "example", "deprecated", "contentMediaType", "contentEncoding",
    "contentSchema",
}  # fmt: skip
TYPES = {"array", "boolean", "integer", "number", "object", "string"}


def wrong_words(schema):
    yield from set(schema) - WORDS
    if "type" in schema and schema["type"] not in TYPES:
        yield schema["type"]
    inner = [schema["items"]] if "items" in schema else []
    joined = (part for key in ("anyOf", "allOf", "oneOf") for part in schema.get(key, ()))
    for part in (*joined, *inner, *schema.get("properties", {}).values()):
        yield from wrong_words(part)


class Look(BaseModel):
    colours: list[str]


class Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid")

    look: Look
    kind: Literal["one"] = "one"
    other: Look | None = None


class Nested(JobBase):
    job_type = "nested"
    description = "has parameters within parameters"
    parameters = Parameters

    @stage("greet")
    def greet(self, params: Parameters) -> list[Greet]:
        return []


@pytest.mark.parametrize(
    "job", [*Registry(ALL_JOBS).jobs.values(), Nested()], ids=lambda job: job.job_type
)
def test_input_schemas_use_only_keywords_of_the_standard(job):
    for name, described in describe_process(job).inputs.items():
        assert list(wrong_words(described["schema"])) == [], name


def test_a_schema_is_self_contained():
    inputs = describe_process(Nested()).inputs
    jsonschema.validate({"colours": ["red"]}, inputs["look"]["schema"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"colours": [1]}, inputs["other"]["schema"])
    assert inputs["kind"]["schema"]["enum"] == ["one"]
    assert inputs["other"]["schema"]["nullable"] is True
