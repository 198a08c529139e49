"""Invocations of functions, with a time limit, counts, and a log record for each failure."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any

from local.emulators.functions.invoke import Datum, Invoker, Metadata

logger = logging.getLogger(__name__)


class CallFailed(Exception):
    """The function raised or exceeded its time limit. The failure has been logged."""


@dataclass
class Count:
    """The outcomes of a function's calls, and their total duration."""

    running: int = 0
    succeeded: int = 0
    failed: int = 0
    seconds: float = 0.0


class Calls:
    """Runs functions under functionTimeout."""

    def __init__(
        self, invoker: Invoker, timeout: timedelta | None, on_timeout: Callable[[], None]
    ) -> None:
        self._invoker = invoker
        self._limit = timeout.total_seconds() if timeout else None
        self._on_timeout = on_timeout
        self._counts = {name: Count() for name in invoker.functions}

    @property
    def counts(self) -> dict[str, dict[str, Any]]:
        return {name: asdict(count) for name, count in self._counts.items()}

    async def run(self, name: str, data: Datum, metadata: Metadata, cause: str) -> Datum | None:
        """Call a function. `cause` describes the trigger event in the log. Raises CallFailed."""
        count = self._counts[name]
        count.running += 1
        started = time.perf_counter()
        try:
            answer = await self._run(name, data, metadata, cause)
            count.succeeded += 1
        except BaseException:
            count.failed += 1
            raise
        finally:
            count.running -= 1
            count.seconds += time.perf_counter() - started
        return answer

    async def _run(self, name: str, data: Datum, metadata: Metadata, cause: str) -> Datum | None:
        limit = asyncio.timeout(self._limit)
        try:
            async with limit:
                return await self._invoker.invoke(name, data, metadata)
        except Exception as error:
            if limit.expired():
                logger.error("%s (%s) ran longer than functionTimeout", name, cause)
                self._on_timeout()
            else:
                trace = _without_host(error.__traceback__)
                logger.error("%s failed (%s)", name, cause, exc_info=(type(error), error, trace))
            raise CallFailed(name) from error


def _without_host(trace: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that starts in the app; all of it if the app was not called."""
    rest = trace
    while rest is not None and _is_host(rest):
        rest = rest.tb_next
    return rest or trace


def _is_host(trace: TracebackType) -> bool:
    module = trace.tb_frame.f_globals.get("__name__", "")
    return str(module).startswith(("local.emulators.functions", "concurrent.futures"))
