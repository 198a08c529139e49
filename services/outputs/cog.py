"""Makes one COG of a source and stores it as an output."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

from pydantic import Field

from core.handler import LONGEST_TASK, TaskContext
from core.models import BlobRef, OutputTarget, Record
from core.ports import AccessTier
from services.raster.model import Cog, CogFacts, MadeCog, MakeCog, RasterFacts, Tier
from services.sandbox import child
from services.sandbox.turns import length_of
from services.storage.fetch import WHOLE_UP_TO_BYTES, Fetched, Wanted, read_source, unchanged
from services.storage.naming import locate_cog
from services.storage.ownership import OutputFile, StoredOutput, record_output, store_output

CONTENT_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"
SECONDS = LONGEST_TASK.total_seconds()
STORAGE_TIERS: dict[Tier, Literal["hot", "cool"]] = {
    Tier.VISUALIZATION: "hot",
    Tier.ANALYSIS: "hot",
    Tier.ARCHIVE: "cool",
}
ACCESS_TIERS: dict[Tier, AccessTier] = {
    Tier.VISUALIZATION: "Hot",
    Tier.ANALYSIS: "Hot",
    Tier.ARCHIVE: "Cool",
}
# The warped raster, the COG with its overviews, and the overviews while they are being made.
_SCRATCH_PER_PIXEL_BYTE = 3.5
# The best ratio of LZW. A file that decodes to more is sparse, and so is its COG.
_MOST_COMPRESSED = 3_000

Result = TypeVar("Result")


class CogOrder(Record):
    """A COG to make. The source, its ETag and its sidecars are in the facts."""

    facts: RasterFacts
    target: BlobRef
    tier: Tier
    target_crs: str = "EPSG:4326"
    """EPSG:n, or native."""
    jpeg_quality: int = Field(default=85, ge=1, le=100)
    in_memory: bool | None = None
    request: str = ""
    """The id of the job that the request has in generation 0."""
    generation: int = 0
    pad: bool = False
    """Repeat the outermost pixels once, so that no gap is left between rasters that touch."""


class StoredCog(NamedTuple):
    """A COG in blob storage, and the file that it was uploaded from."""

    cog: Cog
    path: Path


def read_for_cogs(
    ctx: TaskContext, facts: RasterFacts, count: int, read: Callable[[Fetched], Result]
) -> Result:
    """Call `read` with the source and scratch space for `count` COGs."""
    wanted = Wanted(
        facts.source,
        facts.source_etag,
        facts.sidecars,
        work_bytes=count * work_bytes(facts),
        download_below=WHOLE_UP_TO_BYTES,
    )
    return read_source(ctx, wanted, read)


def work_bytes(facts: RasterFacts) -> int:
    """The scratch space that making a COG takes, in bytes."""
    pixels = min(facts.decoded_bytes, facts.source_size_bytes * _MOST_COMPRESSED)
    return int(pixels * _SCRATCH_PER_PIXEL_BYTE)


def load_make_cog() -> child.Function[MakeCog, MadeCog]:
    """The function that the sandbox runs. Only the child process imports GDAL."""
    from services.raster.cog import make_cog

    return make_cog


def make_output(order: CogOrder, ctx: TaskContext, source: Fetched) -> StoredCog:
    """Make the COG and store it at the target. Running it again writes the same bytes.

    Its file remains in the scratch folder of the source. Raises TaskFailed OUTPUT_SUPERSEDED when
    another job wrote the target meanwhile.
    """
    started = time.monotonic()
    facts, folder = order.facts, source.work / order.tier
    folder.mkdir(exist_ok=True)
    request = MakeCog(
        facts=facts,
        tier=order.tier,
        target_crs=order.target_crs,
        jpeg_quality=order.jpeg_quality,
        in_memory=order.in_memory,
        path=source.path,
        folder=str(folder),
        pad=order.pad,
    )
    made = child.run(
        load_make_cog,
        request,
        MadeCog,
        lambda fraction, message: ctx.report(0.9 * fraction, message),
        folder=source.folder,
        memory_bytes=child.MEMORY_BYTES,
        seconds=SECONDS,
        network=source.is_ranged,
        length=length_of(facts.decoded_bytes),
    )
    unchanged(ctx, facts.source, facts.source_etag)
    ctx.report(0.9, "uploading")
    path = Path(made.path)
    file = OutputFile(path, made.checksum, CONTENT_TYPE, ACCESS_TIERS[order.tier])
    stored = store_output(ctx, output_target(order), file)
    cog = describe_output(order, made, stored, time.monotonic() - started)
    record_output(ctx, stored, cog.model_dump(mode="json"))
    return StoredCog(cog, path)


def output_target(order: CogOrder) -> OutputTarget:
    return OutputTarget(
        blob=order.target,
        location=locate_cog(order.target.name, order.tier),
        tier=order.tier,
        source=str(order.facts.source),
        source_etag=order.facts.source_etag,
        request=order.request,
        generation=order.generation,
    )


def describe_output(order: CogOrder, made: CogFacts, stored: StoredOutput, seconds: float) -> Cog:
    """The COG as it is stored and recorded."""
    facts = order.facts
    return Cog(
        **made.model_dump(exclude={"path"}),
        blob=order.target,
        cog_tier=order.tier,
        storage_tier=STORAGE_TIERS[order.tier],
        source=facts.source,
        raster_type=facts.raster_type.applied_type,
        size_mb=round(made.size_bytes / 2**20, 2),
        etag=stored.properties.etag,
        last_modified=stored.properties.last_modified,
        processing_time_seconds=round(seconds, 2),
        output_id=stored.output_id,
    )
