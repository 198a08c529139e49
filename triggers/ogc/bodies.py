"""What OGC API - Processes sends and takes, as models. Names in camelCase are the standard's."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, field_validator
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import LiteralSchema, NullableSchema

from core.job import JobBase
from core.models import JobRecord, JobStatus, Json
from triggers.http.bodies import Body

ROOT = "/api/ogc"
REL = "http://www.opengis.net/def/rel/ogc/1.0"
DOCUMENT = "-document"
EXECUTION_ID = f"^[0-9a-f]{{64}}({DOCUMENT})?$"
LONGEST_RUN = 10**9
LARGEST_LIMIT = 10_000  # the standard's: an answer may have fewer
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


def _is_absent(value: Any) -> bool:
    return value is None


class Link(Body):
    href: str
    rel: str
    type: str = "application/json"


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
    created: datetime | None = Field(None, exclude_if=_is_absent)
    updated: datetime | None = Field(None, exclude_if=_is_absent)
    started: datetime | None = Field(None, exclude_if=_is_absent)
    finished: datetime | None = Field(None, exclude_if=_is_absent)
    progress: int | None = Field(None, ge=0, le=100, exclude_if=_is_absent)
    links: list[Link]


class StatusList(Body):
    jobs: list[StatusInfo]
    links: list[Link]


class Value(Body):
    """A value of an output, qualified as the standard wants it for objects."""

    value: Json
    mediaType: str = "application/json"


class Results(Body):
    """The results as a document."""

    result: Value


class RawResults(RootModel[Json]):
    """The results raw: the value of the one output."""


class Format(BaseModel):
    """How an output is wanted: there is one way."""

    model_config = ConfigDict(extra="forbid")

    mediaType: Literal["application/json"] = "application/json"
    encoding: Literal["utf-8", "UTF-8"] = "utf-8"


class Output(BaseModel):
    """An output that is wanted."""

    model_config = ConfigDict(extra="forbid")

    transmissionMode: Literal["value"] = "value"
    format: Format = Format()


class Execute(BaseModel):
    """A request to run a process. It runs asynchronously, whatever is preferred."""

    model_config = ConfigDict(extra="forbid")

    inputs: Json = {}
    outputs: dict[Literal["result"], Output] = {}
    response: Response = Field("raw", description="the form in which the job has its results")
    mode: Literal["async", "auto"] = Field("async", description="of drafts of the standard")
    subscriber: None = Field(None, description="there are no callbacks: watch the job's status")

    @field_validator("inputs")
    @classmethod
    def _are_values(cls, inputs: Json) -> Json:
        for name, value in inputs.items():
            if _is_link(value):
                raise ValueError(f"no link is followed: give the value of {name} itself")
            if _is_qualified(value) and not value.keys() <= {"value", "mediaType"}:
                raise ValueError(f"{name} has no encoding and no schema: give its value in JSON")
        return inputs

    @field_validator("subscriber", mode="before")
    @classmethod
    def _is_watched(cls, value: Any) -> Any:
        if value is not None:
            raise ValueError("there are no callbacks: leave it out and watch the job's status")
        return value

    def values(self) -> Json:
        """The inputs by themselves: a qualified value (section 7.11.2.3) also has a format."""
        return {name: _unqualified(value) for name, value in self.inputs.items()}


class Dialect(GenerateJsonSchema):
    """JSON Schema as OpenAPI 3.0 has it, which is what the standard's schema.yaml takes."""

    def nullable_schema(self, schema: NullableSchema) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        return ({"allOf": [inner]} if "$ref" in inner else inner) | {"nullable": True}

    def literal_schema(self, schema: LiteralSchema) -> JsonSchemaValue:
        found = super().literal_schema(schema)
        return {"enum": [found.pop("const")], **found} if "const" in found else found


def describe_process(job: JobBase) -> Process:
    """A process with its inputs, each with a schema that stands by itself."""
    schema = job.parameters.model_json_schema(schema_generator=Dialect)
    required = schema.get("required", [])
    shared = {"$defs": schema["$defs"]} if "$defs" in schema else {}
    inputs = {
        name: {
            "title": value.get("title", name),
            "description": value.get("description", ""),
            "minOccurs": int(name in required),
            "maxOccurs": 1,
            "schema": value | shared,
        }
        for name, value in schema["properties"].items()
    }
    outputs = {"result": {"title": "The job's result", "schema": {"type": "object"}}}
    return Process(**summarize(job).model_dump(), inputs=inputs, outputs=outputs)


def summarize(job: JobBase) -> ProcessSummary:
    """A process as lists show it."""
    return ProcessSummary(
        id=job.job_type,
        title=job.job_type.replace("_", " ").capitalize(),
        description=job.description,
        version=str(job.version),
        links=[
            link(f"/processes/{job.job_type}", "self"),
            link(f"/processes/{job.job_type}/execution", f"{REL}/execute"),
        ],
    )


def describe_status(
    job: JobRecord, response: Response = "raw", progress: float | None = None
) -> StatusInfo:
    """A job as its status tells it; `progress` from 0 to 1, where it is known."""
    done = STATUS[job.status] == "successful"
    percent = None if progress is None else int(progress * 100)
    name = execution_id(job.job_id, response)
    links = [link(f"/jobs/{name}", "self")]
    if done:
        links.append(link(f"/jobs/{name}/results", f"{REL}/results"))
    if job.status is JobStatus.FAILED:
        links.append(link(f"/jobs/{name}/results", f"{REL}/exceptions"))
    return StatusInfo(
        jobID=name,
        processID=job.job_type,
        status=STATUS[job.status],
        message=job.error.message if job.error else f"the job is {job.status}",
        created=job.created_at,
        updated=job.updated_at,
        started=job.started_at,
        finished=job.finished_at,
        progress=100 if done else percent,
        links=links,
    )


def execution_id(job_id: str, response: Response) -> str:
    """The job's id as the standard has it: it tells in which form the results are wanted.

    Executions that differ in nothing else share one job.
    """
    return job_id + DOCUMENT if response == "document" else job_id


def link(path: str, rel: str) -> Link:
    return Link(href=f"{ROOT}{path}", rel=rel)


def _is_link(value: Any) -> bool:
    return isinstance(value, dict) and "href" in value and "value" not in value


def _is_qualified(value: Any) -> bool:
    return isinstance(value, dict) and "value" in value


def _unqualified(value: Any) -> Any:
    return value["value"] if _is_qualified(value) else value
