"""Reading requests and writing answers, the same for every route."""

import json
from collections.abc import Callable
from functools import wraps
from typing import Any

import azure.functions as func
from pydantic import BaseModel

from core.errors import GeolatheError, NotJson, TooLarge
from triggers.problems import problem

JSON = "application/json"
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


def json_body(req: func.HttpRequest) -> Any:
    body = req.get_body()
    if len(body) > LARGEST_BODY:
        raise TooLarge(f"the body has {len(body)} bytes; at most {LARGEST_BODY} are read")
    try:
        return json.loads(body or b"null")
    except (ValueError, RecursionError) as error:
        raise NotJson(f"the body is not JSON: {error}") from None


def json_answer(
    body: BaseModel, status: int = 200, headers: dict[str, str] | None = None
) -> func.HttpResponse:
    text = body.model_dump_json()
    return func.HttpResponse(text, status_code=status, headers=headers or {}, mimetype=JSON)
