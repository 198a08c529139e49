"""Fair shares: how many tasks of a stage are in flight at once.

The messages of a stage wait in a queue that all jobs share. If a stage sent one for each of its
tasks, a later job would wait until all of them had run. Therefore only some tasks are released at
first, and each one that ends releases another. Jobs progress in proportion to their limits.
"""

from typing import NamedTuple

from core.models import Priority

WEIGHTS = {Priority.LOW: 0.25, Priority.NORMAL: 1.0, Priority.HIGH: 4.0}


class FlightLimits(NamedTuple):
    """The largest numbers of tasks that a stage of normal priority has in flight.

    A limit below the number of tasks that all workers together can hold leaves some of them idle.
    """

    tasks: int = 32
    quick_tasks: int = 256

    def limit(self, is_quick: bool, priority: Priority) -> int:
        """The limit of a stage: at least 1."""
        limit = self.quick_tasks if is_quick else self.tasks
        return max(1, round(limit * WEIGHTS[priority]))


DEFAULT_LIMITS = FlightLimits()
