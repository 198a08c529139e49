"""OGC API - Processes, part 1 (OGC 18-062r2), on the same machine: core, job list, dismiss.

Field names in camelCase are the standard's.
"""

from functools import wraps
from typing import Any, Literal

import azure.functions as func
from pydantic import BaseModel, ConfigDict, Field

from core.errors import GeolatheError, JobNotFound, StateConflict, UnknownJobType
from core.job import JobBase
from core.machine import CoreMachine
from core.models import JobRecord, JobStatus, Json
from core.validation import validate_body
from triggers.answers import Endpoint, json_answer, json_body
from triggers.bodies import Body, JobId
from triggers.problems import problem
from triggers.queries import job_cursor, job_id, page_size, spell_cursor

ROOT = "/api/ogc"
OPENAPI = "application/vnd.oai.openapi+json;version=3.1"
REL = "http://www.opengis.net/def/rel/ogc/1.0"
CLASSES = ("core", "ogc-process-description", "json", "oas30", "job-list", "dismiss")
CONFORMANCE = [f"http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/{c}" for c in CLASSES]
EXCEPTION = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0"
EXCEPTIONS: dict[type[GeolatheError], str] = {
    UnknownJobType: f"{EXCEPTION}/no-such-process",
    JobNotFound: f"{EXCEPTION}/no-such-job",
}
Status = Literal["accepted", "running", "successful", "failed", "dismissed"]
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
    jobID: JobId
    processID: str
    type: Literal["process"] = "process"
    status: Status
    message: str
    created: str
    updated: str
    started: str | None = Field(None, exclude_if=lambda value: value is None)
    finished: str | None = Field(None, exclude_if=lambda value: value is None)
    progress: int = Field(ge=0, le=100)
    links: list[Link]


class StatusList(Body):
    jobs: list[StatusInfo]
    links: list[Link]


class Value(Body):
    """A value of an output, qualified as the standard wants it for objects."""

    value: Json
    mediaType: str = "application/json"


class Results(Body):
    result: Value


class Execute(BaseModel):
    """A request to run a process. It is always run asynchronously and answered as a document."""

    model_config = ConfigDict(extra="ignore")

    inputs: Json = {}


def answering(endpoint: Endpoint) -> Endpoint:
    """As elsewhere, with the standard's types for what it gives a type."""

    @wraps(endpoint)
    def answer(req: func.HttpRequest) -> func.HttpResponse:
        try:
            return endpoint(req)
        except (UnknownJobType, JobNotFound) as error:
            return problem(error, kind=EXCEPTIONS[type(error)])
        except GeolatheError as error:
            return problem(error)

    return answer


def blueprint(machine: CoreMachine) -> func.Blueprint:
    """The routes over a machine."""
    bp = func.Blueprint()
    for register in (_add_pages, _add_processes, _add_jobs):
        register(bp, machine)
    return bp


def _add_pages(bp: func.Blueprint, machine: CoreMachine) -> None:
    @bp.route("ogc", methods=["GET"])
    def ogc_landing(req: func.HttpRequest) -> func.HttpResponse:
        links = [
            _link("", "self"),
            Link(href="/api/openapi.json", rel="service-desc", type=OPENAPI),
            Link(href="/api/docs", rel="service-doc", type="text/html"),
            _link("/conformance", f"{REL}/conformance"),
            _link("/processes", f"{REL}/processes"),
            _link("/jobs", f"{REL}/job-list"),
        ]
        about = "Rasters in blob storage become COGs, STAC items and maps."
        return json_answer(Landing(title="Geolathe", description=about, links=links))

    @bp.route("ogc/conformance", methods=["GET"])
    def ogc_conformance(req: func.HttpRequest) -> func.HttpResponse:
        return json_answer(Conformance(conformsTo=CONFORMANCE))


def _add_processes(bp: func.Blueprint, machine: CoreMachine) -> None:
    @bp.route("ogc/processes", methods=["GET"])
    @answering
    def ogc_processes(req: func.HttpRequest) -> func.HttpResponse:
        jobs = list(machine.registry.jobs.values())[: page_size(req)]
        summaries = [_summary(job) for job in jobs]
        return json_answer(ProcessList(processes=summaries, links=[_link("/processes", "self")]))

    @bp.route("ogc/processes/{process}", methods=["GET"])
    @answering
    def ogc_process(req: func.HttpRequest) -> func.HttpResponse:
        return json_answer(_describe(machine.registry.job(req.route_params["process"])))

    @bp.route("ogc/processes/{process}/execution", methods=["POST"])
    @answering
    def ogc_execute(req: func.HttpRequest) -> func.HttpResponse:
        job = machine.registry.job(req.route_params["process"])
        inputs = validate_body(Execute, json_body(req)).inputs
        values = {name: _unwrapped(value) for name, value in inputs.items()}
        record = machine.submit(job.job_type, values).job
        headers = {
            "Location": f"{ROOT}/jobs/{record.job_id}",
            "Preference-Applied": "respond-async",
        }
        return json_answer(_status(machine, record.job_id), 201, headers)


def _add_jobs(bp: func.Blueprint, machine: CoreMachine) -> None:
    @bp.route("ogc/jobs", methods=["GET"])
    @answering
    def ogc_jobs(req: func.HttpRequest) -> func.HttpResponse:
        limit = page_size(req)
        jobs = machine.list_jobs([], None, job_cursor(req), limit)
        links = [_link("/jobs", "self")]
        if len(jobs) == limit:
            links.append(_link(f"/jobs?limit={limit}&after={spell_cursor(jobs[-1])}", "next"))
        return json_answer(StatusList(jobs=[_info(job, 0.0) for job in jobs], links=links))

    @bp.route("ogc/jobs/{job_id}", methods=["GET"])
    @answering
    def ogc_job(req: func.HttpRequest) -> func.HttpResponse:
        return json_answer(_status(machine, job_id(req)))

    @bp.route("ogc/jobs/{job_id}", methods=["DELETE"])
    @answering
    def ogc_dismiss(req: func.HttpRequest) -> func.HttpResponse:
        return json_answer(_status(machine, machine.cancel(job_id(req)).job_id))

    @bp.route("ogc/jobs/{job_id}/results", methods=["GET"])
    @answering
    def ogc_results(req: func.HttpRequest) -> func.HttpResponse:
        try:
            return json_answer(_results(machine.state.get_job(job_id(req))))
        except StateConflict as error:
            return problem(error, kind=f"{EXCEPTION}/result-not-ready", status=404)


def _summary(job: JobBase) -> ProcessSummary:
    return ProcessSummary(
        id=job.job_type,
        title=job.job_type.replace("_", " ").capitalize(),
        description=job.description,
        version=str(job.version),
        links=[
            _link(f"/processes/{job.job_type}", "self"),
            _link(f"/processes/{job.job_type}/execution", f"{REL}/execute"),
        ],
    )


def _describe(job: JobBase) -> Process:
    schema = job.parameters.model_json_schema()
    required = schema.get("required", [])
    inputs = {
        name: {
            "title": value.get("title", name),
            "description": value.get("description", ""),
            "minOccurs": int(name in required),
            "maxOccurs": 1,
            "schema": value,
        }
        for name, value in schema["properties"].items()
    }
    outputs = {"result": {"title": "The job's result", "schema": {"type": "object"}}}
    return Process(**_summary(job).model_dump(), inputs=inputs, outputs=outputs)


def _status(machine: CoreMachine, wanted: str) -> StatusInfo:
    view = machine.status(wanted)
    return _info(view.job, view.progress)


def _info(job: JobRecord, progress: float) -> StatusInfo:
    def moment(name: str) -> Any:
        return value.isoformat() if (value := getattr(job, name)) else None

    done = job.status in (JobStatus.COMPLETED, JobStatus.COMPLETED_WITH_ERRORS)
    links = [_link(f"/jobs/{job.job_id}", "self")]
    if done:
        links.append(_link(f"/jobs/{job.job_id}/results", f"{REL}/results"))
    return StatusInfo(
        jobID=job.job_id,
        processID=job.job_type,
        status=STATUS[job.status],
        message=job.error.message if job.error else f"the job is {job.status}",
        created=moment("created_at"),
        updated=moment("updated_at"),
        started=moment("started_at"),
        finished=moment("finished_at"),
        progress=100 if done else int(progress * 100),
        links=links,
    )


def _results(job: JobRecord) -> Results:
    """Raises StateConflict when there are none."""
    if job.result is None:
        why = job.error.message if job.error else "it has no result"
        raise StateConflict(f"job {job.job_id} is {job.status}: {why}")
    return Results(result=Value(value=job.result))


def _unwrapped(value: Any) -> Any:
    """A qualified value (section 7.11.2.3 of the standard) is the value and its format."""
    return value["value"] if isinstance(value, dict) and "value" in value else value


def _link(path: str, rel: str) -> Link:
    return Link(href=f"{ROOT}{path}", rel=rel)
