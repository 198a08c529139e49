"""Invariants of collections without open jobs: items, COGs, pieces and overviews."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase

from rasterio.io import MemoryFile
from rasterio.warp import transform

from core.overviews import OVERVIEWS
from local.stack.environment import SILVER
from services.storage.naming import PIECES, WINDOWS
from tests.faults.evidence import Evidence, Json, digest
from tests.faults.plan import MEMBERS
from tests.faults.rasters import (
    CRS_CODE,
    TILE_SIDE,
    TILES,
    VERSIONS,
    make_bad_members,
    place_tile,
    tile_name,
    tile_value,
)
from tests.faults.workload import Accepted

BAD = {"CRS_MISSING", "PIXELS_UNREADABLE"}
"""The errors of the bad members."""
REFUSED = {"OUTPUT_SUPERSEDED", "ITEMS_REFUSED", "BLOB_NOT_FOUND"}
"""Errors of members that another job on the collection makes or removes at the same time, and of
members that are deleted for a while."""
ACCEPTED = BAD | REFUSED
ITEMS = "SELECT content FROM pgstac.items WHERE collection LIKE 'collection-%'"


def check_items(evidence: Evidence) -> Iterator[str]:
    """Each item shows one COG, of its own tile, with the item's checksum."""
    for collection_id in evidence.collections:
        items = evidence.members(collection_id)
        for name, count in Counter(map(_cog, items.values())).items():
            if count > 1:
                yield f"{count} items of {collection_id} show {name}"
        for item_id, item in items.items() if _is_shared(collection_id) else ():
            if find_version(evidence, item) is None:
                yield f"item {item_id} of {collection_id} is not of a version of its tile"
            content = evidence.blobs.get(_cog(item))
            if content is None or digest(content) != item["assets"]["data"]["file:checksum"]:
                yield f"item {item_id} of {collection_id} does not describe {_cog(item)}"


def check_overviews(evidence: Evidence) -> Iterator[str]:
    """An overview shows the pixels of each item, and of no other tile."""
    for collection_id, document in evidence.collections.items():
        asset = document.get("assets", {}).get("overview")
        if asset is None:
            continue
        name = str(asset["href"]).partition(f"/{SILVER}/")[2]
        content = evidence.blobs.get(name)
        if content is None or digest(content) != asset["file:checksum"]:
            yield f"{collection_id} names {name}, which is not there or is another file"
            continue
        expected = {
            tile_of(item): find_version(evidence, item)
            for item in evidence.members(collection_id).values()
        }
        shown = read_shown(content)
        if shown != expected:
            yield f"the overview of {collection_id} shows {shown} instead of {expected}"


def check_leftovers(evidence: Evidence) -> Iterator[str]:
    """Pieces and windows belong to jobs that can be retried, and overviews to collections."""
    for name in evidence.blobs:
        if name.startswith((PIECES, WINDOWS)) and not _is_needed(evidence, name):
            yield f"{name} belongs to no job that can be retried"
    for name in find_unused_overviews(evidence.collections.values(), evidence.blobs):
        yield f"overview {name} is named by no collection"


def find_unused_overviews(collections: Iterable[Json], blobs: Iterable[str]) -> list[str]:
    """The overviews that no collection names. The timer removes them soon."""
    assets = [each.get("assets", {}).get("overview", {}) for each in collections]
    named = {str(asset.get("href", "")).partition(f"/{SILVER}/")[2] for asset in assets}
    return [name for name in blobs if name.startswith(OVERVIEWS) and name not in named]


def _is_needed(evidence: Evidence, name: str) -> bool:
    """Whether a retry of a job would use a blob; a failed job keeps all."""
    job = re.split("[-/]", name)[1]
    failed = (row["job_id"] for row in evidence.jobs.values() if row["status"] == "failed")
    return name in evidence.pieces or any(job_id.startswith(job) for job_id in failed)


def check_results(evidence: Evidence) -> Iterator[str]:
    """The counts of a result are complete, and those of the last job are those of the catalogue."""
    for job in evidence.users.accepted.values():
        row = evidence.jobs.get(job.job_id, {})
        if job.submission.job_type != "process_raster_collection" or not row.get("result"):
            continue
        members = row["result"]["members"]
        if members["found"] > len(_wanted(job)):
            yield f"job {job.job_id} found {members}, and not {_wanted(job)}"
        if members["found"] != sum(members[key] for key in ("invalid", "failed", "published")):
            yield f"job {job.job_id}: the counts do not add up: {members}"
    for row in _last_jobs(evidence):
        result = row["result"]
        document = evidence.collections.get(result["collection_id"], {})
        items = evidence.members(result["collection_id"])
        has_overview = "overview" in document.get("assets", {})
        if (result["items"], result["has_overview"]) != (len(items), has_overview):
            yield f"job {row['job_id']} was the last one: {result}; {len(items)} items"


def _last_jobs(evidence: Evidence) -> Iterator[Json]:
    """The job of each collection that ended last, if no other ran at the same time."""
    for collection_id in evidence.collections:
        found = [
            row
            for row in evidence.jobs.values()
            if row["parameters"].get("collection_id") == collection_id and row["finished_at"]
        ]
        *others, last = sorted(found, key=lambda row: row["finished_at"])
        is_alone = all(other["finished_at"] < last["started_at"] for other in others)
        if last["job_type"] == "process_raster_collection" and last["result"] and is_alone:
            yield last


def find_version(evidence: Evidence, item: Json) -> int | None:
    """The version of the tile that the item shows."""
    checksum, number = item["assets"]["data"]["file:checksum"], tile_of(item)
    for version in range(VERSIONS):
        if evidence.checksums[name_version(number, version)] == checksum:
            return version
    return None


def name_version(number: int, version: int) -> str:
    return f"{tile_name(number)} {version}"


def tile_of(item: Json) -> int:
    """The number of the tile that the item was made from."""
    source = str(item["properties"]["geolathe:source"])
    [number] = [n for n in range(TILES) if MEMBERS + tile_name(n) in source]
    return number


def read_shown(content: bytes) -> dict[int, int]:
    """The tiles in whose middle an overview has valid pixels, and their versions."""
    shown = {}
    with MemoryFile(content) as memory, memory.open() as overview:
        pixels, mask = overview.read(1).astype(int), overview.dataset_mask()
        for number in range(TILES):
            centre = place_tile(number) * (TILE_SIDE / 2, TILE_SIDE / 2)
            [x], [y] = transform(f"EPSG:{CRS_CODE}", overview.crs, *([v] for v in centre))
            row, column = overview.index(x, y)
            inside = 0 <= row < overview.height and 0 <= column < overview.width
            if inside and mask[row, column]:
                shown[number] = _version_of(number, pixels[row, column])
    return shown


def _version_of(number: int, value: int) -> int:
    """The version whose pixels are nearest; -1 if none is near."""
    for version in range(VERSIONS):
        if abs(value - tile_value(number, version)) < 8:
            return version
    return -1


def _cog(item: Json) -> str:
    return str(item["assets"]["data"]["href"]).partition(f"/{SILVER}/")[2]


def _wanted(job: Accepted) -> list[str]:
    names = [*(tile_name(number) for number in range(TILES)), *make_bad_members()]
    return [name for name in names if fnmatchcase(name, job.submission.raster)]


def _is_shared(collection_id: str) -> bool:
    return collection_id.startswith("collection-")


JUDGES: dict[str, Callable[[Evidence], Iterator[str]]] = {
    "member": check_items,
    "overview": check_overviews,
    "leftover": check_leftovers,
    "count": check_results,
}
