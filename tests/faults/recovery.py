"""The recovery time of each fault.

It is the time from the start of the fault until the last affected job has made progress: a task
ended, a stage started or closed, or the job ended. A fault affects every job that was open at its
start; a lost message affects the task or job that it names.
"""

import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

JOB_ID_LENGTH = 64
ACHIEVED = """
    SELECT job_id, extract(epoch FROM at)::float8,
           kind IN ('job_completed', 'job_completed_with_errors', 'job_failed', 'job_cancelled')
      FROM app.events WHERE kind LIKE 'stage\\_%' OR kind LIKE 'job\\_%'
     UNION ALL
    SELECT job_id, extract(epoch FROM finished_at)::float8, false FROM app.tasks
     WHERE finished_at IS NOT NULL
     UNION ALL
    SELECT task_id, extract(epoch FROM finished_at)::float8, true FROM app.tasks
     WHERE finished_at IS NOT NULL
     UNION ALL
    SELECT task_id, extract(epoch FROM created_at)::float8, false FROM app.tasks"""


@dataclass(frozen=True)
class Injury:
    """A fault that occurred, and the id of the affected job or task if it is only one."""

    kind: str
    at: float
    whom: str = ""


def recoveries(
    connection: psycopg.Connection[Any], injuries: list[Injury]
) -> dict[str, list[float]]:
    """Recovery times in seconds by kind of fault, of the faults that affected a job."""
    achieved: dict[str, list[tuple[float, bool]]] = {}
    for job_id, at, is_end in connection.execute(ACHIEVED.encode()):
        achieved.setdefault(job_id, []).append((at, is_end))
    for times in achieved.values():
        times.sort()
    found: dict[str, list[float]] = {}
    for injury in injuries:
        waits = list(_waits(injury, achieved))
        if waits:
            found.setdefault(injury.kind, []).append(max(waits))
    return found


def _waits(injury: Injury, achieved: dict[str, list[tuple[float, bool]]]) -> Iterator[float]:
    """The waiting time of each affected job that was open."""
    everybody = [whom for whom in achieved if len(whom) == JOB_ID_LENGTH]
    for whom in [injury.whom] if injury.whom else everybody:
        times = achieved.get(whom, [])
        after = bisect.bisect_right(times, (injury.at, True))
        if 0 < after < len(times) and not times[after - 1][1]:
            yield times[after][0] - injury.at


def percentile(values: list[float], percent: int) -> float:
    """The percentile by nearest rank; 0 without values."""
    if not values:
        return 0.0
    values = sorted(values)
    return values[min(len(values) - 1, len(values) * percent // 100)]
