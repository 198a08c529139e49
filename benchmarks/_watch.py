"""What the functions host and its raster processes take of the machine."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

from _machine import CSTIME, CUTIME, STIME, TICKS, UTIME, process_stat
from raster import descendants, high_water

from local.stack.stack import Stack


def find_host(stack: Stack) -> int:
    """The process id of the functions host."""
    [host] = [part for part in stack.status() if part.name == "host"]
    assert host.identity is not None
    return host.identity.pid


def processor_seconds(root: int) -> float:
    """Of a process and its descendants, also of those that have ended and were waited for."""
    spent = 0
    for pid in (root, *descendants(root)):
        with suppress(OSError):
            stat = process_stat(pid)
            spent += sum(stat[field] for field in (UTIME, STIME, CUTIME, CSTIME))
    return spent / TICKS


@dataclass
class Watch:
    """What the processes of a host took, over all its lives."""

    host: int
    folder: Path
    host_peak: int = 0
    """Resident bytes."""
    child_peak: int = 0
    scratch_peak: int = 0
    _spent: float = 0.0
    """By hosts that were killed."""
    _living: float = 0.0

    def look(self) -> None:
        below = descendants(self.host)
        # A host that was killed has no children any more.
        self._living = max(self._living, processor_seconds(self.host))
        self.host_peak = max(self.host_peak, high_water(self.host) << 10)
        self.child_peak = max(self.child_peak, *(high_water(pid) << 10 for pid in below), 0)
        self.scratch_peak = max(self.scratch_peak, _bytes_below(self.folder / "scratch"))

    def follow(self, host: int) -> None:
        """Watch the host that took the place of the one that was killed."""
        self._spent, self._living, self.host = self._spent + self._living, 0.0, host

    @property
    def processor_seconds(self) -> float:
        return self._spent + self._living


@contextmanager
def watching(watch: Watch, seconds: float) -> Iterator[None]:
    """Look every so many seconds, as long as the context lasts."""
    done = Event()

    def look() -> None:
        while not done.is_set():
            watch.look()
            done.wait(seconds)

    thread = Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _bytes_below(folder: Path) -> int:
    """On disk; files may vanish meanwhile."""
    found = 0
    for path, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):
                found += Path(path, name).stat().st_blocks * 512
    return found
