"""The client's exceptions, and how an HTTP error response becomes one of them.

Error              everything that this package raises
├── Refused            the API or the storage account rejected a request
├── Unreachable        no connection, or no valid API URL
└── JobEnded           a job ended without a result (in geolathe.job)
"""

import json
from typing import Any

import httpx


class Error(Exception):
    """The base class of this package's exceptions."""


class Refused(Error):
    """The API or the storage account rejected a request.

    `status` is the HTTP status and `code` the error code (see "Error codes" in the documentation).
    `errors` lists the invalid fields: `field`, `value` and `message` of each.
    """

    def __init__(self, message: str, status: int, code: str = "", errors: Any = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.errors: list[dict[str, Any]] = errors or []


class Unreachable(Error):
    """The API or the storage account cannot be reached, or the API URL is missing or invalid."""


def describe(error: Error) -> dict[str, Any]:
    """An error as JSON: its message, and for Refused the status, code and invalid fields."""
    described = {"message": str(error)}
    if not isinstance(error, Refused):
        return described
    return described | {"status": error.status, "code": error.code, "errors": error.errors}


def parse_refusal(response: httpx.Response) -> Refused:
    """The exception for an error response, with or without a problem document (RFC 9457)."""
    status = response.status_code
    if status == 401:
        return Refused("HTTP 401: function key missing or invalid; set GEOLATHE_KEY", status)
    try:
        problem = json.loads(response.text)
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        text = response.text.strip()[:500]
        return Refused(f"HTTP {status}: {text or _explain_empty(response)}", status)
    errors = problem.get("errors") or []
    parts = [problem.get("title"), None if errors else problem.get("detail")]
    head = ": ".join(str(part) for part in parts if part)
    lines = [f"HTTP {status}: {head}", *(f"  {_format_field(error)}" for error in errors)]
    return Refused("\n".join(lines), status, str(problem.get("code", "")), errors)


def _explain_empty(response: httpx.Response) -> str:
    """The most likely reason for an error response without a body."""
    if response.is_redirect:
        return f"redirected to {response.headers.get('location')}; set GEOLATHE_URL to the new URL"
    if response.status_code != 404:
        return "no reason given"
    return f"not found: {response.url.copy_with(query=None)}; GEOLATHE_URL must end in /api"


def _format_field(error: Any) -> str:
    if isinstance(error, dict) and error.get("field") and error.get("message"):
        return f"{error['field']}: {error['message']}"
    return error if isinstance(error, str) else json.dumps(error)
