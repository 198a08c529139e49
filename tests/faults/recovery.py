"""How long it took until everybody a fault concerned moved on.

The recovery of a fault is the time from its beginning until the last of the jobs it concerns has
achieved something: a task that ended, a stage that started or closed, its own end. A fault
concerns every job that was open when it struck; a message that got lost concerns what it named:
a task until it has ended, or a job.
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
    """A fault that struck: all, or the job or task of this id."""

    kind: str
    at: float
    whom: str = ""


def recoveries(
    connection: psycopg.Connection[Any], injuries: list[Injury]
) -> dict[str, list[float]]:
    """The recovery of every fault that concerned a job, in seconds, by the kind of fault."""
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
    """Of each one concerned that was open: it had begun, and had not ended."""
    everybody = [whom for whom in achieved if len(whom) == JOB_ID_LENGTH]
    for whom in [injury.whom] if injury.whom else everybody:
        times = achieved.get(whom, [])
        after = bisect.bisect_right(times, (injury.at, True))
        if 0 < after < len(times) and not times[after - 1][1]:
            yield times[after][0] - injury.at


def percentile(values: list[float], percent: int) -> float:
    """By nearest rank; 0 of nothing."""
    if not values:
        return 0.0
    values = sorted(values)
    return values[min(len(values) - 1, len(values) * percent // 100)]
