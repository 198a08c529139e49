"""Path, query and header parameters: declared for OpenAPI, and read or refused by name."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import azure.functions as func

from core.errors import FieldError, InvalidRequest, JobNotFound
from core.models import JobRecord, JobStatus, Json, Priority, TaskStatus
from core.ports import JobCursor, JobFilter, TaskFilter

MAX_WAIT_SECONDS = 30.0
MAX_PAGE_SIZE = 1000
DATE_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
# Azure accepts the function key and its client in the query of every route.
AZURE_PARAMETERS = ("code", "clientId")


@dataclass(frozen=True)
class Parameter:
    """A parameter as OpenAPI describes it. `is_list`: several values, separated by commas.

    `is_job_type`: its values are the names of the registered job types.
    """

    name: str
    where: Literal["path", "query", "header"]
    schema: Json
    description: str = ""
    is_list: bool = False
    is_job_type: bool = False


TEXT: Json = {"type": "string"}
DATE_TIME_TEXT: Json = {"type": "string", "format": "date-time"}


def enumerate_values(values: Iterable[str]) -> Json:
    return {"type": "string", "enum": list(values)}


JOB_TYPE = Parameter("job_type", "path", TEXT, "Name of a job type", is_job_type=True)
JOB_ID = Parameter("job_id", "path", {"type": "string", "pattern": "^[0-9a-f]{64}$"}, "Id of a job")
IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    "header",
    {"type": "string", "pattern": "^[!-~]{1,255}$"},
    "Identifies this request. A request repeated with its key never starts a second job.",
)
PRIORITY = Parameter(
    "priority",
    "query",
    enumerate_values(Priority) | {"default": Priority.NORMAL.value},
    "Share of the workers while other jobs run, too. A job that exists keeps its priority.",
)
IF_NONE_MATCH = Parameter(
    "If-None-Match",
    "header",
    TEXT,
    "ETag of the last response. With `wait`, the response is sent as soon as the ETag changes.",
)
WAIT = Parameter(
    "wait",
    "query",
    {"type": "number", "minimum": 0, "maximum": MAX_WAIT_SECONDS, "default": 0},
    "Seconds to wait for a change before responding",
)
LIMIT = Parameter(
    "limit",
    "query",
    {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": 100},
    "Largest number of results in the page",
)
STATUS = Parameter(
    "status", "query", enumerate_values(JobStatus), "Only jobs in these statuses", is_list=True
)
JOB_TYPES = Parameter("job_type", "query", TEXT, "Only jobs of these types", is_list=True)
CREATED_FROM = Parameter(
    "created_from", "query", DATE_TIME_TEXT, "Only jobs created at this time or later"
)
CREATED_UNTIL = Parameter(
    "created_until", "query", DATE_TIME_TEXT, "Only jobs created at this time or earlier"
)
AFTER_JOB = Parameter(
    "after",
    "query",
    {"type": "string", "pattern": "^[0-9]{1,17}-[0-9a-f]{64}$"},
    "`next` of the previous page",
)
AFTER_TASK = Parameter(
    "after",
    "query",
    {"type": "string", "pattern": "^[0-9]{1,9}-[0-9]{1,9}$"},
    "`next` of the previous page",
)
TASK_STATUS = Parameter(
    "status", "query", enumerate_values(TaskStatus), "Only tasks in these statuses", is_list=True
)
INCLUDE_RESULTS = Parameter(
    "include", "query", enumerate_values(["results"]), "`results`: what each task returned"
)
INCLUDE_STAGE_RESULTS = Parameter(
    "include",
    "query",
    enumerate_values(["stage_results"]),
    "`stage_results`: the results of stages with a single task",
)
AFTER_EVENT = Parameter(
    "after",
    "query",
    {"type": "integer", "minimum": 0, "maximum": 2**62, "default": 0},
    "`next` of the previous page",
)


def refuse_unknown(req: func.HttpRequest, known: Collection[str]) -> None:
    """Raises InvalidRequest for a query parameter that would have no effect."""
    for name in req.params:
        if name not in (*known, *AZURE_PARAMETERS):
            hint = f"expected one of {', '.join(known)}" if known else "this route takes none"
            raise invalid(name, req.params[name], f"unknown query parameter; {hint}")


def read_job_id(req: func.HttpRequest) -> str:
    """The id in the path. Raises JobNotFound for text that cannot be one."""
    return parse_job_id(req.route_params["job_id"])


def parse_job_id(text: str) -> str:
    """Raises JobNotFound for text that cannot be an id."""
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise JobNotFound(
            f"no job has the id {text[:100]!r}; an id has 64 lower-case hexadecimal digits"
        )
    return text


def read_page_size(req: func.HttpRequest) -> int:
    return read_integer(req, "limit", 100, MAX_PAGE_SIZE, least=1)


def read_integer(req: func.HttpRequest, name: str, default: int, most: int, least: int = 0) -> int:
    text = req.params.get(name, str(default))
    if not (re.fullmatch(r"[0-9]{1,19}", text) and least <= int(text) <= most):
        raise invalid(name, text, f"must be an integer from {least} to {most}")
    return int(text)


def read_wait(req: func.HttpRequest) -> float:
    """Seconds to wait for a change."""
    text = req.params.get("wait", "0")
    if not (NUMBER.fullmatch(text) and 0 <= float(text) <= MAX_WAIT_SECONDS):
        rule = f"must be a number of seconds from 0 to {MAX_WAIT_SECONDS:.0f}"
        raise invalid("wait", text, rule)
    return float(text)


def read_priority(req: func.HttpRequest) -> Priority:
    text = req.params.get("priority", Priority.NORMAL)
    if text not in list(Priority):
        raise invalid("priority", text, f"must be one of {', '.join(Priority)}")
    return Priority(text)


def read_job_filter(req: func.HttpRequest) -> JobFilter:
    """`status`, `job_type`, `created_from` and `created_until`."""
    return JobFilter(
        statuses=[JobStatus(name) for name in read_names(req, "status", list(JobStatus))],
        job_types=read_names(req, "job_type"),
        created_from=parse_time("created_from", req.params.get("created_from")),
        created_until=parse_time("created_until", req.params.get("created_until")),
    )


def read_task_filter(req: func.HttpRequest) -> TaskFilter:
    """`status` and `include`."""
    return TaskFilter(
        statuses=[TaskStatus(name) for name in read_names(req, "status", list(TaskStatus))],
        with_results=bool(read_names(req, "include", ["results"])),
    )


def read_names(req: func.HttpRequest, parameter: str, known: Collection[str] = ()) -> list[str]:
    """The comma-separated values of a parameter. Raises InvalidRequest unless all are `known`."""
    listed = [name for name in req.params.get(parameter, "").split(",") if name]
    for name in listed if known else ():
        if name not in known:
            raise invalid(parameter, name, f"must be one of {', '.join(known)}")
    return listed


def parse_time(parameter: str, text: str | None) -> datetime | None:
    """A date and time in the notation of RFC 3339, section 5.6."""
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text.upper()) if DATE_TIME.fullmatch(text) else None
    except ValueError:
        time = None
    if time is None:
        rule = "must be a date and time with a time zone, such as 2026-11-23T18:30:00Z"
        raise invalid(parameter, text, rule)
    return time


def read_task_cursor(req: func.HttpRequest) -> tuple[int, int]:
    text = req.params.get("after", "0-0")
    if not re.fullmatch(r"\d{1,9}-\d{1,9}", text, re.ASCII):
        raise invalid("after", text, "must be `next` of the previous page")
    stage, index = text.split("-")
    return int(stage), int(index)


def read_job_cursor(req: func.HttpRequest) -> JobCursor | None:
    text = req.params.get("after")
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,17}-[0-9a-f]{64}", text, re.ASCII):
        raise invalid("after", text, "must be `next` of the previous page")
    age, job_id = text.split("-")
    return JobCursor(EPOCH + int(age) * MICROSECOND, job_id)


def format_job_cursor(job: JobRecord) -> str:
    """The text that `read_job_cursor` reads."""
    age = ((job.created_at or EPOCH) - EPOCH) // MICROSECOND
    return f"{age}-{job.job_id}"


def read_idempotency_key(req: func.HttpRequest) -> str | None:
    """The Idempotency-Key: draft-ietf-httpapi-idempotency-key-header."""
    key: str | None = req.headers.get("Idempotency-Key")
    if key is not None and not re.fullmatch(r"[\x21-\x7e]{1,255}", key):
        raise invalid("Idempotency-Key", key, "must be 1 to 255 visible ASCII characters")
    return key


def invalid(name: str, value: str, rule: str) -> InvalidRequest:
    return InvalidRequest([FieldError(name, value, f"{rule}, got {value!r}")])
