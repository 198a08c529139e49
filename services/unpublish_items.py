"""Take a range of items out of the catalogue, with the COGs that only they showed."""

from collections import Counter

from core.handler import TaskContext
from core.models import ItemName, Record
from services.stac.model import StacId
from services.unpublish_item import ItemOutcome, describe_item, unpublish_item


class UnpublishItems(Record):
    """The items with first <= id < stop."""

    collection_id: StacId
    first: str
    stop: str | None


class UnpublishedItems(Record):
    """What is gone, and what is still there."""

    items: dict[ItemOutcome, int]
    removed_cogs: int
    kept_cogs: int
    """COGs that another item shows, or that were written again meanwhile."""


def unpublish_items(params: UnpublishItems, ctx: TaskContext) -> UnpublishedItems:
    """Remove the items one by one, as unpublish_item does. Safe to repeat."""
    items: Counter[ItemOutcome] = Counter()
    removed, kept = 0, 0
    ids = ctx.catalog.list_items(params.collection_id, params.first, params.stop)
    for number, item_id in enumerate(ids):
        ctx.report(number / len(ids), f"{number} of {len(ids)} items removed")
        name = ItemName(collection_id=params.collection_id, item_id=item_id)
        done = unpublish_item(describe_item(name, ctx.ports, False), ctx)
        items[done.item] += 1
        removed += len(done.removed_cogs)
        kept += len(done.kept_cogs)
    return UnpublishedItems(items=dict(items), removed_cogs=removed, kept_cogs=kept)
