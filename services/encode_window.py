"""One window of a large COG: warped, encoded, and staged as blocks of the COG's blob."""

from pydantic import Field

from core.handler import RetryPolicy, TaskContext, retry
from core.models import BlobRef, Record
from services.outputs.cog import CogOrder
from services.outputs.windows import stage_window
from services.raster.model import RasterFacts, Tier
from services.raster.windows.plan import Window


class EncodeWindow(Record):
    """A window of a COG. The facts of the source are the result of another stage of the job."""

    facts: str = "validate"
    """The name of that stage, which has one task."""
    target: BlobRef
    tier: Tier
    target_crs: str = "EPSG:4326"
    """EPSG:n, or native."""
    jpeg_quality: int = Field(default=85, ge=1, le=100)
    row: int
    """Of the window, from the top of the grid."""
    column: int


class StagedWindow(Record):
    """What a window has staged."""

    row: int
    column: int
    blocks: int
    """0 for a window without valid pixels."""
    size_bytes: int


# A killed worker costs all its windows an attempt, also those that wait for a processor.
@retry(RetryPolicy(attempts=8))
def encode_window(params: EncodeWindow, ctx: TaskContext) -> StagedWindow:
    """Stage the window's blocks, of which create_cog makes the COG. Safe to repeat.

    Raises TaskFailed SOURCE_CHANGED when the source is not the one that the facts describe.
    """
    [facts] = ctx.results(params.facts, RasterFacts)
    order = CogOrder(
        facts=facts,
        target=params.target,
        tier=params.tier,
        target_crs=params.target_crs,
        jpeg_quality=params.jpeg_quality,
    )
    index = stage_window(order, ctx, Window(0, params.row, params.column))
    return StagedWindow(
        row=params.row,
        column=params.column,
        blocks=len(index.blocks),
        size_bytes=sum(block.size for block in index.blocks),
    )
