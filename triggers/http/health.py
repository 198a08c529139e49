"""Health: every part with its latency, in less than a second; and a liveness probe."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import azure.functions as func

from core.errors import GeolatheError
from triggers.http.bodies import Alive, Part
from triggers.http.bodies import Health as HealthBody
from triggers.http.payloads import respond
from triggers.http.route import Reply, Routes, route

CHECK_TIMEOUT_SECONDS = 0.8

Check = Callable[[], dict[str, Any]]


class Health(Routes):
    """The health routes over named checks. A check returns facts or raises GeolatheError."""

    tag = "health"

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self.checks = checks

    @route(
        "GET",
        "health",
        "Check every part of the service",
        {
            200: Reply("All parts are healthy", (HealthBody,)),
            503: Reply("A part is unhealthy", (HealthBody,)),
        },
    )
    async def check_health(self, req: func.HttpRequest) -> func.HttpResponse:
        parts = await asyncio.gather(*(_run(check) for check in self.checks.values()))
        healthy = all(part.status == "healthy" for part in parts)
        body = HealthBody(
            status="healthy" if healthy else "unhealthy",
            parts=dict(zip(self.checks, parts, strict=True)),
        )
        return respond(body, 200 if healthy else 503)

    @route(
        "GET",
        "health/live",
        "Check that the host responds, without using any other part",
        {200: Reply("The host responds", (Alive,))},
        anonymous=True,
    )
    def check_liveness(self, req: func.HttpRequest) -> func.HttpResponse:
        return respond(Alive(status="alive"))


async def _run(check: Check) -> Part:
    start = time.perf_counter()
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            facts = await asyncio.to_thread(check)
        found = {"status": "healthy", **facts}
    except GeolatheError as error:
        found = {"status": "unhealthy", "error": error.message}
    except TimeoutError:
        found = {"status": "unhealthy", "error": f"no response within {CHECK_TIMEOUT_SECONDS} s"}
    latency = round((time.perf_counter() - start) * 1000, 1)
    return Part.model_validate(found | {"latency_ms": latency})
