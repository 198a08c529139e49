"""Reading requests and writing answers, the same for every route."""

import json
from collections.abc import Callable
from functools import wraps
from typing import Any

import azure.functions as func

from core.errors import FieldError, GeolatheError, InvalidRequest, NotJson, TooLarge
from triggers.problems import problem

JSON = "application/json"
LARGEST_PAGE = 1000
LARGEST_BODY = 2**20

Endpoint = Callable[[func.HttpRequest], func.HttpResponse]


def answering_errors(endpoint: Endpoint) -> Endpoint:
    """Answer our own errors as problems. Anything else is a fault of ours, and a 500."""

    @wraps(endpoint)
    def answer(req: func.HttpRequest) -> func.HttpResponse:
        try:
            return endpoint(req)
        except GeolatheError as error:
            return problem(error)

    return answer


def page_size(req: func.HttpRequest) -> int:
    return whole_number(req, "limit", 100, LARGEST_PAGE, least=1)


def whole_number(req: func.HttpRequest, name: str, default: int, most: int, least: int = 0) -> int:
    text = req.params.get(name, str(default))
    if not text.isdecimal() or not least <= int(text) <= most:
        message = f"must be a whole number from {least} to {most}, got {text!r}"
        raise InvalidRequest([FieldError(name, text, message)])
    return int(text)


def task_cursor(req: func.HttpRequest, default: str) -> tuple[int, int]:
    text = req.params.get("after", default)
    stage, dash, index = text.partition("-")
    if not (dash and stage.isdecimal() and index.isdecimal() and len(text) < 20):
        message = f"must be the `next` of the page before, got {text!r}"
        raise InvalidRequest([FieldError("after", text, message)])
    return int(stage), int(index)


def json_body(req: func.HttpRequest) -> Any:
    body = req.get_body()
    if len(body) > LARGEST_BODY:
        raise TooLarge(f"the body has {len(body)} bytes; at most {LARGEST_BODY} are read")
    try:
        return json.loads(body or b"null")
    except (ValueError, RecursionError) as error:
        raise NotJson(f"the body is not JSON: {error}") from None


def json_answer(
    body: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> func.HttpResponse:
    text = json.dumps(body, default=str)
    return func.HttpResponse(text, status_code=status, headers=headers or {}, mimetype=JSON)
