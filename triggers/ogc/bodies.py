"""Bodies of OGC API - Processes, as models. The standard defines the names in camelCase."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, field_validator
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import LiteralSchema, NullableSchema

from core.job import JobBase
from core.models import JobRecord, JobStatus, Json
from triggers.http.bodies import Body, absent
from triggers.http.media_types import JSON

ROOT = "/api/ogc"
REL = "http://www.opengis.net/def/rel/ogc/1.0"
DOCUMENT_SUFFIX = "-document"
EXECUTION_ID = f"^[0-9a-f]{{64}}({DOCUMENT_SUFFIX})?$"
Status = Literal["accepted", "running", "successful", "failed", "dismissed"]
Response = Literal["raw", "document"]
STATUS: dict[JobStatus, Status] = {
    JobStatus.QUEUED: "accepted",
    JobStatus.PROCESSING: "running",
    JobStatus.COMPLETED: "successful",
    JobStatus.COMPLETED_WITH_ERRORS: "successful",
    JobStatus.FAILED: "failed",
    JobStatus.CANCELLED: "dismissed",
}


class Link(Body):
    href: str
    rel: str
    type: str = JSON


class Landing(Body):
    title: str
    description: str
    links: list[Link]


class Conformance(Body):
    conformsTo: list[str]


class ProcessSummary(Body):
    id: str
    title: str
    description: str
    version: str
    jobControlOptions: tuple[str, ...] = ("async-execute", "dismiss")
    outputTransmission: tuple[str, ...] = ("value",)
    links: list[Link]


class Process(ProcessSummary):
    inputs: Json
    outputs: Json


class ProcessList(Body):
    processes: list[ProcessSummary]
    links: list[Link]


class StatusInfo(Body):
    jobID: Annotated[str, Field(pattern=EXECUTION_ID)]
    processID: str
    type: Literal["process"] = "process"
    status: Status
    message: str
    created: datetime | None = absent()
    updated: datetime | None = absent()
    started: datetime | None = absent()
    finished: datetime | None = absent()
    progress: Annotated[int, Field(ge=0, le=100)] | None = absent()
    links: list[Link]


class StatusList(Body):
    jobs: list[StatusInfo]
    links: list[Link]


class Value(Body):
    """A qualified value, which the standard requires for objects."""

    value: Json
    mediaType: str = JSON


class Results(Body):
    """The results as a document."""

    result: Value


class RawResults(RootModel[Json]):
    """The raw results: the value of the only output."""


class Format(BaseModel):
    """The format of an output. Only JSON is supported."""

    model_config = ConfigDict(extra="forbid")

    mediaType: Literal["application/json"] = "application/json"
    encoding: Literal["utf-8", "UTF-8"] = "utf-8"


class Output(BaseModel):
    """How a requested output is returned."""

    model_config = ConfigDict(extra="forbid")

    transmissionMode: Literal["value"] = "value"
    format: Format = Format()


class Execute(BaseModel):
    """A request to execute a process, which is always asynchronous."""

    model_config = ConfigDict(extra="forbid")

    inputs: Json = {}
    outputs: dict[Literal["result"], Output] = {}
    response: Response = Field("raw", description="The form in which the job returns its results.")
    mode: Literal["async", "auto"] = Field(
        "async", description="Defined by drafts of the standard only."
    )
    subscriber: None = Field(
        None, description="Callbacks are not supported; poll the job's status."
    )

    @field_validator("inputs")
    @classmethod
    def _check_inputs(cls, inputs: Json) -> Json:
        for name, value in inputs.items():
            if _is_link(value):
                raise ValueError(f"links are not followed; send the value of {name} itself")
            if _is_qualified(value) and not value.keys() <= {"value", "mediaType"}:
                raise ValueError(
                    f"{name} must be plain JSON, without an encoding or a schema of its own"
                )
        return inputs

    @field_validator("subscriber", mode="before")
    @classmethod
    def _check_subscriber(cls, value: Any) -> Any:
        if value is not None:
            raise ValueError("callbacks are not supported; leave it out and poll the job's status")
        return value

    def unqualify(self) -> Json:
        """The inputs without the wrapper of qualified values (section 7.11.2.3)."""
        return {name: _unqualify(value) for name, value in self.inputs.items()}


class OpenApi30Schema(GenerateJsonSchema):
    """JSON Schema in the dialect of OpenAPI 3.0, which the standard's schema.yaml requires."""

    def nullable_schema(self, schema: NullableSchema) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        return ({"allOf": [inner]} if "$ref" in inner else inner) | {"nullable": True}

    def literal_schema(self, schema: LiteralSchema) -> JsonSchemaValue:
        found = super().literal_schema(schema)
        return {"enum": [found.pop("const")], **found} if "const" in found else found


def describe_process(job: JobBase) -> Process:
    """A process with its inputs, each with a self-contained schema."""
    schema = job.parameters.model_json_schema(schema_generator=OpenApi30Schema)
    required = schema.get("required", [])
    inputs = {
        name: {
            "title": value.get("title", name),
            "description": value.get("description", ""),
            "minOccurs": int(name in required),
            "maxOccurs": 1,
            "schema": _inline(value, schema.get("$defs", {})),
        }
        for name, value in schema["properties"].items()
    }
    outputs = {"result": {"title": "The job's result", "schema": {"type": "object"}}}
    return Process(**summarize_process(job).model_dump(), inputs=inputs, outputs=outputs)


def _inline(schema: Any, definitions: Json) -> Any:
    """The schema with what it refers to in place: the standard's dialect has no `$defs`."""
    if isinstance(schema, list):
        return [_inline(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    own = {key: _inline(value, definitions) for key, value in schema.items() if key != "$ref"}
    if "$ref" not in schema:
        return own
    return _inline(definitions[schema["$ref"].rpartition("/")[2]], definitions) | own


def summarize_process(job: JobBase) -> ProcessSummary:
    """A process as lists show it."""
    return ProcessSummary(
        id=job.job_type,
        title=job.job_type.replace("_", " ").capitalize(),
        description=job.description,
        version=str(job.version),
        links=[
            build_link(f"/processes/{job.job_type}", "self"),
            build_link(f"/processes/{job.job_type}/execution", f"{REL}/execute"),
        ],
    )


def describe_status(
    job: JobRecord, response: Response = "raw", progress: float | None = None
) -> StatusInfo:
    """The status of a job. `progress` goes from 0 to 1, if it is known."""
    is_successful = STATUS[job.status] == "successful"
    percent = None if progress is None else int(progress * 100)
    name = build_execution_id(job.job_id, response)
    links = [build_link(f"/jobs/{name}", "self")]
    if is_successful:
        links.append(build_link(f"/jobs/{name}/results", f"{REL}/results"))
    if job.status is JobStatus.FAILED:
        links.append(build_link(f"/jobs/{name}/results", f"{REL}/exceptions"))
    return StatusInfo(
        jobID=name,
        processID=job.job_type,
        status=STATUS[job.status],
        message=job.error.message if job.error else f"The job is {job.status}",
        created=job.created_at,
        updated=job.updated_at,
        started=job.started_at,
        finished=job.finished_at,
        progress=100 if is_successful else percent,
        links=links,
    )


def build_execution_id(job_id: str, response: Response) -> str:
    """The id of an execution: its job's, with a suffix if it wants its results as a document.

    Executions that differ only in that share a job.
    """
    return job_id + DOCUMENT_SUFFIX if response == "document" else job_id


def build_link(path: str, rel: str) -> Link:
    return Link(href=f"{ROOT}{path}", rel=rel)


def _is_link(value: Any) -> bool:
    return isinstance(value, dict) and "href" in value and "value" not in value


def _is_qualified(value: Any) -> bool:
    return isinstance(value, dict) and "value" in value


def _unqualify(value: Any) -> Any:
    return value["value"] if _is_qualified(value) else value
