"""Remove COGs that ended jobs made and did not publish."""

from core.handler import TaskContext
from core.models import Record
from services.unpublish_item import CogVersion, remove_cog


class RemoveUnpublished(Record):
    """The COGs as they were when the job was submitted; later versions are left alone."""

    cogs: tuple[CogVersion, ...]


class RemovedCogs(Record):
    """The names of the COGs that are gone."""

    removed_cogs: tuple[str, ...]


def remove_unpublished(params: RemoveUnpublished, ctx: TaskContext) -> RemovedCogs:
    """Remove the COGs, except those that were published meanwhile. Safe to repeat."""
    removed = [str(cog.blob) for cog in params.cogs if remove_cog(cog, None, ctx)]
    return RemovedCogs(removed_cogs=tuple(removed))
