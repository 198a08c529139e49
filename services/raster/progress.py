"""How far GDAL is. It does not say so through rasterio: files and the kernel do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from core.handler import Report

_EVERY_SECONDS = 0.5
# A COG reads its pixels once for itself and once for its overviews, which are a third more.
_READS_PER_COG = 2.4


class Stretch:
    """One part of the work, from `start` to `end` of the whole."""

    def __init__(self, report: Report, start: float, end: float, message: str) -> None:
        self._report = report
        self._start = start
        self._end = end
        self._message = message

    @contextmanager
    def watching_file(self, path: str, final_bytes: int) -> Iterator[None]:
        """Progress is what has reached the disk."""
        file = Path(path)

        def done() -> float:
            return file.stat().st_blocks * 512 / final_bytes if file.exists() else 0.0

        with self._watching(done):
            yield

    @contextmanager
    def watching_reads(self, pixel_bytes: int) -> Iterator[None]:
        """Progress is what this process has read since."""
        before = _bytes_read()

        def done() -> float:
            return (_bytes_read() - before) / (pixel_bytes * _READS_PER_COG)

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


def _bytes_read() -> int:
    """See proc(5), /proc/pid/io, rchar."""
    text = Path("/proc/self/io").read_text(encoding="ascii")
    return int(text.split()[1])
