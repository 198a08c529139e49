"""Health: the parts with their latency, in under a second; and a route that touches nothing."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import azure.functions as func

from core.errors import GeolatheError
from triggers.http.answers import READ, json_answer
from triggers.http.bodies import Alive, Health, Part

PATIENCE_SECONDS = 0.8

Check = Callable[[], dict[str, Any]]


def blueprint(checks: Mapping[str, Check]) -> func.Blueprint:
    """The health routes over named checks; each returns facts, or raises GeolatheError."""
    bp = func.Blueprint()

    @bp.route("health", methods=READ)
    async def health(req: func.HttpRequest) -> func.HttpResponse:
        parts = await asyncio.gather(*(_look(check) for check in checks.values()))
        healthy = all(part.status == "healthy" for part in parts)
        body = Health(
            status="healthy" if healthy else "unhealthy",
            parts=dict(zip(checks, parts, strict=True)),
        )
        return json_answer(body, 200 if healthy else 503)

    @bp.route("health/live", methods=READ, auth_level=func.AuthLevel.ANONYMOUS)
    def live(req: func.HttpRequest) -> func.HttpResponse:
        return json_answer(Alive(status="alive"))

    return bp


async def _look(check: Check) -> Part:
    start = time.perf_counter()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            facts = await asyncio.to_thread(check)
        found = {"status": "healthy", **facts}
    except GeolatheError as error:
        found = {"status": "unhealthy", "error": error.message}
    except TimeoutError:
        found = {"status": "unhealthy", "error": f"no answer within {PATIENCE_SECONDS} s"}
    latency = round((time.perf_counter() - start) * 1000, 1)
    return Part.model_validate(found | {"latency_ms": latency})
