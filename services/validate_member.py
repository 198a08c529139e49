"""Inspect a member of a collection, as it is stored when the task runs."""

from core.handler import TaskContext
from core.models import BlobRef
from services.outputs.facts import inspect_current
from services.outputs.member import naming
from services.raster.model import RasterFacts, ReadingOptions


class ValidateMember(ReadingOptions):
    """The parameters of validate_member. A retry reads the version that is there by then."""

    source: BlobRef


def validate_member(params: ValidateMember, ctx: TaskContext) -> RasterFacts:
    """Raises TaskFailed for what can never become a good COG."""
    with naming(params.source):
        return inspect_current(params.source, params, ctx)
