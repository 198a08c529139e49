"""Query parameters and headers, read or refused by name."""

import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

import azure.functions as func

from core.errors import FieldError, InvalidRequest, JobNotFound
from core.models import JobRecord, JobStatus
from core.ports import JobCursor, JobFilter

LONGEST_WAIT = 30.0
LARGEST_PAGE = 1000
DATE_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def job_id(req: func.HttpRequest) -> str:
    """The id in the path. Raises JobNotFound for what cannot be one."""
    return read_job_id(req.route_params["job_id"])


def read_job_id(text: str) -> str:
    """Raises JobNotFound for what cannot be an id."""
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise JobNotFound(
            f"there is no job {text[:100]!r}; an id is 64 hexadecimal digits in lower case"
        )
    return text


def page_size(req: func.HttpRequest) -> int:
    return whole_number(req, "limit", 100, LARGEST_PAGE, least=1)


def whole_number(req: func.HttpRequest, name: str, default: int, most: int, least: int = 0) -> int:
    text = req.params.get(name, str(default))
    if not (re.fullmatch(r"[0-9]{1,19}", text) and least <= int(text) <= most):
        raise wrong(name, text, f"must be a whole number from {least} to {most}")
    return int(text)


def wait_seconds(req: func.HttpRequest) -> float:
    text = req.params.get("wait", "0")
    if not (NUMBER.fullmatch(text) and 0 <= float(text) <= LONGEST_WAIT):
        raise wrong("wait", text, f"must be a number of seconds from 0 to {LONGEST_WAIT:.0f}")
    return float(text)


def only(req: func.HttpRequest, *known: str) -> None:
    """Refuse a query parameter that would have no effect. `code` is the key, as Azure takes it."""
    for name in req.params:
        if name not in known and name not in ("code", "clientId"):
            hint = f"known are {', '.join(known)}" if known else "there are none"
            raise wrong(name, req.params[name], f"is not a parameter; {hint}")


def job_filter(req: func.HttpRequest) -> JobFilter:
    """`status` and `job_type`, one or several with commas between; when a job was created."""
    return JobFilter(
        statuses=[JobStatus(name) for name in names(req, "status", list(JobStatus))],
        job_types=names(req, "job_type"),
        created_from=moment("created_from", req.params.get("created_from")),
        created_until=moment("created_until", req.params.get("created_until")),
    )


def names(req: func.HttpRequest, parameter: str, known: Collection[str] = ()) -> list[str]:
    """The names that a parameter lists, with commas between; all of them known, if any are."""
    listed = [name for name in req.params.get(parameter, "").split(",") if name]
    for name in listed if known else ():
        if name not in known:
            raise wrong(parameter, name, f"must be of {', '.join(known)}")
    return listed


def moment(parameter: str, text: str | None) -> datetime | None:
    """A moment as RFC 3339 (section 5.6) writes it."""
    if not text:
        return None
    try:
        read = datetime.fromisoformat(text.upper()) if DATE_TIME.fullmatch(text) else None
    except ValueError:
        read = None
    if read is None:
        rule = "must be a date and time with its zone, such as 2026-11-23T18:30:00Z"
        raise wrong(parameter, text, rule)
    return read


def task_cursor(req: func.HttpRequest) -> tuple[int, int]:
    text = req.params.get("after", "0-0")
    if not re.fullmatch(r"\d{1,9}-\d{1,9}", text, re.ASCII):
        raise wrong("after", text, "must be the `next` of the page before")
    stage, index = text.split("-")
    return int(stage), int(index)


def job_cursor(req: func.HttpRequest) -> JobCursor | None:
    text = req.params.get("after")
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,17}-[0-9a-f]{64}", text, re.ASCII):
        raise wrong("after", text, "must be the `next` of the page before")
    age, job_id = text.split("-")
    return JobCursor(EPOCH + int(age) * MICROSECOND, job_id)


def spell_cursor(job: JobRecord) -> str:
    """What `job_cursor` reads."""
    age = ((job.created_at or EPOCH) - EPOCH) // MICROSECOND
    return f"{age}-{job.job_id}"


def request_key(req: func.HttpRequest) -> str | None:
    """The Idempotency-Key: draft-ietf-httpapi-idempotency-key-header."""
    key: str | None = req.headers.get("Idempotency-Key")
    if key is not None and not re.fullmatch(r"[\x21-\x7e]{1,255}", key):
        raise wrong("Idempotency-Key", key, "must be 1 to 255 visible ASCII characters")
    return key


def wrong(name: str, value: str, rule: str) -> InvalidRequest:
    return InvalidRequest([FieldError(name, value, f"{rule}, got {value!r}")])
