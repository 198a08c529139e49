"""Where the child process finds the bytes of a source: a signed address, or a local copy."""

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TypeVar

from core.errors import TaskFailed
from core.handler import TaskContext
from core.models import BlobProperties, BlobRef

MAX_SOURCE_BYTES = 128 * 2**30
SAMPLED_FROM_BYTES = 64 * 2**20
"""Smaller files are downloaded even for samples: one request is faster than dozens."""
WHOLE_UP_TO_BYTES = 8 * 2**30
"""Whoever reads every pixel reads it twice or more: downloading first was a tenth faster, and that
on one machine, where a request does not travel (`./dev bench raster`). More would fill the disk."""
_UNREADABLE = ("PIXELS_UNREADABLE", "NOT_A_RASTER")
_PLAIN = re.compile(r"\w[\w.-]{0,99}", re.ASCII)
_RANGED_SUFFIXES = (".tif", ".tiff")
_SIGNATURE_LIFETIME = timedelta(hours=4)


Result = TypeVar("Result")


@dataclass(frozen=True)
class Fetched:
    """A source within reach of GDAL."""

    path: str
    properties: BlobProperties
    folder: Path
    """Holds the copy, where there is one, and the work."""

    @property
    def work(self) -> Path:
        """Empty at first."""
        return self.folder / "work"

    @property
    def is_ranged(self) -> bool:
        return self.path.startswith("/vsicurl/")


def _can_be_ranged(properties: BlobProperties, sidecars: tuple[BlobRef, ...]) -> bool:
    """Whether parts of the source make sense alone, and GDAL finds them."""
    return not sidecars and properties.ref.name.lower().endswith(_RANGED_SUFFIXES)


def unchanged(ctx: TaskContext, source: BlobRef, etag: str) -> BlobProperties:
    """The source's properties. Raises TaskFailed when it is no longer what was submitted."""
    properties = ctx.blobs.properties(source)
    if properties.etag != etag:
        raise TaskFailed(
            "SOURCE_CHANGED", f"{source} was changed after the job was submitted: submit it again"
        )
    return properties


@dataclass(frozen=True)
class Wanted:
    """A source as it was submitted, and what reading it takes."""

    source: BlobRef
    etag: str
    sidecars: tuple[BlobRef, ...]
    work_bytes: int
    """Room on the scratch disk, beside a copy."""
    download_below: float
    """In bytes. What is larger is read by range requests where its format allows."""


def read_source(ctx: TaskContext, wanted: Wanted, read: Callable[[Fetched], Result]) -> Result:
    """Read it where it lies or from a copy: the same bytes from begin to end, or SOURCE_CHANGED.

    When range requests fail, only a copy tells whether the file is to blame: it is read again.
    """
    is_ranged = False
    try:
        with _fetched(ctx, wanted) as source:
            is_ranged = source.is_ranged
            return read(source)
    except TaskFailed as error:
        if not (is_ranged and error.code in _UNREADABLE):
            raise
    with _fetched(ctx, replace(wanted, download_below=math.inf)) as source:
        return read(source)


@contextmanager
def _fetched(ctx: TaskContext, wanted: Wanted) -> Iterator[Fetched]:
    properties = unchanged(ctx, wanted.source, wanted.etag)
    _check_size(properties)
    can_be_ranged = _can_be_ranged(properties, wanted.sidecars)
    copied = properties.size < wanted.download_below or not can_be_ranged
    room = wanted.work_bytes + (properties.size if copied else 0)
    with ctx.scratch.folder(ctx.task_id, room) as folder:
        if copied:
            path = _copy(ctx, wanted.source, wanted.sidecars, folder)
        else:
            path = f"/vsicurl/{ctx.blobs.signed_url(wanted.source, _SIGNATURE_LIFETIME)}"
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
            f"{properties.ref} has {properties.size / 2**30:.0f} GB: "
            f"the limit is {MAX_SOURCE_BYTES >> 30} GB. Cut it into parts",
        )


def _copy(ctx: TaskContext, source: BlobRef, sidecars: tuple[BlobRef, ...], folder: Path) -> str:
    """In a folder of their own, under their own names: some formats name their companions.

    A name that is not plain is replaced; endings tell GDAL what belongs together.
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
