"""The sidecars of a raster in storage: blobs in its folder that belong to it by their names."""

from pathlib import PurePosixPath

from core.models import BlobRef
from core.ports import BlobStore
from core.sidecars import APPENDED, REPLACED


def find_sidecars(blobs: BlobStore, source: BlobRef) -> dict[str, str]:
    """The sidecars of a blob, by name, with their ETags."""
    suffix = PurePosixPath(source.name).suffix
    stem = source.name.removesuffix(suffix)
    appended = {suffix + ending for ending in APPENDED}
    found = {
        candidate.ref.name: candidate.etag
        for candidate in blobs.list(source.container, stem + ".")
        if _ending(candidate.ref.name, stem) in appended | set(REPLACED)
    }
    return dict(sorted(found.items()))


def _ending(name: str, stem: str) -> str:
    """What follows the stem, in lower case if all of it is in upper case."""
    ending = name.removeprefix(stem)
    return ending.lower() if ending.isupper() else ending
