"""The routes of the host itself: its state, and running a function manually.

https://learn.microsoft.com/azure/azure-functions/functions-manually-run-non-http
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.emulators.functions.calls import CallFailed, Calls
from local.emulators.functions.indexing import Function
from local.emulators.functions.invoke import Datum, Metadata
from local.emulators.functions.keys import Keys
from local.emulators.functions.timers import timer_datum


class Admin:
    """Serves /admin. The state needs no key; running a function needs the master key."""

    def __init__(
        self,
        functions: Iterable[Function],
        calls: Calls,
        keys: Keys,
        state: Callable[[], dict[str, Any]],
    ) -> None:
        self._functions = {function.name: function for function in functions}
        self._calls = calls
        self._keys = keys
        self._state = state
        self._running: set[asyncio.Task[None]] = set()

    def routes(self) -> list[Route]:
        return [
            Route("/admin/host/status", self._status),
            Route("/admin/functions/{name}", self._run, methods=["POST"]),
        ]

    async def _status(self, request: Request) -> Response:
        return JSONResponse(self._state())

    async def _run(self, request: Request) -> Response:
        if not self._keys.allow("admin", request):
            return Response(status_code=401)
        function = self._functions.get(request.path_params["name"])
        if function is None:
            return Response(status_code=404)
        text = await _read_input(request)
        if text is None or function.kind == "httpTrigger":
            return Response('POST {"input": "text"} to a timer or queue function', status_code=400)
        task = asyncio.create_task(self._call(function, text))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return Response(status_code=202)

    async def _call(self, function: Function, text: str) -> None:
        data, metadata = _input(function, text)
        try:
            await self._calls.run(function.name, data, metadata, "run manually")
        except CallFailed:
            return


async def _read_input(request: Request) -> str | None:
    """The `input` of the body, empty if missing; None if the body is invalid."""
    try:
        body = json.loads(await request.body() or b"{}")
    except ValueError:
        return None
    text = body.get("input", "") if isinstance(body, dict) else None
    return text if isinstance(text, str) else None


def _input(function: Function, text: str) -> tuple[Datum, Metadata]:
    if function.kind == "timerTrigger":
        return timer_datum(), {}
    if function.trigger.get("cardinality") == "many":
        return Datum(json.dumps([text]), "json"), {"UserPropertiesArray": Datum("[{}]", "json")}
    return Datum(text, "string"), {"UserProperties": Datum("{}", "json")}
