"""Files beside a raster that belong to it by name: GDAL's, and nothing else in its folder."""

from pathlib import PurePosixPath

from core.models import BlobRef
from core.ports import BlobStore

APPENDED = (".aux.xml", ".msk", ".ovr", ".msk.ovr")
REPLACED = (
    ".prj", ".wld", ".tfw", ".tifw", ".tiffw", ".pgw", ".pngw", ".jgw", ".j2w", ".jp2w", ".hdr",
    ".rrd", ".ige", ".aux",
)  # fmt: skip


def find_sidecars(blobs: BlobStore, source: BlobRef) -> dict[str, str]:
    """The sidecars that lie beside a blob, with their ETags.

    World files and projections: https://gdal.org/en/stable/drivers/raster/wld.html; masks and
    overviews: https://gdal.org/en/stable/development/rfc/rfc15_nodatabitmask.html
    """
    suffix = PurePosixPath(source.name).suffix
    stem = source.name.removesuffix(suffix)
    appended = {suffix + ending for ending in APPENDED}
    found = {
        beside.ref.name: beside.etag
        for beside in blobs.list(source.container, stem + ".")
        if _ending(beside.ref.name, stem) in appended | set(REPLACED)
    }
    return dict(sorted(found.items()))


def _ending(name: str, stem: str) -> str:
    """What follows the stem; an ending alone may be in upper case."""
    ending = name.removeprefix(stem)
    return ending.lower() if ending.isupper() else ending
