"""Local disk for the work of one task: checked for room, and cleaned also after a kill."""

import fcntl
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import ScratchFull


class LocalScratch:
    """The Scratch port in one folder that workers on a machine share.

    Each task's folder has a lock file beside it. Whoever can take that lock knows that the
    owner is dead, and removes the folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def folder(self, name: str, bytes_needed: int) -> Iterator[Path]:
        self._root.mkdir(parents=True, exist_ok=True)
        self._remove_orphans()
        self._check_room(bytes_needed)
        folder = self._root / f"{name[-80:]}-{uuid.uuid4().hex[:8]}"
        lock = folder.with_suffix(".lock")
        with lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            try:
                folder.mkdir()
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
                lock.unlink(missing_ok=True)

    def _check_room(self, bytes_needed: int) -> None:
        free = shutil.disk_usage(self._root).free
        if free < bytes_needed:
            raise ScratchFull(
                f"the scratch folder has {free / 2**20:.0f} MB free,"
                f" the work needs {bytes_needed / 2**20:.0f} MB"
            )

    def _remove_orphans(self) -> None:
        for lock in self._root.glob("*.lock"):
            with _opened(lock) as owned:
                if owned:
                    shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                    lock.unlink(missing_ok=True)


@contextmanager
def _opened(lock: Path) -> Iterator[bool]:
    """Whether the lock could be taken: nobody alive holds it."""
    try:
        file = lock.open("w")
    except FileNotFoundError:
        yield False
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
