"""The limits in host.json, and whether they suit the worker they are used on."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

HOST_JSON = Path(__file__).parent.parent / "host.json"
OVERRIDE = "AzureFunctionsJobHost__extensions__serviceBus__maxConcurrentCalls"
"""The app setting that replaces `maxConcurrentCalls` of host.json: docs/how-to/scale.md."""
OTHER_THREADS = 4
"""Threads for the functions that are not limited by `maxConcurrentCalls`: a batch of quick tasks,
the two timers and a request."""


class HostLimits(BaseModel):
    """How many messages the host hands to each function of this worker at once."""

    model_config = ConfigDict(frozen=True)

    max_concurrent_calls: int

    @property
    def threads_needed(self) -> int:
        """Threads so that raster tasks leave some for job messages, timers and requests."""
        return 2 * self.max_concurrent_calls + OTHER_THREADS


def read_host_limits(
    path: Path = HOST_JSON, environment: Mapping[str, str] = os.environ
) -> HostLimits:
    """The limits of host.json. App settings override them, as in the Functions host."""
    content = json.loads(path.read_text(encoding="utf-8"))
    in_file = content["extensions"]["serviceBus"]["maxConcurrentCalls"]
    return HostLimits(max_concurrent_calls=int(environment.get(OVERRIDE) or in_file))


def find_mismatches(limits: HostLimits, threads: int | None, processes: int) -> list[str]:
    """What is wrong with the limits of this worker, one sentence each.

    `threads` is PYTHON_THREADPOOL_THREAD_COUNT; without it the worker has one for each processor
    and four more: https://learn.microsoft.com/azure/azure-functions/python-scale-performance-reference
    """
    found = []
    given = threads or min(32, (os.cpu_count() or 1) + 4)
    if given < limits.threads_needed:
        count = threads or f"not set, which gives {given} threads"
        found.append(
            f"PYTHON_THREADPOOL_THREAD_COUNT is {count}:"
            f" with maxConcurrentCalls {limits.max_concurrent_calls}, raster tasks can block"
            f" requests, job messages and the sweep; set it to {limits.threads_needed} or more"
        )
    if limits.max_concurrent_calls > processes:
        found.append(
            f"maxConcurrentCalls is {limits.max_concurrent_calls}, but this worker processes"
            f" {processes} rasters at once: other tasks wait while they hold their message instead"
            f" of going to another instance; set {OVERRIDE} to {processes}"
        )
    return found
