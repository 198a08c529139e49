"""Who may use a processor: short work does not queue behind long work, nor long behind short."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

Length = Literal["short", "long"]
SHORT_UP_TO_BYTES = 64 * 2**20
"""Work on rasters up to this size, decoded, is short."""


def length_of(decoded_bytes: int) -> Length:
    """The length of work that reads or writes every pixel of a raster."""
    return "short" if decoded_bytes <= SHORT_UP_TO_BYTES else "long"


class Turns:
    """At most one more process than `processes`, of which at most `processes` of each length."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._running: dict[Length, int] = {"short": 0, "long": 0}
        self._waiting: dict[Length, list[object]] = {"short": [], "long": []}
        self._changed = threading.Condition()

    def limit(self, processes: int) -> None:
        """Change the limit. Processes that run already keep their turns."""
        with self._changed:
            self._processes = processes
            self._changed.notify_all()

    @contextmanager
    def take(self, length: Length, seconds: float, wait: Callable[[], None]) -> Iterator[None]:
        """Hold a turn, in the order of arrival among those of one length.

        Calls `wait` every `seconds` until there is one; it may raise.
        """
        ticket = object()
        with self._changed:
            self._waiting[length].append(ticket)
        try:
            while not self._is_next(ticket, length, seconds):
                wait()
        finally:
            with self._changed:
                self._waiting[length].remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._running[length] -= 1
                self._changed.notify_all()

    def _is_next(self, ticket: object, length: Length, seconds: float) -> bool:
        """Wait so long for the turn; True takes it."""
        waiting = self._waiting[length]
        with self._changed:
            if not self._changed.wait_for(
                lambda: waiting[0] is ticket and self._is_free(length), seconds
            ):
                return False
            self._running[length] += 1
            return True

    def _is_free(self, length: Length) -> bool:
        is_full = sum(self._running.values()) > self._processes
        return not is_full and self._running[length] < self._processes
