"""Where the child process finds the bytes of a source: a signed address, or a local copy."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path, PurePosixPath

from core.errors import TaskFailed
from core.handler import TaskContext
from core.models import BlobProperties, BlobRef

MAX_SOURCE_BYTES = 128 * 2**30
SAMPLED_FROM_BYTES = 64 * 2**20
"""Smaller files are downloaded even for samples: one request is faster than dozens."""
WHOLE_UP_TO_BYTES = 8 * 2**30
"""Whoever reads every pixel reads it twice or more: downloading first was a tenth faster, and that
on one machine, where a request does not travel (`./dev bench raster`). More would fill the disk."""
_PLAIN = re.compile(r"\w[\w.-]{0,99}", re.ASCII)
_RANGED_SUFFIXES = (".tif", ".tiff")
_SIGNATURE_LIFETIME = timedelta(hours=4)


@dataclass(frozen=True)
class Fetched:
    """A source within reach of GDAL."""

    path: str
    properties: BlobProperties
    folder: Path
    """Empty, for the work."""

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


@contextmanager
def fetched(
    ctx: TaskContext,
    source: BlobRef,
    etag: str,
    sidecars: tuple[BlobRef, ...],
    *,
    work_bytes: int,
    download_below: float,
) -> Iterator[Fetched]:
    """Bring the source within reach. The same bytes are there at the end, or SOURCE_CHANGED.

    A source of `download_below` bytes or more is read by range requests where its format allows.
    """
    properties = unchanged(ctx, source, etag)
    _check_size(properties)
    copied = properties.size < download_below or not _can_be_ranged(properties, sidecars)
    room = work_bytes + (properties.size if copied else 0)
    with ctx.scratch.folder(ctx.task_id, room) as folder:
        work = folder / "work"
        work.mkdir()
        if copied:
            path = _copy(ctx, source, sidecars, folder)
        else:
            path = f"/vsicurl/{ctx.blobs.signed_url(source, _SIGNATURE_LIFETIME)}"
        yield Fetched(path, properties, work)
    unchanged(ctx, source, etag)


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
