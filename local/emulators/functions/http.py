"""HTTP triggers: routing, keys, and conversion of requests and responses.

As in Azure, an unknown path or method gets 404 (methods are a routing constraint, so there is no
405), a missing key 401, a body of more than 100 MB 413, and an exception 500 with an empty body,
as does a function that returns None, which the worker cannot encode.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from local.emulators.functions.calls import CallFailed, Calls
from local.emulators.functions.indexing import Function
from local.emulators.functions.invoke import Datum
from local.emulators.functions.keys import Keys
from local.emulators.functions.routes import RouteTemplate, decode_path, parse_route
from local.errors import LocalError

logger = logging.getLogger(__name__)

BODY_LIMIT = 100 * 1024 * 1024  # FUNCTIONS_REQUEST_BODY_SIZE_LIMIT's default
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_HOST_HEADERS = ("content-length", "transfer-encoding", "connection")


class BodyTooLarge(Exception):
    """The request body is larger than BODY_LIMIT."""


@dataclass(frozen=True)
class HttpTrigger:
    """A function with its route."""

    function: Function
    route: RouteTemplate
    methods: frozenset[str]
    level: str

    def accepts(self, method: str) -> bool:
        return not self.methods or method in self.methods

    def collides_with(self, other: HttpTrigger) -> bool:
        overlap = not self.methods or not other.methods or self.methods & other.methods
        return self.route.shape == other.route.shape and bool(overlap)


def http_triggers(functions: Iterable[Function], prefix: str) -> list[HttpTrigger]:
    """The HTTP functions sorted by name, the order in which Azure matches their routes.

    A more specific route does not take precedence:
    https://github.com/Azure/azure-functions-host/issues/9876. Raises LocalError for conflicts.
    """
    triggers: list[HttpTrigger] = []
    for function in functions:
        if function.kind != "httpTrigger":
            continue
        trigger = _http_trigger(function, prefix)
        for other in triggers:
            if trigger.collides_with(other):
                raise LocalError(
                    f"{function.name}: the route {trigger.route.template} "
                    f"is also the route of {other.function.name}"
                )
        triggers.append(trigger)
    return sorted(triggers, key=lambda trigger: trigger.function.name.lower())


def _http_trigger(function: Function, prefix: str) -> HttpTrigger:
    route = (function.trigger.get("route") or function.name).strip("/")
    if route.lower().startswith(("admin", "runtime")):
        raise LocalError(
            f"{function.name}: the route {route} conflicts with the host's own routes",
            hint="Azure reserves every route that starts with admin or runtime: rename it",
        )
    try:
        template = parse_route("/".join(part for part in (prefix.strip("/"), route) if part))
    except ValueError as error:
        raise LocalError(f"{function.name}: {error}") from None
    methods = frozenset(str(method).upper() for method in function.trigger.get("methods") or ())
    level = str(function.trigger.get("authLevel") or "function").lower()
    return HttpTrigger(function, template, methods, level)


class HttpFunctions:
    """An ASGI application that serves the HTTP functions of an app."""

    def __init__(
        self,
        triggers: Sequence[HttpTrigger],
        calls: Calls,
        keys: Keys,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._triggers = triggers
        self._calls = calls
        self._keys = keys
        self._is_stopping = is_stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except ClientDisconnect:
            return
        except asyncio.CancelledError:
            if not self._is_stopping():
                raise
            response = Response(status_code=503)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        found = self._find(request)
        if found is None:
            return Response(status_code=404)
        trigger, parameters = found
        if not self._keys.allow(trigger.level, request):
            return Response(status_code=401)
        try:
            data = request_datum(request, parameters, await _read_body(request))
        except BodyTooLarge:
            return Response(status_code=413)
        cause = f"{request.method} {request.url.path}"
        try:
            answer = await self._calls.run(trigger.function.name, data, {}, cause)
        except CallFailed:
            return Response(status_code=500)
        try:
            return response_from(answer)
        except ValueError as error:
            logger.error("%s: its response cannot be sent: %s", trigger.function.name, error)
            return Response(status_code=500)

    def _find(self, request: Request) -> tuple[HttpTrigger, dict[str, str]] | None:
        path = decode_path(request.scope["raw_path"])
        for trigger in self._triggers:
            if trigger.accepts(request.method):
                parameters = trigger.route.match(path)
                if parameters is not None:
                    return trigger, parameters
        return None


async def _read_body(request: Request) -> bytes:
    """The body as a worker gets it: the host forwards none without a Content-Length.

    Source: ToRpcHttp in GrpcMessageConversionExtensions.cs of azure-functions-host.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > BODY_LIMIT:
        raise BodyTooLarge
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT:
            raise BodyTooLarge
    return bytes(body) if declared else b""


def request_datum(request: Request, parameters: dict[str, str], body: bytes) -> Datum:
    """Convert a request as the host does for a worker.

    Repeated headers and query values are joined by commas, header names are in lower case, and
    empty query values are left out (RpcMessageConversionExtensions of the host).
    """
    query = _joined(request.query_params.multi_items())
    return Datum(
        {
            "method": _string(request.method),
            "url": _string(_url(request)),
            "headers": _strings(_joined(request.headers.items())),
            "query": _strings({name: value for name, value in query.items() if value}),
            "params": _strings(parameters),
            "body": Datum(body, "bytes"),
        },
        "http",
    )


def response_from(answer: Datum | None) -> Response:
    """Convert a worker's response. Raises ValueError for an invalid header value."""
    if answer is None:
        return Response(status_code=204)
    if answer.type == "string":
        return Response(answer.value, media_type="text/plain")
    value = answer.value
    status = int(value["status_code"].value)
    has_body = status >= 200 and status not in (204, 304)
    response = Response(value["body"].value if has_body else b"", status_code=status)
    for name, header in value["headers"].items():
        if name.lower() not in _HOST_HEADERS:
            response.headers[name] = _header_value(header.value)
    for cookie in _cookies(value.get("cookies")):
        response.headers.append("set-cookie", cookie)
    return response


def _header_value(value: str) -> str:
    if not _HEADER_VALUE.fullmatch(value):
        raise ValueError(f"{value!r} is not a valid header value")
    return value


def _url(request: Request) -> str:
    """The URL as requested; the one from Starlette is decoded."""
    path = request.scope["raw_path"].decode("ascii", "replace")
    query = f"?{request.url.query}" if request.url.query else ""
    return f"{request.url.scheme}://{request.url.netloc}{path}{query}"


def _cookies(cookies: Sequence[SimpleCookie] | None) -> list[str]:
    return [morsel.OutputString() for cookie in cookies or () for morsel in cookie.values()]


def _joined(items: Iterable[tuple[str, str]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in items:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _string(value: str) -> Datum:
    return Datum(value, "string")


def _strings(values: dict[str, Any]) -> dict[str, Datum]:
    return {name: _string(value) for name, value in values.items()}
