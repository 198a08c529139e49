"""Folders on the local disk for tasks: free space is checked, and old folders are removed."""

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import ScratchFull, TaskFailed


class LocalScratch:
    """The Scratch port in one folder that workers on a machine share.

    Each task's folder has a lock file next to it. A process that can take that lock knows that the
    owner has ended, and removes the folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def folder(self, name: str, bytes_needed: int) -> Iterator[Path]:
        self._root.mkdir(parents=True, exist_ok=True)
        self._remove_orphans()
        self._check_room(bytes_needed)
        with self._locked_name(name) as folder:
            try:
                folder.mkdir()
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _locked_name(self, name: str) -> Iterator[Path]:
        """A new name, locked until the block ends.

        Before a new lock file is locked, another process may take the lock and remove the file.
        The lock then has no effect for others, and another name is chosen.
        """
        while True:
            folder = self._root / f"{name[-80:]}-{uuid.uuid4().hex[:8]}"
            lock = folder.with_suffix(".lock")
            with lock.open("w") as held:
                fcntl.flock(held, fcntl.LOCK_EX)
                if not _is_same(held.fileno(), lock):
                    continue
                try:
                    yield folder
                finally:
                    lock.unlink(missing_ok=True)
                return

    def _check_room(self, bytes_needed: int) -> None:
        """Before anything is downloaded. A disk that is too small makes every attempt fail."""
        total, _, free = shutil.disk_usage(self._root)
        if total < bytes_needed:
            raise TaskFailed(
                "SCRATCH_TOO_SMALL",
                f"the work needs {bytes_needed / 2**20:,.0f} MB of scratch space, and the disk of"
                f" {self._root} has {total / 2**20:,.0f} MB in total: use a plan with a larger"
                " disk, point SCRATCH_DIR to one, or split the raster",
            )
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


def _is_same(descriptor: int, path: Path) -> bool:
    """Whether the path still names the open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def _opened(lock: Path) -> Iterator[bool]:
    """Whether the lock can be taken, because no running process holds it."""
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
