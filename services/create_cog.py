"""One COG of one raster: warped, tiled, with overviews, checked and stored."""

from core.handler import TaskContext
from services.outputs.cog import CogOrder, make_output, read_for_cogs
from services.outputs.windows import assemble_output
from services.raster.model import Cog


class CreateCog(CogOrder):
    """The parameters of create_cog."""


def create_cog(params: CreateCog, ctx: TaskContext) -> Cog:
    """Make the COG and store it at the target. Running it again writes the same bytes.

    A COG whose windows other tasks have staged is assembled from them. Raises TaskFailed
    OUTPUT_SUPERSEDED when another job wrote the target meanwhile.
    """
    if params.tier in params.facts.windows:
        return assemble_output(params, ctx)
    return read_for_cogs(ctx, params.facts, 1, lambda source: make_output(params, ctx, source).cog)
