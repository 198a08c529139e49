"""Scratch folders for tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


class TemporaryScratch:
    """The Scratch port over the system's temporary folder, without a limit."""

    @contextmanager
    def folder(self, name: str, bytes_needed: int) -> Iterator[Path]:
        with TemporaryDirectory(prefix=name) as folder:
            yield Path(folder)
