"""Makes a source available to the child process: by a signed URL, or as a local copy."""

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TypeVar

from core.errors import TaskFailed
from core.handler import LONGEST_TASK, TaskContext
from core.models import BlobProperties, BlobRef

MAX_SOURCE_BYTES = 128 * 2**30
SAMPLED_FROM_BYTES = 64 * 2**20
"""Smaller files are downloaded even for samples: one request is faster than dozens."""
WHOLE_UP_TO_BYTES = 8 * 2**30
"""Work on every pixel reads each of them twice or more, so a download comes first. Larger sources
would fill the disk."""
_UNREADABLE = ("PIXELS_UNREADABLE", "NOT_A_RASTER")
_PLAIN = re.compile(r"\w[\w.-]{0,99}", re.ASCII)
_RANGED_SUFFIXES = (".tif", ".tiff")
SIGNATURE_LIFETIME = LONGEST_TASK + timedelta(hours=2)
"""A source may be read until the end of the task, which may wait for a processor first."""


Result = TypeVar("Result")


@dataclass(frozen=True)
class Fetched:
    """A source that GDAL can open."""

    path: str
    """A local path, or /vsicurl/ and a signed URL."""
    properties: BlobProperties
    folder: Path
    """The scratch folder of the task, with the copy if there is one."""

    @property
    def work(self) -> Path:
        """A folder for results and temporary files, empty at first."""
        return self.folder / "work"

    @property
    def is_ranged(self) -> bool:
        """Whether the source is read by range requests."""
        return self.path.startswith("/vsicurl/")


def can_be_ranged(source: BlobRef, sidecars: tuple[BlobRef, ...]) -> bool:
    """Whether the source can be read in parts: GeoTIFFs, and without sidecars only."""
    return not sidecars and source.name.lower().endswith(_RANGED_SUFFIXES)


def unchanged(ctx: TaskContext, source: BlobRef, etag: str) -> BlobProperties:
    """The source's properties. Raises TaskFailed SOURCE_CHANGED when its ETag is another."""
    properties = ctx.blobs.properties(source)
    if properties.etag != etag:
        raise TaskFailed(
            "SOURCE_CHANGED", f"{source} was changed after the job was submitted: submit it again"
        )
    return properties


@dataclass(frozen=True)
class Wanted:
    """A source as it was submitted, and what reading it needs."""

    source: BlobRef
    etag: str
    sidecars: tuple[BlobRef, ...]
    work_bytes: int
    """Space on the scratch disk, in addition to that of a copy."""
    download_below: float
    """A size in bytes. Larger sources are read by range requests if their format allows it."""


def read_source(ctx: TaskContext, wanted: Wanted, read: Callable[[Fetched], Result]) -> Result:
    """Call `read` with the source, by range requests or as a copy.

    Raises TaskFailed SOURCE_CHANGED when the blob changed before or while it was read. When a
    source cannot be read by range requests, it is read again from a copy, which shows whether the
    file or the connection is at fault.
    """
    is_ranged = False
    try:
        with open_source(ctx, wanted) as source:
            is_ranged = source.is_ranged
            return read(source)
    except TaskFailed as error:
        if not (is_ranged and error.code in _UNREADABLE):
            raise
    with open_source(ctx, replace(wanted, download_below=math.inf)) as source:
        return read(source)


@contextmanager
def open_source(ctx: TaskContext, wanted: Wanted) -> Iterator[Fetched]:
    """The source, by range requests or as a copy.

    Raises TaskFailed SOURCE_CHANGED when the blob has changed, also at the end.
    """
    properties = unchanged(ctx, wanted.source, wanted.etag)
    _check_size(properties)
    _check_tier(properties)
    is_ranged = can_be_ranged(properties.ref, wanted.sidecars)
    copied = properties.size < wanted.download_below or not is_ranged
    room = wanted.work_bytes + (properties.size if copied else 0)
    with ctx.scratch.folder(ctx.task_id, room) as folder:
        if copied:
            path = _copy(ctx, wanted.source, wanted.sidecars, folder)
        else:
            path = f"/vsicurl/{ctx.blobs.signed_url(wanted.source, SIGNATURE_LIFETIME)}"
        fetched = Fetched(path, properties, folder)
        fetched.work.mkdir()
        yield fetched
    unchanged(ctx, wanted.source, wanted.etag)


def _check_size(properties: BlobProperties) -> None:
    if properties.size == 0:
        raise TaskFailed("NOT_A_RASTER", f"{properties.ref} is empty")
    if properties.size > MAX_SOURCE_BYTES:
        raise TaskFailed(
            "RASTER_TOO_LARGE",
            f"{properties.ref} has {properties.size / 2**30:.0f} GB; "
            f"the limit is {MAX_SOURCE_BYTES >> 30} GB. Split the raster",
        )


def _check_tier(properties: BlobProperties) -> None:
    if properties.access_tier == "Archive":
        raise TaskFailed(
            "BLOB_ARCHIVED",
            f"{properties.ref} is in the Archive tier: set its tier to Hot or Cool first",
        )


def _copy(ctx: TaskContext, source: BlobRef, sidecars: tuple[BlobRef, ...], folder: Path) -> str:
    """Download the source and its sidecars to a folder. Returns the path of the source.

    They keep their names, which some formats refer to, unless a name has unusual characters.
    GDAL finds sidecars by their extensions.
    """
    home = folder / "source"
    home.mkdir()
    name = PurePosixPath(source.name)
    ending = name.suffix.lower()
    stem = name.stem if _PLAIN.fullmatch(name.stem) else "source"
    path = home / f"{stem}{ending}"
    ctx.blobs.download(source, path)
    for sidecar in sidecars:
        rest = sidecar.name[len(source.name) - len(ending) :].lower()
        ctx.blobs.download(sidecar, home / f"{stem}{rest}")
    return str(path)
