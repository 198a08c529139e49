"""OGC API - Processes, part 1 (OGC 18-062r2): core, job list and dismiss.

One requirement of core is deliberately not met: an input that is a link is refused, because the
service never opens a URL that a caller supplies.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, get_args
from urllib.parse import urlencode

import azure.functions as func

from core.errors import JobNotFound, StateConflict, UnknownJobType
from core.machine import CoreMachine
from core.models import JobRecord, JobStatus
from core.ports import JobFilter, StateRepository
from core.registry import Registry
from core.validation import validate_body
from triggers.http import parameters
from triggers.http.correlation import get_correlation_id
from triggers.http.media_types import HTML, OPENAPI_JSON
from triggers.http.parameters import TEXT, Parameter, enumerate_values
from triggers.http.payloads import read_json, respond
from triggers.http.problems import build_failure_problem, build_problem
from triggers.http.route import Reply, RequestBody, Routes, route
from triggers.ogc import bodies
from triggers.ogc.bodies import DOCUMENT_SUFFIX, REL, ROOT, Link, Response, build_link

CLASSES = ("core", "ogc-process-description", "json", "job-list", "dismiss")
CONFORMANCE = [f"http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/{c}" for c in CLASSES]
EXCEPTION = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0"
MAX_LIMIT = 10_000  # the standard's; a page may have fewer results
MAX_DURATION_SECONDS = 10**9
SECONDS = {"type": "integer", "minimum": 0, "maximum": MAX_DURATION_SECONDS}
LIMIT = Parameter(
    "limit",
    "query",
    {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 100},
    "Largest number of results in the page",
)
PROCESS = Parameter("process", "path", TEXT, "Id of a process", is_job_type=True)
AFTER_PROCESS = Parameter(
    "after", "query", TEXT, "As in the link to the next page", is_job_type=True
)
EXECUTION = Parameter(
    "job_id",
    "path",
    {"type": "string", "pattern": bodies.EXECUTION_ID},
    f"Id of a job; with {DOCUMENT_SUFFIX} its results are a document, otherwise raw",
)
FILTERS = (
    Parameter("type", "query", enumerate_values(["process"]), "Kinds of jobs", is_list=True),
    Parameter("processID", "query", TEXT, "Only jobs of these processes", is_list=True),
    Parameter(
        "status",
        "query",
        enumerate_values(get_args(bodies.Status)),
        "Only jobs in these statuses",
        is_list=True,
    ),
    Parameter("datetime", "query", TEXT, "Only jobs created at this time or in this interval"),
    Parameter("minDuration", "query", SECONDS, "Only jobs that ran at least this many seconds"),
    Parameter("maxDuration", "query", SECONDS, "Only jobs that ran at most this many seconds"),
)


class Execution(NamedTuple):
    """A job, and the form in which its results are wanted."""

    job_id: str
    response: Response


class Processes(Routes):
    """The routes of the standard, over the same jobs as the rest of the API."""

    tag = "OGC API - Processes"
    problem_types = {  # noqa: RUF012 - never modified
        UnknownJobType: f"{EXCEPTION}/no-such-process",
        JobNotFound: f"{EXCEPTION}/no-such-job",
    }

    def __init__(self, machine: CoreMachine, state: StateRepository, registry: Registry) -> None:
        self.machine = machine
        self.state = state
        self.registry = registry

    @route(
        "GET", "ogc", "Get the landing page", {200: Reply("The landing page", (bodies.Landing,))}
    )
    def ogc_get_landing(self, req: func.HttpRequest) -> func.HttpResponse:
        links = [
            build_link("", "self"),
            Link(href="/api/openapi.json", rel="service-desc", type=OPENAPI_JSON),
            Link(href="/api/docs", rel="service-doc", type=HTML),
            build_link("/conformance", f"{REL}/conformance"),
            build_link("/processes", f"{REL}/processes"),
            build_link("/jobs", f"{REL}/job-list"),
        ]
        about = "Turns rasters in blob storage into COGs, STAC items and maps."
        return respond(bodies.Landing(title="Geolathe", description=about, links=links))

    @route(
        "GET",
        "ogc/conformance",
        "List the conformance classes",
        {200: Reply("The conformance classes", (bodies.Conformance,))},
    )
    def ogc_get_conformance(self, req: func.HttpRequest) -> func.HttpResponse:
        return respond(bodies.Conformance(conformsTo=CONFORMANCE))

    @route(
        "GET",
        "ogc/processes",
        "List the processes",
        {200: Reply("A page of processes", (bodies.ProcessList,))},
        problems=(422,),
        parameters=(LIMIT, AFTER_PROCESS),
    )
    def ogc_list_processes(self, req: func.HttpRequest) -> func.HttpResponse:
        known, limit = list(self.registry.jobs), _read_page_size(req)
        start = _find_page_start(req, known)
        page = known[start : start + limit]
        after = page[-1] if start + limit < len(known) else None
        summaries = [bodies.summarize_process(self.registry.job(name)) for name in page]
        links = _link_pages(req, "/processes", after)
        return respond(bodies.ProcessList(processes=summaries, links=links))

    @route(
        "GET",
        "ogc/processes/{process}",
        "Get a process with the schemas of its inputs and outputs",
        {200: Reply("The process", (bodies.Process,))},
        problems=(404, 422),
        parameters=(PROCESS,),
    )
    def ogc_get_process(self, req: func.HttpRequest) -> func.HttpResponse:
        process = self.registry.job(req.route_params["process"])
        return respond(bodies.describe_process(process))

    @route(
        "POST",
        "ogc/processes/{process}/execution",
        "Execute a process",
        {201: Reply("The status of the job", (bodies.StatusInfo,), headers=("Location",))},
        problems=(400, 404, 413, 422, 503),
        parameters=(PROCESS,),
        body=RequestBody(bodies.Execute, {"inputs": {"n": 3}}),
    )
    def ogc_execute_process(self, req: func.HttpRequest) -> func.HttpResponse:
        process = self.registry.job(req.route_params["process"])
        wanted = validate_body(bodies.Execute, read_json(req))
        job = self.machine.submit(
            process.job_type, wanted.unqualify(), correlation_id=get_correlation_id()
        ).job
        execution = Execution(job.job_id, wanted.response)
        headers = {"Location": f"{ROOT}/jobs/{bodies.build_execution_id(*execution)}"}
        if _prefers_async(req):
            headers["Preference-Applied"] = "respond-async"
        return respond(self._describe(execution), 201, headers)

    @route(
        "GET",
        "ogc/jobs",
        "List jobs, newest first",
        {200: Reply("A page of jobs", (bodies.StatusList,))},
        problems=(404, 422, 503),
        parameters=(*FILTERS, parameters.AFTER_JOB, LIMIT),
    )
    def ogc_list_jobs(self, req: func.HttpRequest) -> func.HttpResponse:
        limit = _read_page_size(req)
        jobs = self.machine.list_jobs(_read_filter(req), parameters.read_job_cursor(req), limit)
        after = parameters.format_job_cursor(jobs[-1]) if len(jobs) == limit else None
        links = _link_pages(req, "/jobs", after)
        statuses = [bodies.describe_status(job) for job in jobs]
        return respond(bodies.StatusList(jobs=statuses, links=links))

    @route(
        "GET",
        "ogc/jobs/{job_id}",
        "Get the status of a job",
        {200: Reply("The status of the job", (bodies.StatusInfo,))},
        problems=(404, 422, 503),
        parameters=(EXECUTION,),
    )
    def ogc_get_job(self, req: func.HttpRequest) -> func.HttpResponse:
        return respond(self._describe(_read_execution(req)))

    @route(
        "DELETE",
        "ogc/jobs/{job_id}",
        "Cancel a job and remove its outputs",
        {200: Reply("The status of the job", (bodies.StatusInfo,))},
        problems=(404, 409, 422, 503),
        parameters=(EXECUTION,),
    )
    def ogc_dismiss_job(self, req: func.HttpRequest) -> func.HttpResponse:
        execution = _read_execution(req)
        self.machine.cancel(execution.job_id)
        return respond(self._describe(execution))

    @route(
        "GET",
        "ogc/jobs/{job_id}/results",
        "Get the results of a job",
        {200: Reply("The results, raw or as a document", (bodies.RawResults, bodies.Results))},
        problems=(404, 410, 422, 500, 503),
        parameters=(EXECUTION,),
    )
    def ogc_get_results(self, req: func.HttpRequest) -> func.HttpResponse:
        job_id, response = _read_execution(req)
        return _respond_with_results(self.state.get_job(job_id), response)

    def _describe(self, execution: Execution) -> bodies.StatusInfo:
        view = self.machine.status(execution.job_id)
        return bodies.describe_status(view.job, execution.response, view.progress)


def _read_execution(req: func.HttpRequest) -> Execution:
    """The execution in the path. Raises JobNotFound for text that cannot be an id."""
    name = req.route_params["job_id"]
    job_id = parameters.parse_job_id(name.removesuffix(DOCUMENT_SUFFIX))
    return Execution(job_id, "raw" if name == job_id else "document")


def _respond_with_results(job: JobRecord, response: Response) -> func.HttpResponse:
    """The results of a job, or the reason why it has none (yet)."""
    if job.status is JobStatus.FAILED and job.error:
        return build_failure_problem(job.error)
    if job.status is JobStatus.CANCELLED:
        gone = f"job {job.job_id} was dismissed and has no results; execute the process again"
        return build_problem(StateConflict(gone), status=410)
    if job.result is None:
        early = f"job {job.job_id} is {job.status}; its results are not ready"
        kind = f"{EXCEPTION}/result-not-ready"
        return build_problem(StateConflict(early), kind=kind, status=404)
    if response == "raw":
        return respond(bodies.RawResults(job.result))
    return respond(bodies.Results(result=bodies.Value(value=job.result)))


def _read_filter(req: func.HttpRequest) -> JobFilter:
    """The standard's filters (section 11.2.2). Every job is one of a process."""
    parameters.read_names(req, "type", ["process"])
    statuses = parameters.read_names(req, "status", list(bodies.STATUS.values()))
    created_from, created_until = _read_interval(req)
    return JobFilter(
        statuses=[status for status, name in bodies.STATUS.items() if name in statuses],
        job_types=parameters.read_names(req, "processID"),
        created_from=created_from,
        created_until=created_until,
        least_seconds=_read_seconds(req, "minDuration"),
        most_seconds=_read_seconds(req, "maxDuration"),
    )


def _read_interval(req: func.HttpRequest) -> tuple[datetime | None, datetime | None]:
    """`datetime`: a time, or two separated by a slash, of which one may be open (`..` or empty)."""
    begin, slash, end = req.params.get("datetime", "").partition("/")
    bounds = [begin, end] if slash else [begin, begin]
    first, last = (
        None if slash and each == ".." else parameters.parse_time("datetime", each)
        for each in bounds
    )
    return first, last


def _read_seconds(req: func.HttpRequest, name: str) -> int | None:
    if name not in req.params:
        return None
    return parameters.read_integer(req, name, 0, MAX_DURATION_SECONDS)


def _read_page_size(req: func.HttpRequest) -> int:
    wanted = parameters.read_integer(req, "limit", 100, MAX_LIMIT, least=1)
    return min(wanted, parameters.MAX_PAGE_SIZE)


def _find_page_start(req: func.HttpRequest, known: Sequence[str]) -> int:
    """The index of the first process after the one that `after` names."""
    after = req.params.get("after")
    if after is not None and after not in known:
        raise parameters.invalid("after", after, "must be as in the link to the next page")
    return known.index(after) + 1 if after is not None else 0


def _link_pages(req: func.HttpRequest, path: str, after: str | None) -> list[Link]:
    """Links to this page and the next. They copy only filters: the query may hold a key."""
    copied = [*(each.name for each in FILTERS), "limit"]
    filters = {name: req.params[name] for name in copied if name in req.params}
    here = filters | ({"after": req.params["after"]} if "after" in req.params else {})
    links = [build_link(_with_query(path, here), "self")]
    if after is not None:
        links.append(build_link(_with_query(path, filters | {"after": after}), "next"))
    return links


def _with_query(path: str, query: dict[str, str]) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def _prefers_async(req: func.HttpRequest) -> bool:
    preferred = req.headers.get("Prefer", "").split(",")
    return "respond-async" in [each.partition(";")[0].strip() for each in preferred]
