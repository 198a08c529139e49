"""Inspect a source raster: read its facts, refuse what can never become a good COG."""

from core.handler import TaskContext
from services.outputs.facts import inspect_source
from services.raster.model import InspectionOptions, RasterFacts


class ValidateRaster(InspectionOptions):
    """The parameters of validate_raster."""


def validate_raster(params: ValidateRaster, ctx: TaskContext) -> RasterFacts:
    """Raises TaskFailed for what can never become a good COG."""
    return inspect_source(params, ctx)
