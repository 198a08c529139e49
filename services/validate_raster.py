"""Inspect a source raster: read its facts, refuse what can never become a good COG."""

from core.handler import TaskContext
from services.raster.model import InspectionOptions, InspectRaster, RasterFacts
from services.sandbox import child
from services.storage.fetch import SAMPLED_FROM_BYTES, Fetched, Wanted, read_source

MEMORY_BYTES = 768 * 2**20
SECONDS = 180.0


class ValidateRaster(InspectionOptions):
    """The parameters of validate_raster."""


def validate_raster(params: ValidateRaster, ctx: TaskContext) -> RasterFacts:
    """Raises TaskFailed for what can never become a good COG."""
    wanted = Wanted(
        params.source,
        params.source_etag,
        params.sidecars,
        work_bytes=0,
        download_below=SAMPLED_FROM_BYTES,
    )
    return read_source(ctx, wanted, lambda source: _inspect(params, ctx, source))


def load_inspect() -> child.Function[InspectRaster, RasterFacts]:
    """The function that the sandbox runs. Only the child process imports GDAL."""
    from services.raster.facts import inspect

    return inspect


def _inspect(params: ValidateRaster, ctx: TaskContext, source: Fetched) -> RasterFacts:
    request = InspectRaster(
        options=params,
        path=source.path,
        stored_bytes=source.properties.size,
        last_modified=source.properties.last_modified,
    )
    return child.run(
        load_inspect,
        request,
        RasterFacts,
        ctx.report,
        folder=source.folder,
        memory_bytes=MEMORY_BYTES,
        seconds=SECONDS,
        network=source.is_ranged,
        length="short",
    )
