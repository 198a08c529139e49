"""Remove a collection whose items are gone."""

from core.handler import TaskContext
from core.models import Record
from services.stac.model import StacId


class RemoveCollection(Record):
    """The parameters of remove_collection."""

    collection_id: StacId


class RemovedCollection(Record):
    """False if items were published meanwhile."""

    removed: bool


def remove_collection(params: RemoveCollection, ctx: TaskContext) -> RemovedCollection:
    """Remove the collection if it is empty. Safe to repeat.

    The timer removes the overview as soon as its readers can have finished.
    """
    ctx.confirm()
    ctx.catalog.delete_collection_if_empty(params.collection_id)
    return RemovedCollection(removed=ctx.catalog.get_collection(params.collection_id) is None)
