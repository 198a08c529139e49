"""Estimate the COGs of a raster without making them."""

from core.handler import TaskContext
from core.models import Record
from services.outputs.cog import work_bytes
from services.raster.model import CogEstimate, EncodeSamples, Estimates, RasterFacts, Tier
from services.sandbox import child
from services.storage.fetch import SAMPLED_FROM_BYTES, Fetched, Wanted, read_source

MEMORY_BYTES = 768 * 2**20
SECONDS = 180.0
_SAMPLE_BYTES = 256 * 2**20


class EstimateCogs(Record):
    """The parameters of estimate_cogs. The source, its ETag and its sidecars are in the facts."""

    facts: RasterFacts
    tiers: tuple[Tier, ...]
    target_crs: str = "EPSG:4326"
    jpeg_quality: int = 85


def estimate_cogs(params: EstimateCogs, ctx: TaskContext) -> Estimates:
    """Encode samples as each tier would. Writes nothing outside of the scratch folder."""
    facts = params.facts
    wanted = Wanted(
        facts.source,
        facts.source_etag,
        facts.sidecars,
        work_bytes=_SAMPLE_BYTES,
        download_below=SAMPLED_FROM_BYTES,
    )
    return read_source(ctx, wanted, lambda source: _estimate(params, ctx, source))


def load_estimate() -> child.Function[EncodeSamples, Estimates]:
    """The function that the sandbox runs. Only the child process imports GDAL."""
    from services.raster.estimate import estimate

    return estimate


def _estimate(params: EstimateCogs, ctx: TaskContext, source: Fetched) -> Estimates:
    request = EncodeSamples(**dict(params), path=source.path, folder=str(source.work))
    found = child.run(
        load_estimate,
        request,
        Estimates,
        ctx.report,
        folder=source.folder,
        memory_bytes=MEMORY_BYTES,
        seconds=SECONDS,
    )
    return found.model_copy(
        update={"cogs": tuple(_with_scratch(cog, params.facts) for cog in found.cogs)}
    )


def _with_scratch(cog: CogEstimate, facts: RasterFacts) -> CogEstimate:
    """COGs that are made in windows need no scratch space."""
    needed = 0 if cog.tier in facts.windows else work_bytes(facts)
    return cog.model_copy(update={"scratch_bytes": needed})
