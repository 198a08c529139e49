"""One COG out of one raster: warped, tiled, with overviews, checked, then shown at once."""

import time
from pathlib import Path
from typing import Literal

from pydantic import Field

from core.handler import LONGEST_TASK, TaskContext
from core.models import BlobRef, OutputTarget, Record
from core.ports import AccessTier
from services.raster.model import Cog, MadeCog, MakeCog, RasterFacts, Tier
from services.sandbox import child
from services.sandbox.turns import length_of
from services.storage.fetch import WHOLE_UP_TO_BYTES, Fetched, Wanted, read_source, unchanged
from services.storage.naming import locate_cog
from services.storage.ownership import OutputFile, StoredOutput, record_output, store_output


class CreateCog(Record):
    """The parameters of create_cog. The source, its ETag and its sidecars are in the facts."""

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


CONTENT_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"
SECONDS = LONGEST_TASK.total_seconds()
STORAGE_TIERS: dict[Tier, Literal["hot", "cool"]] = {
    Tier.VISUALIZATION: "hot",
    Tier.ANALYSIS: "hot",
    Tier.ARCHIVE: "cool",
}
_ACCESS_TIERS: dict[Tier, AccessTier] = {
    Tier.VISUALIZATION: "Hot",
    Tier.ANALYSIS: "Hot",
    Tier.ARCHIVE: "Cool",
}
# The warped raster, the COG with its overviews, and the overviews while they are being made.
_SCRATCH_PER_PIXEL_BYTE = 3.5
# The best ratio of LZW. A file that decodes to more is sparse, and so is its COG.
_MOST_COMPRESSED = 3_000


def create_cog(params: CreateCog, ctx: TaskContext) -> Cog:
    """Make the COG and store it at the target. Running it again writes the same bytes.

    Raises TaskFailed OUTPUT_SUPERSEDED when another job wrote the target meanwhile.
    """
    started = time.monotonic()
    facts = params.facts
    wanted = Wanted(
        facts.source,
        facts.source_etag,
        facts.sidecars,
        work_bytes=work_bytes(facts),
        download_below=WHOLE_UP_TO_BYTES,
    )
    return read_source(ctx, wanted, lambda source: _make_and_store(params, ctx, source, started))


def load_make_cog() -> child.Function[MakeCog, MadeCog]:
    """The function that the sandbox runs. Only the child process imports GDAL."""
    from services.raster.cog import make_cog

    return make_cog


def work_bytes(facts: RasterFacts) -> int:
    pixels = min(facts.decoded_bytes, facts.source_size_bytes * _MOST_COMPRESSED)
    return int(pixels * _SCRATCH_PER_PIXEL_BYTE)


def _make_and_store(params: CreateCog, ctx: TaskContext, source: Fetched, started: float) -> Cog:
    facts = params.facts
    request = MakeCog(
        facts=facts,
        tier=params.tier,
        target_crs=params.target_crs,
        jpeg_quality=params.jpeg_quality,
        in_memory=params.in_memory,
        path=source.path,
        folder=str(source.work),
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
    file = OutputFile(Path(made.path), made.checksum, CONTENT_TYPE, _ACCESS_TIERS[params.tier])
    stored = store_output(ctx, _target(params), file)
    cog = _cog(params, made, stored, time.monotonic() - started)
    record_output(ctx, stored, cog.model_dump(mode="json"))
    return cog


def _target(params: CreateCog) -> OutputTarget:
    return OutputTarget(
        blob=params.target,
        location=locate_cog(params.target.name, params.tier),
        tier=params.tier,
        source=str(params.facts.source),
        source_etag=params.facts.source_etag,
        request=params.request,
        generation=params.generation,
    )


def _cog(params: CreateCog, made: MadeCog, stored: StoredOutput, seconds: float) -> Cog:
    facts = params.facts
    return Cog(
        **made.model_dump(exclude={"path"}),
        blob=params.target,
        cog_tier=params.tier,
        storage_tier=STORAGE_TIERS[params.tier],
        source=facts.source,
        raster_type=facts.raster_type.applied_type,
        size_mb=round(made.size_bytes / 2**20, 2),
        etag=stored.properties.etag,
        last_modified=stored.properties.last_modified,
        processing_time_seconds=round(seconds, 2),
        output_id=stored.output_id,
    )
