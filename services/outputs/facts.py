"""Reads the facts of a source raster in the sandbox."""

from core.handler import TaskContext
from core.models import BlobRef
from services.raster.model import (
    InspectionOptions,
    InspectRaster,
    RasterFacts,
    ReadingOptions,
    WindowSizes,
)
from services.sandbox import child
from services.storage.fetch import SAMPLED_FROM_BYTES, Fetched, Wanted, can_be_ranged, read_source
from services.storage.sidecars import find_sidecars

MEMORY_BYTES = 768 * 2**20
SECONDS = 180.0


def inspect_source(options: InspectionOptions, ctx: TaskContext) -> RasterFacts:
    """Raises TaskFailed for what can never become a good COG."""
    wanted = Wanted(
        options.source,
        options.source_etag,
        options.sidecars,
        work_bytes=0,
        download_below=SAMPLED_FROM_BYTES,
    )
    return read_source(ctx, wanted, lambda source: _inspect(options, ctx, source))


def inspect_current(source: BlobRef, options: ReadingOptions, ctx: TaskContext) -> RasterFacts:
    """The facts of the version that is stored now, with the sidecars that it has now.

    Raises BlobNotFound, and TaskFailed as `inspect_source` does.
    """
    found = ctx.blobs.properties(source)
    sidecars = (
        BlobRef(container=source.container, name=name) for name in find_sidecars(ctx.blobs, source)
    )
    current = InspectionOptions(
        **options.model_dump(include=set(ReadingOptions.model_fields)),
        source=source,
        source_etag=found.etag,
        sidecars=tuple(sidecars),
    )
    return inspect_source(current, ctx)


def load_inspect() -> child.Function[InspectRaster, RasterFacts]:
    """The function that the sandbox runs. Only the child process imports GDAL."""
    from services.raster.facts import inspect

    return inspect


def _inspect(options: InspectionOptions, ctx: TaskContext, source: Fetched) -> RasterFacts:
    deployment = ctx.ports.deployment
    sizes = WindowSizes(
        from_bytes=deployment.windows_from_mb * 2**20, window_bytes=deployment.window_mb * 2**20
    )
    request = InspectRaster(
        options=options,
        windows=sizes if can_be_ranged(options.source, options.sidecars) else None,
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
