"""OGC API - Processes, part 1 (OGC 18-062r2), on the same machine: core, job list, dismiss.

Of core one thing is left out on purpose: an input that is a link is refused, for this server
opens no address that a caller names.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import wraps
from typing import NamedTuple
from urllib.parse import urlencode

import azure.functions as func

from core.errors import GeolatheError, JobNotFound, StateConflict, UnknownJobType
from core.machine import CoreMachine
from core.models import JobRecord, JobStatus
from core.ports import JobFilter, StateRepository
from core.registry import Registry
from core.validation import validate_body
from triggers.http.answers import READ, Endpoint, json_answer, json_body
from triggers.http.problems import failure_problem, problem
from triggers.http.queries import (
    LARGEST_PAGE,
    job_cursor,
    moment,
    names,
    only,
    read_job_id,
    spell_cursor,
    whole_number,
    wrong,
)
from triggers.ogc.bodies import (
    DOCUMENT,
    LARGEST_LIMIT,
    LONGEST_RUN,
    REL,
    ROOT,
    STATUS,
    Conformance,
    Execute,
    Landing,
    Link,
    ProcessList,
    RawResults,
    Response,
    Results,
    StatusInfo,
    StatusList,
    Value,
    describe_process,
    describe_status,
    execution_id,
    link,
    summarize,
)

OPENAPI = "application/vnd.oai.openapi+json;version=3.1"
CLASSES = ("core", "ogc-process-description", "json", "job-list", "dismiss")
CONFORMANCE = [f"http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/{c}" for c in CLASSES]
EXCEPTION = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0"
EXCEPTIONS: dict[type[GeolatheError], str] = {
    UnknownJobType: f"{EXCEPTION}/no-such-process",
    JobNotFound: f"{EXCEPTION}/no-such-job",
}
FILTERS = ("type", "processID", "status", "datetime", "minDuration", "maxDuration", "limit")


class Execution(NamedTuple):
    """A job, and the form in which whoever executed it wants its results."""

    job_id: str
    response: Response


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


def blueprint(machine: CoreMachine, registry: Registry, state: StateRepository) -> func.Blueprint:
    """The routes over a machine, its registry and its state."""
    bp = func.Blueprint()
    _add_pages(bp)
    _add_processes(bp, machine, registry)
    _add_jobs(bp, machine, state)
    return bp


def _add_pages(bp: func.Blueprint) -> None:
    @bp.route("ogc", methods=READ)
    def ogc_landing(req: func.HttpRequest) -> func.HttpResponse:
        links = [
            link("", "self"),
            Link(href="/api/openapi.json", rel="service-desc", type=OPENAPI),
            Link(href="/api/docs", rel="service-doc", type="text/html"),
            link("/conformance", f"{REL}/conformance"),
            link("/processes", f"{REL}/processes"),
            link("/jobs", f"{REL}/job-list"),
        ]
        about = "Rasters in blob storage become COGs, STAC items and maps."
        return json_answer(Landing(title="Geolathe", description=about, links=links))

    @bp.route("ogc/conformance", methods=READ)
    def ogc_conformance(req: func.HttpRequest) -> func.HttpResponse:
        return json_answer(Conformance(conformsTo=CONFORMANCE))


def _add_processes(bp: func.Blueprint, machine: CoreMachine, registry: Registry) -> None:
    @bp.route("ogc/processes", methods=READ)
    @answering
    def ogc_processes(req: func.HttpRequest) -> func.HttpResponse:
        only(req, "limit", "after")
        known, limit = list(registry.jobs), _page_size(req)
        start = _place(req, known)
        shown = known[start : start + limit]
        after = shown[-1] if start + limit < len(known) else None
        summaries = [summarize(registry.job(name)) for name in shown]
        links = _page_links(req, "/processes", after)
        return json_answer(ProcessList(processes=summaries, links=links))

    @bp.route("ogc/processes/{process}", methods=READ)
    @answering
    def ogc_process(req: func.HttpRequest) -> func.HttpResponse:
        return json_answer(describe_process(registry.job(req.route_params["process"])))

    @bp.route("ogc/processes/{process}/execution", methods=["POST"])
    @answering
    def ogc_execute(req: func.HttpRequest) -> func.HttpResponse:
        process = registry.job(req.route_params["process"])
        wanted = validate_body(Execute, json_body(req))
        job = machine.submit(process.job_type, wanted.values()).job
        headers = {"Location": f"{ROOT}/jobs/{execution_id(job.job_id, wanted.response)}"}
        if _prefers_async(req):
            headers["Preference-Applied"] = "respond-async"
        return json_answer(_status(machine, Execution(job.job_id, wanted.response)), 201, headers)


def _add_jobs(bp: func.Blueprint, machine: CoreMachine, state: StateRepository) -> None:
    @bp.route("ogc/jobs", methods=READ)
    @answering
    def ogc_jobs(req: func.HttpRequest) -> func.HttpResponse:
        only(req, *FILTERS, "after")
        limit = _page_size(req)
        jobs = machine.list_jobs(_filter(req), job_cursor(req), limit)
        after = spell_cursor(jobs[-1]) if len(jobs) == limit else None
        links = _page_links(req, "/jobs", after)
        return json_answer(StatusList(jobs=[describe_status(job) for job in jobs], links=links))

    @bp.route("ogc/jobs/{job_id}", methods=READ)
    @answering
    def ogc_job(req: func.HttpRequest) -> func.HttpResponse:
        return json_answer(_status(machine, _execution(req)))

    @bp.route("ogc/jobs/{job_id}", methods=["DELETE"])
    @answering
    def ogc_dismiss(req: func.HttpRequest) -> func.HttpResponse:
        execution = _execution(req)
        machine.cancel(execution.job_id)
        return json_answer(_status(machine, execution))

    @bp.route("ogc/jobs/{job_id}/results", methods=READ)
    @answering
    def ogc_results(req: func.HttpRequest) -> func.HttpResponse:
        job_id, response = _execution(req)
        return _results(state.get_job(job_id), response)


def _execution(req: func.HttpRequest) -> Execution:
    """The execution in the path, and nothing else. Raises JobNotFound for what cannot be one."""
    only(req)
    name = req.route_params["job_id"]
    job_id = read_job_id(name.removesuffix(DOCUMENT))
    return Execution(job_id, "raw" if name == job_id else "document")


def _status(machine: CoreMachine, execution: Execution) -> StatusInfo:
    view = machine.status(execution.job_id)
    return describe_status(view.job, execution.response, view.progress)


def _results(job: JobRecord, response: Response) -> func.HttpResponse:
    """What the job made; otherwise why there is nothing: not yet, not any more, or the failure."""
    if job.status is JobStatus.FAILED and job.error:
        return failure_problem(job.error)
    if job.status is JobStatus.CANCELLED:
        gone = f"job {job.job_id} was dismissed and has no results: execute it again"
        return problem(StateConflict(gone), status=410)
    if job.result is None:
        early = f"job {job.job_id} is {job.status}: its results are not ready"
        return problem(StateConflict(early), kind=f"{EXCEPTION}/result-not-ready", status=404)
    if response == "raw":
        return json_answer(RawResults(job.result))
    return json_answer(Results(result=Value(value=job.result)))


def _filter(req: func.HttpRequest) -> JobFilter:
    """The standard's filters (section 11.2.2). Every job here is one of a process."""
    names(req, "type", ["process"])
    statuses = names(req, "status", list(STATUS.values()))
    created_from, created_until = _interval(req)
    return JobFilter(
        statuses=[status for status, name in STATUS.items() if name in statuses],
        job_types=names(req, "processID"),
        created_from=created_from,
        created_until=created_until,
        least_seconds=_seconds(req, "minDuration"),
        most_seconds=_seconds(req, "maxDuration"),
    )


def _interval(req: func.HttpRequest) -> tuple[datetime | None, datetime | None]:
    """`datetime`: a moment, or two of which one may be `..` or nothing, which is for ever."""
    begin, slash, end = req.params.get("datetime", "").partition("/")
    bounds = [begin, end] if slash else [begin, begin]
    first, last = (None if slash and each == ".." else moment("datetime", each) for each in bounds)
    return first, last


def _seconds(req: func.HttpRequest, name: str) -> int | None:
    return whole_number(req, name, 0, LONGEST_RUN) if name in req.params else None


def _page_size(req: func.HttpRequest) -> int:
    return min(whole_number(req, "limit", 100, LARGEST_LIMIT, least=1), LARGEST_PAGE)


def _place(req: func.HttpRequest, known: Sequence[str]) -> int:
    """Where the page begins: behind the process that `after` names."""
    after = req.params.get("after")
    if after is not None and after not in known:
        raise wrong("after", after, "must be as in the link to the next page")
    return known.index(after) + 1 if after is not None else 0


def _page_links(req: func.HttpRequest, path: str, after: str | None) -> list[Link]:
    """To this page and the next. Of the query only filters: it may hold the caller's key."""
    asked = {name: req.params[name] for name in FILTERS if name in req.params}
    here = asked | ({"after": req.params["after"]} if "after" in req.params else {})
    links = [link(_with_query(path, here), "self")]
    if after is not None:
        links.append(link(_with_query(path, asked | {"after": after}), "next"))
    return links


def _with_query(path: str, query: dict[str, str]) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def _prefers_async(req: func.HttpRequest) -> bool:
    preferred = req.headers.get("Prefer", "").split(",")
    return "respond-async" in [each.partition(";")[0].strip() for each in preferred]
