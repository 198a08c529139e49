"""Reading requests and writing answers, the same for every route."""

import json
from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import Any

import azure.functions as func
from pydantic import BaseModel

from core.errors import GeolatheError, NotJson, TooLarge
from core.models import Json
from triggers.http.problems import problem

JSON = "application/json"
READ = ("GET", "HEAD")
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
    """What the body says. Raises NotJson and TooLarge."""
    body = req.get_body()
    if len(body) > LARGEST_BODY:
        raise TooLarge(f"the body has {len(body)} bytes; at most {LARGEST_BODY} are read")
    encoding = req.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise NotJson(f"the body is encoded as {encoding!r}: send it as it is")
    if not body.strip():
        raise NotJson("the body is empty: send a JSON object, {} at the least")
    try:
        return json.loads(body, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise NotJson(f"the body is not JSON: {error}") from None


def _object(pairs: list[tuple[str, Any]]) -> Json:
    """Raises ValueError for a name that comes twice, as I-JSON (RFC 7493) forbids."""
    found = dict(pairs)
    if len(found) < len(pairs):
        [(name, times)] = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the name {name!r} comes {times} times in one object")
    return found


def json_answer(
    body: BaseModel, status: int = 200, headers: dict[str, str] | None = None
) -> func.HttpResponse:
    text = body.model_dump_json()
    return func.HttpResponse(text, status_code=status, headers=headers or {}, mimetype=JSON)
