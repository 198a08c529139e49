"""Cut the items of a collection into ranges."""

from core.handler import TaskContext
from core.models import Record
from services.stac.model import StacId

RANGE = 200


class ListItems(Record):
    """The parameters of list_items."""

    collection_id: StacId


class ItemRanges(Record):
    """Each range begins with one of these ids and ends before the next one."""

    first_ids: tuple[str, ...]


def list_items(params: ListItems, ctx: TaskContext) -> ItemRanges:
    """The first id of every 200, so that the result has few of them."""
    return ItemRanges(first_ids=tuple(ctx.catalog.list_items(params.collection_id)[::RANGE]))
