"""JSON in requests and responses."""

import json
from collections import Counter
from typing import Any

import azure.functions as func
from pydantic import BaseModel

from core.errors import NotJson, TooLarge
from core.models import Json
from triggers.http.media_types import JSON

MAX_BODY_BYTES = 2**20


def read_json(req: func.HttpRequest) -> Any:
    """The value in the body. Raises NotJson and TooLarge."""
    body = req.get_body()
    if len(body) > MAX_BODY_BYTES:
        raise TooLarge(f"the body has {len(body)} bytes; the limit is {MAX_BODY_BYTES}")
    encoding = req.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise NotJson(f"the body has Content-Encoding {encoding!r}; send it without an encoding")
    if not body and "Content-Length" not in req.headers:
        # The Functions host forwards no body whose length it does not know.
        raise NotJson(
            "the request has no Content-Length: send the body with its length, not with"
            " Transfer-Encoding: chunked"
        )
    if not body.strip():
        raise NotJson("the body is empty; send a JSON object, at least {}")
    try:
        return json.loads(body, object_pairs_hook=_build_object)
    except (ValueError, RecursionError) as error:
        raise NotJson(f"the body is not valid JSON: {error}") from None


def _build_object(pairs: list[tuple[str, Any]]) -> Json:
    """Raises ValueError for a repeated name, which I-JSON (RFC 7493, section 2.3) forbids."""
    members = dict(pairs)
    if len(members) < len(pairs):
        [(name, times)] = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"an object has the name {name!r} {times} times")
    return members


def respond(
    body: BaseModel, status: int = 200, headers: dict[str, str] | None = None
) -> func.HttpResponse:
    text = body.model_dump_json()
    return func.HttpResponse(text, status_code=status, headers=headers or {}, mimetype=JSON)
