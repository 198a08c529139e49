"""What can go wrong, in words a person can act on."""

import json
from typing import Any

import httpx


class Error(Exception):
    """Everything this client raises."""


class Refused(Error):
    """The API, or storage, said no. `status` is HTTP's, `code` is listed in docs/errors.md."""

    def __init__(self, message: str, status: int, code: str = "", errors: Any = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.errors: list[dict[str, Any]] = errors or []


class Unreachable(Error):
    """Nobody answers."""


def as_json(error: Error) -> dict[str, Any]:
    """An error for programs: what was said, and of a refusal its status, code and fields."""
    said = {"message": str(error)}
    if not isinstance(error, Refused):
        return said
    return said | {"status": error.status, "code": error.code, "errors": error.errors}


def refusal(answer: httpx.Response) -> Refused:
    """An answer that is no success: application/problem+json (RFC 9457), or whatever it is."""
    status = answer.status_code
    if status == 401:
        return Refused("HTTP 401: the function key is missing or wrong: set GEOLATHE_KEY", status)
    try:
        problem = json.loads(answer.text)
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        text = answer.text.strip()[:500]
        return Refused(f"HTTP {status}: {text or _guess(answer)}", status)
    errors = problem.get("errors") or []
    said = [problem.get("title"), None if errors else problem.get("detail")]
    head = ": ".join(str(part) for part in said if part)
    lines = [f"HTTP {status}: {head}", *(f"  {_line(error)}" for error in errors)]
    return Refused("\n".join(lines), status, str(problem.get("code", "")), errors)


def _guess(answer: httpx.Response) -> str:
    """What may be wrong when nothing is said."""
    if answer.is_redirect:
        return f"it is at {answer.headers.get('location')}: set GEOLATHE_URL accordingly"
    if answer.status_code != 404:
        return "no reason given"
    return f"there is nothing at {answer.url.copy_with(query=None)}: GEOLATHE_URL must end in /api"


def _line(error: Any) -> str:
    if isinstance(error, dict) and error.get("field") and error.get("message"):
        return f"{error['field']}: {error['message']}"
    return error if isinstance(error, str) else json.dumps(error)
