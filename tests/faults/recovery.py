"""How long it took until everybody a fault concerned moved on.

The recovery of a fault is the time from its beginning until the last of the jobs it concerns has
achieved something: a task that ended, a stage that started or closed, its own end. A fault
concerns every job that was open when it struck; a message that got lost concerns its own job.
"""

import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

ACHIEVED = """
    SELECT job_id, extract(epoch FROM at)::float8 FROM app.events
     WHERE kind LIKE 'stage\\_%' OR kind LIKE 'job\\_%'
     UNION ALL
    SELECT job_id, extract(epoch FROM finished_at)::float8 FROM app.tasks
     WHERE finished_at IS NOT NULL"""


@dataclass(frozen=True)
class Injury:
    """A fault that struck. `job` is the beginning of a job's id; empty concerns all."""

    kind: str
    at: float
    job: str = ""


def recoveries(connection: psycopg.Connection[Any], injuries: list[Injury]) -> list[float]:
    """The recovery of every fault that concerned a job, in seconds, sorted."""
    achieved: dict[str, list[float]] = {}
    for job_id, at in connection.execute(ACHIEVED.encode()):
        achieved.setdefault(job_id, []).append(at)
    for times in achieved.values():
        times.sort()
    waits = [list(_waits(injury, achieved)) for injury in injuries]
    return sorted(max(each) for each in waits if each)


def _waits(injury: Injury, achieved: dict[str, list[float]]) -> Iterator[float]:
    for job_id, times in achieved.items():
        if not job_id.startswith(injury.job):
            continue
        after = bisect.bisect_right(times, injury.at)
        if 0 < after < len(times):
            yield times[after] - injury.at


def percentile(values: list[float], percent: int) -> float:
    """By nearest rank; 0 of nothing."""
    if not values:
        return 0.0
    return values[min(len(values) - 1, len(values) * percent // 100)]
