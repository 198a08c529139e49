"""Progress of GDAL calls, which rasterio does not report: measured from files and read bytes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from core.handler import Report
from services.sandbox.read_counter import count_bytes_read

_EVERY_SECONDS = 0.5
# A COG reads its pixels once for the full size and once for the overviews, a third more.
_READS_PER_COG = 2.4


class Stretch:
    """One part of the work, which moves the progress from `start` to `end`."""

    def __init__(self, report: Report, start: float, end: float, message: str) -> None:
        self._report = report
        self._start = start
        self._end = end
        self._message = message

    @contextmanager
    def watching_file(self, path: str, final_bytes: int) -> Iterator[None]:
        """Report the share of the file that is on disk."""
        file = Path(path)

        def done() -> float:
            return file.stat().st_blocks * 512 / final_bytes if file.exists() else 0.0

        with self._watching(done):
            yield

    @contextmanager
    def watching_reads(self, pixel_bytes: int) -> Iterator[None]:
        """Report how much of the expected bytes this process has read."""
        before = count_bytes_read()

        def done() -> float:
            return (count_bytes_read() - before) / (pixel_bytes * _READS_PER_COG)

        with self._watching(done):
            yield

    @contextmanager
    def _watching(self, done: Callable[[], float]) -> Iterator[None]:
        finished = Event()
        thread = Thread(target=self._watch, args=(done, finished), daemon=True)
        thread.start()
        try:
            yield
        finally:
            finished.set()
            thread.join()

    def _watch(self, done: Callable[[], float], finished: Event) -> None:
        while not finished.wait(_EVERY_SECONDS):
            fraction = min(1.0, max(0.0, done()))
            self._report(self._start + fraction * (self._end - self._start), self._message)
