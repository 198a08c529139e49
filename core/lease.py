"""Leases: one thread renews those of all tasks that this process runs."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from core.errors import TaskLost, Unavailable
from core.models import TaskRecord
from core.ports import HeldTask, StateRepository
from core.storable import short_text

logger = logging.getLogger(__name__)


class HeldLease:
    """A task that this process runs: its progress, and whether the lease was lost."""

    def __init__(self, task: TaskRecord, confirm: Callable[["HeldLease"], None]) -> None:
        self.task_id = task.task_id
        self.attempt = task.attempt
        self.is_lost = threading.Event()
        self._progress = (0.0, "")
        self._confirm = confirm

    def report(self, fraction: float, message: str = "") -> None:
        """Note the progress; the next heartbeat stores it. Raises TaskLost."""
        if self.is_lost.is_set():
            raise TaskLost(f"attempt {self.attempt} no longer holds task {self.task_id}")
        # max(0.0, nan) is 0.0. Rounding keeps tiny fractions within the range of a PostgreSQL real.
        kept = round(min(1.0, max(0.0, float(fraction))), 6)
        self._progress = (kept, short_text(message))

    def confirm(self) -> None:
        """Check the lease in the state now, not at the next heartbeat. Raises TaskLost."""
        self._confirm(self)
        self.report(*self._progress)

    def snapshot(self) -> HeldTask:
        return HeldTask(self.task_id, self.attempt, *self._progress)


class Leases:
    """Renews leases in its own thread, because handlers block inside GDAL for minutes."""

    def __init__(self, state: StateRepository, lease: timedelta, heartbeat: timedelta) -> None:
        self.lease = lease
        self._state = state
        self._every = heartbeat.total_seconds()
        self._held: dict[str, HeldLease] = {}
        self._lock = threading.Lock()
        self._work = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def hold(self, tasks: Sequence[TaskRecord]) -> Iterator[list[HeldLease]]:
        """Renew the leases of the tasks while the block runs."""
        held = [HeldLease(task, lambda lease: self._renew([lease])) for task in tasks]
        with self._lock:
            for lease in held:
                earlier = self._held.get(lease.task_id)
                if earlier is not None:
                    earlier.is_lost.set()
                self._held[lease.task_id] = lease
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._beat, name="leases", daemon=True)
                self._thread.start()
        self._work.set()
        try:
            yield held
        finally:
            with self._lock:
                for lease in held:
                    if self._held.get(lease.task_id) is lease:
                        del self._held[lease.task_id]
                if not self._held:
                    self._work.clear()

    def _beat(self) -> None:
        while True:
            self._work.wait()
            time.sleep(self._every)
            with self._lock:
                held = list(self._held.values())
            if held:
                self._try_to_renew(held)

    def _try_to_renew(self, held: list[HeldLease]) -> None:
        try:
            self._renew(held)
        except Unavailable as error:
            logger.warning("leases of %d tasks not renewed: %s", len(held), error)

    def _renew(self, held: list[HeldLease]) -> None:
        renewed = self._state.renew_leases([lease.snapshot() for lease in held], self.lease)
        for lease in held:
            if lease.task_id not in renewed:
                lease.is_lost.set()
